use std::sync::atomic::AtomicBool;

use enroller_core::error::Code;
use futures::future::join_all;

use super::*;
use crate::testing::{FakeAws, MEMBER, Request, at, ec2_error, query_error};

const NO_VPCS: &str = "<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>";

fn empty(_: &Request) -> (u16, String) {
    (200, NO_VPCS.to_owned())
}

fn member() -> AccountId {
    MEMBER.parse().unwrap()
}

#[tokio::test]
async fn calls_at_the_same_time_in_several_regions_share_one_assume_role() {
    let fake = FakeAws::answering(empty);
    let aws = fake.ports();
    let account_regions = ["us-east-1", "eu-west-1", "ap-south-1"]
        .map(|region| AccountRegion { account: member(), region: region.parse().unwrap() });
    let calls = (0..30).map(|number| aws.ec2.vpcs(&account_regions[number % 3]));
    let (entered, listed) = futures::join!(aws.sessions.assume(member()), join_all(calls));
    entered.unwrap();
    assert!(listed.iter().all(Result::is_ok));
    assert_eq!(fake.asked("AssumeRole").len(), 1);
    assert_eq!(fake.asked("DescribeVpcs").len(), 30);
}

#[tokio::test]
async fn the_role_is_assumed_in_the_home_region_for_one_hour() {
    let fake = FakeAws::answering(empty);
    fake.ports().ec2.vpcs(&at()).await.unwrap();
    let asked = &fake.asked("AssumeRole")[0];
    assert_eq!((asked.access_key.as_str(), asked.region.as_str()), ("CENTRALKEY", "eu-west-1"));
    for (name, value) in [
        ("RoleArn", "arn:aws:iam::444455556666:role/VpcFlowLogsEnrollerMember"),
        ("RoleSessionName", "vpc-flow-logs-enroller"),
        ("DurationSeconds", "3600"),
        ("ExternalId", "extern-1"),
    ] {
        assert_eq!(asked.parameter(name).as_deref(), Some(value), "{name}");
    }
    let listed = &fake.asked("DescribeVpcs")[0];
    assert!(listed.access_key.starts_with("MEMBER"), "{}", listed.access_key);
    assert_eq!(listed.region, "us-east-1");
}

#[tokio::test]
async fn credentials_are_renewed_minutes_before_they_end_and_then_used() {
    let fake = FakeAws::answering(empty);
    let aws = fake.ports();
    aws.ec2.vpcs(&at()).await.unwrap();
    fake.time.advance(Duration::from_secs(54 * 60));
    aws.ec2.vpcs(&at()).await.unwrap();
    assert_eq!(fake.asked("AssumeRole").len(), 1, "six minutes are enough");
    fake.time.advance(Duration::from_secs(2 * 60));
    aws.ec2.vpcs(&at()).await.unwrap();
    assert_eq!(fake.asked("AssumeRole").len(), 2, "four are not");
    let keys: Vec<String> = fake.asked("DescribeVpcs").into_iter().map(|request| request.access_key).collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2], "the cached client must not sign with the old session");
}

#[tokio::test]
async fn waiting_callers_share_a_denied_attempt_and_later_ones_retry() {
    let fake = FakeAws::answering(|_| query_error(403, "AccessDenied", "not authorized to perform: sts:AssumeRole"));
    let aws = fake.ports();
    let at = at();
    let (entered, listed) = futures::join!(aws.sessions.assume(member()), join_all((0..10).map(|_| aws.ec2.vpcs(&at))));
    let errors = listed.into_iter().map(Result::unwrap_err).chain([entered.unwrap_err()]);
    for error in errors {
        assert_eq!((error.operation, &error.code), ("sts:AssumeRole", &Code::AccessDenied));
        assert_eq!((error.account, error.request_id.as_deref()), (Some(member()), Some("request-1")));
    }
    assert_eq!(fake.asked("AssumeRole").len(), 1);
    aws.sessions.assume(member()).await.unwrap_err();
    assert_eq!(fake.asked("AssumeRole").len(), 2);
}

#[tokio::test]
async fn a_token_that_expires_early_is_renewed_and_the_call_made_again_once() {
    let expired = Arc::new(AtomicBool::new(true));
    let fake = FakeAws::answering({
        let expired = Arc::clone(&expired);
        move |request| match request.operation.as_str() {
            "DescribeVpcs" if expired.swap(false, Ordering::SeqCst) => ec2_error(400, "ExpiredToken", "expired"),
            _ => empty(request),
        }
    });
    let aws = fake.ports();
    aws.ec2.vpcs(&at()).await.unwrap();
    assert_eq!((fake.asked("AssumeRole").len(), fake.asked("DescribeVpcs").len()), (2, 2));
    let always = FakeAws::answering(|request| match request.operation.as_str() {
        "DescribeVpcs" => ec2_error(400, "ExpiredToken", "expired"),
        _ => empty(request),
    });
    let error = always.ports().ec2.vpcs(&at()).await.unwrap_err();
    assert_eq!((error.code, always.asked("DescribeVpcs").len()), (Code::CredentialsExpired, 2));
}

#[tokio::test]
async fn where_our_clock_is_hours_fast_sessions_that_seem_to_have_ended_are_used_all_the_same() {
    let fake = FakeAws::behind_us(7_200, empty);
    let aws = fake.ports();
    for _ in 0..3 {
        aws.ec2.vpcs(&at()).await.unwrap();
    }
    assert_eq!(fake.asked("DescribeVpcs").len(), 3);
    assert_eq!(fake.asked("AssumeRole").len(), 3, "one for each call, and no circle of renewals");
}

/// A fake that rejects the calls of the first session in us-east-1.
fn denying_first_session(code: &'static str) -> FakeAws {
    let first = std::sync::Mutex::new(None::<String>);
    FakeAws::answering(move |request| {
        if request.operation == "AssumeRole" {
            return empty(request);
        }
        let mut first = first.lock().unwrap();
        let stale = first.get_or_insert_with(|| request.access_key.clone()) == &request.access_key;
        if stale && request.region == "us-east-1" { ec2_error(403, code, "not authorized") } else { empty(request) }
    })
}

#[tokio::test]
async fn a_session_older_than_its_role_is_replaced_and_the_call_made_again() {
    for code in ["UnauthorizedOperation", "AuthFailure", "RequestExpired"] {
        let fake = denying_first_session(code);
        let aws = fake.ports();
        let ireland = AccountRegion { account: member(), region: "eu-west-1".parse().unwrap() };
        aws.ec2.vpcs(&ireland).await.unwrap();
        fake.time.advance(Duration::from_secs(600));
        aws.ec2.vpcs(&at()).await.unwrap();
        assert_eq!(fake.asked("AssumeRole").len(), 2, "{code}");
    }
}

#[tokio::test]
async fn a_new_session_that_is_denied_is_not_replaced() {
    let denied = FakeAws::answering(|request| match request.operation.as_str() {
        "AssumeRole" => empty(request),
        _ => ec2_error(403, "UnauthorizedOperation", "not authorized"),
    });
    let aws = denied.ports();
    aws.ec2.vpcs(&at()).await.unwrap_err();
    assert_eq!((denied.asked("AssumeRole").len(), denied.asked("DescribeVpcs").len()), (1, 1));
    denied.time.advance(Duration::from_secs(600));
    for _ in 0..3 {
        aws.ec2.vpcs(&at()).await.unwrap_err();
    }
    assert_eq!(denied.asked("AssumeRole").len(), 2, "one more for the three");
    assert_eq!(denied.asked("DescribeVpcs").len(), 5);
}

#[tokio::test]
async fn a_policy_of_the_organization_is_not_blamed_on_the_session() {
    let text = "not authorized, with an explicit deny in a service control policy";
    let fake = FakeAws::answering(move |request| match request.operation.as_str() {
        "AssumeRole" => empty(request),
        _ => ec2_error(403, "UnauthorizedOperation", text),
    });
    let aws = fake.ports();
    for _ in 0..2 {
        aws.ec2.vpcs(&at()).await.unwrap_err();
        fake.time.advance(Duration::from_secs(600));
    }
    assert_eq!(fake.asked("AssumeRole").len(), 1);
}

#[tokio::test]
async fn where_sts_is_switched_off_in_the_home_region_another_region_is_asked() {
    let fake = FakeAws::answering(|request| match (request.operation.as_str(), request.region.as_str()) {
        ("AssumeRole", "eu-west-1") => query_error(403, "RegionDisabledException", "STS is not activated"),
        _ => empty(request),
    });
    fake.ports().ec2.vpcs(&at()).await.unwrap();
    let regions: Vec<_> = fake.asked("AssumeRole").into_iter().map(|request| request.region).collect();
    assert_eq!(regions, ["eu-west-1", "us-east-1"]);
}

#[tokio::test]
async fn where_sts_is_switched_off_everywhere_the_first_answer_is_the_error() {
    let fake = FakeAws::answering(|_| query_error(403, "RegionDisabledException", "STS is not activated"));
    let error = fake.ports().ec2.vpcs(&at()).await.unwrap_err();
    assert_eq!((error.code, error.region.unwrap().as_str()), (Code::RegionDisabled, "eu-west-1"));
    let asked = fake.asked("AssumeRole").len();
    assert!((2..=4).contains(&asked), "{asked}");
}

#[tokio::test]
async fn where_sts_of_the_home_region_is_down_one_other_region_is_asked() {
    let fake = FakeAws::answering(|request| match (request.operation.as_str(), request.region.as_str()) {
        ("AssumeRole", "eu-west-1") => query_error(503, "ServiceUnavailable", "down"),
        _ => empty(request),
    });
    fake.ports().ec2.vpcs(&at()).await.unwrap();
    let fake = FakeAws::answering(|_| query_error(503, "ServiceUnavailable", "down"));
    let error = fake.ports().ec2.vpcs(&at()).await.unwrap_err();
    assert_eq!((error.region.unwrap().as_str(), fake.asked("AssumeRole").len()), ("eu-west-1", 2));
}
