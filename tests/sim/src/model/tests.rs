use serde_json::json;

use super::*;
use crate::ApiError;
use crate::tests::{Caller, GLOBAL, REGION, others, small};

#[test]
fn every_model_can_be_read_and_every_reference_in_it_leads_somewhere() {
    for service in Service::ALL {
        let model = Model::of(service);
        assert!(!model.operations.is_empty(), "{service}");
        let named = model.operations.values().flat_map(|it| it.input.iter().chain(&it.output).chain(&it.errors));
        named.for_each(|name| assert!(model.shapes.contains_key(name), "{service}: {name}"));
        for (name, shape) in &model.shapes {
            let reached: Vec<&str> = match &shape.kind {
                Kind::Structure { members, .. } => members.values().map(|member| member.shape.as_str()).collect(),
                Kind::List { member, .. } => vec![&member.shape],
                Kind::Map { key, value } => vec![&key.shape, &value.shape],
                _ => Vec::new(),
            };
            reached.iter().for_each(|part| assert!(model.shapes.contains_key(*part), "{service}: {name}: {part}"));
        }
    }
}

/// Only of EventBridge, in answers about targets that are not simulated.
#[test]
fn the_patterns_that_cannot_be_checked_are_known() {
    let of = |service: Service| Model::of(service).shapes.values().filter_map(|shape| shape.pattern.as_ref());
    let unchecked = Service::ALL.into_iter().flat_map(of).filter(|(_, compiled)| compiled.is_none());
    let unchecked: Vec<&str> = unchecked.map(|(written, _)| written.as_str()).collect();
    assert_eq!(unchecked, [r"^(?!\s*$).+"]);
}

#[test]
fn an_input_that_breaks_the_model_is_refused_in_the_services_words() {
    let sim = small();
    let code = |service: Service, operation: &str, input| {
        let region = if service == Service::Logs || service == Service::Ec2 { REGION } else { GLOBAL };
        let account = if service == Service::Organizations { sim.central() } else { others(&sim)[0].clone() };
        Caller::of(&sim, &account, region).code(service, operation, input)
    };
    let trust = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let cases = [
        (Service::Logs, "DescribeLogGroups", json!({"logGroupNamePrefix": "a b"}), "InvalidParameterException"),
        (Service::Logs, "DescribeLogGroups", json!({"logGroupNamePrefix": ""}), "InvalidParameterException"),
        (
            Service::Logs,
            "CreateLogGroup",
            json!({"logGroupName": "g", "tags": {"a!": ""}}),
            "InvalidParameterException",
        ),
        (
            Service::Logs,
            "CreateLogGroup",
            json!({"logGroupName": "g", "tags": {"a": "#"}}),
            "InvalidParameterException",
        ),
        (Service::Logs, "CreateLogGroup", json!({"logGroupName": 7}), "SerializationException"),
        (Service::Logs, "CreateLogGroup", json!({}), "InvalidParameterException"),
        (Service::Organizations, "DescribeAccount", json!({"AccountId": "12"}), "InvalidInputException"),
        (Service::Organizations, "ListAccounts", json!({"MaxResults": 21}), "InvalidInputException"),
        (Service::Iam, "GetRole", json!({"RoleName": "a b"}), "ValidationError"),
        (
            Service::Iam,
            "CreateRole",
            json!({
                "RoleName": "R", "AssumeRolePolicyDocument": trust,
                "Tags.member.1.Key": "a!", "Tags.member.1.Value": "",
            }),
            "ValidationError",
        ),
        (Service::Ec2, "CreateFlowLogs", json!({"ResourceType": "VPC"}), "MissingParameter"),
        (Service::Ec2, "CreateFlowLogs", json!({"ResourceType": "Frob", "ResourceId.1": "x"}), "InvalidParameterValue"),
        (Service::Ec2, "DescribeVpcs", json!({"MaxResults": "1001"}), "InvalidParameterValue"),
        (Service::Events, "DescribeRule", json!({"Name": "a b"}), "ValidationException"),
        (Service::Sqs, "GetQueueUrl", json!({}), "MissingParameter"),
    ];
    for (service, operation, input, expected) in cases {
        assert_eq!(code(service, operation, input.clone()), expected, "{operation} {input}");
    }
}

#[test]
fn the_errors_of_an_operation_are_those_of_its_model_and_the_common_ones_with_both_denials() {
    let codes = |service, operation| -> Vec<String> {
        errors_of(service, operation).into_iter().map(|error| error.code).collect()
    };
    let filter = codes(Service::Logs, "PutSubscriptionFilter");
    let times = |code: &str| filter.iter().filter(|known| *known == code).count();
    for code in ["OperationAbortedException", "LimitExceededException", "ThrottlingException"] {
        assert_eq!(times(code), 1, "{code} of {filter:?}");
    }
    assert_eq!(times("AccessDeniedException"), 2, "no permission, and an explicit denial");
    let role = codes(Service::Iam, "CreateRole");
    assert!(role.contains(&"EntityAlreadyExists".to_owned()) && role.contains(&"AccessDenied".to_owned()), "{role:?}");
    let flow_logs = codes(Service::Ec2, "CreateFlowLogs");
    assert!(flow_logs.contains(&"UnauthorizedOperation".to_owned()), "{flow_logs:?}");
    let statuses = |error: &ApiError| (400..=599).contains(&error.status);
    for service in Service::ALL {
        for operation in Model::of(service).operations.keys() {
            let errors = errors_of(service, operation);
            assert!(errors.len() >= 6 && errors.iter().all(statuses), "{service}:{operation}: {errors:?}");
        }
    }
}

#[test]
fn writes_whose_model_says_so_are_aborted_at_times() {
    let sim = small();
    let caller = Caller::of(&sim, &others(&sim)[0], REGION);
    sim.set_rule("aborted-percent=50").unwrap();
    let create =
        |number: u32| caller.code(Service::Logs, "CreateLogGroup", json!({"logGroupName": format!("g{number}")}));
    let codes: Vec<String> = (0..30).map(create).collect();
    let aborted = codes.iter().filter(|code| *code == "OperationAbortedException").count();
    assert!((1..30).contains(&aborted), "{codes:?}");
    assert!((0..30).all(|_| caller.call(Service::Logs, "DescribeLogGroups", json!({})).is_ok()), "never a read");
}

#[test]
fn tags_that_the_services_reserve_or_count_as_the_same_are_refused() {
    let sim = small();
    let caller = |region| Caller::of(&sim, &others(&sim)[0], region);
    let trust = crate::fixtures::trust("logs.amazonaws.com", json!({})).to_string();
    let role = |tags: [(&str, &str); 2]| {
        let mut input = json!({"RoleName": "R", "AssumeRolePolicyDocument": trust});
        for ((key, value), number) in tags.iter().zip(1..) {
            input[format!("Tags.member.{number}.Key")] = json!(key);
            input[format!("Tags.member.{number}.Value")] = json!(value);
        }
        input
    };
    let iam = |operation: &str, input| caller(GLOBAL).code(Service::Iam, operation, input);
    assert_eq!(iam("CreateRole", role([("a", "1"), ("A", "2")])), "InvalidInput");
    assert_eq!(iam("CreateRole", role([("aws:a", "1"), ("b", "2")])), "InvalidInput");
    assert!(iam("CreateRole", role([("a", "1"), ("b", "2")])).starts_with("answered"));
    let another_case = json!({"RoleName": "R", "Tags.member.1.Key": "A", "Tags.member.1.Value": "3"});
    assert!(iam("TagRole", another_case).starts_with("answered"));
    let account = others(&sim)[0].clone();
    let tags = sim.with(|world| world.iam.role(&account, "R").unwrap().tags.clone());
    assert_eq!(tags.into_iter().collect::<Vec<_>>(), [("A".into(), "3".into()), ("b".into(), "2".into())]);
    let group = json!({"logGroupName": "g", "tags": {"AWS:a": "1"}});
    assert_eq!(caller(REGION).code(Service::Logs, "CreateLogGroup", group), "InvalidParameterException");
    let vpc = crate::tests::first_vpc(&sim, &account);
    let twice =
        json!({"ResourceId.1": vpc, "Tag.1.Key": "a", "Tag.1.Value": "1", "Tag.2.Key": "a", "Tag.2.Value": "2"});
    assert_eq!(caller(REGION).code(Service::Ec2, "CreateTags", twice), "InvalidParameterValue");
}
