use enroller_core::error::{Code, Skip};
use enroller_core::observed::AccountState;

use super::*;
use crate::testing::{World, account, at, away, home};

fn granted_on(world: &World, region: Region, now: bool, shard: u32) -> BTreeMap<Region, GrantedOn> {
    let planned = world.shard(shard);
    BTreeMap::from([(region, GrantedOn { now: now.then(|| planned.clone()), planned, doubt: None })])
}

async fn inspect(world: &World, grants: &BTreeMap<Region, GrantedOn>) -> AccountSnapshot {
    world.inspector().inspect(&account(1), &world.settings.regions, grants).await
}

#[tokio::test]
async fn an_account_that_is_left_out_is_not_entered() {
    let world = World::fresh(&[]);
    let suspended = Account { state: AccountState::Suspended, ..account(1) };
    let seen = world.inspector().inspect(&suspended, &world.settings.regions, &BTreeMap::new()).await;
    assert_eq!(seen.left_out, Some(OutOfScope::State(AccountState::Suspended)));
    assert!(seen.account_regions.is_empty() && world.journal.calls().is_empty());
}

#[tokio::test]
async fn a_role_that_cannot_be_taken_on_is_told_of_in_every_region() {
    let world = World::fresh(&[]);
    world.journal.fail("sts:AssumeRole", 100, "AccessDenied");
    let seen = inspect(&world, &granted_on(&world, home(), true, 1)).await;
    assert_eq!(world.journal.calls().len(), 1);
    for region in &seen.account_regions {
        let error = region.found.as_ref().unwrap_err().aws_error().unwrap();
        assert_eq!(error.code, Code::AccessDenied);
    }
    let granted: Vec<_> = seen.account_regions.into_iter().map(|it| (it.at.region, it.granted_on)).collect();
    assert_eq!(granted, [(home(), Some(world.shard(1))), (away(), None)]);
}

#[tokio::test]
async fn a_look_plans_and_changes_nothing() {
    let world = World::fresh(&[]);
    let seen = inspect(&world, &BTreeMap::new()).await;
    assert!(world.journal.changes().is_empty());
    let steps: Vec<_> = seen.account_regions.iter().map(|it| it.found.as_ref().unwrap().1.steps.len()).collect();
    assert_eq!(steps, [4, 4]);
}

#[tokio::test]
async fn a_filter_is_planned_for_the_shard_of_the_account() {
    let world = World::enrolled(&[]);
    let seen = inspect(&world, &granted_on(&world, home(), false, 2)).await;
    let [here, there] = &seen.account_regions[..] else { panic!("two Regions") };
    let labels = |it: &AccountRegionSnapshot| {
        it.found.as_ref().unwrap().1.steps.iter().map(|step| step.action.label()).collect::<Vec<_>>()
    };
    assert_eq!((labels(here), labels(there)), (vec!["put-subscription-filter"], vec![]));
    assert_eq!((&here.granted_on, &there.granted_on), (&None, &None));
}

#[tokio::test]
async fn one_region_that_cannot_be_seen_does_not_hide_another() {
    let world = World::enrolled(&[]);
    world.ec2.enabled.lock().unwrap().remove(&away());
    world.journal.fail_at("logs:DescribeLogGroups", at(1, away()), 1, "UnrecognizedClientException");
    let seen = inspect(&world, &BTreeMap::new()).await;
    let [here, there] = &seen.account_regions[..] else { panic!("two Regions") };
    let (observed, plan) = here.found.as_ref().unwrap();
    assert_eq!((observed.vpcs.len(), plan.steps.len()), (1, 0));
    assert_eq!(there.found.as_ref().unwrap_err(), &ReconcileError::Skipped(Skip::RegionDisabled));
}
