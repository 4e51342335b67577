//! The `backfill` queue: requests, schedules and continuations.

use enroller_core::report::{Decision, Metrics, Outcome};

use super::{BatchReport, Record};
use crate::backfill::Order;
use crate::chain::chain;
use crate::engine::Engine;

impl Engine {
    /// Works through a batch of the `backfill` queue until `deadline_ms`, epoch milliseconds, one run after the other.
    pub async fn backfill_batch(&self, records: &[Record], deadline_ms: u64) -> BatchReport {
        let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
        for record in records {
            let order = match Order::read(&record.body, &record.id, &self.settings) {
                Ok(order) => order,
                Err(error) => {
                    let resource = record.id.clone();
                    let line = Decision::about(None, "read-request", resource, Outcome::Refused, chain(&error));
                    report.refuse(record, line, &mut metrics);
                    continue;
                }
            };
            let Err(error) = self.backfill(&order, deadline_ms).await else { continue };
            let line = Decision::about(None, "backfill", order.run_id(), Outcome::Failed, chain(&error));
            if error.is_refusal() {
                report.refuse(record, Decision { outcome: Outcome::Refused, ..line }, &mut metrics);
            } else {
                report.decisions.push(Decision { outcome: Outcome::RetryLater, ..line });
                report.defer(std::iter::once(record), false);
            }
        }
        self.hand_back(records, deadline_ms, &mut report, &mut metrics).await;
        self.tell(&report, &metrics);
        report
    }
}
