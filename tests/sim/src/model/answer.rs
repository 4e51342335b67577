//! The answer of a call against the model.

use serde_json::{Map, Value};

use super::validate::check as validate;
use super::{Kind, Member, Model};
use crate::call::Call;
use crate::wire::xml::Element;
use crate::wire::{Output, Protocol};

/// What is wrong with an answer: an unknown or missing member, a wrong type, a broken constraint.
pub(crate) fn check(call: &Call, output: &Output) -> Result<(), String> {
    let model = Model::of(call.service);
    let Some(operation) = model.operations.get(&call.operation) else { return Ok(()) };
    let ec2 = Protocol::of(call.service).0 == Protocol::Ec2;
    let Some(shape) = operation.output.as_deref() else {
        let empty = match output {
            Output::Json(value) => value.as_object().is_none_or(Map::is_empty),
            // EC2 says `return` where the model has no output.
            Output::Xml(elements) => ec2 || elements.is_empty(),
        };
        return if empty { Ok(()) } else { Err(format!("{} has no output", call.operation)) };
    };
    let value = match output {
        Output::Json(value) => value.clone(),
        Output::Xml(elements) => {
            let elements: Vec<&Element> = elements.iter().collect();
            from_xml(model, shape, &elements, "", ec2)
        }
    };
    validate(model, shape, &value, "", true).map_err(|violation| format!("{}: {violation:?}", call.operation))
}

/// Elements, or a text, as a value of the shape. What the model does not have keeps its name.
fn from_xml(model: &Model, shape: &str, children: &[&Element], text: &str, ec2: bool) -> Value {
    let of = |shape: &str, element: &Element| {
        from_xml(model, shape, &element.children().iter().collect::<Vec<_>>(), element.own_text(), ec2)
    };
    match model.shape(shape).map(|shape| &shape.kind) {
        Some(Kind::Structure { members, .. }) => {
            let named = |element: &Element| {
                let is = |(name, member): &(&String, &Member)| {
                    element.name() == member.location_name.as_deref().unwrap_or(name.as_str())
                };
                match members.iter().find(is) {
                    Some((name, member)) => (name.clone(), of(&member.shape, element)),
                    // `return` of EC2's operations without a result is in no model.
                    None if ec2 && element.name() == "return" => ("Return".to_owned(), Value::Null),
                    None => (element.name().to_owned(), Value::from(element.own_text())),
                }
            };
            Value::Object(children.iter().map(|element| named(element)).collect())
        }
        Some(Kind::List { member, .. }) => {
            Value::Array(children.iter().map(|element| of(&member.shape, element)).collect())
        }
        Some(Kind::Number) => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        Some(Kind::Flag) => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        Some(Kind::Map { .. } | Kind::Text | Kind::Blob | Kind::Time) | None => Value::from(text),
    }
}
