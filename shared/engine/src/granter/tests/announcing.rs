use enroller_core::log::Outcome;
use enroller_core::message::{EnrollmentRequest, Message};

use super::*;
use crate::testing::T0;

fn granter(world: &World) -> Granter {
    world.granter().announcing(world.outbox())
}

/// The requests sent so far, with their delays.
fn requests(world: &World) -> Vec<(EnrollmentRequest, u32)> {
    let delays = world.queues.sent_to(ENROLLMENTS).into_iter().map(|it| it.delay_seconds);
    let request = |it| match it {
        Message::Enrollment(request) => request,
        other => panic!("{other:?} is for another queue"),
    };
    world.queues.messages(ENROLLMENTS).into_iter().map(request).zip(delays).collect()
}

fn announced(world: &World) -> Vec<AccountId> {
    requests(world).into_iter().map(|(request, _)| request.account).collect()
}

#[tokio::test]
async fn accounts_are_announced_before_their_grant_is_written() {
    let world = World::members(&[], [1, 2]);
    let report = sync(&granter(&world), &sync_work()).await;
    let operations: Vec<_> = world.journal.changes();
    assert_eq!(operations[0], SEND);
    assert_eq!(operations.iter().filter(|it| **it == SEND).count(), 1);
    assert_eq!((report.announced, announced(&world)), (2, vec![id(1), id(2)]));
    assert!(world.queues.sent_to(ENROLLMENTS).iter().all(|it| it.sender.is_none()));
}

#[tokio::test]
async fn a_request_names_every_region_and_where_the_account_will_be() {
    let world = World::members(&[], [1]);
    sync(&granter(&world), &joined([1])).await;
    let (request, delay) = requests(&world).remove(0);
    assert_eq!(delay, 5);
    assert_eq!(request.regions, [home(), away()]);
    assert_eq!(request.destinations, BTreeMap::from([(home(), world.shard(1)), (away(), world.shard(1))]));
    assert_eq!((request.requested_at_ms, request.reason.as_str()), (Some(T0), "joined"));
}

#[tokio::test]
async fn a_region_that_cannot_be_read_is_left_for_the_enroller_to_look_up() {
    let world = World::members(&[], [1]);
    world.journal.fail_at(READ, home(), 1, "ThrottlingException");
    sync(&granter(&world), &joined([1])).await;
    let (request, _) = requests(&world).remove(0);
    assert_eq!(request.regions, [home(), away()]);
    assert_eq!(request.destinations.into_keys().collect::<Vec<_>>(), [away()]);
}

#[tokio::test]
async fn who_has_a_grant_is_announced_only_if_it_has_just_come() {
    let world = World::granted(&[], [1, 2]);
    let granter = granter(&world);
    sync(&granter, &requested([1])).await;
    sync(&granter, &sync_work()).await;
    assert!(announced(&world).is_empty());
    sync(&granter, &joined([2])).await;
    assert_eq!(announced(&world), [id(2)]);
}

#[tokio::test]
async fn an_account_that_moved_back_into_scope_is_announced_though_it_is_granted() {
    let world = World::granted(&[("excluded_organizational_units", "ou-ab12-sandbox1")], [1, 2]);
    let parents = vec!["r-ab12".parse().unwrap(), "ou-ab12-sandbox1".parse().unwrap()];
    world.organization.add(enroller_core::observed::Account { parents, ..crate::testing::account(1) });
    sync(&granter(&world), &moved([1, 2])).await;
    assert_eq!((announced(&world), world.journal.count(PUT)), (vec![id(2)], 0));
}

#[tokio::test]
async fn an_account_out_of_scope_is_not_announced() {
    let world = World::members(&[("excluded_accounts", "111111110002")], [1, 2]);
    sync(&granter(&world), &joined([1, 2])).await;
    assert_eq!(announced(&world), [id(1)]);
}

#[tokio::test]
async fn an_account_that_nobody_knows_yet_is_tried_again_in_a_minute() {
    let world = World::granted(&[], [1]);
    let granter = granter(&world);
    sync(&granter, &joined([7])).await;
    let (request, delay) = requests(&world).remove(0);
    assert_eq!((request.account, delay), (id(7), 60));
    assert!(request.destinations.is_empty());
    sync(&granter, &requested([8])).await;
    assert_eq!(requests(&world).len(), 1, "a question's own message comes back by itself");
}

#[tokio::test]
async fn who_was_announced_a_minute_ago_is_announced_again() {
    let world = World::granted(&[], [1]);
    let granter = granter(&world);
    for (after_ms, sent) in [(0, 1), (59_999, 1), (1, 2)] {
        world.clock.advance(after_ms);
        sync(&granter, &joined([1])).await;
        assert_eq!(announced(&world).len(), sent);
    }
}

#[tokio::test]
async fn who_was_granted_with_others_is_not_announced_by_its_own_message() {
    let world = World::members(&[], [1, 2]);
    let granter = granter(&world);
    sync(&granter, &joined([1])).await;
    sync(&granter, &joined([2])).await;
    assert_eq!(announced(&world), [id(1), id(2)]);
}

#[tokio::test]
async fn while_a_grant_cannot_be_written_questions_announce_nobody_for_1_h() {
    let world = World::members(&ONE_REGION, [1]);
    let granter = granter(&world);
    world.journal.fail(PUT, 100, "AccessDeniedException");
    for (after_ms, sent) in [(0, 1), (120_000, 1), (3_479_999, 1), (1, 2)] {
        world.clock.advance(after_ms);
        sync(&granter, &requested([1])).await;
        assert_eq!(announced(&world).len(), sent, "after {after_ms}");
    }
}

#[tokio::test]
async fn a_region_that_cannot_be_read_does_not_end_the_wait() {
    let world = World::members(&ONE_REGION, [1]);
    let granter = granter(&world);
    world.journal.fail(PUT, 100, "AccessDeniedException");
    sync(&granter, &requested([1])).await;
    world.clock.advance(120_000);
    world.journal.fail(READ, 1, "ThrottlingException");
    sync(&granter, &requested([1])).await;
    world.clock.advance(120_000);
    sync(&granter, &requested([1])).await;
    assert_eq!(announced(&world).len(), 1);
}

#[tokio::test]
async fn who_is_said_to_have_come_does_not_wait_that_hour() {
    let world = World::members(&ONE_REGION, [1]);
    let granter = granter(&world);
    world.journal.fail(PUT, 100, "AccessDeniedException");
    for (after_ms, sent) in [(0, 1), (59_999, 1), (1, 2)] {
        world.clock.advance(after_ms);
        sync(&granter, &joined([1])).await;
        assert_eq!(announced(&world).len(), sent);
    }
}

#[tokio::test]
async fn who_cannot_be_announced_is_not_granted_whatever_asked_for_the_sync() {
    for work in [sync_work(), joined([2]), requested([2]), moved([2]), departed([3])] {
        let world = World::granted(&ONE_REGION, [1, 3]);
        world.organization.add(crate::testing::account(2));
        world.organization.depart(id(3));
        let granter = granter(&world);
        // The batch, and then the account's own request.
        world.journal.fail(SEND, 2, "ServiceUnavailable");
        let report = sync(&granter, &work).await;
        assert_eq!((codes(&report), report.announced), (vec![Code::Internal], 0), "{work:?}");
        assert!(!world.destinations.granted(&home()).contains(&id(2)) && report.needs_retry());
        sync(&granter, &work).await;
        assert_eq!(announced(&world), [id(2)], "what was not sent is not remembered as sent");
        assert!(world.destinations.granted(&home()).contains(&id(2)));
    }
}

#[tokio::test]
async fn a_queue_that_refuses_holds_up_neither_revocations_nor_who_was_announced() {
    let world = World::granted(&[ONE_REGION[0], ("revocation_limit_percent", "100")], [1]);
    for number in 2..=150 {
        world.organization.add(crate::testing::account(number));
    }
    world.organization.remove(id(1));
    world.journal.meanwhile(SEND, || {});
    world.journal.fail(SEND, 4, "AccessDeniedException");
    let report = sync(&granter(&world), &sync_work()).await;
    assert_eq!((report.revoked, report.granted.len()), (ids([1]), 100));
    assert_eq!(world.destinations.granted(&home()), ids(2..=101));
    let told = report.decisions.iter().find(|it| it.cause.contains("49 accounts")).unwrap();
    assert_eq!(told.outcome, Outcome::RetryLater);
    assert_eq!(
        world.journal.count(SEND),
        5,
        "a queue that refuses three accounts in a row is not asked for the others"
    );
}

#[tokio::test]
async fn a_queue_that_refuses_one_request_keeps_only_that_account_from_its_grant() {
    let world = World::members(&ONE_REGION, 1..=6);
    world.journal.fail(SEND, 2, "InvalidMessageContents");
    let report = sync(&granter(&world), &sync_work()).await;
    assert_eq!((report.announced, report.needs_retry()), (5, true));
    assert_eq!(report.granted, ids(2..=6));
}

#[tokio::test]
async fn a_batch_whose_accounts_could_not_be_announced_comes_back_whatever_the_cause() {
    let world = World::members(&ONE_REGION, [1]);
    world.journal.fail(SEND, 2, "AccessDeniedException");
    assert!(sync(&granter(&world), &joined([1])).await.needs_retry());
}

#[tokio::test]
async fn the_organization_is_not_granted_before_its_accounts_are_announced() {
    let world = World::members(&[("grant_mode", "organization"), ONE_REGION[0]], [1]);
    let granter = granter(&world);
    world.journal.fail(SEND, 2, "ServiceUnavailable");
    let report = sync(&granter, &sync_work()).await;
    assert_eq!((report.writes, world.journal.count(PUT)), (0, 0));
    assert_eq!(report.assignments[&home()].get(&id(1)), None);
    assert_eq!(sync(&granter, &sync_work()).await.granted, ids([1]));
}

#[tokio::test]
async fn whom_another_removed_while_accounts_were_announced_is_granted_by_the_next_sync() {
    let world = std::sync::Arc::new(World::granted(&ONE_REGION, [1]));
    world.organization.add(crate::testing::account(2));
    let other = std::sync::Arc::clone(&world);
    world.journal.meanwhile(SEND, move || other.grant(&home(), 1, ids([])));
    let granter = granter(&world);
    sync(&granter, &requested([2])).await;
    assert_eq!((announced(&world), world.destinations.granted(&home())), (vec![id(2)], ids([2])));
    sync(&granter, &sync_work()).await;
    assert_eq!((announced(&world), world.destinations.granted(&home())), (vec![id(2), id(1)], ids([1, 2])));
}

#[tokio::test]
async fn an_account_on_several_shards_is_announced_once_and_by_syncs_only() {
    let world = World::granted(&ONE_REGION, [1, 2]);
    world.grant(&home(), 2, ids([1]));
    let granter = granter(&world);
    for work in [requested([2]), sync_work(), sync_work(), requested([2])] {
        sync(&granter, &work).await;
        world.clock.advance(86_400_000);
    }
    assert_eq!(announced(&world), [id(1)]);
    world.grant(&home(), 2, ids([]));
    sync(&granter, &sync_work()).await;
    world.grant(&home(), 2, ids([1]));
    sync(&granter, &sync_work()).await;
    assert_eq!(announced(&world), [id(1), id(1)], "it came onto a second shard again");
}

#[tokio::test]
async fn an_account_on_several_shards_is_announced_to_put_its_filter_again() {
    let world = World::granted(&ONE_REGION, [1]);
    world.grant(&home(), 2, ids([1]));
    sync(&granter(&world), &sync_work()).await;
    let (request, _) = requests(&world).remove(0);
    assert_eq!(request.destinations[&home()], world.shard(1));
}

#[tokio::test]
async fn a_granter_without_an_outbox_announces_nobody() {
    let world = World::members(&[], [1]);
    let report = sync(&world.granter(), &joined([1])).await;
    assert_eq!((report.announced, world.journal.count(SEND)), (0, 0));
    assert_eq!(report.granted, ids([1]));
}
