//! A decision log that tests can read.

use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};

use enroller_core::log::LogEntry;
use enroller_core::metrics::{Metric, Metrics};
use enroller_engine::ports::DecisionLog;
use serde_json::Value;

/// Keeps every log entry and all metrics of an installation.
#[derive(Debug, Default)]
pub struct RecordingLog {
    decisions: Mutex<Vec<LogEntry>>,
    metrics: Mutex<Metrics>,
}

impl RecordingLog {
    /// Removes and returns the entries since the last call.
    pub fn take(&self) -> Vec<LogEntry> {
        std::mem::take(&mut *self.decisions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The sum of a metric so far.
    pub fn total(&self, metric: Metric) -> f64 {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).total(metric)
    }

    /// The sum of a metric so far over the values with the dimension `Class` of this value: what an alarm on that class
    /// sees.
    pub fn total_of_class(&self, metric: Metric, class: &str) -> f64 {
        let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let documents = metrics.to_emf("function", 0).into_iter().filter_map(|line| Value::from_str(&line).ok());
        documents.filter(|it| it["Class"] == class).filter_map(|it| it[metric.name()].as_f64()).sum()
    }
}

impl DecisionLog for RecordingLog {
    fn entry(&self, entry: &LogEntry) {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner).push(entry.clone());
    }

    fn metrics(&self, metrics: &Metrics) {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).merge(metrics.clone());
    }
}
