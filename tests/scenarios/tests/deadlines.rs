//! Deadlines: no change begins after the time of a run is up, and a later run does the rest.
//!
//! Each call in the member account takes so long that the deadline falls where the test wants it. Concurrent calls add
//! up their times.

#![cfg(test)]

use std::sync::Arc;

use enroller_lab::Lab;
use enroller_lab::people::Person;
use enroller_sim::{FaultKind, FaultRule, TwinRule, World};
use enroller_tests::one_run::{IRELAND, drop_events, enrolled_accounts, request_enrollment};
use enroller_tests::{DAY_MS, audit_of, calls_since, ordinary_member};

/// Makes every call by an account take `ms` milliseconds from now on.
fn slow_down(lab: &Lab, account: &str, ms: u64) {
    let pass = FaultKind::HookBefore(Arc::new(move |world, _| world.advance_clock(ms)));
    lab.sim.arm(FaultRule::new(pass).by(account));
}

/// Changing operations in an account since position `from` of the call log.
fn changes(lab: &Lab, account: &str, from: usize) -> Vec<String> {
    let calls = calls_since(lab, from).into_iter();
    calls.filter(|call| call.mutating && call.account == account).map(|call| call.operation).collect()
}

/// Checks that this many messages wait in the queue, and that the rest is done when calls are fast again.
async fn assert_done_later(lab: &Lab, begun_ms: u64, returned: usize) {
    assert_eq!(lab.sim.queue_depth(&lab.url("enrollments")).unwrap().total(), returned);
    // Where a slow call here ends when Lambda would end the function, nobody can hand the message back.
    if returned > 0 && lab.sim.now_ms() < begun_ms + 299_000 {
        // Not after the visibility timeout of the queue, half an hour.
        let due = lab.sim.earliest_visible_ms(&lab.url("enrollments")).unwrap().unwrap();
        assert!(due.saturating_sub(lab.sim.now_ms()) <= 30_000, "it comes back in {} ms", due - lab.sim.now_ms());
    }
    lab.sim.with(|world| world.faults.clear());
    lab.settle(DAY_MS).await.unwrap();
    let audit = audit_of(lab);
    assert_eq!(audit.uncovered(), 0);
    assert!(audit.account_regions.iter().all(|at| at.on_several_shards.is_empty()), "{audit:#?}");
    for queue in ["enrollments", "enrollments-dead"] {
        assert_eq!(lab.sim.queue_depth(&lab.url(queue)).unwrap().total(), 0, "{queue}");
    }
}

#[tokio::test]
async fn a_run_out_of_time_stops_before_the_next_step_and_is_retried() {
    // A function stops 290 s after its start. It observes with 3 calls, because without a log group there is no filter to
    // ask for, and then makes these, one in each step.
    let steps = ["CreateLogGroup", "PutSubscriptionFilter", "CreateFlowLogs", "PutRetentionPolicy"];
    for (ms_per_call, done) in [(97_000, 0), (75_000, 1), (60_000, 2), (50_000, 3)] {
        let lab = enrolled_accounts(&[]).await;
        let account = ordinary_member(&lab);
        drop_events(&lab);
        let person = Person::of(&lab.sim, &account, IRELAND);
        for (id, _) in person.flow_logs().await.unwrap() {
            person.delete_flow_log(&id).await.unwrap();
        }
        person.delete_log_group(lab.settings.log_group_name.as_str()).await.unwrap();
        request_enrollment(&lab, &account).await;
        slow_down(&lab, &account, ms_per_call);
        let (from, begun_ms) = (lab.sim.calls().len(), lab.sim.now_ms());
        assert!(lab.step().await.unwrap());
        assert_eq!(changes(&lab, &account, from), &steps[..done], "{ms_per_call} ms for each call");
        assert_done_later(&lab, begun_ms, 1).await;
    }
}

#[tokio::test]
async fn a_flow_log_is_only_replaced_while_there_is_time_for_both_calls() {
    // A call times out after 100 s. Here 4 calls observe, and AWS refuses the fifth, twice, with a minute in between. Then
    // 200 of 290 s are left, or 10 ms less.
    let replaced = ["CreateFlowLogs", "CreateFlowLogs", "DeleteFlowLogs", "CreateFlowLogs"];
    for (ms_per_call, changed, interval) in [(3_000, &replaced[..], 60), (3_001, &replaced[..2], 600)] {
        let mut lab = enrolled_accounts(&[]).await;
        let account = ordinary_member(&lab);
        drop_events(&lab);
        lab.sim.with(|world| world.settings.twin_rule = TwinRule::SameDestination);
        lab.reconfigure(&[("aggregation_interval", "60")]).unwrap();
        let intervals = |lab: &Lab| -> Vec<u32> {
            let logs = |world: &mut World| -> Vec<u32> {
                world.ec2.flow_logs(&account, IRELAND).map(|log| log.max_aggregation_interval).collect()
            };
            lab.sim.with(logs)
        };
        request_enrollment(&lab, &account).await;
        slow_down(&lab, &account, ms_per_call);
        let (from, begun_ms) = (lab.sim.calls().len(), lab.sim.now_ms());
        assert!(lab.step().await.unwrap());
        assert_eq!(changes(&lab, &account, from), changed, "{ms_per_call} ms for each call");
        assert_eq!(intervals(&lab), [interval; 2], "{ms_per_call} ms for each call");
        assert_done_later(&lab, begun_ms, usize::from(interval == 600)).await;
        assert_eq!(intervals(&lab), [60; 2]);
    }
}
