use std::sync::Arc;
use std::sync::atomic::Ordering;

use enroller_core::log::Outcome;

use super::*;
use crate::testing::account;

fn operations(world: &World) -> Vec<&'static str> {
    world.journal.calls().into_iter().map(|call| call.operation).collect()
}

#[tokio::test]
async fn a_new_destination_comes_before_its_policy_and_is_read_back() {
    let world = World::members(&ONE_REGION, [1]);
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!(operations(&world), [LIST, READ, "logs:PutDestination", PUT, READ]);
    assert_eq!((report.granted, report.writes), (ids([1]), 1));
}

#[tokio::test]
async fn an_announcing_granter_reads_again_before_it_writes() {
    let world = World::members(&ONE_REGION, [1]);
    sync(&world.granter().announcing(world.outbox()), &sync_work()).await;
    assert_eq!(operations(&world), [LIST, READ, SEND, READ, "logs:PutDestination", PUT, READ]);
}

#[tokio::test]
async fn what_is_right_is_read_once_and_not_written() {
    let world = World::granted(&ONE_REGION, [1]);
    let report = sync(&world.granter().announcing(world.outbox()), &sync_work()).await;
    assert_eq!(operations(&world), [LIST, READ]);
    assert_eq!((report.writes, report.errors.len()), (0, 0));
}

#[tokio::test]
async fn what_another_wrote_while_accounts_were_announced_is_kept() {
    let world = Arc::new(World::granted(&ONE_REGION, [1]));
    world.organization.add(account(2));
    let other = Arc::clone(&world);
    world.journal.meanwhile(SEND, move || other.grant(&home(), 1, ids([1, 9])));
    sync(&world.granter().announcing(world.outbox()), &requested([2])).await;
    assert_eq!(world.destinations.granted(&home()), ids([1, 2, 9]));
}

#[tokio::test]
async fn a_destination_that_is_read_back_late_is_no_conflict() {
    for lag in 1..=5 {
        let world = World::members(&ONE_REGION, [1, 2]);
        world.grant(&home(), 1, ids([1]));
        world.destinations.lag.store(lag, Ordering::SeqCst);
        let mut metrics = Metrics::default();
        let report = world.granter().sync(&sync_work(), &mut metrics).await;
        assert_eq!((world.journal.count(PUT), report.errors.len(), report.granted), (1, 0, ids([2])), "lag {lag}");
        assert!(report.decisions.iter().all(|it| it.outcome == Outcome::Done));
        world.context().log.metrics(&metrics);
        assert_eq!((world.log.total(Metric::PolicyConflicts), world.journal.count(READ)), (0, lag + 2));
        assert!((250..=8_000).contains(&(world.context().clock.now_ms() - crate::testing::T0)));
    }
}

#[tokio::test]
async fn a_new_destination_that_is_read_back_late_is_no_conflict() {
    let world = World::members(&ONE_REGION, [1]);
    world.destinations.lag.store(3, Ordering::SeqCst);
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!((world.journal.count("logs:PutDestination"), world.journal.count(PUT)), (1, 1));
    assert!(report.errors.is_empty());
}

#[tokio::test]
async fn a_policy_that_lags_behind_a_search_for_refused_accounts_is_no_conflict() {
    let world = World::members(&ONE_REGION, 1..=4);
    world.grant(&home(), 1, ids([1]));
    world.destinations.refused.lock().unwrap().insert(id(3));
    let other = Arc::new(world);
    let late = Arc::clone(&other);
    // The reading after the search shows a policy of the search, and the next one the last.
    other.journal.meanwhile(READ, || {});
    other.journal.meanwhile(READ, move || late.grant(&home(), 1, ids([1, 2])));
    let late = Arc::clone(&other);
    other.journal.meanwhile(READ, move || late.grant(&home(), 1, ids([1, 2, 4])));
    let mut metrics = Metrics::default();
    other.granter().sync(&sync_work(), &mut metrics).await;
    other.context().log.metrics(&metrics);
    assert_eq!((other.log.total(Metric::PolicyConflicts), other.journal.count(READ)), (0, 3));
}

#[tokio::test]
async fn a_policy_that_is_neither_old_nor_new_is_a_conflict_at_once() {
    let world = Arc::new(World::members(&ONE_REGION, [1, 2]));
    world.grant(&home(), 1, ids([1]));
    let other = Arc::clone(&world);
    world.journal.meanwhile(READ, || {});
    world.journal.meanwhile(READ, move || other.grant(&home(), 1, ids([1, 9])));
    let mut metrics = Metrics::default();
    world.granter().sync(&sync_work(), &mut metrics).await;
    world.context().log.metrics(&metrics);
    assert_eq!((world.journal.count(PUT), world.log.total(Metric::PolicyConflicts)), (2, 1));
    assert_eq!(world.destinations.granted(&home()), ids([1, 2, 9]));
    assert_eq!(world.context().clock.now_ms(), crate::testing::T0, "nothing is gained by waiting");
}

#[tokio::test]
async fn a_write_that_another_undoes_is_planned_again() {
    for lost in 1..=3 {
        let world = World::granted(&ONE_REGION, [1]);
        world.organization.add(account(2));
        world.destinations.lost.store(lost, Ordering::SeqCst);
        let mut metrics = Metrics::default();
        let report = world.granter().sync(&sync_work(), &mut metrics).await;
        assert_eq!((world.journal.count(PUT), report.errors.len()), (lost + 1, 0));
        assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
        world.context().log.metrics(&metrics);
        assert_eq!(world.log.total(Metric::PolicyConflicts), lost as u64);
    }
}

#[tokio::test]
async fn four_writes_that_another_undoes_are_the_most() {
    let world = World::granted(&ONE_REGION, [1]);
    world.organization.add(account(2));
    world.destinations.lost.store(100, Ordering::SeqCst);
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!(world.journal.count(PUT), 4);
    assert_eq!((&report.granted, report.assignments[&home()].get(&id(2))), (&ids([]), None), "all were undone");
    let contended = GranterError::Contended { account: world.settings.central_account, region: home() };
    assert_eq!(report.errors, [contended]);
    assert!(report.needs_retry());
    let told = report.decisions.last().unwrap();
    assert_eq!((told.account, &told.region), (Some(world.settings.central_account), &Some(home())));
    assert_eq!((told.outcome, told.next_step.is_some()), (Outcome::RetryLater, true));
    assert!(report.decisions.iter().all(|it| it.region == Some(home())));
}

#[tokio::test]
async fn one_regions_failure_does_not_stop_another() {
    for (operation, code) in
        [(READ, "ThrottlingException"), ("logs:PutDestination", "InvalidParameterException"), (PUT, "AccessDenied")]
    {
        let world = World::members(&[], [1]);
        world.journal.fail_at(operation, home(), 1, code);
        let report = sync(&world.granter(), &sync_work()).await;
        assert_eq!(codes(&report), [Code::parse(code)], "{operation}");
        assert!(world.destinations.granted(&home()).is_empty());
        assert_eq!((world.destinations.granted(&away()), report.granted), (ids([1]), ids([1])));
    }
}

#[tokio::test]
async fn a_region_that_does_not_answer_holds_up_the_others_for_forty_seconds() {
    let world = World::members(&[], [1]);
    world.journal.hang(READ);
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!((codes(&report), &report.granted), (vec![Code::NoAnswer], &ids([1])));
    assert!(world.destinations.granted(&home()).is_empty() && report.needs_retry());
    assert_eq!(world.context().clock.now_ms() - crate::testing::T0, 40_000);
    let told = report.decisions.iter().find(|it| it.outcome == Outcome::RetryLater).unwrap();
    assert_eq!((told.region.as_ref(), told.account), (Some(&home()), Some(world.settings.central_account)));
}

#[tokio::test]
async fn a_failed_reading_back_tells_what_was_written_all_the_same() {
    let world = World::granted(&ONE_REGION, [1]);
    world.organization.add(account(2));
    let journal = Arc::clone(&world.journal);
    world.journal.meanwhile(PUT, move || journal.fail(READ, 1, "InternalFailure"));
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!(codes(&report), [Code::Internal]);
    assert_eq!((report.granted, report.writes), (ids([2]), 1));
    assert!(report.decisions.iter().any(|it| it.account == Some(id(2)) && it.outcome == Outcome::Done));
}

#[tokio::test]
async fn an_account_that_aws_takes_in_no_policy_keeps_nobody_else_out() {
    let world = World::members(&ONE_REGION, 1..=8);
    world.grant(&home(), 1, ids([1]));
    world.destinations.refused.lock().unwrap().extend([id(3), id(6)]);
    let mut metrics = Metrics::default();
    let report = world.granter().sync(&sync_work(), &mut metrics).await;
    assert_eq!(world.destinations.granted(&home()), ids([1, 2, 4, 5, 7, 8]));
    assert_eq!(report.granted, ids([2, 4, 5, 7, 8]));
    let assigned = |number| report.assignments[&home()].get(&id(number)).is_some();
    assert!((1..=8).all(|number| assigned(number) != [3, 6].contains(&number)), "the refused ones are on no shard");
    assert_eq!(codes(&report), [Code::InvalidParameter], "the enroller asks for their grants again");
    let failed = report.decisions.iter().filter(|it| it.action == "grant" && it.outcome == Outcome::Failed);
    assert_eq!(failed.filter_map(|it| it.account).collect::<BTreeSet<_>>(), ids([3, 6]));
    world.context().log.metrics(&metrics);
    assert_eq!(world.log.total(Metric::GrantsAdded), 5);
    assert_eq!(world.log.total(Metric::GrantsFailed), 3, "two accounts and the refusal itself");
}

#[tokio::test]
async fn a_refusal_that_newcomers_are_no_cause_of_stands() {
    let world = World::members(&ONE_REGION, [1, 2, 3]);
    world.grant(&home(), 1, ids([1]));
    world.destinations.refused.lock().unwrap().insert(id(1));
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!((codes(&report), world.journal.count(PUT)), (vec![Code::InvalidParameter], 2));
    assert!(report.granted.is_empty());
    assert_eq!(world.destinations.granted(&home()), ids([1]));
}

#[tokio::test]
async fn a_refusal_of_a_revocation_is_not_searched() {
    let world = World::granted(&ONE_REGION, [1, 2]);
    world.organization.remove(id(2));
    world.destinations.refused.lock().unwrap().insert(id(1));
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!((codes(&report), world.journal.count(PUT)), (vec![Code::InvalidParameter], 1));
}

#[tokio::test]
async fn a_search_that_breaks_off_tells_what_is_in_force() {
    let world = World::members(&ONE_REGION, 1..=4);
    world.grant(&home(), 1, ids([]));
    world.destinations.refused.lock().unwrap().insert(id(4));
    for _ in 0..3 {
        world.journal.meanwhile(PUT, || {});
    }
    world.journal.fail(PUT, 1, "ServiceUnavailableException");
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!(codes(&report), [Code::Internal]);
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
    assert_eq!(report.granted, ids([1, 2]));
}

#[tokio::test]
async fn a_write_beyond_the_approved_plan_is_not_made() {
    let world = World::members(&[], [1]);
    let planner = world.planner();
    let approved = Some(planner.preview(&sync_work()).await.unwrap().plans());
    world.organization.add(account(2));
    let report = sync(&world.granter(), &GrantSync { approved, ..sync_work() }).await;
    assert!(world.journal.changes().is_empty());
    assert_eq!((report.granted, report.writes), (ids([]), 0));
    let failed = report.decisions.iter().filter(|it| it.outcome == Outcome::Failed);
    assert_eq!(failed.filter_map(|it| it.region.clone()).collect::<Vec<_>>(), [home(), away()]);
}

#[tokio::test]
async fn an_approved_plan_is_written_and_other_regions_are_not() {
    let world = World::members(&[], [1]);
    let mut approved = world.planner().preview(&sync_work()).await.unwrap().plans();
    approved.remove(&away());
    sync(&world.granter(), &GrantSync { approved: Some(approved), ..sync_work() }).await;
    assert_eq!(world.destinations.granted(&home()), ids([1]));
    assert!(world.journal.about(PUT).iter().all(|it| it.starts_with("eu-west-1")));
}

#[tokio::test]
async fn a_destination_that_aims_elsewhere_is_put_right() {
    let world = World::granted(&ONE_REGION, [1]);
    let key = (home(), world.shard(1));
    let elsewhere = "arn:aws:firehose:eu-west-1:999999999999:deliverystream/Other".parse().unwrap();
    world.destinations.all.lock().unwrap().get_mut(&key).unwrap().target = elsewhere;
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!(world.journal.changes(), ["logs:PutDestination"], "its policy is right");
    assert_eq!(report.writes, 1);
    let target = world.destinations.all.lock().unwrap()[&key].target.clone();
    assert_eq!(Some(target), world.settings.destination_target_arn);
    assert_eq!(world.destinations.granted(&home()), ids([1]));
}

#[tokio::test]
async fn after_a_write_assignments_are_asked_for_again() {
    let world = World::members(&ONE_REGION, [1]);
    let granter = world.granter();
    let assignments = granter.planner().assignments();
    assert_eq!(assignments.destination_of(id(1), &home()).await, Ok(None));
    sync(&granter, &sync_work()).await;
    assert_eq!(assignments.destination_of(id(1), &home()).await, Ok(Some(world.shard(1))));
}

#[tokio::test]
async fn without_a_write_assignments_are_kept() {
    let world = World::granted(&ONE_REGION, [1]);
    let granter = world.granter();
    let assignments = granter.planner().assignments();
    assignments.destination_of(id(1), &home()).await.unwrap();
    sync(&granter, &sync_work()).await;
    assignments.destination_of(id(1), &home()).await.unwrap();
    assert_eq!(world.journal.count(READ), 2);
}

#[tokio::test]
async fn a_destination_that_somebody_else_made_under_our_name_is_left_alone_and_told() {
    let world = World::members(&ONE_REGION, [1]);
    world.grant(&home(), 1, ids([1]));
    world.destinations.change(&home(), &world.shard(1), |found| {
        found.target = "arn:aws:firehose:eu-west-1:999999999999:deliverystream/Theirs".parse().unwrap();
        found.policy = found.policy.take().map(|ours| ours.replace("VpcEnroller", "Theirs"));
    });
    assert_eq!(world.assignments().destination_of(id(1), &home()).await, Ok(None), "its records would go elsewhere");
    let report = sync(&world.granter(), &sync_work()).await;
    assert_eq!(world.journal.about("logs:PutDestination"), [format!("eu-west-1 {}", world.shard(2))]);
    let told = report.decisions.iter().find(|it| it.action == "plan-grants").unwrap();
    assert!(told.cause.contains("deliverystream/Theirs") && told.cause.contains("deliverystream/Logs"), "{told:?}");
    assert!(told.next_step.as_ref().unwrap().contains("aws logs put-destination"));
    let on = world.assignments().destination_of(id(1), &home()).await.unwrap();
    assert_eq!(on, Some(world.shard(2)), "its filter must not deliver to somebody else's stream");
}

#[tokio::test]
async fn one_of_ours_that_was_aimed_elsewhere_is_repaired_with_from_and_to() {
    let world = World::granted(&ONE_REGION, [1]);
    world.destinations.change(&home(), &world.shard(1), |found| {
        found.role = "arn:aws:iam::999999999999:role/Other".parse().unwrap();
    });
    let report = sync(&world.granter(), &sync_work()).await;
    let told = report.decisions.iter().find(|it| it.action == "repoint-destination").unwrap();
    assert!(told.cause.contains("role from arn:aws:iam::999999999999:role/Other to"), "{told:?}");
}
