//! How a command gets grants written: account-onboarder, the one writer of an installation, is asked through its queue.
//! Where the functions are not installed, a person lets the command write, which `--write-grants` says.

mod ask;

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::backfill::BackfillRequest;
use enroller_core::grants::ShardAssignments;
use enroller_core::ids::{AccountRegion, Region};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::Metrics;
use enroller_engine::granter::{GrantPreview, GrantReport, GrantSync, Granter};

use crate::interrupt::Stop;
use crate::output::count;
use crate::session::Session;

/// Who writes the grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GrantWriter {
    /// account-onboarder, through this queue.
    Onboarder(String),
    /// This command.
    Here,
    /// Nobody: no queue is set, and the command was not told to write.
    Nobody,
}

/// Grants have to be written, and nobody may.
#[derive(Debug, thiserror::Error)]
#[error(
    "grants are to be written to {}, and the command does not know who writes them\n  \
     next: set grants_queue_url, so that account-onboarder is asked, the one writer of an installation\n  \
     next: in an installation without the functions, use --write-grants",
    count(*.0, "destination")
)]
pub(crate) struct NobodyWrites(usize);

impl GrantWriter {
    /// In a simulated installation no function runs, so that the command writes.
    pub(crate) fn of(session: &Session, write_grants: bool) -> Self {
        if write_grants || session.is_simulated() {
            return Self::Here;
        }
        session.settings().grants_queue_url.clone().map_or(Self::Nobody, Self::Onboarder)
    }

    /// Refuses what nobody could write.
    pub(crate) fn check(&self, preview: &GrantPreview) -> Result<(), NobodyWrites> {
        let plans = preview.regions.values().filter_map(|plan| plan.as_ref().ok());
        match (self, plans.map(|plan| plan.writes.len()).sum()) {
            (Self::Nobody, writes) if writes > 0 => Err(NobodyWrites(writes)),
            _ => Ok(()),
        }
    }

    /// What a person should know before the grants of the preview are written: by whom, and what comes with them.
    pub(crate) async fn announcement(
        &self,
        granter: &Granter,
        work: &GrantSync,
        preview: &GrantPreview,
    ) -> anyhow::Result<Option<String>> {
        let plans = preview.regions.values().filter_map(|plan| plan.as_ref().ok());
        let writes: usize = plans.map(|plan| plan.writes.len()).sum();
        if writes == 0 || *self == Self::Nobody {
            return Ok(None);
        }
        if *self == Self::Here {
            return Ok(Some("This command writes the grants itself.".to_owned()));
        }
        let mut text = "account-onboarder is asked to write the grants.".to_owned();
        if work.only.as_ref().is_some_and(|only| *only != BackfillRequest::default()) {
            let everything = GrantSync { only: None, ..work.clone() };
            let (add, remove) = ask::beyond(&granter.planner().preview(&everything).await?, preview);
            if (add, remove) != (0, 0) {
                text.push_str(&format!(
                    " It writes at the same time what waits outside the selection: {} to add, {remove} to remove.",
                    count(add, "grant")
                ));
            }
        }
        Ok(Some(text))
    }

    /// Gets the grants of `work` written, within what was seen.
    ///
    /// # Errors
    ///
    /// Nobody may write, the organization cannot be listed, or the queue does not take the request.
    pub(crate) async fn carry_out(
        &self,
        session: &Session,
        granter: &Granter,
        work: &GrantSync,
        seen: Option<&GrantPreview>,
        stop: &mut Stop,
    ) -> anyhow::Result<GrantsDone> {
        if *self == Self::Here {
            let work = GrantSync { approved: seen.map(GrantPreview::plans), ..work.clone() };
            return Ok(granter.sync(&work, &mut Metrics::default()).await.into());
        }
        let looked = match seen {
            Some(_) => None,
            None => Some(granter.planner().preview(work).await?),
        };
        // One of the two is there.
        let Some(preview) = seen.or(looked.as_ref()) else { return Ok(GrantsDone::default()) };
        self.check(preview)?;
        let queue_url = match self {
            Self::Onboarder(queue_url) => queue_url.as_str(),
            Self::Here | Self::Nobody => "",
        };
        Ok(ask::ask(session, queue_url, work, preview, stop).await?)
    }
}

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
        Outcome::Done | Outcome::Unchanged | Outcome::Ignored | Outcome::Skipped | Outcome::Noticed => false,
    }
}
