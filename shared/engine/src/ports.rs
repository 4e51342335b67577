//! What the engine needs from the outside, as small object-safe traits that name what we do, not what AWS offers.
//!
//! Every call returns [`AwsError`], whose code decides what happens next. Implementations page until AWS says that
//! there is no more, retry what is transient, keep to AWS's documented rates and never log and forget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use enroller_core::arn::Arn;
use enroller_core::error::AwsError;
use enroller_core::ids::{AccountId, AccountRegion, FlowLogId, Region, VpcId};
use enroller_core::log::LogEntry;
use enroller_core::metrics::Metrics;
use enroller_core::names::{DestinationName, LogGroupName, RoleName};
use enroller_core::observed::{Account, FlowLog, LogGroup, SubscriptionFilter, Tags, Vpc};
use enroller_core::plan::FlowLogSpec;
use enroller_core::settings::Tag;
use serde_json::Value;

/// The outcome of one AWS call.
pub type AwsResult<T> = Result<T, AwsError>;

/// Entering member accounts.
#[async_trait]
pub trait MemberSessions: Send + Sync {
    /// Takes on the member role in an account, once: the credentials are kept, serve all Regions and are renewed
    /// before they expire. Every other call does this too; asking first keeps a failure to one call.
    async fn assume(&self, account: AccountId) -> AwsResult<()>;
}

/// VPCs and flow logs of member accounts (EC2).
#[async_trait]
pub trait Ec2: Send + Sync {
    /// The VPCs that the account owns in a Region.
    async fn vpcs(&self, at: &AccountRegion) -> AwsResult<Vec<Vpc>>;
    /// All flow logs of the account in a Region.
    async fn flow_logs(&self, at: &AccountRegion) -> AwsResult<Vec<FlowLog>>;
    /// Makes flow logs in one call. HTTP 200 can carry failures, so every VPC has its own result.
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
    /// The Regions the account has enabled, asked in the home Region.
    async fn enabled_regions(&self, account: AccountId) -> AwsResult<BTreeSet<Region>>;
}

/// Flow logs to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFlowLogs {
    /// For which VPCs, at most 300.
    pub vpcs: Vec<VpcId>,
    /// How each should be.
    pub spec: FlowLogSpec,
    /// The log group of the same account and Region.
    pub log_group: LogGroupName,
    /// Marks them as ours.
    pub tag: Tag,
}

/// Log groups and subscription filters of member accounts (CloudWatch Logs).
#[async_trait]
pub trait Logs: Send + Sync {
    /// The log group of exactly this name, without its tags.
    async fn log_group(&self, at: &AccountRegion, name: &LogGroupName) -> AwsResult<Option<LogGroup>>;
    /// The tags of a log group.
    async fn log_group_tags(&self, at: &AccountRegion, name: &LogGroupName) -> AwsResult<Tags>;
    /// The filters on a log group; none if there is no such group.
    async fn subscription_filters(
        &self,
        at: &AccountRegion,
        group: &LogGroupName,
    ) -> AwsResult<Vec<SubscriptionFilter>>;
    /// Makes a log group of class STANDARD.
    async fn create_log_group(
        &self,
        at: &AccountRegion,
        name: &LogGroupName,
        kms_key: Option<&str>,
        tag: &Tag,
    ) -> AwsResult<()>;
    /// Sets the retention in days, or removes it: events are then kept for ever.
    async fn set_retention(&self, at: &AccountRegion, name: &LogGroupName, days: Option<u32>) -> AwsResult<()>;
    /// Encrypts new events with a key.
    async fn associate_kms_key(&self, at: &AccountRegion, name: &LogGroupName, key: &str) -> AwsResult<()>;
    /// Makes a filter or replaces the one of the same name.
    async fn put_subscription_filter(
        &self,
        at: &AccountRegion,
        group: &LogGroupName,
        filter: &SubscriptionFilter,
    ) -> AwsResult<()>;
}

/// A role as IAM shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// Its trust policy.
    pub trust: Value,
    /// Its tags.
    pub tags: Tags,
}

/// Roles of member accounts (IAM, global per account).
#[async_trait]
pub trait Roles: Send + Sync {
    /// The role, if it exists.
    async fn role(&self, account: AccountId, name: &RoleName) -> AwsResult<Option<Role>>;
    /// One inline policy of a role, if it exists.
    async fn inline_policy(&self, account: AccountId, role: &RoleName, policy: &str) -> AwsResult<Option<Value>>;
    /// Makes a role.
    async fn create_role(&self, account: AccountId, name: &RoleName, trust: &Value, tag: &Tag) -> AwsResult<()>;
    /// Replaces a role's trust policy.
    async fn set_trust(&self, account: AccountId, name: &RoleName, trust: &Value) -> AwsResult<()>;
    /// Makes or replaces an inline policy of a role.
    async fn put_inline_policy(
        &self,
        account: AccountId,
        role: &RoleName,
        policy: &str,
        document: &Value,
    ) -> AwsResult<()>;
}

/// A destination as DescribeDestinations shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name.
    pub name: DestinationName,
    /// ARN of the stream behind it.
    pub target: Arn,
    /// ARN of the role CloudWatch Logs writes with.
    pub role: Arn,
    /// Its access policy, verbatim; `None` lets nobody in.
    pub policy: Option<String>,
}

/// The destinations of the central account (CloudWatch Logs), read. Their writer is
/// [`DestinationWriter`](crate::granter::DestinationWriter), which only the granter can use.
#[async_trait]
pub trait DestinationReader: Send + Sync {
    /// All destinations of a Region whose names start with `prefix`. AWS allows 5 such calls a second and Region
    /// for the whole central account.
    async fn destinations(&self, region: &Region, prefix: &DestinationName) -> AwsResult<Vec<Destination>>;
}

/// The organization (AWS Organizations), read with delegated rights.
#[async_trait]
pub trait Organization: Send + Sync {
    /// All accounts with the OUs above them. An error rather than part of the list.
    async fn accounts(&self) -> AwsResult<Vec<Account>>;
    /// One account, or `None` if Organizations says that it is no member.
    async fn account(&self, id: AccountId) -> AwsResult<Option<Account>>;
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The body.
    pub body: String,
    /// Seconds before it can be received, up to 900; FIFO queues ignore it.
    pub delay_seconds: u32,
    /// For FIFO queues: the message group and the deduplication id.
    pub fifo: Option<(String, String)>,
}

/// Queues (SQS).
#[async_trait]
pub trait Queues: Send + Sync {
    /// Sends messages in batches of ten. Returns how many were sent; an error if any was not.
    async fn send(&self, queue_url: &str, messages: Vec<Outgoing>) -> AwsResult<usize>;
    /// Hides a received message for some seconds more, up to 43,200.
    async fn change_visibility(&self, queue_url: &str, receipt: &str, seconds: u32) -> AwsResult<()>;
}

/// The time, which the core never reads itself.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> u64;
    /// Returns when the clock reaches this time.
    async fn sleep_until(&self, at_ms: u64);
}

/// Where decisions and metrics go.
pub trait DecisionLog: Send + Sync {
    /// One decision: one line.
    fn entry(&self, entry: &LogEntry);
    /// What one invocation measured.
    fn metrics(&self, metrics: &Metrics);
}

/// The ports that several workers use. Each worker keeps what it needs of them.
#[derive(Clone)]
pub struct Ports {
    /// See [`MemberSessions`].
    pub sessions: Arc<dyn MemberSessions>,
    /// See [`Ec2`].
    pub ec2: Arc<dyn Ec2>,
    /// See [`Logs`].
    pub logs: Arc<dyn Logs>,
    /// See [`Roles`].
    pub roles: Arc<dyn Roles>,
    /// See [`DestinationReader`].
    pub destinations: Arc<dyn DestinationReader>,
    /// See [`Organization`].
    pub organization: Arc<dyn Organization>,
    /// See [`Queues`].
    pub queues: Arc<dyn Queues>,
}

/// Where each Region's account is granted: the destination's name.
pub type RegionDestinations = BTreeMap<Region, DestinationName>;
