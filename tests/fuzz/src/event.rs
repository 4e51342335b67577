//! A queue's body, decoded as the functions decode it.
//!
//! What must hold: no body makes the decoder panic. An event is acted on only if AWS or this product can have sent it,
//! only for an account that it names, never for one that only its caller's identity names; an event of a member
//! account only for the account and Region of its envelope. No event turns the revocation guard off. Our own messages
//! read back as they were written. Text from outside is cut before it reaches a log.

use enroller_core::event::{
    Classified, Decoded, Enrolled, EventContext, MEMBER_RULES, Trigger, decode, decode_value, explain, wrap_cloudtrail,
};
use enroller_core::grants::ShardNaming;
use enroller_core::ids::{AccountId, FlowLogId, Region};
use enroller_core::message::Message;
use serde_json::Value;

const SOURCES: [&str; 13] = [
    "aws.ec2",
    "aws.logs",
    "aws.cloudformation",
    "aws.organizations",
    "aws.controltower",
    "aws.events",
    "aws.scheduler",
    "aws.iam",
    "aws.firehose",
    "aws.s3",
    "aws.kms",
    "aws.sqs",
    "aws.lambda",
];

/// What makes an event ours, here and in the corpus.
pub fn context() -> EventContext {
    EventContext {
        log_group: "vpc-flow-logs".parse().expect("a log group's name"),
        filter: "AllTraffic".parse().expect("a filter's name"),
        member_role: "EnrollerMember".parse().expect("a role's name"),
        member_stack: "enroller-member".to_owned(),
        organization: Some("o-exampleorg1".parse().expect("an organization's id")),
        tag_keys: ["vpc-flow-logs", "vpc-flow-logs-traffic-type", "managed-by"].map(str::to_owned).into(),
        central_account: "999988887777".parse().expect("a name"),
        destinations: ShardNaming::new("Logs".parse().expect("a name")).expect("a name"),
        regions: ["eu-west-1".parse().expect("a name")].into(),
        roles: ["EnrollerMember", "Delivery"].map(str::to_owned).into(),
    }
}

/// Decodes the bytes, as a queue's body and as an event that a person wants explained.
///
/// # Panics
///
/// When a promise is broken. SQS carries nothing but Unicode, so other bytes are passed over.
pub fn check(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else { return };
    let context = context();
    let decision = decode(body, &context);
    let Ok(value) = serde_json::from_str::<Value>(body) else {
        assert!(matches!(decision, Classified::Refuse(_)), "no JSON, and yet {decision:?}");
        return;
    };
    assert_eq!(decision, decode_value(&value, &context));
    explain("-", &value, &context);
    decode_value(&wrap_cloudtrail(value.clone()), &context);
    match &decision {
        Classified::Act(decoded) => accepted(decoded, &bare(value), &context),
        Classified::Ignore(ignored) => short(&ignored.reason, ignored.subject.resource.as_deref()),
        Classified::Refuse(refused) => short(&refused.reason, refused.subject.resource.as_deref()),
    }
}

fn short(reason: &str, resource: Option<&str>) {
    assert!(reason.chars().count() <= 1001, "{} characters", reason.len());
    assert!(resource.unwrap_or_default().chars().count() <= 513, "{resource:?}");
}

/// The body without the SNS notification around it.
fn bare(value: Value) -> Value {
    let notified = value.get("Type").and_then(Value::as_str) == Some("Notification");
    let message = value.get("Message").and_then(Value::as_str).filter(|_| notified);
    message.map_or_else(|| value.clone(), |message| serde_json::from_str(message).expect("it was decoded"))
}

fn accepted(decoded: &Decoded, body: &Value, context: &EventContext) {
    if Message::claims(body) {
        let message = Message::from_value(body).expect("it was accepted");
        let written: Value = serde_json::from_str(&message.to_json()).expect("what we write is JSON");
        assert!(Message::claims(&written));
        assert_eq!(Message::from_value(&written).expect("what we wrote is read"), message);
        assert_eq!(decode_value(&written, context), Classified::Act(Box::new(decoded.clone())));
        return;
    }
    let source = body.get("source").or_else(|| any_case(body, "source").next()).and_then(Value::as_str);
    assert!(source.is_some_and(|source| SOURCES.contains(&source)), "acted on an event of {source:?}");
    assert!(decoded.event_id.as_deref().unwrap_or_default().chars().count() <= 101);
    let detail = section(body);
    match &decoded.trigger {
        Trigger::Enroll { account, region, what, .. } => {
            of_place(body, &detail, *account, region);
            match what {
                Enrolled::Vpc(_) | Enrolled::Unnamed => {}
                Enrolled::Tagged(ids) => assert!(ids.starts_with("vpc-") || ids.starts_with("fl-"), "{ids}"),
                Enrolled::MemberStack(name) => assert!(name.contains(&context.member_stack), "{name}"),
            }
        }
        Trigger::Repair { account, region, resource, .. } => {
            of_place(body, &detail, *account, region);
            let flow_logs = resource.split(',').all(|id| id.parse::<FlowLogId>().is_ok());
            let ours = resource.starts_with(MEMBER_RULES) || resource.contains(&context.member_stack);
            assert!(flow_logs || ours || resource.is_empty() || resource == context.log_group.as_str(), "{resource}");
        }
        Trigger::Grant { account, .. } | Trigger::Revoke { account, .. } => {
            assert!(names(body, *account), "{account} is named by nothing but an identity");
        }
        Trigger::Sync { allow_mass_revocation, run_id, .. } => {
            assert!(!allow_mass_revocation && run_id.is_none(), "an event spoke for a person");
        }
        Trigger::Request(request) => {
            assert_eq!(source, Some("aws.iam"), "an event became one of our own messages");
            assert_eq!(request.regions, context.regions.iter().cloned().collect::<Vec<_>>());
        }
        Trigger::Backfill(_) => panic!("an event became one of our own messages"),
    }
    without_identity(decoded, body, context);
}

/// The members of this name, in any letters.
fn any_case<'a>(value: &'a Value, name: &'a str) -> impl Iterator<Item = &'a Value> {
    let members = value.as_object().into_iter().flatten();
    members.filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn section(body: &Value) -> Value {
    match body.get("detail").or_else(|| any_case(body, "detail").next()) {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        detail => detail.cloned().unwrap_or_default(),
    }
}

/// The event is of this account and Region, and nowhere says otherwise.
fn of_place(body: &Value, detail: &Value, account: AccountId, region: &Region) {
    for (outer, inner, expected) in
        [("account", "recipientAccountId", account.to_string()), ("region", "awsRegion", region.to_string())]
    {
        let named: Vec<&Value> = any_case(body, outer).chain(any_case(detail, inner)).collect();
        let says = |value: &&Value| scalar(value).is_some_and(|text| text == expected);
        assert!(named.iter().any(says), "{expected} is not named by {named:?}");
        for value in body.get(outer).into_iter().chain(detail.get(inner)).filter(|value| !value.is_null()) {
            assert!(says(&value), "{expected} is contradicted by {value}");
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether the account stands anywhere but in the identity of a caller, alone or at the end of an ARN. Texts that hold JSON
/// are looked into.
fn names(value: &Value, account: AccountId) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(name, value)| !name.eq_ignore_ascii_case("userIdentity") && names(value, account))
        }
        Value::Array(items) => items.iter().any(|item| names(item, account)),
        Value::String(text) => {
            text.rsplit('/').next() == Some(&*account.to_string())
                || serde_json::from_str::<Value>(text).is_ok_and(|inner| !inner.is_string() && names(&inner, account))
        }
        Value::Number(number) => number.to_string() == account.to_string(),
        Value::Null | Value::Bool(_) => false,
    }
}

/// Who made a call decides only whether it was the enroller itself: without an identity, the same is done.
fn without_identity(decoded: &Decoded, body: &Value, context: &EventContext) {
    let mut anonymous = body.clone();
    let Some(detail) = anonymous.get_mut("detail").and_then(Value::as_object_mut) else { return };
    detail.retain(|name, _| !name.eq_ignore_ascii_case("userIdentity"));
    let mut expected = decoded.clone();
    // It is told that nobody knows who it was.
    let Classified::Act(found) = decode_value(&anonymous, context) else { panic!("{anonymous}") };
    if let (Some(expected), Some(found)) = (&mut expected.change, &found.change) {
        expected.principal.clone_from(&found.principal);
    }
    assert_eq!(*found, expected);
}
