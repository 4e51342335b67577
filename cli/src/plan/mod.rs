//! `enroller plan`: what would be done, and why; changes nothing.

mod report;
mod text;

use std::collections::BTreeSet;
use std::process::ExitCode;

use enroller_core::ids::Region;
use enroller_core::observed::Account;
use enroller_engine::onboard::GrantPreview;
use enroller_engine::survey::AccountSurvey;
use futures::stream::{StreamExt, iter};

use crate::args::{PlanArgs, PlanFormat};
use crate::output::Output;
use crate::progress::Progress;
use crate::session::{Session, select};

pub(crate) use report::PlanReport;

/// Everything that was looked at.
pub(crate) struct Looked {
    pub(crate) preview: GrantPreview,
    pub(crate) surveys: Vec<AccountSurvey>,
}

pub(crate) async fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let session = Session::open(&args.connection).await?;
    let regions = session.regions(&args.selection)?;
    let preview = session.engine.preview_grants(&regions).await?;
    let accounts = select(&args.selection, preview.accounts.clone())?;
    let looked = look(&session, &regions, preview, accounts).await;
    let report = PlanReport::of(&session.engine.settings, &looked);
    let mut out = Output::stdout();
    match args.format {
        PlanFormat::Json => out.json(&report)?,
        PlanFormat::Text => text::print(&mut out, &report)?,
    }
    out.finish()?;
    Ok(exit_code(&report))
}

/// Looks at the accounts, several at once.
pub(crate) async fn look(
    session: &Session,
    regions: &BTreeSet<Region>,
    preview: GrantPreview,
    accounts: Vec<Account>,
) -> Looked {
    let engine = &session.engine;
    let mut progress = Progress::new(accounts.len());
    let surveys = iter(&accounts).map(async |account| {
        let granted_on = preview.granted_on(account.id);
        engine.survey(account, regions, &granted_on).await
    });
    let mut surveys = surveys.buffer_unordered(engine.settings.max_concurrency);
    let mut found = Vec::with_capacity(accounts.len());
    while let Some(survey) = surveys.next().await {
        progress.done(survey.places.iter().any(|place| place.found.is_err()));
        found.push(survey);
    }
    drop(surveys);
    progress.finish();
    // They finish in any order; what is printed must not depend on it.
    found.sort_by_key(|survey| survey.account.id);
    Looked { preview, surveys: found }
}

/// Prints the last line of a plan, for a question that follows.
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
