use enroller_core::log::Outcome;
use serde_json::json;

use super::*;
use crate::testing::{account, at};

#[tokio::test]
async fn more_revocations_than_the_limit_are_withheld() {
    let world = World::granted(&[], 1..=10);
    for number in 2..=4 {
        world.organization.remove(id(number));
    }
    let granter = world.granter();
    let mut metrics = Metrics::default();
    let report = granter.sync(&sync_work(), &mut metrics).await;
    assert_eq!((report.revoked, world.journal.count(PUT)), (ids([]), 0));
    world.context().log.metrics(&metrics);
    assert_eq!(world.log.total(Metric::RevocationsWithheld), 6, "three in each Region");
    let report = sync(&granter, &GrantSync { allow_mass_revocation: true, ..sync_work() }).await;
    assert_eq!(report.revoked, ids(2..=4));
    assert_eq!(world.destinations.granted(&home()), ids([1, 5, 6, 7, 8, 9, 10]));
}

#[tokio::test]
async fn the_limit_of_revocations_holds_for_a_day_and_not_for_a_run() {
    let world = World::granted(&ONE_REGION, 1..=30);
    let granter = world.granter();
    let gone = |number| {
        world.organization.remove(id(number));
        departed([number])
    };
    for (number, revoked) in [(1, 1), (2, 1), (3, 1), (4, 0), (5, 0)] {
        world.clock.advance(60_000);
        let report = sync(&granter, &gone(number)).await;
        assert_eq!(report.revoked.len(), revoked, "account {number}");
    }
    world.clock.advance(86_400_000);
    let report = sync(&granter, &sync_work()).await;
    assert_eq!(report.revoked, ids([4, 5]), "another day");
}

#[tokio::test]
async fn what_a_person_allowed_does_not_count_for_the_day() {
    let world = World::granted(&ONE_REGION, 1..=30);
    let granter = world.granter();
    for number in 1..=10 {
        world.organization.remove(id(number));
    }
    sync(&granter, &GrantSync { allow_mass_revocation: true, ..sync_work() }).await;
    world.organization.remove(id(11));
    assert_eq!(sync(&granter, &sync_work()).await.revoked, ids([11]));
}

#[tokio::test]
async fn with_a_limit_of_zero_nothing_is_revoked_unless_a_person_allows_it() {
    let world = World::granted(&[ONE_REGION[0], ("revocation_limit_percent", "0")], 1..=30);
    world.organization.remove(id(1));
    let granter = world.granter();
    assert_eq!(sync(&granter, &sync_work()).await.revoked, ids([]));
    let report = sync(&granter, &GrantSync { allow_mass_revocation: true, ..sync_work() }).await;
    assert_eq!(report.revoked, ids([1]));
}

#[tokio::test]
async fn a_mass_revocation_does_not_pass_in_the_instalments_that_are_asked_about() {
    let world = World::members(&[ONE_REGION[0], ("revocation_limit_percent", "60")], 1..=10);
    for (shard, numbers) in [(1, 1..=300), (2, 301..=600), (3, 601..=900), (4, 901..=1_000)] {
        world.grant(&home(), shard, ids(numbers));
    }
    let granter = world.granter();
    for _ in 0..3 {
        let report = sync(&granter, &sync_work()).await;
        assert_eq!(report.revoked.len(), 0, "600 of 1,000 would pass, but 390 more are suspected");
    }
    assert_eq!(world.journal.count(ASK), 990);
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_is_told_of_and_not_written() {
    let world = World::granted(&ONE_REGION, [1]);
    world.destinations.all.lock().unwrap().get_mut(&(home(), world.shard(1))).unwrap().policy = Some("[]".to_owned());
    world.organization.add(account(2));
    let report = sync(&world.granter(), &sync_work()).await;
    assert!(world.journal.about(PUT).iter().all(|it| it.ends_with("-2")), "{:?}", world.journal.about(PUT));
    assert!(report.decisions.iter().any(|it| it.action == "plan-grants" && it.outcome == Outcome::Failed));
}

#[tokio::test]
async fn only_the_regions_and_accounts_that_are_meant_are_worked_on() {
    let world = World::members(&[], [1, 2]);
    let only = BackfillRequest { accounts: ids([1]), regions: [away()].into(), ..BackfillRequest::default() };
    let report = sync(&world.granter(), &GrantSync { only: Some(only), ..sync_work() }).await;
    assert_eq!(report.granted, ids([1]));
    assert!(world.journal.about(READ).iter().all(|it| it == "us-east-1"));
    assert_eq!(world.destinations.granted(&away()), ids([1]));
}

#[tokio::test]
async fn who_is_not_meant_keeps_its_grant() {
    let world = World::granted(&[], [1, 2, 3]);
    world.organization.remove(id(3));
    let only = BackfillRequest { accounts: ids([1]), ..BackfillRequest::default() };
    sync(&world.granter(), &GrantSync { only: Some(only), ..sync_work() }).await;
    assert_eq!((world.journal.count(ASK), world.journal.count(PUT)), (0, 0));
    assert_eq!(world.destinations.granted(&home()), ids([1, 2, 3]));
}

#[tokio::test]
async fn a_preview_shows_the_plans_and_changes_nothing() {
    let world = World::granted(&[], [1]);
    world.organization.add(account(2));
    let preview = world.planner().preview(&sync_work()).await.unwrap();
    assert!(world.journal.changes().is_empty());
    assert_eq!(preview.accounts.len(), 2);
    assert_eq!(preview.plans().keys().cloned().collect::<Vec<_>>(), [home(), away()]);
    assert!(preview.plans().values().all(|plan| plan.granted == ids([2]) && plan.writes.len() == 1));
    let granted_on = |number| preview.granted_on(id(number))[&home()].clone();
    assert_eq!((granted_on(1).now, granted_on(1).planned), (Some(world.shard(1)), world.shard(1)));
    assert_eq!((granted_on(2).now, granted_on(2).planned), (None, world.shard(1)));
}

#[tokio::test]
async fn a_preview_names_the_region_that_cannot_be_read() {
    let world = World::granted(&[], [1]);
    world.journal.fail_at(READ, home(), 1, "AccessDeniedException");
    let preview = world.planner().preview(&sync_work()).await.unwrap();
    assert!(preview.regions[&home()].is_err());
    assert_eq!(preview.plans().keys().cloned().collect::<Vec<_>>(), [away()]);
    assert_eq!(preview.granted_on(id(1)).keys().cloned().collect::<Vec<_>>(), [away()]);
}

#[tokio::test]
async fn a_preview_needs_the_whole_organization() {
    let world = World::granted(&[], [1]);
    world.journal.fail(LIST, 1, "TooManyRequestsException");
    assert_eq!(world.planner().preview(&sync_work()).await.unwrap_err().code, Code::Throttled);
}

/// An installation that changes to organization mode: accounts 1 and 2 are listed, and their filters may have a role.
fn switching(with_role: &[u32]) -> World {
    let world = World::granted(&[("grant_mode", "organization"), ONE_REGION[0]], [1, 2]);
    for number in [1, 2] {
        world.enroll(&at(number, home()), number);
        if !with_role.contains(&number) {
            for filter in world.logs.filters.lock().unwrap().get_mut(&at(number, home())).unwrap() {
                filter.role = None;
            }
        }
    }
    world
}

#[tokio::test]
async fn the_switch_to_the_organization_waits_for_a_person_who_looked_at_the_filters() {
    let world = switching(&[1, 2]);
    let granter = world.granter();
    let allowed = GrantSync { allow_mass_revocation: true, ..sync_work() };
    let filters = world.inspector().filter_roles(&granter.planner().accounts_before_switch().await).await;
    assert_eq!((filters.ready.get(&home()), filters.problems.len()), (Some(&ids([1, 2])), 0));
    let looked = GrantSync { filters_with_role: filters.ready, ..allowed.clone() };
    for work in [sync_work(), allowed, GrantSync { allow_mass_revocation: false, ..looked.clone() }] {
        let report = sync(&granter, &work).await;
        assert_eq!(world.journal.count(PUT), 0);
        let told = report.decisions.iter().find(|it| it.action == "switch-to-organization").unwrap();
        assert!(told.outcome == Outcome::Failed && told.cause.contains("2 accounts"), "{}", told.cause);
    }
    let preview = granter.planner().preview(&looked).await.unwrap();
    assert!(preview.plans()[&home()].writes[0].force, "the preview shows what the run does");
    let report = sync(&granter, &GrantSync { approved: Some(preview.plans()), ..looked }).await;
    assert!(world.journal.about(PUT)[0].ends_with("forced"));
    assert!(report.decisions.iter().any(|it| it.action == "switch-to-organization" && it.outcome == Outcome::Done));
    assert!(granter.planner().accounts_before_switch().await.is_empty());
}

#[tokio::test]
async fn one_filter_without_a_role_or_out_of_sight_keeps_the_policy_as_it_is() {
    let out_of_sight = switching(&[1, 2]);
    out_of_sight.journal.fail("sts:AssumeRole", 1, "AccessDenied");
    for (world, problem) in [(switching(&[1]), "no role"), (out_of_sight, "AccessDenied")] {
        let granter = world.granter();
        let filters = world.inspector().filter_roles(&granter.planner().accounts_before_switch().await).await;
        let [told] = &filters.problems[..] else { panic!("{:?}", filters.problems) };
        assert!(told.cause.contains(problem) && told.next_step.is_some(), "{told:?}");
        let work = GrantSync { filters_with_role: filters.ready, allow_mass_revocation: true, ..sync_work() };
        let report = sync(&granter, &work).await;
        assert_eq!(world.journal.count(PUT), 0);
        let told = report.decisions.iter().find(|it| it.action == "switch-to-organization").unwrap();
        assert!(told.cause.contains("1 account ("), "{}", told.cause);
    }
}

#[tokio::test]
async fn without_a_filter_or_in_a_disabled_region_nothing_can_stop() {
    let world = World::granted(&[("grant_mode", "organization"), ONE_REGION[0]], [1, 2]);
    world.journal.fail_at("logs:DescribeSubscriptionFilters", id(2), 1, "UnrecognizedClientException");
    world.ec2.enabled.lock().unwrap().remove(&home());
    let filters = world.inspector().filter_roles(&world.planner().accounts_before_switch().await).await;
    assert_eq!((filters.ready.get(&home()), filters.problems.len()), (Some(&ids([1, 2])), 0));
}

#[tokio::test]
async fn accounts_that_only_others_list_depend_on_the_list_as_well() {
    let world = World::members(&[("grant_mode", "organization"), ONE_REGION[0]], [1]);
    world.grant(&home(), 1, ids([]));
    let theirs = json!({"Statement": [{"Sid": "partner", "Effect": "Allow", "Principal": {"AWS": ["222222220001"]},
        "Action": "logs:PutSubscriptionFilter", "Resource": "*"}]});
    world.destinations.all.lock().unwrap().get_mut(&(home(), world.shard(1))).unwrap().policy =
        Some(theirs.to_string());
    sync(&world.granter(), &GrantSync { allow_mass_revocation: true, ..sync_work() }).await;
    assert!(world.journal.about(PUT).iter().all(|it| !it.ends_with("forced")));
}

#[tokio::test]
async fn in_organization_mode_a_first_destination_names_the_organization() {
    let world = World::members(&[("grant_mode", "organization"), ONE_REGION[0]], [1]);
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!((report.writes, report.errors.len()), (1, 0));
    let policy = world.destinations.all.lock().unwrap()[&(home(), world.shard(1))].policy.clone().unwrap();
    assert!(policy.contains("aws:PrincipalOrgID"));
    assert!(world.destinations.granted(&home()).is_empty());
}

#[tokio::test]
async fn a_policy_that_lists_nobody_is_switched_without_a_person() {
    let world = World::members(&[("grant_mode", "organization"), ONE_REGION[0]], [1]);
    world.grant(&home(), 1, ids([]));
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!((report.writes, report.errors.len()), (1, 0));
    let policy = world.destinations.all.lock().unwrap()[&(home(), world.shard(1))].policy.clone().unwrap();
    assert!(policy.contains("aws:PrincipalOrgID"));
}

#[tokio::test]
async fn where_nothing_is_done_nothing_is_measured() {
    let (world, mut metrics) = (World::with(&[]), Metrics::default());
    world.granter().sync(&sync_work(), &mut metrics).await;
    assert!(metrics.to_emf("function", 0).is_empty());
    let world = World::granted(&ONE_REGION, [1]);
    world.granter().sync(&sync_work(), &mut metrics).await;
    let [bytes] = &metrics.to_emf("function", 0)[..] else { panic!("more than the policy's bytes") };
    assert!(bytes.contains(Metric::PolicyBytes.name()));
}

#[tokio::test]
async fn whom_the_organizations_grant_lets_in_is_reported_as_granted() {
    let world = World::members(&[("grant_mode", "organization"), ONE_REGION[0]], [1]);
    let preview = world.planner().preview(&sync_work()).await.unwrap();
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!(report.granted, preview.regions[&home()].as_ref().unwrap().granted);
}

#[tokio::test]
async fn usage_and_assignments_are_reported_by_region() {
    let world = World::granted(&[], [1, 2]);
    let mut metrics = Metrics::default();
    let report = world.granter().sync(&sync_work(), &mut metrics).await;
    assert_eq!(report.usage[&home()][0].accounts, 2);
    assert_eq!(report.assignments[&away()].get(&id(2)), Some(&world.shard(1)));
    world.context().log.metrics(&metrics);
    assert!(world.log.total(Metric::PolicyBytes) > 0);
}

#[tokio::test]
async fn statements_of_others_survive_a_write() {
    let world = World::granted(&ONE_REGION, [1]);
    let theirs = json!({"Sid": "partner", "Effect": "Allow", "Principal": {"AWS": ["222222220001"]},
        "Action": "logs:PutSubscriptionFilter", "Resource": "*"});
    let key = (home(), world.shard(1));
    let policy = world.destinations.all.lock().unwrap()[&key].policy.clone().unwrap();
    let mut policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(theirs.clone());
    world.destinations.all.lock().unwrap().get_mut(&key).unwrap().policy = Some(policy.to_string());
    world.organization.add(account(2));
    sync(&world.granter(), &sync_work()).await;
    let policy = world.destinations.all.lock().unwrap()[&key].policy.clone().unwrap();
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    assert!(policy["Statement"].as_array().unwrap().contains(&theirs));
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
    assert_eq!(world.journal.about(ASK), Vec::<String>::new(), "a partner is no suspect");
}
