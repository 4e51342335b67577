//! Plan, coverage and backfill say the same of the same organization: tried on random ones, enrolled and then broken in
//! random ways.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use enroller_core::coverage::Totals;
use enroller_core::ids::AccountRegion;
use enroller_core::observed::TrafficType;
use enroller_core::plan::FlowLogSpec;
use enroller_core::settings::{DeliveryRoleMaker, Tag};
use enroller_engine::ports::NewFlowLogs;
use enroller_lab::people::Person;
use enroller_lab::{Lab, LabOptions};
use enroller_sim::SimBuilder;
use enroller_sim::organizations::AccountState;
use enroller_sim::world::ServiceControlDeny;
use fastrand::Rng;
use serde_json::json;

use super::*;
use crate::judged::coverage_of;
use crate::plan::Summary;

const DAY_MS: u64 = 86_400_000;

const REGIONS: [&str; 3] = ["eu-west-1", "us-east-1", "ap-southeast-2"];

/// What can happen to an account-Region.
const MISHAPS: u32 = 17;

/// An organization that was enrolled, in part, and then broken.
async fn organization(rng: &mut Rng) -> Lab {
    let regions: Vec<String> = REGIONS[..rng.usize(1..=3)].iter().map(|region| (*region).to_owned()).collect();
    let (accounts, vpcs) = (rng.usize(3..9), rng.usize(0..3));
    let builder = SimBuilder { accounts, regions: regions.clone(), vpcs, ..SimBuilder::default() };
    let mut settings = vec![("narrowing_tags", "followed".to_owned())];
    if rng.bool() {
        settings.push(("delivery_role_maker", "enroller".to_owned()));
    }
    let mut lab = Lab::new(&LabOptions { organization: builder, settings: settings.clone() }).unwrap();
    for account in lab.sim.members() {
        if rng.u32(0..8) > 0 {
            lab.stacks.deploy_member(&account).unwrap();
        }
    }
    if rng.u32(0..4) > 0 {
        lab.sweep(json!({ "reason": "first backfill" })).await.unwrap();
        lab.settle(DAY_MS).await.unwrap();
    }
    for account in lab.sim.members() {
        for region in &regions {
            for _ in 0..rng.u32(0..3) {
                mishap(rng, &lab, &account, region).await;
            }
        }
    }
    if rng.bool() {
        let changes = [("aggregation_interval", "60"), ("filter_pattern", "ACCEPT"), ("retention_days", "90")];
        settings.push(rng.choice(changes).map(|(key, value)| (key, value.to_owned())).unwrap());
        let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        lab.reconfigure(&settings).unwrap();
    }
    lab
}

/// Breaks one thing, if it is there and nothing denies it.
async fn mishap(rng: &mut Rng, lab: &Lab, account: &str, region: &str) {
    let (person, settings) = (Person::of(&lab.sim, account, region), &lab.settings);
    let group = settings.log_group_name.as_str();
    let central = lab.sim.central();
    let spared = account == central || account == lab.sim.management();
    let vpcs: Vec<String> = lab.sim.with(|world| world.ec2.vpcs(account, region).map(|vpc| vpc.id.clone()).collect());
    match rng.u32(0..MISHAPS) {
        0 | 1 => {
            if let Some((flow_log, _)) = person.flow_logs().await.unwrap_or_default().first() {
                drop(person.delete_flow_log(flow_log).await);
            }
        }
        2 => drop(person.delete_filter(group, settings.filter_name.as_str()).await),
        3 => drop(person.delete_log_group(group).await),
        4 => drop(person.create_vpc(&[("vpc-flow-logs", "off")]).await),
        5 => drop(person.create_vpc(&[("Name", "shop")]).await),
        // A role that the member stack makes is nothing that a plan reads or a backfill could make again.
        6 if settings.delivery_role_maker == DeliveryRoleMaker::Enroller => {
            let role = settings.delivery_role_name.as_str();
            drop(lab.sim.with(|world| world.iam.remove_role(account, role)));
            lab.sim.traffic_tick();
        }
        6 => {
            if let Some((flow_log, _)) = person.flow_logs().await.unwrap_or_default().first() {
                let failed = || Err("Rate limited".to_owned());
                lab.sim.with(|world| world.ec2.set_delivery(account, region, flow_log, failed()));
            }
        }
        7 if !spared => drop(lab.sim.with(|world| world.set_account_state(account, AccountState::Suspended))),
        8 if !spared => drop(lab.sim.with(|world| world.remove(account))),
        9 => {
            let deny = ServiceControlDeny { region: Some(region.to_owned()), action_prefix: "ec2:".to_owned() };
            lab.sim.with(|world| world.accounts.get_mut(account).map(|it| it.denies.push(deny)));
        }
        10 => drop(lab.sim.with(|world| world.iam.remove_role(account, settings.member_role_name.as_str()))),
        11 => drop(person.put_retention(group, 7).await),
        12 if vpcs.len() > 1 => drop(person.log_to_bucket(&vpcs[1], "arn:aws:s3:::theirs").await),
        13 => lose_grant(lab, account, region),
        14 => others_log(lab, account, region, vpcs.first(), TrafficType::All).await,
        15 => others_log(lab, account, region, vpcs.last(), TrafficType::Reject).await,
        16 if rng.u32(0..4) == 0 => {
            let theirs = json!({"Version": "2012-10-17", "Statement": [{ "Sid": "Theirs", "Effect": "Allow",
                "Principal": { "AWS": account }, "Action": "logs:PutSubscriptionFilter",
                "Resource": format!("arn:aws:logs:{region}:{central}:destination:{}", settings.destination_name.base()) }]});
            put_policy(lab, region, &theirs.to_string());
        }
        _ => {}
    }
}

/// Somebody else makes a flow log of a VPC to the log group, without our tag. AWS may refuse it.
async fn others_log(lab: &Lab, account: &str, region: &str, vpc: Option<&String>, traffic_type: TrafficType) {
    let Some(vpc) = vpc else { return };
    let settings = &lab.settings;
    let at = AccountRegion { account: account.parse().unwrap(), region: region.parse().unwrap() };
    let spec = FlowLogSpec {
        traffic_type,
        interval: settings.aggregation_interval,
        format: settings.log_format.clone(),
        delivery_role: settings.delivery_role(at.account),
    };
    let tag = Tag { key: "owner".to_owned(), value: "somebody".to_owned() };
    let vpcs = vec![vpc.parse().unwrap()];
    let new = NewFlowLogs { vpcs, spec, log_group: settings.log_group_name.clone(), tags: vec![tag] };
    drop(Session::on(lab).await.unwrap().ports().ec2.create_flow_logs(&at, &new).await);
}

/// The account loses its grant in the Region, if it has one.
fn lose_grant(lab: &Lab, account: &str, region: &str) {
    let central = lab.sim.central();
    let policy = lab.sim.with(|world| world.logs.destinations(&central, region).next()?.access_policy.clone());
    let Some(policy) = policy else { return };
    let policy = policy.replace(&format!("\"{account}\","), "").replace(&format!(",\"{account}\""), "");
    put_policy(lab, region, &policy);
}

fn put_policy(lab: &Lab, region: &str, policy: &str) {
    let (central, name) = (lab.sim.central(), lab.settings.destination_name.base().to_string());
    // Without a destination there is no policy to change.
    drop(lab.sim.with(|world| world.put_destination_policy(&central, region, &name, policy)));
}

/// Everything, or a part of the organization.
fn selection(rng: &mut Rng, lab: &Lab) -> BackfillRequest {
    let mut selection = BackfillRequest::default();
    match rng.u32(0..4) {
        0 => selection.regions.insert(rng.choice(&lab.regions).unwrap().parse().unwrap()),
        1 => selection.accounts.insert(rng.choice(lab.sim.members()).unwrap().parse().unwrap()),
        _ => false,
    };
    selection
}

/// What plan and coverage say now of the selection.
async fn said(session: &Session, selection: &BackfillRequest) -> (OrganizationSnapshot, Summary, Totals) {
    let looked = plan_for(session, session.granter().unwrap().planner(), selection).await.unwrap();
    let report = PlanReport::of(looked.about(session, selection).unwrap(), session.settings(), &looked);
    let totals = coverage_of(session.settings(), &looked.surveys).totals();
    assert_eq!(report.summary.coverage, totals);
    let (plan, left_out) = (report.summary, report.left_alone.len());
    assert_eq!(plan.vpcs_covered, totals.covered + totals.narrowed);
    assert_eq!(plan.vpcs_to_repair + plan.vpcs_broken, totals.broken);
    assert_eq!(plan.vpcs_to_enroll + plan.vpcs_blocked, totals.not_covered + totals.foreign_only);
    assert_eq!(plan.vpcs_left_alone + left_out, totals.excluded + totals.opted_out);
    assert_eq!(plan.skipped, totals.skipped);
    assert_eq!(
        plan.vpcs,
        totals.covered
            + totals.narrowed
            + totals.broken
            + totals.not_covered
            + totals.foreign_only
            + plan.vpcs_left_alone
    );
    (looked, plan, totals)
}

async fn plan_coverage_and_backfill_agree(seed: u64) -> Summary {
    let mut rng = Rng::with_seed(seed);
    let lab = organization(&mut rng).await;
    let session = Session::on(&lab).await.unwrap();
    let selection = selection(&mut rng, &lab);
    let (looked, plan, before) = said(&session, &selection).await;

    let seen = rng.bool().then_some(&looked);
    let (granter, writer) = (session.granter().unwrap(), GrantWriter::of(&session, false));
    let run = Run { session: &session, granter, writer, selection };
    let (done, _) = run.carry_out(seen, 4, &mut Stop::listen()).await.unwrap();
    let shown = crate::output::testing::printed(|out| done.print(out, false).unwrap());
    let counts = done.counts();
    assert_eq!(counts.enrolled, plan.vpcs_to_enroll, "enrolled, seed {seed}: {shown}");
    assert_eq!(counts.repaired, plan.vpcs_to_repair, "repaired, seed {seed}: {shown}");
    assert_eq!(counts.covered, plan.vpcs_covered, "covered, seed {seed}: {shown}");
    assert_eq!(counts.broken, plan.vpcs_broken, "broken, seed {seed}: {shown}");
    assert_eq!(counts.left_alone, plan.vpcs_left_alone, "left alone, seed {seed}: {shown}");
    assert_eq!(counts.failed, 0, "failed, seed {seed}: {shown}");
    assert_eq!(done.not_inspected(), before.unknown, "not inspected, seed {seed}: {shown}");
    assert_eq!(done.changes(), plan.changes, "changes, seed {seed}: {shown}");

    let (_, again, after) = said(&session, &run.selection).await;
    let promised = Totals {
        covered: plan.vpcs_covered + plan.vpcs_to_enroll + plan.vpcs_to_repair,
        broken: plan.vpcs_broken,
        not_covered: 0,
        foreign_only: 0,
        ..before
    };
    assert_eq!(after, promised, "seed {seed}");
    assert_eq!(again.changes, 0, "seed {seed}: {again:?}");
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn random_organizations_are_told_of_in_the_same_numbers() {
    let mut all = Summary::default();
    for seed in 0..60 {
        let plan = plan_coverage_and_backfill_agree(seed).await;
        for (sum, one) in [
            (&mut all.vpcs_to_enroll, plan.vpcs_to_enroll),
            (&mut all.vpcs_to_replace, plan.vpcs_to_replace),
            (&mut all.vpcs_to_repair, plan.vpcs_to_repair),
            (&mut all.vpcs_broken, plan.vpcs_broken),
            (&mut all.vpcs_left_alone, plan.vpcs_left_alone),
            (&mut all.grants_to_add, plan.grants_to_add),
            (&mut all.grants_to_remove, plan.grants_to_remove),
            (&mut all.skipped, plan.skipped),
            (&mut all.failures, plan.failures),
            (&mut all.coverage.foreign_only, plan.coverage.foreign_only),
            (&mut all.coverage.unknown, plan.coverage.unknown),
        ] {
            *sum += one;
        }
    }
    // Each of them occurs, or the test would show nothing about it.
    let occurred = [all.vpcs_to_enroll, all.vpcs_to_replace, all.vpcs_to_repair, all.vpcs_broken, all.vpcs_left_alone];
    assert!(occurred.iter().all(|sum| *sum > 10), "{all:?}");
    let seldom =
        [all.grants_to_add, all.grants_to_remove, all.skipped, all.coverage.foreign_only, all.coverage.unknown];
    assert!(seldom.iter().all(|sum| *sum > 2), "{all:?}");
}
