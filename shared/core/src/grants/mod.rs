//! Grants: which account may subscribe to which destination of a Region.
//!
//! A policy holds some 326 accounts, so a Region may need several destinations, its *shards*, all with the same
//! target and role. The policies themselves are the record of who is where. [`plan_grants`] says what to write,
//! [`verify`] whether it arrived, [`RegionGrants::placement`] to which destination an account's filter belongs.
//!
//! # Guarantees
//!
//! - ShardAssignments is stable: an account stays on the shard that lists it. A new one goes to the first shard with room.
//! - No document exceeds [`MAX_POLICY_BYTES`](crate::policy::MAX_POLICY_BYTES), and statements of others stay.
//! - An account is removed only on evidence that it departed, never because it is not wanted, and never more than
//!   the [`RevocationGuard`] lets through at once.
//! - Planning on the result of a plan writes nothing, but for revocations that were withheld and that the grants
//!   added since make a smaller share.
//!
//! # Organization mode
//!
//! The first shard's policy names the organization instead of accounts. Accounts listed on other shards stay listed
//! there, because their filters point there; all others, present and future, belong to the first shard. The way back
//! is not planned: as long as a policy names an organization, no account is listed on that shard, new ones go to
//! others, and a problem is reported until somebody takes the statement out.
//!
//! # Caveats
//!
//! A shard whose policy cannot be read is not written. An account whose id occurs anywhere in its text is taken to be
//! granted there and is not placed a second time: its filter would be moved, and moved back when the policy is mended.
//! An account that the text does not contain is certainly not granted by it, and is placed on another shard.

use std::collections::BTreeSet;

use crate::arn::Arn;
use crate::ids::{AccountId, OrganizationId};
use crate::names::DestinationName;
use crate::policy::{DestinationPolicy, PolicyError};

mod assignments;
mod bisection;
mod planner;
mod shards;
mod verify;

pub use assignments::ShardAssignments;
pub use bisection::PrincipalBisection;
pub use planner::plan_grants;
pub use shards::{RegionGrants, ShardNaming};
pub use verify::{Mismatch, verify};

/// A destination of ours, as DescribeDestinations shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shard {
    /// Its name.
    pub name: DestinationName,
    /// The stream it delivers to.
    pub target: Arn,
    /// The role CloudWatch Logs writes to the stream with.
    pub role: Arn,
    /// Its access policy.
    pub policy: PolicyState,
}

/// What is known of a destination's access policy.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicyState {
    /// None was put yet: nobody may subscribe.
    Absent,
    /// Read and understood.
    Parsed(DestinationPolicy),
    /// In force at AWS, but not understood here. Must not be replaced.
    Unreadable {
        /// The policy as AWS gave it.
        text: String,
        /// What is wrong with it.
        error: PolicyError,
    },
}

impl PolicyState {
    /// Reads what DescribeDestinations gave as `accessPolicy`.
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

/// Everything the planner looks at in one Region.
#[derive(Debug, Clone)]
pub struct GrantInputs<'a> {
    /// The destinations that are there.
    pub observed: &'a RegionGrants,
    /// Organization mode: the organization that the first shard's policy names. `None`: accounts are listed.
    ///
    /// Set it only once every filter that points at the first shard has a role, or these filters stop delivering.
    pub organization: Option<&'a OrganizationId>,
    /// The accounts that are to be granted.
    pub wanted: &'a BTreeSet<AccountId>,
    /// The accounts known, on evidence, to have been closed or to have left. One that is also wanted is kept.
    pub departed: &'a BTreeSet<AccountId>,
    /// What every shard delivers to.
    pub target: &'a Arn,
    /// The role every shard delivers with.
    pub role: &'a Arn,
    /// How many revocations pass.
    pub guard: RevocationGuard,
    /// Whether an account listed on several shards is taken off all but the first. Its filter may still point at
    /// one of the others and would then lose records, so do this only when an earlier run reported the account in
    /// [`GrantPlan::on_several_shards`] and its filter was put again since: in the sweep, not on an event.
    pub consolidate: bool,
}

/// Stops a run that would take the grants of suspiciously many accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationGuard {
    /// How many of all grants of a Region one run may remove, in percent, rounded down; one is always allowed.
    pub max_share_percent: u8,
    /// A person said that it is meant.
    pub overridden: bool,
}

impl RevocationGuard {
    /// Whether `revocations` of `present` grants may be removed.
    pub fn lets_through(self, revocations: usize, present: usize) -> bool {
        self.overridden || revocations <= (present * usize::from(self.max_share_percent) / 100).max(1)
    }
}

/// What to write in one Region, and what holds afterwards.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GrantPlan {
    /// The writes, first shard first. They do not depend on each other.
    pub writes: Vec<ShardWrite>,
    /// Where each account's filter belongs after the writes.
    pub assignments: ShardAssignments,
    /// Wanted accounts that were granted nowhere and are now.
    pub granted: BTreeSet<AccountId>,
    /// Departed accounts that are taken off.
    pub revoked: BTreeSet<AccountId>,
    /// Departed accounts that the guard keeps on.
    pub withheld: BTreeSet<AccountId>,
    /// Accounts found on several shards: their filters have to be put again, to the shard of [`Self::assignments`].
    pub on_several_shards: BTreeSet<AccountId>,
    /// What needs a person.
    pub problems: Vec<GrantProblem>,
    /// How full each shard is after the writes.
    pub usage: Vec<ShardUsage>,
}

impl GrantPlan {
    /// Whether carrying out `write` stays within this plan, which a person has seen. Part of a write is within it: what
    /// somebody else wrote since need not be written.
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

/// One destination to write: PutDestination where `create` or `repoint` is set, then PutDestinationPolicy where
/// `policy` is.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardWrite {
    /// Its name.
    pub name: DestinationName,
    /// Its ARN.
    pub arn: Arn,
    /// What it is to deliver to.
    pub target: Arn,
    /// The role it is to deliver with.
    pub role: Arn,
    /// It does not exist yet.
    pub create: bool,
    /// It exists with another target or role. The name is ours in the central account, so this is mended.
    pub repoint: bool,
    /// The policy to put. It is rendered where it is sent.
    pub policy: Option<DestinationPolicy>,
    /// Put the policy with `forceUpdate`, which AWS demands for the change from accounts to an organization.
    pub force: bool,
    /// Accounts listed that were not.
    pub added: BTreeSet<AccountId>,
    /// Accounts no longer listed.
    pub removed: BTreeSet<AccountId>,
}

impl ShardWrite {
    /// The policy as it is sent: one compact line.
    pub fn document(&self) -> Option<String> {
        self.policy.as_ref().map(|policy| policy.render(&self.arn))
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
pub struct ShardUsage {
    /// Its name.
    pub name: DestinationName,
    /// How many accounts our statement lists.
    pub accounts: usize,
    /// Bytes of the compact document, which is what a put is measured by; of the stored one where it is unreadable.
    pub bytes: usize,
    /// Bytes left of [`MAX_POLICY_BYTES`](crate::policy::MAX_POLICY_BYTES).
    pub free_bytes: usize,
    /// How many accounts more could be listed; 0 where none may be added.
    pub room: usize,
}

/// Something about a Region's grants that the planner will not settle by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantProblem {
    /// The policy is in force but cannot be read; the shard is not written.
    #[error("{shard} is left alone: its policy cannot be read; mend it by hand")]
    UnreadablePolicy {
        /// The shard.
        shard: DestinationName,
        /// What is wrong.
        #[source]
        error: PolicyError,
    },
    /// The document that should be put is longer than AWS takes; the shard is not written.
    #[error("{shard} is left alone: its policy would have {bytes} bytes; shorten the statements that are not ours")]
    PolicyTooLong {
        /// The shard.
        shard: DestinationName,
        /// The length the document would have.
        bytes: usize,
    },
    /// A departed account is named by a statement that is not ours.
    #[error("account {account} departed, but a statement on {shard} that is not ours still names it; remove it there")]
    DepartedNamedByOthers {
        /// The account.
        account: AccountId,
        /// The shard.
        shard: DestinationName,
    },
    /// Accounts are to be listed, but this policy names an organization, so that every filter on it needs a role.
    #[error("no account is added to {shard}: its policy names an organization; filters on it need a role")]
    DemandsFilterRoles {
        /// The shard.
        shard: DestinationName,
    },
    /// Our statement names another organization than the settings; replacing it would cut that one off.
    #[error("{shard} is left alone: it names organization {found}; if that is outdated, allow the mass revocation")]
    OtherOrganization {
        /// The shard.
        shard: DestinationName,
        /// The organization its policy names.
        found: OrganizationId,
    },
}
