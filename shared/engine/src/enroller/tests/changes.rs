use enroller_core::log::Outcome;
use enroller_core::metrics::Metric;

use super::*;
use crate::batch::Record;
use crate::testing::{at, events, id, record};
use crate::watch::{REPAIRS_AN_HOUR, SLOWER_SECONDS};

fn place() -> AccountRegion {
    at(1, home())
}

fn deleted(number: u64) -> Record {
    record(&format!("m{number}"), events::flow_log_deleted(&place(), number))
}

fn lose_flow_logs(world: &World) {
    world.ec2.flow_logs.lock().unwrap().insert(place(), Vec::new());
}

#[tokio::test]
async fn a_deleted_flow_log_of_ours_is_made_again_and_told_with_who_deleted_it() {
    let world = World::enrolled(&[]);
    lose_flow_logs(&world);
    let report = world.enrollment_queue().batch(&[deleted(1), deleted(1)], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!(world.ec2.flow_logs_of(&place()).len(), 1);
    assert_eq!(world.log.total(Metric::ChangesByOthers), 1, "the same event twice is one change");
    let told: Vec<_> = report.decisions.iter().filter(|line| line.outcome == Outcome::Noticed).collect();
    let [line] = told.as_slice() else { panic!("{told:?}") };
    let principal = format!("arn:aws:sts::{}:assumed-role/Admin/session", id(1));
    assert_eq!(line.principal.as_deref(), Some(&*principal));
    assert_eq!(line.event_id.as_deref(), Some("00000000-0000-4000-9000-000000000001"));
    assert_eq!((line.account, line.region.clone()), (Some(id(1)), Some(home())));
}

#[tokio::test]
async fn a_deleted_flow_log_of_somebody_else_is_no_change_of_ours() {
    let world = World::enrolled(&[]);
    let report = world.enrollment_queue().batch(&[deleted(1)], DEADLINE).await;
    assert_eq!((report.changes, world.log.total(Metric::ChangesByOthers)), (0, 0));
}

#[tokio::test]
async fn what_cannot_be_looked_at_counts_as_changed() {
    let world = World::enrolled(&[]);
    world.journal.fail_at("sts:AssumeRole", id(1), 1, "AccessDenied");
    world.enrollment_queue().batch(&[deleted(1)], DEADLINE).await;
    assert_eq!(world.log.total(Metric::ChangesByOthers), 1);
}

#[tokio::test]
async fn whoever_undoes_every_repair_is_told_and_repaired_at_a_slower_pace() {
    let world = World::enrolled(&[]);
    let queue = world.enrollment_queue();
    let often = u64::try_from(REPAIRS_AN_HOUR).unwrap() + 1;
    for number in 1..=often {
        lose_flow_logs(&world);
        assert!(queue.batch(&[deleted(number)], DEADLINE).await.failed.is_empty(), "{number}");
        world.clock.advance(1_000);
    }
    assert_eq!(world.log.total(Metric::ContestedRepairs), 0);
    lose_flow_logs(&world);
    let report = queue.batch(&[deleted(99)], DEADLINE).await;
    assert_eq!((report.failed, report.changes), (vec!["m99".to_owned()], 0));
    assert_eq!(world.queues.hidden().last().map(|(_, seconds)| *seconds), Some(SLOWER_SECONDS));
    assert_eq!(world.log.total(Metric::ContestedRepairs), 1);
    assert!(report.decisions.iter().any(|line| line.action == "slow-down" && line.principal.is_some()));
    // What comes back has waited, and another account is not slowed down.
    let back = Record { receive_count: 2, ..deleted(99) };
    assert!(queue.batch(&[back], DEADLINE).await.failed.is_empty());
    assert_eq!(world.ec2.flow_logs_of(&place()).len(), 1);
}
