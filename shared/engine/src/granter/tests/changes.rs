use enroller_core::ids::AccountRegion;
use enroller_core::log::Outcome;
use enroller_core::message::Message;

use super::*;
use crate::batch::Record;
use crate::testing::{CENTRAL, DEADLINE, events, record};
use crate::watch::{REPAIRS_AN_HOUR, SLOWER_SECONDS};

fn place() -> AccountRegion {
    AccountRegion { account: CENTRAL.parse().unwrap(), region: home() }
}

fn deleted(number: u64) -> Record {
    record(&format!("m{number}"), events::destination_deleted(&place(), number))
}

fn lose_destinations(world: &World) {
    world.destinations.all.lock().unwrap().retain(|(region, _), _| *region != home());
}

#[tokio::test]
async fn a_deleted_destination_is_made_again_with_every_grant_and_told_with_who_deleted_it() {
    let world = World::granted(&[], [1, 2]);
    lose_destinations(&world);
    let (report, _) = world.grant_queue().batch(&[deleted(1)], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!(world.destinations.granted(&home()), ids([1, 2]));
    assert_eq!(world.log.total(Metric::ChangesByOthers), 1);
    let told: Vec<_> = report.decisions.iter().filter(|line| line.outcome == Outcome::Noticed).collect();
    let [line] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(line.resource, "VPCFlowLogsDestination");
    assert_eq!(line.principal.as_deref(), Some(&*format!("arn:aws:sts::{CENTRAL}:assumed-role/Admin/session")));
}

#[tokio::test]
async fn whoever_deletes_the_destination_again_and_again_causes_one_sync_a_quarter_of_an_hour() {
    let world = World::granted(&[], [1]);
    let queue = world.grant_queue();
    for number in 0..=u64::try_from(REPAIRS_AN_HOUR).unwrap() {
        lose_destinations(&world);
        queue.batch(&[deleted(number)], DEADLINE).await;
        world.clock.advance(1_000);
    }
    lose_destinations(&world);
    for number in 90..93 {
        let (report, _) = queue.batch(&[deleted(number)], DEADLINE).await;
        assert!(report.failed.is_empty(), "a message that came back would hold up the others");
    }
    assert_eq!(world.destinations.granted(&home()), ids([]));
    assert_eq!(world.log.total(Metric::ContestedRepairs), 3);
    let delayed: Vec<_> =
        world.queues.sent_to(ENROLLMENTS).into_iter().filter(|sent| sent.delay_seconds == SLOWER_SECONDS).collect();
    let [one] = delayed.as_slice() else { panic!("{} syncs", delayed.len()) };
    let message: serde_json::Value = serde_json::from_str(&one.body).unwrap();
    assert!(matches!(Message::from_value(&message), Ok(Message::Sync(_))));
    // Another Region is not slowed down, and neither is what a person asks for.
    let (report, _) = queue.batch(&[record("person", &one.body)], DEADLINE).await;
    assert!(report.failed.is_empty());
    assert_eq!(world.destinations.granted(&home()), ids([1]));
}
