use enroller_core::message::{BackfillContinuation, EnrollmentRequest, Message};

use super::*;
use crate::testing::{BACKFILL, DEADLINE, ENROLLMENTS, GRANTS, T0};

fn requests(world: &World) -> Vec<EnrollmentRequest> {
    let request = |it| match it {
        Message::Enrollment(request) => request,
        other => panic!("{other:?} is for another queue"),
    };
    world.queues.messages(ENROLLMENTS).into_iter().map(request).collect()
}

fn queued(world: &World) -> Vec<AccountId> {
    requests(world).into_iter().map(|it| it.account).collect()
}

fn go_on_after(number: u32) -> BackfillCommand {
    let request = BackfillRequest::default();
    BackfillCommand::Continue(BackfillContinuation { request, run_id: RUN.to_owned(), after: id(number) })
}

#[tokio::test]
async fn each_account_is_queued_once_by_id_in_batches_of_ten() {
    let world = World::granted(&[], 1..=23);
    let report = world.backfill().run(&everything(), DEADLINE).await.unwrap();
    assert_eq!(queued(&world), (1..=23).map(id).collect::<Vec<_>>());
    let to_enroller = world.journal.about(SEND).iter().filter(|url| *url == ENROLLMENTS).count();
    assert_eq!(to_enroller, 3);
    assert_eq!((report.accounts, report.account_regions, report.accounts_remaining), (23, 46, 0));
    assert_eq!((report.continues_after, report.plan), (None, None));
}

#[tokio::test]
async fn a_request_names_run_regions_and_destinations() {
    let world = World::granted(&[], [1]);
    world.grant(&away(), 1, ids([]));
    world.backfill().run(&everything(), DEADLINE).await.unwrap();
    let request = requests(&world).remove(0);
    assert_eq!((request.run_id.as_deref(), request.requested_at_ms), (Some(RUN), None));
    let sender = world.queues.sent_to(ENROLLMENTS)[0].sender;
    assert_eq!(sender, Some(crate::outbox::BACKFILL_GROUP), "events are received before the rest of a backfill");
    assert_eq!(request.regions, [home(), away()]);
    assert_eq!(request.destinations.into_iter().collect::<Vec<_>>(), [(home(), world.shard(1))]);
    assert_eq!(world.queues.sent_to(ENROLLMENTS)[0].delay_seconds, 0);
}

#[tokio::test]
async fn the_onboarder_is_asked_first_and_once_per_run() {
    let world = World::granted(&[], [1]);
    world.backfill().run(&everything(), DEADLINE).await.unwrap();
    assert_eq!(world.journal.about(SEND), [GRANTS, ENROLLMENTS]);
    let sent = world.queues.sent_to(GRANTS);
    assert_eq!(sent[0].fifo, Some((crate::outbox::GRANTS_GROUP.to_owned(), RUN.to_owned())));
    let [Message::Sync(sync)] = &world.queues.messages(GRANTS)[..] else { panic!("no sync was asked for") };
    assert_eq!((sync.run_id.as_deref(), sync.allow_mass_revocation), (Some(RUN), false));
}

#[tokio::test]
async fn nothing_is_sent_unless_everybody_is_listed() {
    let world = World::granted(&[], [1]);
    world.journal.fail(LIST, 1, "TooManyRequestsException");
    let error = world.backfill().run(&everything(), DEADLINE).await.unwrap_err();
    assert!(matches!(error, BackfillError::Aws(_)) && !error.is_refusal());
    assert_eq!(world.journal.calls().len(), 1);
}

#[tokio::test]
async fn accounts_wait_for_the_onboarder_to_be_asked() {
    let world = World::granted(&[], [1]);
    world.journal.fail(SEND, 1, "ServiceUnavailable");
    let error = world.backfill().run(&everything(), DEADLINE).await.unwrap_err();
    assert!(matches!(error, BackfillError::Grants(_)));
    assert!(queued(&world).is_empty());
}

#[tokio::test]
async fn what_time_does_not_suffice_for_goes_on_after_the_last_sent() {
    let world = World::granted(&[], 1..=23);
    world.journal.takes(SEND, 3, 400);
    let report = world.backfill().run(&everything(), T0 + 1_000).await.unwrap();
    assert_eq!(queued(&world).len(), 20);
    assert_eq!((report.accounts, report.accounts_remaining, report.continues_after), (20, 3, Some(id(20))));
    let [Message::Backfill(continuation)] = &world.queues.messages(BACKFILL)[..] else { panic!("it does not go on") };
    assert_eq!((continuation.run_id.as_str(), continuation.after), (RUN, id(20)));
    assert_eq!(world.log.entries().len(), 1);
}

#[tokio::test]
async fn a_batch_that_hangs_counts_as_not_sent() {
    let world = World::granted(&[], 1..=15);
    world.journal.takes(SEND, 2, 1);
    world.journal.hang(SEND);
    let report = world.backfill().run(&everything(), DEADLINE).await.unwrap();
    assert_eq!((report.accounts, report.continues_after), (10, Some(id(10))));
}

#[tokio::test]
async fn a_continuation_begins_after_its_account_and_asks_nobody_again() {
    let world = World::granted(&[("excluded_accounts", "111111110003")], 1..=5);
    let report = world.backfill().run(&go_on_after(2), DEADLINE).await.unwrap();
    assert_eq!(queued(&world), [id(4), id(5)]);
    assert!(world.queues.sent_to(GRANTS).is_empty());
    assert_eq!((report.accounts, report.left_out.len()), (2, 0), "the first invocation told who is left out");
    assert_eq!(report.run_id, RUN);
}

#[tokio::test]
async fn a_continuation_after_the_last_account_is_done() {
    let world = World::granted(&[], 1..=2);
    let report = world.backfill().run(&go_on_after(2), DEADLINE).await.unwrap();
    assert_eq!((report.accounts, report.continues_after), (0, None));
    assert!(world.journal.changes().is_empty());
}

#[tokio::test]
async fn a_run_that_gets_to_no_account_fails_instead_of_going_on() {
    for (operation, about, takes_ms) in [(SEND, GRANTS, 1_000), (LIST, "", 1_000)] {
        let world = World::granted(&[], 1..=3);
        world.journal.takes(operation, 1, takes_ms);
        let error = world.backfill().run(&everything(), T0 + 1_000).await.unwrap_err();
        assert!(matches!(error, BackfillError::OutOfTime(_)) && !error.is_refusal(), "{operation} {about}");
        assert!(queued(&world).is_empty() && world.queues.sent_to(BACKFILL).is_empty());
    }
}

#[tokio::test]
async fn the_first_batch_that_hangs_is_an_error() {
    let world = World::granted(&[], 1..=3);
    world.journal.hang(SEND);
    let error = world.backfill().run(&go_on_after(1), DEADLINE).await.unwrap_err();
    assert!(matches!(error, BackfillError::OutOfTime(_)));
    assert!(world.queues.sent_to(BACKFILL).is_empty());
}

#[tokio::test]
async fn a_batch_that_fails_ends_the_run_without_a_continuation() {
    let world = World::granted(&[], 1..=15);
    world.journal.takes(SEND, 2, 1);
    world.journal.fail(SEND, 1, "ServiceUnavailable");
    let error = world.backfill().run(&everything(), DEADLINE).await.unwrap_err();
    assert!(matches!(error, BackfillError::Aws(_)));
    assert_eq!((queued(&world).len(), world.queues.sent_to(BACKFILL).len()), (10, 0));
}

#[tokio::test]
async fn a_region_that_cannot_be_read_is_left_to_the_enroller() {
    let world = World::granted(&[], [1]);
    world.journal.fail_at("logs:DescribeDestinations", home(), 1, "ThrottlingException");
    world.backfill().run(&everything(), DEADLINE).await.unwrap();
    let request = requests(&world).remove(0);
    assert_eq!(request.regions, [home(), away()]);
    assert_eq!(request.destinations.into_keys().collect::<Vec<_>>(), [away()]);
    let told: Vec<_> = world.log.entries().into_iter().filter(|it| it.action == "read-grants").collect();
    assert_eq!((told.len(), told[0].region.clone()), (1, Some(home())));
}

#[tokio::test]
async fn each_region_is_read_once_for_all_accounts() {
    let world = World::granted(&[], 1..=12);
    world.backfill().run(&everything(), DEADLINE).await.unwrap();
    assert_eq!(world.journal.about("logs:DescribeDestinations"), ["eu-west-1", "us-east-1"]);
}

#[tokio::test]
async fn only_what_is_selected_is_queued_and_the_rest_is_named() {
    let world = World::granted(&[("excluded_accounts", "111111110002")], 1..=4);
    let request = BackfillRequest { accounts: ids([1, 2, 9]), ..in_region(away()) };
    let report = world.backfill().run(&begin(request), DEADLINE).await.unwrap();
    assert_eq!(queued(&world), [id(1)]);
    assert_eq!(requests(&world)[0].regions, [away()]);
    assert_eq!(report.left_out.iter().map(|it| it.account).collect::<Vec<_>>(), [id(2), id(9)]);
    assert_eq!((report.accounts, report.account_regions), (1, 1));
    assert_eq!(world.log.entries().iter().filter(|it| it.account.is_some()).count(), 2);
}
