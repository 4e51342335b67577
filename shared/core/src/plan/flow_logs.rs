//! Which flow logs to create, replace and delete.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Desired, FlowLogSpec, MAX_FLOW_LOGS_PER_CALL, Step, VpcPlan};
use crate::ids::{FlowLogId, VpcId};
use crate::observed::{Delivery, FlowLog, FlowLogTarget, Observed, TrafficType};
use crate::settings::AWS_DEFAULT_FORMAT;

/// The flow log part of a plan.
pub(super) struct FlowLogPlans {
    pub(super) vpcs: BTreeMap<VpcId, VpcPlan>,
    pub(super) creations: Vec<Step>,
    pub(super) deletions: Vec<Step>,
    pub(super) notes: Vec<String>,
    /// Flow logs are created, and no managed one delivers with the delivery role to the log group yet.
    pub(super) untried_role: bool,
    /// A flow log that delivers with the delivery role to the log group reports an access error.
    pub(super) access_error: bool,
}

/// VPCs that get the same flow log, with what it replaces.
type Wanted = BTreeMap<FlowLogSpec, BTreeMap<VpcId, BTreeSet<FlowLogId>>>;

pub(super) fn plan_flow_logs(desired: &Desired<'_>, observed: &Observed) -> FlowLogPlans {
    let mut plans = FlowLogPlans {
        vpcs: BTreeMap::new(),
        creations: Vec::new(),
        deletions: Vec::new(),
        notes: Vec::new(),
        untried_role: false,
        access_error: false,
    };
    let mut wanted = Wanted::new();
    let mut redundant = BTreeMap::new();
    for vpc in &observed.vpcs {
        let here = || observed.flow_logs.iter().filter(|log| log.resource == vpc.id.as_str());
        let (managed, unmanaged): (Vec<_>, Vec<_>) =
            here().partition(|log| desired.settings.ownership_tag.is_on(&log.tags));
        let verdict = match desired.settings.vpc_in_scope(desired.at.account, vpc) {
            Err(reason) => {
                if let Some(log) = managed.first() {
                    // Deleting it would allow a tag, which many principals may set, to stop the recording of evidence.
                    plans.notes.push(format!("{}: {reason}, but its flow log {} is kept", vpc.id, log.id));
                }
                VpcPlan::OutOfScope(reason)
            }
            Ok(traffic_type) => {
                if let Some(Err(typo)) = desired.settings.wished_traffic_type(vpc) {
                    let tag = &desired.settings.traffic_type_tag;
                    plans.notes.push(format!("{}: tag {tag} is ignored: {typo}", vpc.id));
                }
                plans.access_error |= here().any(|log| is_access_error(&log.delivery) && tries_role(desired, log));
                let spec = desired.flow_log(traffic_type);
                one_vpc(desired, &vpc.id, spec, &managed, &unmanaged, &mut wanted, &mut redundant)
            }
        };
        plans.vpcs.insert(vpc.id.clone(), verdict);
    }
    let is_managed = |log: &&FlowLog| desired.settings.ownership_tag.is_on(&log.tags);
    let tried = observed.flow_logs.iter().filter(is_managed).any(|log| tries_role(desired, log));
    plans.untried_role = !wanted.is_empty() && !tried;
    plans.creations = creations(wanted);
    if !redundant.is_empty() {
        let why = "the VPC has another, correct flow log".to_owned();
        plans.deletions.push(Step { action: Action::DeleteFlowLogs { flow_logs: redundant }, why });
    }
    plans
}

/// Whether a flow log delivers to the log group with the delivery role. The role's policy names the group, so the
/// delivery of this flow log shows whether the role works.
fn tries_role(desired: &Desired<'_>, log: &FlowLog) -> bool {
    let role = desired.settings.delivery_role(desired.at.account).to_string();
    log.delivery_role.as_ref() == Some(&role)
        && matches!(&log.target, FlowLogTarget::LogGroup(name) if name == desired.settings.log_group_name.as_str())
}

fn is_access_error(delivery: &Delivery) -> bool {
    match delivery {
        Delivery::Failed(message) => message.starts_with("Access error"),
        Delivery::Success | Delivery::Unknown => false,
    }
}

fn one_vpc(
    desired: &Desired<'_>,
    vpc: &VpcId,
    spec: FlowLogSpec,
    managed: &[&FlowLog],
    unmanaged: &[&FlowLog],
    wanted: &mut Wanted,
    redundant: &mut BTreeMap<FlowLogId, VpcId>,
) -> VpcPlan {
    let differs = |log: &FlowLog| differences(desired, &spec, log);
    // The lowest id, and nothing that can change, so that two concurrent runs never delete each other's choice.
    let right_of = |logs: &[&FlowLog]| -> Option<FlowLog> {
        logs.iter().filter(|log| differs(log).is_empty()).min_by_key(|log| &log.id).map(|log| (*log).clone())
    };
    let own = right_of(managed);
    let covered = if own.is_some() { VpcPlan::Covered } else { VpcPlan::CoveredByOthers };
    if let Some(right) = own.or_else(|| right_of(unmanaged)) {
        return match right.delivery {
            // Until it delivers, the VPC's other managed flow logs may be the only ones that record.
            Delivery::Failed(message) => VpcPlan::Broken { flow_log: right.id, message },
            Delivery::Success | Delivery::Unknown => {
                let duplicates = managed.iter().filter(|log| log.id != right.id);
                redundant.extend(duplicates.map(|log| (log.id.clone(), vpc.clone())));
                covered(right.id)
            }
        };
    }
    let replaced: BTreeSet<FlowLogId> = managed.iter().map(|log| log.id.clone()).collect();
    let verdict = match managed.first() {
        Some(log) => VpcPlan::Replace { differences: differs(log).join("; ") },
        None => VpcPlan::Enroll,
    };
    wanted.entry(spec).or_default().insert(vpc.clone(), replaced);
    verdict
}

fn creations(wanted: Wanted) -> Vec<Step> {
    let mut steps = Vec::new();
    for (spec, vpcs) in wanted {
        let vpcs: Vec<_> = vpcs.into_iter().collect();
        for chunk in vpcs.chunks(MAX_FLOW_LOGS_PER_CALL) {
            let replaces: BTreeMap<_, _> = chunk.iter().filter(|(_, old)| !old.is_empty()).cloned().collect();
            let why = reason(chunk.len() - replaces.len(), replaces.len());
            let vpcs = chunk.iter().map(|(vpc, _)| vpc.clone()).collect();
            steps.push(Step { action: Action::CreateFlowLogs { spec: spec.clone(), vpcs, replaces }, why });
        }
    }
    steps
}

/// How many VPCs get their first managed flow log, and how many a replacement.
fn reason(new: usize, replaced: usize) -> String {
    let new = match new {
        0 => None,
        1 => Some("1 VPC has no managed flow log".to_owned()),
        _ => Some(format!("{new} VPCs have no managed flow log")),
    };
    let replaced = match replaced {
        0 => None,
        1 => Some("the flow log of 1 VPC differs from the settings".to_owned()),
        _ => Some(format!("the flow logs of {replaced} VPCs differ from the settings")),
    };
    new.into_iter().chain(replaced).collect::<Vec<_>>().join("; ")
}

/// How a flow log differs from the desired one, as shown to operators; empty if it does not.
fn differences(desired: &Desired<'_>, spec: &FlowLogSpec, log: &FlowLog) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, is: &str, should: &str| {
        if is != should {
            found.push(format!("{what} is {is}, not {should}"));
        }
    };
    let group = desired.settings.log_group_name.as_str();
    match &log.target {
        FlowLogTarget::LogGroup(name) => compare("log group", name, group),
        FlowLogTarget::Other(arn) => compare("target", arn, group),
    }
    compare("traffic type", log.traffic_type.map_or("none", TrafficType::as_str), spec.traffic_type.as_str());
    compare("interval", &log.interval.to_string(), &spec.interval.to_string());
    compare("delivery role", log.delivery_role.as_deref().unwrap_or("none"), &spec.delivery_role.to_string());
    let format: Vec<&str> = log.format.as_deref().unwrap_or(AWS_DEFAULT_FORMAT).split_whitespace().collect();
    compare("format", &format.join(" "), &spec.format);
    found
}
