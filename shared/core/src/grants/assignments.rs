//! To which shard an account's subscription filter belongs.

use std::collections::{BTreeMap, BTreeSet};

use super::{PolicyState, RegionGrants, Shard, ShardNaming};
use crate::arn::Arn;
use crate::ids::{AccountId, OrganizationId};
use crate::names::DestinationName;

/// Where each account's filter belongs in one Region.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShardAssignments {
    named: BTreeMap<AccountId, DestinationName>,
    /// Those of them that a statement of ours lists.
    listed: BTreeSet<AccountId>,
    everyone_else: Option<DestinationName>,
}

impl ShardAssignments {
    /// The destination for an account's filter; `None` where the account is not granted.
    pub fn get(&self, account: &AccountId) -> Option<&DestinationName> {
        self.named.get(account).or(self.everyone_else.as_ref())
    }

    /// The accounts that a policy names. In organization mode others are granted too.
    pub fn named(&self) -> &BTreeMap<AccountId, DestinationName> {
        &self.named
    }

    /// Whether a statement of ours lists the account, and not only one of others.
    pub fn is_listed(&self, account: &AccountId) -> bool {
        self.listed.contains(account)
    }

    /// Takes the lowest shard that lists an account in our statement, else the lowest on which others let it in, else
    /// the lowest unreadable one that mentions it.
    pub(super) fn collect<'a>(
        holdings: impl Iterator<Item = (&'a DestinationName, &'a PolicyAccounts)> + Clone,
        everyone_else: Option<DestinationName>,
    ) -> Self {
        let kinds: [fn(&PolicyAccounts) -> &BTreeSet<AccountId>; 3] =
            [|h| &h.listed, |h| &h.by_others, |h| &h.mentioned];
        let listed = holdings.clone().flat_map(|(_, holdings)| &holdings.listed).copied().collect();
        let mut named = BTreeMap::new();
        for kind in kinds {
            for (name, holdings) in holdings.clone() {
                for account in kind(holdings) {
                    named.entry(*account).or_insert_with(|| name.clone());
                }
            }
        }
        Self { named, listed, everyone_else }
    }
}

impl RegionGrants {
    /// Where filters belong as things stand. `organization` is given in organization mode only.
    pub fn assignments(&self, organization: Option<&OrganizationId>) -> ShardAssignments {
        let holdings: Vec<_> = self
            .shards()
            .values()
            .map(|shard| (&shard.name, PolicyAccounts::of(shard, &self.arn_of(&shard.name))))
            .collect();
        let first = self.shards().get(&ShardNaming::FIRST);
        let everyone_else = first.filter(|first| {
            organization.is_some_and(|organization| lets_in(first, organization, &self.arn_of(&first.name)))
        });
        let everyone_else = everyone_else.map(|first| first.name.clone());
        ShardAssignments::collect(holdings.iter().map(|(name, holdings)| (*name, holdings)), everyone_else)
    }
}

/// Whether a shard lets the whole organization in, or probably does.
pub(super) fn lets_in(shard: &Shard, organization: &OrganizationId, arn: &Arn) -> bool {
    match &shard.policy {
        PolicyState::Absent => false,
        PolicyState::Parsed(policy) => policy.allows_organization(organization, arn),
        PolicyState::Unreadable { text, .. } => text.contains(organization.as_str()),
    }
}

/// The accounts that have something to do with a shard.
#[derive(Debug, Clone, Default)]
pub(super) struct PolicyAccounts {
    /// Listed in our statement.
    pub(super) listed: BTreeSet<AccountId>,
    /// Let in by statements of others.
    pub(super) by_others: BTreeSet<AccountId>,
    /// Occurring in a policy that cannot be read.
    pub(super) mentioned: BTreeSet<AccountId>,
}

impl PolicyAccounts {
    pub(super) fn of(shard: &Shard, arn: &Arn) -> Self {
        match &shard.policy {
            PolicyState::Absent => Self::default(),
            PolicyState::Parsed(policy) => Self {
                listed: policy.accounts().clone(),
                by_others: policy.accounts_of_others(arn),
                mentioned: BTreeSet::new(),
            },
            PolicyState::Unreadable { text, .. } => {
                // The central account stands in every policy, in the ARN of the resource.
                let text = text.replace(&arn.to_string(), "");
                let numbers = text.split(|c: char| !c.is_ascii_digit());
                let mentioned = numbers.filter_map(|number| number.parse().ok()).collect();
                Self { mentioned, ..Self::default() }
            }
        }
    }
}
