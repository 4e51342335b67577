//! Policies of the central destination that a person edited by hand: odd, but valid.

use std::collections::BTreeSet;

use enroller_core::arn::Arn;
use enroller_core::ids::AccountId;
use enroller_core::log::Outcome;
use enroller_core::policy::DestinationPolicy;
use enroller_lab::Lab;
use enroller_sim::Service;
use enroller_tests::state::statements;
use enroller_tests::{DAY_MS, calls_since};
use serde_json::{Value, json};

use crate::harness::{IRELAND, Queue, member, policy, put_policy, settled_organization};

const PARTNER: &str = "777788889999";

fn arn(lab: &Lab) -> String {
    lab.stacks.destination_arns()[IRELAND].clone()
}

/// The accounts of the managed statement, and the unmanaged statements.
fn read(lab: &Lab) -> (BTreeSet<String>, Vec<Value>) {
    lab.sim.with(|world| statements(world.logs.destination(&arn(lab)).unwrap()))
}

async fn sync(lab: &Lab) {
    // Longer than listings and shard assignments are cached.
    lab.sim.advance(600_000);
    lab.recording.take();
    Queue::Grants.send(lab, &json!({"kind": "sync-request", "version": 1}).to_string()).await;
    lab.settle(DAY_MS).await.unwrap();
}

/// Policies without a managed statement. `ARN` stands for the destination, `ORG` for the organization and `MEMBER` for
/// a member.
const ODD_BUT_LEGAL: &[(&str, &str)] = &[
    (
        "one statement that is no list",
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"777788889999"},"Action":"logs:PutSubscriptionFilter","Resource":"ARN"}}"#,
    ),
    (
        "the older version, an Id, no Sid",
        r#"{"Version":"2008-10-17","Id":"by hand","Statement":[{"Effect":"Allow","Principal":{"AWS":["777788889999"]},"Action":["logs:PutSubscriptionFilter"],"Resource":["ARN"]}]}"#,
    ),
    (
        "no version",
        r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"777788889999"},"Action":"logs:*","Resource":"*"}]}"#,
    ),
    (
        "actions in another case, and wildcards",
        r#"{"Statement":[{"Sid":"A","Effect":"Allow","Principal":{"AWS":"777788889999"},"Action":["logs:putSUBSCRIPTIONfilter","logs:Put?ccount*"],"Resource":"arn:aws:logs:*"}]}"#,
    ),
    (
        "escapes and white space",
        "{ \"\\u0053tatement\" :\n\t[ { \"Sid\":\"\\u0041\", \"Effect\":\"All\\u006fw\", \"Principal\":{ \"AWS\":\"77778888\\u0039999\" }, \"Action\":\"logs:\\u002a\", \"Resource\":\"\\u002A\" } ] }",
    ),
    (
        "an unmanaged deny",
        r#"{"Statement":[{"Sid":"Not","Effect":"Deny","Principal":{"AWS":"777788889999"},"Action":"logs:*","Resource":"*"}]}"#,
    ),
    (
        "other actions only",
        r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"777788889999"},"Action":"logs:PutAccountPolicy","Resource":"ARN"}]}"#,
    ),
    (
        "a member in an unmanaged statement",
        r#"{"Statement":[{"Sid":"VpcEnroller2","Effect":"Allow","Principal":{"AWS":"MEMBER"},"Action":"logs:PutSubscriptionFilter","Resource":"ARN"}]}"#,
    ),
    (
        "the managed Sid in another case",
        r#"{"Statement":[{"Sid":"vpcenroller","Effect":"Allow","Principal":{"AWS":"777788889999"},"Action":"logs:PutSubscriptionFilter","Resource":"ARN"}]}"#,
    ),
    (
        "a Sid that begins like the managed one",
        r#"{"Statement":[{"Sid":"VpcEnrollerOrganizations","Effect":"Allow","Principal":{"AWS":"777788889999"},"Action":"logs:PutSubscriptionFilter","Resource":"ARN"}]}"#,
    ),
];

/// Puts a policy with `forceUpdate`, which AWS requires for some of them.
fn force_policy(lab: &Lab, text: &str) {
    let credentials = lab.sim.credentials_of(&lab.sim.central());
    let input = json!({"destinationName": lab.settings.destination_name.base().as_str(), "accessPolicy": text, "forceUpdate": true});
    lab.sim.call_raw(&credentials, IRELAND, Service::Logs, "PutDestinationPolicy", &input).unwrap();
}

fn filled(lab: &Lab, text: &str) -> String {
    let text = text.replace("ARN", &arn(lab)).replace("ORG", lab.settings.organization_id.as_str());
    text.replace("MEMBER", &member(lab))
}

fn list(statement: &Value) -> Vec<Value> {
    statement.as_array().cloned().unwrap_or_else(|| vec![statement.clone()])
}

#[tokio::test]
async fn unmanaged_statements_are_kept_and_every_member_granted_once() {
    for (case, text) in ODD_BUT_LEGAL {
        let lab = settled_organization().await;
        let text = filled(&lab, text);
        put_policy(&lab, &text);
        sync(&lab).await;
        let before: Value = serde_json::from_str(&text).unwrap();
        let after: Value = serde_json::from_str(&policy(&lab)).unwrap();
        let (granted, theirs) = read(&lab);
        assert_eq!(theirs, list(&before["Statement"]), "{case}");
        assert_eq!((&after["Version"], &after["Id"]), (&before["Version"], &before["Id"]), "{case}");
        let by_others = theirs.iter().any(|it| it.to_string().contains(&member(&lab)));
        let mut expected: BTreeSet<String> = lab.sim.members().into_iter().collect();
        if by_others {
            expected.remove(&member(&lab));
        }
        assert_eq!(granted, expected, "{case}");
        let failed: Vec<_> = lab.recording.take().into_iter().filter(|line| line.outcome == Outcome::Failed).collect();
        assert!(failed.is_empty(), "{case}: {failed:#?}");
        let stable = policy(&lab);
        let from = lab.sim.calls().len();
        sync(&lab).await;
        assert_eq!(policy(&lab), stable, "{case}: the second time there is nothing to write");
        assert!(calls_since(&lab, from).iter().all(|call| !call.mutating), "{case}");
    }
}

/// Such a statement has the managed name but another meaning. Overwriting it could authorize an account that its author
/// meant to keep out.
#[tokio::test]
async fn an_edited_managed_statement_is_kept_and_reported() {
    for (case, text, reason) in [
        (
            "a deny",
            r#"{"Statement":[{"Sid":"VpcEnroller","Effect":"Deny","Principal":{"AWS":["MEMBER"]},"Action":"logs:*","Resource":"*"}]}"#,
            "statement VpcEnroller of the access policy was edited: its Effect is not Allow",
        ),
        (
            "a condition",
            r#"{"Statement":[{"Sid":"VpcEnroller","Effect":"Allow","Principal":{"AWS":["MEMBER"]},"Action":"logs:*","Resource":"*","Condition":{"StringLike":{"aws:PrincipalOrgPaths":["ORG/r-exam/*"]}}}]}"#,
            "its Condition is not the one that names an organization",
        ),
        (
            "everybody, denied",
            r#"{"Statement":[{"Sid":"VpcEnrollerNobody","Effect":"Deny","Principal":"*","Action":"logs:*","Resource":"*"}]}"#,
            "statement VpcEnrollerNobody of the access policy was edited",
        ),
        (
            "two organizations",
            r#"{"Statement":[{"Sid":"VpcEnrollerOrganization","Effect":"Allow","Principal":"*","Action":"logs:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":["ORG","o-otherorg00"]}}}]}"#,
            "its Condition is not the one that names an organization",
        ),
    ] {
        let lab = settled_organization().await;
        let text = filled(&lab, text);
        force_policy(&lab, &text);
        sync(&lab).await;
        assert_eq!(policy(&lab), text, "{case}");
        let lines = lab.recording.take();
        let entry = lines.iter().find(|line| line.outcome == Outcome::Failed && line.cause.contains(reason));
        assert!(entry.is_some_and(|line| line.next_step.is_some()), "{case}: {lines:#?}");
        assert_eq!(
            Queue::Grants.dead(&lab).len(),
            0,
            "{case}: a person learns of it from the log entry and the metric"
        );
    }
}

#[tokio::test]
async fn an_unmanaged_organization_condition_is_kept_and_reported() {
    let lab = settled_organization().await;
    let text = r#"{"Statement":[{"Sid":"Everyone","Effect":"Allow","Principal":{"AWS":"*"},"Action":"logs:PutSubscriptionFilter","Resource":"ARN","Condition":{"StringEquals":{"aws:PrincipalOrgID":"ORG"}}}]}"#;
    let text = filled(&lab, text);
    force_policy(&lab, &text);
    sync(&lab).await;
    let (_, theirs) = read(&lab);
    let before: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(theirs, list(&before["Statement"]));
    let lines = lab.recording.take();
    assert!(lines.iter().any(|line| line.outcome == Outcome::Failed && line.cause.contains("role")), "{lines:#?}");
}

/// IAM grammar that the simulated AWS refuses here, because it is not known whether PutDestinationPolicy accepts it.
#[test]
fn other_iam_grammar_is_kept_and_authorizes_nobody() {
    let theirs = json!([
        {"Sid": "A", "Effect": "Allow", "NotPrincipal": {"AWS": PARTNER}, "Action": "logs:*", "Resource": "*"},
        {"Sid": "A", "Effect": "Allow", "Principal": "*", "NotAction": "iam:*", "Resource": "*"},
        {"Sid": "A", "Effect": "Allow", "Principal": {"AWS": PARTNER}, "Action": "logs:*", "NotResource": "x"},
        {"Sid": 7, "Effect": "Allow", "Principal": {"AWS": PARTNER}, "Action": "logs:*", "Resource": "*",
            "Condition": {"Bool": {"aws:SecureTransport": true}, "NumericLessThan": {"aws:MultiFactorAuthAge": 1.5}}},
        {"Effect": "allow", "Principal": {"AWS": PARTNER}, "Action": "logs:*", "Resource": "*"},
        {"Effect": "Allow", "Principal": {"AWS": [PARTNER], "Service": "ec2.amazonaws.com"}, "Action": "logs:*", "Resource": "*"},
        {"Effect": "Allow", "Principal": {"AWS": [777_788_889_999_u64]}, "Action": "logs:*", "Resource": "*"},
        {},
    ]);
    let destination: Arn = "arn:aws:logs:eu-west-1:111122223333:destination:VPCFlowLogsDestination".parse().unwrap();
    let stored = json!({"Version": "2008-10-17", "Id": 5, "Unknown": [null], "Statement": theirs});
    let read = DestinationPolicy::parse(&stored.to_string()).unwrap();
    assert!(!read.allows(PARTNER.parse().unwrap(), None, &destination));
    let member: AccountId = "444455556666".parse().unwrap();
    let written: Value = serde_json::from_str(&read.with_accounts([member].into()).render(&destination)).unwrap();
    let statements = written["Statement"].as_array().unwrap();
    assert_eq!(statements[1..], *theirs.as_array().unwrap());
    assert_eq!(statements[0]["Principal"], json!({"AWS": [member]}));
    for name in ["Version", "Id", "Unknown"] {
        assert_eq!(written[name], stored[name], "{name}");
    }
}
