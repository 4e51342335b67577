//! The scenarios of the fault matrix: settled organizations with unmanaged resources, and what happens to them.

use enroller_core::settings::GrantMode;
use enroller_lab::Lab;
use enroller_lab::people::Person;
use enroller_sim::NewAccount;
use enroller_sim::organizations::AccountState;
use serde_json::json;

use crate::chaos::FOREIGN_ACCOUNT;
use crate::initial_state::fill_first_shards;
use crate::matrix::Scenario;
use crate::{DAY_MS, ordinary_member, with_settings};

/// The home Region.
pub const IRELAND: &str = "eu-west-1";
/// A Region beside the home Region.
pub const VIRGINIA: &str = "us-east-1";
/// `Sid` of the unmanaged statement on the first destination.
const FOREIGN_SID: &str = "SomebodyElse";

/// The scenarios of the fault matrix, each with a name of its own.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "fresh account",
        prepare: || Box::pin(settled(2, &[IRELAND, VIRGINIA], &[])),
        begin: |lab| Box::pin(join(lab, 0)),
        sweep: false,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "fresh account, role made by the enroller",
        prepare: || Box::pin(settled(2, &[IRELAND, VIRGINIA], &[("delivery_role_maker", "enroller")])),
        begin: |lab| Box::pin(join(lab, 0)),
        sweep: false,
        lossless: true,
        repairs: &["UpdateAssumeRolePolicy"],
    },
    Scenario {
        name: "fresh account that is not ready yet",
        prepare: || Box::pin(settled(2, &[IRELAND], &[])),
        begin: |lab| Box::pin(join(lab, 100_000)),
        sweep: false,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "new VPC",
        prepare: || Box::pin(settled(3, &[IRELAND], &[])),
        begin: |lab| Box::pin(new_vpc(lab)),
        sweep: false,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "flow log deleted",
        prepare: || Box::pin(settled(3, &[IRELAND], &[])),
        begin: |lab| Box::pin(delete_flow_log(lab)),
        sweep: false,
        lossless: false,
        repairs: &[],
    },
    Scenario {
        name: "filter deleted",
        prepare: || Box::pin(settled(3, &[IRELAND], &[])),
        begin: |lab| Box::pin(delete_filter(lab)),
        sweep: false,
        lossless: false,
        repairs: &[],
    },
    Scenario {
        name: "log group deleted",
        prepare: || Box::pin(settled(3, &[IRELAND], &[])),
        begin: |lab| Box::pin(delete_log_group(lab)),
        sweep: false,
        lossless: false,
        repairs: &[],
    },
    Scenario {
        name: "settings change",
        prepare: || Box::pin(settled(2, &[IRELAND], &[])),
        begin: |lab| Box::pin(change_settings(lab)),
        sweep: true,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "settings change where AWS refuses twins",
        prepare: || Box::pin(settled(2, &[IRELAND], &[])),
        begin: |lab| Box::pin(change_settings_without_twins(lab)),
        sweep: true,
        lossless: false,
        repairs: &[],
    },
    Scenario {
        name: "account leaves",
        prepare: || Box::pin(settled(4, &[IRELAND, VIRGINIA], &[])),
        begin: |lab| Box::pin(leave(lab)),
        sweep: false,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "delivery role deleted",
        prepare: || Box::pin(settled(2, &[IRELAND], &[("delivery_role_maker", "enroller")])),
        begin: |lab| Box::pin(delete_delivery_role(lab)),
        sweep: true,
        lossless: false,
        repairs: &["UpdateAssumeRolePolicy"],
    },
    Scenario {
        name: "retention changed",
        prepare: || Box::pin(settled(2, &[IRELAND], &[])),
        begin: |lab| Box::pin(change_retention(lab)),
        sweep: false,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "new VPCs, one of them opted out",
        prepare: || Box::pin(settled(2, &[IRELAND], &[])),
        begin: |lab| Box::pin(new_vpcs(lab)),
        sweep: false,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "fresh account in organization mode",
        prepare: || Box::pin(settled(2, &[IRELAND], &[("grant_mode", "organization")])),
        begin: |lab| Box::pin(join(lab, 0)),
        sweep: false,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "fresh account that needs another shard",
        prepare: || Box::pin(full(2)),
        begin: |lab| Box::pin(join(lab, 0)),
        sweep: false,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "account no longer excluded",
        prepare: || Box::pin(with_one_excluded(3)),
        begin: |lab| Box::pin(async { reconfigure(lab, &[]) }),
        sweep: true,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "suspended account reinstated",
        prepare: || Box::pin(with_one_suspended(3)),
        begin: |lab| Box::pin(async { set_state(lab, AccountState::Active) }),
        sweep: true,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "backfill of several accounts",
        prepare: || Box::pin(without_events(4, &[IRELAND, VIRGINIA])),
        begin: |_| Box::pin(async {}),
        sweep: true,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "log group renamed",
        prepare: || Box::pin(settled(2, &[IRELAND], &[])),
        begin: |lab| Box::pin(rename_group(lab)),
        sweep: true,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "member role made anew",
        prepare: || Box::pin(settled(3, &[IRELAND], &[])),
        begin: |lab| Box::pin(remake_member_role(lab)),
        sweep: false,
        lossless: true,
        repairs: &[],
    },
    Scenario {
        name: "two enrollers at once",
        prepare: || Box::pin(overlapping(3)),
        begin: |lab| Box::pin(two_at_once(lab)),
        sweep: false,
        // People delete a flow log and a filter in it.
        lossless: false,
        repairs: &[],
    },
];

fn bare(accounts: usize, regions: &[&str], settings: &[(&'static str, &str)]) -> Lab {
    let lab = with_settings(accounts, regions, 1, settings);
    if lab.settings.grant_mode == GrantMode::Organization {
        return lab;
    }
    // Another administrator has added a statement to the destination of the first Region.
    let home = regions[0];
    let arn = lab.stacks.destination_arns()[home].clone();
    let central = lab.sim.central();
    let settings = &lab.settings;
    let target = settings.destination_target_arn.as_ref().map(ToString::to_string).unwrap_or_default();
    let role = settings.destination_role_arn.as_ref().map(ToString::to_string).unwrap_or_default();
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": FOREIGN_SID, "Effect": "Allow", "Principal": {"AWS": FOREIGN_ACCOUNT},
        "Action": "logs:PutSubscriptionFilter", "Resource": arn}]});
    let name = settings.destination_name.base().as_str();
    let made = lab.sim.with(|world| {
        world.put_destination(&central, home, name, &target, &role)?;
        world.put_destination_policy(&central, home, name, &policy.to_string())
    });
    made.unwrap_or_else(|refusal| fail(refusal));
    lab
}

fn fail(error: impl std::fmt::Display) -> ! {
    panic!("the scenario itself failed: {error}")
}

/// An organization in which everything is enrolled, nothing is left to do, and every account has unmanaged resources.
async fn settled(accounts: usize, regions: &[&str], settings: &[(&'static str, &str)]) -> Lab {
    let lab = enroll_all(bare(accounts, regions, settings)).await;
    for account in lab.sim.members() {
        add_foreign_resources(&lab, &account, true).await;
    }
    lab.settle(DAY_MS).await.unwrap_or_else(|error| fail(error));
    lab
}

/// A settled organization whose destination policy has no room for another account.
async fn full(accounts: usize) -> Lab {
    let lab = with_settings(accounts, &[IRELAND], 1, &[]);
    fill_first_shards(&lab, accounts);
    enroll_all(lab).await
}

/// A settled organization in which one account is excluded.
async fn with_one_excluded(accounts: usize) -> Lab {
    let mut lab = bare(accounts, &[IRELAND], &[]);
    let account = ordinary_member(&lab);
    reconfigure(&mut lab, &[("excluded_accounts", &account)]);
    enroll_all(lab).await
}

/// A settled organization in which AWS has suspended one account.
async fn with_one_suspended(accounts: usize) -> Lab {
    let mut lab = bare(accounts, &[IRELAND], &[]);
    set_state(&mut lab, AccountState::Suspended);
    enroll_all(lab).await
}

async fn enroll_all(lab: Lab) -> Lab {
    lab.deploy_members().unwrap_or_else(|error| fail(error));
    lab.settle(DAY_MS).await.unwrap_or_else(|error| fail(error));
    lab
}

/// An organization with every member stack deployed, of which no event reported anything.
async fn without_events(accounts: usize, regions: &[&str]) -> Lab {
    let lab = bare(accounts, regions, &[]);
    for account in lab.sim.members() {
        lab.stacks.deploy_member(&account).unwrap_or_else(|error| fail(error));
        add_foreign_resources(&lab, &account, false).await;
    }
    lab.settle(DAY_MS).await.unwrap_or_else(|error| fail(error));
    lab
}

/// Adds unmanaged resources to an account: a flow log on one of its VPCs, a log group with a filter and, in an enrolled
/// account, a filter on the managed log group.
async fn add_foreign_resources(lab: &Lab, account: &str, enrolled: bool) {
    for region in &lab.regions {
        let person = Person::of(&lab.sim, account, region);
        let vpc = vpcs(lab, account, region).remove(0);
        let function = format!("arn:aws:lambda:{region}:{account}:function:theirs");
        let made = async {
            person.log_to_bucket(&vpc, "arn:aws:s3:::their-bucket").await?;
            person.create_log_group("theirs").await?;
            person.put_retention("theirs", 7).await?;
            person.filter_to_function("theirs", "Theirs", &function).await?;
            match enrolled {
                true => person.filter_to_function(lab.settings.log_group_name.as_str(), "Theirs", &function).await,
                false => Ok(()),
            }
        };
        made.await.unwrap_or_else(|error| fail(error));
    }
}

fn vpcs(lab: &Lab, account: &str, region: &str) -> Vec<String> {
    lab.sim.with(|world| world.ec2.vpcs(account, region).map(|vpc| vpc.id.clone()).collect())
}

async fn join(lab: &mut Lab, assumable_in_ms: u64) {
    let new = NewAccount { name: "fresh".to_owned(), assumable_in_ms, ..NewAccount::default() };
    let account = lab.sim.with(|world| world.create_account(&new)).unwrap_or_else(|error| fail(error));
    add_foreign_resources(lab, &account, false).await;
    lab.stacks.deploy_member(&account).unwrap_or_else(|error| fail(error));
    lab.stacks.announce_member(&account);
}

async fn new_vpc(lab: &mut Lab) {
    let person = Person::of(&lab.sim, &ordinary_member(lab), IRELAND);
    person.create_vpc(&[]).await.unwrap_or_else(|error| fail(error));
}

async fn delete_flow_log(lab: &mut Lab) {
    let account = ordinary_member(lab);
    let managed = lab.sim.with(|world| {
        let mut logs = world.ec2.flow_logs(&account, IRELAND).filter(|log| log.log_group_name.is_some());
        logs.next().map(|log| log.id.clone())
    });
    let id = managed.unwrap_or_else(|| fail("there is no flow log"));
    Person::of(&lab.sim, &account, IRELAND).delete_flow_log(&id).await.unwrap_or_else(|error| fail(error));
}

async fn delete_filter(lab: &mut Lab) {
    let person = Person::of(&lab.sim, &ordinary_member(lab), IRELAND);
    person.delete_filter("vpc-flow-logs", "AllTraffic").await.unwrap_or_else(|error| fail(error));
}

async fn delete_log_group(lab: &mut Lab) {
    let person = Person::of(&lab.sim, &ordinary_member(lab), IRELAND);
    person.delete_log_group("vpc-flow-logs").await.unwrap_or_else(|error| fail(error));
}

async fn delete_delivery_role(lab: &mut Lab) {
    let (account, role) = (lab.sim.management(), lab.settings.delivery_role_name.to_string());
    lab.sim.with(|world| world.iam.remove_role(&account, &role)).unwrap_or_else(|| fail("there is no role"));
    // AWS reports a missing role only after a delivery needed it.
    lab.sim.traffic_tick();
}

async fn change_retention(lab: &mut Lab) {
    let person = Person::of(&lab.sim, &lab.sim.management(), IRELAND);
    person.put_retention("vpc-flow-logs", 7).await.unwrap_or_else(|error| fail(error));
}

async fn new_vpcs(lab: &mut Lab) {
    let person = Person::of(&lab.sim, &lab.sim.management(), IRELAND);
    let tag = &lab.settings.opt_out_tag;
    person.create_vpc(&[(&tag.key, &tag.value)]).await.unwrap_or_else(|error| fail(error));
    person.create_vpc(&[]).await.unwrap_or_else(|error| fail(error));
}

fn set_state(lab: &mut Lab, state: AccountState) {
    let account = ordinary_member(lab);
    lab.sim.with(|world| world.set_account_state(&account, state)).unwrap_or_else(|error| fail(error));
}

fn reconfigure(lab: &mut Lab, changes: &[(&str, &str)]) {
    lab.reconfigure(changes).unwrap_or_else(|error| fail(error));
}

async fn change_settings(lab: &mut Lab) {
    reconfigure(lab, &[("aggregation_interval", "60"), ("retention_days", "90"), ("filter_pattern", "-NODATA")]);
}

async fn change_settings_without_twins(lab: &mut Lab) {
    lab.sim.with(|world| world.settings.twin_rule = enroller_sim::TwinRule::SameDestination);
    change_settings(lab).await;
}

/// The member stack is updated, and the upgrade ends with a backfill.
async fn rename_group(lab: &mut Lab) {
    reconfigure(lab, &[("log_group_name", "vpc-flow-logs-2")]);
    for account in lab.sim.members() {
        lab.stacks.deploy_member(&account).unwrap_or_else(|error| fail(error));
    }
}

/// A warm enroller has a session of the old role.
async fn remake_member_role(lab: &mut Lab) {
    let (account, role) = (ordinary_member(lab), lab.settings.member_role_name.to_string());
    new_vpc(lab).await;
    lab.settle(DAY_MS).await.unwrap_or_else(|error| fail(error));
    lab.sim.with(|world| world.iam.remove_role(&account, &role)).unwrap_or_else(|| fail("there is no role"));
    lab.stacks.deploy_member(&account).unwrap_or_else(|error| fail(error));
    new_vpc(lab).await;
}

/// A settled organization in which invocations overlap and their calls interleave.
async fn overlapping(accounts: usize) -> Lab {
    let mut lab = settled(accounts, &[IRELAND], &[]).await;
    lab.overlap().unwrap_or_else(|error| fail(error));
    lab.sim.with(|world| world.settings.interleave = 9);
    lab
}

/// An account joins, and several events concern another one.
async fn two_at_once(lab: &mut Lab) {
    for _ in 0..4 {
        new_vpc(lab).await;
    }
    delete_filter(lab).await;
    delete_flow_log(lab).await;
    join(lab, 0).await;
}

async fn leave(lab: &mut Lab) {
    let account = ordinary_member(lab);
    lab.sim.with(|world| world.leave(&account)).unwrap_or_else(|error| fail(error));
}

/// The scenario with this name.
pub fn scenario(name: &str) -> &'static Scenario {
    SCENARIOS.iter().find(|scenario| scenario.name == name).unwrap_or_else(|| fail(name))
}
