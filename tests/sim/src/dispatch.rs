//! The request pipeline: authentication, faults, rate limits, preflight, permissions, service, trail, answer.

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use serde_json::Value;

use crate::call::{ApiError, Call, Caller, Service};
use crate::faults::{Failure, FaultEffect, after, before};
use crate::lag;
use crate::model::{self, names_error};
use crate::regions::GLOBAL_REGION;
use crate::stats::is_mutating;
use crate::wire::{Input, Output, Scope, parse, render_error, render_output, text};
use crate::world::World;
use crate::{authorization, cloudtrail, ec2, events, iam, logs, organizations, preflight, rules, sqs, sts};

/// The result of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Response(Response<Bytes>),
    /// No response, by a fault.
    Failure(Failure),
}

/// Authenticates, authorizes, performs and records the call of a request.
pub(crate) fn answer(world: &mut World, parts: &Parts, body: &[u8]) -> Answer {
    if world.is_real_time() {
        events::deliver_due(world);
    }
    let query_mode = parts.headers.contains_key("x-amzn-query-mode");
    let scope = match Scope::of(&parts.headers) {
        Ok(scope) => scope,
        Err(refusal) => {
            // Without a scope the service is unknown. The target header shows which protocol the caller reads.
            let guess = if text(&parts.headers, "x-amz-target").is_some() { Service::Logs } else { Service::Sts };
            return Answer::Response(render_error(guess, &refusal, "unscoped", query_mode));
        }
    };
    let parsed = parse(scope.service, parts, body);
    let mut call = Call {
        sequence: world.stats.next_sequence(),
        request_id: world.ids.uuid(),
        service: scope.service,
        operation: parsed.as_ref().map_or_else(|_| String::new(), |(operation, _)| operation.clone()),
        caller: Caller { account: String::new(), principal_arn: String::new(), session_key: None },
        region: region_of(world, &scope),
    };
    let outcome = match (parsed, sts::authenticate(world, &scope)) {
        (Err(refusal), _) | (Ok(_), Err(refusal)) => Outcome::Refused(refusal),
        (Ok((_, input)), Ok(caller)) => {
            call.caller = caller;
            run(world, &call, &input)
        }
    };
    let code = match &outcome {
        Outcome::Done(_) => None,
        Outcome::Refused(refusal) => Some(refusal.code.clone()),
        Outcome::Failed(failure) => Some(format!("{failure:?}")),
    };
    let now_ms = world.now_ms();
    world.stats.record(&call, code.as_deref(), now_ms);
    match outcome {
        Outcome::Done(output) => {
            Answer::Response(render_output(call.service, &call.operation, &call.request_id, output))
        }
        Outcome::Refused(refusal) => {
            Answer::Response(render_error(call.service, &refusal, &call.request_id, query_mode))
        }
        Outcome::Failed(failure) => Answer::Failure(failure),
    }
}

/// The Region of a call: the signed one, except for a global service behind a custom endpoint URL.
fn region_of(world: &World, scope: &Scope) -> String {
    let global = matches!(scope.service, Service::Iam | Service::Organizations);
    if global && world.settings.any_signing_region { GLOBAL_REGION.to_owned() } else { scope.region.clone() }
}

enum Outcome {
    Done(Output),
    Refused(ApiError),
    Failed(Failure),
}

fn run(world: &mut World, call: &Call, input: &Input) -> Outcome {
    match rules::outage(world, call) {
        FaultEffect::Continue => {}
        FaultEffect::Respond(refusal) => return Outcome::Refused(refusal),
        FaultEffect::Fail(failure) => return Outcome::Failed(failure),
    }
    let fault = world.faults.on_call(call);
    match before(fault.as_ref(), world, call) {
        FaultEffect::Continue => {}
        FaultEffect::Respond(refusal) => return Outcome::Refused(refusal),
        FaultEffect::Fail(failure) => return Outcome::Failed(failure),
    }
    let now_ms = world.now_ms();
    if let Err(refusal) = world.limits.check(call, now_ms) {
        return Outcome::Refused(refusal);
    }
    let checked = preflight::check(world, call).and_then(|()| model::check_input(call, input));
    let allowed = checked.and_then(|()| authorization::check(world, call, input));
    let allowed = allowed.and_then(|()| aborted(world, call));
    let result = allowed.and_then(|()| lag::serve(world, call, input, serve));
    record(world, call, input, result.as_ref().map(|(_, facts)| facts));
    match after(fault.as_ref(), world, call) {
        FaultEffect::Continue => {}
        FaultEffect::Respond(refusal) => return Outcome::Refused(refusal),
        FaultEffect::Fail(failure) => return Outcome::Failed(failure),
    }
    match result {
        Ok((output, _)) => match world.settings.check_answers.then(|| model::check_answer(call, &output)) {
            Some(Err(mismatch)) => Outcome::Refused(ApiError::new(500, "AnswerOutsideTheModel", mismatch)),
            Some(Ok(())) | None => Outcome::Done(rules::echoed(world, call, output)),
        },
        Err(refusal) => Outcome::Refused(refusal),
    }
}

/// Refuses some of the writes that can be aborted, by the draws of the seed (models, OperationAbortedException).
fn aborted(world: &mut World, call: &Call) -> Result<(), ApiError> {
    let code = "OperationAbortedException";
    let percent = world.settings.aborted_percent;
    if percent == 0 || !is_mutating(call.service, &call.operation) || !names_error(call.service, &call.operation, code)
    {
        return Ok(());
    }
    if world.dice.u64(0..100) >= percent {
        return Ok(());
    }
    let message = "A conflicting operation is currently in progress against this resource. Please try again.";
    Err(ApiError::new(400, code, message))
}

/// The answer of the service, and the facts of it that the trail shows.
fn serve(world: &mut World, call: &Call, input: &Input) -> Result<(Output, Value), ApiError> {
    let query = |(members, facts)| (Output::Xml(members), facts);
    let json = |value: Value| (Output::Json(value.clone()), value);
    match (call.service, input) {
        (Service::Ec2, Input::Form(params)) => ec2::handle(world, call, params).map(query),
        (Service::Sts, Input::Form(params)) => sts::handle(world, call, params).map(query),
        (Service::Iam, Input::Form(params)) => iam::handle(world, call, params).map(query),
        (Service::Logs, Input::Json(input)) => logs::handle(world, call, input).map(json),
        (Service::Organizations, Input::Json(input)) => organizations::handle(world, call, input).map(json),
        (Service::Sqs, Input::Json(input)) => sqs::handle(world, call, input).map(json),
        (Service::Events, Input::Json(input)) => events::handle(world, call, input).map(json),
        (Service::CloudTrail, Input::Json(input)) => cloudtrail::handle(world, call, input).map(json),
        (Service::Ec2 | Service::Sts | Service::Iam, Input::Json(_))
        | (
            Service::Logs | Service::Organizations | Service::Sqs | Service::Events | Service::CloudTrail,
            Input::Form(_),
        ) => Err(ApiError::new(500, "InternalFailure", "the input is not of the service's protocol")),
    }
}

fn record(world: &mut World, call: &Call, input: &Input, outcome: Result<&Value, &ApiError>) {
    match input {
        Input::Json(input) => cloudtrail::record(world, call, input, outcome),
        Input::Form(params) => cloudtrail::record(world, call, &params.to_json(), outcome),
    }
}
