//! A value against its shape.

use serde_json::Value;

use super::{Kind, Model, Shape};

/// The first constraint that a value breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// Path to the value, such as `tags.1.key`.
    pub(super) path: String,
    /// The value as text; `null` where it is missing.
    pub(super) value: String,
    pub(super) kind: Broken,
    /// What the value must do, in the words of AWS.
    pub(super) rule: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Missing,
    Type,
    Constraint,
    /// A member that the model does not have; only answers are held to that.
    Unknown,
}

/// Checks a value. `strict` refuses unknown members too.
pub(super) fn check(model: &Model, shape: &str, value: &Value, path: &str, strict: bool) -> Result<(), Violation> {
    let Some(shape) = model.shape(shape) else { return Ok(()) };
    let child = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (&shape.kind, value) {
        (Kind::Structure { members, required }, Value::Object(given)) => {
            if let Some(missing) = required.iter().find(|name| given.get(*name).is_none_or(Value::is_null)) {
                return Err(broken(&child(missing), &Value::Null, Broken::Missing, "not be null"));
            }
            for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                match members.get(name) {
                    Some(member) => check(model, &member.shape, value, &child(name), strict)?,
                    None if strict => return Err(broken(&child(name), value, Broken::Unknown, "be in the model")),
                    None => {}
                }
            }
            Ok(())
        }
        (Kind::List { member, .. }, Value::Array(items)) => {
            check_length(shape, items.len(), path, value)?;
            let mut numbered = items.iter().zip(1..);
            numbered.try_for_each(|(item, number): (_, usize)| {
                check(model, &member.shape, item, &child(&number.to_string()), strict)
            })
        }
        (Kind::Map { key, value: of }, Value::Object(given)) => {
            check_length(shape, given.len(), path, value)?;
            given.iter().try_for_each(|(name, value)| {
                check(model, &key.shape, &Value::from(name.as_str()), path, strict)?;
                check(model, &of.shape, value, &child(name), strict)
            })
        }
        (Kind::Text, Value::String(text)) => check_text(shape, text, path),
        (Kind::Number, Value::Number(number)) => check_number(shape, number.as_i64(), path, value),
        (Kind::Time, Value::Number(_) | Value::String(_))
        | (Kind::Flag, Value::Bool(_))
        | (Kind::Blob, Value::String(_)) => Ok(()),
        (kind, value) => Err(broken(path, value, Broken::Type, &format!("be a {}", name_of(kind)))),
    }
}

fn broken(path: &str, value: &Value, kind: Broken, rule: &str) -> Violation {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Violation { path: path.to_owned(), value, kind, rule: rule.to_owned() }
}

fn check_text(shape: &Shape, text: &str, path: &str) -> Result<(), Violation> {
    let value = Value::from(text);
    check_length(shape, text.chars().count(), path, &value)?;
    let fails = |rule: &str| Err(broken(path, &value, Broken::Constraint, rule));
    if let Some((written, Some(pattern))) = &shape.pattern
        && !pattern.is_match(text)
    {
        return fails(&format!("satisfy regular expression pattern: {written}"));
    }
    if !shape.choices.is_empty() && !shape.choices.iter().any(|choice| choice == text) {
        return fails(&format!("satisfy enum value set: [{}]", shape.choices.join(", ")));
    }
    Ok(())
}

fn check_length(shape: &Shape, length: usize, path: &str, value: &Value) -> Result<(), Violation> {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    check_range(shape, i128::from(length), "have length", path, value)
}

fn check_number(shape: &Shape, number: Option<i64>, path: &str, value: &Value) -> Result<(), Violation> {
    number.map_or(Ok(()), |number| check_range(shape, i128::from(number), "have value", path, value))
}

fn check_range(shape: &Shape, actual: i128, have: &str, path: &str, value: &Value) -> Result<(), Violation> {
    let (min, max) = (shape.min.map(i128::from), shape.max.map(i128::from));
    let fails = |rule: String| Err(broken(path, value, Broken::Constraint, &rule));
    match (min, max) {
        (Some(min), _) if actual < min => fails(format!("{have} greater than or equal to {min}")),
        (_, Some(max)) if actual > max => fails(format!("{have} less than or equal to {max}")),
        _ => Ok(()),
    }
}

fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Structure { .. } => "structure",
        Kind::List { .. } => "list",
        Kind::Map { .. } => "map",
        Kind::Text | Kind::Blob => "string",
        Kind::Number => "number",
        Kind::Flag => "boolean",
        Kind::Time => "timestamp",
    }
}
