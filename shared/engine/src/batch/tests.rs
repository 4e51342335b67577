use std::sync::Arc;

use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::{Metric, Metrics};

use super::*;
use crate::testing::{DEADLINE, T0, World, at, events, home, record};

fn received(name: &str, receive_count: u32) -> Record {
    Record { receive_count, ..record(name, "") }
}

fn inbox(world: &World) -> Inbox {
    Inbox::new(world.context(), &(Arc::clone(&world.queues) as Arc<dyn crate::ports::Queues>))
}

fn line() -> LogEntry {
    LogEntry::about(None, "read-event", "message", Outcome::Refused, "cause")
}

#[test]
fn a_message_waits_longer_each_time_up_to_fifteen_minutes() {
    let waits: Vec<u32> = (1..=8).map(|count| Pace::Later.wait_seconds(count)).collect();
    assert_eq!(waits, [30, 60, 120, 240, 480, 900, 900, 900]);
    assert_eq!(Pace::Soon.wait_seconds(1), 10);
    assert_eq!(Pace::Later.wait_seconds(0), 30);
    assert_eq!(Pace::Later.wait_seconds(u32::MAX), 900);
}

#[test]
fn what_has_not_delivered_yet_is_waited_for_at_once_and_slows_nothing_else_down() {
    let [successor, soon, later] =
        [Disposition::RetryLater(Wait::Successor), Disposition::RetrySoon, Disposition::RetryLater(Wait::Account)]
            .map(Pace::of);
    assert_eq!([1, 5, 11].map(|count| successor.wait_seconds(count)), [600; 3]);
    assert_eq!([successor.max(soon), successor.max(later), soon.max(later)], [soon, later, later]);
}

#[tokio::test]
async fn each_deferred_message_is_hidden_by_its_own_receives() {
    let world = World::with(&[]);
    let records = [received("a", 1), received("b", 3), received("c", 1)];
    let mut report = BatchReport::default();
    report.defer(records[..2].iter(), Pace::Later);
    report.defer(records[2..].iter(), Pace::Soon);
    let report = inbox(&world).answer(&records, DEADLINE, report, Metrics::default()).await;
    assert_eq!(report.failed, ["a", "b", "c"]);
    assert!(report.needs_another_try());
    let hidden = [("receipt of a", 30), ("receipt of b", 120), ("receipt of c", 10)];
    assert_eq!(world.queues.hidden(), hidden.map(|(receipt, seconds)| (receipt.to_owned(), seconds)));
    assert_eq!(world.log.total(Metric::MessagesDeferred), 3);
}

#[tokio::test]
async fn a_refused_message_comes_back_at_once_and_is_counted() {
    let world = World::with(&[]);
    let records = [received("a", 1), received("b", 5)];
    let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
    for record in &records {
        report.refuse(record, line(), &mut metrics);
    }
    let report = inbox(&world).answer(&records, DEADLINE, report, metrics).await;
    assert_eq!((report.failed.len(), report.refused), (2, 2));
    assert!(!report.needs_another_try());
    let hidden = ["receipt of a", "receipt of b"].map(|receipt| (receipt.to_owned(), 0));
    assert_eq!(world.queues.hidden(), hidden);
    assert_eq!(world.log.total(Metric::EventsRefused), 2);
    assert_eq!(world.log.total(Metric::MessagesDeferred), 0);
}

#[tokio::test]
async fn what_is_done_leaves_the_queue_without_a_call() {
    let world = World::with(&[]);
    let report = BatchReport { decisions: vec![line()], ..BatchReport::default() };
    let report = inbox(&world).answer(&[received("a", 1)], DEADLINE, report, Metrics::default()).await;
    assert!(report.failed.is_empty() && !report.needs_another_try());
    assert!(world.journal.calls().is_empty() && !world.log.measured());
    assert_eq!(world.log.entries(), [line()]);
}

#[tokio::test]
async fn messages_are_hidden_for_their_delay_even_when_the_time_for_work_is_up() {
    let world = World::with(&[]);
    let records = [received("a", 1)];
    let mut report = BatchReport::default();
    report.defer(records.iter(), Pace::Later);
    let report = inbox(&world).answer(&records, T0, report, Metrics::default()).await;
    assert_eq!(report.failed, ["a"]);
    assert_eq!(world.queues.hidden(), [("receipt of a".to_owned(), 30)]);
}

#[tokio::test]
async fn a_queue_that_does_not_answer_holds_an_answer_up_no_longer_than_allowed() {
    let world = World::with(&[]);
    let records = [received("a", 1), received("b", 1)];
    let mut report = BatchReport::default();
    report.defer(records.iter(), Pace::Later);
    world.journal.hang("sqs:ChangeMessageVisibility");
    let report = inbox(&world).answer(&records, T0, report, Metrics::default()).await;
    assert_eq!(world.context().clock.now_ms(), T0 + ANSWER_MS);
    assert_eq!(report.failed, ["a", "b"]);
    let told: Vec<_> = world.log.entries().iter().map(|it| (it.action.clone(), it.outcome)).collect();
    assert!(told.contains(&("defer-message".to_owned(), Outcome::RetryLater)), "{told:?}");
}

#[tokio::test]
async fn what_was_decided_is_logged_before_the_queue_is_asked() {
    let world = World::with(&[]);
    let records = [received("a", 1)];
    let mut report = BatchReport { decisions: vec![line()], ..BatchReport::default() };
    report.defer(records.iter(), Pace::Later);
    let log = Arc::clone(&world.log);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    world.journal.meanwhile("sqs:ChangeMessageVisibility", move || {
        noted.lock().unwrap().push((log.entries().len(), log.total(Metric::MessagesDeferred)));
    });
    inbox(&world).answer(&records, DEADLINE, report, Metrics::default()).await;
    assert_eq!(*seen.lock().unwrap(), [(1, 1)]);
}

#[tokio::test]
async fn a_bare_event_comes_back_without_being_hidden() {
    let world = World::with(&[]);
    let records = [Record { source: None, ..received("a", 1) }];
    let mut report = BatchReport::default();
    report.defer(records.iter(), Pace::Later);
    let report = inbox(&world).answer(&records, DEADLINE, report, Metrics::default()).await;
    assert_eq!(report.failed, ["a"]);
    assert!(world.journal.calls().is_empty());
}

#[tokio::test]
async fn a_message_that_cannot_be_hidden_is_told_of_and_stops_no_other() {
    let world = World::with(&[]);
    let records = [received("a", 1), received("b", 1)];
    let mut report = BatchReport::default();
    report.defer(records.iter(), Pace::Later);
    world.journal.fail_at("sqs:ChangeMessageVisibility", "receipt of a", 1, "InternalError");
    let report = inbox(&world).answer(&records, DEADLINE, report, Metrics::default()).await;
    assert_eq!(world.queues.hidden(), [("receipt of b".to_owned(), 30)]);
    let told: Vec<_> = report.decisions.iter().map(|it| (it.action.as_str(), it.resource.as_str())).collect();
    assert_eq!(told, [("defer-message", "a")]);
    assert_eq!(world.log.entries().len(), 1);
}

#[tokio::test]
async fn an_event_of_no_concern_is_ignored_and_one_that_is_no_json_refused() {
    let world = World::with(&[]);
    let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
    let inbox = inbox(&world);
    let at = at(1, home());
    assert!(inbox.read(&record("a", events::vpc_not_created(&at)), &mut report, &mut metrics).is_none());
    assert!(report.failed.is_empty());
    assert!(inbox.read(&record("b", "{"), &mut report, &mut metrics).is_none());
    assert!(inbox.read(&record("c", events::vpc_created(&at, 1)), &mut report, &mut metrics).is_some());
    assert_eq!((report.failed.as_slice(), report.refused), (&["b".to_owned()][..], 1));
    let told: Vec<_> = report.decisions.iter().map(|it| (it.outcome, it.account, it.region.clone())).collect();
    assert_eq!(told, [(Outcome::Ignored, Some(at.account), Some(at.region)), (Outcome::Refused, None, None)]);
    world.context().log.metrics(&metrics);
    assert_eq!((world.log.total(Metric::EventsIgnored), world.log.total(Metric::EventsRefused)), (1, 1));
}
