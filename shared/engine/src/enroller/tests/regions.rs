use enroller_core::error::Skip;
use enroller_core::log::Outcome;

use super::*;
use crate::testing::at;

#[tokio::test]
async fn one_regions_failure_does_not_stop_another() {
    for operation in ["ec2:DescribeVpcs", "logs:PutSubscriptionFilter", "ec2:CreateFlowLogs"] {
        let world = World::fresh(&[]);
        world.journal.fail_at(operation, at(1, home()), 1, "InternalError");
        let report = reconcile(&world).await;
        assert_eq!(codes(region_of(&report, &home())), [Code::Internal], "{operation}");
        let away = region_of(&report, &away());
        assert_eq!((vpcs(away, [2]), away.errors.len()), (vec![VpcResult::Enrolled], 0), "{operation}");
        assert!(report.needs_retry());
    }
}

#[tokio::test]
async fn a_role_that_cannot_be_taken_on_is_asked_for_once() {
    let world = World::fresh(&[]);
    world.journal.fail("sts:AssumeRole", 100, "AccessDenied");
    let report = reconcile(&world).await;
    assert_eq!(world.journal.count("sts:AssumeRole"), 1);
    assert_eq!(world.journal.count("ec2:DescribeVpcs"), 0);
    for region in [home(), away()] {
        let region = region_of(&report, &region);
        assert_eq!((codes(region), region.looked_at), (vec![Code::AccessDenied], false));
        assert_eq!(region.errors[0].disposition(), Disposition::RetryLater(Wait::MemberRole));
    }
}

#[tokio::test]
async fn destinations_that_cannot_be_read_keep_one_region_only() {
    let world = World::fresh(&[]);
    world.journal.fail_at("logs:DescribeDestinations", home(), 1, "ThrottlingException");
    let report = reconcile(&world).await;
    assert_eq!(codes(region_of(&report, &home())), [Code::Throttled]);
    assert_eq!(vpcs(region_of(&report, &away()), [2]), [VpcResult::Enrolled]);
}

#[tokio::test]
async fn a_disabled_region_is_skipped_without_another_try() {
    let world = World::fresh(&[]);
    world.ec2.enabled.lock().unwrap().remove(&away());
    world.journal.fail_at("ec2:DescribeVpcs", at(1, away()), 1, "AuthFailure");
    let report = reconcile(&world).await;
    let away = region_of(&report, &away());
    assert_eq!(away.errors, [ReconcileError::Skipped(Skip::RegionDisabled)]);
    assert_eq!(away.decisions.last().unwrap().outcome, Outcome::Skipped);
    assert!(!report.needs_retry());
}

#[tokio::test]
async fn a_region_that_is_not_enrolled_is_left_alone() {
    let world = World::enrolled(&[]);
    let stray: Region = "eu-north-1".parse().unwrap();
    let report = world.enroller().reconcile(&work(1, [home(), stray.clone()]), DEADLINE).await;
    let stray = region_of(&report, &stray);
    assert_eq!(stray.decisions.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Ignored]);
    assert!(stray.errors.is_empty() && !stray.looked_at);
    assert!(region_of(&report, &home()).looked_at);
    assert!(world.journal.calls().iter().all(|call| !call.about.contains("eu-north-1")));
}

#[tokio::test]
async fn an_excluded_account_is_left_alone_without_a_call() {
    let world = World::fresh(&[("excluded_accounts", "111111110001")]);
    let report = reconcile(&world).await;
    assert!(world.journal.calls().is_empty());
    assert_eq!(report.account_regions.len(), 2);
    assert!(report.account_regions.iter().all(|it| it.errors.is_empty() && it.decisions.len() == 1));
}
