//! A Region in trouble.

use enroller_core::error::{Disposition, Wait};

use super::*;
use crate::testing::at;

async fn run(enroller: &Enroller, number: u32) -> AccountReport {
    enroller.reconcile(&work(number, [home(), away()]), DEADLINE).await
}

fn members() -> World {
    let world = World::granted(&[], 1..=6);
    for number in 1..=6 {
        world.add_vpc(&at(number, home()), number);
        world.add_vpc(&at(number, away()), number + 10);
    }
    world
}

fn asked(world: &World, region: &Region) -> usize {
    world.journal.about("ec2:DescribeVpcs").iter().filter(|it| it.contains(region.as_str())).count()
}

#[tokio::test]
async fn a_region_that_answers_nobody_is_left_alone_for_a_minute() {
    let world = members();
    let enroller = world.enroller();
    world.journal.fail_at("ec2:DescribeVpcs", away(), 4, "ServiceUnavailable");
    for number in 1..=5 {
        let report = run(&enroller, number).await;
        assert!(region_of(&report, &home()).errors.is_empty(), "the other Region goes on");
    }
    assert_eq!(asked(&world, &away()), 3);
    let report = run(&enroller, 6).await;
    let error = &region_of(&report, &away()).errors[0];
    assert_eq!(*error, ReconcileError::RegionDown(away()));
    assert_eq!(error.disposition(), Disposition::RetryLater(Wait::Region));
    world.clock.advance(60_000);
    run(&enroller, 6).await;
    assert_eq!(asked(&world, &away()), 4, "one account finds out that it is still down");
    run(&enroller, 5).await;
    assert_eq!(asked(&world, &away()), 4);
    world.clock.advance(60_000);
    let report = run(&enroller, 5).await;
    assert!(region_of(&report, &away()).errors.is_empty());
    assert!(!world.ec2.flow_logs_of(&at(5, away())).is_empty());
}

#[tokio::test]
async fn a_region_that_answers_now_and_then_is_asked() {
    let world = members();
    let enroller = world.enroller();
    for number in [1, 2, 4, 5] {
        world.journal.fail_at("ec2:DescribeVpcs", at(number, away()), 1, "InternalError");
    }
    for number in 1..=6 {
        run(&enroller, number).await;
    }
    assert_eq!(asked(&world, &away()), 6);
}

#[tokio::test]
async fn what_an_account_is_denied_says_nothing_about_its_region() {
    let world = members();
    let enroller = world.enroller();
    world.journal.fail("sts:AssumeRole", 3, "InternalError");
    world.journal.fail_at("ec2:DescribeVpcs", away(), 6, "UnauthorizedOperation");
    for number in 1..=6 {
        run(&enroller, number).await;
    }
    assert_eq!(asked(&world, &away()), 3, "in each account whose role could be assumed");
}
