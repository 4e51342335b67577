//! What AWS says is there. Texts that the enroller only compares are kept as AWS wrote them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, FlowLogId, Invalid, ParentId, VpcId};

/// Tags of a resource, by key.
pub type Tags = BTreeMap<String, String>;

/// Which traffic a flow log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TrafficType {
    /// Accepted and rejected traffic.
    All,
    /// Accepted traffic only.
    Accept,
    /// Rejected traffic only.
    Reject,
}

impl TrafficType {
    /// The value as CreateFlowLogs takes it.
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

/// A VPC as DescribeVpcs shows it to the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// Its id.
    pub id: VpcId,
    /// The account that owns it. Shared-in VPCs are visible too, and not ours to log.
    pub owner: AccountId,
    /// Made by AWS when the account or Region was set up.
    pub is_default: bool,
    /// Its tags; AWS does not show the owner's tags to participants.
    pub tags: Tags,
}

/// Where a flow log delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowLogTarget {
    /// A CloudWatch Logs group of the same account and Region, by name.
    LogGroup(String),
    /// S3 or Firehose, by ARN.
    Other(String),
}

/// How the last delivery of a flow log went. `FlowLogStatus` says ACTIVE even when nothing arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing has been delivered or tried yet.
    Unknown,
    /// The last delivery worked.
    Success,
    /// It failed; AWS's message is `Rate limited`, `Access error` or `Unknown error`, with or without a suffix.
    Failed(String),
}

/// A flow log as DescribeFlowLogs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowLog {
    /// Its id.
    pub id: FlowLogId,
    /// What it watches: a VPC, subnet, network interface or transit gateway.
    pub resource: String,
    /// Which traffic it records; absent for transit gateways.
    pub traffic_type: Option<TrafficType>,
    /// Where it delivers.
    pub target: FlowLogTarget,
    /// ARN of the role it delivers with.
    pub delivery_role: Option<String>,
    /// Longest aggregation interval, in seconds: 60 or 600.
    pub interval: u32,
    /// Its format, `${field} ${field}`; absent means AWS's default format.
    pub format: Option<String>,
    /// How the last delivery went.
    pub delivery: Delivery,
    /// Its tags.
    pub tags: Tags,
}

/// A log group's class; only STANDARD can carry a subscription filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogGroupClass {
    /// Can be subscribed to.
    Standard,
    /// INFREQUENT_ACCESS, DELIVERY or one that came later.
    Other(String),
}

/// A log group as DescribeLogGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroup {
    /// Days that events are kept; absent means for ever.
    pub retention_days: Option<u32>,
    /// ARN of the KMS key that new events are encrypted with.
    pub kms_key: Option<String>,
    /// Its class, fixed at creation.
    pub class: LogGroupClass,
    /// Its tags, looked up only where a setting differs from the desired one; `None` when not looked up.
    pub tags: Option<Tags>,
}

/// A subscription filter as DescribeSubscriptionFilters shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionFilter {
    /// Its name; PutSubscriptionFilter with the same name replaces it.
    pub name: String,
    /// Which events pass; the empty pattern passes all.
    pub pattern: String,
    /// ARN of the destination.
    pub destination: String,
    /// ARN of the role it delivers with, which organization-wide destinations demand.
    pub role: Option<String>,
}

/// Everything the planner looks at in one account and Region.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The VPCs visible to the account.
    pub vpcs: Vec<Vpc>,
    /// The flow logs of the account.
    pub flow_logs: Vec<FlowLog>,
    /// The log group of the settings, if it exists.
    pub log_group: Option<LogGroup>,
    /// The subscription filters on it.
    pub filters: Vec<SubscriptionFilter>,
}

/// An account's place in its life, as Organizations' `State` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountState {
    /// Being set up by AWS.
    PendingActivation,
    /// In normal use: the only state in which accounts are enrolled.
    Active,
    /// Restricted by AWS; its grant is kept.
    Suspended,
    /// Being closed; resources still work, so its grant is kept.
    PendingClosure,
    /// Closed; listed for some 90 days more. Its grant goes.
    Closed,
    /// A state this version does not know: kept as it is, never enrolled and never revoked.
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
            Self::Unknown => "not known to this version",
        })
    }
}

/// A member account as Organizations lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name, for people.
    pub name: String,
    /// Its place in its life.
    pub state: AccountState,
    /// The roots and organizational units above it, outermost first; empty when not known.
    pub parents: Vec<ParentId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traffic_type_is_written_as_the_api_takes_it_and_read_in_any_letters() {
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
