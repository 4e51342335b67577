//! Batches of queue messages: reading the records and answering each of them.
//!
//! # Guarantees
//!
//! - Every record gets an answer. Done and ignored records leave the queue. The others are listed in the partial-batch
//!   response and come back after a delay that grows with each receive. Refused records come back at once, with no AWS
//!   call except the visibility change, until the queue moves them to its dead-letter queue.
//! - Records about the same account are processed once, together.
//! - What was decided is logged and counted before anything else is tried, so that an invocation which is killed
//!   hides as little as possible.
//! - Unfinished work is returned to the queue as soon as its own outcome is known, even if the time for work is up.

use std::collections::BTreeMap;
use std::sync::Arc;

use enroller_core::error::{Disposition, Wait};
use enroller_core::event::{Classified, Decoded, decode};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::{Metric, Metrics};
use futures::stream::{StreamExt, iter};

use crate::context::Context;
use crate::ports::{AwsResult, Queues};
use crate::watch::Watch;

/// One message of a batch, as Lambda delivers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The message id, which the partial-batch response lists if the message must come back.
    pub id: String,
    /// Its body: an EventBridge event or a message of the product.
    pub body: String,
    /// URL of its queue and its receipt handle, to change its visibility. Absent for a direct invocation.
    pub source: Option<(String, String)>,
    /// How often it has been received, including this time.
    pub receive_count: u32,
}

/// The result of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Ids of the messages that must come back.
    pub failed: Vec<String>,
    /// How many of them were refused, because no retry can help.
    pub refused: usize,
    /// One log entry for each decision.
    pub decisions: Vec<LogEntry>,
    /// Changes made in AWS.
    pub changes: usize,
    /// Seconds until the next try, by id of the failed message.
    delays: BTreeMap<String, u32>,
}

impl BatchReport {
    /// Whether a later try may finish some of the failed messages.
    pub fn needs_another_try(&self) -> bool {
        self.failed.len() > self.refused
    }

    /// Makes records come back at a pace.
    pub(crate) fn defer<'a>(&mut self, records: impl Iterator<Item = &'a Record>, pace: Pace) {
        for record in records {
            self.fail(record, pace.wait_seconds(record.receive_count));
        }
    }

    /// Makes a record come back after this many seconds, because what it repairs is undone again and again.
    pub(crate) fn slow_down(&mut self, record: &Record, seconds: u32) {
        self.fail(record, seconds);
    }

    /// Refuses a record that claims to be for this product but is invalid. It goes to the dead-letter queue without
    /// delay, where a person sees it.
    pub(crate) fn refuse(&mut self, record: &Record, line: LogEntry, metrics: &mut Metrics) {
        metrics.add(Metric::EventsRefused, 1.0);
        self.refused += 1;
        self.fail(record, 0);
        self.decisions.push(line);
    }

    pub(crate) fn refuse_unroutable(&mut self, record: &Record, metrics: &mut Metrics) {
        let cause = "a backfill-request belongs on the backfill queue, but this is another queue";
        let line = LogEntry::about(None, "read-event", record.id.clone(), Outcome::Refused, cause);
        self.refuse(record, line.next("send it to the queue in backfill_queue_url"), metrics);
    }

    /// Logs that a message was forwarded to the other function's queue, or that forwarding failed and is tried again.
    pub(crate) fn forwarded(&mut self, record: &Record, action: &str, sent: AwsResult<()>) {
        match sent {
            Ok(()) => {
                let cause = "the message is for the other function and was forwarded to its queue";
                self.decisions.push(LogEntry::about(None, "forward", record.id.clone(), Outcome::Done, cause));
            }
            Err(error) => {
                let line = LogEntry::about(error.account, action, record.id.clone(), Outcome::Failed, "");
                self.decisions.push(line.failed_with(&error));
                self.defer(std::iter::once(record), Pace::Soon);
            }
        }
    }

    /// Adds the result of another part of the same batch.
    pub(crate) fn merge(&mut self, part: Self) {
        self.failed.extend(part.failed);
        self.refused += part.refused;
        self.decisions.extend(part.decisions);
        self.changes += part.changes;
        self.delays.extend(part.delays);
    }

    fn fail(&mut self, record: &Record, seconds: u32) {
        self.failed.push(record.id.clone());
        self.delays.insert(record.id.clone(), seconds);
    }
}

/// Which function a message is for.
pub(crate) enum Route<M> {
    /// This function: the message was added to its work.
    Here,
    /// The other function: the message must be forwarded to its queue.
    OtherQueue(M),
    /// Neither of the two.
    Nowhere,
}

/// The longest delay before the next try of a message, in seconds.
pub const LONGEST_WAIT_SECONDS: u32 = 900;

/// How long answering a batch may take after the time for its work is up, in milliseconds. Whoever sets the deadline of
/// the work leaves at least this much time after it.
pub const ANSWER_MS: u64 = 8_000;

/// Visibility changes made at the same time.
const CALLS_AT_ONCE: usize = 16;

/// How long a message waits that comes back because a flow log has not delivered yet. AWS says that this takes 10
/// minutes or more, so nothing can have happened before.
const SUCCESSOR_WAIT_SECONDS: u32 = 600;

/// How soon a message is tried again. Where several things are waited for, the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pace {
    /// Always after ten minutes: everything is done but the deletion of a flow log whose successor has to deliver first.
    Successor,
    /// After 10, 20, 40, … seconds: the cause may pass within seconds.
    Soon,
    /// After 30, 60, 120, … seconds.
    Later,
}

impl Pace {
    /// The pace for what has to be waited for.
    pub(crate) const fn of(disposition: Disposition) -> Self {
        match disposition {
            Disposition::RetryLater(Wait::Successor) => Self::Successor,
            Disposition::RetrySoon => Self::Soon,
            Disposition::RetryLater(_)
            | Disposition::AlreadyThere
            | Disposition::Absent
            | Disposition::Skip(_)
            | Disposition::Terminal(_) => Self::Later,
        }
    }

    /// Seconds until the next try of a message that was received `receive_count` times, at most 15 minutes.
    pub(crate) fn wait_seconds(self, receive_count: u32) -> u32 {
        let doublings = receive_count.saturating_sub(1).min(10);
        let seconds = 30_u32.saturating_mul(1 << doublings).min(LONGEST_WAIT_SECONDS);
        match self {
            Self::Successor => SUCCESSOR_WAIT_SECONDS,
            Self::Soon => seconds / 3,
            Self::Later => seconds,
        }
    }
}

/// The receiving end of a queue: decodes its messages and answers them.
pub struct Inbox {
    ctx: Context,
    queues: Arc<dyn Queues>,
    /// What others changed, as far as this container knows.
    pub(crate) watch: Watch,
}

impl Inbox {
    /// An inbox that changes visibility through these queues.
    pub fn new(ctx: Context, queues: &Arc<dyn Queues>) -> Self {
        Self { ctx, queues: Arc::clone(queues), watch: Watch::default() }
    }

    /// Decodes a record. Returns `None` for ignored and refused records, which are only logged and counted.
    pub(crate) fn read(&self, record: &Record, report: &mut BatchReport, metrics: &mut Metrics) -> Option<Decoded> {
        let (outcome, subject, reason) = match decode(&record.body, &self.ctx.event_context()) {
            Classified::Act(decoded) => {
                self.watch.tell_certain(&decoded, self.ctx.clock.now_ms(), &mut report.decisions, metrics);
                return Some(*decoded);
            }
            Classified::Ignore(it) => (Outcome::Ignored, it.subject, it.reason),
            Classified::Refuse(it) => (Outcome::Refused, it.subject, it.reason),
        };
        let resource = subject.resource.unwrap_or_else(|| record.id.clone());
        let line = LogEntry::about(subject.account, "read-event", resource, outcome, reason);
        let line = LogEntry { region: subject.region, ..line };
        if outcome == Outcome::Refused {
            report.refuse(record, line, metrics);
        } else {
            metrics.add(Metric::EventsIgnored, 1.0);
            report.decisions.push(line);
        }
        None
    }

    /// Answers a batch, or a part of one: writes the log entries and metrics, then returns unfinished records to the
    /// queue. The time for work ends at `deadline_ms`, and the answer may take [`ANSWER_MS`] longer.
    pub(crate) async fn answer(
        &self,
        records: &[Record],
        deadline_ms: u64,
        mut report: BatchReport,
        mut metrics: Metrics,
    ) -> BatchReport {
        let count = report.failed.len().saturating_sub(report.refused);
        if count > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch has at most ten thousand messages")]
            metrics.add(Metric::MessagesDeferred, count as f64);
        }
        for entry in &report.decisions {
            self.ctx.log.entry(entry);
        }
        self.ctx.log.metrics(&metrics);
        let failures = self.return_to_queue(records, deadline_ms.saturating_add(ANSWER_MS), &report.delays).await;
        for entry in &failures {
            self.ctx.log.entry(entry);
        }
        report.decisions.extend(failures);
        report
    }

    /// Changes the visibility of the messages that must come back, so that each reappears at its next try. If that
    /// fails, or is not done by `answer_by_ms`, the queue's own visibility timeout brings the message back, which is
    /// logged.
    async fn return_to_queue(
        &self,
        records: &[Record],
        answer_by_ms: u64,
        delays: &BTreeMap<String, u32>,
    ) -> Vec<LogEntry> {
        let deferred = records.iter().filter_map(|record| {
            let (queue, receipt) = record.source.as_ref()?;
            Some((record, queue, receipt, *delays.get(&record.id)?))
        });
        let calls = iter(deferred).map(|(record, queue, receipt, seconds)| async move {
            let line = LogEntry::about(None, "defer-message", record.id.clone(), Outcome::Failed, "");
            match self.ctx.within(answer_by_ms, self.queues.change_visibility(queue, receipt, seconds)).await {
                Some(Ok(())) => None,
                Some(Err(error)) => Some(line.failed_with(&error)),
                None => Some(LogEntry {
                    outcome: Outcome::RetryLater,
                    cause: "time ran out before the queue was asked to hide the message for less time".to_owned(),
                    ..line.next("no action needed: it comes back after the queue's own visibility timeout")
                }),
            }
        });
        calls.buffer_unordered(CALLS_AT_ONCE).filter_map(std::future::ready).collect().await
    }
}

#[cfg(test)]
mod tests;
