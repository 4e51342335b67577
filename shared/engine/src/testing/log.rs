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

    /// The sum of a metric in one class of failures.
    pub(crate) fn total_of(&self, metric: Metric, class: &str) -> u64 {
        let documents = self.metrics.lock().unwrap().to_emf("function", 0);
        let documents = documents.iter().map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
        let values = documents.filter(|it| it["Class"] == class).map(|it| it[format!("{metric:?}")].clone());
        let sum = |value: serde_json::Value| match value {
            serde_json::Value::Array(values) => values.iter().filter_map(serde_json::Value::as_f64).sum(),
            other => other.as_f64().unwrap_or(0.0),
        };
        values.map(sum).sum::<f64>() as u64
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
