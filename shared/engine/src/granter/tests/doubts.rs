//! Accounts of which Organizations says nothing usable, or too many to ask about at once.

use enroller_core::log::Outcome;
use enroller_core::message::Message;
use enroller_core::observed::{Account, AccountState};

use super::*;
use crate::testing::{GRANTS, account};

/// Many accounts, granted in both Regions, of which all but the first have left.
fn left(changes: &[(&str, &str)], granted: std::ops::RangeInclusive<u32>) -> World {
    let world = World::members(changes, [1]);
    for region in [home(), away()] {
        for (index, shard) in granted.clone().collect::<Vec<_>>().chunks(300).zip(1..) {
            world.grant(&region, shard, ids(index.iter().copied()));
        }
    }
    world
}

const NO_LIMIT: [(&str, &str); 1] = [("revocation_limit_percent", "100")];

#[tokio::test]
async fn a_suspect_is_asked_about_once_for_all_regions() {
    let world = left(&NO_LIMIT, 1..=21);
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!((world.journal.count(ASK), report.revoked), (20, ids(2..=21)));
    assert_eq!(world.destinations.granted(&away()), ids([1]));
}

#[tokio::test]
async fn the_answer_about_a_suspect_is_remembered_for_an_hour() {
    let world = left(&[], 1..=21);
    let granter = world.granter();
    for (after_ms, asked) in [(0, 20), (3_599_999, 20), (1, 40)] {
        world.clock.advance(after_ms);
        let report = sync(&granter, &sync_work()).await;
        assert!(report.revoked.is_empty(), "the guard withholds them, so they stay suspects");
        assert_eq!(world.journal.count(ASK), asked);
    }
}

#[tokio::test]
async fn a_suspect_that_is_listed_again_is_a_member_whatever_was_said() {
    let world = left(&[], 1..=21);
    let granter = world.granter();
    sync(&granter, &sync_work()).await;
    for number in 2..=20 {
        world.organization.add(account(number));
    }
    let report = sync(&granter, &sync_work()).await;
    assert_eq!((report.revoked, world.destinations.granted(&home())), (ids([21]), ids(1..=20)));
}

#[tokio::test]
async fn a_member_that_the_listing_lacks_is_enrolled_and_previewed_like_the_others() {
    let world = left(&[], 1..=3);
    world.organization.describe(account(2));
    world.organization.describe(Account { state: AccountState::Suspended, ..account(3) });
    let preview = world.granter().planner().preview(&sync_work()).await.unwrap();
    assert_eq!(preview.accounts.iter().map(|it| it.id).collect::<BTreeSet<_>>(), ids(1..=3));
    let granter = world.granter().announcing(world.outbox());
    for (after_ms, announced) in [(0, 1), (3_500_000, 0), (100_000, 1)] {
        world.clock.advance(after_ms);
        let report = sync(&granter, &sync_work()).await;
        assert_eq!(
            (report.announced, report.revoked.len()),
            (announced, 0),
            "a listing alone overlooked it for an hour"
        );
    }
    let Message::Enrollment(request) = &world.queues.messages(ENROLLMENTS)[0] else { panic!("not announced") };
    assert_eq!(request.account, account(2).id);
    assert_eq!(world.destinations.granted(&home()), ids(1..=3));
}

#[tokio::test]
async fn a_suspect_that_came_back_is_asked_about_again() {
    let world = left(&NO_LIMIT, 1..=3);
    let granter = world.granter();
    assert_eq!(sync(&granter, &sync_work()).await.revoked, ids(2..=3));
    // It joins again, and listings lag behind.
    world.organization.describe(account(2));
    sync(&granter, &GrantSync { joined: ids([2]), ..GrantSync::default() }).await;
    assert!(world.destinations.granted(&home()).contains(&id(2)));
    world.clock.advance(1_000_000);
    let report = sync(&granter, &sync_work()).await;
    assert!(report.revoked.is_empty(), "the last answer was that it is a member");
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
}

#[tokio::test]
async fn a_departed_account_that_is_listed_again_is_asked_about_and_granted() {
    let world = left(&NO_LIMIT, 1..=2);
    let granter = world.granter();
    sync(&granter, &GrantSync { departed: ids([2]), ..GrantSync::default() }).await;
    assert_eq!(world.destinations.granted(&home()), ids([1]));
    world.organization.add(account(2));
    sync(&granter, &sync_work()).await;
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
}

#[tokio::test]
async fn more_suspects_than_a_sync_asks_about_are_asked_about_by_the_next() {
    let world = left(&NO_LIMIT, 1..=1_301);
    let granter = world.granter().announcing(world.outbox());
    let mut metrics = Metrics::default();
    let report = granter.sync(&GrantSync { allow_mass_revocation: true, ..sync_work() }, &mut metrics).await;
    assert_eq!((world.journal.count(ASK), report.revoked.len(), report.not_asked), (600, 600, 700));
    let told = report.decisions.iter().find(|it| it.cause.contains("700")).unwrap();
    assert_eq!((told.outcome, told.next_step.is_some()), (Outcome::RetryLater, true));
    world.context().log.metrics(&metrics);
    assert_eq!(world.log.total(Metric::GrantsFailed), 700);
    let [Message::Sync(more)] = &world.queues.messages(GRANTS)[..] else { panic!("nothing goes on") };
    assert!(more.allow_mass_revocation, "what a person allowed holds for the rest, too");
    for (revoked, asked, messages) in [(600, 1_200, 2), (100, 1_300, 2), (0, 1_300, 2)] {
        world.clock.advance(90_000);
        let report = sync(&granter, &sync_work()).await;
        assert_eq!((report.revoked.len(), world.journal.count(ASK)), (revoked, asked));
        assert_eq!(world.queues.messages(GRANTS).len(), messages);
    }
    assert_eq!(world.destinations.granted(&away()), ids([1]));
}

#[tokio::test]
async fn slow_answers_end_the_asking_after_a_minute_and_not_the_sync() {
    let world = left(&NO_LIMIT, 1..=21);
    world.organization.add(account(50));
    world.journal.takes(ASK, 10, 1_000);
    world.journal.hang(ASK);
    let granter = world.granter().announcing(world.outbox());
    let report = sync(&granter, &sync_work()).await;
    assert!(report.not_asked > 0 && report.granted == ids([50]) && !report.needs_retry());
    assert_eq!(world.queues.messages(GRANTS).len(), 1);
    let report = sync(&granter, &sync_work()).await;
    assert_eq!((report.not_asked, world.destinations.granted(&home())), (0, ids([1, 50])));
}

#[tokio::test]
async fn without_any_answer_no_further_sync_is_asked_for() {
    let world = left(&NO_LIMIT, 1..=1_301);
    for _ in 0..8 {
        world.journal.hang(ASK);
    }
    let report = sync(&world.granter().announcing(world.outbox()), &sync_work()).await;
    assert_eq!((report.not_asked, world.queues.messages(GRANTS).len()), (1_300, 0));
}

#[tokio::test]
async fn a_sync_that_comes_back_by_itself_asks_for_no_other() {
    let world = left(&NO_LIMIT, 1..=1_301);
    world.journal.fail(PUT, 1, "OperationAbortedException");
    let report = sync(&world.granter().announcing(world.outbox()), &sync_work()).await;
    assert!(report.needs_retry());
    assert_eq!((report.not_asked, world.queues.messages(GRANTS).len()), (700, 0));
}

#[tokio::test]
async fn a_follow_up_that_cannot_be_sent_makes_the_batch_come_back() {
    let world = left(&NO_LIMIT, 1..=1_301);
    world.journal.fail(SEND, 1, "ServiceUnavailable");
    let report = sync(&world.granter().announcing(world.outbox()), &sync_work()).await;
    assert!(report.needs_retry());
}

#[tokio::test]
async fn an_account_that_cannot_be_asked_about_keeps_its_grant_and_nobody_else_from_theirs() {
    for (code, class) in [
        ("AccessDeniedException", Outcome::RetryLater),
        ("InvalidInputException", Outcome::Failed),
        ("TooManyRequestsException", Outcome::RetryLater),
        ("ServiceException", Outcome::RetryLater),
        ("Unparsable", Outcome::RetryLater),
    ] {
        let world = World::granted(&NO_LIMIT, [1, 2, 3]);
        world.organization.remove(id(2));
        world.organization.remove(id(3));
        world.organization.add(account(4));
        world.journal.fail_at(ASK, id(2), 1, code);
        let mut metrics = Metrics::default();
        let report = world.granter().sync(&sync_work(), &mut metrics).await;
        assert_eq!((&report.granted, &report.revoked), (&ids([4]), &ids([3])), "{code}");
        assert_eq!(world.destinations.granted(&away()), ids([1, 2, 4]));
        assert!(!report.needs_retry(), "the sweep asks again, and meanwhile nobody waits behind it");
        let told: Vec<_> = report.decisions.iter().filter(|it| it.account == Some(id(2))).collect();
        let [told] = &told[..] else { panic!("{told:?}") };
        assert_eq!((told.outcome, told.action.as_str()), (class, "revoke"));
        assert!(told.next_step.is_some() && told.cause.contains(code), "{}", told.cause);
        world.context().log.metrics(&metrics);
        assert_eq!(world.log.total(Metric::GrantsFailed), 1);
    }
}

#[tokio::test]
async fn who_was_not_answered_about_is_asked_about_last() {
    let world = left(&[], 1..=1_301);
    let granter = world.granter();
    world.journal.fail(ASK, 600, "AccessDeniedException");
    sync(&granter, &sync_work()).await;
    world.journal.clear();
    sync(&granter, &sync_work()).await;
    assert_eq!(world.journal.about(ASK)[0], id(602).to_string());
}

#[tokio::test]
async fn a_newcomer_that_cannot_be_asked_about_stops_nobody_and_is_tried_again() {
    let world = World::members(&ONE_REGION, [1]);
    world.organization.describe(account(2));
    world.journal.fail_at(ASK, id(2), 1, "AccessDeniedException");
    let granter = world.granter().announcing(world.outbox());
    let report = sync(&granter, &joined([1, 2])).await;
    assert_eq!((&report.granted, report.needs_retry()), (&ids([1]), false));
    assert_eq!(report.doubts.len(), 1);
    let told = report.decisions.iter().filter(|it| it.account == Some(id(2)));
    assert_eq!(told.map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::RetryLater], "it is not said to be unknown");
    let delays: Vec<u32> = world.queues.sent_to(ENROLLMENTS).iter().map(|it| it.delay_seconds).collect();
    assert_eq!(delays, [5, 60], "the enroller asks again in a minute");
}

#[tokio::test]
async fn a_departure_that_cannot_be_asked_about_comes_back_only_if_that_may_help() {
    for (code, comes_back) in
        [("ServiceException", true), ("AccessDeniedException", true), ("InvalidInputException", false)]
    {
        let world = World::granted(&ONE_REGION, [1, 2]);
        world.organization.add(account(3));
        world.organization.depart(id(2));
        world.journal.fail_at(ASK, id(2), 1, code);
        let report = sync(&world.granter(), &departed([2])).await;
        assert_eq!((report.needs_retry(), world.destinations.granted(&home())), (comes_back, ids([1, 2, 3])), "{code}");
        assert!(report.decisions.iter().any(|it| it.account == Some(id(2)) && it.next_step.is_some()));
    }
}

fn unknown(number: u32) -> Account {
    Account { state: AccountState::Unknown, ..account(number) }
}

#[tokio::test]
async fn a_state_that_nobody_knows_takes_no_grant_gives_none_and_is_told() {
    let world = World::granted(&ONE_REGION, [1, 2]);
    for number in [2, 3] {
        world.organization.add(unknown(number));
    }
    world.organization.add(account(4));
    let mut metrics = Metrics::default();
    let report = world.granter().sync(&sync_work(), &mut metrics).await;
    assert_eq!((&report.granted, world.destinations.granted(&home())), (&ids([4]), ids([1, 2, 4])));
    let told = report.decisions.iter().filter(|it| it.outcome == Outcome::Failed && it.next_step.is_some());
    assert_eq!(told.filter_map(|it| it.account).collect::<BTreeSet<_>>(), ids([2, 3]));
    assert!(!report.needs_retry());
    world.context().log.metrics(&metrics);
    assert_eq!(world.log.total(Metric::GrantsFailed), 2);
}

#[tokio::test]
async fn only_a_sync_or_its_own_message_tells_of_a_state_that_nobody_knows() {
    let world = World::granted(&ONE_REGION, [1, 2]);
    world.organization.add(unknown(2));
    let granter = world.granter();
    assert!(sync(&granter, &requested([1])).await.doubts.is_empty());
    assert_eq!(sync(&granter, &requested([2])).await.doubts.len(), 1);
}

#[tokio::test]
async fn a_suspect_or_newcomer_in_a_state_that_nobody_knows_is_told_of_once() {
    let world = World::granted(&ONE_REGION, [1, 2]);
    world.organization.remove(id(2));
    world.organization.describe(unknown(2));
    world.organization.describe(unknown(3));
    let work = GrantSync { joined: ids([3]), ..sync_work() };
    let report = sync(&world.granter(), &work).await;
    assert_eq!(report.doubts.iter().filter_map(GranterError::account).collect::<Vec<_>>(), [id(3), id(2)]);
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
}

#[tokio::test]
async fn an_excluded_account_in_a_state_that_nobody_knows_is_no_failure() {
    let world = World::granted(&[("excluded_accounts", "111111110002")], [1]);
    world.organization.add(unknown(2));
    assert!(sync(&world.granter(), &sync_work()).await.doubts.is_empty());
}
