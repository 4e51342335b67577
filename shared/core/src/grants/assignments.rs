//! The shard that an account's subscription filter belongs to.

use std::collections::{BTreeMap, BTreeSet};

use super::{PolicyState, RegionGrants, Shard, ShardNaming};
use crate::arn::Arn;
use crate::ids::{AccountId, OrganizationId};
use crate::names::DestinationName;

/// Why an account that a shard is assigned to is not known to be authorized there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantDoubt {
    /// An unmanaged statement denies it, whatever the managed one says.
    #[error("an unmanaged statement on destination {0} denies the account")]
    DeniedByOthers(DestinationName),
    /// The policy cannot be read.
    #[error("the access policy of destination {0} cannot be read, so that nobody knows whom it authorizes")]
    Unreadable(DestinationName),
    /// Somebody changed our statement, its action or its resource.
    #[error("somebody edited our statement on destination {0}, which may authorize nobody as it is")]
    Edited(DestinationName),
    /// It delivers to another stream, or with another role.
    #[error("destination {0} delivers to another stream than ours, or with another role")]
    AimedElsewhere(DestinationName),
}

impl GrantDoubt {
    /// What a person should do. No run of ours changes a statement of others.
    pub const fn next_step(&self) -> &'static str {
        match self {
            Self::DeniedByOthers(_) => {
                "remove the account from that statement, or exclude the account (excluded_accounts); enroller grants shows the statement's account"
            }
            Self::Unreadable(_) => {
                "enroller grants shows what is wrong with the policy: correct it by hand, then run enroller grants sync"
            }
            Self::Edited(_) | Self::AimedElsewhere(_) => {
                "run enroller backfill, or enroller grants sync: both put the destination right"
            }
        }
    }

    /// Whether a backfill resolves it.
    pub const fn is_repairable(&self) -> bool {
        match self {
            Self::DeniedByOthers(_) | Self::Unreadable(_) => false,
            Self::Edited(_) | Self::AimedElsewhere(_) => true,
        }
    }
}

/// The destination of each account's filter in one Region.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShardAssignments {
    named: BTreeMap<AccountId, DestinationName>,
    /// The accounts that a managed statement lists.
    listed: BTreeSet<AccountId>,
    organization_shard: Option<DestinationName>,
    doubts: BTreeMap<AccountId, GrantDoubt>,
}

impl ShardAssignments {
    /// The destination for an account's filter; `None` where the account is not granted.
    pub fn get(&self, account: &AccountId) -> Option<&DestinationName> {
        self.named.get(account).or(self.organization_shard.as_ref())
    }

    /// Why the account is not known to be authorized on its shard, if so. Its filter stays there all the same: on
    /// another shard it would only go round what somebody wanted.
    pub fn doubt(&self, account: &AccountId) -> Option<&GrantDoubt> {
        self.doubts.get(account)
    }

    /// The accounts that a policy names. In organization mode other accounts are granted, too.
    pub fn named(&self) -> &BTreeMap<AccountId, DestinationName> {
        &self.named
    }

    /// The assignments without these accounts. If one of them is only assigned with the whole organization, then that
    /// assignment goes, too.
    #[must_use]
    pub fn without(mut self, accounts: &BTreeSet<AccountId>) -> Self {
        if accounts.iter().any(|account| !self.named.contains_key(account)) {
            self.organization_shard = None;
        }
        self.named.retain(|account, _| !accounts.contains(account));
        self.listed.retain(|account| !accounts.contains(account));
        self
    }

    /// Whether a managed statement lists the account, and not only an unmanaged one.
    pub fn is_listed(&self, account: &AccountId) -> bool {
        self.listed.contains(account)
    }

    /// Assigns an account to the lowest shard that lists it in the managed statement, else to the lowest on which an
    /// unmanaged statement authorizes it, else to the lowest unreadable one that mentions it.
    pub(super) fn collect<'a>(
        holdings: impl Iterator<Item = (&'a DestinationName, &'a PolicyAccounts)> + Clone,
        organization_shard: Option<DestinationName>,
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
        Self { named, listed, organization_shard, doubts: BTreeMap::new() }
    }

    /// With the doubts that the policies as they are leave about these assignments.
    pub(super) fn doubted(mut self, grants: &RegionGrants) -> Self {
        for shard in grants.shards().values() {
            let name = &shard.name;
            let here = self.named.iter().filter(|(_, assigned)| *assigned == name).map(|(account, _)| *account);
            if grants.aims_elsewhere(shard) {
                self.doubts.extend(here.clone().map(|account| (account, GrantDoubt::AimedElsewhere(name.clone()))));
            }
            match &shard.policy {
                PolicyState::Absent => {}
                PolicyState::Unreadable { .. } => {
                    self.doubts.extend(here.map(|account| (account, GrantDoubt::Unreadable(name.clone()))));
                }
                PolicyState::Parsed(policy) => {
                    let by_organization = self.organization_shard.as_ref() == Some(name);
                    let mut here: BTreeSet<AccountId> = here.collect();
                    if by_organization {
                        let unnamed = policy.accounts_denied_by_name();
                        here.extend(unnamed.into_iter().filter(|account| !self.named.contains_key(account)));
                    }
                    let arn = grants.arn_of(name);
                    if policy.needs_put(&arn) {
                        let edited = here.iter().filter(|account| self.listed.contains(*account));
                        self.doubts.extend(edited.map(|account| (*account, GrantDoubt::Edited(name.clone()))));
                    }
                    let denied = here.into_iter().filter(|account| policy.denies(*account, &arn));
                    self.doubts.extend(denied.map(|account| (account, GrantDoubt::DeniedByOthers(name.clone()))));
                }
            }
        }
        self
    }
}

impl RegionGrants {
    /// The destinations that are certainly ours: their policies have our statement.
    pub fn own_destinations(&self) -> BTreeSet<DestinationName> {
        let is_ours = |shard: &&Shard| match &shard.policy {
            PolicyState::Parsed(policy) => policy.has_managed_statement(),
            PolicyState::Absent | PolicyState::Unreadable { .. } => false,
        };
        self.shards().values().filter(is_ours).map(|shard| shard.name.clone()).collect()
    }

    /// The assignments by the policies as they are. Pass `organization` in organization mode only. Nobody is assigned to
    /// a [foreign](Shard::is_foreign) destination, because the records would go somewhere else.
    pub fn assignments(&self, organization: Option<&OrganizationId>) -> ShardAssignments {
        let is_ours = |shard: &&Shard| !self.is_foreign(shard);
        let holdings: Vec<_> = self
            .shards()
            .values()
            .filter(is_ours)
            .map(|shard| (&shard.name, PolicyAccounts::of(shard, &self.arn_of(&shard.name))))
            .collect();
        let first = self.shards().get(&ShardNaming::FIRST).filter(is_ours);
        let organization_shard = first.filter(|first| {
            organization.is_some_and(|organization| authorizes(first, organization, &self.arn_of(&first.name)))
        });
        let organization_shard = organization_shard.map(|first| first.name.clone());
        let assigned =
            ShardAssignments::collect(holdings.iter().map(|(name, holdings)| (*name, holdings)), organization_shard);
        assigned.doubted(self)
    }
}

/// Whether a shard's policy authorizes the whole organization, or probably does because it is unreadable.
pub(super) fn authorizes(shard: &Shard, organization: &OrganizationId, arn: &Arn) -> bool {
    match &shard.policy {
        PolicyState::Absent => false,
        PolicyState::Parsed(policy) => policy.allows_organization(organization, arn),
        PolicyState::Unreadable { text, .. } => text.contains(organization.as_str()),
    }
}

/// The accounts in a shard's policy.
#[derive(Debug, Clone, Default)]
pub(super) struct PolicyAccounts {
    /// Listed in the managed statement.
    pub(super) listed: BTreeSet<AccountId>,
    /// Authorized by unmanaged statements.
    pub(super) by_others: BTreeSet<AccountId>,
    /// Occurring in a policy that cannot be parsed.
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
                // Every policy contains the central account, in the resource's ARN.
                let text = text.replace(&arn.to_string(), "");
                let numbers = text.split(|c: char| !c.is_ascii_digit());
                let mentioned = numbers.filter_map(|number| number.parse().ok()).collect();
                Self { mentioned, ..Self::default() }
            }
        }
    }
}
