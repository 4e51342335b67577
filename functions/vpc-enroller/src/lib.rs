//! Handles VPC events and enrollment requests. Changes member accounts, and nothing in the central one.

use enroller_core::settings::SettingsError;
use enroller_engine::Context;
use enroller_engine::enroller::Enroller;
use enroller_engine::enroller::batch::EnrollmentQueue;
use enroller_engine::outbox::Outbox;
use enroller_engine::ports::Ports;
use enroller_lambda::{Invocation, stop_at_ms};
use lambda_runtime::LambdaEvent;
use serde_json::Value;

/// Seconds until a single event that could not be finished is received from the queue.
const SINGLE_RETRY_SECONDS: u32 = 30;

/// The function's worker.
///
/// # Errors
///
/// The settings of the queues that are missing, by name.
pub fn worker(context: Context, ports: &Ports) -> Result<EnrollmentQueue, SettingsError> {
    let outbox = Outbox::new(&ports.queues, context.settings.queue_urls()?);
    Ok(EnrollmentQueue::new(Enroller::new(context, ports), &ports.queues, outbox))
}

/// Handles one invocation: a batch of the `enrollments` queue, or one event or message by itself.
///
/// # Errors
///
/// A payload that is not an invocation, or a single event that could be neither finished nor queued.
pub async fn handle(worker: &EnrollmentQueue, event: LambdaEvent<Value>) -> anyhow::Result<Value> {
    let context = worker.context();
    let stop_ms = stop_at_ms(&event.context, context.clock.now_ms());
    match Invocation::read(event.payload, context.settings.enrollments_queue_url.as_deref())? {
        Invocation::Batch(records) => {
            let report = worker.batch(&records, stop_ms).await;
            Ok(Invocation::batch_response(&report)?)
        }
        Invocation::Single(record) => {
            let body = record.body.clone();
            let report = worker.batch(&[record], stop_ms).await;
            let unfinished = report.needs_another_try();
            if unfinished {
                worker.outbox().enroll_again(body, SINGLE_RETRY_SECONDS).await?;
            }
            Ok(Invocation::single_response(&report, unfinished))
        }
    }
}
