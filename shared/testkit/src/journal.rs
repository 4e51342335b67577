//! A journal that can be read.

use std::sync::{Mutex, PoisonError};

use enroller_core::report::{Decision, Metric, Metrics};
use enroller_engine::ports::Journal;

/// Keeps every decision and all metrics of an installation.
#[derive(Debug, Default)]
pub struct Notebook {
    decisions: Mutex<Vec<Decision>>,
    metrics: Mutex<Metrics>,
}

impl Notebook {
    /// Takes out the decisions since the last time.
    pub fn take(&self) -> Vec<Decision> {
        std::mem::take(&mut *self.decisions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The sum of a metric so far.
    pub fn total(&self, metric: Metric) -> f64 {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).total(metric)
    }
}

impl Journal for Notebook {
    fn decision(&self, decision: &Decision) {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner).push(decision.clone());
    }

    fn metrics(&self, metrics: &Metrics) {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).merge(metrics.clone());
    }
}
