//! Log entries and metrics as lines of JSON, for CloudWatch Logs.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::Metrics;
use enroller_engine::ports::{Clock, DecisionLog};
use serde_json::{Map, Value};

/// Writes each log entry as one line of JSON with `level`, `message` (always `decision`), `function` and the keys of
/// [`LogEntry`]. Writes metrics in CloudWatch's embedded metric format, which needs its own lines.
pub struct JsonLog {
    function: String,
    clock: Arc<dyn Clock>,
    out: Mutex<Box<dyn Write + Send>>,
}

impl JsonLog {
    /// Writes to standard output, which Lambda sends to CloudWatch Logs. `function` is the dimension of all metrics.
    pub fn stdout(function: &str, clock: Arc<dyn Clock>) -> Self {
        Self::new(function, clock, std::io::stdout())
    }

    /// Writes to any writer.
    pub fn new(function: &str, clock: Arc<dyn Clock>, out: impl Write + Send + 'static) -> Self {
        Self { function: function.to_owned(), clock, out: Mutex::new(Box::new(out)) }
    }

    fn write(&self, mut line: String) {
        line.push('\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // In one piece and unbuffered: Lambda freezes the process after the response, and buffered lines may be lost.
        if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
            tracing::error!(%error, line = line.trim_end(), "could not write a line of the decision log");
        }
    }
}

const fn level(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done | Outcome::Unchanged | Outcome::Ignored | Outcome::Skipped => "INFO",
        Outcome::RetryLater | Outcome::Refused | Outcome::Noticed => "WARN",
        Outcome::Failed => "ERROR",
    }
}

impl DecisionLog for JsonLog {
    fn entry(&self, entry: &LogEntry) {
        let mut line: Map<String, Value> = match serde_json::to_value(entry) {
            Ok(Value::Object(members)) => members,
            Ok(other) => Map::from_iter([("decision".to_owned(), other)]),
            Err(error) => {
                tracing::error!(%error, ?entry, "could not write an entry of the decision log as JSON");
                return;
            }
        };
        line.insert("level".to_owned(), level(entry.outcome).into());
        line.insert("message".to_owned(), "decision".into());
        line.insert("function".to_owned(), self.function.as_str().into());
        self.write(Value::Object(line).to_string());
    }

    fn metrics(&self, metrics: &Metrics) {
        for line in metrics.to_emf(&self.function, self.clock.now_ms()) {
            self.write(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use enroller_core::metrics::Metric;

    use super::*;
    use crate::testing::FakeTime;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(use_it: impl FnOnce(&JsonLog)) -> Vec<Value> {
        let shared = Shared::default();
        let clock = Arc::new(FakeTime::at_seconds(1_700_000_000).time());
        use_it(&JsonLog::new("vpc-enroller", clock, shared.clone()));
        let bytes = shared.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_decision_is_one_flat_line_with_level_and_function() {
        let account = "111122223333".parse().ok();
        let decision =
            LogEntry::about(account, "grant", "VPCFlowLogsDestination", Outcome::Failed, "line one\nline two");
        let lines = written(|log| log.entry(&decision));
        assert_eq!(lines.len(), 1, "a line break in a text must not break the line");
        for (key, value) in [
            ("level", "ERROR"),
            ("message", "decision"),
            ("function", "vpc-enroller"),
            ("account", "111122223333"),
            ("resource", "VPCFlowLogsDestination"),
            ("action", "grant"),
            ("outcome", "failed"),
            ("cause", "line one\nline two"),
        ] {
            assert_eq!(lines[0][key], value, "{key}");
        }
    }

    #[test]
    fn metrics_have_the_function_and_the_time_of_the_clock() {
        let mut metrics = Metrics::default();
        metrics.add(Metric::VpcsEnrolled, 3.0);
        let lines = written(|log| log.metrics(&metrics));
        assert_eq!(lines[0]["Function"], "vpc-enroller");
        assert_eq!(lines[0]["VpcsEnrolled"], 3.0);
        assert_eq!(lines[0]["_aws"]["Timestamp"], 1_700_000_000_000_u64);
    }
}
