//! The real binary, fed through a Runtime API from the queue of a simulated installation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

use enroller_lab::audit::{Coverage, audit};
use enroller_lab::container::{Container, Host, LITTLE_MS, NO_BATCH, PLENTY_MS, Program};
use enroller_lab::install::ENROLLMENTS;
use enroller_lab::people::Person;
use enroller_sim::{FaultKind, FaultRule, Service};
use serde_json::{Value, json};

const REGION: &str = "eu-west-1";
const ENROLLER: Program = Program { function: "vpc-enroller", path: env!("CARGO_BIN_EXE_vpc-enroller") };

/// An organization with the member stack in every account and every account granted, and two of its members.
async fn installation() -> (Host, [String; 2]) {
    let host = Host::new(4, &[REGION]).await.unwrap();
    for account in host.lab.sim.members() {
        host.lab.stacks.deploy_member(&account).unwrap();
    }
    host.grant_all().await.unwrap();
    let (central, management) = (host.lab.sim.central(), host.lab.sim.management());
    let members = host.lab.sim.members().into_iter().filter(|id| *id != central && *id != management);
    let members = members.collect::<Vec<_>>().try_into().unwrap();
    (host, members)
}

async fn new_vpc(host: &Host, account: &str) -> String {
    Person::of(&host.lab.sim, account, REGION).create_vpc(&[]).await.unwrap()
}

fn at(host: &Host, account: &str) -> Coverage {
    let account_regions = audit(&host.lab.sim, &[REGION.to_owned()]).account_regions;
    account_regions.into_iter().find(|at| at.account == account).unwrap()
}

/// Names of the calls from this position on, sorted.
fn calls_from(host: &Host, from: usize) -> Vec<String> {
    let mut names: Vec<String> = host.lab.sim.calls().into_iter().skip(from).map(|call| call.operation).collect();
    names.sort();
    names
}

/// Delivers until the account's VPCs are covered, and none of them twice. Returns how often the message about its new
/// VPC was received by then.
async fn deliver_until_covered(host: &Host, container: &mut Container, account: &str) -> u32 {
    for _ in 0..20 {
        let delivery = host.deliver(ENROLLMENTS, container, PLENTY_MS).await.unwrap();
        let at = at(host, account);
        if at.uncovered.is_empty() {
            assert!(at.on_several_shards.is_empty(), "{at:?}");
            let ours = |body: &str| body.contains("\"CreateVpc\"") && body.contains(account);
            let message = delivery.messages.iter().find(|message| ours(&message.body));
            return message.expect("covered without its message").receive_count;
        }
    }
    panic!("{:?}", at(host, account));
}

#[tokio::test]
async fn a_new_vpc_is_enrolled_and_the_next_one_takes_only_the_calls_that_differ() {
    let (host, [account, _]) = installation().await;
    let mut container = host.start(ENROLLER).await.unwrap();
    let vpc = new_vpc(&host, &account).await;
    let from = host.lab.sim.calls().len();
    let first = host.deliver(ENROLLMENTS, &mut container, PLENTY_MS).await.unwrap();
    assert_eq!(first.answer.failures().unwrap(), [""; 0]);
    assert_eq!(
        calls_from(&host, from),
        [
            "AssumeRole",
            "CreateFlowLogs",
            "CreateLogGroup",
            "DescribeDestinations",
            "DescribeFlowLogs",
            "DescribeLogGroups",
            "DescribeVpcs",
            "PutRetentionPolicy",
            "PutSubscriptionFilter"
        ]
    );
    host.lab.sim.with(|world| {
        assert_eq!(world.logs.group(&account, REGION, "vpc-flow-logs").unwrap().filters.len(), 1);
    });

    let next_vpc = new_vpc(&host, &account).await;
    let from = host.lab.sim.calls().len();
    let next = host.deliver(ENROLLMENTS, &mut container, PLENTY_MS).await.unwrap();
    assert_eq!(next.answer.failures().unwrap(), [""; 0]);
    assert_eq!(next.messages.len(), 1, "the member stack's rules exclude the enroller's own calls");
    let observing = ["DescribeFlowLogs", "DescribeLogGroups", "DescribeSubscriptionFilters", "DescribeVpcs"];
    assert_eq!(calls_from(&host, from), [&["CreateFlowLogs"][..], &observing].concat());
    let at = at(&host, &account);
    assert!(at.uncovered.is_empty() && at.on_several_shards.is_empty() && at.vpcs >= 2, "{at:?}");

    let ended = container.terminate().await.unwrap();
    for vpc in [vpc, next_vpc] {
        let about_it = |line: &&&Value| line["resource"].as_str().unwrap().contains(&vpc);
        let created = ended.decisions("create-flow-log", "done");
        let line = created.iter().find(about_it).unwrap_or_else(|| panic!("{vpc} in {:#?}", ended.lines));
        assert_eq!((&line["account"], &line["region"]), (&json!(account), &json!(REGION)));
        assert_eq!((&line["function"], &line["level"]), (&json!("vpc-enroller"), &json!("INFO")));
    }
    assert!(ended.metric("VpcsEnrolled") >= 2.0, "{:#?}", ended.lines);
}

#[tokio::test]
async fn only_the_message_of_the_account_that_is_not_ready_comes_back() {
    let (host, [good, late]) = installation().await;
    let until = host.lab.sim.now_ms() + 300_000;
    host.lab.sim.with(|world| world.accounts.get_mut(&late).unwrap().assumable_at_ms = until);
    for account in [&good, &late] {
        new_vpc(&host, account).await;
    }
    let mut container = host.start(ENROLLER).await.unwrap();
    let first = host.deliver(ENROLLMENTS, &mut container, PLENTY_MS).await.unwrap();
    assert_eq!(first.messages.len(), 2);
    assert_eq!(first.answer.failures().unwrap(), first.about(&format!("\"account\":\"{late}\"")));
    assert!(at(&host, &good).uncovered.is_empty() && !at(&host, &late).uncovered.is_empty());

    // Each later try waits twice as long: 30, 60, 120, 240 seconds.
    assert_eq!(deliver_until_covered(&host, &mut container, &late).await, 5);
    let ended = container.terminate().await.unwrap();
    let waits = ended.lines.iter().filter(|line| line["outcome"] == "retry-later" && line["account"] == json!(late));
    assert!(waits.count() >= 1, "{:#?}", ended.lines);
    assert!(ended.metric("MessagesDeferred") >= 1.0);
}

#[tokio::test]
async fn what_is_not_an_event_goes_to_the_dead_letter_queue_at_once() {
    let (host, [account, _]) = installation().await;
    let mut container = host.start(ENROLLER).await.unwrap();
    let cut_off = format!(r#"{{"version":"0","source":"aws.ec2","account":"{account}""#);
    for body in ["no JSON", &cut_off, r#"{"kind":"enrollment-request","version":1}"#] {
        host.lab.send(ENROLLMENTS, body).await.unwrap();
    }
    let (from, begun) = (host.lab.sim.calls().len(), host.lab.sim.now_ms());
    let mut deliveries = 0;
    while host.lab.sim.bodies(&host.lab.url("enrollments-dead")).unwrap().len() < 3 {
        let delivery = host.deliver(ENROLLMENTS, &mut container, PLENTY_MS).await.unwrap();
        assert_eq!(delivery.answer.failures().unwrap(), delivery.about(""));
        deliveries += 1;
        assert!(deliveries < 20, "still not dead");
    }
    let calls = calls_from(&host, from);
    assert!(calls.iter().all(|name| name == "ChangeMessageVisibility"), "{calls:?}");
    assert!(host.lab.sim.now_ms() - begun < 60_000, "no visibility timeout was waited for");
    let ended = container.terminate().await.unwrap();
    assert_eq!(ended.decisions("read-event", "refused").len(), calls.len());
    assert!(ended.metric("EventsRefused") >= 3.0);
}

#[tokio::test]
async fn an_invalid_payload_is_an_error_and_the_next_one_is_served() {
    let (host, [account, _]) = installation().await;
    let mut container = host.start(ENROLLER).await.unwrap();
    let from = host.lab.sim.calls().len();
    let error = container.invoke(NO_BATCH, PLENTY_MS).await.unwrap().outcome.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("not a valid SQS event"), "{error}");
    assert_eq!(error["errorType"], "InvocationFailed");
    let no_json = container.invoke("{", PLENTY_MS).await.unwrap().outcome.unwrap_err();
    assert!(no_json["errorMessage"].is_string(), "{no_json}");
    let empty = container.invoke("{}", PLENTY_MS).await.unwrap().outcome.unwrap();
    assert_eq!((&empty["changes"], &empty["queued_again"]), (&json!(0), &json!(false)), "{empty}");
    assert_eq!(calls_from(&host, from), [""; 0]);
    new_vpc(&host, &account).await;
    host.deliver(ENROLLMENTS, &mut container, PLENTY_MS).await.unwrap();
    assert!(at(&host, &account).uncovered.is_empty());
    container.terminate().await.unwrap();
}

#[tokio::test]
async fn before_the_deadline_only_what_hangs_returns_to_the_queue() {
    let (host, [good, slow]) = installation().await;
    for account in [&good, &slow] {
        new_vpc(&host, account).await;
    }
    host.lab.sim.arm(FaultRule::new(FaultKind::HangBefore).by(&slow).on(Service::Ec2, "CreateFlowLogs"));
    let mut container = host.start(ENROLLER).await.unwrap();
    container.idle().await.unwrap();
    let cut = host.deliver(ENROLLMENTS, &mut container, LITTLE_MS).await.unwrap();
    assert!(cut.answer.left_ms > 0, "answered {} ms after the deadline", -cut.answer.left_ms);
    assert_eq!(cut.answer.failures().unwrap(), cut.about(&format!("\"account\":\"{slow}\"")));
    assert!(at(&host, &good).uncovered.is_empty() && !at(&host, &slow).uncovered.is_empty());

    host.lab.sim.with(|world| world.faults.clear());
    assert_eq!(deliver_until_covered(&host, &mut container, &slow).await, 2);
    let ended = container.terminate().await.unwrap();
    assert!(ended.lines.iter().any(|line| line["outcome"] == "retry-later" && line["account"] == json!(slow)));
}

#[tokio::test]
async fn sigterm_during_a_call_ends_it_and_another_process_finishes() {
    for kind in [FaultKind::HangBefore, FaultKind::HangAfter] {
        let (host, [account, _]) = installation().await;
        new_vpc(&host, &account).await;
        host.lab.sim.arm(FaultRule::new(kind.clone()).by(&account).on(Service::Ec2, "CreateFlowLogs"));
        let ended = host.end_while_hanging(ENROLLMENTS, host.start(ENROLLER).await.unwrap()).await.unwrap();
        assert_eq!(ended.status.code(), Some(0), "{kind:?}: {}", ended.stderr);

        host.lab.sim.with(|world| world.faults.clear());
        let mut fresh = host.start(ENROLLER).await.unwrap();
        if matches!(kind, FaultKind::HangAfter) {
            assert!(at(&host, &account).uncovered.is_empty(), "created, although no response arrived");
        }
        // Events of the first process's own calls come before the message that comes back.
        let mut receives = 0;
        while receives < 2 {
            let again = host.deliver(ENROLLMENTS, &mut fresh, PLENTY_MS).await.unwrap();
            assert_eq!(again.answer.failures().unwrap(), [""; 0], "{kind:?}");
            receives = again.messages.iter().map(|message| message.receive_count).max().expect("a message is lost");
        }
        let at = at(&host, &account);
        assert!(at.uncovered.is_empty() && at.on_several_shards.is_empty(), "{kind:?}: {at:?}");
        fresh.terminate().await.unwrap();
    }
}

#[tokio::test]
async fn sigterm_while_idle_ends_it_cleanly_without_an_error() {
    let (host, _) = installation().await;
    let mut container = host.start(ENROLLER).await.unwrap();
    container.idle().await.unwrap();
    let asked = std::time::Instant::now();
    let ended = container.terminate().await.unwrap();
    // Nothing is under way, so that only a busy machine can make it long.
    assert!(asked.elapsed().as_secs() < 5);
    assert!(ended.cleanly(), "{ended:?}");
}

#[tokio::test]
async fn all_invalid_settings_are_named_in_one_line_before_any_request() {
    let (host, _) = installation().await;
    let bad = [("organization_id", ""), ("traffic_type", "SOME"), ("retention_days", "31")];
    let missing = [("grants_queue_url", ""), ("enrollments_queue_url", "")];
    for changes in [&bad[..], &missing] {
        let ended = host.start_with(ENROLLER, changes).await.unwrap().end().await.unwrap();
        let told: Vec<&str> = changes.iter().flat_map(|(key, value)| [*key, *value]).collect();
        assert!(ended.refused_in_one_line(&told), "{ended:?}");
    }
}
