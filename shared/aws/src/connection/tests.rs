use std::sync::atomic::{AtomicUsize, Ordering};

use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use enroller_core::ids::AccountRegion;

use super::*;
use crate::calls::Calls;
use crate::testing::{CENTRAL, FakeAws, MEMBER, Request, at, settings};

fn empty(_: &Request) -> (u16, String) {
    (200, "<DescribeVpcsResponse/>".to_owned())
}

async fn list_vpcs_everywhere(aws: &Ports) {
    for account in [MEMBER, CENTRAL] {
        aws.ec2.vpcs(&AccountRegion { account: account.parse().unwrap(), region: at().region }).await.unwrap();
    }
}

#[tokio::test]
async fn the_central_account_is_a_member_like_any_other() {
    let fake = FakeAws::answering(empty);
    list_vpcs_everywhere(&fake.ports()).await;
    assert_eq!(fake.asked("AssumeRole").len(), 2);
    assert!(fake.asked("DescribeVpcs").iter().all(|request| request.access_key.starts_with("MEMBER")));
}

#[tokio::test]
async fn a_custom_endpoint_is_used_for_every_account_and_region() {
    let fake = FakeAws::answering(empty);
    let config = fake.config().into_builder().endpoint_url("http://127.0.0.1:4566").build();
    list_vpcs_everywhere(&Connection::from_config(settings(), config, RateLimits::Unlimited).ports()).await;
    let asked = [fake.asked("AssumeRole"), fake.asked("DescribeVpcs")].concat();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|request| request.uri.starts_with("http://127.0.0.1:4566")), "{asked:?}");
}

/// As from `AWS_ENDPOINT_URL_EC2`.
#[derive(Debug)]
struct Ec2Elsewhere;

impl LoadServiceConfig for Ec2Elsewhere {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        (key.service_id() == "EC2" && key.env() == "AWS_ENDPOINT_URL").then(|| "http://127.0.0.1:1".to_owned())
    }
}

#[tokio::test]
async fn an_endpoint_of_one_service_applies_in_member_accounts_too() {
    let fake = FakeAws::answering(empty);
    let config = fake.config().into_builder().service_config(Ec2Elsewhere).build();
    list_vpcs_everywhere(&Connection::from_config(settings(), config, RateLimits::Unlimited).ports()).await;
    assert!(fake.asked("DescribeVpcs").iter().all(|request| request.uri.starts_with("http://127.0.0.1:1")));
    assert!(fake.asked("AssumeRole").iter().all(|request| request.uri.contains("sts.eu-west-1.amazonaws.com")));
}

#[tokio::test]
async fn connecting_as_the_environment_says_finds_its_http_client_and_the_home_region() {
    let connection = Connection::connect(settings()).await;
    let config = &connection.0.config;
    assert_eq!(config.region().map(AsRef::as_ref), Some("eu-west-1"));
    assert!(config.http_client().is_some());
    // The SDK panics here where a client has no HTTP client.
    let aws = connection.ports();
    assert_eq!(aws.queues.send("https://sqs.eu-west-1.amazonaws.com/111122223333/q", Vec::new()).await, Ok(0));
}

#[test]
fn connections_stay_below_lambdas_open_files_in_any_number_of_regions() {
    for regions in 1..=64 {
        let idle = idle_per_host(regions);
        assert!(idle >= 1, "{regions}");
        assert!(MAX_CALLS_IN_PROGRESS + idle * (2 * regions + HOME_HOSTS) < MAX_FILES, "{regions} Regions");
    }
    assert_eq!((idle_per_host(1), idle_per_host(32)), (57, 8));
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_for_one_that_ends() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let connection =
        FakeAws::answering(|_| (200, "<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>".to_owned())).connection();
    let ec2 = Calls::new(&connection.0, crate::calls::Identity::Central, aws_sdk_ec2::Client::new);
    let calls = (0..1_000).map(|_| {
        let (now, most, ec2) = (&now, &most, &ec2);
        async move {
            let request = |client: aws_sdk_ec2::Client| async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                let answer = client.describe_vpcs().send().await;
                now.fetch_sub(1, Ordering::SeqCst);
                answer
            };
            ec2.call(crate::limits::DESCRIBE_VPCS, &at(), request).await.map(drop)
        }
    });
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::SeqCst), MAX_CALLS_IN_PROGRESS);
}
