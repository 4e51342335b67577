//! What every worker shares. It depends on no worker.

use std::sync::Arc;

use enroller_core::error::AwsError;
use enroller_core::event::EventContext;
use enroller_core::settings::Settings;
use futures::future::{Either, select};

use crate::ports::{AwsResult, Clock, DecisionLog};

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

    /// The outcome of sending messages, or an error if the queue has not answered by `by_ms`, in epoch milliseconds.
    pub(crate) async fn sent_by<T>(&self, by_ms: u64, sending: impl Future<Output = AwsResult<T>>) -> AwsResult<T> {
        let answer = self.within(by_ms, sending).await;
        answer.unwrap_or_else(|| Err(AwsError::unanswered("sqs:SendMessage", "time ran out before the queue answered")))
    }

    /// The settings that decide which events are relevant.
    pub fn event_context(&self) -> EventContext {
        EventContext::from_settings(&self.settings)
    }
}

#[cfg(test)]
mod tests;
