//! Where rules take effect in the pipeline of a call.

use serde_json::Value;

use super::{Effect, role_of};
use crate::call::{ApiError, Call, Service};
use crate::faults::{Failure, FaultEffect};
use crate::preflight::denied_by_policy;
use crate::wire::Output;
use crate::world::World;

/// The outage that the call falls into.
pub(crate) fn outage(world: &mut World, call: &Call) -> FaultEffect {
    let now_ms = world.now_ms();
    let wanted = |effect: &Effect| matches!(effect, Effect::Refuse(_) | Effect::Silence | Effect::Broken);
    let action = format!("{}:{}", call.service, call.operation);
    let hit = world
        .rules
        .hit(now_ms, wanted, |scope| scope.covers(&action, &call.caller.account, &call.region, role_of(call)));
    match hit {
        Some(Effect::Refuse(refusal)) => FaultEffect::Respond(refusal.of(call)),
        Some(Effect::Silence) => FaultEffect::Fail(Failure::Hangs),
        Some(Effect::Broken) => FaultEffect::Fail(Failure::Lost),
        Some(_) | None => FaultEffect::Continue,
    }
}

/// Refuses an action that a policy denies by rule, and everything to a stale session (IAM user guide, "Troubleshoot
/// access denied error messages" and "Revoking IAM role temporary security credentials").
pub(crate) fn denied(world: &mut World, call: &Call, action: &str, resource: &str) -> Result<(), ApiError> {
    if call.operation == "GetCallerIdentity" {
        return Ok(());
    }
    let now_ms = world.now_ms();
    let account = call.caller.account.as_str();
    let session = world.sts.session_of(&call.caller).map(|session| session.number);
    let bound = account != world.organization.management() && world.organization.is_member(account);
    let wanted = |effect: &Effect| match effect {
        Effect::ServiceControlDeny => bound,
        Effect::IdentityDeny => true,
        Effect::StaleSessions { up_to } => session.is_some_and(|number| number <= *up_to),
        _ => false,
    };
    let hit = world.rules.hit(now_ms, wanted, |scope| scope.covers(action, account, &call.region, role_of(call)));
    let kind = match hit {
        None => return Ok(()),
        Some(Effect::ServiceControlDeny) => "a service control policy",
        Some(_) => "an identity-based policy",
    };
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} with an explicit deny in {kind}",
        call.caller.principal_arn
    );
    Err(denied_by_policy(call.service, &message))
}

/// Whether STS is off for sessions of the account in the Region.
pub(crate) fn sts_is_off(world: &mut World, account: &str, region: &str) -> bool {
    let now_ms = world.now_ms();
    let wanted = |effect: &Effect| matches!(effect, Effect::StsOff);
    world.rules.hit(now_ms, wanted, |scope| scope.covers("sts:AssumeRole", account, region, None)).is_some()
}

/// Whether CreateFlowLogs shall say that the flow log exists.
pub(crate) fn flow_log_exists(world: &mut World, call: &Call) -> bool {
    let now_ms = world.now_ms();
    let wanted = |effect: &Effect| matches!(effect, Effect::FlowLogExists);
    let covers =
        |scope: &super::Scope| scope.covers("ec2:CreateFlowLogs", &call.caller.account, &call.region, role_of(call));
    world.rules.hit(now_ms, wanted, covers).is_some()
}

/// Whether a queue of the account and Region refuses events of rules.
pub(crate) fn queue_refuses_events(world: &mut World, account: &str, region: &str) -> bool {
    let now_ms = world.now_ms();
    let wanted = |effect: &Effect| matches!(effect, Effect::QueueRefusesEvents);
    world.rules.hit(now_ms, wanted, |scope| scope.covers("sqs:SendMessage", account, region, None)).is_some()
}

/// Whether CloudWatch Logs may not use the key that the call names.
pub(crate) fn key_refused(world: &mut World, call: &Call) -> bool {
    let now_ms = world.now_ms();
    let wanted = |effect: &Effect| matches!(effect, Effect::KeyRefused);
    let covers = |scope: &super::Scope| scope.covers("kms:Encrypt", &call.caller.account, &call.region, role_of(call));
    world.rules.hit(now_ms, wanted, covers).is_some()
}

/// The answer with the attributes that a rule changes.
pub(crate) fn echoed(world: &mut World, call: &Call, output: Output) -> Output {
    let now_ms = world.now_ms();
    let action = format!("{}:{}", call.service, call.operation);
    let wanted = |effect: &Effect| matches!(effect, Effect::Echo { .. });
    let hit = world
        .rules
        .hit(now_ms, wanted, |scope| scope.covers(&action, &call.caller.account, &call.region, role_of(call)));
    let Some(Effect::Echo { attribute, form }) = hit else { return output };
    let change = |name: &str, text: &mut String| {
        if name.eq_ignore_ascii_case(attribute) {
            *text = form.replace("{}", text);
        }
    };
    match output {
        Output::Xml(mut elements) => {
            elements.iter_mut().for_each(|element| element.each_text(&change));
            Output::Xml(elements)
        }
        Output::Json(mut value) => {
            each_text(&mut value, "", &change);
            Output::Json(value)
        }
    }
}

fn each_text(value: &mut Value, name: &str, change: &impl Fn(&str, &mut String)) {
    match value {
        Value::String(text) => change(name, text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, name, change)),
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| each_text(value, name, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The code that a service sends with a status (their API references, "Common errors").
pub(super) fn code_of_status(service: Service, status: u16) -> &'static str {
    match (service, status) {
        (Service::Ec2, 503) => "Unavailable",
        (Service::Ec2, 500..) => "InternalError",
        (Service::Logs, 503) => "ServiceUnavailableException",
        (Service::Organizations, 500..) => "ServiceException",
        (_, 503) => "ServiceUnavailable",
        (_, 500..) => "InternalFailure",
        (Service::Ec2, 429) => "RequestLimitExceeded",
        (Service::Organizations, 429) => "TooManyRequestsException",
        (_, 429) => "ThrottlingException",
        _ => "ValidationError",
    }
}

/// The status that goes with a code, by the kinds of AWS's "Common errors".
pub(super) fn status_of_code(code: &str) -> u64 {
    match code {
        code if code.contains("Unavailable") => 503,
        code if code.starts_with("Internal") || code == "ServiceException" || code == "ServiceFailure" => 500,
        "UnauthorizedOperation" | "AccessDenied" | "RegionDisabledException" => 403,
        _ => 400,
    }
}
