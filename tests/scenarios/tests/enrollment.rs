//! The main job: events come in and VPCs get covered, through the real handlers and the real SDK on a simulated AWS.

#![cfg(test)]

use std::sync::Arc;

use enroller_core::metrics::{Metric, Metrics};
use enroller_engine::granter::GrantSync;
use enroller_lab::people::Person;
use enroller_sim::{NewAccount, Service, TwinRule};
use enroller_tests::{
    DAY_MS, assert_all_covered, assert_all_records_delivered, audit_of, calls_since, count, create_vpc_event,
    organization, refused_policies, settled, settled_with, with_settings,
};
use serde_json::json;

const IRELAND: &str = "eu-west-1";
const VIRGINIA: &str = "us-east-1";
const SYDNEY: &str = "ap-southeast-2";

#[tokio::test]
async fn every_vpc_is_covered_and_every_account_granted_once() {
    let lab = settled(12, &[IRELAND, VIRGINIA, SYDNEY], 3).await;
    let audit = audit_of(&lab);
    assert_eq!(audit.account_regions.len(), 36);
    assert_eq!(audit.uncovered(), 0, "{audit:#?}");
    assert!(audit.misassigned().is_empty(), "{:#?}", audit.misassigned());
    assert!(audit.strangers.is_empty());
    assert!(audit.account_regions.iter().all(|at| at.on_several_shards.is_empty() && at.vpcs == 4));
}

#[tokio::test]
async fn records_of_a_new_vpc_reach_the_bucket_from_the_first_minute() {
    let lab = settled(3, &[IRELAND], 1).await;
    let person = Person::of(&lab.sim, &lab.sim.members()[2], IRELAND);
    person.create_vpc(&[]).await.unwrap();
    lab.settle(60_000).await.unwrap();
    lab.sim.traffic_tick();
    let report = lab.sim.traffic_report();
    assert_eq!(report.sent, report.delivered, "{report:#?}");
    assert_eq!((report.lost_after_enrollment, report.duplicated), (0, 0));
}

#[tokio::test]
async fn a_fresh_account_takes_four_reads_and_four_changes_per_region() {
    let lab = organization(2, &[IRELAND, VIRGINIA], 4);
    lab.deploy_members().unwrap();
    lab.sweep(json!({})).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    let management = lab.sim.management();
    let of_account = |from| -> Vec<_> {
        calls_since(&lab, from)
            .into_iter()
            .filter(|call| call.account == management && call.service != Service::Sts)
            .collect()
    };
    let first = of_account(0);
    assert_eq!(count(&first, "CreateFlowLogs"), 2);
    assert_eq!(count(&first, "PutSubscriptionFilter"), 2);
    let changing = first.iter().filter(|call| call.mutating).count();
    assert_eq!(changing, 8, "{first:#?}");

    let from = lab.sim.calls().len();
    lab.sweep(json!({})).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    let second = of_account(from);
    assert_eq!(second.len(), 8, "4 observing calls in each of 2 Regions: {second:#?}");
    assert!(second.iter().all(|call| !call.mutating));
    let assumed = calls_since(&lab, 0).iter().filter(|call| call.operation == "AssumeRole").count();
    assert!(assumed <= 2 + 2, "one AssumeRole per account and hour: {assumed}");
}

#[tokio::test]
async fn two_hundred_accounts_that_join_at_once_are_granted_and_covered() {
    let lab = settled(2, &[IRELAND], 0).await;
    let from = lab.sim.calls().len();
    let accounts: Vec<String> = (0..200)
        .map(|number| {
            lab.sim
                .with(|world| {
                    world.create_account(&NewAccount { name: format!("team-{number}"), ..NewAccount::default() })
                })
                .unwrap()
        })
        .collect();
    for account in &accounts {
        lab.stacks.deploy_member(account).unwrap();
        lab.stacks.announce_member(account);
    }
    lab.settle(DAY_MS).await.unwrap();
    let audit = audit_of(&lab);
    assert_eq!(audit.account_regions.len(), 202);
    assert!(audit.misassigned().is_empty(), "{:?}", audit.misassigned());
    assert_eq!(audit.uncovered(), 0);
    let puts = count(&calls_since(&lab, from), "PutDestinationPolicy");
    assert!(puts <= 2, "accounts that arrive together are written together: {puts} puts");
}

#[tokio::test]
async fn deleted_resources_are_recreated() {
    let lab = settled(3, &[IRELAND], 2).await;
    let account = lab.sim.members()[2].clone();
    let person = Person::of(&lab.sim, &account, IRELAND);
    let (flow_log, _) = person.flow_logs().await.unwrap().remove(0);
    person.delete_flow_log(&flow_log).await.unwrap();
    person.delete_filter("vpc-flow-logs", "AllTraffic").await.unwrap();
    lab.settle(60_000).await.unwrap();
    assert_all_covered(&lab);
    lab.sim.traffic_tick();
    let report = lab.sim.traffic_report();
    assert_eq!(report.delivered, report.sent, "{report:#?}");

    person.delete_log_group("vpc-flow-logs").await.unwrap();
    lab.settle(60_000).await.unwrap();
    lab.sim.traffic_tick();
    let report = lab.sim.traffic_report();
    assert_eq!((report.delivered, report.lost_after_enrollment), (report.sent, 0), "{report:#?}");
}

#[tokio::test]
async fn an_account_that_leaves_loses_its_grant_and_no_other_does() {
    let lab = settled(5, &[IRELAND, VIRGINIA], 1).await;
    let leaver = lab.sim.members()[4].clone();
    lab.sim.with(|world| world.leave(&leaver)).unwrap();
    lab.settle(60_000).await.unwrap();
    let audit = audit_of(&lab);
    assert!(audit.strangers.is_empty(), "{audit:#?}");
    assert!(audit.misassigned().is_empty());
    assert_eq!(audit.account_regions.len(), 8);
}

#[tokio::test]
async fn events_handled_twice_and_out_of_order_give_the_same_end_state() {
    let in_order = settled(4, &[IRELAND, VIRGINIA], 2).await;
    let reordered = organization(4, &[IRELAND, VIRGINIA], 2);
    let delivery = enroller_sim::events::DeliverySettings {
        duplicate_probability: 1.0,
        max_delay_ms: 120_000,
        reorder: true,
        ..Default::default()
    };
    reordered.sim.set_event_delivery(delivery, 7);
    reordered.deploy_members().unwrap();
    reordered.settle(DAY_MS).await.unwrap();
    assert_all_covered(&in_order);
    assert_all_covered(&reordered);
    assert_eq!(audit_of(&in_order), audit_of(&reordered));
}

#[tokio::test]
async fn a_member_role_that_is_created_late_is_waited_for() {
    let lab = settled(2, &[IRELAND], 1).await;
    let new = NewAccount { name: "late".to_owned(), ..NewAccount::default() };
    let account = lab.sim.with(|world| world.create_account(&new)).unwrap();
    lab.settle(10 * 60_000).await.unwrap();
    assert_eq!(audit_of(&lab).uncovered(), 1, "its default VPC, before its role exists");
    lab.stacks.deploy_member(&account).unwrap();
    lab.settle(30 * 60_000).await.unwrap();
    assert_all_covered(&lab);
}

#[tokio::test]
async fn the_enroller_creates_the_delivery_role_where_configured() {
    let lab = settled_with(3, &[IRELAND, VIRGINIA], 1, &[("delivery_role_maker", "enroller")]).await;
    assert_all_covered(&lab);
    let calls = calls_since(&lab, 0);
    assert_eq!(count(&calls, "CreateRole"), 3);
    assert_eq!(count(&calls, "PutRolePolicy"), 3);
    assert_all_records_delivered(&lab);
}

/// AWS reports a deleted role only when a flow log that uses it has something to deliver. In an idle VPC that never
/// happens.
#[tokio::test]
async fn a_deleted_delivery_role_is_recreated_before_any_delivery_fails() {
    let lab = settled_with(2, &[IRELAND, VIRGINIA], 1, &[("delivery_role_maker", "enroller")]).await;
    let account = lab.sim.management();
    let role = lab.settings.delivery_role_name.as_str();
    assert!(lab.sim.with(|world| world.iam.remove_role(&account, role)).is_some());
    Person::of(&lab.sim, &account, IRELAND).create_vpc(&[]).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_all_covered(&lab);
    assert_all_records_delivered(&lab);
}

#[tokio::test]
async fn organization_mode_covers_everything_with_one_constant_policy() {
    let lab = with_settings(4, &[IRELAND], 1, &[("grant_mode", "organization")]);
    lab.deploy_members().unwrap();
    lab.sweep(json!({})).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_all_covered(&lab);
    assert_all_records_delivered(&lab);
}

#[tokio::test]
async fn seven_hundred_accounts_need_three_shards_of_valid_length() {
    let lab = organization(700, &[IRELAND], 0);
    lab.deploy_members().unwrap();
    lab.sweep(json!({})).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    let audit = audit_of(&lab);
    assert!(audit.misassigned().is_empty());
    assert_eq!(audit.uncovered(), 0);
    assert!(audit.destinations.len() >= 3);
    assert_eq!(refused_policies(&lab), 0, "AWS takes no policy of more than 5,120 bytes");
}

#[tokio::test]
async fn a_poison_message_ends_in_the_dead_letter_queue_without_delays() {
    let lab = organization(2, &[IRELAND], 1);
    lab.deploy_members().unwrap();
    for queue in ["enrollments", "grants.fifo"] {
        lab.send(queue, "{").await.unwrap();
    }
    let passed = lab.settle(DAY_MS).await.unwrap();
    assert_all_covered(&lab);
    for queue in ["enrollments-dead", "grants-dead.fifo"] {
        assert_eq!(lab.sim.bodies(&lab.url(queue)).unwrap(), ["{"], "{queue}");
    }
    assert!(passed < 10 * 60_000, "the poison message delays nothing: {passed} ms");
    assert!(lab.recording.total(Metric::EventsRefused) >= 2.0);
}

#[tokio::test]
async fn a_granted_account_of_an_excluded_ou_is_not_enrolled() {
    let lab = settled(6, &[IRELAND], 1).await;
    let (account, unit) = {
        let members = lab.sim.members();
        let account = members.last().cloned().unwrap();
        let path = lab.sim.with(|world| world.organization.path_of(&account).map(str::to_owned)).unwrap();
        (account, path.trim_end_matches('/').rsplit('/').next().unwrap().to_owned())
    };
    let mut lab = lab;
    lab.reconfigure(&[("excluded_organizational_units", &unit)]).unwrap();
    let vpc = Person::of(&lab.sim, &account, IRELAND).create_vpc(&[]).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    let audit = audit_of(&lab);
    assert_eq!(audit.account_regions.iter().flat_map(|at| &at.uncovered).collect::<Vec<_>>(), [&vpc]);
    assert_eq!(lab.sim.queue_depth(&lab.url("enrollments-dead")).unwrap().total(), 0, "a decision, not a failure");
}

#[tokio::test]
async fn no_call_is_made_in_an_account_outside_the_organization() {
    let lab = settled(2, &[IRELAND], 0).await;
    let from = lab.sim.calls().len();
    let stranger = "999988887777";
    let event = create_vpc_event(stranger, IRELAND);
    lab.send("enrollments", &event.to_string()).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    let calls = calls_since(&lab, from);
    assert_eq!(count(&calls, "AssumeRole"), 0);
    assert!(calls.iter().all(|call| call.account != stranger));
    assert_eq!(lab.sim.queue_depth(&lab.url("enrollments-dead")).unwrap().total(), 1, "a person finds the message");
}

#[tokio::test]
async fn where_aws_refuses_a_twin_the_gap_is_reported() {
    let mut lab = organization(2, &[IRELAND], 2);
    lab.sim.with(|world| world.settings.twin_rule = TwinRule::SameDestination);
    lab.deploy_members().unwrap();
    lab.settle(DAY_MS).await.unwrap();
    lab.recording.take();
    lab.reconfigure(&[("aggregation_interval", "60")]).unwrap();
    lab.sweep(json!({})).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    let audit = audit_of(&lab);
    assert_eq!(audit.uncovered(), 0);
    assert!(audit.account_regions.iter().all(|at| at.on_several_shards.is_empty()));
    let gaps = lab.recording.take().into_iter().filter(|line| line.cause.contains("gap")).count();
    assert_eq!(gaps, 6, "1 for each of 3 VPCs in 2 accounts");
}

#[tokio::test]
async fn a_flow_log_with_old_settings_is_deleted_after_its_replacement() {
    let mut lab = settled(2, &[IRELAND], 2).await;
    lab.reconfigure(&[("traffic_type", "REJECT")]).unwrap();
    let from = lab.sim.calls().len();
    lab.sweep(json!({})).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    let calls = calls_since(&lab, from);
    let order: Vec<&str> = calls
        .iter()
        .filter(|call| call.account == lab.sim.management() && call.mutating)
        .map(|call| call.operation.as_str())
        .collect();
    assert_eq!(order, ["CreateFlowLogs", "DeleteFlowLogs"]);
    assert!(audit_of(&lab).account_regions.iter().all(|at| at.on_several_shards.is_empty() && at.uncovered.is_empty()));
}

#[tokio::test]
async fn a_policy_switches_to_the_organization_only_after_a_look_at_the_filters() {
    let mut lab = settled(3, &[IRELAND], 1).await;
    lab.reconfigure(&[("grant_mode", "organization")]).unwrap();
    lab.deploy_members().unwrap();
    lab.sweep(json!({})).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert!(audit_of(&lab).misassigned().is_empty(), "every account is still listed");
    lab.sim.traffic_tick();
    let message = json!({ "kind": "sync-request", "version": 1, "reason": "switch", "allow_mass_revocation": true });
    lab.onboard(lab.invocation(message)).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert!(
        audit_of(&lab).destinations.iter().any(|destination| !destination.accounts.is_empty()),
        "permission alone is not enough: the function cannot look at the filters"
    );
    let operator = lab.operator(Arc::clone(&lab.recording) as _);
    let granter = operator.granter().unwrap();
    let filters = operator.inspector().filter_roles(&granter.planner().accounts_before_switch().await).await;
    assert_eq!(filters.problems, []);
    let work =
        GrantSync { sync: true, allow_mass_revocation: true, filters_with_role: filters.ready, ..GrantSync::default() };
    granter.sync(&work, &mut Metrics::default()).await;
    lab.settle(DAY_MS).await.unwrap();
    lab.sim.traffic_tick();
    let report = lab.sim.traffic_report();
    assert_eq!((report.delivered, report.lost_after_enrollment), (report.sent, 0), "{report:#?}");
    assert!(audit_of(&lab).destinations.iter().all(|destination| destination.accounts.is_empty()));
}

#[tokio::test]
async fn a_departed_account_is_not_granted_again_from_an_older_listing() {
    let lab = settled(4, &[IRELAND], 0).await;
    let leaver = lab.sim.members()[3].clone();
    lab.sim.with(|world| world.leave(&leaver)).unwrap();
    lab.sim
        .with(|world| world.create_account(&NewAccount { name: "new".to_owned(), ..NewAccount::default() }))
        .unwrap();
    lab.settle(60_000).await.unwrap();
    assert!(audit_of(&lab).strangers.is_empty());
    let granted = lab
        .recording
        .take()
        .into_iter()
        .filter(|line| line.action == "grant" && line.account.map(|id| id.to_string()) == Some(leaver.clone()));
    assert_eq!(granted.count(), 1, "once, when it was a member");
}

#[tokio::test]
async fn a_vpc_that_ec2_does_not_show_yet_is_retried() {
    let lab = settled(2, &[IRELAND], 0).await;
    let event = create_vpc_event(&lab.sim.management(), IRELAND);
    let answer = lab.enroll(lab.invocation(event)).await.unwrap();
    assert_eq!(answer["queued_again"], json!(true));
    lab.settle(DAY_MS).await.unwrap();
    let depth = lab.sim.queue_depth(&lab.url("enrollments-dead")).unwrap();
    assert_eq!(depth.total(), 0, "a VPC that never appears counts as deleted");
}
