//! Writing a Region's shards and verifying them by reading them back.

use std::collections::BTreeSet;

use enroller_core::error::{AwsError, Code};
use enroller_core::grants::{GrantPlan, Mismatch, PrincipalBisection, RegionGrants, ShardWrite, verify};
use enroller_core::ids::AccountId;
use enroller_core::log::Outcome;
use enroller_core::names::DestinationName;
use enroller_core::settings::GrantMode;

use super::regions::RegionSync;
use super::{GrantSync, Granter, GranterError, Membership, WriterPermit, accounts};
use crate::ports::AwsResult;

/// How often a Region is written at most, when the policies read back differ from those written.
const MAX_ROUNDS: usize = 4;

/// How long the writing of a Region may take, in milliseconds. A Region that does not answer would otherwise use up the
/// time of the whole sync, which then counts as cut off and comes back as often as the queue allows.
const WRITING_MS: u64 = 120_000;

/// The pauses before a shard that is still as it was before the write is read again, in milliseconds. Together they
/// last eight seconds. After that it counts as overwritten: another principal may have put back what was there.
const LATE_PAUSES_MS: [u64; 5] = [250, 500, 1_250, 2_000, 4_000];

impl Granter {
    /// Applies a Region's plan until the destinations read back agree with it.
    pub(super) async fn write_region(&self, sync: &mut RegionSync, members: &Membership, work: &GrantSync) {
        let deadline_ms = self.context().clock.now_ms().saturating_add(WRITING_MS);
        // What was written by then is in `sync`.
        let ended = self.context().within(deadline_ms, self.write_rounds(sync, members, work)).await;
        if let Some(Err(error)) = ended {
            sync.error = Some(error);
        } else if ended.is_none() {
            let message = format!("not done within {} seconds", WRITING_MS / 1_000);
            let error = AwsError::unanswered("logs:PutDestinationPolicy", message);
            sync.error = Some(error.at(self.context().settings.central_account, &sync.region).into());
        }
    }

    async fn write_rounds(
        &self,
        sync: &mut RegionSync,
        members: &Membership,
        work: &GrantSync,
    ) -> Result<(), GranterError> {
        // Announcing accounts, perhaps thousands, took time since the plan was made. AWS has no conditional put, so a
        // change that another principal made meanwhile would be overwritten without notice.
        if self.outbox.is_some() && sync.plan.as_ref().is_some_and(|plan| !plan.writes.is_empty()) {
            sync.grants = Some(self.planner.assignments.region_grants(&sync.region).await?);
            self.planner.plan_for(sync, members, work);
        }
        for _ in 0..MAX_ROUNDS {
            if !self.grants_only_announced(sync, members, work) {
                return Ok(());
            }
            let Some(plan) = sync.plan.clone() else { return Ok(()) };
            if plan.writes.is_empty() {
                return Ok(());
            }
            // All or none: what is written in a round is read back in the same round.
            if !plan.writes.iter().all(|write| approved(sync, work, write)) {
                return Ok(());
            }
            sync.puts.clear();
            let mut written = Vec::new();
            let mut refusal = None;
            for write in &plan.writes {
                let (write, refused) = self.write(sync, write).await?;
                record_write(sync, &plan, &write);
                written.push(write);
                refusal = refusal.or(refused);
            }
            let before = sync.grants.replace(self.planner.assignments.region_grants(&sync.region).await?);
            let Some((name, mismatch)) = self.await_writes(sync, &written, before.as_ref()).await? else {
                // A refused account is granted later: the enroller asks for its grant again.
                return refusal.map_or(Ok(()), |refusal| Err(refusal.into()));
            };
            sync.conflicts += 1;
            let cause = format!("the destination read back differs from what was written: {mismatch}");
            sync.record(None, "verify-grants", name.as_str(), Outcome::RetryLater, &cause);
            self.planner.plan_for(sync, members, work);
            sync.forget_undone();
        }
        let account = self.context().settings.central_account;
        Err(GranterError::Contended { account, region: sync.region.clone() })
    }

    /// Reads the shards again until they are as written, or until one shows that another principal has written it.
    /// Returns how that one differs. DescribeDestinations may lag behind a write (UNVERIFIED), so a shard that is as it
    /// was before the write gets a few seconds.
    async fn await_writes(
        &self,
        sync: &mut RegionSync,
        written: &[ShardWrite],
        before: Option<&RegionGrants>,
    ) -> AwsResult<Option<(DestinationName, Mismatch)>> {
        let mut pauses = LATE_PAUSES_MS.iter();
        loop {
            let Some(now) = &sync.grants else { return Ok(None) };
            let differs = |write: &ShardWrite| Some((write.name.clone(), verify(write, now.shard(&write.name)).err()?));
            let is_late = |name: &DestinationName| {
                let found = now.shard(name);
                let earlier = |put: &&ShardWrite| put.name == *name && verify(put, found).is_ok();
                before.is_some_and(|before| before.shard(name) == found) || sync.puts.iter().any(|put| earlier(&put))
            };
            let differing: Vec<_> = written.iter().filter_map(differs).collect();
            let overwritten = differing.iter().find(|(name, _)| !is_late(name));
            let Some(first) = overwritten.or(differing.first()) else { return Ok(None) };
            let pause_ms = match (overwritten, pauses.next()) {
                (None, Some(pause_ms)) => *pause_ms,
                (Some(_), _) | (None, None) => return Ok(Some(first.clone())),
            };
            let clock = &self.context().clock;
            clock.sleep_until(clock.now_ms().saturating_add(pause_ms)).await;
            sync.grants = Some(self.planner.assignments.region_grants(&sync.region).await?);
        }
    }

    /// Leaves accounts out of the plan for which no enrollment request was queued: a granted account that nobody
    /// enrolls would stay without flow logs, and no message would tell. Returns whether the rest may be written. A policy
    /// that names the organization cannot leave anybody out.
    fn grants_only_announced(&self, sync: &mut RegionSync, members: &Membership, work: &GrantSync) -> bool {
        let (Some(plan), Some(_)) = (&sync.plan, &self.outbox) else { return true };
        let unannounced = self.announced.unannounced(&plan.granted);
        if unannounced.is_empty() {
            return true;
        }
        let cause =
            format!("no enrollment could be requested for {}, so no grant is written", accounts(unannounced.len()));
        sync.record(None, "grant", "destinations", Outcome::RetryLater, &cause);
        if self.context().settings.grant_mode == GrantMode::Organization {
            return false;
        }
        sync.unannounced.extend(unannounced);
        self.planner.plan_for(sync, members, work);
        true
    }

    /// Writes a shard. Returns what was written in the end, and the refusal if AWS rejected some of the accounts.
    async fn write(&self, sync: &mut RegionSync, write: &ShardWrite) -> AwsResult<(ShardWrite, Option<AwsError>)> {
        if write.create || write.repoint {
            let (name, target, role) = (&write.name, &write.target, &write.role);
            self.writer.put_destination(&WriterPermit::new(), &sync.region, name, target, role).await?;
        }
        match self.put(sync, write).await {
            Ok(()) => Ok((write.clone(), None)),
            Err(error) if error.code == Code::InvalidParameter && !write.added.is_empty() => {
                self.write_without_refused(sync, write, error).await
            }
            Err(error) => Err(error),
        }
    }

    async fn put(&self, sync: &mut RegionSync, write: &ShardWrite) -> AwsResult<()> {
        if let Some(policy) = write.document() {
            let permit = WriterPermit::new();
            self.writer.put_policy(&permit, &sync.region, &write.name, &policy, write.force).await?;
        }
        sync.writes += 1;
        sync.puts.push(write.clone());
        Ok(())
    }

    /// Grants all accounts except those for which AWS rejects the policy, and logs these. If AWS also rejects the
    /// policy without any new account, the accounts are not the cause, and that error is returned.
    async fn write_without_refused(
        &self,
        sync: &mut RegionSync,
        write: &ShardWrite,
        refusal: AwsError,
    ) -> AwsResult<(ShardWrite, Option<AwsError>)> {
        self.put(sync, &write.adding_only(&BTreeSet::new())).await?;
        let mut bisection = PrincipalBisection::new(&write.added);
        let mut failure = None;
        while let Some(candidate) = bisection.candidate() {
            match self.put(sync, &write.adding_only(&candidate)).await {
                Ok(()) => bisection.accept(),
                Err(error) if error.code == Code::InvalidParameter => bisection.refuse(),
                Err(error) => {
                    // What was accepted so far is in force, and has to be reported like any other grant.
                    failure = Some(error);
                    break;
                }
            }
        }
        for account in bisection.refused() {
            let cause = format!("AWS rejects any policy that lists this account: {}", refusal.message);
            let next = "no action yet: a new account may not be known everywhere in AWS. If this persists, find out \
                what is wrong with the account, or exclude it";
            sync.warn(Some(*account), "grant", &cause, next);
        }
        sync.refused.extend(bisection.refused());
        Ok((write.adding_only(bisection.accepted()), Some(failure.unwrap_or(refusal))))
    }
}

/// Whether a write is within the plan that a person approved. Logs it if not.
fn approved(sync: &mut RegionSync, work: &GrantSync, write: &ShardWrite) -> bool {
    let Some(approved) = &work.approved else { return true };
    let within = approved.get(&sync.region).is_some_and(|plan| plan.includes(write));
    if !within {
        let cause = format!("the grants changed after the plan was shown: {} was not written", write.name);
        sync.warn(None, "sync-grants", &cause, "run the command again to see the current plan");
    }
    within
}

/// Whether a write grants an account: it lists it, or names the organization on the account's shard.
fn grants(plan: &GrantPlan, write: &ShardWrite, account: &AccountId) -> bool {
    let names_organization = write.policy.as_ref().is_some_and(|policy| policy.organization().is_some());
    let listed_elsewhere = || plan.assignments.is_listed(account);
    write.added.contains(account)
        || (names_organization && !listed_elsewhere() && plan.assignments.get(account) == Some(&write.name))
}

/// Records a write to one shard. This is done right after the write, so that a later failure cannot hide it.
fn record_write(sync: &mut RegionSync, plan: &GrantPlan, write: &ShardWrite) {
    let name = write.name.as_str();
    if write.create {
        sync.record(None, "create-destination", name, Outcome::Done, "accounts need a shard with room");
    }
    if let Some(change) = write.repointing() {
        let cause = format!("it is the enroller's, and was aimed elsewhere: {change}");
        sync.record(None, "repoint-destination", name, Outcome::Done, &cause);
    }
    if write.force {
        sync.record(None, "switch-to-organization", name, Outcome::Done, "the policy now names the organization");
    }
    for account in &write.added {
        sync.record(Some(*account), "grant", name, Outcome::Done, "the member account had no grant");
    }
    for account in &write.removed {
        let departed = plan.revoked.contains(account);
        let cause = match departed {
            true => "Organizations reports the account as closed or not a member",
            false => "another statement or shard authorizes the account",
        };
        sync.record(Some(*account), if departed { "revoke" } else { "move-grant" }, name, Outcome::Done, cause);
    }
    sync.granted.extend(plan.granted.iter().filter(|account| grants(plan, write, account)));
    sync.revoked.extend(plan.revoked.intersection(&write.removed));
}
