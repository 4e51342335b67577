//! Dry runs: what a backfill would do, as counts.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::backfill::BackfillRequest;
use enroller_core::ids::{AccountId, AccountRegion, Region};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::names::DestinationName;
use enroller_core::plan::{Plan, VpcPlan};
use futures::stream::{StreamExt, iter};
use serde::Serialize;

use super::{Backfill, BackfillError, BackfillReport};
use crate::coverage::AccountSnapshot;
use crate::granter::{GrantPreview, GrantSync};
use crate::reconcile_error::ReconcileError;

/// The most failures that are listed one by one, because a response of Lambda has at most 6 MB. The others are counted.
const MAX_LISTED: usize = 2_000;

/// The changes that a backfill would make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DryRun {
    /// Accounts that were inspected, successfully or not.
    pub accounts_looked_at: usize,
    /// Accounts that were not inspected because time ran out. The other fields do not include them.
    pub accounts_not_looked_at: usize,
    /// Changes in member accounts, by [label](enroller_core::plan::Action::label).
    pub actions: BTreeMap<&'static str, usize>,
    /// VPCs, by what would happen to them.
    pub vpcs: VpcCounts,
    /// Changes of grants. They cover the whole organization and all enrolled Regions, whatever is selected, because
    /// every backfill requests a sync of all grants.
    pub grants: GrantCounts,
    /// The accounts, or Regions of them, that could not be planned.
    pub not_planned: Vec<NotPlanned>,
    /// How many more entries of `not_planned` are not listed.
    pub not_planned_unlisted: usize,
}

/// Numbers of VPCs, by what would happen to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct VpcCounts {
    /// VPCs that would get a flow log.
    pub enroll: usize,
    /// VPCs whose flow log would be replaced.
    pub replace: usize,
    /// VPCs whose flow log is correct.
    pub covered: usize,
    /// VPCs on which an unmanaged flow log delivers the same.
    pub covered_by_others: usize,
    /// VPCs whose flow log is correct, but fails to deliver according to AWS.
    pub broken: usize,
    /// VPCs that are excluded on purpose.
    pub left_alone: usize,
    /// VPCs whose account-Region blocks enrollment, see [`DryRun::not_planned`].
    pub blocked: usize,
}

/// Numbers of changes of grants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GrantCounts {
    /// Accounts that would be granted in at least one Region.
    pub granted: usize,
    /// Accounts whose grant would be removed in at least one Region.
    pub revoked: usize,
    /// Accounts whose grant the revocation guard would keep from being removed.
    pub withheld: usize,
    /// Policies and destinations that would be written.
    pub writes: usize,
    /// The sizes of the policies after the changes.
    pub policies: Vec<PolicySize>,
    /// Log entries about what a person has to decide or fix.
    pub decisions: Vec<LogEntry>,
}

/// How full a destination's policy would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicySize {
    /// The Region of the destination.
    pub region: Region,
    /// The name of the destination.
    pub destination: DestinationName,
    /// Accounts that the policy would list.
    pub accounts: usize,
    /// Bytes of the policy, at most 5,120.
    pub bytes: usize,
}

/// An account, or Regions of it, for which nothing could be planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotPlanned {
    /// The account.
    pub account: AccountId,
    /// The Regions to which the cause applies.
    pub regions: BTreeSet<Region>,
    /// The outcome; `skipped` is not a failure.
    pub outcome: Outcome,
    /// Why it could not be planned.
    pub cause: String,
    /// Request id of the AWS call that failed, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What a person should do next, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

impl Backfill {
    pub(super) async fn dry_run(
        &self,
        request: &BackfillRequest,
        run_id: &str,
        deadline_ms: u64,
    ) -> Result<BackfillReport, BackfillError> {
        let work = GrantSync { sync: true, ..GrantSync::default() };
        let preview = self.ctx.within(deadline_ms, self.planner.preview(&work)).await;
        let mut preview =
            preview.ok_or(BackfillError::OutOfTime("listing the organization and reading the grants"))??;
        let selection = request.select(&self.ctx.settings, std::mem::take(&mut preview.accounts));
        let (accounts, regions) = (selection.chosen.len(), request.regions(&self.ctx.settings));
        let mut plan = DryRun { grants: GrantCounts::of(&preview), ..DryRun::default() };
        let inspections = iter(selection.chosen).map(async |account| {
            let granted_on = preview.granted_on(account.id);
            self.ctx.within(deadline_ms, self.inspector.inspect(&account, regions, &granted_on)).await
        });
        let mut inspections = std::pin::pin!(inspections.buffer_unordered(self.ctx.settings.max_concurrency));
        while let Some(snapshot) = inspections.next().await {
            match snapshot {
                Some(snapshot) => plan.add(snapshot),
                None => plan.accounts_not_looked_at += 1,
            }
        }
        plan.finish();
        Ok(BackfillReport {
            run_id: run_id.to_owned(),
            dry_run: true,
            accounts,
            account_regions: accounts * regions.len(),
            accounts_remaining: 0,
            continues_after: None,
            left_out: selection.left_out,
            notes: selection.notes,
            plan: Some(plan),
        })
    }
}

impl DryRun {
    fn add(&mut self, account: AccountSnapshot) {
        self.accounts_looked_at += 1;
        let mut not_planned: Vec<NotPlanned> = Vec::new();
        for snapshot in account.account_regions {
            let error = match snapshot.found {
                Err(error) => Some(error),
                Ok((_, plan)) => {
                    self.count(&plan);
                    plan.blocked.map(ReconcileError::Blocked)
                }
            };
            if let Some(error) = error {
                merge(&mut not_planned, &snapshot.at, &error);
            }
        }
        self.not_planned.extend(not_planned);
    }

    fn count(&mut self, plan: &Plan) {
        for step in &plan.steps {
            *self.actions.entry(step.action.label()).or_default() += 1;
        }
        let blocked = plan.blocked.is_some();
        for vpc in plan.vpcs.values() {
            let counts = &mut self.vpcs;
            *match vpc {
                VpcPlan::Enroll { .. } | VpcPlan::Replace { .. } if blocked => &mut counts.blocked,
                VpcPlan::Enroll { .. } => &mut counts.enroll,
                VpcPlan::Replace { .. } => &mut counts.replace,
                VpcPlan::Covered(_) => &mut counts.covered,
                VpcPlan::CoveredByOthers(_) => &mut counts.covered_by_others,
                VpcPlan::Broken { .. } | VpcPlan::NotAsAsked { .. } => &mut counts.broken,
                VpcPlan::OutOfScope(_) => &mut counts.left_alone,
            } += 1;
        }
    }

    fn finish(&mut self) {
        self.not_planned.sort_by(|one, other| (one.account, &one.regions).cmp(&(other.account, &other.regions)));
        self.not_planned_unlisted = self.not_planned.len().saturating_sub(MAX_LISTED);
        self.not_planned.truncate(MAX_LISTED);
    }
}

/// Adds an error, merged with an earlier one that has the same cause. A missing role, for example, is missing in all
/// Regions and becomes one entry.
fn merge(lines: &mut Vec<NotPlanned>, at: &AccountRegion, error: &ReconcileError) {
    let line = error.entry(at, "plan", at.to_string());
    match lines.iter_mut().find(|known| known.cause == line.cause) {
        Some(known) => {
            known.regions.insert(at.region.clone());
        }
        None => lines.push(NotPlanned {
            account: at.account,
            regions: BTreeSet::from([at.region.clone()]),
            outcome: line.outcome,
            cause: line.cause,
            request_id: line.request_id,
            next_step: line.next_step,
        }),
    }
}

impl GrantCounts {
    fn of(preview: &GrantPreview) -> Self {
        let mut counts = Self { decisions: preview.decisions.clone(), ..Self::default() };
        let [mut granted, mut revoked, mut withheld] = [const { BTreeSet::<AccountId>::new() }; 3];
        for (region, plan) in &preview.regions {
            match plan {
                Ok(plan) => {
                    granted.extend(&plan.granted);
                    revoked.extend(&plan.revoked);
                    withheld.extend(&plan.withheld);
                    counts.writes += plan.writes.len();
                    let size = |shard: &enroller_core::grants::ShardUsage| PolicySize {
                        region: region.clone(),
                        destination: shard.name.clone(),
                        accounts: shard.accounts,
                        bytes: shard.bytes,
                    };
                    counts.policies.extend(plan.usage.iter().map(size));
                }
                Err(error) => {
                    let resource = format!("destinations of {region}");
                    let entry = error.entry("plan-grants", &resource);
                    counts.decisions.push(LogEntry { region: Some(region.clone()), ..entry });
                }
            }
        }
        (counts.granted, counts.revoked, counts.withheld) = (granted.len(), revoked.len(), withheld.len());
        counts
    }
}
