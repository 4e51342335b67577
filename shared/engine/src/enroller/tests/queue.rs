use enroller_core::log::Outcome;
use enroller_core::message::{BackfillContinuation, EnrollmentRequest, GrantRequest, Message, SyncRequest};
use enroller_core::metrics::Metric;
use enroller_core::observed::{LogGroup, LogGroupClass, Tags};

use super::*;
use crate::batch::Record;
use crate::testing::{ENROLLMENTS, GRANTS, T0, at, events, id, ids, record};

fn request(number: u32, regions: impl IntoIterator<Item = Region>, requested_at_ms: Option<u64>) -> String {
    let request = EnrollmentRequest {
        account: id(number),
        regions: regions.into_iter().collect(),
        destinations: BTreeMap::new(),
        reason: "test".to_owned(),
        run_id: None,
        requested_at_ms,
        waited_for: BTreeSet::new(),
    };
    Message::Enrollment(request).to_json()
}

/// A request about account 1 that has come back for this reason already.
fn waited_for(wait: &str) -> String {
    let request = request(1, [home()], None);
    let mut request: serde_json::Value = serde_json::from_str(&request).unwrap();
    request["waited_for"] = serde_json::json!([wait]);
    request.to_string()
}

fn hidden(world: &World) -> Vec<u32> {
    world.queues.hidden().into_iter().map(|(_, seconds)| seconds).collect()
}

#[tokio::test]
async fn a_message_whose_work_is_done_leaves_the_queue() {
    let world = World::fresh(&[]);
    let report = world.enrollment_queue().batch(&[record("a", request(1, [home(), away()], None))], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!(report.changes, 8);
    assert_eq!(world.log.total(Metric::VpcsEnrolled), 2);
    assert_eq!(world.log.entries(), report.decisions);
    assert!(world.queues.hidden().is_empty());
}

#[tokio::test]
async fn a_tag_that_would_narrow_or_does_is_told_with_who_put_it_and_counted() {
    let cases = [("ignored", "off", Metric::TagsIgnored), ("followed", "off", Metric::VpcsOptedOut)];
    for (narrowing, value, metric) in cases {
        let world = World::fresh(&[("narrowing_tags", narrowing)]);
        let at = at(1, home());
        world.ec2.vpcs.lock().unwrap().get_mut(&at).unwrap()[0]
            .tags
            .insert("vpc-flow-logs".to_owned(), value.to_owned());
        let event = events::vpc_tagged(&at, 1, "vpc-flow-logs", value).to_string();
        let report = world.enrollment_queue().batch(&[record("a", event)], DEADLINE).await;
        let told = report.decisions.iter().find(|line| line.action == "vpc-tags").unwrap();
        for part in ["vpc-flow-logs=off", "assumed-role/Admin/session", "at 2026-11-23T10:00:00Z", "event 00000000-"] {
            assert!(told.cause.contains(part), "{part}: {}", told.cause);
        }
        assert_eq!(world.log.total(metric), 1, "{narrowing}");
    }
}

#[tokio::test]
async fn messages_about_one_account_are_one_piece_of_work() {
    let world = World::fresh(&[]);
    let records =
        [record("a", request(1, [home()], None)), record("b", request(1, [away()], None)), record("c", "null")];
    world.journal.fail_at("ec2:DescribeVpcs", at(1, home()), 1, "InternalError");
    let report = world.enrollment_queue().batch(&records, DEADLINE).await;
    assert_eq!(world.journal.count("sts:AssumeRole"), 1);
    assert_eq!(report.failed, ["a"], "the other one's Region is done");
    assert_eq!(hidden(&world), [10]);
}

#[tokio::test]
async fn one_accounts_failure_does_not_keep_anothers_message() {
    let world = World::granted(&[], [1, 2]);
    world.journal.fail_at("sts:AssumeRole", id(1), 1, "AccessDenied");
    let records = [record("a", request(1, [home()], None)), record("b", request(2, [home()], None))];
    let report = world.enrollment_queue().batch(&records, DEADLINE).await;
    assert_eq!(report.failed, ["a"]);
    assert_eq!(hidden(&world), [30], "a role takes minutes");
}

#[tokio::test]
async fn what_may_pass_in_seconds_comes_back_in_a_third_of_the_time() {
    for (code, receives, seconds) in [
        ("ThrottlingException", 1, 10),
        ("ThrottlingException", 4, 80),
        ("AuthFailure", 1, 30),
        ("AuthFailure", 6, 900),
    ] {
        let world = World::fresh(&[]);
        world.journal.fail("logs:DescribeLogGroups", 1, code);
        let record = Record { receive_count: receives, ..record("a", request(1, [home()], None)) };
        world.enrollment_queue().batch(&[record], DEADLINE).await;
        assert_eq!(hidden(&world), [seconds], "{code}");
    }
}

#[tokio::test]
async fn what_a_person_has_to_mend_does_not_come_back() {
    let world = World::fresh(&[]);
    world.journal.fail("ec2:CreateFlowLogs", 1, "FlowLogsLimitExceeded");
    let report = world.enrollment_queue().batch(&[record("a", request(1, [home()], None))], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert!(report.decisions.iter().any(|it| it.action == "create-flow-log" && it.outcome == Outcome::Failed));
    assert_eq!((world.log.total(Metric::VpcsFailed), world.log.total(Metric::VpcsUncovered)), (1, 1));
    assert_eq!(world.log.total(Metric::StepsFailed), 1);
}

#[tokio::test]
async fn what_the_organization_forbids_has_failed_but_is_not_uncovered() {
    let world = World::fresh(&[]);
    world.ec2.enabled.lock().unwrap().remove(&away());
    world.journal.fail_at("ec2:DescribeVpcs", at(1, away()), 1, "AuthFailure");
    let report = world.enrollment_queue().batch(&[record("a", request(1, [away()], None))], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!(world.log.total_of(Metric::VpcsFailed, "skipped"), 1);
    assert_eq!(world.log.total(Metric::VpcsUncovered), 0);
}

#[tokio::test]
async fn a_denial_comes_back_four_times_and_is_then_left_to_a_person() {
    for (receives, comes_back) in [(1, true), (4, true), (5, false), (11, false)] {
        let world = World::fresh(&[]);
        world.journal.fail("logs:CreateLogGroup", 1, "AccessDeniedException");
        let record = Record { receive_count: receives, ..record("a", waited_for("permission")) };
        let report = world.enrollment_queue().batch(&[record], DEADLINE).await;
        assert_eq!(!report.failed.is_empty(), comes_back, "after {receives}");
        let given_up = report.decisions.iter().find(|it| it.cause.starts_with("given up"));
        assert_eq!(given_up.is_some(), !comes_back);
        assert!(given_up.is_none_or(|it| it.outcome == Outcome::Failed && it.region == Some(home())));
        assert_eq!(world.log.total_of(Metric::VpcsFailed, "terminal"), u64::from(!comes_back));
    }
}

#[tokio::test]
async fn the_first_denial_after_receives_for_other_reasons_is_tried_as_often_as_any() {
    for body in [request(1, [home()], Some(T0)), events::vpc_created(&at(1, home()), 1).to_string()] {
        let world = World::fresh(&[]);
        world.journal.fail("logs:CreateLogGroup", 1, "AccessDeniedException");
        let late = Record { receive_count: 6, ..record("a", body) };
        let report = world.enrollment_queue().batch(&[late], DEADLINE).await;
        assert!(report.failed.is_empty() && !report.decisions.iter().any(|it| it.cause.starts_with("given up")));
        let messages = world.queues.messages(ENROLLMENTS);
        let [Message::Enrollment(again)] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!((again.account, again.regions.clone()), (id(1), vec![home()]));
        assert_eq!(again.waited_for.iter().collect::<Vec<_>>(), ["permission"]);
        let again = record("b", &world.queues.sent_to(ENROLLMENTS)[0].body);
        world.enrollment_queue().batch(&[again], DEADLINE).await;
        assert_eq!(world.log.total(Metric::VpcsEnrolled), 1);
    }
}

#[tokio::test]
async fn a_region_that_failed_goes_on_by_itself() {
    let world = World::fresh(&[]);
    world.journal.fail_at("ec2:DescribeVpcs", at(1, away()), 1, "InternalError");
    let late = Record { receive_count: 7, ..record("a", request(1, [home(), away()], Some(T0))) };
    let report = world.enrollment_queue().batch(&[late], DEADLINE).await;
    assert!(report.failed.is_empty(), "what is done is done");
    let sent = world.queues.sent_to(ENROLLMENTS);
    assert_eq!(sent.iter().map(|it| it.delay_seconds).collect::<Vec<_>>(), [10], "with its own count");
    let messages = world.queues.messages(ENROLLMENTS);
    let [Message::Enrollment(rest)] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((rest.account, rest.regions.clone(), rest.requested_at_ms), (id(1), vec![away()], Some(T0)));
    let report = world.enrollment_queue().batch(&[record("b", &sent[0].body)], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!(world.log.total(Metric::VpcsEnrolled), 2);
}

#[tokio::test]
async fn a_request_comes_back_whole_if_its_rest_cannot_be_sent_or_nothing_is_done() {
    let world = World::fresh(&[]);
    world.journal.fail_at("ec2:DescribeVpcs", at(1, away()), 1, "InternalError");
    world.journal.fail("sqs:SendMessage", 1, "ServiceUnavailable");
    let report = world.enrollment_queue().batch(&[record("a", request(1, [home(), away()], None))], DEADLINE).await;
    assert_eq!((report.failed, hidden(&world)), (vec!["a".to_owned()], vec![10]));
    let world = World::fresh(&[]);
    world.journal.fail("ec2:DescribeVpcs", 2, "InternalError");
    let report = world.enrollment_queue().batch(&[record("a", request(1, [home(), away()], None))], DEADLINE).await;
    assert_eq!(report.failed, ["a"]);
    assert!(world.queues.sent_to(ENROLLMENTS).is_empty());
}

#[tokio::test]
async fn a_needed_call_that_finds_nothing_or_too_much_is_another_look() {
    for (operation, code) in [
        ("logs:ListTagsForResource", "ResourceNotFoundException"),
        ("iam:PutRolePolicy", "NoSuchEntity"),
        ("iam:CreateRole", "EntityAlreadyExists"),
    ] {
        let world = World::fresh(&[("delivery_role_maker", "enroller")]);
        let (class, tags) = (LogGroupClass::Standard, Some(Tags::new()));
        let (retention_policy, created_ms, protection) = (None, None, Vec::new());
        let group =
            LogGroup { retention_days: Some(1), kms_key: None, class, tags, retention_policy, created_ms, protection };
        world.logs.groups.lock().unwrap().insert(at(1, home()), group);
        world.journal.fail(operation, 1, code);
        let report = world.enrollment_queue().batch(&[record("a", request(1, [home()], None))], DEADLINE).await;
        assert!(world.journal.count(operation) > 0, "{operation} was asked");
        assert_eq!((report.failed, hidden(&world)), (vec!["a".to_owned()], vec![10]), "{operation}");
    }
}

#[tokio::test]
async fn a_replacement_that_is_not_finished_comes_back_and_is_no_failure() {
    let world = World::enrolled(&[]);
    let reject = Some(enroller_core::observed::TrafficType::Reject);
    world.ec2.flow_logs.lock().unwrap().get_mut(&at(1, home())).unwrap()[0].traffic_type = reject;
    let mut receives = 0;
    loop {
        receives += 1;
        let record = Record { receive_count: receives, ..record("a", request(1, [home()], None)) };
        let now_ms = world.context().clock.now_ms();
        let report = world.enrollment_queue().batch(&[record], now_ms + 900_000).await;
        assert!(report.decisions.iter().all(|it| it.outcome != Outcome::Failed), "{:?}", report.decisions);
        if report.failed.is_empty() {
            break;
        }
        let seconds = *hidden(&world).last().unwrap();
        world.clock.advance(u64::from(seconds) * 1_000);
    }
    assert_eq!(hidden(&world), [600; 6], "AWS needs ten minutes, so nothing can have happened before");
    assert_eq!(receives, 7, "the queue gives a message up after 12 receives");
    assert_eq!(world.ec2.flow_logs_of(&at(1, home())).len(), 1);
    assert_eq!((world.log.total(Metric::StepsFailed), world.log.total(Metric::VpcsFailed)), (0, 0));
}

#[tokio::test]
async fn a_flow_log_that_aws_does_not_show_is_left_to_a_person_after_five_tries() {
    for (receives, comes_back) in [(1, true), (4, true), (5, false)] {
        let world = World::fresh(&[]);
        world.ec2.refused.lock().unwrap().insert(vpc_id(1), "FlowLogAlreadyExists");
        let record = Record { receive_count: receives, ..record("a", waited_for("flow-log")) };
        let report = world.enrollment_queue().batch(&[record], DEADLINE).await;
        assert_eq!(!report.failed.is_empty(), comes_back, "after {receives}");
        assert_eq!(world.log.total_of(Metric::VpcsFailed, "terminal"), u64::from(!comes_back));
        let told =
            report.decisions.iter().filter(|it| it.outcome == Outcome::Failed).filter_map(|it| it.next_step.as_ref());
        assert_eq!(told.filter(|step| step.contains("describe-flow-logs")).count(), usize::from(!comes_back));
    }
}

#[tokio::test]
async fn a_vpc_that_is_not_shown_is_looked_for_three_times_and_ten_minutes() {
    for (receives, age_ms, comes_back) in [
        (1, 3_600_000, true),
        (3, 3_600_000, true),
        (4, 600_000, false),
        // It came back for other reasons.
        (9, 599_999, true),
    ] {
        let world = World::enrolled(&[]);
        let event = events::vpc_created(&at(1, home()), 9);
        let passed_ms = events::MADE_MS - T0 + age_ms;
        world.clock.advance(passed_ms);
        let record = Record { receive_count: receives, ..record("a", event) };
        let report = world.enrollment_queue().batch(&[record], DEADLINE + passed_ms).await;
        assert_eq!(!report.failed.is_empty(), comes_back, "after {receives}");
        let again = report.decisions.iter().filter(|it| it.outcome == Outcome::RetryLater).count();
        assert_eq!(again, usize::from(comes_back));
    }
}

#[tokio::test]
async fn a_vpc_that_is_shown_is_done_with() {
    let world = World::fresh(&[]);
    let report = world.enrollment_queue().batch(&[record("a", events::vpc_created(&at(1, home()), 1))], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!(world.log.total(Metric::VpcsEnrolled), 1);
}

#[tokio::test]
async fn a_vpc_is_not_missed_where_nothing_could_be_seen() {
    let world = World::fresh(&[]);
    world.journal.fail("ec2:DescribeVpcs", 1, "UnauthorizedOperation");
    let report = world.enrollment_queue().batch(&[record("a", events::vpc_created(&at(1, home()), 9))], DEADLINE).await;
    assert_eq!(report.failed, ["a"]);
    assert!(!report.decisions.iter().any(|it| it.cause.contains("does not list")), "only the failure itself counts");
}

#[tokio::test]
async fn a_grant_is_asked_for_once_in_twenty_seconds() {
    let world = World::members(&[], [1]);
    let queue = world.enrollment_queue();
    for after_ms in [0, 0, 20_000] {
        world.clock.advance(after_ms);
        let report = queue.batch(&[record("a", request(1, [home(), away()], None))], DEADLINE).await;
        assert_eq!(report.failed, ["a"]);
    }
    let asked = world.queues.messages(GRANTS);
    assert!(asked.iter().all(|it| matches!(it, Message::Grant(grant) if grant.account == id(1))));
    let fifo: Vec<_> = world.queues.sent_to(GRANTS).into_iter().map(|it| it.fifo.unwrap()).collect();
    assert!(fifo.iter().all(|(group, _)| group == crate::outbox::GRANTS_GROUP));
    assert_eq!(fifo.len(), 3);
    assert!(fifo[0].1 == fifo[1].1 && fifo[1].1 != fifo[2].1, "SQS drops the second: {fifo:?}");
    assert_eq!(hidden(&world), [30, 30, 30]);
}

#[tokio::test]
async fn a_grant_that_cannot_be_asked_for_is_told_of() {
    let world = World::members(&[], [1]);
    world.journal.fail("sqs:SendMessage", 1, "AccessDenied");
    let report = world.enrollment_queue().batch(&[record("a", request(1, [home()], None))], DEADLINE).await;
    assert_eq!(report.failed, ["a"]);
    assert!(report.decisions.iter().any(|it| it.action == "ask-onboarder"));
}

#[tokio::test]
async fn what_is_the_onboarders_goes_to_its_queue() {
    let world = World::members(&[], [1]);
    let sync = SyncRequest { reason: "by hand".to_owned(), run_id: None, allow_mass_revocation: true };
    let grant = GrantRequest { account: id(1), reason: "joined".to_owned() };
    let records = [record("a", Message::Sync(sync.clone()).to_json()), record("b", Message::Grant(grant).to_json())];
    let report = world.enrollment_queue().batch(&records, DEADLINE).await;
    assert!(report.failed.is_empty());
    let sent = world.queues.messages(GRANTS);
    assert_eq!(sent[0], Message::Sync(sync));
    assert!(matches!(&sent[1], Message::Sync(sync) if !sync.allow_mass_revocation));
    let once: Vec<_> = world.queues.sent_to(GRANTS).into_iter().map(|it| it.fifo.unwrap().1).collect();
    assert_eq!(once, ["a", "b"], "a message that is received twice is forwarded once");
    assert!(world.queues.sent_to(ENROLLMENTS).is_empty());
}

#[tokio::test]
async fn what_cannot_be_forwarded_comes_back_soon() {
    let world = World::members(&[], [1]);
    world.journal.fail("sqs:SendMessage", 1, "ServiceUnavailable");
    let sync = SyncRequest { reason: String::new(), run_id: None, allow_mass_revocation: false };
    let report = world.enrollment_queue().batch(&[record("a", Message::Sync(sync).to_json())], DEADLINE).await;
    assert_eq!((report.failed.as_slice(), hidden(&world)), (&["a".to_owned()][..], vec![10]));
}

#[tokio::test]
async fn a_backfills_continuation_is_refused_at_once() {
    let world = World::members(&[], [1]);
    let (request, run_id) = (enroller_core::backfill::BackfillRequest::default(), "run".to_owned());
    let continuation = Message::Backfill(BackfillContinuation { request, run_id, after: id(1) });
    let report = world.enrollment_queue().batch(&[record("a", continuation.to_json())], DEADLINE).await;
    assert_eq!((report.failed.as_slice(), report.refused), (&["a".to_owned()][..], 1));
    assert_eq!(hidden(&world), [0]);
    assert_eq!(world.log.total(Metric::EventsRefused), 1);
    assert_eq!(world.log.total(Metric::MessagesDeferred), 0);
}

#[tokio::test]
async fn a_batch_that_hangs_is_handed_back() {
    let world = World::granted(&[], [1, 2]);
    world.journal.hang("sts:AssumeRole");
    let records = [record("a", request(1, [home()], None)), record("b", request(2, [home()], None))];
    let report = world.enrollment_queue().batch(&records, DEADLINE).await;
    let mut failed = report.failed.clone();
    failed.sort();
    assert_eq!(failed.first().map(String::as_str), Some("a"));
    assert!(report.needs_another_try());
    assert!(hidden(&world).contains(&10), "the queue's own visibility timeout is half an hour");
}

#[tokio::test]
async fn time_to_enrollment_counts_from_the_earliest_message() {
    let world = World::fresh(&[]);
    let records = [
        record("a", request(1, [home()], Some(T0 - 4_000))),
        record("b", request(1, [home()], Some(T0 - 9_000))),
        record("c", request(1, [home()], None)),
    ];
    world.enrollment_queue().batch(&records, DEADLINE).await;
    assert_eq!(world.log.total(Metric::SecondsToEnrolled), 9);
}

#[tokio::test]
async fn several_grants_and_vpcs_of_a_batch_do_not_mix() {
    let world = World::members(&[], [1, 2]);
    world.grant(&home(), 1, ids([2]));
    world.add_vpc(&at(2, home()), 3);
    let records = [record("a", request(1, [home()], None)), record("b", events::vpc_created(&at(2, home()), 3))];
    let report = world.enrollment_queue().batch(&records, DEADLINE).await;
    assert_eq!(report.failed, ["a"]);
    assert_eq!(world.queues.messages(GRANTS).len(), 1);
    assert_eq!(world.log.total(Metric::VpcsEnrolled), 1);
}
