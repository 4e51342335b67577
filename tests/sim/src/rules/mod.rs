//! Rules that change how the simulated AWS behaves while it runs: outages that last, denials, odd answers.
//!
//! Unlike a [`crate::FaultRule`], which a test arms at a position in the order of calls, a rule has a name and a value
//! of text, so that people outside can set it: with `enroller sim --set-rule NAME=VALUE` or over HTTP.

mod control;
mod effects;
mod parse;
mod switches;

use serde_json::{Value, json};

pub(crate) use self::control::respond;
pub(crate) use self::effects::{
    denied, echoed, flow_log_exists, key_refused, outage, queue_refuses_events, sts_is_off,
};
pub use self::parse::RuleError;
use crate::call::{ApiError, Call};
use crate::policy_language::glob;
use crate::sim::Sim;
use crate::world::World;

/// What a rule does to the calls in its scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The call is refused before it changes anything.
    Refuse(Refusal),
    /// The answer never comes, and nothing is changed.
    Silence,
    /// The connection breaks, and nothing is changed.
    Broken,
    /// STS gives no sessions of these accounts in these Regions.
    StsOff,
    /// A service control policy denies the actions to principals of these member accounts.
    ServiceControlDeny,
    /// An identity policy denies the actions.
    IdentityDeny,
    /// CreateFlowLogs says that there is such a flow log, whether there is one or not.
    FlowLogExists,
    /// Queues of these accounts and Regions take no events: their policies do not admit the rule.
    QueueRefusesEvents,
    /// CloudWatch Logs may not use keys in these accounts and Regions.
    KeyRefused,
    /// An attribute comes back in another form than it was given.
    Echo {
        /// Name of the attribute in answers, in any case.
        attribute: String,
        /// The other form, in which `{}` stands for the value.
        form: String,
    },
    /// Sessions up to this number are denied everything, as by the policy `AWSRevokeOlderSessions`.
    StaleSessions {
        /// Number of the last session that is stale.
        up_to: u64,
    },
}

/// The answer of an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: u16,
    /// `None` stands for the code of the service for the status.
    code: Option<String>,
    message: String,
}

/// Which calls a rule concerns. An empty list concerns all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Actions in IAM's form, with wildcards: `ec2:*`, `logs:PutSubscriptionFilter`.
    actions: Vec<String>,
    accounts: Vec<String>,
    regions: Vec<String>,
    /// Names of roles that the caller is a session of.
    roles: Vec<String>,
}

/// One rule in force.
#[derive(Clone, Debug)]
struct Rule {
    id: u64,
    name: String,
    value: Value,
    effect: Effect,
    scope: Scope,
    until_ms: Option<u64>,
    calls_left: Option<u64>,
    hits: u64,
}

/// The rules in force.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    last_id: u64,
}

impl Scope {
    fn covers(&self, action: &str, account: &str, region: &str, role: Option<&str>) -> bool {
        let one_of = |list: &[String], actual: &str| list.is_empty() || list.iter().any(|it| it == actual);
        let action = action.to_ascii_lowercase();
        (self.actions.is_empty() || self.actions.iter().any(|pattern| glob(&pattern.to_ascii_lowercase(), &action)))
            && one_of(&self.accounts, account)
            && one_of(&self.regions, region)
            && (self.roles.is_empty() || role.is_some_and(|role| one_of(&self.roles, role)))
    }
}

impl Rules {
    /// Adds a rule and returns its id.
    fn add(&mut self, name: &str, value: Value, parsed: parse::Parsed) -> u64 {
        self.last_id += 1;
        let parse::Parsed { effect, scope, until_ms, calls } = parsed;
        let (id, name) = (self.last_id, name.to_owned());
        self.rules.push(Rule { id, name, value, effect, scope, until_ms, calls_left: calls, hits: 0 });
        id
    }

    /// Lifts one rule; false when there is none of that id.
    pub fn lift(&mut self, id: u64) -> bool {
        let before = self.rules.len();
        self.rules.retain(|rule| rule.id != id);
        self.rules.len() < before
    }

    /// Lifts all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// Number of calls that a rule has hit so far.
    pub fn hits(&self, id: u64) -> u64 {
        self.rules.iter().find(|rule| rule.id == id).map_or(0, |rule| rule.hits)
    }

    /// The first rule in force that `wanted` takes and whose scope covers the rest. It counts as hit.
    fn hit(
        &mut self,
        now_ms: u64,
        wanted: impl Fn(&Effect) -> bool,
        covers: impl Fn(&Scope) -> bool,
    ) -> Option<&Effect> {
        let in_force = |rule: &&mut Rule| {
            rule.until_ms.is_none_or(|until_ms| now_ms < until_ms) && rule.calls_left.is_none_or(|left| left > 0)
        };
        let mut candidates = self.rules.iter_mut().filter(in_force);
        let rule = candidates.find(|rule| wanted(&rule.effect) && covers(&rule.scope))?;
        rule.hits += 1;
        rule.calls_left = rule.calls_left.map(|left| left - 1);
        Some(&rule.effect)
    }

    fn report(&self, now_ms: u64) -> Vec<Value> {
        let ended = |rule: &Rule| {
            rule.until_ms.is_some_and(|until_ms| now_ms >= until_ms) || rule.calls_left.is_some_and(|left| left == 0)
        };
        let show = |rule: &Rule| {
            let Rule { id, name, value, hits, .. } = rule;
            json!({"id": id, "name": name, "value": value, "hits": hits, "ended": ended(rule)})
        };
        self.rules.iter().map(show).collect()
    }
}

impl World {
    /// Sets a rule or a switch by its name. Returns the id of a rule, by which it can be lifted; a switch has none.
    ///
    /// # Errors
    ///
    /// There is no such rule, or the value is not one of it.
    pub fn set_rule(&mut self, name: &str, value: &Value) -> Result<Option<u64>, RuleError> {
        if switches::set(&mut self.settings, name, value)? {
            return Ok(None);
        }
        let parsed = parse::parse(name, value, self.now_ms(), self.sts.opened())?;
        Ok(Some(self.rules.add(name, value.clone(), parsed)))
    }

    /// The rules and switches as `GET /_sim/rules` shows them.
    pub fn rules_report(&self) -> Value {
        json!({"rules": self.rules.report(self.now_ms()), "switches": switches::report(&self.settings)})
    }
}

impl Sim {
    /// Sets a rule or a switch written as on the command line, `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// There is no such rule, or the value is not one of it.
    pub fn set_rule(&self, text: &str) -> Result<Option<u64>, RuleError> {
        let (name, value) = parse::assignment(text)?;
        self.with(|world| world.set_rule(name, &value))
    }

    /// Ends what all sessions of a role may do, as an administrator does with "Revoke active sessions". New ones work.
    ///
    /// # Errors
    ///
    /// None; the type is that of every rule.
    pub fn revoke_sessions(&self, account: &str, role: &str) -> Result<Option<u64>, RuleError> {
        self.with(|world| world.set_rule("stale-sessions", &json!({"account": account, "role": role})))
    }
}

/// The name of the role that the caller is a session of.
fn role_of(call: &Call) -> Option<&str> {
    call.caller.principal_arn.split_once(":assumed-role/")?.1.split('/').next()
}

impl Refusal {
    fn of(&self, call: &Call) -> ApiError {
        let code = match &self.code {
            Some(code) => code.as_str(),
            None => effects::code_of_status(call.service, self.status),
        };
        ApiError::new(self.status, code, self.message.as_str())
    }
}

#[cfg(test)]
mod tests;
