//! Which flow logs to create, replace and delete.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{delivers_to_group, differences, is_managed, lacks, was_made_for};
use super::{Action, Desired, Finding, FlowLogSpec, Lacking, MAX_FLOW_LOGS_PER_CALL, Step, VpcPlan};
use crate::ids::{FlowLogId, VpcId};
use crate::observed::{Delivery, FlowLog, Observed};

/// How old a flow log must be to count as delivering if AWS reports neither success nor failure: it records 10 minutes
/// or more after its creation (VPC guide, Troubleshoot VPC Flow Logs), and reports nothing for a VPC without traffic.
pub const IDLE_SUCCESSOR_MS: u64 = 15 * 60_000;

/// The same where the flow log that it replaces delivers. Then the VPC has traffic, so silence is suspicious.
pub const SILENT_SUCCESSOR_MS: u64 = 60 * 60_000;

/// The flow log part of a plan.
#[derive(Default)]
pub(super) struct FlowLogPlans {
    pub(super) vpcs: BTreeMap<VpcId, VpcPlan>,
    pub(super) unfinished: BTreeMap<VpcId, Finding>,
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

/// The plans so far, and what becomes steps once all VPCs are judged.
struct Judge<'a> {
    desired: &'a Desired<'a>,
    now_ms: u64,
    plans: FlowLogPlans,
    wanted: Wanted,
    redundant: BTreeMap<FlowLogId, VpcId>,
}

pub(super) fn plan_flow_logs(desired: &Desired<'_>, observed: &Observed, now_ms: u64) -> FlowLogPlans {
    let (plans, wanted, redundant) = Default::default();
    let mut judge = Judge { desired, now_ms, plans, wanted, redundant };
    let is_managed = |log: &&FlowLog| is_managed(desired.settings, desired.at.account, log);
    for vpc in &observed.vpcs {
        let here = || observed.flow_logs.iter().filter(|log| log.resource == vpc.id.as_str());
        let (managed, unmanaged): (Vec<_>, Vec<_>) = here().partition(is_managed);
        for log in unmanaged.iter().filter(|log| desired.settings.ownership_tag.is_on(&log.tags)) {
            let note = format!(
                "{}: {} has our tag, but nothing else of a managed flow log, and is left alone",
                vpc.id, log.id
            );
            judge.plans.notes.push(note);
        }
        let verdict = match desired.settings.vpc_in_scope(desired.at.account, vpc) {
            Err(reason) => {
                if let Some(log) = managed.first() {
                    // Deleting it would allow a tag, which many principals may set, to stop the recording of evidence.
                    judge.plans.notes.push(format!("{}: {reason}, but its flow log {} is kept", vpc.id, log.id));
                }
                VpcPlan::OutOfScope(reason)
            }
            Ok(traffic_type) => {
                if let Some(Err(typo)) = desired.settings.wished_traffic_type(vpc) {
                    let tag = &desired.settings.traffic_type_tag;
                    judge.plans.notes.push(format!("{}: tag {tag} is ignored: {typo}", vpc.id));
                }
                judge.plans.access_error |=
                    here().any(|log| is_access_error(&log.delivery) && tries_role(desired, log));
                judge.one_vpc(&vpc.id, desired.flow_log(traffic_type), &managed, &unmanaged)
            }
        };
        judge.plans.vpcs.insert(vpc.id.clone(), verdict);
    }
    let tried = observed.flow_logs.iter().filter(is_managed).any(|log| tries_role(desired, log));
    let Judge { mut plans, wanted, redundant, .. } = judge;
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
    log.delivery_role.as_ref() == Some(&role) && delivers_to_group(desired, log)
}

fn is_access_error(delivery: &Delivery) -> bool {
    match delivery {
        Delivery::Failed(message) => message.starts_with("Access error"),
        Delivery::Success | Delivery::Unknown => false,
    }
}

/// The one with the lowest id, and nothing that can change, so that two concurrent runs never delete each other's choice.
fn lowest<'a>(logs: impl Iterator<Item = &'a FlowLog>) -> Option<&'a FlowLog> {
    logs.min_by_key(|log| &log.id)
}

impl Judge<'_> {
    fn one_vpc(&mut self, vpc: &VpcId, spec: FlowLogSpec, managed: &[&FlowLog], unmanaged: &[&FlowLog]) -> VpcPlan {
        let desired = self.desired;
        let differs = |log: &FlowLog| differences(desired, &spec, log);
        let managed = || managed.iter().copied();
        let to_group = || unmanaged.iter().copied().filter(|log| delivers_to_group(desired, log));
        if let Some(own) = lowest(managed().filter(|log| differs(log).is_empty())) {
            let others: Vec<&FlowLog> = managed().filter(|log| log.id != own.id).collect();
            if let Delivery::Failed(message) = &own.delivery {
                // Until it delivers, the VPC's other managed flow logs may be the only ones that record.
                let kept = |log: &&FlowLog| format!("{vpc}: {} is kept, because {} does not deliver", log.id, own.id);
                self.plans.notes.extend(others.iter().map(kept));
                return VpcPlan::Broken { flow_log: own.id.clone(), message: message.clone() };
            }
            self.replaced(vpc, own, &others);
            return VpcPlan::Covered(own.id.clone());
        }
        if let Some(theirs) = lowest(to_group().filter(|log| lacks(&spec, log).is_empty())) {
            self.replaced(vpc, theirs, &managed().collect::<Vec<_>>());
            return VpcPlan::CoveredByOthers(theirs.id.clone());
        }
        // AWS would reject a twin of it, and the VPC's managed flow logs may be the only ones that record.
        if let Some(twin) = lowest(to_group().filter(|log| differs(log).is_empty()))
            && let Delivery::Failed(message) = &twin.delivery
        {
            return VpcPlan::Broken { flow_log: twin.id.clone(), message: message.clone() };
        }
        if let Some(log) = lowest(managed().filter(|log| log.active && was_made_for(desired, &spec, log))) {
            if !matches!(log.delivery, Delivery::Failed(_)) {
                self.replaced(vpc, log, &managed().filter(|other| other.id != log.id).collect::<Vec<_>>());
            }
            return VpcPlan::NotAsAsked { flow_log: log.id.clone(), differences: differs(log).join("; ") };
        }
        let lacking = |log: &FlowLog| Lacking { flow_log: log.id.clone(), lacks: lacks(&spec, log).join("; ") };
        let beside = lowest(to_group()).map(lacking);
        let verdict = match lowest(managed()) {
            Some(log) => {
                let to_group = managed().any(|log| delivers_to_group(desired, log));
                VpcPlan::Replace { differences: differs(log).join("; "), to_group, beside }
            }
            None => VpcPlan::Enroll { beside },
        };
        let replaced: BTreeSet<FlowLogId> = managed().map(|log| log.id.clone()).collect();
        self.wanted.entry(spec).or_default().insert(vpc.clone(), replaced);
        verdict
    }

    /// Managed flow logs that a VPC no longer needs are deleted once their successor delivers. AWS says that a new one
    /// records only after minutes.
    fn replaced(&mut self, vpc: &VpcId, successor: &FlowLog, old: &[&FlowLog]) {
        let ids = || old.iter().map(|log| log.id.clone());
        if old.is_empty() || self.delivers(successor, old) {
            self.redundant.extend(ids().map(|id| (id, vpc.clone())));
        } else {
            let unfinished = Finding::Unfinished { successor: successor.id.clone(), kept: ids().collect() };
            self.plans.unfinished.insert(vpc.clone(), unfinished);
        }
    }

    fn delivers(&self, successor: &FlowLog, old: &[&FlowLog]) -> bool {
        let busy = old.iter().any(|log| log.delivery == Delivery::Success);
        let long_enough_ms = if busy { SILENT_SUCCESSOR_MS } else { IDLE_SUCCESSOR_MS };
        match successor.delivery {
            Delivery::Success => true,
            Delivery::Failed(_) => false,
            Delivery::Unknown => {
                successor.created_ms.is_none_or(|created| self.now_ms.saturating_sub(created) >= long_enough_ms)
            }
        }
    }
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
