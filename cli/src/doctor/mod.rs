//! `enroller doctor`: checks of a live installation, printed as a table or as JSON.

mod table;

use std::process::ExitCode;

use enroller_core::backfill::BackfillRequest;
use enroller_core::doctor::{Check, DoctorReport, Summary};
use enroller_core::ids::{AccountId, OrganizationId, Region};
use enroller_core::settings::Settings;
use enroller_engine::doctor::{DoctorOptions, Sample};
use serde::Serialize;

use crate::about::About;
use crate::args::{DoctorArgs, DoctorFormat};
use crate::identity::Purpose;
use crate::output::Output;
use crate::session::Session;

/// The JSON object that `--format json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    about: About,
    /// The most accounts that were checked; absent if every account in scope was.
    sample: Option<usize>,
    organization: &'a OrganizationId,
    central_account: AccountId,
    home_region: &'a Region,
    summary: Summary,
    checks: &'a [Check],
}

impl<'a> Report<'a> {
    fn of(about: About, sample: Option<usize>, settings: &'a Settings, found: &'a DoctorReport) -> Self {
        Self {
            about,
            sample,
            organization: &settings.organization_id,
            central_account: settings.central_account,
            home_region: &settings.home_region,
            summary: found.summary(),
            checks: found.checks(),
        }
    }
}

pub(crate) async fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let session = Session::open(&args.connection, Purpose::Diagnose).await?;
    let sample = if args.all { Sample::All } else { Sample::Accounts(args.sample) };
    let options = DoctorOptions { sample, bus: args.bus.clone() };
    let found = session.doctor().check(&options).await;
    let about = About::of(&session, &BackfillRequest::default(), None)?;
    let report = Report::of(about, (!args.all).then_some(args.sample), session.settings(), &found);
    let mut out = Output::stdout();
    match args.format {
        DoctorFormat::Table => table::print(&mut out, &report)?,
        DoctorFormat::Json => out.json(&report)?,
    }
    out.finish()?;
    Ok(ExitCode::from(found.exit_code()))
}
