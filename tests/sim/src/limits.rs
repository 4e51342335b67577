//! AWS's request rate limits as token buckets, off by default.

use std::collections::HashMap;
use std::time::Instant;

use crate::call::{ApiError, Call, Service};

/// Which clock refills the buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitClock {
    /// Nothing is limited; the default.
    #[default]
    Off,
    /// Virtual time: a bucket refills only when the test moves the clock.
    Virtual,
    /// Real time, for a simulated AWS that serves real programs.
    Real,
}

/// The token buckets of all accounts, Regions and operations.
#[derive(Debug)]
pub struct Limits {
    /// Clock that refills the buckets; [`LimitClock::Off`] lifts all limits.
    pub clock: LimitClock,
    buckets: HashMap<BucketKey, Bucket>,
    started: Instant,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clock: LimitClock::Off, buckets: HashMap::new(), started: Instant::now() }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BucketKey {
    /// Empty for a bucket of the whole organization.
    account: String,
    region: String,
    service: Service,
    /// Empty for a bucket that all operations of the service share.
    operation: String,
}

/// Thousandths of a token make the arithmetic exact: a rate per second is that many thousandths per millisecond.
#[derive(Debug)]
struct Bucket {
    thousandths: u64,
    refilled_ms: u64,
}

/// Sustained calls per second, and the burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    per_second: u64,
    burst: u64,
}

const fn rate(per_second: u64, burst: u64) -> Rate {
    Rate { per_second, burst }
}

impl Limits {
    /// Takes a token for the call, or throttles it.
    pub(crate) fn check(&mut self, call: &Call, virtual_ms: u64) -> Result<(), ApiError> {
        let now_ms = match self.clock {
            LimitClock::Off => return Ok(()),
            LimitClock::Virtual => virtual_ms,
            LimitClock::Real => u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        let (own, organization) = rates_of(call.service, &call.operation);
        // STS counts all its calls together (IAM user guide, "IAM and AWS STS quotas").
        let operation = if call.service == Service::Sts { "" } else { &call.operation };
        let passes = |limits: &mut Self, account: &str, rate: Option<Rate>| {
            rate.is_none_or(|rate| limits.take(account, call, operation, rate, now_ms))
        };
        if passes(self, &call.caller.account, own) && passes(self, "", organization) {
            return Ok(());
        }
        Err(throttle(call.service))
    }

    fn take(&mut self, account: &str, call: &Call, operation: &str, rate: Rate, now_ms: u64) -> bool {
        let key = BucketKey {
            account: account.to_owned(),
            region: call.region.clone(),
            service: call.service,
            operation: operation.to_owned(),
        };
        let full = rate.burst * 1000;
        let bucket = self.buckets.entry(key).or_insert(Bucket { thousandths: full, refilled_ms: now_ms });
        let gained = now_ms.saturating_sub(bucket.refilled_ms).saturating_mul(rate.per_second);
        bucket.thousandths = bucket.thousandths.saturating_add(gained).min(full);
        bucket.refilled_ms = now_ms;
        let passes = bucket.thousandths >= 1000;
        if passes {
            bucket.thousandths -= 1000;
        }
        passes
    }
}

/// The limit of an operation per account and Region, and the one of the whole organization.
fn rates_of(service: Service, operation: &str) -> (Option<Rate>, Option<Rate>) {
    match service {
        Service::Ec2 => (Some(ec2_rate(operation)), None),
        Service::Logs => (logs_rate(operation), None),
        // IAM user guide, "IAM and AWS STS quotas": 600 a second per account and Region, charged to the caller.
        Service::Sts => (Some(rate(600, 600)), None),
        Service::Organizations => organizations_rates(operation),
        // EventBridge user guide, "Amazon EventBridge quotas": 50 a second for control plane APIs.
        Service::Events => (Some(rate(50, 50)), None),
        // AWS General Reference, "AWS CloudTrail endpoints and quotas": 10 a second for each reading API.
        Service::CloudTrail => (Some(rate(10, 10)), None),
        // No documented figures to hold a caller to.
        Service::Iam | Service::Sqs => (None, None),
    }
}

/// EC2 developer guide, "Request throttling": one bucket per API, by class of the action.
fn ec2_rate(operation: &str) -> Rate {
    match operation {
        "CreateTags" | "DeleteTags" => rate(10, 100),
        "CreateDefaultVpc" => rate(1, 1),
        read if read.starts_with("Describe") => rate(20, 100),
        _ => rate(5, 50),
    }
}

/// CloudWatch Logs user guide, "CloudWatch Logs quotas"; a burst above the rate is not documented.
fn logs_rate(operation: &str) -> Option<Rate> {
    let per_second = match operation {
        "CreateLogGroup" | "DeleteLogGroup" | "DescribeLogGroups" => 10,
        "PutRetentionPolicy"
        | "DeleteRetentionPolicy"
        | "PutSubscriptionFilter"
        | "DeleteSubscriptionFilter"
        | "DescribeSubscriptionFilters"
        | "PutDestination"
        | "PutDestinationPolicy"
        | "DescribeDestinations"
        | "DeleteDestination"
        | "TagResource"
        | "UntagResource" => 5,
        "ListTagsForResource" => 30,
        "CreateLogStream" => 50,
        "DescribeLogStreams" => 25,
        "PutLogEvents" => 5000,
        _ => return None,
    };
    Some(rate(per_second, per_second))
}

/// Organizations user guide, "Quotas for AWS Organizations": per account, and per organization where given.
fn organizations_rates(operation: &str) -> (Option<Rate>, Option<Rate>) {
    match operation {
        "ListAccounts" => (Some(rate(8, 12)), Some(rate(9, 15))),
        "ListAccountsForParent"
        | "ListParents"
        | "ListOrganizationalUnitsForParent"
        | "ListDelegatedAdministrators" => (Some(rate(5, 8)), Some(rate(6, 10))),
        "ListChildren" => (Some(rate(6, 10)), Some(rate(7, 12))),
        "DescribeAccount" => (Some(rate(20, 30)), Some(rate(24, 36))),
        "DescribeOrganization" | "ListRoots" => (Some(rate(1, 2)), None),
        "DescribeOrganizationalUnit" => (Some(rate(2, 2)), None),
        _ => (None, None),
    }
}

/// The throttling error of a service.
pub(crate) fn throttle(service: Service) -> ApiError {
    match service {
        // EC2 developer guide, "Error codes": RequestLimitExceeded, HTTP 503.
        Service::Ec2 => ApiError::new(503, "RequestLimitExceeded", "Request limit exceeded."),
        // Common errors of CloudWatch Logs, EventBridge and CloudTrail.
        Service::Logs | Service::Events | Service::CloudTrail => {
            ApiError::new(400, "ThrottlingException", "Rate exceeded")
        }
        // Common errors of the Query APIs; STS and IAM answer 400.
        Service::Sts | Service::Iam => ApiError::new(400, "Throttling", "Rate exceeded"),
        // Organizations model, TooManyRequestsException.
        Service::Organizations => ApiError::new(
            400,
            "TooManyRequestsException",
            "AWS Organizations can't complete your request because you sent too many requests in too short a time.",
        ),
        // SQS model, RequestThrottled.
        Service::Sqs => ApiError::new(400, "RequestThrottled", "Request is throttled."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Caller;

    fn call(service: Service, operation: &str, account: &str) -> Call {
        let caller = Caller::root(account);
        let (operation, region) = (operation.to_owned(), "us-east-1".to_owned());
        Call { sequence: 1, request_id: String::new(), service, operation, caller, region }
    }

    fn passing(limits: &mut Limits, call: &Call, at_ms: u64) -> usize {
        (0..1000).take_while(|_| limits.check(call, at_ms).is_ok()).count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_refills_with_time() {
        let mut limits = Limits { clock: LimitClock::Virtual, ..Limits::default() };
        let create = call(Service::Ec2, "CreateFlowLogs", "111122223333");
        assert_eq!(passing(&mut limits, &create, 0), 50);
        assert_eq!(passing(&mut limits, &create, 1_000), 5);
        assert_eq!(passing(&mut limits, &create, 1_199), 0);
        assert_eq!(passing(&mut limits, &create, 1_200), 1);
        assert_eq!(passing(&mut limits, &call(Service::Ec2, "DescribeVpcs", "111122223333"), 1_200), 100);
        assert_eq!(passing(&mut limits, &call(Service::Ec2, "CreateFlowLogs", "444455556666"), 1_200), 50);
    }

    #[test]
    fn the_organization_shares_one_bucket_among_its_accounts() {
        let mut limits = Limits { clock: LimitClock::Virtual, ..Limits::default() };
        assert_eq!(passing(&mut limits, &call(Service::Organizations, "ListAccounts", "111122223333"), 0), 12);
        let other = call(Service::Organizations, "ListAccounts", "444455556666");
        assert_eq!(passing(&mut limits, &other, 0), 3);
        assert_eq!(limits.check(&other, 0).unwrap_err().code, "TooManyRequestsException");
    }

    #[test]
    fn nothing_is_limited_unless_switched_on() {
        assert_eq!(passing(&mut Limits::default(), &call(Service::Ec2, "CreateDefaultVpc", "1"), 0), 1000);
    }
}
