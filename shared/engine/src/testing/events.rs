//! Events as EventBridge delivers them, as far as they are needed to get through the engine's door.

use enroller_core::ids::{AccountId, AccountRegion};
use serde_json::{Value, json};

use super::{MANAGEMENT, away, vpc_id};

/// When the events happened, in epoch milliseconds: 2026-11-23T10:00:00Z.
pub(crate) const MADE_MS: u64 = 1_795_428_000_000;

/// Somebody made a VPC, at 2026-11-23 10:00 UTC.
pub(crate) fn vpc_created(at: &AccountRegion, vpc: u32) -> Value {
    let vpc = json!({"vpcId": vpc_id(vpc), "ownerId": at.account, "state": "pending", "tagSet": {}});
    let mut event = call(at, "ec2", "CreateVpc");
    event["detail"]["requestParameters"] = json!({"cidrBlock": "10.0.0.0/16"});
    event["detail"]["responseElements"] = json!({"requestId": "r", "vpc": vpc});
    event
}

/// The same call, refused by AWS: nothing to be done about it.
pub(crate) fn vpc_not_created(at: &AccountRegion) -> Value {
    let mut event = call(at, "ec2", "CreateVpc");
    event["detail"]["errorCode"] = json!("VpcLimitExceeded");
    event
}

/// Somebody put a tag on a VPC.
pub(crate) fn vpc_tagged(at: &AccountRegion, vpc: u32, key: &str, value: &str) -> Value {
    let mut event = call(at, "ec2", "CreateTags");
    event["detail"]["requestParameters"] = json!({
        "resourcesSet": {"items": [{"resourceId": vpc_id(vpc)}]},
        "tagSet": {"items": [{"key": key, "value": value}]},
    });
    event
}

/// Organizations tells that an account was made.
pub(crate) fn account_created(account: AccountId) -> Value {
    let details = json!({"createAccountStatus": {"state": "SUCCEEDED", "accountId": account}});
    of_organizations("CreateAccountResult", details)
}

/// Somebody moved an account to another parent.
pub(crate) fn account_moved(account: AccountId) -> Value {
    let management = AccountRegion { account: MANAGEMENT.parse().unwrap(), region: away() };
    let mut event = call(&management, "organizations", "MoveAccount");
    let parents = ("r-ab12", "ou-ab12-workload");
    event["detail"]["requestParameters"] =
        json!({"accountId": account, "sourceParentId": parents.0, "destinationParentId": parents.1});
    event
}

/// Organizations tells that an account has left.
pub(crate) fn account_departed(account: AccountId) -> Value {
    of_organizations("AccountDepartedOrganization", json!({"accountId": account}))
}

fn of_organizations(name: &str, details: Value) -> Value {
    let management = AccountRegion { account: MANAGEMENT.parse().unwrap(), region: away() };
    let mut event = call(&management, "organizations", name);
    event["detail-type"] = json!("AWS Service Event via CloudTrail");
    event["detail"]["eventType"] = json!("AwsServiceEvent");
    event["detail"]["serviceEventDetails"] = details;
    event["detail"]["userIdentity"] = json!({"accountId": management.account, "invokedBy": "AWS Internal"});
    event
}

fn call(at: &AccountRegion, service: &str, name: &str) -> Value {
    let identity = json!({
        "type": "AssumedRole",
        "arn": format!("arn:aws:sts::{}:assumed-role/Admin/session", at.account),
        "accountId": at.account,
    });
    json!({
        "version": "0",
        "id": "00000000-0000-4000-a000-000000000001",
        "detail-type": "AWS API Call via CloudTrail",
        "source": format!("aws.{service}"),
        "account": at.account,
        "time": "2026-11-23T10:00:00Z",
        "region": at.region,
        "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "eventTime": "2026-11-23T10:00:00Z",
            "eventSource": format!("{service}.amazonaws.com"),
            "eventName": name,
            "awsRegion": at.region,
            "eventID": "00000000-0000-4000-9000-000000000001",
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "readOnly": false,
            "recipientAccountId": at.account,
            "requestParameters": null,
            "responseElements": null,
            "userIdentity": identity,
        },
    })
}

/// Somebody deleted flow logs. Each number is another event.
pub(crate) fn flow_log_deleted(at: &AccountRegion, number: u64) -> Value {
    let mut event = call(at, "ec2", "DeleteFlowLogs");
    event["detail"]["requestParameters"] =
        json!({"DeleteFlowLogsRequest": {"FlowLogId": {"tag": 1, "content": "fl-0123456789abcdef0"}}});
    numbered(event, number)
}

/// Somebody deleted the first destination of a Region of the central account. Each number is another event.
pub(crate) fn destination_deleted(at: &AccountRegion, number: u64) -> Value {
    let mut event = call(at, "logs", "DeleteDestination");
    event["detail"]["requestParameters"] = json!({"destinationName": "VPCFlowLogsDestination"});
    numbered(event, number)
}

fn numbered(mut event: Value, number: u64) -> Value {
    event["detail"]["eventID"] = json!(format!("00000000-0000-4000-9000-{number:012}"));
    event
}
