//! The `backfill` queue: requests, schedules and continuations.

use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::Metrics;

use super::{BatchReport, Record};
use crate::backfill::BackfillCommand;
use crate::chain::chain;
use crate::engine::Engine;

impl Engine {
    /// Works through a batch of the `backfill` queue until `deadline_ms`, epoch milliseconds, one run after the other.
    pub async fn backfill_batch(&self, records: &[Record], deadline_ms: u64) -> BatchReport {
        let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
        for record in records {
            let order = match BackfillCommand::read(&record.body, &record.id, &self.settings) {
                Ok(order) => order,
                Err(error) => {
                    let resource = record.id.clone();
                    let line = LogEntry::about(None, "read-request", resource, Outcome::Refused, chain(&error));
                    report.refuse(record, line, &mut metrics);
                    continue;
                }
            };
            let Err(error) = self.backfill(&order, deadline_ms).await else { continue };
            let line = LogEntry::about(None, "backfill", order.run_id(), Outcome::Failed, chain(&error));
            if error.is_refusal() {
                report.refuse(record, LogEntry { outcome: Outcome::Refused, ..line }, &mut metrics);
            } else {
                report.decisions.push(LogEntry { outcome: Outcome::RetryLater, ..line });
                report.defer(std::iter::once(record), false);
            }
        }
        self.return_to_queue(records, deadline_ms, &mut report, &mut metrics).await;
        self.tell(&report, &metrics);
        report
    }
}
