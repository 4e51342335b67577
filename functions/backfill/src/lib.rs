//! Manual and scheduled: lists the organization and queues one enrollment request per account.

use enroller_engine::Engine;
use enroller_engine::backfill::BackfillCommand;
use enroller_lambda::{Invocation, stop_at_ms};
use lambda_runtime::LambdaEvent;
use serde_json::Value;

/// Handles one invocation: a request, nothing or a schedule's event (everything), or a batch of the `backfill` queue,
/// on which runs go on. See [`BackfillRequest`](enroller_engine::backfill::BackfillRequest) and
/// [`BackfillReport`](enroller_engine::backfill::BackfillReport), the answer.
///
/// # Errors
///
/// A request that cannot be used, with everything that is wrong with it; AWS failing, in which case running it again
/// is safe.
pub async fn handle(engine: &Engine, event: LambdaEvent<Value>) -> anyhow::Result<Value> {
    let stop_ms = stop_at_ms(&event.context, engine.clock.now_ms());
    match Invocation::read(event.payload, engine.settings.backfill_queue_url.as_deref())? {
        Invocation::Batch(records) => {
            let report = engine.backfill_batch(&records, stop_ms).await;
            Ok(Invocation::batch_response(&report)?)
        }
        Invocation::Single(record) => {
            // Lambda tries an asynchronous invocation again with the same request id, so that it stays the same run.
            let order = BackfillCommand::read(&record.body, &event.context.request_id, &engine.settings)?;
            Ok(serde_json::to_value(engine.backfill(&order, stop_ms).await?)?)
        }
    }
}
