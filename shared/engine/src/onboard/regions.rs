//! One Region's shards: read, plan, write, read back.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::arn::Arn;
use enroller_core::error::{AwsError, Code};
use enroller_core::grants::{
    GrantInputs, GrantPlan, Placement, RegionGrants, RevocationGuard, ShardUsage, ShardWrite, plan_grants, verify,
};
use enroller_core::ids::{AccountId, Region};
use enroller_core::report::{Decision, Metric, Metrics, Outcome};

use super::{GrantReport, GrantWork, Membership};
use crate::engine::Engine;
use crate::ports::AwsResult;

/// How often a Region is planned again when what is read back is not what was written.
const MAX_ROUNDS: usize = 4;

/// What came of one Region.
pub(super) struct RegionSync {
    region: Region,
    placement: Option<Placement>,
    granted: BTreeSet<AccountId>,
    revoked: BTreeSet<AccountId>,
    withheld: BTreeSet<AccountId>,
    usage: Vec<ShardUsage>,
    writes: usize,
    conflicts: usize,
    decisions: Vec<Decision>,
    error: Option<(String, AwsError)>,
}

impl RegionSync {
    fn new(region: &Region) -> Self {
        Self {
            region: region.clone(),
            placement: None,
            granted: BTreeSet::new(),
            revoked: BTreeSet::new(),
            withheld: BTreeSet::new(),
            usage: Vec::new(),
            writes: 0,
            conflicts: 0,
            decisions: Vec::new(),
            error: None,
        }
    }

    pub(super) fn add_to(
        self,
        report: &mut GrantReport,
        placements: &mut BTreeMap<Region, Placement>,
        metrics: &mut Metrics,
    ) {
        #[expect(clippy::cast_precision_loss, reason = "numbers of accounts are far below 2^52")]
        for (metric, count) in
            [(Metric::RevocationsWithheld, self.withheld.len()), (Metric::PolicyConflicts, self.conflicts)]
        {
            if count > 0 {
                metrics.add(metric, count as f64);
            }
        }
        report.granted.extend(self.granted);
        report.revoked.extend(self.revoked);
        report.writes += self.writes;
        report.usage.insert(self.region.clone(), self.usage);
        report.decisions.extend(self.decisions);
        if let Some((resource, error)) = self.error {
            report.fail("sync-grants", &resource, error);
        }
        if let Some(placement) = self.placement {
            placements.insert(self.region, placement);
        }
    }

    fn say(&mut self, account: Option<AccountId>, action: &str, resource: &str, outcome: Outcome, cause: String) {
        let line = Decision::about(account, action, resource, outcome, cause);
        self.decisions.push(Decision { region: Some(self.region.clone()), ..line });
    }
}

impl Engine {
    pub(super) async fn sync_region(&self, region: &Region, members: &Membership, work: &GrantWork) -> RegionSync {
        let mut sync = RegionSync::new(region);
        if let Err(error) = self.sync_rounds(&mut sync, members, work).await {
            let resource = format!("destinations of {region}");
            sync.error = Some((resource, error));
        }
        self.forget_placements(region).await;
        sync
    }

    async fn sync_rounds(&self, sync: &mut RegionSync, members: &Membership, work: &GrantWork) -> AwsResult<()> {
        let region = sync.region.clone();
        let mut grants = self.region_grants(&region).await?;
        let departed = self.departed(&grants, members, work).await?;
        for _ in 0..MAX_ROUNDS {
            let plan = self.grant_plan(&grants, members, &departed, work)?;
            for write in &plan.writes {
                self.write(&region, write).await?;
                sync.writes += 1;
            }
            tell(sync, &plan);
            if plan.writes.is_empty() {
                sync.placement = Some(plan.placement);
                return Ok(());
            }
            grants = self.region_grants(&region).await?;
            let mismatch =
                plan.writes.iter().find_map(|write| Some((write, verify(write, grants.shard(&write.name)).err()?)));
            let Some((write, mismatch)) = mismatch else {
                sync.placement = Some(plan.placement);
                return Ok(());
            };
            sync.conflicts += 1;
            let cause = format!("what was read back is not what was written: {mismatch}");
            sync.say(None, "verify-grants", write.name.as_str(), Outcome::RetryLater, cause);
        }
        Err(AwsError::without_answer(
            "logs:PutDestinationPolicy",
            Code::OperationAborted,
            "somebody else keeps changing it",
        )
        .at(self.settings.central_account, &region))
    }

    async fn departed(
        &self,
        grants: &RegionGrants,
        members: &Membership,
        work: &GrantWork,
    ) -> AwsResult<BTreeSet<AccountId>> {
        let mut departed = members.departed.clone();
        // Only a sync has a fresh listing, so only it may become suspicious about accounts nobody named.
        if work.sync {
            let placement = grants.placement(self.settings.granted_organization());
            let unlisted = placement.named().keys().filter(|id| !members.listed.contains(id)).copied();
            departed.extend(self.confirm_departed(unlisted.collect()).await?);
        }
        Ok(departed)
    }

    fn grant_plan(
        &self,
        grants: &RegionGrants,
        members: &Membership,
        departed: &BTreeSet<AccountId>,
        work: &GrantWork,
    ) -> AwsResult<GrantPlan> {
        let (target, role) = self.destination_parts()?;
        Ok(plan_grants(&GrantInputs {
            observed: grants,
            organization: self.settings.granted_organization(),
            wanted: &members.wanted,
            departed,
            target,
            role,
            guard: RevocationGuard {
                max_share_percent: self.settings.revocation_limit_percent,
                overridden: work.allow_mass_revocation,
            },
            consolidate: false,
        }))
    }

    /// The stream and role behind every destination; only the onboarder needs these settings.
    fn destination_parts(&self) -> AwsResult<(&Arn, &Arn)> {
        match (&self.settings.destination_target_arn, &self.settings.destination_role_arn) {
            (Some(target), Some(role)) => Ok((target, role)),
            (None, _) | (_, None) => Err(AwsError::without_answer(
                "logs:PutDestination",
                Code::InvalidParameter,
                "destination_target_arn and destination_role_arn are not set",
            )),
        }
    }

    async fn write(&self, region: &Region, write: &ShardWrite) -> AwsResult<()> {
        let destinations = &self.aws.destinations;
        if write.create || write.repoint {
            destinations.put_destination(region, &write.name, &write.target, &write.role).await?;
        }
        match &write.policy {
            Some(policy) => destinations.put_policy(region, &write.name, policy, write.force).await,
            None => Ok(()),
        }
    }
}

/// Writes down what a plan did and what it left.
fn tell(sync: &mut RegionSync, plan: &GrantPlan) {
    for write in &plan.writes {
        let name = write.name.as_str();
        if write.create {
            sync.say(None, "create-destination", name, Outcome::Done, "accounts need a shard with room".to_owned());
        }
        if write.repoint {
            sync.say(None, "repoint-destination", name, Outcome::Done, "its target or role differed".to_owned());
        }
        for account in &write.added {
            sync.say(Some(*account), "grant", name, Outcome::Done, "a member without a grant".to_owned());
        }
        for account in &write.removed {
            let cause = "Organizations says that it is closed or no member".to_owned();
            sync.say(Some(*account), "revoke", name, Outcome::Done, cause);
        }
    }
    for account in &plan.withheld {
        let cause = "more accounts would lose their grant at once than revocation_limit_percent allows".to_owned();
        sync.say(Some(*account), "revoke", "grants", Outcome::Failed, cause);
    }
    for problem in &plan.problems {
        sync.say(None, "plan-grants", "destinations", Outcome::Failed, chain(problem));
    }
    sync.granted.extend(&plan.granted);
    sync.revoked.extend(&plan.revoked);
    sync.withheld.clone_from(&plan.withheld);
    sync.usage.clone_from(&plan.usage);
}

/// An error with everything below it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
