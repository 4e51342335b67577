//! `enroller plan`: shows what a backfill would change, and why. Changes nothing.

mod file;
mod report;
mod role;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use enroller_core::backfill::BackfillRequest;
use enroller_core::grants::{GrantPlan, RegionGrants};
use enroller_core::ids::{AccountId, AccountRegion, Region};
use enroller_core::observed::Account;
use enroller_core::plan::Plan;
use enroller_engine::coverage::{AccountRegionSnapshot, AccountSnapshot};
use enroller_engine::granter::{GrantPlanner, GrantPreview, GrantSync, GranterError};
use enroller_engine::ports::AwsResult;
use enroller_engine::reconcile_error::ReconcileError;
use futures::future::join_all;
use futures::stream::{StreamExt, iter};

use crate::about::About;
use crate::args::{PlanArgs, PlanFormat};
use crate::identity::Purpose;
use crate::output::Output;
use crate::progress::Progress;
use crate::session::{Session, select};

pub(crate) use file::PlanFile;
pub(crate) use report::PlanReport;
#[cfg(all(test, feature = "sim"))]
pub(crate) use report::Summary;

/// The inspected grants and accounts, with the changes planned for them.
pub(crate) struct OrganizationSnapshot {
    pub(crate) preview: GrantPreview,
    pub(crate) surveys: Vec<AccountSnapshot>,
    /// What the delivery role lacks, in accounts in which a backfill would check it.
    pub(crate) roles: BTreeMap<AccountId, AwsResult<Vec<&'static str>>>,
}

impl OrganizationSnapshot {
    /// Whether the account is granted in the Region or would be by the planned writes. Without a grant a backfill changes
    /// nothing in the account-Region.
    pub(crate) fn will_be_granted(&self, at: &AccountRegion) -> bool {
        let plan = self.preview.regions.get(&at.region).and_then(|plan| plan.as_ref().ok());
        plan.is_some_and(|plan| plan.assignments.get(&at.account).is_some())
    }

    /// What a report on the selection is about.
    pub(crate) fn about(&self, session: &Session, selection: &BackfillRequest) -> anyhow::Result<About> {
        About::of(session, selection, Some((self.surveys.len(), self.preview.accounts.len())))
    }

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
    let session = Session::open(&args.connection, Purpose::Read).await?;
    let selection = args.selection.request();
    let looked = plan_for(&session, session.granter()?.planner(), &selection).await?;
    let report = PlanReport::of(looked.about(&session, &selection)?, session.settings(), &looked);
    if let Some(file) = &args.out {
        PlanFile::of(&report.about, &selection, &looked).write(file)?;
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

/// Looks at the selection as a plan does. Where the settings lack what a plan of the grants needs, only the grants that
/// exist are read.
pub(crate) async fn coverage_for(
    session: &Session,
    selection: &BackfillRequest,
) -> anyhow::Result<OrganizationSnapshot> {
    if session.settings().destination_parts().is_ok() {
        return plan_for(session, session.granter()?.planner(), selection).await;
    }
    let regions = session.regions(selection)?;
    let accounts = session.ports().organization.accounts().await?;
    let assignments = session.assignments();
    let read = regions.iter().map(async |region| {
        let grants = assignments.region_grants(region).await.map_err(GranterError::Aws);
        let organization = session.settings().granted_organization();
        let plan =
            |grants: RegionGrants| GrantPlan { assignments: grants.assignments(organization), ..Default::default() };
        (region.clone(), grants.map(plan))
    });
    let preview = GrantPreview { accounts, regions: join_all(read).await.into_iter().collect(), decisions: Vec::new() };
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
    let (known, unknown): (BTreeSet<Region>, BTreeSet<Region>) =
        regions.iter().cloned().partition(|region| !matches!(preview.regions.get(region), Some(Err(_))));
    let surveys = iter(&accounts).map(async |account| {
        let granted_on = preview.granted_on(account.id);
        let mut seen = inspector.inspect(account, &known, &granted_on).await;
        if seen.left_out.is_none() {
            seen.account_regions
                .extend(unknown.iter().filter_map(|region| without_grants(&preview, account.id, region)));
        }
        seen
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
    let roles = roles(session, &found).await;
    OrganizationSnapshot { preview, surveys: found, roles }
}

/// An account-Region whose grants could not be read. Nothing can be said of it: a missing grant would look the same.
fn without_grants(preview: &GrantPreview, account: AccountId, region: &Region) -> Option<AccountRegionSnapshot> {
    let error = match preview.regions.get(region)?.as_ref().err()? {
        GranterError::Aws(error) | GranterError::NotAnswered { source: error, .. } => {
            ReconcileError::Aws(error.clone())
        }
        GranterError::Contended { .. } | GranterError::UnknownState { .. } => ReconcileError::DidNotConverge,
    };
    let at = AccountRegion { account, region: region.clone() };
    Some(AccountRegionSnapshot { at, granted_on: None, doubt: None, found: Err(error) })
}

/// Reads the delivery role of each account in which a backfill would check it.
async fn roles(session: &Session, found: &[AccountSnapshot]) -> BTreeMap<AccountId, AwsResult<Vec<&'static str>>> {
    let checked = |survey: &&AccountSnapshot| {
        let mut plans = survey.account_regions.iter().filter_map(|it| it.found.as_ref().ok());
        plans.any(|(_, plan)| role::checks_role(plan))
    };
    let read = found.iter().filter(checked).map(async |survey| {
        let account = survey.account.id;
        (account, role::missing(session.settings(), &*session.ports().roles, account).await)
    });
    iter(read).buffer_unordered(session.settings().max_concurrency).collect().await
}

/// The last line of a plan, shown before a question.
pub(crate) fn summary_line(report: &PlanReport) -> String {
    text::summary(report)
}

fn exit_code(report: &PlanReport) -> ExitCode {
    if report.summary.changes > 0 {
        ExitCode::from(2)
    } else if report.summary.failures > 0 || report.summary.for_a_person() > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
