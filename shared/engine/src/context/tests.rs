use std::future::{pending, ready};

use crate::ports::Clock;
use crate::testing::{T0, World};

#[tokio::test]
async fn work_that_is_done_in_time_gives_its_result() {
    let world = World::with(&[]);
    assert_eq!(world.context().within(T0 + 1, ready(7)).await, Some(7));
    assert_eq!(world.clock.now_ms(), T0, "nobody waited");
}

#[tokio::test]
async fn work_that_hangs_is_dropped_at_its_deadline() {
    let world = World::with(&[]);
    assert_eq!(world.context().within(T0 + 500, pending::<()>()).await, None);
    assert_eq!(world.clock.now_ms(), T0 + 500);
}

#[tokio::test]
async fn work_is_not_begun_at_its_deadline() {
    let world = World::with(&[]);
    let mut begun = false;
    assert_eq!(world.context().within(T0, async { begun = true }).await, None);
    assert!(!begun);
}
