//! Somebody in a member account, or in the central one, switches logging off: undone within one event or told, and never
//! "covered".

#![cfg(test)]

use std::collections::BTreeMap;

use enroller_core::doctor::{CheckId, Status};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::Metric;
use enroller_engine::doctor::{DoctorOptions, Sample};
use enroller_lab::Lab;
use enroller_lab::people::Person;
use enroller_sim::Service;
use enroller_tests::{DAY_MS, assert_all_covered, audit_of, settled};
use serde_json::{Value, json};

const IRELAND: &str = "eu-west-1";
const SYDNEY: &str = "ap-southeast-2";
const VIRGINIA: &str = "us-east-1";
const MINUTE_MS: u64 = 60_000;

/// A call of an administrator of this account.
fn by_admin(lab: &Lab, account: &str, region: &str, service: Service, operation: &str, input: Value) {
    let credentials = lab.sim.credentials_of(account);
    lab.sim.call_raw(&credentials, region, service, operation, &input).unwrap();
}

fn delete_rule(lab: &Lab, account: &str, region: &str, name: &str) {
    let call = |operation, input| by_admin(lab, account, region, Service::Events, operation, input);
    call("RemoveTargets", json!({"Rule": name, "Ids": ["target-1"]}));
    call("DeleteRule", json!({"Name": name}));
}

/// What was noticed since the last look, and that each line names who did it and in which event.
fn noticed(lab: &Lab) -> Vec<LogEntry> {
    let lines: Vec<_> = lab.recording.take().into_iter().filter(|line| line.outcome == Outcome::Noticed).collect();
    for line in &lines {
        assert!(line.principal.as_ref().is_some_and(|who| who.starts_with("arn:aws:")), "{line:?}");
        assert!(line.event_id.is_some() && line.next_step.is_some(), "{line:?}");
    }
    lines
}

async fn failed_checks(lab: &Lab) -> Vec<CheckId> {
    let doctor = lab.operator(lab.recording.clone()).doctor();
    let checkup = doctor.check(&DoctorOptions { sample: Sample::All, ..DoctorOptions::default() }).await;
    checkup.checks().iter().filter(|check| check.status() == Status::Failed).map(|check| check.id).collect()
}

#[tokio::test]
async fn whoever_deletes_the_rules_first_and_the_flow_log_after_is_told_and_found() {
    let lab = settled(3, &[IRELAND, SYDNEY], 1).await;
    let member = lab.sim.members()[2].clone();
    noticed(&lab);
    for rule in ["vpcs", "watch-of-watch", "watch"] {
        delete_rule(&lab, &member, SYDNEY, &format!("vpc-flow-logs-enroller-{rule}"));
    }
    // Each told rule causes a look, so a flow log that is deleted until then is made again.
    lab.settle(MINUTE_MS).await.unwrap();
    let person = Person::of(&lab.sim, &member, SYDNEY);
    let flow_logs = person.flow_logs().await.unwrap();
    person.delete_flow_log(&flow_logs[0].0).await.unwrap();
    lab.settle(MINUTE_MS).await.unwrap();
    let told = noticed(&lab);
    let resources: Vec<&str> = told.iter().map(|line| line.resource.as_str()).collect();
    assert!(resources.contains(&"vpc-flow-logs-enroller-vpcs"), "{told:#?}");
    assert!(told.iter().all(|line| line.account.unwrap().to_string() == member));
    assert!(lab.recording.total(Metric::ChangesByOthers) >= 2.0);
    assert_eq!(audit_of(&lab).uncovered(), 1, "no event tells of the flow log");
    assert!(failed_checks(&lab).await.contains(&CheckId::MemberRules));
    lab.sweep(json!({})).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_all_covered(&lab);
}

#[tokio::test]
async fn a_deleted_flow_log_filter_or_group_is_made_again_within_one_event_and_told() {
    let lab = settled(3, &[SYDNEY], 1).await;
    let member = lab.sim.members()[1].clone();
    let person = Person::of(&lab.sim, &member, SYDNEY);
    let (group, filter) = (lab.settings.log_group_name.to_string(), lab.settings.filter_name.to_string());
    for number in 1..=3 {
        noticed(&lab);
        match number {
            1 => person.delete_flow_log(&person.flow_logs().await.unwrap()[0].0).await.unwrap(),
            2 => person.delete_filter(&group, &filter).await.unwrap(),
            _ => person.delete_log_group(&group).await.unwrap(),
        }
        lab.settle(MINUTE_MS).await.unwrap();
        assert_all_covered(&lab);
        assert_eq!(noticed(&lab).len(), 1, "{number}");
        assert_eq!(lab.recording.total(Metric::ChangesByOthers), f64::from(number));
    }
}

#[tokio::test]
async fn an_overwritten_policy_and_a_deleted_destination_are_restored_within_one_event_in_every_region() {
    for region in [IRELAND, SYDNEY] {
        let lab = settled(4, &[IRELAND, SYDNEY], 1).await;
        let central = lab.sim.central();
        let name = lab.settings.destination_name.base().to_string();
        let before = audit_of(&lab).destinations;
        let stream = format!("arn:aws:firehose:{IRELAND}:{central}:deliverystream/theirs");
        lab.sim.add_stream(&stream);
        let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": {"Service": "logs.amazonaws.com"}}]});
        let all = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
        let policies = BTreeMap::from([("All".to_owned(), all)]);
        let role = lab.sim.with(|world| world.put_role(&central, "Theirs", trust, policies).arn.clone());
        let arn = format!("arn:aws:logs:{region}:{central}:destination:{name}");
        let theirs = json!({"Version": "2012-10-17", "Statement": [{"Sid": "Theirs", "Effect": "Allow",
            "Principal": {"AWS": central}, "Action": "logs:PutSubscriptionFilter", "Resource": arn}]});
        for (operation, input) in [
            ("PutDestinationPolicy", json!({"destinationName": name, "accessPolicy": theirs.to_string()})),
            (
                "PutDestination",
                json!({"destinationName": name, "targetArn": stream,
                    "roleArn": role}),
            ),
            ("DeleteDestination", json!({"destinationName": name})),
        ] {
            noticed(&lab);
            let so_far = lab.recording.total(Metric::ChangesByOthers);
            by_admin(&lab, &central, region, Service::Logs, operation, input);
            lab.settle(MINUTE_MS).await.unwrap();
            assert_all_covered(&lab);
            let after = audit_of(&lab).destinations;
            for (was, is) in before.iter().zip(&after) {
                assert!(was.accounts.is_subset(&is.accounts), "{operation} in {region}: {after:#?}");
            }
            let told = noticed(&lab);
            let [line] = told.as_slice() else { panic!("{operation} in {region}: {told:#?}") };
            assert_eq!((line.resource.as_str(), line.region.as_ref().unwrap().as_str()), (&*name, region));
            // The repair comes back as an event, too, and is nobody else's change.
            assert_eq!(lab.recording.total(Metric::ChangesByOthers), so_far + 1.0);
        }
    }
}

#[tokio::test]
async fn until_a_lost_destination_is_restored_the_doctor_fails() {
    let lab = settled(2, &[IRELAND], 1).await;
    let name = lab.settings.destination_name.base().to_string();
    let theirs = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    let input = json!({"destinationName": name, "accessPolicy": theirs});
    let credentials = lab.sim.credentials_of(&lab.sim.central());
    if lab.sim.call_raw(&credentials, IRELAND, Service::Logs, "PutDestinationPolicy", &input).is_err() {
        by_admin(
            &lab,
            &lab.sim.central(),
            IRELAND,
            Service::Logs,
            "DeleteDestination",
            json!({"destinationName": name}),
        );
    }
    let failed = failed_checks(&lab).await;
    assert!(failed.contains(&CheckId::Grants) || failed.contains(&CheckId::Destination), "{failed:?}");
}

#[tokio::test]
async fn a_role_that_a_member_weakens_is_told_although_iam_is_in_a_region_that_is_not_enrolled() {
    let lab = settled(2, &[IRELAND], 1).await;
    let member = lab.sim.members()[1].clone();
    noticed(&lab);
    let role = lab.settings.member_role_name.to_string();
    let input = json!({"RoleName": role, "PolicyName": "Enroll"});
    by_admin(&lab, &member, VIRGINIA, Service::Iam, "DeleteRolePolicy", input);
    lab.settle(MINUTE_MS).await.unwrap();
    let told = noticed(&lab);
    let [line] = told.as_slice() else { panic!("{told:#?}") };
    assert_eq!(line.resource, format!("role {role}"));
    assert!(line.cause.starts_with("DeleteRolePolicy by arn:aws:"), "{}", line.cause);
    assert_eq!(lab.recording.total(Metric::ChangesByOthers), 1.0);
}

#[tokio::test]
async fn a_deleted_rule_of_the_central_account_is_told() {
    let lab = settled(2, &[IRELAND, SYDNEY], 1).await;
    let central = lab.sim.central();
    noticed(&lab);
    let input = json!({"Name": "forward-to-home", "EventBusName": "vpc-flow-logs-enroller"});
    by_admin(&lab, &central, SYDNEY, Service::Events, "DisableRule", input);
    lab.settle(MINUTE_MS).await.unwrap();
    let told = noticed(&lab);
    let [line] = told.as_slice() else { panic!("{told:#?}") };
    assert_eq!(line.resource, "events forward-to-home");
    assert!(failed_checks(&lab).await.contains(&CheckId::BusRules));
}

#[tokio::test]
async fn a_destination_of_that_name_in_a_member_account_is_nobodys_business() {
    let lab = settled(2, &[IRELAND], 1).await;
    noticed(&lab);
    let from = lab.recording.total(Metric::ChangesByOthers);
    let member = lab.sim.members()[1].clone();
    let name = lab.settings.destination_name.base().to_string();
    let event = json!({"source": "aws.logs", "account": member, "region": IRELAND, "id": "1",
        "detail-type": "AWS API Call via CloudTrail", "detail": {"eventSource": "logs.amazonaws.com",
        "eventName": "DeleteDestination", "awsRegion": IRELAND, "eventType": "AwsApiCall", "eventID": "e",
        "recipientAccountId": member, "requestParameters": {"destinationName": name}}});
    lab.send("grants.fifo", &event.to_string()).await.unwrap();
    lab.settle(MINUTE_MS).await.unwrap();
    assert!(noticed(&lab).is_empty());
    assert_eq!(lab.recording.total(Metric::ChangesByOthers), from);
}

#[tokio::test]
async fn whoever_deletes_the_filter_again_and_again_is_repaired_every_quarter_of_an_hour() {
    let lab = settled(2, &[IRELAND], 1).await;
    let member = lab.sim.members()[1].clone();
    let person = Person::of(&lab.sim, &member, IRELAND);
    let (group, filter) = (lab.settings.log_group_name.to_string(), lab.settings.filter_name.to_string());
    for _ in 0..6 {
        person.delete_filter(&group, &filter).await.unwrap();
        lab.settle(MINUTE_MS / 2).await.unwrap();
        assert_all_covered(&lab);
        lab.sim.advance(MINUTE_MS);
    }
    assert_eq!(lab.recording.total(Metric::ContestedRepairs), 0.0);
    person.delete_filter(&group, &filter).await.unwrap();
    lab.settle(MINUTE_MS).await.unwrap();
    assert_eq!(lab.recording.total(Metric::ContestedRepairs), 1.0);
    assert!(audit_of(&lab).uncovered() > 0, "it waits");
    lab.settle(16 * MINUTE_MS).await.unwrap();
    assert_all_covered(&lab);
}
