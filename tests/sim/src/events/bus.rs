//! Event buses and their rules: what PutRule, PutTargets and PutPermission accept.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use thiserror::Error;

use super::pattern::{Pattern, PatternError};
use crate::policy_language::{Context, PrincipalKind, TrustRequest, trust_allows};
use crate::service_role::{Source, allows, assumable};
use crate::world::World;

/// Most targets of one rule (EventBridge quotas).
pub const MAX_TARGETS: usize = 5;

/// Longest event pattern in characters (EventBridge quotas).
pub const MAX_PATTERN_CHARACTERS: usize = 2_048;

/// One event bus: an account, a Region and a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusId {
    /// Account that owns the bus.
    pub account: String,
    /// Region of the bus.
    pub region: String,
    /// `default`, which exists everywhere and is the only bus that gets events of AWS services, or the name of a custom
    /// bus.
    pub name: String,
}

impl BusId {
    /// The default bus of an account in a Region.
    pub fn default_bus(account: &str, region: &str) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), name: "default".to_owned() }
    }

    /// ARN of a rule of this bus; the default bus is left out of it.
    pub(super) fn arn_of_rule(&self, rule: &str) -> String {
        let path = if self.name == "default" { rule.to_owned() } else { format!("{}/{rule}", self.name) };
        format!("arn:aws:events:{}:{}:rule/{path}", self.region, self.account)
    }

    pub(super) fn from_arn(arn: &str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':').skip(2);
        let (service, region, account, resource) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let name = resource.strip_prefix("event-bus/").filter(|name| service == "events" && !name.is_empty())?;
        Some(Self { account: account.to_owned(), region: region.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for BusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:events:{}:{}:event-bus/{}", self.region, self.account, self.name)
    }
}

/// Where a rule sends an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Another event bus, in any account and Region.
    Bus {
        /// ARN of the bus.
        arn: String,
        /// Role in the rule's account; mandatory for bus targets made after 2 March 2023 (EventBridge user guide,
        /// "Sending and receiving events between AWS accounts").
        role_arn: Option<String>,
    },
    /// An SQS queue of the rule's account and Region.
    Queue {
        /// ARN of the queue.
        arn: String,
        /// Message group; required by a FIFO queue, refused by a standard one.
        message_group_id: Option<String>,
    },
}

/// A rule as a stack would create it.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSettings {
    /// Name, unique on its bus; an existing rule of the name is replaced.
    pub name: String,
    /// Event pattern, checked when the rule is put.
    pub pattern: Value,
    /// At most [`MAX_TARGETS`].
    pub targets: Vec<Target>,
    /// Milliseconds until the rule starts to match ("allow a short period of time for changes to take effect",
    /// PutRule).
    pub delay_ms: u64,
}

/// Why a rule, a bus policy or an event is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RuleError {
    /// The pattern is not valid.
    #[error("the event pattern of rule {rule} is refused")]
    Pattern {
        /// Name of the rule.
        rule: String,
        /// What is wrong with it.
        #[source]
        source: PatternError,
    },
    /// The pattern is longer than EventBridge allows.
    #[error("the event pattern of rule {rule} has {characters} characters, more than {MAX_PATTERN_CHARACTERS}")]
    PatternTooLong {
        /// Name of the rule.
        rule: String,
        /// Characters of the compact JSON.
        characters: usize,
    },
    /// More targets than EventBridge allows.
    #[error("rule {rule} has {targets} targets, more than {MAX_TARGETS}")]
    TooManyTargets {
        /// Name of the rule.
        rule: String,
        /// Number of targets given.
        targets: usize,
    },
    /// A target that EventBridge refuses.
    #[error("target {arn} of rule {rule} is refused: {reason}")]
    Target {
        /// Name of the rule.
        rule: String,
        /// ARN of the target.
        arn: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The envelope of an event lacks its account or Region.
    #[error("the event has no text field {0}")]
    NoAddress(&'static str),
    /// A custom bus that does not exist.
    #[error("event bus {0} does not exist")]
    NoSuchBus(BusId),
}

#[derive(Debug, Default)]
pub(super) struct Bus {
    pub(super) rules: BTreeMap<String, Rule>,
    pub(super) policy: Option<Value>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) settings: RuleSettings,
    pub(super) enabled: bool,
    pub(super) pattern: Pattern,
    pub(super) active_from_ms: u64,
    pub(super) targets: Vec<ResolvedTarget>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResolvedTarget {
    Bus {
        bus: BusId,
        /// The forwarding rule and its role. Absent where AWS itself puts an event on a bus.
        sender: Option<Sender>,
    },
    Queue {
        account: String,
        region: String,
        name: String,
        message_group_id: Option<String>,
    },
}

/// The rule that forwards an event, and the role that EventBridge assumes for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) account: String,
    pub(super) rule_arn: String,
    pub(super) role_arn: String,
}

impl Sender {
    /// Whether EventBridge can assume the role for the rule, and may then put events on the bus.
    pub(super) fn may_send(&self, world: &World, bus: &BusId) -> bool {
        let source = Source { account: &self.account, arn: &self.rule_arn };
        assumable(world, &self.role_arn, &["events.amazonaws.com"], &source)
            .is_some_and(|role| allows(world, role, &["events:PutEvents"], &bus.to_string()))
    }
}

/// Creates a custom bus. An existing one is not changed.
pub fn create_bus(world: &mut World, id: &BusId) {
    world.events.buses.entry(id.clone()).or_default();
}

/// Sets the resource policy of a bus, which decides which other accounts may send.
///
/// # Errors
/// [`RuleError::NoSuchBus`] for a custom bus that does not exist.
pub fn put_bus_policy(world: &mut World, id: &BusId, policy: Value) -> Result<(), RuleError> {
    bus_mut(world, id)?.policy = Some(policy);
    Ok(())
}

/// Creates or replaces a rule with its targets.
///
/// # Errors
/// [`RuleError`] if EventBridge would refuse the rule. Nothing is changed then.
pub fn put_rule(world: &mut World, id: &BusId, settings: &RuleSettings) -> Result<(), RuleError> {
    let rule = settings.name.clone();
    let pattern =
        Pattern::parse(&settings.pattern).map_err(|source| RuleError::Pattern { rule: rule.clone(), source })?;
    let characters = settings.pattern.to_string().chars().count();
    if characters > MAX_PATTERN_CHARACTERS {
        return Err(RuleError::PatternTooLong { rule, characters });
    }
    if settings.targets.len() > MAX_TARGETS {
        return Err(RuleError::TooManyTargets { rule, targets: settings.targets.len() });
    }
    let resolve = |target: &Target| {
        resolve(world, id, &settings.name, target).map_err(|(arn, reason)| RuleError::Target {
            rule: rule.clone(),
            arn,
            reason,
        })
    };
    let targets = settings.targets.iter().map(resolve).collect::<Result<Vec<_>, _>>()?;
    let active_from_ms = world.now_ms() + settings.delay_ms;
    let settings = settings.clone();
    bus_mut(world, id)?.rules.insert(rule, Rule { settings, enabled: true, pattern, active_from_ms, targets });
    Ok(())
}

/// Deletes a rule. Returns whether it existed.
pub fn delete_rule(world: &mut World, id: &BusId, name: &str) -> bool {
    world.events.buses.get_mut(id).is_some_and(|bus| bus.rules.remove(name).is_some())
}

/// Enables or disables a rule. Returns whether it exists.
pub fn set_rule_enabled(world: &mut World, id: &BusId, name: &str, enabled: bool) -> bool {
    let rule = world.events.buses.get_mut(id).and_then(|bus| bus.rules.get_mut(name));
    rule.map(|rule| rule.enabled = enabled).is_some()
}

/// Whether the bus exists and accepts events from that account.
pub(super) fn accepts_from(world: &World, id: &BusId, sender: &str) -> bool {
    if id.account == sender {
        return id.name == "default" || world.events.buses.contains_key(id);
    }
    let Some(policy) = world.events.buses.get(id).and_then(|bus| bus.policy.as_ref()) else { return false };
    let mut context = Context::new();
    if world.organization.is_member(sender) {
        context.insert("aws:PrincipalOrgID".to_owned(), world.organization.id().to_owned());
    }
    let arn = format!("arn:aws:iam::{sender}:root");
    let principal = PrincipalKind::Aws { arn: &arn, account: sender };
    trust_allows(policy, &TrustRequest { action: "events:PutEvents", principal, context })
}

fn bus_mut<'a>(world: &'a mut World, id: &BusId) -> Result<&'a mut Bus, RuleError> {
    if id.name == "default" {
        return Ok(world.events.buses.entry(id.clone()).or_default());
    }
    world.events.buses.get_mut(id).ok_or_else(|| RuleError::NoSuchBus(id.clone()))
}

fn resolve(
    world: &World,
    rule_bus: &BusId,
    rule: &str,
    target: &Target,
) -> Result<ResolvedTarget, (String, &'static str)> {
    match target {
        Target::Bus { arn, role_arn } => {
            resolve_bus(rule_bus, rule, arn, role_arn.as_deref()).map_err(|reason| (arn.clone(), reason))
        }
        Target::Queue { arn, message_group_id } => {
            resolve_queue(world, rule_bus, arn, message_group_id.as_ref()).map_err(|reason| (arn.clone(), reason))
        }
    }
}

fn resolve_bus(
    rule_bus: &BusId,
    rule: &str,
    arn: &str,
    role_arn: Option<&str>,
) -> Result<ResolvedTarget, &'static str> {
    let bus = BusId::from_arn(arn).ok_or("no ARN of an event bus")?;
    // EventBridge user guide, "Sending and receiving events between AWS accounts".
    let role_arn = role_arn.ok_or("an event bus target needs a role")?;
    if !role_arn.starts_with(&format!("arn:aws:iam::{}:role/", rule_bus.account)) {
        return Err("the role is not one of the rule's account");
    }
    if bus == *rule_bus {
        return Err("the target is the bus of the rule");
    }
    // Whether one hop may change both is not documented (UNVERIFIED): an installation must not rest on it.
    if bus.account != rule_bus.account && bus.region != rule_bus.region {
        return Err("another account and another Region in one hop");
    }
    let sender = Sender {
        account: rule_bus.account.clone(),
        rule_arn: rule_bus.arn_of_rule(rule),
        role_arn: role_arn.to_owned(),
    };
    Ok(ResolvedTarget::Bus { bus, sender: Some(sender) })
}

fn resolve_queue(
    world: &World,
    rule_bus: &BusId,
    arn: &str,
    message_group_id: Option<&String>,
) -> Result<ResolvedTarget, &'static str> {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", _, "sqs", region, account, name] = parts[..] else { return Err("no ARN of a queue") };
    // Cross-account queues are possible with a role and a queue policy, which this product does not use.
    if account != rule_bus.account || region != rule_bus.region {
        return Err("the queue is not of the rule's account and Region");
    }
    let queue = world.sqs.queue(account, region, name).ok_or("the queue does not exist")?;
    let settings = queue.settings();
    match (settings.fifo, message_group_id) {
        (true, None) => return Err("a FIFO queue needs a message group id"),
        (false, Some(_)) => return Err("a standard queue takes no message group id"),
        // EventBridge sends no deduplication id (EventBridge user guide, "Amazon EventBridge targets": SQS).
        (true, Some(_)) if !settings.content_based_deduplication => {
            return Err("a FIFO queue needs content-based deduplication");
        }
        (true, Some(_)) | (false, None) => {}
    }
    Ok(ResolvedTarget::Queue {
        account: account.to_owned(),
        region: region.to_owned(),
        name: name.to_owned(),
        message_group_id: message_group_id.cloned(),
    })
}
