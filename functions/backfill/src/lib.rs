//! Runs on a schedule or on demand. Lists the organization's accounts and queues one enrollment request for each.

use enroller_core::settings::{SettingsError, both};
use enroller_engine::Context;
use enroller_engine::backfill::{Backfill, BackfillCommand};
use enroller_engine::granter::GrantPlanner;
use enroller_engine::outbox::Outbox;
use enroller_engine::ports::Ports;
use enroller_lambda::{Invocation, stop_at_ms};
use lambda_runtime::LambdaEvent;
use serde_json::Value;

/// The function's worker.
///
/// # Errors
///
/// The settings of the queues, and of what destinations deliver to (the dry run plans the grants), that are missing, by
/// name.
pub fn worker(context: Context, ports: &Ports) -> Result<Backfill, SettingsError> {
    let settings = &context.settings;
    let queues = both(settings.queue_urls(), settings.continuation_queue_url());
    let (parts, (urls, continuations)) = both(settings.destination_parts(), queues)?;
    let planner = GrantPlanner::new(context, ports, parts);
    Ok(Backfill::new(planner, ports, Outbox::new(&ports.queues, urls), continuations))
}

/// Handles one invocation: a request, nothing or a schedule's event (everything), or a batch of the `backfill` queue,
/// on which runs go on. See [`BackfillRequest`](enroller_engine::backfill::BackfillRequest) and
/// [`BackfillReport`](enroller_engine::backfill::BackfillReport), the answer.
///
/// # Errors
///
/// A request that cannot be used, with everything that is wrong with it; AWS failing, in which case running it again
/// is safe.
pub async fn handle(worker: &Backfill, event: LambdaEvent<Value>) -> anyhow::Result<Value> {
    let context = worker.context();
    let stop_ms = stop_at_ms(&event.context, context.clock.now_ms());
    match Invocation::read(event.payload, context.settings.backfill_queue_url.as_deref())? {
        Invocation::Batch(records) => {
            let report = worker.batch(&records, stop_ms).await;
            Ok(Invocation::batch_response(&report)?)
        }
        Invocation::Single(record) => {
            // Lambda tries an asynchronous invocation again with the same request id, so that it stays the same run.
            let command = BackfillCommand::read(&record.body, &event.context.request_id, &context.settings)?;
            Ok(serde_json::to_value(worker.run(&command, stop_ms).await?)?)
        }
    }
}
