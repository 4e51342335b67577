use std::sync::Arc;

use super::*;
use crate::testing::{T0, at, id, ids};

const FILTER: &str = "logs:PutSubscriptionFilter";
const READ: &str = "logs:DescribeDestinations";

/// Account 1's work in the home Region, said to be granted on this shard.
fn said_to_be_on(world: &World, shard: u32) -> AccountWork {
    AccountWork { destinations: BTreeMap::from([(home(), world.shard(shard))]), ..work(1, [home()]) }
}

fn aims_at(world: &World, shard: u32) -> bool {
    let filters = world.logs.filters_of(&at(1, home()));
    filters.len() == 1 && filters[0].destination.ends_with(&format!(":{}", world.shard(shard)))
}

#[tokio::test]
async fn an_account_without_a_grant_is_not_entered() {
    let world = World::members(&[], [1]);
    world.add_vpc(&at(1, home()), 1);
    let report = reconcile(&world).await;
    assert_eq!(world.journal.count("sts:AssumeRole"), 0);
    assert!(report.account_regions.iter().all(|it| it.errors == [ReconcileError::NotGranted]));
    assert!(report.needs_grant() && report.needs_retry());
}

#[tokio::test]
async fn a_grant_in_one_region_is_enough_for_that_region() {
    let world = World::fresh(&[]);
    world.grant(&away(), 1, ids([]));
    let report = reconcile(&world).await;
    assert_eq!(vpcs(region_of(&report, &home()), [1]), [VpcResult::Enrolled]);
    assert_eq!(region_of(&report, &away()).errors, [ReconcileError::NotGranted]);
}

#[tokio::test]
async fn a_destination_that_the_request_names_counts_until_the_policies_name_one() {
    let world = World::fresh(&[]);
    world.grant(&home(), 1, ids([]));
    world.grant(&home(), 2, ids([]));
    let enroller = world.enroller();
    enroller.reconcile(&said_to_be_on(&world, 2), DEADLINE).await;
    assert!(aims_at(&world, 2));
    enroller.reconcile(&said_to_be_on(&world, 2), DEADLINE).await;
    assert_eq!(world.journal.count(READ), 1, "a new grant is not looked for where the request names it");
    world.grant(&home(), 1, ids([1]));
    world.enroller().reconcile(&said_to_be_on(&world, 2), DEADLINE).await;
    assert!(aims_at(&world, 1), "a message alone moves no filter");
}

#[tokio::test]
async fn a_shard_of_somebody_else_is_not_believed() {
    let world = World::fresh(&[]);
    let theirs = serde_json::json!({"Version": "2012-10-17", "Statement": [{"Sid": "partner", "Effect": "Allow",
        "Principal": {"AWS": [id(1)]}, "Action": "logs:PutSubscriptionFilter", "Resource": "*"}]});
    world.grant(&home(), 9, ids([]));
    {
        let mut all = world.destinations.all.lock().unwrap();
        let ninth = all.get_mut(&(home(), world.shard(9))).unwrap();
        ninth.policy = Some(theirs.to_string());
        ninth.target = "arn:aws:firehose:eu-west-1:999999999999:deliverystream/Evil".parse().unwrap();
    }
    world.grant(&home(), 1, ids([]));
    let report = world.enroller().reconcile(&said_to_be_on(&world, 9), DEADLINE).await;
    assert!(world.logs.filters_of(&at(1, home())).is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_named_destination_that_is_no_shard_is_not_believed() {
    let world = World::fresh(&[]);
    let named = BTreeMap::from([(home(), "SomebodyElses".parse().unwrap())]);
    let work = AccountWork { destinations: named, ..work(1, [home()]) };
    world.enroller().reconcile(&work, DEADLINE).await;
    assert_eq!(world.journal.count(READ), 1);
    assert!(aims_at(&world, 1));
}

#[tokio::test]
async fn a_refused_filter_is_put_on_the_shard_that_the_policies_name() {
    let world = Arc::new(World::fresh(&[("retention_days", "never-expire")]));
    world.grant(&home(), 2, ids([]));
    let other = Arc::clone(&world);
    world.journal.meanwhile("logs:CreateLogGroup", move || {
        other.grant(&home(), 1, ids([]));
        other.grant(&home(), 2, ids([1]));
    });
    world.journal.fail(FILTER, 1, "AccessDeniedException");
    let work = said_to_be_on(&world, 1);
    let report = world.enroller().reconcile(&work, DEADLINE).await;
    let report = region_of(&report, &home());
    assert_eq!((world.journal.count(READ), world.journal.count(FILTER)), (2, 2));
    assert!(aims_at(&world, 2) && report.errors.is_empty());
    assert_eq!(report.changes, 3, "what the first try made counts");
    let told = report.decisions.iter().filter(|it| it.action == "create-log-group").count();
    assert_eq!(told, 1);
}

#[tokio::test]
async fn a_filter_refused_on_the_right_shard_waits_for_the_grant_to_work() {
    let world = World::fresh(&[]);
    world.journal.fail(FILTER, 100, "AccessDeniedException");
    let report = reconcile_home(&world).await;
    assert_eq!((world.journal.count(READ), world.journal.count(FILTER)), (2, 1));
    assert_eq!(codes(&report), [Code::AccessDenied]);
    assert_eq!(report.errors[0].disposition(), Disposition::RetryLater(Wait::Grant));
}

#[tokio::test]
async fn a_filter_refused_without_a_grant_asks_for_one() {
    let world = World::fresh(&[]);
    world.grant(&home(), 1, ids([]));
    world.journal.fail(FILTER, 100, "AccessDeniedException");
    let work = said_to_be_on(&world, 1);
    let report = world.enroller().reconcile(&work, DEADLINE).await;
    assert_eq!(region_of(&report, &home()).errors.last(), Some(&ReconcileError::NotGranted));
    assert!(report.needs_grant());
}

#[tokio::test]
async fn policies_that_cannot_be_read_after_a_refusal_are_told_of() {
    let world = World::fresh(&[]);
    world.journal.fail(FILTER, 1, "AccessDeniedException");
    world.journal.meanwhile(READ, || {});
    world.journal.fail(READ, 1, "ThrottlingException");
    let work = said_to_be_on(&world, 1);
    let report = world.enroller().reconcile(&work, DEADLINE).await;
    assert_eq!(codes(region_of(&report, &home())), [Code::AccessDenied, Code::Throttled]);
}

#[tokio::test]
async fn other_failures_do_not_read_the_policies_again() {
    let world = World::fresh(&[]);
    world.journal.fail(FILTER, 1, "LimitExceededException");
    reconcile_home(&world).await;
    assert_eq!(world.journal.count(READ), 1);
}

#[tokio::test]
async fn accounts_refused_together_ask_once() {
    let world = World::fresh(&[]);
    world.organization.add(crate::testing::account(2));
    for region in [home(), away()] {
        world.grant(&region, 1, ids([1, 2]));
    }
    world.add_vpc(&at(2, home()), 3);
    let enroller = world.enroller();
    world.journal.fail(FILTER, 2, "AccessDeniedException");
    world.journal.takes("ec2:DescribeVpcs", 1, 100);
    enroller.reconcile(&work(1, [home()]), DEADLINE).await;
    assert_eq!(world.journal.count(READ), 2);
    // This one began its work before the last question, as far as the clock tells.
    let since = T0 + 50;
    enroller.assignments.forget_assignment(&home(), since).await;
    assert_eq!(enroller.assignments.destination_of(id(2), &home()).await, Ok(Some(world.shard(1))));
    assert_eq!(world.journal.count(READ), 2);
}
