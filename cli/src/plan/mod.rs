//! `enroller plan`: shows what a backfill would change, and why. Changes nothing.

mod file;
mod report;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use enroller_core::backfill::BackfillRequest;
use enroller_core::ids::{AccountId, Region};
use enroller_core::observed::Account;
use enroller_core::plan::Plan;
use enroller_engine::coverage::AccountSnapshot;
use enroller_engine::granter::{GrantPlanner, GrantPreview, GrantSync};
use futures::stream::{StreamExt, iter};

use crate::args::{PlanArgs, PlanFormat};
use crate::output::Output;
use crate::progress::Progress;
use crate::session::{Session, select};

pub(crate) use file::PlanFile;
pub(crate) use report::PlanReport;

/// The inspected grants and accounts, with the changes planned for them.
pub(crate) struct OrganizationSnapshot {
    pub(crate) preview: GrantPreview,
    pub(crate) surveys: Vec<AccountSnapshot>,
}

impl OrganizationSnapshot {
    /// The plans of one account by Region, for the operator's approval.
    pub(crate) fn plans(&self, account: AccountId) -> BTreeMap<Region, Plan> {
        let account_regions =
            self.surveys.iter().filter(|survey| survey.account.id == account).flat_map(|it| &it.account_regions);
        account_regions.filter_map(|it| Some((it.at.region.clone(), it.found.as_ref().ok()?.1.clone()))).collect()
    }
}

/// The sync of the grants that a backfill of the selection requests.
pub(crate) fn grant_work(selection: &BackfillRequest, reason: &str) -> GrantSync {
    GrantSync { sync: true, reason: reason.to_owned(), only: Some(selection.clone()), ..GrantSync::default() }
}

pub(crate) async fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let session = Session::open(&args.connection).await?;
    let selection = args.selection.request();
    let looked = plan_for(&session, session.granter()?.planner(), &selection).await?;
    let report = PlanReport::of(session.settings(), &looked);
    if let Some(file) = &args.out {
        PlanFile::of(&session, &selection, &looked).write(file)?;
    }
    let mut out = Output::stdout();
    match args.format {
        PlanFormat::Json => out.json(&report)?,
        PlanFormat::Text => text::print(&mut out, &report)?,
    }
    out.finish()?;
    Ok(exit_code(&report))
}

/// Plans a backfill of the selection. The same value is shown, confirmed and carried out.
pub(crate) async fn plan_for(
    session: &Session,
    planner: &GrantPlanner,
    selection: &BackfillRequest,
) -> anyhow::Result<OrganizationSnapshot> {
    let regions = session.regions(selection)?;
    let preview = planner.preview(&grant_work(selection, "plan")).await?;
    let accounts = select(selection, preview.accounts.clone())?;
    Ok(look(session, &regions, preview, accounts).await)
}

/// Inspects the accounts, several at once.
async fn look(
    session: &Session,
    regions: &BTreeSet<Region>,
    preview: GrantPreview,
    accounts: Vec<Account>,
) -> OrganizationSnapshot {
    let inspector = session.inspector();
    let mut progress = Progress::new(accounts.len());
    let surveys = iter(&accounts).map(async |account| {
        let granted_on = preview.granted_on(account.id);
        inspector.inspect(account, regions, &granted_on).await
    });
    let mut surveys = surveys.buffer_unordered(session.settings().max_concurrency);
    let mut found = Vec::with_capacity(accounts.len());
    while let Some(survey) = surveys.next().await {
        progress.done(survey.account_regions.iter().any(|at| at.found.is_err()));
        found.push(survey);
    }
    drop(surveys);
    progress.finish();
    // The accounts finish in any order, and the output must not depend on it.
    found.sort_by_key(|survey| survey.account.id);
    OrganizationSnapshot { preview, surveys: found }
}

/// The last line of a plan, shown before a question.
pub(crate) fn summary_line(report: &PlanReport) -> String {
    text::summary(report)
}

fn exit_code(report: &PlanReport) -> ExitCode {
    if report.summary.changes > 0 {
        ExitCode::from(2)
    } else if report.summary.failures > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
