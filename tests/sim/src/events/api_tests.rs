use serde_json::json;

use super::*;
use crate::call::Service;
use crate::events::{RuleSettings, create_bus, put_bus_policy, put_rule, set_rule_enabled};
use crate::fixtures::{CENTRAL, MEMBER, REGION, call, organization};

fn ask(world: &mut World, account: &str, operation: &str, input: Value) -> Result<Value, ApiError> {
    handle(world, &call(account, REGION, Service::Events, operation), &input)
}

fn hub() -> BusId {
    BusId { account: CENTRAL.to_owned(), region: REGION.to_owned(), name: "hub".to_owned() }
}

/// The central bus, and a member whose default bus forwards to it.
fn forwarding() -> World {
    let mut world = organization();
    create_bus(&mut world, &hub());
    put_bus_policy(&mut world, &hub(), json!({ "Statement": [] })).unwrap();
    let target = Target::Bus { arn: hub().to_string(), role_arn: Some(format!("arn:aws:iam::{MEMBER}:role/Forward")) };
    for name in ["a", "b"] {
        let settings = RuleSettings {
            name: name.to_owned(),
            pattern: json!({ "source": ["aws.ec2"] }),
            targets: vec![target.clone()],
            delay_ms: 0,
        };
        put_rule(&mut world, &BusId::default_bus(MEMBER, REGION), &settings).unwrap();
    }
    world
}

#[test]
fn a_bus_is_shown_with_its_policy_to_its_owner() {
    let mut world = forwarding();
    let shown = ask(&mut world, CENTRAL, "DescribeEventBus", json!({ "Name": "hub" })).unwrap();
    assert_eq!(shown["Arn"], json!(hub().to_string()));
    assert_eq!(shown["Policy"], json!("{\"Statement\":[]}"));
    assert_eq!(ask(&mut world, CENTRAL, "DescribeEventBus", json!({ "Name": hub().to_string() })).unwrap(), shown);
    assert_eq!(ask(&mut world, CENTRAL, "DescribeEventBus", json!({})).unwrap()["Name"], json!("default"));
    for name in ["hub".to_owned(), hub().to_string()] {
        let refusal = ask(&mut world, MEMBER, "DescribeEventBus", json!({ "Name": name })).unwrap_err();
        assert_eq!(refusal.code, "ResourceNotFoundException");
    }
}

#[test]
fn rules_are_found_by_their_target_page_by_page_and_shown_as_they_were_made() {
    let mut world = forwarding();
    let first = ask(&mut world, MEMBER, "ListRuleNamesByTarget", json!({ "TargetArn": hub().to_string(), "Limit": 1 }));
    let first = first.unwrap();
    assert_eq!(first["RuleNames"], json!(["a"]));
    let next = json!({ "TargetArn": hub().to_string(), "Limit": 1, "NextToken": first["NextToken"] });
    assert_eq!(ask(&mut world, MEMBER, "ListRuleNamesByTarget", next).unwrap(), json!({ "RuleNames": ["b"] }));
    let none = ask(&mut world, MEMBER, "ListRuleNamesByTarget", json!({ "TargetArn": "arn:x" })).unwrap();
    assert_eq!(none, json!({ "RuleNames": [] }));

    let shown = ask(&mut world, MEMBER, "DescribeRule", json!({ "Name": "a" })).unwrap();
    assert_eq!((&shown["State"], &shown["EventPattern"]), (&json!("ENABLED"), &json!("{\"source\":[\"aws.ec2\"]}")));
    assert!(set_rule_enabled(&mut world, &BusId::default_bus(MEMBER, REGION), "a", false));
    assert_eq!(ask(&mut world, MEMBER, "DescribeRule", json!({ "Name": "a" })).unwrap()["State"], json!("DISABLED"));
    let targets = ask(&mut world, MEMBER, "ListTargetsByRule", json!({ "Rule": "a" })).unwrap();
    assert_eq!(targets["Targets"][0]["RoleArn"], json!(format!("arn:aws:iam::{MEMBER}:role/Forward")));
}

#[test]
fn what_is_not_there_or_not_simulated_is_refused_by_name() {
    let mut world = forwarding();
    for (operation, input, code) in [
        ("DescribeRule", json!({ "Name": "c" }), "ResourceNotFoundException"),
        ("ListTargetsByRule", json!({ "Rule": "a", "EventBusName": "x" }), "ResourceNotFoundException"),
        ("ListTargetsByRule", json!({}), "ValidationException"),
        ("DescribeRule", json!({ "Name": "a", "Verbose": true }), "UnknownParameter"),
        ("PutRule", json!({}), "UnknownOperationException"),
    ] {
        assert_eq!(ask(&mut world, MEMBER, operation, input).unwrap_err().code, code, "{operation}");
    }
}

#[test]
fn a_rule_is_disabled_and_without_its_targets_deleted() {
    let mut world = forwarding();
    ask(&mut world, MEMBER, "DisableRule", json!({ "Name": "b" })).unwrap();
    assert_eq!(ask(&mut world, MEMBER, "DescribeRule", json!({ "Name": "b" })).unwrap()["State"], json!("DISABLED"));
    let refusal = ask(&mut world, MEMBER, "DeleteRule", json!({ "Name": "a" })).unwrap_err();
    assert_eq!(refusal.code, "ValidationException");
    ask(&mut world, MEMBER, "RemoveTargets", json!({ "Rule": "a", "Ids": ["target-1"] })).unwrap();
    assert_eq!(ask(&mut world, MEMBER, "ListTargetsByRule", json!({ "Rule": "a" })).unwrap()["Targets"], json!([]));
    for _ in 0..2 {
        ask(&mut world, MEMBER, "DeleteRule", json!({ "Name": "a" })).unwrap();
    }
    assert!(ask(&mut world, MEMBER, "DescribeRule", json!({ "Name": "a" })).is_err());
}
