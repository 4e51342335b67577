//! Properties of every plan, whatever AWS returns and whatever the settings are.

use proptest::prelude::*;
use proptest::sample::select;

use super::world::{World, is_our_flow_log, is_ours, wanted_traffic_type};
use super::*;
use crate::observed::FilterForm;
use crate::settings::DEFAULT_FORMAT;

const OTHER_FORMAT: &str = "${account-id} ${vpc-id} ${region} ${srcaddr} ${dstaddr}";
const KEY: &str = "arn:aws:kms:eu-west-1:444455556666:key/logs";

fn any_settings() -> impl Strategy<Value = Settings> {
    let choice =
        |key: &'static str, values: &'static [&'static str]| select(values).prop_map(move |value| (key, value));
    (
        choice("traffic_type", &["ALL", "REJECT"]),
        choice("aggregation_interval", &["60", "600"]),
        choice("log_format", &[DEFAULT_FORMAT, OTHER_FORMAT]),
        choice("log_group_name", &["vpc-flow-logs", "other-group"]),
        choice("delivery_role_name", &["VpcFlowLogsEnrollerDelivery", "OtherRole"]),
        choice("retention_days", &["30", "7", "never-expire"]),
        choice("kms_key_arn", &["", "arn:aws:kms:{region}:{account}:key/logs"]),
        choice("grant_mode", &["account-list", "organization"]),
        choice("delivery_role_maker", &["member-stack", "enroller"]),
        choice("narrowing_tags", &["ignored", "followed"]),
    )
        .prop_map(|(a, b, c, d, e, f, g, h, i, j)| {
            with(&[("regions", "eu-west-1"), a, b, c, d, e, f, g, h, i, j]).unwrap()
        })
}

fn any_vpc() -> impl Strategy<Value = (&'static str, Tags)> {
    let tags = select(vec![
        tags(&[]),
        tags(&[("vpc-flow-logs", "off")]),
        tags(&[("vpc-flow-logs", "on")]),
        tags(&[("vpc-flow-logs-traffic-type", "REJECT")]),
        tags(&[("vpc-flow-logs-traffic-type", "all")]),
        tags(&[("vpc-flow-logs-traffic-type", "nonsense")]),
    ]);
    (prop_oneof![4 => Just("444455556666"), 1 => Just("777788889999")], tags)
}

fn any_tags() -> impl Strategy<Value = Tags> {
    prop_oneof![3 => Just(tags(&[OWN_TAG])), 1 => Just(Tags::new()), 1 => Just(tags(&[("managed-by", "somebody")]))]
}

fn any_flow_log() -> impl Strategy<Value = FlowLog> {
    let role = |name: &str| Just(Some(format!("arn:aws:iam::444455556666:role/{name}")));
    let target = prop_oneof![
        5 => Just(FlowLogTarget::LogGroup("vpc-flow-logs".to_owned())),
        2 => Just(FlowLogTarget::LogGroup("other-group".to_owned())),
        1 => Just(FlowLogTarget::Other("arn:aws:s3:::bucket".to_owned())),
    ];
    let delivery = prop_oneof![
        2 => Just(Delivery::Unknown),
        4 => Just(Delivery::Success),
        1 => Just(Delivery::Failed("Access error (The log destination is not accessible)".to_owned())),
        1 => Just(Delivery::Failed("Rate limited".to_owned())),
    ];
    (
        prop_oneof![9 => (1u32..=6).prop_map(|number| vpc_id(number).to_string()), 1 => Just("subnet-01234567".to_owned())],
        prop_oneof![4 => Just(Some(TrafficType::All)), 4 => Just(Some(TrafficType::Reject)), 1 => Just(None)],
        target,
        prop_oneof![4 => role("VpcFlowLogsEnrollerDelivery"), 2 => role("OtherRole"), 1 => Just(None)],
        prop_oneof![Just(60), Just(600)],
        prop_oneof![
            4 => Just(Some(DEFAULT_FORMAT.to_owned())),
            4 => Just(Some(OTHER_FORMAT.to_owned())),
            1 => Just(None),
        ],
        delivery,
        select(vec![MINUTE_MS, 20 * MINUTE_MS, 24 * 60 * MINUTE_MS]),
        any_tags(),
    )
        .prop_map(|(resource, traffic_type, target, delivery_role, interval, format, delivery, age_ms, tags)| FlowLog {
            id: flow_log_id(0),
            resource,
            traffic_type,
            target,
            delivery_role,
            interval,
            format,
            active: true,
            delivery,
            created_ms: Some(NOW - age_ms),
            tags,
        })
}

fn any_log_group() -> impl Strategy<Value = LogGroup> {
    let class = prop_oneof![
        9 => Just(LogGroupClass::Standard),
        1 => Just(LogGroupClass::Other("INFREQUENT_ACCESS".to_owned())),
    ];
    (select(vec![None, Some(7), Some(30)]), proptest::option::of(select(vec![KEY, "arn:aws:kms:x"])), class, any_tags())
        .prop_map(|(retention_days, kms_key, class, tags)| LogGroup {
            retention_days,
            retention_policy: None,
            kms_key: kms_key.map(str::to_owned),
            class,
            created_ms: Some(NOW - 90 * 24 * 60 * MINUTE_MS),
            protection: Vec::new(),
            tags: Some(tags),
        })
}

fn any_filter() -> impl Strategy<Value = SubscriptionFilter> {
    (
        select(vec!["AllTraffic", "theirs-1", "theirs-2", "theirs-3", "theirs-4", "theirs-5"]),
        select(vec!["", "REJECT"]),
        select(vec!["VPCFlowLogsDestination", "Elsewhere"]),
        proptest::option::of(Just("arn:aws:iam::444455556666:role/VPCFlowLogsFilterRole".to_owned())),
        prop_oneof![3 => Just(false), 1 => Just(true)],
    )
        .prop_map(|(name, pattern, destination, role, transformed)| SubscriptionFilter {
            name: name.to_owned(),
            pattern: pattern.to_owned(),
            destination: format!("arn:aws:logs:eu-west-1:111122223333:destination:{destination}"),
            role,
            form: FilterForm { transformed, ..FilterForm::default() },
        })
}

fn any_world() -> impl Strategy<Value = World> {
    (
        proptest::collection::vec(any_vpc(), 0..=6),
        proptest::collection::vec((any_flow_log(), prop_oneof![3 => Just(1), 1 => Just(2)]), 0..=8),
        proptest::option::weighted(0.7, any_log_group()),
        proptest::collection::vec(any_filter(), 0..=6),
    )
        .prop_map(|(vpcs, flow_logs, log_group, mut filters)| {
            let twins = flow_logs.into_iter().flat_map(|(log, times)| std::iter::repeat_n(log, times));
            let mut flow_logs: Vec<FlowLog> = twins.collect();
            let numbered = (1..).zip(vpcs);
            let vpcs: Vec<Vpc> = numbered
                .map(|(number, (owner, tags))| Vpc { owner: owner.parse().unwrap(), tags, ..vpc(number) })
                .collect();
            for (number, log) in (1..).zip(&mut flow_logs) {
                log.id = flow_log_id(number);
            }
            let mut names = BTreeSet::new();
            filters.retain(|filter| log_group.is_some() && names.insert(filter.name.clone()));
            World { vpcs, flow_logs, log_group, filters, now_ms: NOW }
        })
}

/// The order in which no record is lost.
fn rank(action: &Action) -> u8 {
    match action {
        Action::EnsureDeliveryRole => 0,
        Action::CreateLogGroup { .. } => 1,
        Action::PutFilter { .. } => 2,
        Action::TagFlowLogs { .. } => 3,
        Action::CreateFlowLogs { .. } => 4,
        Action::DeleteFlowLogs { .. } => 5,
        // Nothing that happens to them may keep a VPC from its flow log.
        Action::SetRetention { .. } | Action::AssociateKmsKey { .. } => 6,
    }
}

/// The steps except the check of a delivery role, which is repeated until AWS reports that deliveries work.
fn changes(plan: &Plan) -> Vec<&Step> {
    plan.steps.iter().filter(|step| step.action != Action::EnsureDeliveryRole).collect()
}

/// What the enroller must not change.
fn of_others(world: &World, desired: &Desired<'_>) -> World {
    let mut others = world.clone();
    let left_alone = |resource: &str| {
        others
            .vpcs
            .iter()
            .filter(|vpc| wanted_traffic_type(desired, vpc).is_some())
            .all(|vpc| vpc.id.as_str() != resource)
    };
    others.flow_logs.retain(|log| !is_our_flow_log(desired, log) || left_alone(&log.resource));
    others.filters.retain(|filter| filter.name != desired.settings.filter_name.as_str());
    others.log_group = others.log_group.filter(|group| !is_ours(group.tags.as_ref().unwrap()));
    others
}

fn scenario(settings: &Settings) -> Scenario {
    Scenario { settings: settings.clone(), observed: Observed::default(), now_ms: NOW }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// [`World::apply`] asserts that no step is a call that AWS rejects or that loses records.
    #[test]
    fn one_plan_covers_everything_and_the_next_ones_only_delete_what_was_replaced(
        settings in any_settings(),
        before in any_world(),
    ) {
        let scenario = scenario(&settings);
        let desired = scenario.desired();
        let first = before.plan(&desired);
        prop_assert!(first.steps.is_sorted_by_key(|step| rank(&step.action)), "{}", story(&first));
        prop_assert!(first.steps.iter().all(|step| !step.why.is_empty()));
        let mut after = before.clone();
        after.apply(&desired, &first.steps);
        prop_assert_eq!(of_others(&after, &desired), of_others(&before, &desired));

        let second = after.plan(&desired);
        prop_assert_eq!(changes(&second), Vec::<&Step>::new(), "after {}", story(&first));
        prop_assert_eq!(&second.blocked, &first.blocked);
        if first.blocked.is_some() {
            prop_assert_eq!(&after, &before);
            return Ok(());
        }
        let wanted: Vec<Vpc> =
            after.vpcs.iter().filter(|vpc| wanted_traffic_type(&desired, vpc).is_some()).cloned().collect();
        for vpc in &wanted {
            prop_assert!(after.is_covered(&desired, vpc), "{} is not covered: {}", vpc.id, story(&first));
        }
        if wanted.is_empty() {
            prop_assert_eq!(&after, &before);
        } else {
            prop_assert!(after.log_group.is_some());
            prop_assert!(after.filters.contains(&desired.filter()));
        }
        // What is silent for an hour counts as idle. Of others only what has delivered counts then (verdicts.rs).
        after.wait(60 * MINUTE_MS);
        after.others_deliver(&desired);
        let third = after.plan(&desired);
        prop_assert!(third.unfinished.is_empty(), "{}", story(&third));
        prop_assert!(changes(&third).iter().all(|step| rank(&step.action) == 5), "{}", story(&third));
        after.apply(&desired, &third.steps);
        let fourth = after.plan(&desired);
        prop_assert_eq!(changes(&fourth), Vec::<&Step>::new(), "after {}", story(&third));
        for (vpc, verdict) in &fourth.vpcs {
            let in_scope = wanted.iter().any(|wanted| wanted.id == *vpc);
            let ours = || after.flow_logs.iter().filter(|log| log.resource == vpc.as_str() && is_our_flow_log(&desired, log)).count();
            match verdict {
                VpcPlan::Covered(_) => prop_assert!(in_scope && ours() == 1),
                VpcPlan::CoveredByOthers(_) => prop_assert!(in_scope && ours() == 0),
                VpcPlan::Broken { .. } => prop_assert!(in_scope),
                VpcPlan::OutOfScope(_) => prop_assert!(!in_scope),
                VpcPlan::Enroll { .. } | VpcPlan::Replace { .. } | VpcPlan::NotAsAsked { .. } => {
                    prop_assert!(false, "{} is still {:?}", vpc, verdict);
                }
            }
        }
    }

    #[test]
    fn the_order_in_which_aws_lists_resources_changes_no_step(settings in any_settings(), world in any_world()) {
        let scenario = scenario(&settings);
        let desired = scenario.desired();
        let forwards = world.observe(&desired);
        let mut backwards = forwards.clone();
        backwards.vpcs.reverse();
        backwards.flow_logs.reverse();
        backwards.filters.reverse();
        prop_assert_eq!(plan(&desired, &forwards, NOW).steps, plan(&desired, &backwards, NOW).steps);
    }

    #[test]
    fn after_a_crash_between_any_two_steps_the_next_plans_finish(
        settings in any_settings(),
        before in any_world(),
        done in 0usize..8,
    ) {
        let scenario = scenario(&settings);
        let desired = scenario.desired();
        let first = before.plan(&desired);
        let mut after = before;
        after.apply(&desired, &first.steps[..done.min(first.steps.len())]);
        let second = after.plan(&desired);
        after.apply(&desired, &second.steps);
        let third = after.plan(&desired);
        prop_assert_eq!(changes(&third), Vec::<&Step>::new(), "after {} and then {}", story(&first), story(&second));

        // What was kept only because its successor did not deliver is deleted once it does. Then nothing is left to do.
        after.delivery_works();
        let fourth = after.plan(&desired);
        prop_assert!(fourth.steps.iter().all(|step| rank(&step.action) == 5), "{}", story(&fourth));
        after.apply(&desired, &fourth.steps);
        prop_assert_eq!(after.plan(&desired).steps, Vec::new());
    }

    /// AWS returns every value in another form, whatever the settings were before.
    #[test]
    fn each_vpc_gets_one_flow_log_for_each_change_of_the_settings(
        settings in proptest::collection::vec(any_settings(), 1..4),
        mut world in any_world(),
    ) {
        let mut allowed = 0;
        for settings in &settings {
            allowed += 1;
            let scenario = scenario(settings);
            let desired = scenario.desired();
            for _ in 0..5 {
                let steps = world.plan(&desired).steps;
                world.apply(&desired, &steps);
                world.wait(24 * 60 * MINUTE_MS);
                for log in world.flow_logs.iter_mut().filter(|log| log.tags.contains_key(SETTINGS_TAG)) {
                    log.interval = 1;
                }
            }
        }
        for vpc in &world.vpcs {
            let made = |log: &&FlowLog| log.resource == vpc.id.as_str() && log.tags.contains_key(SETTINGS_TAG);
            prop_assert!(world.flow_logs.iter().filter(made).count() <= allowed);
        }
    }
}
