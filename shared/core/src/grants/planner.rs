//! From the existing shards to the writes that make them correct.

use std::collections::{BTreeMap, BTreeSet};

use super::assignments::{PolicyAccounts, authorizes};
use super::{
    GrantInputs, GrantPlan, GrantProblem, PolicyState, Shard, ShardAssignments, ShardNaming, ShardUsage, ShardWrite,
};
use crate::arn::Arn;
use crate::ids::{AccountId, OrganizationId};
use crate::names::DestinationName;
use crate::policy::{DestinationPolicy, MAX_POLICY_BYTES};

/// Plans one Region: what to write so that every wanted account is granted on exactly one shard.
///
/// The first shard is created once there is an account for it, or once it should name the organization. A gap in the
/// numbers stays until a new shard is needed, which takes the lowest free number.
///
/// # Examples
///
/// ```
/// use std::collections::BTreeSet;
///
/// use enroller_core::grants::{GrantInputs, RegionGrants, RevocationGuard, ShardNaming, plan_grants};
/// use enroller_core::ids::AccountId;
///
/// // A Region without destinations, and two accounts to grant.
/// let naming = ShardNaming::new("VPCFlowLogsDestination".parse()?)?;
/// let observed = RegionGrants::new("eu-west-1".parse()?, "111122223333".parse()?, naming, []);
/// let wanted: BTreeSet<AccountId> = ["444455556666".parse()?, "777788889999".parse()?].into();
///
/// let plan = plan_grants(&GrantInputs {
///     observed: &observed,
///     organization: None,
///     wanted: &wanted,
///     departed: &BTreeSet::new(),
///     target: &"arn:aws:firehose:eu-west-1:111122223333:deliverystream/flow-logs".parse()?,
///     role: &"arn:aws:iam::111122223333:role/ToFirehose".parse()?,
///     guard: RevocationGuard::of_share(10),
///     consolidate: false,
/// });
/// assert_eq!(plan.writes.len(), 1);
/// assert!(plan.writes[0].create);
/// assert_eq!(plan.granted, wanted);
/// assert_eq!(plan.usage[0].accounts, 2);
/// assert!(plan.problems.is_empty());
/// # Ok::<(), enroller_core::ids::Invalid>(())
/// ```
pub fn plan_grants(inputs: &GrantInputs<'_>) -> GrantPlan {
    let mut planner = Planner::observe(inputs);
    planner.revoke();
    planner.consolidate();
    if let Some(organization) = inputs.organization {
        planner.name_organization(organization);
    }
    planner.leave_oversized_alone();
    if inputs.organization.is_none() {
        planner.assign();
    }
    planner.finish()
}

/// The desired state of a shard.
struct Draft<'a> {
    name: DestinationName,
    arn: Arn,
    before: Option<&'a Shard>,
    policy: DestinationPolicy,
    holdings: PolicyAccounts,
    organization: Option<OrganizationId>,
    writable: bool,
    /// Whether somebody else made it.
    foreign: bool,
}

impl<'a> Draft<'a> {
    fn of(shard: &'a Shard, arn: Arn) -> Self {
        let policy = match &shard.policy {
            PolicyState::Parsed(policy) => policy.clone(),
            PolicyState::Absent | PolicyState::Unreadable { .. } => DestinationPolicy::empty(),
        };
        Self {
            name: shard.name.clone(),
            holdings: PolicyAccounts::of(shard, &arn),
            arn,
            before: Some(shard),
            organization: policy.organization().cloned(),
            writable: !matches!(shard.policy, PolicyState::Unreadable { .. }),
            policy,
            foreign: false,
        }
    }

    fn new(name: DestinationName, arn: Arn) -> Self {
        let (policy, holdings) = (DestinationPolicy::empty(), PolicyAccounts::default());
        Self { name, arn, before: None, policy, holdings, organization: None, writable: true, foreign: false }
    }

    fn planned(&self) -> DestinationPolicy {
        self.policy.with_accounts(self.holdings.listed.clone()).with_organization(self.organization.clone())
    }

    /// How many more accounts can be listed. It is 0 where filters need a role, because those of listed accounts have
    /// none.
    fn room(&self, organization_mode: bool) -> usize {
        if !self.writable || organization_mode || self.policy.demands_filter_roles(&self.arn) {
            return 0;
        }
        self.policy.capacity(&self.arn).saturating_sub(self.holdings.listed.len())
    }

    /// The policy to put, if the stored one differs from it.
    fn to_put(&self) -> Option<DestinationPolicy> {
        let planned = self.planned();
        let stored = self.before.is_some_and(|shard| matches!(shard.policy, PolicyState::Parsed(_)));
        // A destination without a policy authorizes no account, so that a policy with no account need not be put.
        let needs_document = stored || !planned.accounts().is_empty() || planned.organization().is_some();
        (self.writable && needs_document && planned.needs_put(&self.arn)).then_some(planned)
    }

    /// Leaves a destination of somebody else as it is. Whoever its policy names is not granted by it.
    fn give_up(&mut self) {
        self.writable = false;
        self.foreign = true;
        self.holdings = PolicyAccounts::default();
    }

    /// Resets the draft to the stored state, because the desired one cannot be put.
    fn leave_alone(&mut self) {
        self.writable = false;
        self.holdings.listed.clone_from(self.policy.accounts());
        self.organization = self.policy.organization().cloned();
    }
}

struct Planner<'a> {
    inputs: &'a GrantInputs<'a>,
    drafts: BTreeMap<u32, Draft<'a>>,
    plan: GrantPlan,
}

impl<'a> Planner<'a> {
    fn observe(inputs: &'a GrantInputs<'a>) -> Self {
        let observed = inputs.observed;
        let mut plan = GrantPlan::default();
        let mut drafts = BTreeMap::new();
        for (index, shard) in observed.shards() {
            if let PolicyState::Unreadable { error, .. } = &shard.policy {
                let (shard, error) = (shard.name.clone(), error.clone());
                plan.problems.push(GrantProblem::UnreadablePolicy { shard, error });
            }
            let mut draft = Draft::of(shard, observed.arn_of(&shard.name));
            if let Some(problem) = GrantProblem::foreign(shard, inputs.target, inputs.role) {
                draft.give_up();
                plan.problems.push(problem);
            }
            drafts.insert(*index, draft);
        }
        Self { inputs, drafts, plan }
    }

    fn revoke(&mut self) {
        let GrantInputs { wanted, departed, guard, .. } = *self.inputs;
        let gone: BTreeSet<AccountId> = departed.difference(wanted).copied().collect();
        let present: BTreeSet<_> = self.drafts.values().flat_map(|draft| &draft.holdings.listed).copied().collect();
        let revocable: BTreeSet<_> = present.intersection(&gone).copied().collect();
        if guard.lets_through(revocable.len(), present.len()) {
            for draft in self.drafts.values_mut() {
                draft.holdings.listed.retain(|account| !revocable.contains(account));
            }
            self.plan.revoked = revocable;
        } else {
            self.plan.withheld = revocable;
        }
        for draft in self.drafts.values() {
            for account in draft.holdings.by_others.intersection(&gone) {
                let (account, shard) = (*account, draft.name.clone());
                self.plan.problems.push(GrantProblem::DepartedNamedByOthers { account, shard });
            }
        }
    }

    fn consolidate(&mut self) {
        let mut seen = BTreeSet::new();
        let mut on_several_shards = BTreeSet::new();
        for draft in self.drafts.values_mut() {
            let again: BTreeSet<_> = draft.holdings.listed.intersection(&seen).copied().collect();
            seen.extend(&draft.holdings.listed);
            if self.inputs.consolidate {
                draft.holdings.listed.retain(|account| !again.contains(account));
            }
            on_several_shards.extend(again);
        }
        self.plan.on_several_shards = on_several_shards;
    }

    /// Authorizes the organization on the first shard. Wanted accounts are its members and need no longer be listed
    /// there. A listed account that is not wanted stays, because nothing shows that it is a member.
    fn name_organization(&mut self, organization: &OrganizationId) {
        let observed = self.inputs.observed;
        let first = self.drafts.entry(ShardNaming::FIRST).or_insert_with(|| {
            let name = observed.naming().base().clone();
            let arn = observed.arn_of(&name);
            Draft::new(name, arn)
        });
        if !first.writable {
            return;
        }
        if let Some(found) = first.policy.organization().filter(|found| *found != organization)
            && !self.inputs.guard.overridden
        {
            let (shard, found) = (first.name.clone(), found.clone());
            self.plan.problems.push(GrantProblem::OtherOrganization { shard, found });
            first.leave_alone();
            return;
        }
        first.organization = Some(organization.clone());
        first.holdings.listed.retain(|account| !self.inputs.wanted.contains(account));
    }

    fn leave_oversized_alone(&mut self) {
        for draft in self.drafts.values_mut() {
            let Some(policy) = draft.to_put() else { continue };
            let bytes = policy.bytes(&draft.arn);
            if bytes > MAX_POLICY_BYTES {
                self.plan.problems.push(GrantProblem::PolicyTooLong { shard: draft.name.clone(), bytes });
                draft.leave_alone();
            }
        }
    }

    /// Assigns every wanted account without a shard to the first shard with room, or to a new one.
    fn assign(&mut self) {
        let demanding = |draft: &&Draft<'_>| !draft.foreign && draft.policy.demands_filter_roles(&draft.arn);
        for draft in self.drafts.values().filter(demanding) {
            self.plan.problems.push(GrantProblem::DemandsFilterRoles { shard: draft.name.clone() });
        }
        let assigned = self.assignments();
        let unassigned = self.inputs.wanted.iter().filter(|account| assigned.get(account).is_none());
        let mut room: BTreeMap<u32, usize> =
            self.drafts.iter().map(|(index, draft)| (*index, draft.room(false))).collect();
        for account in unassigned {
            let index = match room.iter().find(|(_, room)| **room > 0) {
                Some((index, _)) => *index,
                None => self.add_shard(),
            };
            let Some(draft) = self.drafts.get_mut(&index) else { continue };
            draft.holdings.listed.insert(*account);
            room.insert(index, draft.room(false));
        }
    }

    /// Adds a shard with the lowest free number. A new shard always has room for hundreds of accounts: a name of 512
    /// characters takes at most half of a document.
    fn add_shard(&mut self) -> u32 {
        let mut index = ShardNaming::FIRST;
        while self.drafts.contains_key(&index) {
            index += 1;
        }
        let name = self.inputs.observed.naming().name_of(index);
        let arn = self.inputs.observed.arn_of(&name);
        self.drafts.insert(index, Draft::new(name, arn));
        index
    }

    fn assignments(&self) -> ShardAssignments {
        let holdings = self.drafts.values().map(|draft| (&draft.name, &draft.holdings));
        ShardAssignments::collect(holdings, self.organization_shard())
    }

    fn organization_shard(&self) -> Option<DestinationName> {
        let organization = self.inputs.organization?;
        let first = self.drafts.get(&ShardNaming::FIRST)?;
        let named = first.organization.as_ref() == Some(organization);
        if first.foreign {
            return None;
        }
        let authorized = || first.before.is_some_and(|before| authorizes(before, organization, &first.arn));
        (named || authorized()).then(|| first.name.clone())
    }

    fn finish(mut self) -> GrantPlan {
        let before = self.inputs.observed.assignments(self.inputs.organization);
        let after = self.assignments().doubted(self.inputs.observed);
        let newly = |account: &&AccountId| before.get(account).is_none() && after.get(account).is_some();
        self.plan.granted = self.inputs.wanted.iter().filter(newly).copied().collect();
        let still_listed: BTreeSet<_> = self.drafts.values().flat_map(|draft| &draft.holdings.listed).collect();
        self.plan.revoked.retain(|account| !still_listed.contains(account));
        self.report_denied(&after);
        self.plan.assignments = after;
        self.plan.writes = self.drafts.values().filter_map(|draft| self.write(draft)).collect();
        self.plan.usage = self.drafts.values().map(|draft| self.usage(draft)).collect();
        self.plan
    }

    /// Reports wanted accounts that a statement of others denies on their shard. The statement is not ours to change,
    /// and another shard would only go round what somebody wanted.
    fn report_denied(&mut self, assignments: &ShardAssignments) {
        let denying = self.drafts.values().filter(|draft| draft.policy.foreign_statements() > 0);
        for draft in denying {
            let here = self.inputs.wanted.iter().filter(|account| assignments.get(account) == Some(&draft.name));
            for account in here.filter(|account| draft.policy.denies(**account, &draft.arn)) {
                let (account, shard) = (*account, draft.name.clone());
                self.plan.problems.push(GrantProblem::DeniedByOthers { account, shard });
            }
        }
    }

    fn write(&self, draft: &Draft<'_>) -> Option<ShardWrite> {
        let GrantInputs { target, role, .. } = *self.inputs;
        let policy = draft.to_put();
        let create = draft.before.is_none();
        let aims_elsewhere = draft.before.is_some_and(|shard| shard.target != *target || shard.role != *role);
        // Where the policy could not be parsed, nothing is changed, not even target and role.
        let repoint = draft.writable && aims_elsewhere;
        if policy.is_none() && !create && !repoint {
            return None;
        }
        let (old, new) = (draft.policy.accounts(), &draft.holdings.listed);
        let replaces = draft.before.is_some_and(|shard| matches!(shard.policy, PolicyState::Parsed(_)));
        let force = replaces
            && policy.as_ref().is_some_and(|policy| policy.demands_filter_roles(&draft.arn))
            && !draft.policy.demands_filter_roles(&draft.arn);
        Some(ShardWrite {
            name: draft.name.clone(),
            arn: draft.arn.clone(),
            target: target.clone(),
            role: role.clone(),
            create,
            repoint,
            before: draft.before.map(|shard| (shard.target.clone(), shard.role.clone())),
            policy,
            force,
            added: new.difference(old).copied().collect(),
            removed: old.difference(new).copied().collect(),
        })
    }

    fn usage(&self, draft: &Draft<'_>) -> ShardUsage {
        let bytes = match draft.before.map(|shard| &shard.policy) {
            Some(PolicyState::Unreadable { text, .. }) => text.len(),
            Some(PolicyState::Absent) if draft.to_put().is_none() => 0,
            Some(PolicyState::Absent | PolicyState::Parsed(_)) | None => draft.planned().bytes(&draft.arn),
        };
        let unreadable = draft.before.and_then(|shard| match &shard.policy {
            PolicyState::Unreadable { error, .. } => Some(error.clone()),
            PolicyState::Absent | PolicyState::Parsed(_) => None,
        });
        ShardUsage {
            organization: draft.organization.clone(),
            unreadable,
            name: draft.name.clone(),
            accounts: draft.holdings.listed.len(),
            bytes,
            free_bytes: MAX_POLICY_BYTES.saturating_sub(bytes),
            room: draft.room(self.inputs.organization.is_some()),
        }
    }
}

#[cfg(test)]
mod tests;
