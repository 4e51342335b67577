//! Reading IAM policy documents in any valid form, and comparing what they mean.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Number, Value};

use crate::arn::Arn;
use crate::ids::AccountId;

/// Whether two policy documents mean the same.
///
/// These make no difference: order, repetition, one string instead of a list of one, an account id instead of its root
/// ARN, and the letter case of actions, condition operators and condition keys. Neither do `Sid` and `Id`, which grant
/// nothing. An absent `Version` means `2008-10-17`, as in IAM (IAM User Guide, "IAM JSON policy elements: Version").
/// A value that is not a policy document is compared as plain JSON.
pub fn equivalent(a: &Value, b: &Value) -> bool {
    match (Document::read(a), Document::read(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a == b,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether two sets of statements mean the same; see [`equivalent`].
pub fn equivalent_statements(a: &[Value], b: &[Value]) -> bool {
    let read = |statements: &[Value]| statements.iter().map(statement).collect::<BTreeSet<_>>();
    read(a) == read(b)
}

/// The account that a principal names as a whole: a bare id or `arn:<partition>:iam::<id>:root`.
pub fn account_of(principal: &str) -> Option<AccountId> {
    if let Ok(account) = principal.parse() {
        return Some(account);
    }
    let arn: Arn = principal.parse().ok()?;
    if arn.service() == "iam" && arn.resource() == "root" { arn.account() } else { None }
}

/// A string or a list of strings; `None` for anything else.
pub(super) fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// The AWS principals of a statement, if it has no other kind of principal; `*` stands for everyone.
pub(super) fn aws_principals(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) if text == "*" => Some(vec!["*"]),
        Value::Object(kinds) if kinds.len() == 1 => kinds.get("AWS").and_then(texts),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The values of `aws:PrincipalOrgID`, if that is all a `Condition` requires.
pub(super) fn organization_condition(condition: &Value) -> Option<Vec<&str>> {
    let (operator, keys) = only_entry(condition)?;
    let (key, values) = only_entry(keys)?;
    let equals = ["StringEquals", "StringLike", "ForAnyValue:StringEquals", "ForAnyValue:StringLike"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(operator));
    if equals && key.eq_ignore_ascii_case("aws:PrincipalOrgID") { texts(values) } else { None }
}

/// The first number that may have lost digits: beyond 64 bits a number is read as a binary fraction, of which only 15
/// digits are exact.
pub(super) fn inexact_number(value: &Value) -> Option<&Number> {
    match value {
        Value::Number(number) => {
            let written = number.as_f64().filter(|_| number.is_f64()).map(|float| format!("{float:e}"))?;
            let mantissa = written.split('e').next()?;
            (mantissa.bytes().filter(u8::is_ascii_digit).count() > 15).then_some(number)
        }
        Value::Array(items) => items.iter().find_map(inexact_number),
        Value::Object(members) => members.values().find_map(inexact_number),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

fn only_entry(value: &Value) -> Option<(&str, &Value)> {
    let mut entries = value.as_object()?.iter();
    match (entries.next(), entries.next()) {
        (Some((key, value)), None) => Some((key, value)),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

/// Matches with IAM's wildcards: `*` for any number of characters, `?` for one.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // The position after the last star, and how much of the text the star has consumed.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(&c) if c == b'?' || Some(&c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            Some(_) | None => match retry {
                Some((after, consumed)) => {
                    (p, t) = (after, consumed + 1);
                    retry = Some((p, t));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

/// A statement's elements, each as the set of what it lists.
type Statement = BTreeMap<String, BTreeSet<Vec<String>>>;

#[derive(PartialEq)]
struct Document {
    version: String,
    statements: BTreeSet<Statement>,
    other: BTreeMap<String, Value>,
}

impl Document {
    fn read(value: &Value) -> Option<Self> {
        let members = value.as_object()?;
        let statements = match members.get("Statement")? {
            Value::Array(list) => list.iter().map(statement).collect(),
            single @ Value::Object(_) => BTreeSet::from([statement(single)]),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
        let version = members.get("Version").map_or("2008-10-17".to_owned(), text);
        let meaningful = |name: &str| !["Statement", "Version", "Id"].contains(&name);
        let other = members.iter().filter(|(name, _)| meaningful(name));
        Some(Self { version, statements, other: other.map(|(name, value)| (name.clone(), value.clone())).collect() })
    }
}

fn statement(value: &Value) -> Statement {
    let Some(elements) = value.as_object() else {
        return Statement::from([(String::new(), BTreeSet::from([vec![value.to_string()]]))]);
    };
    let meaningful = elements.iter().filter(|(name, _)| *name != "Sid");
    meaningful.map(|(name, value)| (name.clone(), element(name, value))).collect()
}

fn element(name: &str, value: &Value) -> BTreeSet<Vec<String>> {
    match name {
        "Action" | "NotAction" => each(value, |action| vec![text(action).to_lowercase()]),
        "Principal" | "NotPrincipal" => match value.as_object() {
            Some(kinds) => kinds.iter().flat_map(|(kind, who)| each(who, |who| principal(kind, who))).collect(),
            // `"Principal": "*"` and `{"AWS": "*"}` are the same (IAM User Guide, "Principal").
            None => each(value, |who| principal("AWS", who)),
        },
        "Condition" => conditions(value),
        _ => each(value, |item| vec![text(item)]),
    }
}

fn principal(kind: &str, who: &Value) -> Vec<String> {
    let name = text(who);
    let account = if kind == "AWS" { account_of(&name) } else { None };
    vec![kind.to_owned(), account.map_or(name, |account| account.to_string())]
}

fn conditions(value: &Value) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for (operator, keys) in value.as_object().into_iter().flatten() {
        for (key, values) in keys.as_object().into_iter().flatten() {
            let name = vec![operator.to_lowercase(), key.to_lowercase()];
            found.extend(each(values, |value| [name.as_slice(), &[text(value)]].concat()));
            // Kept even without values: a condition that is never met is not the absence of a condition.
            found.insert(name);
        }
    }
    if found.is_empty() { each(value, |value| vec![text(value)]) } else { found }
}

fn each(value: &Value, read: impl Fn(&Value) -> Vec<String>) -> BTreeSet<Vec<String>> {
    match value {
        Value::Array(list) => list.iter().map(read).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            BTreeSet::from([read(value)])
        }
    }
}

/// A string as it is; `true` and `5` as strings, which is how IAM compares them.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn with(statement: Value) -> Value {
        json!({"Version": "2012-10-17", "Statement": [statement]})
    }

    #[test]
    fn documents_that_mean_the_same_are_equivalent() {
        let allow = json!({"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"});
        let deny = json!({"Effect": "Deny", "Action": "logs:*", "Resource": "x"});
        for (a, b) in [
            (json!({"Statement": allow}), json!({"Statement": [allow]})),
            (json!({"Statement": [allow, deny]}), json!({"Statement": [deny, allow, deny]})),
            (json!({"Statement": []}), json!({"Statement": [], "Version": "2008-10-17", "Id": "made by hand"})),
            (with(json!({"Action": "logs:PutLogEvents"})), with(json!({"Sid": "x", "Action": ["LOGS:putlogevents"]}))),
            (with(json!({"Resource": ["a", "b"]})), with(json!({"Resource": ["b", "a", "a"]}))),
            (with(json!({"Principal": "*"})), with(json!({"Principal": {"AWS": ["*"]}}))),
            (
                with(json!({"Principal": {"AWS": "111122223333"}})),
                with(json!({"Principal": {"AWS": ["arn:aws:iam::111122223333:root"]}})),
            ),
            (
                with(json!({"Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}}})),
                with(json!({"Condition": {"stringequals": {"AWS:sourceaccount": ["111122223333"]}}})),
            ),
            (
                with(json!({"Condition": {"Bool": {"aws:SecureTransport": true}}})),
                with(json!({"Condition": {"Bool": {"aws:SecureTransport": "true"}}})),
            ),
        ] {
            assert!(equivalent(&a, &b), "{a} and {b}");
        }
    }

    #[test]
    fn documents_that_mean_something_else_are_not_equivalent() {
        for (a, b) in [
            (json!({"Statement": []}), json!({"Version": "2012-10-17", "Statement": []})),
            (json!({"Statement": []}), json!({"Statements": []})),
            (json!({"Statement": []}), json!({"Statement": [], "Odd": 1})),
            (with(json!({"Effect": "Allow"})), with(json!({"Effect": "Deny"}))),
            (with(json!({"Action": "a"})), with(json!({"NotAction": "a"}))),
            (with(json!({"Resource": "a"})), with(json!({"Resource": "A"}))),
            (with(json!({"Principal": {"AWS": "x"}})), with(json!({"Principal": {"Service": "x"}}))),
            (
                with(json!({"Principal": {"AWS": "111122223333"}})),
                with(json!({"Principal": {"AWS": "arn:aws:iam::111122223333:role/x"}})),
            ),
            (with(json!({})), with(json!({"Condition": {"StringEquals": {"a": []}}}))),
            (
                with(json!({"Condition": {"StringEquals": {"a": "b"}}})),
                with(json!({"Condition": {"StringLike": {"a": "b"}}})),
            ),
            (with(json!({"Effect": "Allow"})), json!({"Version": "2012-10-17", "Statement": ["Allow"]})),
            (json!("text"), json!("other")),
        ] {
            assert!(!equivalent(&a, &b), "{a} and {b}");
        }
    }

    #[test]
    fn an_account_is_named_only_by_its_id_or_its_root() {
        let account = "111122223333".parse().ok();
        for (principal, expected) in [
            ("111122223333", account),
            ("arn:aws:iam::111122223333:root", account),
            ("arn:aws-cn:iam::111122223333:root", account),
            ("arn:aws:iam::111122223333:user/root", None),
            ("arn:aws:sts::111122223333:root", None),
            ("1111222233334", None),
            ("AIDAEXAMPLEEXAMPLE", None),
            ("*", None),
        ] {
            assert_eq!(account_of(principal), expected, "{principal}");
        }
    }

    #[test]
    fn aws_principals_are_read_only_without_other_kinds() {
        for (principal, expected) in [
            (json!("*"), Some(vec!["*"])),
            (json!({"AWS": "*"}), Some(vec!["*"])),
            (json!({"AWS": ["111122223333", "444455556666"]}), Some(vec!["111122223333", "444455556666"])),
            (json!({"AWS": "111122223333", "Service": "logs.amazonaws.com"}), None),
            (json!({"Service": "logs.amazonaws.com"}), None),
            (json!({}), None),
            (json!("111122223333"), None),
            (json!(["*"]), None),
        ] {
            assert_eq!(aws_principals(&principal), expected, "{principal}");
        }
    }

    #[test]
    fn a_condition_names_an_organization_only_if_it_requires_nothing_else() {
        let named = || Some(vec!["o-exampleorg1"]);
        for (condition, expected) in [
            (json!({"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}), named()),
            (json!({"forAnyValue:stringLike": {"AWS:principalorgid": ["o-exampleorg1"]}}), named()),
            (json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}}), None),
            (json!({"StringEquals": {"aws:PrincipalOrgPaths": "o-exampleorg1"}}), None),
            (json!({"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1", "aws:SourceIp": "10.0.0.1"}}), None),
            (
                json!({"StringEquals": {"aws:PrincipalOrgID": "o-exampleorg1"}, "Bool": {"aws:SecureTransport": "true"}}),
                None,
            ),
            (json!({"StringEquals": {}}), None),
            (json!({}), None),
        ] {
            assert_eq!(organization_condition(&condition), expected, "{condition}");
        }
    }

    #[test]
    fn a_number_is_exact_up_to_64_bits_or_fifteen_digits_of_a_fraction() {
        for (number, exact) in [
            ("18446744073709551615", true),
            ("-9223372036854775808", true),
            ("18446744073709551616", false),
            ("0.123456789012345", true),
            ("0.1234567890123456", false),
            ("1e300", true),
        ] {
            let value = json!({"deep": [serde_json::from_str::<Value>(number).unwrap()]});
            assert_eq!(inexact_number(&value).is_none(), exact, "{number}");
        }
    }

    #[test]
    fn wildcards_match_as_in_iam() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("logs:*filter", "logs:putsubscriptionfilter", true),
            ("logs:*filters", "logs:putsubscriptionfilter", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("abc", "abcd", false),
            ("abc**", "abc", true),
            ("*ab", "aab", true),
            ("a*aab", "aaaab", true),
            ("*a?c*", "aabbaxc", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} on {text}");
        }
    }

    proptest! {
        #[test]
        fn a_star_in_place_of_any_part_matches(text in "[a-c]{0,12}", from in 0usize..12, to in 0usize..12) {
            let (from, to) = (from.min(to).min(text.len()), from.max(to).min(text.len()));
            let pattern = format!("{}*{}", &text[..from], &text[to..]);
            prop_assert!(glob(&pattern, &text));
        }
    }
}
