//! The names of a Region's shards, and the existing shards.

use std::collections::{BTreeMap, BTreeSet};

use super::{PolicyState, Shard};
use crate::arn::Arn;
use crate::ids::{AccountId, Invalid, Region};
use crate::names::DestinationName;

/// How shards are named: the first has the base name, the others have it with a number appended, from `-2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardNaming {
    base: DestinationName,
}

impl ShardNaming {
    /// The number of the first shard.
    pub const FIRST: u32 = 1;

    /// The longest base name, in characters: a destination's name has at most 512, and `-4294967295` must fit.
    const LONGEST_BASE: usize = 512 - 11;

    /// Names shards after `base`, which may have at most 501 characters.
    ///
    /// Two installations in one central account need base names of which neither is the other one plus a number.
    ///
    /// # Errors
    ///
    /// The base name is so long that a number cannot be appended.
    pub fn new(base: DestinationName) -> Result<Self, Invalid> {
        if base.as_str().chars().count() <= Self::LONGEST_BASE {
            Ok(Self { base })
        } else {
            Err(Invalid::new("a base name for destinations", base.as_str(), "at most 501 characters"))
        }
    }

    /// The name of the first shard, and the prefix to list destinations by.
    pub fn base(&self) -> &DestinationName {
        &self.base
    }

    /// The number of the shard with this name; `None` if it is not a shard's name. DescribeDestinations lists by prefix
    /// and returns other destinations, too.
    pub fn index_of(&self, name: &DestinationName) -> Option<u32> {
        let suffix = name.as_str().strip_prefix(self.base.as_str())?;
        if suffix.is_empty() {
            return Some(Self::FIRST);
        }
        let digits = suffix.strip_prefix('-')?;
        let index = digits.parse().ok()?;
        (index > Self::FIRST && u32::to_string(&index) == digits).then_some(index)
    }

    /// The name of a shard. Numbers below 2 give the base name.
    pub fn name_of(&self, index: u32) -> DestinationName {
        if index <= Self::FIRST {
            return self.base.clone();
        }
        #[expect(clippy::unwrap_used, reason = "a hyphen and digits are allowed, and `new` left room for them")]
        format!("{}-{index}", self.base).parse().unwrap()
    }
}

/// The shards of one Region.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionGrants {
    region: Region,
    central: AccountId,
    naming: ShardNaming,
    shards: BTreeMap<u32, Shard>,
    /// The target and role of the installation, if they are known.
    parts: Option<(Arn, Arn)>,
}

impl RegionGrants {
    /// Keeps those of the central account's destinations `found` that are shards by their name.
    pub fn new(
        region: Region,
        central: AccountId,
        naming: ShardNaming,
        found: impl IntoIterator<Item = Shard>,
    ) -> Self {
        let shards = found.into_iter().filter_map(|shard| Some((naming.index_of(&shard.name)?, shard))).collect();
        Self { region, central, naming, shards, parts: None }
    }

    /// With the stream that ours deliver to and the role they deliver with, by which those of others are recognised.
    #[must_use]
    pub fn delivering_to(self, target: &Arn, role: &Arn) -> Self {
        Self { parts: Some((target.clone(), role.clone())), ..self }
    }

    /// Whether somebody else made a shard; never if it is not known where ours deliver to.
    pub fn is_foreign(&self, shard: &Shard) -> bool {
        self.parts.as_ref().is_some_and(|(target, role)| shard.is_foreign(target, role))
    }

    /// Whether a shard of ours has another target or role than the settings; never if those are not known.
    pub fn aims_elsewhere(&self, shard: &Shard) -> bool {
        let differs = |(target, role): &(Arn, Arn)| (&shard.target, &shard.role) != (target, role);
        self.parts.as_ref().is_some_and(differs)
    }

    /// The Region whose shards these are.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// How shards are named.
    pub fn naming(&self) -> &ShardNaming {
        &self.naming
    }

    /// The existing shards, by number.
    pub fn shards(&self) -> &BTreeMap<u32, Shard> {
        &self.shards
    }

    /// The accounts that the managed statements of all shards list. Accounts that only unmanaged statements name may be
    /// partners that never were members.
    pub fn listed(&self) -> BTreeSet<AccountId> {
        let policies = self.shards.values().filter_map(|shard| match &shard.policy {
            PolicyState::Parsed(policy) => Some(policy.accounts()),
            PolicyState::Absent | PolicyState::Unreadable { .. } => None,
        });
        policies.flatten().copied().collect()
    }

    /// The existing shard of this name.
    pub fn shard(&self, name: &DestinationName) -> Option<&Shard> {
        self.shards.get(&self.naming.index_of(name)?)
    }

    /// The ARN of a shard in this Region, whether it exists or not.
    pub fn arn_of(&self, name: &DestinationName) -> Arn {
        Arn::destination(&self.region, self.central, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming() -> ShardNaming {
        ShardNaming::new("Logs".parse().unwrap()).unwrap()
    }

    #[test]
    fn only_exact_names_are_shards() {
        for (name, index) in [
            ("Logs", Some(1)),
            ("Logs-2", Some(2)),
            ("Logs-10", Some(10)),
            ("Logs-4294967295", Some(u32::MAX)),
            ("Logs-4294967296", None),
            ("Logs-1", None),
            ("Logs-0", None),
            ("Logs-02", None),
            ("Logs-+2", None),
            ("Logs-", None),
            ("Logs2", None),
            ("Logs-2-2", None),
            ("Logs-two", None),
            ("logs", None),
            ("MyLogs-2", None),
        ] {
            assert_eq!(naming().index_of(&name.parse().unwrap()), index, "{name}");
        }
    }

    #[test]
    fn a_name_leads_back_to_its_number() {
        for index in [1, 2, 3, 10, u32::MAX] {
            assert_eq!(naming().index_of(&naming().name_of(index)), Some(index));
        }
    }

    #[test]
    fn a_base_must_leave_room_for_a_number() {
        assert!(ShardNaming::new("é".repeat(502).parse().unwrap()).is_err());
        let longest = ShardNaming::new("é".repeat(501).parse().unwrap()).unwrap();
        assert_eq!(longest.name_of(u32::MAX).as_str().chars().count(), 512);
    }
}
