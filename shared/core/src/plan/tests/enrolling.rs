//! VPCs that get their first flow log, and VPCs that get none.

use super::*;

#[test]
fn a_fresh_region_gets_log_group_then_filter_then_flow_logs() {
    insta::assert_snapshot!(Scenario::fresh_region(2).story(), @r#"
    create-log-group: log group vpc-flow-logs does not exist
    put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist
    create-flow-logs ALL [vpc-00000001, vpc-00000002]: 2 VPCs have no managed flow log
    set-retention Some(30): a new log group keeps events for ever
    "#);
}

#[test]
fn a_covered_region_needs_nothing() {
    let scenario = Scenario::covered_region(2);
    insta::assert_snapshot!(scenario.story(), @"nothing");
    assert_eq!(scenario.verdict(1), VpcPlan::Covered(flow_log_id(1)));
}

#[test]
fn a_new_vpc_in_a_covered_region_gets_a_flow_log_and_nothing_else_changes() {
    let scenario = Scenario::covered_region(1).after(|there| there.vpcs.push(vpc(2)));
    insta::assert_snapshot!(scenario.story(), @"create-flow-logs ALL [vpc-00000002]: 1 VPC has no managed flow log");
}

#[test]
fn a_region_without_vpcs_stays_empty() {
    insta::assert_snapshot!(Scenario::fresh_region(0).story(), @"nothing");
}

/// An installation that lets the tags of VPCs opt out and narrow.
const FOLLOWED: (&str, &str) = ("narrowing_tags", "followed");

#[test]
fn a_region_with_only_opted_out_and_shared_vpcs_stays_empty() {
    let scenario = Scenario::fresh_region(2).with_settings(&[FOLLOWED]).after(|there| {
        there.vpcs[0].tags = tags(&[("vpc-flow-logs", "off")]);
        there.vpcs[1].owner = "777788889999".parse().unwrap();
    });
    insta::assert_snapshot!(scenario.story(), @"note: vpc-00000001: the VPC's tag vpc-flow-logs=off excludes it");
    assert_eq!(scenario.verdict(1), VpcPlan::OutOfScope(OutOfScope::OptedOut("vpc-flow-logs=off".to_owned())));
    assert_eq!(scenario.verdict(2), VpcPlan::OutOfScope(OutOfScope::SharedIn("777788889999".parse().unwrap())));
}

#[test]
fn opting_out_later_keeps_the_flow_log_and_is_noted() {
    let scenario = Scenario::covered_region(1)
        .with_settings(&[FOLLOWED])
        .after(|there| there.vpcs[0].tags = tags(&[("vpc-flow-logs", "off")]));
    insta::assert_snapshot!(scenario.story(), @"note: vpc-00000001: the VPC's tag vpc-flow-logs=off excludes it, but its flow log fl-00000001 is kept");
}

#[test]
fn a_shared_vpc_is_left_to_its_owner() {
    let scenario = Scenario::covered_region(1).after(|there| {
        there.vpcs.push(Vpc { owner: "777788889999".parse().unwrap(), ..vpc(2) });
    });
    insta::assert_snapshot!(scenario.story(), @"nothing");
}

#[test]
fn a_vpc_with_a_traffic_type_of_its_own_takes_a_second_call() {
    let scenario = Scenario::fresh_region(3).with_settings(&[FOLLOWED]).after(|there| {
        there.vpcs[1].tags = tags(&[("vpc-flow-logs-traffic-type", "reject")]);
    });
    insta::assert_snapshot!(scenario.story(), @r#"
    create-log-group: log group vpc-flow-logs does not exist
    put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist
    create-flow-logs ALL [vpc-00000001, vpc-00000003]: 2 VPCs have no managed flow log
    create-flow-logs REJECT [vpc-00000002]: 1 VPC has no managed flow log
    set-retention Some(30): a new log group keeps events for ever
    note: vpc-00000002: the VPC's tag vpc-flow-logs-traffic-type=REJECT narrows what it records: the settings ask for ALL
    "#);
}

#[test]
fn by_default_no_tag_of_a_vpc_replaces_or_prevents_its_flow_log() {
    for tag in [("vpc-flow-logs", "off"), ("vpc-flow-logs-traffic-type", "REJECT")] {
        let scenario = Scenario::covered_region(1).after(|there| there.vpcs[0].tags = tags(&[tag]));
        let plan = scenario.plan();
        assert_eq!((plan.steps.len(), scenario.verdict(1)), (0, VpcPlan::Covered(flow_log_id(1))), "{tag:?}");
        assert!(matches!(plan.tags.get(&vpc_id(1)), Some(TagEffect::Ignored(_))), "{tag:?}");
        assert!(plan.notes[0].contains(&format!("{}={} is ignored", tag.0, tag.1)), "{}", story(&plan));
        let fresh = Scenario::fresh_region(1).after(|there| there.vpcs[0].tags = tags(&[tag]));
        assert!(matches!(fresh.verdict(1), VpcPlan::Enroll { .. }), "{tag:?}");
    }
    let wider = Scenario::fresh_region(1).with_settings(&[("traffic_type", "REJECT")]).after(|there| {
        there.vpcs[0].tags = tags(&[("vpc-flow-logs-traffic-type", "ALL")]);
    });
    assert!(wider.story().contains("create-flow-logs ALL [vpc-00000001]: 1 VPC has no managed flow log"));
}

#[test]
fn the_settings_opt_a_vpc_out_until_the_last_day_of_the_entry_and_both_are_told() {
    let listed = |day: &str| {
        let entry = format!("vpc-00000001:{day}:jane@example.com");
        Scenario::fresh_region(1).with_settings(&[("opted_out_vpcs", &entry)])
    };
    insta::assert_snapshot!(listed("2027-03-31").story(), @"note: vpc-00000001: the settings exclude it until 2027-03-31 (opted_out_vpcs), for which jane@example.com answers");
    insta::assert_snapshot!(listed("2025-03-31").story(), @r#"
    create-log-group: log group vpc-flow-logs does not exist
    put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist
    create-flow-logs ALL [vpc-00000001]: 1 VPC has no managed flow log
    set-retention Some(30): a new log group keeps events for ever
    note: vpc-00000001: its entry in opted_out_vpcs expired on 2025-03-31 and opts it out no longer; jane@example.com answers for it
    "#);
}

#[test]
fn an_invalid_traffic_type_counts_as_absent_and_is_noted() {
    let scenario = Scenario::fresh_region(1).after(|there| {
        there.vpcs[0].tags = tags(&[("vpc-flow-logs-traffic-type", "everything")]);
    });
    insta::assert_snapshot!(scenario.story(), @r#"
    create-log-group: log group vpc-flow-logs does not exist
    put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist
    create-flow-logs ALL [vpc-00000001]: 1 VPC has no managed flow log
    set-retention Some(30): a new log group keeps events for ever
    note: vpc-00000001: tag vpc-flow-logs-traffic-type is ignored: "everything" is not a traffic type: expected ALL, ACCEPT or REJECT
    "#);
}

#[test]
fn more_vpcs_than_one_call_accepts_are_spread_over_calls() {
    let plan = Scenario::fresh_region(700).plan();
    let calls: Vec<(usize, &str)> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::CreateFlowLogs { vpcs, .. } => Some((vpcs.len(), step.why.as_str())),
            _ => None,
        })
        .collect();
    insta::assert_debug_snapshot!(calls, @r#"
    [
        (
            300,
            "300 VPCs have no managed flow log",
        ),
        (
            300,
            "300 VPCs have no managed flow log",
        ),
        (
            100,
            "100 VPCs have no managed flow log",
        ),
    ]
    "#);
}

#[test]
fn the_enroller_creates_the_delivery_role_only_if_set() {
    let fresh = Scenario::fresh_region(1).with_settings(&[("delivery_role_maker", "enroller")]);
    insta::assert_snapshot!(fresh.story(), @r#"
    ensure-delivery-role: no managed flow log delivers to vpc-flow-logs with role VpcFlowLogsEnrollerDelivery yet
    create-log-group: log group vpc-flow-logs does not exist
    put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist
    create-flow-logs ALL [vpc-00000001]: 1 VPC has no managed flow log
    set-retention Some(30): a new log group keeps events for ever
    "#);
}

#[test]
fn the_delivery_role_is_not_checked_where_flow_logs_deliver_with_it() {
    let enroller = [("delivery_role_maker", "enroller")];
    let covered = Scenario::covered_region(1).with_settings(&enroller);
    insta::assert_snapshot!(covered.story(), @"nothing");
    let one_more = covered.after(|there| there.vpcs.push(vpc(2)));
    insta::assert_snapshot!(one_more.story(), @"create-flow-logs ALL [vpc-00000002]: 1 VPC has no managed flow log");
}

#[test]
fn a_new_delivery_role_or_log_group_name_has_the_role_checked() {
    for change in [("delivery_role_name", "OtherRole"), ("log_group_name", "other-group")] {
        let plan = Scenario::covered_region(1).with_settings(&[("delivery_role_maker", "enroller"), change]).plan();
        assert_eq!(plan.steps[0].action, Action::EnsureDeliveryRole, "{change:?}: {}", story(&plan));
    }
}

#[test]
fn an_equal_unmanaged_flow_log_covers_the_vpc() {
    let scenario = Scenario::covered_region(1).after(|there| of_others(&mut there.flow_logs[0]));
    insta::assert_snapshot!(scenario.story(), @"nothing");
    assert_eq!(scenario.verdict(1), VpcPlan::CoveredByOthers(flow_log_id(1)));
}

#[test]
fn an_unmanaged_flow_log_that_differs_does_not_cover_the_vpc() {
    let differences: [fn(&mut FlowLog); 5] = [
        |log| log.target = FlowLogTarget::Other("arn:aws:s3:::somebodys-bucket".to_owned()),
        |log| log.target = FlowLogTarget::LogGroup("somebodys-group".to_owned()),
        |log| log.traffic_type = Some(TrafficType::Reject),
        |log| log.format = None,
        |log| log.resource = "subnet-0123456789abcdef0".to_owned(),
    ];
    for differ in differences {
        let scenario = Scenario::covered_region(1).after(|there| {
            of_others(&mut there.flow_logs[0]);
            differ(&mut there.flow_logs[0]);
        });
        assert_eq!(
            scenario.story(),
            "create-flow-logs ALL [vpc-00000001]: 1 VPC has no managed flow log",
            "{:?}",
            scenario.observed.flow_logs
        );
    }
}
