//! The `grants.fifo` queue: events and requests about the organization's accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use enroller_core::error::Disposition;
use enroller_core::event::{Decoded, Trigger};
use enroller_core::ids::{AccountId, Region};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::{EnrollmentRequest, Message, SyncRequest};
use enroller_core::metrics::{Metric, Metrics};

use super::{GrantReport, GrantSync, Granter, GranterError};
use crate::batch::{BatchReport, Inbox, Pace, Record, Route};
use crate::context::Context;
use crate::outbox::Outbox;
use crate::ports::Queues;
use crate::watch::SLOWER_SECONDS;

/// How long no message comes back for a Region after messages were given up because of it, in milliseconds. Otherwise
/// each batch of joining accounts would wait for the same outage again. Every sync still tries the Region.
const GIVEN_UP_MS: u64 = 10 * 60_000;

/// The next step after several tries of what usually passes within seconds.
const AFTER_GIVING_UP: &str = "no action yet: accounts that wait for their grant ask for it again, and the next sweep \
    compares everything. If this persists, look for the service in this Region on the AWS Health Dashboard";

/// Processes the messages of the `grants.fifo` queue.
pub struct GrantQueue {
    ctx: Context,
    granter: Granter,
    inbox: Inbox,
    outbox: Outbox,
    /// The Regions whose failure messages no longer come back for, each with the time in epoch milliseconds.
    given_up: Mutex<BTreeMap<Region, u64>>,
}

impl GrantQueue {
    /// Creates the processor. The granter does the work and announces accounts through the outbox.
    pub fn new(granter: Granter, queues: &Arc<dyn Queues>, outbox: Outbox) -> Self {
        let ctx = granter.context().clone();
        let granter = granter.announcing(outbox.clone());
        Self { inbox: Inbox::new(ctx.clone(), queues), ctx, granter, outbox, given_up: Mutex::default() }
    }

    /// The context that it shares with the other workers.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// The granter that does the work.
    pub fn granter(&self) -> &Granter {
        &self.granter
    }

    /// The outbox that it sends messages through.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Processes a batch of the `grants.fifo` queue until `deadline_ms`, in epoch milliseconds.
    ///
    /// The batch is one sync, whatever its messages say, so it comes back as a whole. A FIFO queue would hold back
    /// everything behind the first failure anyway. For the failure of single Regions it does so a few times only.
    pub async fn batch(&self, records: &[Record], deadline_ms: u64) -> (BatchReport, GrantReport) {
        let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
        let mut work = GrantSync::default();
        let (mut part_of_work, mut changes) = (Vec::new(), Vec::new());
        for record in records {
            let Some(decoded) = self.inbox.read(record, &mut report, &mut metrics) else { continue };
            if self.is_put_off(record, &decoded, deadline_ms, &mut report, &mut metrics).await {
                continue;
            }
            changes.extend(decoded.change.clone());
            match add(&mut work, decoded) {
                Route::Here => part_of_work.push(record),
                Route::OtherQueue(request) => {
                    let sent = self.ctx.sent_by(deadline_ms, self.outbox.enroll([(*request, 0)])).await;
                    report.forwarded(record, "request-enrollment", sent.map(drop));
                }
                Route::Nowhere => report.refuse_unroutable(record, &mut metrics),
            }
        }
        let mut granted = GrantReport::default();
        if !part_of_work.is_empty() {
            granted = self.granter.sync_until(&work, Some(deadline_ms), &mut metrics).await;
            report.changes += granted.writes;
            if granted.writes > 0 {
                self.inbox.watch.repaired(&changes, self.ctx.clock.now_ms());
            }
            report.decisions.append(&mut granted.decisions);
            let known = self.given_up();
            let (again, done): (Vec<_>, Vec<_>) =
                part_of_work.into_iter().partition(|record| granted.needs_retry_after(record.receive_count, &known));
            if let Some(receives) = done.iter().map(|record| record.receive_count).max() {
                self.give_up(&granted, receives, &known, &mut report, &mut metrics);
            }
            report.defer(again.into_iter(), Pace::Soon);
        }
        (self.inbox.answer(records, deadline_ms, report, metrics).await, granted)
    }

    /// Whether the repair of a Region's destinations has to wait, because somebody undoes it again and again. A message
    /// that came back would hold up this FIFO queue. So one sync for all of them waits in the enroller's queue, from
    /// which it returns.
    async fn is_put_off(
        &self,
        record: &Record,
        decoded: &Decoded,
        deadline_ms: u64,
        report: &mut BatchReport,
        metrics: &mut Metrics,
    ) -> bool {
        let Some(change) = decoded.change.as_ref().filter(|_| matches!(decoded.trigger, Trigger::Sync { .. })) else {
            return false;
        };
        let (now_ms, event_id, watch) = (self.ctx.clock.now_ms(), decoded.event_id.as_deref(), &self.inbox.watch);
        if !watch.must_wait(change, event_id, now_ms, &mut report.decisions, metrics) {
            return false;
        }
        if watch.is_put_off(&change.at, now_ms) {
            return true;
        }
        let reason = format!("what others changed in {} again and again is repaired", change.at);
        let sync = SyncRequest { reason, run_id: None, allow_mass_revocation: false };
        let sending = self.outbox.enroll_again(Message::Sync(sync).to_json(), SLOWER_SECONDS);
        if let Err(error) = self.ctx.sent_by(deadline_ms, sending).await {
            watch.not_put_off(&change.at);
            let line = LogEntry::about(error.account, "request-sync", record.id.clone(), Outcome::Failed, "");
            report.decisions.push(line.failed_with(&error));
            // Better repaired too often than not at all.
            return false;
        }
        true
    }

    /// The Regions that were given up recently.
    fn given_up(&self) -> BTreeSet<Region> {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.retain(|_, at_ms| self.ctx.clock.now_ms().saturating_sub(*at_ms) < GIVEN_UP_MS);
        given_up.keys().cloned().collect()
    }

    /// Logs and counts what messages no longer come back for, although time might have cured it. Of the Regions in
    /// `known` that was told before.
    fn give_up(
        &self,
        granted: &GrantReport,
        receives: u32,
        known: &BTreeSet<Region>,
        report: &mut BatchReport,
        metrics: &mut Metrics,
    ) {
        let told = |error: &GranterError| error.region().is_some_and(|region| known.contains(region));
        for error in granted.errors.iter().filter(|error| error.disposition().is_retryable() && !told(error)) {
            let line = error.entry("sync-grants", "grants");
            let cause = format!("given up after {receives} tries: {}", line.cause);
            let line = LogEntry { outcome: Outcome::Failed, cause, ..line };
            report.decisions.push(match error.disposition() {
                Disposition::RetrySoon => line.next(AFTER_GIVING_UP),
                _ => line,
            });
            metrics.add_with(Metric::GrantsFailed, vec![("Class", "terminal".to_owned())], 1.0);
            if let Some(region) = error.region() {
                let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
                given_up.insert(region.clone(), self.ctx.clock.now_ms());
            }
        }
    }
}

/// Adds a message to the sync, or returns the request to forward to the enroller.
fn add(work: &mut GrantSync, decoded: Decoded) -> Route<Box<EnrollmentRequest>> {
    let mut add_reason = |cause: &str| {
        if !work.reason.is_empty() {
            work.reason.push_str("; ");
        }
        work.reason.push_str(cause);
    };
    match decoded.trigger {
        Trigger::Grant { account, requested, cause } => {
            add_reason(&cause);
            if requested {
                work.requested.insert(account)
            } else {
                work.joined.insert(account)
            };
        }
        Trigger::Revoke { account, cause } => {
            add_reason(&cause);
            work.departed.insert(account);
        }
        Trigger::Sync { cause, resource, allow_mass_revocation, .. } => {
            add_reason(&cause);
            // An event that names an account (MoveAccount, for example) is answered by asking about that account.
            match resource.as_deref().map(str::parse::<AccountId>) {
                Some(Ok(account)) => drop(work.moved.insert(account)),
                Some(Err(_)) | None => work.sync = true,
            }
            work.allow_mass_revocation |= allow_mass_revocation;
        }
        Trigger::Request(request) => return Route::OtherQueue(Box::new(request)),
        Trigger::Backfill(_) => return Route::Nowhere,
        Trigger::Enroll { account, region, cause, .. } | Trigger::Repair { account, region, cause, .. } => {
            return Route::OtherQueue(Box::new(EnrollmentRequest {
                account,
                regions: vec![region],
                destinations: BTreeMap::new(),
                reason: cause,
                run_id: None,
                requested_at_ms: decoded.occurred_at_ms,
                waited_for: BTreeSet::new(),
            }));
        }
    }
    Route::Here
}
