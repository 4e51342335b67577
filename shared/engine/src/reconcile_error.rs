//! The errors that keep an account-Region or a VPC from being covered.

use enroller_core::error::{AwsError, Disposition, Skip, Wait};
use enroller_core::ids::{AccountRegion, Region, VpcId};
use enroller_core::log::{LogEntry, Outcome, outcome_of};
use enroller_core::plan::{Blocked, Finding};

/// Why an account-Region or a VPC is not covered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// An AWS call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A policy of the organization denies a look that is needed for VPCs that were seen.
    #[error("there are VPCs, but what covers them may not be looked at: {0}")]
    LookDenied(#[source] AwsError),
    /// The account is not granted on any destination of the Region.
    #[error("the account is not granted yet on any destination of this Region")]
    NotGranted,
    /// The destination that the request or the policies named for the account does not exist.
    #[error("destination {0} does not exist")]
    NoDestination(String),
    /// Organizations does not report the account as a member. A new account can be missing for a moment.
    #[error("the account was not found in the organization as an active member (yet)")]
    NotAMember,
    /// DescribeVpcs does not list the VPC of an event. EC2 is eventually consistent, so it may appear later.
    #[error("EC2 does not list {0} (yet)")]
    NotVisible(VpcId),
    /// A property of the account-Region that AWS does not allow to change, for example the log group's class.
    #[error("{0}")]
    Blocked(Blocked),
    /// What keeps one VPC from being covered, or its change from being finished.
    #[error("{0}")]
    Finding(Finding),
    /// AWS or the organization does not allow enrollment here. This is not a failure.
    #[error("{}", skipped(*.0))]
    Skipped(Skip),
    /// The step, given by its action label, is not in the plan that a person approved.
    #[error("the account-Region changed after the plan was shown: it now needs {0}, which was not done")]
    NotApproved(&'static str),
    /// AWS's answers still contradicted the observed state in the last round.
    #[error("the account-Region kept changing while it was being reconciled")]
    DidNotConverge,
    /// The Region did not answer for several accounts, and is not asked for a while.
    #[error("{0} has not answered for several accounts, so it is not asked for a minute")]
    RegionDown(Region),
    /// The deadline passed before the account-Region was done.
    #[error("time ran out; unfinished work is returned to the queue")]
    OutOfTime,
}

impl ReconcileError {
    /// How to react to it: retry, wait, skip or leave it to a person.
    pub fn disposition(&self) -> Disposition {
        match self {
            // What was wanted absent, or already there, never becomes an error.
            Self::Aws(error) => error.disposition().of_failure(),
            Self::LookDenied(_) => Disposition::RetryLater(Wait::OrganizationPolicy),
            Self::NotGranted | Self::NoDestination(_) => Disposition::RetryLater(Wait::Grant),
            Self::NotAMember => Disposition::RetryLater(Wait::Account),
            Self::NotVisible(_) => Disposition::RetryLater(Wait::Vpc),
            Self::Blocked(blocked) => Disposition::Terminal(blocked.next_step()),
            Self::Finding(finding) => finding.disposition(),
            Self::Skipped(skip) => Disposition::Skip(*skip),
            Self::NotApproved(_) => Disposition::Terminal("run the command again to see the current plan"),
            Self::RegionDown(_) => Disposition::RetryLater(Wait::Region),
            Self::DidNotConverge | Self::OutOfTime => Disposition::RetrySoon,
        }
    }

    /// The AWS error behind it, if an AWS call caused it.
    pub fn aws_error(&self) -> Option<&AwsError> {
        match self {
            Self::Aws(error) | Self::LookDenied(error) => Some(error),
            Self::NotGranted
            | Self::NoDestination(_)
            | Self::NotAMember
            | Self::NotVisible(_)
            | Self::Blocked(_)
            | Self::Finding(_)
            | Self::Skipped(_)
            | Self::NotApproved(_)
            | Self::DidNotConverge
            | Self::RegionDown(_)
            | Self::OutOfTime => None,
        }
    }

    /// A log entry with its cause, the outcome of its disposition and the next step.
    pub fn entry(&self, at: &AccountRegion, action: &str, resource: String) -> LogEntry {
        let line = LogEntry::at(at, action, resource, Outcome::Failed, self.to_string());
        if let Self::Aws(error) = self {
            return line.failed_with(error);
        }
        let disposition = self.disposition();
        let request_id = self.aws_error().and_then(|error| error.request_id.clone());
        LogEntry { outcome: outcome_of(disposition), request_id, ..line }.next(disposition.next_step())
    }
}

const fn skipped(skip: Skip) -> &'static str {
    match skip {
        Skip::RegionDisabled => "the account has not enabled this Region",
        Skip::OrganizationPolicy => "a policy of the organization denies the look",
    }
}
