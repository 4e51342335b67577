use serde_json::{Value, json};

use super::super::Status;
use super::*;
use crate::settings::tests::with;

const BUS: &str = "arn:aws:events:eu-west-1:444455556666:event-bus/enroller";

fn settings(changes: &[(&str, &str)]) -> Settings {
    with(changes).unwrap()
}

fn at() -> AccountRegion {
    AccountRegion { account: "111122223333".parse().unwrap(), region: "eu-west-1".parse().unwrap() }
}

fn rule(name: &str, pattern: Value) -> RuleFacts {
    let target = TargetFacts {
        arn: BUS.to_owned(),
        role: Some("arn:aws:iam::111122223333:role/Forwarder".to_owned()),
        message_group: None,
    };
    RuleFacts { name: name.to_owned(), enabled: true, pattern: Some(pattern), targets: vec![target] }
}

/// The rule of the member stack.
fn member_rule() -> RuleFacts {
    let settings = settings(&[]);
    rule(
        "forward",
        json!({ "$or": [
            { "source": ["aws.ec2"], "detail": {
                "eventName": ["CreateVpc", "CreateDefaultVpc", "DeleteFlowLogs"], "errorCode": [{ "exists": false }] } },
            { "source": ["aws.ec2"], "detail": { "eventName": ["CreateTags", "DeleteTags"], "requestParameters": {
                "resourcesSet": { "items": { "resourceId": [{ "prefix": "vpc-" }] } },
                "tagSet": { "items": { "key": ["vpc-flow-logs", "vpc-flow-logs-traffic-type"] } } } } },
            { "source": ["aws.logs"], "detail": {
                "eventName": ["DeleteLogGroup", "DeleteSubscriptionFilter", "PutSubscriptionFilter",
                    "PutRetentionPolicy", "DeleteRetentionPolicy"],
                "requestParameters": { "logGroupName": [settings.log_group_name.as_str()] } } },
            { "source": ["aws.cloudformation"], "detail": {
                "stack-id": [{ "wildcard": format!("*stack/StackSet-{}-*", settings.member_stack_name) }],
                "status-details": { "status": ["CREATE_COMPLETE", "UPDATE_COMPLETE"] } } }
        ] }),
    )
}

fn judged(rules: &[RuleFacts]) -> CheckResult {
    check_route(
        rules,
        &member_events(&settings(&[]), &at()),
        &EventTarget::Bus(BUS.to_owned()),
        "update the member stack",
    )
}

#[test]
fn the_rule_of_the_member_stack_sends_all_required_events() {
    let verdict = judged(&[member_rule()]);
    assert_eq!(verdict, CheckResult::ok(format!("forward to {BUS}")));
}

#[test]
fn the_effect_of_a_rule_counts_not_its_name() {
    let changed = |change: &dyn Fn(&mut RuleFacts)| {
        let mut rule = member_rule();
        change(&mut rule);
        judged(&[rule])
    };
    let some = |pattern: Value| rule("some", pattern);
    for (verdict, status, finding) in [
        (judged(&[]), Status::Failed, "no rule sends anything to arn:aws:events"),
        (changed(&|rule| rule.enabled = false), Status::Failed, "rule forward is disabled"),
        (changed(&|rule| rule.targets[0].role = None), Status::Failed, "the target of rule forward has no role"),
        (changed(&|rule| rule.targets[0].arn.push('x')), Status::Failed, "no rule sends anything"),
        (changed(&|rule| rule.pattern = None), Status::Failed, "no rule sends CreateVpc, CreateDefaultVpc,"),
        (judged(&[some(json!({ "source": ["aws.ec2"] }))]), Status::Failed, "no rule sends DeleteLogGroup"),
        (
            judged(&[some(json!({ "source": ["aws.ec2", "aws.logs"] }))]),
            Status::Warning,
            "no rule sends member stack CREATE_COMPLETE",
        ),
        (
            judged(&[
                some(json!({ "source": ["aws.ec2"] })),
                some(json!({ "source": ["aws.logs", "aws.cloudformation"] })),
            ]),
            Status::Ok,
            "some, some to",
        ),
        (
            judged(&[some(json!({ "detail": { "eventName": [{ "numeric": [">", 1] }] } }))]),
            Status::Unknown,
            "CreateVpc",
        ),
    ] {
        assert_eq!(verdict.status, status, "{verdict:?}");
        assert!(verdict.finding.contains(finding), "{finding}: {verdict:?}");
        assert_eq!(verdict.remedy.is_empty(), status == Status::Ok);
    }
}

#[test]
fn a_fifo_queue_needs_a_message_group() {
    let mut rule = rule("account-events", json!({ "source": [{ "prefix": "aws." }] }));
    let needed = account_events(&at());
    let way = EventTarget::FifoQueue(BUS.to_owned());
    assert_eq!(check_route(&[rule.clone()], &needed, &way, "x").status, Status::Failed);
    rule.targets[0].message_group = Some("grants".to_owned());
    assert_eq!(check_route(&[rule], &needed, &way, "x").status, Status::Ok);
}

#[test]
fn a_bus_must_accept_events_from_the_whole_organization() {
    let statement = |principal: Value, action: &str, condition: Value| {
        json!({ "Statement": [{ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": BUS,
            "Condition": condition }] })
        .to_string()
    };
    let organization = json!({ "StringEquals": { "aws:PrincipalOrgID": "o-exampleorg1" } });
    for (policy, status) in [
        (None, Status::Failed),
        (Some("{".to_owned()), Status::Failed),
        (Some(json!({ "Statement": [] }).to_string()), Status::Failed),
        (Some(statement(json!("*"), "events:PutEvents", organization.clone())), Status::Ok),
        (Some(statement(json!({ "AWS": "*" }), "events:*", organization.clone())), Status::Ok),
        (Some(statement(json!("*"), "events:PutRule", organization.clone())), Status::Failed),
        (Some(statement(json!({ "AWS": "111122223333" }), "events:PutEvents", organization)), Status::Failed),
        (Some(statement(json!("*"), "events:PutEvents", json!({}))), Status::Failed),
        (
            Some(statement(
                json!("*"),
                "events:PutEvents",
                json!({ "StringEquals": { "aws:PrincipalOrgID": ["o-exampleorg2"] } }),
            )),
            Status::Failed,
        ),
    ] {
        let bus = BusFacts { arn: BUS.to_owned(), policy };
        let verdict = check_bus(&bus, &"o-exampleorg1".parse().unwrap(), "444455556666".parse().unwrap());
        assert_eq!(verdict.status, status, "{bus:?}");
    }
}
