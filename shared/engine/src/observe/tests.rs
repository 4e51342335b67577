use enroller_core::error::{Code, Disposition, Skip};
use enroller_core::log::Outcome;
use enroller_core::observed::LogGroupClass;
use enroller_core::plan::Desired;

use super::Observer;
use crate::reconcile_error::ReconcileError;
use crate::testing::{World, at, away, home};

async fn observe(world: &World) -> Result<enroller_core::observed::Observed, ReconcileError> {
    let desired = Desired::new(&world.settings, &at(1, home()), &world.shard(1));
    Observer::new(&world.ports()).observe(&desired).await
}

#[tokio::test]
async fn a_look_takes_four_calls_where_all_is_as_it_should_be() {
    let world = World::enrolled(&[]);
    let observed = observe(&world).await.unwrap();
    assert_eq!((observed.vpcs.len(), observed.flow_logs.len(), observed.filters.len()), (1, 1, 1));
    assert_eq!(observed.log_group.unwrap().tags, None);
    assert_eq!(world.journal.calls().len(), 4);
}

#[tokio::test]
async fn filters_are_asked_for_only_where_there_can_be_some() {
    let world = World::enrolled(&[]);
    let class = LogGroupClass::Other("INFREQUENT_ACCESS".to_owned());
    world.logs.groups.lock().unwrap().get_mut(&at(1, home())).unwrap().class = class.clone();
    assert_eq!(observe(&world).await.unwrap().log_group.unwrap().class, class);
    world.logs.groups.lock().unwrap().clear();
    assert_eq!(observe(&world).await.unwrap().log_group, None);
    assert_eq!(world.journal.count("logs:DescribeSubscriptionFilters"), 0);
}

#[tokio::test]
async fn tags_of_a_log_group_are_asked_for_where_its_filter_may_be_of_others() {
    let world = World::enrolled(&[]);
    let elsewhere = "arn:aws:logs:eu-west-1:777788889999:destination:Elsewhere";
    world.logs.filters.lock().unwrap().get_mut(&at(1, home())).unwrap()[0].destination = elsewhere.to_owned();
    assert_eq!(observe(&world).await.unwrap().log_group.unwrap().tags, Some(world.own_tags()));
}

#[tokio::test]
async fn tags_of_a_log_group_are_asked_for_where_its_settings_differ() {
    let world = World::enrolled(&[]);
    world.logs.groups.lock().unwrap().get_mut(&at(1, home())).unwrap().retention_days = Some(1);
    assert_eq!(observe(&world).await.unwrap().log_group.unwrap().tags, Some(world.own_tags()));
    assert_eq!(world.journal.count("logs:ListTagsForResource"), 1);
    world.journal.fail("logs:ListTagsForResource", 1, "AccessDeniedException");
    assert!(matches!(observe(&world).await, Err(ReconcileError::Aws(error)) if error.code == Code::AccessDenied));
}

#[tokio::test]
async fn any_of_the_four_failures_is_the_looks_own() {
    for operation in
        ["ec2:DescribeVpcs", "ec2:DescribeFlowLogs", "logs:DescribeLogGroups", "logs:DescribeSubscriptionFilters"]
    {
        let world = World::enrolled(&[]);
        world.journal.fail(operation, 1, "InternalError");
        let Err(ReconcileError::Aws(error)) = observe(&world).await else { panic!("{operation}") };
        assert_eq!((error.operation, error.code), (operation, Code::Internal));
        assert_eq!(world.journal.count("ec2:DescribeRegions"), 0, "{operation}");
    }
}

#[tokio::test]
async fn refused_credentials_in_a_disabled_region_are_no_failure() {
    let world = World::enrolled(&[]);
    world.ec2.enabled.lock().unwrap().remove(&home());
    world.journal.fail_at("ec2:DescribeVpcs", at(1, home()), 1, "AuthFailure");
    assert_eq!(observe(&world).await, Err(ReconcileError::Skipped(Skip::RegionDisabled)));
}

#[tokio::test]
async fn refused_credentials_in_an_enabled_region_are_a_failure() {
    let world = World::enrolled(&[]);
    world.ec2.enabled.lock().unwrap().remove(&away());
    world.journal.fail("ec2:DescribeVpcs", 1, "AuthFailure");
    let Err(ReconcileError::Aws(error)) = observe(&world).await else { panic!("not a failure") };
    assert_eq!((error.operation, error.code), ("ec2:DescribeVpcs", Code::CredentialsRejected));
    assert_eq!(world.journal.count("ec2:DescribeRegions"), 1);
}

#[tokio::test]
async fn an_account_that_answers_nowhere_is_not_ready() {
    for (second, operation, code) in [
        ("AuthFailure", "logs:DescribeLogGroups", Code::CredentialsRejected),
        ("RequestLimitExceeded", "ec2:DescribeRegions", Code::Throttled),
    ] {
        let world = World::enrolled(&[]);
        world.journal.fail("logs:DescribeLogGroups", 1, "UnrecognizedClientException");
        world.journal.fail("ec2:DescribeRegions", 1, second);
        let Err(ReconcileError::Aws(error)) = observe(&world).await else { panic!("{second}") };
        assert_eq!((error.operation, error.code), (operation, code));
    }
}

#[tokio::test]
async fn vpcs_that_are_seen_are_not_excused_by_a_look_that_the_organization_denies() {
    for look in ["ec2:DescribeFlowLogs", "logs:DescribeLogGroups"] {
        let world = World::enrolled(&[]);
        world.journal.deny(look, 1);
        let error = observe(&world).await.unwrap_err();
        assert!(matches!(error, ReconcileError::LookDenied(_)), "{look}: {error:?}");
        assert!(!matches!(error.disposition(), Disposition::Skip(_)));
        let line = error.entry(&at(1, home()), "reconcile", String::new());
        assert_eq!(
            (line.outcome, line.next_step.as_deref()),
            (Outcome::RetryLater, Some(error.disposition().next_step()))
        );
    }
    let world = World::enrolled(&[]);
    world.logs.groups.lock().unwrap().get_mut(&at(1, home())).unwrap().retention_days = Some(1);
    world.journal.deny("logs:ListTagsForResource", 1);
    assert!(matches!(observe(&world).await.unwrap_err(), ReconcileError::LookDenied(_)));
    let world = World::granted(&[], [1]);
    world.journal.deny("ec2:DescribeFlowLogs", 1);
    assert!(matches!(observe(&world).await.unwrap_err().disposition(), Disposition::Skip(_)), "nothing to cover");
}
