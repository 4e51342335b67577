//! Every constraint of every member of every operation, broken once, over the wire.

use serde_json::{Map, Value, json};

use super::validate::check as validate;
use super::*;
use crate::tests::{Caller, GLOBAL, REGION, small};
use crate::wire::Protocol;

/// Texts of which one satisfies each shape of text that is required.
const SAMPLES: [&str; 9] = [
    "a",
    "aa",
    "111122223333",
    "/",
    "ou-abcd-01234567",
    "r-abcd",
    "arn:aws:iam::111122223333:role/r",
    "AccountOwnerless",
    "arn:aws:logs:eu-west-1:111122223333:log-group:g",
];

/// Some value that the shape takes.
fn valid(model: &Model, name: &str) -> Value {
    let shape = model.shape(name).unwrap();
    match &shape.kind {
        Kind::Structure { members, required } => {
            let given = required.iter().map(|member| (member.clone(), valid(model, &members[member].shape)));
            Value::Object(given.collect())
        }
        Kind::List { member, .. } => json!([valid(model, &member.shape)]),
        Kind::Map { key, value } => {
            let key = valid(model, &key.shape);
            Value::Object(Map::from_iter([(key.as_str().unwrap().to_owned(), valid(model, &value.shape))]))
        }
        Kind::Text if !shape.choices.is_empty() => json!(shape.choices[0]),
        Kind::Text | Kind::Blob | Kind::Time => {
            let fits = |text: &&str| validate(model, name, &json!(text), "", false).is_ok();
            let sample = SAMPLES.iter().copied().find(fits).map(str::to_owned);
            json!(sample.unwrap_or_else(|| "a".repeat(usize::try_from(shape.min.unwrap_or(1)).unwrap())))
        }
        Kind::Number => json!(shape.min.unwrap_or(1)),
        Kind::Flag => json!(true),
    }
}

/// Values that each break one constraint of the shape, or of what is in it.
fn broken(model: &Model, name: &str, depth: u32) -> Vec<Value> {
    let shape = model.shape(name).unwrap();
    let size = |length: u64| usize::try_from(length).unwrap();
    let mut values = Vec::new();
    match &shape.kind {
        Kind::Text => {
            values.extend(shape.min.filter(|min| *min > 0).map(|min| json!("a".repeat(size(min - 1)))));
            values.extend(shape.max.filter(|max| *max < 100_000).map(|max| json!("a".repeat(size(max + 1)))));
            values.extend((!shape.choices.is_empty()).then(|| json!("NoSuchChoice")));
            let odd = ["!", " ", "a!", ":*", "\u{1}"].into_iter().map(Value::from);
            let odd = odd.filter(|odd| validate(model, name, odd, "", false).is_err());
            values.extend(odd.take(if shape.pattern.is_some() { 1 } else { 0 }));
        }
        Kind::Number => {
            values.push(json!("many"));
            values.extend(shape.min.filter(|min| *min > 0).map(|min| json!(min - 1)));
            values.extend(shape.max.map(|max| json!(max + 1)));
        }
        Kind::Flag => values.push(json!("perhaps")),
        Kind::List { member, .. } if depth > 0 => {
            values.extend(broken(model, &member.shape, depth - 1).into_iter().map(|item| json!([item])));
            let many = |max: u64| Value::Array(vec![valid(model, &member.shape); size(max + 1)]);
            values.extend(shape.max.filter(|max| *max < 2_000).map(many));
        }
        Kind::Structure { members, required } if depth > 0 => {
            let whole = valid(model, name);
            for (member, of) in members {
                for value in broken(model, &of.shape, depth - 1) {
                    let mut given = whole.clone();
                    given[member] = value;
                    values.push(given);
                }
            }
            for member in required {
                let mut given = whole.clone();
                given.as_object_mut().unwrap().remove(member);
                values.push(given);
            }
        }
        Kind::Map { key, value } if depth > 0 => {
            let (good_key, good) = (valid(model, &key.shape), valid(model, &value.shape));
            let one = |key: &Value, value: Value| {
                Value::Object(Map::from_iter([(key.as_str().unwrap_or_default().to_owned(), value)]))
            };
            values.extend(broken(model, &key.shape, 0).iter().map(|bad| one(bad, good.clone())));
            values.extend(broken(model, &value.shape, 0).into_iter().map(|bad| one(&good_key, bad)));
        }
        Kind::List { .. } | Kind::Structure { .. } | Kind::Map { .. } | Kind::Blob | Kind::Time => {}
    }
    values
}

/// An input as flat parameters.
fn flat(model: &Model, shape: &str, value: &Value, name: &str, ec2: bool, into: &mut Map<String, Value>) {
    let child = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match (&model.shape(shape).unwrap().kind, value) {
        (Kind::Structure { members, .. }, Value::Object(given)) => {
            for (member, value) in given {
                let of = &members[member];
                flat(model, &of.shape, value, &child(&input::on_wire(member, of, ec2)), ec2, into);
            }
        }
        (Kind::List { member, flattened }, Value::Array(items)) => {
            let list = if ec2 || *flattened { name.to_owned() } else { child("member") };
            for (item, number) in items.iter().zip(1..) {
                flat(model, &member.shape, item, &format!("{list}.{number}"), ec2, into);
            }
        }
        (_, scalar) => {
            let text = scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned);
            into.insert(name.to_owned(), Value::from(text));
        }
    }
}

fn wire(service: Service, model: &Model, shape: &str, value: &Value) -> Value {
    let protocol = Protocol::of(service).0;
    if let Protocol::Json { .. } = protocol {
        return value.clone();
    }
    let mut form = Map::new();
    flat(model, shape, value, "", protocol == Protocol::Ec2, &mut form);
    Value::Object(form)
}

/// Codes with which the services refuse an input, and those of members that are not simulated.
const REFUSALS: [&str; 11] = [
    "MissingParameter",
    "InvalidParameterValue",
    "InvalidParameterException",
    "ValidationError",
    "ValidationException",
    "SerializationException",
    "InvalidInputException",
    "UnknownParameter",
    "MalformedPolicyDocument",
    "InvalidParameterCombination",
    "TooManyTagsException",
];

#[test]
fn no_input_that_breaks_a_constraint_is_taken() {
    let sim = small();
    let (mut sent, mut taken) = (0, Vec::new());
    for service in Service::ALL {
        let model = Model::of(service);
        let global = matches!(service, Service::Iam | Service::Organizations);
        let caller = Caller::of(&sim, &sim.central(), if global { GLOBAL } else { REGION });
        for (operation, shapes) in &model.operations {
            let Some(shape) = &shapes.input else { continue };
            let whole = wire(service, model, shape, &valid(model, shape));
            for value in broken(model, shape, 4) {
                let input = wire(service, model, shape, &value);
                // An empty structure in a list cannot be said in flat parameters.
                if input == whole {
                    continue;
                }
                sent += 1;
                let code = caller.code(service, operation, input.clone());
                if !REFUSALS.contains(&code.as_str()) {
                    taken.push(format!(
                        "{service}:{operation} {code} {}",
                        input.to_string().chars().take(200).collect::<String>()
                    ));
                }
            }
        }
    }
    assert!(sent > 300, "{sent}");
    assert!(taken.is_empty(), "{} of {sent}:\n{}", taken.len(), taken.join("\n"));
}
