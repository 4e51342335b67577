//! The errors that keep grants from being written.

use enroller_core::error::{AwsError, Disposition};
use enroller_core::ids::{AccountId, Region};
use enroller_core::log::{LogEntry, Outcome, outcome_of};

/// Why grants were not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GranterError {
    /// An AWS call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Each time a policy was read back, another principal had changed it.
    #[error("another principal keeps changing the destinations' policies")]
    Contended {
        /// The central account.
        account: AccountId,
        /// The Region of the destinations.
        region: Region,
    },
}

impl GranterError {
    /// How to react to it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Aws(error) => error.disposition(),
            Self::Contended { .. } => Disposition::RetrySoon,
        }
    }

    /// A log entry with its cause, outcome and next step.
    pub fn entry(&self, action: &str, resource: &str) -> LogEntry {
        let line = LogEntry::about(None, action, resource, Outcome::Failed, self.to_string());
        match self {
            Self::Aws(error) => {
                LogEntry { account: error.account, region: error.region.clone(), ..line }.failed_with(error)
            }
            Self::Contended { account, region } => {
                let (account, region) = (Some(*account), Some(region.clone()));
                let outcome = outcome_of(self.disposition());
                LogEntry { account, region, outcome, ..line }
                    .next("find the other principal that calls PutDestinationPolicy in CloudTrail, and stop it")
            }
        }
    }
}

#[cfg(test)]
mod tests;
