//! AWS Organizations: the members, their OUs and their states.

mod api;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use api::handle;

/// State of a member account (Organizations model, AccountState).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// Created but not usable yet.
    PendingActivation,
    /// In use, and not being closed.
    Active,
    /// Restricted by AWS: its principals can do nothing.
    Suspended,
    /// Being closed; still works.
    PendingClosure,
    /// Closed; listed for about 90 days.
    Closed,
}

impl AccountState {
    /// Name in AWS's answers, such as `PENDING_ACTIVATION`.
    pub fn name(self) -> &'static str {
        match self {
            Self::PendingActivation => "PENDING_ACTIVATION",
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::PendingClosure => "PENDING_CLOSURE",
            Self::Closed => "CLOSED",
        }
    }
}

/// How an account became a member (Organizations model, AccountJoinedMethod).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinedMethod {
    /// Created in the organization.
    Created,
    /// Existed before, and accepted an invitation.
    Invited,
}

impl JoinedMethod {
    /// Name in AWS's answers, such as `INVITED`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Invited => "INVITED",
        }
    }
}

/// A listed account, the management account and closed ones included.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`state` and `joined` are described by their types")]
pub struct Member {
    /// Id of its OU or of the root.
    pub parent: String,
    pub state: AccountState,
    pub joined: JoinedMethod,
    /// When it joined, in epoch milliseconds.
    pub joined_ms: u64,
    /// `o-…/r-…/ou-…/`: the path of its parent.
    path: String,
}

/// An organizational unit (OU).
#[derive(Clone, Debug)]
pub struct Unit {
    /// Name, as DescribeOrganizationalUnit returns it.
    pub name: String,
    /// Id of the OU above or of the root.
    pub parent: String,
}

/// Units and listed accounts, and every change of an account.
#[derive(Debug, Default)]
pub struct OrganizationState {
    id: String,
    root: String,
    management: String,
    delegated: BTreeSet<String>,
    units: BTreeMap<String, Unit>,
    members: BTreeMap<String, Member>,
    /// Every change of a member, oldest first.
    changes: Vec<Change>,
}

/// A member before a change, `None` if the account was not a member.
#[derive(Clone, Debug)]
struct Change {
    at_ms: u64,
    account: String,
    before: Option<Member>,
}

impl OrganizationState {
    /// Founds the organization with its management account, which is directly under the root.
    pub(crate) fn found(&mut self, id: String, root: String, management: &str, now_ms: u64) {
        *self = Self { id, root, management: management.to_owned(), ..Self::default() };
        let root = self.root.clone();
        self.add(management, &root, JoinedMethod::Invited, now_ms);
    }

    /// `o-…`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `r-…`.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Id of the management account.
    pub fn management(&self) -> &str {
        &self.management
    }

    /// Whether the account is listed and not closed.
    pub fn is_member(&self, account: &str) -> bool {
        self.state_of(account).is_some_and(|state| state != AccountState::Closed)
    }

    /// State of a listed account; `None` for one that is not in the organization.
    pub fn state_of(&self, account: &str) -> Option<AccountState> {
        self.members.get(account).map(|member| member.state)
    }

    /// The account with this id, if it is listed.
    pub fn member(&self, account: &str) -> Option<&Member> {
        self.members.get(account)
    }

    /// All listed accounts by id, closed ones included.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members.iter().map(|(id, member)| (id.as_str(), member))
    }

    /// The delegated administrators by id.
    pub fn delegated_administrators(&self) -> impl Iterator<Item = &str> {
        self.delegated.iter().map(String::as_str)
    }

    /// All OUs by id.
    pub fn units(&self) -> impl Iterator<Item = (&str, &Unit)> {
        self.units.iter().map(|(id, unit)| (id.as_str(), unit))
    }

    /// Path of a listed account's parent: `o-…/r-…/ou-…/`.
    pub fn path_of(&self, account: &str) -> Option<&str> {
        self.members.get(account).map(|member| member.path.as_str())
    }

    /// Whether the account is a delegated administrator of some service.
    pub fn is_delegated_administrator(&self, account: &str) -> bool {
        self.delegated.contains(account)
    }

    /// Makes a member a delegated administrator.
    pub fn delegate(&mut self, account: &str) {
        self.delegated.insert(account.to_owned());
    }

    /// Adds an OU under the root or under another OU.
    pub(crate) fn add_unit(&mut self, id: String, name: &str, parent: &str) {
        self.units.insert(id, Unit { name: name.to_owned(), parent: parent.to_owned() });
    }

    /// Whether the id is the root's or an OU's.
    pub fn is_parent(&self, id: &str) -> bool {
        id == self.root || self.units.contains_key(id)
    }

    /// Path of the root or of an OU, ending with `/`.
    pub fn path_of_parent(&self, id: &str) -> String {
        match self.units.get(id) {
            Some(unit) => format!("{}{id}/", self.path_of_parent(&unit.parent)),
            None => format!("{}/{}/", self.id, self.root),
        }
    }

    /// The members as they were at a time.
    pub(crate) fn members_at(&self, ms: u64) -> BTreeMap<String, Member> {
        let mut members = self.members.clone();
        for change in self.changes.iter().rev().take_while(|change| change.at_ms > ms) {
            match &change.before {
                Some(before) => members.insert(change.account.clone(), before.clone()),
                None => members.remove(&change.account),
            };
        }
        members
    }

    /// One member as it was at a time.
    pub(crate) fn member_at(&self, account: &str, ms: u64) -> Option<Member> {
        let mut since = self.changes.iter().filter(|change| change.at_ms > ms);
        let first = since.find(|change| change.account == account);
        first.map_or_else(|| self.members.get(account).cloned(), |change| change.before.clone())
    }

    fn remember(&mut self, account: &str, now_ms: u64) {
        let before = self.members.get(account).cloned();
        self.changes.push(Change { at_ms: now_ms, account: account.to_owned(), before });
    }

    /// Drops the history, as if the organization had always been as it is now.
    pub(crate) fn forget_changes(&mut self) {
        self.changes.clear();
    }

    pub(crate) fn add(&mut self, account: &str, parent: &str, joined: JoinedMethod, joined_ms: u64) {
        self.remember(account, joined_ms);
        let path = self.path_of_parent(parent);
        let member = Member { parent: parent.to_owned(), state: AccountState::Active, joined, joined_ms, path };
        self.members.insert(account.to_owned(), member);
    }

    /// Moves a member under another parent; returns the old one.
    pub(crate) fn move_to(&mut self, account: &str, parent: &str, now_ms: u64) -> Option<String> {
        self.remember(account, now_ms);
        let path = self.path_of_parent(parent);
        let member = self.members.get_mut(account)?;
        member.path = path;
        Some(std::mem::replace(&mut member.parent, parent.to_owned()))
    }

    pub(crate) fn set_state(&mut self, account: &str, state: AccountState, now_ms: u64) -> bool {
        self.remember(account, now_ms);
        self.members.get_mut(account).map(|member| member.state = state).is_some()
    }

    pub(crate) fn remove(&mut self, account: &str, now_ms: u64) -> bool {
        self.remember(account, now_ms);
        self.delegated.remove(account);
        self.members.remove(account).is_some()
    }
}
