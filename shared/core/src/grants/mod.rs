//! Grants: which account may subscribe to which destination of a Region.
//!
//! A policy has room for some 326 accounts, so a Region may need several destinations, its *shards*, all with the same
//! target and role. The policies themselves record which account is on which shard. [`plan_grants`] plans what to
//! write, [`verify`] checks that it arrived, and [`RegionGrants::assignments`] gives the destination of each account's
//! filter.
//!
//! # Guarantees
//!
//! - Assignments are stable: an account stays on the shard that lists it. A new one goes to the first shard with room.
//! - No document exceeds [`MAX_POLICY_BYTES`](crate::policy::MAX_POLICY_BYTES), and unmanaged statements are kept.
//! - An account is removed only on evidence that it departed, never merely because it is not wanted, and never more at
//!   once than the [`RevocationGuard`] allows.
//! - Planning again after a plan was applied writes nothing. The only exception is revocations that were held back: the
//!   grants added in between may make them a share that the guard allows.
//!
//! # Organization mode
//!
//! The first shard's policy names the organization instead of accounts. Accounts listed on other shards stay listed
//! there, because their filters point there. All others, present and future, belong to the first shard. The way back
//! is not planned: as long as a policy names an organization, no account is listed on that shard, new ones go to
//! other shards, and a problem is reported until an operator removes the statement.
//!
//! # Caveats
//!
//! A shard whose policy cannot be parsed is not written. An account whose id occurs anywhere in its text counts as
//! granted there and is not assigned again: its filter would be moved, and moved back once the policy is fixed. An
//! account that the text does not contain is certainly not granted by it, and is assigned to another shard.

use std::collections::BTreeSet;

use crate::arn::Arn;
use crate::ids::{AccountId, OrganizationId};
use crate::names::DestinationName;
use crate::policy::{DestinationPolicy, PolicyError};

mod assignments;
mod bisection;
mod planner;
mod shards;
mod summary;
mod verify;

pub use assignments::{GrantDoubt, ShardAssignments};
pub use bisection::PrincipalBisection;
pub use planner::plan_grants;
pub use shards::{RegionGrants, ShardNaming};
pub use summary::ShardSummary;
pub use verify::{Mismatch, verify};

/// What every destination delivers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationParts {
    /// ARN of the stream.
    pub target: Arn,
    /// ARN of the role that CloudWatch Logs writes to it with.
    pub role: Arn,
}

/// A destination that is one of the Region's shards, as DescribeDestinations returns it.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "`name` and `policy` are described by their types")]
pub struct Shard {
    pub name: DestinationName,
    /// The stream it delivers to.
    pub target: Arn,
    /// The role CloudWatch Logs writes to the stream with.
    pub role: Arn,
    pub policy: PolicyState,
}

impl Shard {
    /// Whether somebody else made it under our name: it delivers elsewhere, and no statement of its policy is ours. One
    /// that delivers to the right stream with the right role may have been made by hand for us.
    pub fn is_foreign(&self, target: &Arn, role: &Arn) -> bool {
        let has_our_statement = match &self.policy {
            PolicyState::Absent => false,
            PolicyState::Parsed(policy) => policy.has_managed_statement(),
            // It is not changed anyway.
            PolicyState::Unreadable { .. } => true,
        };
        !has_our_statement && (&self.target, &self.role) != (target, role)
    }
}

/// The state of a destination's access policy.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicyState {
    /// The destination has no policy yet, so no account may subscribe.
    Absent,
    /// It is in force, and nothing is lost when it is written back.
    Parsed(DestinationPolicy),
    /// It is in force at AWS but could not be parsed. It must not be replaced.
    Unreadable {
        /// The policy as AWS returned it.
        text: String,
        /// Why it could not be parsed.
        error: PolicyError,
    },
}

impl PolicyState {
    /// Parses `accessPolicy` of DescribeDestinations.
    pub fn read(access_policy: Option<&str>) -> Self {
        match access_policy {
            None | Some("") => Self::Absent,
            Some(text) => match DestinationPolicy::parse(text) {
                Ok(policy) => Self::Parsed(policy),
                Err(error) => Self::Unreadable { text: text.to_owned(), error },
            },
        }
    }
}

/// The planner's inputs for one Region.
#[derive(Debug, Clone)]
pub struct GrantInputs<'a> {
    /// The Region's shards, as last read.
    pub observed: &'a RegionGrants,
    /// In organization mode, the organization that the first shard's policy should name. `None` lists accounts.
    ///
    /// Set it only once every filter that points at the first shard has a role. Filters without one stop delivering.
    pub organization: Option<&'a OrganizationId>,
    /// The accounts to grant.
    pub wanted: &'a BTreeSet<AccountId>,
    /// The accounts that, on evidence, were closed or left the organization. An account that is also wanted is kept.
    pub departed: &'a BTreeSet<AccountId>,
    /// The stream that every shard should deliver to.
    pub target: &'a Arn,
    /// The role that every shard should deliver with.
    pub role: &'a Arn,
    /// Limits the number of revocations.
    pub guard: RevocationGuard,
    /// Whether an account listed on several shards is removed from all but the first. Its filter may still point at
    /// one of the others and would then lose records. So do this only when an earlier run reported the account in
    /// [`GrantPlan::on_several_shards`] and its filter was put again since: in the sweep, not on an event.
    pub consolidate: bool,
}

/// Stops a run that would remove the grants of suspiciously many accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationGuard {
    /// The largest share of a Region's grants that may be removed in a day, in percent. The number of grants is rounded
    /// down, and one is always allowed, unless the share is 0.
    pub max_share_percent: u8,
    /// How many were removed in the last day already, as far as that is remembered.
    pub recent: usize,
    /// How many more may turn out to have departed, because they could not be asked about yet. They count as removals,
    /// so that a mass revocation does not pass in instalments.
    pub undecided: usize,
    /// Whether an operator has allowed the run to remove more.
    pub overridden: bool,
}

impl RevocationGuard {
    /// A guard that remembers no removals.
    pub const fn of_share(max_share_percent: u8) -> Self {
        Self { max_share_percent, recent: 0, undecided: 0, overridden: false }
    }

    /// Whether `revocations` of `present` grants may be removed.
    pub fn lets_through(self, revocations: usize, present: usize) -> bool {
        let at_most = (present + self.recent) * usize::from(self.max_share_percent) / 100;
        let at_most = if self.max_share_percent == 0 { 0 } else { at_most.max(1) };
        self.overridden || revocations == 0 || self.recent + revocations + self.undecided <= at_most
    }
}

/// What to write in one Region, and the state afterwards.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GrantPlan {
    /// The writes, in the order of the shards' numbers. They do not depend on each other.
    pub writes: Vec<ShardWrite>,
    /// The destination of each account's filter after the writes.
    pub assignments: ShardAssignments,
    /// Wanted accounts that are granted by these writes and were not before.
    pub granted: BTreeSet<AccountId>,
    /// Departed accounts whose grants these writes remove.
    pub revoked: BTreeSet<AccountId>,
    /// Departed accounts whose grants the guard keeps.
    pub withheld: BTreeSet<AccountId>,
    /// Accounts found on several shards. Their filters have to be put again, to the destination in
    /// [`Self::assignments`].
    pub on_several_shards: BTreeSet<AccountId>,
    /// What an operator has to resolve.
    pub problems: Vec<GrantProblem>,
    /// How full each shard is after the writes.
    pub usage: Vec<ShardUsage>,
}

impl GrantPlan {
    /// Whether applying `write` stays within this plan, which an operator has approved. Part of a write does: another
    /// principal may have written the rest since.
    pub fn includes(&self, write: &ShardWrite) -> bool {
        let within = |planned: &ShardWrite| {
            planned.name == write.name
                && planned.create >= write.create
                && planned.repoint >= write.repoint
                && planned.force >= write.force
                && (&planned.target, &planned.role) == (&write.target, &write.role)
                && write.added.is_subset(&planned.added)
                && write.removed.is_subset(&planned.removed)
        };
        self.writes.iter().any(within)
    }
}

/// A destination to write: with PutDestination if `create` or `repoint` is set, then with PutDestinationPolicy if
/// `policy` is.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "`name` is described by its type")]
pub struct ShardWrite {
    pub name: DestinationName,
    /// Its ARN, which the statements of its policy name as their resource.
    pub arn: Arn,
    /// The stream it should deliver to.
    pub target: Arn,
    /// The role it should deliver with.
    pub role: Arn,
    /// Whether it has to be created.
    pub create: bool,
    /// Whether it exists with another target or role. A statement of ours in its policy shows that it is ours, so this
    /// is repaired.
    pub repoint: bool,
    /// Its target and role before, if it exists.
    pub before: Option<(Arn, Arn)>,
    /// The policy to put. It is rendered where it is sent.
    pub policy: Option<DestinationPolicy>,
    /// Put the policy with `forceUpdate`, which AWS demands for the change from accounts to an organization.
    pub force: bool,
    /// Accounts that the policy lists and the stored one does not.
    pub added: BTreeSet<AccountId>,
    /// Accounts that the stored policy lists and this one does not.
    pub removed: BTreeSet<AccountId>,
}

impl ShardWrite {
    /// The policy as it is sent: one compact line.
    pub fn document(&self) -> Option<String> {
        self.policy.as_ref().map(|policy| policy.render(&self.arn))
    }

    /// How target and role change, if it is repointed.
    pub fn repointing(&self) -> Option<String> {
        let (target, role) = self.before.as_ref().filter(|_| self.repoint)?;
        let changes = [("target", target, &self.target), ("role", role, &self.role)];
        let changes = changes.iter().filter(|(_, from, to)| from != to);
        Some(changes.map(|(what, from, to)| format!("{what} from {from} to {to}")).collect::<Vec<_>>().join(", "))
    }

    /// The same write, adding only these accounts of those it adds.
    #[must_use]
    pub fn adding_only(&self, accounts: &BTreeSet<AccountId>) -> Self {
        let added: BTreeSet<AccountId> = self.added.intersection(accounts).copied().collect();
        let narrowed = |policy: &DestinationPolicy| {
            let listed = policy.accounts().iter().filter(|id| added.contains(id) || !self.added.contains(id));
            policy.with_accounts(listed.copied().collect())
        };
        Self { policy: self.policy.as_ref().map(narrowed), added, ..self.clone() }
    }
}

/// How full a shard is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`name` is described by its type")]
pub struct ShardUsage {
    pub name: DestinationName,
    /// The number of accounts in the managed statement.
    pub accounts: usize,
    /// Bytes of the compact document, which is what AWS measures in a put; or of the stored one where it is unreadable.
    pub bytes: usize,
    /// Bytes left of [`MAX_POLICY_BYTES`](crate::policy::MAX_POLICY_BYTES).
    pub free_bytes: usize,
    /// How many more accounts could be listed; 0 where none may be added.
    pub room: usize,
    /// The organization all of whose accounts may subscribe, if the managed statement names one.
    pub organization: Option<OrganizationId>,
    /// Why its policy cannot be read.
    pub unreadable: Option<PolicyError>,
}

/// A problem with a Region's grants that the planner does not resolve by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "`shard` and `account` are what each variant's description is about")]
pub enum GrantProblem {
    /// The policy is in force but cannot be parsed. The shard is not written.
    #[error("{shard} is not changed: its policy cannot be parsed; fix it by hand")]
    UnreadablePolicy {
        shard: DestinationName,
        /// Why it cannot be parsed.
        #[source]
        error: PolicyError,
    },
    /// Somebody else made the destination under our name. It is not written, and no filter is sent there.
    #[error(
        "{shard} is not changed, and no account is granted on it, because somebody else made it: no statement of its policy is the enroller's, and it delivers to {} with {} instead of {} with {}",
        .found.target, .found.role, .wanted.target, .wanted.role
    )]
    ForeignDestination {
        shard: DestinationName,
        /// Where it delivers to.
        found: Box<DestinationParts>,
        /// Where a destination of ours delivers to.
        wanted: Box<DestinationParts>,
    },
    /// The document to put is longer than AWS accepts. The shard is not written.
    #[error("{shard} is not changed: its policy would have {bytes} bytes; shorten its unmanaged statements")]
    PolicyTooLong {
        shard: DestinationName,
        /// The length the document would have.
        bytes: usize,
    },
    /// An unmanaged statement names a departed account.
    #[error("account {account} departed, but an unmanaged statement on {shard} still names it; remove it there")]
    DepartedNamedByOthers { account: AccountId, shard: DestinationName },
    /// An unmanaged statement denies a wanted account, whatever the managed statement says.
    #[error(
        "account {account} is wanted, but an unmanaged statement on {shard} denies it; remove it there, or exclude it"
    )]
    DeniedByOthers {
        /// The account.
        account: AccountId,
        /// The shard.
        shard: DestinationName,
    },
    /// Accounts should be listed, but this policy names an organization, so that every filter on it needs a role.
    #[error("no account is added to {shard}: its policy names an organization, so filters on it need a role")]
    DemandsFilterRoles { shard: DestinationName },
    /// The managed statement names another organization than the settings. Replacing it would cut that one off.
    #[error(
        "{shard} is not changed: its policy names organization {found}; if that is outdated, allow the mass revocation"
    )]
    OtherOrganization {
        shard: DestinationName,
        /// The organization its policy names.
        found: OrganizationId,
    },
}

impl GrantProblem {
    /// The problem with a destination that somebody else made under our name, if that is so; see [`Shard::is_foreign`].
    pub fn foreign(shard: &Shard, wanted_target: &Arn, wanted_role: &Arn) -> Option<Self> {
        let parts = |target: &Arn, role: &Arn| DestinationParts { target: target.clone(), role: role.clone() };
        shard.is_foreign(wanted_target, wanted_role).then(|| Self::ForeignDestination {
            shard: shard.name.clone(),
            found: Box::new(parts(&shard.target, &shard.role)),
            wanted: Box::new(parts(wanted_target, wanted_role)),
        })
    }

    /// What a person should do.
    pub fn next_step(&self) -> String {
        match self {
            Self::ForeignDestination { shard, wanted, .. } => format!(
                "set another destination_name, or delete that destination if nobody needs it. To have it taken over with the statements of its policy, point it here yourself: aws logs put-destination --destination-name {shard} --target-arn {} --role-arn {}",
                wanted.target, wanted.role
            ),
            Self::UnreadablePolicy { .. }
            | Self::PolicyTooLong { .. }
            | Self::DepartedNamedByOthers { .. }
            | Self::DeniedByOthers { .. }
            | Self::DemandsFilterRoles { .. } => {
                "put the policy right as the cause says (aws logs put-destination-policy); the next sweep does the rest"
                    .to_owned()
            }
            Self::OtherOrganization { .. } => {
                "if that organization is outdated, run enroller grants sync --allow-mass-revocation".to_owned()
            }
        }
    }
}
