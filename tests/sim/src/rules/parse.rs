//! Rules as text: `outage=service=ec2,region=eu-west-1,answer=503,seconds=120`, or the same as JSON.

use serde_json::{Map, Value};

use super::{Effect, Refusal, Scope};

/// Why a rule cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not `NAME=VALUE`.
    #[error("a rule has the form NAME=VALUE, and {0} has not")]
    Form(String),
    /// No rule of that name.
    #[error("there is no rule {name}; the rules are {known}")]
    Unknown {
        /// The name given.
        name: String,
        /// All names.
        known: String,
    },
    /// The value is not one of the rule's.
    #[error("rule {name}: {reason}")]
    Value {
        /// Name of the rule.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// Names of the rules that are not switches.
pub(super) const RULES: [&str; 9] = [
    "outage",
    "sts-off",
    "scp-deny",
    "iam-deny",
    "flow-log-exists",
    "echo",
    "stale-sessions",
    "queue-refuses-events",
    "key-refused",
];

/// A rule that was read.
pub(super) struct Parsed {
    pub(super) effect: Effect,
    pub(super) scope: Scope,
    pub(super) until_ms: Option<u64>,
    pub(super) calls: Option<u64>,
}

/// Reads `NAME=VALUE`. A value with `=` in it is a list of `KEY=VALUE`, in which `|` stands between several values.
pub(super) fn assignment(text: &str) -> Result<(&str, Value), RuleError> {
    let (name, value) = text.split_once('=').ok_or_else(|| RuleError::Form(text.to_owned()))?;
    if !value.contains('=') {
        return Ok((name, scalar(value)));
    }
    let mut members = Map::new();
    for part in value.split(',') {
        let (key, value) = part.split_once('=').ok_or_else(|| RuleError::Form(part.to_owned()))?;
        members.insert(key.to_owned(), Value::from(value));
    }
    Ok((name, Value::Object(members)))
}

fn scalar(text: &str) -> Value {
    match text {
        "true" => Value::from(true),
        "false" => Value::from(false),
        text => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
    }
}

pub(super) fn bad(name: &str, reason: impl Into<String>) -> RuleError {
    RuleError::Value { name: name.to_owned(), reason: reason.into() }
}

/// Reads a rule. `last_session` is the number of the newest session so far.
pub(super) fn parse(name: &str, value: &Value, now_ms: u64, last_session: u64) -> Result<Parsed, RuleError> {
    if !RULES.contains(&name) {
        let known = RULES.iter().copied().chain(super::switches::names()).collect::<Vec<_>>().join(", ");
        return Err(RuleError::Unknown { name: name.to_owned(), known });
    }
    let members = members(name, value)?;
    let mut reader = Reader { name, members, read: Vec::new() };
    let effect = match name {
        "outage" => reader.outage()?,
        "sts-off" => Effect::StsOff,
        "scp-deny" => Effect::ServiceControlDeny,
        "iam-deny" => Effect::IdentityDeny,
        "flow-log-exists" => Effect::FlowLogExists,
        "queue-refuses-events" => Effect::QueueRefusesEvents,
        "key-refused" => Effect::KeyRefused,
        "echo" => {
            let attribute = reader.text("attribute")?.ok_or_else(|| bad(name, "attribute is missing"))?;
            let form = reader.text("form")?.ok_or_else(|| bad(name, "form is missing"))?;
            Effect::Echo { attribute, form }
        }
        _ => Effect::StaleSessions { up_to: last_session },
    };
    let scope = reader.scope()?;
    if name.ends_with("-deny") && scope.actions.is_empty() {
        return Err(bad(name, "action is missing, such as ec2:DeleteFlowLogs"));
    }
    let until_ms = reader.number("seconds")?.map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1000)));
    let calls = reader.number("calls")?;
    reader.finish()?;
    Ok(Parsed { effect, scope, until_ms, calls })
}

/// The members of the value. A bare text is the Region of `sts-off` and the action of a deny; `true` has no members.
fn members(name: &str, value: &Value) -> Result<Map<String, Value>, RuleError> {
    let one = |key: &str| Map::from_iter([(key.to_owned(), value.clone())]);
    match (name, value) {
        (_, Value::Object(members)) => Ok(members.clone()),
        (_, Value::Bool(true)) => Ok(Map::new()),
        ("sts-off" | "flow-log-exists" | "queue-refuses-events" | "key-refused", Value::String(_)) => Ok(one("region")),
        ("scp-deny" | "iam-deny", Value::String(_)) => Ok(one("action")),
        ("stale-sessions", Value::String(_)) => Ok(one("role")),
        _ => Err(bad(name, format!("{value} is not a value of it"))),
    }
}

struct Reader<'a> {
    name: &'a str,
    members: Map<String, Value>,
    read: Vec<&'static str>,
}

impl Reader<'_> {
    fn get(&mut self, key: &'static str) -> Option<&Value> {
        self.read.push(key);
        self.members.get(key)
    }

    fn text(&mut self, key: &'static str) -> Result<Option<String>, RuleError> {
        let name = self.name.to_owned();
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(bad(&name, format!("{key} is not a text: {other}"))),
        }
    }

    fn number(&mut self, key: &'static str) -> Result<Option<u64>, RuleError> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| bad(self.name, format!("{key} is not a whole number: {text}")))
    }

    /// A list, or a text with `|` between its parts.
    fn list(&mut self, key: &'static str) -> Result<Vec<String>, RuleError> {
        let name = self.name.to_owned();
        let text = |item: &Value| item.as_str().map(str::to_owned);
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(text.split('|').map(str::to_owned).collect()),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<String>> = items.iter().map(text).collect();
                texts.ok_or_else(|| bad(&name, format!("{key} holds something that is not a text")))
            }
            Some(Value::Number(number)) => Ok(vec![number.to_string()]),
            Some(other) => Err(bad(&name, format!("{key} is not a list of texts: {other}"))),
        }
    }

    fn outage(&mut self) -> Result<Effect, RuleError> {
        let answer = self.text("answer")?.unwrap_or_else(|| "503".to_owned());
        let status = self.number("status")?;
        let message = self.text("message")?.unwrap_or_else(|| "The simulated service has an outage.".to_owned());
        let http = |status: u64| u16::try_from(status).ok().filter(|status| (400..=599).contains(status));
        match (answer.as_str(), answer.parse::<u64>()) {
            ("silence", _) => Ok(Effect::Silence),
            ("broken", _) => Ok(Effect::Broken),
            (_, Ok(status)) => {
                let status = http(status).ok_or_else(|| bad(self.name, format!("answer {answer} is no HTTP error")))?;
                Ok(Effect::Refuse(Refusal { status, code: None, message }))
            }
            (code, Err(_)) => {
                let status = status.unwrap_or_else(|| super::effects::status_of_code(code));
                let status = http(status).ok_or_else(|| bad(self.name, format!("status {status} is no HTTP error")))?;
                Ok(Effect::Refuse(Refusal { status, code: Some(code.to_owned()), message }))
            }
        }
    }

    fn scope(&mut self) -> Result<Scope, RuleError> {
        let mut actions = self.list("action")?;
        let (services, operations) = (self.list("service")?, self.list("operation")?);
        let all = |list: Vec<String>| if list.is_empty() { vec!["*".to_owned()] } else { list };
        if !services.is_empty() || !operations.is_empty() {
            for service in all(services) {
                actions.extend(all(operations.clone()).iter().map(|operation| format!("{service}:{operation}")));
            }
        }
        let (accounts, regions, roles) = (self.list("account")?, self.list("region")?, self.list("role")?);
        Ok(Scope { actions, accounts, regions, roles })
    }

    fn finish(self) -> Result<(), RuleError> {
        match self.members.keys().find(|key| !self.read.contains(&key.as_str())) {
            Some(key) => Err(bad(self.name, format!("it has no {key}, only {}", self.read.join(", ")))),
            None => Ok(()),
        }
    }
}
