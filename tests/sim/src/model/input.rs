//! The input of a call against the model, and the refusal in the words of each service.

use serde_json::{Map, Value};

use super::validate::{Broken, Violation, check as validate};
use super::{Kind, Member, Model};
use crate::call::{ApiError, Call, Service};
use crate::wire::query::Params;
use crate::wire::{Input, Protocol};

/// Refuses an input that breaks a constraint of the model. Members that the model does not have are left to the
/// operation, which refuses what it does not know by name.
pub(crate) fn check(call: &Call, input: &Input) -> Result<(), ApiError> {
    let model = Model::of(call.service);
    let Some(shape) = model.operations.get(&call.operation).and_then(|operation| operation.input.as_deref()) else {
        return Ok(());
    };
    let value = match input {
        Input::Json(value) => value.clone(),
        Input::Form(params) => {
            let ec2 = Protocol::of(call.service).0 == Protocol::Ec2;
            from_query(model, shape, params, "", ec2).unwrap_or_else(|| Value::Object(Map::new()))
        }
    };
    validate(model, shape, &value, "", false).map_err(|violation| refusal(call.service, &violation))
}

/// The parameters under a name as a value of the shape; `None` where there are none.
fn from_query(model: &Model, shape: &str, params: &Params, name: &str, ec2: bool) -> Option<Value> {
    let child = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match &model.shape(shape)?.kind {
        Kind::Structure { members, .. } => {
            let read = |(member_name, member): (&String, &Member)| {
                let value = from_query(model, &member.shape, params, &child(&on_wire(member_name, member, ec2)), ec2)?;
                Some((member_name.clone(), value))
            };
            let given: Map<String, Value> = members.iter().filter_map(read).collect();
            (!given.is_empty()).then_some(Value::Object(given))
        }
        Kind::List { member, flattened } => {
            let list = if ec2 || *flattened { name.to_owned() } else { child("member") };
            let items = params.structures(&list);
            let read = |item: &String| from_query(model, &member.shape, params, item, ec2).unwrap_or_default();
            (!items.is_empty()).then(|| Value::Array(items.iter().map(read).collect()))
        }
        // No operation here takes a map by the Query protocols.
        Kind::Map { .. } => None,
        Kind::Text | Kind::Blob | Kind::Time => params.get(name).map(Value::from),
        Kind::Number => {
            params.get(name).map(|text| text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from))
        }
        Kind::Flag => params.get(name).map(|text| text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from)),
    }
}

/// The name of a member in a request. EC2 writes the first letter large.
pub(super) fn on_wire(name: &str, member: &Member, ec2: bool) -> String {
    if !ec2 {
        return member.location_name.as_deref().unwrap_or(name).to_owned();
    }
    let written = member.query_name.as_deref().or(member.location_name.as_deref()).unwrap_or(name);
    let mut letters = written.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Paths in messages begin with a small letter.
fn shown(path: &str) -> String {
    let mut letters = path.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// The service's error for an input that breaks its model (API references, "Common errors", and the operations' own
/// lists).
fn refusal(service: Service, violation: &Violation) -> ApiError {
    let Violation { path, value, kind, rule } = violation;
    let error = |code: &str, message: String| ApiError::new(400, code, message);
    let detected = || {
        let value = if *kind == Broken::Missing { "null".to_owned() } else { format!("'{value}'") };
        let path = shown(path);
        format!(
            "1 validation error detected: Value {value} at '{path}' failed to satisfy constraint: Member must {rule}"
        )
    };
    match (service, kind) {
        (Service::Ec2 | Service::Sqs, Broken::Missing) => {
            error("MissingParameter", format!("The request must contain the parameter {path}"))
        }
        (Service::Ec2, _) => {
            error("InvalidParameterValue", format!("Value ({value}) for parameter {} is invalid.", shown(path)))
        }
        (Service::Sts | Service::Iam, _) => error("ValidationError", detected()),
        (_, Broken::Type) => error("SerializationException", format!("Value at '{path}' must {rule}")),
        (Service::Sqs, _) => error(
            "InvalidParameterValue",
            format!("Value {value} for parameter {path} is invalid. Reason: Must {rule}."),
        ),
        (Service::Logs, _) => error("InvalidParameterException", detected()),
        (Service::Organizations, Broken::Missing) => {
            error("InvalidInputException", format!("You must specify a value for {path}."))
        }
        (Service::Organizations, _) => {
            error("InvalidInputException", format!("You provided a value for {path} that must {rule}"))
        }
        (Service::Events | Service::CloudTrail, _) => error("ValidationException", detected()),
    }
}
