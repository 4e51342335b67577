//! The real binary, fed through a Runtime API from the queue of a simulated installation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use enroller_sim::{FaultKind, FaultRule, NewAccount, Refusal, Service, SimBuilder};
use enroller_testkit::LabOptions;
use enroller_testkit::audit::audit;
use enroller_testkit::container::{Container, Host};
use enroller_testkit::install::{ENROLLMENTS, GRANTS};
use serde_json::json;

const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];
/// Milliseconds that are enough for everything.
const PLENTY: u64 = 60_000;
/// Milliseconds after which a function stops early: a quarter of it before its deadline.
const LITTLE: u64 = 4_000;

/// An organization in which nobody is granted yet.
async fn installation() -> Host {
    let regions = REGIONS.map(str::to_owned).to_vec();
    let organization = SimBuilder { accounts: 3, regions, vpcs: 0, ..SimBuilder::default() };
    Host::new(LabOptions { organization, settings: Vec::new() }).await.unwrap()
}

async fn start(host: &Host) -> Container {
    host.start("account-onboarder", env!("CARGO_BIN_EXE_account-onboarder"), &[]).await.unwrap()
}

/// Makes an account, of which the management account's events tell.
fn new_account(host: &Host) -> String {
    host.lab.sim.with(|world| world.create_account(&NewAccount::default())).unwrap()
}

/// On how many destinations an account is granted in each Region.
fn grants(host: &Host, account: &str) -> Vec<usize> {
    let places = audit(&host.lab.sim, &host.lab.regions).places;
    places.iter().filter(|place| place.account == account).map(|place| place.granted_on.len()).collect()
}

/// How often an operation was called from this position on.
fn count_from(host: &Host, from: usize, operation: &str) -> usize {
    host.lab.sim.calls().iter().skip(from).filter(|call| call.operation == operation).count()
}

async fn send(host: &Host, body: &str) {
    let fifo = Some(("grants".to_owned(), body.len().to_string()));
    let outgoing = enroller_engine::ports::Outgoing { body: body.to_owned(), delay_seconds: 0, fifo };
    host.lab.enroller.aws.queues.send(&host.lab.url(GRANTS), vec![outgoing]).await.unwrap();
}

#[tokio::test]
async fn a_new_account_is_granted_in_every_region_and_handed_to_the_enroller() {
    let host = installation().await;
    let mut container = start(&host).await;
    let account = new_account(&host);
    let first = host.deliver(GRANTS, &mut container, PLENTY).await.unwrap();
    assert_eq!(first.answer.failures().unwrap(), [""; 0]);
    assert_eq!(grants(&host, &account), [1, 1]);
    assert_eq!(count_from(&host, 0, "PutDestination"), 2);
    assert!(host.lab.sim.bodies(&host.lab.url(ENROLLMENTS)).unwrap().iter().any(|body| body.contains(&account)));

    let (from, next) = (host.lab.sim.calls().len(), new_account(&host));
    host.deliver(GRANTS, &mut container, PLENTY).await.unwrap();
    assert_eq!((grants(&host, &account), grants(&host, &next)), (vec![1, 1], vec![1, 1]));
    assert_eq!((count_from(&host, from, "PutDestination"), count_from(&host, from, "PutDestinationPolicy")), (0, 2));
    let ended = container.terminate().await.unwrap();
    assert!(ended.metric("GrantsAdded") >= 4.0, "{:#?}", ended.lines);
    let of_decisions = ended.lines.iter().filter(|line| line["message"] == "decision");
    assert!(
        of_decisions.clone().count() >= 4 && of_decisions.clone().all(|line| line["function"] == "account-onboarder")
    );
}

#[tokio::test]
async fn a_malformed_message_comes_back_alone_and_a_failed_write_brings_back_the_rest() {
    let host = installation().await;
    let mut container = start(&host).await;
    let account = new_account(&host);
    send(&host, "no JSON").await;
    let denied = Refusal::new(400, "AccessDeniedException", "explicit deny");
    let writes = FaultRule::new(FaultKind::ErrorBefore(denied)).on(Service::Logs, "PutDestinationPolicy");
    host.lab.sim.arm(writes.within(REGIONS[1]));
    let both = host.deliver(GRANTS, &mut container, PLENTY).await.unwrap();
    assert!(both.messages.len() > 1);
    assert_eq!(both.answer.failures().unwrap(), both.about(""));
    assert_eq!(grants(&host, &account), [1, 0], "one Region's failure is not the other's");

    host.lab.sim.with(|world| world.faults.clear());
    let mut alone = host.deliver(GRANTS, &mut container, PLENTY).await.unwrap();
    while grants(&host, &account) != [1, 1] {
        alone = host.deliver(GRANTS, &mut container, PLENTY).await.unwrap();
    }
    assert_eq!(alone.answer.failures().unwrap(), alone.about("no JSON"));
    let ended = container.terminate().await.unwrap();
    assert!(ended.metric("EventsRefused") >= 1.0 && ended.metric("MessagesDeferred") >= 1.0, "{:#?}", ended.lines);
}

#[tokio::test]
async fn a_payload_that_lambda_could_not_have_sent_is_an_error_and_nothing_is_called() {
    let host = installation().await;
    let mut container = start(&host).await;
    let records_of_numbers = json!({ "Records": [{ "eventSource": "aws:sqs", "body": 1 }] }).to_string();
    let error = container.invoke(&records_of_numbers, PLENTY).await.unwrap().outcome.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("no SQS batch"), "{error}");
    assert!(host.lab.sim.calls().is_empty());
    container.terminate().await.unwrap();
}

#[tokio::test]
async fn before_the_deadline_a_batch_that_hangs_is_handed_back_as_a_whole() {
    let host = installation().await;
    let account = new_account(&host);
    host.lab.sim.arm(FaultRule::new(FaultKind::HangAfter).on(Service::Logs, "PutDestinationPolicy"));
    let mut container = start(&host).await;
    container.idle().await.unwrap();
    let cut = host.deliver(GRANTS, &mut container, LITTLE).await.unwrap();
    assert!(cut.answer.left_ms > 0, "answered {} ms after the deadline", -cut.answer.left_ms);
    assert_eq!(cut.answer.failures().unwrap(), cut.about(""));
    assert_eq!(grants(&host, &account), [1, 1], "written, though nobody has heard of it");

    host.lab.sim.with(|world| world.faults.clear());
    let from = host.lab.sim.calls().len();
    let again = host.deliver(GRANTS, &mut container, PLENTY).await.unwrap();
    assert_eq!(again.answer.failures().unwrap(), [""; 0]);
    assert_eq!((grants(&host, &account), count_from(&host, from, "PutDestinationPolicy")), (vec![1, 1], 0));
    container.terminate().await.unwrap();
}

#[tokio::test]
async fn told_to_end_in_the_middle_of_a_write_it_ends_and_another_process_grants_once() {
    for kind in [FaultKind::HangBefore, FaultKind::HangAfter] {
        let host = installation().await;
        let account = new_account(&host);
        host.lab.sim.arm(FaultRule::new(kind.clone()).on(Service::Logs, "PutDestinationPolicy").within(REGIONS[0]));
        let mut container = start(&host).await;
        let batch = host.receive(GRANTS).unwrap();
        container.hand(&host.payload(GRANTS, &batch).to_string(), PLENTY).unwrap();
        container.hanging().await.unwrap();
        assert_eq!(container.terminate().await.unwrap().status.code(), Some(0), "{kind:?}");

        host.lab.sim.with(|world| world.faults.clear());
        let mut fresh = start(&host).await;
        let again = host.deliver(GRANTS, &mut fresh, PLENTY).await.unwrap();
        assert!(again.messages.iter().all(|message| message.receive_count == 2), "{kind:?}");
        assert_eq!(again.answer.failures().unwrap(), [""; 0], "{kind:?}");
        assert_eq!(grants(&host, &account), [1, 1], "{kind:?}");
        fresh.terminate().await.unwrap();
    }
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
    let keys = ["destination_target_arn", "destination_role_arn", "enrollments_queue_url", "grants_queue_url"];
    let without = keys.map(|key| (key, ""));
    let program = env!("CARGO_BIN_EXE_account-onboarder");
    let ended = host.start("account-onboarder", program, &without).await.unwrap().end().await.unwrap();
    assert_eq!((ended.status.code(), ended.lines.len()), (Some(1), 1), "{ended:?}");
    assert!(keys.iter().all(|key| ended.lines[0].to_string().contains(key)), "{ended:?}");
}
