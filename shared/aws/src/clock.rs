//! The time and waiting, always from the same source, so that simulated time works.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource, TimeSource};
use enroller_engine::ports::Clock;

/// A time source and its sleep: sleeping for a duration advances the time by that duration. With a time that stands
/// still, a rate limit would wait for ever.
#[derive(Debug, Clone)]
pub struct Time {
    source: SharedTimeSource,
    sleep: SharedAsyncSleep,
}

impl Time {
    /// Uses any time source and its sleep, such as simulated ones.
    pub fn new(source: impl TimeSource + 'static, sleep: impl AsyncSleep + 'static) -> Self {
        Self { source: SharedTimeSource::new(source), sleep: SharedAsyncSleep::new(sleep) }
    }

    /// Uses the system's time and tokio's sleep.
    pub fn system() -> Self {
        Self::new(SystemTimeSource::new(), TokioSleep::new())
    }

    /// Uses the system's time at the start, advanced by a clock that is never adjusted. Otherwise, a system clock set
    /// back by an hour would block every rate limit for that hour.
    pub(crate) fn monotonic() -> Self {
        Self::new(Monotonic { origin: SystemTime::now(), started: Instant::now() }, TokioSleep::new())
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.source.now()
    }

    pub(crate) fn since_epoch(&self) -> Duration {
        // A time before 1970 means that the clock was never set, and zero will do.
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// Waits for at least this long. The duration is rounded up to whole milliseconds, the resolution of tokio's timer
    /// and of simulated time: a shorter sleep would not wait at all, so a caller would loop.
    pub(crate) async fn wait(&self, duration: Duration) {
        let milliseconds = duration.as_nanos().div_ceil(1_000_000);
        self.sleep.sleep(Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))).await;
    }
}

#[async_trait]
impl Clock for Time {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.since_epoch().as_millis()).unwrap_or(u64::MAX)
    }

    async fn sleep_until(&self, at_ms: u64) {
        while let Some(rest) = at_ms.checked_sub(self.now_ms()).filter(|rest| *rest > 0) {
            self.wait(Duration::from_millis(rest)).await;
        }
    }
}

#[derive(Debug)]
struct Monotonic {
    origin: SystemTime,
    started: Instant,
}

impl TimeSource for Monotonic {
    fn now(&self) -> SystemTime {
        self.origin + self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeTime;

    #[tokio::test]
    async fn sleeping_ends_when_the_clock_shows_the_time_and_not_before() {
        let fake = FakeTime::at_seconds(1_000);
        fake.time().sleep_until(1_000_250).await;
        assert_eq!(fake.time().now_ms(), 1_000_250);
        fake.time().sleep_until(5).await;
        assert_eq!(fake.time().now_ms(), 1_000_250, "a time in the past is reached already");
    }
}
