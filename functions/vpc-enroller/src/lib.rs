//! Reacts to VPC events and enrollment requests; changes member accounts, and nothing in the central one.

use enroller_engine::Engine;
use enroller_engine::ports::Outgoing;
use enroller_lambda::{Invocation, stop_at_ms};
use lambda_runtime::LambdaEvent;
use serde_json::Value;

/// Seconds until a single event that could not be finished comes back through the queue.
const SINGLE_RETRY_SECONDS: u32 = 30;

/// Handles one invocation: a batch of the `enrollments` queue, or one event or message by itself.
///
/// # Errors
///
/// A payload that is no invocation, or a single event that could be neither finished nor queued.
pub async fn handle(engine: &Engine, event: LambdaEvent<Value>) -> anyhow::Result<Value> {
    let queue = engine.settings.enrollments_queue_url.as_deref();
    let stop_ms = stop_at_ms(&event.context, engine.clock.now_ms());
    match Invocation::read(event.payload, queue)? {
        Invocation::Batch(records) => {
            let report = engine.enroll_batch(&records, stop_ms).await;
            Ok(Invocation::batch_response(&report)?)
        }
        Invocation::Single(record) => {
            let body = record.body.clone();
            let report = engine.enroll_batch(&[record], stop_ms).await;
            let unfinished = report.needs_another_try();
            if unfinished {
                let Some(queue) = queue else {
                    anyhow::bail!("not finished, and enrollments_queue_url is not set: {:?}", report.decisions);
                };
                let message = Outgoing { body, delay_seconds: SINGLE_RETRY_SECONDS, fifo: None };
                engine.aws.queues.send(queue, vec![message]).await?;
            }
            Ok(Invocation::single_response(&report, unfinished))
        }
    }
}
