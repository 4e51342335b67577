//! What keeps an account-Region or a VPC from being covered.

use enroller_core::error::{AwsError, Disposition, Skip, Wait};
use enroller_core::ids::{AccountRegion, VpcId};
use enroller_core::log::{LogEntry, Outcome, outcome_of};
use enroller_core::plan::Blocked;

/// What keeps an account-Region or a VPC from being covered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// An AWS call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The account is not granted on any destination of the Region.
    #[error("the account is not granted yet on any destination of this Region")]
    NotGranted,
    /// The destination on which the account was said to be granted does not exist.
    #[error("destination {0} does not exist")]
    NoDestination(String),
    /// Organizations does not know the account, or not yet.
    #[error("the account was not found in the organization (yet)")]
    NotAMember,
    /// DescribeVpcs does not show the VPC that an event was about, or not yet.
    #[error("EC2 does not list {0} (yet)")]
    NotVisible(VpcId),
    /// Something there cannot be changed by anybody.
    #[error("{0}")]
    Blocked(Blocked),
    /// Nothing to do here, and no failure.
    #[error("{}", skipped(*.0))]
    Skipped(Skip),
    /// The step is not in the plan that a person agreed to.
    #[error("the account-Region changed after the plan was shown: it now needs {0}, which was not done")]
    NotApproved(&'static str),
    /// Things kept changing while we looked.
    #[error("the account-Region kept changing while it was being reconciled")]
    DidNotConverge,
    /// Time ran out before or while the place was worked on.
    #[error("time ran out; unfinished work is returned to the queue")]
    OutOfTime,
}

impl ReconcileError {
    /// What to do about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Aws(error) => error.disposition(),
            Self::NotGranted | Self::NoDestination(_) => Disposition::RetryLater(Wait::Grant),
            Self::NotAMember => Disposition::RetryLater(Wait::Account),
            Self::NotVisible(_) => Disposition::RetryLater(Wait::Vpc),
            Self::Blocked(_) => Disposition::Terminal("set another log group name, or remove that log group"),
            Self::Skipped(skip) => Disposition::Skip(*skip),
            Self::NotApproved(_) => Disposition::Terminal("run the command again to see the current plan"),
            Self::DidNotConverge | Self::OutOfTime => Disposition::RetrySoon,
        }
    }

    /// AWS's error, where there is one.
    pub fn aws_error(&self) -> Option<&AwsError> {
        match self {
            Self::Aws(error) => Some(error),
            Self::NotGranted
            | Self::NoDestination(_)
            | Self::NotAMember
            | Self::NotVisible(_)
            | Self::Blocked(_)
            | Self::Skipped(_)
            | Self::NotApproved(_)
            | Self::DidNotConverge
            | Self::OutOfTime => None,
        }
    }

    /// The entry of the decision log about it.
    pub fn entry(&self, at: &AccountRegion, action: &str, resource: String) -> LogEntry {
        let line = LogEntry::at(at, action, resource, Outcome::Failed, self.to_string());
        if let Some(error) = self.aws_error() {
            return line.failed_with(error);
        }
        let disposition = self.disposition();
        LogEntry { outcome: outcome_of(disposition), ..line }.next(disposition.next_step())
    }
}

const fn skipped(skip: Skip) -> &'static str {
    match skip {
        Skip::RegionDisabled => "the account has not enabled this Region",
        Skip::OrganizationPolicy => "a service control policy denies it",
    }
}
