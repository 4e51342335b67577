//! What a run did about the grants.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::grants::ShardAssignments;
use enroller_core::ids::{AccountRegion, Region};
use enroller_core::log::{LogEntry, Outcome};
use enroller_engine::granter::GrantReport;

/// The grants that a run has written or waited for.
#[derive(Debug, Default)]
pub(crate) struct GrantsDone {
    /// Grants that did not exist before.
    pub(crate) added: BTreeSet<AccountRegion>,
    /// Grants that do not exist any more.
    pub(crate) removed: BTreeSet<AccountRegion>,
    /// Destinations that were made or whose policy, target or role was written.
    pub(crate) destinations: usize,
    /// What went wrong.
    pub(crate) failures: Vec<LogEntry>,
    /// The destination of each account, in the Regions that could be read.
    pub(crate) assignments: BTreeMap<Region, ShardAssignments>,
}

impl From<GrantReport> for GrantsDone {
    fn from(report: GrantReport) -> Self {
        let done = || report.decisions.iter().filter(|line| line.outcome == Outcome::Done);
        let grants = |actions: &[&str]| -> BTreeSet<AccountRegion> {
            let lines = done().filter(|line| actions.contains(&line.action.as_ref()));
            lines
                .filter_map(|line| Some(AccountRegion { account: line.account?, region: line.region.clone()? }))
                .collect()
        };
        let (added, removed) = (grants(&["grant"]), grants(&["revoke", "move-grant"]));
        // A policy may be written several times, when AWS refuses an account in it or somebody else writes it, too.
        let written: BTreeSet<_> = done().map(|line| (line.region.as_ref(), line.resource.as_str())).collect();
        let destinations = if written.is_empty() { report.writes } else { written.len() };
        let failures = report.decisions.iter().filter(|line| is_failure(line)).cloned().collect();
        Self { added, removed, destinations, failures, assignments: report.assignments }
    }
}

/// Whether a line tells of something that was to be done and is not.
pub(crate) fn is_failure(line: &LogEntry) -> bool {
    match line.outcome {
        Outcome::RetryLater | Outcome::Failed | Outcome::Refused => true,
        Outcome::Done | Outcome::Unchanged | Outcome::Ignored | Outcome::Skipped => false,
    }
}
