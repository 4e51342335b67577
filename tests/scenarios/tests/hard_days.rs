//! Days on which much goes wrong at once or for long: what they cost, and whom they hold up.

#![cfg(test)]

use aws_sdk_ec2::types::Tag;
use enroller_core::log::Outcome;
use enroller_core::metrics::Metric;
use enroller_lab::people::Person;
use enroller_lab::{As, Lab, sdk_config};
use enroller_sim::TwinRule;
use enroller_tests::one_run::drop_events;
use enroller_tests::{
    DAY_MS, assert_all_covered, audit_of, calls_since, count, ordinary_member, organization, settled, settled_with,
    with_settings,
};
use serde_json::json;

const IRELAND: &str = "eu-west-1";
const VIRGINIA: &str = "us-east-1";
const MINUTE_MS: u64 = 60_000;

/// Eight Regions that every account has enabled.
const EIGHT: [&str; 8] =
    [IRELAND, VIRGINIA, "us-east-2", "us-west-1", "us-west-2", "eu-central-1", "eu-west-2", "ap-southeast-2"];

async fn sync(lab: &Lab) {
    let request = json!({"kind": "sync-request", "version": 1, "reason": "test"});
    lab.onboard(lab.invocation(request)).await.unwrap();
}

/// 230 granted accounts in eight Regions, of which 200 have left unnoticed.
async fn after_a_mass_departure(limit_percent: &str) -> (Lab, usize) {
    let lab = with_settings(230, &EIGHT, 0, &[("revocation_limit_percent", limit_percent)]);
    sync(&lab).await;
    assert!(audit_of(&lab).misassigned().is_empty());
    drop_events(&lab);
    let keep = [lab.sim.management(), lab.sim.central()];
    for account in lab.sim.members().into_iter().filter(|id| !keep.contains(id)).take(200) {
        lab.sim.with(|world| world.leave(&account)).unwrap();
    }
    // The listing that a warm container remembers is too old by then.
    lab.sim.advance(10 * MINUTE_MS);
    let from = lab.sim.calls().len();
    (lab, from)
}

#[tokio::test]
async fn each_of_two_hundred_departed_accounts_is_asked_about_once() {
    let (lab, from) = after_a_mass_departure("100").await;
    let mut syncs = 0;
    while !audit_of(&lab).strangers.is_empty() {
        syncs += 1;
        assert!(syncs <= 3, "{} strangers after {syncs} syncs", audit_of(&lab).strangers.len());
        sync(&lab).await;
    }
    let asked = count(&calls_since(&lab, from), "DescribeAccount");
    assert!((200..=230).contains(&asked), "{asked} calls in {syncs} syncs");
}

#[tokio::test]
async fn a_mass_departure_is_withheld_and_asked_about_no_more_often() {
    let (lab, from) = after_a_mass_departure("10").await;
    for _ in 0..3 {
        sync(&lab).await;
    }
    assert_eq!(audit_of(&lab).strangers.len(), 200, "the guard keeps all of them");
    let asked = count(&calls_since(&lab, from), "DescribeAccount");
    assert!(asked <= 230, "{asked} calls");
    assert!(audit_of(&lab).misassigned().is_empty(), "whoever is a member keeps its grant");
}

#[tokio::test]
async fn a_silent_region_holds_up_no_event_of_another_region() {
    let lab = settled(60, &[IRELAND, VIRGINIA], 0).await;
    lab.sim.set_rule("outage=service=ec2|logs,region=us-east-1,answer=silence,seconds=3600").unwrap();
    let person = Person::of(&lab.sim, &ordinary_member(&lab), IRELAND);
    let before = lab.sim.now_ms();
    lab.sweep(json!({})).await.unwrap();
    person.create_vpc(&[]).await.unwrap();
    let mut covered_after = None;
    lab.settle_watched(30 * MINUTE_MS, &mut |lab| {
        if covered_after.is_none() && audit_of(lab).uncovered() == 0 {
            covered_after = Some(lab.sim.now_ms() - before);
        }
    })
    .await
    .unwrap();
    println!("a silent Region and a sweep of 60 accounts: the VPC was covered after {covered_after:?} ms");
    assert!(covered_after.is_some_and(|ms| ms <= 4 * MINUTE_MS), "{covered_after:?} ms");
    // What waits is the silent Region's own work, and no sweep is needed for it.
    lab.settle(DAY_MS).await.unwrap();
    assert_all_covered(&lab);
    for queue in ["enrollments", "enrollments-dead"] {
        assert_eq!(lab.sim.queue_depth(&lab.url(queue)).unwrap().total(), 0, "{queue}");
    }
}

#[tokio::test]
async fn a_sweep_during_the_outage_of_a_region_ends_in_bounded_time() {
    let lab = settled(60, &[IRELAND, VIRGINIA], 0).await;
    lab.sim.set_rule("outage=service=ec2|logs,region=us-east-1,answer=silence").unwrap();
    let (before, from) = (lab.sim.now_ms(), lab.sim.calls().len());
    lab.sweep(json!({})).await.unwrap();
    let mut looked_at = None;
    lab.settle_watched(DAY_MS, &mut |lab| {
        let looks = calls_since(lab, from)
            .iter()
            .filter(|call| call.region == IRELAND && call.operation == "DescribeVpcs")
            .count();
        if looked_at.is_none() && looks >= 60 {
            looked_at = Some(lab.sim.now_ms() - before);
        }
    })
    .await
    .unwrap();
    println!("a silent Region: all 60 accounts were looked at in the other one after {looked_at:?} ms");
    assert!(looked_at.is_some_and(|ms| ms <= 4 * MINUTE_MS), "{looked_at:?} ms");
    let silent = calls_since(&lab, from).iter().filter(|call| call.region == VIRGINIA).count();
    assert!(silent <= 60 * 12 * 4, "{silent} calls to a Region that does not answer");
}

#[tokio::test]
async fn where_flow_logs_cannot_be_deleted_their_number_stays_bounded_and_it_is_a_failure() {
    for (twins, most) in [(TwinRule::SameConfiguration, 2), (TwinRule::SameDestination, 1)] {
        let mut lab = settled(3, &[IRELAND], 1).await;
        lab.sim.with(|world| world.settings.twin_rule = twins);
        lab.sim.set_rule("scp-deny=ec2:DeleteFlowLogs").unwrap();
        let account = ordinary_member(&lab);
        lab.reconfigure(&[("aggregation_interval", "60")]).unwrap();
        let from = lab.sim.calls().len();
        let failed = lab.recording.total(Metric::VpcsFailed);
        for _ in 0..3 {
            lab.sweep(json!({})).await.unwrap();
            lab.settle(DAY_MS).await.unwrap();
            lab.sim.advance(DAY_MS);
            lab.sim.traffic_tick();
        }
        let audit = audit_of(&lab);
        assert_eq!(audit.uncovered(), 0, "the old ones go on");
        lab.sim.with(|world| {
            for vpc in world.ec2.vpcs(&account, IRELAND) {
                let logs = world.ec2.flow_logs_of(&account, IRELAND, &vpc.id).count();
                assert!(logs <= most, "{twins:?}: {} has {logs} flow logs", vpc.id);
            }
        });
        let made = calls_since(&lab, from);
        let made = made.iter().filter(|call| call.account == account && call.operation == "CreateFlowLogs").count();
        println!("{twins:?}: {made} CreateFlowLogs of one account in 3 days");
        // Once it is known what AWS refuses, only the deletion is tried again.
        assert!(made <= 12, "{twins:?}: {made} calls");
        let lines = lab.recording.take();
        let told = |line: &&enroller_core::log::LogEntry| {
            line.account.is_some_and(|id| id.to_string() == account) && line.outcome == Outcome::Failed
        };
        assert!(lines.iter().any(|line| told(&line)), "{twins:?}: {lines:#?}");
        assert!(lab.recording.total(Metric::VpcsFailed) > failed, "{twins:?}: no alarm");
    }
}

#[tokio::test]
async fn a_vpc_whose_opt_out_tag_is_removed_is_enrolled_without_a_sweep() {
    let lab = enroller_tests::settled_with(3, &[IRELAND], 0, &[("narrowing_tags", "followed")]).await;
    let (account, tag) = (ordinary_member(&lab), lab.settings.opt_out_tag.clone());
    let vpc = Person::of(&lab.sim, &account, IRELAND).create_vpc(&[(&tag.key, &tag.value)]).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(audit_of(&lab).uncovered(), 1, "it is opted out");
    let client = aws_sdk_ec2::Client::new(&sdk_config(&lab.sim, IRELAND, As::Account(&account)));
    client.delete_tags().resources(&vpc).tags(Tag::builder().key(&tag.key).build()).send().await.unwrap();
    lab.settle(5 * MINUTE_MS).await.unwrap();
    assert_all_covered(&lab);
    // A value that opts nobody out does the same.
    let another = Person::of(&lab.sim, &account, IRELAND).create_vpc(&[(&tag.key, &tag.value)]).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    let on = Tag::builder().key(&tag.key).value("on").build();
    client.create_tags().resources(&another).tags(on).send().await.unwrap();
    lab.settle(5 * MINUTE_MS).await.unwrap();
    assert_all_covered(&lab);
}

#[tokio::test]
async fn a_member_role_made_anew_works_at_once_although_a_session_of_the_old_one_is_denied() {
    let lab = settled(3, &[IRELAND], 0).await;
    let account = ordinary_member(&lab);
    let person = Person::of(&lab.sim, &account, IRELAND);
    person.create_vpc(&[]).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    person.create_vpc(&[]).await.unwrap();
    lab.settle(MINUTE_MS).await.unwrap();
    let role = lab.settings.member_role_name.to_string();
    lab.sim.with(|world| world.iam.remove_role(&account, &role)).unwrap();
    lab.stacks.deploy_member(&account).unwrap();
    person.create_vpc(&[]).await.unwrap();
    let passed = lab.settle(MINUTE_MS).await.unwrap();
    assert_all_covered(&lab);
    assert!(passed <= MINUTE_MS, "{passed} ms");
}

#[tokio::test]
async fn with_the_delays_of_aws_a_new_account_and_a_changed_setting_lose_no_record() {
    let mut lab = organization(3, &[IRELAND], 1);
    lab.sim.with(|world| world.settings = world.settings.clone().with_delays_of_aws());
    lab.deploy_members().unwrap();
    lab.settle(DAY_MS).await.unwrap();
    lab.sim.advance(10 * MINUTE_MS);
    assert_all_covered(&lab);
    lab.reconfigure(&[("aggregation_interval", "60")]).unwrap();
    lab.sweep(json!({})).await.unwrap();
    let lost = |lab: &Lab| lab.sim.traffic_report().lost_after_enrollment;
    lab.settle_watched(DAY_MS, &mut |lab| lab.sim.traffic_tick()).await.unwrap();
    assert_eq!(lost(&lab), 0, "{:?}", lab.sim.traffic_report().lost_by_reason);
    lab.sim.advance(10 * MINUTE_MS);
    assert_all_covered(&lab);
    assert!(audit_of(&lab).account_regions.iter().all(|at| at.on_several_shards.is_empty()), "{:#?}", audit_of(&lab));
}

#[tokio::test]
async fn a_listing_throttled_seven_times_is_waited_for_in_one_run() {
    let lab = settled_with(3, &[IRELAND], 0, &[]).await;
    lab.sim.advance(10 * MINUTE_MS);
    let from = lab.sim.calls().len();
    lab.sim.set_rule("outage=service=organizations,operation=ListAccounts,answer=429,calls=7").unwrap();
    sync(&lab).await;
    let listed = calls_since(&lab, from).into_iter().filter(|call| call.operation == "ListAccounts");
    assert_eq!(listed.map(|call| call.outcome.is_some()).collect::<Vec<_>>(), [vec![true; 7], vec![false]].concat());
}
