//! The `grants.fifo` queue: events and requests about accounts.

use enroller_core::event::{Decoded, Trigger};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::{EnrollmentRequest, Message};
use enroller_core::metrics::Metrics;

use super::enrollments::answer_sent;
use super::{BatchReport, Record, Route};

use crate::engine::Engine;
use crate::onboard::{GrantReport, GrantSync};
use crate::ports::Outgoing;

impl Engine {
    /// Works through a batch of the `grants.fifo` queue until `deadline_ms`, epoch milliseconds.
    ///
    /// The batch is one piece of work, whatever its messages say, so it comes back as a whole: a FIFO queue would
    /// hold back everything behind the first failure anyway.
    pub async fn grant_batch(&self, records: &[Record], deadline_ms: u64) -> (BatchReport, GrantReport) {
        let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
        let mut work = GrantSync::default();
        let mut part_of_work = Vec::new();
        for record in records {
            let Some(decoded) = self.read(record, &mut report, &mut metrics) else { continue };
            let asked = asks(&record.body);
            match add(&mut work, decoded, asked) {
                Route::Here => part_of_work.push(record),
                Route::OtherQueue(request) => {
                    let sent = self.forward(*request).await;
                    answer_sent(record, sent, &mut report);
                }
                Route::Nowhere => report.refuse_unroutable(record, &mut metrics),
            }
        }
        let mut granted = GrantReport::default();
        if !part_of_work.is_empty() {
            let synced = self.within(deadline_ms, self.sync_grants(&work, &mut metrics)).await;
            let in_time = synced.is_some();
            granted = synced.unwrap_or_default();
            report.changes += granted.writes;
            report.decisions.append(&mut granted.decisions);
            if !in_time {
                let cause = "time ran out; the batch is handed back";
                report.decisions.push(LogEntry::about(None, "sync-grants", "grants", Outcome::RetryLater, cause));
            }
            if granted.needs_retry() || !in_time {
                report.defer(part_of_work.into_iter(), true);
            }
        }
        self.return_to_queue(records, deadline_ms, &mut report, &mut metrics).await;
        self.tell(&report, &metrics);
        (report, granted)
    }

    /// Sends a request to the enroller's queue.
    async fn forward(&self, request: EnrollmentRequest) -> Result<(), Box<LogEntry>> {
        let line = LogEntry::about(
            Some(request.account),
            "request-enrollment",
            "enrollments queue",
            Outcome::Failed,
            "enrollments_queue_url is not set",
        );
        let Some(queue) = &self.settings.enrollments_queue_url else {
            return Err(Box::new(line.next("set enrollments_queue_url")));
        };
        let body = Message::Enrollment(request).to_json();
        match self.aws.queues.send(queue, vec![Outgoing { body, delay_seconds: 0, fifo: None }]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Box::new(line.failed_with(&error))),
        }
    }
}

/// Whether a body is the enroller's question for a grant, whose asker comes back by itself.
fn asks(body: &str) -> bool {
    let value = serde_json::from_str(body);
    matches!(value.map(|value| Message::from_value(&value)), Ok(Ok(Message::Grant(_))))
}

/// Adds what a message says to the work, or gives back what is the enroller's to do.
fn add(work: &mut GrantSync, decoded: Decoded, asked: bool) -> Route<Box<EnrollmentRequest>> {
    let mut because = |cause: &str| {
        if !work.reason.is_empty() {
            work.reason.push_str("; ");
        }
        work.reason.push_str(cause);
    };
    match decoded.trigger {
        Trigger::Grant { account, cause } => {
            because(&cause);
            if asked {
                work.requested.insert(account)
            } else {
                work.joined.insert(account)
            };
        }
        Trigger::Revoke { account, cause } => {
            because(&cause);
            work.departed.insert(account);
        }
        Trigger::Sync { cause, allow_mass_revocation, .. } => {
            because(&cause);
            work.sync = true;
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
