//! Reads that lag behind writes.
//!
//! Before a write the state that it changes is kept. A read that lags is answered from the state as it was then.
//! Permissions, deliveries and the checks of writes always see the present.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::call::{ApiError, Call, Service};
use crate::ec2::FlowLogs;
use crate::iam::Role;
use crate::logs::AccountRegion;
use crate::stats::is_mutating;
use crate::wire::{Input, Output};
use crate::world::World;

/// Earlier states by account and Region, oldest first, each with the time of the change that ended it.
#[derive(Debug, Default)]
pub(crate) struct Past(BTreeMap<Place, VecDeque<(u64, State)>>);

/// Service, account, Region.
type Place = (Service, String, String);

#[derive(Clone, Debug)]
enum State {
    FlowLogs(FlowLogs),
    Logs(AccountRegion),
    Roles(BTreeMap<String, Role>),
}

impl State {
    /// The state that the service has in the place now; `None` for a service whose reads do not lag.
    fn copy(world: &World, (service, account, region): &Place) -> Option<Self> {
        match service {
            Service::Ec2 => Some(Self::FlowLogs(world.ec2.copy_flow_logs(account, region))),
            Service::Logs => Some(Self::Logs(world.logs.copy(account, region))),
            Service::Iam => {
                let roles = world.iam.roles(account).map(|role| (role.name.clone(), role.clone()));
                Some(Self::Roles(roles.collect()))
            }
            Service::Sts | Service::Organizations | Service::Sqs | Service::Events | Service::CloudTrail => None,
        }
    }

    fn swap(&mut self, world: &mut World, (_, account, region): &Place) {
        match self {
            Self::FlowLogs(flow_logs) => world.ec2.swap_flow_logs(account, region, flow_logs),
            Self::Logs(state) => world.logs.swap(account, region, state),
            Self::Roles(roles) => world.iam.swap_roles(account, roles),
        }
    }
}

type Served = Result<(Output, Value), ApiError>;

/// Serves a call: a read from the state that it sees, a write after the state was kept.
pub(crate) fn serve(
    world: &mut World,
    call: &Call,
    input: &Input,
    serve: fn(&mut World, &Call, &Input) -> Served,
) -> Served {
    if world.settings.read_lag_ms == 0 {
        return serve(world, call, input);
    }
    let place = (call.service, call.caller.account.clone(), call.region.clone());
    let seen_at_ms = seen_at_ms(world);
    if is_mutating(call.service, &call.operation) {
        check_visible(world, call, input, &place, seen_at_ms)?;
        keep(world, place);
        return serve(world, call, input);
    }
    let Some(mut past) = state_at(world, &place, seen_at_ms) else { return serve(world, call, input) };
    past.swap(world, &place);
    let served = serve(world, call, input);
    past.swap(world, &place);
    served
}

/// The time whose state a read sees, drawn from the seed if the settings say so.
pub(crate) fn seen_at_ms(world: &mut World) -> u64 {
    let most = world.settings.read_lag_ms;
    let lag_ms = if world.settings.read_lag_drawn && most > 0 { world.dice.u64(0..=most) } else { most };
    world.now_ms().saturating_sub(lag_ms)
}

fn keep(world: &mut World, place: Place) {
    let Some(state) = State::copy(world, &place) else { return };
    let now_ms = world.now_ms();
    let oldest_ms = now_ms.saturating_sub(world.settings.read_lag_ms);
    let states = world.past.0.entry(place).or_default();
    while states.front().is_some_and(|(ended_ms, _)| *ended_ms <= oldest_ms) {
        states.pop_front();
    }
    states.push_back((now_ms, state));
}

/// The state at a time; `None` when it is the present one.
fn state_at(world: &World, place: &Place, ms: u64) -> Option<State> {
    let states = world.past.0.get(place)?;
    states.iter().find(|(ended_ms, _)| *ended_ms > ms).map(|(_, state)| state.clone())
}

/// Refuses a write to a role or log group that is not visible yet, where the settings want that.
fn check_visible(world: &World, call: &Call, input: &Input, place: &Place, ms: u64) -> Result<(), ApiError> {
    if !world.settings.writes_lag || call.operation.starts_with("Create") {
        return Ok(());
    }
    match (state_at(world, place, ms), input) {
        (Some(State::Roles(roles)), Input::Form(params)) => match params.get("RoleName") {
            Some(name) if !roles.contains_key(name) => {
                let message = format!("The role with name {name} cannot be found.");
                Err(ApiError::new(404, "NoSuchEntity", message))
            }
            Some(_) | None => Ok(()),
        },
        (Some(State::Logs(state)), Input::Json(input)) => {
            let arn = input["resourceArn"].as_str().and_then(|arn| arn.split_once(":log-group:"));
            match input["logGroupName"].as_str().or(arn.map(|(_, name)| name)) {
                Some(name) if !state.has_group(name) => {
                    let message = "The specified log group does not exist.";
                    Err(ApiError::new(400, "ResourceNotFoundException", message))
                }
                Some(_) | None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
