//! `enroller backfill`: syncs the grants, then reconciles the selected accounts, several at once.

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
use enroller_core::metrics::Metrics;
use enroller_core::observed::Account;
use enroller_engine::enroller::{AccountReport, AccountWork, Enroller};
use enroller_engine::granter::{GrantPlanner, GrantReport, GrantSync, Granter};
use enroller_engine::reconcile_error::ReconcileError;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::args::BackfillArgs;
use crate::granting::GrantsDone;
use crate::interrupt::Stop;
use crate::output::{Output, ask, count};
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
    let session = Session::open(&args.connection).await?;
    let file = args.plan.as_deref().map(PlanFile::read).transpose()?;
    let selection = file.as_ref().map_or_else(|| args.selection.request(), |file| file.selection.clone());
    let granter = session.granter()?;
    let seen = match args.yes && file.is_none() {
        true => None,
        false => match agreed(&session, granter.planner(), args, &selection, file.as_ref()).await? {
            Some(seen) => Some(seen),
            None => return Ok(ExitCode::FAILURE),
        },
    };
    let mut stop = Stop::listen();
    let concurrency = args.concurrency.unwrap_or(session.settings().max_concurrency);
    let (outcomes, interrupted) =
        carry_out(&session, &granter, &selection, seen.as_ref(), concurrency, &mut stop).await?;
    let mut out = Output::stdout();
    outcomes.print(&mut out, interrupted)?;
    out.finish()?;
    Ok(if outcomes.all_well() && !interrupted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Syncs the grants and reconciles the accounts, within what was seen. Returns the results, and whether it was
/// interrupted.
async fn carry_out(
    session: &Session,
    granter: &Granter,
    selection: &BackfillRequest,
    seen: Option<&OrganizationSnapshot>,
    concurrency: usize,
    stop: &mut Stop,
) -> anyhow::Result<(Outcomes, bool)> {
    let regions = session.regions(selection)?;
    let grants = GrantsDone::from(grant(granter, selection, seen).await);
    let accounts = select(selection, granter.planner().organization_accounts().await?)?;
    let assignments = grants.assignments.clone();
    let mut outcomes = Outcomes::new(grants);
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

/// Makes the plan, compares it with the one in the file, and asks unless `--yes` is given. Returns `None` if the answer
/// is no.
async fn agreed(
    session: &Session,
    planner: &GrantPlanner,
    args: &BackfillArgs,
    selection: &BackfillRequest,
    file: Option<&PlanFile>,
) -> anyhow::Result<Option<OrganizationSnapshot>> {
    let looked = plan_for(session, planner, selection).await?;
    if let Some(file) = file {
        file.must_still_hold(&PlanFile::of(session, selection, &looked))?;
    }
    let summary = summary_line(&PlanReport::of(session.settings(), &looked));
    let yes = args.yes || ask(&format!("{summary}\nGo ahead? [y/N] "))?;
    Ok(yes.then_some(looked))
}

/// Grants the accounts of the selection, as the onboarder does, within what was seen.
async fn grant(granter: &Granter, selection: &BackfillRequest, seen: Option<&OrganizationSnapshot>) -> GrantReport {
    let approved = seen.map(|seen| seen.preview.plans());
    let work = GrantSync { approved, ..grant_work(selection, "backfill from the command line") };
    granter.sync(&work, &mut Metrics::default()).await
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
    AccountWork { account, regions: regions.clone(), destinations: assigned.collect(), approved: None }
}

/// Whether an account has a problem that may resolve itself within seconds.
fn passes_soon(report: &AccountReport) -> bool {
    let errors = report.account_regions.iter().flat_map(|at| &at.errors);
    errors.map(ReconcileError::disposition).any(|disposition| {
        matches!(
            disposition,
            Disposition::RetrySoon
                | Disposition::RetryLater(Wait::Grant | Wait::RolePropagation | Wait::Vpc | Wait::FlowLog)
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
