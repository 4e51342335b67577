use serde_json::{Value, json};

use super::*;
use crate::fixtures::*;
use crate::sim::Sim;

const HOME: &str = "us-east-1";

/// The enrolled organization, and a queue that gets every event of an account's default bus.
fn watched(account: &str, region: &str) -> (Sim, String) {
    let (world, _, _) = enrolled();
    let sim = Sim::new(world);
    let url = watch(&sim, account, region);
    (sim, url)
}

fn last(sim: &Sim, url: &str) -> Value {
    events_on(sim, url).pop().unwrap()
}

fn call_logs(sim: &Sim, operation: &str, input: Value) -> Result<Value, ApiError> {
    sim.with(|world| {
        let call = call(MEMBER, REGION, Service::Logs, operation);
        let outcome = crate::logs::handle(world, &call, &input);
        record(world, &call, &input, outcome.as_ref());
        outcome
    })
}

#[test]
fn create_vpc_has_the_old_direct_style_with_tags_as_items() {
    let (sim, url) = watched(MEMBER, REGION);
    let form = "CidrBlock=10.1.0.0/16&TagSpecification.1.ResourceType=vpc&TagSpecification.1.Tag.1.Key=Name\
                &TagSpecification.1.Tag.1.Value=one";
    sim.with(|world| ec2(world, MEMBER, "CreateVpc", form)).unwrap();
    let event = last(&sim, &url);
    assert_eq!(event["detail-type"], "AWS API Call via CloudTrail");
    assert_eq!(event["source"], "aws.ec2");
    assert_eq!((&event["account"], &event["region"]), (&json!(MEMBER), &json!(REGION)));
    assert_eq!(event["time"], "2026-11-23T10:00:00Z");
    let detail = &event["detail"];
    assert_eq!(detail["eventName"], "CreateVpc");
    assert_eq!(detail["eventSource"], "ec2.amazonaws.com");
    assert_eq!(detail["recipientAccountId"], MEMBER);
    assert_eq!(detail["userIdentity"]["type"], "Root");
    assert_eq!(
        detail["requestParameters"],
        json!({
            "cidrBlock": "10.1.0.0/16", "instanceTenancy": "default", "amazonProvidedIpv6CidrBlock": false,
            "tagSpecificationSet": {"items": [
                {"resourceType": "vpc", "tags": [{"key": "Name", "value": "one"}]},
            ]},
        })
    );
    let vpc = &detail["responseElements"]["vpc"];
    assert!(vpc["vpcId"].as_str().unwrap().starts_with("vpc-"));
    assert_eq!(vpc["tagSet"], json!({"items": [{"key": "Name", "value": "one"}]}));
    assert_eq!((&vpc["ownerId"], &vpc["isDefault"]), (&json!(MEMBER), &json!(false)));
    assert_eq!(vpc["cidrBlockAssociationSet"]["items"][0]["cidrBlockState"]["state"], "associated");
    assert_eq!(detail.get("errorCode"), None);
}

#[test]
fn a_refused_create_vpc_has_an_error_code_and_null_elements() {
    let (sim, url) = watched(MEMBER, REGION);
    sim.with(|world| {
        world.settings.vpcs_per_region = 0;
        ec2(world, MEMBER, "CreateVpc", "CidrBlock=10.1.0.0/16")
    })
    .unwrap_err();
    let detail = &last(&sim, &url)["detail"];
    assert_eq!(detail["errorCode"], "Client.VpcLimitExceeded");
    assert_eq!(detail["responseElements"], Value::Null);
    assert_eq!(detail["requestParameters"]["cidrBlock"], "10.1.0.0/16");
}

#[test]
fn create_default_vpc_and_delete_vpc_have_their_styles() {
    let (sim, url) = watched(MEMBER, REGION);
    let facts = sim.with(|world| ec2(world, MEMBER, "CreateDefaultVpc", "")).unwrap();
    let vpc_id = facts["vpcId"].as_str().unwrap();
    let detail = &last(&sim, &url)["detail"];
    assert_eq!(detail["responseElements"]["CreateDefaultVpcResponse"]["vpc"]["vpcId"], vpc_id);
    assert_eq!(detail["responseElements"]["CreateDefaultVpcResponse"]["vpc"]["isDefault"], true);
    sim.with(|world| ec2(world, MEMBER, "DeleteVpc", &format!("VpcId={vpc_id}"))).unwrap();
    let detail = &last(&sim, &url)["detail"];
    assert_eq!(detail["requestParameters"], json!({"vpcId": vpc_id}));
    assert_eq!(detail["responseElements"]["_return"], true);
}

#[test]
fn create_flow_logs_has_the_wrapped_style_with_tagged_lists_and_empty_texts() {
    let (sim, url) = watched(MEMBER, REGION);
    let vpc_id = sim.with(|world| world.put_vpc(MEMBER, REGION, "10.2.0.0/16", false));
    let form = format!(
        "ResourceType=VPC&ResourceId.1={vpc_id}&TrafficType=ALL&LogGroupName={GROUP}&MaxAggregationInterval=60\
         &DeliverLogsPermissionArn={DELIVERY_ROLE}&TagSpecification.1.ResourceType=vpc-flow-log\
         &TagSpecification.1.Tag.1.Key=managed&TagSpecification.1.Tag.1.Value=true"
    );
    let facts = sim.with(|world| ec2(world, MEMBER, "CreateFlowLogs", &form)).unwrap();
    let detail = &last(&sim, &url)["detail"];
    assert_eq!(
        detail["requestParameters"]["CreateFlowLogsRequest"],
        json!({
            "ResourceId": {"tag": 1, "content": vpc_id},
            "ResourceType": "VPC",
            "TrafficType": "ALL",
            "LogGroupName": GROUP,
            "MaxAggregationInterval": 60,
            "DeliverLogsPermissionArn": DELIVERY_ROLE,
            "TagSpecification": {
                "ResourceType": "vpc-flow-log", "tag": 1, "Tag": {"Key": "managed", "Value": true, "tag": 1},
            },
        })
    );
    let response = &detail["responseElements"]["CreateFlowLogsResponse"];
    assert_eq!(response["xmlns"], "http://ec2.amazonaws.com/doc/2016-11-15/");
    assert_eq!(response["flowLogIdSet"], json!({"item": facts["flowLogIds"][0]}));
    assert_eq!(response["unsuccessful"], "");
    assert!(response["clientToken"].is_string());
}

#[test]
fn several_flow_logs_and_unsuccessful_ones_are_lists() {
    let (sim, url) = watched(MEMBER, REGION);
    let (one, two) = sim.with(|world| {
        (world.put_vpc(MEMBER, REGION, "10.2.0.0/16", false), world.put_vpc(MEMBER, REGION, "10.3.0.0/16", false))
    });
    let form = format!(
        "ResourceType=VPC&ResourceId.1={one}&ResourceId.2={two}&ResourceId.3=vpc-0123456789abcdef0&TrafficType=ALL\
         &LogGroupName={GROUP}&DeliverLogsPermissionArn={DELIVERY_ROLE}"
    );
    sim.with(|world| ec2(world, MEMBER, "CreateFlowLogs", &form)).unwrap();
    let detail = &last(&sim, &url)["detail"];
    let resources = &detail["requestParameters"]["CreateFlowLogsRequest"]["ResourceId"];
    assert_eq!(resources[1], json!({"tag": 2, "content": two}));
    let response = &detail["responseElements"]["CreateFlowLogsResponse"];
    assert_eq!(response["flowLogIdSet"]["item"].as_array().unwrap().len(), 2);
    assert_eq!(response["unsuccessful"]["item"]["resourceId"], "vpc-0123456789abcdef0");
}

#[test]
fn delete_flow_logs_carries_the_ids_of_flow_logs_and_no_vpc() {
    let (sim, url) = watched(MEMBER, REGION);
    let id = sim.with(|world| world.ec2.flow_logs(MEMBER, REGION).next().unwrap().id.clone());
    sim.with(|world| ec2(world, MEMBER, "DeleteFlowLogs", &format!("FlowLogId.1={id}"))).unwrap();
    let detail = &last(&sim, &url)["detail"];
    let expected = json!({"DeleteFlowLogsRequest": {"FlowLogId": {"tag": 1, "content": id}}});
    assert_eq!(detail["requestParameters"], expected);
    assert_eq!(detail["responseElements"]["DeleteFlowLogsResponse"]["unsuccessful"], "");
}

#[test]
fn calls_of_cloudwatch_logs_show_their_input_and_null_for_no_output() {
    let (sim, url) = watched(MEMBER, REGION);
    let filter = json!({"logGroupName": GROUP, "filterName": "AllTraffic"});
    for (operation, input) in [
        ("PutRetentionPolicy", json!({"logGroupName": GROUP, "retentionInDays": 30})),
        ("DeleteSubscriptionFilter", filter),
        ("DeleteLogGroup", json!({"logGroupName": GROUP})),
    ] {
        call_logs(&sim, operation, input.clone()).unwrap();
        let event = last(&sim, &url);
        assert_eq!(event["source"], "aws.logs");
        let detail = &event["detail"];
        assert_eq!((&detail["eventName"], &detail["requestParameters"]), (&json!(operation), &input));
        assert_eq!(detail["responseElements"], Value::Null);
        assert_eq!(detail["apiVersion"], "20140328");
    }
    call_logs(&sim, "DeleteLogGroup", json!({"logGroupName": GROUP})).unwrap_err();
    assert_eq!(last(&sim, &url)["detail"]["errorCode"], "ResourceNotFoundException");
}

#[test]
fn reads_make_no_event() {
    let (sim, url) = watched(MEMBER, REGION);
    sim.with(|world| ec2(world, MEMBER, "DescribeVpcs", "")).unwrap();
    sim.with(|world| ec2(world, MEMBER, "DescribeFlowLogs", "")).unwrap();
    call_logs(&sim, "DescribeLogGroups", json!({})).unwrap();
    call_logs(&sim, "ListTagsForResource", json!({"resourceArn": "arn:aws:logs:x:y:log-group:z"})).unwrap_err();
    assert_eq!(events_on(&sim, &url), Vec::<Value>::new());
}

#[test]
fn a_session_is_named_with_its_issuer() {
    let (sim, url) = watched(MEMBER, REGION);
    sim.with(|world| {
        let mut call = call(MEMBER, REGION, Service::Logs, "DeleteLogGroup");
        call.caller.principal_arn = format!("arn:aws:sts::{MEMBER}:assumed-role/FilterRole/session-1");
        record(world, &call, &json!({"logGroupName": "x"}), Ok(&json!({})));
    });
    let identity = &last(&sim, &url)["detail"]["userIdentity"];
    assert_eq!(identity["type"], "AssumedRole");
    let issuer = &identity["sessionContext"]["sessionIssuer"];
    assert_eq!(issuer["userName"], "FilterRole");
    assert_eq!(issuer["arn"], FILTER_ROLE);
    assert_eq!(identity["principalId"], format!("{}:session-1", issuer["principalId"].as_str().unwrap()));
}

#[test]
fn iam_events_appear_in_the_global_region_only() {
    let (sim, url) = watched(MEMBER, HOME);
    sim.with(|world| {
        let call = call(MEMBER, REGION, Service::Iam, "CreateRole");
        record(world, &call, &json!({"flat": {"RoleName": "x"}}), Ok(&json!({})));
    });
    let event = last(&sim, &url);
    assert_eq!((&event["source"], &event["region"]), (&json!("aws.iam"), &json!(HOME)));
    assert_eq!(event["detail"]["requestParameters"], json!({"roleName": "x"}));
}

#[test]
fn each_account_event_has_the_shape_of_its_source() {
    let now = "Nov 23, 2026 10:00:00 AM";
    let request_id = "car-examplecreateaccountrequestid111";
    let created = |state: &str, field: &str, value: &str| {
        json!({"createAccountStatus": {"id": request_id, "state": state, "accountName": "****", field: value,
            "requestedTimestamp": now, "completedTimestamp": now}})
    };
    let closed = json!({"closeAccountStatus": {"accountId": MEMBER, "state": "SUCCEEDED", "requestedTimestamp": now,
        "completedTimestamp": now}});
    let service_events = [
        (
            OrganizationEvent::CreateAccountSucceeded { request_id, account: MEMBER },
            "CreateAccountResult",
            created("SUCCEEDED", "accountId", MEMBER),
        ),
        (
            OrganizationEvent::CreateAccountFailed { request_id, reason: "EMAIL_ALREADY_EXISTS" },
            "CreateAccountResult",
            created("FAILED", "failureReason", "EMAIL_ALREADY_EXISTS"),
        ),
        (OrganizationEvent::CloseAccountSucceeded { account: MEMBER }, "CloseAccountResult", closed),
        (
            OrganizationEvent::AccountJoinedOrganization { account: MEMBER, method: "Created" },
            "AccountJoinedOrganization",
            json!({"accountId": MEMBER, "joinedMethod": "Created", "joinedTime": "2026-11-23T10:00:00Z"}),
        ),
        (
            OrganizationEvent::AccountDepartedOrganization { account: MEMBER, method: "LEFT" },
            "AccountDepartedOrganization",
            json!({"accountId": MEMBER, "departureMethod": "LEFT", "departureTime": "2026-11-23T10:00:00Z"}),
        ),
    ];
    let (sim, url) = watched(MANAGEMENT, HOME);
    for (happening, name, details) in service_events {
        sim.with(|world| organization_event(world, &happening));
        let event = last(&sim, &url);
        assert_eq!(event["detail-type"], "AWS Service Event via CloudTrail");
        assert_eq!((&event["source"], &event["account"]), (&json!("aws.organizations"), &json!(MANAGEMENT)));
        let detail = &event["detail"];
        assert_eq!((&detail["eventName"], &detail["serviceEventDetails"]), (&json!(name), &details));
        assert_eq!(detail["eventType"], "AwsServiceEvent");
        assert_eq!(detail.get("requestID"), None);
        let identity = json!({"accountId": MANAGEMENT, "invokedBy": "organizations.amazonaws.com"});
        assert_eq!(detail["userIdentity"], identity);
    }
}

#[test]
fn calls_of_the_management_account_show_what_they_ask_and_no_new_account_id() {
    let (sim, url) = watched(MANAGEMENT, HOME);
    let calls = [
        (
            OrganizationEvent::CreateAccount { request_id: "car-1" },
            "CreateAccount",
            json!({"tags": [], "email": "****", "accountName": "****"}),
        ),
        (OrganizationEvent::CloseAccount { account: MEMBER }, "CloseAccount", json!({"accountId": MEMBER})),
        (
            OrganizationEvent::RemoveAccountFromOrganization { account: MEMBER },
            "RemoveAccountFromOrganization",
            json!({"accountId": MEMBER}),
        ),
        (
            OrganizationEvent::MoveAccount { account: MEMBER, from: "r-exam", to: "ou-exam-11111111" },
            "MoveAccount",
            json!({"accountId": MEMBER, "sourceParentId": "r-exam", "destinationParentId": "ou-exam-11111111"}),
        ),
    ];
    for (happening, name, request) in calls {
        sim.with(|world| organization_event(world, &happening));
        let event = last(&sim, &url);
        assert_eq!(event["detail-type"], "AWS API Call via CloudTrail");
        let detail = &event["detail"];
        assert_eq!((&detail["eventName"], &detail["requestParameters"]), (&json!(name), &request));
        assert_eq!(detail["eventType"], "AwsApiCall");
    }
    let created = &events_on(&sim, &url)[0]["detail"]["responseElements"]["createAccountStatus"];
    assert_eq!((&created["state"], created.get("accountId")), (&json!("IN_PROGRESS"), None));
}

#[test]
fn leaving_is_recorded_in_the_member_and_not_in_the_management_account() {
    let leave = OrganizationEvent::LeaveOrganization { account: MEMBER };
    let (sim, url) = watched(MANAGEMENT, HOME);
    sim.with(|world| organization_event(world, &leave));
    assert_eq!(events_on(&sim, &url), Vec::<Value>::new());
    let (sim, url) = watched(MEMBER, HOME);
    sim.with(|world| organization_event(world, &leave));
    let event = last(&sim, &url);
    assert_eq!((&event["account"], &event["detail"]["requestParameters"]), (&json!(MEMBER), &Value::Null));
}

#[test]
fn account_events_appear_in_no_other_region() {
    let (sim, url) = watched(MANAGEMENT, REGION);
    sim.with(|world| organization_event(world, &OrganizationEvent::CloseAccount { account: MEMBER }));
    assert_eq!(events_on(&sim, &url), Vec::<Value>::new());
}

#[test]
fn control_tower_names_the_account_its_unit_and_the_state() {
    let (sim, url) = watched(MANAGEMENT, HOME);
    let unit = "ou-exam-11111111";
    let happening =
        OrganizationEvent::CreateManagedAccount { account: MEMBER, name: "team-a", organizational_unit: unit };
    sim.with(|world| organization_event(world, &happening));
    let event = last(&sim, &url);
    assert_eq!(event["source"], "aws.controltower");
    let status = &event["detail"]["serviceEventDetails"]["createManagedAccountStatus"];
    assert_eq!(status["account"], json!({"accountName": "team-a", "accountId": MEMBER}));
    assert_eq!(status["organizationalUnit"]["organizationalUnitId"], unit);
    assert_eq!(
        (&status["state"], &status["completedTimestamp"]),
        (&json!("SUCCEEDED"), &json!("2026-11-23T10:00:00+0000"))
    );
}

#[test]
fn a_stack_reports_itself_without_a_trail() {
    let (sim, url) = watched(MEMBER, REGION);
    sim.with(|world| {
        world.events.set_trail(MEMBER, REGION, false);
        let change = StackStatus {
            account: MEMBER,
            region: REGION,
            stack_name: "StackSet-enroller-member",
            status: "CREATE_COMPLETE",
        };
        stack_status(world, &change);
    });
    let event = last(&sim, &url);
    assert_eq!(event["detail-type"], "CloudFormation Stack Status Change");
    assert_eq!(event["source"], "aws.cloudformation");
    let stack_id = event["detail"]["stack-id"].as_str().unwrap();
    assert!(stack_id.starts_with("arn:aws:cloudformation:eu-west-1:111122223333:stack/StackSet-enroller-member/"));
    assert_eq!(event["detail"]["status-details"], json!({"status": "CREATE_COMPLETE", "status-reason": ""}));
    assert_eq!(event["resources"], json!([stack_id]));
}
