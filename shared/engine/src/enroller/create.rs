//! Creating flow logs. Every VPC has its own result, and an outdated flow log is kept until its replacement delivers, as
//! far as AWS allows it.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::error::{Code, Disposition, Wait};
use enroller_core::ids::{FlowLogId, VpcId};
use enroller_core::plan::{Action, Finding, FlowLogSpec, Step};
use enroller_core::settings::DeliveryRoleMaker;

use super::apply::{AccountRegionRun, Flow, may_be_one_id};
use super::report::VpcResult;
use crate::ports::{AwsResult, NewFlowLogs};
use crate::reconcile_error::ReconcileError;

/// The cause in the log entry of a flow log that could be created only after the old one was deleted.
pub const GAP: &str = "created after the old flow log was deleted; records may have a gap";

/// Time reserved for deleting a flow log and creating its replacement, in milliseconds: two calls, each with retries
/// for as long as the adapters let a call take. A run that is cut off in between leaves the VPC without a flow log
/// until the message comes back.
const BREAK_BEFORE_MAKE_MS: u64 = 200_000;

/// The most calls that look for the VPCs for whose sake AWS rejects a call about many. One of 311 is found with 21.
const CALLS_FOR_ONE_FAULT: usize = 64;

/// How long after a refusal the look is made that decides whether a flow log is deleted before its successor is
/// created, in milliseconds. What AWS refuses may be a twin of a successor that exists already, made moments ago by
/// this or another run. EC2 shows it after seconds, in rare cases after minutes (EC2 API developer guide, eventual
/// consistency). Deleting the old flow log then would lose the records until the successor begins to record.
const TWIN_SHOWS_MS: u64 = 60_000;

/// The flow log of one VPC, or why there is none.
type Created = Result<FlowLogId, ReconcileError>;

type Replaces = BTreeMap<VpcId, BTreeSet<FlowLogId>>;

impl AccountRegionRun<'_> {
    /// Creates flow logs for VPCs. The ones they replace are kept, because a new flow log records only after minutes: a
    /// later plan deletes them.
    pub(super) async fn create(
        &mut self,
        step: &Step,
        spec: &FlowLogSpec,
        vpcs: &[VpcId],
        replaces: &Replaces,
    ) -> Flow {
        // AWS refused these before the last look, which shows what is in the way. Another refusal is not provoked.
        let known = |vpc: &VpcId| self.occupied.contains(vpc).then(|| self.beside.get(vpc).cloned()).flatten();
        let (in_the_way, vpcs): (Vec<_>, Vec<_>) = vpcs.iter().cloned().partition(|vpc| known(vpc).is_some());
        for vpc in in_the_way {
            self.refused(&vpc);
        }
        let now_ms = self.enroller.ctx.clock.now_ms();
        let stuck =
            |vpc: &VpcId| self.replaceable.contains(vpc) && self.enroller.undeletable.contains(&self.at, vpc, now_ms);
        let (mut rejected, vpcs): (Vec<_>, Vec<_>) = vpcs.into_iter().partition(stuck);
        let mut flow = Flow::Settled;
        let results = self.create_each(spec, &vpcs).await;
        let repaired = self.repair_role(&results).await;
        for (vpc, result) in results {
            match result {
                Ok(id) => self.created(&vpc, &id, &step.why, replaces),
                Err(error) if already_there(&error) => {
                    // The answer is no evidence by itself, so the next look decides.
                    if self.occupied.insert(vpc.clone()) {
                        flow = Flow::ObserveAgain;
                        if self.replaceable.contains(&vpc) {
                            self.look_at_ms = self.enroller.ctx.clock.now_ms().saturating_add(TWIN_SHOWS_MS);
                        }
                    } else if self.replaceable.contains(&vpc) {
                        rejected.push(vpc);
                    } else {
                        self.refused(&vpc);
                    }
                }
                Err(error) if repaired && is_about_role(&error) => flow = Flow::ObserveAgain,
                Err(error) => self.not_created(&vpc, error),
            }
        }
        if !rejected.is_empty() && self.break_before_make(spec, &rejected, replaces).await == Flow::ObserveAgain {
            flow = Flow::ObserveAgain;
        }
        flow
    }

    /// Records that AWS refused a flow log for a second time, because it exists already.
    fn refused(&mut self, vpc: &VpcId) {
        let finding = self.beside.get(vpc).cloned().map_or(Finding::Unseen, Finding::InTheWay);
        self.not_created(vpc, ReconcileError::Finding(finding));
    }

    /// Ensures the delivery role if AWS rejected a flow log because of it. Until a flow log has delivered something,
    /// nothing else shows that the role was deleted. Returns whether the role was changed, so that another try may
    /// succeed.
    async fn repair_role(&mut self, results: &[(VpcId, Created)]) -> bool {
        let refused = results.iter().any(|(_, result)| result.as_ref().is_err_and(is_about_role));
        match self.enroller.ctx.settings.delivery_role_maker {
            DeliveryRoleMaker::Enroller if refused && self.limits.approved.includes(&Action::EnsureDeliveryRole) => {
                match self.ensure_role().await {
                    Ok(changes) => changes > 0,
                    Err(error) => {
                        let role = self.enroller.ctx.settings.delivery_role_name.to_string();
                        self.fail("ensure-delivery-role", &role, ReconcileError::Aws(error));
                        false
                    }
                }
            }
            DeliveryRoleMaker::Enroller | DeliveryRoleMaker::MemberStack => false,
        }
    }

    /// Deletes the old flow logs before creating new ones, because AWS rejected the new ones. The gap is logged.
    async fn break_before_make(&mut self, spec: &FlowLogSpec, rejected: &[VpcId], replaces: &Replaces) -> Flow {
        let mut flow = Flow::Settled;
        // Between the two calls the VPCs have no flow log, so the pair is not started without enough time for both.
        if self.enroller.ctx.clock.now_ms().saturating_add(BREAK_BEFORE_MAKE_MS) > self.limits.deadline_ms {
            for vpc in rejected {
                self.set(vpc, VpcResult::Failed(ReconcileError::OutOfTime));
                self.fail("replace-flow-log", vpc.as_str(), ReconcileError::OutOfTime);
            }
            return flow;
        }
        let free = self.delete_replaced(rejected, replaces).await;
        for (vpc, result) in self.create_each(spec, &free).await {
            match result {
                Ok(id) => {
                    self.done("create-flow-log", &format!("{vpc} {id}"), GAP);
                    self.set(&vpc, VpcResult::Repaired);
                }
                // A concurrent run created it first.
                Err(error) if already_there(&error) => flow = Flow::ObserveAgain,
                Err(error) => self.not_created(&vpc, error),
            }
        }
        flow
    }

    /// Deletes the old flow logs of VPCs. Returns the VPCs without those whose flow log could not be deleted: it goes
    /// on recording, and AWS would refuse its successor again.
    async fn delete_replaced(&mut self, vpcs: &[VpcId], replaces: &Replaces) -> Vec<VpcId> {
        let old = |vpc: &VpcId| replaces.get(vpc).into_iter().flatten();
        let ids: Vec<FlowLogId> = vpcs.iter().flat_map(old).cloned().collect();
        let why =
            "AWS rejects a second flow log to the same log group; records may be missing until the replacement exists";
        let left = self.delete(why, &ids).await;
        let mut free = Vec::new();
        for vpc in vpcs {
            match left.iter().find(|(id, _)| old(vpc).any(|it| it == id)) {
                Some((id, error)) => {
                    if error.code == Code::AccessDenied {
                        self.enroller.undeletable.remember(&self.at, vpc, self.enroller.ctx.clock.now_ms());
                    }
                    self.set(vpc, VpcResult::Failed(ReconcileError::Aws(error.clone())));
                    self.not_deleted(id, error, &format!("{vpc} keeps its old settings"));
                }
                None => {
                    self.enroller.undeletable.forget(&self.at, vpc);
                    free.push(vpc.clone());
                }
            }
        }
        free
    }

    fn created(&mut self, vpc: &VpcId, id: &FlowLogId, why: &str, replaces: &Replaces) {
        self.done("create-flow-log", &format!("{vpc} {id}"), why);
        match replaces.get(vpc) {
            Some(old) => {
                self.set(vpc, VpcResult::Repaired);
                self.unfinished(vpc, &Finding::Unfinished { successor: id.clone(), kept: old.clone() });
            }
            None => self.set(vpc, VpcResult::Enrolled),
        }
    }

    fn not_created(&mut self, vpc: &VpcId, error: ReconcileError) {
        self.set(vpc, VpcResult::Failed(error.clone()));
        self.fail("create-flow-log", vpc.as_str(), error);
    }

    /// Creates flow logs with one call. If AWS rejects the whole call for what may be one VPC's fault, the VPCs are
    /// halved until the fault is found, as long as there is time and for at most [`CALLS_FOR_ONE_FAULT`] calls. What is
    /// left then has the error of its last call, and is tried again with the message.
    async fn create_each(&self, spec: &FlowLogSpec, vpcs: &[VpcId]) -> Vec<(VpcId, Created)> {
        let mut results = Vec::new();
        let mut open: Vec<&[VpcId]> = if vpcs.is_empty() { Vec::new() } else { vec![vpcs] };
        let mut calls = 0;
        let mut last = ReconcileError::OutOfTime;
        while let Some(part) = open.pop() {
            if calls > 0 && (self.is_out_of_time() || calls >= CALLS_FOR_ONE_FAULT) {
                let error = if self.is_out_of_time() { ReconcileError::OutOfTime } else { last.clone() };
                results.extend(part.iter().map(|vpc| (vpc.clone(), Err(error.clone()))));
                continue;
            }
            calls += 1;
            match self.create_call(spec, part).await {
                Ok(created) => results.extend(created),
                Err(error) if part.len() > 1 && may_be_one_id(&error) => {
                    let (left, right) = part.split_at(part.len() / 2);
                    open.extend([right, left]);
                    last = error.into();
                }
                Err(error) => results.extend(part.iter().map(|vpc| (vpc.clone(), Err(error.clone().into())))),
            }
        }
        results
    }

    async fn create_call(&self, spec: &FlowLogSpec, vpcs: &[VpcId]) -> AwsResult<Vec<(VpcId, Created)>> {
        let settings = &self.enroller.ctx.settings;
        let new = NewFlowLogs {
            vpcs: vpcs.to_vec(),
            spec: spec.clone(),
            log_group: settings.log_group_name.clone(),
            tags: settings.tags_of_new_resources().into_iter().chain([self.desired.settings_tag(spec)]).collect(),
        };
        let results = self.enroller.ec2.create_flow_logs(&self.at, &new).await?;
        Ok(results.into_iter().map(|(vpc, result)| (vpc, result.map_err(ReconcileError::Aws))).collect())
    }
}

fn already_there(error: &ReconcileError) -> bool {
    error.aws_error().is_some_and(|error| error.disposition() == Disposition::AlreadyThere)
}

/// Whether AWS rejected a flow log because of its role: the role is missing, does not trust the service, or has not
/// propagated yet.
fn is_about_role(error: &ReconcileError) -> bool {
    error.disposition() == Disposition::RetryLater(Wait::RolePropagation)
}
