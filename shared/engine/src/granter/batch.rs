//! The `grants.fifo` queue: events and requests about the organization's accounts.

use std::sync::Arc;

use enroller_core::event::{Decoded, Trigger};
use enroller_core::ids::AccountId;
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::EnrollmentRequest;
use enroller_core::metrics::{Metric, Metrics};

use super::{GrantReport, GrantSync, Granter};
use crate::batch::{BatchReport, Inbox, Record, Route};
use crate::context::Context;
use crate::outbox::Outbox;
use crate::ports::Queues;

/// Processes the messages of the `grants.fifo` queue.
pub struct GrantQueue {
    ctx: Context,
    granter: Granter,
    inbox: Inbox,
    outbox: Outbox,
}

impl GrantQueue {
    /// Creates the processor. The granter does the work and announces accounts through the outbox.
    pub fn new(granter: Granter, queues: &Arc<dyn Queues>, outbox: Outbox) -> Self {
        let ctx = granter.context().clone();
        let granter = granter.announcing(outbox.clone());
        Self { inbox: Inbox::new(ctx.clone(), queues), ctx, granter, outbox }
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
    /// everything behind the first failure anyway.
    pub async fn batch(&self, records: &[Record], deadline_ms: u64) -> (BatchReport, GrantReport) {
        let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
        let mut work = GrantSync::default();
        let mut part_of_work = Vec::new();
        for record in records {
            let Some(decoded) = self.inbox.read(record, &mut report, &mut metrics) else { continue };
            match add(&mut work, decoded) {
                Route::Here => part_of_work.push(record),
                Route::OtherQueue(request) => {
                    let sent = self.outbox.enroll([(*request, 0)]).await.map(drop);
                    report.forwarded(record, "request-enrollment", sent);
                }
                Route::Nowhere => report.refuse_unroutable(record, &mut metrics),
            }
        }
        let mut granted = GrantReport::default();
        if !part_of_work.is_empty() {
            granted = self.granter.sync_until(&work, Some(deadline_ms), &mut metrics).await;
            report.changes += granted.writes;
            report.decisions.append(&mut granted.decisions);
            let (again, done): (Vec<_>, Vec<_>) =
                part_of_work.into_iter().partition(|record| granted.needs_retry_after(record.receive_count));
            if let Some(receives) = done.iter().map(|record| record.receive_count).max() {
                give_up(&granted, receives, &mut report, &mut metrics);
            }
            report.defer(again.into_iter(), true);
        }
        (self.inbox.answer(records, deadline_ms, report, metrics).await, granted)
    }
}

/// Logs and counts what messages no longer come back for, although time might have cured it.
fn give_up(granted: &GrantReport, receives: u32, report: &mut BatchReport, metrics: &mut Metrics) {
    for error in granted.errors.iter().filter(|error| error.disposition().is_retryable()) {
        let line = error.entry("sync-grants", "grants");
        let cause = format!("given up after {receives} tries: {}", line.cause);
        report.decisions.push(LogEntry { outcome: Outcome::Failed, cause, ..line });
        metrics.add_with(Metric::GrantsFailed, vec![("Class", "terminal".to_owned())], 1.0);
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
                destinations: std::collections::BTreeMap::new(),
                reason: cause,
                run_id: None,
                requested_at_ms: decoded.occurred_at_ms,
            }));
        }
    }
    Route::Here
}
