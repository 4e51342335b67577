//! Cases beyond the scenarios of the fault matrix.

use enroller_engine::doctor::{DoctorOptions, Sample};
use enroller_engine::ports::Outgoing;
use enroller_lab::Lab;
use enroller_sim::events::DeliverySettings;
use enroller_sim::faults::{FaultKind, FaultRule, When};
use enroller_sim::{NewAccount, Service};
use serde_json::{Value, json};

use super::{Act, Case, HORIZON_MS, Outcome, sweep_and_settle};
use crate::scenarios::{IRELAND, VIRGINIA};
use crate::{audit_of, create_vpc_event, ordinary_member, with_settings};

const MINUTE_MS: u64 = 60_000;
pub(super) const KEY: (&str, &str) =
    ("kms_key_arn", "arn:aws:kms:{region}:{account}:key/1234abcd-12ab-34cd-56ef-1234567890ab");

/// So often a run tries a throttled page of the listing before it fails.
const PATIENCE: u64 = 8;

/// The only case in which people use the member role.
pub(super) const DOCTOR: &str = "doctor";

macro_rules! case {
    ($name:expr, $prepare:expr, $act:path) => {
        Case { name: $name, prepare: || Box::pin($prepare), act: Act::Own(|lab| Box::pin($act(lab))) }
    };
}

/// The cases that the fault matrix does not cover.
pub const CASES: &[Case] = &[
    case!("first installation", bare(2, &[]), installation),
    case!("first installation where a policy is almost full", with_almost_full_policy(), installation),
    case!("account joins in organization mode", settled(3, &[("grant_mode", "organization")]), join),
    case!("account joins and is ready some minutes later", settled(2, &[]), join_late),
    case!("account joins with a Region disabled", settled(2, &[]), join_without_a_region),
    case!("account joins while Organizations throttles for a while", settled(2, &[]), join_throttled),
    case!("account joins with a key", settled(2, &[KEY]), join),
    case!("account joins, permissions on bare ARNs", bare_arns(), join),
    case!("settings change, permissions on bare ARNs", bare_arns(), change_settings),
    case!("retention is removed", settled(2, &[]), remove_retention),
    case!("flow logs lose their tags", settled(2, &[]), untag_flow_logs),
    case!("data protection policies mask records", settled(2, &[]), mask),
    case!("data protection policies mask records, permissions on bare ARNs", bare_arns(), mask),
    case!("retention is removed, permissions on bare ARNs", bare_arns(), remove_retention),
    case!("a key is set", settled(2, &[]), set_key),
    case!("a key is set, permissions on bare ARNs", bare_arns(), set_key),
    case!(
        "delivery role made by the enroller is broken",
        settled(2, &[("delivery_role_maker", "enroller")]),
        break_delivery_role
    ),
    case!("an OU is excluded and accounts have no paths", settled(3, &[]), exclude),
    case!("a backfill with an OU excluded and accounts without paths", settled(3, &[]), exclude_and_sweep),
    case!("a VPC is created in the other Region", settled(2, &[]), vpc_elsewhere),
    case!("a VPC is created in the central account", settled(2, &[]), vpc_in_central_account),
    case!("dry run after an account left", settled(12, &[]), dry_run),
    case!("backfill runs out of time", settled(25, &[]), slow_backfill),
    case!("backfill is throttled", stale(), throttled_backfill),
    case!("the enroller is invoked with an event by hand", settled(2, &[]), event_by_hand),
    case!("the onboarder is invoked with a request by hand", settled(2, &[]), request_by_hand),
    case!(DOCTOR, settled(3, &[("grant_mode", "organization")]), doctor),
];

async fn bare(accounts: usize, settings: &[(&'static str, &str)]) -> Lab {
    with_settings(accounts, &[IRELAND, VIRGINIA], 1, settings)
}

/// Everything is enrolled and nothing is left to do.
async fn settled(accounts: usize, settings: &[(&'static str, &str)]) -> Lab {
    let lab = bare(accounts, settings).await;
    quiet(&lab).await;
    lab
}

async fn quiet(lab: &Lab) {
    if let Err(error) = installed(lab).await {
        panic!("the case cannot be prepared: {error:?}");
    }
}

async fn installed(lab: &Lab) -> Outcome {
    lab.deploy_members()?;
    lab.settle(HORIZON_MS).await?;
    Ok(Vec::new())
}

async fn bare_arns() -> Lab {
    let lab = bare(2, &[]).await;
    lab.sim.with(|world| world.settings.bare_log_group_arns = true);
    quiet(&lab).await;
    lab
}

/// Foreign accounts almost fill the policy of the first destination in Ireland.
async fn with_almost_full_policy() -> Lab {
    let lab = bare(3, &[]).await;
    let (central, settings) = (lab.sim.central(), &lab.settings);
    let text = |arn: &Option<enroller_core::arn::Arn>| arn.as_ref().map(ToString::to_string).unwrap_or_default();
    let (target, role) = (text(&settings.destination_target_arn), text(&settings.destination_role_arn));
    let accounts: Vec<String> = (0..320_u64).map(|number| (900_000_000_000 + number).to_string()).collect();
    let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Sid": "Others", "Effect": "Allow",
        "Principal": { "AWS": accounts }, "Action": "logs:PutSubscriptionFilter",
        "Resource": lab.stacks.destination_arns()[IRELAND] }] });
    let name = settings.destination_name.base().as_str();
    let made = lab.sim.with(|world| {
        world.put_destination(&central, IRELAND, name, &target, &role)?;
        world.put_destination_policy(&central, IRELAND, name, &policy.to_string())
    });
    if let Err(refusal) = made {
        panic!("the case cannot be prepared: {refusal}");
    }
    lab
}

/// Everything is enrolled except one VPC that no event reported.
async fn stale() -> Lab {
    let lab = settled(2, &[]).await;
    let account = lab.sim.members().remove(0);
    lab.sim.with(|world| world.put_vpc(&account, IRELAND, "10.7.0.0/16", false));
    lab
}

async fn installation(lab: &mut Lab) -> Outcome {
    installed(lab).await
}

/// Adds an account whose member stack is deployed at once.
fn add(lab: &Lab, new: &NewAccount) -> Result<String, enroller_lab::LabError> {
    let account = lab.sim.with(|world| world.create_account(new)).unwrap_or_default();
    lab.stacks.deploy_member(&account)?;
    lab.stacks.announce_member(&account);
    Ok(account)
}

async fn join(lab: &mut Lab) -> Outcome {
    add(lab, &NewAccount::default())?;
    sweep_and_settle(lab, false).await
}

async fn join_late(lab: &mut Lab) -> Outcome {
    add(lab, &NewAccount { assumable_in_ms: 3 * MINUTE_MS, ..NewAccount::default() })?;
    // Without a change of visibility, its messages would come back after half an hour.
    lab.settle(12 * MINUTE_MS).await?;
    let uncovered = audit_of(lab).uncovered();
    sweep_and_settle(lab, false).await?;
    Ok(vec![format!("{uncovered} VPCs without flow logs soon after")])
}

async fn join_without_a_region(lab: &mut Lab) -> Outcome {
    let account = add(lab, &NewAccount::default())?;
    lab.sim.with(|world| world.accounts.get_mut(&account).map(|account| account.regions.remove(VIRGINIA)));
    sweep_and_settle(lab, false).await
}

/// The onboarder is throttled for a while. It tries again before its queue would by itself, after half an hour.
async fn join_throttled(lab: &mut Lab) -> Outcome {
    lab.sim.arm(FaultRule::new(FaultKind::Throttle).on(Service::Organizations, "ListAccounts"));
    let account = lab.sim.with(|world| world.create_account(&NewAccount::default())).unwrap_or_default();
    lab.stacks.deploy_member(&account)?;
    lab.settle(4 * MINUTE_MS).await?;
    lab.sim.with(|world| world.faults.clear());
    lab.settle(16 * MINUTE_MS).await?;
    let granted = audit_of(lab).misassigned().is_empty();
    sweep_and_settle(lab, false).await?;
    Ok(vec![format!("granted soon after: {granted}")])
}

async fn change_settings(lab: &mut Lab) -> Outcome {
    lab.reconfigure(&[("aggregation_interval", "60"), ("retention_days", "90"), ("filter_pattern", "-NODATA")])?;
    sweep_and_settle(lab, true).await
}

async fn remove_retention(lab: &mut Lab) -> Outcome {
    lab.reconfigure(&[("retention_days", "never-expire")])?;
    sweep_and_settle(lab, true).await
}

/// Somebody takes our tag off the flow logs of an account, in both Regions.
async fn untag_flow_logs(lab: &mut Lab) -> Outcome {
    let account = lab.sim.members().remove(0);
    let credentials = lab.sim.credentials_of(&account);
    for region in [IRELAND, VIRGINIA] {
        let ids: Vec<String> =
            lab.sim.with(|world| world.ec2.flow_logs(&account, region).map(|log| log.id.clone()).collect());
        for id in ids {
            let input = json!({ "ResourceId.1": id, "Tag.1.Key": "managed-by" });
            lab.sim.call_raw(&credentials, region, Service::Ec2, "DeleteTags", &input).ok();
        }
    }
    sweep_and_settle(lab, true).await?;
    let ours = |account: &str, region: &str| {
        lab.sim.with(|world| {
            world.ec2.flow_logs(account, region).filter(|log| log.tags.contains_key("managed-by")).count()
        })
    };
    Ok(vec![format!("tagged: {} and {}", ours(&account, IRELAND), ours(&account, VIRGINIA))])
}

/// Somebody puts policies that mask nothing of a record: on the log group, and for the account.
async fn mask(lab: &mut Lab) -> Outcome {
    let account = lab.sim.members().remove(0);
    let credentials = lab.sim.credentials_of(&account);
    let identifiers = ["arn:aws:dataprotection::aws:data-identifier/AwsSecretKey"];
    let document = json!({ "Name": "p", "Version": "2021-06-01", "Statement": [
        { "Sid": "a", "DataIdentifier": identifiers, "Operation": { "Audit": { "FindingsDestination": {} } } },
        { "Sid": "m", "DataIdentifier": identifiers, "Operation": { "Deidentify": { "MaskConfig": {} } } },
    ] })
    .to_string();
    let group = lab.settings.log_group_name.as_str();
    let own = json!({ "logGroupIdentifier": group, "policyDocument": document });
    lab.sim.call_raw(&credentials, IRELAND, Service::Logs, "PutDataProtectionPolicy", &own).ok();
    let account_level =
        json!({ "policyName": "p", "policyType": "DATA_PROTECTION_POLICY", "policyDocument": document });
    lab.sim.call_raw(&credentials, IRELAND, Service::Logs, "PutAccountPolicy", &account_level).ok();
    lab.recording.take();
    sweep_and_settle(lab, true).await?;
    let lines = lab.recording.take();
    let unread = lines.iter().filter(|line| line.cause.contains("could not be read")).count();
    Ok(vec![format!("policies may mask anything: {}", unread > 0)])
}

async fn set_key(lab: &mut Lab) -> Outcome {
    lab.reconfigure(&[KEY])?;
    for account in lab.sim.members() {
        lab.stacks.deploy_member(&account)?;
    }
    sweep_and_settle(lab, true).await
}

/// A person breaks trust and policy of the role. AWS reports it when records are delivered.
async fn break_delivery_role(lab: &mut Lab) -> Outcome {
    let account = lab.sim.members().remove(0);
    let role = lab.settings.delivery_role_name.to_string();
    let trust = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "Service": "ec2.amazonaws.com" } }] });
    let policy = lab.settings.delivery_role_policy_name.clone();
    let by_hand = |operation: &str, input: Value| {
        let credentials = lab.sim.credentials_of(&account);
        lab.sim.call_raw(&credentials, VIRGINIA, Service::Iam, operation, &input).ok();
    };
    by_hand("UpdateAssumeRolePolicy", json!({ "RoleName": role, "PolicyDocument": trust.to_string() }));
    by_hand("DeleteRolePolicy", json!({ "RoleName": role, "PolicyName": policy }));
    lab.sim.traffic_tick();
    sweep_and_settle(lab, true).await
}

fn exclude_unit(lab: &mut Lab) -> Result<String, enroller_lab::LabError> {
    let unit = lab.sim.with(|world| {
        world.settings.account_paths = false;
        let sandbox = world.organization.units().find(|(_, unit)| unit.name == "Sandbox");
        sandbox.map(|(id, _)| id.to_owned()).unwrap_or_default()
    });
    lab.reconfigure(&[("excluded_organizational_units", &unit)])?;
    Ok(unit)
}

/// One account joins in the excluded OU and one outside it, and a member of another OU creates a VPC.
async fn exclude(lab: &mut Lab) -> Outcome {
    let unit = exclude_unit(lab)?;
    let member = ordinary_member(lab);
    add(lab, &NewAccount { parent: Some(unit), ..NewAccount::default() })?;
    add(lab, &NewAccount::default())?;
    make_vpc(lab, &member, IRELAND).await
}

async fn exclude_and_sweep(lab: &mut Lab) -> Outcome {
    let unit = exclude_unit(lab)?;
    add(lab, &NewAccount { parent: Some(unit), ..NewAccount::default() })?;
    sweep_and_settle(lab, true).await
}

async fn make_vpc(lab: &Lab, account: &str, region: &str) -> Outcome {
    let credentials = lab.sim.credentials_of(account);
    lab.sim.call_raw(&credentials, region, Service::Ec2, "CreateVpc", &json!({ "CidrBlock": "10.9.0.0/16" })).ok();
    sweep_and_settle(lab, false).await
}

async fn vpc_elsewhere(lab: &mut Lab) -> Outcome {
    make_vpc(lab, &lab.sim.management(), VIRGINIA).await
}

async fn vpc_in_central_account(lab: &mut Lab) -> Outcome {
    make_vpc(lab, &lab.sim.central(), VIRGINIA).await
}

/// An account has left, and no event reported it.
async fn dry_run(lab: &mut Lab) -> Outcome {
    lab.sim.set_event_delivery(DeliverySettings { drop_probability: 1.0, ..DeliverySettings::default() }, 1);
    let member = ordinary_member(lab);
    lab.sim.with(|world| world.leave(&member)).ok();
    let answer = lab.sweep(json!({ "dry_run": true })).await?;
    Ok(vec![answer["plan"].to_string()])
}

/// Each batch takes so long that the backfill needs two more invocations.
async fn slow_backfill(lab: &mut Lab) -> Outcome {
    lab.reconfigure(&[("retention_days", "90")])?;
    let pass = FaultKind::HookBefore(std::sync::Arc::new(|world, _| world.advance_clock(100_000)));
    lab.sim.arm(FaultRule::new(pass).on(Service::Sqs, "SendMessageBatch").at(When::First(4)));
    sweep_and_settle(lab, true).await
}

/// A request on the queue fails once and succeeds within ten minutes.
async fn throttled_backfill(lab: &mut Lab) -> Outcome {
    lab.sim
        .arm(FaultRule::new(FaultKind::Throttle).on(Service::Organizations, "ListAccounts").at(When::First(PATIENCE)));
    let message =
        Outgoing { body: json!({ "reason": "test" }).to_string(), delay_seconds: 0, fifo: None, sender: None };
    let sent = lab.ports_of("backfill").0.queues.send(&lab.url("backfill"), vec![message]).await;
    lab.settle(10 * MINUTE_MS).await?;
    Ok(vec![format!("sent: {}", sent.is_ok())])
}

/// The event is about a VPC that EC2 does not show yet. No queue redelivers it, so the function has to queue it itself.
async fn event_by_hand(lab: &mut Lab) -> Outcome {
    let event = create_vpc_event(&lab.sim.management(), IRELAND);
    let answer = lab.enroll(lab.invocation(event)).await?;
    lab.settle(HORIZON_MS).await?;
    Ok(vec![format!("queued again: {}", answer["queued_again"])])
}

async fn request_by_hand(lab: &mut Lab) -> Outcome {
    lab.sim.advance(2 * MINUTE_MS);
    lab.sim
        .arm(FaultRule::new(FaultKind::Throttle).on(Service::Organizations, "ListAccounts").at(When::First(PATIENCE)));
    let request = json!({ "kind": "sync-request", "version": 1, "reason": "test" });
    let answer = lab.onboard(lab.invocation(request)).await?;
    lab.settle(HORIZON_MS).await?;
    Ok(vec![format!("queued again: {}", answer["queued_again"])])
}

async fn doctor(lab: &mut Lab) -> Outcome {
    let doctor = lab.operator(lab.recording.clone()).doctor();
    let options = DoctorOptions { sample: Sample::All, ..DoctorOptions::default() };
    let checkup = doctor.check(&options).await;
    let line = |check: &enroller_core::doctor::Check| {
        format!("{} {}: {:?} {}", check.id.as_str(), check.subject(), check.status(), check.verdict.finding)
    };
    Ok(checkup.checks().iter().map(line).collect())
}
