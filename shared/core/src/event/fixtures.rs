//! Events by intent, for the tests of this module.

use serde_json::{Value, json};

use super::{Classified, EventContext, Trigger, decode_value};
use crate::grants::ShardNaming;
use crate::ids::AccountId;

pub(super) const MEMBER: &str = "111122223333";
pub(super) const OTHER: &str = "444455556666";
pub(super) const MANAGEMENT: &str = "777788889999";
pub(super) const VPC: &str = "vpc-0123456789abcdef0";
pub(super) const EVENT_ID: &str = "00000000-0000-4000-9000-000000000001";
pub(super) const ENVELOPE_ID: &str = "00000000-0000-4000-a000-000000000001";
pub(super) const EVENT_MS: u64 = 1_795_428_000_000;

pub(super) fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}

pub(super) fn context() -> EventContext {
    EventContext {
        log_group: "vpc-flow-logs".parse().unwrap(),
        filter: "AllTraffic".parse().unwrap(),
        member_role: "EnrollerMember".parse().unwrap(),
        member_stack: "enroller-member".to_owned(),
        organization: Some("o-exampleorg1".parse().unwrap()),
        tag_keys: ["vpc-flow-logs", "vpc-flow-logs-traffic-type", "managed-by"].map(str::to_owned).into(),
        central_account: account("999988887777"),
        destinations: ShardNaming::new("Logs".parse().unwrap()).unwrap(),
        regions: ["eu-west-1", "us-east-1"].map(|region| region.parse().unwrap()).into(),
        roles: ["EnrollerMember", "Delivery", "VpcFlowLogsEnrollerForwarder"].map(str::to_owned).into(),
    }
}

/// The trigger of an event that must be acted on.
pub(super) fn acted(event: &Value) -> Trigger {
    match decode_value(event, &context()) {
        Classified::Act(decoded) => decoded.trigger,
        other => panic!("{event} was not acted on: {other:?}"),
    }
}

/// The reason of an event that must be ignored.
pub(super) fn ignored(event: &Value) -> String {
    match decode_value(event, &context()) {
        Classified::Ignore(ignored) => ignored.reason,
        other => panic!("{event} was not ignored: {other:?}"),
    }
}

/// The reason of an event that must be refused.
pub(super) fn refused(event: &Value) -> String {
    match decode_value(event, &context()) {
        Classified::Refuse(refused) => refused.reason,
        other => panic!("{event} was not refused: {other:?}"),
    }
}

/// An EventBridge event with a CloudTrail record, from the member account in eu-west-1.
#[derive(Clone)]
pub(super) struct Event(Value);

/// An API call that succeeded, made by a person's role.
pub(super) fn call(service: &str, name: &str) -> Event {
    Event(json!({
        "version": "0",
        "id": ENVELOPE_ID,
        "detail-type": "AWS API Call via CloudTrail",
        "source": format!("aws.{service}"),
        "account": MEMBER,
        "time": "2026-11-23T10:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "eventTime": "2026-11-23T10:00:00Z",
            "eventSource": format!("{service}.amazonaws.com"),
            "eventName": name,
            "awsRegion": "eu-west-1",
            "requestParameters": null,
            "responseElements": null,
            "eventID": EVENT_ID,
            "readOnly": false,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": MEMBER,
        },
    }))
    .by_role("Admin", MEMBER)
}

/// A service event in the management account.
pub(super) fn service_event(service: &str, name: &str) -> Event {
    call(service, name)
        .top("detail-type", json!("AWS Service Event via CloudTrail"))
        .top("account", json!(MANAGEMENT))
        .without_detail("recipientAccountId")
        .detail("eventType", json!("AwsServiceEvent"))
        .detail("userIdentity", json!({"accountId": MANAGEMENT, "invokedBy": "AWS Internal"}))
}

pub(super) fn create_vpc() -> Event {
    call("ec2", "CreateVpc")
        .request(json!({"cidrBlock": "10.0.0.0/16", "instanceTenancy": "default"}))
        .response(json!({"requestId": "r", "vpc": {"vpcId": VPC, "ownerId": MEMBER, "state": "pending", "tagSet": {}}}))
}

pub(super) fn delete_flow_logs() -> Event {
    call("ec2", "DeleteFlowLogs")
        .request(json!({"DeleteFlowLogsRequest": {"FlowLogId": {"tag": 1, "content": "fl-0123456789abcdef0"}}}))
        .response(json!({"DeleteFlowLogsResponse": {"requestId": "r", "unsuccessful": ""}}))
}

impl Event {
    pub(super) fn top(mut self, name: &str, value: Value) -> Self {
        self.0[name] = value;
        self
    }

    pub(super) fn detail(mut self, name: &str, value: Value) -> Self {
        self.0["detail"][name] = value;
        self
    }

    pub(super) fn identity(mut self, name: &str, value: Value) -> Self {
        self.0["detail"]["userIdentity"][name] = value;
        self
    }

    pub(super) fn request(self, value: Value) -> Self {
        self.detail("requestParameters", value)
    }

    pub(super) fn response(self, value: Value) -> Self {
        self.detail("responseElements", value)
    }

    pub(super) fn service_details(self, value: Value) -> Self {
        self.detail("serviceEventDetails", value)
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.0.as_object_mut().unwrap().remove(name).unwrap();
        self
    }

    pub(super) fn without_detail(mut self, name: &str) -> Self {
        self.0["detail"].as_object_mut().unwrap().remove(name).unwrap();
        self
    }

    /// Made in a session of this role of this account.
    pub(super) fn by_role(self, role: &str, account: &str) -> Self {
        self.detail(
            "userIdentity",
            json!({
                "type": "AssumedRole",
                "arn": format!("arn:aws:sts::{account}:assumed-role/{role}/session"),
                "accountId": account,
                "sessionContext": {"sessionIssuer": {
                    "type": "Role",
                    "arn": format!("arn:aws:iam::{account}:role/path/{role}"),
                    "accountId": account,
                    "userName": role,
                }},
            }),
        )
    }

    pub(super) fn build(self) -> Value {
        self.0
    }
}
