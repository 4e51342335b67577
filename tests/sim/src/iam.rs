//! IAM: the roles of every account, and their inline policies.

mod api;
mod identity_policy;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub(crate) use api::handle;

pub use self::identity_policy::{Denial, Use};
use self::identity_policy::{IdentityPolicy, Ledger};
use crate::policy_language::Context;
use crate::world::World;

/// A role with inline policies; managed ones are not simulated.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`trust`, `tags` and `description` are IAM's own")]
pub struct Role {
    /// Name, unique in its account.
    pub name: String,
    /// `arn:aws:iam::ACCOUNT:role/PATH/NAME`.
    pub arn: String,
    /// Path, beginning and ending with `/`.
    pub path: String,
    /// `AROA…`, new for every created role, even under a reused name.
    pub id: String,
    pub trust: Value,
    /// Inline policies by name. Always changed together with `identity`, their parsed form.
    policies: BTreeMap<String, Value>,
    identity: IdentityPolicy,
    /// What the policies were before each change, and its time; a change needs time to work.
    earlier: Vec<(u64, IdentityPolicy)>,
    pub tags: BTreeMap<String, String>,
    pub description: Option<String>,
    /// Longest session in seconds, 3,600 unless set.
    pub max_session_seconds: u32,
    /// Creation, in epoch milliseconds.
    pub created_ms: u64,
}

impl Role {
    /// Inline policies by name.
    pub fn policies(&self) -> &BTreeMap<String, Value> {
        &self.policies
    }

    /// Replaces all inline policies by a call, so that the new ones need time to work.
    fn change_policies(&mut self, policies: BTreeMap<String, Value>, now_ms: u64) {
        self.earlier.push((now_ms, std::mem::take(&mut self.identity)));
        self.set_policies(policies);
    }

    fn set_policies(&mut self, policies: BTreeMap<String, Value>) {
        self.identity = IdentityPolicy::of(&policies);
        self.policies = policies;
    }
}

/// Roles of all accounts.
#[derive(Debug, Default)]
pub struct IamState {
    roles: BTreeMap<String, BTreeMap<String, Role>>,
    ledger: Ledger,
}

impl IamState {
    /// Every permission that allowed a request since the start of the simulation.
    pub fn uses(&self) -> BTreeSet<Use> {
        self.ledger.uses()
    }

    /// Every request of a role that its policies did not allow since the start of the simulation.
    pub fn denials(&self) -> BTreeSet<Denial> {
        self.ledger.denials()
    }

    /// Clears the recorded uses and denials.
    pub fn forget_uses(&mut self) {
        self.ledger = Ledger::default();
    }

    /// A role by its name.
    pub fn role(&self, account: &str, name: &str) -> Option<&Role> {
        self.roles.get(account)?.get(name)
    }

    /// A role by its ARN, of any account.
    pub fn role_by_arn(&self, arn: &str) -> Option<&Role> {
        let (account, name) = split_role_arn(arn)?;
        self.role(account, name).filter(|role| role.arn == arn)
    }

    /// The roles of an account.
    pub fn roles(&self, account: &str) -> impl Iterator<Item = &Role> {
        self.roles.get(account).into_iter().flat_map(BTreeMap::values)
    }

    fn role_mut(&mut self, account: &str, name: &str) -> Option<&mut Role> {
        self.roles.get_mut(account)?.get_mut(name)
    }

    /// Removes a role without a call, as when its stack is deleted.
    pub fn remove_role(&mut self, account: &str, name: &str) -> Option<Role> {
        self.roles.get_mut(account)?.remove(name)
    }

    /// Exchanges all roles of an account.
    pub(crate) fn swap_roles(&mut self, account: &str, roles: &mut BTreeMap<String, Role>) {
        std::mem::swap(self.roles.entry(account.to_owned()).or_default(), roles);
    }

    fn insert(&mut self, account: &str, role: Role) {
        self.roles.entry(account.to_owned()).or_default().insert(role.name.clone(), role);
    }
}

impl World {
    /// Creates a role that can be assumed at once, as if a stack had created it long ago: without a call and without an
    /// event. A role with that name is updated and keeps its id, so that its sessions go on; for a new id it has to be
    /// removed before.
    pub fn put_role(&mut self, account: &str, name: &str, trust: Value, policies: BTreeMap<String, Value>) -> &Role {
        let mut role = self.new_role(account, "/", name, trust);
        if let Some(existing) = self.iam.role(account, name) {
            role.id.clone_from(&existing.id);
        }
        role.set_policies(policies);
        // Older than any propagation delay, whenever it is set.
        role.created_ms = 0;
        let roles = self.iam.roles.entry(account.to_owned()).or_default();
        roles.remove(name);
        roles.entry(name.to_owned()).or_insert(role)
    }

    /// Whether the role's inline policies, as far as they work already, allow the action on the resource.
    pub(crate) fn role_allows(&self, role: &Role, action: &str, resource_arn: &str, context: &Context) -> bool {
        let (now_ms, delay_ms) = (self.now_ms(), self.settings.policy_propagation_ms);
        let waiting = role.earlier.iter().find(|(changed_ms, _)| now_ms < changed_ms.saturating_add(delay_ms));
        let identity = waiting.map_or(&role.identity, |(_, before)| before);
        identity.allows(&self.iam.ledger, &role.name, action, resource_arn, context)
    }

    /// Whether a role has propagated, so that services and principals can assume it.
    pub fn role_propagated(&self, role: &Role) -> bool {
        self.now_ms() >= role.created_ms.saturating_add(self.settings.role_propagation_ms)
    }

    fn new_role(&mut self, account: &str, path: &str, name: &str, trust: Value) -> Role {
        Role {
            name: name.to_owned(),
            arn: format!("arn:aws:iam::{account}:role{path}{name}"),
            path: path.to_owned(),
            id: format!("AROA{}", self.ids.hex(17).to_ascii_uppercase()),
            trust,
            policies: BTreeMap::new(),
            identity: IdentityPolicy::default(),
            earlier: Vec::new(),
            tags: BTreeMap::new(),
            description: None,
            max_session_seconds: 3600,
            created_ms: self.now_ms(),
        }
    }
}

/// Account and name in a role's ARN.
pub(crate) fn split_role_arn(arn: &str) -> Option<(&str, &str)> {
    let (account, path_and_name) = arn.strip_prefix("arn:aws:iam::")?.split_once(":role/")?;
    let name = path_and_name.rsplit('/').next()?;
    (!account.is_empty() && !name.is_empty()).then_some((account, name))
}
