//! The engine: settings and ports, and what is remembered between invocations of a warm function.

use std::sync::Arc;

use enroller_core::event::EventContext;
use enroller_core::settings::Settings;
use futures::future::{Either, select};

use crate::assignments::AssignmentCache;
use crate::onboard::Memory;
use crate::ports::{Aws, Clock, DecisionLog};
use crate::reconcile::EligibilityCache;

/// Everything a function or the command line tool works with. Build it once per process.
pub struct Engine {
    /// What should be.
    pub settings: Settings,
    /// AWS.
    pub aws: Aws,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where decisions and metrics go.
    pub log: Arc<dyn DecisionLog>,
    pub(crate) assignments: AssignmentCache,
    pub(crate) memory: Memory,
    pub(crate) eligibility: EligibilityCache,
}

impl Engine {
    /// An engine that remembers nothing yet.
    pub fn new(settings: Settings, aws: Aws, clock: Arc<dyn Clock>, log: Arc<dyn DecisionLog>) -> Self {
        Self {
            settings,
            aws,
            clock,
            log,
            assignments: AssignmentCache::default(),
            memory: Memory::default(),
            eligibility: EligibilityCache::default(),
        }
    }

    /// What comes of work, or `None` if it is not done by `deadline_ms`, epoch milliseconds: it is given up then, or
    /// not begun.
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

    /// What makes an event ours.
    pub fn event_context(&self) -> EventContext {
        EventContext::from_settings(&self.settings)
    }
}
