use std::sync::Arc;

use enroller_core::ids::FlowLogId;
use enroller_core::log::Outcome;
use enroller_core::observed::{Delivery, FlowLog, LogGroup, LogGroupClass, Tags};
use enroller_core::plan::{Blocked, Finding};
use enroller_core::scope::OutOfScope;

use super::*;
use crate::testing::{at, flow_log_id};

const GROUP: &str = "logs:CreateLogGroup";
const RETENTION: &str = "logs:PutRetentionPolicy";
const FILTER: &str = "logs:PutSubscriptionFilter";
const CREATE: &str = "ec2:CreateFlowLogs";
const DELETE: &str = "ec2:DeleteFlowLogs";

fn flow_logs(world: &World) -> Vec<FlowLogId> {
    world.ec2.flow_logs_of(&at(1, home())).into_iter().map(|it| it.id).collect()
}

#[tokio::test]
async fn log_group_then_filter_then_flow_log() {
    let world = World::fresh(&[]);
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [GROUP, FILTER, CREATE, RETENTION]);
    assert_eq!(vpcs(&report, [1]), [VpcResult::Enrolled]);
    assert_eq!((report.changes, report.errors.len()), (4, 0));
}

#[tokio::test]
async fn delivery_role_before_everything_else() {
    let world = World::fresh(&[("delivery_role_maker", "enroller")]);
    reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), ["iam:CreateRole", "iam:PutRolePolicy", GROUP, FILTER, CREATE, RETENTION]);
}

#[tokio::test]
async fn what_is_as_it_should_be_costs_the_look_and_no_change() {
    let world = World::enrolled(&[("delivery_role_maker", "enroller")]);
    let report = reconcile(&world).await;
    assert!(world.journal.changes().is_empty());
    assert_eq!(world.journal.count("ec2:DescribeVpcs"), 2);
    assert_eq!(report.changes(), 0);
    let home = region_of(&report, &home());
    assert_eq!(vpcs(home, [1]), [VpcResult::Covered]);
    assert_eq!(home.decisions.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Unchanged]);
}

#[tokio::test]
async fn a_second_run_changes_nothing_more() {
    let world = World::fresh(&[("delivery_role_maker", "enroller")]);
    reconcile(&world).await;
    world.journal.clear();
    let report = reconcile(&world).await;
    assert!(world.journal.changes().is_empty());
    assert_eq!(vpcs(region_of(&report, &away()), [2]), [VpcResult::Covered]);
}

#[tokio::test]
async fn without_a_vpc_nothing_is_made() {
    let world = World::granted(&[], [1]);
    let report = reconcile_home(&world).await;
    assert!(world.journal.changes().is_empty() && report.vpcs.is_empty());
    assert!(report.looked_at && report.errors.is_empty());
}

#[tokio::test]
async fn no_flow_log_without_its_filter() {
    for (operation, code) in
        [(GROUP, "AccessDeniedException"), (FILTER, "LimitExceededException"), (FILTER, "ThrottlingException")]
    {
        let world = World::fresh(&[]);
        world.journal.fail(operation, 1, code);
        let report = reconcile_home(&world).await;
        assert_eq!(world.journal.count(CREATE), 0, "{operation} {code}");
        assert_eq!(codes(&report), [Code::parse(code)]);
        assert_eq!(vpcs(&report, [1]), [VpcResult::Failed(report.errors[0].clone())]);
    }
}

#[tokio::test]
async fn a_missing_filter_is_put_and_its_vpcs_count_as_repaired() {
    let world = World::enrolled(&[]);
    world.logs.filters.lock().unwrap().clear();
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [FILTER]);
    assert_eq!(vpcs(&report, [1]), [VpcResult::Repaired]);
}

#[tokio::test]
async fn a_failed_repair_leaves_no_vpc_covered() {
    let world = World::enrolled(&[]);
    world.logs.filters.lock().unwrap().clear();
    world.journal.fail(FILTER, 1, "InternalFailure");
    let report = reconcile_home(&world).await;
    assert_eq!(vpcs(&report, [1]), [VpcResult::Failed(report.errors[0].clone())]);
}

#[tokio::test]
async fn a_failure_of_retention_or_key_keeps_no_vpc_from_being_covered() {
    let world = World::fresh(&[("kms_key_arn", "arn:aws:kms:{region}:999999999999:key/k")]);
    world.enroll(&at(1, home()), 1);
    world.logs.groups.lock().unwrap().get_mut(&at(1, home())).unwrap().retention_days = Some(1);
    world.ec2.flow_logs.lock().unwrap().clear();
    world.journal.fail(RETENTION, 1, "AccessDeniedException");
    world.journal.fail("logs:AssociateKmsKey", 1, "ThrottlingException");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE, RETENTION, "logs:AssociateKmsKey"]);
    assert_eq!(codes(&report), [Code::AccessDenied, Code::Throttled]);
    assert_eq!(vpcs(&report, [1]), [VpcResult::Enrolled]);
}

#[tokio::test]
async fn a_retention_that_finds_no_group_for_ever_keeps_no_vpc_from_its_flow_log() {
    let world = World::fresh(&[]);
    world.journal.fail(RETENTION, 100, "ResourceNotFoundException");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [GROUP, FILTER, CREATE, RETENTION, RETENTION]);
    assert_eq!((codes(&report), vpcs(&report, [1])), (vec![Code::NotFound], vec![VpcResult::Enrolled]));
    assert!(report.needs_retry());
}

#[tokio::test]
async fn a_group_that_goes_while_it_is_changed_is_made_again() {
    let world = World::enrolled(&[]);
    world.logs.groups.lock().unwrap().get_mut(&at(1, home())).unwrap().retention_days = Some(1);
    let logs = Arc::clone(&world.logs);
    world.journal.meanwhile(RETENTION, move || {
        logs.groups.lock().unwrap().clear();
        logs.filters.lock().unwrap().clear();
    });
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [RETENTION, GROUP, FILTER, RETENTION]);
    assert_eq!((vpcs(&report, [1]), report.errors.len()), (vec![VpcResult::Repaired], 0));
}

#[tokio::test]
async fn a_group_that_comes_meanwhile_is_looked_at_and_not_changed() {
    let world = World::fresh(&[]);
    let logs = Arc::clone(&world.logs);
    world.journal.meanwhile(GROUP, move || {
        let class = LogGroupClass::Standard;
        let (retention_days, retention_policy, kms_key, created_ms) = (None, None, None, None);
        let tags = Some(Tags::new());
        let protection = Vec::new();
        let theirs = LogGroup { retention_days, retention_policy, kms_key, class, created_ms, protection, tags };
        logs.groups.lock().unwrap().insert(at(1, home()), theirs);
    });
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [GROUP, FILTER, CREATE]);
    assert_eq!(world.journal.count("ec2:DescribeVpcs"), 2);
    assert_eq!((vpcs(&report, [1]), report.errors.len()), (vec![VpcResult::Enrolled], 0));
}

#[tokio::test]
async fn an_account_region_is_looked_at_four_times_at_most() {
    let world = World::fresh(&[]);
    world.journal.fail(GROUP, 100, "ResourceAlreadyExistsException");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.count("ec2:DescribeVpcs"), 4);
    assert_eq!(world.journal.changes(), [GROUP; 4]);
    assert_eq!(report.errors, [ReconcileError::DidNotConverge]);
    assert_eq!(vpcs(&report, [1]), [VpcResult::Failed(ReconcileError::DidNotConverge)]);
}

#[tokio::test]
async fn three_surprises_are_survived() {
    let world = World::fresh(&[]);
    world.journal.fail(GROUP, 3, "ResourceAlreadyExistsException");
    let report = reconcile_home(&world).await;
    assert_eq!((vpcs(&report, [1]), report.errors.len()), (vec![VpcResult::Enrolled], 0));
}

#[tokio::test]
async fn a_filter_that_is_not_taken_twice_has_no_destination() {
    let world = World::fresh(&[]);
    world.journal.fail(FILTER, 2, "ResourceNotFoundException");
    let report = reconcile_home(&world).await;
    assert!(matches!(report.errors.as_slice(), [ReconcileError::NoDestination(_)]), "{:?}", report.errors);
    assert_eq!(world.journal.count(CREATE), 0);
}

#[tokio::test]
async fn a_filter_that_is_not_taken_once_is_put_after_another_look() {
    let world = World::fresh(&[]);
    world.journal.fail(FILTER, 1, "ResourceNotFoundException");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [GROUP, FILTER, FILTER, CREATE, RETENTION]);
    assert!(report.errors.is_empty());
}

#[tokio::test]
async fn a_log_group_of_a_class_without_filters_blocks() {
    let world = World::enrolled(&[]);
    let class = LogGroupClass::Other("DELIVERY".to_owned());
    world.logs.groups.lock().unwrap().get_mut(&at(1, home())).unwrap().class = class;
    let report = reconcile_home(&world).await;
    let blocked = ReconcileError::Blocked(Blocked::LogGroupClass("DELIVERY".to_owned()));
    assert_eq!(report.errors, [blocked]);
    assert!(world.journal.changes().is_empty());
}

#[tokio::test]
async fn a_filter_of_others_with_our_name_is_not_overwritten_and_its_vpcs_fail() {
    let elsewhere = "arn:aws:logs:eu-west-1:777788889999:destination:Elsewhere";
    for (tags, changes) in [(Tags::new(), vec![]), (World::enrolled(&[]).own_tags(), vec![FILTER])] {
        let world = World::enrolled(&[]);
        world.logs.filters.lock().unwrap().get_mut(&at(1, home())).unwrap()[0].destination = elsewhere.to_owned();
        world.logs.groups.lock().unwrap().get_mut(&at(1, home())).unwrap().tags = Some(tags);
        let report = reconcile_home(&world).await;
        assert_eq!(world.journal.changes(), changes);
        if changes.is_empty() {
            let told = report.decisions.last().unwrap();
            assert!(told.outcome == Outcome::Failed && told.cause.contains(elsewhere), "{told:?}");
            assert!(told.next_step.as_deref().unwrap().contains("delete that filter"), "{told:?}");
            assert_eq!(report.errors.len(), 1);
        } else {
            assert_eq!(vpcs(&report, [1]), [VpcResult::Repaired]);
        }
    }
}

#[tokio::test]
async fn a_retention_that_an_account_level_policy_sets_is_not_set_again_with_every_look() {
    let world = World::enrolled(&[]);
    let policy = |group: &mut LogGroup| {
        (group.retention_days, group.retention_policy) = (Some(1), Some("for all".to_owned()));
    };
    policy(world.logs.groups.lock().unwrap().get_mut(&at(1, home())).unwrap());
    let report = reconcile_home(&world).await;
    assert!(world.journal.changes().is_empty());
    let told: Vec<_> = report.decisions.iter().map(|it| (it.action.as_str(), it.outcome)).collect();
    assert_eq!(told, [("note", Outcome::Unchanged)]);
}

#[tokio::test]
async fn a_vpc_whose_delivery_fails_is_told_of_and_not_covered() {
    let world = World::enrolled(&[]);
    let broken = Delivery::Failed("Unknown error".to_owned());
    world.ec2.flow_logs.lock().unwrap().get_mut(&at(1, home())).unwrap()[0].delivery = broken;
    let report = reconcile_home(&world).await;
    assert_eq!(vpcs(&report, [1]), [VpcResult::Broken("Unknown error".to_owned())]);
    assert_eq!(report.decisions.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Failed]);
}

#[tokio::test]
async fn the_next_step_of_a_failed_delivery_is_for_whoever_makes_the_role() {
    for (maker, message, step) in [
        ("member-stack", "Access error", "update the member stack"),
        ("enroller", "Access error (The log destination is not accessible)", "run enroller backfill"),
        ("member-stack", "Rate limited", "a higher quota of CloudWatch Logs"),
        ("enroller", "Unknown error", "AWS Support"),
    ] {
        let world = World::enrolled(&[("delivery_role_maker", maker)]);
        deliver(&world, &Delivery::Failed(message.to_owned()));
        let report = reconcile_home(&world).await;
        let told = report.decisions.iter().find(|it| it.action == "check-delivery").unwrap();
        assert!(told.next_step.as_ref().unwrap().contains(step), "{told:?}");
    }
}

/// A flow log of ours that differs so that AWS takes a successor beside it.
fn outdated() -> World {
    let world = World::enrolled(&[]);
    let reject = Some(enroller_core::observed::TrafficType::Reject);
    world.ec2.flow_logs.lock().unwrap().get_mut(&at(1, home())).unwrap()[0].traffic_type = reject;
    world
}

fn deliver(world: &World, delivery: &Delivery) {
    for log in world.ec2.flow_logs.lock().unwrap().get_mut(&at(1, home())).unwrap() {
        log.delivery = delivery.clone();
    }
}

#[tokio::test]
async fn the_old_flow_log_goes_when_its_successor_delivers() {
    let world = outdated();
    let first = reconcile_home(&world).await;
    assert_eq!((world.journal.changes(), vpcs(&first, [1])), (vec![CREATE], vec![VpcResult::Repaired]));
    let second = reconcile_home(&world).await;
    assert_eq!((world.journal.changes(), vpcs(&second, [1])), (vec![CREATE], vec![VpcResult::Covered]));
    for report in [&first, &second] {
        assert!(report.needs_retry(), "it comes back by itself");
        let kept = report.decisions.iter().find(|it| it.action == "keep-flow-log").unwrap();
        assert_eq!(kept.outcome, Outcome::Unchanged, "it is no failure: {kept:?}");
    }
    deliver(&world, &Delivery::Success);
    let third = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE, DELETE]);
    assert!(!third.needs_retry());
    assert_eq!(flow_logs(&world).len(), 1);
    assert_ne!(flow_logs(&world), [flow_log_id(1)]);
}

#[tokio::test]
async fn what_two_looks_find_is_told_once() {
    let world = outdated();
    reconcile_home(&world).await;
    world.add_vpc(&at(1, home()), 3);
    world.ec2.refused.lock().unwrap().insert(vpc_id(3), "FlowLogAlreadyExists");
    world.journal.clear();
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.count("ec2:DescribeFlowLogs"), 2);
    let kept = report.decisions.iter().filter(|it| it.action == "keep-flow-log");
    assert_eq!((kept.count(), report.errors.len()), (1, 2), "{:?}", report.errors);
}

#[tokio::test]
async fn a_failing_successor_leaves_the_old_flow_log() {
    let world = outdated();
    reconcile_home(&world).await;
    deliver(&world, &Delivery::Failed("Access error".to_owned()));
    world.clock.advance(24 * 3_600_000);
    let report = world.enroller().reconcile(&work(1, [home()]), u64::MAX).await;
    assert_eq!(vpcs(region_of(&report, &home()), [1]), [VpcResult::Broken("Access error".to_owned())]);
    assert_eq!((world.journal.count(DELETE), flow_logs(&world).len()), (0, 2));
}

#[tokio::test]
async fn an_old_flow_log_that_may_not_be_deleted_is_a_failure_that_names_the_deny() {
    let world = outdated();
    reconcile_home(&world).await;
    deliver(&world, &Delivery::Success);
    world.journal.fail(DELETE, 1, "UnauthorizedOperation");
    world.journal.deny(DELETE, 1);
    for _ in 0..2 {
        let report = reconcile_home(&world).await;
        assert_eq!((vpcs(&report, [1]), codes(&report)), (vec![VpcResult::Covered], vec![Code::AccessDenied]));
        let told = report.decisions.iter().find(|it| it.action == "delete-flow-log").unwrap();
        assert!(told.outcome == Outcome::RetryLater && told.cause.contains("arrive twice"), "{told:?}");
        assert!(told.next_step.as_deref().unwrap().contains("ec2:DeleteFlowLogs"), "{told:?}");
    }
    assert_eq!(world.journal.count(CREATE), 1, "and nothing more is made");
}

#[tokio::test]
async fn a_flow_log_that_aws_returns_with_another_value_is_made_once() {
    let world = World::fresh(&[]);
    for _ in 0..3 {
        let report = reconcile_home(&world).await;
        for log in world.ec2.flow_logs.lock().unwrap().get_mut(&at(1, home())).unwrap() {
            log.interval = 300;
        }
        world.clock.advance(60_000);
        if world.journal.count("ec2:DescribeVpcs") > 1 {
            let [ReconcileError::Finding(Finding::NotAsAsked { differences, .. })] = &*report.errors else {
                panic!("{:?}", report.errors)
            };
            assert_eq!(differences, "interval is 300, not 600");
            assert_eq!(vpcs(&report, [1]), [VpcResult::Failed(report.errors[0].clone())]);
            assert!(!report.needs_retry());
        }
    }
    assert_eq!(world.journal.count(CREATE), 1);
}

#[tokio::test]
async fn an_old_flow_log_stays_where_its_successor_is_refused() {
    let world = World::enrolled(&[]);
    let at = at(1, home());
    let reject = Some(enroller_core::observed::TrafficType::Reject);
    world.ec2.flow_logs.lock().unwrap().get_mut(&at).unwrap()[0].traffic_type = reject;
    world.ec2.refused.lock().unwrap().insert(vpc_id(1), "FlowLogsLimitExceeded");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE]);
    assert_eq!((flow_logs(&world), codes(&report)), (vec![flow_log_id(1)], vec![Code::Quota]));
}

/// Two flow logs of ours besides the right one.
fn with_redundant_ones() -> World {
    let world = World::enrolled(&[]);
    for number in [5, 6] {
        let redundant = world.flow_log(&at(1, home()), number, 1);
        world.ec2.add_flow_log(&at(1, home()), redundant);
    }
    world
}

#[tokio::test]
async fn redundant_flow_logs_of_ours_go_in_one_call() {
    let world = with_redundant_ones();
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [DELETE]);
    assert_eq!((flow_logs(&world), report.changes), (vec![flow_log_id(1)], 2));
    assert_eq!(vpcs(&report, [1]), [VpcResult::Covered]);
}

#[tokio::test]
async fn one_flow_log_that_is_gone_makes_a_deletion_one_call_each() {
    let world = with_redundant_ones();
    let ec2 = Arc::clone(&world.ec2);
    let gone = |it: &FlowLog| it.id == flow_log_id(5);
    world.journal.meanwhile(DELETE, move || {
        ec2.flow_logs.lock().unwrap().get_mut(&at(1, home())).unwrap().retain(|it| !gone(it));
    });
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.count(DELETE), 3);
    assert_eq!((flow_logs(&world), report.changes, report.errors.len()), (vec![flow_log_id(1)], 1, 0));
}

#[tokio::test]
async fn a_deletion_that_fails_for_another_reason_is_not_tried_one_by_one() {
    let world = with_redundant_ones();
    world.journal.fail(DELETE, 1, "UnauthorizedOperation");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.count(DELETE), 1);
    assert_eq!(codes(&report), [Code::AccessDenied, Code::AccessDenied]);
    assert_eq!(vpcs(&report, [1]), [VpcResult::Covered]);
}

#[tokio::test]
async fn flow_logs_and_groups_of_others_are_left_alone() {
    let world = World::enrolled(&[]);
    let at = at(1, home());
    let mut theirs = FlowLog { tags: Tags::new(), delivery_role: None, ..world.flow_log(&at, 7, 1) };
    theirs.traffic_type = Some(enroller_core::observed::TrafficType::Reject);
    world.ec2.add_flow_log(&at, theirs);
    let group = |group: &mut LogGroup| (group.retention_days, group.tags) = (Some(365), Some(Tags::new()));
    group(world.logs.groups.lock().unwrap().get_mut(&at).unwrap());
    let report = reconcile_home(&world).await;
    assert!(world.journal.changes().is_empty());
    assert_eq!(vpcs(&report, [1]), [VpcResult::Covered]);
    assert_eq!(report.decisions.iter().map(|it| it.action.as_str()).collect::<Vec<_>>(), ["note"]);
}

#[tokio::test]
async fn a_vpc_that_opts_out_is_left_alone() {
    let world = World::fresh(&[("narrowing_tags", "followed")]);
    let tag = world.settings.opt_out_tag.clone();
    let opted_out = OutOfScope::OptedOut(tag.to_string());
    world.ec2.vpcs.lock().unwrap().get_mut(&at(1, home())).unwrap()[0].tags.insert(tag.key, tag.value);
    let report = reconcile_home(&world).await;
    assert!(world.journal.changes().is_empty());
    assert_eq!(vpcs(&report, [1]), [VpcResult::OutOfScope(opted_out)]);
}

#[tokio::test]
async fn a_flow_log_of_ours_that_lost_its_tag_gets_it_back_and_is_told() {
    let world = World::enrolled(&[]);
    let at = at(1, home());
    world.ec2.flow_logs.lock().unwrap().get_mut(&at).unwrap()[0].tags.clear();
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), ["ec2:CreateTags"]);
    assert_eq!((vpcs(&report, [1]), report.errors.len()), (vec![VpcResult::Covered], 0));
    let told = report.decisions.iter().find(|line| line.action == "tag-flow-log").unwrap();
    assert!(told.outcome == Outcome::Done && told.cause.contains("somebody took the tag"), "{told:?}");
    assert_eq!(world.ec2.flow_logs_of(&at)[0].tags, world.own_tags());
    assert_eq!(reconcile_home(&world).await.changes, 0);
}

#[tokio::test]
async fn a_tag_that_may_not_be_put_back_is_a_failure_that_stops_nothing() {
    let world = World::enrolled(&[]);
    let at = at(1, home());
    world.ec2.flow_logs.lock().unwrap().get_mut(&at).unwrap()[0].tags.clear();
    world.add_vpc(&at, 2);
    world.journal.fail("ec2:CreateTags", 1, "UnauthorizedOperation");
    let report = reconcile_home(&world).await;
    assert_eq!(codes(&report), [Code::AccessDenied]);
    assert_eq!(vpcs(&report, [1, 2]), [VpcResult::Covered, VpcResult::Enrolled]);
}

fn protected(world: &World, document: &str) {
    use enroller_core::observed::{DataProtection, ProtectionScope};
    let protection = DataProtection { scope: ProtectionScope::LogGroup, document: Some(document.to_owned()) };
    world.logs.groups.lock().unwrap().get_mut(&at(1, home())).unwrap().protection = vec![protection];
}

const MASKS_ADDRESSES: &str = r#"{"Statement": [{"Operation": {"Deidentify": {"MaskConfig": {}}},
    "DataIdentifier": ["arn:aws:dataprotection::aws:data-identifier/IpAddress"]}]}"#;

#[tokio::test]
async fn a_vpc_whose_records_are_masked_is_not_covered() {
    let world = World::enrolled(&[]);
    protected(&world, MASKS_ADDRESSES);
    world.add_vpc(&at(1, home()), 2);
    let report = reconcile_home(&world).await;
    let [ReconcileError::Finding(finding @ Finding::Masked { .. })] = &*report.errors else {
        panic!("{:?}", report.errors)
    };
    let failed = VpcResult::Failed(ReconcileError::Finding(finding.clone()));
    assert_eq!(vpcs(&report, [1, 2]), [failed.clone(), failed]);
    assert_eq!(world.journal.changes(), ["ec2:CreateFlowLogs"], "the rest is done nevertheless");
}

#[tokio::test]
async fn a_policy_that_may_not_be_read_may_mask_anything() {
    let world = World::enrolled(&[]);
    protected(&world, r#"{"Statement": []}"#);
    assert!(reconcile_home(&world).await.errors.is_empty());
    world.journal.fail("logs:GetDataProtectionPolicy", 1, "AccessDeniedException");
    let report = reconcile_home(&world).await;
    assert!(matches!(&*report.errors, [ReconcileError::Finding(Finding::Masked { .. })]), "{:?}", report.errors);
}

#[tokio::test]
async fn everything_that_is_made_carries_the_further_tags() {
    let world = World::fresh(&[("resource_tags", "cost-center=42,team=net"), ("delivery_role_maker", "enroller")]);
    let report = reconcile_home(&world).await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let group = world.logs.groups.lock().unwrap()[&at(1, home())].tags.clone().unwrap();
    let flow_log = world.ec2.flow_logs_of(&at(1, home()))[0].tags.clone();
    let roles = world.roles.roles.lock().unwrap();
    let role = roles.values().next().unwrap().tags.clone();
    for (tags, own) in [(group, 1), (flow_log, 2), (role, 1)] {
        assert_eq!((tags["cost-center"].as_str(), tags["team"].as_str()), ("42", "net"));
        assert_eq!(tags.len(), 2 + own, "{tags:?}");
    }
}

#[tokio::test]
async fn what_was_made_before_the_further_tags_is_left_as_it_is() {
    let before = World::enrolled(&[]);
    let world = World { settings: crate::testing::settings(&[("resource_tags", "team=net")]), ..before };
    let report = reconcile_home(&world).await;
    assert_eq!((world.journal.changes().len(), vpcs(&report, [1])), (0, vec![VpcResult::Covered]));
}
