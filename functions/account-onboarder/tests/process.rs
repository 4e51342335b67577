//! The real binary, fed through a Runtime API from the queue of a simulated installation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

use enroller_lab::audit::audit;
use enroller_lab::container::{Host, LITTLE_MS, NO_BATCH, PLENTY_MS, Program};
use enroller_lab::install::{ENROLLMENTS, GRANTS};
use enroller_sim::{ApiError, FaultKind, FaultRule, NewAccount, Service};

const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];
const ONBOARDER: Program = Program { function: "account-onboarder", path: env!("CARGO_BIN_EXE_account-onboarder") };

/// An organization in which no account is granted yet.
async fn installation() -> Host {
    Host::new(3, &REGIONS).await.unwrap()
}

/// Creates an account, which the management account's events report.
fn new_account(host: &Host) -> String {
    host.lab.sim.with(|world| world.create_account(&NewAccount::default())).unwrap()
}

/// On how many destinations an account is granted in each Region.
fn grants(host: &Host, account: &str) -> Vec<usize> {
    let account_regions = audit(&host.lab.sim, &host.lab.regions).account_regions;
    account_regions.iter().filter(|at| at.account == account).map(|at| at.granted_on.len()).collect()
}

/// How often an operation was called from this position on.
fn count_from(host: &Host, from: usize, operation: &str) -> usize {
    host.lab.sim.calls().iter().skip(from).filter(|call| call.operation == operation).count()
}

#[tokio::test]
async fn a_new_account_is_granted_in_every_region_and_queued_for_enrollment() {
    let host = installation().await;
    let mut container = host.start(ONBOARDER).await.unwrap();
    let account = new_account(&host);
    let first = host.deliver(GRANTS, &mut container, PLENTY_MS).await.unwrap();
    assert_eq!(first.answer.failures().unwrap(), [""; 0]);
    assert_eq!(grants(&host, &account), [1, 1]);
    assert_eq!(count_from(&host, 0, "PutDestination"), 2);
    assert!(host.lab.sim.bodies(&host.lab.url(ENROLLMENTS)).unwrap().iter().any(|body| body.contains(&account)));

    let (from, next) = (host.lab.sim.calls().len(), new_account(&host));
    host.deliver(GRANTS, &mut container, PLENTY_MS).await.unwrap();
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
    let mut container = host.start(ONBOARDER).await.unwrap();
    let account = new_account(&host);
    host.lab.send(GRANTS, "no JSON").await.unwrap();
    let denied = ApiError::new(400, "AccessDeniedException", "explicit deny");
    let writes = FaultRule::new(FaultKind::ErrorBefore(denied)).on(Service::Logs, "PutDestinationPolicy");
    host.lab.sim.arm(writes.within(REGIONS[1]));
    let both = host.deliver(GRANTS, &mut container, PLENTY_MS).await.unwrap();
    assert!(both.messages.len() > 1);
    assert_eq!(both.answer.failures().unwrap(), both.about(""));
    assert_eq!(grants(&host, &account), [1, 0], "one Region's failure is not the other's");

    host.lab.sim.with(|world| world.faults.clear());
    let mut alone = host.deliver(GRANTS, &mut container, PLENTY_MS).await.unwrap();
    while grants(&host, &account) != [1, 1] {
        alone = host.deliver(GRANTS, &mut container, PLENTY_MS).await.unwrap();
    }
    assert_eq!(alone.answer.failures().unwrap(), alone.about("no JSON"));
    let ended = container.terminate().await.unwrap();
    assert!(ended.metric("EventsRefused") >= 1.0 && ended.metric("MessagesDeferred") >= 1.0, "{:#?}", ended.lines);
}

#[tokio::test]
async fn an_invalid_payload_is_an_error_and_nothing_is_called() {
    let host = installation().await;
    let mut container = host.start(ONBOARDER).await.unwrap();
    let error = container.invoke(NO_BATCH, PLENTY_MS).await.unwrap().outcome.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("not a valid SQS event"), "{error}");
    assert!(host.lab.sim.calls().is_empty());
    container.terminate().await.unwrap();
}

#[tokio::test]
async fn before_the_deadline_a_batch_that_hangs_is_returned_as_a_whole() {
    let host = installation().await;
    let account = new_account(&host);
    host.lab.sim.arm(FaultRule::new(FaultKind::HangAfter).on(Service::Logs, "PutDestinationPolicy"));
    let mut container = host.start(ONBOARDER).await.unwrap();
    container.idle().await.unwrap();
    let cut = host.deliver(GRANTS, &mut container, LITTLE_MS).await.unwrap();
    assert!(cut.answer.left_ms > 0, "answered {} ms after the deadline", -cut.answer.left_ms);
    assert_eq!(cut.answer.failures().unwrap(), cut.about(""));
    assert_eq!(grants(&host, &account), [1, 1], "written, although no response arrived");

    host.lab.sim.with(|world| world.faults.clear());
    let from = host.lab.sim.calls().len();
    let again = host.deliver(GRANTS, &mut container, PLENTY_MS).await.unwrap();
    assert_eq!(again.answer.failures().unwrap(), [""; 0]);
    assert_eq!((grants(&host, &account), count_from(&host, from, "PutDestinationPolicy")), (vec![1, 1], 0));
    container.terminate().await.unwrap();
}

#[tokio::test]
async fn sigterm_during_a_write_ends_it_and_another_process_grants_once() {
    for kind in [FaultKind::HangBefore, FaultKind::HangAfter] {
        let host = installation().await;
        let account = new_account(&host);
        host.lab.sim.arm(FaultRule::new(kind.clone()).on(Service::Logs, "PutDestinationPolicy").within(REGIONS[0]));
        let ended = host.end_while_hanging(GRANTS, host.start(ONBOARDER).await.unwrap()).await.unwrap();
        assert_eq!(ended.status.code(), Some(0), "{kind:?}: {}", ended.stderr);

        host.lab.sim.with(|world| world.faults.clear());
        let mut fresh = host.start(ONBOARDER).await.unwrap();
        let again = host.deliver(GRANTS, &mut fresh, PLENTY_MS).await.unwrap();
        assert!(again.messages.iter().all(|message| message.receive_count == 2), "{kind:?}");
        assert_eq!(again.answer.failures().unwrap(), [""; 0], "{kind:?}");
        assert_eq!(grants(&host, &account), [1, 1], "{kind:?}");
        fresh.terminate().await.unwrap();
    }
}

#[tokio::test]
async fn sigterm_while_idle_ends_it_cleanly() {
    let ended = installation().await.end_while_idle(ONBOARDER).await.unwrap();
    assert!(ended.cleanly(), "{ended:?}");
}

#[tokio::test]
async fn all_missing_settings_are_named_in_one_line() {
    let keys = ["destination_target_arn", "destination_role_arn", "enrollments_queue_url", "grants_queue_url"];
    let ended = installation().await.start_without(ONBOARDER, &keys).await.unwrap();
    assert!(ended.refused_in_one_line(&keys), "{ended:?}");
}
