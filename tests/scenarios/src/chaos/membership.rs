//! Disturbances of membership and of the member role.

use enroller_sim::NewAccount;
use enroller_sim::organizations::AccountState;

use super::{Disturbance, MAX_ACCOUNTS};

impl Disturbance<'_> {
    /// A random active member that may leave the organization.
    fn movable(&mut self) -> Option<String> {
        let found = self.in_state(AccountState::Active);
        self.pick(found)
    }

    /// Members in this state, except the management account and the delegated administrators, which must stay.
    fn in_state(&self, state: AccountState) -> Vec<String> {
        self.lab.sim.with(|world| {
            let organization = &world.organization;
            let found = organization.members().filter(|(_, member)| member.state == state).map(|(id, _)| id.to_owned());
            found.filter(|id| id != organization.management() && !organization.is_delegated_administrator(id)).collect()
        })
    }

    pub(crate) fn join(&mut self) {
        if self.lab.sim.members().len() >= MAX_ACCOUNTS {
            return;
        }
        let assumable_in_ms = if self.rng.bool() { 0 } else { self.rng.u64(0..300_000) };
        let parent = self.unit();
        let new = NewAccount { name: "joined".to_owned(), assumable_in_ms, parent, ..NewAccount::default() };
        let Ok(account) = self.lab.sim.with(|world| world.create_account(&new)) else { return };
        self.record(format!("{account} is created"));
        if self.rng.u32(0..3) > 0 {
            self.deploy(&account);
        }
    }

    fn deploy(&mut self, account: &str) {
        if self.lab.stacks.deploy_member(account).is_ok() {
            self.lab.stacks.announce_member(account);
            self.history.deployed.insert(account.to_owned());
            self.record(format!("{account}: the member stack is deployed"));
        }
    }

    /// Deploys the member stack in every account that lacks it.
    pub fn deploy_missing_stacks(&mut self) {
        for account in self.lab.sim.members() {
            if !self.history.deployed.contains(&account) {
                self.deploy(&account);
            }
        }
    }

    /// Deletes the member role of an account, so that the enroller cannot assume it.
    pub(crate) fn remove_member_role(&mut self) {
        let Some((account, _)) = self.random_account_region() else { return };
        let role = self.lab.settings.member_role_name.to_string();
        if self.lab.sim.with(|world| world.iam.remove_role(&account, &role)).is_some() {
            self.record(format!("{account}: the member role is deleted"));
            self.history.without_member_role.insert(account);
        }
    }

    /// Restores the deleted member roles. No event reports it.
    pub fn restore_member_roles(&mut self) {
        for account in std::mem::take(&mut self.history.without_member_role) {
            if self.lab.stacks.deploy_member(&account).is_ok() {
                self.record(format!("{account}: the member role is back"));
            }
        }
    }

    pub(crate) fn leave_or_remove(&mut self) {
        let Some(account) = self.movable() else { return };
        let thrown_out = self.rng.bool();
        let gone = self.lab.sim.with(|world| if thrown_out { world.remove(&account) } else { world.leave(&account) });
        if gone.is_ok() {
            self.record(format!("{account} leaves"));
            self.history.departed.insert(account);
        }
    }

    pub(crate) fn rejoin(&mut self) {
        let Some(account) = self.pick(self.history.departed.iter().cloned().collect()) else { return };
        if self.lab.sim.with(|world| world.accept_invitation(&account)).is_ok() {
            self.history.departed.remove(&account);
            self.record(format!("{account} comes back"));
            // Its grant was revoked when it left, so its records are lost until it is granted again.
            let now_ms = self.lab.sim.now_ms();
            for region in self.lab.regions.clone() {
                self.history.broken.insert((account.clone(), region), now_ms);
            }
        }
    }

    pub(crate) fn close(&mut self) {
        let Some(account) = self.movable() else { return };
        if self.lab.sim.with(|world| world.close(&account)).is_ok() {
            self.record(format!("{account} is being closed"));
            if self.rng.bool() {
                self.finish_closing();
            }
        }
    }

    /// Completes every pending closure.
    pub fn finish_closing(&mut self) {
        for account in self.in_state(AccountState::PendingClosure) {
            if self.lab.sim.with(|world| world.finish_closing(&account)).is_ok() {
                self.record(format!("{account} is closed"));
            }
        }
    }

    /// AWS suspends an account or reinstates a suspended one. No event reports either.
    pub(crate) fn suspend_or_reinstate(&mut self) {
        let suspended = self.in_state(AccountState::Suspended);
        let (account, state) = match self.pick(suspended) {
            Some(account) if self.rng.bool() => (Some(account), AccountState::Active),
            Some(_) | None => (self.movable(), AccountState::Suspended),
        };
        let Some(account) = account else { return };
        if self.lab.sim.with(|world| world.set_account_state(&account, state)).is_ok() {
            self.record(format!("{account} is {}", state.name()));
        }
    }

    fn unit(&mut self) -> Option<String> {
        let units = self.lab.sim.with(|world| world.organization.units().map(|(id, _)| id.to_owned()).collect());
        self.pick(units)
    }

    pub(crate) fn change_unit(&mut self) {
        let (Some(account), Some(unit)) = (self.movable(), self.unit()) else { return };
        if self.lab.sim.with(|world| world.move_account(&account, &unit)).is_ok() {
            self.record(format!("{account} moves to {unit}"));
        }
    }
}
