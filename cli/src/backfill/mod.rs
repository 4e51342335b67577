//! `enroller backfill`: has the grants written, then reconciles the selected accounts, several at once.

#[cfg(all(test, feature = "sim"))]
mod agreement;
mod deployed;
mod outcome;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use enroller_core::backfill::BackfillRequest;
use enroller_core::error::{Disposition, Wait};
use enroller_core::grants::ShardAssignments;
use enroller_core::ids::{AccountId, Region};
use enroller_core::observed::Account;
use enroller_engine::enroller::{AccountReport, AccountWork, AskedBy, Enroller};
use enroller_engine::granter::{GrantSync, Granter};
use enroller_engine::reconcile_error::ReconcileError;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::args::BackfillArgs;
use crate::granting::GrantWriter;
use crate::identity::Purpose;
use crate::interrupt::Stop;
use crate::output::{Output, ask, count, note};
use crate::plan::{OrganizationSnapshot, PlanFile, PlanReport, grant_work, plan_for, summary_line};
use crate::progress::Progress;
use crate::session::{Session, select};
use outcome::Outcomes;

/// Further passes over accounts whose problem may resolve itself within seconds: a new grant or role, throttling.
const PASSES: usize = 3;

/// The wait before each further pass.
const PAUSE: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: &BackfillArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.yes || std::io::stdin().is_terminal(),
        "cannot prompt: standard input is not a terminal (use --yes)"
    );
    if let Some(function) = &args.function {
        return deployed::run(args, function).await;
    }
    let file = args.plan.as_deref().map(PlanFile::read).transpose()?;
    let session = Session::open(&args.connection, Purpose::Change).await?;
    let selection = file.as_ref().map_or_else(|| args.selection.request(), |file| file.selection.clone());
    session.regions(&selection)?;
    let granter = session.granter()?;
    let run = Run { writer: GrantWriter::of(&session, args.write_grants), session: &session, granter, selection };
    let seen = match args.yes && file.is_none() {
        true => None,
        false => match run.agreed(args.yes, file.as_ref()).await? {
            Some(seen) => Some(seen),
            None => return Ok(ExitCode::FAILURE),
        },
    };
    let mut stop = Stop::listen();
    let concurrency = args.concurrency.unwrap_or(session.settings().max_concurrency);
    let (outcomes, interrupted) = run.carry_out(seen.as_ref(), concurrency, &mut stop).await?;
    let mut out = Output::stdout();
    outcomes.about(&session, &run.selection)?.print(&mut out)?;
    outcomes.print(&mut out, interrupted)?;
    out.finish()?;
    Ok(if outcomes.all_well() && !interrupted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A backfill of a selection.
struct Run<'a> {
    session: &'a Session,
    granter: Granter,
    writer: GrantWriter,
    selection: BackfillRequest,
}

impl Run<'_> {
    /// Makes the plan, compares it with the one in the file, and asks unless `yes` is given. Returns `None` if the answer
    /// is no.
    async fn agreed(&self, yes: bool, file: Option<&PlanFile>) -> anyhow::Result<Option<OrganizationSnapshot>> {
        let (session, selection) = (self.session, &self.selection);
        let looked = plan_for(session, self.granter.planner(), selection).await?;
        let report = PlanReport::of(looked.about(session, selection)?, session.settings(), &looked);
        if let Some(file) = file {
            file.must_still_hold(&PlanFile::of(&report.about, selection, &looked))?;
        }
        self.writer.check(&looked.preview)?;
        let announcement = self.writer.announcement(&self.granter, &self.grant_work(), &looked.preview).await?;
        if yes {
            // The file shows the grants of the selection; whoever runs it has to see what comes with them.
            if let Some(announcement) = announcement {
                note(&announcement);
            }
            return Ok(Some(looked));
        }
        let mut question = report.about.lines();
        question.push(summary_line(&report));
        question.extend(announcement);
        question.push("Go ahead? [y/N] ".to_owned());
        Ok(ask(&question.join("\n"))?.then_some(looked))
    }

    /// The sync of the grants that the backfill needs.
    fn grant_work(&self) -> GrantSync {
        grant_work(&self.selection, "backfill from the command line")
    }

    /// Has the grants written and reconciles the accounts, within what was seen. Returns the results, and whether it was
    /// interrupted.
    async fn carry_out(
        &self,
        seen: Option<&OrganizationSnapshot>,
        concurrency: usize,
        stop: &mut Stop,
    ) -> anyhow::Result<(Outcomes, bool)> {
        let session = self.session;
        let regions = session.regions(&self.selection)?;
        let seen_grants = seen.map(|seen| &seen.preview);
        let grants = self.writer.carry_out(session, &self.granter, &self.grant_work(), seen_grants, stop).await?;
        let all = self.granter.planner().organization_accounts().await?;
        let number = all.len();
        let accounts = select(&self.selection, all)?;
        let assignments = grants.assignments.clone();
        let mut outcomes = Outcomes::new(grants, (accounts.len(), number), seen);
        let (chosen, left_out): (Vec<Account>, Vec<Account>) =
            accounts.into_iter().partition(|account| session.settings().account_in_scope(account).is_ok());
        for account in left_out {
            if let Err(reason) = session.settings().account_in_scope(&account) {
                outcomes.left_out(&account, &reason);
            }
        }
        let work = |account: &Account| AccountWork {
            approved: seen.map(|seen| seen.plans(account.id)),
            ..work(account.id, &regions, &assignments)
        };
        let work = chosen.iter().map(work).collect();
        let interrupted = passes(session, work, concurrency, &mut outcomes, stop).await;
        Ok((outcomes, interrupted))
    }
}

/// Reconciles the accounts, and again those whose problem may resolve itself soon, up to [`PASSES`] more times. Returns
/// whether it was interrupted.
async fn passes(
    session: &Session,
    mut left: Vec<AccountWork>,
    concurrency: usize,
    outcomes: &mut Outcomes,
    stop: &mut Stop,
) -> bool {
    let enroller = session.enroller();
    for pass in 0..=PASSES {
        if pass > 0 {
            tokio::select! {
                () = stop.wait() => return true,
                () = session.pause(PAUSE) => {}
            }
        }
        let mut again = Vec::new();
        let interrupted = one_pass(&enroller, left, concurrency, stop, |work, report| {
            if pass < PASSES && passes_soon(&report) {
                again.push(work.clone());
            }
            outcomes.add(work.account, report);
        })
        .await;
        if interrupted || again.is_empty() {
            return interrupted;
        }
        left = again;
    }
    false
}

fn work(
    account: AccountId,
    regions: &BTreeSet<Region>,
    assignments: &BTreeMap<Region, ShardAssignments>,
) -> AccountWork {
    let assigned = regions.iter().filter_map(|region| {
        let name = assignments.get(region)?.get(&account)?;
        Some((region.clone(), name.clone()))
    });
    AccountWork {
        account,
        regions: regions.clone(),
        destinations: assigned.collect(),
        asked_by: AskedBy::Command,
        approved: None,
    }
}

/// Whether an account has a problem that may resolve itself within seconds.
fn passes_soon(report: &AccountReport) -> bool {
    let errors = report.account_regions.iter().flat_map(|at| &at.errors);
    errors.map(ReconcileError::disposition).any(|disposition| {
        matches!(
            disposition,
            Disposition::RetrySoon
                | Disposition::RetryLater(
                    Wait::Grant | Wait::RolePropagation | Wait::Vpc | Wait::FlowLog | Wait::Permission
                )
        )
    })
}

/// Reconciles the accounts, `concurrency` at once. After Ctrl-C, no further account is started and those in progress are
/// finished. Returns whether it was interrupted.
async fn one_pass(
    enroller: &Enroller,
    accounts: Vec<AccountWork>,
    concurrency: usize,
    stop: &mut Stop,
    mut done: impl FnMut(&AccountWork, AccountReport),
) -> bool {
    let mut progress = Progress::new(accounts.len());
    let mut waiting = accounts.into_iter();
    let mut running = FuturesUnordered::new();
    let mut interrupted = stop.asked();
    if interrupted {
        return true;
    }
    let one = async |work: AccountWork| {
        let report = enroller.reconcile(&work, u64::MAX).await;
        (work, report)
    };
    running.extend(waiting.by_ref().take(concurrency).map(&one));
    loop {
        tokio::select! {
            () = stop.wait(), if !interrupted => {
                interrupted = true;
                progress.line(&format!("Interrupted: finishing {} in progress", count(running.len(), "account")));
            }
            finished = running.next() => {
                let Some((work, report)) = finished else { break };
                progress.done(report.account_regions.iter().any(|at| !at.errors.is_empty()));
                done(&work, report);
                if !interrupted {
                    running.extend(waiting.next().map(&one));
                }
            }
        }
    }
    progress.finish();
    interrupted
}
