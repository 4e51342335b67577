//! `enroller coverage`: a live audit of every VPC, printed as a table, CSV or JSON, or written as one HTML page.

pub(crate) mod csv;
pub(crate) mod html;
pub(crate) mod table;

use std::process::ExitCode;

use anyhow::Context;
use enroller_core::coverage::CoverageReport;
use serde::Serialize;

use crate::about::About;
use crate::args::{CoverageArgs, CoverageFormat};
use crate::identity::Purpose;
use crate::judged::coverage_of;
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

fn print(args: &CoverageArgs, about: &About, report: &CoverageReport) -> anyhow::Result<()> {
    let mut out = Output::stdout();
    match args.format {
        CoverageFormat::Table => table::print(&mut out, about, report, args.all)?,
        CoverageFormat::Json => out.json(&Document { about, report })?,
        CoverageFormat::Csv => out.bytes(csv::render(about, report).context("cannot render the CSV")?.as_bytes())?,
    }
    Ok(out.finish()?)
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
