//! Which flow logs to create, replace and delete.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{delivers_to_group, delivers_with_role, differences, is_claimed, is_managed, lacks, was_made_for};
use super::{Action, Desired, Finding, FlowLogSpec, Lacking, MAX_FLOW_LOGS_PER_CALL, Step, VpcPlan};
use crate::ids::{FlowLogId, VpcId};
use crate::observed::{Delivery, FlowLog, Observed, Vpc};
use crate::scope::TagEffect;

/// How old a flow log must be to count as delivering if AWS reports neither success nor failure: it records 10 minutes
/// or more after its creation (VPC guide, Troubleshoot VPC Flow Logs), and reports nothing for a VPC without traffic.
pub const IDLE_SUCCESSOR_MS: u64 = 15 * 60_000;

/// The same where the flow log that it replaces delivers. Then the VPC has traffic, so silence is suspicious.
pub const SILENT_SUCCESSOR_MS: u64 = 60 * 60_000;

/// Why a flow log of others counts as broken although AWS reports no failure.
const SILENT_TWIN: &str = "it has not reported a delivery yet, and AWS accepts no other flow log like it";

/// The flow log part of a plan.
#[derive(Default)]
pub(super) struct FlowLogPlans {
    pub(super) vpcs: BTreeMap<VpcId, VpcPlan>,
    pub(super) unfinished: BTreeMap<VpcId, Finding>,
    /// The VPCs in scope whose tags narrow what they record, or would.
    pub(super) tags: BTreeMap<VpcId, TagEffect>,
    /// The VPCs whose entry in the settings has expired.
    pub(super) expired: BTreeMap<VpcId, String>,
    pub(super) tagging: Vec<Step>,
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
    /// Flow logs of ours whose tag was taken off.
    untagged: BTreeMap<FlowLogId, VpcId>,
}

pub(super) fn plan_flow_logs(desired: &Desired<'_>, observed: &Observed, now_ms: u64) -> FlowLogPlans {
    let (plans, wanted, redundant, untagged) = Default::default();
    let mut judge = Judge { desired, now_ms, plans, wanted, redundant, untagged };
    let is_managed = |log: &&FlowLog| is_managed(desired.settings, desired.at.account, log);
    for vpc in &observed.vpcs {
        let here: Vec<&FlowLog> = observed.flow_logs.iter().filter(|log| log.resource == vpc.id.as_str()).collect();
        judge.expired(vpc);
        let verdict = judge.scoped(vpc, &here);
        judge.plans.vpcs.insert(vpc.id.clone(), verdict);
    }
    let tried = observed.flow_logs.iter().filter(is_managed).any(|log| tries_role(desired, log));
    let Judge { mut plans, wanted, redundant, untagged, .. } = judge;
    plans.untried_role = !wanted.is_empty() && !tried;
    plans.creations = creations(wanted);
    if !untagged.is_empty() {
        let (group, role) = (&desired.settings.log_group_name, &desired.settings.delivery_role_name);
        let tag = &desired.settings.ownership_tag;
        let why = format!(
            "somebody took the tag {tag} off, or put another value: what delivers to {group} with role {role} is ours"
        );
        plans.tagging.push(Step { action: Action::TagFlowLogs { flow_logs: untagged }, why });
    }
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

/// The one that delivers, or else one that reports nothing yet, or else any. Of several the one with the lowest id, so
/// that two concurrent runs make the same choice.
fn best<'a>(logs: impl Iterator<Item = &'a FlowLog>) -> Option<&'a FlowLog> {
    logs.min_by_key(|log| {
        let rank = match log.delivery {
            Delivery::Success => 0,
            Delivery::Unknown => 1,
            Delivery::Failed(_) => 2,
        };
        (rank, &log.id)
    })
}

impl Judge<'_> {
    /// An entry of the settings that has expired opts nothing out, and somebody has to renew or remove it.
    fn expired(&mut self, vpc: &Vpc) {
        let entry = self.desired.settings.opted_out_vpcs.get(&vpc.id);
        if let Some(entry) = entry.filter(|entry| entry.has_expired(self.now_ms)) {
            let (day, owner) = (&entry.last_day, &entry.owner);
            let text = format!(
                "its entry in opted_out_vpcs expired on {day} and opts it out no longer; {owner} answers for it"
            );
            self.plans.notes.push(format!("{}: {text}", vpc.id));
            self.plans.expired.insert(vpc.id.clone(), text);
        }
    }

    fn scoped(&mut self, vpc: &Vpc, here: &[&FlowLog]) -> VpcPlan {
        let (desired, settings) = (self.desired, self.desired.settings);
        let is_managed = |log: &&&FlowLog| is_managed(settings, desired.at.account, log);
        let (managed, unmanaged): (Vec<&FlowLog>, Vec<&FlowLog>) = here.iter().partition(is_managed);
        for log in &unmanaged {
            self.foreign(vpc, log);
        }
        let recording = match settings.vpc_in_scope(desired.at.account, vpc, self.now_ms) {
            Ok(recording) => recording,
            Err(reason) => {
                if let Some(log) = managed.first() {
                    // Deleting it would let whoever opts the VPC out stop the recording of evidence.
                    self.plans.notes.push(format!("{}: {reason}, but its flow log {} is kept", vpc.id, log.id));
                } else if reason.is_of_one_vpc() {
                    self.plans.notes.push(format!("{}: {reason}", vpc.id));
                }
                return VpcPlan::OutOfScope(reason);
            }
        };
        if let Some(Err(typo)) = settings.wished_traffic_type(vpc) {
            let tag = &settings.traffic_type_tag;
            self.plans.notes.push(format!("{}: tag {tag} is ignored: {typo}", vpc.id));
        }
        if let Some(effect) = recording.tags {
            self.plans.notes.push(format!("{}: {effect}", vpc.id));
            self.plans.tags.insert(vpc.id.clone(), effect);
        }
        self.plans.access_error |= here.iter().any(|log| is_access_error(&log.delivery) && tries_role(desired, log));
        let lost = managed.iter().filter(|log| !settings.ownership_tag.is_on(&log.tags));
        self.untagged.extend(lost.map(|log| (log.id.clone(), vpc.id.clone())));
        self.one_vpc(&vpc.id, desired.flow_log(recording.traffic_type), &managed, &unmanaged)
    }

    /// Tells of a flow log of others that looks like one of ours.
    fn foreign(&mut self, vpc: &Vpc, log: &FlowLog) {
        let settings = self.desired.settings;
        let (vpc, id) = (&vpc.id, &log.id);
        if settings.ownership_tag.is_on(&log.tags) {
            let note = format!(
                "{vpc}: {id} has our tag, but delivers neither to our log group nor with our role, and is left alone"
            );
            self.plans.notes.push(note);
        } else if is_claimed(settings, log)
            && delivers_to_group(self.desired, log)
            && delivers_with_role(settings, self.desired.at.account, log)
        {
            let key = &settings.ownership_tag.key;
            let note = format!(
                "{vpc}: {id} delivers to our log group with our role, but its tag {key} names somebody else, and it is left alone"
            );
            self.plans.notes.push(note);
        }
    }

    fn one_vpc(&mut self, vpc: &VpcId, spec: FlowLogSpec, managed: &[&FlowLog], unmanaged: &[&FlowLog]) -> VpcPlan {
        let desired = self.desired;
        let differs = |log: &FlowLog| differences(desired, &spec, log);
        let ours = managed;
        let managed = || ours.iter().copied();
        let to_group = || unmanaged.iter().copied().filter(|log| delivers_to_group(desired, log));
        if let Some(own) = best(managed().filter(|log| differs(log).is_empty())) {
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
        if let Some(twin) = lowest(to_group().filter(|log| differs(log).is_empty())) {
            let message = match &twin.delivery {
                Delivery::Failed(message) => Some(message.clone()),
                Delivery::Unknown => Some(SILENT_TWIN.to_owned()),
                Delivery::Success => None,
            };
            if let Some(message) = message {
                return VpcPlan::Broken { flow_log: twin.id.clone(), message };
            }
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
                // Without its time of creation it may be seconds old.
                successor.created_ms.is_some_and(|created| self.now_ms.saturating_sub(created) >= long_enough_ms)
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
