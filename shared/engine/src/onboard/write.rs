//! Writing a Region's shards and reading them back.

use enroller_core::error::{AwsError, Code};
use enroller_core::grants::{GrantPlan, ShardWrite, verify};
use enroller_core::ids::Region;
use enroller_core::report::Outcome;

use super::regions::RegionSync;
use super::{GrantWork, Membership};
use crate::engine::Engine;
use crate::ports::AwsResult;

/// How often a Region is planned again when what is read back is not what was written.
const MAX_ROUNDS: usize = 4;

impl Engine {
    /// Carries out a Region's plan until what is read back agrees with it.
    pub(super) async fn write_region(
        &self,
        mut sync: RegionSync,
        members: &Membership,
        work: &GrantWork,
    ) -> RegionSync {
        if let Err(error) = self.write_rounds(&mut sync, members, work).await {
            sync.error = Some(error);
        }
        if sync.writes > 0 {
            self.forget_placements(&sync.region).await;
        }
        sync
    }

    async fn write_rounds(&self, sync: &mut RegionSync, members: &Membership, work: &GrantWork) -> AwsResult<()> {
        // Accounts were handed over since the plan was made, thousands perhaps. AWS has no conditional put, so what
        // somebody else wrote meanwhile would be taken back without anybody noticing.
        if !work.without_requests && sync.plan.as_ref().is_some_and(|plan| !plan.writes.is_empty()) {
            let grants = self.region_grants(&sync.region).await?;
            self.plan_for(sync, &grants, members, work)?;
        }
        for _ in 0..MAX_ROUNDS {
            let Some(plan) = sync.plan.clone() else { return Ok(()) };
            if plan.writes.is_empty() {
                return Ok(());
            }
            for write in &plan.writes {
                self.write(&sync.region, write).await?;
                sync.writes += 1;
                tell(sync, &plan, write);
            }
            let grants = self.region_grants(&sync.region).await?;
            let differs = |write: &ShardWrite| verify(write, grants.shard(&write.name)).err();
            let Some((write, mismatch)) = plan.writes.iter().find_map(|write| Some((write, differs(write)?))) else {
                return Ok(());
            };
            sync.conflicts += 1;
            let cause = format!("what was read back is not what was written: {mismatch}");
            sync.say(None, "verify-grants", write.name.as_str(), Outcome::RetryLater, &cause);
            self.plan_for(sync, &grants, members, work)?;
        }
        let message = "somebody else keeps changing the policy";
        let error = AwsError::without_answer("logs:PutDestinationPolicy", Code::OperationAborted, message);
        Err(error.at(self.settings.central_account, &sync.region))
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

/// Writes down what was written to one shard, as soon as it is: a later failure must not hide it.
fn tell(sync: &mut RegionSync, plan: &GrantPlan, write: &ShardWrite) {
    let name = write.name.as_str();
    if write.create {
        sync.say(None, "create-destination", name, Outcome::Done, "accounts need a shard with room");
    }
    if write.repoint {
        sync.say(None, "repoint-destination", name, Outcome::Done, "its target or role differed");
    }
    if write.force {
        sync.say(None, "switch-to-organization", name, Outcome::Done, "the policy names the organization from now on");
    }
    for account in &write.added {
        sync.say(Some(*account), "grant", name, Outcome::Done, "a member without a grant");
    }
    for account in &write.removed {
        let departed = plan.revoked.contains(account);
        let cause = match departed {
            true => "Organizations says that it is closed or no member",
            false => "another statement or shard lets it in",
        };
        sync.say(Some(*account), if departed { "revoke" } else { "move-grant" }, name, Outcome::Done, cause);
    }
    sync.granted.extend(plan.granted.intersection(&write.added));
    sync.revoked.extend(plan.revoked.intersection(&write.removed));
}
