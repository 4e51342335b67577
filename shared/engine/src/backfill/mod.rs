//! Backfill: every account that is in scope, handed to the enroller; by hand or by schedule (the sweep).
//!
//! # Flow
//!
//! The organization is listed, the onboarder is asked to compare all grants, and one request per account is queued,
//! in batches of ten and by account id. When time runs out the run queues its own continuation, which begins after
//! the last account that was queued and does not ask the onboarder again.
//!
//! # Guarantees
//!
//! - Nothing is sent unless the whole organization could be listed: part of it would look like all of it.
//! - After a crash, or an error in the middle, the same message or request queues some accounts again. That does no
//!   harm: a request only says where to look.
//! - Each invocation of a run queues at least one account or fails, so that a run ends.
//!
//! # Caveats
//!
//! Each invocation lists the organization anew. An account that joins during a run and has a lower id than the last
//! one queued is not in it; its own events enroll it.

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

/// What one invocation of a backfill did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackfillReport {
    /// Marks the requests of this run in logs.
    pub run_id: String,
    /// Whether nothing was sent.
    pub dry_run: bool,
    /// Accounts queued by this invocation; in a dry run those that would be.
    pub accounts: usize,
    /// Account-Regions queued, or that would be.
    pub account_regions: usize,
    /// Accounts left to the continuation that was queued, because time ran out.
    pub accounts_remaining: usize,
    /// The account after which the continuation goes on, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continues_after: Option<AccountId>,
    /// Accounts of the selection that are not enrolled. Only the first invocation of a run tells them.
    pub left_out: Vec<LeftOut>,
    /// What may be misspelt in the request.
    pub notes: Vec<String>,
    /// What would be done, in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<DryRun>,
}

/// Why a backfill could not be queued.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// AWS refused.
    #[error("the backfill was not queued completely; it is safe to run it again")]
    Aws(#[from] AwsError),
    /// The request does not fit the settings.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The onboarder could not be asked to compare the grants.
    #[error("could not send to the grants queue")]
    Grants(#[source] AwsError),
    /// Nothing was achieved, so going on would achieve nothing either.
    #[error("time ran out while {0}, before the first account; increase the function's timeout")]
    OutOfTime(&'static str),
}

impl BackfillError {
    /// Whether another try with the same request must fail too.
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
    /// URL of the queue that a run goes on through when its time runs out.
    continuations: String,
}

impl Backfill {
    /// A backfill that sends through the outbox and goes on through the queue `continuations`, a URL. The planner and
    /// the ports serve the dry run.
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

    /// What it shares with the other workers.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Begins a backfill or goes on with one, until `deadline_ms`, epoch milliseconds.
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

    /// A sweep has nobody who reads its answer, so the logs say it too.
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
