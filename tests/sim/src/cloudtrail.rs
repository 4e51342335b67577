//! CloudTrail: the EventBridge events for API calls and for what services do by themselves.
//!
//! Shapes: real payloads of public data sets and the samples of the service guides; each function names its own source.
//! **Invariant**: read-only calls, and what AWS does without a call (the default VPCs of a new account), emit no event.

mod account_events;
mod api;
mod ec2_shapes;

use serde_json::{Map, Value, json};

pub use self::account_events::{OrganizationEvent, StackStatus, organization_event, stack_status};
pub(crate) use self::api::handle;
use crate::call::{ApiError, Call, Service};
use crate::events;
use crate::regions::GLOBAL_REGION;
use crate::time::iso8601;
use crate::world::World;

/// Emits the event of a call, successful or refused, if it is a write management event. It goes to the default bus of
/// the caller's account.
pub(crate) fn record(world: &mut World, call: &Call, request: &Value, outcome: Result<&Value, &ApiError>) {
    if !is_write(call.service, &call.operation) {
        return;
    }
    // Organizations and IAM are global: their events appear in us-east-1 only (Organizations user guide, "Logging and
    // monitoring"; IAM user guide, "Logging IAM and AWS STS API calls").
    let region = match call.service {
        Service::Organizations | Service::Iam => GLOBAL_REGION,
        Service::Ec2 | Service::Logs | Service::Sts | Service::Sqs | Service::Events | Service::CloudTrail => {
            call.region.as_str()
        }
    };
    let account = call.caller.account.clone();
    if !world.events.is_watched(&account, region) {
        return;
    }
    let detail = api_call(world, call, region, request, outcome);
    let event = envelope(world, source_of(call.service), API_CALL, &account, region, detail);
    events::publish_from_trail(world, &account, region, event);
}

/// The detail-type of API calls.
const API_CALL: &str = "AWS API Call via CloudTrail";

/// Whether CloudTrail logs the operation as a write management event. STS calls are read-only there, SQS messages are
/// data events (CloudTrail user guide, "Logging management events", "Logging data events").
fn is_write(service: Service, operation: &str) -> bool {
    let reads = ["Describe", "List", "Get"];
    match service {
        Service::Ec2
        | Service::Logs
        | Service::Iam
        | Service::Organizations
        | Service::Events
        | Service::CloudTrail => operation != "PutLogEvents" && !reads.iter().any(|read| operation.starts_with(read)),
        Service::Sqs => operation == "CreateQueue",
        Service::Sts => false,
    }
}

fn source_of(service: Service) -> &'static str {
    match service {
        Service::Ec2 => "aws.ec2",
        Service::Logs => "aws.logs",
        Service::Sts => "aws.sts",
        Service::Iam => "aws.iam",
        Service::Organizations => "aws.organizations",
        Service::Sqs => "aws.sqs",
        Service::Events => "aws.events",
        Service::CloudTrail => "aws.cloudtrail",
    }
}

/// Wraps a detail in the envelope of EventBridge.
fn envelope(world: &mut World, source: &str, kind: &str, account: &str, region: &str, detail: Value) -> Value {
    json!({
        "version": "0",
        "id": world.ids.uuid(),
        "detail-type": kind,
        "source": source,
        "account": account,
        "time": iso8601(world.now_ms()),
        "region": region,
        "resources": [],
        "detail": detail,
    })
}

fn api_call(
    world: &mut World,
    call: &Call,
    region: &str,
    request: &Value,
    outcome: Result<&Value, &ApiError>,
) -> Value {
    let (parameters, response) = match call.service {
        Service::Ec2 => ec2_shapes::shapes(call, request, outcome.ok()),
        Service::Iam => (lower_camel(&flat(request)), outcome.ok().map_or(Value::Null, response_or_null)),
        // CloudTrail shows the parameters of EventBridge in lower camel case (user guide, "Logging Amazon EventBridge API
        // calls using AWS CloudTrail").
        Service::Events => (lower_camel(&flat(request)), outcome.ok().map_or(Value::Null, response_or_null)),
        Service::Logs | Service::Organizations | Service::Sts | Service::Sqs | Service::CloudTrail => {
            (response_or_null(request), outcome.ok().map_or(Value::Null, response_or_null))
        }
    };
    let mut detail = json!({
        "eventVersion": "1.11",
        "userIdentity": user_identity(world, call),
        "eventTime": iso8601(world.now_ms()),
        "eventSource": format!("{}.amazonaws.com", call.service),
        "eventName": call.operation,
        "awsRegion": region,
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "simulated-aws",
        "requestParameters": parameters,
        "responseElements": response,
        "requestID": call.request_id,
        "eventID": world.ids.uuid(),
        "readOnly": false,
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": call.caller.account,
        "eventCategory": "Management",
    });
    if call.service == Service::Logs {
        detail["apiVersion"] = json!("20140328");
    }
    if let Err(refusal) = outcome {
        detail["errorCode"] = json!(error_code(call.service, refusal));
        detail["errorMessage"] = json!(refusal.message);
    }
    detail
}

/// EC2 codes begin with the side that caused the error, as in `Client.VpcLimitExceeded`. Other services give the bare
/// code.
fn error_code(service: Service, refusal: &ApiError) -> String {
    match service {
        Service::Ec2 if refusal.status >= 500 => format!("Server.{}", refusal.code),
        Service::Ec2 => format!("Client.{}", refusal.code),
        Service::Logs
        | Service::Sts
        | Service::Iam
        | Service::Organizations
        | Service::Sqs
        | Service::Events
        | Service::CloudTrail => refusal.code.clone(),
    }
}

/// CloudTrail shows `null` for a call without output, and not an empty structure.
fn response_or_null(value: &Value) -> Value {
    match value.as_object() {
        Some(fields) if !fields.is_empty() => value.clone(),
        Some(_) | None => Value::Null,
    }
}

/// The parameters of a Query call as they came.
fn flat(request: &Value) -> Map<String, Value> {
    request.get("flat").unwrap_or(request).as_object().cloned().unwrap_or_default()
}

fn lower_camel(parameters: &Map<String, Value>) -> Value {
    let lower = |name: &String| {
        let mut characters = name.chars();
        characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect::<String>()
    };
    Value::Object(parameters.iter().map(|(name, value)| (lower(name), value.clone())).collect())
}

/// `userIdentity` of the caller: the root user of an account, or the session of a role with its issuer (CloudTrail user
/// guide, "CloudTrail userIdentity element").
fn user_identity(world: &World, call: &Call) -> Value {
    let (account, arn) = (&call.caller.account, &call.caller.principal_arn);
    let session = arn.split_once(":assumed-role/").and_then(|(_, rest)| rest.split_once('/'));
    let Some((role, session)) = session else {
        return json!({"type": "Root", "principalId": account, "arn": arn, "accountId": account});
    };
    let known = world.iam.role(account, role);
    let id = known.map_or("AROAEXAMPLEROLEID001", |role| role.id.as_str());
    let issuer_arn = known.map_or_else(|| format!("arn:aws:iam::{account}:role/{role}"), |role| role.arn.clone());
    json!({
        "type": "AssumedRole",
        "principalId": format!("{id}:{session}"),
        "arn": arn,
        "accountId": account,
        "accessKeyId": "ASIAEXAMPLEKEYID0001",
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role", "principalId": id, "arn": issuer_arn, "accountId": account, "userName": role,
            },
            "attributes": {"creationDate": iso8601(world.now_ms()), "mfaAuthenticated": "false"},
        },
    })
}

#[cfg(test)]
mod tests;
