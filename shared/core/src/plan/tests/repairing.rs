//! What was undone or has changed is repaired.

use super::*;

#[test]
fn a_deleted_filter_is_put_again() {
    let scenario = Scenario::covered_region(1).after(|there| there.filters.clear());
    insta::assert_snapshot!(scenario.story(), @"put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist");
}

const ELSEWHERE: &str = "arn:aws:logs:eu-west-1:777788889999:destination:Elsewhere";

/// Fetches the log group's tags where the planner needs them, as the engine does.
fn with_group_tags(scenario: Scenario, found: Tags) -> Scenario {
    assert!(scenario.desired().needs_group_tags(&scenario.observed));
    scenario.after(|there| there.log_group.as_mut().unwrap().tags = Some(found))
}

#[test]
fn a_filter_of_ours_that_points_elsewhere_is_repaired_and_both_ends_are_named() {
    let scenario = Scenario::covered_region(1).after(|there| {
        there.filters[0].destination = ELSEWHERE.to_owned();
        there.filters[0].pattern = "REJECT".to_owned();
    });
    insta::assert_snapshot!(with_group_tags(scenario, tags(&[OWN_TAG])).story(), @r#"put-subscription-filter AllTraffic: subscription filter AllTraffic differs: destination is "arn:aws:logs:eu-west-1:777788889999:destination:Elsewhere", not "arn:aws:logs:eu-west-1:111122223333:destination:VPCFlowLogsDestination"; pattern is "REJECT", not """#);
}

type Bend = fn(&mut crate::observed::FilterForm);

#[test]
fn everything_that_bends_a_filter_is_set_right_and_named() {
    let bends: [(Bend, &str); 4] = [
        (
            |form| form.field_selection = "@aws.account = 999988887777".to_owned(),
            r#"field selection is "@aws.account = 999988887777", not """#,
        ),
        (|form| form.transformed = true, r#"applied on transformed logs is "true", not "false""#),
        (
            |form| form.system_fields = vec!["@aws.account".to_owned()],
            r#"emitted system fields is "@aws.account", not """#,
        ),
        (|form| form.distribution = "Random".to_owned(), r#"distribution is "Random", not "ByLogStream""#),
    ];
    for (bend, difference) in bends {
        let scenario = Scenario::covered_region(1).after(|there| bend(&mut there.filters[0].form));
        let wanted =
            format!("put-subscription-filter AllTraffic: subscription filter AllTraffic differs: {difference}");
        assert_eq!(scenario.story(), wanted);
    }
}

#[test]
fn a_filter_of_others_with_our_name_is_not_replaced_and_blocks() {
    let taken = || {
        Scenario::fresh_region(1).after(|there| {
            there.log_group = Some(right_log_group(&with(&[]).unwrap()));
            let desired = Scenario::covered_region(1).desired().filter();
            there.filters = vec![SubscriptionFilter { destination: ELSEWHERE.to_owned(), ..desired }];
        })
    };
    for found in [Tags::new(), tags(&[("managed-by", "somebody")])] {
        let plan = with_group_tags(taken(), found).plan();
        let destination = ELSEWHERE.to_owned();
        assert_eq!(plan.blocked, Some(Blocked::ForeignFilter { name: "AllTraffic".to_owned(), destination }));
        assert!(plan.steps.is_empty());
    }
    assert_eq!(with_group_tags(taken(), tags(&[OWN_TAG])).plan().blocked, None);
    let central = |name: &str| format!("arn:aws:logs:eu-west-1:111122223333:destination:{name}");
    for (name, blocks) in [("VPCFlowLogsDestination-2", false), ("VPCFlowLogsDestinationOfOthers", true)] {
        let scenario = taken().after(|there| there.filters[0].destination = central(name));
        assert_eq!(scenario.desired().needs_group_tags(&scenario.observed), blocks, "{name}");
        assert_eq!(scenario.plan().blocked.is_some(), blocks, "{name}");
    }
    let other_name = taken().after(|there| there.filters[0].name = "theirs".to_owned());
    assert_eq!(other_name.plan().blocked, None);
}

#[test]
fn a_filter_gets_the_role_that_organization_mode_requires() {
    let organization = [("grant_mode", "organization")];
    let without = Scenario::covered_region(1).with_settings(&organization);
    insta::assert_snapshot!(without.story(), @r#"put-subscription-filter AllTraffic: subscription filter AllTraffic differs: role is "none", not "arn:aws:iam::444455556666:role/VPCFlowLogsFilterRole""#);
    let other = without.after(|there| there.filters[0].role = Some("arn:aws:iam::444455556666:role/Other".to_owned()));
    insta::assert_snapshot!(other.story(), @r#"put-subscription-filter AllTraffic: subscription filter AllTraffic differs: role is "arn:aws:iam::444455556666:role/Other", not "arn:aws:iam::444455556666:role/VPCFlowLogsFilterRole""#);
    let right = other.after(|there| {
        there.filters[0].role = Some("arn:aws:iam::444455556666:role/VPCFlowLogsFilterRole".to_owned());
    });
    insta::assert_snapshot!(right.story(), @"nothing");
}

#[test]
fn unmanaged_filters_stay_and_a_full_quota_is_noted() {
    let others = |count: usize| {
        Scenario::covered_region(1).after(|there| {
            let foreign = there.filters.remove(0);
            there.filters = (0..count)
                .map(|number| SubscriptionFilter { name: format!("theirs-{number}"), ..foreign.clone() })
                .collect();
        })
    };
    insta::assert_snapshot!(others(FILTER_SLOTS - 1).story(), @"put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist");
    insta::assert_snapshot!(others(FILTER_SLOTS).story(), @r#"
    put-subscription-filter AllTraffic: subscription filter AllTraffic does not exist
    note: the log group has 5 unmanaged subscription filters, and CloudWatch Logs allows 5: AWS will probably reject the managed one
    "#);
}

#[test]
fn the_managed_filter_is_changed_even_where_the_quota_is_full() {
    let scenario = Scenario::covered_region(1).after(|there| {
        there.filters[0].pattern = "REJECT".to_owned();
        let ours = there.filters[0].clone();
        there.filters.extend(
            (1..FILTER_SLOTS).map(|number| SubscriptionFilter { name: format!("theirs-{number}"), ..ours.clone() }),
        );
    });
    insta::assert_snapshot!(scenario.story(), @r#"put-subscription-filter AllTraffic: subscription filter AllTraffic differs: pattern is "REJECT", not """#);
}

#[test]
fn a_deleted_flow_log_is_created_again() {
    let scenario = Scenario::covered_region(2).after(|there| there.flow_logs.retain(|log| log.id == flow_log_id(2)));
    insta::assert_snapshot!(scenario.story(), @"create-flow-logs ALL [vpc-00000001]: 1 VPC has no managed flow log");
}

#[test]
fn changed_settings_replace_flow_logs_each_with_its_successor() {
    let format = "${account-id} ${vpc-id} ${region} ${srcaddr}";
    for (change, difference) in [
        (("aggregation_interval", "60"), "interval is 600, not 60"),
        (("traffic_type", "REJECT"), "traffic type is ALL, not REJECT"),
        (("log_group_name", "other-group"), "log group is vpc-flow-logs, not other-group"),
        (
            ("delivery_role_name", "OtherRole"),
            "delivery role is arn:aws:iam::444455556666:role/VpcFlowLogsEnrollerDelivery, not arn:aws:iam::444455556666:role/OtherRole",
        ),
        (("log_format", format), &*format!("format is {}, not {format}", crate::settings::DEFAULT_FORMAT)),
    ] {
        let scenario = Scenario::covered_region(1).with_settings(&[change]);
        let (differences, to_group) = (difference.to_owned(), change.0 != "log_group_name");
        assert_eq!(scenario.verdict(1), VpcPlan::Replace { differences, to_group, beside: None });
    }
    let scenario = Scenario::covered_region(2).with_settings(&[("aggregation_interval", "60")]);
    insta::assert_snapshot!(scenario.story(), @"create-flow-logs ALL [vpc-00000001, vpc-00000002] replacing {vpc-00000001: {fl-00000001}, vpc-00000002: {fl-00000002}}: the flow logs of 2 VPCs differ from the settings");
}

#[test]
fn new_and_changed_vpcs_share_a_call() {
    let scenario = Scenario::covered_region(1)
        .with_settings(&[("aggregation_interval", "60")])
        .after(|there| there.vpcs.push(vpc(2)));
    insta::assert_snapshot!(scenario.story(), @"create-flow-logs ALL [vpc-00000001, vpc-00000002] replacing {vpc-00000001: {fl-00000001}}: 1 VPC has no managed flow log; the flow log of 1 VPC differs from the settings");
}

#[test]
fn a_format_is_compared_field_by_field_and_none_is_the_default_of_aws() {
    let aws_default = [("log_format", "${account-id} ${vpc-id}  ${region}")];
    let scenario = Scenario::covered_region(1)
        .with_settings(&aws_default)
        .after(|there| there.flow_logs[0].format = Some(" ${account-id}  ${vpc-id} ${region}".to_owned()));
    insta::assert_snapshot!(scenario.story(), @"nothing");
    let no_format = scenario.after(|there| there.flow_logs[0].format = None);
    assert!(
        matches!(no_format.verdict(1), VpcPlan::Replace { differences, .. } if differences.contains("${log-status}"))
    );
}

#[test]
fn a_replaced_flow_log_that_is_still_there_is_only_deleted() {
    let scenario = Scenario::covered_region(1);
    let old = FlowLog { interval: 60, ..scenario.right_flow_log(7, 1) };
    let scenario = scenario.after(|there| there.flow_logs.push(old));
    insta::assert_snapshot!(scenario.story(), @"delete-flow-logs {fl-00000007: vpc-00000001}: the VPC has another, correct flow log");
    assert_eq!(scenario.verdict(1), VpcPlan::Covered(flow_log_id(1)));
}

#[test]
fn of_two_equal_managed_flow_logs_the_first_stays() {
    let scenario = Scenario::covered_region(1);
    let twin = scenario.right_flow_log(7, 1);
    let scenario = scenario.after(|there| there.flow_logs.insert(0, twin));
    insta::assert_snapshot!(scenario.story(), @"delete-flow-logs {fl-00000007: vpc-00000001}: the VPC has another, correct flow log");
}

#[test]
fn a_managed_flow_log_is_deleted_where_an_equal_unmanaged_one_delivers() {
    let scenario = Scenario::covered_region(1).after(|there| {
        let ours = FlowLog { id: flow_log_id(7), interval: 60, ..there.flow_logs[0].clone() };
        of_others(&mut there.flow_logs[0]);
        there.flow_logs.push(ours);
    });
    insta::assert_snapshot!(scenario.story(), @"delete-flow-logs {fl-00000007: vpc-00000001}: the VPC has another, correct flow log");
    assert_eq!(scenario.verdict(1), VpcPlan::CoveredByOthers(flow_log_id(1)));
}

#[test]
fn nothing_is_deleted_for_a_flow_log_that_does_not_deliver() {
    let scenario = Scenario::covered_region(1).after(|there| {
        let old = FlowLog { id: flow_log_id(7), interval: 60, ..there.flow_logs[0].clone() };
        there.flow_logs[0].delivery = Delivery::Failed("Rate limited".to_owned());
        there.flow_logs.push(old);
    });
    insta::assert_snapshot!(scenario.story(), @"note: vpc-00000001: fl-00000007 is kept, because fl-00000001 does not deliver");
    let broken = VpcPlan::Broken { flow_log: flow_log_id(1), message: "Rate limited".to_owned() };
    assert_eq!(scenario.verdict(1), broken);
    let unmanaged = scenario.after(|there| there.flow_logs[0].tags = tags(&[("managed-by", "somebody")]));
    assert_eq!(unmanaged.verdict(1), broken);
}

#[test]
fn an_access_error_has_the_delivery_role_checked_if_the_enroller_makes_it() {
    let refused = || {
        Scenario::covered_region(1).after(|there| {
            let message = "Access error (The log destination is not accessible)";
            there.flow_logs[0].delivery = Delivery::Failed(message.to_owned());
        })
    };
    insta::assert_snapshot!(refused().with_settings(&[("delivery_role_maker", "enroller")]).story(), @"ensure-delivery-role: a flow log reports an access error, so role VpcFlowLogsEnrollerDelivery is checked");
    insta::assert_snapshot!(refused().with_settings(&[("delivery_role_maker", "member-stack")]).story(), @"nothing");
}

#[test]
fn an_access_error_of_another_role_is_ignored() {
    let scenario = Scenario::covered_region(1).with_settings(&[("delivery_role_maker", "enroller")]).after(|there| {
        let mut theirs = FlowLog { id: flow_log_id(7), tags: Tags::new(), ..there.flow_logs[0].clone() };
        theirs.delivery_role = Some("arn:aws:iam::444455556666:role/Theirs".to_owned());
        theirs.delivery = Delivery::Failed("Access error".to_owned());
        there.flow_logs.push(theirs);
    });
    insta::assert_snapshot!(scenario.story(), @"nothing");
}

#[test]
fn a_flow_log_of_others_that_somebody_gave_our_tag_is_neither_deleted_nor_replaced() {
    let tagged = |there: &mut Observed| {
        let mut log = there.flow_logs[0].clone();
        log.id = flow_log_id(9);
        log.target = FlowLogTarget::Other("arn:aws:s3:::somebody".to_owned());
        log.delivery_role = Some("arn:aws:iam::444455556666:role/Theirs".to_owned());
        log.tags = std::iter::once((OWN_TAG.0.to_owned(), OWN_TAG.1.to_owned())).collect();
        there.flow_logs.push(log);
    };
    let beside_ours = Scenario::covered_region(1).after(tagged);
    assert_eq!(beside_ours.plan().steps, []);
    assert!(beside_ours.story().contains("fl-00000009 has our tag"), "{}", beside_ours.story());
    let alone = Scenario::covered_region(1).after(tagged).after(|there| drop(there.flow_logs.remove(0)));
    assert_eq!(alone.verdict(1), VpcPlan::Enroll { beside: None });
}

#[test]
fn with_our_tag_ours_is_recognized_by_its_group_or_its_role() {
    let changes: [fn(&mut FlowLog); 2] = [
        |log| log.target = FlowLogTarget::LogGroup("former".to_owned()),
        |log| log.delivery_role = Some("arn:aws:iam::444455556666:role/Former".to_owned()),
    ];
    for change in changes {
        let scenario = Scenario::covered_region(1).after(|there| change(&mut there.flow_logs[0]));
        assert!(matches!(scenario.verdict(1), VpcPlan::Replace { .. }), "{:?}", scenario.verdict(1));
    }
}

/// Whoever may tag the flow log of another team must not have us delete it, whatever the tags are.
#[test]
fn no_tag_makes_a_flow_log_ours_that_delivers_elsewhere_with_another_role() {
    let scenario = Scenario::covered_region(1).after(|there| {
        let mut theirs = FlowLog { id: flow_log_id(9), ..there.flow_logs[0].clone() };
        theirs.target = FlowLogTarget::LogGroup("theirs".to_owned());
        theirs.delivery_role = Some("arn:aws:iam::444455556666:role/Theirs".to_owned());
        theirs.tags = tags(&[OWN_TAG, (SETTINGS_TAG, "b95099011a47d5d7")]);
        there.flow_logs.push(theirs);
    });
    insta::assert_snapshot!(scenario.story(), @"note: vpc-00000001: fl-00000009 has our tag, but delivers neither to our log group nor with our role, and is left alone");
}

#[test]
fn ours_without_its_tag_is_tagged_again_instead_of_recorded_twice() {
    let taken_off: [fn(&mut Tags); 3] = [
        Tags::clear,
        |tags| drop(tags.remove(OWN_TAG.0)),
        |tags| drop(tags.insert(OWN_TAG.0.to_owned(), "somebody".to_owned())),
    ];
    for take_off in taken_off {
        let scenario = Scenario::covered_region(1).after(|there| {
            there.flow_logs[0].tags.insert(SETTINGS_TAG.to_owned(), "of former settings".to_owned());
            take_off(&mut there.flow_logs[0].tags);
        });
        assert_eq!(
            scenario.story(),
            "tag-flow-logs {fl-00000001: vpc-00000001}: somebody took the tag managed-by=vpc-flow-logs-enroller off, or \
             put another value: what delivers to vpc-flow-logs with role VpcFlowLogsEnrollerDelivery is ours"
        );
        assert_eq!(scenario.verdict(1), VpcPlan::Covered(flow_log_id(1)));
        let changed = scenario.with_settings(&[("aggregation_interval", "60")]).plan();
        let labels: Vec<&str> = changed.steps.iter().map(|step| step.action.label()).collect();
        assert_eq!(labels, ["tag-flow-logs", "create-flow-logs"]);
        assert!(matches!(&changed.steps[1].action, Action::CreateFlowLogs { replaces, .. } if replaces.len() == 1));
    }
}

#[test]
fn what_somebody_else_claims_with_the_tag_is_left_alone_and_told() {
    let scenario = Scenario::covered_region(1)
        .after(|there| there.flow_logs[0].tags = tags(&[("managed-by", "terraform")]))
        .with_settings(&[("aggregation_interval", "60")]);
    insta::assert_snapshot!(scenario.story(), @"note: vpc-00000001: fl-00000001 delivers to our log group with our role, but its tag managed-by names somebody else, and it is left alone");
    assert_eq!(scenario.verdict(1), VpcPlan::CoveredByOthers(flow_log_id(1)));
}
