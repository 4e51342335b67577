//! One obstacle, and what the run that meets it makes of it, with no later run to help.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Tag;
use enroller_sim::events::DeliverySettings;
use enroller_sim::{FaultKind, FaultRule, NewAccount, Refusal, Service, Strike, TwinRule};
use enroller_testkit::people::Person;
use enroller_testkit::{As, Lab, sdk_config};
use enroller_tests::state::{difference, others};
use enroller_tests::{DAY_MS, calls_since, count, look, with_settings};
use serde_json::{Value, json};

const IRELAND: &str = "eu-west-1";

/// An organization in which everything is enrolled, two VPCs in each account.
async fn at_rest(settings: &[(&'static str, &str)]) -> Lab {
    let lab = with_settings(3, &[IRELAND], 1, settings);
    lab.deploy_members().unwrap();
    lab.settle(DAY_MS).await.unwrap();
    lab
}

/// Reconciles an account once.
async fn enroll(lab: &Lab, account: &str) -> Value {
    let body = json!({
        "kind": "enrollment-request", "version": 1, "account": account, "regions": [IRELAND], "reason": "test"
    });
    let queue = format!("arn:aws:sqs:{IRELAND}:{}:enrollments", lab.settings.central_account);
    let record = json!({
        "messageId": "1", "receiptHandle": "none", "body": body.to_string(), "eventSource": "aws:sqs",
        "attributes": {"ApproximateReceiveCount": "1"}, "awsRegion": IRELAND, "eventSourceARN": queue,
    });
    let answer = lab.enroll(lab.invocation(json!({ "Records": [record] }))).await.unwrap();
    answer["batchItemFailures"].clone()
}

/// A refusal of the first such call, before any effect.
fn refuse_once(lab: &Lab, service: Service, operation: &str, code: &str) {
    let refusal = FaultKind::ErrorBefore(Refusal::new(400, code, "refused by the test"));
    lab.sim.arm(FaultRule::new(refusal).on(service, operation).at(Strike::First(1)));
}

/// The member that things happen to.
fn somebody(lab: &Lab) -> String {
    let (management, central) = (lab.sim.management(), lab.sim.central());
    lab.sim.members().into_iter().find(|id| *id != management && *id != central).unwrap()
}

#[tokio::test]
async fn flow_logs_refused_because_of_one_vpc_are_made_one_by_one() {
    let lab = at_rest(&[]).await;
    let account = somebody(&lab);
    let person = Person::of(&lab.sim, &account, IRELAND);
    for (id, _) in person.flow_logs().await.unwrap() {
        person.delete_flow_log(&id).await.unwrap();
    }
    refuse_once(&lab, Service::Ec2, "CreateFlowLogs", "InvalidVpcId.NotFound");
    assert_eq!(enroll(&lab, &account).await, json!([]));
    assert_eq!(look(&lab).uncovered(), 0);
}

#[tokio::test]
async fn flow_logs_whose_deletion_is_refused_because_of_one_are_deleted_one_by_one() {
    let mut lab = at_rest(&[]).await;
    let account = somebody(&lab);
    lab.reconfigure(&[("aggregation_interval", "60")]).unwrap();
    refuse_once(&lab, Service::Ec2, "DeleteFlowLogs", "InvalidFlowLogId.NotFound");
    assert_eq!(enroll(&lab, &account).await, json!([]));
    assert!(look(&lab).places.iter().all(|place| place.doubled.is_empty()), "{:#?}", look(&lab));
}

#[tokio::test]
async fn a_vpc_whose_flow_log_is_somebody_elses_and_allows_no_second_is_let_be() {
    let mut lab = at_rest(&[]).await;
    let account = somebody(&lab);
    let client = aws_sdk_ec2::Client::new(&sdk_config(&lab.sim, IRELAND, As::Account(&account)));
    let person = Person::of(&lab.sim, &account, IRELAND);
    let ids: Vec<String> = person.flow_logs().await.unwrap().into_iter().map(|(id, _)| id).collect();
    let ours = Tag::builder().key(&lab.settings.ownership_tag.key).build();
    client.delete_tags().set_resources(Some(ids)).tags(ours).send().await.unwrap();
    lab.reconfigure(&[("aggregation_interval", "60")]).unwrap();
    lab.sim.with(|world| world.settings.twin_rule = TwinRule::SameDestination);
    let (from, theirs) = (lab.sim.calls().len(), others(&lab));
    assert_eq!(enroll(&lab, &account).await, json!([]));
    assert_eq!(count(&calls_since(&lab, from), "CreateFlowLogs"), 1, "asked once, and told once that it is there");
    assert_eq!(difference(&theirs, &others(&lab)), [""; 0]);
}

#[tokio::test]
async fn a_delivery_role_of_others_is_used_as_it_is() {
    let lab = with_settings(3, &[IRELAND], 0, &[("delivery_role_maker", "enroller")]);
    let (account, role) = (somebody(&lab), lab.settings.delivery_role_name.to_string());
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "vpc-flow-logs.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let write = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "logs:*", "Resource": "*"}]});
    lab.sim.with(|world| {
        world.put_role(&account, &role, trust, BTreeMap::from([("theirs".to_owned(), write)]));
    });
    let theirs = lab.sim.with(|world| format!("{:?}", world.iam.role(&account, &role)));
    lab.deploy_members().unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(look(&lab).uncovered(), 0);
    assert_eq!(lab.sim.with(|world| format!("{:?}", world.iam.role(&account, &role))), theirs);
}

#[tokio::test]
async fn a_destination_that_somebody_points_elsewhere_is_pointed_at_the_stream_again() {
    let lab = at_rest(&[]).await;
    let central = lab.sim.central();
    let target_of =
        || lab.sim.with(|world| world.logs.destinations(&central, IRELAND).next().unwrap().target_arn.clone());
    let right = target_of();
    let elsewhere = right.replace("vpc-flow-logs", "theirs");
    lab.sim.with(|world| {
        world.logs.add_stream(&elsewhere);
        let found = world.logs.destinations(&central, IRELAND).next().cloned().unwrap();
        let permissions = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "firehose:*", "Resource": "*"}]});
        let role = found.role_arn.rsplit('/').next().unwrap().to_owned();
        let trust = world.iam.role(&central, &role).unwrap().trust.clone();
        world.put_role(&central, &role, trust, BTreeMap::from([("all".to_owned(), permissions)]));
        world.put_destination(&central, IRELAND, &found.name, &elsewhere, &found.role_arn).unwrap();
    });
    assert_eq!(target_of(), elsewhere);
    let sync = json!({"kind": "sync-request", "version": 1, "reason": "test"});
    lab.onboard(lab.invocation(sync)).await.unwrap();
    assert_eq!(target_of(), right);
}

#[tokio::test]
async fn an_account_whose_request_could_not_be_sent_is_handed_over_when_its_message_comes_back() {
    let lab = at_rest(&[]).await;
    let new = NewAccount { name: "fresh".to_owned(), ..NewAccount::default() };
    let account = lab.sim.with(|world| world.create_account(&new)).unwrap();
    // Nothing but the request tells the enroller of the account: its stack is complete and nobody said so.
    lab.stacks.deploy_member(&account).unwrap();
    refuse_once(&lab, Service::Sqs, "SendMessageBatch", "AccessDeniedException");
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(look(&lab).uncovered(), 0);
}

#[tokio::test]
async fn an_account_that_comes_back_before_anybody_noticed_that_it_left_is_enrolled_anew() {
    let lab = at_rest(&[]).await;
    let account = somebody(&lab);
    let nothing = DeliverySettings { drop_probability: 1.0, ..DeliverySettings::default() };
    lab.sim.set_event_delivery(nothing, 1);
    lab.sim.with(|world| world.leave(&account)).unwrap();
    Person::of(&lab.sim, &account, IRELAND).create_vpc(&[]).await.unwrap();
    lab.sim.advance(600_000);
    lab.sim.set_event_delivery(DeliverySettings::default(), 1);
    lab.sim.with(|world| world.accept_invitation(&account)).unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(look(&lab).uncovered(), 0);
}

#[tokio::test]
async fn the_retention_of_a_log_group_that_somebody_else_made_stays_as_it_is() {
    let lab = with_settings(3, &[IRELAND], 0, &[]);
    let account = somebody(&lab);
    let person = Person::of(&lab.sim, &account, IRELAND);
    let group = lab.settings.log_group_name.to_string();
    person.create_log_group(&group).await.unwrap();
    person.put_retention(&group, 7).await.unwrap();
    lab.deploy_members().unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(look(&lab).uncovered(), 0);
    let days = lab.sim.with(|world| world.logs.group(&account, IRELAND, &group).unwrap().retention_days);
    assert_eq!(days, Some(7));
}

#[tokio::test]
async fn the_trust_of_a_delivery_role_that_somebody_changed_is_put_right_when_a_delivery_has_failed() {
    let lab = at_rest(&[("delivery_role_maker", "enroller")]).await;
    let (account, role) = (somebody(&lab), lab.settings.delivery_role_name.to_string());
    let trust_of = || lab.sim.with(|world| world.iam.role(&account, &role).unwrap().trust.clone());
    let right = trust_of();
    let client = aws_sdk_iam::Client::new(&sdk_config(&lab.sim, "us-east-1", As::Account(&account)));
    let nobody = right.to_string().replace("vpc-flow-logs.amazonaws.com", "ec2.amazonaws.com");
    client.update_assume_role_policy().role_name(&role).policy_document(nobody).send().await.unwrap();
    assert_ne!(trust_of(), right);
    lab.sim.traffic_tick();
    enroll(&lab, &account).await;
    assert_eq!(trust_of(), right);
}

#[tokio::test]
async fn an_account_that_organizations_does_not_know_yet_is_looked_for_again() {
    let lab = at_rest(&[]).await;
    lab.sim.with(|world| world.settings.listing_lag_ms = 30_000);
    let new = NewAccount { name: "fresh".to_owned(), ..NewAccount::default() };
    let account = lab.sim.with(|world| world.create_account(&new)).unwrap();
    lab.stacks.deploy_member(&account).unwrap();
    refuse_once(&lab, Service::Organizations, "DescribeAccount", "AccountNotFoundException");
    lab.settle(DAY_MS).await.unwrap();
    assert!(look(&lab).misplaced().is_empty());
    assert_eq!(look(&lab).uncovered(), 0);
}

#[tokio::test]
async fn an_account_that_was_excluded_a_while_ago_is_asked_about_again() {
    let mut lab = at_rest(&[]).await;
    let account = somebody(&lab);
    let unit = lab.sim.with(|world| world.organization.member(&account).unwrap().parent.clone());
    lab.reconfigure(&[("excluded_organizational_units", &unit)]).unwrap();
    let person = Person::of(&lab.sim, &account, IRELAND);
    person.create_vpc(&[]).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(look(&lab).uncovered(), 1, "its OU is excluded");
    let root = lab.sim.with(|world| world.organization.root().to_owned());
    lab.sim.with(|world| world.move_account(&account, &root)).unwrap();
    lab.settle(DAY_MS).await.unwrap();
    lab.sim.advance(300_000);
    person.create_vpc(&[]).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(look(&lab).uncovered(), 0);
}

#[tokio::test]
async fn the_retention_of_our_log_group_that_somebody_changed_is_put_back() {
    let lab = at_rest(&[]).await;
    let (account, group) = (somebody(&lab), lab.settings.log_group_name.to_string());
    let days = || lab.sim.with(|world| world.logs.group(&account, IRELAND, &group).unwrap().retention_days);
    let right = days();
    Person::of(&lab.sim, &account, IRELAND).put_retention(&group, 7).await.unwrap();
    assert_ne!(days(), right);
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(days(), right);
}
