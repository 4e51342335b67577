//! Whether an event pattern matches an event (EventBridge user guide, "Creating event patterns" and "Comparison
//! operators").
//!
//! This checks rules and does not route events: where a pattern uses an operator that is not implemented here
//! (`numeric`, `cidr` and later ones), the result is unknown.

use serde_json::{Map, Value};

/// Whether the pattern matches; `None` where that depends on an unknown operator, or the pattern is malformed.
pub fn matches(pattern: &Value, event: &Value) -> Option<bool> {
    fields(pattern.as_object()?, Some(event))
}

/// Whether all match. One that certainly does not match decides.
fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all_known = true;
    for part in parts {
        match part {
            Some(true) => {}
            Some(false) => return Some(false),
            None => all_known = false,
        }
    }
    all_known.then_some(true)
}

/// Whether any matches. One that certainly matches decides.
fn any(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    not(all(parts.map(not)))
}

fn not(part: Option<bool>) -> Option<bool> {
    part.map(|matched| !matched)
}

fn fields(pattern: &Map<String, Value>, event: Option<&Value>) -> Option<bool> {
    // EventBridge flattens arrays: one of the objects has to match.
    if let Some(Value::Array(elements)) = event {
        return any(elements.iter().map(|element| fields(pattern, Some(element))));
    }
    all(pattern.iter().map(|(name, wanted)| {
        if name == "$or" {
            return any(wanted.as_array()?.iter().map(|branch| fields(branch.as_object()?, event)));
        }
        let found = event.and_then(|event| event.get(name));
        match wanted {
            Value::Object(nested) => fields(nested, found),
            Value::Array(matchers) => any(matchers.iter().map(|matcher| leaf(matcher, found))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        }
    }))
}

fn leaf(matcher: &Value, found: Option<&Value>) -> Option<bool> {
    let Value::Object(operator) = matcher else { return Some(found == Some(matcher)) };
    let (name, argument) = operator.iter().next().filter(|_| operator.len() == 1)?;
    match name.as_str() {
        // An object is not a leaf, so it does not count as existing.
        "exists" => Some(found.is_some_and(|found| !found.is_object()) == argument.as_bool()?),
        "anything-but" if found.is_none() => Some(false),
        "anything-but" => not(any(excluded(argument).iter().map(|excluded| leaf(excluded, found)))),
        _ => {
            let Some(text) = found.and_then(Value::as_str) else { return Some(false) };
            of_text(name, argument, text)
        }
    }
}

/// `anything-but` accepts a value, a list of values, or one operator whose argument may be a list.
fn excluded(argument: &Value) -> Vec<Value> {
    match argument {
        Value::Array(values) => values.clone(),
        Value::Object(operator) => {
            let each = |(name, value): (&String, &Value)| {
                let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                values
                    .into_iter()
                    .map(|value| Value::Object(Map::from_iter([(name.clone(), value)])))
                    .collect::<Vec<_>>()
            };
            operator.iter().flat_map(each).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![argument.clone()],
    }
}

fn of_text(operator: &str, argument: &Value, text: &str) -> Option<bool> {
    let folded = argument.get("equals-ignore-case").and_then(Value::as_str).map(str::to_lowercase);
    match (operator, argument.as_str(), folded) {
        ("prefix", Some(prefix), _) => Some(text.starts_with(prefix)),
        ("prefix", None, Some(prefix)) => Some(text.to_lowercase().starts_with(&prefix)),
        ("suffix", Some(suffix), _) => Some(text.ends_with(suffix)),
        ("suffix", None, Some(suffix)) => Some(text.to_lowercase().ends_with(&suffix)),
        ("equals-ignore-case", Some(other), _) => Some(text.to_lowercase() == other.to_lowercase()),
        // A backslash escapes the next character, which no rule about AWS's own events needs.
        ("wildcard", Some(wildcard), _) if !wildcard.contains('\\') => Some(wildcard_matches(wildcard, text)),
        _ => None,
    }
}

/// `*` matches any number of characters.
fn wildcard_matches(wildcard: &str, text: &str) -> bool {
    let Some((first, rest)) = wildcard.split_once('*') else { return wildcard == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_match_as_in_eventbridge_or_the_result_is_unknown() {
        let event = json!({ "source": "aws.ec2", "detail": { "eventName": "CreateVpc", "n": 5, "nested": { "a": null },
                "list": [{ "id": "a" }, { "id": "b" }] } });
        for (pattern, expected) in [
            (json!({ "source": ["aws.ec2"] }), Some(true)),
            (json!({ "source": ["aws.logs", "aws.ec2"] }), Some(true)),
            (json!({ "source": ["aws.logs"] }), Some(false)),
            (json!({ "detail": { "eventName": ["CreateVpc"], "errorCode": [{ "exists": false }] } }), Some(true)),
            (json!({ "detail": { "eventName": [{ "exists": false }] } }), Some(false)),
            (json!({ "detail": { "nested": [{ "exists": true }] } }), Some(false)),
            (json!({ "detail": { "nested": { "a": [null] } } }), Some(true)),
            (json!({ "detail": { "n": [5] } }), Some(true)),
            (json!({ "detail": { "list": { "id": ["b"] } } }), Some(true)),
            (json!({ "detail": { "list": { "id": [{ "prefix": "c" }] } } }), Some(false)),
            (json!({ "detail": { "list": { "id": [{ "numeric": [">", 1] }, "b"] } } }), Some(true)),
            (json!({ "source": [{ "prefix": "aws." }] }), Some(true)),
            (json!({ "source": [{ "prefix": { "equals-ignore-case": "AWS." } }] }), Some(true)),
            (json!({ "source": [{ "suffix": ".ec2" }] }), Some(true)),
            (json!({ "source": [{ "suffix": { "equals-ignore-case": ".EC2" } }] }), Some(true)),
            (json!({ "source": [{ "suffix": { "equals-ignore-case": ".S3" } }] }), Some(false)),
            (json!({ "source": [{ "equals-ignore-case": "AWS.EC2" }] }), Some(true)),
            (json!({ "source": [{ "wildcard": "a*.e*2" }] }), Some(true)),
            (json!({ "source": [{ "wildcard": "a*.e*3" }] }), Some(false)),
            (json!({ "source": [{ "wildcard": "a*.ec*.ec2" }] }), Some(false)),
            (json!({ "source": [{ "wildcard": "aws.ec2" }] }), Some(true)),
            (json!({ "source": [{ "wildcard": "aws.ec" }] }), Some(false)),
            (json!({ "source": [{ "wildcard": "aws\\.*" }] }), None),
            (json!({ "detail": { "eventName": [{ "anything-but": ["DeleteVpc"] }] } }), Some(true)),
            (json!({ "detail": { "eventName": [{ "anything-but": { "prefix": "Create" } }] } }), Some(false)),
            (json!({ "detail": { "absent": [{ "anything-but": "x" }] } }), Some(false)),
            (json!({ "$or": [{ "source": ["x"] }, { "source": ["aws.ec2"] }] }), Some(true)),
            (json!({ "$or": [{ "source": ["x"] }, { "source": ["y"] }] }), Some(false)),
            (json!({ "detail": { "eventName": [{ "cidr": "10.0.0.0/8" }] } }), None),
            (json!({ "source": ["aws.logs"], "detail": { "eventName": [{ "cidr": "10.0.0.0/8" }] } }), Some(false)),
            (json!({ "source": "aws.ec2" }), None),
            (json!([]), None),
        ] {
            assert_eq!(matches(&pattern, &event), expected, "{pattern}");
        }
    }
}
