//! A permission withheld from a role, to test whether anything needs it.

use std::collections::BTreeMap;

use enroller_sim::policy_language::{statement_name, statements, strings};
use serde_json::{Value, json};

/// An action or a resource that is removed from a statement of a role's inline policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Withheld {
    /// Name of the role.
    pub role: String,
    /// Name of the policy.
    pub policy: String,
    /// Name of the statement in it, as [`statement_name`] has it.
    pub statement: String,
    /// The removed action or resource.
    pub element: Element,
}

/// The removed part of a statement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// An action, as the statement writes it.
    Action(String),
    /// A resource, by its position from 0.
    Resource(usize),
}

impl Withheld {
    /// The policies of a role without the withheld element.
    pub(crate) fn from(&self, role: &str, policies: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
        let mut left = policies.clone();
        if role != self.role {
            return left;
        }
        if let Some(document) = policies.get(&self.policy) {
            let all = statements(document).enumerate();
            let statements: Vec<Value> = all
                .filter_map(|(number, statement)| match statement_name(number, statement) == self.statement {
                    true => self.without(statement),
                    false => Some(statement.clone()),
                })
                .collect();
            if statements.is_empty() {
                left.remove(&self.policy);
            } else {
                left.insert(self.policy.clone(), json!({ "Version": document["Version"], "Statement": statements }));
            }
        }
        left
    }

    /// The statement without the element, or `None` if it was the only action or resource.
    fn without(&self, statement: &Value) -> Option<Value> {
        let (name, kept): (&str, Vec<&str>) = match &self.element {
            Element::Action(action) => {
                ("Action", strings(&statement["Action"]).filter(|written| written != action).collect())
            }
            Element::Resource(number) => {
                let all = strings(&statement["Resource"]).enumerate();
                ("Resource", all.filter(|(at, _)| at != number).map(|(_, resource)| resource).collect())
            }
        };
        let mut left = statement.clone();
        left[name] = json!(kept);
        (!kept.is_empty()).then_some(left)
    }
}
