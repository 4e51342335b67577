//! Client-side rate limits: each API is called no faster than AWS documents, per account and Region.
//!
//! AWS would reject calls beyond that, and rejected calls count, too. The limits hold for one process. What other
//! processes and other tools use of the same allowance shows as throttling, which the SDK retries with backoff.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use enroller_core::ids::{AccountId, Region};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Time;

/// Whether calls wait for AWS's documented rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimits {
    /// Each API at the rate and burst AWS documents.
    Documented,
    /// No waiting: for tests, and for endpoints without limits.
    Unlimited,
}

/// An API: its name as in IAM, and the rate at which AWS allows calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Api {
    pub(crate) operation: &'static str,
    quota: Option<Quota>,
}

impl Api {
    /// Whether calls only read.
    pub(crate) fn reads(self) -> bool {
        let name = self.operation.split_once(':').map_or("", |(_, name)| name);
        ["Describe", "Get", "List"].iter().any(|verb| name.starts_with(verb))
    }
}

const fn at_least_one(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

const fn api(operation: &'static str, per_second: u32, burst: u32) -> Api {
    let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
    Api { operation, quota: Some(quota) }
}

const fn undocumented(operation: &'static str) -> Api {
    Api { operation, quota: None }
}

// EC2 developer guide, "Request throttling": a bucket for each API, account and Region; 100 refilled with 20 a second
// for non-mutating APIs, 50 refilled with 5 a second for mutating ones.
pub(crate) const DESCRIBE_VPCS: Api = api("ec2:DescribeVpcs", 20, 100);
pub(crate) const DESCRIBE_FLOW_LOGS: Api = api("ec2:DescribeFlowLogs", 20, 100);
pub(crate) const DESCRIBE_REGIONS: Api = api("ec2:DescribeRegions", 20, 100);
pub(crate) const CREATE_FLOW_LOGS: Api = api("ec2:CreateFlowLogs", 5, 50);
pub(crate) const DELETE_FLOW_LOGS: Api = api("ec2:DeleteFlowLogs", 5, 50);
pub(crate) const CREATE_TAGS: Api = api("ec2:CreateTags", 5, 50);

// CloudWatch Logs user guide, "CloudWatch Logs quotas": requests a second, per account and Region. No burst is
// documented, so it is assumed to be that of one second.
pub(crate) const DESCRIBE_LOG_GROUPS: Api = api("logs:DescribeLogGroups", 10, 10);
pub(crate) const LIST_TAGS: Api = api("logs:ListTagsForResource", 30, 30);
pub(crate) const DESCRIBE_FILTERS: Api = api("logs:DescribeSubscriptionFilters", 5, 5);
// Their quotas are not documented. They are called only where a data protection policy is in force.
pub(crate) const GET_DATA_PROTECTION: Api = api("logs:GetDataProtectionPolicy", 5, 5);
pub(crate) const DESCRIBE_ACCOUNT_POLICIES: Api = api("logs:DescribeAccountPolicies", 5, 5);
pub(crate) const CREATE_LOG_GROUP: Api = api("logs:CreateLogGroup", 10, 10);
pub(crate) const PUT_RETENTION: Api = api("logs:PutRetentionPolicy", 5, 5);
pub(crate) const DELETE_RETENTION: Api = api("logs:DeleteRetentionPolicy", 5, 5);
pub(crate) const PUT_FILTER: Api = api("logs:PutSubscriptionFilter", 5, 5);
pub(crate) const DESCRIBE_DESTINATIONS: Api = api("logs:DescribeDestinations", 5, 5);
pub(crate) const PUT_DESTINATION: Api = api("logs:PutDestination", 5, 5);
pub(crate) const PUT_DESTINATION_POLICY: Api = api("logs:PutDestinationPolicy", 5, 5);
pub(crate) const ASSOCIATE_KMS_KEY: Api = undocumented("logs:AssociateKmsKey");

// Organizations user guide, "Quotas": rate and burst of one account. Other tools share the organization's bucket.
pub(crate) const LIST_ACCOUNTS: Api = api("organizations:ListAccounts", 8, 12);
pub(crate) const DESCRIBE_ACCOUNT: Api = api("organizations:DescribeAccount", 20, 30);
pub(crate) const LIST_PARENTS: Api = api("organizations:ListParents", 5, 8);
pub(crate) const DESCRIBE_ORGANIZATION: Api = undocumented("organizations:DescribeOrganization");

// IAM user guide, "IAM and AWS STS quotas": 600 a second for all STS calls of the calling account in a Region.
pub(crate) const ASSUME_ROLE: Api = api("sts:AssumeRole", 600, 600);
pub(crate) const GET_CALLER_IDENTITY: Api = api("sts:GetCallerIdentity", 600, 600);

pub(crate) const GET_ROLE: Api = undocumented("iam:GetRole");
pub(crate) const GET_ROLE_POLICY: Api = undocumented("iam:GetRolePolicy");
pub(crate) const CREATE_ROLE: Api = undocumented("iam:CreateRole");
pub(crate) const UPDATE_TRUST: Api = undocumented("iam:UpdateAssumeRolePolicy");
pub(crate) const PUT_ROLE_POLICY: Api = undocumented("iam:PutRolePolicy");

// Standard queues are practically unlimited. A FIFO queue accepts 3,000 messages a second in batches, more than
// account-onboarder can read.
pub(crate) const SEND_MESSAGE: Api = undocumented("sqs:SendMessage");
pub(crate) const CHANGE_VISIBILITY: Api = undocumented("sqs:ChangeMessageVisibility");
pub(crate) const INVOKE: Api = undocumented("lambda:Invoke");
pub(crate) const GET_QUEUE: Api = undocumented("sqs:GetQueueAttributes");

// EventBridge user guide, "Amazon EventBridge quotas": 50 a second for the control plane APIs of an account and Region.
// Whether that applies to each of them or to all together is not documented.
pub(crate) const DESCRIBE_EVENT_BUS: Api = api("events:DescribeEventBus", 50, 50);
pub(crate) const DESCRIBE_RULE: Api = api("events:DescribeRule", 50, 50);
pub(crate) const LIST_RULE_NAMES: Api = api("events:ListRuleNamesByTarget", 50, 50);
pub(crate) const LIST_TARGETS: Api = api("events:ListTargetsByRule", 50, 50);

// AWS General Reference, "AWS CloudTrail endpoints and quotas": 10 a second for each API, account and Region.
pub(crate) const DESCRIBE_TRAILS: Api = api("cloudtrail:DescribeTrails", 10, 10);
pub(crate) const GET_TRAIL_STATUS: Api = api("cloudtrail:GetTrailStatus", 10, 10);

type Key = (AccountId, Region);
type Limiter = RateLimiter<Key, HashMapStateStore<Key>, Time, NoOpMiddleware<Duration>>;

/// The number of keys in a limiter beyond which those with a full bucket are dropped; a full bucket is the same as
/// none.
const MAX_KEYS: usize = 4_096;

impl governor::clock::Clock for Time {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.since_epoch()
    }
}

/// The token buckets of all APIs, accounts and Regions.
pub(crate) struct Limits {
    time: Option<Time>,
    limiters: Mutex<HashMap<&'static str, Arc<Limiter>>>,
}

impl Limits {
    pub(crate) fn new(kind: RateLimits, time: Time) -> Self {
        let time = match kind {
            RateLimits::Documented => Some(time),
            RateLimits::Unlimited => None,
        };
        Self { time, limiters: Mutex::default() }
    }

    /// Waits until the API may be called once in this account and Region.
    pub(crate) async fn ready(&self, api: Api, account: AccountId, region: &Region) {
        let (Some(time), Some(quota)) = (&self.time, api.quota) else { return };
        let limiter = self.limiter(api.operation, quota, time);
        let key = (account, region.clone());
        while let Err(refusal) = limiter.check_key(&key) {
            time.wait(refusal.wait_time_from(time.since_epoch())).await;
        }
        if limiter.len() > MAX_KEYS {
            limiter.retain_recent();
        }
    }

    fn limiter(&self, operation: &'static str, quota: Quota, time: &Time) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(RateLimiter::hashmap_with_clock(quota, time.clone()));
        Arc::clone(limiters.entry(operation).or_insert_with(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeTime;

    async fn calls(limits: &Limits, api: Api, account: &str, region: &str, count: usize) {
        for _ in 0..count {
            limits.ready(api, account.parse().unwrap(), &region.parse().unwrap()).await;
        }
    }

    #[tokio::test]
    async fn after_the_burst_calls_wait_for_the_refill_on_the_injected_time() {
        let fake = FakeTime::at_seconds(1_000_000);
        let limits = Limits::new(RateLimits::Documented, fake.time());
        calls(&limits, CREATE_FLOW_LOGS, "111122223333", "eu-west-1", 50).await;
        assert_eq!(fake.elapsed(), Duration::ZERO, "the burst is free");
        calls(&limits, CREATE_FLOW_LOGS, "111122223333", "eu-west-1", 10).await;
        assert_eq!(fake.elapsed(), Duration::from_secs(2), "then 5 a second");
    }

    #[tokio::test]
    async fn accounts_regions_and_apis_have_their_own_buckets() {
        let fake = FakeTime::at_seconds(1_000_000);
        let limits = Limits::new(RateLimits::Documented, fake.time());
        calls(&limits, DESCRIBE_DESTINATIONS, "111122223333", "eu-west-1", 5).await;
        calls(&limits, DESCRIBE_DESTINATIONS, "444455556666", "eu-west-1", 5).await;
        calls(&limits, DESCRIBE_DESTINATIONS, "111122223333", "us-east-1", 5).await;
        calls(&limits, PUT_DESTINATION, "111122223333", "eu-west-1", 5).await;
        assert_eq!(fake.elapsed(), Duration::ZERO);
        calls(&limits, DESCRIBE_DESTINATIONS, "111122223333", "eu-west-1", 1).await;
        assert_eq!(fake.elapsed(), Duration::from_millis(200));
    }

    #[tokio::test]
    async fn waits_of_fractional_milliseconds_end() {
        let fake = FakeTime::at_seconds(1_000_000);
        let limits = Limits::new(RateLimits::Documented, fake.time());
        calls(&limits, LIST_TAGS, "111122223333", "eu-west-1", 60).await;
        let elapsed = fake.elapsed();
        assert!((Duration::from_millis(1_000)..Duration::from_millis(1_050)).contains(&elapsed), "{elapsed:?}");
    }

    #[tokio::test]
    async fn unlimited_never_waits() {
        let fake = FakeTime::at_seconds(0);
        let limits = Limits::new(RateLimits::Unlimited, fake.time());
        calls(&limits, PUT_DESTINATION, "111122223333", "eu-west-1", 1_000).await;
        assert_eq!(fake.elapsed(), Duration::ZERO);
    }
}
