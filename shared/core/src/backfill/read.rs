//! Reading a request: every field is read before the request is refused.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::{BackfillRequest, MAX_REASON, RequestProblem};
use crate::ids::Invalid;

const FIELDS: [&str; 6] = ["accounts", "organizational_units", "exclude", "regions", "dry_run", "reason"];

/// The maximum number of problems reported for a request: a list of wrong ids may be long.
const MAX_PROBLEMS: usize = 50;

/// The fields that could be read, and the problems of those that could not.
pub(super) fn read(value: &Value) -> (BackfillRequest, Vec<RequestProblem>) {
    let Value::Object(fields) = value else {
        let wrong = format!("expected an object with any of {}", FIELDS.join(", "));
        return (BackfillRequest::default(), vec![RequestProblem::new("request", value, wrong)]);
    };
    let mut reader = Reader { fields, problems: Vec::new() };
    for (field, value) in fields {
        if !FIELDS.contains(&field.as_str()) {
            reader.refuse(field, value, format!("unknown field; expected one of {}", FIELDS.join(", ")));
        }
    }
    let request = BackfillRequest {
        accounts: reader.list("accounts"),
        organizational_units: reader.list("organizational_units"),
        exclude: reader.list("exclude"),
        regions: reader.list("regions"),
        dry_run: reader.flag("dry_run"),
        reason: reader.reason(),
    };
    reader.problems.truncate(MAX_PROBLEMS);
    (request, reader.problems)
}

struct Reader<'a> {
    fields: &'a Map<String, Value>,
    problems: Vec<RequestProblem>,
}

impl<'a> Reader<'a> {
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn refuse(&mut self, field: &str, value: &Value, wrong: impl Into<String>) {
        self.problems.push(RequestProblem::new(field, value, wrong));
    }

    fn list<T: FromStr<Err = Invalid> + Ord>(&mut self, field: &str) -> BTreeSet<T> {
        let items = match self.get(field) {
            None => return BTreeSet::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.refuse(field, other, "expected a list: [\"…\"]");
                return BTreeSet::new();
            }
        };
        let mut read = BTreeSet::new();
        for item in items {
            match item.as_str().map(T::from_str) {
                Some(Ok(value)) => {
                    read.insert(value);
                }
                Some(Err(invalid)) => self.refuse(field, item, format!("expected {}", invalid.expected)),
                // A number has lost its leading zeros, so the intended account cannot be known.
                None => self.refuse(field, item, "expected a string"),
            }
        }
        read
    }

    fn flag(&mut self, field: &str) -> bool {
        match self.get(field) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.refuse(field, other, "expected true or false");
                false
            }
        }
    }

    fn reason(&mut self) -> String {
        match self.get("reason") {
            None => String::new(),
            Some(Value::String(reason)) if reason.chars().count() <= MAX_REASON => reason.clone(),
            Some(other) => {
                self.refuse("reason", other, format!("expected a string of at most {MAX_REASON} characters"));
                String::new()
            }
        }
    }
}
