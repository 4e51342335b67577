//! The organization that commands with `--sim` work on. It was enrolled once and then partly broken.

use anyhow::Context;
use enroller_lab::people::Person;
use enroller_lab::{Lab, LabOptions};
use enroller_sim::SimBuilder;
use enroller_sim::organizations::AccountState;
use enroller_sim::world::ServiceControlDeny;
use serde_json::json;

/// A day, which is long enough in virtual time for everything to settle.
const DAY_MS: u64 = 86_400_000;

const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];

/// Builds the organization. The result is the same every time, so that documents can refer to it.
pub(crate) async fn organization(accounts: usize, vpcs: usize) -> anyhow::Result<Lab> {
    let regions = REGIONS.iter().map(|region| (*region).to_owned()).collect();
    let organization = SimBuilder { accounts, regions, vpcs, ..SimBuilder::default() };
    let lab = Lab::new(&LabOptions { organization, settings: Vec::new() }).context("cannot build the simulation")?;
    let members = lab.sim.members();
    let ordinary: Vec<String> =
        members.iter().filter(|id| **id != lab.sim.management() && **id != lab.sim.central()).cloned().collect();
    // The last third of the accounts has no member stack yet. All others are enrolled.
    let enrolled = ordinary.len() - ordinary.len() / 3;
    for account in members.iter().filter(|id| !ordinary[enrolled..].contains(*id)) {
        lab.stacks.deploy_member(account)?;
    }
    lab.sweep(json!({ "reason": "first backfill" })).await?;
    lab.settle(DAY_MS).await?;
    // Now they get the member stack, except the last one.
    for account in ordinary[enrolled..].iter().filter(|id| Some(*id) != ordinary.last()) {
        lab.stacks.deploy_member(account)?;
    }
    break_things(&lab, &ordinary[..enrolled]).await?;
    if let [.., denied, _] = ordinary.as_slice() {
        let deny = ServiceControlDeny { region: Some(REGIONS[1].to_owned()), action_prefix: "ec2:".to_owned() };
        lab.sim.with(|world| world.accounts.get_mut(denied).map(|account| account.denies.push(deny)));
    }
    Ok(lab)
}

/// Settings that the simulation determines.
const DETERMINED: [&str; 4] = ["central_account", "organization_id", "home_region", "regions"];

/// Changes settings of the installation, so that a plan shows the effect.
pub(crate) fn reconfigure(lab: &mut Lab, changes: &[(&'static str, String)]) -> anyhow::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    for (key, _) in changes {
        anyhow::ensure!(!DETERMINED.contains(key), "{key} cannot be set with --sim: the simulation determines it");
    }
    let changes: Vec<(&str, &str)> = changes.iter().map(|(key, value)| (*key, value.as_str())).collect();
    Ok(lab.reconfigure(&changes)?)
}

/// Breaks a different thing in each of the first enrolled accounts.
async fn break_things(lab: &Lab, enrolled: &[String]) -> anyhow::Result<()> {
    let home = REGIONS[0];
    // The functions do not run any more, so they repair none of this.
    for (number, account) in enrolled.iter().enumerate() {
        let person = Person::of(&lab.sim, account, home);
        match number {
            0 => {
                let (flow_log, _) = person.flow_logs().await?.into_iter().next().context("nothing was enrolled")?;
                person.delete_flow_log(&flow_log).await?;
            }
            1 => {
                let (group, filter) = (&lab.settings.log_group_name, &lab.settings.filter_name);
                person.delete_filter(group.as_str(), filter.as_str()).await?;
            }
            2 => {
                person.create_vpc(&[("Name", "scratch"), ("vpc-flow-logs", "off")]).await?;
                let vpc = person.create_vpc(&[("Name", "shop")]).await?;
                let owner = account.clone();
                if let Some(neighbour) = enrolled.get(3) {
                    lab.sim.with(|world| world.ec2.share_vpc(&owner, home, &vpc, neighbour));
                }
            }
            3 => {
                lab.sim.with(|world| world.iam.remove_role(account, lab.settings.delivery_role_name.as_str()));
                lab.sim.traffic_tick();
            }
            4 => lab.sim.with(|world| world.set_account_state(account, AccountState::Suspended))?,
            _ => {}
        }
    }
    Ok(())
}
