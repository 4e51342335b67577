//! The IAM policy language: statements, conditions, wildcards and trust policies.
//!
//! Rules: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements". Numeric, date and IP conditions
//! are not simulated: a document that uses one is refused when it is stored ([`problem_of`]).

use std::collections::BTreeMap;

use serde_json::Value;

/// Values of condition keys at the moment of a request; keys compare without regard to case.
pub type Context = BTreeMap<String, String>;

/// Between the values of a key that has several, such as `aws:TagKeys`.
pub(crate) const VALUE_SEPARATOR: &str = "\u{1f}";

/// The principal that assumes a role.
#[derive(Clone, Copy, Debug)]
pub enum PrincipalKind<'a> {
    /// An AWS service, such as `vpc-flow-logs.amazonaws.com`.
    Service(&'a str),
    /// A principal of an account. A session also matches the ARN of its role, which `aws:PrincipalArn` holds.
    Aws {
        /// ARN of the account's root user or of the session.
        arn: &'a str,
        /// Account of the principal.
        account: &'a str,
    },
}

/// A request that a trust policy decides about.
#[derive(Clone, Debug)]
pub struct TrustRequest<'a> {
    /// `sts:AssumeRole`, or what else a trust policy may allow.
    pub action: &'a str,
    /// The principal that makes it.
    pub principal: PrincipalKind<'a>,
    /// Condition keys such as `aws:SourceAccount`, `sts:ExternalId`, `aws:PrincipalOrgID`.
    pub context: Context,
}

/// Whether a role's trust policy allows the request.
pub fn trust_allows(trust: &Value, request: &TrustRequest<'_>) -> bool {
    let matches = |statement: &Value| {
        names_action(statement, request.action) && names_principal(&statement["Principal"], request)
    };
    decide(statements(trust), matches, &request.context)
}

/// Whether a document that only denies, such as a service control policy, denies an action on a resource.
pub fn denies(document: &Value, action: &str, resource: &str, context: &Context) -> bool {
    let named = |statement: &Value| {
        statement["Effect"] == "Deny"
            && names_action(statement, action)
            && strings(&statement["Resource"]).any(|pattern| glob(pattern, resource))
    };
    // A condition that cannot be evaluated counts as one that holds.
    statements(document).any(|s| named(s) && conditions_hold(&s["Condition"], context) != Some(false))
}

/// Decides whether the statements whose other elements match allow; an explicit deny wins.
fn decide<'a>(
    statements: impl Iterator<Item = &'a Value>,
    matches: impl Fn(&Value) -> bool,
    context: &Context,
) -> bool {
    let mut allowed = false;
    for statement in statements.filter(|statement| matches(statement)) {
        match (statement["Effect"].as_str(), conditions_hold(&statement["Condition"], context)) {
            (Some("Allow"), Some(true)) => allowed = true,
            // A condition that cannot be evaluated never allows anything.
            (Some("Deny"), Some(true) | None) => return false,
            _ => {}
        }
    }
    allowed
}

/// The statements of a document; IAM takes one alone as well as a list.
pub fn statements(document: &Value) -> impl Iterator<Item = &Value> {
    one_or_many(&document["Statement"])
}

/// Name of a statement: its `Sid`, or its number from 0 if it has none.
pub fn statement_name(number: usize, statement: &Value) -> String {
    statement["Sid"].as_str().map_or_else(|| format!("#{number}"), str::to_owned)
}

/// The strings of an element that may be one string or a list of them.
pub fn strings(element: &Value) -> impl Iterator<Item = &str> {
    one_or_many(element).filter_map(Value::as_str)
}

fn one_or_many(element: &Value) -> impl Iterator<Item = &Value> {
    let (many, one) = match element {
        Value::Array(items) => (Some(items), None),
        Value::Null => (None, None),
        other => (None, Some(other)),
    };
    many.into_iter().flatten().chain(one)
}

fn names_action(statement: &Value, action: &str) -> bool {
    let action = action.to_ascii_lowercase();
    let names = |element: &Value| strings(element).any(|pattern| glob(&pattern.to_ascii_lowercase(), &action));
    if statement["NotAction"].is_null() { names(&statement["Action"]) } else { !names(&statement["NotAction"]) }
}

fn names_principal(principal: &Value, request: &TrustRequest<'_>) -> bool {
    if principal.as_str() == Some("*") {
        return true;
    }
    match request.principal {
        PrincipalKind::Service(name) => strings(&principal["Service"]).any(|entry| entry == name),
        PrincipalKind::Aws { arn, account } => {
            let role_arn = value_of(&request.context, "aws:PrincipalArn");
            strings(&principal["AWS"]).any(|entry| {
                entry == "*"
                    || entry == account
                    || entry == arn
                    || role_arn == Some(entry)
                    || is_root_of(entry, account)
            })
        }
    }
}

/// `arn:PARTITION:iam::ACCOUNT:root` stands for every principal of the account.
fn is_root_of(arn: &str, account: &str) -> bool {
    arn.strip_suffix(":root").and_then(|rest| rest.strip_suffix(account)).is_some_and(|rest| rest.ends_with(":iam::"))
}

fn value_of<'a>(context: &'a Context, key: &str) -> Option<&'a str> {
    context
        .get(key)
        .or_else(|| context.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, v)| v))
        .map(String::as_str)
}

/// Whether all conditions of a `Condition` element hold; `None` when one uses an operator that is not simulated.
pub fn conditions_hold(condition: &Value, context: &Context) -> Option<bool> {
    let Some(operators) = condition.as_object() else { return Some(true) };
    let mut hold = true;
    for (name, keys) in operators {
        let operator = Operator::parse(name)?;
        for (key, expected) in keys.as_object().into_iter().flatten() {
            hold &= operator.holds(value_of(context, key), expected);
        }
    }
    Some(hold)
}

#[derive(Clone, Copy)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Arn,
    Null,
    Bool,
}

/// A condition operator with its modifiers.
#[derive(Clone, Copy)]
struct Operator {
    test: Test,
    negated: bool,
    /// What an absent key counts as.
    absent: bool,
    /// `ForAllValues` rather than `ForAnyValue`. It matters only for a key that has several values.
    all: bool,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (set, rest) = match name.split_once(':') {
            Some((set @ ("ForAnyValue" | "ForAllValues"), rest)) => (Some(set), rest),
            Some(_) => return None,
            None => (None, name),
        };
        let (base, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |base| (base, true));
        let (test, negated) = match base {
            "StringEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            // ArnEquals and ArnLike behave alike (IAM user guide, "ARN condition operators").
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            "Bool" => (Test::Bool, false),
            "Null" => (Test::Null, false),
            _ => return None,
        };
        let absent = if_exists || set == Some("ForAllValues") || (negated && set != Some("ForAnyValue"));
        Some(Self { test, negated, absent, all: set == Some("ForAllValues") })
    }

    fn holds(self, actual: Option<&str>, expected: &Value) -> bool {
        if let Test::Null = self.test {
            return literals(expected).any(|literal| (literal == "true") == actual.is_none());
        }
        let Some(actual) = actual else { return self.absent };
        let mut values = actual.split(VALUE_SEPARATOR);
        if self.all {
            values.all(|value| self.holds_for(value, expected))
        } else {
            values.any(|value| self.holds_for(value, expected))
        }
    }

    fn holds_for(self, actual: &str, expected: &Value) -> bool {
        let any = literals(expected).any(|literal| match self.test {
            Test::Equals => literal == actual,
            Test::EqualsIgnoreCase | Test::Bool => literal.eq_ignore_ascii_case(actual),
            Test::Like => glob(&literal, actual),
            Test::Arn => arn_like(&literal, actual),
            Test::Null => false,
        });
        any != self.negated
    }
}

/// Condition values; IAM takes a bare `true` or number for its string.
fn literals(expected: &Value) -> impl Iterator<Item = String> {
    one_or_many(expected).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Whether each of the six parts of an ARN matches on its own, so that a `*` does not run over a colon.
fn arn_like(pattern: &str, arn: &str) -> bool {
    let (patterns, parts) = (pattern.splitn(6, ':'), arn.splitn(6, ':'));
    pattern.splitn(6, ':').count() == arn.splitn(6, ':').count() && patterns.zip(parts).all(|(p, part)| glob(p, part))
}

/// Whether the text matches a pattern in which `*` stands for any run of characters and `?` for one.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else { return false };
                retry = Some((after_star, from + 1));
                p = after_star;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|&rest| rest == b'*')
}

/// What kind of document is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A role's trust policy: has principals and no resources.
    Trust,
    /// An inline policy: has resources and no principals.
    Identity,
}

/// The problem that IAM would report about a document, if any (IAM user guide, "Grammar of the IAM JSON policy
/// language"; the messages are those of field reports, UNVERIFIED in detail).
pub fn problem_of(document: &Value, kind: DocumentKind) -> Option<String> {
    if !document.is_object() || statements(document).next().is_none() {
        return Some("Syntax errors in policy.".to_owned());
    }
    statements(document).find_map(|statement| problem_of_statement(statement, kind))
}

fn problem_of_statement(statement: &Value, kind: DocumentKind) -> Option<String> {
    if !matches!(statement["Effect"].as_str(), Some("Allow" | "Deny")) {
        return Some("Missing required field Effect".to_owned());
    }
    if statement["Action"].is_null() == statement["NotAction"].is_null() {
        return Some("Missing required field Action".to_owned());
    }
    let has_principal = !statement["Principal"].is_null();
    let has_resource = !statement["Resource"].is_null() || !statement["NotResource"].is_null();
    match kind {
        DocumentKind::Trust if has_resource => return Some("Has prohibited field Resource".to_owned()),
        DocumentKind::Trust if !has_principal => return Some("Missing required field Principal".to_owned()),
        DocumentKind::Identity if has_principal => {
            return Some("Policy document should not specify a principal.".to_owned());
        }
        DocumentKind::Identity if !has_resource => {
            return Some("Policy statement must contain resources.".to_owned());
        }
        DocumentKind::Trust | DocumentKind::Identity => {}
    }
    let operators = statement["Condition"].as_object().into_iter().flatten();
    operators
        .map(|(name, _)| name)
        .find(|name| Operator::parse(name).is_none())
        .map(|name| format!("the simulated AWS does not know condition operator {name}"))
}

#[cfg(test)]
mod tests;
