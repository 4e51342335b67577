//! The `backfill` queue: requests, schedules and continuations.

use enroller_core::error::inline_chain;
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::Metrics;

use super::{Backfill, BackfillCommand};
use crate::batch::{BatchReport, Pace, Record};

impl Backfill {
    /// Processes a batch of the `backfill` queue until `deadline_ms`, in epoch milliseconds, one run after the other.
    pub async fn batch(&self, records: &[Record], deadline_ms: u64) -> BatchReport {
        let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
        for record in records {
            let command = match BackfillCommand::read(&record.body, &record.id, &self.ctx.settings) {
                Ok(command) => command,
                Err(error) => {
                    let resource = record.id.clone();
                    let line = LogEntry::about(None, "read-request", resource, Outcome::Refused, inline_chain(&error));
                    report.refuse(record, line, &mut metrics);
                    continue;
                }
            };
            let Err(error) = self.run(&command, deadline_ms).await else { continue };
            let line = LogEntry::about(None, "backfill", command.run_id(), Outcome::Failed, inline_chain(&error));
            if error.is_refusal() {
                report.refuse(record, LogEntry { outcome: Outcome::Refused, ..line }, &mut metrics);
            } else {
                report.decisions.push(LogEntry { outcome: Outcome::RetryLater, ..line });
                report.defer(std::iter::once(record), Pace::Later);
            }
        }
        self.inbox.answer(records, deadline_ms, report, metrics).await
    }
}
