//! `enroller grants`: lists the destinations with their granted accounts, and syncs the grants with the organization.

use std::process::ExitCode;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use enroller_core::backfill::BackfillRequest;
use enroller_core::grants::{GrantPlan, GrantProblem, ShardSummary};
use enroller_core::ids::{AccountId, OrganizationId, Region};
use enroller_core::log::LogEntry;
use enroller_engine::coverage::FilterRoles;
use enroller_engine::granter::{GrantPreview, GrantSync, Granter};
use enroller_engine::outbox::Outbox;
use serde::Serialize;

use crate::about::About;
use crate::args::{GrantsAction, GrantsArgs, PlanFormat};
use crate::granting::{GrantWriter, GrantsDone, is_failure};
use crate::identity::Purpose;
use crate::interrupt::Stop;
use crate::next_step;
use crate::output::{Output, ask, count, note, printable, warn};
use crate::session::Session;

/// A destination with its granted accounts. Sizes are in bytes.
#[derive(Debug, Serialize)]
struct Shard {
    /// What the list is about. The list is an array, so that only its items can say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<About>,
    region: Region,
    destination: String,
    /// Accounts that a statement names, managed or not, and that none certainly denies.
    accounts: Vec<AccountId>,
    /// The organization all of whose accounts are granted, if the policy names one.
    organization: Option<OrganizationId>,
    /// Accounts that a statement of others denies.
    denied: Vec<AccountId>,
    /// Why the policy cannot be read. Nobody knows then whom it grants.
    unreadable: Option<String>,
    policy_bytes: usize,
    policy_bytes_left: usize,
    /// How many more accounts fit into the policy.
    room: usize,
}

/// All destinations, and the changes that a sync would write.
#[derive(Debug, Serialize)]
struct GrantsReport {
    about: About,
    shards: Vec<Shard>,
    to_add: Vec<(Region, AccountId)>,
    to_remove: Vec<(Region, AccountId)>,
    writes: usize,
    problems: Vec<LogEntry>,
    failures: Vec<String>,
}

pub(crate) async fn run(args: &GrantsArgs) -> anyhow::Result<ExitCode> {
    if let Some(flag) = args.stray_flag() {
        anyhow::bail!("{flag} belongs to `enroller grants sync {flag}`; without an action the grants are only listed");
    }
    match args.action {
        None => list(args).await,
        Some(GrantsAction::Sync) => run_sync(args).await,
    }
}

async fn list(args: &GrantsArgs) -> anyhow::Result<ExitCode> {
    let session = Session::open(&args.connection, Purpose::Read).await?;
    let about = About::of(&session, &BackfillRequest::default(), None)?;
    let (mut shards, mut unread) = (Vec::new(), Vec::new());
    let assignments = session.assignments();
    for region in &session.settings().regions {
        let grants = match assignments.region_grants(region).await {
            Ok(grants) => grants,
            Err(error) => {
                unread.push(format!(
                    "{region} could not be read: {error}. {}",
                    next_step::of_disposition(error.disposition())
                ));
                continue;
            }
        };
        let rows = grants.summaries().into_iter().map(|summary| Shard::of(region, summary));
        shards.extend(rows.map(|shard| Shard { about: Some(about.clone()), ..shard }));
    }
    let mut out = Output::stdout();
    match args.format {
        PlanFormat::Json => out.json(&shards)?,
        PlanFormat::Text => {
            about.print(&mut out)?;
            out.line(&table(&shards))?;
            print_notes(&mut out, &shards)?;
        }
    }
    out.finish()?;
    for problem in &unread {
        warn(&printable(problem));
    }
    Ok(if unread.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_sync(args: &GrantsArgs) -> anyhow::Result<ExitCode> {
    let purpose = if args.dry_run { Purpose::Read } else { Purpose::Change };
    let session = Session::open(&args.connection, purpose).await?;
    let (granter, writer) = (announcing(&session)?, GrantWriter::of(&session, args.write_grants));
    let mut work = GrantSync {
        sync: true,
        allow_mass_revocation: args.allow_mass_revocation,
        reason: "grants sync from the command line".to_owned(),
        ..GrantSync::default()
    };
    // A policy that names the organization stops filters without a role, so each of them is looked at first.
    let filters = match args.allow_mass_revocation {
        true => session.inspector().filter_roles(&granter.planner().accounts_before_switch().await).await,
        false => FilterRoles::default(),
    };
    work.filters_with_role = filters.ready;
    let preview = granter.planner().preview(&work).await?;
    let about = About::of(&session, &BackfillRequest::default(), None)?;
    let mut report = GrantsReport::of(about, &preview);
    report.problems.extend(filters.problems);
    let mut out = Output::stdout();
    match args.format {
        PlanFormat::Json => out.json(&report)?,
        PlanFormat::Text => report.print(&mut out)?,
    }
    out.flush()?;
    if args.dry_run || report.writes == 0 {
        out.finish()?;
        return Ok(if report.writes > 0 { ExitCode::from(2) } else { report.exit_code() });
    }
    writer.check(&preview)?;
    if !args.yes {
        let who = writer.announcement(&granter, &work, &preview).await?.unwrap_or_default();
        if !ask(&format!("{who} Write these changes? [y/N] "))? {
            return Ok(ExitCode::FAILURE);
        }
    }
    let by_hand = writer == GrantWriter::Here && (session.is_simulated() || session.settings().queue_urls().is_err());
    let done = writer.carry_out(&session, &granter, &work, Some(&preview), &mut Stop::listen()).await?;
    // Standard output has one JSON object, and nothing behind it.
    match args.format {
        PlanFormat::Json => result(&done, by_hand).iter().for_each(|line| note(line)),
        PlanFormat::Text => result(&done, by_hand).iter().try_for_each(|line| out.line(line))?,
    }
    out.finish()?;
    Ok(if done.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The granter, which asks vpc-enroller to enroll the accounts that it grants, if there are queues.
fn announcing(session: &Session) -> anyhow::Result<Granter> {
    let granter = session.granter()?;
    Ok(match session.settings().queue_urls() {
        Ok(urls) if !session.is_simulated() => granter.announcing(Outbox::new(&session.ports().queues, urls)),
        Ok(_) | Err(_) => granter,
    })
}

/// What a sync has done, line by line. `by_hand` means that nobody was told to enroll the accounts.
fn result(done: &GrantsDone, by_hand: bool) -> Vec<String> {
    let failure = |line: &LogEntry| {
        let next = next_step::of_entry(line).map(|next| format!("\n  next: {next}")).unwrap_or_default();
        format!("{}{next}", printable(&format!("{}: {}", line.resource, line.cause)))
    };
    let mut lines: Vec<String> = done.failures.iter().map(failure).collect();
    lines.push(format!(
        "{} added, {} removed, {}",
        count(done.added.len(), "grant"),
        done.removed.len(),
        count(done.destinations, "destination")
    ));
    if by_hand && !done.added.is_empty() {
        lines.push("next: run `enroller backfill`, which enrolls the accounts that were granted".to_owned());
    }
    lines
}

impl Shard {
    fn of(region: &Region, summary: ShardSummary) -> Self {
        Self {
            about: None,
            region: region.clone(),
            destination: summary.name.to_string(),
            accounts: summary.accounts.into_iter().collect(),
            organization: summary.organization,
            denied: summary.denied.into_iter().collect(),
            unreadable: summary.unreadable,
            policy_bytes: summary.bytes,
            policy_bytes_left: summary.free_bytes,
            room: summary.room,
        }
    }

    /// The number of accounts for the table.
    fn count(&self) -> String {
        match (&self.unreadable, &self.organization) {
            (Some(_), _) => "unknown".to_owned(),
            (None, Some(_)) => "all".to_owned(),
            (None, None) => self.accounts.len().to_string(),
        }
    }
}

/// What the table has no room for: policies that name the organization, denials of others, unreadable policies.
fn print_notes<W: std::io::Write>(out: &mut Output<W>, shards: &[Shard]) -> anyhow::Result<()> {
    for it in shards {
        let place = format!("{} {}", it.region, it.destination);
        if let Some(organization) = &it.organization {
            let named = count(it.accounts.len(), "account");
            out.line(&format!("  {place}: all accounts of {organization} are granted, and {named} by name"))?;
        }
        if let Some(reason) = &it.unreadable {
            out.line(&printable(&format!("  ! {place}: {reason}")))?;
        }
        for account in &it.denied {
            out.line(&format!("  ! {place}: a statement of others denies {account}"))?;
        }
    }
    Ok(())
}

impl GrantsReport {
    fn of(about: About, preview: &GrantPreview) -> Self {
        let mut report = Self {
            about,
            shards: Vec::new(),
            to_add: Vec::new(),
            to_remove: Vec::new(),
            writes: 0,
            problems: preview.decisions.clone(),
            failures: Vec::new(),
        };
        for (region, plan) in &preview.regions {
            match plan {
                Ok(plan) => report.add(region, plan),
                Err(error) => report.failures.push(format!("{region}: {error}")),
            }
        }
        report
    }

    fn add(&mut self, region: &Region, plan: &GrantPlan) {
        self.writes += plan.writes.len();
        for write in &plan.writes {
            self.to_add.extend(write.added.iter().map(|account| (region.clone(), *account)));
            self.to_remove.extend(write.removed.iter().map(|account| (region.clone(), *account)));
        }
        for usage in &plan.usage {
            let denied = plan.problems.iter().filter_map(|problem| match problem {
                GrantProblem::DeniedByOthers { account, shard } if *shard == usage.name => Some(*account),
                _ => None,
            });
            let denied: Vec<AccountId> = denied.collect();
            let on = plan.assignments.named().iter().filter(|(_, name)| **name == usage.name);
            self.shards.push(Shard {
                about: None,
                region: region.clone(),
                destination: usage.name.to_string(),
                accounts: on.map(|(account, _)| *account).filter(|account| !denied.contains(account)).collect(),
                organization: usage.organization.clone(),
                unreadable: usage.unreadable.as_ref().map(ToString::to_string),
                denied,
                policy_bytes: usage.bytes,
                policy_bytes_left: usage.free_bytes,
                room: usage.room,
            });
        }
    }

    fn print<W: std::io::Write>(&self, out: &mut Output<W>) -> anyhow::Result<()> {
        self.about.print(out)?;
        out.line("After the sync:")?;
        out.line(&table(&self.shards))?;
        print_notes(out, &self.shards)?;
        for (sign, accounts) in [("+", &self.to_add), ("-", &self.to_remove)] {
            for (region, account) in accounts {
                out.line(&format!("  {sign} {account} in {region}"))?;
            }
        }
        for line in &self.problems {
            let region = line.region.as_ref().map(ToString::to_string).unwrap_or_default();
            out.line(&format!("  ! {region} {}: {}", line.action, printable(&line.cause)))?;
            if let Some(step) = next_step::of_entry(line) {
                out.line(&format!("    next: {}", printable(&step)))?;
            }
        }
        for failure in &self.failures {
            out.line(&format!("  ! {}", printable(failure)))?;
        }
        let (add, remove) = (self.to_add.len(), self.to_remove.len());
        let (add, writes) = (count(add, "grant"), count(self.writes, "destination"));
        out.line(&format!("{add} to add, {remove} to remove, {writes} to write"))?;
        Ok(())
    }

    /// Nothing is to be written. What is held back or unreadable is not in sync.
    fn exit_code(&self) -> ExitCode {
        if self.failures.is_empty() && !self.problems.iter().any(is_failure) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn table(shards: &[Shard]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header(["Region", "destination", "accounts", "bytes used", "bytes left", "room for"]);
    for it in shards {
        let numbers = [it.policy_bytes, it.policy_bytes_left, it.room];
        let cells = [it.region.to_string(), it.destination.clone(), it.count()].into_iter();
        table.add_row(cells.chain(numbers.map(|number| number.to_string())));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
