//! `enroller coverage`: a live audit of every VPC, printed as a table, CSV or JSON, or written as one HTML page.

pub(crate) mod csv;
pub(crate) mod html;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use enroller_core::coverage::{CoverageReport, FailureClass, InspectedRegion, InspectionFailure, Survey};
use enroller_core::error::Disposition;
use enroller_core::settings::Settings;
use enroller_engine::coverage::{AccountRegionSnapshot, AccountSnapshot};
use enroller_engine::reconcile_error::ReconcileError;
use serde::Serialize;

use crate::about::About;
use crate::args::{CoverageArgs, CoverageFormat};
use crate::identity::Purpose;
use crate::next_step;
use crate::output::Output;
use crate::plan::coverage_for;
use crate::session::Session;

/// The JSON object that `--format json` prints: the report, and what it is about.
#[derive(Serialize)]
struct Document<'a> {
    about: &'a About,
    #[serde(flatten)]
    report: &'a CoverageReport,
}

pub(crate) async fn run(args: &CoverageArgs) -> anyhow::Result<ExitCode> {
    let session = Session::open(&args.connection, Purpose::Read).await?;
    let selection = args.selection.request();
    let looked = coverage_for(&session, &selection).await?;
    let about = looked.about(&session, &selection)?;
    let report = CoverageReport {
        generated_at: about.generated_at.clone(),
        regions: about.scope.regions.clone(),
        ..coverage_of(session.settings(), &looked.surveys)
    };
    if let Some(file) = &args.html {
        let page = html::render(&about, &report).context("cannot render the HTML page")?;
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    print(args, &about, &report)?;
    Ok(if report.totals().problems() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The coverage of these accounts, without the time.
pub(crate) fn coverage_of(settings: &Settings, accounts: &[AccountSnapshot]) -> CoverageReport {
    let mut survey = Survey::default();
    for account in accounts {
        add(&mut survey, settings, account);
    }
    survey.finish(settings, String::new(), BTreeMap::new())
}

fn print(args: &CoverageArgs, about: &About, report: &CoverageReport) -> anyhow::Result<()> {
    let mut out = Output::stdout();
    match args.format {
        CoverageFormat::Table => table::print(&mut out, about, report, args.all)?,
        CoverageFormat::Json => out.json(&Document { about, report })?,
        CoverageFormat::Csv => out.bytes(csv::render(about, report).context("cannot render the CSV")?.as_bytes())?,
    }
    Ok(out.finish()?)
}

fn add(survey: &mut Survey, settings: &Settings, account: &AccountSnapshot) {
    if let Some(why) = &account.left_out {
        survey.leave_out(&account.account, None, why);
    }
    for at in &account.account_regions {
        let failure = at.found.as_ref().err().map(failure);
        let looked = match (&at.found, &failure) {
            (Ok((observed, plan)), _) => Ok((observed, plan)),
            (Err(_), Some(failure)) => Err(failure),
            // This cannot happen, because `failure` is derived from the same error.
            (Err(_), None) => continue,
        };
        let AccountRegionSnapshot { at, granted_on, .. } = at;
        let (at, granted_on) = (at.clone(), granted_on.clone());
        survey.add(settings, &InspectedRegion { account: &account.account, at, granted_on, looked });
    }
}

fn failure(errors: &ReconcileError) -> InspectionFailure {
    let disposition = errors.disposition();
    let class = match disposition {
        Disposition::Skip(_) => FailureClass::Skipped,
        Disposition::RetryLater(wait) if wait.tries().is_some() => FailureClass::Failed,
        Disposition::RetrySoon | Disposition::RetryLater(_) => FailureClass::Later,
        Disposition::AlreadyThere | Disposition::Absent | Disposition::Terminal(_) => FailureClass::Failed,
    };
    let request_id = errors.aws_error().and_then(|error| error.request_id.clone());
    InspectionFailure { text: errors.to_string(), class, request_id, next_step: next_step::of_disposition(disposition) }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;

    use enroller_core::coverage::{CoverageReport, CoverageRow, Status};

    pub(crate) use crate::about::testing::about;

    /// A row about VPC `number` of account `number`, in eu-west-1.
    pub(crate) fn row(number: u32, status: Status) -> CoverageRow {
        CoverageRow {
            account: format!("{number:012}").parse().unwrap(),
            account_name: format!("account-{number}"),
            units: vec!["r-ab12".parse().unwrap(), "ou-ab12-workload".parse().unwrap()],
            region: Some("eu-west-1".parse().unwrap()),
            vpc: Some(format!("vpc-{number:08x}").parse().unwrap()),
            name: format!("vpc {number}"),
            status,
            reason: if status == Status::Covered { String::new() } else { "It has a reason.".to_owned() },
            flow_log: None,
            destination: Some("VPCFlowLogsDestination".parse().unwrap()),
            next_step: if status.is_problem() { "Run enroller backfill.".to_owned() } else { String::new() },
        }
    }

    /// A report with these rows, each about an account-Region of its own.
    pub(crate) fn report(rows: Vec<CoverageRow>) -> CoverageReport {
        CoverageReport {
            organization: "o-exampleorg1".parse().unwrap(),
            generated_at: "2026-11-23T10:00:00Z".to_owned(),
            regions: ["eu-west-1", "us-east-1"].map(|region| region.parse().unwrap()).into(),
            unit_names: BTreeMap::new(),
            accounts: rows.len(),
            account_regions: rows.len(),
            empty_account_regions: 0,
            rows,
        }
    }
}
