//! Call statistics: counters for a report, and a log of the calls in order.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::call::{Call, Service};

/// Number of calls that the log keeps. Older ones are dropped, but the counters still include them.
const LOG_LIMIT: usize = 1_000_000;

/// One call, answered or not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`service` is described by its type")]
pub struct CallRecord {
    /// Position in the order of all calls, from 1.
    pub sequence: u64,
    pub service: Service,
    /// Operation, such as `CreateFlowLogs`; empty where the request could not be read.
    pub operation: String,
    /// Account of the caller; empty when the credentials were refused.
    pub account: String,
    /// Region that the call was signed for.
    pub region: String,
    /// Whether the operation changes configuration. Messages of SQS are data and do not count.
    pub mutating: bool,
    /// `None` when it succeeded, otherwise the error code, or `Lost`, `TimedOut` or `Hangs` where a fault withheld the
    /// answer.
    pub outcome: Option<String>,
    /// Time of the call in epoch milliseconds of the simulation.
    pub time_ms: u64,
}

/// Counters of all calls, and a log of the newest ones.
#[derive(Debug, Default)]
pub struct Stats {
    sequence: u64,
    total: u64,
    mutating: u64,
    calls: BTreeMap<(Service, String), BTreeMap<(String, String), u64>>,
    errors: BTreeMap<(Service, String), u64>,
    log: VecDeque<CallRecord>,
}

impl Stats {
    /// The sequence number of a new call.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Counts and logs a call. `outcome` is its error code or fault, if any.
    pub(crate) fn record(&mut self, call: &Call, outcome: Option<&str>, time_ms: u64) {
        let mutating = is_mutating(call.service, &call.operation);
        self.total += 1;
        self.mutating += u64::from(mutating);
        let by_account_region = self.calls.entry((call.service, call.operation.clone())).or_default();
        *by_account_region.entry((call.caller.account.clone(), call.region.clone())).or_default() += 1;
        if let Some(code) = outcome {
            *self.errors.entry((call.service, code.to_owned())).or_default() += 1;
        }
        if self.log.len() == LOG_LIMIT {
            self.log.pop_front();
        }
        self.log.push_back(CallRecord {
            sequence: call.sequence,
            service: call.service,
            operation: call.operation.clone(),
            account: call.caller.account.clone(),
            region: call.region.clone(),
            mutating,
            outcome: outcome.map(str::to_owned),
            time_ms,
        });
    }

    /// The calls in order, the newest million of them.
    pub fn log(&self) -> impl Iterator<Item = &CallRecord> {
        self.log.iter()
    }

    /// Number of calls so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Number of calls of an operation in all accounts and Regions.
    pub fn count(&self, service: Service, operation: &str) -> u64 {
        self.calls.get(&(service, operation.to_owned())).map_or(0, |by_account_region| by_account_region.values().sum())
    }

    /// Forgets counters and log; sequence numbers go on.
    pub fn reset(&mut self) {
        *self = Self { sequence: self.sequence, ..Self::default() };
    }

    /// The report of `GET /_sim/stats`: totals, calls by operation, account and Region, and errors by code.
    pub fn report(&self) -> Value {
        let mut by_operation = serde_json::Map::new();
        let (mut by_account, mut by_region) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
        let mut calls = Vec::new();
        for ((service, operation), by_account_region) in &self.calls {
            let mutating = is_mutating(*service, operation);
            let count: u64 = by_account_region.values().sum();
            by_operation.insert(format!("{service}:{operation}"), json!({"calls": count, "mutating": mutating}));
            for ((account, region), count) in by_account_region {
                *by_account.entry(account).or_default() += count;
                *by_region.entry(region).or_default() += count;
                calls.push(json!({
                    "service": service.signing_name(), "operation": operation, "account": account,
                    "region": region, "calls": count, "mutating": mutating,
                }));
            }
        }
        let errors: BTreeMap<String, u64> =
            self.errors.iter().map(|((service, code), count)| (format!("{service}:{code}"), *count)).collect();
        json!({
            "total": self.total, "mutating": self.mutating, "reading": self.total - self.mutating,
            "by_operation": by_operation, "by_account": by_account, "by_region": by_region,
            "calls": calls, "errors": errors,
        })
    }
}

/// Whether an operation changes configuration.
pub(crate) fn is_mutating(service: Service, operation: &str) -> bool {
    let reads = ["Describe", "List", "Get", "AssumeRole", "FilterLogEvents"];
    service != Service::Sqs && !reads.iter().any(|read| operation.starts_with(read))
}
