//! Manual and scheduled: lists the organization and queues one enrollment request per account.

use enroller_engine::Engine;
use enroller_engine::backfill::BackfillRequest;
use lambda_runtime::LambdaEvent;
use serde_json::Value;

/// Handles one invocation: a schedule's event (everything), or a request; see [`BackfillRequest`].
///
/// # Errors
///
/// A request with unknown fields or bad values, which are named; AWS failing, in which case running it again is safe.
pub async fn handle(engine: &Engine, event: LambdaEvent<Value>) -> anyhow::Result<Value> {
    let scheduled = event.payload.get("source").is_some() && event.payload.get("detail-type").is_some();
    let request = if scheduled {
        BackfillRequest { reason: "scheduled sweep".to_owned(), ..BackfillRequest::default() }
    } else if event.payload.is_null() {
        // An invocation by hand without a payload means everything, too.
        BackfillRequest::default()
    } else {
        serde_json::from_value(event.payload)?
    };
    let report = engine.backfill(&request, &event.context.request_id).await?;
    Ok(serde_json::to_value(report)?)
}
