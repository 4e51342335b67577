use serde_json::{Value, json};

use crate::call::ApiError;
use crate::fixtures::*;
use crate::world::World;

fn refusal(outcome: Result<Value, ApiError>) -> (String, String) {
    let refusal = outcome.unwrap_err();
    assert_eq!(refusal.status, 400);
    (refusal.code, refusal.message)
}

fn code(outcome: Result<Value, ApiError>) -> String {
    refusal(outcome).0
}

fn create_group(world: &mut World, name: &str) -> Result<Value, ApiError> {
    logs(world, MEMBER, "CreateLogGroup", json!({"logGroupName": name}))
}

#[test]
fn a_log_group_name_must_follow_its_pattern_and_not_be_reserved() {
    let mut world = organization();
    for name in ["", "a b", "a:b", "a*", "aws/vpc", "é", &"x".repeat(513)] {
        assert_eq!(code(create_group(&mut world, name)), "InvalidParameterException", "{name}");
    }
    for name in ["vpc-flow-logs", "/aws/vpc.1#_", &"x".repeat(512)] {
        assert_eq!(create_group(&mut world, name), Ok(json!({})), "{name}");
    }
}

#[test]
fn an_existing_group_is_not_created_and_a_missing_one_not_deleted() {
    let mut world = organization();
    create_group(&mut world, GROUP).unwrap();
    assert_eq!(code(create_group(&mut world, GROUP)), "ResourceAlreadyExistsException");
    let delete = json!({"logGroupName": GROUP});
    assert_eq!(logs(&mut world, MEMBER, "DeleteLogGroup", delete.clone()), Ok(json!({})));
    assert_eq!(code(logs(&mut world, MEMBER, "DeleteLogGroup", delete)), "ResourceNotFoundException");
}

#[test]
fn groups_of_other_accounts_and_regions_are_not_seen() {
    let mut world = organization();
    create_group(&mut world, GROUP).unwrap();
    let answer = logs(&mut world, CENTRAL, "DescribeLogGroups", json!({})).unwrap();
    assert_eq!(answer, json!({"logGroups": []}));
}

#[test]
fn the_arn_of_a_described_group_ends_in_a_star_and_the_log_group_arn_does_not() {
    let mut world = organization();
    create_group(&mut world, GROUP).unwrap();
    let answer = logs(&mut world, MEMBER, "DescribeLogGroups", json!({"logGroupNamePrefix": "vpc"})).unwrap();
    let group = &answer["logGroups"][0];
    assert_eq!(group["arn"], "arn:aws:logs:eu-west-1:111122223333:log-group:vpc-flow-logs:*");
    assert_eq!(group["logGroupArn"], "arn:aws:logs:eu-west-1:111122223333:log-group:vpc-flow-logs");
    assert_eq!(group["logGroupClass"], "STANDARD");
    assert_eq!(group.get("retentionInDays"), None);
}

#[test]
fn groups_come_in_pages_of_at_most_fifty_in_order_of_their_names() {
    let mut world = organization();
    for number in 0..120 {
        create_group(&mut world, &format!("group-{number:03}")).unwrap();
    }
    let (mut names, mut token, mut pages) = (Vec::new(), None, 0);
    loop {
        let input = token.map_or(json!({}), |token| json!({"nextToken": token}));
        let answer = logs(&mut world, MEMBER, "DescribeLogGroups", input).unwrap();
        let page = answer["logGroups"].as_array().unwrap();
        assert!(page.len() <= 50);
        names.extend(page.iter().map(|group| group["logGroupName"].as_str().unwrap().to_owned()));
        pages += 1;
        token = answer.get("nextToken").cloned();
        if token.is_none() {
            break;
        }
    }
    assert_eq!((names.len(), pages), (120, 3));
    assert!(names.is_sorted());
    for (member, value) in [("limit", json!(51)), ("limit", json!(0)), ("nextToken", json!("made-up"))] {
        let outcome = logs(&mut world, MEMBER, "DescribeLogGroups", json!({member: value}));
        assert_eq!(code(outcome), "InvalidParameterException", "{member}");
    }
}

#[test]
fn a_name_pattern_finds_parts_of_names_and_excludes_a_prefix() {
    let mut world = organization();
    create_group(&mut world, "/org/vpc-flow-logs").unwrap();
    create_group(&mut world, "other").unwrap();
    let find = |world: &mut World, input| logs(world, MEMBER, "DescribeLogGroups", input);
    let found = find(&mut world, json!({"logGroupNamePattern": "flow"})).unwrap();
    assert_eq!(found["logGroups"].as_array().unwrap().len(), 1);
    let both = json!({"logGroupNamePattern": "flow", "logGroupNamePrefix": "/org"});
    assert_eq!(code(find(&mut world, both)), "InvalidParameterException");
}

#[test]
fn retention_takes_only_the_documented_days() {
    let mut world = organization();
    create_group(&mut world, GROUP).unwrap();
    let mut put = |days: Value| {
        logs(&mut world, MEMBER, "PutRetentionPolicy", json!({"logGroupName": GROUP, "retentionInDays": days}))
    };
    for days in [0, 2, 31, 366, 4000] {
        assert_eq!(code(put(json!(days))), "InvalidParameterException", "{days}");
    }
    assert_eq!(put(json!(400)), Ok(json!({})));
    assert_eq!(world.logs.group(MEMBER, REGION, GROUP).unwrap().retention_days, Some(400));
    logs(&mut world, MEMBER, "DeleteRetentionPolicy", json!({"logGroupName": GROUP})).unwrap();
    assert_eq!(world.logs.group(MEMBER, REGION, GROUP).unwrap().retention_days, None);
    let missing = json!({"logGroupName": "missing", "retentionInDays": 1});
    assert_eq!(code(logs(&mut world, MEMBER, "PutRetentionPolicy", missing)), "ResourceNotFoundException");
}

#[test]
fn a_key_must_be_an_arn_of_the_same_region() {
    let mut world = organization();
    create_group(&mut world, GROUP).unwrap();
    let associate = |world: &mut World, key: &str| {
        logs(world, MEMBER, "AssociateKmsKey", json!({"logGroupName": GROUP, "kmsKeyId": key}))
    };
    let key = "arn:aws:kms:eu-west-1:111122223333:key/0123";
    for wrong in ["0123", "alias/x", "arn:aws:kms:us-east-1:111122223333:key/0123"] {
        assert_eq!(code(associate(&mut world, wrong)), "InvalidParameterException", "{wrong}");
    }
    associate(&mut world, key).unwrap();
    assert_eq!(world.logs.group(MEMBER, REGION, GROUP).unwrap().kms_key_id.as_deref(), Some(key));
    logs(&mut world, MEMBER, "DisassociateKmsKey", json!({"logGroupName": GROUP})).unwrap();
    assert_eq!(world.logs.group(MEMBER, REGION, GROUP).unwrap().kms_key_id, None);
}

#[test]
fn tags_want_the_arn_without_the_star() {
    let mut world = organization();
    create_group(&mut world, GROUP).unwrap();
    let arn = format!("arn:aws:logs:{REGION}:{MEMBER}:log-group:{GROUP}");
    let tag = |world: &mut World, arn: &str| {
        logs(world, MEMBER, "TagResource", json!({"resourceArn": arn, "tags": {"managed-by": "x"}}))
    };
    assert_eq!(code(tag(&mut world, &format!("{arn}:*"))), "InvalidParameterException");
    assert_eq!(code(tag(&mut world, &format!("{arn}2"))), "ResourceNotFoundException");
    tag(&mut world, &arn).unwrap();
    let list = json!({"resourceArn": arn});
    assert_eq!(logs(&mut world, MEMBER, "ListTagsForResource", list.clone()), Ok(json!({"tags": {"managed-by": "x"}})));
    logs(&mut world, MEMBER, "UntagResource", json!({"resourceArn": arn, "tagKeys": ["managed-by"]})).unwrap();
    assert_eq!(logs(&mut world, MEMBER, "ListTagsForResource", list), Ok(json!({"tags": {}})));
}

#[test]
fn a_protected_group_is_not_deleted() {
    let mut world = organization();
    let input = json!({"logGroupName": GROUP, "deletionProtectionEnabled": true});
    logs(&mut world, MEMBER, "CreateLogGroup", input).unwrap();
    assert_eq!(code(logs(&mut world, MEMBER, "DeleteLogGroup", json!({"logGroupName": GROUP}))), "ValidationException");
}

#[test]
fn a_member_named_in_the_policy_may_subscribe_and_the_answer_shows_the_filter() {
    let mut world = with_group();
    put_filter(&mut world, "AllTraffic", None).unwrap();
    let answer = logs(&mut world, MEMBER, "DescribeSubscriptionFilters", json!({"logGroupName": GROUP})).unwrap();
    let filter = &answer["subscriptionFilters"][0];
    assert_eq!(filter["filterName"], "AllTraffic");
    assert_eq!(filter["filterPattern"], "");
    assert_eq!(filter["destinationArn"], DESTINATION);
    assert_eq!(filter.get("roleArn"), None);
}

#[test]
fn a_filter_of_an_account_that_the_policy_does_not_name_is_denied_in_aws_words() {
    let mut world = with_group();
    put_policy(&mut world, &policy_for(&[STRANGER]), false).unwrap();
    let message = format!(
        "User with accountId: {MEMBER} is not authorized to perform: logs:PutSubscriptionFilter on resource: {DESTINATION}"
    );
    assert_eq!(refusal(put_filter(&mut world, "f", None)), ("AccessDeniedException".to_owned(), message));
}

#[test]
fn a_destination_without_a_policy_admits_nobody() {
    let mut world = with_group();
    logs(&mut world, CENTRAL, "DeleteDestination", json!({"destinationName": "VPCFlowLogsDestination"})).unwrap();
    assert_eq!(code(put_filter(&mut world, "f", None)), "ResourceNotFoundException");
    put_destination(&mut world).unwrap();
    assert_eq!(code(put_filter(&mut world, "f", None)), "AccessDeniedException");
}

#[test]
fn a_sixth_filter_is_refused_and_an_update_at_the_limit_works() {
    let mut world = with_group();
    for name in ["a", "b", "c", "d", "e"] {
        put_filter(&mut world, name, None).unwrap();
    }
    assert_eq!(code(put_filter(&mut world, "f", None)), "LimitExceededException");
    put_filter(&mut world, "e", Some(FILTER_ROLE)).unwrap();
    let filters = &world.logs.group(MEMBER, REGION, GROUP).unwrap().filters;
    assert_eq!((filters.len(), filters["e"].role_arn.as_deref()), (5, Some(FILTER_ROLE)));
}

#[test]
fn an_organization_policy_makes_the_role_mandatory() {
    let mut world = with_group();
    put_policy(&mut world, &policy_for_organization(), true).unwrap();
    let (code, message) = refusal(put_filter(&mut world, "f", None));
    assert_eq!(code, "InvalidParameterException");
    assert_eq!(
        message,
        "Role ARN is required when creating subscription filter against destination with Organization access policy"
    );
    put_filter(&mut world, "f", Some(FILTER_ROLE)).unwrap();
}

#[test]
fn an_organization_policy_does_not_admit_an_account_that_left() {
    let mut world = with_group();
    put_policy(&mut world, &policy_for_organization(), true).unwrap();
    world.organization.remove(MEMBER, 0);
    assert_eq!(code(put_filter(&mut world, "f", Some(FILTER_ROLE))), "AccessDeniedException");
}

#[test]
fn the_role_of_a_filter_must_exist_in_the_account_and_trust_cloudwatch_logs() {
    let mut world = with_group();
    let missing = format!("arn:aws:iam::{MEMBER}:role/Missing");
    for role in [missing.as_str(), DELIVERY_ROLE] {
        let (code, message) = refusal(put_filter(&mut world, "f", Some(role)));
        assert_eq!(code, "ValidationException", "{role}");
        assert!(message.starts_with("Make sure you have given CloudWatch Logs permission to assume the provided role"));
    }
    assert_eq!(code(put_filter(&mut world, "f", Some(DESTINATION_ROLE))), "AccessDeniedException");
}

#[test]
fn what_a_filter_may_point_to_is_checked() {
    let mut world = with_group();
    let stream = "arn:aws:firehose:eu-west-1:111122223333:deliverystream/x";
    let other_region = DESTINATION.replace("eu-west-1", "us-east-1");
    let rows = [
        (stream, None, "InvalidParameterException"),
        (stream, Some(FILTER_ROLE), "InvalidParameterException"),
        ("arn:aws:lambda:eu-west-1:111122223333:function:x", Some(FILTER_ROLE), "InvalidParameterException"),
        ("arn:aws:sqs:eu-west-1:111122223333:x", None, "InvalidParameterException"),
        (&format!("{DESTINATION}2"), None, "ResourceNotFoundException"),
        (&other_region, None, "InvalidParameterException"),
    ];
    for (arn, role, expected) in rows {
        let mut input = json!({"logGroupName": GROUP, "filterName": "f", "filterPattern": "", "destinationArn": arn});
        if let Some(role) = role {
            input["roleArn"] = json!(role);
        }
        assert_eq!(code(logs(&mut world, MEMBER, "PutSubscriptionFilter", input)), expected, "{arn} {role:?}");
    }
}

#[test]
fn a_filter_needs_its_group_its_pattern_and_a_class_that_can_be_subscribed() {
    let mut world = with_group();
    let put = |world: &mut World, input| logs(world, MEMBER, "PutSubscriptionFilter", input);
    let no_group = json!({"logGroupName": "x", "filterName": "f", "filterPattern": "", "destinationArn": DESTINATION});
    assert_eq!(code(put(&mut world, no_group)), "ResourceNotFoundException");
    let no_pattern = json!({"logGroupName": GROUP, "filterName": "f", "destinationArn": DESTINATION});
    assert_eq!(code(put(&mut world, no_pattern)), "InvalidParameterException");
    let bad_name =
        json!({"logGroupName": GROUP, "filterName": "a:b", "filterPattern": "", "destinationArn": DESTINATION});
    assert_eq!(code(put(&mut world, bad_name)), "InvalidParameterException");
    for class in ["INFREQUENT_ACCESS", "DELIVERY"] {
        let input = json!({"logGroupName": class, "logGroupClass": class});
        logs(&mut world, MEMBER, "CreateLogGroup", input).unwrap();
        let input =
            json!({"logGroupName": class, "filterName": "f", "filterPattern": "", "destinationArn": DESTINATION});
        assert_eq!(code(put(&mut world, input)), "ValidationException", "{class}");
    }
}

#[test]
fn a_filter_is_deleted_once() {
    let mut world = with_group();
    put_filter(&mut world, "f", None).unwrap();
    let input = json!({"logGroupName": GROUP, "filterName": "f"});
    assert_eq!(logs(&mut world, MEMBER, "DeleteSubscriptionFilter", input.clone()), Ok(json!({})));
    assert_eq!(code(logs(&mut world, MEMBER, "DeleteSubscriptionFilter", input)), "ResourceNotFoundException");
}

#[test]
fn a_destination_whose_test_message_cannot_be_delivered_is_refused() {
    let expected = "Could not deliver test message to specified destination. Check if the destination is valid.";
    let untrusting = trust("logs.amazonaws.com", json!({"StringEquals": {"aws:SourceOrgID": "o-other00001"}}));
    type Breakage<'a> = &'a dyn Fn(&mut World);
    let cases: [(&str, Breakage<'_>); 5] = [
        ("unknown stream", &|world| world.logs.remove_stream(STREAM)),
        ("missing role", &|world| {
            world.iam.remove_role(CENTRAL, "ToFirehose").unwrap();
        }),
        ("trust for another organization", &|world| {
            world.put_role(CENTRAL, "ToFirehose", untrusting.clone(), allow(&["firehose:*"], STREAM));
        }),
        ("trust for another service", &|world| {
            let trust = trust("firehose.amazonaws.com", json!({}));
            world.put_role(CENTRAL, "ToFirehose", trust, allow(&["firehose:*"], STREAM));
        }),
        ("no permission", &|world| {
            world.put_role(CENTRAL, "ToFirehose", trust("logs.amazonaws.com", json!({})), allow(&["s3:*"], "*"));
        }),
    ];
    for (what, break_it) in cases {
        let mut world = with_destination();
        break_it(&mut world);
        let refused = refusal(put_destination(&mut world));
        assert_eq!(refused, ("InvalidParameterException".to_owned(), expected.to_owned()), "{what}");
    }
}

#[test]
fn the_test_message_fails_until_the_role_has_propagated() {
    let mut world = with_destination();
    world.settings.role_propagation_ms = 1_000;
    world.iam.remove_role(CENTRAL, "ToFirehose").unwrap();
    let trust = trust("logs.amazonaws.com", json!({})).to_string();
    iam(&mut world, CENTRAL, "CreateRole", &[("RoleName", "ToFirehose"), ("AssumeRolePolicyDocument", &trust)]);
    let policy = allow(&["firehose:*"], STREAM)["policy"].to_string();
    let put = [("RoleName", "ToFirehose"), ("PolicyName", "policy"), ("PolicyDocument", policy.as_str())];
    iam(&mut world, CENTRAL, "PutRolePolicy", &put);
    world.advance_clock(999);
    assert_eq!(code(put_destination(&mut world)), "InvalidParameterException");
    world.advance_clock(1);
    put_destination(&mut world).unwrap();
}

#[test]
fn tags_in_the_same_call_make_the_test_message_fail() {
    let mut world = with_destination();
    let input = json!({"destinationName": "d", "targetArn": STREAM, "roleArn": DESTINATION_ROLE, "tags": {"a": "b"}});
    assert_eq!(code(logs(&mut world, CENTRAL, "PutDestination", input)), "InvalidParameterException");
}

#[test]
fn an_update_keeps_the_policy_and_the_policy_is_kept_byte_for_byte() {
    let mut world = with_destination();
    let text = format!("  {}\n", policy_for(&[MEMBER]).replace(',', ",  "));
    put_policy(&mut world, &text, false).unwrap();
    put_destination(&mut world).unwrap();
    let answer = logs(&mut world, CENTRAL, "DescribeDestinations", json!({"DestinationNamePrefix": "VPC"})).unwrap();
    assert_eq!(answer["destinations"][0]["accessPolicy"], text.as_str());
    assert_eq!(answer["destinations"][0]["targetArn"], STREAM);
}

#[test]
fn policies_are_refused_with_the_message_of_the_service_and_change_nothing() {
    let mut world = with_destination();
    let arn = policy_for(&["arn:aws:iam::111122223333:root"]);
    let too_long = policy_for(&[MEMBER]) + &" ".repeat(super::MAX_POLICY_BYTES);
    for (document, expected) in [
        ("{", "Error occurred while parsing accessPolicy."),
        (too_long.as_str(), "Error occurred while parsing accessPolicy."),
        (
            arn.as_str(),
            "Principal section of policy contains ARN instead of account ID: arn:aws:iam::111122223333:root",
        ),
        (&policy_for_organization(), "Cannot update existing policy on Subscription Destination."),
    ] {
        let (code, message) = refusal(put_policy(&mut world, document, false));
        assert_eq!(code, "InvalidParameterException");
        assert!(message.starts_with(expected), "{message}");
    }
    let kept = world.logs.destination(DESTINATION).unwrap().access_policy.clone();
    assert_eq!(kept, Some(policy_for(&[MEMBER])));
    put_policy(&mut world, &policy_for_organization(), true).unwrap();
}

#[test]
fn a_policy_for_a_destination_that_does_not_exist_is_an_invalid_parameter() {
    let mut world = organization();
    assert_eq!(code(put_policy(&mut world, &policy_for(&[MEMBER]), false)), "InvalidParameterException");
}

#[test]
fn destinations_come_sorted_and_paged_by_prefix() {
    let mut world = with_destination();
    for number in 0..60 {
        let name = format!("shard-{number:02}");
        let input = json!({"destinationName": name, "targetArn": STREAM, "roleArn": DESTINATION_ROLE});
        logs(&mut world, CENTRAL, "PutDestination", input).unwrap();
    }
    let describe = |world: &mut World, input| logs(world, CENTRAL, "DescribeDestinations", input).unwrap();
    let first = describe(&mut world, json!({"DestinationNamePrefix": "shard-"}));
    assert_eq!(first["destinations"].as_array().unwrap().len(), 50);
    assert_eq!(first["destinations"][0].get("accessPolicy"), None, "made without a policy");
    let rest = describe(&mut world, json!({"DestinationNamePrefix": "shard-", "nextToken": first["nextToken"]}));
    assert_eq!(rest["destinations"].as_array().unwrap().len(), 10);
    assert_eq!(rest["destinations"][0]["destinationName"], "shard-50");
    assert_eq!(rest.get("nextToken"), None);
}

#[test]
fn an_unknown_operation_or_member_is_named() {
    let mut world = organization();
    assert_eq!(code(logs(&mut world, MEMBER, "PutMetricFilter", json!({}))), "UnknownOperationException");
    let (code, message) = refusal(logs(&mut world, MEMBER, "DeleteLogGroup", json!({"logGroup": "x"})));
    assert_eq!(code, "UnknownParameter");
    assert!(message.contains("logGroup of DeleteLogGroup"), "{message}");
}
