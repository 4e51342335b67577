//! What keeps grants from being written.

use enroller_core::error::{AwsError, Disposition};
use enroller_core::ids::{AccountId, Region};
use enroller_core::log::{LogEntry, Outcome, outcome_of};

/// What keeps grants from being written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GranterError {
    /// AWS did not do what was asked.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Each time a policy was read back, someone else had changed it.
    #[error("another principal keeps changing the destinations' policies")]
    Contended {
        /// The central account.
        account: AccountId,
        /// The Region.
        region: Region,
    },
}

impl GranterError {
    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Aws(error) => error.disposition(),
            Self::Contended { .. } => Disposition::RetrySoon,
        }
    }

    /// The entry of the decision log about it.
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
