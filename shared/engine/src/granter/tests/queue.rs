use enroller_core::log::Outcome;
use enroller_core::message::{BackfillContinuation, EnrollmentRequest, GrantRequest, Message, SyncRequest};

use super::*;
use crate::batch::Record;
use crate::testing::{DEADLINE, T0, at, events, record};

fn grant_request(number: u32) -> String {
    Message::Grant(GrantRequest { account: id(number), reason: "waits".to_owned() }).to_json()
}

fn sync_request(allow_mass_revocation: bool) -> String {
    let reason = "by hand".to_owned();
    Message::Sync(SyncRequest { reason, run_id: None, allow_mass_revocation }).to_json()
}

fn hidden(world: &World) -> Vec<u32> {
    world.queues.hidden().into_iter().map(|(_, seconds)| seconds).collect()
}

#[tokio::test]
async fn a_batch_is_one_piece_of_work() {
    let world = World::members(&ONE_REGION, [1, 2]);
    let records = [record("a", grant_request(1)), record("b", grant_request(2)), record("c", sync_request(false))];
    let (report, granted) = world.grant_queue().batch(&records, DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!((world.journal.count(LIST), world.journal.count(PUT)), (1, 1));
    assert_eq!((granted.granted, report.changes), (ids([1, 2]), 1));
    assert!(report.decisions.iter().all(|it| it.outcome == Outcome::Done));
    let [Message::Enrollment(request), _] = &world.queues.messages(ENROLLMENTS)[..] else { panic!("not announced") };
    assert_eq!(request.reason.split("; ").filter(|reason| !reason.is_empty()).count(), 3);
    assert_eq!(request.reason.matches("; ").count(), 2);
    assert_eq!(world.log.total(Metric::GrantsAdded), 2);
}

#[test]
fn the_work_may_move_between_threads() {
    fn movable(_: impl Send) {}
    let world = World::members(&[], [1]);
    let (queue, inspector) = (world.grant_queue(), world.inspector());
    let (work, mut metrics, places) = (sync_work(), Metrics::default(), BTreeMap::new());
    movable(queue.granter().sync(&work, &mut metrics));
    movable(queue.granter().planner().preview(&work));
    movable(queue.granter().planner().accounts_before_switch());
    movable(inspector.filter_roles(&places));
}

#[tokio::test]
async fn a_batch_comes_back_as_a_whole_and_soon() {
    let world = World::members(&ONE_REGION, [1, 2]);
    world.journal.fail(PUT, 1, "OperationAbortedException");
    let records = [record("a", grant_request(1)), record("b", sync_request(false))];
    let (report, _) = world.grant_queue().batch(&records, DEADLINE).await;
    assert_eq!(report.failed, ["a", "b"]);
    assert_eq!(hidden(&world), [10, 10]);
}

#[tokio::test]
async fn what_only_a_person_can_mend_in_one_region_is_acknowledged_and_counted() {
    for (operation, code, receive_count) in
        [(READ, "AccessDeniedException", 5), (PUT, "AccessDeniedException", 5), (PUT, "ValidationException", 1)]
    {
        let world = World::members(&[], [1]);
        world.journal.fail_at(operation, home(), 100, code);
        let records = [record("a", grant_request(1)), record("b", sync_request(false))];
        let records = records.map(|it| Record { receive_count, ..it });
        let (report, granted) = world.grant_queue().batch(&records, DEADLINE).await;
        assert!(report.failed.is_empty(), "{operation} {code}");
        assert_eq!((granted.errors.len(), granted.granted), (1, ids([1])));
        assert!(report.decisions.iter().any(|it| it.region == Some(home()) || it.resource.contains("eu-west-1")));
        assert_eq!(world.log.total_of(Metric::GrantsFailed, "terminal"), 1);
    }
}

#[tokio::test]
async fn a_denial_brings_each_message_back_four_times() {
    let world = World::members(&ONE_REGION, [1]);
    world.journal.fail_at(PUT, home(), 1, "AccessDeniedException");
    let old = Record { receive_count: 5, ..record("a", grant_request(1)) };
    let (report, _) = world.grant_queue().batch(&[old, record("b", sync_request(false))], DEADLINE).await;
    assert_eq!(report.failed, ["b"]);
    assert!(report.decisions.iter().any(|it| it.cause.starts_with("given up after 5 tries")));
}

#[tokio::test]
async fn one_failure_that_may_pass_brings_the_batch_back_whatever_else_failed() {
    let world = World::members(&[], [1]);
    world.journal.fail_at(PUT, home(), 1, "AccessDeniedException");
    world.journal.fail_at(PUT, away(), 1, "ThrottlingException");
    let (report, _) = world.grant_queue().batch(&[record("a", grant_request(1))], DEADLINE).await;
    assert_eq!(report.failed, ["a"]);
}

#[tokio::test]
async fn a_batch_that_runs_out_of_time_comes_back() {
    let world = World::members(&ONE_REGION, [1]);
    world.journal.hang(LIST);
    let (report, granted) = world.grant_queue().batch(&[record("a", grant_request(1))], DEADLINE).await;
    assert_eq!((report.failed.as_slice(), granted.errors.len()), (&["a".to_owned()][..], 0));
    assert!(report.needs_another_try());
    assert_eq!(report.decisions.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::RetryLater]);
    let (report, _) = world.grant_queue().batch(&[record("a", grant_request(1))], T0).await;
    assert_eq!((report.failed.len(), world.journal.count(LIST)), (1, 1), "nothing is begun after the deadline");
}

#[tokio::test]
async fn what_was_written_before_time_ran_out_is_told() {
    let world = World::members(&ONE_REGION, [1]);
    let journal = std::sync::Arc::clone(&world.journal);
    world.journal.meanwhile(PUT, move || journal.hang(READ));
    let (report, _) = world.grant_queue().batch(&[record("a", sync_request(false))], DEADLINE).await;
    assert_eq!(world.destinations.granted(&home()), ids([1]));
    assert!(report.decisions.iter().any(|it| it.account == Some(id(1)) && it.action == "grant"));
}

#[tokio::test]
async fn what_is_the_enrollers_goes_to_its_queue_and_starts_no_sync() {
    let world = World::members(&[], [1]);
    let event = events::vpc_created(&at(1, away()), 3);
    let (report, _) = world.grant_queue().batch(&[record("a", event)], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!(world.journal.count(LIST), 0);
    let [Message::Enrollment(request)] = &world.queues.messages(ENROLLMENTS)[..] else { panic!("not forwarded") };
    assert_eq!((request.account, request.regions.as_slice()), (id(1), &[away()][..]));
    assert!(request.requested_at_ms.is_some() && request.destinations.is_empty());
    assert_eq!(world.queues.sent_to(ENROLLMENTS)[0].delay_seconds, 0);
}

#[tokio::test]
async fn an_enrollment_request_is_forwarded_as_it_is() {
    let world = World::members(&[], [1]);
    let request = EnrollmentRequest {
        account: id(1),
        regions: vec![home()],
        destinations: BTreeMap::from([(home(), world.shard(3))]),
        reason: "by hand".to_owned(),
        run_id: Some("run".to_owned()),
        requested_at_ms: Some(7),
        waited_for: BTreeSet::new(),
    };
    let body = Message::Enrollment(request.clone()).to_json();
    world.grant_queue().batch(&[record("a", body)], DEADLINE).await;
    assert_eq!(world.queues.messages(ENROLLMENTS), [Message::Enrollment(request)]);
}

#[tokio::test]
async fn what_cannot_be_forwarded_comes_back_and_keeps_nobody() {
    let world = World::granted(&[], [1]);
    world.journal.fail(SEND, 1, "ServiceUnavailable");
    let records = [record("a", events::vpc_created(&at(1, home()), 3)), record("b", sync_request(false))];
    let (report, granted) = world.grant_queue().batch(&records, DEADLINE).await;
    assert_eq!((report.failed.as_slice(), hidden(&world)), (&["a".to_owned()][..], vec![10]));
    assert!(!granted.needs_retry());
}

#[tokio::test]
async fn a_backfills_continuation_is_refused_at_once() {
    let world = World::members(&[], [1]);
    let (request, run_id) = (BackfillRequest::default(), "run".to_owned());
    let body = Message::Backfill(BackfillContinuation { request, run_id, after: id(1) }).to_json();
    let (report, _) = world.grant_queue().batch(&[record("a", body)], DEADLINE).await;
    assert_eq!((report.failed.len(), report.refused, hidden(&world)), (1, 1, vec![0]));
    assert_eq!(world.journal.count(LIST), 0);
}

#[tokio::test]
async fn a_question_about_a_granted_account_sends_it_nothing() {
    let world = World::granted(&[], [1]);
    let (report, _) = world.grant_queue().batch(&[record("a", grant_request(1))], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert!(world.queues.sent_to(ENROLLMENTS).is_empty());
}

#[tokio::test]
async fn an_account_that_has_just_come_is_announced_though_it_is_granted() {
    let world = World::granted(&[], [1]);
    let (report, _) = world.grant_queue().batch(&[record("a", events::account_created(id(1)))], DEADLINE).await;
    assert!(report.failed.is_empty());
    let announced = world.queues.messages(ENROLLMENTS);
    assert!(matches!(&announced[..], [Message::Enrollment(request)] if request.account == id(1)));
}

#[tokio::test]
async fn the_event_of_a_move_asks_about_the_account_that_moved() {
    let world = World::granted(&[], [1, 2]);
    let (report, _) = world.grant_queue().batch(&[record("a", events::account_moved(id(2)))], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!((world.journal.count(LIST), world.journal.about(ASK)), (0, vec![id(2).to_string()]));
    let announced = world.queues.messages(ENROLLMENTS);
    assert!(matches!(&announced[..], [Message::Enrollment(request)] if request.account == id(2)));
}

#[tokio::test]
async fn an_account_that_has_left_loses_its_grant() {
    let world = World::granted(&[], [1, 2]);
    world.organization.depart(id(2));
    let records = [record("a", events::account_departed(id(2)))];
    let (report, granted) = world.grant_queue().batch(&records, DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!((granted.revoked, world.journal.about(ASK)), (ids([2]), vec![id(2).to_string()]));
}

#[tokio::test]
async fn an_enrollers_message_about_an_account_that_left_becomes_a_sync() {
    let world = World::granted(&[], [1]);
    let records = [record("a", events::account_departed(id(1))), record("b", events::account_created(id(2)))];
    let report = world.enrollment_queue().batch(&records, DEADLINE).await;
    assert!(report.failed.is_empty() && world.journal.count("sts:AssumeRole") == 0);
    let sent = world.queues.messages(crate::testing::GRANTS);
    assert!(sent.len() == 2 && sent.iter().all(|it| matches!(it, Message::Sync(_))));
}

#[tokio::test]
async fn one_message_that_allows_mass_revocation_is_enough() {
    let world = World::granted(&ONE_REGION, 1..=5);
    for number in 1..=4 {
        world.organization.remove(id(number));
    }
    let records = [record("a", sync_request(true)), record("b", sync_request(false))];
    let (_, granted) = world.grant_queue().batch(&records, DEADLINE).await;
    assert_eq!(granted.revoked, ids(1..=4));
}

#[tokio::test]
async fn a_failed_event_about_an_account_is_kept_for_another_try() {
    let world = World::members(&[], [1]);
    world.journal.fail(LIST, 1, "AccessDeniedException");
    let (report, granted) = world.grant_queue().batch(&[record("a", grant_request(1))], DEADLINE).await;
    assert_eq!(codes(&granted), [Code::AccessDenied]);
    assert_eq!(report.failed, ["a"], "no message about an account is dropped because something was wrong here");
}

#[tokio::test]
async fn one_regions_outage_brings_a_message_back_three_times() {
    for outage in ["InternalFailure", "ThrottlingException", "OperationAbortedException"] {
        let world = World::members(&[], [1]);
        world.journal.fail_at(READ, home(), 100, outage);
        let queue = world.grant_queue();
        for receive_count in 1..=4 {
            let record = Record { receive_count, ..record("a", grant_request(1)) };
            let (report, _) = queue.batch(&[record], DEADLINE).await;
            assert_eq!(report.failed.len(), usize::from(receive_count < 4), "{outage} {receive_count}");
        }
        assert_eq!(hidden(&world), [10, 20, 40]);
        assert_eq!(world.log.total_of(Metric::GrantsFailed, "terminal"), 1, "somebody is told once");
        let told = world.log.entries().into_iter().find(|it| it.cause.starts_with("given up after 4 tries")).unwrap();
        assert_eq!(told.region, Some(home()));
        assert!(told.next_step.unwrap().contains("ask for it again"));
        assert_eq!(world.destinations.granted(&away()), ids([1]));
    }
}

#[tokio::test]
async fn while_an_outage_lasts_further_messages_do_not_wait_for_it_again() {
    let world = World::members(&[], [1, 2, 3]);
    world.journal.hang_at(READ, home(), 6);
    let queue = world.grant_queue();
    let first = Record { receive_count: 4, ..record("a", events::account_created(id(1))) };
    queue.batch(&[first], DEADLINE).await;
    let (report, _) = queue.batch(&[record("b", events::account_created(id(2)))], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!(world.destinations.granted(&away()), ids([1, 2, 3]));
    assert_eq!(world.log.total_of(Metric::GrantsFailed, "terminal"), 1);
    world.clock.advance(10 * 60_000);
    let (report, _) = queue.batch(&[record("c", events::account_created(id(3)))], 2 * DEADLINE).await;
    assert_eq!(report.failed, ["c"], "after ten minutes the Region gets its tries again");
}

#[tokio::test]
async fn who_joined_during_an_outage_is_granted_when_its_enrollment_asks_for_it() {
    let world = World::members(&[], [1]);
    world.add_vpc(&at(1, home()), 1);
    world.journal.fail_at(READ, home(), 1, "InternalFailure");
    let queue = world.grant_queue();
    let joined = Record { receive_count: 4, ..record("a", events::account_created(id(1))) };
    let (report, _) = queue.batch(&[joined], DEADLINE).await;
    assert!(report.failed.is_empty() && world.destinations.granted(&home()).is_empty());
    let enrollment = world.queues.sent_to(ENROLLMENTS).pop().unwrap().body;
    world.enrollment_queue().batch(&[record("b", enrollment)], DEADLINE).await;
    let asked = world.queues.messages(crate::testing::GRANTS).pop().unwrap();
    assert!(matches!(&asked, Message::Grant(request) if request.account == id(1)));
    queue.batch(&[record("c", asked.to_json())], DEADLINE).await;
    assert_eq!(world.destinations.granted(&home()), ids([1]));
}

#[tokio::test]
async fn what_an_outage_kept_from_being_revoked_is_revoked_by_the_next_sweep() {
    let world = World::granted(&[], [1, 2]);
    world.organization.depart(id(2));
    world.journal.fail_at(PUT, home(), 1, "InternalFailure");
    let queue = world.grant_queue();
    let left = Record { receive_count: 4, ..record("a", events::account_departed(id(2))) };
    queue.batch(&[left], DEADLINE).await;
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
    queue.batch(&[record("b", sync_request(false))], DEADLINE).await;
    assert_eq!(world.destinations.granted(&home()), ids([1]));
}

#[tokio::test]
async fn a_region_that_is_silent_while_it_is_written_does_not_use_up_the_time_of_the_sync() {
    let world = World::members(&[], [1]);
    world.journal.hang_at(PUT, home(), 100);
    let old = Record { receive_count: 4, ..record("a", grant_request(1)) };
    let (report, granted) = world.grant_queue().batch(&[old], DEADLINE).await;
    assert_eq!((report.failed.len(), codes(&granted)), (0, vec![Code::NoAnswer]));
    assert_eq!((granted.granted, world.destinations.granted(&away())), (ids([1]), ids([1])));
    assert!(world.context().clock.now_ms() - T0 < 180_000);
}

#[tokio::test]
async fn a_queue_that_does_not_answer_holds_a_batch_up_no_longer_than_its_time() {
    let world = World::members(&ONE_REGION, [1]);
    world.journal.hang("sqs:SendMessage");
    let body = events::vpc_created(&at(1, home()), 1);
    let (report, _) = world.grant_queue().batch(&[record("a", body)], DEADLINE).await;
    assert_eq!((report.failed.as_slice(), hidden(&world)), (&["a".to_owned()][..], vec![10]));
}
