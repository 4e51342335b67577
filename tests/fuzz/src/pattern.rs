//! Event patterns, as `[pattern, event]`.
//!
//! What must hold: nothing makes the matcher panic, and a pattern that asks for exactly what stands in the event, or
//! for it among others, matches wherever that is known.

use enroller_core::doctor::pattern::matches;
use serde_json::{Map, Value, json};

/// Matches the event with the pattern, and with patterns made from the event.
///
/// # Panics
///
/// When a promise is broken.
pub fn check(data: &[u8]) {
    let Ok(Value::Array(pair)) = serde_json::from_slice(data) else { return };
    let [pattern, event] = pair.as_slice() else { return };
    let answer = matches(pattern, event);
    assert!(pattern.is_object() || answer.is_none());
    // A branch that surely does not match decides nothing.
    let either = json!({ "$or": [{ "no such member": ["x"] }, pattern] });
    if event.get("no such member").is_none() {
        assert_eq!(matches(&either, event), answer);
    }
    let Value::Object(members) = event else { return };
    let exact: Map<String, Value> =
        members.iter().filter_map(|(name, value)| Some((name.clone(), of(value)?))).collect();
    if !exact.contains_key("$or") {
        assert_eq!(matches(&Value::Object(exact), event), Some(true), "{event}");
    }
}

/// The pattern of exactly this value, where a pattern can ask for it.
fn of(value: &Value) -> Option<Value> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(json!(["something else", value])),
        Value::String(text) => Some(json!([{ "equals-ignore-case": text }, value, { "prefix": text }])),
        Value::Object(_) | Value::Array(_) => None,
    }
}
