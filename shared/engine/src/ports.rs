//! What the workers need from the outside, as small object-safe traits. They name what the product does, not what AWS
//! offers.
//!
//! Every call returns [`AwsError`], whose code decides what happens next. Implementations read all pages, retry
//! transient errors, keep to AWS's documented rates, and return every error instead of only logging it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use enroller_core::arn::Arn;
use enroller_core::error::AwsError;
use enroller_core::ids::{AccountId, AccountRegion, FlowLogId, Region, VpcId};
use enroller_core::log::LogEntry;
use enroller_core::metrics::Metrics;
use enroller_core::names::{DestinationName, LogGroupName, RoleName};
use enroller_core::observed::{Account, FlowLog, LogGroup, ProtectionScope, SubscriptionFilter, Tags, Vpc};
use enroller_core::plan::FlowLogSpec;
use enroller_core::settings::Tag;
use serde_json::Value;

/// The outcome of one AWS call.
pub type AwsResult<T> = Result<T, AwsError>;

/// Sessions in member accounts (STS).
#[async_trait]
pub trait MemberSessions: Send + Sync {
    /// Assumes the member role in an account. The credentials are cached, serve all Regions and are renewed before they
    /// expire. Every other call in the account assumes the role too. Assuming it first limits a failure to one call.
    async fn assume(&self, account: AccountId) -> AwsResult<()>;
}

/// VPCs and flow logs of member accounts (EC2).
#[async_trait]
pub trait Ec2: Send + Sync {
    /// The VPCs that the account owns in a Region.
    async fn vpcs(&self, at: &AccountRegion) -> AwsResult<Vec<Vpc>>;
    /// All flow logs of the account in a Region.
    async fn flow_logs(&self, at: &AccountRegion) -> AwsResult<Vec<FlowLog>>;
    /// Creates flow logs in one call. An answer with HTTP status 200 can carry failures, so every VPC has its own
    /// result.
    async fn create_flow_logs(
        &self,
        at: &AccountRegion,
        new: &NewFlowLogs,
    ) -> AwsResult<Vec<(VpcId, AwsResult<FlowLogId>)>>;
    /// Deletes flow logs in one call; every id has its own result.
    async fn delete_flow_logs(
        &self,
        at: &AccountRegion,
        ids: &[FlowLogId],
    ) -> AwsResult<Vec<(FlowLogId, AwsResult<()>)>>;
    /// Puts a tag on flow logs, in one call.
    async fn tag_flow_logs(&self, at: &AccountRegion, ids: &[FlowLogId], tag: &Tag) -> AwsResult<()>;
    /// The Regions that the account has enabled. The call goes to the home Region.
    async fn enabled_regions(&self, account: AccountId) -> AwsResult<BTreeSet<Region>>;
}

/// Flow logs to create with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFlowLogs {
    /// The VPCs, at most 300.
    pub vpcs: Vec<VpcId>,
    /// The properties of each flow log.
    pub spec: FlowLogSpec,
    /// The log group in the same account and Region that they deliver to.
    pub log_group: LogGroupName,
    /// Their tags. One marks them as managed, and one says which settings they were created with.
    pub tags: Vec<Tag>,
}

/// Log groups and subscription filters of member accounts (CloudWatch Logs).
#[async_trait]
pub trait Logs: Send + Sync {
    /// The log group with exactly this name, without its tags; `None` if it does not exist.
    async fn log_group(&self, at: &AccountRegion, name: &LogGroupName) -> AwsResult<Option<LogGroup>>;
    /// The tags of a log group.
    async fn log_group_tags(&self, at: &AccountRegion, name: &LogGroupName) -> AwsResult<Tags>;
    /// The subscription filters of a log group; empty if the log group does not exist.
    async fn subscription_filters(
        &self,
        at: &AccountRegion,
        group: &LogGroupName,
    ) -> AwsResult<Vec<SubscriptionFilter>>;
    /// The document of the data protection policy of the log group or the account, if there is one.
    async fn data_protection(
        &self,
        at: &AccountRegion,
        name: &LogGroupName,
        scope: ProtectionScope,
    ) -> AwsResult<Option<String>>;
    /// Creates a log group of class STANDARD with these tags.
    async fn create_log_group(
        &self,
        at: &AccountRegion,
        name: &LogGroupName,
        kms_key: Option<&str>,
        tags: &[Tag],
    ) -> AwsResult<()>;
    /// Sets the retention in days. `None` removes it, so that log events never expire.
    async fn set_retention(&self, at: &AccountRegion, name: &LogGroupName, days: Option<u32>) -> AwsResult<()>;
    /// Encrypts new log events with this KMS key.
    async fn associate_kms_key(&self, at: &AccountRegion, name: &LogGroupName, key: &str) -> AwsResult<()>;
    /// Creates a filter, or replaces the one with the same name.
    async fn put_subscription_filter(
        &self,
        at: &AccountRegion,
        group: &LogGroupName,
        filter: &SubscriptionFilter,
    ) -> AwsResult<()>;
}

/// A role as IAM describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// Its trust policy, decoded.
    pub trust: Value,
    /// Its tags.
    pub tags: Tags,
}

/// Roles of member accounts (IAM). They are global in an account.
#[async_trait]
pub trait Roles: Send + Sync {
    /// The role, if it exists.
    async fn role(&self, account: AccountId, name: &RoleName) -> AwsResult<Option<Role>>;
    /// One inline policy of a role, if it exists.
    async fn inline_policy(&self, account: AccountId, role: &RoleName, policy: &str) -> AwsResult<Option<Value>>;
    /// Creates a role with these tags.
    async fn create_role(&self, account: AccountId, name: &RoleName, trust: &Value, tags: &[Tag]) -> AwsResult<()>;
    /// Replaces a role's trust policy.
    async fn set_trust(&self, account: AccountId, name: &RoleName, trust: &Value) -> AwsResult<()>;
    /// Creates or replaces an inline policy of a role.
    async fn put_inline_policy(
        &self,
        account: AccountId,
        role: &RoleName,
        policy: &str,
        document: &Value,
    ) -> AwsResult<()>;
}

/// A destination as DescribeDestinations describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name.
    pub name: DestinationName,
    /// ARN of the stream behind it.
    pub target: Arn,
    /// ARN of the role that CloudWatch Logs writes with.
    pub role: Arn,
    /// Its access policy, verbatim. `None` authorizes no account.
    pub policy: Option<String>,
}

/// Read access to the destinations of the central account (CloudWatch Logs). Write access is the port
/// [`DestinationWriter`](crate::granter::DestinationWriter), which only the granter can use.
#[async_trait]
pub trait DestinationReader: Send + Sync {
    /// All destinations of a Region whose names start with `prefix`. AWS allows 5 such calls per second and Region for
    /// the whole central account.
    async fn destinations(&self, region: &Region, prefix: &DestinationName) -> AwsResult<Vec<Destination>>;
}

/// Read access to the organization (AWS Organizations), with delegated permissions.
#[async_trait]
pub trait Organization: Send + Sync {
    /// All accounts with the OUs above them. An incomplete list is an error.
    async fn accounts(&self) -> AwsResult<Vec<Account>>;
    /// One account, or `None` if Organizations reports that it is not a member.
    async fn account(&self, id: AccountId) -> AwsResult<Option<Account>>;
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The body.
    pub body: String,
    /// Seconds before it can be received, up to 900; FIFO queues ignore it.
    pub delay_seconds: u32,
    /// For FIFO queues: the message group id and the deduplication id.
    pub fifo: Option<(String, String)>,
    /// For standard queues: the message group id of a sender of many messages. Messages of other senders, such as
    /// events, are then received before the rest of them (Amazon SQS developer guide, "Amazon SQS fair queues").
    pub sender: Option<&'static str>,
}

/// Queues (SQS).
#[async_trait]
pub trait Queues: Send + Sync {
    /// Sends messages in batches of ten and returns how many were sent. It is an error if any message was not sent.
    async fn send(&self, queue_url: &str, messages: Vec<Outgoing>) -> AwsResult<usize>;
    /// Sets how many seconds a received message stays invisible from now, at most 43,200.
    async fn change_visibility(&self, queue_url: &str, receipt: &str, seconds: u32) -> AwsResult<()>;
}

/// The time. Core never reads it itself.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Returns when the clock reaches this time, in epoch milliseconds.
    async fn sleep_until(&self, at_ms: u64);
}

/// The destination of log entries and metrics.
pub trait DecisionLog: Send + Sync {
    /// Writes one decision as one line.
    fn entry(&self, entry: &LogEntry);
    /// Writes the metrics of one invocation.
    fn metrics(&self, metrics: &Metrics);
}

/// The ports that several workers use. Each worker keeps only those it needs.
#[expect(missing_docs, reason = "each field is named after its port")]
#[derive(Clone)]
pub struct Ports {
    pub sessions: Arc<dyn MemberSessions>,
    pub ec2: Arc<dyn Ec2>,
    pub logs: Arc<dyn Logs>,
    pub roles: Arc<dyn Roles>,
    pub destinations: Arc<dyn DestinationReader>,
    pub organization: Arc<dyn Organization>,
    pub queues: Arc<dyn Queues>,
}

/// The name of the destination that an account is granted on, by Region.
pub type RegionDestinations = BTreeMap<Region, DestinationName>;
