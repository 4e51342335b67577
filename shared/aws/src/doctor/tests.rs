use serde_json::json;

use super::*;
use crate::testing::{CENTRAL, FakeAws, at, json_error};

const BUS: &str = "arn:aws:events:us-east-1:111122223333:event-bus/enroller";

fn central() -> AccountRegion {
    AccountRegion { account: CENTRAL.parse().unwrap(), ..at() }
}

fn rules() -> FakeAws {
    FakeAws::answering(|request| {
        if request.operation == "AssumeRole" {
            return (200, String::new());
        }
        let body = match (request.operation.as_str(), request.member("NextToken").as_str()) {
            ("ListRuleNamesByTarget", None) => json!({ "RuleNames": ["a"], "NextToken": "1" }),
            ("ListRuleNamesByTarget", Some(_)) => json!({ "RuleNames": ["gone", "b"] }),
            ("DescribeRule", _) if request.member("Name") == "gone" => {
                return json_error("ResourceNotFoundException", "gone");
            }
            ("DescribeRule", _) => json!({
                "State": if request.member("Name") == "b" { "DISABLED" } else { "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS" },
                "EventPattern": "{\"source\":[\"aws.ec2\"]}",
            }),
            ("ListTargetsByRule", _) => json!({ "Targets": [
                { "Id": "1", "Arn": BUS, "RoleArn": "role" },
                { "Id": "2", "Arn": "queue", "SqsParameters": { "MessageGroupId": "grants" } },
            ] }),
            (other, _) => panic!("{other}"),
        };
        (200, body.to_string())
    })
}

#[tokio::test]
async fn rules_towards_a_target_are_read_page_by_page_with_state_pattern_and_targets() {
    let fake = rules();
    let rules = fake.connection().doctor_ports().buses.rules_towards(&at(), "default", BUS).await.unwrap();
    assert_eq!(
        rules.iter().map(|rule| (rule.name.as_str(), rule.enabled)).collect::<Vec<_>>(),
        [("a", true), ("b", false)]
    );
    assert_eq!(rules[0].pattern, Some(json!({ "source": ["aws.ec2"] })));
    assert_eq!(rules[0].targets[0].role.as_deref(), Some("role"));
    assert_eq!(rules[0].targets[1].message_group.as_deref(), Some("grants"));
    let asked = &fake.asked("ListRuleNamesByTarget")[0];
    assert_eq!((asked.member("TargetArn"), asked.member("EventBusName")), (json!(BUS), json!("default")));
    assert_eq!(asked.region, "us-east-1");
}

#[tokio::test]
async fn the_central_account_needs_no_role_and_others_the_member_role() {
    let fake = rules();
    let buses = fake.connection().doctor_ports().buses;
    buses.rules_towards(&central(), "enroller", BUS).await.unwrap();
    assert!(fake.asked("AssumeRole").is_empty());
    buses.rules_towards(&at(), "default", BUS).await.unwrap();
    let keys: Vec<_> = fake.asked("ListRuleNamesByTarget").into_iter().map(|request| request.access_key).collect();
    assert!(keys[0] == "CENTRALKEY" && keys[2].starts_with("MEMBER"), "{keys:?}");
}

#[tokio::test]
async fn a_bus_and_a_queue_that_do_not_exist_are_none() {
    let fake = FakeAws::answering(|request| match request.operation.as_str() {
        "DescribeEventBus" => json_error("ResourceNotFoundException", "Event bus x does not exist."),
        _ => json_error("com.amazonaws.sqs#QueueDoesNotExist", "gone"),
    });
    let inspection = fake.connection().doctor_ports();
    assert_eq!(inspection.buses.bus(&central(), "x").await.unwrap(), None);
    assert_eq!(inspection.queues.queue("https://sqs.eu-west-1.amazonaws.com/1/x").await.unwrap(), None);
}

#[tokio::test]
async fn a_queue_has_its_depth_and_its_dead_letter_queue() {
    let fake = FakeAws::answering(|_| {
        let attributes = json!({
            "QueueArn": "arn:aws:sqs:eu-west-1:111122223333:grants.fifo",
            "ApproximateNumberOfMessages": "3",
            "ApproximateNumberOfMessagesNotVisible": "2",
            "ApproximateNumberOfMessagesDelayed": "1",
            "FifoQueue": "true",
            "RedrivePolicy": "{\"deadLetterTargetArn\":\"dead\",\"maxReceiveCount\":\"12\"}",
        });
        (200, json!({ "Attributes": attributes }).to_string())
    });
    let queue = fake.connection().doctor_ports().queues.queue("https://x/1/grants.fifo").await.unwrap().unwrap();
    assert_eq!((queue.visible, queue.in_flight, queue.delayed), (3, 2, 1));
    assert!(queue.fifo && !queue.content_based_deduplication);
    assert_eq!(queue.redrive, Some(RedriveFacts { dead_letter_arn: "dead".to_owned(), max_receives: 12 }));
    assert_eq!(fake.asked("GetQueueAttributes")[0].member("AttributeNames"), json!(["All"]));
}

#[tokio::test]
async fn a_response_that_lacks_the_depth_is_an_error_and_not_zero() {
    let fake = FakeAws::answering(|_| (200, json!({ "Attributes": { "QueueArn": "a" } }).to_string()));
    let error = fake.connection().doctor_ports().queues.queue("https://x/1/q").await.unwrap_err();
    assert_eq!(error.code, Code::Unparsable);
}

#[tokio::test]
async fn trails_of_other_regions_count_and_are_asked_by_arn() {
    let fake = FakeAws::answering(|request| match request.operation.as_str() {
        "DescribeTrails" => (200, json!({ "trailList": [{ "Name": "org", "TrailARN": "arn:trail" }] }).to_string()),
        _ => (200, json!({ "IsLogging": true }).to_string()),
    });
    let trails = fake.connection().doctor_ports().trails;
    assert_eq!(
        trails.trails(&at()).await.unwrap(),
        [TrailFacts { name: "org".to_owned(), arn: "arn:trail".to_owned() }]
    );
    assert!(trails.is_logging(&at(), "arn:trail").await.unwrap());
    assert_eq!(fake.asked("DescribeTrails")[0].member("includeShadowTrails"), json!(true));
    assert_eq!(fake.asked("GetTrailStatus")[0].member("Name"), json!("arn:trail"));
}

#[tokio::test]
async fn the_caller_and_the_organization_are_returned() {
    let fake = FakeAws::answering(|request| match request.operation.as_str() {
        "GetCallerIdentity" => (
            200,
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:root</Arn>\
             <Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
                .to_owned(),
        ),
        _ => (200, json!({ "Organization": { "Id": "o-exampleorg1", "MasterAccountId": "999988887777" } }).to_string()),
    });
    let identity = fake.connection().doctor_ports().identity;
    let caller = identity.caller().await.unwrap();
    assert_eq!(
        (caller.account.to_string(), caller.arn.as_str()),
        (CENTRAL.to_owned(), "arn:aws:iam::111122223333:root")
    );
    let organization = identity.organization().await.unwrap();
    assert_eq!(organization.management_account.to_string(), "999988887777");
    assert_eq!(fake.asked("DescribeOrganization")[0].region, "us-east-1");
}
