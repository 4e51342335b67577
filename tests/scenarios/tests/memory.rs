//! Caches: what a warm function remembers of AWS's answers, and when it asks again.

#![cfg(test)]

use enroller_lab::Lab;
use enroller_sim::Service;
use enroller_tests::one_run::{enroll, enrolled_accounts, new_account, refuse_once};
use enroller_tests::{calls_since, count, ordinary_member};
use serde_json::{Value, json};

/// The answer of a function that returns its only message to the queue.
fn returned() -> Value {
    json!([{"itemIdentifier": "1"}])
}

/// Lets the onboarder grant every member that is not granted.
async fn sync(lab: &Lab) {
    let sync = json!({"kind": "sync-request", "version": 1, "reason": "test"});
    lab.onboard(lab.invocation(sync)).await.unwrap();
}

/// Runs the enroller once for an account. Returns its answer, and how often it called the operation.
async fn enroll_counting(lab: &Lab, account: &str, operation: &str) -> (Value, usize) {
    let from = lab.sim.calls().len();
    let answer = enroll(lab, account).await;
    (answer, count(&calls_since(lab, from), operation))
}

#[tokio::test]
async fn a_missing_grant_is_looked_up_again_after_two_seconds() {
    let mut lab = enrolled_accounts(&[]).await;
    let account = new_account(&lab);
    lab.cold_start().unwrap();
    assert_eq!(enroll_counting(&lab, &account, "DescribeDestinations").await, (returned(), 1));
    sync(&lab).await;
    lab.sim.advance(1_999);
    assert_eq!(enroll_counting(&lab, &account, "DescribeDestinations").await, (returned(), 0));
    lab.sim.advance(1);
    assert_eq!(enroll_counting(&lab, &account, "DescribeDestinations").await, (json!([]), 1));
}

#[tokio::test]
async fn shard_assignments_are_read_again_after_five_minutes() {
    let mut lab = enrolled_accounts(&[]).await;
    let account = ordinary_member(&lab);
    lab.cold_start().unwrap();
    for (wait_ms, questions) in [(0, 1), (299_999, 0), (1, 1)] {
        lab.sim.advance(wait_ms);
        let (answer, asked) = enroll_counting(&lab, &account, "DescribeDestinations").await;
        assert_eq!((answer, asked), (json!([]), questions), "{wait_ms} ms later");
    }
}

#[tokio::test]
async fn an_unknown_account_is_looked_up_again_after_fifteen_seconds() {
    // With an excluded OU, Organizations is asked about every account, granted or not.
    let lab = enrolled_accounts(&[("excluded_organizational_units", "ou-abcd-12345678")]).await;
    let account = new_account(&lab);
    sync(&lab).await;
    refuse_once(&lab, Service::Organizations, "DescribeAccount", "AccountNotFoundException");
    assert_eq!(enroll_counting(&lab, &account, "DescribeAccount").await, (returned(), 1));
    lab.sim.advance(14_999);
    assert_eq!(enroll_counting(&lab, &account, "DescribeAccount").await, (returned(), 0));
    lab.sim.advance(1);
    assert_eq!(enroll_counting(&lab, &account, "DescribeAccount").await, (json!([]), 1));
}

#[tokio::test]
async fn a_grant_is_requested_at_most_once_in_twenty_seconds() {
    let lab = enrolled_accounts(&[]).await;
    let account = new_account(&lab);
    let questions = || {
        let bodies = lab.sim.bodies(&lab.url("grants.fifo")).unwrap();
        let bodies = bodies.iter().map(|body| serde_json::from_str::<Value>(body).unwrap());
        bodies.filter(|it| it["kind"] == "grant-request" && it["account"] == account.as_str()).count()
    };
    for (wait_ms, asked) in [(0, 1), (0, 1), (20_000, 2)] {
        lab.sim.advance(wait_ms);
        assert_eq!(enroll(&lab, &account).await, returned());
        assert_eq!(questions(), asked);
    }
}

#[tokio::test]
async fn writing_grants_invalidates_the_cached_assignments() {
    let lab = enrolled_accounts(&[]).await;
    let account = new_account(&lab).parse().unwrap();
    let region = &lab.settings.home_region;
    assert_eq!(lab.onboarder.granter().planner().assignments().destination_of(account, region).await.unwrap(), None);
    sync(&lab).await;
    assert!(
        lab.onboarder.granter().planner().assignments().destination_of(account, region).await.unwrap().is_some(),
        "at once"
    );
}

#[tokio::test]
async fn an_account_that_the_listing_lacks_is_looked_up_only_once() {
    let lab = enrolled_accounts(&[]).await;
    lab.sim.with(|world| world.settings.listing_lag_ms = 30_000);
    let account = new_account(&lab);
    let grant = json!({"kind": "grant-request", "version": 1, "account": account, "reason": "test"});
    for questions in [1, 0] {
        let from = lab.sim.calls().len();
        lab.onboard(lab.invocation(grant.clone())).await.unwrap();
        let calls = calls_since(&lab, from);
        assert_eq!(count(&calls, "DescribeAccount"), questions);
        assert_eq!(count(&calls, "ListAccounts"), questions, "the listing is older than the account only once");
    }
}
