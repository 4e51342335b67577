//! What counts as covered, and when a replaced flow log may go.

use super::*;
use crate::error::{Disposition, Wait};

const OTHER_FORMAT: &str = "${account-id} ${vpc-id} ${region} ${srcaddr} ${dstaddr}";

type Change = fn(&mut FlowLog);

fn exchanged(format: &str, one: &str, other: &str) -> String {
    format.replace(one, "\0").replace(other, one).replace('\0', other)
}

/// A VPC with a flow log of others to our log group, and none of ours.
fn theirs(change: impl FnOnce(&mut FlowLog)) -> Scenario {
    Scenario::covered_region(1).after(|there| {
        of_others(&mut there.flow_logs[0]);
        change(&mut there.flow_logs[0]);
    })
}

#[test]
fn a_flow_log_of_others_covers_if_it_records_at_least_what_is_wanted() {
    let more: [Change; 4] = [
        |_| {},
        |log| log.format = Some(format!("{} ${{tcp-flags}}", crate::settings::DEFAULT_FORMAT)),
        |log| log.interval = 60,
        |log| log.delivery_role = None,
    ];
    for change in more {
        assert_eq!(theirs(change).verdict(1), VpcPlan::CoveredByOthers(flow_log_id(1)));
    }
    let reject = theirs(|_| {}).with_settings(&[("traffic_type", "REJECT")]);
    assert_eq!(reject.verdict(1), VpcPlan::CoveredByOthers(flow_log_id(1)), "ALL includes REJECT");
}

#[test]
fn a_flow_log_of_others_that_records_less_is_named_with_what_it_lacks() {
    let less: [(Change, &str); 8] = [
        // Two columns exchanged would falsify every record.
        (
            |log| log.format = log.format.take().map(|format| exchanged(&format, "${srcaddr}", "${dstaddr}")),
            "it records the fields in another order",
        ),
        (
            |log| log.format = log.format.take().map(|format| format!("${{tcp-flags}} {format}")),
            "it records the fields in another order",
        ),
        (|log| log.delivery = Delivery::Unknown, "it has not reported a delivery yet"),
        (|log| log.traffic_type = Some(TrafficType::Reject), "it records traffic type REJECT, not ALL"),
        (|log| log.traffic_type = None, "it records traffic type none, not ALL"),
        (
            |log| log.format = log.format.take().map(|format| format.replace("${region} ", "")),
            "it does not record region",
        ),
        (|log| log.active = false, "it is not ACTIVE"),
        (
            |log| (log.interval, log.delivery) = (60, Delivery::Failed("Access error".to_owned())),
            "its delivery fails: Access error",
        ),
    ];
    for (change, lacks) in less {
        let beside = Some(Lacking { flow_log: flow_log_id(1), lacks: lacks.to_owned() });
        assert_eq!(theirs(change).verdict(1), VpcPlan::Enroll { beside });
    }
    let in_the_way = Finding::InTheWay(Lacking { flow_log: flow_log_id(1), lacks: "it is not ACTIVE".to_owned() });
    assert!(in_the_way.to_string().contains("fl-00000001") && in_the_way.to_string().contains("not ACTIVE"));
    assert!(!in_the_way.disposition().is_retryable());
    assert_eq!(Finding::Unseen.disposition(), Disposition::RetryLater(Wait::FlowLog));
}

#[test]
fn a_flow_log_of_others_to_another_group_is_not_beside_ours() {
    let elsewhere = theirs(|log| log.target = FlowLogTarget::LogGroup("theirs".to_owned()));
    assert_eq!(elsewhere.verdict(1), VpcPlan::Enroll { beside: None });
}

/// Flow log 1 of ours is right and so many minutes old, and flow log 7 is the one it replaces.
fn replaced(age_minutes: u64, delivery: Delivery, old: Delivery) -> Scenario {
    let scenario = Scenario::covered_region(1);
    let log = FlowLog { interval: 60, delivery: old, ..scenario.right_flow_log(7, 1) };
    scenario.after(|there| {
        there.flow_logs[0].created_ms = Some(NOW - age_minutes * MINUTE_MS);
        there.flow_logs[0].delivery = delivery;
        there.flow_logs.push(log);
    })
}

fn failed() -> Delivery {
    Delivery::Failed("Access error".to_owned())
}

const DELETED: &str = "delete-flow-logs {fl-00000007: vpc-00000001}: the VPC has another, correct flow log";
const KEPT: &str = "unfinished: vpc-00000001: the replaced flow log fl-00000007 is kept until fl-00000001 delivers, so records arrive twice";

#[test]
fn a_replaced_flow_log_goes_when_its_successor_delivers() {
    use Delivery::{Success, Unknown};
    for (age_minutes, delivery, old, story) in [
        (0, Success, Success, DELETED),
        (0, Unknown, Success, KEPT),
        (59, Unknown, Success, KEPT),
        (60, Unknown, Success, DELETED),
        (14, Unknown, Unknown, KEPT),
        (15, Unknown, Unknown, DELETED),
        (15, Unknown, failed(), DELETED),
    ] {
        let scenario = replaced(age_minutes, delivery, old);
        assert_eq!(scenario.story(), story, "after {age_minutes} minutes");
        assert_eq!(scenario.verdict(1), VpcPlan::Covered(flow_log_id(1)));
    }
    let unfinished = replaced(0, Unknown, Success).plan().unfinished.remove(&vpc_id(1)).unwrap();
    assert_eq!(unfinished.disposition(), Disposition::RetryLater(Wait::Successor));
    assert!(!unfinished.is_failure());
}

#[test]
fn a_failing_successor_leaves_the_replaced_flow_log_however_old_it_is() {
    let scenario = replaced(24 * 60, failed(), Delivery::Success);
    insta::assert_snapshot!(scenario.story(), @"note: vpc-00000001: fl-00000007 is kept, because fl-00000001 does not deliver");
    assert!(matches!(scenario.verdict(1), VpcPlan::Broken { .. }));
}

#[test]
fn a_successor_of_unknown_age_or_from_the_future_counts_as_new() {
    let with_creation = |created_ms| {
        let scenario = replaced(0, Delivery::Unknown, Delivery::Success);
        scenario.after(|there| there.flow_logs[0].created_ms = created_ms)
    };
    assert_eq!(with_creation(None).story(), KEPT);
    assert_eq!(with_creation(Some(NOW + MINUTE_MS)).story(), KEPT);
}

#[test]
fn a_flow_log_of_others_that_has_not_delivered_deletes_nothing() {
    let both = |delivery| {
        let ours = FlowLog { interval: 60, ..Scenario::covered_region(1).right_flow_log(7, 1) };
        theirs(|log| (log.delivery, log.created_ms) = (delivery, Some(NOW))).after(|there| there.flow_logs.push(ours))
    };
    assert_eq!(both(Delivery::Success).story(), DELETED);
    let silent = both(Delivery::Unknown);
    assert!(matches!(silent.verdict(1), VpcPlan::Replace { .. }), "{}", silent.story());
    assert!(!silent.story().contains("delete-flow-logs"), "{}", silent.story());
    let role = silent.right_flow_log(7, 1).delivery_role;
    let twin = silent.after(|there| {
        there.flow_logs[0].delivery_role = role;
        there.flow_logs[0].tags = tags(&[("managed-by", "another-tool")]);
    });
    assert!(matches!(twin.verdict(1), VpcPlan::Broken { .. }), "AWS accepts no twin: {}", twin.story());
    assert!(!twin.story().contains("delete-flow-logs"), "{}", twin.story());
}

#[test]
fn of_two_right_flow_logs_the_one_that_delivers_is_kept() {
    for (first, second, kept) in [
        (Delivery::Unknown, Delivery::Success, 7),
        (failed(), Delivery::Success, 7),
        (Delivery::Success, Delivery::Unknown, 1),
        (Delivery::Success, Delivery::Success, 1),
        (failed(), Delivery::Unknown, 7),
    ] {
        let scenario = Scenario::covered_region(1);
        let log = FlowLog { delivery: second.clone(), ..scenario.right_flow_log(7, 1) };
        let scenario = scenario.after(|there| {
            there.flow_logs[0].delivery = first.clone();
            there.flow_logs.push(log);
        });
        assert_eq!(scenario.verdict(1), VpcPlan::Covered(flow_log_id(kept)), "{first:?} {second:?}");
    }
}

/// A flow log of ours as AWS returns it, created with the default settings.
fn as_returned(change: impl FnOnce(&mut FlowLog)) -> Scenario {
    let scenario = Scenario::covered_region(1);
    let tag = scenario.desired().settings_tag(&scenario.desired().flow_log(TrafficType::All));
    scenario.after(|there| {
        there.flow_logs[0].tags.insert(tag.key, tag.value);
        change(&mut there.flow_logs[0]);
    })
}

#[test]
fn a_flow_log_that_aws_returns_in_another_form_is_not_replaced() {
    let changes: [(Change, &str); 3] = [
        (|log| log.interval = 300, "interval is 300, not 600"),
        (|log| log.traffic_type = None, "traffic type is none, not ALL"),
        (
            |log| log.delivery_role = None,
            "delivery role is none, not arn:aws:iam::444455556666:role/VpcFlowLogsEnrollerDelivery",
        ),
    ];
    for (change, differences) in changes {
        let scenario = as_returned(change);
        assert_eq!(scenario.story(), "nothing");
        let (flow_log, differences) = (flow_log_id(1), differences.to_owned());
        assert_eq!(scenario.verdict(1), VpcPlan::NotAsAsked { flow_log, differences });
    }
}

#[test]
fn such_a_flow_log_still_replaces_those_of_other_settings_once_it_delivers() {
    let with_old = |delivery: Delivery| {
        let scenario = as_returned(|log| (log.interval, log.delivery, log.created_ms) = (300, delivery, Some(NOW)));
        let old = FlowLog { id: flow_log_id(7), tags: tags(&[OWN_TAG]), ..scenario.observed.flow_logs[0].clone() };
        scenario.after(|there| there.flow_logs.push(FlowLog { delivery: Delivery::Success, ..old })).story()
    };
    assert_eq!(with_old(Delivery::Success), DELETED);
    assert_eq!(with_old(Delivery::Unknown), KEPT);
    assert_eq!(with_old(failed()), "nothing", "it may be the only one that records");
}

#[test]
fn other_settings_replace_it_at_once() {
    let scenario = as_returned(|log| log.interval = 300).with_settings(&[("traffic_type", "REJECT")]);
    assert!(matches!(scenario.verdict(1), VpcPlan::Replace { .. }));
    let without_tag = as_returned(|log| {
        log.interval = 300;
        log.tags.remove(SETTINGS_TAG);
    });
    assert!(matches!(without_tag.verdict(1), VpcPlan::Replace { .. }), "made by an older version");
    let inactive = as_returned(|log| log.active = false);
    assert!(matches!(inactive.verdict(1), VpcPlan::Replace { .. }), "it records nothing");
}

#[test]
fn the_same_value_in_another_form_is_no_difference() {
    let forms: [Change; 4] = [
        |log| log.target = FlowLogTarget::LogGroup("vpc-flow-logs:*".to_owned()),
        |log| log.delivery_role = Some("arn:aws:iam::444455556666:role/a/path/VpcFlowLogsEnrollerDelivery".to_owned()),
        |log| log.format = log.format.take().map(|format| format.to_uppercase()),
        |log| log.format = log.format.take().map(|format| format.replace(' ', "\t ")),
    ];
    for change in forms {
        let scenario = Scenario::covered_region(1).after(|there| change(&mut there.flow_logs[0]));
        assert_eq!(scenario.verdict(1), VpcPlan::Covered(flow_log_id(1)), "{:?}", scenario.observed.flow_logs);
    }
}

/// A version that computes another one would take every flow log for one that was made with other settings.
#[test]
fn the_fingerprint_of_settings_stays_what_it_is() {
    let of = |changes: &[(&str, &str)]| {
        let scenario = Scenario::fresh_region(1).with_settings(changes);
        let desired = scenario.desired();
        desired.settings_tag(&desired.flow_log(desired.settings.traffic_type)).value
    };
    // The default role had another name when this was written down.
    assert_eq!(of(&[("delivery_role_name", "PublishFlowLogs")]), "b95099011a47d5d7");
    let others = [
        [("traffic_type", "REJECT")],
        [("aggregation_interval", "60")],
        [("log_group_name", "other-group")],
        [("delivery_role_name", "OtherRole")],
        [("log_format", OTHER_FORMAT)],
    ];
    let all: BTreeSet<String> = others.iter().map(|change| of(change)).chain([of(&[])]).collect();
    assert_eq!(all.len(), 6);
}
