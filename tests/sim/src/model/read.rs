//! Reads a trimmed model.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Kind, Member, Model, Operation, Shape, pattern};

pub(super) fn model(text: &str) -> Model {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    Model { operations: each(&document["operations"], operation), shapes: each(&document["shapes"], shape) }
}

fn each<T>(value: &Value, read: impl Fn(&Value) -> T) -> BTreeMap<String, T> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), read(value))).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(text).collect()
}

fn operation(value: &Value) -> Operation {
    Operation { input: text(&value["input"]), output: text(&value["output"]), errors: texts(&value["errors"]) }
}

fn member(value: &Value) -> Member {
    Member {
        shape: text(&value["shape"]).unwrap_or_default(),
        location_name: text(&value["locationName"]),
        query_name: text(&value["queryName"]),
    }
}

fn shape(value: &Value) -> Shape {
    let kind = match value["type"].as_str().unwrap_or_default() {
        "structure" => {
            Kind::Structure { members: each(&value["members"], member), required: texts(&value["required"]) }
        }
        "list" => {
            let flattened = value["flattened"].as_bool().unwrap_or(false);
            Kind::List { member: member(&value["member"]), flattened }
        }
        "map" => Kind::Map { key: member(&value["key"]), value: member(&value["value"]) },
        "integer" | "long" | "float" | "double" => Kind::Number,
        "boolean" => Kind::Flag,
        "timestamp" => Kind::Time,
        "blob" => Kind::Blob,
        _ => Kind::Text,
    };
    let error = &value["error"];
    let status = error["httpStatusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    Shape {
        kind,
        min: value["min"].as_u64(),
        max: value["max"].as_u64(),
        pattern: text(&value["pattern"]).map(|written| {
            let compiled = pattern::compile(&written);
            (written, compiled)
        }),
        choices: texts(&value["enum"]),
        error: (text(&error["code"]), status),
    }
}
