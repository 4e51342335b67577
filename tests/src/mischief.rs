//! What people, AWS and other software do to an organization, drawn at random.

use std::collections::BTreeSet;

use enroller_sim::organizations::AccountState;
use enroller_sim::{NewAccount, World};
use enroller_testkit::Lab;
use enroller_testkit::people::Person;
use serde_json::{Value, json};

/// The most accounts an organization grows to.
const MOST_ACCOUNTS: usize = 8;

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
        match self.rng.u32(0..20) {
            0 | 1 => self.join(),
            2 => self.depart(),
            3 => self.close(),
            4 => self.come_back(),
            5 => self.wander(),
            6 | 7 => self.create_vpc().await,
            8 => self.delete_vpc().await,
            9 => self.delete_filter().await,
            10 | 11 => self.delete_flow_log().await,
            12 => self.delete_log_group().await,
            13 => self.delete_delivery_role(),
            14 => self.change_retention().await,
            15 => self.edit_policy(add_statement),
            16 => self.edit_policy(|document, _, _| drop_statement(document)),
            17 => self.take_an_account_off(),
            18 => self.deploy_the_rest(),
            _ => self.change_settings(),
        }
    }

    fn tell(&mut self, text: String) {
        let now_ms = self.lab.sim.now_ms();
        self.deeds.told.push(format!("{now_ms} {text}"));
    }

    fn break_at(&mut self, spot: &Spot, text: &str) {
        self.deeds.broken.insert(spot.clone());
        self.tell(format!("{} {}: {text}", spot.0, spot.1));
    }

    /// Members that are not being closed, without those that must stay.
    fn movable(&mut self) -> Option<String> {
        let found = self.lab.sim.with(|world| {
            let organization = &world.organization;
            let active = organization.members().filter(|(_, member)| member.state == AccountState::Active);
            let ids = active.map(|(id, _)| id.to_owned());
            ids.filter(|id| id != organization.management() && !organization.is_delegated_administrator(id))
                .collect::<Vec<_>>()
        });
        self.pick(found)
    }

    fn pick<T>(&mut self, from: Vec<T>) -> Option<T> {
        let mut from = from;
        if from.is_empty() { None } else { Some(from.swap_remove(self.rng.usize(0..from.len()))) }
    }

    /// A place in a member account with the stack.
    fn spot(&mut self) -> Option<Spot> {
        let members = self.lab.sim.members();
        let deployed = members.into_iter().filter(|id| self.deeds.deployed.contains(id)).collect();
        let account = self.pick(deployed)?;
        let region = self.pick(self.lab.regions.clone())?;
        Some((account, region))
    }

    fn person(&self, (account, region): &Spot) -> Person {
        Person::of(&self.lab.sim, account, region)
    }

    fn join(&mut self) {
        if self.lab.sim.members().len() >= MOST_ACCOUNTS {
            return;
        }
        let assumable_in_ms = if self.rng.bool() { 0 } else { self.rng.u64(0..300_000) };
        let new = NewAccount { name: "joined".to_owned(), assumable_in_ms, ..NewAccount::default() };
        let Ok(account) = self.lab.sim.with(|world| world.create_account(&new)) else { return };
        self.tell(format!("{account} is created"));
        if self.rng.u32(0..3) > 0 {
            self.deploy(&account);
        }
    }

    fn deploy(&mut self, account: &str) {
        if self.lab.stacks.deploy_member(account).is_ok() {
            self.lab.stacks.announce_member(account);
            self.deeds.deployed.insert(account.to_owned());
            self.tell(format!("{account} gets its stack"));
        }
    }

    /// Deploys the member stack wherever it is missing.
    pub fn deploy_the_rest(&mut self) {
        for account in self.lab.sim.members() {
            if !self.deeds.deployed.contains(&account) {
                self.deploy(&account);
            }
        }
    }

    fn depart(&mut self) {
        let Some(account) = self.movable() else { return };
        let thrown_out = self.rng.bool();
        let gone = self.lab.sim.with(|world| if thrown_out { world.remove(&account) } else { world.leave(&account) });
        if gone.is_ok() {
            self.tell(format!("{account} leaves"));
            self.deeds.outside.insert(account);
        }
    }

    fn come_back(&mut self) {
        let Some(account) = self.pick(self.deeds.outside.iter().cloned().collect()) else { return };
        if self.lab.sim.with(|world| world.accept_invitation(&account)).is_ok() {
            self.deeds.outside.remove(&account);
            self.tell(format!("{account} comes back"));
            // Its grant went with it, so its records are lost until it has one again.
            for region in self.lab.regions.clone() {
                self.deeds.broken.insert((account.clone(), region));
            }
        }
    }

    fn close(&mut self) {
        let Some(account) = self.movable() else { return };
        if self.lab.sim.with(|world| world.close(&account)).is_ok() {
            self.tell(format!("{account} is being closed"));
            if self.rng.bool() {
                self.finish_closing();
            }
        }
    }

    /// Closes for good what is being closed.
    pub fn finish_closing(&mut self) {
        let closing = self.lab.sim.with(|world| {
            let members = world.organization.members();
            let closing = members.filter(|(_, member)| member.state == AccountState::PendingClosure);
            closing.map(|(id, _)| id.to_owned()).collect::<Vec<_>>()
        });
        for account in closing {
            if self.lab.sim.with(|world| world.finish_closing(&account)).is_ok() {
                self.tell(format!("{account} is closed"));
            }
        }
    }

    fn wander(&mut self) {
        let Some(account) = self.movable() else { return };
        let units = self.lab.sim.with(|world| world.organization.units().map(|(id, _)| id.to_owned()).collect());
        let Some(unit) = self.pick(units) else { return };
        if self.lab.sim.with(|world| world.move_account(&account, &unit)).is_ok() {
            self.tell(format!("{account} moves to {unit}"));
        }
    }

    async fn create_vpc(&mut self) {
        let Some(spot) = self.spot() else { return };
        if let Ok(id) = self.person(&spot).create_vpc(&[]).await {
            self.tell(format!("{} {}: {id} is created", spot.0, spot.1));
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
        let interval = self.rng.choice(["60", "600"]).unwrap_or("60");
        let retention = self.rng.choice(["30", "90", "never-expire"]).unwrap_or("30");
        let maker = match self.lab.settings.delivery_role_maker {
            enroller_core::settings::DeliveryRoleMaker::Enroller => "enroller",
            enroller_core::settings::DeliveryRoleMaker::MemberStack => "member-stack",
        };
        let changes = [
            ("aggregation_interval", interval),
            ("retention_days", retention),
            ("delivery_role_maker", maker),
            ("revocation_limit_percent", "100"),
        ];
        if self.lab.reconfigure(&changes).is_ok() {
            self.tell(format!("settings: interval {interval}, retention {retention}"));
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
