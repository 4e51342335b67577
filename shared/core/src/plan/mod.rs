//! The planner: from what should be and what is, to the ordered changes between, each with its reason.
//!
//! # Guarantees
//!
//! - Pure and total: the same inputs give the same plan.
//! - Planning on the result of a plan gives no steps. (Only the look at a delivery role that AWS reports as refused
//!   comes again until deliveries work.)
//! - Steps are in the order in which no record is lost: delivery role, log group, its settings, **filter before
//!   flow log**, and a replaced flow log is deleted only after its successor exists.
//! - Nothing without the ownership tag is changed, save the one subscription filter of our name.

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

/// The most resource ids one CreateFlowLogs call takes for VPCs (EC2 API reference).
pub const MAX_FLOW_LOGS_PER_CALL: usize = 300;

/// Subscription filters a log group can carry (CloudWatch Logs quotas; not adjustable). Only used to warn in a plan:
/// AWS decides, and its LimitExceededException is what stops an enrollment.
pub const FILTER_SLOTS: usize = 5;

/// What should be in one account and Region.
#[derive(Debug, Clone)]
pub struct Desired<'a> {
    /// The settings all places share.
    pub settings: &'a Settings,
    /// The account and Region.
    pub at: AccountRegion,
    /// The destination on which the account is granted.
    pub destination: Arn,
}

/// A flow log as it should be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowLogSpec {
    /// Which traffic.
    pub traffic_type: TrafficType,
    /// Longest aggregation interval in seconds.
    pub interval: u32,
    /// Its format.
    pub format: String,
    /// ARN of the delivery role.
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

    /// The subscription filter the log group should carry.
    pub fn filter(&self) -> SubscriptionFilter {
        SubscriptionFilter {
            name: self.settings.filter_name.to_string(),
            pattern: self.settings.filter_pattern.clone(),
            destination: self.destination.to_string(),
            role: self.settings.filter_role(self.at.account).map(|role| role.to_string()),
        }
    }

    /// ARN of the KMS key the log group should use.
    pub fn kms_key(&self) -> Option<String> {
        self.settings.kms_key_arn.as_ref().map(|key| key.arn(&self.at.region, self.at.account))
    }

    /// Whether the log group's settings differ from the desired ones, so that its tags have to be looked up: only a
    /// group of our own is changed, because shorter retention destroys what somebody else kept.
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

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make sure that the delivery role exists and is as it should be. IAM is global: once per account.
    EnsureDeliveryRole,
    /// Make the log group, tagged as ours.
    CreateLogGroup {
        /// ARN of the KMS key, if any.
        kms_key: Option<String>,
    },
    /// Set how long the log group keeps events, in days; `None` keeps them for ever.
    SetRetention {
        /// Days, one of the values CloudWatch Logs takes.
        days: Option<u32>,
    },
    /// Encrypt new events of the log group with this key.
    AssociateKmsKey {
        /// ARN of the key.
        key: String,
    },
    /// Make or replace our subscription filter.
    PutFilter {
        /// The filter as it should be.
        filter: SubscriptionFilter,
    },
    /// Make flow logs, in one call.
    CreateFlowLogs {
        /// How each should be.
        spec: FlowLogSpec,
        /// For which VPCs, at most [`MAX_FLOW_LOGS_PER_CALL`].
        vpcs: Vec<VpcId>,
        /// Flow logs of ours to delete once the VPC's new one exists. Only where AWS refuses the twin
        /// (FlowLogAlreadyExists) are they deleted first.
        replaces: BTreeMap<VpcId, BTreeSet<FlowLogId>>,
    },
    /// Delete flow logs of ours whose VPC has a right one besides.
    DeleteFlowLogs {
        /// Which.
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
pub struct Step {
    /// What to do.
    pub action: Action,
    /// Why, for people.
    pub why: String,
}

/// What the plan means for one VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VpcPlan {
    /// Its flow log is as it should be.
    Covered(FlowLogId),
    /// Its flow log, ours or an equal one of somebody else, is as it should be but AWS reports that delivery fails.
    Broken {
        /// The flow log.
        flow_log: FlowLogId,
        /// AWS's message.
        message: String,
    },
    /// Somebody else's flow log delivers the same to the same group; AWS would refuse a twin.
    CoveredByOthers(FlowLogId),
    /// It gets a flow log.
    Enroll,
    /// Its flow log is replaced.
    Replace {
        /// What differs, for people.
        differences: String,
    },
    /// It is left alone.
    OutOfScope(OutOfScope),
}

/// Why nothing can be done in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// The log group's class cannot be subscribed to and cannot be changed.
    LogGroupClass(String),
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LogGroupClass(class) => write!(
                f,
                "the log group exists with class {class}, which takes no subscription filter: set another log group name"
            ),
        }
    }
}

/// The ordered changes for one account and Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The account and Region.
    pub at: AccountRegion,
    /// The changes, in the order in which they are safe.
    pub steps: Vec<Step>,
    /// What becomes of each visible VPC.
    pub vpcs: BTreeMap<VpcId, VpcPlan>,
    /// What a person should know though nothing is done about it.
    pub notes: Vec<String>,
    /// Why nothing can be done, if so; there are no steps then.
    pub blocked: Option<Blocked>,
}
