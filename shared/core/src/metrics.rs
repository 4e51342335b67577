//! Metrics in CloudWatch's embedded metric format (EMF): JSON lines on standard output that CloudWatch Logs turns
//! into metrics, without an API call.
//!
//! Source: CloudWatch user guide, "Embedded metric format specification": at most 100 values a metric and document.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "VpcFlowLogsEnroller";

/// EMF accepts at most this many values of one metric in a document.
const VALUES_PER_DOCUMENT: usize = 100;

/// A metric and the failure that it makes visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// VPCs that got their flow log, new ones and ones whose flow log was deleted. Stays at zero while VPCs are
    /// created: events do not arrive.
    VpcsEnrolled,
    /// VPCs whose flow log was replaced, or whose filter or log group was repaired. High: something keeps undoing
    /// enrollments.
    VpcsRepaired,
    /// VPCs that should be covered and are not, by class of failure. The one to alarm on.
    VpcsFailed,
    /// The same without class `skipped`, which the organization forbids, so that an alarm needs no arithmetic.
    VpcsUncovered,
    /// Steps that failed, by class, including those (like retention) without which a VPC is still covered.
    StepsFailed,
    /// VPCs whose flow log exists but does not deliver, as AWS reports it.
    VpcsBroken,
    /// VPCs that their own tag or an entry of `opted_out_vpcs` opts out, each time their account-Region is looked at.
    /// Rises: somebody decided that more VPCs are not recorded.
    VpcsOptedOut,
    /// VPCs whose own tag narrows what they record, where the settings allow it. Rises: records of some traffic end.
    VpcsNarrowed,
    /// VPCs whose own tags would opt them out or narrow them, and are ignored. Not zero: somebody tried, or the VPC had
    /// the tag before tags were ignored.
    TagsIgnored,
    /// Seconds from the event until the VPC is covered. Grows: throttling, a backlog, or roles that arrive late.
    SecondsToEnrolled,
    /// Grants added. Zero while accounts join: account events do not arrive.
    GrantsAdded,
    /// Grant runs, or parts of them, that failed, by class. Not zero: an account may be waiting for its grant.
    GrantsFailed,
    /// Grants removed, each on evidence.
    GrantsRevoked,
    /// Removals that the mass-revocation guard held back: Organizations answered something implausible, or many
    /// accounts left.
    RevocationsWithheld,
    /// Bytes of a shard's policy, of 5,120. Close to it without a new shard: new accounts cannot be granted.
    PolicyBytes,
    /// Policies that differed, when read back, from what was written: another principal writes them too.
    PolicyConflicts,
    /// Legal events that need no action. All of them: a rule is too wide.
    EventsIgnored,
    /// Messages rejected as malformed or forged. Not zero: something puts events on the bus that AWS did not create.
    EventsRefused,
    /// Messages returned to the queue. Grows: roles or grants are missing, or AWS throttles.
    MessagesDeferred,
    /// Changes by others to what the installation needs: a flow log, filter, group, role, rule, stack, destination or
    /// a part of the centre. Not zero: look who made them, in the log entries with the outcome noticed.
    ChangesByOthers,
    /// Events about an account-Region or a Region's destinations that were repaired more than five times within an
    /// hour, so that repairs go on at a slower pace. Not zero: somebody undoes what the enroller does.
    ContestedRepairs,
}

impl Metric {
    /// Every metric, in the order in which the metrics are documented.
    pub const ALL: [Self; 21] = [
        Self::VpcsEnrolled,
        Self::VpcsRepaired,
        Self::VpcsFailed,
        Self::VpcsUncovered,
        Self::StepsFailed,
        Self::VpcsBroken,
        Self::VpcsOptedOut,
        Self::VpcsNarrowed,
        Self::TagsIgnored,
        Self::SecondsToEnrolled,
        Self::GrantsAdded,
        Self::GrantsFailed,
        Self::GrantsRevoked,
        Self::RevocationsWithheld,
        Self::PolicyBytes,
        Self::PolicyConflicts,
        Self::EventsIgnored,
        Self::EventsRefused,
        Self::MessagesDeferred,
        Self::ChangesByOthers,
        Self::ContestedRepairs,
    ];

    /// The metric's name in CloudWatch.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VpcsEnrolled => "VpcsEnrolled",
            Self::VpcsRepaired => "VpcsRepaired",
            Self::VpcsFailed => "VpcsFailed",
            Self::VpcsUncovered => "VpcsUncovered",
            Self::StepsFailed => "StepsFailed",
            Self::VpcsBroken => "VpcsBroken",
            Self::VpcsOptedOut => "VpcsOptedOut",
            Self::VpcsNarrowed => "VpcsNarrowed",
            Self::TagsIgnored => "TagsIgnored",
            Self::SecondsToEnrolled => "SecondsToEnrolled",
            Self::GrantsAdded => "GrantsAdded",
            Self::GrantsFailed => "GrantsFailed",
            Self::GrantsRevoked => "GrantsRevoked",
            Self::RevocationsWithheld => "RevocationsWithheld",
            Self::PolicyBytes => "PolicyBytes",
            Self::PolicyConflicts => "PolicyConflicts",
            Self::EventsIgnored => "EventsIgnored",
            Self::EventsRefused => "EventsRefused",
            Self::MessagesDeferred => "MessagesDeferred",
            Self::ChangesByOthers => "ChangesByOthers",
            Self::ContestedRepairs => "ContestedRepairs",
        }
    }

    /// Its unit in CloudWatch.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::SecondsToEnrolled => "Seconds",
            Self::PolicyBytes => "Bytes",
            Self::VpcsEnrolled
            | Self::VpcsRepaired
            | Self::VpcsFailed
            | Self::VpcsUncovered
            | Self::StepsFailed
            | Self::VpcsBroken
            | Self::VpcsOptedOut
            | Self::VpcsNarrowed
            | Self::TagsIgnored
            | Self::GrantsAdded
            | Self::GrantsFailed
            | Self::GrantsRevoked
            | Self::RevocationsWithheld
            | Self::PolicyConflicts
            | Self::EventsIgnored
            | Self::EventsRefused
            | Self::MessagesDeferred
            | Self::ChangesByOthers
            | Self::ContestedRepairs => "Count",
        }
    }

    const fn is_sample(self) -> bool {
        matches!(self, Self::SecondsToEnrolled | Self::PolicyBytes)
    }
}

/// The dimensions of a value besides the function: `[("Class", "retry-later")]`.
type Dimensions = Vec<(&'static str, String)>;

/// The metrics of one invocation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics(BTreeMap<Dimensions, BTreeMap<Metric, Vec<f64>>>);

impl Metrics {
    /// Adds a value. Counts are summed; samples (seconds, bytes) are kept one by one.
    pub fn add(&mut self, metric: Metric, value: f64) {
        self.add_with(metric, Vec::new(), value);
    }

    /// Adds a value under further dimensions. It also counts for the function as a whole.
    ///
    /// Keep the number of values a dimension can take small: each combination is billed.
    pub fn add_with(&mut self, metric: Metric, dimensions: Dimensions, value: f64) {
        let values = self.0.entry(dimensions).or_default().entry(metric).or_default();
        match values.first_mut() {
            Some(sum) if !metric.is_sample() => *sum += value,
            _ => values.push(value),
        }
    }

    /// Adds everything that another invocation or task measured.
    pub fn merge(&mut self, other: Self) {
        for (dimensions, metrics) in other.0 {
            for (metric, values) in metrics {
                for value in values {
                    self.add_with(metric, dimensions.clone(), value);
                }
            }
        }
    }

    /// The sum of a metric over all dimensions.
    pub fn total(&self, metric: Metric) -> f64 {
        self.0.values().filter_map(|metrics| metrics.get(&metric)).flatten().sum()
    }

    /// The EMF documents, one a line. `timestamp_ms` is in milliseconds since 1970-01-01 UTC.
    pub fn to_emf(&self, function: &str, timestamp_ms: u64) -> Vec<String> {
        let mut lines = Vec::new();
        for (dimensions, metrics) in &self.0 {
            let documents =
                metrics.values().map(|values| values.len().div_ceil(VALUES_PER_DOCUMENT)).max().unwrap_or(0);
            for document in 0..documents {
                let values = metrics.iter().filter_map(|(metric, values)| {
                    values.chunks(VALUES_PER_DOCUMENT).nth(document).map(|chunk| (*metric, chunk))
                });
                lines.push(emf_document(function, timestamp_ms, dimensions, values));
            }
        }
        lines
    }
}

fn emf_document<'a>(
    function: &str,
    timestamp_ms: u64,
    dimensions: &Dimensions,
    metrics: impl Iterator<Item = (Metric, &'a [f64])>,
) -> String {
    // CloudWatch does not aggregate over dimensions, and an alarm cannot search. So what is counted by class is also
    // published for the function as a whole.
    let mut sets = vec![vec!["Function"]];
    let mut members = Map::from_iter([("Function".to_owned(), Value::from(function))]);
    if !dimensions.is_empty() {
        sets.push(std::iter::once("Function").chain(dimensions.iter().map(|(name, _)| *name)).collect());
    }
    for (name, value) in dimensions {
        members.insert((*name).to_owned(), Value::from(value.as_str()));
    }
    let mut definitions = Vec::new();
    for (metric, values) in metrics {
        definitions.push(json!({ "Name": metric.name(), "Unit": metric.unit() }));
        let value = match values {
            [one] => Value::from(*one),
            several => Value::from(several),
        };
        members.insert(metric.name().to_owned(), value);
    }
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": sets, "Metrics": definitions });
    let mut document =
        Map::from_iter([("_aws".to_owned(), json!({ "Timestamp": timestamp_ms, "CloudWatchMetrics": [directive] }))]);
    document.append(&mut members);
    Value::Object(document).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_directive_dimensions_and_values() {
        let mut metrics = Metrics::default();
        metrics.add(Metric::VpcsEnrolled, 2.0);
        metrics.add(Metric::VpcsEnrolled, 1.0);
        metrics.add(Metric::SecondsToEnrolled, 4.5);
        metrics.add(Metric::SecondsToEnrolled, 6.0);
        metrics.add_with(Metric::VpcsFailed, vec![("Class", "retry-later".to_owned())], 1.0);
        insta::assert_snapshot!(metrics.to_emf("vpc-enroller", 1_700_000_000_000).join("\n"), @r#"
        {"Function":"vpc-enroller","SecondsToEnrolled":[4.5,6.0],"VpcsEnrolled":3.0,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["Function"]],"Metrics":[{"Name":"VpcsEnrolled","Unit":"Count"},{"Name":"SecondsToEnrolled","Unit":"Seconds"}],"Namespace":"VpcFlowLogsEnroller"}],"Timestamp":1700000000000}}
        {"Class":"retry-later","Function":"vpc-enroller","VpcsFailed":1.0,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["Function"],["Function","Class"]],"Metrics":[{"Name":"VpcsFailed","Unit":"Count"}],"Namespace":"VpcFlowLogsEnroller"}],"Timestamp":1700000000000}}
        "#);
    }

    #[test]
    fn more_than_a_hundred_samples_are_spread_over_documents() {
        let mut metrics = Metrics::default();
        for second in 0..250 {
            metrics.add(Metric::SecondsToEnrolled, f64::from(second));
        }
        assert_eq!(metrics.to_emf("f", 0).len(), 3);
    }

    #[test]
    fn merged_counts_add_up_and_samples_stay_apart() {
        let measured = |enrolled: f64, class: &str, seconds: f64| {
            let mut metrics = Metrics::default();
            metrics.add_with(Metric::VpcsFailed, vec![("Class", class.to_owned())], enrolled);
            metrics.add(Metric::SecondsToEnrolled, seconds);
            metrics
        };
        let mut all = measured(2.0, "terminal", 4.5);
        all.merge(measured(3.0, "terminal", 6.0));
        all.merge(measured(4.0, "retry-later", 6.0));
        let total = |metric| format!("{:.1}", all.total(metric));
        assert_eq!([Metric::VpcsFailed, Metric::SecondsToEnrolled].map(total), ["9.0", "16.5"]);
        assert_eq!(all.to_emf("f", 0).len(), 3);
    }

    #[test]
    fn nothing_measured_writes_nothing() {
        assert!(Metrics::default().to_emf("f", 0).is_empty());
    }
}
