//! Which accounts of the organization a request selects.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{BackfillRequest, Exclusion};
use crate::ids::{AccountId, ParentId};
use crate::observed::{Account, AccountState};
use crate::settings::Settings;

/// A selected account that is not enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "`account` is what the type's description says")]
pub struct LeftOut {
    pub account: AccountId,
    /// Why it is not enrolled, as a phrase: `excluded by the request`.
    pub reason: String,
}

/// What a request selects in an organization.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The accounts to enroll, by id.
    pub chosen: Vec<Account>,
    /// Accounts that the request selects but that are not enrolled, by id.
    pub left_out: Vec<LeftOut>,
    /// Roots, OUs and exclusions of the request that match no account and may be misspelt, and accounts that are
    /// selected though their state is unknown to this version.
    pub notes: Vec<String>,
}

impl BackfillRequest {
    /// Selects accounts of the organization.
    pub fn select(&self, settings: &Settings, accounts: impl IntoIterator<Item = Account>) -> Selection {
        let accounts: BTreeMap<AccountId, Account> =
            accounts.into_iter().map(|account| (account.id, account)).collect();
        let mut selection = Selection { notes: self.notes(&accounts), ..Selection::default() };
        let unknown = self.accounts.iter().filter(|id| !accounts.contains_key(id));
        selection.left_out = unknown
            .map(|id| LeftOut { account: *id, reason: "not an account of the organization".to_owned() })
            .collect();
        for account in accounts.into_values().filter(|account| self.selects(account)) {
            match self.verdict(settings, &account) {
                Ok(()) => selection.chosen.push(account),
                Err(reason) => selection.left_out.push(LeftOut { account: account.id, reason }),
            }
        }
        selection.left_out.sort_by_key(|left_out| left_out.account);
        selection.notes.extend(unknown_states(&selection.chosen));
        selection
    }

    /// Whether the request selects this account, in scope or not.
    pub fn includes(&self, account: &Account) -> bool {
        self.selects(account) && !self.exclude.iter().any(|exclusion| exclusion.matches(account))
    }

    /// Whether the request is limited to some of the accounts.
    pub fn narrows_accounts(&self) -> bool {
        !(self.accounts.is_empty() && self.organizational_units.is_empty() && self.exclude.is_empty())
    }

    fn selects(&self, account: &Account) -> bool {
        let everyone = self.accounts.is_empty() && self.organizational_units.is_empty();
        let below = account.parents.iter().any(|unit| self.organizational_units.contains(unit));
        everyone || below || self.accounts.contains(&account.id)
    }

    fn verdict(&self, settings: &Settings, account: &Account) -> Result<(), String> {
        match self.exclude.iter().find(|exclusion| exclusion.matches(account)) {
            Some(Exclusion::Account(_)) => Err("excluded by the request".to_owned()),
            Some(Exclusion::Unit(unit)) => Err(format!("its organizational unit {unit} is excluded by the request")),
            None => settings.account_in_scope(account).map_err(|reason| reason.to_string()),
        }
    }

    fn notes(&self, accounts: &BTreeMap<AccountId, Account>) -> Vec<String> {
        let units: BTreeSet<&ParentId> = accounts.values().flat_map(|account| &account.parents).collect();
        let empty = self.organizational_units.iter().filter(|unit| !units.contains(unit));
        let empty = empty.map(|unit| format!("organizational_units: no account is below {unit}"));
        let idle = self.exclude.iter().filter(|it| !accounts.values().any(|account| it.matches(account)));
        empty
            .chain(idle.map(|exclusion| format!("exclude: {exclusion} matches no account of the organization")))
            .collect()
    }
}

/// A note about the accounts whose state is unknown to this version. They are enrolled all the same.
fn unknown_states(chosen: &[Account]) -> Option<String> {
    let unknown = chosen.iter().filter(|account| account.state == AccountState::Unknown);
    let first = unknown.clone().next()?;
    let others = match unknown.count() {
        1 => String::new(),
        count => format!(" and {} others", count - 1),
    };
    Some(format!("the state of {}{others} in Organizations is unknown to this version: update the enroller", first.id))
}

impl Exclusion {
    /// Whether it excludes this account.
    pub fn matches(&self, account: &Account) -> bool {
        match self {
            Self::Account(id) => account.id == *id,
            Self::Unit(unit) => account.parents.contains(unit),
        }
    }
}
