//! The errors that keep grants from being written.

use enroller_core::error::{AwsError, Disposition};
use enroller_core::ids::{AccountId, Region};
use enroller_core::log::{LogEntry, Outcome, outcome_of};

/// How often a message is received for failures of single Regions. Everything in its FIFO queue waits meanwhile.
pub(super) const TRIES: u32 = 4;

/// Why grants were not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GranterError {
    /// An AWS call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Organizations gave no usable answer about an account. Its grant stays as it is.
    #[error("it is not known whether the account is a member, so its grant stays as it is: {source}")]
    NotAnswered {
        /// The account asked about.
        account: AccountId,
        /// Why there is no answer.
        source: AwsError,
    },
    /// Organizations reports a state of an account that this version does not know. Its grant stays as it is.
    #[error(
        "Organizations' answer about the account's state or organizational units cannot be used, so its grant stays as it is"
    )]
    UnknownState {
        /// The account.
        account: AccountId,
    },
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
            Self::Aws(error) | Self::NotAnswered { source: error, .. } => error.disposition().of_failure(),
            Self::UnknownState { .. } => Disposition::Terminal(
                "look at the account in Organizations and at the function's warnings about it: it has left, a policy hides its parents, or a newer release knows the state",
            ),
            Self::Contended { .. } => Disposition::RetrySoon,
        }
    }

    /// Whether a message that was received `receives` times comes back for it. What is missing is found without the
    /// message, too: an enrollment that waits for a grant asks for it again, and the sweep compares everything.
    pub(super) fn returns_after(&self, receives: u32) -> bool {
        receives < TRIES && self.disposition().returns_after(receives)
    }

    /// The Region of the destinations that it is about, if it is about one.
    pub(super) fn region(&self) -> Option<&Region> {
        match self {
            Self::Aws(error) => error.region.as_ref(),
            Self::Contended { region, .. } => Some(region),
            Self::NotAnswered { .. } | Self::UnknownState { .. } => None,
        }
    }

    /// The account that it is about, if it is about one.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Aws(_) | Self::Contended { .. } => None,
            Self::NotAnswered { account, .. } | Self::UnknownState { account } => Some(*account),
        }
    }

    /// A log entry with its cause, outcome and next step.
    pub fn entry(&self, action: &str, resource: &str) -> LogEntry {
        let line = LogEntry::about(None, action, resource, Outcome::Failed, self.to_string());
        match self {
            Self::Aws(error) => {
                LogEntry { account: error.account, region: error.region.clone(), ..line }.failed_with(error)
            }
            Self::NotAnswered { account, source } => {
                let line = LogEntry { account: Some(*account), region: None, ..line }.failed_with(source);
                LogEntry { cause: self.to_string(), ..line }
            }
            Self::UnknownState { account } => {
                let disposition = self.disposition();
                let line = LogEntry { account: Some(*account), outcome: outcome_of(disposition), ..line };
                line.next(disposition.next_step())
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
