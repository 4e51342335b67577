//! Permissions of a role's inline policies, parsed once when they are stored, and a record of the permissions used.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::policy_language::{Context, conditions_hold, glob, statement_name, statements, strings};

/// One permission that allowed a request: an action of a statement on one of its resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// Name of the role; roles of one name in several accounts count as one.
    pub role: String,
    /// Name of the inline policy.
    pub policy: String,
    /// Name of the statement, as [`crate::policy_language::statement_name`] has it.
    pub statement: String,
    /// The action as the statement writes it.
    pub action: String,
    /// Number of the resource in the statement, from 0.
    pub resource: usize,
}

/// A request that no policy of the role allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// Name of the role.
    pub role: String,
    /// The action asked for, such as `ec2:CreateFlowLogs`.
    pub action: String,
    /// ARN of the resource.
    pub resource: String,
}

/// Which permissions of all roles were used, and what they lacked.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    // Interior mutability, because services check roles while they only read the world.
    uses: RefCell<BTreeSet<Use>>,
    denials: RefCell<BTreeSet<Denial>>,
}

impl Ledger {
    pub(crate) fn uses(&self) -> BTreeSet<Use> {
        self.uses.borrow().clone()
    }

    pub(crate) fn denials(&self) -> BTreeSet<Denial> {
        self.denials.borrow().clone()
    }
}

/// The statements of a role's inline policies.
#[derive(Clone, Default)]
pub(crate) struct IdentityPolicy {
    statements: Vec<Statement>,
}

/// Left out of debug output, which shows the documents already.
impl fmt::Debug for IdentityPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityPolicy").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Statement {
    policy: String,
    name: String,
    allows: bool,
    actions: Patterns,
    resources: Patterns,
    condition: Value,
}

/// An element and its opposite, such as `Action` and `NotAction`.
#[derive(Clone)]
struct Patterns {
    written: Vec<String>,
    compared: Vec<String>,
    negated: bool,
}

impl Patterns {
    fn of(statement: &Value, name: &str, opposite: &str, fold: fn(&str) -> String) -> Self {
        let negated = !statement[opposite].is_null();
        let element = if negated { &statement[opposite] } else { &statement[name] };
        let written: Vec<String> = strings(element).map(str::to_owned).collect();
        Self { compared: written.iter().map(|text| fold(text)).collect(), written, negated }
    }

    /// Numbers of the patterns that match; those of a negated element never stand for themselves.
    fn matching<'a>(&'a self, text: &'a str) -> impl Iterator<Item = usize> + 'a {
        let patterns = self.compared.iter().enumerate().filter(|_| !self.negated);
        patterns.filter(move |(_, pattern)| glob(pattern, text)).map(|(number, _)| number)
    }

    fn covers(&self, text: &str) -> bool {
        self.compared.iter().any(|pattern| glob(pattern, text)) != self.negated
    }
}

impl IdentityPolicy {
    /// Reads inline policies by name.
    pub(crate) fn of(policies: &BTreeMap<String, Value>) -> Self {
        let read = |(policy, document): (&String, &Value)| {
            let numbered = statements(document).enumerate();
            let read = numbered.map(|(number, statement)| Statement::of(policy, number, statement));
            read.collect::<Vec<_>>()
        };
        Self { statements: policies.iter().flat_map(read).collect() }
    }

    /// Whether the policies allow the action on the resource: an explicit deny wins, and the default is a deny
    /// (IAM user guide, "Policy evaluation logic"). The permission used, or the denial, goes into the ledger.
    pub(crate) fn allows(&self, ledger: &Ledger, role: &str, action: &str, resource: &str, context: &Context) -> bool {
        let folded = action.to_ascii_lowercase();
        let matching = self.statements.iter().filter(|it| it.actions.covers(&folded) && it.resources.covers(resource));
        let (mut allowing, mut denied) = (Vec::new(), false);
        for statement in matching {
            match (statement.allows, conditions_hold(&statement.condition, context)) {
                (true, Some(true)) => allowing.push(statement),
                // A condition that cannot be evaluated never allows anything.
                (false, Some(true) | None) => denied = true,
                (true, Some(false) | None) | (false, Some(false)) => {}
            }
        }
        if denied || allowing.is_empty() {
            let denial = Denial { role: role.to_owned(), action: action.to_owned(), resource: resource.to_owned() };
            ledger.denials.borrow_mut().insert(denial);
            return false;
        }
        let mut uses = ledger.uses.borrow_mut();
        for statement in allowing {
            uses.extend(statement.uses(role, &folded, resource));
        }
        true
    }
}

impl Statement {
    fn of(policy: &str, number: usize, statement: &Value) -> Self {
        Self {
            policy: policy.to_owned(),
            name: statement_name(number, statement),
            allows: statement["Effect"] == "Allow",
            actions: Patterns::of(statement, "Action", "NotAction", str::to_ascii_lowercase),
            resources: Patterns::of(statement, "Resource", "NotResource", str::to_owned),
            condition: statement["Condition"].clone(),
        }
    }

    fn uses<'a>(&'a self, role: &'a str, action: &'a str, resource: &'a str) -> impl Iterator<Item = Use> + 'a {
        self.actions.matching(action).flat_map(move |action| {
            self.resources.matching(resource).map(move |resource| Use {
                role: role.to_owned(),
                policy: self.policy.clone(),
                statement: self.name.clone(),
                action: self.actions.written[action].clone(),
                resource,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explicit_deny_wins_over_an_allow() {
        let policies = BTreeMap::from([
            ("allow".to_owned(), json!({"Statement": {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}})),
            (
                "deny".to_owned(),
                json!({"Statement": [{"Effect": "Deny", "Action": "logs:PutLogEvents", "Resource": "arn:aws:logs:*:*:log-group:b:*"}]}),
            ),
        ]);
        let (policy, ledger) = (IdentityPolicy::of(&policies), Ledger::default());
        let allows = |action, group: &str| {
            let arn = format!("arn:aws:logs:eu-west-1:111122223333:log-group:{group}:log-stream:s");
            policy.allows(&ledger, "role", action, &arn, &Context::new())
        };
        assert!(allows("logs:PutLogEvents", "a"));
        assert!(!allows("logs:PutLogEvents", "b"));
        assert!(!allows("ec2:CreateVpc", "a"));
        let used = |used: Use| (used.policy, used.statement, used.action, used.resource);
        let expected = ("allow".to_owned(), "#0".to_owned(), "logs:*".to_owned(), 0);
        assert_eq!(ledger.uses().into_iter().map(used).collect::<Vec<_>>(), [expected]);
        let lacking: Vec<String> = ledger.denials().into_iter().map(|denial| denial.action).collect();
        assert_eq!(lacking, ["ec2:CreateVpc", "logs:PutLogEvents"]);
    }
}
