//! Account lifecycle outside the simulated API: accounts are created, join, move, leave and close.
//!
//! Each operation changes the organization and then emits the events that AWS emits. One that names an account which is
//! not a member, or a parent that does not exist, changes nothing, emits no event and returns an error.

use std::collections::BTreeMap;

use serde_json::json;

use crate::cloudtrail::{OrganizationEvent, organization_event};
use crate::organizations::{AccountState, JoinedMethod};
use crate::world::{Account, World};

/// Why an operation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// The account is not in the organization.
    #[error("account {0} is not a member of the organization")]
    NotAMember(String),
    /// The account is in the organization.
    #[error("account {0} is a member of the organization already")]
    Member(String),
    /// No account has this id.
    #[error("account {0} does not exist")]
    NoSuchAccount(String),
    /// Neither the root nor an OU.
    #[error("{0} is neither the root nor an OU")]
    NoSuchParent(String),
    /// The management account can neither leave nor be closed.
    #[error("account {0} is the management account")]
    Management(String),
}

/// Properties of a new account.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// Name; several accounts may have the same.
    pub name: String,
    /// OU or root under which it is created; the root when `None`.
    pub parent: Option<String>,
    /// Milliseconds until its services can be used; EC2 answers `OptInRequired` before.
    pub ready_in_ms: u64,
    /// Milliseconds until its roles can be assumed.
    pub assumable_in_ms: u64,
}

impl World {
    /// Creates an account in the organization, as CreateAccount does. Returns its id.
    ///
    /// It has a default VPC in every Region and the role that Organizations makes in created accounts, and no more.
    ///
    /// # Errors
    ///
    /// When the parent does not exist.
    pub fn create_account(&mut self, new: &NewAccount) -> Result<String, LifecycleError> {
        let parent = self.parent_or_root(new.parent.as_deref())?;
        let request_id = format!("car-{}", self.ids.hex(32));
        organization_event(self, &OrganizationEvent::CreateAccount { request_id: &request_id });
        let account = self.add_account(&new.name);
        self.put_creator_role(&account);
        let now_ms = self.now_ms();
        if let Some(begun) = self.accounts.get_mut(&account) {
            begun.ready_at_ms = now_ms + new.ready_in_ms;
            begun.assumable_at_ms = now_ms + new.assumable_in_ms;
        }
        self.organization.add(&account, &parent, JoinedMethod::Created, now_ms);
        let succeeded = OrganizationEvent::CreateAccountSucceeded { request_id: &request_id, account: &account };
        organization_event(self, &succeeded);
        organization_event(
            self,
            &OrganizationEvent::AccountJoinedOrganization { account: &account, method: "Created" },
        );
        Ok(account)
    }

    /// Lets an existing account accept an invitation; it is placed under the root, without the role that created
    /// accounts have (Organizations user guide, "Inviting an AWS account").
    ///
    /// # Errors
    ///
    /// When the account does not exist or is a member.
    pub fn accept_invitation(&mut self, account: &str) -> Result<(), LifecycleError> {
        if !self.accounts.contains_key(account) {
            return Err(LifecycleError::NoSuchAccount(account.to_owned()));
        }
        if self.organization.member(account).is_some() {
            return Err(LifecycleError::Member(account.to_owned()));
        }
        let (root, now_ms) = (self.organization.root().to_owned(), self.now_ms());
        self.organization.add(account, &root, JoinedMethod::Invited, now_ms);
        organization_event(self, &OrganizationEvent::AccountJoinedOrganization { account, method: "INVITED" });
        Ok(())
    }

    /// Moves a member to another OU or to the root.
    ///
    /// # Errors
    ///
    /// When the account is not a member or the parent does not exist.
    pub fn move_account(&mut self, account: &str, parent: &str) -> Result<(), LifecycleError> {
        let to = self.parent_or_root(Some(parent))?;
        let not_a_member = || LifecycleError::NotAMember(account.to_owned());
        let now_ms = self.now_ms();
        let from = self.organization.move_to(account, &to, now_ms).ok_or_else(not_a_member)?;
        organization_event(self, &OrganizationEvent::MoveAccount { account, from: &from, to: &to });
        Ok(())
    }

    /// A member leaves by its own decision. The account continues to exist.
    ///
    /// # Errors
    ///
    /// When the account is not a member or is the management account.
    pub fn leave(&mut self, account: &str) -> Result<(), LifecycleError> {
        self.check_departing(account)?;
        // AWS records the call in the account that leaves.
        organization_event(self, &OrganizationEvent::LeaveOrganization { account });
        self.depart(account, "LEFT");
        Ok(())
    }

    /// The management account removes a member. The account continues to exist.
    ///
    /// # Errors
    ///
    /// When the account is not a member or is the management account.
    pub fn remove(&mut self, account: &str) -> Result<(), LifecycleError> {
        self.check_departing(account)?;
        organization_event(self, &OrganizationEvent::RemoveAccountFromOrganization { account });
        self.depart(account, "REMOVED");
        Ok(())
    }

    /// Asks for an account to be closed: it is PENDING_CLOSURE and keeps working until [`World::finish_closing`].
    ///
    /// # Errors
    ///
    /// When the account is not a member or is the management account.
    pub fn close(&mut self, account: &str) -> Result<(), LifecycleError> {
        self.check_departing(account)?;
        self.set_account_state(account, AccountState::PendingClosure)?;
        organization_event(self, &OrganizationEvent::CloseAccount { account });
        Ok(())
    }

    /// Completes the closure: the account is CLOSED, is still listed, and cannot do anything.
    ///
    /// # Errors
    ///
    /// When the account is not a member.
    pub fn finish_closing(&mut self, account: &str) -> Result<(), LifecycleError> {
        self.set_account_state(account, AccountState::Closed)?;
        organization_event(self, &OrganizationEvent::CloseAccountSucceeded { account });
        Ok(())
    }

    /// Forgets a closed account, as AWS does about 90 days later: no longer listed, its resources gone.
    ///
    /// # Errors
    ///
    /// When the account is not a member or is the management account.
    pub fn clean_up(&mut self, account: &str) -> Result<(), LifecycleError> {
        self.check_departing(account)?;
        self.depart(account, "CLEANED");
        self.ec2.remove_account(account);
        self.accounts.remove(account);
        Ok(())
    }

    /// Sets a state for which AWS emits no event, such as SUSPENDED.
    ///
    /// # Errors
    ///
    /// When the account is not a member.
    pub fn set_account_state(&mut self, account: &str, state: AccountState) -> Result<(), LifecycleError> {
        let now_ms = self.now_ms();
        if self.organization.set_state(account, state, now_ms) {
            return Ok(());
        }
        Err(LifecycleError::NotAMember(account.to_owned()))
    }

    /// Lets an account opt in to a Region, in which it then has a default VPC. Nothing happens if the Region is enabled
    /// already.
    ///
    /// # Errors
    ///
    /// When the account does not exist.
    pub fn enable_region(&mut self, account: &str, region: &str) -> Result<(), LifecycleError> {
        let Some(known) = self.accounts.get_mut(account) else {
            return Err(LifecycleError::NoSuchAccount(account.to_owned()));
        };
        if known.regions.insert(region.to_owned()) {
            self.regions.insert(region.to_owned());
            self.put_vpc(account, region, "172.31.0.0/16", true);
        }
        Ok(())
    }

    /// Adds an account outside the organization, with a default VPC in every Region and without an event. Returns its
    /// id.
    pub fn add_account(&mut self, name: &str) -> String {
        let id = loop {
            // Twelve digits of a hash that does not repeat; if only the digits clash, another hash is drawn.
            let digits = self.ids.hex(15);
            let number = u64::from_str_radix(&digits, 16).unwrap_or_default() % 900_000_000_000;
            let id = (100_000_000_000 + number).to_string();
            if !self.accounts.contains_key(&id) {
                break id;
            }
        };
        self.accounts.insert(id.clone(), Account::new(name, self.regions.clone()));
        for region in self.regions.clone() {
            // VPC user guide, "Default VPCs": one in every Region of a new account. No event is known for it.
            self.put_vpc(&id, &region, "172.31.0.0/16", true);
        }
        id
    }

    /// Organizations user guide, "Accessing member accounts": created accounts have a role for the management account.
    pub(crate) fn put_creator_role(&mut self, account: &str) {
        let administrator = format!("arn:aws:iam::{}:root", self.organization.management());
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": administrator}, "Action": "sts:AssumeRole"}]});
        let all = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
        let policies = BTreeMap::from([("AdministratorAccess".to_owned(), all)]);
        self.put_role(account, "OrganizationAccountAccessRole", trust, policies);
    }

    fn parent_or_root(&self, parent: Option<&str>) -> Result<String, LifecycleError> {
        let parent = parent.unwrap_or_else(|| self.organization.root());
        if self.organization.is_parent(parent) {
            return Ok(parent.to_owned());
        }
        Err(LifecycleError::NoSuchParent(parent.to_owned()))
    }

    fn check_departing(&self, account: &str) -> Result<(), LifecycleError> {
        if account == self.organization.management() {
            return Err(LifecycleError::Management(account.to_owned()));
        }
        if self.organization.member(account).is_none() {
            return Err(LifecycleError::NotAMember(account.to_owned()));
        }
        Ok(())
    }

    fn depart(&mut self, account: &str, method: &str) {
        let now_ms = self.now_ms();
        self.organization.remove(account, now_ms);
        organization_event(self, &OrganizationEvent::AccountDepartedOrganization { account, method });
    }
}
