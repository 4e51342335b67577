use serde_json::{Value, json};

use super::bucket::{lines, put_log_events};
use super::{LogEvents, Loss, TrafficReport, report, tick};
use crate::ec2::DeliverStatus;
use crate::fixtures::*;
use crate::world::World;

const TEN_MINUTES: u64 = 600_000;

fn ticked(world: &mut World) -> TrafficReport {
    tick(world);
    report(world)
}

fn status(world: &World, flow_log: &str) -> Option<DeliverStatus> {
    world.ec2.flow_logs(MEMBER, REGION).find(|log| log.id == flow_log).unwrap().deliver_logs_status.clone()
}

#[test]
fn records_of_an_enrolled_vpc_reach_s3_and_the_flow_log_says_so() {
    let (mut world, vpc_id, flow_log) = enrolled();
    assert_eq!(status(&world, &flow_log), None, "no status before the first delivery");
    let report = ticked(&mut world);
    assert_eq!((report.sent, report.delivered, report.duplicated, report.lost_after_enrollment), (3, 3, 0, 0));
    assert_eq!(status(&world, &flow_log), Some(DeliverStatus::Success));
    let line = report.vpcs[0].lines.back().unwrap();
    assert!(line.starts_with("2 111122223333 eni-") && line.ends_with(" ACCEPT OK"), "{line}");
    assert_eq!(report.vpcs[0].vpc_id, vpc_id);
}

#[test]
fn a_vpc_without_a_flow_log_is_not_logged_and_nothing_is_lost_yet() {
    let mut world = with_group();
    world.put_vpc(MEMBER, REGION, "10.0.0.0/16", false);
    let report = ticked(&mut world);
    assert_eq!((report.not_logged_before_enrollment, report.lost_after_enrollment), (3, 0));
    assert_eq!(report.before_by_reason.get(&Loss::NotLogged), Some(&3));
}

/// Name of the case, the link that the report must name, and a change that breaks it.
type BrokenLink = (&'static str, Loss, fn(&mut World));

fn put_member_role(world: &mut World, service: &str, actions: &[&str], resource: &str) {
    world.put_role(MEMBER, "VpcFlowLogsEnrollerDelivery", trust(service, json!({})), allow(actions, resource));
}

#[test]
fn each_broken_link_loses_the_records_under_its_own_name() {
    let rows: &[BrokenLink] = &[
        ("flow log deleted", Loss::NotLogged, |world| {
            let id = world.ec2.flow_logs(MEMBER, REGION).next().unwrap().id.clone();
            ec2(world, MEMBER, "DeleteFlowLogs", &format!("FlowLogId.1={id}")).unwrap();
        }),
        ("delivery role gone", Loss::DeliveryRole, |world| {
            world.iam.remove_role(MEMBER, "VpcFlowLogsEnrollerDelivery").unwrap();
        }),
        ("delivery role trusts another service", Loss::DeliveryRole, |world| {
            put_member_role(world, "ec2.amazonaws.com", &["logs:*"], "*");
        }),
        ("delivery role may not write", Loss::DeliveryRole, |world| {
            put_member_role(world, "vpc-flow-logs.amazonaws.com", &["logs:CreateLogStream"], "*");
        }),
        ("delivery role names the group without its streams", Loss::DeliveryRole, |world| {
            let group = format!("arn:aws:logs:{REGION}:{MEMBER}:log-group:{GROUP}");
            put_member_role(world, "vpc-flow-logs.amazonaws.com", &["logs:*"], &group);
        }),
        ("group deleted", Loss::LogGroup, |world| {
            logs(world, MEMBER, "DeleteLogGroup", json!({"logGroupName": GROUP})).unwrap();
        }),
        ("group deleted and made again by the service", Loss::Filter, |world| {
            logs(world, MEMBER, "DeleteLogGroup", json!({"logGroupName": GROUP})).unwrap();
            put_member_role(world, "vpc-flow-logs.amazonaws.com", &["logs:*"], "*");
        }),
        ("filter deleted", Loss::Filter, |world| {
            let input = json!({"logGroupName": GROUP, "filterName": "AllTraffic"});
            logs(world, MEMBER, "DeleteSubscriptionFilter", input).unwrap();
        }),
        ("filter with a pattern that takes nothing", Loss::Filter, |world| {
            let input = json!({"logGroupName": GROUP, "filterName": "AllTraffic", "filterPattern": "NODATA",
                "destinationArn": DESTINATION});
            logs(world, MEMBER, "PutSubscriptionFilter", input).unwrap();
        }),
        ("destination deleted", Loss::Destination, |world| {
            logs(world, CENTRAL, "DeleteDestination", json!({"destinationName": "VPCFlowLogsDestination"})).unwrap();
        }),
        ("principal removed", Loss::DestinationPolicy, |world| {
            put_policy(world, &policy_for(&[STRANGER]), false).unwrap();
        }),
        ("forced to organization before the filters have roles", Loss::FilterRole, |world| {
            put_policy(world, &policy_for_organization(), true).unwrap();
        }),
        ("destination role trusts the recipient only", Loss::DestinationRole, |world| {
            let condition = json!({"StringLike": {"aws:SourceArn": format!("arn:aws:logs:*:{CENTRAL}:*")}});
            let trust = trust("logs.amazonaws.com", condition);
            world.put_role(CENTRAL, "ToFirehose", trust, allow(&["firehose:*"], "*"));
        }),
        ("stream gone", Loss::DestinationRole, |world| world.logs.remove_stream(STREAM)),
    ];
    for (what, loss, sabotage) in rows {
        let (mut world, _, _) = enrolled();
        tick(&mut world);
        sabotage(&mut world);
        let report = ticked(&mut world);
        assert_eq!((report.sent, report.delivered, report.lost_after_enrollment), (6, 3, 3), "{what}");
        assert_eq!(report.lost_by_reason.get(loss), Some(&3), "{what}: {:?}", report.lost_by_reason);
    }
}

#[test]
fn a_failed_delivery_role_shows_as_access_error() {
    let (mut world, _, flow_log) = enrolled();
    world.iam.remove_role(MEMBER, "VpcFlowLogsEnrollerDelivery").unwrap();
    tick(&mut world);
    assert_eq!(status(&world, &flow_log), Some(DeliverStatus::Failed("Access error".to_owned())));
}

#[test]
fn a_denied_filter_is_disabled_although_the_policy_is_fixed_at_once() {
    let (mut world, _, _) = enrolled();
    tick(&mut world);
    put_policy(&mut world, &policy_for(&[STRANGER]), false).unwrap();
    tick(&mut world);
    put_policy(&mut world, &policy_for(&[MEMBER]), false).unwrap();
    world.advance_clock(TEN_MINUTES - 1);
    let report = ticked(&mut world);
    assert_eq!(report.lost_by_reason.get(&Loss::DestinationPolicy), Some(&3));
    assert_eq!(report.lost_by_reason.get(&Loss::FilterDisabled), Some(&3));
    world.advance_clock(1);
    assert_eq!(ticked(&mut world).delivered, 6);
}

#[test]
fn putting_the_filter_again_enables_it() {
    let (mut world, _, _) = enrolled();
    put_policy(&mut world, &policy_for(&[STRANGER]), false).unwrap();
    tick(&mut world);
    put_policy(&mut world, &policy_for(&[MEMBER]), false).unwrap();
    world.advance_clock(1);
    put_filter(&mut world, "AllTraffic", None).unwrap();
    assert_eq!(ticked(&mut world).delivered, 3);
}

#[test]
fn an_organization_policy_delivers_through_a_filter_with_a_role() {
    let (mut world, _, _) = enrolled();
    put_filter(&mut world, "AllTraffic", Some(FILTER_ROLE)).unwrap();
    put_policy(&mut world, &policy_for_organization(), true).unwrap();
    assert_eq!(ticked(&mut world).delivered, 3);
    world.put_role(MEMBER, "FilterRole", trust("logs.amazonaws.com", json!({})), allow(&["s3:*"], "*"));
    assert_eq!(ticked(&mut world).lost_by_reason.get(&Loss::FilterRole), Some(&3));
}

#[test]
fn two_flow_logs_that_both_arrive_are_duplicates() {
    let (mut world, vpc_id, _) = enrolled();
    create_flow_log(&mut world, &vpc_id, "ACCEPT");
    let report = ticked(&mut world);
    assert_eq!((report.delivered, report.duplicated), (3, 2), "the two accepted records come twice");
}

#[test]
fn records_outside_the_traffic_type_are_filtered_out_and_not_lost() {
    let mut world = with_group();
    put_filter(&mut world, "AllTraffic", None).unwrap();
    let vpc_id = world.put_vpc(MEMBER, REGION, "10.0.0.0/16", false);
    create_flow_log(&mut world, &vpc_id, "REJECT");
    let report = ticked(&mut world);
    assert_eq!((report.delivered, report.filtered_out, report.lost_after_enrollment), (1, 2, 0));
}

#[test]
fn records_of_an_account_that_left_are_counted_separately() {
    let (mut world, _, _) = enrolled();
    tick(&mut world);
    // The destination's role trusts members only; a role without that condition would let the records through.
    world.put_role(CENTRAL, "ToFirehose", trust("logs.amazonaws.com", json!({})), allow(&["firehose:*"], "*"));
    world.organization.remove(MEMBER, 0);
    let report = ticked(&mut world);
    assert_eq!((report.sent, report.from_outside, report.lost_after_enrollment), (3, 3, 0));
    put_policy(&mut world, &policy_for(&[CENTRAL]), false).unwrap();
    assert_eq!(ticked(&mut world).from_outside, 3);
}

#[test]
fn only_the_last_lines_are_kept() {
    let (mut world, _, _) = enrolled();
    for _ in 0..5 {
        tick(&mut world);
        world.advance_clock(60_000);
    }
    let report = report(&world);
    assert_eq!((report.delivered, report.vpcs[0].lines.len()), (15, 3));
}

#[test]
fn a_flow_log_records_minutes_after_it_is_made_and_has_no_status_before() {
    let (mut world, _, flow_log) = enrolled();
    world.settings = world.settings.clone().with_delays_of_aws();
    world.advance_clock(299_999);
    assert_eq!(ticked(&mut world).before_by_reason, [(Loss::NotRecording, 3)].into());
    assert_eq!(status(&world, &flow_log), None);
    world.advance_clock(1);
    assert_eq!(ticked(&mut world).delivered, 3);
    assert_eq!(status(&world, &flow_log), Some(DeliverStatus::Success));
}

#[test]
fn a_deleted_flow_log_goes_on_recording_for_minutes_so_that_an_early_successor_duplicates() {
    let (mut world, vpc_id, flow_log) = enrolled();
    world.settings.stopping_delay_ms = 300_000;
    ec2(&mut world, MEMBER, "DeleteFlowLogs", &format!("FlowLogId.1={flow_log}")).unwrap();
    world.advance_clock(299_999);
    let counts = |report: &TrafficReport| (report.delivered, report.duplicated);
    assert_eq!(counts(&ticked(&mut world)), (3, 0));
    create_flow_log(&mut world, &vpc_id, "ALL");
    assert_eq!(counts(&ticked(&mut world)), (6, 3));
    world.advance_clock(1);
    assert_eq!(counts(&ticked(&mut world)), (9, 3));
}

#[test]
fn with_constant_traffic_describe_flow_logs_shows_the_result_of_deliveries() {
    let (mut world, _, flow_log) = enrolled();
    world.settings.recording_delay_ms = 60_000;
    world.settings.constant_traffic = true;
    let shown = |world: &mut World| {
        ec2(world, MEMBER, "DescribeFlowLogs", "").unwrap();
        status(world, &flow_log)
    };
    assert_eq!(shown(&mut world), None);
    world.advance_clock(60_000);
    assert_eq!(shown(&mut world), Some(DeliverStatus::Success));
    world.iam.remove_role(MEMBER, "VpcFlowLogsEnrollerDelivery");
    assert_eq!(shown(&mut world), Some(DeliverStatus::Failed("Access error".to_owned())));
}

fn delivered(world: &World) -> Vec<Value> {
    lines(world).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_line_in_the_bucket_names_the_account_and_the_log_group_that_it_came_from() {
    let (mut world, _, _) = enrolled();
    tick(&mut world);
    let [envelope] = delivered(&world).try_into().unwrap();
    assert_eq!((&envelope["owner"], &envelope["logGroup"]), (&json!(MEMBER), &json!("vpc-flow-logs")));
    assert_eq!(envelope["messageType"], "DATA_MESSAGE");
    assert!(envelope["logStream"].as_str().unwrap().starts_with("eni-"), "{envelope}");
    let message = envelope["logEvents"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("2 111122223333 eni-"), "{message}");
}

#[test]
fn a_line_that_claims_another_account_arrives_under_the_account_that_wrote_it() {
    let (mut world, _, _) = enrolled();
    let forged = "2 999988887777 eni-1 10.0.1.10 198.51.100.20 49152 443 6 12 3456 1 2 ACCEPT OK";
    let messages = &[forged];
    let events = |group| LogEvents { account: MEMBER, region: REGION, group, stream: "mine", messages };
    put_log_events(&mut world, events("vpc-flow-logs")).unwrap();
    let [envelope] = delivered(&world).try_into().unwrap();
    assert_eq!((&envelope["owner"], &envelope["logStream"]), (&json!(MEMBER), &json!("mine")));
    assert_eq!(envelope["logEvents"][0]["message"], forged);
    assert_eq!(put_log_events(&mut world, events("another-group")), Err(Loss::LogGroup));
}
