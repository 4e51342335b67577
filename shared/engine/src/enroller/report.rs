//! The results of reconciling.

use std::collections::BTreeMap;

use enroller_core::error::Disposition;
use enroller_core::ids::{AccountRegion, Region, VpcId};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::{Metric, Metrics};
use enroller_core::scope::OutOfScope;

use super::AccountWork;
use crate::reconcile_error::ReconcileError;

/// The result for one VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VpcResult {
    /// It was covered before.
    Covered,
    /// A flow log was created for it.
    Enrolled,
    /// Its flow log was replaced, or the log group or filter that it needs was repaired.
    Repaired,
    /// An unmanaged flow log delivers at least the wanted traffic and fields to the log group.
    CoveredByOthers,
    /// AWS reports that its flow log fails to deliver, with this message.
    Broken(String),
    /// It is excluded on purpose.
    OutOfScope(OutOfScope),
    /// It should be covered, but is not.
    Failed(ReconcileError),
}

/// The result for one account-Region.
#[derive(Debug, Clone)]
pub struct AccountRegionReport {
    /// The account and Region.
    pub at: AccountRegion,
    /// The result for each VPC that EC2 lists; empty if the account-Region could not be observed.
    pub vpcs: BTreeMap<VpcId, VpcResult>,
    /// How many changes were made.
    pub changes: usize,
    /// The errors of the account-Region and of its VPCs.
    pub errors: Vec<ReconcileError>,
    /// One log entry for each change, failure and note.
    pub decisions: Vec<LogEntry>,
    /// Whether the account-Region was observed. If so, an empty `vpcs` means that it has no VPCs.
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

    /// The report of a second try, with the changes of the first one added.
    #[must_use]
    pub(super) fn after(mut self, first: Self) -> Self {
        self.changes += first.changes;
        let done = first.decisions.into_iter().filter(|line| line.outcome == Outcome::Done);
        self.decisions.splice(0..0, done);
        self
    }

    /// Whether a later run may fix an error.
    pub fn needs_retry(&self) -> bool {
        self.errors.iter().any(|error| error.disposition().is_retryable())
    }
}

/// The result for one account.
#[derive(Debug, Clone, Default)]
pub struct AccountReport {
    /// The result for each of its Regions.
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

    /// The expected VPCs that EC2 did not list, in account-Regions that were observed.
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

    /// Adds an error to the report of an account-Region.
    pub(crate) fn add(&mut self, at: &AccountRegion, error: ReconcileError) {
        let index = self.account_regions.iter().position(|report| report.at == *at);
        if let Some(report) = index.map(|index| self.account_regions.remove(index)) {
            self.account_regions.push(report.with_error(error));
        }
    }

    /// Whether the granter has to be asked to grant the account.
    pub fn needs_grant(&self) -> bool {
        let ungranted =
            |error: &ReconcileError| matches!(error, ReconcileError::NotGranted | ReconcileError::NoDestination(_));
        self.account_regions.iter().any(|report| report.errors.iter().any(ungranted))
    }

    /// Whether a later run may fix an error.
    pub fn needs_retry(&self) -> bool {
        self.account_regions.iter().any(AccountRegionReport::needs_retry)
    }

    /// Changes made in all Regions.
    pub fn changes(&self) -> usize {
        self.account_regions.iter().map(|report| report.changes).sum()
    }

    /// Counts the results. `since_ms` is the time of the event that caused the run, `now_ms` is the current time, both
    /// in epoch milliseconds.
    pub fn measure(&self, since_ms: Option<u64>, now_ms: u64, metrics: &mut Metrics) {
        for report in &self.account_regions {
            for result in report.vpcs.values() {
                measure_vpc(result, since_ms, now_ms, metrics);
            }
            // The VPCs of an account-Region that was not observed cannot be counted, so it counts as one.
            if !report.looked_at {
                for error in &report.errors {
                    measure_failure(error, metrics);
                }
            }
            for error in report.errors.iter().filter(|error| is_failure(error)) {
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

/// Whether an error is one, and not only a reason to come back.
fn is_failure(error: &ReconcileError) -> bool {
    match error {
        ReconcileError::Finding(finding) => finding.is_failure(),
        _ => true,
    }
}

fn measure_failure(error: &ReconcileError, metrics: &mut Metrics) {
    // A VPC that a service control policy keeps from being enrolled is uncovered by the organization's own decision. It
    // has a class of its own, so that no alarm has to fire on it.
    let disposition = error.disposition();
    metrics.add_with(Metric::VpcsFailed, vec![("Class", disposition.label().to_owned())], 1.0);
    if !matches!(disposition, Disposition::Skip(_)) {
        metrics.add(Metric::VpcsUncovered, 1.0);
    }
}
