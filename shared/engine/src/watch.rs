//! What others change of the installation: told once, with who did it, and repaired at a slower pace where somebody
//! undoes every repair.
//!
//! # Assumptions
//!
//! A function's container remembers what it told and repaired, and nothing else does. A container that is new tells an
//! event again that comes again, and counts the repairs of a place anew. So the brake engages late where many containers
//! share the work, and never too early.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use enroller_core::event::{ChangeByOthers, Decoded};
use enroller_core::ids::AccountRegion;
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::{Metric, Metrics};

/// How many repairs of one account-Region, or of the destinations of one Region, an hour may have before the next ones
/// wait. Whoever creates an environment anew with Terraform causes one or two.
pub const REPAIRS_AN_HOUR: usize = 5;

/// How long a repair of a contested place waits, in seconds. It is the longest time that SQS can hold a message back.
pub const SLOWER_SECONDS: u32 = 900;

const HOUR_MS: u64 = 3_600_000;

/// How long an event is remembered as told, in milliseconds: as long as its message may come back.
const TOLD_MS: u64 = 4 * HOUR_MS;

/// What one container remembers.
#[derive(Default)]
pub(crate) struct Watch {
    told: Mutex<BTreeMap<String, u64>>,
    places: Mutex<BTreeMap<AccountRegion, Place>>,
}

/// The repairs of one place within the last hour.
#[derive(Default)]
struct Place {
    repairs_ms: Vec<u64>,
    principals: BTreeSet<String>,
    /// When a repair was put off to, in epoch milliseconds.
    put_off_to_ms: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Tells of a change, unless this container told of the same event before: EventBridge may deliver an event twice,
    /// two rules may forward it, and its message may come back.
    pub(crate) fn tell(
        &self,
        change: &ChangeByOthers,
        event_id: Option<&str>,
        now_ms: u64,
        lines: &mut Vec<LogEntry>,
        metrics: &mut Metrics,
    ) {
        if let Some(id) = event_id {
            let mut told = lock(&self.told);
            told.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < TOLD_MS);
            if told.insert(id.to_owned(), now_ms).is_some() {
                return;
            }
        }
        metrics.add(Metric::ChangesByOthers, 1.0);
        let cause = format!("{} by {}", change.call, change.principal);
        let next = "find out whether this was meant to happen. If not, take the permission away: docs/runbook.md, \
            \"Changes by others\"";
        lines.push(noticed(change, event_id, "notice-change", cause, next));
    }

    /// Tells of the change that an event shows by itself.
    pub(crate) fn tell_certain(
        &self,
        decoded: &Decoded,
        now_ms: u64,
        lines: &mut Vec<LogEntry>,
        metrics: &mut Metrics,
    ) {
        if let Some(change) = decoded.change.as_ref().filter(|change| change.certain) {
            self.tell(change, decoded.event_id.as_deref(), now_ms, lines, metrics);
        }
    }

    /// Remembers that a change was repaired.
    pub(crate) fn repaired<'a>(&self, changes: impl IntoIterator<Item = &'a ChangeByOthers>, now_ms: u64) {
        let mut places = lock(&self.places);
        places.retain(|_, place| place.repairs_ms.last().is_some_and(|last| now_ms.saturating_sub(*last) < HOUR_MS));
        for change in changes {
            let place = places.entry(change.at.clone()).or_default();
            place.principals.insert(change.principal.clone());
            // Several events that one look repaired are one repair.
            if place.repairs_ms.last() != Some(&now_ms) {
                place.repairs_ms.push(now_ms);
            }
        }
    }

    /// Whether the repair of this change has to wait, because its place was repaired too often within the last hour. If
    /// so, that is told with everybody who is at it.
    pub(crate) fn must_wait(
        &self,
        change: &ChangeByOthers,
        event_id: Option<&str>,
        now_ms: u64,
        lines: &mut Vec<LogEntry>,
        metrics: &mut Metrics,
    ) -> bool {
        let mut places = lock(&self.places);
        let Some(place) = places.get_mut(&change.at) else { return false };
        place.repairs_ms.retain(|at_ms| now_ms.saturating_sub(*at_ms) < HOUR_MS);
        let repairs = place.repairs_ms.len();
        if repairs <= REPAIRS_AN_HOUR {
            return false;
        }
        place.principals.insert(change.principal.clone());
        let who = place.principals.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let cause = format!(
            "repaired {repairs} times within an hour and changed again, so the next repair waits {} minutes. At it: {who}",
            SLOWER_SECONDS / 60
        );
        let next = "stop whoever undoes the repairs. Until then this is repaired every quarter of an hour: \
            docs/runbook.md, \"contested-repairs\"";
        metrics.add(Metric::ContestedRepairs, 1.0);
        lines.push(noticed(change, event_id, "slow-down", cause, next));
        true
    }

    /// Whether a repair of this place is put off already. If not, it is from now on.
    pub(crate) fn is_put_off(&self, at: &AccountRegion, now_ms: u64) -> bool {
        let mut places = lock(&self.places);
        let place = places.entry(at.clone()).or_default();
        let put_off = place.put_off_to_ms > now_ms;
        if !put_off {
            place.put_off_to_ms = now_ms.saturating_add(u64::from(SLOWER_SECONDS) * 1_000);
        }
        put_off
    }

    /// Takes back that a repair was put off.
    pub(crate) fn not_put_off(&self, at: &AccountRegion) {
        lock(&self.places).entry(at.clone()).or_default().put_off_to_ms = 0;
    }
}

fn noticed(change: &ChangeByOthers, event_id: Option<&str>, action: &str, cause: String, next: &str) -> LogEntry {
    let resource = if change.resource.is_empty() { &change.call } else { &change.resource };
    let line = LogEntry::at(&change.at, action, resource.clone(), Outcome::Noticed, cause).next(next);
    LogEntry { principal: Some(change.principal.clone()), event_id: event_id.map(str::to_owned), ..line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{T0, at, home};

    fn change(who: &str) -> ChangeByOthers {
        ChangeByOthers {
            at: at(1, home()),
            call: "DeleteFlowLogs".to_owned(),
            resource: "fl-1".to_owned(),
            principal: who.to_owned(),
            certain: true,
        }
    }

    #[test]
    fn an_event_is_told_once_with_who_did_it() {
        let (watch, mut lines, mut metrics) = (Watch::default(), Vec::new(), Metrics::default());
        watch.tell(&change("alice"), Some("e1"), T0, &mut lines, &mut metrics);
        watch.tell(&change("alice"), Some("e1"), T0 + HOUR_MS, &mut lines, &mut metrics);
        watch.tell(&change("alice"), Some("e2"), T0, &mut lines, &mut metrics);
        assert_eq!((lines.len(), metrics.total(Metric::ChangesByOthers)), (2, 2.0));
        let LogEntry { principal, event_id, outcome, resource, cause, .. } = &lines[0];
        assert_eq!((principal.as_deref(), event_id.as_deref()), (Some("alice"), Some("e1")));
        assert_eq!((*outcome, &**resource, &**cause), (Outcome::Noticed, "fl-1", "DeleteFlowLogs by alice"));
    }

    #[test]
    fn a_place_repaired_too_often_within_an_hour_waits_and_everybody_at_it_is_named() {
        let (watch, mut lines, mut metrics) = (Watch::default(), Vec::new(), Metrics::default());
        for minute in 0..=REPAIRS_AN_HOUR as u64 {
            let now = T0 + minute * 60_000;
            assert!(!watch.must_wait(&change("alice"), None, now, &mut lines, &mut metrics), "{minute}");
            watch.repaired(&[change("alice"), change("bob")], now);
        }
        let soon = T0 + 6 * 60_000;
        assert!(watch.must_wait(&change("carol"), Some("e"), soon, &mut lines, &mut metrics));
        assert!(lines[0].cause.ends_with("At it: alice, bob, carol"), "{}", lines[0].cause);
        assert_eq!(metrics.total(Metric::ContestedRepairs), 1.0);
        let elsewhere = ChangeByOthers { at: at(2, home()), ..change("alice") };
        assert!(!watch.must_wait(&elsewhere, None, soon, &mut lines, &mut metrics));
        assert!(!watch.must_wait(&change("carol"), None, T0 + HOUR_MS + 60_000, &mut lines, &mut metrics));
    }

    #[test]
    fn a_repair_is_put_off_once() {
        let watch = Watch::default();
        let place = at(1, home());
        assert_eq!(
            [T0, T0 + 1, T0 + 899_999, T0 + 900_000].map(|now| watch.is_put_off(&place, now)),
            [false, true, true, false]
        );
    }
}
