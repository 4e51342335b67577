//! The planner by scenario: what AWS returns, and the steps that follow.

mod enrolling;
mod log_group;
mod properties;
mod repairing;
mod verdicts;
mod world;

use super::*;
use crate::names::DestinationName;
use crate::observed::{Delivery, FlowLog, FlowLogTarget, LogGroupClass, Tags, Vpc};
use crate::settings::tests::with;

/// When every test begins, in epoch milliseconds.
pub(crate) const NOW: u64 = 1_795_000_000_000;

const MINUTE_MS: u64 = 60_000;

const OWN_TAG: (&str, &str) = ("managed-by", "vpc-flow-logs-enroller");

/// An account-Region: the settings, and what AWS returns.
struct Scenario {
    settings: Settings,
    observed: Observed,
    now_ms: u64,
}

impl Scenario {
    /// VPCs 1 to `vpcs` and nothing else.
    fn fresh_region(vpcs: u32) -> Self {
        let observed = Observed { vpcs: (1..=vpcs).map(vpc).collect(), ..Observed::default() };
        Self { settings: with(&[]).unwrap(), observed, now_ms: NOW }
    }

    /// VPCs 1 to `vpcs`, each with its flow log of the same number, as the enroller leaves them with default settings.
    fn covered_region(vpcs: u32) -> Self {
        let mut scenario = Self::fresh_region(vpcs);
        scenario.observed.flow_logs = (1..=vpcs).map(|number| scenario.right_flow_log(number, number)).collect();
        scenario.observed.log_group = Some(right_log_group(&scenario.settings));
        scenario.observed.filters = vec![scenario.desired().filter()];
        scenario
    }

    /// The same account-Region with other settings.
    fn with_settings(mut self, changes: &[(&str, &str)]) -> Self {
        self.settings = with(changes).unwrap();
        self
    }

    /// The same account-Region after a change.
    fn after(mut self, change: impl FnOnce(&mut Observed)) -> Self {
        change(&mut self.observed);
        self
    }

    /// A correct managed flow log of a VPC.
    fn right_flow_log(&self, number: u32, vpc_number: u32) -> FlowLog {
        right_flow_log(&self.desired(), flow_log_id(number), vpc_id(vpc_number).as_str())
    }

    fn desired(&self) -> Desired<'_> {
        let region: crate::ids::Region = "eu-west-1".parse().unwrap();
        let name: DestinationName = self.settings.destination_name.base().clone();
        Desired {
            settings: &self.settings,
            destination: Arn::destination(&region, self.settings.central_account, &name),
            at: AccountRegion { account: "444455556666".parse().unwrap(), region },
        }
    }

    fn plan(&self) -> Plan {
        plan(&self.desired(), &self.observed, self.now_ms)
    }

    /// Steps with their reasons, notes and what blocks, one a line.
    fn story(&self) -> String {
        story(&self.plan())
    }

    /// What the plan means for one VPC.
    fn verdict(&self, number: u32) -> VpcPlan {
        self.plan().vpcs.remove(&vpc_id(number)).unwrap()
    }
}

/// The log group as the enroller leaves it with settings that name no key. Its tags were not fetched.
pub(crate) fn right_log_group(settings: &Settings) -> LogGroup {
    let (retention_days, class) = (settings.retention_days, LogGroupClass::Standard);
    let created_ms = Some(NOW - 90 * 24 * 60 * MINUTE_MS);
    LogGroup {
        retention_days,
        retention_policy: None,
        kms_key: None,
        class,
        created_ms,
        protection: Vec::new(),
        tags: None,
    }
}

/// A correct managed flow log of a VPC without tags.
pub(crate) fn right_flow_log(desired: &Desired<'_>, id: FlowLogId, vpc: &str) -> FlowLog {
    let spec = desired.flow_log(desired.settings.traffic_type);
    FlowLog {
        id,
        resource: vpc.to_owned(),
        traffic_type: Some(spec.traffic_type),
        target: FlowLogTarget::LogGroup(desired.settings.log_group_name.to_string()),
        delivery_role: Some(spec.delivery_role.to_string()),
        interval: spec.interval,
        format: Some(spec.format),
        active: true,
        delivery: Delivery::Success,
        created_ms: Some(NOW - 24 * 60 * MINUTE_MS),
        tags: tags(&[OWN_TAG]),
    }
}

/// Makes a flow log one of others, which delivers to the log group with a role of theirs.
fn of_others(log: &mut FlowLog) {
    log.tags = Tags::new();
    log.delivery_role = Some("arn:aws:iam::444455556666:role/Theirs".to_owned());
}

fn story(plan: &Plan) -> String {
    let steps = plan.steps.iter().map(|step| format!("{}{}: {}", step.action.label(), detail(&step.action), step.why));
    let notes = plan.notes.iter().map(|note| format!("note: {note}"));
    let unfinished = plan.unfinished.iter().map(|(vpc, finding)| format!("unfinished: {vpc}: {finding}"));
    let blocked = plan.blocked.iter().map(|blocked| format!("blocked: {blocked}"));
    let lines: Vec<String> = steps.chain(notes).chain(unfinished).chain(blocked).collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("\n") }
}

fn detail(action: &Action) -> String {
    match action {
        Action::EnsureDeliveryRole => String::new(),
        Action::CreateLogGroup { kms_key } => kms_key.as_ref().map(|key| format!(" with {key}")).unwrap_or_default(),
        Action::SetRetention { days } => format!(" {days:?}"),
        Action::AssociateKmsKey { key } => format!(" {key}"),
        Action::PutFilter { filter } => format!(" {}", filter.name),
        Action::CreateFlowLogs { spec, vpcs, replaces } if replaces.is_empty() => {
            format!(" {} {vpcs:?}", spec.traffic_type)
        }
        Action::CreateFlowLogs { spec, vpcs, replaces } => {
            format!(" {} {vpcs:?} replacing {replaces:?}", spec.traffic_type)
        }
        Action::TagFlowLogs { flow_logs } | Action::DeleteFlowLogs { flow_logs } => format!(" {flow_logs:?}"),
    }
}

fn vpc(number: u32) -> Vpc {
    let owner = "444455556666".parse().unwrap();
    Vpc { id: vpc_id(number), owner, is_default: false, tags: Tags::new() }
}

fn vpc_id(number: u32) -> VpcId {
    format!("vpc-{number:08x}").parse().unwrap()
}

fn flow_log_id(number: u32) -> FlowLogId {
    format!("fl-{number:08x}").parse().unwrap()
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
