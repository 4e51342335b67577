//! The log group: ours is kept as the settings say, somebody else's is left as it is.

use super::*;

/// The log group's tags are looked up where the planner asks for them, as the engine does.
fn with_tags(scenario: Scenario, found: Tags) -> Scenario {
    assert!(scenario.desired().needs_group_tags(&scenario.observed));
    scenario.after(|there| there.log_group.as_mut().unwrap().tags = Some(found))
}

const KMS: (&str, &str) = ("kms_key_arn", "arn:aws:kms:{region}:{account}:key/logs");

#[test]
fn a_log_group_as_it_should_be_needs_no_look_at_its_tags() {
    let scenario = Scenario::covered_region(1);
    assert!(!scenario.desired().needs_group_tags(&scenario.observed));
    let fresh = Scenario::fresh_region(1);
    assert!(!fresh.desired().needs_group_tags(&fresh.observed));
}

#[test]
fn a_deleted_log_group_comes_back_with_its_settings_and_its_filter() {
    let scenario = Scenario::covered_region(1).with_settings(&[KMS]).after(|there| {
        there.log_group = None;
        there.filters.clear();
    });
    insta::assert_snapshot!(scenario.story(), @r#"
    create-log-group with arn:aws:kms:eu-west-1:444455556666:key/logs: log group vpc-flow-logs does not exist
    set-retention Some(30): a new log group keeps events for ever
    put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist
    "#);
}

#[test]
fn events_kept_for_ever_take_no_step_on_a_new_log_group() {
    let scenario = Scenario::fresh_region(1).with_settings(&[("retention_days", "never-expire")]);
    insta::assert_snapshot!(scenario.story(), @r#"
    create-log-group: log group vpc-flow-logs does not exist
    put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist
    create-flow-logs ALL [vpc-00000001]: 1 VPC(s) without a flow log of ours
    "#);
}

#[test]
fn retention_and_key_of_our_own_log_group_are_put_right() {
    let scenario = Scenario::covered_region(1).with_settings(&[("retention_days", "never-expire"), KMS]);
    insta::assert_snapshot!(with_tags(scenario, tags(&[OWN_TAG])).story(), @r#"
    set-retention None: retention is 30 days, not for ever
    associate-kms-key arn:aws:kms:eu-west-1:444455556666:key/logs: the log group's key is AWS's own
    "#);
    let another_key = Scenario::covered_region(1)
        .with_settings(&[KMS])
        .after(|there| there.log_group.as_mut().unwrap().kms_key = Some("arn:aws:kms:x".to_owned()));
    insta::assert_snapshot!(with_tags(another_key, tags(&[OWN_TAG])).story(), @"associate-kms-key arn:aws:kms:eu-west-1:444455556666:key/logs: the log group's key is arn:aws:kms:x");
}

#[test]
fn a_key_that_no_setting_names_stays() {
    let scenario = Scenario::covered_region(1)
        .after(|there| there.log_group.as_mut().unwrap().kms_key = Some("arn:aws:kms:x".to_owned()));
    insta::assert_snapshot!(scenario.story(), @"nothing");
}

#[test]
fn retention_and_key_of_somebody_elses_log_group_stay_and_are_noted() {
    let changed = || Scenario::covered_region(1).with_settings(&[("retention_days", "7"), KMS]);
    insta::assert_snapshot!(with_tags(changed(), tags(&[("managed-by", "somebody")])).story(), @"note: log group vpc-flow-logs was not made by the enroller (managed-by=vpc-flow-logs-enroller is missing): its retention and key are left as they are");
    assert_eq!(changed().story(), with_tags(changed(), Tags::new()).story(), "tags not looked up are no tags");
}

#[test]
fn a_log_group_that_cannot_be_subscribed_to_blocks_everything() {
    let scenario = Scenario::fresh_region(1).after(|there| {
        there.log_group = Some(LogGroup {
            retention_days: None,
            kms_key: None,
            class: LogGroupClass::Other("INFREQUENT_ACCESS".to_owned()),
            tags: None,
        });
    });
    insta::assert_snapshot!(scenario.story(), @"blocked: the log group exists with class INFREQUENT_ACCESS, which takes no subscription filter: set another log group name");
}

#[test]
fn such_a_log_group_stands_in_nobodys_way_where_no_vpc_wants_it() {
    let scenario = Scenario::fresh_region(0).after(|there| {
        there.log_group = Some(LogGroup {
            retention_days: None,
            kms_key: None,
            class: LogGroupClass::Other("DELIVERY".to_owned()),
            tags: None,
        });
    });
    insta::assert_snapshot!(scenario.story(), @"nothing");
}
