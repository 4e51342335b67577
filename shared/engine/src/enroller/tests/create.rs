use enroller_core::log::Outcome;
use enroller_core::observed::{Delivery, FlowLog, Tags};
use enroller_core::plan::Finding;

use super::*;
use crate::testing::{T0, at, flow_log_id};

const CREATE: &str = "ec2:CreateFlowLogs";
const DELETE: &str = "ec2:DeleteFlowLogs";

/// VPCs 1, 3 and 4 in the home Region, with log group and filter and without flow logs.
fn three_vpcs(changes: &[(&str, &str)]) -> World {
    let world = World::enrolled(changes);
    world.ec2.flow_logs.lock().unwrap().clear();
    for number in [3, 4] {
        world.add_vpc(&at(1, home()), number);
    }
    world
}

/// VPC 1 with a flow log of ours that differs and has the successor's traffic type, so that AWS takes no twin.
fn outdated() -> World {
    let world = World::enrolled(&[]);
    world.ec2.flow_logs.lock().unwrap().get_mut(&at(1, home())).unwrap()[0].interval = 60;
    world
}

#[tokio::test]
async fn vpcs_with_the_same_wish_share_one_call() {
    let world = three_vpcs(&[]);
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE]);
    assert_eq!(vpcs(&report, [1, 3, 4]), vec![VpcResult::Enrolled; 3]);
}

#[tokio::test]
async fn each_vpc_of_a_call_has_its_own_result() {
    let world = three_vpcs(&[]);
    world.ec2.refused.lock().unwrap().insert(vpc_id(3), "FlowLogsLimitExceeded");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE]);
    let failed = VpcResult::Failed(report.errors[0].clone());
    assert_eq!(vpcs(&report, [1, 3, 4]), [VpcResult::Enrolled, failed, VpcResult::Enrolled]);
    assert_eq!((codes(&report), report.changes), (vec![Code::Quota], 2));
}

#[tokio::test]
async fn one_bad_id_is_found_by_halving() {
    for code in ["InvalidVpcId.NotFound", "FlowLogsLimitExceeded"] {
        let world = three_vpcs(&[]);
        world.ec2.poison.lock().unwrap().insert(vpc_id(3), code);
        let report = reconcile_home(&world).await;
        let asked: Vec<usize> = world.journal.about(CREATE).iter().map(|it| it.matches("vpc-").count()).collect();
        assert_eq!(asked, [3, 1, 2, 1, 1], "{code}");
        assert_eq!(codes(&report), [Code::parse(code)]);
        assert_eq!(vpcs(&report, [1, 4]), [VpcResult::Enrolled, VpcResult::Enrolled]);
    }
}

#[tokio::test]
async fn a_fault_of_every_vpc_costs_64_calls_and_not_one_each() {
    let world = World::fresh(&[]);
    for number in 10..=320 {
        world.add_vpc(&at(1, home()), number);
        world.ec2.poison.lock().unwrap().insert(vpc_id(number), "InvalidVpcId.NotFound");
    }
    let report = reconcile_home(&world).await;
    // One plan step for 300 VPCs, and one for 12.
    assert_eq!(world.journal.count(CREATE), 64 + 23);
    assert_eq!(report.vpcs.values().filter(|it| matches!(it, VpcResult::Failed(_))).count(), 311);
    assert!(report.needs_retry());
}

#[tokio::test]
async fn a_call_that_fails_for_another_reason_is_not_tried_one_by_one() {
    for code in ["RequestLimitExceeded", "UnauthorizedOperation", "InvalidParameterValue"] {
        let world = three_vpcs(&[]);
        world.journal.fail(CREATE, 1, code);
        let report = reconcile_home(&world).await;
        assert_eq!(world.journal.count(CREATE), 1, "{code}");
        assert_eq!(codes(&report), vec![Code::parse(code); 3]);
    }
}

#[tokio::test]
async fn a_single_vpc_is_not_asked_for_twice() {
    let world = World::enrolled(&[]);
    world.ec2.flow_logs.lock().unwrap().clear();
    world.ec2.poison.lock().unwrap().insert(vpc_id(1), "InvalidVpcId.NotFound");
    let report = reconcile_home(&world).await;
    assert_eq!((world.journal.count(CREATE), codes(&report)), (1, vec![Code::VpcNotFound]));
}

#[tokio::test]
async fn a_flow_log_of_others_that_records_what_is_wanted_covers() {
    let world = three_vpcs(&[]);
    let at = at(1, home());
    let theirs = FlowLog { tags: Tags::new(), delivery_role: None, interval: 60, ..world.flow_log(&at, 7, 3) };
    world.ec2.add_flow_log(&at, theirs);
    let report = reconcile_home(&world).await;
    assert!(!world.journal.about(CREATE)[0].contains(vpc_id(3).as_str()), "it is seen, so nothing is tried");
    let results = [VpcResult::Enrolled, VpcResult::CoveredByOthers, VpcResult::Enrolled];
    assert_eq!((vpcs(&report, [1, 3, 4]), report.errors.len()), (results.to_vec(), 0));
}

#[tokio::test]
async fn a_flow_log_of_others_that_records_less_and_is_in_the_way_is_named() {
    let world = three_vpcs(&[]);
    let at = at(1, home());
    let format = Some("${account-id} ${vpc-id} ${region}".to_owned());
    world
        .ec2
        .add_flow_log(&at, FlowLog { tags: Tags::new(), delivery_role: None, format, ..world.flow_log(&at, 7, 3) });
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE], "a second refusal is not provoked");
    assert_eq!(world.journal.count("ec2:DescribeFlowLogs"), 2, "it is looked at again");
    let [ReconcileError::Finding(Finding::InTheWay(lacking))] = &*report.errors else { panic!("{:?}", report.errors) };
    assert_eq!(lacking.flow_log, flow_log_id(7));
    assert!(lacking.lacks.contains("srcaddr"), "{}", lacking.lacks);
    let failed = VpcResult::Failed(report.errors[0].clone());
    assert_eq!(vpcs(&report, [1, 3, 4]), [VpcResult::Enrolled, failed, VpcResult::Enrolled]);
    let told: Vec<_> = report.decisions.iter().filter(|it| it.outcome == Outcome::Failed).collect();
    assert!(told[0].cause.contains("fl-00000007") && told[0].next_step.is_some(), "{told:?}");
}

#[tokio::test]
async fn ours_is_not_deleted_for_a_successor_that_others_are_in_the_way_of() {
    let world = outdated();
    let at = at(1, home());
    let format = Some("${account-id} ${vpc-id} ${region}".to_owned());
    world
        .ec2
        .add_flow_log(&at, FlowLog { tags: Tags::new(), delivery_role: None, format, ..world.flow_log(&at, 7, 1) });
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE]);
    assert!(matches!(&*report.errors, [ReconcileError::Finding(Finding::InTheWay(_))]), "{:?}", report.errors);
    assert_eq!(world.ec2.flow_logs_of(&at).len(), 2);
}

#[tokio::test]
async fn a_flow_log_that_aws_says_exists_and_does_not_show_covers_nothing() {
    let world = three_vpcs(&[]);
    world.ec2.refused.lock().unwrap().insert(vpc_id(3), "FlowLogAlreadyExists");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE; 2]);
    assert_eq!(report.errors, [ReconcileError::Finding(Finding::Unseen)]);
    let failed = VpcResult::Failed(report.errors[0].clone());
    assert_eq!(vpcs(&report, [1, 3, 4]), [VpcResult::Enrolled, failed, VpcResult::Enrolled]);
    assert!(report.needs_retry());
    let told = report.decisions.iter().find(|it| it.resource == vpc_id(3).as_str()).unwrap();
    assert!(told.next_step.as_deref().unwrap().contains("describe-flow-logs"), "{told:?}");
}

#[tokio::test]
async fn one_such_answer_that_is_wrong_is_survived() {
    let world = three_vpcs(&[]);
    world.journal.fail(CREATE, 1, "FlowLogAlreadyExists");
    world.journal.fail_at(CREATE, vpc_id(3), 1, "FlowLogAlreadyExists");
    let report = reconcile_home(&world).await;
    assert_eq!((vpcs(&report, [1, 3, 4]), report.errors.len()), (vec![VpcResult::Enrolled; 3], 0));
}

#[tokio::test]
async fn one_such_answer_that_is_wrong_costs_no_gap() {
    let world = outdated();
    let reject = Some(enroller_core::observed::TrafficType::Reject);
    world.ec2.flow_logs.lock().unwrap().get_mut(&at(1, home())).unwrap()[0].traffic_type = reject;
    world.journal.fail(CREATE, 1, "FlowLogAlreadyExists");
    let report = reconcile_home(&world).await;
    assert_eq!((world.journal.changes(), vpcs(&report, [1])), (vec![CREATE; 2], vec![VpcResult::Repaired]));
}

#[tokio::test]
async fn a_flow_log_to_the_old_group_is_not_deleted_because_of_such_an_answer() {
    let world = World::enrolled(&[]);
    let old = enroller_core::observed::FlowLogTarget::LogGroup("old-group".to_owned());
    world.ec2.flow_logs.lock().unwrap().get_mut(&at(1, home())).unwrap()[0].target = old;
    world.ec2.refused.lock().unwrap().insert(vpc_id(1), "FlowLogAlreadyExists");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE; 2]);
    assert_eq!(report.errors, [ReconcileError::Finding(Finding::Unseen)]);
}

#[tokio::test]
async fn where_aws_denies_the_deletion_the_old_flow_log_goes_on_and_nothing_more_is_tried() {
    for code in ["UnauthorizedOperation", "InternalError"] {
        let world = outdated();
        world.journal.fail(DELETE, 1, code);
        let report = reconcile_home(&world).await;
        assert_eq!(world.journal.changes(), [CREATE, CREATE, DELETE]);
        assert_eq!(codes(&report), [Code::parse(code)]);
        assert_eq!(vpcs(&report, [1]), [VpcResult::Failed(report.errors[0].clone())]);
        let told: Vec<_> = report.decisions.iter().filter(|it| it.action == "delete-flow-log").collect();
        assert!(told[0].cause.contains("keeps its old settings"), "{told:?}");
        let names_the_deny = told[0].next_step.as_deref().unwrap().contains("ec2:DeleteFlowLogs");
        assert_eq!(names_the_deny, code == "UnauthorizedOperation");
        assert_eq!(world.ec2.flow_logs_of(&at(1, home()))[0].id, flow_log_id(1));
    }
}

#[tokio::test]
async fn where_aws_takes_no_twin_the_old_flow_log_goes_first() {
    let world = outdated();
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE, CREATE, DELETE, CREATE]);
    assert_eq!((vpcs(&report, [1]), report.errors.len()), (vec![VpcResult::Repaired], 0));
    assert!(report.decisions.iter().any(|it| it.cause == GAP), "{:?}", report.decisions);
    let there = world.ec2.flow_logs_of(&at(1, home()));
    assert_eq!((there.len(), there[0].interval), (1, world.settings.aggregation_interval));
}

#[tokio::test]
async fn a_successor_that_aws_does_not_show_yet_is_no_reason_to_delete_the_old_flow_log() {
    let world = outdated();
    let at = at(1, home());
    world.ec2.lag_ms.store(30_000, std::sync::atomic::Ordering::Relaxed);
    let successor = FlowLog { created_ms: Some(T0), delivery: Delivery::Unknown, ..world.flow_log(&at, 9, 1) };
    world.ec2.add_flow_log(&at, successor);
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE]);
    assert_eq!((vpcs(&report, [1]), world.ec2.flow_logs_of(&at).len()), (vec![VpcResult::Covered], 2));
    let [ReconcileError::Finding(Finding::Unfinished { successor, .. })] = &*report.errors else {
        panic!("{:?}", report.errors)
    };
    assert_eq!(*successor, flow_log_id(9));
}

#[tokio::test]
async fn the_old_flow_log_stays_without_time_for_another_look_and_both_calls() {
    for (left_ms, changes) in [(259_999, vec![CREATE; 2]), (260_000, vec![CREATE, CREATE, DELETE, CREATE])] {
        let world = outdated();
        let report = world.enroller().reconcile(&work(1, [home()]), T0 + left_ms).await;
        assert_eq!(world.journal.changes(), changes);
        let report = region_of(&report, &home());
        let in_time = changes.len() == 4;
        let late = VpcResult::Failed(ReconcileError::OutOfTime);
        assert_eq!(vpcs(report, [1]), [if in_time { VpcResult::Repaired } else { late }]);
        assert_eq!(report.needs_retry(), !in_time);
        assert_eq!(world.ec2.flow_logs_of(&at(1, home()))[0].id == flow_log_id(1), !in_time);
    }
}

#[tokio::test]
async fn another_run_that_was_faster_in_the_gap_is_looked_at() {
    let world = outdated();
    let (ec2, successor) = (std::sync::Arc::clone(&world.ec2), world.flow_log(&at(1, home()), 9, 1));
    world.journal.meanwhile(CREATE, || {});
    world.journal.meanwhile(CREATE, || {});
    world.journal.meanwhile(CREATE, move || ec2.add_flow_log(&at(1, home()), successor.clone()));
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE, CREATE, DELETE, CREATE]);
    assert_eq!(world.journal.count("ec2:DescribeFlowLogs"), 3);
    assert_eq!((vpcs(&report, [1]), report.errors.len()), (vec![VpcResult::Covered], 0));
}

#[tokio::test]
async fn a_successor_that_is_refused_in_the_gap_is_a_failure() {
    let world = outdated();
    world.journal.meanwhile(CREATE, || {});
    world.journal.meanwhile(CREATE, || {});
    world.journal.fail(CREATE, 1, "InternalError");
    let report = reconcile_home(&world).await;
    assert_eq!(codes(&report), [Code::Internal]);
    assert_eq!(vpcs(&report, [1]), [VpcResult::Failed(report.errors[0].clone())]);
    assert!(report.needs_retry());
}

#[tokio::test]
async fn a_refused_delivery_role_is_mended_and_tried_again() {
    let world = three_vpcs(&[("delivery_role_maker", "enroller")]);
    let old = world.flow_log(&at(1, home()), 1, 1);
    world.ec2.add_flow_log(&at(1, home()), old);
    world.journal.fail(CREATE, 1, "InvalidParameterValue");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE, "iam:CreateRole", "iam:PutRolePolicy", CREATE]);
    assert_eq!((vpcs(&report, [3, 4]), report.errors.len()), (vec![VpcResult::Enrolled; 2], 0));
}

#[tokio::test]
async fn a_refused_role_that_is_right_is_waited_for() {
    let world = three_vpcs(&[("delivery_role_maker", "enroller")]);
    world.journal.fail(CREATE, 1, "InvalidParameterValue");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), ["iam:CreateRole", "iam:PutRolePolicy", CREATE], "made in this run");
    assert_eq!((codes(&report), report.needs_retry()), (vec![Code::InvalidParameter; 3], true));
}

#[tokio::test]
async fn a_refusal_that_is_not_about_the_role_leaves_it_alone() {
    let world = three_vpcs(&[("delivery_role_maker", "enroller")]);
    let old = world.flow_log(&at(1, home()), 1, 1);
    world.ec2.add_flow_log(&at(1, home()), old);
    world.ec2.refused.lock().unwrap().insert(vpc_id(3), "FlowLogsLimitExceeded");
    let report = reconcile_home(&world).await;
    assert_eq!((world.journal.count("iam:GetRole"), codes(&report)), (0, vec![Code::Quota]));
}

#[tokio::test]
async fn the_member_stacks_role_is_not_touched() {
    let world = three_vpcs(&[]);
    world.journal.fail(CREATE, 1, "InvalidParameterValue");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE]);
    assert_eq!((world.journal.count("iam:GetRole"), report.needs_retry()), (0, true));
}

#[tokio::test]
async fn a_role_that_cannot_be_mended_is_told_besides_the_refusals() {
    let world = three_vpcs(&[("delivery_role_maker", "enroller")]);
    let old = world.flow_log(&at(1, home()), 1, 1);
    world.ec2.add_flow_log(&at(1, home()), old);
    world.journal.fail(CREATE, 1, "InvalidParameterValue");
    world.journal.fail("iam:GetRole", 1, "AccessDenied");
    let report = reconcile_home(&world).await;
    assert_eq!(world.journal.changes(), [CREATE]);
    assert_eq!(codes(&report), [Code::AccessDenied, Code::InvalidParameter, Code::InvalidParameter]);
}
