use serde_json::{Value, json};

use crate::call::{ApiError, Service};
use crate::fixtures::{CENTRAL, MEMBER, REGION, call, organization, sqs};
use crate::sim::Sim;
use crate::sqs::queue::MAX_MESSAGE_BYTES;
use crate::sqs::{QueueError, QueueSettings, Redrive, handle};
use crate::world::World;

const URL: &str = "https://sqs.eu-west-1.amazonaws.com/444455556666/q";
const FIFO_URL: &str = "https://sqs.eu-west-1.amazonaws.com/444455556666/q.fifo";

fn world() -> World {
    let mut world = organization();
    sqs(&mut world, "CreateQueue", json!({"QueueName": "q"})).unwrap();
    let attributes = json!({"FifoQueue": "true", "ContentBasedDeduplication": "true"});
    sqs(&mut world, "CreateQueue", json!({"QueueName": "q.fifo", "Attributes": attributes})).unwrap();
    world
}

fn code(outcome: Result<Value, ApiError>) -> String {
    outcome.unwrap_err().code
}

fn send(world: &mut World, body: &str) -> Value {
    sqs(world, "SendMessage", json!({"QueueUrl": URL, "MessageBody": body})).unwrap()
}

fn receive(world: &mut World, url: &str) -> Vec<Value> {
    let input = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"]});
    let answer = sqs(world, "ReceiveMessage", input).unwrap();
    answer.get("Messages").and_then(Value::as_array).cloned().unwrap_or_default()
}

#[test]
fn a_message_is_sent_received_with_its_attributes_and_deleted() {
    let mut world = world();
    let sent = send(&mut world, "This is a test message");
    assert_eq!(sent["MD5OfMessageBody"], "fafb00f5732ab283681e124bf8747ed1");
    let message = receive(&mut world, URL).remove(0);
    assert_eq!((&message["Body"], &message["MessageId"]), (&json!("This is a test message"), &sent["MessageId"]));
    assert_eq!(message["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(message["Attributes"]["SentTimestamp"], world.now_ms().to_string());
    let delete = json!({"QueueUrl": URL, "ReceiptHandle": message["ReceiptHandle"]});
    assert_eq!(sqs(&mut world, "DeleteMessage", delete), Ok(json!({})));
    world.advance_clock(60_000);
    assert!(receive(&mut world, URL).is_empty());
}

#[test]
fn a_queue_is_found_by_the_path_of_its_url_whatever_the_endpoint() {
    let mut world = world();
    for url in ["http://127.0.0.1:4566/444455556666/q", URL, "http://sqs.eu-west-1.amazonaws.com/444455556666/q"] {
        let input = json!({"QueueUrl": url, "MessageBody": "x"});
        assert!(sqs(&mut world, "SendMessage", input).is_ok(), "{url}");
    }
    for url in ["https://sqs.us-east-1.amazonaws.com/444455556666/q", "https://x/444455556666/missing", "nonsense"] {
        let input = json!({"QueueUrl": url, "MessageBody": "x"});
        assert_eq!(code(sqs(&mut world, "SendMessage", input)), "QueueDoesNotExist", "{url}");
    }
    assert_eq!(sqs(&mut world, "GetQueueUrl", json!({"QueueName": "q"})), Ok(json!({"QueueUrl": URL})));
    assert_eq!(code(sqs(&mut world, "GetQueueUrl", json!({"QueueName": "p"}))), "QueueDoesNotExist");
}

#[test]
fn another_account_is_denied() {
    let mut world = world();
    let call = call(MEMBER, REGION, Service::Sqs, "SendMessage");
    let refused = handle(&mut world, &call, &json!({"QueueUrl": URL, "MessageBody": "x"})).unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (403, "AccessDenied"));
}

#[test]
fn messages_that_sqs_does_not_take_are_refused() {
    let mut world = world();
    let big = "x".repeat(MAX_MESSAGE_BYTES + 1);
    let fifo = json!({"QueueUrl": FIFO_URL, "MessageBody": "x", "MessageGroupId": "g", "DelaySeconds": 1});
    for (input, expected) in [
        (json!({"QueueUrl": URL}), "MissingParameter"),
        (json!({"QueueUrl": URL, "MessageBody": ""}), "InvalidParameterValue"),
        (json!({"QueueUrl": URL, "MessageBody": big}), "InvalidParameterValue"),
        (json!({"QueueUrl": URL, "MessageBody": "\u{1}"}), "InvalidMessageContents"),
        (json!({"QueueUrl": URL, "MessageBody": "x", "DelaySeconds": 901}), "InvalidParameterValue"),
        (json!({"QueueUrl": URL, "MessageBody": "x", "MessageDeduplicationId": "d"}), "InvalidParameterValue"),
        (json!({"QueueUrl": FIFO_URL, "MessageBody": "x"}), "MissingParameter"),
        (fifo, "InvalidParameterValue"),
        (json!({"QueueUrl": URL, "MessageBody": "x", "MessageAttributes": {}}), "UnknownParameter"),
    ] {
        let shown: String = input.to_string().chars().take(100).collect();
        assert_eq!(code(sqs(&mut world, "SendMessage", input)), expected, "{shown}");
    }
}

#[test]
fn a_fifo_queue_without_content_deduplication_wants_an_id() {
    let mut world = organization();
    let input = json!({"QueueName": "p.fifo", "Attributes": {"FifoQueue": "true"}});
    let url = sqs(&mut world, "CreateQueue", input).unwrap()["QueueUrl"].clone();
    let mut message = json!({"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g"});
    assert_eq!(code(sqs(&mut world, "SendMessage", message.clone())), "InvalidParameterValue");
    message["MessageDeduplicationId"] = json!("d");
    let first = sqs(&mut world, "SendMessage", message.clone()).unwrap();
    let second = sqs(&mut world, "SendMessage", message).unwrap();
    assert_eq!(first["MessageId"], second["MessageId"]);
    assert!(first["SequenceNumber"].is_string());
}

#[test]
fn a_batch_fails_entry_by_entry() {
    let mut world = world();
    let entries = json!([{"Id": "a", "MessageBody": "x"}, {"Id": "b", "MessageBody": "\u{1}"}]);
    let answer = sqs(&mut world, "SendMessageBatch", json!({"QueueUrl": URL, "Entries": entries})).unwrap();
    assert_eq!(answer["Successful"][0]["Id"], "a");
    assert_eq!((&answer["Failed"][0]["Id"], &answer["Failed"][0]["SenderFault"]), (&json!("b"), &json!(true)));
    let handle = receive(&mut world, URL)[0]["ReceiptHandle"].clone();
    let entries = json!([{"Id": "a", "ReceiptHandle": handle}, {"Id": "b", "ReceiptHandle": "nonsense"}]);
    let answer = sqs(&mut world, "DeleteMessageBatch", json!({"QueueUrl": URL, "Entries": entries})).unwrap();
    assert_eq!(
        (&answer["Successful"][0]["Id"], &answer["Failed"][0]["Code"]),
        (&json!("a"), &json!("ReceiptHandleIsInvalid"))
    );
}

#[test]
fn a_batch_that_is_wrong_as_a_whole_is_refused_as_a_whole() {
    let mut world = world();
    let many: Vec<Value> = (0..11).map(|id| json!({"Id": id.to_string(), "MessageBody": "x"})).collect();
    let half = "x".repeat(MAX_MESSAGE_BYTES / 2 + 1);
    for (entries, expected) in [
        (json!([]), "EmptyBatchRequest"),
        (json!(many), "TooManyEntriesInBatchRequest"),
        (json!([{"Id": "a", "MessageBody": "x"}, {"Id": "a", "MessageBody": "y"}]), "BatchEntryIdsNotDistinct"),
        (json!([{"Id": "a b", "MessageBody": "x"}]), "InvalidBatchEntryId"),
        (json!([{"Id": "a", "MessageBody": half}, {"Id": "b", "MessageBody": half}]), "BatchRequestTooLong"),
    ] {
        let outcome = sqs(&mut world, "SendMessageBatch", json!({"QueueUrl": URL, "Entries": entries}));
        assert_eq!(code(outcome), expected);
    }
    assert!(receive(&mut world, URL).is_empty());
}

#[test]
fn visibility_is_changed_within_twelve_hours_and_only_in_flight() {
    let mut world = world();
    send(&mut world, "x");
    let handle = receive(&mut world, URL)[0]["ReceiptHandle"].clone();
    let change = |world: &mut World, seconds: u64| {
        let input = json!({"QueueUrl": URL, "ReceiptHandle": handle, "VisibilityTimeout": seconds});
        sqs(world, "ChangeMessageVisibility", input)
    };
    assert_eq!(code(change(&mut world, 43_201)), "InvalidParameterValue");
    change(&mut world, 900).unwrap();
    world.advance_clock(899_999);
    assert!(receive(&mut world, URL).is_empty());
    world.advance_clock(1);
    assert_eq!(code(change(&mut world, 1)), "MessageNotInflight");
    assert_eq!(receive(&mut world, URL).len(), 1);
}

#[test]
fn queue_attributes_show_depth_and_redrive() {
    let mut world = world();
    let policy = json!({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:444455556666:q", "maxReceiveCount": "5"});
    let attributes = json!({"RedrivePolicy": policy.to_string(), "VisibilityTimeout": "90"});
    let url = sqs(&mut world, "CreateQueue", json!({"QueueName": "r", "Attributes": attributes})).unwrap()["QueueUrl"]
        .clone();
    sqs(&mut world, "SendMessage", json!({"QueueUrl": url, "MessageBody": "x"})).unwrap();
    let input = json!({"QueueUrl": url, "AttributeNames": ["All"]});
    let answer = sqs(&mut world, "GetQueueAttributes", input).unwrap();
    let attributes = &answer["Attributes"];
    assert_eq!(attributes["ApproximateNumberOfMessages"], "1");
    assert_eq!(attributes["VisibilityTimeout"], "90");
    assert_eq!(attributes["QueueArn"], "arn:aws:sqs:eu-west-1:444455556666:r");
    let redrive: Value = serde_json::from_str(attributes["RedrivePolicy"].as_str().unwrap()).unwrap();
    assert_eq!(redrive["maxReceiveCount"], 5);
    let unknown = json!({"QueueUrl": url, "AttributeNames": ["Colour"]});
    assert_eq!(code(sqs(&mut world, "GetQueueAttributes", unknown)), "InvalidAttributeName");
}

#[test]
fn queues_that_contradict_themselves_or_an_existing_one_are_not_made() {
    let mut world = world();
    let other = json!({"QueueName": "q", "Attributes": {"VisibilityTimeout": "1"}});
    assert_eq!(code(sqs(&mut world, "CreateQueue", other)), "QueueNameExists");
    assert!(sqs(&mut world, "CreateQueue", json!({"QueueName": "q"})).is_ok(), "same settings");
    for (name, attributes) in [
        ("a b", json!({})),
        ("", json!({})),
        (".fifo", json!({"FifoQueue": "true"})),
        ("a.fifo", json!({})),
        ("a", json!({"FifoQueue": "true"})),
        ("a", json!({"ContentBasedDeduplication": "true"})),
        ("a", json!({"VisibilityTimeout": "43201"})),
        ("a", json!({"DelaySeconds": "901"})),
        ("a", json!({"RedrivePolicy": "{\"deadLetterTargetArn\":\"x:missing\",\"maxReceiveCount\":1}"})),
        ("a", json!({"RedrivePolicy": "{\"deadLetterTargetArn\":\"x:q.fifo\",\"maxReceiveCount\":1}"})),
        ("a", json!({"RedrivePolicy": "{\"deadLetterTargetArn\":\"x:q\",\"maxReceiveCount\":0}"})),
    ] {
        let outcome = sqs(&mut world, "CreateQueue", json!({"QueueName": name, "Attributes": attributes}));
        assert_eq!(code(outcome), "InvalidParameterValue", "{name} {attributes}");
    }
    let unknown = json!({"QueueName": "a", "Attributes": {"KmsMasterKeyId": "x"}});
    assert_eq!(code(sqs(&mut world, "CreateQueue", unknown)), "InvalidAttributeName");
}

#[test]
fn a_driver_moves_a_poison_message_to_the_dead_letter_queue() {
    let sim = Sim::new(organization());
    let dead = sim.create_queue(CENTRAL, REGION, "dead", QueueSettings::default()).unwrap();
    let redrive = Some(Redrive { dead_letter_queue: "dead".to_owned(), max_receive_count: 2 });
    let settings = QueueSettings { redrive, ..QueueSettings::default() };
    let url = sim.create_queue(CENTRAL, REGION, "work", settings).unwrap();
    sim.with(|world| sqs(world, "SendMessage", json!({"QueueUrl": url, "MessageBody": "poison"}))).unwrap();
    for count in 1..=2 {
        let message = sim.receive(&url, 10).unwrap().remove(0);
        assert_eq!(message.receive_count, count);
        sim.make_visible_after(&url, &message.receipt_handle, 5_000).unwrap();
        assert_eq!(sim.earliest_visible_ms(&url), Ok(Some(sim.now_ms() + 5_000)));
        sim.advance(5_000);
    }
    assert!(sim.receive(&url, 10).unwrap().is_empty());
    assert_eq!(sim.queue_depth(&url).unwrap().total(), 0);
    assert_eq!(sim.bodies(&dead), Ok(vec!["poison".to_owned()]));
}

#[test]
fn a_missing_queue_and_an_invalid_handle_are_errors() {
    let sim = Sim::new(world());
    assert_eq!(sim.receive("http://x/1/y", 1), Err(QueueError::NoSuchQueue("http://x/1/y".to_owned())));
    assert_eq!(sim.delete(URL, "nonsense"), Err(QueueError::Handle("nonsense".to_owned())));
    assert_eq!(sim.make_visible_after(URL, "9/9", 1), Err(QueueError::Handle("9/9".to_owned())));
}
