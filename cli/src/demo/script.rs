//! The story of the demo, act by act.

use anyhow::Context;
use enroller_lab::Lab;
use enroller_lab::people::Person;
use enroller_sim::NewAccount;
use fastrand::Rng;
use serde_json::json;

use super::show::Show;
use crate::args::DemoArgs;
use crate::output::count;

/// Traffic is simulated once a minute.
const TICK_MS: u64 = 60_000;

/// The most virtual time that an act may take. It is longer than an account needs to become ready.
const ACT_MS: u64 = 2 * 3_600_000;

/// The time between the creation of an account and the deployment of its member stack.
const STACK_AFTER_MS: u64 = 150_000;

/// Most VPCs that people create in an act.
const NEW_VPCS: usize = 5;

/// The running demo: the simulation, the timeline, and the source of randomness.
pub(super) struct Script {
    pub(super) lab: Lab,
    pub(super) show: Show,
    regions: Vec<String>,
    vpcs: usize,
    random: Rng,
    last_tick_ms: u64,
}

impl Script {
    pub(super) fn new(lab: Lab, show: Show, regions: Vec<String>, args: &DemoArgs) -> Self {
        let last_tick_ms = lab.sim.now_ms();
        Self { lab, show, regions, vpcs: args.vpcs, random: Rng::with_seed(args.seed), last_tick_ms }
    }

    pub(super) async fn play(&mut self, joining: usize) -> anyhow::Result<()> {
        self.before_installation().await?;
        self.installation().await?;
        if joining > 0 {
            self.accounts_join(joining).await?;
        }
        self.vpcs_are_created().await?;
        self.someone_deletes().await?;
        self.an_account_leaves().await?;
        self.sweep().await
    }

    async fn before_installation(&mut self) -> anyhow::Result<()> {
        let accounts = self.lab.sim.members().len();
        self.show.act("An organization without VPC Flow Logs");
        let text = format!(
            "{} in {} ({}), each with {} and a default VPC per Region",
            count(accounts, "account"),
            count(self.regions.len(), "Region"),
            self.regions.join(", "),
            count(self.vpcs, "VPC")
        );
        self.event(&text);
        self.minutes(1);
        Ok(())
    }

    async fn installation(&mut self) -> anyhow::Result<()> {
        self.show.act("The enroller is installed");
        self.event("central stack: buses, rules, queues, stream and the three functions");
        for account in self.lab.sim.members() {
            self.lab.stacks.deploy_member(&account)?;
        }
        self.event("member stack (StackSet) in every account: roles and event rules");
        self.lab.sweep(json!({ "reason": "first backfill" })).await?;
        self.event("an operator starts the first backfill");
        self.until_quiet().await
    }

    async fn accounts_join(&mut self, joining: usize) -> anyhow::Result<()> {
        self.show.act("Accounts join, all at once");
        let mut accounts = Vec::new();
        for number in 0..joining {
            let new = NewAccount { name: format!("joined-{number:05}"), ..NewAccount::default() };
            accounts.push(self.lab.sim.with(|world| world.create_account(&new))?);
        }
        self.event(&format!("{} created: {}", count(joining, "account"), some_of(&accounts)));
        self.for_a_while(STACK_AFTER_MS).await?;
        for account in &accounts {
            self.lab.stacks.deploy_member(account)?;
            self.lab.stacks.announce_member(account);
        }
        self.event("the member stack is deployed there, two and a half minutes later");
        self.until_quiet().await?;
        for account in accounts.iter().take(NEW_VPCS) {
            for _ in 0..self.vpcs.min(1) {
                let region = self.any_region();
                let vpc = Person::of(&self.lab.sim, account, &region).create_vpc(&[]).await?;
                self.event(&format!("the first VPC that a new account creates: {vpc} in {account}, {region}"));
            }
        }
        self.until_quiet().await
    }

    async fn vpcs_are_created(&mut self) -> anyhow::Result<()> {
        self.show.act("People create VPCs");
        for _ in 0..NEW_VPCS {
            let (account, region) = (self.any_account(), self.any_region());
            let vpc = Person::of(&self.lab.sim, &account, &region).create_vpc(&[("Name", "demo")]).await?;
            self.event(&format!("{vpc} in {account}, {region}"));
        }
        self.until_quiet().await
    }

    async fn someone_deletes(&mut self) -> anyhow::Result<()> {
        self.show.act("Someone deletes what the enroller created");
        let (account, region) = (self.any_account(), self.any_region());
        let person = Person::of(&self.lab.sim, &account, &region);
        let (id, vpc) = person.flow_logs().await?.into_iter().next().context("nothing was enrolled")?;
        person.delete_flow_log(&id).await?;
        self.event(&format!("flow log {id} of {vpc} in {account}, {region}"));
        let (account, region) = (self.any_account(), self.any_region());
        let (group, filter) = (&self.lab.settings.log_group_name, &self.lab.settings.filter_name);
        Person::of(&self.lab.sim, &account, &region).delete_filter(group.as_str(), filter.as_str()).await?;
        let text = format!("subscription filter {filter} in {account}, {region}");
        self.event(&text);
        self.until_quiet().await
    }

    async fn an_account_leaves(&mut self) -> anyhow::Result<()> {
        let (management, central) = (self.lab.sim.management(), self.lab.sim.central());
        let leavers: Vec<String> =
            self.lab.sim.members().into_iter().filter(|id| *id != management && *id != central).collect();
        let Some(leaver) = self.random.choice(&leavers).cloned() else { return Ok(()) };
        self.show.act("An account leaves");
        self.lab.sim.with(|world| world.leave(&leaver))?;
        self.event(&format!("{leaver} leaves the organization"));
        self.until_quiet().await
    }

    async fn sweep(&mut self) -> anyhow::Result<()> {
        self.show.act("The nightly sweep checks everything again");
        self.lab.sweep(json!({ "reason": "nightly sweep" })).await?;
        self.until_quiet().await
    }

    fn event(&mut self, text: &str) {
        self.show.event(self.lab.sim.now_ms(), text);
    }

    fn any_account(&mut self) -> String {
        let members = self.lab.sim.members();
        self.random.choice(&members).cloned().unwrap_or_default()
    }

    fn any_region(&mut self) -> String {
        self.random.choice(&self.regions).cloned().unwrap_or_default()
    }

    /// Lets the functions work until nothing is left to do, and then traffic flow for two minutes.
    async fn until_quiet(&mut self) -> anyhow::Result<()> {
        self.for_a_while(ACT_MS).await?;
        self.minutes(2);
        Ok(())
    }

    async fn for_a_while(&mut self, ms: u64) -> anyhow::Result<()> {
        let (show, last_tick_ms, regions) = (&mut self.show, &mut self.last_tick_ms, &self.regions);
        let mut watch = |lab: &Lab| {
            show.decisions(lab.sim.now_ms(), &lab.recording.take());
            show.progress(lab, regions);
            tick(lab, last_tick_ms);
        };
        self.lab.settle_watched(ms, &mut watch).await?;
        self.show.flush(self.lab.sim.now_ms());
        Ok(())
    }

    fn minutes(&mut self, minutes: usize) {
        for _ in 0..minutes {
            self.lab.sim.advance(TICK_MS);
            tick(&self.lab, &mut self.last_tick_ms);
        }
    }
}

/// Simulates traffic if a minute has passed since the last time.
fn tick(lab: &Lab, last_tick_ms: &mut u64) {
    let now_ms = lab.sim.now_ms();
    if now_ms.saturating_sub(*last_tick_ms) >= TICK_MS {
        lab.sim.traffic_tick();
        *last_tick_ms = now_ms;
    }
}

fn some_of(ids: &[String]) -> String {
    const SHOWN: usize = 4;
    let mut text = ids.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if ids.len() > SHOWN {
        text.push_str(&format!(" and {} more", ids.len() - SHOWN));
    }
    text
}
