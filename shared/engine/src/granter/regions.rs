//! Reading and planning one Region's shards.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::error::{AwsError, inline_chain};
use enroller_core::grants::{
    GrantInputs, GrantPlan, PolicyState, RegionGrants, RevocationGuard, ShardNaming, ShardWrite, plan_grants,
};
use enroller_core::ids::{AccountId, OrganizationId, Region};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::{Metric, Metrics};
use enroller_core::settings::GrantMode;
use futures::future::join_all;

use super::{GrantPlanner, GrantReport, GrantSync, GranterError, Membership, accounts};

/// How long a sync waits for a Region's destinations, in milliseconds. All Regions wait for each other before any is
/// written, and the calls themselves would try for longer.
const READING_MS: u64 = 40_000;

/// The sync of one Region: its plan, then its result.
pub(super) struct RegionSync {
    pub(super) region: Region,
    /// The shards as last read, if they could be.
    pub(super) grants: Option<RegionGrants>,
    /// Accounts to grant for which no enrollment could be requested, so that they are not granted in this sync.
    pub(super) unannounced: BTreeSet<AccountId>,
    /// The current plan, if the Region could be read.
    pub(super) plan: Option<GrantPlan>,
    /// What was put in this round. A lagging answer may show any of these states.
    pub(super) puts: Vec<ShardWrite>,
    pub(super) granted: BTreeSet<AccountId>,
    pub(super) revoked: BTreeSet<AccountId>,
    /// Accounts that AWS rejects in any policy.
    pub(super) refused: BTreeSet<AccountId>,
    /// Writes of policies and destinations.
    pub(super) writes: usize,
    /// How often a policy read back differed from the one written.
    pub(super) conflicts: usize,
    pub(super) decisions: Vec<LogEntry>,
    pub(super) error: Option<GranterError>,
}

impl RegionSync {
    fn new(region: &Region) -> Self {
        Self {
            region: region.clone(),
            grants: None,
            unannounced: BTreeSet::new(),
            plan: None,
            puts: Vec::new(),
            granted: BTreeSet::new(),
            revoked: BTreeSet::new(),
            refused: BTreeSet::new(),
            writes: 0,
            conflicts: 0,
            decisions: Vec::new(),
            error: None,
        }
    }

    /// Accounts that should be granted and are not.
    pub(super) fn ungranted(&self) -> BTreeSet<AccountId> {
        let to_grant = self.plan.as_ref().map(|plan| &plan.granted);
        to_grant.into_iter().flatten().filter(|id| !self.granted.contains(id)).copied().collect()
    }

    /// Takes back what another principal has undone since it was written: it has to be done again.
    pub(super) fn forget_undone(&mut self) {
        if let Some(plan) = &self.plan {
            self.granted.retain(|account| !plan.granted.contains(account));
            self.revoked.retain(|account| !plan.revoked.contains(account));
        }
    }

    /// Adds the Region's result to the report.
    pub(super) fn add_to(self, report: &mut GrantReport, metrics: &mut Metrics) {
        let (withheld, problems) = self.plan.as_ref().map_or((0, 0), |it| (it.withheld.len(), it.problems.len()));
        // Only a person can fix these. That is the meaning of the class, and the alarm fires on it.
        let for_a_person = vec![("Class", "terminal".to_owned())];
        let counts = [
            (Metric::RevocationsWithheld, Vec::new(), withheld),
            (Metric::PolicyConflicts, Vec::new(), self.conflicts),
            (Metric::GrantsFailed, for_a_person, problems + self.refused.len()),
        ];
        #[expect(clippy::cast_precision_loss, reason = "numbers of accounts are far below 2^52")]
        for (metric, dimensions, count) in counts {
            if count > 0 {
                metrics.add_with(metric, dimensions, count as f64);
            }
        }
        let ungranted = self.ungranted();
        report.granted.extend(self.granted);
        report.revoked.extend(self.revoked);
        report.writes += self.writes;
        report.decisions.extend(self.decisions);
        if let Some(error) = self.error {
            report.fail("sync-grants", &format!("destinations of {}", self.region), error);
        }
        if let Some(plan) = self.plan {
            report.usage.insert(self.region.clone(), plan.usage);
            report.assignments.insert(self.region, plan.assignments.without(&ungranted));
        }
    }

    pub(super) fn record(
        &mut self,
        account: Option<AccountId>,
        action: &str,
        resource: &str,
        outcome: Outcome,
        cause: &str,
    ) {
        let line = LogEntry::about(account, action, resource, outcome, cause);
        self.decisions.push(LogEntry { region: Some(self.region.clone()), ..line });
    }

    /// Logs something that a person has to decide or fix.
    pub(super) fn warn(&mut self, account: Option<AccountId>, action: &str, cause: &str, next_step: &str) {
        let line = LogEntry::about(account, action, "destinations", Outcome::Failed, cause).next(next_step);
        self.decisions.push(LogEntry { region: Some(self.region.clone()), ..line });
    }
}

impl GrantPlanner {
    /// Reads the shards of every Region of the work.
    pub(super) async fn read_regions(&self, work: &GrantSync) -> Vec<RegionSync> {
        let regions = work.regions(&self.ctx.settings).iter();
        join_all(regions.map(|region| self.read_region(region))).await
    }

    async fn read_region(&self, region: &Region) -> RegionSync {
        let mut sync = RegionSync::new(region);
        let deadline_ms = self.ctx.clock.now_ms().saturating_add(READING_MS);
        match self.ctx.within(deadline_ms, self.assignments.region_grants(region)).await {
            Some(Ok(grants)) => sync.grants = Some(grants),
            Some(Err(error)) => sync.error = Some(error.into()),
            None => {
                let message = format!("no answer within {} seconds", READING_MS / 1_000);
                let error = AwsError::unanswered("logs:DescribeDestinations", message);
                sync.error = Some(error.at(self.ctx.settings.central_account, region).into());
            }
        }
        sync
    }

    /// Replaces the plan with one for the shards just read. What a person has to decide or fix is logged with the first
    /// plan only.
    pub(super) fn plan_for(&self, sync: &mut RegionSync, members: &Membership, work: &GrantSync) {
        let Some(grants) = sync.grants.clone() else { return };
        let organization = self.organization_to_grant(sync, &grants, work);
        let wanted: BTreeSet<AccountId> = members.wanted.difference(&sync.unannounced).copied().collect();
        let plan = plan_grants(&GrantInputs {
            observed: &grants,
            organization,
            wanted: &wanted,
            departed: &members.departed,
            target: &self.target,
            role: &self.role,
            guard: RevocationGuard {
                max_share_percent: self.ctx.settings.revocation_limit_percent,
                recent: self.revocations.recent(&sync.region, self.ctx.clock.now_ms()),
                undecided: grants.listed().intersection(&members.undecided).count(),
                overridden: work.allow_mass_revocation,
            },
            consolidate: false,
        });
        if sync.plan.is_none() {
            for account in &plan.withheld {
                let cause = "more accounts would lose their grant in a day than revocation_limit_percent allows";
                sync.warn(
                    Some(*account),
                    "revoke",
                    cause,
                    "if this is intended, run enroller grants sync --allow-mass-revocation",
                );
            }
            for problem in &plan.problems {
                sync.warn(None, "plan-grants", &inline_chain(problem), &problem.next_step());
            }
        }
        sync.plan = Some(plan);
    }

    /// The organization to name in the policies, in organization mode. A policy that lists accounts keeps listing them
    /// until a person allows the switch. Before that every filter must have its role, or it stops delivering.
    fn organization_to_grant<'a>(
        &'a self,
        sync: &mut RegionSync,
        grants: &RegionGrants,
        work: &GrantSync,
    ) -> Option<&'a OrganizationId> {
        let organization = match self.ctx.settings.grant_mode {
            GrantMode::AccountList => return None,
            GrantMode::Organization => &self.ctx.settings.organization_id,
        };
        let seen = work.filters_with_role.get(&sync.region).filter(|_| work.allow_mass_revocation);
        let mut unready = accounts_of_first(grants);
        unready.retain(|account| !seen.is_some_and(|seen| seen.contains(account)));
        if !unready.is_empty() {
            if sync.plan.is_none() {
                let some: Vec<String> = unready.iter().take(5).map(ToString::to_string).collect();
                let cause = format!(
                    "grant_mode is organization, but the policy still lists accounts, and a filter without a role \
                     would stop: one was not seen in {} ({}{})",
                    accounts(unready.len()),
                    some.join(", "),
                    if unready.len() > some.len() { ", …" } else { "" }
                );
                let next = "run a backfill, which gives every filter its role, then `enroller grants sync \
                    --allow-mass-revocation`, which looks at every filter first";
                sync.warn(None, "switch-to-organization", &cause, next);
            }
            return None;
        }
        Some(organization)
    }

    /// The accounts that the first shard's policies list though `grant_mode` is organization, by Region. Before the
    /// policies are switched, their filters must be seen to have a role. A Region that cannot be read is left out, and
    /// is not switched either.
    pub async fn accounts_before_switch(&self) -> BTreeMap<Region, BTreeSet<AccountId>> {
        if self.ctx.settings.grant_mode == GrantMode::AccountList {
            return BTreeMap::new();
        }
        let regions = self.read_regions(&GrantSync::default()).await;
        let listed = |sync: RegionSync| Some((sync.region, accounts_of_first(&sync.grants?)));
        regions.into_iter().filter_map(listed).filter(|(_, accounts)| !accounts.is_empty()).collect()
    }
}

/// The accounts that any statement of the first shard's policy lists, unless it demands roles of their filters already,
/// or somebody else made it.
fn accounts_of_first(grants: &RegionGrants) -> BTreeSet<AccountId> {
    let first = grants.shards().get(&ShardNaming::FIRST).filter(|first| !grants.is_foreign(first));
    let Some(first) = first else { return BTreeSet::new() };
    let arn = grants.arn_of(&first.name);
    match &first.policy {
        PolicyState::Parsed(policy) if !policy.demands_filter_roles(&arn) => {
            policy.accounts().union(&policy.accounts_of_others(&arn)).copied().collect()
        }
        PolicyState::Parsed(_) | PolicyState::Absent | PolicyState::Unreadable { .. } => BTreeSet::new(),
    }
}
