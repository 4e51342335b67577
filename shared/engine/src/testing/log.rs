//! A decision log that keeps what it is told.

use std::sync::Mutex;

use enroller_core::log::LogEntry;
use enroller_core::metrics::{Metric, Metrics};

use crate::ports::DecisionLog;

#[derive(Default)]
pub(crate) struct FakeLog {
    entries: Mutex<Vec<LogEntry>>,
    metrics: Mutex<Metrics>,
}

impl FakeLog {
    pub(crate) fn entries(&self) -> Vec<LogEntry> {
        self.entries.lock().unwrap().clone()
    }

    /// Whether anything was measured, be it zero.
    pub(crate) fn measured(&self) -> bool {
        !self.metrics.lock().unwrap().to_emf("function", 0).is_empty()
    }

    /// The sum of a metric, as a whole number.
    pub(crate) fn total(&self, metric: Metric) -> u64 {
        self.metrics.lock().unwrap().total(metric) as u64
    }
}

impl DecisionLog for FakeLog {
    fn entry(&self, entry: &LogEntry) {
        self.entries.lock().unwrap().push(entry.clone());
    }

    fn metrics(&self, metrics: &Metrics) {
        self.metrics.lock().unwrap().merge(metrics.clone());
    }
}
