//! Which accounts, Regions and VPCs are enrolled, and why the others are not.

use std::fmt;

use crate::ids::{AccountId, ParentId, Region};
use crate::observed::{Account, AccountState, TrafficType, Vpc};
use crate::settings::Settings;

/// Why something is not enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutOfScope {
    /// The account is on the list of excluded ones.
    AccountExcluded,
    /// An OU above the account is on the list.
    UnitExcluded(ParentId),
    /// The account is not in normal use.
    State(AccountState),
    /// The Region is not enrolled.
    Region,
    /// The VPC carries the opt-out tag.
    OptedOut(String),
    /// The VPC belongs to another account that shares it.
    SharedIn(AccountId),
}

impl fmt::Display for OutOfScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountExcluded => f.write_str("the account is excluded by the settings"),
            Self::UnitExcluded(unit) => write!(f, "its organizational unit {unit} is excluded by the settings"),
            Self::State(state) => write!(f, "the account's state is {state:?}"),
            Self::Region => f.write_str("the Region is not enrolled"),
            Self::OptedOut(tag) => write!(f, "excluded by its tag {tag}"),
            Self::SharedIn(owner) => write!(f, "shared in by {owner}, which alone can log it"),
        }
    }
}

impl Settings {
    /// Whether events and requests of an account are acted on at all.
    ///
    /// Only the account list can be checked without asking Organizations; OUs are, by [`Settings::account_in_scope`].
    pub fn account_listed_out(&self, account: AccountId) -> Option<OutOfScope> {
        self.excluded_accounts.contains(&account).then_some(OutOfScope::AccountExcluded)
    }

    /// Whether an account is to be granted and enrolled.
    pub fn account_in_scope(&self, account: &Account) -> Result<(), OutOfScope> {
        if let Some(reason) = self.account_listed_out(account.id) {
            return Err(reason);
        }
        match account.state {
            AccountState::Active => {}
            AccountState::PendingActivation
            | AccountState::Suspended
            | AccountState::PendingClosure
            | AccountState::Closed
            | AccountState::Unknown => return Err(OutOfScope::State(account.state)),
        }
        let excluded = account.parents.iter().find(|unit| self.excluded_organizational_units.contains(*unit));
        excluded.map_or(Ok(()), |unit| Err(OutOfScope::UnitExcluded(unit.clone())))
    }

    /// Whether a Region is enrolled.
    pub fn region_in_scope(&self, region: &Region) -> Result<(), OutOfScope> {
        if self.regions.contains(region) { Ok(()) } else { Err(OutOfScope::Region) }
    }

    /// Whether a VPC seen by `account` is to have a flow log, and of which traffic.
    ///
    /// A traffic type tag whose value is no traffic type counts as absent: a slip must not stop the logging.
    pub fn vpc_in_scope(&self, account: AccountId, vpc: &Vpc) -> Result<TrafficType, OutOfScope> {
        if vpc.owner != account {
            return Err(OutOfScope::SharedIn(vpc.owner));
        }
        if self.opt_out_tag.is_on(&vpc.tags) {
            return Err(OutOfScope::OptedOut(self.opt_out_tag.to_string()));
        }
        let wished = vpc.tags.get(&self.traffic_type_tag).and_then(|value| value.parse().ok());
        Ok(wished.unwrap_or(self.traffic_type))
    }
}
