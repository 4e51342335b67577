//! Reading JSON of AWS services. CloudTrail writes the same value in several ways, depending on service and age.

use std::borrow::Cow;
use std::str::FromStr;

use serde_json::Value;

use crate::ids::Invalid;

/// The member `name`, matched exactly or, failing that, ignoring case. `null` counts as absent, because CloudTrail
/// writes it for a missing value.
pub(super) fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let members = value.as_object()?;
    members
        .get(name)
        .or_else(|| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .filter(|value| !value.is_null())
}

/// The member at the end of a path of members.
pub(super) fn path<'a>(value: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names.iter().try_fold(value, |value, name| field(value, name))
}

/// A scalar as text. CloudTrail turns strings of EC2 that look like numbers or booleans into those.
pub(super) fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Owned(truth.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The text at the end of a path of members.
pub(super) fn text_at<'a>(value: &'a Value, names: &[&str]) -> Option<Cow<'a, str>> {
    path(value, names).and_then(text)
}

/// A validated value. An account id written as a number is accepted only with all of its 12 digits: padding a shorter
/// one would guess an account, and a wrong account is worse than a lost event, which the sweep compensates for.
pub(super) fn parsed<T: FromStr<Err = Invalid>>(value: &Value) -> Result<T, Invalid> {
    match text(value) {
        Some(text) => text.parse(),
        None => value.to_string().parse(),
    }
}

/// A member that should be an object but may have been forwarded as a string containing one.
pub(super) fn section<'a>(value: &'a Value, name: &str) -> Cow<'a, Value> {
    match field(value, name) {
        Some(Value::String(text)) => Cow::Owned(serde_json::from_str(text).unwrap_or(Value::Null)),
        Some(section) => Cow::Borrowed(section),
        None => Cow::Owned(Value::Null),
    }
}

/// Whether text stands in the place of a value that CloudTrail, a document or a person has hidden.
pub(super) fn is_masked(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    upper.bytes().all(|byte| matches!(byte, b'*' | b'X'))
        || ["***", "HIDDEN", "REDACTED", "MASKED"].iter().any(|mask| upper.contains(mask))
}

/// Cuts text from an untrusted event to a length fit for logs.
pub(super) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::AccountId;

    #[test]
    fn null_is_absent_and_the_case_of_a_member_is_ignored() {
        let value = json!({"a": null, "FlowLogId": 1, "b": {"C": true}});
        assert_eq!(field(&value, "a"), None);
        assert_eq!(field(&value, "flowLogId"), Some(&json!(1)));
        assert_eq!(text_at(&value, &["b", "c"]).as_deref(), Some("true"));
        assert_eq!(path(&value, &["FlowLogId", "x"]), None);
    }

    #[test]
    fn an_account_number_needs_all_its_digits() {
        assert_eq!(parsed::<AccountId>(&json!(111_122_223_333_u64)).unwrap().to_string(), "111122223333");
        for bad in [json!(11_122_223_333_u64), json!(1.0e11), json!(-1), json!(true), json!(null), json!({"a": []})] {
            assert!(parsed::<AccountId>(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mask_is_told_from_a_value() {
        for mask in ["", "****", "XXXXXXXXXXXX", "xxxx", "HIDDEN_DUE_TO_SECURITY_REASONS", "vpc-***", "[redacted]"] {
            assert!(is_masked(mask), "{mask}");
        }
        for value in ["111122223333", "vpc-0123456789abcdef0", "invite", "vpc-*", "o-exampleorg1"] {
            assert!(!is_masked(value), "{value}");
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
