use enroller_core::error::Code;
use futures::future::join_all;
use serde_json::json;

use super::FRESH_MS;
use crate::testing::{ORGANIZATION, World, away, home, id, ids};

#[tokio::test]
async fn policies_are_read_once_and_believed_for_five_minutes() {
    let world = World::granted(&[], [1, 2]);
    let assignments = world.assignments();
    for (after_ms, reads) in [(0, 1), (0, 1), (FRESH_MS - 1, 1), (1, 2), (FRESH_MS - 1, 2)] {
        world.clock.advance(after_ms);
        assert_eq!(assignments.destination_of(id(1), &home()).await, Ok(Some(world.shard(1))));
        assert_eq!(world.journal.count("logs:DescribeDestinations"), reads);
    }
}

#[tokio::test]
async fn a_missing_account_is_asked_for_again_after_two_seconds() {
    let world = World::granted(&[], [1]);
    let assignments = world.assignments();
    for (after_ms, reads) in [(0, 1), (1_999, 1), (1, 2), (1_999, 2)] {
        world.clock.advance(after_ms);
        assert_eq!(assignments.destination_of(id(2), &home()).await, Ok(None));
        assert_eq!(world.journal.count("logs:DescribeDestinations"), reads);
    }
    world.clock.advance(1);
    world.grant(&home(), 2, ids([2]));
    assert_eq!(assignments.destination_of(id(2), &home()).await, Ok(Some(world.shard(2))));
}

#[tokio::test]
async fn each_region_is_remembered_by_itself() {
    let world = World::granted(&[], [1]);
    world.grant(&away(), 1, ids([]));
    let assignments = world.assignments();
    assert_eq!(assignments.destination_of(id(1), &home()).await, Ok(Some(world.shard(1))));
    assert_eq!(assignments.destination_of(id(1), &away()).await, Ok(None));
    assignments.forget_assignments(&away()).await;
    assert_eq!(assignments.destination_of(id(1), &home()).await, Ok(Some(world.shard(1))));
    assert_eq!(world.journal.about("logs:DescribeDestinations"), ["eu-west-1", "us-east-1"]);
}

#[tokio::test]
async fn questions_at_the_same_time_are_one_call() {
    let world = World::granted(&[], [1, 2, 3]);
    let assignments = world.assignments();
    let home = home();
    let answers = join_all((1..=3).map(|number| assignments.destination_of(id(number), &home))).await;
    assert_eq!(answers, vec![Ok(Some(world.shard(1))); 3]);
    assert_eq!(world.journal.count("logs:DescribeDestinations"), 1);
}

#[tokio::test]
async fn a_refusal_forgets_what_is_older_than_the_work_and_no_more() {
    let world = World::granted(&[], [1]);
    let assignments = world.assignments();
    let home = home();
    let now = || world.context().clock.now_ms();
    for (since, reads) in [(None, 1), (Some(now() - 1), 1), (Some(now()), 2)] {
        if let Some(since) = since {
            assignments.forget_assignment(&home, since).await;
        }
        assignments.destination_of(id(1), &home).await.unwrap();
        assert_eq!(world.journal.count("logs:DescribeDestinations"), reads);
    }
}

#[tokio::test]
async fn a_failed_reading_is_not_remembered() {
    let world = World::granted(&[], [1]);
    let assignments = world.assignments();
    world.journal.fail("logs:DescribeDestinations", 1, "ThrottlingException");
    let failure = assignments.destination_of(id(1), &home()).await.unwrap_err();
    assert_eq!(failure.code, Code::Throttled);
    assert_eq!(assignments.destination_of(id(1), &home()).await, Ok(Some(world.shard(1))));
}

#[tokio::test]
async fn who_is_let_in_by_others_is_granted_and_not_listed() {
    let world = World::granted(&[], [1]);
    let statement = json!({"Sid": "partner", "Effect": "Allow", "Principal": {"AWS": [id(7)]},
        "Action": "logs:PutSubscriptionFilter", "Resource": "*"});
    let key = (home(), world.shard(1));
    let mut all = world.destinations.all.lock().unwrap().clone();
    let destination = all.get_mut(&key).unwrap();
    let mut policy: serde_json::Value = serde_json::from_str(destination.policy.as_deref().unwrap()).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(statement);
    destination.policy = Some(policy.to_string());
    *world.destinations.all.lock().unwrap() = all;
    let assignments = world.assignments();
    assert!(!assignments.is_listed(id(1), &home()).await, "nothing is remembered yet");
    assert_eq!(assignments.destination_of(id(7), &home()).await, Ok(Some(world.shard(1))));
    assert!(assignments.is_listed(id(1), &home()).await);
    assert!(!assignments.is_listed(id(7), &home()).await);
}

#[tokio::test]
async fn a_destination_with_a_name_that_is_no_shards_is_passed_over() {
    let world = World::with(&[]);
    world.grant(&home(), 1, ids([]));
    let key = (home(), world.shard(1));
    let mut stray = world.destinations.all.lock().unwrap()[&key].clone();
    let settings = &world.settings;
    stray.name = format!("{}-old", settings.destination_name.base()).parse().unwrap();
    let arn = enroller_core::arn::Arn::destination(&home(), settings.central_account, &stray.name);
    world.destinations.put(&home(), stray, &arn, ids([1]));
    assert_eq!(world.assignments().destination_of(id(1), &home()).await, Ok(None));
}

#[tokio::test]
async fn in_organization_mode_the_first_shard_is_everybodys() {
    let world = World::with(&[("grant_mode", "organization")]);
    world.grant(&home(), 1, ids([]));
    let key = (home(), world.shard(1));
    let arn = enroller_core::arn::Arn::destination(&home(), world.settings.central_account, &world.shard(1));
    let policy = enroller_core::policy::DestinationPolicy::empty();
    let policy = policy.with_organization(Some(ORGANIZATION.parse().unwrap())).render(&arn);
    world.destinations.all.lock().unwrap().get_mut(&key).unwrap().policy = Some(policy);
    assert_eq!(world.assignments().destination_of(id(1), &home()).await, Ok(Some(world.shard(1))));
}

#[tokio::test]
async fn who_waits_for_a_read_shares_its_failure() {
    let world = World::granted(&[], 1..=10);
    let assignments = world.assignments();
    world.journal.slow("logs:DescribeDestinations");
    world.journal.fail("logs:DescribeDestinations", 1, "ServiceUnavailable");
    let region = home();
    let answers =
        futures::future::join_all((1..=10).map(|number| assignments.destination_of(id(number), &region))).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(world.journal.count("logs:DescribeDestinations"), 1);
    assert!(assignments.destination_of(id(1), &region).await.unwrap().is_some(), "the next one reads again");
}
