//! The backfill: which accounts it queues, what happens when time runs out, and what a dry run reports.

#![cfg(test)]

use std::sync::Arc;

use enroller_core::ids::AccountId;
use enroller_core::message::{EnrollmentRequest, Message};
use enroller_lab::Lab;
use enroller_sim::organizations::AccountState;
use enroller_sim::{ApiError, FaultKind, FaultRule, LimitClock, Service, When};
use enroller_tests::{DAY_MS, audit_of, calls_since, count, organization, settled, with_settings};
use serde_json::{Value, json};

const IRELAND: &str = "eu-west-1";
const VIRGINIA: &str = "us-east-1";

/// A settled organization with an empty decision log.
async fn enrolled(accounts: usize, regions: &[&str]) -> Lab {
    let lab = settled(accounts, regions, 0).await;
    lab.recording.take();
    lab
}

/// The enrollment requests on the queue, in the order in which they were sent.
fn queued(lab: &Lab) -> Vec<EnrollmentRequest> {
    let bodies = lab.sim.bodies(&lab.url("enrollments")).unwrap();
    let request = |body: String| match Message::from_value(&serde_json::from_str(&body).unwrap()).unwrap() {
        Message::Enrollment(request) => request,
        other => panic!("{other:?} on the enroller's queue"),
    };
    bodies.into_iter().map(request).collect()
}

fn queued_accounts(lab: &Lab) -> Vec<String> {
    queued(lab).into_iter().map(|request| request.account.to_string()).collect()
}

/// The number of requests on the onboarder's queue.
fn syncs(lab: &Lab) -> usize {
    lab.sim.bodies(&lab.url("grants.fifo")).unwrap().len()
}

fn sent(lab: &Lab, from: usize) -> usize {
    let calls = lab.sim.calls();
    calls.iter().skip(from).filter(|call| call.operation.starts_with("SendMessage")).count()
}

/// Lets `seconds` pass in each of the first `times` calls of an operation.
fn slow(lab: &Lab, service: Service, operation: &str, seconds: u64, times: u64) {
    let pass = FaultKind::HookBefore(Arc::new(move |world, _| world.advance_clock(seconds * 1000)));
    lab.sim.arm(FaultRule::new(pass).on(service, operation).at(When::First(times)));
}

fn failing(lab: &Lab, service: Service, operation: &str, code: &str, when: When) {
    let refusal = FaultKind::ErrorBefore(ApiError::new(400, code, "refused by the test"));
    lab.sim.arm(FaultRule::new(refusal).on(service, operation).at(when));
}

/// Id of the OU or root above an account.
fn unit_of(lab: &Lab, account: &str) -> String {
    lab.sim.with(|world| world.organization.member(account).unwrap().parent.clone())
}

#[tokio::test]
async fn every_account_is_queued_once_with_its_regions_and_destinations() {
    let lab = enrolled(23, &[IRELAND, VIRGINIA]).await;
    let from = lab.sim.calls().len();
    let answer = lab.sweep(json!({"reason": "new settings"})).await.unwrap();
    assert_eq!(queued_accounts(&lab), lab.sim.members(), "by account id");
    for request in queued(&lab) {
        let regions: Vec<&str> = request.regions.iter().map(enroller_core::ids::Region::as_str).collect();
        assert_eq!(regions, [IRELAND, VIRGINIA]);
        assert_eq!(request.destinations.len(), 2);
        assert_eq!((request.reason.as_str(), request.run_id.as_deref()), ("new settings", answer["run_id"].as_str()));
    }
    assert_eq!((&answer["accounts"], &answer["account_regions"]), (&json!(23), &json!(46)));
    assert_eq!((&answer["left_out"], &answer["accounts_remaining"]), (&json!([]), &json!(0)));
    assert_eq!(sent(&lab, from), 4, "one request to the onboarder, then 10 + 10 + 3 accounts");
    assert_eq!(syncs(&lab), 1);
    let calls = calls_since(&lab, from);
    assert!(calls.iter().all(|call| !call.mutating), "only the onboarder writes grants: {calls:#?}");
    assert_eq!(count(&calls, "ListAccounts"), 2, "23 accounts are two pages");
}

#[tokio::test]
async fn a_schedule_queues_every_account_and_any_other_event_is_refused() {
    let lab = enrolled(3, &[IRELAND]).await;
    lab.sweep_on_schedule().await.unwrap();
    assert_eq!(queued_accounts(&lab), lab.sim.members());
    assert!(queued(&lab).iter().all(|request| request.reason == "scheduled sweep"));
    let event = json!({"source": "aws.ec2", "detail-type": "AWS API Call via CloudTrail", "detail": {}});
    let error = lab.sweep(event).await.unwrap_err();
    assert!(format!("{:#}", anyhow::Error::from(error)).contains("send only scheduled events to backfill"));
    lab.settle(DAY_MS).await.unwrap();
    lab.sweep(Value::Null).await.unwrap();
    assert_eq!(queued_accounts(&lab), lab.sim.members(), "an empty request queues every account, too");
}

#[tokio::test]
async fn accounts_ous_exclusions_and_regions_select_what_is_queued() {
    let lab = enrolled(9, &[IRELAND, VIRGINIA]).await;
    let members = lab.sim.members();
    let first = &members[0];
    let last = members.iter().rfind(|account| unit_of(&lab, account) != unit_of(&lab, first)).unwrap();
    let unit = unit_of(&lab, last);
    let (below, beside): (Vec<String>, Vec<String>) =
        members.iter().cloned().partition(|account| unit_of(&lab, account) == unit);
    assert!(below.len() > 1, "{below:?}");
    for (request, expected) in [
        (json!({"accounts": [first, last]}), vec![first.clone(), last.clone()]),
        (json!({"organizational_units": [unit]}), below.clone()),
        (json!({"organizational_units": [unit], "exclude": [last]}), below[..below.len() - 1].to_vec()),
        (json!({"exclude": [unit]}), beside.clone()),
    ] {
        lab.sweep(request.clone()).await.unwrap();
        assert_eq!(queued_accounts(&lab), expected, "{request}");
        lab.settle(DAY_MS).await.unwrap();
    }
    let answer = lab.sweep(json!({"regions": [VIRGINIA]})).await.unwrap();
    assert_eq!(answer["account_regions"], json!(9));
    assert!(queued(&lab).iter().all(|request| request.regions.len() == 1 && request.regions[0].as_str() == VIRGINIA));
}

#[tokio::test]
async fn without_account_paths_each_parent_is_looked_up_only_once() {
    let lab = enrolled(12, &[IRELAND]).await;
    lab.sim.with(|world| world.settings.account_paths = false);
    let members = lab.sim.members();
    let unit = unit_of(&lab, members.iter().rfind(|account| unit_of(&lab, account).starts_with("ou-")).unwrap());
    let below: Vec<String> = members.iter().filter(|account| unit_of(&lab, account) == unit).cloned().collect();
    let from = lab.sim.calls().len();
    lab.sweep(json!({"organizational_units": [unit]})).await.unwrap();
    assert_eq!(queued_accounts(&lab), below);
    assert_eq!(count(&calls_since(&lab, from), "ListParents"), 12 + 3, "each account and each of 3 OUs");
}

#[tokio::test]
async fn accounts_that_cannot_be_enrolled_are_left_out_with_a_reason() {
    let lab = enrolled(6, &[IRELAND]).await;
    let members = lab.sim.members();
    let set = |account: &str, state| lab.sim.with(|world| world.set_account_state(account, state)).unwrap();
    set(&members[2], AccountState::Suspended);
    set(&members[3], AccountState::PendingClosure);
    set(&members[4], AccountState::Closed);
    let request = json!({"accounts": [members[1], members[2], members[3], members[4], "999999999999"]});
    let answer = lab.sweep(request).await.unwrap();
    assert_eq!(queued_accounts(&lab), [members[1].clone()]);
    let mut left_out: Vec<(String, String)> = answer["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["account"].as_str().unwrap().to_owned(), it["reason"].as_str().unwrap().to_owned()))
        .collect();
    let mut expected = vec![
        (members[2].clone(), "the account's state is SUSPENDED".to_owned()),
        (members[3].clone(), "the account's state is PENDING_CLOSURE".to_owned()),
        (members[4].clone(), "the account's state is CLOSED".to_owned()),
        ("999999999999".to_owned(), "not an account of the organization".to_owned()),
    ];
    left_out.sort();
    expected.sort();
    assert_eq!(left_out, expected);
    let lines = lab.recording.take();
    assert_eq!(lines.iter().filter(|line| line.action == "backfill" && line.account.is_some()).count(), 4);
}

#[tokio::test]
async fn a_bad_request_is_refused_with_all_problems_before_any_call() {
    let lab = organization(3, &[IRELAND], 0);
    let request = json!({"accounts": ["12"], "exclude": ["everyone"], "regions": ["ap-south-1"], "dryrun": true});
    let error = format!("{:#}", anyhow::Error::from(lab.sweep(request).await.unwrap_err()));
    for problem in [
        "4 problems",
        "accounts = \"12\": expected 12 digits",
        "exclude = \"everyone\": expected an account (12 digits), r-xxxx or ou-xxxx-xxxxxxxx",
        "regions = \"ap-south-1\": expected enrolled Regions (eu-west-1)",
        "dryrun = true: unknown field; expected one of accounts, organizational_units, exclude, regions, dry_run, reason",
    ] {
        assert!(error.contains(problem), "{problem} is not in {error}");
    }
    assert_eq!(lab.sim.calls(), []);
}

#[tokio::test]
async fn a_run_out_of_time_continues_and_queues_every_account_once() {
    let lab = enrolled(65, &[IRELAND]).await;
    // An invocation has 290 usable seconds: enough in the first for the request to the onboarder and 2 batches, in the
    // second for 3 batches, and in the third for the rest.
    slow(&lab, Service::Sqs, "SendMessageBatch", 100, 7);
    let answer = lab.sweep(json!({"reason": "slow"})).await.unwrap();
    assert_eq!((&answer["accounts"], &answer["accounts_remaining"]), (&json!(20), &json!(45)));
    let members = lab.sim.members();
    assert_eq!(answer["continues_after"], json!(members[19]));
    assert_eq!(queued_accounts(&lab), members[..20]);
    assert_eq!(syncs(&lab), 1);
    let mut invocations = 1;
    while lab.step_backfill().await.unwrap() {
        invocations += 1;
    }
    assert_eq!(invocations, 3);
    assert_eq!(queued_accounts(&lab), members, "none lost, none duplicated, in order");
    assert_eq!(syncs(&lab), 1, "a continuation does not ask the onboarder again");
    let run = answer["run_id"].as_str();
    assert!(queued(&lab).iter().all(|request| request.run_id.as_deref() == run && request.reason == "slow"));
    assert_eq!(lab.sim.queue_depth(&lab.url("backfill-dead")).unwrap().total(), 0);
}

#[tokio::test]
async fn a_continuation_keeps_the_selection_of_the_request() {
    let lab = enrolled(40, &[IRELAND, VIRGINIA]).await;
    let members = lab.sim.members();
    slow(&lab, Service::Sqs, "SendMessageBatch", 150, 2);
    let request = json!({"accounts": members[..25], "exclude": [members[24]], "regions": [IRELAND]});
    lab.sweep(request).await.unwrap();
    assert_eq!(queued_accounts(&lab), members[..10]);
    assert!(lab.step_backfill().await.unwrap());
    assert_eq!(queued_accounts(&lab), members[..24]);
    assert!(queued(&lab).iter().all(|request| request.regions.len() == 1));
    assert!(!lab.step_backfill().await.unwrap(), "nothing is left to do");
}

#[tokio::test]
async fn a_run_without_progress_fails_instead_of_continuing_forever() {
    let lab = enrolled(15, &[IRELAND]).await;
    slow(&lab, Service::Organizations, "ListAccounts", 400, u64::MAX);
    let error = format!("{:#}", anyhow::Error::from(lab.sweep(json!({})).await.unwrap_err()));
    assert!(error.contains("time ran out while listing the organization"), "{error}");
    assert!(error.contains("increase the function's timeout"), "{error}");
    assert_eq!(syncs(&lab), 0, "a run that cannot queue anybody asks nobody anything");
    let continuation = json!({"kind": "backfill-request", "version": 1, "request": {}, "run_id": "run-1",
        "after": lab.sim.members()[3]});
    lab.send("backfill", &continuation.to_string()).await.unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(queued_accounts(&lab), [""; 0]);
    let dead = lab.sim.bodies(&lab.url("backfill-dead")).unwrap();
    assert_eq!(dead, [continuation.to_string()], "exactly this message, for a person to find");
}

#[tokio::test]
async fn after_a_crash_the_message_is_redelivered_and_nothing_is_lost() {
    let lab = enrolled(35, &[IRELAND]).await;
    let members = lab.sim.members();
    failing(&lab, Service::Sqs, "SendMessageBatch", "AccessDenied", When::Nth(4));
    lab.send("backfill", &json!({"reason": "by queue"}).to_string()).await.unwrap();
    assert!(lab.step_backfill().await.unwrap());
    assert_eq!(
        queued_accounts(&lab),
        members[..10],
        "the message, the request to the onboarder, one batch, then the crash"
    );
    lab.sim.advance(60_000);
    assert!(lab.step_backfill().await.unwrap());
    let queued = queued(&lab);
    let runs: Vec<_> = queued.iter().map(|request| &request.run_id).collect();
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]), "it is the same run");
    assert_eq!(queued.len(), 45, "the first 10 accounts twice, which is harmless");
    assert_eq!(queued_accounts(&lab)[10..], members);
    assert_eq!(syncs(&lab), 1, "the onboarder gets 1 request");
    let from = lab.sim.calls().len();
    lab.settle(DAY_MS).await.unwrap();
    assert!(calls_since(&lab, from).iter().all(|call| !call.mutating), "nothing had to be changed");
}

#[tokio::test]
async fn a_dry_run_counts_what_would_be_done_and_changes_nothing() {
    let lab = organization(5, &[IRELAND, VIRGINIA], 2);
    lab.deploy_members().unwrap();
    let members = lab.sim.members();
    lab.sim.with(|world| world.set_account_state(&members[4], AccountState::Suspended)).unwrap();
    failing(&lab, Service::Sts, "AssumeRole", "AccessDenied", When::Nth(2));
    let from = lab.sim.calls().len();
    let answer = lab.sweep(json!({"dry_run": true, "regions": [IRELAND]})).await.unwrap();
    let calls = &lab.sim.calls()[from..];
    assert!(calls.iter().all(|call| !call.mutating && call.service != Service::Sqs), "{calls:#?}");
    assert_eq!(
        (&answer["dry_run"], &answer["accounts"], &answer["account_regions"]),
        (&json!(true), &json!(4), &json!(4))
    );
    assert_eq!(answer["left_out"][0]["reason"], json!("the account's state is SUSPENDED"));
    let plan = &answer["plan"];
    assert_eq!((&plan["accounts_looked_at"], &plan["accounts_not_looked_at"]), (&json!(4), &json!(0)));
    let vpcs = json!({"enroll": 9, "replace": 0, "covered": 0, "covered_by_others": 0, "broken": 0, "left_alone": 0, "blocked": 0});
    assert_eq!(plan["vpcs"], vpcs, "3 VPCs in each of 3 accounts");
    for action in ["create-log-group", "set-retention", "put-subscription-filter", "create-flow-logs"] {
        assert_eq!(plan["actions"][action], json!(3), "{action} in {plan:#}");
    }
    let failed = plan["not_planned"].as_array().unwrap();
    assert_eq!(failed.len(), 1, "{plan:#}");
    assert!(failed[0]["cause"].as_str().unwrap().contains("AssumeRole"), "{plan:#}");
    assert_eq!((&plan["grants"]["granted"], &plan["grants"]["revoked"]), (&json!(4), &json!(0)));
    let policies = plan["grants"]["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 2, "all enrolled Regions, because every backfill compares all of them");
    assert!(policies.iter().all(|policy| policy["bytes"].as_u64().unwrap() > 0));
}

#[tokio::test]
async fn a_dry_run_of_a_settled_organization_has_nothing_to_do() {
    let lab = settled(4, &[IRELAND], 1).await;
    let plan = lab.sweep(json!({"dry_run": true})).await.unwrap()["plan"].clone();
    assert_eq!((&plan["actions"], &plan["vpcs"]["covered"]), (&json!({}), &json!(8)), "{plan:#}");
    assert_eq!((&plan["grants"]["granted"], &plan["grants"]["writes"]), (&json!(0), &json!(0)), "{plan:#}");
}

#[tokio::test]
async fn a_dry_run_out_of_time_reports_how_many_accounts_are_missing() {
    let lab = with_settings(12, &[IRELAND], 0, &[("max_concurrency", "2")]);
    lab.deploy_members().unwrap();
    slow(&lab, Service::Sts, "AssumeRole", 100, u64::MAX);
    let answer = lab.sweep(json!({"dry_run": true})).await.unwrap();
    let plan = &answer["plan"];
    let looked = plan["accounts_looked_at"].as_u64().unwrap();
    assert!((2..=5).contains(&looked), "{plan:#}");
    assert_eq!(plan["accounts_not_looked_at"], json!(12 - looked));
    assert_eq!(lab.sim.bodies(&lab.url("backfill")).unwrap(), [""; 0], "a dry run does not continue");
}

#[tokio::test]
async fn throttling_by_organizations_is_retried() {
    let lab = enrolled(90, &[IRELAND]).await;
    lab.sim.arm(FaultRule::new(FaultKind::Throttle).on(Service::Organizations, "ListAccounts").at(When::First(3)));
    let from = lab.sim.calls().len();
    lab.sweep(json!({})).await.unwrap();
    let refused = calls_since(&lab, from)
        .iter()
        .filter(|call| call.outcome.as_deref() == Some("TooManyRequestsException"))
        .count();
    assert_eq!((refused, queued(&lab).len()), (3, 90));
}

#[tokio::test]
async fn an_organization_beyond_the_rate_limits_burst_is_listed() {
    let lab = enrolled(450, &[IRELAND]).await;
    lab.sim.with(|world| world.limits.clock = LimitClock::Virtual);
    let from = lab.sim.calls().len();
    lab.sweep(json!({})).await.unwrap();
    let calls = calls_since(&lab, from);
    let throttled = calls.iter().filter(|call| call.outcome.as_deref() == Some("TooManyRequestsException")).count();
    assert!(throttled > 0, "23 pages exceed the burst of 12");
    assert_eq!(queued_accounts(&lab), lab.sim.members());
}

#[tokio::test]
async fn a_listing_that_fails_on_its_second_page_changes_nothing() {
    let lab = enrolled(45, &[IRELAND]).await;
    let from = lab.sim.calls().len();
    failing(&lab, Service::Organizations, "ListAccounts", "AccessDeniedException", When::Nth(2));
    let error = format!("{:#}", anyhow::Error::from(lab.sweep(json!({})).await.unwrap_err()));
    assert!(error.contains("ListAccounts"), "{error}");
    assert_eq!((queued(&lab).len(), syncs(&lab)), (0, 0), "a partial listing must not pass for the whole organization");

    lab.sim.with(|world| world.faults.clear());
    failing(&lab, Service::Organizations, "ListAccounts", "AccessDeniedException", When::Nth(2));
    lab.sweep(json!({"dry_run": true})).await.unwrap_err();

    lab.sim.with(|world| world.faults.clear());
    failing(&lab, Service::Organizations, "ListAccounts", "AccessDeniedException", When::Nth(2));
    lab.sim.advance(120_000);
    let sync = json!({"kind": "sync-request", "version": 1, "reason": "test"});
    let answer = lab.onboard(lab.invocation(sync)).await.unwrap();
    assert_eq!((&answer["changes"], &answer["queued_again"]), (&json!(0), &json!(true)), "{answer:#}");
    assert!(calls_since(&lab, from).iter().all(|call| !call.mutating));
    assert!(audit_of(&lab).misassigned().is_empty(), "every account is still granted");
}

#[tokio::test]
async fn a_continuation_is_only_accepted_on_the_queue_of_backfill() {
    let lab = enrolled(3, &[IRELAND]).await;
    let continuation =
        json!({"kind": "backfill-request", "version": 1, "request": {}, "run_id": "run-1", "after": "000000000000"});
    let from = lab.sim.calls().len();
    for queue in ["enrollments", "grants.fifo"] {
        lab.send(queue, &continuation.to_string()).await.unwrap();
    }
    lab.settle(DAY_MS).await.unwrap();
    for queue in ["enrollments-dead", "grants-dead.fifo"] {
        assert_eq!(lab.sim.bodies(&lab.url(queue)).unwrap(), [continuation.to_string()], "{queue}");
    }
    assert_eq!(calls_since(&lab, from), [], "no calls except those to SQS");
    lab.sweep(continuation).await.unwrap();
    let accounts: Vec<AccountId> = queued(&lab).iter().map(|request| request.account).collect();
    assert_eq!((accounts.len(), syncs(&lab)), (3, 0));
    let other = json!({"kind": "sync-request", "version": 1});
    assert!(lab.sweep(other).await.unwrap_err().to_string().contains("backfill failed"));
}
