//! What keeps a VPC, or a whole account-Region, from being as it should be although no step can change it.

use std::collections::BTreeSet;
use std::fmt;

use crate::error::{Disposition, Wait};
use crate::ids::FlowLogId;
use crate::settings::DeliveryRoleMaker;

/// An unmanaged flow log to the log group that does not cover its VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The flow log.
    pub flow_log: FlowLogId,
    /// What it lacks, as shown to operators.
    pub lacks: String,
}

/// What is wrong, or not finished, with the flow logs of one VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// AWS says that the flow log exists, but lists none that could be meant.
    Unseen,
    /// AWS does not accept the managed flow log beside an unmanaged one that does not cover the VPC.
    InTheWay(Lacking),
    /// AWS returns a managed flow log with other properties than it was created with. A replacement would differ, too.
    NotAsAsked {
        /// The flow log.
        flow_log: FlowLogId,
        /// How it differs, as shown to operators.
        differences: String,
    },
    /// A data protection policy masks addresses, or may.
    Masked {
        /// Whose policy it is, as shown to operators.
        policy: String,
        /// The names of its data identifiers.
        masks: String,
    },
    /// Managed flow logs are kept until their successor delivers. Until then, records arrive twice.
    Unfinished {
        /// The successor.
        successor: FlowLogId,
        /// The flow logs that it replaces.
        kept: BTreeSet<FlowLogId>,
    },
}

impl Finding {
    /// How to react to it: wait, or leave it to a person.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unseen => Disposition::RetryLater(Wait::FlowLog),
            Self::Unfinished { .. } => Disposition::RetryLater(Wait::Successor),
            Self::Masked { .. } => Disposition::Terminal(
                "find out who put that policy, and have IpAddress and identifiers of their own taken out of it, or the policy deleted (logs:DeleteDataProtectionPolicy, logs:DeleteAccountPolicy). If it could not be read, update the member stack, whose role may read it. Then run enroller backfill",
            ),
            Self::InTheWay(_) => Disposition::Terminal(
                "have its owner delete that flow log, or set another log_group_name. Then run enroller backfill",
            ),
            Self::NotAsAsked { .. } => Disposition::Terminal(
                "compare the flow log with the settings. If it records what you want, set the value that AWS returns. Otherwise delete it and run enroller backfill; if AWS returns the new one changed, too, ask AWS Support",
            ),
        }
    }

    /// Whether it keeps the VPC from being covered.
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::Unseen | Self::InTheWay(_) | Self::NotAsAsked { .. } | Self::Masked { .. } => true,
            Self::Unfinished { .. } => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unseen => {
                f.write_str("AWS answers that the flow log exists already, but lists none to the log group")
            }
            Self::Masked { policy, masks } => {
                write!(f, "{policy} masks {masks}, so records arrive without what they are kept for")
            }
            Self::InTheWay(Lacking { flow_log, lacks }) => write!(
                f,
                "the unmanaged flow log {flow_log} delivers to the log group, and AWS accepts no other one beside it, but {lacks}"
            ),
            Self::NotAsAsked { flow_log, differences } => write!(
                f,
                "flow log {flow_log} was created with these settings, but AWS returns it with others, so it is not replaced: {differences}"
            ),
            Self::Unfinished { successor, kept } => {
                let ids: Vec<&str> = kept.iter().map(FlowLogId::as_str).collect();
                let (plural, are) = if ids.len() == 1 { ("", "is") } else { ("s", "are") };
                let ids = ids.join(", ");
                write!(
                    f,
                    "the replaced flow log{plural} {ids} {are} kept until {successor} delivers, so records arrive twice"
                )
            }
        }
    }
}

/// The next step where a flow log does not deliver, for each of AWS's three messages; see
/// [`Delivery::Failed`](crate::observed::Delivery::Failed). Such a flow log is never replaced: a new one would need the
/// same role, group and quota.
pub fn next_step_of_failed_delivery(message: &str, maker: DeliveryRoleMaker) -> &'static str {
    if message.starts_with("Access error") {
        match maker {
            DeliveryRoleMaker::MemberStack => {
                "update the member stack in this account, which makes the delivery role. If that does not help, look for a permissions boundary or a service control policy that denies logs:CreateLogStream or logs:PutLogEvents to this role"
            }
            DeliveryRoleMaker::Enroller => {
                "run enroller backfill, which puts the delivery role right where it differs. If that does not help, look for a permissions boundary or a service control policy that denies logs:CreateLogStream or logs:PutLogEvents to this role"
            }
        }
    } else if message.starts_with("Rate limited") {
        "request a higher quota of CloudWatch Logs for this account and Region (PutLogEvents throttle limit, or the number of log groups); nothing is wrong with the role"
    } else {
        "wait an hour, because AWS calls this an internal error. If it persists, ask AWS Support, or delete the flow log and run enroller backfill, which makes a new one"
    }
}

/// Why nothing can be done in an account-Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// The log group has this class, which has no subscription filters. A log group's class cannot be changed.
    LogGroupClass(String),
    /// The log group has a subscription filter with the managed filter's name that is not the enroller's.
    ForeignFilter {
        /// Its name.
        name: String,
        /// The ARN that it delivers to.
        destination: String,
    },
}

impl Blocked {
    /// What a person should do.
    pub const fn next_step(&self) -> &'static str {
        match self {
            Self::LogGroupClass(_) => "set another log_group_name or delete the log group, then run enroller backfill",
            Self::ForeignFilter { .. } => {
                "delete that filter, set another filter_name, or add the ownership tag to the log group to have the filter replaced. Then run enroller backfill"
            }
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogGroupClass(class) => write!(
                f,
                "the log group has class {class}, which does not support subscription filters: set another log_group_name"
            ),
            Self::ForeignFilter { name, destination } => write!(
                f,
                "subscription filter {name} of the log group is not the enroller's, because the group lacks the ownership tag and the filter delivers to {destination}: it is not replaced"
            ),
        }
    }
}
