//! Queueing one enrollment request for every account in scope, by hand or on a schedule (the sweep).
//!
//! # Flow
//!
//! 1. The backfill lists the organization.
//! 2. It asks the granter to sync all grants.
//! 3. It queues one request per account, in batches of ten, in the order of account ids.
//! 4. If time runs out, it queues a continuation of the run. The continuation starts after the last queued account and
//!    does not ask the granter again.
//!
//! # Guarantees
//!
//! - Nothing is sent unless the whole organization could be listed: part of it would look like all of it.
//! - After a crash or an error in the middle, the same message or request queues some accounts again. That is harmless:
//!   a request only says which account to reconcile.
//! - Each invocation of a run queues at least one account or fails, so every run ends.
//!
//! # Caveats
//!
//! Each invocation lists the organization again. An account that joins during a run and has a lower id than the last
//! queued one is not part of the run. Its own events enroll it.

mod batch;
mod command;
mod dry_run;
mod queue;

use std::sync::Arc;

use enroller_core::error::AwsError;
use enroller_core::ids::AccountId;
use enroller_core::log::{LogEntry, Outcome};
use serde::Serialize;

use crate::assignments::Assignments;
use crate::batch::Inbox;
use crate::context::Context;
use crate::coverage::Inspector;
use crate::granter::GrantPlanner;
use crate::outbox::Outbox;
use crate::ports::{Organization, Ports, Queues};

pub use command::{BackfillCommand, CommandError};
pub use dry_run::{DryRun, GrantCounts, NotPlanned, PolicySize, VpcCounts};
pub use enroller_core::backfill::{BackfillRequest, Exclusion, LeftOut, RequestError};

/// The result of one invocation of a backfill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackfillReport {
    /// The run id, which marks the requests of this run in logs.
    pub run_id: String,
    /// Whether it was a dry run, in which nothing is sent.
    pub dry_run: bool,
    /// Accounts that this invocation queued, or would queue in a dry run.
    pub accounts: usize,
    /// Account-Regions of these accounts.
    pub account_regions: usize,
    /// Accounts left to the continuation, which was queued because time ran out.
    pub accounts_remaining: usize,
    /// The account after which the continuation starts, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues_after: Option<AccountId>,
    /// Selected accounts that are not enrolled. Only the first invocation of a run reports them.
    pub left_out: Vec<LeftOut>,
    /// Notes about what may be misspelled in the request.
    pub notes: Vec<String>,
    /// The changes that would be made; only in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<DryRun>,
}

/// Why a backfill could not be queued.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// An AWS call failed.
    #[error("the backfill was not queued completely; it is safe to run it again")]
    Aws(#[from] AwsError),
    /// The request does not fit the settings.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The granter could not be asked to sync the grants.
    #[error("could not send to the grants queue")]
    Grants(#[source] AwsError),
    /// Time ran out before the first account. A continuation would not get further, so none is queued.
    #[error("time ran out while {0}, before the first account; increase the function's timeout")]
    OutOfTime(&'static str),
}

impl BackfillError {
    /// Whether a retry with the same request would fail too.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Aws(_) | Self::Grants(_) | Self::OutOfTime(_) => false,
        }
    }
}

/// Queues one enrollment request for each account of the organization.
pub struct Backfill {
    ctx: Context,
    organization: Arc<dyn Organization>,
    queues: Arc<dyn Queues>,
    assignments: Assignments,
    planner: GrantPlanner,
    inspector: Inspector,
    outbox: Outbox,
    inbox: Inbox,
    /// URL of the queue that continuations of a run are sent to.
    continuations: String,
}

impl Backfill {
    /// Creates a backfill that sends requests through the outbox, and continuations to the queue with the URL
    /// `continuations`. The planner is for the dry run.
    pub fn new(planner: GrantPlanner, ports: &Ports, outbox: Outbox, continuations: String) -> Self {
        let ctx = planner.context().clone();
        Self {
            organization: Arc::clone(&ports.organization),
            queues: Arc::clone(&ports.queues),
            assignments: Assignments::new(ctx.clone(), ports),
            planner,
            inspector: Inspector::new(ctx.clone(), ports),
            outbox,
            inbox: Inbox::new(ctx.clone(), &ports.queues),
            continuations,
            ctx,
        }
    }

    /// The context that it shares with the other workers.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Starts or continues a backfill, until `deadline_ms`, in epoch milliseconds.
    ///
    /// # Errors
    ///
    /// See [`BackfillError`]. Some accounts may have been queued by then.
    pub async fn run(&self, command: &BackfillCommand, deadline_ms: u64) -> Result<BackfillReport, BackfillError> {
        let request = command.request();
        request.check(&self.ctx.settings)?;
        let report = match request.dry_run {
            true => self.dry_run(request, command.run_id(), deadline_ms).await?,
            false => self.queue_accounts(command, deadline_ms).await?,
        };
        self.log_report(&report);
        Ok(report)
    }

    /// Logs the report. Nobody reads the response of a sweep, so the log has to contain the same.
    fn log_report(&self, report: &BackfillReport) {
        for LeftOut { account, reason } in &report.left_out {
            let line = LogEntry::about(Some(*account), "backfill", &report.run_id, Outcome::Ignored, reason);
            self.ctx.log.entry(&line);
        }
        for note in &report.notes {
            self.ctx.log.entry(&LogEntry::about(None, "backfill", &report.run_id, Outcome::Ignored, note));
        }
        let (outcome, what) = match report.dry_run {
            true => (Outcome::Unchanged, "accounts that would be queued"),
            false => (Outcome::Done, "accounts queued"),
        };
        let mut cause = format!(
            "{what}: {}, account-Regions: {}, accounts left out: {}",
            report.accounts,
            report.account_regions,
            report.left_out.len()
        );
        if let Some(after) = report.continues_after {
            cause.push_str(&format!("; accounts left for a continuation after {after}: {}", report.accounts_remaining));
        }
        self.ctx.log.entry(&LogEntry::about(None, "backfill", &report.run_id, outcome, cause));
    }
}

#[cfg(test)]
mod tests;
