//! Single obstacles, and how the run that meets one handles it without the help of a later run.

#![cfg(test)]

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_ec2::types::Tag;
use enroller_core::log::Outcome;
use enroller_core::metrics::Metric;
use enroller_lab::people::Person;
use enroller_lab::{As, Lab, sdk_config};
use enroller_sim::events::DeliverySettings;
use enroller_sim::{ApiError, FaultKind, FaultRule, Service, TwinRule, When};
use enroller_tests::one_run::{
    IRELAND, drop_events, enroll, enrolled_accounts, enrolled_accounts_in, new_account, refuse_once,
};
use enroller_tests::state::{difference, unmanaged};
use enroller_tests::{DAY_MS, assert_all_covered, audit_of, calls_since, count, ordinary_member, with_settings};
use serde_json::json;

const VIRGINIA: &str = "us-east-1";
const SYDNEY: &str = "ap-southeast-2";

async fn delete_flow_logs(lab: &Lab, account: &str, region: &str) {
    let person = Person::of(&lab.sim, account, region);
    for (id, _) in person.flow_logs().await.unwrap() {
        person.delete_flow_log(&id).await.unwrap();
    }
}

#[tokio::test]
async fn flow_logs_refused_because_of_one_vpc_are_created_one_by_one() {
    let lab = enrolled_accounts(&[]).await;
    let account = ordinary_member(&lab);
    delete_flow_logs(&lab, &account, IRELAND).await;
    refuse_once(&lab, Service::Ec2, "CreateFlowLogs", "InvalidVpcId.NotFound");
    assert_eq!(enroll(&lab, &account).await, json!([]));
    assert_all_covered(&lab);
}

#[tokio::test]
async fn refused_deletions_of_flow_logs_are_made_one_by_one() {
    let mut lab = enrolled_accounts(&[]).await;
    let account = ordinary_member(&lab);
    lab.reconfigure(&[("aggregation_interval", "60")]).unwrap();
    assert_eq!(enroll(&lab, &account).await, json!([{"itemIdentifier": "1"}]), "the old ones are kept for now");
    lab.sim.advance(3_600_000);
    refuse_once(&lab, Service::Ec2, "DeleteFlowLogs", "InvalidFlowLogId.NotFound");
    assert_eq!(enroll(&lab, &account).await, json!([]));
    assert!(audit_of(&lab).account_regions.iter().all(|at| at.on_several_shards.is_empty()), "{:#?}", audit_of(&lab));
}

#[tokio::test]
async fn a_vpc_whose_unmanaged_flow_log_records_what_is_wanted_is_left_alone() {
    let mut lab = enrolled_accounts(&[]).await;
    let account = ordinary_member(&lab);
    let client = aws_sdk_ec2::Client::new(&sdk_config(&lab.sim, IRELAND, As::Account(&account)));
    let person = Person::of(&lab.sim, &account, IRELAND);
    let ids: Vec<String> = person.flow_logs().await.unwrap().into_iter().map(|(id, _)| id).collect();
    lab.sim.advance(1_800_000);
    lab.sim.traffic_tick();
    // Somebody has made them theirs.
    let tag = |key: &str| Tag::builder().key(key).value("another-tool").build();
    let resources = || Some(ids.clone());
    let settings = Tag::builder().key("vpc-flow-logs-settings").build();
    client.delete_tags().set_resources(resources()).tags(settings).send().await.unwrap();
    client.create_tags().set_resources(resources()).tags(tag(&lab.settings.ownership_tag.key)).send().await.unwrap();
    lab.reconfigure(&[("aggregation_interval", "60")]).unwrap();
    lab.sim.with(|world| world.settings.twin_rule = TwinRule::SameDestination);
    let (from, theirs) = (lab.sim.calls().len(), unmanaged(&lab));
    assert_eq!(enroll(&lab, &account).await, json!([]));
    assert_eq!(count(&calls_since(&lab, from), "CreateFlowLogs"), 0, "the flow log is seen");
    assert_eq!(difference(&theirs, &unmanaged(&lab)), [""; 0]);
}

#[tokio::test]
async fn an_unmanaged_delivery_role_is_used_as_it_is() {
    let lab = with_settings(3, &[IRELAND], 0, &[("delivery_role_maker", "enroller")]);
    let (account, role) = (ordinary_member(&lab), lab.settings.delivery_role_name.to_string());
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
    assert_all_covered(&lab);
    assert_eq!(lab.sim.with(|world| format!("{:?}", world.iam.role(&account, &role))), theirs);
}

#[tokio::test]
async fn a_destination_with_another_target_is_pointed_at_the_stream() {
    let lab = enrolled_accounts(&[]).await;
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
async fn an_enrollment_request_that_could_not_be_sent_is_sent_later() {
    let lab = enrolled_accounts(&[]).await;
    // The enroller learns of the account only from the request, because no event reported its stack.
    new_account(&lab);
    refuse_once(&lab, Service::Sqs, "SendMessageBatch", "AccessDeniedException");
    lab.settle(DAY_MS).await.unwrap();
    assert_all_covered(&lab);
}

#[tokio::test]
async fn an_account_that_left_unnoticed_and_rejoined_is_enrolled() {
    let lab = enrolled_accounts(&[]).await;
    let account = ordinary_member(&lab);
    drop_events(&lab);
    lab.sim.with(|world| world.leave(&account)).unwrap();
    Person::of(&lab.sim, &account, IRELAND).create_vpc(&[]).await.unwrap();
    lab.sim.advance(600_000);
    lab.sim.set_event_delivery(DeliverySettings::default(), 1);
    lab.sim.with(|world| world.accept_invitation(&account)).unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_all_covered(&lab);
}

#[tokio::test]
async fn the_retention_of_an_unmanaged_log_group_is_kept() {
    let lab = with_settings(3, &[IRELAND], 0, &[]);
    let account = ordinary_member(&lab);
    let person = Person::of(&lab.sim, &account, IRELAND);
    let group = lab.settings.log_group_name.to_string();
    person.create_log_group(&group).await.unwrap();
    person.put_retention(&group, 7).await.unwrap();
    lab.deploy_members().unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_all_covered(&lab);
    let days = lab.sim.with(|world| world.logs.group(&account, IRELAND, &group).unwrap().retention_days);
    assert_eq!(days, Some(7));
}

#[tokio::test]
async fn a_changed_trust_policy_is_repaired_after_a_failed_delivery() {
    let lab = enrolled_accounts(&[("delivery_role_maker", "enroller")]).await;
    let (account, role) = (ordinary_member(&lab), lab.settings.delivery_role_name.to_string());
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
async fn an_account_that_organizations_does_not_know_yet_is_retried() {
    let lab = enrolled_accounts(&[]).await;
    lab.sim.with(|world| world.settings.listing_lag_ms = 30_000);
    new_account(&lab);
    refuse_once(&lab, Service::Organizations, "DescribeAccount", "AccountNotFoundException");
    lab.settle(DAY_MS).await.unwrap();
    assert!(audit_of(&lab).misassigned().is_empty());
    assert_all_covered(&lab);
}

#[tokio::test]
async fn an_account_that_was_excluded_is_looked_up_again() {
    let mut lab = enrolled_accounts(&[]).await;
    let account = ordinary_member(&lab);
    let unit = lab.sim.with(|world| world.organization.member(&account).unwrap().parent.clone());
    lab.reconfigure(&[("excluded_organizational_units", &unit)]).unwrap();
    let person = Person::of(&lab.sim, &account, IRELAND);
    person.create_vpc(&[]).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(audit_of(&lab).uncovered(), 1, "its OU is excluded");
    let root = lab.sim.with(|world| world.organization.root().to_owned());
    lab.sim.with(|world| world.move_account(&account, &root)).unwrap();
    lab.settle(DAY_MS).await.unwrap();
    lab.sim.advance(300_000);
    person.create_vpc(&[]).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_all_covered(&lab);
}

#[tokio::test]
async fn a_changed_retention_of_the_managed_log_group_is_restored() {
    let lab = enrolled_accounts(&[]).await;
    let (account, group) = (ordinary_member(&lab), lab.settings.log_group_name.to_string());
    let days = || lab.sim.with(|world| world.logs.group(&account, IRELAND, &group).unwrap().retention_days);
    let right = days();
    Person::of(&lab.sim, &account, IRELAND).put_retention(&group, 7).await.unwrap();
    assert_ne!(days(), right);
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(days(), right);
}

#[tokio::test]
async fn a_region_that_the_account_has_not_enabled_is_skipped() {
    let lab = enrolled_accounts_in(&[IRELAND, SYDNEY], &[]).await;
    let account = ordinary_member(&lab);
    lab.sim.with(|world| world.accounts.get_mut(&account).unwrap().regions.remove(SYDNEY));
    delete_flow_logs(&lab, &account, IRELAND).await;
    lab.recording.take();
    assert_eq!(enroll(&lab, &account).await, json!([]), "a retry cannot help");
    assert_all_covered(&lab);
    let skipped = lab.recording.take().into_iter().filter(|line| line.outcome == Outcome::Skipped);
    let reasons: Vec<_> = skipped.map(|line| (line.region.unwrap().to_string(), line.cause)).collect();
    assert_eq!(reasons, [(SYDNEY.to_owned(), "the account has not enabled this Region".to_owned())]);
}

#[tokio::test]
async fn credentials_refused_in_an_enabled_region_are_retried() {
    let lab = enrolled_accounts(&[]).await;
    let account = ordinary_member(&lab);
    delete_flow_logs(&lab, &account, IRELAND).await;
    let refusal = ApiError::new(401, "AuthFailure", "refused by the test");
    let twice = FaultRule::new(FaultKind::ErrorBefore(refusal)).on(Service::Ec2, "DescribeVpcs").at(When::First(2));
    lab.sim.arm(twice);
    assert_eq!(
        enroll(&lab, &account).await,
        json!([{"itemIdentifier": "1"}]),
        "a new session that is refused, too, is for later"
    );
    assert_eq!(enroll(&lab, &account).await, json!([]));
    assert_all_covered(&lab);
}

#[tokio::test]
async fn credentials_refused_once_are_replaced_at_once() {
    let lab = enrolled_accounts(&[]).await;
    let account = ordinary_member(&lab);
    delete_flow_logs(&lab, &account, IRELAND).await;
    refuse_once(&lab, Service::Ec2, "DescribeVpcs", "AuthFailure");
    let from = lab.sim.calls().len();
    assert_eq!(enroll(&lab, &account).await, json!([]));
    assert_all_covered(&lab);
    assert_eq!(count(&calls_since(&lab, from), "AssumeRole"), 1);
}

#[tokio::test]
async fn a_delivery_role_is_created_once_for_all_regions() {
    let lab = enrolled_accounts_in(&[IRELAND, VIRGINIA], &[("delivery_role_maker", "enroller")]).await;
    let account = ordinary_member(&lab);
    lab.sim.with(|world| world.iam.remove_role(&account, lab.settings.delivery_role_name.as_str())).unwrap();
    for region in [IRELAND, VIRGINIA] {
        delete_flow_logs(&lab, &account, region).await;
    }
    let from = lab.sim.calls().len();
    assert_eq!(enroll(&lab, &account).await, json!([]));
    assert_all_covered(&lab);
    let calls = calls_since(&lab, from).into_iter().filter(|call| call.service == Service::Iam);
    assert_eq!(calls.map(|call| call.operation).collect::<Vec<_>>(), ["GetRole", "CreateRole", "PutRolePolicy"]);
}

#[tokio::test]
async fn a_log_group_deleted_while_its_retention_is_set_is_recreated() {
    let lab = enrolled_accounts(&[]).await;
    let (account, group) = (ordinary_member(&lab), lab.settings.log_group_name.to_string());
    Person::of(&lab.sim, &account, IRELAND).put_retention(&group, 7).await.unwrap();
    let (theirs, name) = (account.clone(), group.clone());
    let delete = FaultKind::HookBefore(Arc::new(move |world, _| {
        world.delete_log_group(&theirs, IRELAND, &name).unwrap();
    }));
    lab.sim.arm(FaultRule::new(delete).on(Service::Logs, "PutRetentionPolicy").at(When::First(1)));
    assert_eq!(enroll(&lab, &account).await, json!([]));
    let filters = lab.sim.with(|world| world.logs.group(&account, IRELAND, &group).map(|group| group.filters.len()));
    assert_eq!(filters, Some(1));
}

#[tokio::test]
async fn flow_logs_that_another_run_creates_first_are_accepted() {
    let mut lab = enrolled_accounts(&[]).await;
    let account = ordinary_member(&lab);
    lab.sim.with(|world| world.settings.twin_rule = TwinRule::SameDestination);
    lab.reconfigure(&[("aggregation_interval", "60")]).unwrap();
    // The flow logs are created and AWS answers that they exist, as if another run had just created them.
    let faster = FaultKind::ErrorAfter(ApiError::new(400, "FlowLogAlreadyExists", "another run was faster"));
    lab.sim.arm(FaultRule::new(faster).on(Service::Ec2, "CreateFlowLogs").at(When::Nth(3)));
    let failed = lab.recording.total(Metric::VpcsFailed);
    assert_eq!(enroll(&lab, &account).await, json!([]));
    let audit = audit_of(&lab);
    assert!(
        audit.uncovered() == 0 && audit.account_regions.iter().all(|at| at.on_several_shards.is_empty()),
        "{audit:#?}"
    );
    assert!((lab.recording.total(Metric::VpcsFailed) - failed).abs() < f64::EPSILON);
}
