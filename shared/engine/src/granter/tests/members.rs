use enroller_core::log::Outcome;
use enroller_core::observed::{Account, AccountState};

use super::*;
use crate::testing::account;

#[tokio::test]
async fn members_in_scope_are_granted_and_others_are_not() {
    let world = World::members(&[("excluded_accounts", "111111110002")], [1, 2]);
    world.organization.add(Account { state: AccountState::Suspended, ..account(3) });
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!(world.destinations.granted(&home()), ids([1]));
    assert_eq!((&report.granted, report.errors.len()), (&ids([1]), 0));
    assert!(report.decisions.iter().all(|it| it.outcome == Outcome::Done), "a sweep does not name all it leaves out");
}

#[tokio::test]
async fn nothing_is_written_when_the_listing_fails() {
    let world = World::members(&[], [1]);
    world.journal.fail(LIST, 1, "TooManyRequestsException");
    let report = sync(&world.granter().announcing(world.outbox()), &sync_work()).await;
    assert_eq!(codes(&report), [Code::Throttled]);
    assert!(report.needs_retry());
    assert_eq!(world.journal.calls().len(), 1);
}

#[tokio::test]
async fn a_listing_is_used_again_for_a_minute() {
    let world = World::granted(&[], [1]);
    let granter = world.granter();
    for (after_ms, listed) in [(0, 1), (59_999, 1), (1, 2)] {
        world.clock.advance(after_ms);
        sync(&granter, &joined([1])).await;
        assert_eq!(world.journal.count(LIST), listed);
    }
}

#[tokio::test]
async fn a_listing_is_as_old_as_its_end_and_lasts_five_times_as_long_as_it_took() {
    for (took_ms, lasts_ms) in [(1_000, 60_000), (61_000, 305_000), (300_000, 600_000)] {
        let world = World::granted(&[], [1]);
        let granter = world.granter();
        world.journal.takes(LIST, 1, took_ms);
        for (after_ms, listed) in [(0, 1), (lasts_ms - 1, 1), (1, 2)] {
            world.clock.advance(after_ms);
            sync(&granter, &joined([1])).await;
            assert_eq!(world.journal.count(LIST), listed, "{took_ms} ms and {after_ms} ms later");
        }
    }
}

#[tokio::test]
async fn a_slow_listing_is_not_repeated_for_one_newcomer() {
    for (took_ms, listed) in [(5_000, 2), (5_001, 1)] {
        let world = World::granted(&ONE_REGION, [1]);
        let granter = world.granter();
        world.journal.takes(LIST, 1, took_ms);
        sync(&granter, &joined([1])).await;
        world.organization.describe(account(2));
        let report = sync(&granter, &joined([2])).await;
        assert_eq!((report.granted, world.journal.count(LIST)), (ids([2]), listed));
        assert!(sync(&granter, &joined([2])).await.granted.is_empty(), "it is remembered as a member");
    }
}

#[tokio::test]
async fn of_an_account_that_moved_nothing_but_its_own_state_is_asked() {
    let world = World::members(&[("excluded_organizational_units", "ou-ab12-sandbox1")], [1, 2]);
    let granter = world.granter();
    let report = sync(&granter, &moved([2])).await;
    assert_eq!((world.journal.count(LIST), world.journal.about(ASK)), (0, vec![id(2).to_string()]));
    assert_eq!(report.granted, ids([2]));
    let parents = vec!["r-ab12".parse().unwrap(), "ou-ab12-sandbox1".parse().unwrap()];
    world.organization.add(Account { parents, ..account(1) });
    let report = sync(&granter, &moved([1])).await;
    assert_eq!(report.decisions.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Ignored]);
    assert_eq!((world.journal.count(LIST), world.destinations.granted(&home())), (0, ids([2])));
}

#[tokio::test]
async fn what_was_said_of_an_account_that_moved_corrects_the_listing() {
    let world = World::granted(&[("excluded_organizational_units", "ou-ab12-sandbox1")], [1]);
    let parents = vec!["r-ab12".parse().unwrap(), "ou-ab12-sandbox1".parse().unwrap()];
    world.organization.add(Account { parents, ..account(2) });
    let granter = world.granter();
    sync(&granter, &joined([1])).await;
    world.organization.describe(account(2));
    assert_eq!(sync(&granter, &moved([2])).await.granted, ids([2]));
    assert_eq!(sync(&granter, &joined([1])).await.errors.len(), 0);
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
    assert_eq!(world.journal.count(LIST), 1);
}

#[tokio::test]
async fn a_sync_lists_anew() {
    let world = World::granted(&[], [1]);
    let granter = world.granter();
    sync(&granter, &joined([1])).await;
    sync(&granter, &sync_work()).await;
    assert_eq!(world.journal.count(LIST), 2);
    sync(&granter, &joined([1])).await;
    assert_eq!(world.journal.count(LIST), 2, "its listing is as good as any");
}

#[tokio::test]
async fn a_newcomer_that_the_listing_lacks_brings_its_companions() {
    let world = World::granted(&[], [1]);
    let granter = world.granter();
    sync(&granter, &joined([1])).await;
    for number in [2, 3] {
        world.organization.add(account(number));
    }
    let report = sync(&granter, &joined([2])).await;
    assert_eq!((world.journal.about(ASK), world.journal.count(LIST)), (vec![id(2).to_string()], 2));
    assert_eq!(report.granted, ids([2, 3]), "account 3 has come too, though its message is still on the queue");
}

#[tokio::test]
async fn a_newcomer_that_no_listing_shows_is_granted_on_the_word_about_it() {
    let world = World::granted(&[], [1]);
    world.organization.describe(account(2));
    let report = sync(&world.granter(), &requested([2])).await;
    assert_eq!(report.granted, ids([2]));
    assert_eq!(world.destinations.granted(&away()), ids([1, 2]));
}

#[tokio::test]
async fn an_account_that_nobody_knows_is_not_granted() {
    let world = World::granted(&[], [1]);
    let report = sync(&world.granter(), &joined([7])).await;
    assert_eq!((report.unknown, report.errors.len()), (ids([7]), 0));
    assert_eq!((world.journal.count(LIST), world.journal.count(PUT)), (1, 0));
}

#[tokio::test]
async fn an_account_that_nobody_knew_is_granted_as_soon_as_it_is_listed() {
    let world = World::granted(&[], [1]);
    let granter = world.granter();
    sync(&granter, &joined([7])).await;
    world.organization.add(account(7));
    assert_eq!(sync(&granter, &sync_work()).await.granted, ids([7]));
}

#[tokio::test]
async fn an_account_that_is_being_activated_comes_back_until_it_is_active() {
    let world = World::granted(&[], [1]);
    world.organization.add(Account { state: AccountState::PendingActivation, ..account(7) });
    let granter = world.granter().announcing(world.outbox());
    let report = sync(&granter, &joined([7])).await;
    assert_eq!((&report.unknown, report.announced, report.errors.len()), (&ids([7]), 1, 0));
    assert_eq!(world.destinations.granted(&away()), ids([1]));
    let told: Vec<_> = report.decisions.iter().map(|it| (it.account, it.outcome, it.cause.as_str())).collect();
    let cause = "the account's state is PENDING_ACTIVATION; it will be looked up again";
    assert_eq!(told, [(Some(id(7)), Outcome::RetryLater, cause)]);
    world.organization.add(account(7));
    assert_eq!(sync(&granter, &sync_work()).await.granted, ids([7]));
}

#[tokio::test]
async fn a_departure_that_is_not_confirmed_takes_no_grant() {
    let world = World::granted(&[], [1, 2]);
    let report = sync(&world.granter(), &departed([2])).await;
    assert!(report.revoked.is_empty());
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
    let told: Vec<_> = report.decisions.iter().map(|it| (it.account, it.outcome)).collect();
    assert_eq!(told, [(Some(id(2)), Outcome::Ignored)]);
}

#[tokio::test]
async fn a_confirmed_departure_takes_the_grant_everywhere() {
    let closed = |world: &World| world.organization.add(Account { state: AccountState::Closed, ..account(2) });
    let left = |world: &World| world.organization.remove(id(2));
    let lags = |world: &World| world.organization.depart(id(2));
    for gone in [&closed as &dyn Fn(&World), &left, &lags] {
        let world = World::granted(&[], [1, 2]);
        gone(&world);
        let report = sync(&world.granter(), &departed([2])).await;
        assert_eq!(report.revoked, ids([2]));
        for region in [home(), away()] {
            assert_eq!(world.destinations.granted(&region), ids([1]));
        }
    }
}

#[tokio::test]
async fn who_left_is_not_granted_again_by_a_listing_that_lags() {
    let world = World::granted(&[], [1, 2]);
    world.organization.depart(id(2));
    let granter = world.granter();
    sync(&granter, &departed([2])).await;
    for (after_ms, granted) in [(0, ids([1])), (899_999, ids([1])), (1, ids([1, 2]))] {
        world.clock.advance(after_ms);
        sync(&granter, &sync_work()).await;
        assert_eq!(world.destinations.granted(&home()), granted);
    }
}

#[tokio::test]
async fn who_was_closed_is_not_granted_again_by_a_listing_that_lags() {
    let world = World::granted(&[], [1, 2]);
    world.organization.describe(Account { state: AccountState::Closed, ..account(2) });
    let granter = world.granter();
    sync(&granter, &departed([2])).await;
    sync(&granter, &sync_work()).await;
    assert_eq!(world.destinations.granted(&home()), ids([1]));
}

#[tokio::test]
async fn who_left_and_came_back_is_granted_on_the_word_about_it() {
    let world = World::granted(&[], [1, 2]);
    world.organization.depart(id(2));
    let granter = world.granter();
    sync(&granter, &departed([2])).await;
    world.organization.describe(account(2));
    let report = sync(&granter, &joined([2])).await;
    assert_eq!(report.granted, ids([2]));
    sync(&granter, &sync_work()).await;
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
}

#[tokio::test]
async fn missing_from_the_listing_is_no_evidence() {
    let world = World::granted(&[], [1, 2]);
    world.organization.listed.lock().unwrap().remove(&id(2));
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!(world.journal.about(ASK), [id(2).to_string()]);
    assert_eq!((report.revoked, world.destinations.granted(&home())), (ids([]), ids([1, 2])));
}

#[tokio::test]
async fn a_sync_takes_grants_of_those_who_are_gone() {
    let world = World::granted(&[], [1, 2]);
    world.organization.remove(id(2));
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!((report.revoked, world.destinations.granted(&home())), (ids([2]), ids([1])));
}

#[tokio::test]
async fn only_a_sync_suspects_accounts_that_nobody_named() {
    let world = World::granted(&[], [1, 2]);
    world.organization.remove(id(2));
    let report = sync(&world.granter(), &joined([1])).await;
    assert_eq!(world.journal.count(ASK), 0);
    assert!(report.revoked.is_empty());
}

#[tokio::test]
async fn out_of_scope_takes_no_grant() {
    let world = World::granted(&[("excluded_accounts", "111111110002")], [1, 2]);
    let report = sync(&world.granter(), &joined([2])).await;
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
    assert_eq!(report.decisions.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Ignored]);
}
