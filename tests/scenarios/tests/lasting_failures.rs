//! A call that fails for hours: what it costs meanwhile, and that all is well once somebody has mended the cause.

#![cfg(test)]

use enroller_lab::Lab;
use enroller_sim::{ApiError, FaultKind, FaultRule, NewAccount, Service};
use enroller_tests::{DAY_MS, audit_of, settled};

const IRELAND: &str = "eu-west-1";
const HOUR_MS: u64 = 3_600_000;

/// A quiet organization in which so many accounts then join, while no policy of a destination can be written.
async fn joining_without_grants(count: usize) -> Lab {
    let lab = settled(3, &[IRELAND], 1).await;
    let denied = ApiError::new(400, "AccessDeniedException", "not authorized to perform: iam:PassRole");
    let denial = FaultRule::new(FaultKind::ErrorBefore(denied)).on(Service::Logs, "PutDestinationPolicy");
    lab.sim.with(|world| world.faults.arm(denial));
    for number in 0..count {
        let new = NewAccount { name: format!("team-{number}"), ..NewAccount::default() };
        let account = lab.sim.with(|world| world.create_account(&new)).unwrap();
        lab.stacks.deploy_member(&account).unwrap();
    }
    lab
}

/// How often a message was sent to a queue since a call of this number.
fn sends(lab: &Lab, since: usize) -> usize {
    lab.sim.calls()[since..].iter().filter(|call| call.operation.starts_with("SendMessage")).count()
}

#[tokio::test]
async fn a_grant_that_cannot_be_written_does_not_feed_itself() {
    let lab = joining_without_grants(3).await;
    let mut of_hours = Vec::new();
    for _ in 0..10 {
        let before = lab.sim.calls().len();
        lab.settle(HOUR_MS).await.unwrap();
        of_hours.push(sends(&lab, before));
    }
    // The events of their joining are tried for an hour and three quarters. Then each account has a request or two on
    // the enroller's queue, which ask every quarter of an hour.
    assert!(of_hours[3..].iter().all(|sends| *sends <= 45), "{of_hours:?}");
}

#[tokio::test]
async fn accounts_that_waited_half_a_day_for_their_grant_are_enrolled_without_a_sweep_once_it_can_be_written() {
    let lab = joining_without_grants(3).await;
    lab.settle(DAY_MS / 2).await.unwrap();
    assert_eq!(audit_of(&lab).misassigned().len(), 3);
    lab.sim.with(|world| world.faults.clear());
    lab.settle(HOUR_MS).await.unwrap();
    assert_eq!(audit_of(&lab).uncovered(), 0);
}
