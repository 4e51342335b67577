//! Batches of messages: what the functions do with what their queues hand them.
//!
//! # Guarantees
//!
//! - Every record gets an answer: done and ignored records leave the queue, the others are named in the partial-batch
//!   response and come back after a growing while. Refused ones come back at once, without any call to AWS but that,
//!   until the queue moves them to its dead-letter queue.
//! - Records about the same account are worked on once, together.
//! - Before the deadline, what is not done is handed back.

use std::collections::BTreeMap;
use std::sync::Arc;

use enroller_core::event::{Classified, Decoded, decode};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::{Metric, Metrics};
use futures::stream::{StreamExt, iter};

use crate::context::Context;
use crate::ports::{AwsResult, Queues};

/// One message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The message's id, which the partial-batch response names.
    pub id: String,
    /// Its body: an EventBridge event or one of our own messages.
    pub body: String,
    /// Where it came from and its receipt, to hide it for longer; absent for a bare event.
    pub source: Option<(String, String)>,
    /// How often it has been received, this time included.
    pub receive_count: u32,
}

/// What came of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchReport {
    /// Ids of the messages that must come back.
    pub failed: Vec<String>,
    /// How many of them were refused, so that no further try can help.
    pub refused: usize,
    /// One line for each decision.
    pub decisions: Vec<LogEntry>,
    /// Changes made in AWS.
    pub changes: usize,
    /// Ids of the failed messages, with the seconds until their next try.
    delays: BTreeMap<String, u32>,
}

impl BatchReport {
    /// Whether something is left that a later try may finish.
    pub fn needs_another_try(&self) -> bool {
        self.failed.len() > self.refused
    }

    /// Makes records come back after a while that grows with their receives.
    pub(crate) fn defer<'a>(&mut self, records: impl Iterator<Item = &'a Record>, soon: bool) {
        for record in records {
            self.fail(record, wait_seconds(record.receive_count, soon));
        }
    }

    /// A person should see what claims to be for us and is not right: it goes to the dead-letter queue, at once.
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

    /// Reports that a message was sent on to the other function's queue, or that it could not be.
    pub(crate) fn forwarded(&mut self, record: &Record, action: &str, sent: AwsResult<()>) {
        match sent {
            Ok(()) => {
                let cause = "the message is for the other function and was forwarded to its queue";
                self.decisions.push(LogEntry::about(None, "forward", record.id.clone(), Outcome::Done, cause));
            }
            Err(error) => {
                let line = LogEntry::about(error.account, action, record.id.clone(), Outcome::Failed, "");
                self.decisions.push(line.failed_with(&error));
                self.defer(std::iter::once(record), true);
            }
        }
    }

    fn fail(&mut self, record: &Record, seconds: u32) {
        self.failed.push(record.id.clone());
        self.delays.insert(record.id.clone(), seconds);
    }
}

/// Whose work a message is.
pub(crate) enum Route<M> {
    /// It was added to the function's own work.
    Here,
    /// It is the other function's, to be sent on.
    OtherQueue(M),
    /// It is neither's.
    Nowhere,
}

/// The longest a message is delays before its next try, in seconds.
pub const LONGEST_WAIT_SECONDS: u32 = 900;

/// Messages delays at the same time.
const CALLS_AT_ONCE: usize = 16;

/// Seconds until the next try of a message received `receive_count` times: 30, 60, 120, … up to 15 minutes; where
/// seconds may be enough, a third of it.
pub fn wait_seconds(receive_count: u32, soon: bool) -> u32 {
    let doublings = receive_count.saturating_sub(1).min(10);
    let seconds = 30_u32.saturating_mul(1 << doublings).min(LONGEST_WAIT_SECONDS);
    if soon { seconds / 3 } else { seconds }
}

/// The receiving end of a queue: decodes its messages and answers them.
pub struct Inbox {
    ctx: Context,
    queues: Arc<dyn Queues>,
}

impl Inbox {
    /// An inbox that changes visibility through these queues.
    pub fn new(ctx: Context, queues: &Arc<dyn Queues>) -> Self {
        Self { ctx, queues: Arc::clone(queues) }
    }

    /// Decodes a record; ignored and refused ones become a line, a count and nothing else.
    pub(crate) fn read(&self, record: &Record, report: &mut BatchReport, metrics: &mut Metrics) -> Option<Decoded> {
        let (outcome, subject, reason) = match decode(&record.body, &self.ctx.event_context()) {
            Classified::Act(decoded) => return Some(*decoded),
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

    /// Answers a batch: returns what is not done to the queue and logs everything.
    pub(crate) async fn answer(
        &self,
        records: &[Record],
        deadline_ms: u64,
        mut report: BatchReport,
        mut metrics: Metrics,
    ) -> BatchReport {
        self.return_to_queue(records, deadline_ms, &mut report, &mut metrics).await;
        for entry in &report.decisions {
            self.ctx.log.entry(entry);
        }
        self.ctx.log.metrics(&metrics);
        report
    }

    /// Hides the messages that must come back until their next try. Where that fails, or time is up, the queue's own
    /// visibility timeout brings them back.
    async fn return_to_queue(
        &self,
        records: &[Record],
        deadline_ms: u64,
        report: &mut BatchReport,
        metrics: &mut Metrics,
    ) {
        let count = report.failed.len().saturating_sub(report.refused);
        if count > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch has at most ten thousand messages")]
            metrics.add(Metric::MessagesDeferred, count as f64);
        }
        let deferred = records.iter().filter_map(|record| {
            let (queue, receipt) = record.source.as_ref()?;
            Some((record, queue, receipt, *report.delays.get(&record.id)?))
        });
        let calls = iter(deferred).map(|(record, queue, receipt, seconds)| async move {
            if self.ctx.clock.now_ms() >= deadline_ms {
                return None;
            }
            let error = self.queues.change_visibility(queue, receipt, seconds).await.err()?;
            let line = LogEntry::about(None, "defer-message", record.id.clone(), Outcome::Failed, "");
            Some(line.failed_with(&error))
        });
        let failures: Vec<LogEntry> =
            calls.buffer_unordered(CALLS_AT_ONCE).filter_map(std::future::ready).collect().await;
        report.decisions.extend(failures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_waits_longer_each_time_up_to_fifteen_minutes() {
        let waits: Vec<u32> = (1..=8).map(|count| wait_seconds(count, false)).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
        assert_eq!(wait_seconds(1, true), 10);
        assert_eq!(wait_seconds(0, false), 30);
        assert_eq!(wait_seconds(u32::MAX, false), 900);
    }
}
