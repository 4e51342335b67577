use serde_json::{Value, json};

use super::super::fixtures::*;
use super::super::{Classified, decode_value};
use super::*;

const CENTRAL: &str = "999988887777";

/// A call in the central account, by one of its people.
fn central(service: &str, name: &str, request: Value) -> Event {
    call(service, name)
        .top("account", json!(CENTRAL))
        .detail("recipientAccountId", json!(CENTRAL))
        .by_role("Admin", CENTRAL)
        .request(request)
}

fn told(event: &Value) -> ChangeByOthers {
    match decode_value(event, &context()) {
        Classified::Act(decoded) => decoded.change.unwrap_or_else(|| panic!("{event} is not told")),
        other => panic!("{event} was not acted on: {other:?}"),
    }
}

fn is_a_sync(event: &Value) -> String {
    match acted(event) {
        Trigger::Sync { resource: Some(resource), allow_mass_revocation: false, run_id: None, .. } => resource,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_changes_a_destination_in_the_central_account_causes_a_sync_and_is_named() {
    for name in ["PutDestination", "DeleteDestination", "PutDestinationPolicy"] {
        for destination in ["Logs", "Logs-2"] {
            let event = central("logs", name, json!({"destinationName": destination})).build();
            assert_eq!(is_a_sync(&event), destination);
            let change = told(&event);
            assert_eq!((&*change.call, change.certain, change.at.account.to_string().as_str()), (name, true, CENTRAL));
            assert_eq!(change.principal, format!("arn:aws:sts::{CENTRAL}:assumed-role/Admin/session"));
        }
    }
    assert_eq!(is_a_sync(&central("logs", "DeleteDestination", json!(null)).build()), "a destination");
    let theirs = central("logs", "DeleteDestination", json!({"destinationName": "Logs-of-others"})).build();
    assert!(ignored(&theirs).contains("not the enroller's"));
}

#[test]
fn an_event_of_a_member_is_never_believed_to_be_about_the_central_account() {
    for (service, name, request) in [
        ("logs", "PutDestinationPolicy", json!({"destinationName": "Logs"})),
        ("s3", "PutBucketPolicy", json!({"bucketName": "logs"})),
        ("lambda", "UpdateFunctionCode20150331v2", json!({"functionName": "vpc-flow-logs-vpc-enroller"})),
        ("iam", "DeleteRole", json!({"roleName": "VpcFlowLogsEnrollerVpcEnroller"})),
        ("events", "DeleteRule", json!({"name": "vpc-flow-logs-sweep"})),
    ] {
        let event = call(service, name).request(request.clone());
        assert!(ignored(&event.clone().build()).contains("nothing that it changes there"), "{name}");
        // The envelope decides, and a record that contradicts it is refused.
        let forged = event.detail("recipientAccountId", json!(CENTRAL)).build();
        assert!(refused(&forged).contains("names two accounts"), "{name}");
    }
}

#[test]
fn only_our_functions_in_the_central_account_are_us() {
    let put = central("logs", "PutDestinationPolicy", json!({"destinationName": "Logs"}));
    for role in FUNCTION_ROLES {
        assert!(ignored(&put.clone().by_role(role, CENTRAL).build()).contains("the enroller itself"));
        // A role of that name in a member account, which a policy of the central account lets in.
        is_a_sync(&put.clone().by_role(role, MEMBER).build());
        // A federated session of a user with that name.
        let user = put.clone().by_role(role, CENTRAL).identity(
            "sessionContext",
            json!({"sessionIssuer": {"type": "IAMUser", "arn": format!("arn:aws:iam::{CENTRAL}:user/{role}"),
                "accountId": CENTRAL, "userName": role}}),
        );
        is_a_sync(&user.build());
    }
}

#[test]
fn the_rest_of_the_centre_is_told_with_what_was_changed() {
    for (service, name, request, resource) in [
        ("s3", "PutBucketPolicy", json!({"bucketName": "logs"}), "s3 logs"),
        ("kms", "ScheduleKeyDeletion", json!({"keyId": "k"}), "kms k"),
        ("firehose", "DeleteDeliveryStream", json!({"deliveryStreamName": "vpc-flow-logs"}), "firehose vpc-flow-logs"),
        ("sqs", "PurgeQueue", json!({"queueUrl": "https://q"}), "sqs https://q"),
        ("lambda", "DeleteFunction20150331", json!({"functionName": "f"}), "lambda f"),
        ("lambda", "UpdateEventSourceMapping20150331", json!({"uUID": "u"}), "lambda u"),
        ("iam", "PutRolePolicy", json!({"roleName": "VPCFlowLogsDestinationRole"}), "iam VPCFlowLogsDestinationRole"),
        ("events", "DisableRule", json!({"name": "vpc-events", "eventBusName": "b"}), "events vpc-events"),
    ] {
        let event = central(service, name, request).build();
        assert_eq!(is_a_sync(&event), resource);
        assert_eq!(told(&event).resource, resource);
    }
}

#[test]
fn a_changed_role_of_a_member_is_told_and_every_region_is_looked_at() {
    for role in ["EnrollerMember", "Delivery", "VpcFlowLogsEnrollerForwarder"] {
        let event = call("iam", "DeleteRolePolicy").request(json!({"roleName": role})).build();
        let Trigger::Request(request) = acted(&event) else { panic!("not looked at") };
        assert_eq!((request.account, request.regions.len()), (account(MEMBER), 2));
        assert_eq!(told(&event).resource, format!("role {role}"));
    }
    let own = call("iam", "PutRolePolicy").request(json!({"roleName": "Delivery"})).by_role("EnrollerMember", MEMBER);
    assert!(ignored(&own.build()).contains("the enroller itself"));
    ignored(&call("iam", "DeleteRole").request(json!({"roleName": "Theirs"})).build());
}

#[test]
fn a_changed_rule_or_stack_of_a_member_is_told_and_its_region_is_looked_at() {
    let rule = "vpc-flow-logs-enroller-vpcs";
    let stack = "arn:aws:cloudformation:eu-west-1:111122223333:stack/StackSet-enroller-member-1/2";
    for (service, name, request, resource) in [
        ("events", "DeleteRule", json!({"name": rule}), rule),
        ("events", "RemoveTargets", json!({"rule": rule, "ids": ["central"]}), rule),
        ("cloudformation", "DeleteStack", json!({"stackName": stack}), stack),
    ] {
        let event = call(service, name).request(request).build();
        let Trigger::Repair { region, .. } = acted(&event) else { panic!("not a repair") };
        assert_eq!((region.as_str(), &*told(&event).resource), ("eu-west-1", resource));
    }
    let set = call("cloudformation", "DeleteStackInstances").request(json!({"stackSetName": "enroller-member:1"}));
    assert_eq!(is_a_sync(&set.build()), "StackSet enroller-member");
    ignored(&call("cloudformation", "DeleteStack").request(json!({"stackName": "theirs"})).build());
}

#[test]
fn what_undoes_an_enrollment_is_told_and_of_flow_logs_only_if_there_is_something_to_repair() {
    let group = call("logs", "DeleteLogGroup").request(json!({"logGroupName": "vpc-flow-logs"})).build();
    assert!(told(&group).certain);
    let change = told(&delete_flow_logs().build());
    assert_eq!((change.certain, &*change.resource), (false, "fl-0123456789abcdef0"));
    let tagged = |id: &str| {
        let items = json!({"items": [{"resourceId": id}]});
        call("ec2", "DeleteTags").request(json!({"resourcesSet": items, "tagSet": {"items": [{"key": "managed-by"}]}}))
    };
    assert!(!told(&tagged("fl-0123456789abcdef0").build()).certain);
    for event in [tagged(VPC), create_vpc()] {
        let Classified::Act(decoded) = decode_value(&event.build(), &context()) else { panic!("not acted on") };
        assert_eq!(decoded.change, None);
    }
}
