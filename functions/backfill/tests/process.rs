//! The real binary, invoked through a Runtime API by a person, by a schedule and from the queue of a simulated
//! installation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use enroller_engine::ports::Outgoing;
use enroller_sim::{FaultKind, FaultRule, Service, SimBuilder, Strike};
use enroller_testkit::LabOptions;
use enroller_testkit::container::{Container, Host};
use enroller_testkit::install::{BACKFILL, ENROLLMENTS, GRANTS};
use serde_json::{Value, json};

/// More than one SendMessageBatch takes, which is ten.
const ACCOUNTS: usize = 14;
/// Milliseconds that are enough for everything.
const PLENTY: u64 = 60_000;
/// Milliseconds after which a function stops early: a quarter of it before its deadline.
const LITTLE: u64 = 4_000;

/// An organization in which every account is granted.
async fn installation() -> Host {
    let regions = vec!["eu-west-1".to_owned()];
    let organization = SimBuilder { accounts: ACCOUNTS, regions, vpcs: 0, ..SimBuilder::default() };
    let host = Host::new(LabOptions { organization, settings: Vec::new() }).await.unwrap();
    host.grant_all().await;
    host
}

async fn start(host: &Host) -> Container {
    host.start("backfill", env!("CARGO_BIN_EXE_backfill"), &[]).await.unwrap()
}

/// The accounts on the enroller's queue, one for each message.
fn queued(host: &Host) -> Vec<String> {
    let bodies = host.lab.sim.bodies(&host.lab.url(ENROLLMENTS)).unwrap();
    let account = |body: &String| serde_json::from_str::<Value>(body).unwrap()["account"].as_str().unwrap().to_owned();
    bodies.iter().map(account).collect()
}

async fn send(host: &Host, body: &str) {
    let outgoing = Outgoing { body: body.to_owned(), delay_seconds: 0, fifo: None };
    host.lab.backfill.aws.queues.send(&host.lab.url(BACKFILL), vec![outgoing]).await.unwrap();
}

/// The second batch of requests, which are the only messages of the home Region's functions sent in batches of ten.
fn at_the_second_batch(kind: FaultKind) -> FaultRule {
    // The first SendMessageBatch asks the onboarder.
    FaultRule::new(kind).on(Service::Sqs, "SendMessageBatch").at(Strike::Nth(3))
}

#[tokio::test]
async fn a_request_queues_every_account_once_and_the_answer_counts_them() {
    let host = installation().await;
    let mut container = start(&host).await;
    let answer = container.invoke("{}", PLENTY).await.unwrap();
    let report = answer.outcome.unwrap();
    assert_eq!((&report["accounts"], &report["accounts_remaining"]), (&json!(ACCOUNTS), &json!(0)), "{report}");
    let members: BTreeSet<String> = host.lab.sim.members().into_iter().collect();
    assert_eq!((queued(&host).len(), queued(&host).into_iter().collect::<BTreeSet<_>>()), (ACCOUNTS, members));
    assert_eq!(host.lab.sim.bodies(&host.lab.url(GRANTS)).unwrap().len(), 1, "the onboarder is asked to compare");

    let from = host.lab.sim.calls().len();
    let plan = container.invoke(r#"{"dry_run":true}"#, PLENTY).await.unwrap().outcome.unwrap();
    assert_eq!((&plan["dry_run"], &plan["accounts"]), (&json!(true), &json!(ACCOUNTS)), "{plan}");
    assert!(host.lab.sim.calls().iter().skip(from).all(|call| !call.mutating && call.service != Service::Sqs));
    let ended = container.terminate().await.unwrap();
    assert_eq!(ended.decisions("backfill", "done").len(), 1, "{:#?}", ended.lines);
}

#[tokio::test]
async fn a_request_that_cannot_be_used_is_an_error_that_names_all_that_is_wrong_and_calls_nothing() {
    let host = installation().await;
    let mut container = start(&host).await;
    let from = host.lab.sim.calls().len();
    let request = r#"{"accounts":["12"],"regions":["mars"],"dry_run":"yes","acounts":[]}"#;
    let error = container.invoke(request, PLENTY).await.unwrap().outcome.unwrap_err();
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
    send(&host, "{}").await;
    send(&host, "no JSON").await;
    let mut container = start(&host).await;
    let both = host.deliver(BACKFILL, &mut container, PLENTY).await.unwrap();
    assert_eq!(both.messages.len(), 2);
    assert_eq!(both.answer.failures().unwrap(), both.about("no JSON"));
    assert_eq!(queued(&host).len(), ACCOUNTS);
    let ended = container.terminate().await.unwrap();
    assert_eq!(ended.decisions("read-request", "refused").len(), 1, "{:#?}", ended.lines);
}

#[tokio::test]
async fn before_the_deadline_the_rest_is_left_to_a_continuation_that_queues_it() {
    let host = installation().await;
    let mut container = start(&host).await;
    container.idle().await.unwrap();
    host.lab.sim.arm(at_the_second_batch(FaultKind::HangBefore));
    let cut = container.invoke("{}", LITTLE).await.unwrap();
    assert!(cut.left_ms > 0, "answered {} ms after the deadline", -cut.left_ms);
    let report = cut.outcome.unwrap();
    assert_eq!((&report["accounts"], &report["accounts_remaining"]), (&json!(10), &json!(ACCOUNTS - 10)), "{report}");
    assert_eq!(queued(&host).len(), 10);

    let rest = host.deliver(BACKFILL, &mut container, PLENTY).await.unwrap();
    assert_eq!((rest.messages.len(), rest.answer.failures().unwrap()), (1, Vec::new()));
    let members: BTreeSet<String> = host.lab.sim.members().into_iter().collect();
    assert_eq!((queued(&host).len(), queued(&host).into_iter().collect::<BTreeSet<_>>()), (ACCOUNTS, members));
    container.terminate().await.unwrap();
}

#[tokio::test]
async fn told_to_end_in_the_middle_of_a_run_it_ends_and_another_process_queues_every_account() {
    let host = installation().await;
    send(&host, "{}").await;
    let mut container = start(&host).await;
    container.idle().await.unwrap();
    host.lab.sim.arm(at_the_second_batch(FaultKind::HangAfter));
    let batch = host.receive(BACKFILL).unwrap();
    container.hand(&host.payload(BACKFILL, &batch).to_string(), PLENTY).unwrap();
    container.hanging().await.unwrap();
    let ended = container.terminate().await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.decisions("backfill", "done").is_empty(), "a run that was cut off is not told as done");

    host.lab.sim.with(|world| world.faults.clear());
    let mut fresh = start(&host).await;
    let again = host.deliver(BACKFILL, &mut fresh, PLENTY).await.unwrap();
    assert_eq!((again.messages[0].receive_count, again.answer.failures().unwrap()), (2, Vec::new()));
    let members: BTreeSet<String> = host.lab.sim.members().into_iter().collect();
    assert_eq!(queued(&host).into_iter().collect::<BTreeSet<_>>(), members);
    fresh.terminate().await.unwrap();
}

#[tokio::test]
async fn told_to_end_while_idle_it_ends_cleanly() {
    let host = installation().await;
    let mut container = start(&host).await;
    container.idle().await.unwrap();
    let ended = container.terminate().await.unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[tokio::test]
async fn all_settings_that_it_cannot_work_without_are_named_in_one_line() {
    let host = installation().await;
    let keys = ["enrollments_queue_url", "grants_queue_url", "backfill_queue_url", "destination_target_arn"];
    let without = keys.map(|key| (key, ""));
    let program = env!("CARGO_BIN_EXE_backfill");
    let ended = host.start("backfill", program, &without).await.unwrap().end().await.unwrap();
    assert_eq!((ended.status.code(), ended.lines.len()), (Some(1), 1), "{ended:?}");
    assert!(keys.iter().all(|key| ended.lines[0].to_string().contains(key)), "{ended:?}");
}
