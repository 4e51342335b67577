//! The planner: compares the desired state with the observed one and returns ordered changes, each with its reason.
//!
//! # Guarantees
//!
//! - Pure and total: the same inputs give the same plan.
//! - Planning again after a plan was applied gives no steps, with two exceptions. The check of a delivery role for which
//!   AWS reports access errors is repeated until deliveries work. A replaced flow log is deleted by a later plan, once
//!   its successor delivers.
//! - Steps are in the order in which no record is lost: delivery role, log group, **filter before flow log**, the
//!   log group's settings.
//! - A flow log is replaced once for each change of the settings, even if AWS returns it with other properties.
//! - Nothing without the ownership tag is changed, with two exceptions. One is the subscription filter with the
//!   configured name, if the log group has the tag or the filter delivers to one of the central account's shards. The
//!   other is a flow log that delivers to the log group with the delivery role: it is ours, and gets its tag back.

mod approval;
mod build;
mod compare;
mod finding;
mod flow_logs;
mod masking;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::arn::Arn;
use crate::ids::{AccountRegion, FlowLogId, VpcId};
use crate::names::DestinationName;
use crate::observed::{FilterForm, LogGroup, Observed, SubscriptionFilter, TrafficType};
use crate::scope::{OutOfScope, TagEffect};
use crate::settings::{DeliveryRoleMaker, Settings, Tag};

pub use build::plan;
pub use compare::SETTINGS_TAG;
pub(crate) use compare::is_managed;
pub use finding::{Blocked, Finding, Lacking, next_step_of_failed_delivery};
pub use flow_logs::{IDLE_SUCCESSOR_MS, SILENT_SUCCESSOR_MS};

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
            form: FilterForm::default(),
        }
    }

    /// The ARN of the KMS key the log group should use, if any.
    pub fn kms_key(&self) -> Option<String> {
        self.settings.kms_key_arn.as_ref().map(|key| key.arn(&self.at.region, self.at.account))
    }

    /// The tag of a flow log that is created with these properties.
    pub fn settings_tag(&self, spec: &FlowLogSpec) -> Tag {
        Tag { key: SETTINGS_TAG.to_owned(), value: compare::fingerprint(self, spec) }
    }

    /// Whether the log group or its filter differs from the desired state, so that the group's tags have to be fetched.
    /// Only a managed group is changed, because another owner may want it as it is.
    pub fn needs_group_tags(&self, observed: &Observed) -> bool {
        let filter = || observed.filters.iter().any(|filter| self.is_foreign(filter));
        observed.log_group.as_ref().is_some_and(|group| group.tags.is_none() && (self.group_differs(group) || filter()))
    }

    fn group_differs(&self, group: &LogGroup) -> bool {
        self.retention_differs(group) || self.kms_key().is_some_and(|key| group.kms_key.as_deref() != Some(&key))
    }

    /// Whether the group's own retention differs. One that an account-level policy sets is not the group's own.
    fn retention_differs(&self, group: &LogGroup) -> bool {
        group.retention_policy.is_none() && self.settings.retention_days != group.retention_days
    }

    /// Whether a filter has the managed filter's name, but does not deliver to a shard of the central account. The
    /// enroller may have put it before the central account or the destination's name changed: then the group has its tag.
    fn is_foreign(&self, filter: &SubscriptionFilter) -> bool {
        let arn = filter.destination.parse::<Arn>().ok();
        let central = arn.filter(|arn| arn.account() == Some(self.settings.central_account));
        let name = central.and_then(|arn| arn.destination_name());
        let is_shard = name.is_some_and(|name| self.settings.destination_name.index_of(&name).is_some());
        filter.name == self.settings.filter_name.as_str() && !is_shard
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
        /// Managed flow logs that the VPC's new one replaces. A later plan deletes them, once the new one delivers. They
        /// are deleted first only where AWS rejects the new one as a duplicate (FlowLogAlreadyExists).
        replaces: BTreeMap<VpcId, BTreeSet<FlowLogId>>,
    },
    /// Put the ownership tag on flow logs of ours that lost it.
    TagFlowLogs {
        /// The flow logs, with the VPC of each.
        flow_logs: BTreeMap<FlowLogId, VpcId>,
    },
    /// Delete managed flow logs whose VPC has another, correct one.
    DeleteFlowLogs {
        /// The flow logs, with the VPC of each.
        flow_logs: BTreeMap<FlowLogId, VpcId>,
    },
}

impl Action {
    /// The name of [`Action::CreateLogGroup`].
    pub const CREATE_LOG_GROUP: &'static str = "create-log-group";
    /// The name of [`Action::PutFilter`].
    pub const PUT_FILTER: &'static str = "put-subscription-filter";

    /// A short, stable name for logs and reports.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::EnsureDeliveryRole => "ensure-delivery-role",
            Self::CreateLogGroup { .. } => Self::CREATE_LOG_GROUP,
            Self::SetRetention { .. } => "set-retention",
            Self::AssociateKmsKey { .. } => "associate-kms-key",
            Self::PutFilter { .. } => Self::PUT_FILTER,
            Self::CreateFlowLogs { .. } => "create-flow-logs",
            Self::TagFlowLogs { .. } => "tag-flow-logs",
            Self::DeleteFlowLogs { .. } => "delete-flow-logs",
        }
    }

    /// How many changes applying it makes: one for each resource that it makes, alters or deletes. In one call it may
    /// make hundreds. The delivery role counts as none, because only reading it shows what it lacks.
    pub fn changes(&self) -> usize {
        match self {
            Self::EnsureDeliveryRole => 0,
            Self::CreateLogGroup { .. }
            | Self::SetRetention { .. }
            | Self::AssociateKmsKey { .. }
            | Self::PutFilter { .. } => 1,
            // What it replaces is deleted by a later plan, once the new flow logs deliver.
            Self::CreateFlowLogs { vpcs, .. } => vpcs.len(),
            Self::TagFlowLogs { flow_logs } | Self::DeleteFlowLogs { flow_logs } => flow_logs.len(),
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
    /// An unmanaged flow log delivers at least the wanted traffic and fields to the log group.
    CoveredByOthers(FlowLogId),
    /// It gets a flow log.
    Enroll {
        /// An unmanaged flow log that delivers to the log group, but not enough. AWS may reject another one beside it.
        beside: Option<Lacking>,
    },
    /// Its managed flow log is replaced.
    Replace {
        /// What differs from the settings, as shown to operators.
        differences: String,
        /// Whether one of its flow logs delivers to the log group of the settings, so that AWS may reject another one.
        to_group: bool,
        /// See [`VpcPlan::Enroll`].
        beside: Option<Lacking>,
    },
    /// AWS returns its managed flow log with other properties than it was created with. It is not replaced.
    NotAsAsked {
        /// The flow log.
        flow_log: FlowLogId,
        /// What differs from the settings, as shown to operators.
        differences: String,
    },
    /// It is out of scope and left alone.
    OutOfScope(OutOfScope),
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
    /// Covered VPCs whose replaced flow logs are kept for now.
    pub unfinished: BTreeMap<VpcId, Finding>,
    /// The VPCs in scope whose own tags narrow what they record, or would narrow it if they were not ignored.
    pub tags: BTreeMap<VpcId, TagEffect>,
    /// The VPCs whose entry in `opted_out_vpcs` has expired, with what that means.
    pub expired: BTreeMap<VpcId, String>,
    /// What an operator should know although the plan does nothing about it.
    pub notes: Vec<String>,
    /// What masks the records on their way, if something does. The steps are worth doing, but nothing is covered.
    pub masked: Option<Finding>,
    /// Why nothing can be done, if so. There are no steps then.
    pub blocked: Option<Blocked>,
}
