use enroller_core::plan::Plan;

use super::*;
use crate::coverage::AccountSnapshot;
use crate::testing::{T0, account, at};

const CREATE: &str = "ec2:CreateFlowLogs";

/// What a person sees before agreeing.
async fn plans(world: &World, regions: impl IntoIterator<Item = Region>) -> BTreeMap<Region, Plan> {
    let regions = regions.into_iter().collect();
    let AccountSnapshot { account_regions, .. } =
        world.inspector().inspect(&account(1), &regions, &BTreeMap::new()).await;
    world.journal.clear();
    account_regions.into_iter().map(|it| (it.at.region, it.found.unwrap().1)).collect()
}

async fn reconcile_approved(world: &World, approved: BTreeMap<Region, Plan>) -> AccountReport {
    let work = AccountWork { approved: Some(approved), ..work(1, [home(), away()]) };
    world.enroller().reconcile(&work, DEADLINE).await
}

#[tokio::test]
async fn no_step_is_begun_after_the_deadline() {
    for (takes_ms, changes) in [
        (1_000, vec!["logs:CreateLogGroup"]),
        (999, vec!["logs:CreateLogGroup", "logs:PutSubscriptionFilter", CREATE, "logs:PutRetentionPolicy"]),
    ] {
        let world = World::fresh(&[]);
        world.journal.takes("logs:CreateLogGroup", 1, takes_ms);
        let report = world.enroller().reconcile(&work(1, [home()]), T0 + 1_000).await;
        assert_eq!(world.journal.changes(), changes);
        let report = region_of(&report, &home());
        assert_eq!(report.needs_retry(), changes.len() == 1);
        if changes.len() == 1 {
            assert_eq!(report.errors, [ReconcileError::OutOfTime]);
            assert_eq!((report.changes, vpcs(report, [1])), (1, vec![VpcResult::Failed(ReconcileError::OutOfTime)]));
        }
    }
}

#[tokio::test]
async fn a_call_that_hangs_ends_at_the_deadline_in_every_region() {
    let world = World::fresh(&[]);
    world.journal.hang("ec2:DescribeVpcs");
    let report = world.enroller().reconcile(&work(1, [home(), away()]), DEADLINE).await;
    assert_eq!(report.account_regions.len(), 2);
    for region in &report.account_regions {
        assert_eq!(region.errors, [ReconcileError::OutOfTime]);
        assert!(!region.looked_at && region.needs_retry());
    }
}

#[tokio::test]
async fn what_was_done_before_time_ran_out_is_told() {
    let world = World::fresh(&[]);
    let journal = std::sync::Arc::clone(&world.journal);
    world.journal.meanwhile("ec2:DescribeVpcs", move || journal.hang("ec2:DescribeVpcs"));
    let report = world.enroller().reconcile(&work(1, [home(), away()]), DEADLINE).await;
    assert!(!world.ec2.flow_logs_of(&at(1, home())).is_empty());
    assert_eq!(report.changes(), 4);
}

#[tokio::test]
async fn no_call_for_one_vpc_is_begun_after_the_deadline() {
    let world = World::enrolled(&[]);
    world.ec2.flow_logs.lock().unwrap().clear();
    world.add_vpc(&at(1, home()), 3);
    world.ec2.poison.lock().unwrap().insert(vpc_id(1), "InvalidVpcId.NotFound");
    world.journal.takes(CREATE, 1, 1_000);
    world.enroller().reconcile(&work(1, [home()]), T0 + 1_000).await;
    assert_eq!(world.journal.count(CREATE), 1);
}

#[tokio::test]
async fn nothing_is_asked_when_time_is_up_before_the_work() {
    let world = World::fresh(&[]);
    let report = world.enroller().reconcile(&work(1, [home()]), T0).await;
    assert_eq!(region_of(&report, &home()).errors, [ReconcileError::OutOfTime]);
    assert!(world.journal.calls().is_empty());
}

#[tokio::test]
async fn an_approved_plan_is_carried_out() {
    let world = World::fresh(&[]);
    let approved = plans(&world, [home(), away()]).await;
    let report = reconcile_approved(&world, approved).await;
    assert_eq!(world.journal.count(CREATE), 2);
    assert!(report.account_regions.iter().all(|it| it.errors.is_empty()));
}

#[tokio::test]
async fn a_region_without_an_approved_plan_is_not_changed() {
    let world = World::fresh(&[]);
    let approved = plans(&world, [home()]).await;
    let report = reconcile_approved(&world, approved).await;
    assert!(world.journal.about(CREATE).iter().all(|it| it.contains("eu-west-1")));
    assert!(region_of(&report, &home()).errors.is_empty());
    assert_eq!(region_of(&report, &away()).errors, [ReconcileError::NotApproved("create-log-group")]);
    assert_eq!(region_of(&report, &away()).changes, 0);
}

#[tokio::test]
async fn a_step_beyond_the_approved_plan_is_not_taken() {
    let world = World::enrolled(&[]);
    world.ec2.flow_logs.lock().unwrap().remove(&at(1, home()));
    let approved = plans(&world, [home(), away()]).await;
    world.logs.filters.lock().unwrap().remove(&at(1, home()));
    let report = reconcile_approved(&world, approved).await;
    assert!(world.journal.changes().is_empty());
    let errors = &region_of(&report, &home()).errors;
    assert_eq!(*errors, [ReconcileError::NotApproved("put-subscription-filter")]);
    assert!(!region_of(&report, &home()).needs_retry());
}

#[tokio::test]
async fn a_vpc_that_came_since_the_plan_was_shown_is_not_enrolled() {
    let world = World::enrolled(&[]);
    world.ec2.flow_logs.lock().unwrap().clear();
    let approved = plans(&world, [home(), away()]).await;
    world.add_vpc(&at(1, home()), 9);
    let report = reconcile_approved(&world, approved).await;
    assert_eq!(region_of(&report, &home()).errors, [ReconcileError::NotApproved("create-flow-logs")]);
    assert!(region_of(&report, &away()).errors.is_empty());
    assert!(world.ec2.flow_logs_of(&at(1, home())).is_empty());
}

#[tokio::test]
async fn less_than_the_approved_plan_is_carried_out() {
    let world = World::fresh(&[]);
    let approved = plans(&world, [home(), away()]).await;
    world.enroll(&at(1, home()), 1);
    let report = reconcile_approved(&world, approved).await;
    assert!(report.account_regions.iter().all(|it| it.errors.is_empty()));
    assert_eq!(vpcs(region_of(&report, &home()), [1]), [VpcResult::Covered]);
}

#[tokio::test]
async fn a_role_is_not_mended_without_approval() {
    let world = World::enrolled(&[("delivery_role_maker", "enroller")]);
    world.add_vpc(&at(1, home()), 3);
    let approved = plans(&world, [home(), away()]).await;
    world.journal.fail(CREATE, 1, "InvalidParameterValue");
    let report = reconcile_approved(&world, approved).await;
    assert_eq!(world.journal.changes(), [CREATE]);
    assert_eq!(codes(region_of(&report, &home())), [Code::InvalidParameter]);
}
