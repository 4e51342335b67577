use enroller_core::log::Outcome;
use enroller_core::observed::LogGroupClass;

use super::*;
use crate::testing::{DEADLINE, T0, account, at};

fn rehearsal(request: BackfillRequest) -> BackfillCommand {
    begin(BackfillRequest { dry_run: true, ..request })
}

async fn plan(world: &World, request: BackfillRequest) -> DryRun {
    world.backfill().run(&rehearsal(request), DEADLINE).await.unwrap().plan.unwrap()
}

#[tokio::test]
async fn a_dry_run_counts_what_would_be_done_and_does_nothing() {
    let world = World::fresh(&[]);
    world.organization.add(account(2));
    world.add_vpc(&at(2, home()), 3);
    world.enroll(&at(2, home()), 3);
    let report = world.backfill().run(&rehearsal(BackfillRequest::default()), DEADLINE).await.unwrap();
    assert!(world.journal.changes().is_empty());
    assert_eq!((report.dry_run, report.accounts, report.account_regions), (true, 2, 4));
    let plan = report.plan.unwrap();
    assert_eq!(plan.vpcs, VpcCounts { enroll: 2, covered: 1, ..VpcCounts::default() });
    let steps = ["create-flow-logs", "create-log-group", "put-subscription-filter", "set-retention"];
    assert_eq!(plan.actions.into_iter().collect::<Vec<_>>(), steps.map(|step| (step, 2)));
    assert_eq!((plan.grants.granted, plan.grants.revoked, plan.grants.writes), (1, 0, 2));
    assert_eq!((plan.accounts_looked_at, plan.accounts_not_looked_at, plan.not_planned.len()), (2, 0, 0));
    assert_eq!(plan.grants.policies.iter().map(|it| it.accounts).collect::<Vec<_>>(), [2, 2]);
}

#[tokio::test]
async fn each_kind_of_vpc_is_counted() {
    let world = World::granted(&[("narrowing_tags", "followed")], [1]);
    let at = at(1, home());
    for number in 1..=6 {
        world.add_vpc(&at, number);
    }
    world.enroll(&at, 1);
    let differs =
        |number, interval| enroller_core::observed::FlowLog { interval, ..world.flow_log(&at, number, number) };
    world.ec2.add_flow_log(&at, differs(2, 60));
    let theirs = enroller_core::observed::FlowLog { tags: [].into(), delivery_role: None, ..world.flow_log(&at, 3, 3) };
    world.ec2.add_flow_log(&at, theirs);
    let delivery = enroller_core::observed::Delivery::Failed("Unknown error".to_owned());
    world.ec2.add_flow_log(&at, enroller_core::observed::FlowLog { delivery, ..world.flow_log(&at, 4, 4) });
    let tag = world.settings.opt_out_tag.clone();
    world.ec2.vpcs.lock().unwrap().get_mut(&at).unwrap()[4].tags.insert(tag.key, tag.value);
    let one_each =
        VpcCounts { enroll: 1, replace: 1, covered: 1, covered_by_others: 1, broken: 1, left_alone: 1, blocked: 0 };
    assert_eq!(plan(&world, in_region(home())).await.vpcs, one_each);
}

#[tokio::test]
async fn a_blocked_account_region_is_named() {
    let world = World::fresh(&[]);
    world.enroll(&at(1, home()), 1);
    world.ec2.flow_logs.lock().unwrap().clear();
    let class = LogGroupClass::Other("DELIVERY".to_owned());
    world.logs.groups.lock().unwrap().get_mut(&at(1, home())).unwrap().class = class;
    let plan = plan(&world, in_region(home())).await;
    assert_eq!((plan.vpcs.blocked, plan.vpcs.enroll), (1, 0));
    assert_eq!(
        plan.not_planned.iter().map(|it| (it.account, it.outcome)).collect::<Vec<_>>(),
        [(id(1), Outcome::Failed)]
    );
}

#[tokio::test]
async fn what_is_missing_in_all_regions_is_one_line() {
    let world = World::granted(&[], [1, 2]);
    world.journal.fail_at("sts:AssumeRole", id(2), 1, "AccessDenied");
    let plan = plan(&world, BackfillRequest::default()).await;
    assert_eq!((plan.not_planned.len(), plan.not_planned[0].account), (1, id(2)));
    assert_eq!(plan.not_planned[0].regions, [home(), away()].into());
    assert_eq!(plan.accounts_looked_at, 2);
}

#[tokio::test]
async fn different_causes_are_lines_of_their_own() {
    let world = World::granted(&[], [1]);
    world.journal.fail_at("ec2:DescribeVpcs", at(1, home()), 1, "UnauthorizedOperation");
    world.journal.fail_at("ec2:DescribeVpcs", at(1, away()), 1, "InternalError");
    let plan = plan(&world, BackfillRequest::default()).await;
    let regions: Vec<_> = plan.not_planned.iter().map(|it| it.regions.iter().cloned().collect::<Vec<_>>()).collect();
    assert_eq!(regions, [[home()], [away()]]);
}

#[tokio::test]
async fn accounts_that_time_does_not_suffice_for_are_counted() {
    let world = World::granted(&[("max_concurrency", "1")], 1..=3);
    world.journal.takes("sts:AssumeRole", 1, 1_000);
    let report = world.backfill().run(&rehearsal(in_region(home())), T0 + 1_000).await.unwrap();
    let plan = report.plan.unwrap();
    assert_eq!((plan.accounts_looked_at, plan.accounts_not_looked_at), (1, 2));
}

#[tokio::test]
async fn a_dry_run_without_time_for_the_listing_fails() {
    let world = World::granted(&[], [1]);
    world.journal.hang(LIST);
    let error = world.backfill().run(&rehearsal(BackfillRequest::default()), DEADLINE).await.unwrap_err();
    assert!(matches!(error, BackfillError::OutOfTime(_)));
}

#[tokio::test]
async fn grants_of_a_region_that_cannot_be_read_are_named() {
    let world = World::granted(&[], [1]);
    world.journal.fail_at("logs:DescribeDestinations", home(), 1, "AccessDeniedException");
    let plan = plan(&world, BackfillRequest::default()).await;
    let told: Vec<_> = plan.grants.decisions.iter().map(|it| (it.region.clone(), it.outcome)).collect();
    assert_eq!(told, [(Some(home()), Outcome::RetryLater)]);
    assert_eq!(plan.accounts_looked_at, 1);
}

#[tokio::test]
async fn revocations_are_counted_as_the_guard_would_have_them() {
    let world = World::granted(&[], 1..=10);
    for number in 1..=3 {
        world.organization.remove(id(number));
    }
    let grants = plan(&world, BackfillRequest::default()).await.grants;
    assert_eq!((grants.revoked, grants.withheld, grants.writes), (0, 3, 0));
    world.organization.add(account(1));
    world.organization.add(account(2));
    let grants = plan(&world, BackfillRequest::default()).await.grants;
    assert_eq!((grants.revoked, grants.withheld, grants.writes), (1, 0, 2));
}
