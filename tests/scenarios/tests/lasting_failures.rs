//! A call that fails for hours: what it costs, and that everything recovers once the cause is fixed.

#![cfg(test)]

use enroller_lab::Lab;
use enroller_sim::{ApiError, FaultKind, FaultRule, NewAccount, Service};
use enroller_tests::{DAY_MS, assert_all_covered, audit_of, settled};

const IRELAND: &str = "eu-west-1";
const HOUR_MS: u64 = 3_600_000;

/// A settled organization that `count` accounts join while no destination policy can be written.
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

/// The number of calls since position `since` that sent messages.
fn sends(lab: &Lab, since: usize) -> usize {
    lab.sim.calls()[since..].iter().filter(|call| call.operation.starts_with("SendMessage")).count()
}

#[tokio::test]
async fn a_grant_that_cannot_be_written_does_not_multiply_messages() {
    let lab = joining_without_grants(3).await;
    let mut of_hours = Vec::new();
    for _ in 0..10 {
        let before = lab.sim.calls().len();
        lab.settle(HOUR_MS).await.unwrap();
        of_hours.push(sends(&lab, before));
    }
    // The events of the new accounts are retried for 105 minutes. After that, each account has 1 or 2 requests on the
    // enroller's queue, which ask for the grant every 15 minutes.
    assert!(of_hours[3..].iter().all(|sends| *sends <= 45), "{of_hours:?}");
}

#[tokio::test]
async fn accounts_without_a_grant_for_half_a_day_need_no_sweep() {
    let lab = joining_without_grants(3).await;
    lab.settle(DAY_MS / 2).await.unwrap();
    assert_eq!(audit_of(&lab).misassigned().len(), 3);
    lab.sim.with(|world| world.faults.clear());
    lab.settle(HOUR_MS).await.unwrap();
    assert_all_covered(&lab);
}
