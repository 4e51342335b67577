//! Lambda's event source mapping: from queue to handler and back.

use enroller_sim::Sim;
use enroller_sim::sqs::QueueError;
use enroller_sim::sqs::ReceivedMessage;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};

/// Messages in one batch, the most that a FIFO queue allows.
pub(crate) const BATCH: usize = 10;

/// Timeout of a function in milliseconds.
const TIMEOUT_MS: u64 = 300_000;

/// The invocation that Lambda makes for a batch.
pub(crate) fn invocation(sim: &Sim, queue_arn: &str, messages: &[ReceivedMessage]) -> LambdaEvent<Value> {
    let records: Vec<Value> = messages
        .iter()
        .map(|message| {
            json!({
                "messageId": message.message_id,
                "receiptHandle": message.receipt_handle,
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": message.receive_count.to_string(),
                    "SentTimestamp": message.sent_ms.to_string(),
                    "ApproximateFirstReceiveTimestamp": message.first_received_ms.to_string(),
                    "SenderId": "AROAEXAMPLEROLEID001:sender"
                },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": queue_arn,
                "awsRegion": queue_arn.split(':').nth(3).unwrap_or_default()
            })
        })
        .collect();
    LambdaEvent::new(json!({ "Records": records }), context(sim))
}

/// The context of an invocation that begins now.
pub(crate) fn context(sim: &Sim) -> Context {
    let mut context = Context::default();
    context.request_id = sim.with(|world| world.ids.uuid());
    context.deadline = sim.now_ms() + TIMEOUT_MS;
    context
}

/// Deletes the messages that the function did not report as failed, as Lambda does with `ReportBatchItemFailures`.
pub(crate) fn settle(
    sim: &Sim,
    queue_url: &str,
    messages: &[ReceivedMessage],
    response: &Value,
) -> Result<(), QueueError> {
    let failures = response.get("batchItemFailures").and_then(Value::as_array);
    let failed = |id: &str| {
        failures.is_some_and(|failures| {
            failures.iter().any(|failure| failure.get("itemIdentifier").and_then(Value::as_str) == Some(id))
        })
    };
    for message in messages.iter().filter(|message| !failed(&message.message_id)) {
        sim.delete(queue_url, &message.receipt_handle)?;
    }
    Ok(())
}
