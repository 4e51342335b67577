//! Random disturbances of an organization: what people, AWS and other software do to it.

mod membership;

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::settings::NarrowingTags;
use enroller_lab::Lab;
use enroller_lab::people::Person;
use enroller_sim::World;
use serde_json::{Value, json};

use crate::initial_state::ChosenSettings;
use crate::invariants::{account_in_scope, accounts_in_scope};

/// Number of accounts from which on no account joins.
pub(crate) const MAX_ACCOUNTS: usize = 8;

/// An account outside the organization that unmanaged statements authorize.
pub const FOREIGN_ACCOUNT: &str = "999988887777";

/// An account in a Region.
pub type AccountRegion = (String, String);

/// What was done so far, as far as the invariants depend on it.
#[derive(Debug, Default)]
pub struct History {
    /// Accounts that have the member stack.
    pub deployed: BTreeSet<String>,
    /// Accounts that left the organization and may rejoin.
    pub departed: BTreeSet<String>,
    /// Accounts that were in scope at some time and so may still be granted.
    pub ever_in_scope: BTreeSet<String>,
    /// Accounts whose member role is deleted.
    pub without_member_role: BTreeSet<String>,
    /// Settings that differ from the defaults.
    pub settings: ChosenSettings,
    /// Where a person broke the delivery last and when, in epoch milliseconds, until records arrive again.
    pub broken: BTreeMap<AccountRegion, u64>,
    /// What was done, one line each with the virtual time in epoch milliseconds.
    pub events: Vec<String>,
    statements: u32,
}

/// The means to disturb an organization.
pub struct Disturbance<'a> {
    /// The installation to disturb.
    pub lab: &'a mut Lab,
    /// Source of every random choice.
    pub rng: &'a mut fastrand::Rng,
    /// Where each disturbance is recorded.
    pub history: &'a mut History,
}

impl Disturbance<'_> {
    /// Makes one random disturbance. One that AWS refuses has no effect and is not recorded.
    pub async fn act(&mut self) {
        match self.rng.u32(0..26) {
            0 | 1 => self.join(),
            2 => self.leave_or_remove(),
            3 => self.close(),
            4 => self.rejoin(),
            5 | 6 => self.change_unit(),
            7 | 8 => self.create_vpc().await,
            9 => self.delete_vpc().await,
            10 => self.delete_filter().await,
            11 | 12 => self.delete_flow_log().await,
            13 => self.delete_log_group().await,
            14 => self.delete_delivery_role(),
            15 => self.change_retention().await,
            16 => self.edit_policy(add_statement),
            17 => self.edit_policy(|document, _, _| drop_statement(document)),
            18 => self.remove_account_from_policy(),
            19 => self.deploy_missing_stacks(),
            20 => self.suspend_or_reinstate(),
            21 => self.remove_member_role(),
            22 => self.restore_member_roles(),
            23 => self.tag_vpc(),
            _ => self.change_settings(),
        }
        self.note_scope();
    }

    /// Records the accounts that are in scope now.
    pub fn note_scope(&mut self) {
        self.history.ever_in_scope.extend(accounts_in_scope(self.lab));
    }

    pub(crate) fn record(&mut self, text: String) {
        let now_ms = self.lab.sim.now_ms();
        self.history.events.push(format!("{now_ms} {text}"));
    }

    fn break_at(&mut self, at: &AccountRegion, text: &str) {
        self.history.broken.insert(at.clone(), self.lab.sim.now_ms());
        self.record(format!("{} {}: {text}", at.0, at.1));
    }

    pub(crate) fn pick<T>(&mut self, from: Vec<T>) -> Option<T> {
        let mut from = from;
        if from.is_empty() { None } else { Some(from.swap_remove(self.rng.usize(0..from.len()))) }
    }

    /// A random account-Region of a member that has the stack.
    pub(crate) fn random_account_region(&mut self) -> Option<AccountRegion> {
        let members = self.lab.sim.members();
        let deployed = members.into_iter().filter(|id| self.history.deployed.contains(id)).collect();
        let account = self.pick(deployed)?;
        let region = self.pick(self.lab.regions.clone())?;
        Some((account, region))
    }

    fn person(&self, (account, region): &AccountRegion) -> Person {
        Person::of(&self.lab.sim, account, region)
    }

    async fn create_vpc(&mut self) {
        let Some(at) = self.random_account_region() else { return };
        let tag = self.tag();
        let tags = if self.rng.u32(0..3) == 0 { vec![(tag.0.as_str(), tag.1.as_str())] } else { Vec::new() };
        if let Ok(id) = self.person(&at).create_vpc(&tags).await {
            self.record(format!("{} {}: {id} is created with {tags:?}", at.0, at.1));
        }
    }

    /// Creates a VPC in every account that must not get a flow log: it is opted out, or its account is out of scope.
    pub async fn create_exceptions(&mut self) -> Vec<(AccountRegion, String)> {
        let (mut made, tag) = (Vec::new(), self.lab.settings.opt_out_tag.clone());
        for account in self.lab.sim.members() {
            let at = (account, self.lab.regions[0].clone());
            let excluded = !account_in_scope(self.lab, &at.0);
            if !excluded && self.lab.settings.narrowing_tags == NarrowingTags::Ignored {
                continue;
            }
            let tags = [(tag.key.as_str(), tag.value.as_str())];
            let tags = if excluded { &[][..] } else { &tags[..] };
            if let Ok(id) = self.person(&at).create_vpc(tags).await {
                made.push((at, id));
            }
        }
        made
    }

    /// A tag that the enroller reads, sometimes with a wrong value.
    fn tag(&mut self) -> (String, String) {
        let settings = &self.lab.settings;
        let (off, traffic) = (settings.opt_out_tag.clone(), settings.traffic_type_tag.clone());
        match self.rng.u32(0..6) {
            0 | 1 => (off.key, off.value),
            2 => (off.key, "on".to_owned()),
            3 => (traffic, "REJECT".to_owned()),
            4 => (traffic, "ACCEPT".to_owned()),
            _ => (traffic, "unknown".to_owned()),
        }
    }

    /// Tags a VPC. No event reports it.
    fn tag_vpc(&mut self) {
        let Some(at) = self.random_account_region() else { return };
        let vpcs = self.lab.sim.with(|world| ids(world.ec2.vpcs(&at.0, &at.1).map(|vpc| &vpc.id)));
        let Some(id) = self.pick(vpcs) else { return };
        let (key, value) = self.tag();
        if self.lab.sim.with(|world| world.put_vpc_tag(&at.0, &at.1, &id, &key, &value)) {
            self.record(format!("{} {}: {id} gets the tag {key}={value}", at.0, at.1));
        }
    }

    async fn delete_vpc(&mut self) {
        let Some(at) = self.random_account_region() else { return };
        let vpcs = self.lab.sim.with(|world| ids(world.ec2.vpcs(&at.0, &at.1).map(|vpc| &vpc.id)));
        let Some(id) = self.pick(vpcs) else { return };
        if self.person(&at).delete_vpc(&id).await.is_ok() {
            self.record(format!("{} {}: {id} is deleted", at.0, at.1));
        }
    }

    async fn delete_filter(&mut self) {
        let Some(at) = self.random_account_region() else { return };
        let (group, filter) = (self.lab.settings.log_group_name.to_string(), self.lab.settings.filter_name.to_string());
        if self.person(&at).delete_filter(&group, &filter).await.is_ok() {
            self.break_at(&at, "the filter is deleted");
        }
    }

    async fn delete_flow_log(&mut self) {
        let Some(at) = self.random_account_region() else { return };
        let group = self.lab.settings.log_group_name.to_string();
        let logs = self.lab.sim.with(|world| {
            let logs = world.ec2.flow_logs(&at.0, &at.1);
            ids(logs.filter(|log| log.log_group_name.as_ref() == Some(&group)).map(|log| &log.id))
        });
        let Some(id) = self.pick(logs) else { return };
        if self.person(&at).delete_flow_log(&id).await.is_ok() {
            self.break_at(&at, "a flow log is deleted");
        }
    }

    async fn delete_log_group(&mut self) {
        let Some(at) = self.random_account_region() else { return };
        let group = self.lab.settings.log_group_name.to_string();
        if self.person(&at).delete_log_group(&group).await.is_ok() {
            self.break_at(&at, "the log group is deleted");
        }
    }

    /// Deletes the delivery role where the enroller creates it. Nothing else would restore it.
    fn delete_delivery_role(&mut self) {
        if self.lab.settings.delivery_role_maker != enroller_core::settings::DeliveryRoleMaker::Enroller {
            return;
        }
        let Some((account, _)) = self.random_account_region() else { return };
        let role = self.lab.settings.delivery_role_name.to_string();
        if self.lab.sim.with(|world| world.iam.remove_role(&account, &role)).is_some() {
            for region in self.lab.regions.clone() {
                self.break_at(&(account.clone(), region), "the delivery role is deleted");
            }
        }
    }

    async fn change_retention(&mut self) {
        let Some(at) = self.random_account_region() else { return };
        let group = self.lab.settings.log_group_name.to_string();
        if self.person(&at).put_retention(&group, 7).await.is_ok() {
            self.record(format!("{} {}: retention is changed", at.0, at.1));
        }
    }

    fn change_settings(&mut self) {
        let members = self.lab.sim.members();
        let (key, value) = match self.rng.u32(0..5) {
            0 => ("aggregation_interval", self.rng.choice(["60", "600"]).unwrap_or("60").to_owned()),
            1 => ("retention_days", self.rng.choice(["30", "90", "never-expire"]).unwrap_or("30").to_owned()),
            2 => ("traffic_type", self.rng.choice(["ALL", "ACCEPT"]).unwrap_or("ALL").to_owned()),
            3 => ("excluded_accounts", String::new()),
            _ => ("excluded_accounts", self.pick(members).unwrap_or_default()),
        };
        self.history.settings.retain(|(other, _)| *other != key);
        self.history.settings.push((key, value.clone()));
        let changes: Vec<(&str, &str)> =
            self.history.settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        if self.lab.reconfigure(&changes).is_ok() {
            self.record(format!("settings: {key} is {value:?}"));
        }
    }

    fn edit_policy(&mut self, edit: impl Fn(&mut Vec<Value>, &str, u32)) {
        let Some(region) = self.pick(self.lab.regions.clone()) else { return };
        self.history.statements += 1;
        let number = self.history.statements;
        let central = self.lab.sim.central();
        let done = self
            .lab
            .sim
            .with(|world| edit_policies(world, &central, &region, |statements, arn| edit(statements, arn, number)));
        self.record(format!("the policies of {region} are edited: {done}"));
    }

    fn remove_account_from_policy(&mut self) {
        let Some((account, region)) = self.random_account_region() else { return };
        let central = self.lab.sim.central();
        self.lab.sim.with(|world| {
            edit_policies(world, &central, &region, |statements, _| {
                for statement in statements.iter_mut().filter(|it| it["Sid"] == "VpcEnroller") {
                    if let Some(Value::Array(ids)) = statement.pointer_mut("/Principal/AWS")
                        && ids.len() > 1
                    {
                        ids.retain(|id| id.as_str() != Some(account.as_str()));
                    }
                }
            })
        });
        self.break_at(&(account, region), "removed from the policy");
    }
}

fn ids<'a>(ids: impl Iterator<Item = &'a String>) -> Vec<String> {
    ids.cloned().collect()
}

/// Edits every destination policy of a Region as another administrator would: read, change, put. Returns whether AWS
/// accepted all of them.
pub fn edit_policies(
    world: &mut World,
    central: &str,
    region: &str,
    mut edit: impl FnMut(&mut Vec<Value>, &str),
) -> bool {
    let mut accepted = true;
    let destinations: Vec<_> = world.logs.destinations(central, region).cloned().collect();
    for destination in destinations {
        let Some(policy) = &destination.access_policy else { continue };
        let Ok(mut document) = serde_json::from_str::<Value>(policy) else { continue };
        if let Some(Value::Array(statements)) = document.get_mut("Statement") {
            edit(statements, &destination.arn);
            if !statements.is_empty() {
                let put = world.put_destination_policy(central, region, &destination.name, &document.to_string());
                accepted &= put.is_ok();
            }
        }
    }
    accepted
}

/// Adds an unmanaged statement.
pub fn add_statement(statements: &mut Vec<Value>, arn: &str, number: u32) {
    statements.push(json!({
        "Sid": format!("Theirs{number}"), "Effect": "Allow", "Principal": {"AWS": FOREIGN_ACCOUNT},
        "Action": "logs:PutSubscriptionFilter", "Resource": arn
    }));
}

fn drop_statement(statements: &mut Vec<Value>) {
    let theirs = |it: &Value| it["Sid"].as_str().is_some_and(|sid| sid.starts_with("Theirs"));
    if let Some(at) = statements.iter().position(theirs) {
        statements.remove(at);
    }
}
