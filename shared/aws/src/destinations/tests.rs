use super::CentralDestinations;
use serde_json::json;

use crate::connection::Connection;
use crate::limits::RateLimits;
use crate::testing::{FakeAws, at, settings};

const STREAM: &str = "arn:aws:firehose:us-east-1:111122223333:deliverystream/s";
const ROLE: &str = "arn:aws:iam::111122223333:role/r";

#[tokio::test]
async fn all_pages_are_read_with_central_credentials_in_the_region_of_the_destinations() {
    let fake = FakeAws::answering(|request| {
        let page = match request.member("nextToken").as_str() {
            None => json!({ "destinations": [], "nextToken": "n" }),
            Some(_) => json!({ "destinations": [
                { "destinationName": "VPCFlowLogsDestination", "targetArn": STREAM, "roleArn": ROLE, "accessPolicy": " {} " },
                { "destinationName": "VPCFlowLogsDestination-2", "targetArn": STREAM, "roleArn": ROLE },
                { "destinationName": "not:ours" },
            ] }),
        };
        (200, page.to_string())
    });
    let name = "VPCFlowLogsDestination".parse().unwrap();
    let found = fake.ports().destinations.destinations(&at().region, &name).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].policy.as_deref(), Some(" {} "), "verbatim");
    assert_eq!(found[1].policy, None);
    let asked = fake.asked("DescribeDestinations");
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[0].access_key.as_str(), asked[0].region.as_str()), ("CENTRALKEY", "us-east-1"));
    assert_eq!(asked[1].member("limit"), 50);
    assert!(fake.asked("AssumeRole").is_empty());
}

#[tokio::test]
async fn force_is_only_said_when_it_is_meant() {
    let fake = FakeAws::answering(|_| (200, "{}".to_owned()));
    let destinations = CentralDestinations::new(&fake.connection().0);
    let name = "VPCFlowLogsDestination".parse().unwrap();
    destinations.send_policy(&at().region, &name, "{}", false).await.unwrap();
    destinations.send_policy(&at().region, &name, "{}", true).await.unwrap();
    let asked = fake.asked("PutDestinationPolicy");
    assert!(asked[0].member("forceUpdate").is_null());
    assert_eq!(asked[1].member("forceUpdate"), true);
}

#[tokio::test]
async fn the_documented_rate_of_the_central_account_is_kept() {
    let fake = FakeAws::answering(|_| (200, json!({ "destinations": [] }).to_string()));
    let aws = Connection::from_config(settings(), fake.config(), RateLimits::Documented).ports();
    let name = "VPCFlowLogsDestination".parse().unwrap();
    for _ in 0..15 {
        aws.destinations.destinations(&at().region, &name).await.unwrap();
    }
    assert_eq!(fake.time.elapsed().as_secs(), 2, "5 at once, then 5 a second");
}
