//! What a function is invoked with: an SQS batch, or a single event or message.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use enroller_core::log::LogEntry;
use enroller_engine::batch::{BatchReport, Record};
use serde_json::{Value, json};

/// A payload, as a batch or as a single body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// A batch from a queue. The response says which messages return to it.
    Batch(Vec<Record>),
    /// A single EventBridge event or message of the product, sent by a rule or by an operator.
    Single(Record),
}

/// A payload with SQS records that is not a valid SQS event.
#[derive(Debug, thiserror::Error)]
#[error("the payload is not a valid SQS event")]
pub struct InvocationError(#[source] serde_json::Error);

impl Invocation {
    /// Reads a payload. `queue_url` is the function's queue, needed to change the visibility of its messages.
    ///
    /// # Errors
    ///
    /// The payload has SQS records that lack what Lambda always sends.
    pub fn read(payload: Value, queue_url: Option<&str>) -> Result<Self, InvocationError> {
        let from_sqs = |record: &Value| record.get("eventSource").and_then(Value::as_str) == Some("aws:sqs");
        let is_batch =
            payload.get("Records").and_then(Value::as_array).is_some_and(|records| records.iter().all(from_sqs));
        if !is_batch {
            let id = payload.get("id").and_then(Value::as_str).unwrap_or("invocation").to_owned();
            return Ok(Self::Single(Record { id, body: payload.to_string(), source: None, receive_count: 1 }));
        }
        let event: SqsEvent = serde_json::from_value(payload).map_err(InvocationError)?;
        let records = event.records.into_iter().map(|message| {
            let count = message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok());
            let receipt = message.receipt_handle;
            Record {
                id: message.message_id.unwrap_or_default(),
                // An absent body is refused like every other body that is not JSON.
                body: message.body.unwrap_or_default(),
                source: queue_url.map(str::to_owned).zip(receipt),
                receive_count: count.unwrap_or(1),
            }
        });
        Ok(Self::Batch(records.collect()))
    }

    /// The partial batch response: which messages return to the queue.
    ///
    /// # Errors
    ///
    /// Serialization fails, which never happens for a list of ids.
    pub fn batch_response(report: &BatchReport) -> serde_json::Result<Value> {
        let mut response = SqsBatchResponse::default();
        for id in &report.failed {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier.clone_from(id);
            response.batch_item_failures.push(failure);
        }
        serde_json::to_value(response)
    }

    /// The response to a single event, for the operator who sent it.
    pub fn single_response(report: &BatchReport, queued_again: bool) -> Value {
        let decisions: Vec<&LogEntry> = report.decisions.iter().collect();
        json!({ "changes": report.changes, "queued_again": queued_again, "decisions": decisions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, body: Option<&str>) -> Value {
        json!({
            "messageId": id, "receiptHandle": format!("receipt-{id}"), "body": body, "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:111122223333:enrollments", "awsRegion": "eu-west-1",
            "attributes": { "ApproximateReceiveCount": "3" }, "messageAttributes": {}
        })
    }

    #[test]
    fn a_batch_keeps_ids_receipts_and_receive_counts() {
        let payload = json!({ "Records": [message("m-1", Some("{}")), message("m-2", None)] });
        let Invocation::Batch(records) = Invocation::read(payload, Some("https://queue")).unwrap() else {
            panic!("not read as a batch")
        };
        assert_eq!(records[0].id, "m-1");
        assert_eq!(records[0].receive_count, 3);
        assert_eq!(records[0].source, Some(("https://queue".into(), "receipt-m-1".into())));
        assert_eq!(records[1].body, "");
    }

    #[test]
    fn anything_else_is_one_event() {
        let payload = json!({ "id": "e-1", "source": "aws.ec2", "detail": { "Records": [] } });
        let Invocation::Single(record) = Invocation::read(payload.clone(), None).unwrap() else {
            panic!("not read as a single event")
        };
        assert_eq!(record.id, "e-1");
        assert_eq!(serde_json::from_str::<Value>(&record.body).unwrap(), payload);
    }

    #[test]
    fn the_response_names_the_messages_that_return_to_the_queue() {
        let mut report = BatchReport::default();
        report.failed.push("m-2".to_owned());
        let response = Invocation::batch_response(&report).unwrap();
        assert_eq!(response, json!({ "batchItemFailures": [{ "itemIdentifier": "m-2" }] }));
    }
}
