//! The real binary, invoked through a Runtime API by a person, by a schedule and from the queue of a simulated
//! installation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

use std::collections::BTreeSet;

use enroller_lab::container::{Host, LITTLE_MS, PLENTY_MS, Program};
use enroller_lab::install::{BACKFILL, ENROLLMENTS, GRANTS};
use enroller_sim::{FaultKind, FaultRule, Service, When};
use serde_json::{Value, json};

/// More than one SendMessageBatch takes, which is ten.
const ACCOUNTS: usize = 14;
const FUNCTION: Program = Program { function: "backfill", path: env!("CARGO_BIN_EXE_backfill") };

/// An organization in which every account is granted.
async fn installation() -> Host {
    let host = Host::new(ACCOUNTS, &["eu-west-1"]).await.unwrap();
    host.grant_all().await.unwrap();
    host
}

/// The accounts on the enroller's queue, one for each message.
fn queued(host: &Host) -> Vec<String> {
    let bodies = host.lab.sim.bodies(&host.lab.url(ENROLLMENTS)).unwrap();
    let account = |body: &String| serde_json::from_str::<Value>(body).unwrap()["account"].as_str().unwrap().to_owned();
    bodies.iter().map(account).collect()
}

/// The second batch of requests, which are the only messages of the home Region's functions sent in batches of ten.
fn at_the_second_batch(kind: FaultKind) -> FaultRule {
    // The first SendMessageBatch asks the onboarder.
    FaultRule::new(kind).on(Service::Sqs, "SendMessageBatch").at(When::Nth(3))
}

#[tokio::test]
async fn a_request_queues_every_account_once_and_the_answer_counts_them() {
    let host = installation().await;
    let mut container = host.start(FUNCTION).await.unwrap();
    let answer = container.invoke("{}", PLENTY_MS).await.unwrap();
    let report = answer.outcome.unwrap();
    assert_eq!((&report["accounts"], &report["accounts_remaining"]), (&json!(ACCOUNTS), &json!(0)), "{report}");
    let members: BTreeSet<String> = host.lab.sim.members().into_iter().collect();
    assert_eq!((queued(&host).len(), queued(&host).into_iter().collect::<BTreeSet<_>>()), (ACCOUNTS, members));
    // The events of the installation are there, too: it was a person who made the destinations.
    let bodies = host.lab.sim.bodies(&host.lab.url(GRANTS)).unwrap();
    let bodies: Vec<&String> = bodies.iter().filter(|body| body.contains("sync-request")).collect();
    assert_eq!(bodies.len(), 1, "account-onboarder is asked for a sync: {bodies:#?}");

    let from = host.lab.sim.calls().len();
    let plan = container.invoke(r#"{"dry_run":true}"#, PLENTY_MS).await.unwrap().outcome.unwrap();
    assert_eq!((&plan["dry_run"], &plan["accounts"]), (&json!(true), &json!(ACCOUNTS)), "{plan}");
    assert!(host.lab.sim.calls().iter().skip(from).all(|call| !call.mutating && call.service != Service::Sqs));
    let ended = container.terminate().await.unwrap();
    assert_eq!(ended.decisions("backfill", "done").len(), 1, "{:#?}", ended.lines);
}

#[tokio::test]
async fn an_invalid_request_is_an_error_that_names_all_its_problems() {
    let host = installation().await;
    let mut container = host.start(FUNCTION).await.unwrap();
    let from = host.lab.sim.calls().len();
    let request = r#"{"accounts":["12"],"regions":["mars"],"dry_run":"yes","acounts":[]}"#;
    let error = container.invoke(request, PLENTY_MS).await.unwrap().outcome.unwrap_err();
    let message = error["errorMessage"].as_str().unwrap();
    for field in ["accounts", "regions", "dry_run", "acounts"] {
        assert!(message.contains(field), "{field} in {message}");
    }
    assert_eq!(host.lab.sim.calls().len(), from);
    container.terminate().await.unwrap();
}

#[tokio::test]
async fn of_a_good_and_a_malformed_message_only_the_malformed_one_comes_back() {
    let host = installation().await;
    host.lab.send(BACKFILL, "{}").await.unwrap();
    host.lab.send(BACKFILL, "no JSON").await.unwrap();
    let mut container = host.start(FUNCTION).await.unwrap();
    let both = host.deliver(BACKFILL, &mut container, PLENTY_MS).await.unwrap();
    assert_eq!(both.messages.len(), 2);
    assert_eq!(both.answer.failures().unwrap(), both.about("no JSON"));
    assert_eq!(queued(&host).len(), ACCOUNTS);
    let ended = container.terminate().await.unwrap();
    assert_eq!(ended.decisions("read-request", "refused").len(), 1, "{:#?}", ended.lines);
}

#[tokio::test]
async fn before_the_deadline_the_rest_is_left_to_a_continuation_that_queues_it() {
    let host = installation().await;
    let mut container = host.start(FUNCTION).await.unwrap();
    container.idle().await.unwrap();
    host.lab.sim.arm(at_the_second_batch(FaultKind::HangBefore));
    let cut = container.invoke("{}", LITTLE_MS).await.unwrap();
    assert!(cut.left_ms > 0, "answered {} ms after the deadline", -cut.left_ms);
    let report = cut.outcome.unwrap();
    assert_eq!((&report["accounts"], &report["accounts_remaining"]), (&json!(10), &json!(ACCOUNTS - 10)), "{report}");
    assert_eq!(queued(&host).len(), 10);

    let rest = host.deliver(BACKFILL, &mut container, PLENTY_MS).await.unwrap();
    assert_eq!((rest.messages.len(), rest.answer.failures().unwrap()), (1, Vec::new()));
    let members: BTreeSet<String> = host.lab.sim.members().into_iter().collect();
    assert_eq!((queued(&host).len(), queued(&host).into_iter().collect::<BTreeSet<_>>()), (ACCOUNTS, members));
    container.terminate().await.unwrap();
}

#[tokio::test]
async fn sigterm_during_a_run_ends_it_and_another_process_queues_every_account() {
    let host = installation().await;
    host.lab.send(BACKFILL, "{}").await.unwrap();
    let mut container = host.start(FUNCTION).await.unwrap();
    container.idle().await.unwrap();
    host.lab.sim.arm(at_the_second_batch(FaultKind::HangAfter));
    let ended = host.end_while_hanging(BACKFILL, container).await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.decisions("backfill", "done").is_empty(), "a run that was cut off is not logged as done");

    host.lab.sim.with(|world| world.faults.clear());
    // The message comes back after the queue's visibility timeout, longer than a session lasts.
    host.lab.sim.advance(5_400_000);
    let mut fresh = host.start(FUNCTION).await.unwrap();
    let again = host.deliver(BACKFILL, &mut fresh, PLENTY_MS).await.unwrap();
    assert_eq!((again.messages[0].receive_count, again.answer.failures().unwrap()), (2, Vec::new()));
    let members: BTreeSet<String> = host.lab.sim.members().into_iter().collect();
    assert_eq!(queued(&host).into_iter().collect::<BTreeSet<_>>(), members);
    fresh.terminate().await.unwrap();
}

#[tokio::test]
async fn sigterm_while_idle_ends_it_cleanly() {
    let ended = installation().await.end_while_idle(FUNCTION).await.unwrap();
    assert!(ended.cleanly(), "{ended:?}");
}

#[tokio::test]
async fn all_missing_settings_are_named_in_one_line() {
    let keys = ["enrollments_queue_url", "grants_queue_url", "backfill_queue_url", "destination_target_arn"];
    let ended = installation().await.start_without(FUNCTION, &keys).await.unwrap();
    assert!(ended.refused_in_one_line(&keys), "{ended:?}");
}
