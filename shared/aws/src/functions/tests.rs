use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use serde_json::json;

use super::*;
use crate::connection::Connection;
use crate::limits::RateLimits;
use crate::testing::{FakeAws, settings};

/// With the timeout of a connection, which is meant for calls that take seconds.
fn deployed_on(fake: &FakeAws, timeouts: TimeoutConfig) -> Deployed {
    let retries = RetryConfig::standard().with_max_attempts(4);
    let config = fake.config().into_builder().timeout_config(timeouts).retry_config(retries).build();
    Connection::from_config(settings(), config, RateLimits::Unlimited).deployed()
}

#[tokio::test]
async fn a_response_is_awaited_for_as_long_as_a_function_can_run() {
    let fake = FakeAws::answering(|_| (200, "{}".to_owned()));
    let impatient = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(30)).build();
    let answer = deployed_on(&fake, impatient).invoke("backfill", &json!({})).await;
    // The time advances at once by as much as any caller waits.
    assert!(fake.time.elapsed() >= Duration::from_secs(900), "{:?}: {answer:?}", fake.time.elapsed());
}

#[tokio::test]
async fn an_invocation_that_failed_is_not_repeated() {
    let fake = FakeAws::answering(|_| (500, r#"{"message": "Service exception"}"#.to_owned()));
    let deployed = deployed_on(&fake, TimeoutConfig::disabled());
    deployed.invoke("backfill", &json!({})).await.unwrap_err();
    assert_eq!(fake.asked("").len(), 1);
}
