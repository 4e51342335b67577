use enroller_core::log::Outcome;
use enroller_core::message::{BackfillContinuation, GrantRequest, Message};
use enroller_core::metrics::Metric;
use serde_json::json;

use super::*;
use crate::batch::Record;
use crate::testing::{DEADLINE, ENROLLMENTS, GRANTS, at, events, record};

fn hidden(world: &World) -> Vec<u32> {
    world.queues.hidden().into_iter().map(|(_, seconds)| seconds).collect()
}

#[test]
fn null_a_schedule_and_a_bare_request_begin_a_run() {
    let world = World::with(&[]);
    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
    let chosen = json!({"accounts": [id(1)]});
    for (body, accounts) in [(json!(null), ids([])), (schedule, ids([])), (json!({}), ids([])), (chosen, ids([1]))] {
        let command = BackfillCommand::read(&body.to_string(), "m-1", &world.settings).unwrap();
        assert_eq!((command.run_id(), &command.request().accounts), ("m-1", &accounts), "{body}");
        assert!(matches!(command, BackfillCommand::Begin { .. }));
    }
}

#[test]
fn a_continuation_keeps_its_run() {
    let world = World::with(&[]);
    let request = BackfillRequest { accounts: ids([1]), ..BackfillRequest::default() };
    let continuation = BackfillContinuation { request, run_id: RUN.to_owned(), after: id(1) };
    let body = Message::Backfill(continuation.clone()).to_json();
    let command = BackfillCommand::read(&body, "m-1", &world.settings).unwrap();
    assert_eq!((command.run_id(), command.request()), (RUN, &continuation.request));
    assert_eq!(command, BackfillCommand::Continue(continuation));
}

#[test]
fn what_is_no_order_is_refused_for_its_own_reason() {
    let world = World::with(&[]);
    let read = |body: &str| BackfillCommand::read(body, "m-1", &world.settings).unwrap_err();
    assert!(matches!(read("{"), CommandError::NotJson(_)));
    let grant = Message::Grant(GrantRequest { account: id(1), reason: String::new() }).to_json();
    assert!(matches!(read(&grant), CommandError::Misplaced));
    assert!(matches!(read(r#"{"kind": "backfill-request", "version": 99}"#), CommandError::Message(_)));
    let event = events::vpc_created(&at(1, home()), 1).to_string();
    assert!(matches!(read(&event), CommandError::NoSchedule(source) if source == "aws.ec2"));
    assert!(matches!(read(r#"{"account": "111111110001"}"#), CommandError::Request(_)));
    assert!(matches!(read(r#"{"regions": ["eu-north-1"]}"#), CommandError::Request(_)));
}

#[tokio::test]
async fn orders_of_a_batch_are_run_one_after_the_other() {
    let world = World::granted(&[], [1, 2]);
    let records = [record("a", json!({"accounts": [id(1)]})), record("b", json!({"accounts": [id(2)]}))];
    let report = world.backfill().batch(&records, DEADLINE).await;
    assert!(report.failed.is_empty());
    let runs: Vec<_> = world.queues.sent_to(GRANTS).into_iter().map(|it| it.fifo.unwrap().1).collect();
    assert_eq!((runs, world.queues.messages(ENROLLMENTS).len()), (vec!["a".to_owned(), "b".to_owned()], 2));
}

#[tokio::test]
async fn a_bad_order_is_refused_at_once_and_stops_no_other() {
    let world = World::granted(&[], [1]);
    let records = [record("a", "{"), record("b", "null")];
    let report = world.backfill().batch(&records, DEADLINE).await;
    assert_eq!((report.failed.as_slice(), report.refused), (&["a".to_owned()][..], 1));
    assert_eq!((hidden(&world), world.queues.messages(ENROLLMENTS).len()), (vec![0], 1));
    assert_eq!(world.log.total(Metric::EventsRefused), 1);
}

#[tokio::test]
async fn a_run_that_fails_comes_back_later() {
    let world = World::granted(&[], [1]);
    world.journal.fail(LIST, 1, "TooManyRequestsException");
    let record = Record { receive_count: 2, ..record("a", "null") };
    let report = world.backfill().batch(&[record], DEADLINE).await;
    assert_eq!((report.failed.len(), report.refused, hidden(&world)), (1, 0, vec![60]));
    assert_eq!(report.decisions.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::RetryLater]);
}

#[tokio::test]
async fn a_continuation_about_a_region_no_longer_enrolled_is_refused() {
    let world = World::granted(&[], [1]);
    let request = in_region("eu-north-1".parse().unwrap());
    let body = Message::Backfill(BackfillContinuation { request, run_id: RUN.to_owned(), after: id(1) }).to_json();
    let report = world.backfill().batch(&[record("a", body)], DEADLINE).await;
    assert_eq!((report.refused, hidden(&world)), (1, vec![0]));
    assert_eq!(report.decisions.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Refused]);
    assert_eq!(world.journal.count(LIST), 0);
}
