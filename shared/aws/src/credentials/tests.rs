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
async fn an_expired_token_is_reported_and_the_next_call_assumes_the_role_again() {
    let expired = Arc::new(AtomicBool::new(true));
    let fake = FakeAws::answering({
        let expired = Arc::clone(&expired);
        move |request| match request.operation.as_str() {
            "DescribeVpcs" if expired.swap(false, Ordering::SeqCst) => ec2_error(400, "ExpiredToken", "expired"),
            _ => empty(request),
        }
    });
    let aws = fake.ports();
    let error = aws.ec2.vpcs(&at()).await.unwrap_err();
    assert_eq!(error.code, Code::CredentialsExpired);
    aws.ec2.vpcs(&at()).await.unwrap();
    assert_eq!(fake.asked("AssumeRole").len(), 2);
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
