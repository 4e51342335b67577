//! Handles account events and grant requests. The only writer of destinations and grants.

use std::sync::Arc;

use enroller_core::settings::{SettingsError, both};
use enroller_engine::Context;
use enroller_engine::granter::batch::GrantQueue;
use enroller_engine::granter::{DestinationWriter, GrantPlanner, Granter};
use enroller_engine::outbox::Outbox;
use enroller_engine::ports::Ports;
use enroller_lambda::Invocation;
use lambda_runtime::LambdaEvent;
use serde_json::Value;

/// The function's worker.
///
/// # Errors
///
/// The settings of the queues and of what destinations deliver to that are missing, by name.
pub fn worker(
    context: Context,
    ports: &Ports,
    writer: Arc<dyn DestinationWriter>,
) -> Result<GrantQueue, SettingsError> {
    let settings = &context.settings;
    let (parts, urls) = both(settings.destination_parts(), settings.queue_urls())?;
    let granter = Granter::new(GrantPlanner::new(context, ports, parts), writer);
    Ok(GrantQueue::new(granter, &ports.queues, Outbox::new(&ports.queues, urls)))
}

/// Handles one invocation: a batch of the `grants.fifo` queue, or one event or message by itself.
///
/// # Errors
///
/// A payload that is not an invocation, or a single event that could be neither finished nor queued.
pub async fn handle(worker: &GrantQueue, event: LambdaEvent<Value>) -> anyhow::Result<Value> {
    let context = worker.context();
    let request_id = event.context.request_id.clone();
    let stop_ms = enroller_lambda::stop_at_ms(&event.context, context.clock.now_ms());
    match Invocation::read(event.payload, context.settings.grants_queue_url.as_deref())? {
        Invocation::Batch(records) => {
            let (report, _) = worker.batch(&records, stop_ms).await;
            Ok(Invocation::batch_response(&report)?)
        }
        Invocation::Single(record) => {
            let body = record.body.clone();
            let (report, _) = worker.batch(&[record], stop_ms).await;
            let unfinished = report.needs_another_try();
            if unfinished {
                worker.outbox().grant(body, request_id).await?;
            }
            Ok(Invocation::single_response(&report, unfinished))
        }
    }
}
