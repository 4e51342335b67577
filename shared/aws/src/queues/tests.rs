use enroller_core::error::Code;
use serde_json::json;

use super::*;
use crate::testing::{FakeAws, Request, json_error};

const QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/111122223333/enrollments";

fn messages(count: usize) -> Vec<Outgoing> {
    (0..count)
        .map(|number| Outgoing { body: format!("message {number}"), delay_seconds: 30, fifo: None, sender: None })
        .collect()
}

/// Accepts every entry except the one whose id is `1`.
fn all_but_one(request: &Request) -> (u16, String) {
    let entries = request.member("Entries");
    let (failed, sent): (Vec<_>, Vec<_>) =
        entries.as_array().unwrap().iter().map(|entry| entry["Id"].clone()).partition(|id| *id == "1");
    let sent: Vec<_> =
        sent.into_iter().map(|id| json!({ "Id": id, "MessageId": "m", "MD5OfMessageBody": "d" })).collect();
    let failed: Vec<_> =
        failed.into_iter().map(|id| json!({ "Id": id, "Code": "InternalError", "SenderFault": false })).collect();
    (200, json!({ "Successful": sent, "Failed": failed }).to_string())
}

#[tokio::test]
async fn messages_go_in_tens_and_what_failed_goes_again_alone() {
    let fake = FakeAws::answering(|request| match request.operation.as_str() {
        "SendMessageBatch" => all_but_one(request),
        _ => (200, json!({ "MessageId": "m", "MD5OfMessageBody": "d" }).to_string()),
    });
    assert_eq!(fake.ports().queues.send(QUEUE, messages(23)).await.unwrap(), 23);
    let sizes: Vec<usize> = fake
        .asked("SendMessageBatch")
        .iter()
        .map(|request| request.member("Entries").as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [10, 10, 3]);
    let again: Vec<_> = fake.asked("SendMessage").iter().map(|request| request.member("MessageBody")).collect();
    assert_eq!(again, ["message 1", "message 11", "message 21"]);
    let first = &fake.asked("SendMessageBatch")[0];
    assert_eq!(first.member("Entries")[0]["DelaySeconds"], 30);
    assert_eq!(first.region, "eu-west-1");
}

#[tokio::test]
async fn a_message_that_fails_twice_is_an_error() {
    let fake = FakeAws::answering(|request| match request.operation.as_str() {
        "SendMessageBatch" => all_but_one(request),
        _ => json_error("com.amazonaws.sqs#QueueDoesNotExist", "gone"),
    });
    let error = fake.ports().queues.send(QUEUE, messages(2)).await.unwrap_err();
    assert_eq!((error.operation, error.code), ("sqs:SendMessage", Code::QueueNotFound));
}

#[tokio::test]
async fn a_fifo_message_has_its_group_and_no_delay() {
    let fake = FakeAws::answering(|_| {
        (
            200,
            json!({ "Successful": [{ "Id": "0", "MessageId": "m", "MD5OfMessageBody": "d" }], "Failed": [] })
                .to_string(),
        )
    });
    let fifo = Some(("grants".to_owned(), "grant-1".to_owned()));
    let message = Outgoing { body: "b".to_owned(), delay_seconds: 30, fifo, sender: None };
    fake.ports().queues.send(&format!("{QUEUE}.fifo"), vec![message]).await.unwrap();
    let entry = &fake.asked("SendMessageBatch")[0].member("Entries")[0];
    assert_eq!((&entry["MessageGroupId"], &entry["MessageDeduplicationId"]), (&json!("grants"), &json!("grant-1")));
    assert!(entry["DelaySeconds"].is_null());
}

#[tokio::test]
async fn a_message_of_a_standard_queue_names_a_sender_of_many_and_keeps_its_delay() {
    let fake = FakeAws::answering(|_| (200, json!({ "Successful": [], "Failed": [] }).to_string()));
    let sender = Some("backfill");
    let message = Outgoing { body: "b".to_owned(), delay_seconds: 30, fifo: None, sender };
    fake.ports().queues.send(QUEUE, vec![message]).await.unwrap();
    let entry = &fake.asked("SendMessageBatch")[0].member("Entries")[0];
    let once = &fake.asked("SendMessage")[0];
    for (group, delay) in [
        (entry["MessageGroupId"].clone(), entry["DelaySeconds"].clone()),
        (once.member("MessageGroupId"), once.member("DelaySeconds")),
    ] {
        assert_eq!((group, delay), (json!("backfill"), json!(30)));
    }
    assert!(entry["MessageDeduplicationId"].is_null());
}

#[tokio::test]
async fn nothing_to_send_makes_no_call_and_hiding_says_for_how_long() {
    let fake = FakeAws::answering(|_| (200, "{}".to_owned()));
    let aws = fake.ports();
    assert_eq!(aws.queues.send(QUEUE, Vec::new()).await.unwrap(), 0);
    aws.queues.change_visibility(QUEUE, "receipt", 900).await.unwrap();
    assert!(fake.asked("SendMessageBatch").is_empty());
    assert_eq!(fake.asked("ChangeMessageVisibility")[0].member("VisibilityTimeout"), 900);
}
