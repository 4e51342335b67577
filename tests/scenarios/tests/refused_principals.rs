//! AWS refuses a destination policy as a whole. An account that it does not accept must not block the grants of others.

#![cfg(test)]

use std::collections::BTreeSet;

use enroller_core::log::Outcome;
use enroller_core::metrics::Metric;
use enroller_lab::Lab;
use enroller_sim::{ApiError, FaultKind, FaultRule, NewAccount, Service, When, World};
use enroller_tests::chaos::{add_statement, edit_policies};
use enroller_tests::{DAY_MS, audit_of, calls_since, count, ordinary_member, settled};
use serde_json::{Value, json};

const IRELAND: &str = "eu-west-1";
const MINUTE_MS: u64 = 60_000;

/// A settled organization that `count` accounts join at once. AWS does not accept the last of them in a policy.
async fn joined(count: usize) -> (Lab, String) {
    let lab = settled(3, &[IRELAND], 1).await;
    let central = lab.sim.central();
    lab.sim.with(|world| edit_policies(world, &central, IRELAND, |statements, arn| add_statement(statements, arn, 1)));
    let mut last = String::new();
    for number in 0..count {
        let new = NewAccount { name: format!("team-{number}"), ..NewAccount::default() };
        last = lab.sim.with(|world| world.create_account(&new)).unwrap();
        lab.stacks.deploy_member(&last).unwrap();
    }
    invalid(&lab, &last, true);
    (lab, last)
}

fn invalid(lab: &Lab, account: &str, invalid: bool) {
    lab.sim.with(|world: &mut World| world.logs.set_invalid_principal(account, invalid));
}

fn ungranted(lab: &Lab) -> Vec<String> {
    audit_of(lab).misassigned().into_iter().map(|at| at.account.clone()).collect()
}

#[tokio::test]
async fn an_account_that_aws_refuses_does_not_block_other_grants() {
    let (lab, bad) = joined(200).await;
    let before = lab.sim.calls().len();
    lab.recording.take();
    lab.settle(5 * MINUTE_MS).await.unwrap();
    assert_eq!(ungranted(&lab), std::slice::from_ref(&bad));
    let puts = count(&calls_since(&lab, before), "PutDestinationPolicy");
    // Each try searches anew, and with the waits of the queue there are some six in five minutes.
    assert!(puts < 120, "{puts} puts");
    let reported = lab.recording.take().into_iter().any(|line| {
        line.account.is_some_and(|id| id.to_string() == bad)
            && line.cause.contains("any policy that lists this account")
    });
    assert!(reported, "no entry names {bad}");
}

#[tokio::test]
async fn grants_made_before_an_interrupted_search_are_reported() {
    let (mut lab, _) = joined(40).await;
    lab.set_attempts(1).unwrap();
    lab.recording.take();
    let waiting: BTreeSet<String> = ungranted(&lab).into_iter().collect();
    let failure = FaultKind::ErrorBefore(ApiError::new(500, "InternalFailure", "An internal error has occurred"));
    // AWS accepts the sixth policy of the search, for some of the 40 accounts.
    lab.sim.arm(FaultRule::new(failure).on(Service::Logs, "PutDestinationPolicy").at(When::Nth(7)));
    while ungranted(&lab).len() == waiting.len() {
        lab.settle(MINUTE_MS / 6).await.unwrap();
    }
    let still: BTreeSet<String> = ungranted(&lab).into_iter().collect();
    let granted: BTreeSet<String> = waiting.difference(&still).cloned().collect();
    let grants =
        lab.recording.take().into_iter().filter(|line| line.action == "grant" && line.outcome == Outcome::Done);
    let reported: BTreeSet<String> = grants.filter_map(|line| line.account).map(|id| id.to_string()).collect();
    assert_eq!(reported, granted);
}

#[tokio::test]
async fn the_alarm_on_grants_counts_every_account_that_aws_refuses() {
    let (lab, bad) = joined(3).await;
    let other = lab.sim.members().into_iter().rfind(|account| *account != bad && ungranted(&lab).contains(account));
    invalid(&lab, &other.unwrap(), true);
    lab.settle(MINUTE_MS).await.unwrap();
    assert_eq!(ungranted(&lab).len(), 2);
    let runs = lab.recording.take().into_iter().filter(|line| line.action == "sync-grants").map(|_| 1.0).sum::<f64>();
    assert!(runs > 0.0, "no run failed");
    // Every run counts as one failure, and so does each of its 2 accounts.
    let failed = lab.recording.total_of_class(Metric::GrantsFailed, "terminal");
    assert!((failed - 3.0 * runs).abs() < 0.5, "{failed} in {runs} runs");
}

#[tokio::test]
async fn the_alarm_on_grants_counts_what_a_person_must_fix_in_a_policy() {
    let lab = settled(3, &[IRELAND], 1).await;
    let (central, leaver) = (lab.sim.central(), ordinary_member(&lab));
    let theirs = |statements: &mut Vec<Value>, arn: &str| {
        statements.push(json!({
            "Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": leaver},
            "Action": "logs:PutSubscriptionFilter", "Resource": arn
        }));
    };
    assert!(lab.sim.with(|world| edit_policies(world, &central, IRELAND, theirs)));
    assert!(lab.recording.total_of_class(Metric::GrantsFailed, "terminal") < 1.0);
    lab.sim.with(|world| world.leave(&leaver)).unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert!(lab.recording.total_of_class(Metric::GrantsFailed, "terminal") >= 1.0);
}

#[tokio::test]
async fn an_account_that_aws_accepts_later_is_granted_automatically() {
    let (lab, bad) = joined(1).await;
    lab.settle(2 * MINUTE_MS).await.unwrap();
    assert_eq!(ungranted(&lab), std::slice::from_ref(&bad));
    invalid(&lab, &bad, false);
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(ungranted(&lab), Vec::<String>::new());
}

#[tokio::test]
async fn a_policy_is_kept_where_a_granted_account_is_the_cause() {
    let (lab, bad) = joined(2).await;
    invalid(&lab, &bad, false);
    lab.settle(DAY_MS).await.unwrap();
    let granted = lab.sim.members().into_iter().next().unwrap();
    invalid(&lab, &granted, true);
    let late = lab.sim.with(|world| world.create_account(&NewAccount::default())).unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(ungranted(&lab), [late]);
}
