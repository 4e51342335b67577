//! The results of reconciling.

use std::collections::BTreeMap;

use enroller_core::error::Disposition;
use enroller_core::ids::{AccountRegion, Region, VpcId};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::{Metric, Metrics};
use enroller_core::scope::{OutOfScope, TagEffect};

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
    /// The VPCs in scope whose own tags narrow what they record, or would if they were not ignored.
    pub tags: BTreeMap<VpcId, TagEffect>,
}

impl AccountRegionReport {
    pub(super) fn failed(at: AccountRegion, error: ReconcileError) -> Self {
        Self::unseen_at(at).with_error(error)
    }

    pub(super) fn left_alone(at: AccountRegion, reason: OutOfScope) -> Self {
        let decision = LogEntry::at(&at, "reconcile", at.to_string(), Outcome::Ignored, reason.to_string());
        Self { decisions: vec![decision], ..Self::unseen_at(at) }
    }

    fn unseen_at(at: AccountRegion) -> Self {
        let (vpcs, errors, decisions, tags) = Default::default();
        Self { at, vpcs, changes: 0, errors, decisions, looked_at: false, tags }
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

    /// What a change of tags means for the VPCs that it names, as log entries. `cause` says who made it.
    pub(super) fn of_tags(&self, region: &Region, resources: &str, cause: &str) -> Vec<LogEntry> {
        let Some(report) = self.account_regions.iter().find(|report| report.at.region == *region) else {
            return Vec::new();
        };
        let effect = |vpc: &VpcId| match (report.tags.get(vpc), report.vpcs.get(vpc)) {
            (Some(effect), _) => Some(effect.to_string()),
            (None, Some(VpcResult::OutOfScope(reason))) => Some(reason.to_string()),
            (None, _) => None,
        };
        let named = resources.split(',').filter_map(|id| id.parse::<VpcId>().ok());
        named
            .filter_map(|vpc| {
                let cause = format!("{}; {cause}", effect(&vpc)?);
                Some(LogEntry::at(&report.at, "vpc-tags", vpc.to_string(), Outcome::Unchanged, cause))
            })
            .collect()
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
            for effect in report.tags.values() {
                let metric = match effect {
                    TagEffect::Narrows(_) => Metric::VpcsNarrowed,
                    TagEffect::Ignored(_) => Metric::TagsIgnored,
                };
                metrics.add(metric, 1.0);
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
        VpcResult::OutOfScope(reason) if reason.is_of_one_vpc() => metrics.add(Metric::VpcsOptedOut, 1.0),
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
