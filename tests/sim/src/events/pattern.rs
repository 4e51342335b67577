//! EventBridge event patterns, as described in the EventBridge user guide under "Creating event patterns" and
//! "Comparison operators". Pure: no state, no clock.
//!
//! **Invariant**: a pattern is checked in full before anything is matched, so that a mistake is found even in a branch
//! that no test event reaches. `numeric` and `cidr` are refused by name, because no rule of this product needs them.

use serde_json::{Map, Value};
use thiserror::Error;

/// Why EventBridge would refuse an event pattern. `path` is the dotted path of the field in the pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "`path` is described above")]
pub enum PatternError {
    /// The pattern, or a nested pattern, is not a JSON object with at least one field.
    #[error("event pattern is not valid: \"{path}\" must be an object with at least one field")]
    NotAnObject {
        /// Field path, empty for the pattern itself.
        path: String,
    },
    /// A field holds a bare value; EventBridge wants an object or an array.
    #[error("event pattern is not valid: \"{path}\" must be an object or an array")]
    BareValue { path: String },
    /// An array of matchers has no element: it could never match.
    #[error("event pattern is not valid: empty arrays are not allowed at \"{path}\"")]
    EmptyArray { path: String },
    /// `$or` is not an array of at least two objects.
    #[error("event pattern is not valid: \"$or\" at \"{path}\" must be an array of at least two objects")]
    Or {
        /// Path of the object that holds `$or`.
        path: String,
    },
    /// The matcher is unknown to EventBridge, or known and not simulated (`numeric`, `cidr`).
    #[error("event pattern is not valid: unrecognized match type {matcher} at \"{path}\"")]
    UnknownMatcher {
        path: String,
        /// Name of the matcher.
        matcher: String,
    },
    /// The matcher is known and its argument has the wrong type or form.
    #[error("event pattern is not valid: {matcher} at \"{path}\" has a wrong argument")]
    WrongArgument {
        path: String,
        /// Name of the matcher.
        matcher: String,
    },
}

/// A pattern that was checked and can be matched any number of times.
#[derive(Debug, Clone)]
pub struct Pattern(Node);

/// Fields are all required; alternatives (`$or`) come on top, at least one per group.
#[derive(Debug, Clone)]
struct Node {
    fields: Vec<(String, Field)>,
    alternatives: Vec<Vec<Node>>,
}

#[derive(Debug, Clone)]
enum Field {
    Nested(Node),
    Leaf(Vec<Matcher>),
}

#[derive(Debug, Clone)]
enum Matcher {
    Exact(Value),
    Text(TextMatcher),
    AnythingBut(Vec<Matcher>),
    Exists(bool),
}

#[derive(Debug, Clone)]
enum TextMatcher {
    Prefix(String),
    PrefixIgnoreCase(String),
    Suffix(String),
    SuffixIgnoreCase(String),
    EqualsIgnoreCase(String),
    Wildcard(Vec<WildcardPart>),
}

#[derive(Debug, Clone, PartialEq)]
enum WildcardPart {
    Any,
    Character(char),
}

/// Whether `event` (the whole envelope) matches `pattern`.
///
/// # Errors
/// [`PatternError`] when EventBridge would refuse the pattern, whatever the event is.
pub fn matches(pattern: &Value, event: &Value) -> Result<bool, PatternError> {
    Ok(Pattern::parse(pattern)?.matches(event))
}

impl Pattern {
    /// Checks a pattern in full.
    ///
    /// # Errors
    /// [`PatternError`] names the first field EventBridge would refuse.
    pub fn parse(pattern: &Value) -> Result<Self, PatternError> {
        parse_node(pattern, "").map(Self)
    }

    /// Whether the whole event envelope matches.
    pub fn matches(&self, event: &Value) -> bool {
        self.0.matches(Some(event))
    }
}

fn parse_node(value: &Value, path: &str) -> Result<Node, PatternError> {
    let fields = match value.as_object() {
        Some(fields) if !fields.is_empty() => fields,
        Some(_) | None => return Err(PatternError::NotAnObject { path: path.to_owned() }),
    };
    let mut node = Node { fields: Vec::new(), alternatives: Vec::new() };
    for (name, value) in fields {
        if name == "$or" {
            node.alternatives.push(parse_or(value, path)?);
            continue;
        }
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let field = match value {
            Value::Object(_) => Field::Nested(parse_node(value, &path)?),
            Value::Array(matchers) if matchers.is_empty() => return Err(PatternError::EmptyArray { path }),
            Value::Array(matchers) => {
                Field::Leaf(matchers.iter().map(|matcher| parse_matcher(matcher, &path)).collect::<Result<_, _>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(PatternError::BareValue { path });
            }
        };
        node.fields.push((name.clone(), field));
    }
    Ok(node)
}

fn parse_or(value: &Value, path: &str) -> Result<Vec<Node>, PatternError> {
    match value.as_array() {
        Some(branches) if branches.len() >= 2 => branches.iter().map(|branch| parse_node(branch, path)).collect(),
        Some(_) | None => Err(PatternError::Or { path: path.to_owned() }),
    }
}

fn parse_matcher(value: &Value, path: &str) -> Result<Matcher, PatternError> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(Matcher::Exact(value.clone())),
        Value::Array(_) => Err(PatternError::BareValue { path: path.to_owned() }),
        Value::Object(operator) => parse_operator(operator, path),
    }
}

fn parse_operator(operator: &Map<String, Value>, path: &str) -> Result<Matcher, PatternError> {
    let Some((name, argument)) = operator.iter().next().filter(|_| operator.len() == 1) else {
        return Err(PatternError::UnknownMatcher {
            path: path.to_owned(),
            matcher: operator.keys().cloned().collect::<Vec<_>>().join(","),
        });
    };
    let wrong = || PatternError::WrongArgument { path: path.to_owned(), matcher: name.clone() };
    match name.as_str() {
        "exists" => argument.as_bool().map(Matcher::Exists).ok_or_else(wrong),
        "anything-but" => parse_anything_but(argument, path).map(Matcher::AnythingBut),
        _ => parse_text_operator(name, argument, path).map(Matcher::Text),
    }
}

fn parse_text_operator(name: &str, argument: &Value, path: &str) -> Result<TextMatcher, PatternError> {
    let wrong = || PatternError::WrongArgument { path: path.to_owned(), matcher: name.to_owned() };
    let text = argument.as_str().map(str::to_owned);
    // `{"prefix": {"equals-ignore-case": "x"}}`, and the same for `suffix`.
    let folded = argument
        .as_object()
        .filter(|inner| inner.len() == 1)
        .and_then(|inner| inner.get("equals-ignore-case"))
        .and_then(Value::as_str)
        .map(str::to_lowercase);
    match name {
        "prefix" => text.map(TextMatcher::Prefix).or(folded.map(TextMatcher::PrefixIgnoreCase)).ok_or_else(wrong),
        "suffix" => text.map(TextMatcher::Suffix).or(folded.map(TextMatcher::SuffixIgnoreCase)).ok_or_else(wrong),
        "equals-ignore-case" => text.map(|text| TextMatcher::EqualsIgnoreCase(text.to_lowercase())).ok_or_else(wrong),
        "wildcard" => text.and_then(|text| parse_wildcard(&text)).map(TextMatcher::Wildcard).ok_or_else(wrong),
        other => Err(PatternError::UnknownMatcher { path: path.to_owned(), matcher: other.to_owned() }),
    }
}

/// `anything-but` takes one value, a list of values, or a text operator whose argument may be a list.
fn parse_anything_but(argument: &Value, path: &str) -> Result<Vec<Matcher>, PatternError> {
    let wrong = || PatternError::WrongArgument { path: path.to_owned(), matcher: "anything-but".to_owned() };
    let plain = |value: &Value| match value {
        Value::String(_) | Value::Number(_) => Ok(Matcher::Exact(value.clone())),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(wrong()),
    };
    match argument {
        Value::Array(values) if !values.is_empty() => values.iter().map(plain).collect(),
        Value::Object(operator) => {
            let (name, inner) = operator.iter().next().filter(|_| operator.len() == 1).ok_or_else(wrong)?;
            let inner = inner.as_array().map_or(std::slice::from_ref(inner), Vec::as_slice);
            if inner.is_empty() {
                return Err(wrong());
            }
            inner.iter().map(|value| parse_text_operator(name, value, path).map(Matcher::Text)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            plain(argument).map(|matcher| vec![matcher])
        }
    }
}

/// `*` is any run of characters, `\*` and `\\` are literal; two stars in a row are refused, as by EventBridge.
fn parse_wildcard(text: &str) -> Option<Vec<WildcardPart>> {
    let mut parts = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let part = match character {
            '*' if parts.last() == Some(&WildcardPart::Any) => return None,
            '*' => WildcardPart::Any,
            '\\' => WildcardPart::Character(characters.next().filter(|next| matches!(next, '*' | '\\'))?),
            other => WildcardPart::Character(other),
        };
        parts.push(part);
    }
    Some(parts)
}

impl Node {
    /// `None` stands for an absent object: its fields can still match with `{"exists": false}`.
    fn matches(&self, event: Option<&Value>) -> bool {
        // An array of objects matches when one element does, as EventBridge flattens arrays.
        if let Some(Value::Array(elements)) = event {
            return elements.iter().any(|element| self.matches(Some(element)));
        }
        let member = |name: &str| event.and_then(Value::as_object).and_then(|object| object.get(name));
        self.fields.iter().all(|(name, field)| match field {
            Field::Nested(node) => node.matches(member(name)),
            Field::Leaf(matchers) => matchers.iter().any(|matcher| matcher.matches_field(member(name))),
        }) && self.alternatives.iter().all(|branches| branches.iter().any(|branch| branch.matches(event)))
    }
}

impl Matcher {
    fn matches_field(&self, field: Option<&Value>) -> bool {
        let leaves = leaves(field);
        match self {
            // "Exists" works on leaf nodes only: an object or an empty array is not a leaf.
            Self::Exists(wanted) => leaves.is_empty() != *wanted,
            Self::Exact(_) | Self::Text(_) | Self::AnythingBut(_) => leaves.iter().any(|leaf| self.matches_leaf(leaf)),
        }
    }

    fn matches_leaf(&self, leaf: &Value) -> bool {
        match self {
            Self::Exact(value) => value == leaf,
            Self::Text(matcher) => leaf.as_str().is_some_and(|text| matcher.matches(text)),
            Self::AnythingBut(excluded) => !excluded.iter().any(|matcher| matcher.matches_leaf(leaf)),
            Self::Exists(wanted) => *wanted,
        }
    }
}

fn leaves(field: Option<&Value>) -> Vec<&Value> {
    match field {
        None | Some(Value::Object(_)) => Vec::new(),
        Some(Value::Array(elements)) => elements.iter().flat_map(|element| leaves(Some(element))).collect(),
        Some(leaf) => vec![leaf],
    }
}

impl TextMatcher {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::PrefixIgnoreCase(prefix) => text.to_lowercase().starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::SuffixIgnoreCase(suffix) => text.to_lowercase().ends_with(suffix),
            Self::EqualsIgnoreCase(wanted) => text.to_lowercase() == *wanted,
            Self::Wildcard(parts) => wildcard_matches(parts, &text.chars().collect::<Vec<_>>()),
        }
    }
}

fn wildcard_matches(parts: &[WildcardPart], text: &[char]) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((WildcardPart::Any, rest)) => (0..=text.len()).any(|from| wildcard_matches(rest, &text[from..])),
        Some((WildcardPart::Character(wanted), rest)) => {
            text.split_first().is_some_and(|(first, text)| first == wanted && wildcard_matches(rest, text))
        }
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
