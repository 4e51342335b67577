//! One account-Region of AWS, as far as a plan concerns it: the effect of each step, and calls that must never happen.

use super::*;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct World {
    pub(super) vpcs: Vec<Vpc>,
    pub(super) flow_logs: Vec<FlowLog>,
    /// With its tags, which [`World::observe`] returns only where the planner needs them.
    pub(super) log_group: Option<LogGroup>,
    pub(super) filters: Vec<SubscriptionFilter>,
    pub(super) now_ms: u64,
}

impl World {
    pub(super) fn observe(&self, desired: &Desired<'_>) -> Observed {
        let World { vpcs, flow_logs, log_group, filters, .. } = self.clone();
        let mut observed = Observed { vpcs, flow_logs, log_group, filters };
        let tags = observed.log_group.as_mut().and_then(|group| group.tags.take());
        if desired.needs_group_tags(&observed) {
            observed.log_group.as_mut().unwrap().tags = tags;
        }
        observed
    }

    pub(super) fn apply(&mut self, desired: &Desired<'_>, steps: &[Step]) {
        for step in steps {
            match &step.action {
                // Deliveries work again only minutes later: see [`World::delivery_works`].
                Action::EnsureDeliveryRole => {}
                Action::CreateLogGroup { kms_key } => {
                    assert_eq!(self.log_group, None, "AWS rejects a log group that exists");
                    let tags = Some(tags(&[OWN_TAG]));
                    let class = LogGroupClass::Standard;
                    self.log_group = Some(LogGroup {
                        retention_days: None,
                        retention_policy: None,
                        kms_key: kms_key.clone(),
                        class,
                        created_ms: Some(self.now_ms),
                        protection: Vec::new(),
                        tags,
                    });
                }
                Action::SetRetention { days } => self.managed_log_group().retention_days = *days,
                Action::AssociateKmsKey { key } => self.managed_log_group().kms_key = Some(key.clone()),
                Action::PutFilter { filter } => {
                    let group = self.log_group.as_ref().expect("AWS rejects a filter without its log group");
                    assert_eq!(group.class, LogGroupClass::Standard, "AWS rejects a filter on other classes");
                    self.filters.retain(|present| present.name != filter.name);
                    self.filters.push(filter.clone());
                }
                Action::CreateFlowLogs { spec, vpcs, replaces } => self.create_flow_logs(desired, spec, vpcs, replaces),
                Action::TagFlowLogs { flow_logs } => {
                    for log in self.flow_logs.iter_mut().filter(|log| flow_logs.contains_key(&log.id)) {
                        assert!(is_our_flow_log(desired, log), "{} is unmanaged", log.id);
                        log.tags.insert(OWN_TAG.0.to_owned(), OWN_TAG.1.to_owned());
                    }
                }
                Action::DeleteFlowLogs { flow_logs } => {
                    for (id, vpc) in flow_logs {
                        self.delete_flow_log(desired, id, vpc);
                    }
                }
            }
        }
    }

    /// A plan of the world as it is now.
    pub(super) fn plan(&self, desired: &Desired<'_>) -> Plan {
        plan(desired, &self.observe(desired), self.now_ms)
    }

    /// Minutes pass, and nothing is delivered.
    pub(super) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    pub(super) fn others_deliver(&mut self, desired: &Desired<'_>) {
        for log in self.flow_logs.iter_mut().filter(|log| !is_our_flow_log(desired, log)) {
            if log.delivery == Delivery::Unknown {
                log.delivery = Delivery::Success;
            }
        }
    }

    pub(super) fn delivery_works(&mut self) {
        for log in &mut self.flow_logs {
            log.delivery = Delivery::Success;
        }
    }

    fn managed_log_group(&mut self) -> &mut LogGroup {
        let group = self.log_group.as_mut().expect("the log group is created before it is changed");
        assert!(is_ours(group.tags.as_ref().unwrap()), "an unmanaged log group is not changed");
        group
    }

    fn create_flow_logs(
        &mut self,
        desired: &Desired<'_>,
        spec: &FlowLogSpec,
        vpcs: &[VpcId],
        replaces: &BTreeMap<VpcId, BTreeSet<FlowLogId>>,
    ) {
        assert!((1..=MAX_FLOW_LOGS_PER_CALL).contains(&vpcs.len()));
        assert!(replaces.keys().all(|vpc| vpcs.contains(vpc)), "what is replaced gets a successor");
        assert!(self.filters.contains(&desired.filter()), "a record before the filter would be lost");
        for id in vpcs {
            let vpc = self.vpcs.iter().find(|vpc| vpc.id == *id).expect("AWS rejects a VPC that does not exist");
            assert_eq!(vpc.owner, desired.at.account, "AWS rejects a shared VPC");
            assert!(!self.has_right_flow_log(desired, vpc), "AWS rejects a duplicate");
            let number = |log: &FlowLog| u32::from_str_radix(log.id.as_str().trim_start_matches("fl-"), 16).unwrap();
            let last = self.flow_logs.iter().map(number).max().unwrap_or_default();
            self.flow_logs.push(FlowLog {
                id: flow_log_id(last.max(0x1000) + 1),
                resource: id.to_string(),
                traffic_type: Some(spec.traffic_type),
                target: FlowLogTarget::LogGroup(desired.settings.log_group_name.to_string()),
                delivery_role: Some(spec.delivery_role.to_string()),
                interval: spec.interval,
                format: Some(spec.format.clone()),
                active: true,
                delivery: Delivery::Unknown,
                created_ms: Some(self.now_ms),
                tags: tags(&[OWN_TAG, (SETTINGS_TAG, &desired.settings_tag(spec).value)]),
            });
        }
    }

    /// A flow log may be deleted only if it is managed and another one covers the VPC, which has delivered or had long
    /// enough for it.
    fn delete_flow_log(&mut self, desired: &Desired<'_>, id: &FlowLogId, vpc: &VpcId) {
        let position = self.flow_logs.iter().position(|log| log.id == *id).expect("what is deleted exists");
        let gone = self.flow_logs.remove(position);
        assert!(is_our_flow_log(desired, &gone), "{id} is unmanaged");
        assert!(is_ours(&gone.tags), "the member role may delete only flow logs with the tag");
        assert_eq!(gone.resource, vpc.as_str());
        let vpc = self.vpcs.iter().find(|there| there.id == *vpc).unwrap();
        let delivers = |log: &&FlowLog| match log.delivery {
            Delivery::Success => true,
            Delivery::Failed(_) => false,
            Delivery::Unknown => self.now_ms - log.created_ms.unwrap() >= 15 * MINUTE_MS,
        };
        let covering = self.flow_logs.iter().filter(|log| covers(desired, vpc, log));
        assert!(covering.clone().any(|log| delivers(&log)), "deleting {id} leaves {} uncovered", vpc.id);
    }

    pub(super) fn is_covered(&self, desired: &Desired<'_>, vpc: &Vpc) -> bool {
        self.flow_logs.iter().any(|log| covers(desired, vpc, log))
    }

    pub(super) fn has_right_flow_log(&self, desired: &Desired<'_>, vpc: &Vpc) -> bool {
        let Some(traffic_type) = wanted_traffic_type(desired, vpc) else { return false };
        self.flow_logs.iter().any(|log| {
            log.resource == vpc.id.as_str()
                && log.traffic_type == Some(traffic_type)
                && log.target == FlowLogTarget::LogGroup(desired.settings.log_group_name.to_string())
                && log.delivery_role
                    == Some(format!("arn:aws:iam::444455556666:role/{}", desired.settings.delivery_role_name))
                && log.interval == desired.settings.aggregation_interval
                && log.format.as_ref() == Some(&desired.settings.log_format)
        })
    }
}

/// Whether a flow log delivers at least what a VPC needs to the log group, whoever created it.
fn covers(desired: &Desired<'_>, vpc: &Vpc, log: &FlowLog) -> bool {
    let Some(traffic_type) = wanted_traffic_type(desired, vpc) else { return false };
    let recorded = log.format.as_deref().unwrap_or(crate::settings::AWS_DEFAULT_FORMAT);
    log.resource == vpc.id.as_str()
        && (log.traffic_type == Some(traffic_type) || log.traffic_type == Some(TrafficType::All))
        && log.target == FlowLogTarget::LogGroup(desired.settings.log_group_name.to_string())
        && desired.settings.log_format.split_whitespace().all(|field| recorded.split_whitespace().any(|it| it == field))
}

/// Whether a flow log is ours, by its tag and by something that no tag can give, or by all that no tag can give.
pub(super) fn is_our_flow_log(desired: &Desired<'_>, log: &FlowLog) -> bool {
    let group = FlowLogTarget::LogGroup(desired.settings.log_group_name.to_string());
    let role = desired.settings.delivery_role(desired.at.account).to_string();
    let name = role.rsplit('/').next().unwrap().to_owned();
    let with_role = log.delivery_role.as_deref().is_some_and(|arn| arn.rsplit('/').next() == Some(&name));
    let claimed = log.tags.contains_key(OWN_TAG.0) && !log.tags.contains_key(SETTINGS_TAG);
    if is_ours(&log.tags) { log.target == group || with_role } else { log.target == group && with_role && !claimed }
}

pub(super) fn is_ours(tags: &Tags) -> bool {
    tags.get(OWN_TAG.0).is_some_and(|value| value == OWN_TAG.1)
}

/// The traffic type a VPC's flow log should have, if any, read from its tags independently of the planner.
pub(super) fn wanted_traffic_type(desired: &Desired<'_>, vpc: &Vpc) -> Option<TrafficType> {
    let tag = |key: &str| vpc.tags.get(key).map(|value| value.to_ascii_uppercase());
    let followed = desired.settings.narrowing_tags == crate::settings::NarrowingTags::Followed;
    if vpc.owner != desired.at.account || followed && tag("vpc-flow-logs").as_deref() == Some("OFF") {
        return None;
    }
    Some(match tag("vpc-flow-logs-traffic-type").filter(|kind| followed || kind == "ALL").as_deref() {
        Some("ALL") => TrafficType::All,
        Some("ACCEPT") => TrafficType::Accept,
        Some("REJECT") => TrafficType::Reject,
        Some(_) | None => desired.settings.traffic_type,
    })
}
