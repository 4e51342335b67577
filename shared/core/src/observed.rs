//! The observed state: resources as AWS returns them. Texts that the enroller only compares are kept as AWS wrote them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, FlowLogId, Invalid, ParentId, VpcId};

/// Tags of a resource, by key.
pub type Tags = BTreeMap<String, String>;

/// The traffic that a flow log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the variants are AWS's own")]
pub enum TrafficType {
    /// Accepted and rejected traffic.
    All,
    Accept,
    Reject,
}

impl TrafficType {
    /// The value of CreateFlowLogs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
        }
    }
}

impl std::fmt::Display for TrafficType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for TrafficType {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::All, Self::Accept, Self::Reject]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| Invalid::new("a traffic type", text, "ALL, ACCEPT or REJECT"))
    }
}

/// A VPC as DescribeVpcs returns it to the account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`id` is described by its type")]
pub struct Vpc {
    pub id: VpcId,
    /// The account that owns it. VPCs shared by other accounts are visible, too, but only their owner can log them.
    pub owner: AccountId,
    /// Whether it is a default VPC, created by AWS when the account or Region was set up.
    pub is_default: bool,
    /// Its tags. AWS does not return the owner's tags to participants of a shared VPC.
    pub tags: Tags,
}

/// Where a flow log delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowLogTarget {
    /// A CloudWatch Logs group of the same account and Region, by name.
    LogGroup(String),
    /// S3 or Firehose, or a log group of another account or Region, by ARN or by a description.
    Other(String),
}

/// The result of a flow log's last delivery. `FlowLogStatus` is ACTIVE even when nothing arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// No delivery has been attempted yet. For a VPC without a network interface or traffic, it stays so.
    Unknown,
    /// The last delivery succeeded.
    Success,
    /// The last delivery failed. AWS's message is `Rate limited`, `Access error` or `Unknown error`, with or without a
    /// suffix.
    Failed(String),
}

/// A flow log as DescribeFlowLogs returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`id`, `target` and `tags` are described by their types")]
pub struct FlowLog {
    pub id: FlowLogId,
    /// What it records: a VPC, subnet, network interface or transit gateway.
    pub resource: String,
    /// The traffic it records; absent for transit gateways.
    pub traffic_type: Option<TrafficType>,
    pub target: FlowLogTarget,
    /// The ARN of the role it delivers with.
    pub delivery_role: Option<String>,
    /// The longest aggregation interval in seconds: 60 or 600.
    pub interval: u32,
    /// The format, `${field} ${field}`; absent for AWS's default format.
    pub format: Option<String>,
    /// Whether `FlowLogStatus` is ACTIVE, the only status that AWS documents.
    pub active: bool,
    /// The result of its last delivery.
    pub delivery: Delivery,
    /// When it was created, in epoch milliseconds; `None` if AWS did not say.
    pub created_ms: Option<u64>,
    /// Its tags.
    pub tags: Tags,
}

/// A log group's class. Only STANDARD supports subscription filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogGroupClass {
    /// STANDARD, or no class in AWS's answer.
    Standard,
    /// INFREQUENT_ACCESS, DELIVERY or one this version does not know.
    Other(String),
}

/// A log group as DescribeLogGroups returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroup {
    /// The days that events are kept; absent means for ever.
    pub retention_days: Option<u32>,
    /// The account-level retention policy that sets the days, if one does. PutRetentionPolicy then succeeds and changes
    /// nothing (CloudWatch Logs API reference, PutAccountPolicy with RETENTION_POLICY).
    pub retention_policy: Option<String>,
    /// The ARN of the KMS key that new events are encrypted with; absent means AWS's default encryption.
    pub kms_key: Option<String>,
    /// The class, which is fixed at creation.
    pub class: LogGroupClass,
    /// When it was created, in epoch milliseconds; `None` if AWS did not say.
    pub created_ms: Option<u64>,
    /// The data protection policies that apply to it; empty where none does.
    pub protection: Vec<DataProtection>,
    /// The tags, fetched only where something differs that the owner may want so; `None` if not fetched.
    pub tags: Option<Tags>,
}

/// What a data protection policy belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProtectionScope {
    /// The log group, as its `dataProtectionStatus` says.
    LogGroup,
    /// The account, as the log group's `inheritedProperties` say.
    Account,
}

/// A data protection policy. What it masks, subscription filters get masked (CloudWatch Logs user guide, "Help protect
/// sensitive log data with masking").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataProtection {
    /// What it belongs to.
    pub scope: ProtectionScope,
    /// Its document; `None` if it could not be read.
    pub document: Option<String>,
}

/// The default of `distribution`, and of a filter without one in AWS's answer.
pub const BY_LOG_STREAM: &str = "ByLogStream";

/// A subscription filter as DescribeSubscriptionFilters returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionFilter {
    /// The filter's name. PutSubscriptionFilter with the same name replaces the filter.
    pub name: String,
    /// The filter pattern; an empty one passes all events.
    pub pattern: String,
    /// The ARN of the destination.
    pub destination: String,
    /// The ARN of the role it delivers with, which a destination requires whose policy names an organization.
    pub role: Option<String>,
    /// What else decides which events pass, and in which form.
    pub form: FilterForm,
}

/// What decides, besides the pattern, which events pass a subscription filter and in which form. The default passes
/// events as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterForm {
    /// An expression over system fields, such as the account; an empty one passes all events.
    pub field_selection: String,
    /// Whether it gets events as a transformer of the log group or account left them. If not, transformers change
    /// nothing of what it passes.
    pub transformed: bool,
    /// System fields that are added to each event.
    pub system_fields: Vec<String>,
    /// How a Kinesis data stream gets the events: `ByLogStream` or `Random`.
    pub distribution: String,
}

impl Default for FilterForm {
    fn default() -> Self {
        let (field_selection, system_fields) = Default::default();
        Self { field_selection, transformed: false, system_fields, distribution: BY_LOG_STREAM.to_owned() }
    }
}

/// Everything the planner needs to know about one account-Region.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The VPCs visible to the account.
    pub vpcs: Vec<Vpc>,
    /// The flow logs of the account.
    pub flow_logs: Vec<FlowLog>,
    /// The log group named in the settings, if it exists.
    pub log_group: Option<LogGroup>,
    /// The log group's subscription filters; empty for a log group of a class without filters.
    pub filters: Vec<SubscriptionFilter>,
}

/// An account's state, from `State` of Organizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountState {
    /// AWS is setting it up.
    PendingActivation,
    /// It is in use.
    Active,
    /// AWS has restricted it. Its grant is kept.
    Suspended,
    /// It is being closed. Its resources still work, so its grant is kept.
    PendingClosure,
    /// It is closed, and listed for some 90 days more. Its grant is removed.
    Closed,
    /// A state that this version does not know. That is a failure, and neither an exclusion nor a departure. The
    /// account is reconciled like an active one. It keeps its grant and gets no new one, and each sync of the grants
    /// reports it.
    Unknown,
}

impl std::fmt::Display for AccountState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::PendingActivation => "PENDING_ACTIVATION",
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::PendingClosure => "PENDING_CLOSURE",
            Self::Closed => "CLOSED",
            Self::Unknown => "unknown to this version",
        })
    }
}

/// A member account as Organizations returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`id` and `state` are described by their types")]
pub struct Account {
    pub id: AccountId,
    /// The account's name, as shown to operators.
    pub name: String,
    pub state: AccountState,
    /// The roots and organizational units above it, outermost first; empty if unknown.
    pub parents: Vec<ParentId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traffic_type_is_written_as_in_the_api_and_read_in_any_case() {
        for (kind, text) in
            [(TrafficType::All, "ALL"), (TrafficType::Accept, "ACCEPT"), (TrafficType::Reject, "REJECT")]
        {
            assert_eq!((kind.as_str(), format!("{kind:>8}")), (text, format!("{text:>8}")));
            assert_eq!(text.to_lowercase().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), text);
        }
        assert!("NONE".parse::<TrafficType>().is_err());
    }
}
