//! Wrong clocks: the clock of an event's author, the function's own clock, and AWS's view of it.

use enroller_core::log::Outcome;
use enroller_core::metrics::Metric;
use enroller_sim::{ApiError, FaultKind, FaultRule, Service, When};
use enroller_tests::{DAY_MS, audit_of, calls_since, count};
use serde_json::json;

use crate::events::create_vpc;
use crate::harness::{IRELAND, Queue, member, settled_organization};

#[tokio::test]
async fn the_time_in_an_event_decides_nothing() {
    let lab = settled_organization().await;
    let account = member(&lab);
    for time in [
        "2026-11-23T03:00:00Z",
        "2026-11-24T18:00:00Z",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "0000-00-00T00:00:00Z",
        "-2026-11-23T10:00:00Z",
        "2026-11-23T10:00:00+99:99",
        "yesterday",
        "",
        "2026-02-30T10:00:00Z",
        "1795428000000",
        "2026-11-23T10:00:00.9999999999999999999999Z",
    ] {
        let vpc = lab.sim.with(|world| world.put_vpc(&account, IRELAND, "10.1.0.0/16", false));
        let mut event = create_vpc(&account);
        event["detail"]["responseElements"]["vpc"]["vpcId"] = json!(vpc);
        event["time"] = json!(time);
        event["detail"]["eventTime"] = json!(time);
        let seconds = lab.recording.total(Metric::SecondsToEnrolled);
        Queue::Enrollments.send(&lab, &event.to_string()).await;
        lab.settle(DAY_MS).await.unwrap();
        assert_eq!(audit_of(&lab).uncovered(), 0, "{time}");
        let seconds = lab.recording.total(Metric::SecondsToEnrolled) - seconds;
        assert!(seconds >= 0.0, "{time}: enrolled {seconds} seconds after it was made");
    }
    assert_eq!(Queue::Enrollments.dead(&lab).len(), 0);
}

/// A request that AWS rejects because of its time or signature says nothing about the account. The message is retried,
/// perhaps in a container with a correct clock, and otherwise ends in the dead-letter queue.
#[tokio::test]
async fn a_request_that_aws_rejects_for_its_time_loses_no_message() {
    for (service, operation, code, message) in [
        (
            Service::Sts,
            "AssumeRole",
            "SignatureDoesNotMatch",
            "Signature expired: 20261123T080000Z is now earlier than 20261123T094500Z (20261123T100000Z - 15 min.)",
        ),
        (Service::Ec2, "DescribeVpcs", "RequestExpired", "Request has expired."),
        (
            Service::Ec2,
            "DescribeFlowLogs",
            "AuthFailure",
            "AWS was not able to validate the provided access credentials",
        ),
        (Service::Ec2, "CreateFlowLogs", "SignatureDoesNotMatch", "Signature not yet current"),
        (
            Service::Logs,
            "DescribeLogGroups",
            "InvalidSignatureException",
            "Signature not yet current: 20261123T120000Z is still later than 20261123T101500Z (20261123T100000Z + 15 min.)",
        ),
        (
            Service::Logs,
            "DescribeSubscriptionFilters",
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        ),
        (Service::Logs, "DescribeDestinations", "InvalidSignatureException", "Signature expired"),
        (
            Service::Logs,
            "DescribeLogGroups",
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ),
        (Service::Ec2, "DescribeVpcs", "RequestInTheFuture", "Request timestamp is in the future"),
    ] {
        let mut lab = settled_organization().await;
        lab.set_attempts(1).unwrap();
        let account = member(&lab);
        lab.sim.with(|world| world.put_vpc(&account, IRELAND, "10.1.0.0/16", false));
        let refusal = FaultKind::ErrorBefore(ApiError::new(403, code, message));
        lab.sim.arm(FaultRule::new(refusal).on(service, operation).at(When::First(2)));
        Queue::Enrollments.send(&lab, &create_vpc(&account).to_string()).await;
        lab.settle(DAY_MS).await.unwrap();
        assert_eq!(lab.sim.with(|world| world.faults.hits()), 2, "{operation} {code}");
        assert_eq!(audit_of(&lab).uncovered(), 0, "{operation} {code}: {:#?}", lab.recording.take());
        let lines = lab.recording.take();
        let reported = lines.iter().filter(|line| line.cause.contains(code));
        assert!(reported.clone().all(|line| line.outcome == Outcome::RetryLater), "{code}: {lines:#?}");
        assert!(reported.count() >= 1, "{operation} {code} is reported");
    }
}

#[tokio::test]
async fn a_clock_that_stays_wrong_ends_in_the_dead_letter_queue() {
    let mut lab = settled_organization().await;
    lab.set_attempts(1).unwrap();
    let account = member(&lab);
    let refusal = ApiError::new(403, "SignatureDoesNotMatch", "Signature expired");
    lab.sim.arm(FaultRule::new(FaultKind::ErrorBefore(refusal)).on(Service::Sts, "AssumeRole"));
    let from = lab.sim.calls().len();
    Queue::Enrollments.send(&lab, &create_vpc(&account).to_string()).await;
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(Queue::Enrollments.dead(&lab).len(), 1);
    assert_eq!(count(&calls_since(&lab, from), "AssumeRole"), 12, "once for each receive");
}
