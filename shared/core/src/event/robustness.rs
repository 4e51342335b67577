//! Whatever arrives, decoding ends with a decision.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::fixtures::*;
use super::{Classified, Trigger, decode, decode_value, explain, wrap_cloudtrail};

/// Names and texts that decoding looks for, so that random JSON reaches further than the first check.
const WORDS: &[&str] = &[
    "source",
    "detail",
    "detail-type",
    "account",
    "region",
    "eventName",
    "eventSource",
    "eventType",
    "errorCode",
    "requestParameters",
    "responseElements",
    "serviceEventDetails",
    "userIdentity",
    "accountId",
    "state",
    "kind",
    "version",
    "Records",
    "body",
    "Sns",
    "Message",
    "Type",
    "Notification",
    "vpc",
    "vpcId",
    "content",
    "items",
    "aws.ec2",
    "aws.logs",
    "aws.organizations",
    "aws.controltower",
    "aws.cloudformation",
    "CreateVpc",
    "DeleteFlowLogs",
    "CreateTags",
    "resourcesSet",
    "tagSet",
    "Events",
    "CloudTrailEvent",
    "QueryResultRows",
    "memberAccountId",
    "AccountJoinedOrganization",
    "enrollment-request",
    "stack-id",
    "status-details",
    "é",
    "",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(WORDS).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[0-9]{11,13}|vpc-[0-9a-f]{8}|fl-[0-9a-f]{8}|arn:aws:[a-z]{1,8}:eu-west-1:111122223333:.{0,9}"
            .prop_map(Value::from),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(select(WORDS).prop_map(str::to_owned), inner.clone(), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

fn real_shape() -> impl Strategy<Value = Value> {
    let status = json!({"state": "SUCCEEDED", "accountId": OTHER, "account": {"accountId": OTHER}});
    select(vec![
        create_vpc().build(),
        delete_flow_logs().build(),
        call("ec2", "CreateTags").request(json!({"resourcesSet": {"items": [{"resourceId": VPC}]},
            "tagSet": {"items": [{"key": "vpc-flow-logs", "value": "off"}]}})).build(),
        call("logs", "DeleteLogGroup").request(json!({"logGroupName": "vpc-flow-logs"})).build(),
        call("logs", "PutSubscriptionFilter").request(json!({"logGroupName": "vpc-flow-logs", "filterName": "AllTraffic"})).build(),
        call("organizations", "AcceptHandshake").response(json!({"handshake": {"action": "invite", "parties": [{"type": "ORGANIZATION", "id": "o-exampleorg1"}]}})).build(),
        call("organizations", "MoveAccount").request(json!({"accountId": OTHER})).build(),
        service_event("organizations", "CreateAccountResult").service_details(json!({"createAccountStatus": status})).build(),
        service_event("organizations", "AccountDepartedOrganization").service_details(json!({"accountId": OTHER})).build(),
        service_event("organizations", "AccountJoinedOrganization").service_details(json!({"memberAccountId": OTHER})).build(),
        service_event("controltower", "CreateManagedAccount").service_details(json!({"createManagedAccountStatus": status})).build(),
        json!({"source": "aws.cloudformation", "account": MEMBER, "region": "eu-west-1", "detail": {
            "stack-id": "arn:aws:cloudformation:eu-west-1:111122223333:stack/enroller-member/1",
            "status-details": {"status": "CREATE_COMPLETE"}}}),
        json!({"kind": "enrollment-request", "version": 1, "account": MEMBER, "regions": ["eu-west-1"],
            "destinations": {"eu-west-1": "d"}, "reason": "r", "requested_at_ms": 1}),
    ])
}

fn pointers(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    if let Some(members) = value.as_object() {
        members.iter().for_each(|(name, value)| pointers(value, &format!("{at}/{name}"), all));
    }
}

/// A real event with one of its values replaced, or turned into text.
fn mutated() -> impl Strategy<Value = Value> {
    (real_shape(), any::<prop::sample::Index>(), prop::option::of(any_json())).prop_map(|(mut event, index, value)| {
        let mut all = Vec::new();
        pointers(&event, "", &mut all);
        let slot = event.pointer_mut(&all[index.index(all.len())]).unwrap();
        *slot = value.unwrap_or_else(|| Value::from(slot.to_string()));
        event
    })
}

proptest! {
    #[test]
    fn any_text_is_decided(body in ".{0,200}") {
        decode(&body, &context());
    }

    #[test]
    fn any_json_is_decided(value in any_json()) {
        decode_value(&value, &context());
        explain("-", &value, &context());
        decode_value(&wrap_cloudtrail(value), &context());
    }

    #[test]
    fn a_damaged_event_is_decided_and_never_moves_to_an_account_that_is_not_named(event in mutated()) {
        explain("-", &event, &context());
        if let Classified::Act(decoded) = decode(&event.to_string(), &context()) {
            let account = match decoded.trigger {
                Trigger::Enroll { account, .. } | Trigger::Repair { account, .. } => Some(account),
                Trigger::Grant { account, .. } | Trigger::Revoke { account, .. } => Some(account),
                Trigger::Request(request) => Some(request.account),
                Trigger::Sync { .. } | Trigger::Backfill(_) => None,
            };
            prop_assert!(account.is_none_or(|account| event.to_string().contains(&account.to_string())));
        }
    }
}
