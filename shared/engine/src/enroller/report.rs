//! What came of reconciling.

use std::collections::BTreeMap;

use enroller_core::ids::{AccountRegion, Region, VpcId};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::{Metric, Metrics};
use enroller_core::scope::OutOfScope;

use super::AccountWork;
use crate::reconcile_error::ReconcileError;

/// What became of a VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VpcResult {
    /// It was covered already.
    Covered,
    /// It got its flow log.
    Enrolled,
    /// Its enrollment was put right.
    Repaired,
    /// Somebody else's flow log delivers to the same log group; AWS allows no second.
    CoveredByOthers,
    /// Its flow log does not deliver, says AWS.
    Broken(String),
    /// It is left alone on purpose.
    OutOfScope(OutOfScope),
    /// It should be covered and is not.
    Failed(ReconcileError),
}

/// What came of one place.
#[derive(Debug, Clone)]
pub struct AccountRegionReport {
    /// The account and Region.
    pub at: AccountRegion,
    /// Each visible VPC; empty if the look itself failed.
    pub vpcs: BTreeMap<VpcId, VpcResult>,
    /// How many changes were made.
    pub changes: usize,
    /// What stood in the way of the place or some of its VPCs.
    pub errors: Vec<ReconcileError>,
    /// One line for each change, failure and note.
    pub decisions: Vec<LogEntry>,
    /// Whether the place was seen: an empty `vpcs` then means that there are none.
    pub looked_at: bool,
}

impl AccountRegionReport {
    pub(super) fn failed(at: AccountRegion, error: ReconcileError) -> Self {
        let report =
            Self { at, vpcs: BTreeMap::new(), changes: 0, errors: Vec::new(), decisions: Vec::new(), looked_at: false };
        report.with_error(error)
    }

    pub(super) fn left_alone(at: AccountRegion, reason: OutOfScope) -> Self {
        let decision = LogEntry::at(&at, "reconcile", at.to_string(), Outcome::Ignored, reason.to_string());
        Self { at, vpcs: BTreeMap::new(), changes: 0, errors: Vec::new(), decisions: vec![decision], looked_at: false }
    }

    pub(super) fn with_error(mut self, error: ReconcileError) -> Self {
        self.decisions.push(error.entry(&self.at, "reconcile", self.at.to_string()));
        self.errors.push(error);
        self
    }

    /// The report of a second try, with what the first one did.
    #[must_use]
    pub(super) fn after(mut self, first: Self) -> Self {
        self.changes += first.changes;
        let done = first.decisions.into_iter().filter(|line| line.outcome == Outcome::Done);
        self.decisions.splice(0..0, done);
        self
    }

    /// Whether a later run is needed and worth it.
    pub fn needs_retry(&self) -> bool {
        self.errors.iter().any(|error| error.disposition().is_retryable())
    }
}

/// What came of an account.
#[derive(Debug, Clone, Default)]
pub struct AccountReport {
    /// Each place.
    pub account_regions: Vec<AccountRegionReport>,
}

impl AccountReport {
    pub(super) fn left_alone(work: &AccountWork, reason: &OutOfScope) -> Self {
        let account_regions =
            work.regions.iter().map(|region| AccountRegion { account: work.account, region: region.clone() });
        Self {
            account_regions: account_regions.map(|at| AccountRegionReport::left_alone(at, reason.clone())).collect(),
        }
    }

    /// An account whose work was cut off or never begun.
    pub fn out_of_time(work: &AccountWork) -> Self {
        let account_regions =
            work.regions.iter().map(|region| AccountRegion { account: work.account, region: region.clone() });
        Self {
            account_regions: account_regions
                .map(|at| AccountRegionReport::failed(at, ReconcileError::OutOfTime))
                .collect(),
        }
    }

    /// VPCs that were said to be there and were not seen, in places that could be looked at.
    pub(crate) fn unseen(&self, expected: &[(usize, Region, VpcId)]) -> Vec<(usize, AccountRegion, VpcId)> {
        let mut unseen = Vec::new();
        for (index, region, vpc) in expected {
            let observed = |report: &&AccountRegionReport| report.at.region == *region && report.looked_at;
            if let Some(report) = self.account_regions.iter().find(observed)
                && !report.vpcs.contains_key(vpc)
            {
                unseen.push((*index, report.at.clone(), vpc.clone()));
            }
        }
        unseen
    }

    /// Adds what stands in the way of a place.
    pub(crate) fn add(&mut self, at: &AccountRegion, error: ReconcileError) {
        let index = self.account_regions.iter().position(|report| report.at == *at);
        if let Some(report) = index.map(|index| self.account_regions.remove(index)) {
            self.account_regions.push(report.with_error(error));
        }
    }

    /// Whether the account has to be asked for with the onboarder.
    pub fn needs_grant(&self) -> bool {
        let ungranted =
            |error: &ReconcileError| matches!(error, ReconcileError::NotGranted | ReconcileError::NoDestination(_));
        self.account_regions.iter().any(|report| report.errors.iter().any(ungranted))
    }

    /// Whether a later run is needed and worth it.
    pub fn needs_retry(&self) -> bool {
        self.account_regions.iter().any(AccountRegionReport::needs_retry)
    }

    /// Changes made in all places.
    pub fn changes(&self) -> usize {
        self.account_regions.iter().map(|report| report.changes).sum()
    }

    /// Counts the outcomes. `since_ms` is when the event happened that led here, `now_ms` the present, both in epoch
    /// milliseconds.
    pub fn measure(&self, since_ms: Option<u64>, now_ms: u64, metrics: &mut Metrics) {
        for report in &self.account_regions {
            for result in report.vpcs.values() {
                measure_vpc(result, since_ms, now_ms, metrics);
            }
            // Nothing could be seen there, so the VPCs cannot be counted: the place counts as one.
            if !report.looked_at {
                for error in &report.errors {
                    measure_failure(error, metrics);
                }
            }
            for error in &report.errors {
                let class = error.disposition().label().to_owned();
                metrics.add_with(Metric::StepsFailed, vec![("Class", class)], 1.0);
            }
        }
    }
}

fn measure_vpc(result: &VpcResult, since_ms: Option<u64>, now_ms: u64, metrics: &mut Metrics) {
    match result {
        VpcResult::Enrolled => {
            metrics.add(Metric::VpcsEnrolled, 1.0);
            if let Some(elapsed) = since_ms.and_then(|since| now_ms.checked_sub(since)) {
                #[expect(clippy::cast_precision_loss, reason = "a span of milliseconds is far below 2^52")]
                metrics.add(Metric::SecondsToEnrolled, elapsed as f64 / 1000.0);
            }
        }
        VpcResult::Repaired => metrics.add(Metric::VpcsRepaired, 1.0),
        VpcResult::Broken(_) => metrics.add(Metric::VpcsBroken, 1.0),
        VpcResult::Failed(error) => measure_failure(error, metrics),
        VpcResult::Covered | VpcResult::CoveredByOthers | VpcResult::OutOfScope(_) => {}
    }
}

fn measure_failure(error: &ReconcileError, metrics: &mut Metrics) {
    // What a service control policy forbids is a decision of the organization, and uncovered all the same: it has a
    // class of its own, on which nobody need alarm.
    let class = error.disposition().label().to_owned();
    metrics.add_with(Metric::VpcsFailed, vec![("Class", class)], 1.0);
}
