//! What people, AWS and other software do to an organization, drawn at random.

use std::collections::BTreeSet;

use enroller_lab::Lab;
use enroller_lab::people::Person;
use enroller_sim::World;
use serde_json::{Value, json};

use crate::opening::Chosen;
use crate::verdict::{account_in_scope, accounts_in_scope};

/// The most accounts an organization grows to.
pub(crate) const MOST_ACCOUNTS: usize = 8;

/// The account that others let in by statements of their own.
pub const SOMEBODY_ELSE: &str = "999988887777";

/// An account in a Region.
pub type Spot = (String, String);

/// What was done so far that the verdict has to know of.
#[derive(Debug, Default)]
pub struct Deeds {
    /// Accounts that have the member stack.
    pub deployed: BTreeSet<String>,
    /// Accounts that are out of the organization and may come back.
    pub outside: BTreeSet<String>,
    /// Accounts that were to be enrolled at some time.
    pub once: BTreeSet<String>,
    /// Accounts that do not let the enroller in.
    pub locked_out: BTreeSet<String>,
    /// The settings that are not left at their defaults.
    pub settings: Chosen,
    /// Where a person broke something, until records arrive again.
    pub broken: BTreeSet<Spot>,
    /// What was done, in words.
    pub told: Vec<String>,
    statements: u32,
}

/// An organization that things are done to.
pub struct Mischief<'a> {
    /// Where.
    pub lab: &'a mut Lab,
    /// All chance.
    pub rng: &'a mut fastrand::Rng,
    /// What is remembered of it.
    pub deeds: &'a mut Deeds,
}

impl Mischief<'_> {
    /// Does one thing. What AWS refuses was not done, and no harm.
    pub async fn act(&mut self) {
        match self.rng.u32(0..26) {
            0 | 1 => self.join(),
            2 => self.depart(),
            3 => self.close(),
            4 => self.come_back(),
            5 | 6 => self.wander(),
            7 | 8 => self.create_vpc().await,
            9 => self.delete_vpc().await,
            10 => self.delete_filter().await,
            11 | 12 => self.delete_flow_log().await,
            13 => self.delete_log_group().await,
            14 => self.delete_delivery_role(),
            15 => self.change_retention().await,
            16 => self.edit_policy(add_statement),
            17 => self.edit_policy(|document, _, _| drop_statement(document)),
            18 => self.take_an_account_off(),
            19 => self.deploy_the_rest(),
            20 => self.suspend_or_reinstate(),
            21 => self.lock_out(),
            22 => self.let_in_again(),
            23 => self.tag_vpc(),
            _ => self.change_settings(),
        }
        self.note_scope();
    }

    /// Whoever is to be enrolled now may be granted from now on.
    pub fn note_scope(&mut self) {
        self.deeds.once.extend(accounts_in_scope(self.lab));
    }

    pub(crate) fn tell(&mut self, text: String) {
        let now_ms = self.lab.sim.now_ms();
        self.deeds.told.push(format!("{now_ms} {text}"));
    }

    fn break_at(&mut self, spot: &Spot, text: &str) {
        self.deeds.broken.insert(spot.clone());
        self.tell(format!("{} {}: {text}", spot.0, spot.1));
    }

    pub(crate) fn pick<T>(&mut self, from: Vec<T>) -> Option<T> {
        let mut from = from;
        if from.is_empty() { None } else { Some(from.swap_remove(self.rng.usize(0..from.len()))) }
    }

    /// A place in a member account with the stack.
    pub(crate) fn spot(&mut self) -> Option<Spot> {
        let members = self.lab.sim.members();
        let deployed = members.into_iter().filter(|id| self.deeds.deployed.contains(id)).collect();
        let account = self.pick(deployed)?;
        let region = self.pick(self.lab.regions.clone())?;
        Some((account, region))
    }

    fn person(&self, (account, region): &Spot) -> Person {
        Person::of(&self.lab.sim, account, region)
    }

    async fn create_vpc(&mut self) {
        let Some(spot) = self.spot() else { return };
        let tag = self.tag();
        let tags = if self.rng.u32(0..3) == 0 { vec![(tag.0.as_str(), tag.1.as_str())] } else { Vec::new() };
        if let Ok(id) = self.person(&spot).create_vpc(&tags).await {
            self.tell(format!("{} {}: {id} is created with {tags:?}", spot.0, spot.1));
        }
    }

    /// VPCs that the enroller is to leave alone, in every account.
    pub async fn create_exceptions(&mut self) -> Vec<(Spot, String)> {
        let (mut made, tag) = (Vec::new(), self.lab.settings.opt_out_tag.clone());
        for account in self.lab.sim.members() {
            let spot = (account, self.lab.regions[0].clone());
            let excluded = !account_in_scope(self.lab, &spot.0);
            let tags = [(tag.key.as_str(), tag.value.as_str())];
            let tags = if excluded { &[][..] } else { &tags[..] };
            if let Ok(id) = self.person(&spot).create_vpc(tags).await {
                made.push((spot, id));
            }
        }
        made
    }

    /// A tag that the enroller goes by, or a slip in one.
    fn tag(&mut self) -> (String, String) {
        let settings = &self.lab.settings;
        let (off, traffic) = (settings.opt_out_tag.clone(), settings.traffic_type_tag.clone());
        match self.rng.u32(0..6) {
            0 | 1 => (off.key, off.value),
            2 => (off.key, "on".to_owned()),
            3 => (traffic, "REJECT".to_owned()),
            4 => (traffic, "ACCEPT".to_owned()),
            _ => (traffic, "nothing known".to_owned()),
        }
    }

    /// Somebody tags a VPC, of which no event tells.
    fn tag_vpc(&mut self) {
        let Some(spot) = self.spot() else { return };
        let vpcs = self.lab.sim.with(|world| ids(world.ec2.vpcs(&spot.0, &spot.1).map(|vpc| &vpc.id)));
        let Some(id) = self.pick(vpcs) else { return };
        let (key, value) = self.tag();
        if self.lab.sim.with(|world| world.put_vpc_tag(&spot.0, &spot.1, &id, &key, &value)) {
            self.tell(format!("{} {}: {id} gets the tag {key}={value}", spot.0, spot.1));
        }
    }

    async fn delete_vpc(&mut self) {
        let Some(spot) = self.spot() else { return };
        let vpcs = self.lab.sim.with(|world| ids(world.ec2.vpcs(&spot.0, &spot.1).map(|vpc| &vpc.id)));
        let Some(id) = self.pick(vpcs) else { return };
        if self.person(&spot).delete_vpc(&id).await.is_ok() {
            self.tell(format!("{} {}: {id} is deleted", spot.0, spot.1));
        }
    }

    async fn delete_filter(&mut self) {
        let Some(spot) = self.spot() else { return };
        let (group, filter) = (self.lab.settings.log_group_name.to_string(), self.lab.settings.filter_name.to_string());
        if self.person(&spot).delete_filter(&group, &filter).await.is_ok() {
            self.break_at(&spot, "the filter is deleted");
        }
    }

    async fn delete_flow_log(&mut self) {
        let Some(spot) = self.spot() else { return };
        let group = self.lab.settings.log_group_name.to_string();
        let logs = self.lab.sim.with(|world| {
            let logs = world.ec2.flow_logs(&spot.0, &spot.1);
            ids(logs.filter(|log| log.log_group_name.as_ref() == Some(&group)).map(|log| &log.id))
        });
        let Some(id) = self.pick(logs) else { return };
        if self.person(&spot).delete_flow_log(&id).await.is_ok() {
            self.break_at(&spot, "a flow log is deleted");
        }
    }

    async fn delete_log_group(&mut self) {
        let Some(spot) = self.spot() else { return };
        let group = self.lab.settings.log_group_name.to_string();
        if self.person(&spot).delete_log_group(&group).await.is_ok() {
            self.break_at(&spot, "the log group is deleted");
        }
    }

    /// Only where the enroller makes it: nobody else would put it back.
    fn delete_delivery_role(&mut self) {
        if self.lab.settings.delivery_role_maker != enroller_core::settings::DeliveryRoleMaker::Enroller {
            return;
        }
        let Some((account, _)) = self.spot() else { return };
        let role = self.lab.settings.delivery_role_name.to_string();
        if self.lab.sim.with(|world| world.iam.remove_role(&account, &role)).is_some() {
            for region in self.lab.regions.clone() {
                self.break_at(&(account.clone(), region), "the delivery role is deleted");
            }
        }
    }

    async fn change_retention(&mut self) {
        let Some(spot) = self.spot() else { return };
        let group = self.lab.settings.log_group_name.to_string();
        if self.person(&spot).put_retention(&group, 7).await.is_ok() {
            self.tell(format!("{} {}: retention is changed", spot.0, spot.1));
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
        self.deeds.settings.retain(|(other, _)| *other != key);
        self.deeds.settings.push((key, value.clone()));
        let changes: Vec<(&str, &str)> =
            self.deeds.settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        if self.lab.reconfigure(&changes).is_ok() {
            self.tell(format!("settings: {key} is {value:?}"));
        }
    }

    fn edit_policy(&mut self, edit: impl Fn(&mut Vec<Value>, &str, u32)) {
        let Some(region) = self.pick(self.lab.regions.clone()) else { return };
        self.deeds.statements += 1;
        let number = self.deeds.statements;
        let central = self.lab.sim.central();
        let done = self
            .lab
            .sim
            .with(|world| edit_policies(world, &central, &region, |statements, arn| edit(statements, arn, number)));
        self.tell(format!("the policies of {region} are edited: {done}"));
    }

    fn take_an_account_off(&mut self) {
        let Some((account, region)) = self.spot() else { return };
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
        self.break_at(&(account, region), "taken off the policy");
    }
}

fn ids<'a>(ids: impl Iterator<Item = &'a String>) -> Vec<String> {
    ids.cloned().collect()
}

/// Somebody reads every policy of a Region, changes its statements and puts it back. Returns whether AWS took them all.
pub fn edit_policies(
    world: &mut World,
    central: &str,
    region: &str,
    mut edit: impl FnMut(&mut Vec<Value>, &str),
) -> bool {
    let mut taken = true;
    let destinations: Vec<_> = world.logs.destinations(central, region).cloned().collect();
    for destination in destinations {
        let Some(policy) = &destination.access_policy else { continue };
        let Ok(mut document) = serde_json::from_str::<Value>(policy) else { continue };
        if let Some(Value::Array(statements)) = document.get_mut("Statement") {
            edit(statements, &destination.arn);
            if !statements.is_empty() {
                let put = world.put_destination_policy(central, region, &destination.name, &document.to_string());
                taken &= put.is_ok();
            }
        }
    }
    taken
}

/// Adds a statement of somebody else's.
pub fn add_statement(statements: &mut Vec<Value>, arn: &str, number: u32) {
    statements.push(json!({
        "Sid": format!("Theirs{number}"), "Effect": "Allow", "Principal": {"AWS": SOMEBODY_ELSE},
        "Action": "logs:PutSubscriptionFilter", "Resource": arn
    }));
}

fn drop_statement(statements: &mut Vec<Value>) {
    let theirs = |it: &Value| it["Sid"].as_str().is_some_and(|sid| sid.starts_with("Theirs"));
    if let Some(at) = statements.iter().position(theirs) {
        statements.remove(at);
    }
}
