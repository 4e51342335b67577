//! What every worker shares. It depends on no worker.

use std::sync::Arc;

use enroller_core::event::EventContext;
use enroller_core::settings::Settings;
use futures::future::{Either, select};

use crate::ports::{Clock, DecisionLog};

/// Settings, the time and the decision log. Cloning it is cheap.
#[derive(Clone)]
pub struct Context {
    /// The desired state.
    pub settings: Arc<Settings>,
    /// The source of the time.
    pub clock: Arc<dyn Clock>,
    /// The destination of log entries and metrics.
    pub log: Arc<dyn DecisionLog>,
}

impl Context {
    /// Creates a context.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>, log: Arc<dyn DecisionLog>) -> Self {
        Self { settings: Arc::new(settings), clock, log }
    }

    /// Runs `work` and returns its result, or `None` if it is not done by `deadline_ms`, in epoch milliseconds. The
    /// future is dropped at the deadline, and is not polled at all if the deadline has passed.
    pub(crate) async fn within<T>(&self, deadline_ms: u64, work: impl Future<Output = T>) -> Option<T> {
        if self.clock.now_ms() >= deadline_ms {
            return None;
        }
        let (work, time_up) = (std::pin::pin!(work), self.clock.sleep_until(deadline_ms));
        match select(work, time_up).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(((), _)) => None,
        }
    }

    /// The settings that decide which events are relevant.
    pub fn event_context(&self) -> EventContext {
        EventContext::from_settings(&self.settings)
    }
}

#[cfg(test)]
mod tests;
