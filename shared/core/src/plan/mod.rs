//! The planner: compares the desired state with the observed one and returns ordered changes, each with its reason.
//!
//! # Guarantees
//!
//! - Pure and total: the same inputs give the same plan.
//! - Planning again after a plan was applied gives no steps. The only exception is the check of a delivery role for
//!   which AWS reports access errors: it is repeated until deliveries work.
//! - Steps are in the order in which no record is lost: delivery role, log group, its settings, **filter before
//!   flow log**, and a replaced flow log is deleted only after its successor exists.
//! - Nothing without the ownership tag is changed, except the one subscription filter with the configured name.

mod approval;
mod build;
mod flow_logs;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::arn::Arn;
use crate::ids::{AccountRegion, FlowLogId, VpcId};
use crate::names::DestinationName;
use crate::observed::{LogGroup, Observed, SubscriptionFilter, TrafficType};
use crate::scope::OutOfScope;
use crate::settings::{DeliveryRoleMaker, Settings};

pub use build::plan;

/// The maximum number of VPC ids in one call of CreateFlowLogs (EC2 API reference).
pub const MAX_FLOW_LOGS_PER_CALL: usize = 300;

/// The maximum number of subscription filters on a log group (CloudWatch Logs quotas; not adjustable). It only causes
/// a note in a plan: AWS decides, and its LimitExceededException is what stops an enrollment.
pub const FILTER_SLOTS: usize = 5;

/// The desired state of one account-Region.
#[derive(Debug, Clone)]
pub struct Desired<'a> {
    /// The settings, which are the same for all account-Regions.
    pub settings: &'a Settings,
    /// The account and Region.
    pub at: AccountRegion,
    /// The destination on which the account is granted in this Region.
    pub destination: Arn,
}

/// The properties of a flow log to create.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowLogSpec {
    /// The traffic to record.
    pub traffic_type: TrafficType,
    /// The longest aggregation interval in seconds, 60 or 600.
    pub interval: u32,
    /// The fields to record: `${field} ${field} …`.
    pub format: String,
    /// The role that flow logs are delivered with.
    pub delivery_role: Arn,
}

impl<'a> Desired<'a> {
    /// What should be in an account-Region whose account is granted on this destination.
    pub fn new(settings: &'a Settings, at: &AccountRegion, destination: &DestinationName) -> Self {
        let destination = Arn::destination(&at.region, settings.central_account, destination);
        Self { settings, at: at.clone(), destination }
    }

    /// The flow log a VPC with this traffic type should have.
    pub fn flow_log(&self, traffic_type: TrafficType) -> FlowLogSpec {
        FlowLogSpec {
            traffic_type,
            interval: self.settings.aggregation_interval,
            format: self.settings.log_format.clone(),
            delivery_role: self.settings.delivery_role(self.at.account),
        }
    }

    /// The subscription filter the log group should have.
    pub fn filter(&self) -> SubscriptionFilter {
        SubscriptionFilter {
            name: self.settings.filter_name.to_string(),
            pattern: self.settings.filter_pattern.clone(),
            destination: self.destination.to_string(),
            role: self.settings.filter_role(self.at.account).map(|role| role.to_string()),
        }
    }

    /// The ARN of the KMS key the log group should use, if any.
    pub fn kms_key(&self) -> Option<String> {
        self.settings.kms_key_arn.as_ref().map(|key| key.arn(&self.at.region, self.at.account))
    }

    /// Whether the log group's settings differ from the desired ones, so that its tags have to be fetched. Only a
    /// managed group is changed, because a shorter retention deletes events that another owner wants to keep.
    pub fn needs_group_tags(&self, observed: &Observed) -> bool {
        observed.log_group.as_ref().is_some_and(|group| group.tags.is_none() && self.group_differs(group))
    }

    fn group_differs(&self, group: &LogGroup) -> bool {
        self.settings.retention_days != group.retention_days
            || self.kms_key().is_some_and(|key| group.kms_key.as_deref() != Some(&key))
    }

    fn makes_delivery_role(&self) -> bool {
        match self.settings.delivery_role_maker {
            DeliveryRoleMaker::Enroller => true,
            DeliveryRoleMaker::MemberStack => false,
        }
    }
}

/// A change to make in an account-Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Create or repair the delivery role. IAM is global, so this is done once per account.
    EnsureDeliveryRole,
    /// Create the log group, with the ownership tag.
    CreateLogGroup {
        /// The ARN of the KMS key, if any.
        kms_key: Option<String>,
    },
    /// Set how long the log group keeps events.
    SetRetention {
        /// Days, one of the values CloudWatch Logs accepts; `None` keeps events for ever.
        days: Option<u32>,
    },
    /// Encrypt new events of the log group with this key.
    AssociateKmsKey {
        /// The ARN of the key.
        key: String,
    },
    /// Create or replace the managed subscription filter.
    PutFilter {
        /// The filter as it should be; a put replaces all of it.
        filter: SubscriptionFilter,
    },
    /// Create flow logs, in one call.
    CreateFlowLogs {
        /// The properties they share.
        spec: FlowLogSpec,
        /// The VPCs, at most [`MAX_FLOW_LOGS_PER_CALL`].
        vpcs: Vec<VpcId>,
        /// Managed flow logs to delete once the VPC's new one exists. They are deleted first only where AWS rejects the
        /// new one as a duplicate (FlowLogAlreadyExists).
        replaces: BTreeMap<VpcId, BTreeSet<FlowLogId>>,
    },
    /// Delete managed flow logs whose VPC has another, correct one.
    DeleteFlowLogs {
        /// The flow logs, with the VPC of each.
        flow_logs: BTreeMap<FlowLogId, VpcId>,
    },
}

impl Action {
    /// A short, stable name for logs and reports.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::EnsureDeliveryRole => "ensure-delivery-role",
            Self::CreateLogGroup { .. } => "create-log-group",
            Self::SetRetention { .. } => "set-retention",
            Self::AssociateKmsKey { .. } => "associate-kms-key",
            Self::PutFilter { .. } => "put-subscription-filter",
            Self::CreateFlowLogs { .. } => "create-flow-logs",
            Self::DeleteFlowLogs { .. } => "delete-flow-logs",
        }
    }
}

/// A change with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`action` is described by its type")]
pub struct Step {
    pub action: Action,
    /// The reason, as shown to operators.
    pub why: String,
}

/// What the plan means for one VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VpcPlan {
    /// Its managed flow log is correct.
    Covered(FlowLogId),
    /// It has a correct flow log, managed or not, but AWS reports that its delivery fails.
    Broken {
        /// The flow log that does not deliver.
        flow_log: FlowLogId,
        /// `DeliverLogsErrorMessage`, such as `Access error`.
        message: String,
    },
    /// An unmanaged flow log with the same properties delivers to the log group. AWS would reject a duplicate.
    CoveredByOthers(FlowLogId),
    /// It gets a flow log.
    Enroll,
    /// Its managed flow log is replaced.
    Replace {
        /// What differs from the settings, as shown to operators.
        differences: String,
    },
    /// It is out of scope and left alone.
    OutOfScope(OutOfScope),
}

/// Why nothing can be done in an account-Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// The log group has this class, which has no subscription filters. A log group's class cannot be changed.
    LogGroupClass(String),
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogGroupClass(class) => write!(
                f,
                "the log group has class {class}, which does not support subscription filters: set another log_group_name"
            ),
        }
    }
}

/// The ordered changes of one account-Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The account and Region.
    pub at: AccountRegion,
    /// The changes, in the order in which they must be applied.
    pub steps: Vec<Step>,
    /// The result for each visible VPC.
    pub vpcs: BTreeMap<VpcId, VpcPlan>,
    /// What an operator should know although the plan does nothing about it.
    pub notes: Vec<String>,
    /// Why nothing can be done, if so. There are no steps then.
    pub blocked: Option<Blocked>,
}
