//! What people save events in: the output of AWS commands, files of CloudTrail, and rows of CloudTrail Lake.
//!
//! The functions never receive any of it, so only [`explain`](super::explain()) reads it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::json::field;

/// How deep texts of CloudTrail Lake are read. They nest a session issuer, which is three deep.
const MAX_DEPTH: usize = 8;

/// The items of a list, or of an object that is a list with something around it; `None` for everything else.
pub(super) fn items(value: &Value) -> Option<Vec<Cow<'_, Value>>> {
    fn borrowed(items: &[Value]) -> Vec<Cow<'_, Value>> {
        items.iter().map(Cow::Borrowed).collect()
    }
    let list = |name: &str| value.get(name).and_then(Value::as_array);
    if let Some(items) = value.as_array().or_else(|| list("Records")) {
        return Some(borrowed(items));
    }
    if field(value, "source").is_some() || field(value, "eventName").is_some() {
        return None;
    }
    // `aws cloudtrail lookup-events`, `aws logs filter-log-events` and `aws sqs receive-message`.
    if let Some(items) = ["Events", "events", "Messages"].into_iter().find_map(list) {
        return Some(borrowed(items));
    }
    // CloudTrail Lake and CloudWatch Logs Insights: `get-query-results` of either.
    let rows = list("QueryResultRows").or_else(|| list("results"))?;
    Some(rows.iter().map(row).collect())
}

/// The columns of a row as one object: `[{NAME: VALUE}, …]`, or `[{"field": "@NAME", "value": VALUE}, …]`.
fn row(row: &Value) -> Cow<'_, Value> {
    let Some(columns) = row.as_array() else { return Cow::Borrowed(row) };
    let mut record = Map::new();
    for column in columns.iter().filter_map(Value::as_object) {
        match (column.get("field").and_then(Value::as_str), column.get("value")) {
            (Some(name), Some(value)) => {
                record.insert(name.trim_start_matches('@').to_owned(), value.clone());
            }
            _ => record.extend(column.clone()),
        }
    }
    Cow::Owned(Value::Object(record))
}

/// The text that an item is, or that holds its event: `CloudTrailEvent` of lookup-events, `message` of CloudWatch Logs,
/// and a whole record in a column of CloudTrail Lake.
pub(super) fn text_of(item: &Value) -> Option<&str> {
    if let Some(text) = item.as_str() {
        return Some(text).filter(|text| text.starts_with('{'));
    }
    let of = |name: &str| field(item, name).and_then(Value::as_str);
    if let Some(text) = item.get("CloudTrailEvent").and_then(Value::as_str) {
        return Some(text);
    }
    if let Some(record) = ["eventJson", "eventData"].into_iter().find_map(of).filter(|text| text.starts_with('{')) {
        return Some(record);
    }
    let alone = field(item, "source").is_none() && field(item, "eventName").is_none();
    item.get("message").and_then(Value::as_str).filter(|_| alone)
}

/// A record whose parts CloudTrail Lake has turned into text.
pub(super) fn from_columns(record: &Value) -> Value {
    let Some(columns) = record.as_object() else { return record.clone() };
    let whole = |value: &Value| match value {
        Value::String(text) if text == "null" => Value::Null,
        Value::String(text) if text.starts_with('{') => read(text, MAX_DEPTH),
        other => other.clone(),
    };
    columns.iter().map(|(name, value)| (name.clone(), whole(value))).collect::<Map<_, _>>().into()
}

/// JSON, or `{NAME=VALUE, NAME=VALUE}`, in which Presto and Trino print a map or a row. A value can be JSON again.
fn read(text: &str, depth: usize) -> Value {
    if text == "null" || depth == 0 {
        return Value::Null;
    }
    if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
        return value;
    }
    let Some(inside) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        return Value::from(text);
    };
    let mut members = Map::new();
    for part in parts(inside) {
        if let Some((name, value)) = part.split_once('=') {
            members.insert(name.trim().to_owned(), read(value, depth - 1));
        }
    }
    Value::Object(members)
}

/// The parts between commas, except commas inside brackets or quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                found.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    found.extend(text.get(start..));
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_map_as_presto_prints_it_is_read() {
        let text = "{a=1, b={c=x, d=null, e={f=y=z}}, g=[1, 2], h={\"i\":[\"}, j=\",{}]}, k=, l}";
        let expected = json!({"a": "1", "b": {"c": "x", "d": null, "e": {"f": "y=z"}}, "g": [1, 2],
            "h": {"i": ["}, j=", {}]}, "k": ""});
        assert_eq!(read(text, MAX_DEPTH), expected);
        assert_eq!(read("{a={\"x\":\"}, b=1\"}, c=2}", MAX_DEPTH), json!({"a": {"x": "}, b=1"}, "c": "2"}));
        assert_eq!(read("{\"a\": {\"b\": 1}}", MAX_DEPTH), json!({"a": {"b": 1}}));
        assert_eq!(read("{a={b={c=1}}}", 2), json!({"a": {"b": null}}));
        assert_eq!(read("{a=\"}", MAX_DEPTH), json!({"a": "\""}));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[{}\\[\\]\",=a\\\\ ä]{0,60}") {
            read(&text, MAX_DEPTH);
            from_columns(&json!({"requestParameters": text}));
        }
    }
}
