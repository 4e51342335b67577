//! EventBridge: buses, rules and their delivery, at least once, unordered and sometimes never.
//!
//! **Flow**: an event arrives on the default bus of an account and Region. Every rule that matches sends it to its
//! targets, which are buses or queues. Each leg is a pending delivery with a due time in virtual time. Moving the clock
//! delivers what is due. **Invariant**: an event visits at most two accounts and two Regions.

mod api;
mod bus;
pub mod pattern;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use serde_json::Value;

pub(crate) use self::api::handle;
use self::bus::{Bus, ResolvedTarget, accepts_from};
pub use self::bus::{
    BusId, MAX_PATTERN_CHARACTERS, MAX_TARGETS, RuleError, RuleSettings, Target, create_bus, delete_rule,
    put_bus_policy, put_rule, set_rule_enabled,
};
use crate::sim::Sim;
use crate::world::World;

/// How unreliable event delivery is. By default, events arrive immediately, once and in order.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DeliverySettings {
    /// Chance from 0 to 1 that an event never reaches its first bus: services send events to CloudTrail and
    /// EventBridge as "best effort" (EventBridge reference, "Event delivery level").
    pub drop_probability: f64,
    /// Chance from 0 to 1 that a target gets an event twice.
    pub duplicate_probability: f64,
    /// Longest delay of one leg, in milliseconds; the delay of each leg is drawn evenly from 0 to this.
    pub max_delay_ms: u64,
    /// Whether a later event may overtake an earlier one. Without it the delays are drawn all the same and no leg
    /// is due before the leg that was made last.
    pub reorder: bool,
}

/// Event counts since the start of the simulation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Events that AWS services or tests gave to a bus. An event of an API call or an account counts only
    /// if its bus has a rule. An event that nobody could see is not created.
    pub published: u64,
    /// Events that were not emitted because no trail logs in that account and Region.
    pub without_trail: u64,
    /// Events dropped by [`DeliverySettings::drop_probability`].
    pub dropped: u64,
    /// Second deliveries made by [`DeliverySettings::duplicate_probability`].
    pub duplicated: u64,
    /// Deliveries to a queue.
    pub queued: u64,
    /// Deliveries to another bus.
    pub forwarded: u64,
    /// Deliveries refused as THIRD_ACCOUNT_HOP_DETECTED.
    pub third_account_hops: u64,
    /// Deliveries refused as THIRD_REGION_HOP_DETECTED.
    pub third_region_hops: u64,
    /// Stopped because the event came back to a bus it had been on. AWS would forward it forever.
    pub loops: u64,
    /// Refused because the rule's role may not send, the target bus does not exist or its policy does not admit the
    /// sender.
    pub no_permission: u64,
    /// Refused because the target queue no longer exists or refuses the message.
    pub queue_refused: u64,
}

/// Buses with their rules, and events on their way.
#[derive(Debug)]
pub struct EventsState {
    buses: BTreeMap<BusId, Bus>,
    pending: BinaryHeap<Reverse<Delivery>>,
    sequence: u64,
    last_due_ms: u64,
    random: fastrand::Rng,
    silent: BTreeSet<(String, String)>,
    /// How unreliable event delivery is from now on.
    pub delivery: DeliverySettings,
    /// Event counts so far.
    pub counts: EventCounts,
}

impl Default for EventsState {
    fn default() -> Self {
        Self {
            buses: BTreeMap::new(),
            pending: BinaryHeap::new(),
            sequence: 0,
            last_due_ms: 0,
            random: fastrand::Rng::with_seed(0),
            silent: BTreeSet::new(),
            delivery: DeliverySettings::default(),
            counts: EventCounts::default(),
        }
    }
}

/// One leg of an event's route. Ordered by due time, then by the order of creation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Delivery {
    due_ms: u64,
    sequence: u64,
    leg: Leg,
}

#[derive(Debug, Clone)]
struct Leg {
    event: Arc<Value>,
    target: ResolvedTarget,
    route: Route,
}

/// The buses an event has been on; the last one is its sender.
type Route = Vec<BusId>;

// The heap orders deliveries by due time and sequence, and a sequence number is never used twice.
impl PartialEq for Leg {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Leg {}
impl PartialOrd for Leg {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Leg {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl EventsState {
    /// Seeds the choice of delays, duplicates and drops.
    pub fn seed(&mut self, seed: u64) {
        self.random = fastrand::Rng::with_seed(seed);
    }

    /// Turns the trail of an account and Region on or off; all are on at first, as with an organization trail of all
    /// Regions. Without a trail there are no "via CloudTrail" events (EventBridge user guide, "AWS service events
    /// delivered via AWS CloudTrail").
    pub fn set_trail(&mut self, account: &str, region: &str, logging: bool) {
        let account_region = (account.to_owned(), region.to_owned());
        if logging {
            self.silent.remove(&account_region);
        } else {
            self.silent.insert(account_region);
        }
    }

    /// Whether a trail logs in an account and Region.
    pub(crate) fn trail_logs(&self, account: &str, region: &str) -> bool {
        !self.silent.contains(&(account.to_owned(), region.to_owned()))
    }

    /// When the next pending delivery is due, in epoch milliseconds.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.pending.peek().map(|Reverse(delivery)| delivery.due_ms)
    }

    /// Whether any rule could see an event on that account's default bus. Events that nobody sees are not built, to
    /// save time.
    pub(crate) fn is_watched(&self, account: &str, region: &str) -> bool {
        self.buses.get(&BusId::default_bus(account, region)).is_some_and(|bus| !bus.rules.is_empty())
    }

    /// Schedules a leg, and sometimes a duplicate of it.
    fn schedule(&mut self, now_ms: u64, leg: Leg) {
        if self.delivery.duplicate_probability > 0.0 && self.random.f64() < self.delivery.duplicate_probability {
            self.counts.duplicated += 1;
            self.push(now_ms, leg.clone());
        }
        self.push(now_ms, leg);
    }

    fn push(&mut self, now_ms: u64, leg: Leg) {
        let delay = match self.delivery.max_delay_ms {
            0 => 0,
            longest => self.random.u64(0..=longest),
        };
        let mut due_ms = now_ms + delay;
        if !self.delivery.reorder {
            due_ms = due_ms.max(self.last_due_ms);
            self.last_due_ms = due_ms;
        }
        self.sequence += 1;
        self.pending.push(Reverse(Delivery { due_ms, sequence: self.sequence, leg }));
    }
}

/// Emits an event recorded by CloudTrail on the default bus of the account and Region, if a trail logs there.
pub(crate) fn publish_from_trail(world: &mut World, account: &str, region: &str, event: Value) {
    if !world.events.trail_logs(account, region) {
        world.events.counts.without_trail += 1;
        return;
    }
    publish(world, account, region, event);
}

/// Emits an event that a service sends to EventBridge itself, with or without a trail, and delivers what is due.
pub(crate) fn publish(world: &mut World, account: &str, region: &str, event: Value) {
    let events = &mut world.events;
    events.counts.published += 1;
    if events.delivery.drop_probability > 0.0 && events.random.f64() < events.delivery.drop_probability {
        events.counts.dropped += 1;
        return;
    }
    let target = ResolvedTarget::Bus { bus: BusId::default_bus(account, region), sender: None };
    let now_ms = world.now_ms();
    world.events.push(now_ms, Leg { event: Arc::new(event), target, route: Route::default() });
    deliver_due(world);
}

/// Delivers the events that are due. Called after the clock has moved, and before every call on real time.
pub(crate) fn deliver_due(world: &mut World) {
    while world.events.next_due_ms().is_some_and(|due_ms| due_ms <= world.now_ms()) {
        let Some(Reverse(delivery)) = world.events.pending.pop() else { return };
        deliver(world, delivery.leg, delivery.due_ms);
    }
}

fn deliver(world: &mut World, leg: Leg, due_ms: u64) {
    match leg.target {
        ResolvedTarget::Queue { account, region, name, message_group_id } => {
            let body = leg.event.to_string();
            let sent = crate::sqs::send_event(world, (&account, &region, &name), body, message_group_id, due_ms);
            let counts = &mut world.events.counts;
            if sent { counts.queued += 1 } else { counts.queue_refused += 1 }
        }
        ResolvedTarget::Bus { bus, sender } => {
            if sender.is_none_or(|sender| sender.may_send(world, &bus)) {
                arrive(world, &bus, leg.event, leg.route, due_ms);
            } else {
                world.events.counts.no_permission += 1;
            }
        }
    }
}

/// An event arrives on a bus: hop rules, permission, then the rules of the bus.
fn arrive(world: &mut World, bus: &BusId, event: Arc<Value>, route: Route, due_ms: u64) {
    let Some(route) = admit(world, bus, route) else { return };
    let Some(found) = world.events.buses.get(bus) else { return };
    let active = found.rules.values().filter(|rule| rule.enabled && rule.active_from_ms <= due_ms);
    let matching = active.filter(|rule| rule.pattern.matches(&event));
    let targets: Vec<ResolvedTarget> = matching.flat_map(|rule| rule.targets.iter().cloned()).collect();
    for target in targets {
        world.events.schedule(due_ms, Leg { event: Arc::clone(&event), target, route: route.clone() });
    }
}

/// Appends this bus to the route, or returns `None` if the event stops here.
fn admit(world: &mut World, bus: &BusId, mut route: Route) -> Option<Route> {
    if let Some(from) = route.last() {
        let third =
            |part: fn(&BusId) -> &String| route.iter().map(part).chain([part(bus)]).collect::<BTreeSet<_>>().len() > 2;
        // EventBridge user guide, "Sending and receiving events between AWS accounts" and "… Regions": an event that
        // came from another account or Region is not sent on to a third; the codes are those of dead-letter queues.
        let (third_account, third_region) = (third(|bus| &bus.account), third(|bus| &bus.region));
        let permitted = accepts_from(world, bus, &from.account);
        let counts = &mut world.events.counts;
        let counter = match (third_account, third_region, permitted, route.contains(bus)) {
            (true, _, _, _) => &mut counts.third_account_hops,
            (_, true, _, _) => &mut counts.third_region_hops,
            (_, _, false, _) => &mut counts.no_permission,
            (_, _, _, true) => &mut counts.loops,
            (false, false, true, false) => {
                counts.forwarded += 1;
                route.push(bus.clone());
                return Some(route);
            }
        };
        *counter += 1;
        return None;
    }
    route.push(bus.clone());
    Some(route)
}

impl Sim {
    /// Creates or replaces a rule. See [`put_rule`].
    ///
    /// # Errors
    /// [`RuleError`] if EventBridge would refuse the rule.
    pub fn put_rule(&self, bus: &BusId, settings: &RuleSettings) -> Result<(), RuleError> {
        self.with(|world| put_rule(world, bus, settings))
    }

    /// Puts an event on the default bus of the account and Region in its envelope, as a service would.
    ///
    /// # Errors
    /// [`RuleError::NoAddress`] when the envelope lacks `account` or `region`.
    pub fn emit(&self, event: Value) -> Result<(), RuleError> {
        let field = |name: &'static str| event[name].as_str().map(str::to_owned).ok_or(RuleError::NoAddress(name));
        let (account, region) = (field("account")?, field("region")?);
        self.with(|world| publish(world, &account, &region, event));
        Ok(())
    }

    /// Sets how unreliable event delivery is from now on.
    pub fn set_event_delivery(&self, delivery: DeliverySettings, seed: u64) {
        self.with(|world| {
            world.events.delivery = delivery;
            world.events.seed(seed);
        });
    }

    /// Event counts so far.
    pub fn event_counts(&self) -> EventCounts {
        self.with(|world| world.events.counts)
    }

    /// When the next pending delivery is due, in epoch milliseconds.
    pub fn next_event_due_ms(&self) -> Option<u64> {
        self.with(|world| world.events.next_due_ms())
    }
}

#[cfg(test)]
#[path = "bus_tests.rs"]
mod tests;
