use enroller_core::observed::{Account, AccountState};

use super::*;
use crate::testing::{account, at, id, ids};

const ASK: &str = "organizations:DescribeAccount";
const EXCLUDING: [(&str, &str); 1] = [("excluded_organizational_units", "ou-ab12-sandbox1")];

fn entered(world: &World) -> bool {
    world.journal.count("sts:AssumeRole") > 0
}

#[tokio::test]
async fn an_account_that_our_statement_lists_is_not_asked_about() {
    let world = World::fresh(&[]);
    reconcile(&world).await;
    assert!(entered(&world) && world.journal.count(ASK) == 0);
}

#[tokio::test]
async fn where_units_are_excluded_each_account_is_asked_about() {
    let world = World::fresh(&EXCLUDING);
    reconcile(&world).await;
    assert!(entered(&world));
    assert_eq!(world.journal.about(ASK), [id(1).to_string()]);
    let first = world.journal.calls().iter().position(|call| call.operation == ASK);
    assert!(first < world.journal.calls().iter().position(|call| call.operation == "sts:AssumeRole"));
}

#[tokio::test]
async fn an_account_below_an_excluded_unit_is_not_entered() {
    let world = World::fresh(&EXCLUDING);
    let parents = vec!["r-ab12".parse().unwrap(), "ou-ab12-sandbox1".parse().unwrap()];
    world.organization.add(Account { parents, ..account(1) });
    let report = reconcile(&world).await;
    assert!(!entered(&world));
    assert!(report.account_regions.iter().all(|it| it.errors.is_empty() && it.decisions.len() == 1));
}

#[tokio::test]
async fn an_account_that_is_not_active_is_not_entered() {
    let world = World::members(&[], []);
    world.organization.add(Account { state: AccountState::Suspended, ..account(1) });
    let report = reconcile(&world).await;
    assert!(!entered(&world) && !report.needs_retry());
}

#[tokio::test]
async fn an_account_in_a_state_that_nobody_knows_is_reconciled() {
    let world = World::fresh(&EXCLUDING);
    world.organization.add(Account { state: AccountState::Unknown, ..account(1) });
    let report = reconcile(&world).await;
    assert!(entered(&world) && report.account_regions.iter().all(|it| it.vpcs.len() == 1 && it.errors.is_empty()));
}

#[tokio::test]
async fn an_account_that_is_being_activated_is_tried_again_until_it_is_active() {
    let world = World::members(&[], []);
    let enroller = world.enroller();
    world.organization.add(Account { state: AccountState::PendingActivation, ..account(1) });
    let report = enroller.reconcile(&work(1, [home()]), DEADLINE).await;
    assert!(report.needs_retry() && !entered(&world));
    world.organization.add(account(1));
    world.clock.advance(15_000);
    assert!(enroller.reconcile(&work(1, [home()]), DEADLINE).await.needs_grant());
}

#[tokio::test]
async fn whom_only_others_let_in_is_asked_about() {
    let world = World::with(&[]);
    let named = serde_json::json!({"Version": "2012-10-17", "Statement": [{"Sid": "partner", "Effect": "Allow",
        "Principal": {"AWS": [id(1)]}, "Action": "logs:PutSubscriptionFilter", "Resource": "*"}]});
    world.grant(&home(), 1, ids([]));
    world.destinations.all.lock().unwrap().get_mut(&(home(), world.shard(1))).unwrap().policy = Some(named.to_string());
    let report = reconcile_home(&world).await;
    assert_eq!(report.errors, [ReconcileError::NotAMember]);
    assert!(!entered(&world));
}

#[tokio::test]
async fn a_stranger_is_remembered_for_fifteen_seconds() {
    let world = World::with(&[]);
    let enroller = world.enroller();
    for (after_ms, asked) in [(0, 1), (14_999, 1), (1, 2)] {
        world.clock.advance(after_ms);
        let report = enroller.reconcile(&work(1, [home(), away()]), DEADLINE).await;
        assert!(report.account_regions.iter().all(|it| it.errors == [ReconcileError::NotAMember]));
        assert!(report.needs_retry() && !report.needs_grant());
        assert_eq!(world.journal.count(ASK), asked);
    }
    assert!(!entered(&world));
}

#[tokio::test]
async fn a_member_is_remembered_for_five_minutes() {
    let world = World::enrolled(&EXCLUDING);
    let enroller = world.enroller();
    for (after_ms, asked) in [(0, 1), (299_999, 1), (1, 2)] {
        world.clock.advance(after_ms);
        enroller.reconcile(&work(1, [home()]), DEADLINE).await;
        assert_eq!(world.journal.count(ASK), asked);
    }
}

#[tokio::test]
async fn asking_about_one_account_forgets_no_other() {
    let world = World::granted(&EXCLUDING, [1, 2]);
    let enroller = world.enroller();
    for (number, asked) in [(1, 1), (2, 2), (1, 2), (2, 2)] {
        enroller.reconcile(&work(number, [home()]), DEADLINE).await;
        assert_eq!(world.journal.count(ASK), asked);
        world.clock.advance(1);
    }
}

#[tokio::test]
async fn where_a_listing_says_too_little_a_fresh_request_that_names_destinations_is_believed() {
    let named = |world: &World, region: Region| (region, world.shard(1));
    for (age_ms, asked) in [(0, 0), (899_999, 0), (900_000, 1)] {
        let world = World::fresh(&EXCLUDING);
        let destinations = BTreeMap::from([named(&world, home()), named(&world, away())]);
        let at_ms = world.context().clock.now_ms() - age_ms;
        let both = AccountWork {
            destinations,
            asked_by: AskedBy::Message { at_ms: Some(at_ms) },
            ..work(1, [home(), away()])
        };
        world.enroller().reconcile(&both, DEADLINE).await;
        assert!(entered(&world));
        assert_eq!(world.journal.count(ASK), asked, "{age_ms}");
        let half = AccountWork { destinations: BTreeMap::from([named(&world, home())]), ..both.clone() };
        world.enroller().reconcile(&half, DEADLINE).await;
        assert_eq!(world.journal.count(ASK), asked + 1, "for the other Region nobody has asked");
        world.journal.calls();
        let undated = AccountWork { asked_by: AskedBy::Message { at_ms: None }, ..both };
        world.enroller().reconcile(&undated, DEADLINE).await;
        assert_eq!(world.journal.count(ASK), asked + 2);
    }
}

#[tokio::test]
async fn a_request_about_a_stranger_is_not_believed_whatever_it_names() {
    let world = World::with(&[]);
    for region in [home(), away()] {
        world.grant(&region, 1, ids([2]));
    }
    let at_ms = Some(world.context().clock.now_ms());
    let destinations = BTreeMap::from([(home(), world.shard(1))]);
    let work = AccountWork { destinations, asked_by: AskedBy::Message { at_ms }, ..work(1, [home()]) };
    let report = world.enroller().reconcile(&work, DEADLINE).await;
    assert_eq!(region_of(&report, &home()).errors, [ReconcileError::NotAMember]);
    assert!(!entered(&world));
}

#[tokio::test]
async fn an_account_that_left_an_excluded_unit_is_entered_after_a_moment() {
    let world = World::fresh(&EXCLUDING);
    let enroller = world.enroller();
    let parents = vec!["r-ab12".parse().unwrap(), "ou-ab12-sandbox1".parse().unwrap()];
    world.organization.add(Account { parents, ..account(1) });
    enroller.reconcile(&work(1, [home()]), DEADLINE).await;
    world.organization.add(account(1));
    world.clock.advance(15_000);
    enroller.reconcile(&work(1, [home()]), DEADLINE).await;
    assert!(entered(&world));
}

#[tokio::test]
async fn no_answer_about_an_account_fails_all_regions_and_is_forgotten() {
    let world = World::fresh(&EXCLUDING);
    let enroller = world.enroller();
    world.journal.fail(ASK, 1, "TooManyRequestsException");
    let report = enroller.reconcile(&work(1, [home(), away()]), DEADLINE).await;
    assert!(report.account_regions.iter().all(|it| codes(it) == [Code::Throttled]));
    assert!(!entered(&world) && report.account_regions.len() == 2);
    let report = enroller.reconcile(&work(1, [home(), away()]), DEADLINE).await;
    assert!(report.account_regions.iter().all(|it| it.errors.is_empty()));
}

#[tokio::test]
async fn unreadable_policies_everywhere_ask_nobody() {
    let world = World::fresh(&EXCLUDING);
    world.journal.fail("logs:DescribeDestinations", 2, "ThrottlingException");
    let report = reconcile(&world).await;
    assert_eq!((world.journal.count(ASK), entered(&world)), (0, false));
    assert!(report.account_regions.iter().all(|it| codes(it) == [Code::Throttled]));
}

#[tokio::test]
async fn in_organization_mode_each_account_is_asked_about() {
    let world = World::fresh(&[("grant_mode", "organization")]);
    reconcile(&world).await;
    assert_eq!(world.journal.count(ASK), 1);
    assert!(world.logs.filters_of(&at(1, home()))[0].role.is_some());
}
