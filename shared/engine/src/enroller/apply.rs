//! Applying a plan, step by step. It makes one decision of its own: it observes again if AWS's answer shows that
//! another principal made changes at the same time.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::error::{AwsError, Code, Disposition};
use enroller_core::ids::{AccountRegion, FlowLogId, VpcId};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::plan::{Action, Desired, Finding, Lacking, Plan, Step, VpcPlan, next_step_of_failed_delivery};
use enroller_core::scope::TagEffect;

use super::report::{AccountRegionReport, VpcResult};
use super::role::RoleOnce;
use super::{Enroller, Limits};
use crate::ports::AwsResult;
use crate::reconcile_error::ReconcileError;

/// The most flow logs that one DeleteFlowLogs call accepts (EC2 API reference).
const MAX_DELETED_PER_CALL: usize = 1_000;

/// The next step where AWS denies the deletion of a flow log.
const ALLOW_DELETION: &str = "allow ec2:DeleteFlowLogs to the member role (its template does; look for a deny in a service control policy or permissions boundary), or delete the flow log by hand";

/// The action in the log entry of a replaced flow log that is kept until its successor delivers.
pub const KEEP_FLOW_LOG: &str = "keep-flow-log";

/// What to do after a step or a plan was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Nothing: continue, or finish after the last step.
    Settled,
    /// Observe and plan again.
    ObserveAgain,
}

/// The work in one account-Region, over all rounds.
pub(super) struct AccountRegionRun<'a> {
    pub(super) enroller: &'a Enroller,
    pub(super) at: AccountRegion,
    pub(super) desired: Desired<'a>,
    role: &'a RoleOnce,
    vpcs: BTreeMap<VpcId, VpcResult>,
    changes: usize,
    errors: Vec<ReconcileError>,
    decisions: Vec<LogEntry>,
    /// VPCs for which AWS answered that the flow log exists already, although no correct one was observed.
    pub(super) occupied: BTreeSet<VpcId>,
    /// Unmanaged flow logs that the last look showed, and that do not cover their VPC.
    pub(super) beside: BTreeMap<VpcId, Lacking>,
    /// VPCs with an outdated flow log to the log group, without which AWS may accept its successor.
    pub(super) replaceable: BTreeSet<VpcId>,
    filter_not_found: bool,
    group_not_found: bool,
    looked_at: bool,
    /// When the next look may be made, in epoch milliseconds. Usually it is in the past.
    pub(super) look_at_ms: u64,
    tags: BTreeMap<VpcId, TagEffect>,
    pub(super) limits: Limits<'a>,
}

impl<'a> AccountRegionRun<'a> {
    pub(super) fn new(enroller: &'a Enroller, desired: Desired<'a>, role: &'a RoleOnce, limits: Limits<'a>) -> Self {
        Self {
            enroller,
            at: desired.at.clone(),
            desired,
            role,
            vpcs: BTreeMap::new(),
            changes: 0,
            errors: Vec::new(),
            decisions: Vec::new(),
            occupied: BTreeSet::new(),
            beside: BTreeMap::new(),
            replaceable: BTreeSet::new(),
            filter_not_found: false,
            group_not_found: false,
            looked_at: false,
            look_at_ms: 0,
            tags: BTreeMap::new(),
            limits,
        }
    }

    /// Applies a plan. An error means that the account-Region as a whole is not covered.
    pub(super) async fn apply(&mut self, plan: &Plan) -> Result<Flow, ReconcileError> {
        self.looked_at = true;
        self.take_vpc_plans(plan);
        for note in &plan.notes {
            let line = LogEntry::at(
                &self.at,
                "note",
                self.desired.settings.log_group_name.to_string(),
                Outcome::Unchanged,
                note,
            );
            if !self.decisions.contains(&line) {
                self.decisions.push(line);
            }
        }
        let mut flow = Flow::Settled;
        for step in &plan.steps {
            if self.is_out_of_time() {
                return Err(ReconcileError::OutOfTime);
            }
            if !self.limits.approved.includes(&step.action) {
                return Err(ReconcileError::NotApproved(step.action.label()));
            }
            if self.step(step).await? == Flow::ObserveAgain {
                flow = Flow::ObserveAgain;
                // The observed state has changed, and the later steps depend on it: a flow log must not be created
                // before the filter, and a log group that another principal has just created is not managed.
                if !matches!(step.action, Action::CreateFlowLogs { .. }) {
                    break;
                }
            }
        }
        if let Some(masked) = plan.masked.as_ref().filter(|_| flow == Flow::Settled) {
            self.masked(masked);
        }
        if flow == Flow::Settled && self.changes == 0 && self.decisions.is_empty() {
            let cause = format!("VPCs up to date: {}", self.vpcs.len());
            let resource = self.desired.settings.log_group_name.to_string();
            self.decisions.push(LogEntry::at(&self.at, "reconcile", resource, Outcome::Unchanged, cause));
        }
        Ok(flow)
    }

    /// Nothing is covered whose records are masked, whatever was done for it.
    fn masked(&mut self, finding: &Finding) {
        let error = ReconcileError::Finding(finding.clone());
        for result in self.vpcs.values_mut() {
            match result {
                VpcResult::OutOfScope(_) | VpcResult::Broken(_) | VpcResult::Failed(_) => {}
                VpcResult::Covered | VpcResult::Enrolled | VpcResult::Repaired | VpcResult::CoveredByOthers => {
                    *result = VpcResult::Failed(error.clone());
                }
            }
        }
        let group = self.desired.settings.log_group_name.to_string();
        self.fail("check-log-group", &group, error);
    }

    pub(super) fn is_out_of_time(&self) -> bool {
        self.enroller.ctx.clock.now_ms() >= self.limits.deadline_ms
    }

    /// Sets the result of each VPC from the plan, but keeps changes made in earlier rounds.
    fn take_vpc_plans(&mut self, plan: &Plan) {
        let repairs = plan
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::PutFilter { .. } | Action::CreateLogGroup { .. }));
        for (vpc, vpc_plan) in &plan.vpcs {
            let changed = matches!(self.vpcs.get(vpc), Some(VpcResult::Enrolled | VpcResult::Repaired));
            let result = match vpc_plan {
                VpcPlan::Covered(_) if changed => continue,
                VpcPlan::Covered(_) if repairs => VpcResult::Repaired,
                VpcPlan::Covered(_) => VpcResult::Covered,
                VpcPlan::Broken { message, .. } => self.broken(vpc, message),
                VpcPlan::CoveredByOthers(_) => VpcResult::CoveredByOthers,
                VpcPlan::OutOfScope(reason) => VpcResult::OutOfScope(reason.clone()),
                // A placeholder until AWS has answered. Every path from here replaces it.
                VpcPlan::Enroll { .. } | VpcPlan::Replace { .. } => VpcResult::Failed(ReconcileError::OutOfTime),
                VpcPlan::NotAsAsked { flow_log, differences } => {
                    let (flow_log, differences) = (flow_log.clone(), differences.clone());
                    let error = ReconcileError::Finding(Finding::NotAsAsked { flow_log, differences });
                    self.fail("check-flow-log", vpc.as_str(), error.clone());
                    VpcResult::Failed(error)
                }
            };
            self.vpcs.insert(vpc.clone(), result);
        }
        self.vpcs.retain(|vpc, _| plan.vpcs.contains_key(vpc));
        self.tags.clone_from(&plan.tags);
        for (vpc, finding) in &plan.unfinished {
            self.unfinished(vpc, finding);
        }
        let beside = plan.vpcs.iter().filter_map(|(vpc, plan)| match plan {
            VpcPlan::Enroll { beside: Some(lacking) } | VpcPlan::Replace { beside: Some(lacking), .. } => {
                Some((vpc.clone(), lacking.clone()))
            }
            _ => None,
        });
        self.beside = beside.collect();
        let replaceable =
            plan.vpcs.iter().filter(|(_, plan)| matches!(plan, VpcPlan::Replace { to_group: true, beside: None, .. }));
        self.replaceable = replaceable.map(|(vpc, _)| vpc.clone()).collect();
    }

    fn broken(&mut self, vpc: &VpcId, message: &str) -> VpcResult {
        let cause = format!("the flow log is ACTIVE, but its last delivery failed: {message}");
        let line = LogEntry::at(&self.at, "check-delivery", vpc.to_string(), Outcome::Failed, cause)
            .next(next_step_of_failed_delivery(message, self.desired.settings.delivery_role_maker));
        if !self.decisions.contains(&line) {
            self.decisions.push(line);
        }
        VpcResult::Broken(message.to_owned())
    }

    /// Ensures the delivery role. Returns the number of changes, which is 0 if another Region of this run made them.
    pub(super) async fn ensure_role(&mut self) -> AwsResult<usize> {
        let (outcome, lines) = self.role.ensure(self.enroller, self.at.account).await;
        let changes = lines.iter().filter(|line| line.outcome == Outcome::Done).count();
        self.changes += changes;
        self.decisions.extend(lines);
        outcome.map(|()| changes)
    }

    async fn step(&mut self, step: &Step) -> Result<Flow, ReconcileError> {
        let (at, group) = (&self.at.clone(), &self.desired.settings.log_group_name);
        let logs = &self.enroller.logs;
        match &step.action {
            Action::EnsureDeliveryRole => self.ensure_role().await.map(|_| Flow::Settled).map_err(ReconcileError::Aws),
            Action::CreateLogGroup { kms_key } => {
                let tags = self.desired.settings.tags_of_new_resources();
                let made = logs.create_log_group(at, group, kms_key.as_deref(), &tags).await;
                self.required(step, group.as_str(), made)
            }
            Action::PutFilter { filter } => {
                let put = logs.put_subscription_filter(at, group, filter).await;
                let flow = self.required(step, &filter.name, put)?;
                // The first "not found" means that the log group has just been deleted, the second that the destination
                // does not exist.
                if flow == Flow::ObserveAgain && std::mem::replace(&mut self.filter_not_found, true) {
                    return Err(ReconcileError::NoDestination(filter.destination.clone()));
                }
                Ok(flow)
            }
            // Delivery does not depend on these two settings, so a failure is logged and the remaining steps are done.
            Action::SetRetention { days } => {
                let set = logs.set_retention(at, group, *days).await;
                Ok(self.optional(step, group.as_str(), set))
            }
            Action::AssociateKmsKey { key } => {
                let set = logs.associate_kms_key(at, group, key).await;
                Ok(self.optional(step, group.as_str(), set))
            }
            Action::CreateFlowLogs { spec, vpcs, replaces } => Ok(self.create(step, spec, vpcs, replaces).await),
            Action::TagFlowLogs { flow_logs } => {
                self.tag(step, flow_logs).await;
                Ok(Flow::Settled)
            }
            Action::DeleteFlowLogs { flow_logs } => {
                let ids: Vec<FlowLogId> = flow_logs.keys().cloned().collect();
                for (id, error) in self.delete(&step.why, &ids).await {
                    let vpc = flow_logs.get(&id).map_or("the VPC", VpcId::as_str);
                    self.not_deleted(&id, &error, &format!("records of {vpc} arrive twice until it is"));
                }
                Ok(Flow::Settled)
            }
        }
    }

    /// Handles the answer to a step that the next steps depend on.
    fn required(&mut self, step: &Step, resource: &str, result: AwsResult<()>) -> Result<Flow, ReconcileError> {
        match result {
            Ok(()) => {
                self.done(step.action.label(), resource, &step.why);
                Ok(Flow::Settled)
            }
            Err(error) => match error.disposition() {
                Disposition::AlreadyThere | Disposition::Absent => Ok(Flow::ObserveAgain),
                Disposition::RetrySoon
                | Disposition::RetryLater(_)
                | Disposition::Skip(_)
                | Disposition::Terminal(_) => Err(ReconcileError::Aws(error)),
            },
        }
    }

    /// Handles the answer to a step that delivery does not depend on.
    fn optional(&mut self, step: &Step, resource: &str, result: AwsResult<()>) -> Flow {
        match result {
            Ok(()) => self.done(step.action.label(), resource, &step.why),
            // The log group has just been deleted. If the next look shows it, the answer is a failure of this step alone.
            Err(error)
                if error.disposition() == Disposition::Absent
                    && !std::mem::replace(&mut self.group_not_found, true) =>
            {
                return Flow::ObserveAgain;
            }
            Err(error) => self.fail(step.action.label(), resource, ReconcileError::Aws(error)),
        }
        Flow::Settled
    }

    pub(super) fn done(&mut self, action: &str, resource: &str, why: &str) {
        self.changes += 1;
        self.decisions.push(LogEntry::at(&self.at, action, resource, Outcome::Done, why));
    }

    /// Logs what is not a failure, but has to be looked at again.
    pub(super) fn unfinished(&mut self, vpc: &VpcId, finding: &Finding) {
        let error = ReconcileError::Finding(finding.clone());
        let line = error.entry(&self.at, KEEP_FLOW_LOG, vpc.to_string());
        self.push(LogEntry { outcome: Outcome::Unchanged, ..line }, error);
    }

    pub(super) fn fail(&mut self, action: &str, resource: &str, error: ReconcileError) {
        self.push(error.entry(&self.at, action, resource.to_owned()), error);
    }

    /// A later round finds what an earlier one has told already.
    fn push(&mut self, line: LogEntry, error: ReconcileError) {
        if !self.decisions.contains(&line) {
            self.decisions.push(line);
            self.errors.push(error);
        }
    }

    pub(super) fn set(&mut self, vpc: &VpcId, result: VpcResult) {
        self.vpcs.insert(vpc.clone(), result);
    }

    /// Records that a managed flow log could not be deleted, with what that means.
    pub(super) fn not_deleted(&mut self, id: &FlowLogId, error: &AwsError, so: &str) {
        let error = ReconcileError::Aws(error.clone());
        let mut line = error.entry(&self.at, "delete-flow-log", id.to_string());
        line.cause.push_str(&format!(" ({so})"));
        if error.aws_error().is_some_and(|error| error.code == Code::AccessDenied) {
            line = line.next(ALLOW_DELETION);
        }
        self.push(line, error);
    }

    /// Deletes managed flow logs. One that is gone already counts as deleted. Returns those that could not be deleted.
    pub(super) async fn delete(&mut self, why: &str, ids: &[FlowLogId]) -> Vec<(FlowLogId, AwsError)> {
        let mut left = Vec::new();
        let mut results = Vec::new();
        for chunk in ids.chunks(MAX_DELETED_PER_CALL) {
            results.extend(self.delete_chunk(chunk).await);
        }
        for (id, result) in results {
            match result {
                Ok(()) => self.done("delete-flow-log", id.as_str(), why),
                Err(error) if error.disposition() == Disposition::Absent => {}
                Err(error) => left.push((id, error)),
            }
        }
        left
    }

    /// Deletes flow logs with one call. If AWS rejects the whole call because one id is gone, it makes one call per id.
    async fn delete_chunk(&self, ids: &[FlowLogId]) -> Vec<(FlowLogId, AwsResult<()>)> {
        let ec2 = &self.enroller.ec2;
        let error = match ec2.delete_flow_logs(&self.at, ids).await {
            Ok(deleted) => return deleted,
            Err(error) => error,
        };
        if ids.len() == 1 || error.disposition() != Disposition::Absent {
            return ids.iter().map(|id| (id.clone(), Err(error.clone()))).collect();
        }
        let mut results = Vec::new();
        for id in ids {
            match ec2.delete_flow_logs(&self.at, std::slice::from_ref(id)).await {
                Ok(deleted) => results.extend(deleted),
                Err(error) => results.push((id.clone(), Err(error))),
            }
        }
        results
    }

    /// Ends the run. `error` is what ended it early. It becomes the result of every VPC that should be covered by now.
    pub(super) fn finish(mut self, error: Option<ReconcileError>) -> AccountRegionReport {
        if let Some(error) = error {
            for result in self.vpcs.values_mut() {
                match result {
                    VpcResult::OutOfScope(_) | VpcResult::Enrolled | VpcResult::Broken(_) => {}
                    VpcResult::Covered | VpcResult::Repaired | VpcResult::CoveredByOthers | VpcResult::Failed(_) => {
                        *result = VpcResult::Failed(error.clone());
                    }
                }
            }
            let resource = self.at.to_string();
            self.fail("reconcile", &resource, error);
        }
        AccountRegionReport {
            at: self.at,
            vpcs: self.vpcs,
            changes: self.changes,
            errors: self.errors,
            decisions: self.decisions,
            looked_at: self.looked_at,
            tags: self.tags,
        }
    }
}

/// Whether a single id may have made AWS reject the whole call. Some endpoints do that instead of listing the id in
/// `Unsuccessful`.
pub(super) fn may_be_one_id(error: &AwsError) -> bool {
    use enroller_core::error::Wait;
    matches!(error.disposition(), Disposition::AlreadyThere | Disposition::RetryLater(Wait::Vpc))
        || matches!(error.code, Code::Quota)
}
