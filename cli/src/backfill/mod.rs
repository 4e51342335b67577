//! `enroller backfill`: grants, then every account of the selection, several at once.

mod deployed;
mod outcome;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use enroller_core::error::{Disposition, Wait};
use enroller_core::grants::Placement;
use enroller_core::ids::{AccountId, Region};
use enroller_core::observed::Account;
use enroller_core::report::Metrics;
use enroller_engine::Engine;
use enroller_engine::onboard::{GrantReport, GrantWork};
use enroller_engine::reconcile::{AccountReport, AccountWork};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::args::BackfillArgs;
use crate::interrupt::Stop;
use crate::output::{Output, ask};
use crate::plan::{PlanReport, look, summary_line};
use crate::progress::Progress;
use crate::session::{Session, select};
use outcome::Outcomes;

/// Further passes over accounts whose trouble passes by itself within seconds: a fresh grant or role, throttling.
const PASSES: usize = 3;

/// Before each further pass.
const PAUSE: Duration = Duration::from_secs(10);

pub(crate) async fn run(args: &BackfillArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(args.yes || std::io::stdin().is_terminal(), "standard input is no terminal to ask on; use --yes");
    if let Some(function) = &args.function {
        return deployed::run(args, function).await;
    }
    let session = Session::open(&args.connection).await?;
    let regions = session.regions(&args.selection)?;
    let engine = &session.engine;
    if !args.yes && !confirmed(&session, args, &regions).await? {
        return Ok(ExitCode::FAILURE);
    }
    let mut stop = Stop::listen();
    let grants = grant(engine).await;
    let accounts = select(&args.selection, engine.organization_accounts().await?)?;
    let mut outcomes = Outcomes::new(&grants);
    let (chosen, left_out): (Vec<Account>, Vec<Account>) =
        accounts.into_iter().partition(|account| engine.settings.account_in_scope(account).is_ok());
    for account in left_out {
        if let Err(reason) = engine.settings.account_in_scope(&account) {
            outcomes.left_out(&account, &reason);
        }
    }
    let concurrency = args.concurrency.unwrap_or(engine.settings.max_concurrency);
    let work = chosen.iter().map(|account| work(account.id, &regions, &grants.placements)).collect();
    let interrupted = passes(&session, work, concurrency, &mut outcomes, &mut stop).await;
    let mut out = Output::stdout();
    outcomes.print(&mut out, interrupted)?;
    out.finish()?;
    Ok(if outcomes.all_well() && !interrupted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows what would be done and asks.
async fn confirmed(session: &Session, args: &BackfillArgs, regions: &BTreeSet<Region>) -> anyhow::Result<bool> {
    let preview = session.engine.preview_grants(regions).await?;
    let accounts = select(&args.selection, preview.accounts.clone())?;
    let looked = look(session, regions, preview, accounts).await;
    let report = PlanReport::of(&session.engine.settings, &looked);
    Ok(ask(&format!("{}\nGo ahead? [y/N] ", summary_line(&report)))?)
}

/// Grants every member, as the onboarder does, in all enrolled Regions: the selection is about what is enrolled.
async fn grant(engine: &Engine) -> GrantReport {
    let work = GrantWork {
        sync: true,
        without_requests: true,
        reason: "backfill from the command line".to_owned(),
        ..GrantWork::default()
    };
    engine.sync_grants(&work, &mut Metrics::default()).await
}

/// Goes over the accounts until none is left that a moment's patience may help. Returns whether it was interrupted.
async fn passes(
    session: &Session,
    mut left: Vec<AccountWork>,
    concurrency: usize,
    outcomes: &mut Outcomes,
    stop: &mut Stop,
) -> bool {
    let engine = &session.engine;
    for pass in 0..=PASSES {
        if pass > 0 {
            tokio::select! {
                () = stop.wait() => return true,
                () = session.pause(PAUSE) => {}
            }
        }
        let mut again = Vec::new();
        let interrupted = one_pass(engine, left, concurrency, stop, |work, report| {
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

fn work(account: AccountId, regions: &BTreeSet<Region>, placements: &BTreeMap<Region, Placement>) -> AccountWork {
    let placed = regions.iter().filter_map(|region| {
        let name = placements.get(region)?.get(&account)?;
        Some((region.clone(), name.clone()))
    });
    AccountWork { account, regions: regions.clone(), destinations: placed.collect() }
}

/// Whether an account's trouble may be over in seconds.
fn passes_soon(report: &AccountReport) -> bool {
    let troubles = report.places.iter().flat_map(|place| &place.trouble);
    troubles.map(enroller_engine::reconcile::Trouble::disposition).any(|disposition| {
        matches!(
            disposition,
            Disposition::RetrySoon | Disposition::RetryLater(Wait::Grant | Wait::RolePropagation | Wait::Vpc)
        )
    })
}

/// Works on the accounts, `concurrency` at once. After Ctrl-C no account is begun and those under way are finished.
async fn one_pass(
    engine: &Engine,
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
        let report = engine.reconcile(&work, u64::MAX).await;
        (work, report)
    };
    running.extend(waiting.by_ref().take(concurrency).map(&one));
    loop {
        tokio::select! {
            () = stop.wait(), if !interrupted => {
                interrupted = true;
                progress.say(&format!("Interrupted: finishing {} accounts under way", running.len()));
            }
            finished = running.next() => {
                let Some((work, report)) = finished else { break };
                progress.done(report.places.iter().any(|place| !place.trouble.is_empty()));
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
