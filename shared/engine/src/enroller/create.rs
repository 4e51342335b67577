//! Creating flow logs. Every VPC has its own result, and an outdated flow log is deleted only after its replacement
//! exists, as far as AWS allows it.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::error::{AwsError, Disposition, Wait};
use enroller_core::ids::{FlowLogId, VpcId};
use enroller_core::plan::{Action, FlowLogSpec, Step};
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

type Replaces = BTreeMap<VpcId, BTreeSet<FlowLogId>>;

impl AccountRegionRun<'_> {
    /// Creates flow logs for VPCs, then deletes the ones they replace.
    pub(super) async fn create(
        &mut self,
        step: &Step,
        spec: &FlowLogSpec,
        vpcs: &[VpcId],
        replaces: &Replaces,
    ) -> Flow {
        let (occupied, vpcs): (Vec<_>, Vec<_>) =
            vpcs.iter().cloned().partition(|vpc| self.occupied.contains(vpc) && !replaces.contains_key(vpc));
        // AWS answers for the second time that such a flow log exists, and it is unmanaged. It delivers to the managed
        // log group, so the VPC's records arrive, though perhaps with other settings.
        for vpc in occupied {
            self.note(
                &vpc,
                "an unmanaged flow log of this VPC already delivers to the log group; AWS does not allow a second one",
            );
            self.set(&vpc, VpcResult::CoveredByOthers);
        }
        let mut outdated = Vec::new();
        let mut rejected = Vec::new();
        let mut flow = Flow::Settled;
        let results = self.create_each(spec, &vpcs).await;
        let repaired = self.repair_role(&results).await;
        for (vpc, result) in results {
            match result {
                Ok(id) => {
                    self.created(&vpc, &id, &step.why, replaces);
                    outdated.extend(replaces.get(&vpc).into_iter().flatten().cloned());
                }
                Err(error) if error.disposition() == Disposition::AlreadyThere => match replaces.contains_key(&vpc) {
                    true => rejected.push(vpc),
                    false => {
                        self.occupied.insert(vpc);
                        flow = Flow::ObserveAgain;
                    }
                },
                Err(error) if repaired && is_about_role(&error) => flow = Flow::ObserveAgain,
                Err(error) => self.not_created(&vpc, error),
            }
        }
        if !outdated.is_empty() {
            self.delete("its replacement exists", &outdated).await;
        }
        if !rejected.is_empty() && self.break_before_make(spec, &rejected, replaces).await == Flow::ObserveAgain {
            flow = Flow::ObserveAgain;
        }
        flow
    }

    /// Ensures the delivery role if AWS rejected a flow log because of it. Until a flow log has delivered something,
    /// nothing else shows that the role was deleted. Returns whether the role was changed, so that another try may
    /// succeed.
    async fn repair_role(&mut self, results: &[(VpcId, AwsResult<FlowLogId>)]) -> bool {
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
        let old: Vec<FlowLogId> = rejected.iter().filter_map(|vpc| replaces.get(vpc)).flatten().cloned().collect();
        self.delete(
            "AWS rejects a second flow log to the same log group; records may be missing until the replacement exists",
            &old,
        )
        .await;
        for (vpc, result) in self.create_each(spec, rejected).await {
            match result {
                Ok(id) => self.created(&vpc, &id, GAP, replaces),
                // A concurrent run created it first.
                Err(error) if error.disposition() == Disposition::AlreadyThere => flow = Flow::ObserveAgain,
                Err(error) => self.not_created(&vpc, error),
            }
        }
        flow
    }

    fn created(&mut self, vpc: &VpcId, id: &FlowLogId, why: &str, replaces: &Replaces) {
        self.done("create-flow-log", &format!("{vpc} {id}"), why);
        self.set(vpc, if replaces.contains_key(vpc) { VpcResult::Repaired } else { VpcResult::Enrolled });
    }

    fn not_created(&mut self, vpc: &VpcId, error: AwsError) {
        let error = ReconcileError::Aws(error);
        self.set(vpc, VpcResult::Failed(error.clone()));
        self.fail("create-flow-log", vpc.as_str(), error);
    }

    /// Creates flow logs with one call. If AWS rejects the whole call for what may be one VPC's fault, it makes one
    /// call per VPC.
    async fn create_each(&self, spec: &FlowLogSpec, vpcs: &[VpcId]) -> Vec<(VpcId, AwsResult<FlowLogId>)> {
        if vpcs.is_empty() {
            return Vec::new();
        }
        let error = match self.create_call(spec, vpcs).await {
            Ok(results) => return results,
            Err(error) => error,
        };
        if vpcs.len() == 1 || !may_be_one_id(&error) {
            return vpcs.iter().map(|vpc| (vpc.clone(), Err(error.clone()))).collect();
        }
        let mut results = Vec::new();
        for vpc in vpcs {
            match self.create_call(spec, std::slice::from_ref(vpc)).await {
                Ok(result) => results.extend(result),
                Err(error) => results.push((vpc.clone(), Err(error))),
            }
        }
        results
    }

    async fn create_call(&self, spec: &FlowLogSpec, vpcs: &[VpcId]) -> AwsResult<Vec<(VpcId, AwsResult<FlowLogId>)>> {
        let settings = &self.enroller.ctx.settings;
        let new = NewFlowLogs {
            vpcs: vpcs.to_vec(),
            spec: spec.clone(),
            log_group: settings.log_group_name.clone(),
            tag: settings.ownership_tag.clone(),
        };
        self.enroller.ec2.create_flow_logs(&self.at, &new).await
    }
}

/// Whether AWS rejected a flow log because of its role: the role is missing, does not trust the service, or has not
/// propagated yet.
fn is_about_role(error: &AwsError) -> bool {
    error.disposition() == Disposition::RetryLater(Wait::RolePropagation)
}
