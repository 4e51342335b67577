//! Reacts to account events; the one and only writer of destinations and grants.

use enroller_engine::Engine;
use enroller_engine::batch::GRANTS_GROUP;
use enroller_engine::ports::Outgoing;
use enroller_lambda::Invocation;
use lambda_runtime::LambdaEvent;
use serde_json::Value;

/// Handles one invocation: a batch of the `grants.fifo` queue, or one event or message by itself.
///
/// # Errors
///
/// A payload that is no invocation, or a single event that could be neither finished nor queued.
pub async fn handle(engine: &Engine, event: LambdaEvent<Value>) -> anyhow::Result<Value> {
    let queue = engine.settings.grants_queue_url.as_deref();
    let request_id = event.context.request_id.clone();
    let stop_ms = enroller_lambda::stop_at_ms(&event.context, engine.clock.now_ms());
    match Invocation::read(event.payload, queue)? {
        Invocation::Batch(records) => {
            let (report, _) = engine.grant_batch(&records, stop_ms).await;
            Ok(Invocation::batch_response(&report)?)
        }
        Invocation::Single(record) => {
            let body = record.body.clone();
            let (report, _) = engine.grant_batch(&[record], stop_ms).await;
            let unfinished = report.needs_another_try();
            if unfinished {
                let Some(queue) = queue else {
                    anyhow::bail!("not finished, and grants_queue_url is not set: {:?}", report.decisions);
                };
                let fifo = Some((GRANTS_GROUP.to_owned(), request_id));
                engine.aws.queues.send(queue, vec![Outgoing { body, delay_seconds: 0, fifo }]).await?;
            }
            Ok(Invocation::single_response(&report, unfinished))
        }
    }
}
