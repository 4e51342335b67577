//! The log group: a managed one follows the settings, an unmanaged one is not changed.

use super::*;

/// Fetches the log group's tags where the planner needs them, as the engine does.
fn with_tags(scenario: Scenario, found: Tags) -> Scenario {
    assert!(scenario.desired().needs_group_tags(&scenario.observed));
    scenario.after(|there| there.log_group.as_mut().unwrap().tags = Some(found))
}

const KMS: (&str, &str) = ("kms_key_arn", "arn:aws:kms:{region}:{account}:key/logs");

#[test]
fn the_tags_of_a_correct_log_group_are_not_needed() {
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
    put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist
    set-retention Some(30): a new log group keeps events for ever
    "#);
}

#[test]
fn events_kept_for_ever_take_no_step_on_a_new_log_group() {
    let scenario = Scenario::fresh_region(1).with_settings(&[("retention_days", "never-expire")]);
    insta::assert_snapshot!(scenario.story(), @r#"
    create-log-group: log group vpc-flow-logs does not exist
    put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist
    create-flow-logs ALL [vpc-00000001]: 1 VPC has no managed flow log
    "#);
}

#[test]
fn retention_and_key_of_a_managed_log_group_are_repaired() {
    let scenario = Scenario::covered_region(1).with_settings(&[("retention_days", "never-expire"), KMS]);
    insta::assert_snapshot!(with_tags(scenario, tags(&[OWN_TAG])).story(), @r#"
    set-retention None: retention is 30 days, not for ever
    associate-kms-key arn:aws:kms:eu-west-1:444455556666:key/logs: the log group has no KMS key
    "#);
    let another_key = Scenario::covered_region(1)
        .with_settings(&[KMS])
        .after(|there| there.log_group.as_mut().unwrap().kms_key = Some("arn:aws:kms:x".to_owned()));
    insta::assert_snapshot!(with_tags(another_key, tags(&[OWN_TAG])).story(), @"associate-kms-key arn:aws:kms:eu-west-1:444455556666:key/logs: the log group's KMS key is arn:aws:kms:x, not arn:aws:kms:eu-west-1:444455556666:key/logs");
}

#[test]
fn a_key_that_no_setting_names_stays() {
    let scenario = Scenario::covered_region(1)
        .after(|there| there.log_group.as_mut().unwrap().kms_key = Some("arn:aws:kms:x".to_owned()));
    insta::assert_snapshot!(scenario.story(), @"nothing");
}

#[test]
fn retention_and_key_of_an_unmanaged_log_group_stay_and_are_noted() {
    let changed = || Scenario::covered_region(1).with_settings(&[("retention_days", "7"), KMS]);
    insta::assert_snapshot!(with_tags(changed(), tags(&[("managed-by", "somebody")])).story(), @"note: log group vpc-flow-logs was not created by the enroller (it lacks the tag managed-by=vpc-flow-logs-enroller): its retention and key are not changed");
    assert_eq!(
        changed().story(),
        with_tags(changed(), Tags::new()).story(),
        "tags that were not fetched count as none"
    );
}

#[test]
fn a_log_group_that_cannot_be_subscribed_to_blocks_everything() {
    let scenario = Scenario::fresh_region(1).after(|there| {
        there.log_group = Some(LogGroup {
            protection: Vec::new(),
            retention_days: None,
            retention_policy: None,
            kms_key: None,
            created_ms: None,
            class: LogGroupClass::Other("INFREQUENT_ACCESS".to_owned()),
            tags: None,
        });
    });
    insta::assert_snapshot!(scenario.story(), @"blocked: the log group has class INFREQUENT_ACCESS, which does not support subscription filters: set another log_group_name");
}

#[test]
fn such_a_log_group_does_not_matter_where_no_vpc_needs_it() {
    let scenario = Scenario::fresh_region(0).after(|there| {
        there.log_group = Some(LogGroup {
            protection: Vec::new(),
            retention_days: None,
            retention_policy: None,
            kms_key: None,
            created_ms: None,
            class: LogGroupClass::Other("DELIVERY".to_owned()),
            tags: None,
        });
    });
    insta::assert_snapshot!(scenario.story(), @"nothing");
}

#[test]
fn a_longer_retention_is_noted_and_not_shortened() {
    for (longer, is) in [(Some(365), "365 days"), (None, "for ever")] {
        let scenario =
            Scenario::covered_region(1).after(|there| there.log_group.as_mut().unwrap().retention_days = longer);
        assert_eq!(
            with_tags(scenario, tags(&[OWN_TAG])).story(),
            format!(
                "note: retention of log group vpc-flow-logs is {is}, longer than 30 days: it is not shortened; to shorten \
                 it, call PutRetentionPolicy"
            )
        );
    }
}

#[test]
fn a_shorter_retention_is_set_back() {
    let scenario =
        Scenario::covered_region(1).after(|there| there.log_group.as_mut().unwrap().retention_days = Some(7));
    insta::assert_snapshot!(with_tags(scenario, tags(&[OWN_TAG])).story(), @"set-retention Some(30): retention is 7 days, not 30 days");
}

#[test]
fn a_new_group_that_an_interrupted_run_left_without_retention_gets_it() {
    let unset = |age_ms: u64, days| {
        let scenario = Scenario::covered_region(1).after(|there| {
            let group = there.log_group.as_mut().unwrap();
            (group.retention_days, group.created_ms) = (days, Some(NOW - age_ms));
        });
        with_tags(scenario, tags(&[OWN_TAG])).plan().steps.len()
    };
    assert_eq!(unset(24 * 60 * MINUTE_MS, None), 1);
    assert_eq!(unset(25 * 60 * MINUTE_MS, None), 0, "a person may have decided so");
    assert_eq!(unset(MINUTE_MS, Some(365)), 0, "no run leaves it so");
}

#[test]
fn a_retention_that_an_account_level_policy_sets_is_noted_and_not_fought() {
    let by_policy = |days| {
        Scenario::covered_region(1).after(|there| {
            let group = there.log_group.as_mut().unwrap();
            (group.retention_days, group.retention_policy) = (days, Some("keep-a-year".to_owned()));
        })
    };
    for (days, is) in [(Some(365), "365 days"), (Some(1), "1 days")] {
        let scenario = by_policy(days);
        assert!(!scenario.desired().needs_group_tags(&scenario.observed));
        assert_eq!(
            scenario.story(),
            format!(
                "note: retention of log group vpc-flow-logs is {is}, not 30 days, because the account-level policy \
                 keep-a-year sets it: it is not changed"
            )
        );
    }
    assert_eq!(by_policy(Some(30)).story(), "nothing");
}
