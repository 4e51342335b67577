//! A clock that a test sets. Nobody sleeps: whoever waits for a time moves the clock there.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use crate::ports::Clock;

pub(crate) struct FakeClock(AtomicU64);

impl FakeClock {
    pub(crate) fn at(now_ms: u64) -> Self {
        Self(AtomicU64::new(now_ms))
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    async fn sleep_until(&self, at_ms: u64) {
        self.0.fetch_max(at_ms, Ordering::SeqCst);
    }
}
