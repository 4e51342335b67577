//! The result of a backfill.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use enroller_core::backfill::BackfillRequest;
use enroller_core::ids::{AccountId, AccountRegion, VpcId};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::observed::Account;
use enroller_core::plan::{Action, Plan, VpcPlan};
use enroller_core::scope::OutOfScope;
use enroller_engine::enroller::{AccountReport, GAP, KEEP_FLOW_LOG, VpcResult};
use owo_colors::Style;

use crate::about::About;
use crate::granting::{GrantsDone, is_failure};
use crate::next_step;
use crate::output::{Output, OutputError, printable};
use crate::plan::OrganizationSnapshot;
use crate::session::Session;

/// The latest report on every account, what was made of every VPC, and the result of the sync of the grants.
pub(super) struct Outcomes {
    accounts: BTreeMap<AccountId, AccountReport>,
    vpcs: BTreeMap<AccountRegion, BTreeMap<VpcId, Made>>,
    /// Account-Regions in which something was repaired that every VPC needs: the grant, the log group or the filter.
    repaired: BTreeSet<AccountRegion>,
    left_out: Vec<String>,
    grants: GrantsDone,
    changes: usize,
    /// The number of accounts selected, and of all.
    selected: (usize, usize),
    /// The plans that were shown, if any were.
    seen: BTreeMap<AccountRegion, Plan>,
}

/// What was made of a VPC, in the words of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Enrolled,
    Repaired,
    Covered,
    LeftAlone,
    Broken,
    Failed,
}

impl Made {
    /// `planned` is what the plan that was shown says of the VPC. vpc-enroller enrolls accounts that are granted meanwhile,
    /// and may have been here first.
    const fn of(result: &VpcResult, repaired: bool, planned: Option<&VpcPlan>) -> Self {
        match result {
            VpcResult::Covered if matches!(planned, Some(VpcPlan::Enroll { .. })) => Self::Enrolled,
            VpcResult::Covered if matches!(planned, Some(VpcPlan::Replace { .. })) => Self::Repaired,
            VpcResult::Enrolled => Self::Enrolled,
            VpcResult::Repaired => Self::Repaired,
            // Its flow log was right before, and its records could not arrive.
            VpcResult::Covered | VpcResult::CoveredByOthers if repaired => Self::Repaired,
            VpcResult::Covered | VpcResult::CoveredByOthers => Self::Covered,
            VpcResult::OutOfScope(_) => Self::LeftAlone,
            VpcResult::Broken(_) => Self::Broken,
            VpcResult::Failed(_) => Self::Failed,
        }
    }

    /// A later pass finds covered what an earlier one has enrolled or repaired.
    const fn after(self, earlier: Option<Self>) -> Self {
        match (self, earlier) {
            (Self::Covered | Self::Repaired, Some(earlier @ (Self::Enrolled | Self::Repaired))) => earlier,
            (now, _) => now,
        }
    }
}

/// The number of VPCs with each result.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) enrolled: usize,
    pub(super) repaired: usize,
    pub(super) covered: usize,
    pub(super) left_alone: usize,
    pub(super) broken: usize,
    pub(super) failed: usize,
}

impl Outcomes {
    pub(super) fn new(grants: GrantsDone, selected: (usize, usize), seen: Option<&OrganizationSnapshot>) -> Self {
        let account_regions = seen.into_iter().flat_map(|seen| &seen.surveys).flat_map(|it| &it.account_regions);
        let plans = account_regions.filter_map(|it| Some((it.at.clone(), it.found.as_ref().ok()?.1.clone())));
        Self {
            seen: plans.collect(),
            selected,
            accounts: BTreeMap::new(),
            vpcs: BTreeMap::new(),
            repaired: grants.added.clone(),
            left_out: Vec::new(),
            changes: grants.destinations,
            grants,
        }
    }

    /// What the report on the selection is about.
    pub(super) fn about(&self, session: &Session, selection: &BackfillRequest) -> anyhow::Result<About> {
        About::of(session, selection, Some(self.selected))
    }

    pub(super) fn left_out(&mut self, account: &Account, reason: &OutOfScope) {
        self.left_out.push(format!("{} {}: {reason}", account.id, printable(&account.name)));
    }

    /// Adds an account's report. A report of a later pass replaces the earlier one, whose changes still count.
    pub(super) fn add(&mut self, account: AccountId, report: AccountReport) {
        self.changes += report.changes();
        for at in &report.account_regions {
            if at.decisions.iter().any(repairs_all) {
                self.repaired.insert(at.at.clone());
            }
            let repaired = self.repaired.contains(&at.at);
            let before = self.vpcs.remove(&at.at).unwrap_or_default();
            let seen = self.seen.get(&at.at);
            let made = |(vpc, result): (&VpcId, &VpcResult)| {
                let planned = seen.and_then(|plan| plan.vpcs.get(vpc));
                (vpc.clone(), Made::of(result, repaired, planned).after(before.get(vpc).copied()))
            };
            self.vpcs.insert(at.at.clone(), at.vpcs.iter().map(made).collect());
        }
        self.accounts.insert(account, report);
    }

    /// Whether every selected VPC is covered or deliberately left alone.
    pub(super) fn all_well(&self) -> bool {
        self.failures().next().is_none()
    }

    /// Resources that were made, altered or deleted, the unit of the plan.
    #[cfg(all(test, feature = "sim"))]
    pub(super) const fn changes(&self) -> usize {
        self.changes
    }

    fn failures(&self) -> impl Iterator<Item = &LogEntry> {
        let lines = self.accounts.values().flat_map(|report| &report.account_regions).flat_map(|at| &at.decisions);
        self.grants.failures.iter().chain(lines.filter(|line| is_failure(line)))
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for made in self.vpcs.values().flat_map(BTreeMap::values) {
            *match made {
                Made::Enrolled => &mut counts.enrolled,
                Made::Repaired => &mut counts.repaired,
                Made::Covered => &mut counts.covered,
                Made::LeftAlone => &mut counts.left_alone,
                Made::Broken => &mut counts.broken,
                Made::Failed => &mut counts.failed,
            } += 1;
        }
        counts
    }

    /// Account-Regions of which not even the VPCs are known.
    pub(super) fn not_inspected(&self) -> usize {
        let regions = self.accounts.values().flat_map(|report| &report.account_regions);
        regions.filter(|at| !at.looked_at && at.decisions.iter().any(is_failure)).count()
    }

    pub(super) fn print<W: Write>(&self, out: &mut Output<W>, interrupted: bool) -> Result<(), OutputError> {
        let counts = self.counts();
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        let not_inspected = self.not_inspected();
        // VPCs that nobody could see have failed too, and cannot be counted.
        let failed = match (counts.failed, not_inspected) {
            (failed, 0) => failed.to_string(),
            (0, _) => "unknown".to_owned(),
            (failed, _) => format!("at least {failed}"),
        };
        for (what, count) in [
            ("accounts done", self.accounts.len()),
            ("accounts left alone", self.left_out.len()),
            ("accounts granted", self.grants.added.iter().map(|at| at.account).collect::<BTreeSet<_>>().len()),
            ("grants added", self.grants.added.len()),
            ("grants removed", self.grants.removed.len()),
            ("VPCs enrolled", counts.enrolled),
            ("VPCs repaired", counts.repaired),
            ("VPCs already covered", counts.covered),
            ("VPCs left alone", counts.left_alone),
            ("VPCs broken", counts.broken),
        ] {
            table.add_row([what.to_owned(), count.to_string()]);
        }
        table.add_row(["VPCs failed", &failed]);
        table.add_row(["account-Regions not inspected", &not_inspected.to_string()]);
        table.add_row(["changes made", &self.changes.to_string()]);
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        out.line(&table.to_string())?;
        self.print_left_alone(out)?;
        self.print_gaps(out)?;
        self.print_unfinished(out)?;
        let failures: Vec<&LogEntry> = self.failures().collect();
        if !failures.is_empty() {
            let title = out.styled("Failures", Style::new().red().bold());
            out.line(&format!("\n{title}"))?;
        }
        for line in &failures {
            failure(out, line)?;
        }
        if interrupted {
            out.line("\nInterrupted: the accounts counted above are done, the others were not started. Run the command again to continue.")?;
        }
        Ok(())
    }

    /// Flow logs that had to be deleted before their replacements were created, so records may be missing.
    fn print_gaps<W: Write>(&self, out: &mut Output<W>) -> Result<(), OutputError> {
        let about = "AWS rejected a second flow log, so the old one was deleted before its replacement was created";
        self.print_notable(out, "Gaps", about, |line| line.cause == GAP)
    }

    /// Replaced flow logs that are kept until their successors deliver.
    fn print_unfinished<W: Write>(&self, out: &mut Output<W>) -> Result<(), OutputError> {
        let about = "replaced flow logs go when their successors deliver; run the command again after 15 minutes, or leave it to the functions";
        self.print_notable(out, "Not finished", about, |line| line.action == KEEP_FLOW_LOG)
    }

    fn print_notable<W: Write>(
        &self,
        out: &mut Output<W>,
        title: &str,
        about: &str,
        notable: impl Fn(&&LogEntry) -> bool,
    ) -> Result<(), OutputError> {
        let account_regions = self.accounts.values().flat_map(|report| &report.account_regions);
        let lines: Vec<&LogEntry> = account_regions.flat_map(|at| &at.decisions).filter(notable).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let title = out.styled(title, Style::new().yellow().bold());
        out.line(&format!("\n{title}: {about}"))?;
        lines.iter().try_for_each(|line| out.line(&format!("  {}", subject_and_cause(line))))
    }

    /// Accounts and account-Regions that are deliberately left alone.
    fn print_left_alone<W: Write>(&self, out: &mut Output<W>) -> Result<(), OutputError> {
        let account_regions = self.accounts.values().flat_map(|report| &report.account_regions);
        let skipped: Vec<&LogEntry> = account_regions
            .flat_map(|at| &at.decisions)
            .filter(|line| matches!(line.outcome, Outcome::Skipped | Outcome::Ignored))
            .collect();
        if self.left_out.is_empty() && skipped.is_empty() {
            return Ok(());
        }
        let title = out.styled("Left alone", Style::new().bold());
        out.line(&format!("\n{title}"))?;
        for text in &self.left_out {
            out.line(&format!("  {text}"))?;
        }
        for line in skipped {
            out.line(&format!("  {}", subject_and_cause(line)))?;
        }
        Ok(())
    }
}

/// Whether the line tells of a change without which no VPC of the account-Region delivers.
fn repairs_all(line: &LogEntry) -> bool {
    let needed = [Action::CREATE_LOG_GROUP, Action::PUT_FILTER];
    line.outcome == Outcome::Done && needed.contains(&line.action.as_ref())
}

fn subject_and_cause(line: &LogEntry) -> String {
    let account = line.account.map(|id| id.to_string()).unwrap_or_default();
    let region = line.region.as_ref().map(ToString::to_string).unwrap_or_default();
    // A line about the whole account-Region names it as its resource, too.
    let resource = match &line.resource {
        whole if *whole == format!("{account} in {region}") => String::new(),
        resource => format!(" {resource}"),
    };
    printable(&format!("{account} {region}{resource} {}: {}", line.action, line.cause))
}

fn failure<W: Write>(out: &mut Output<W>, line: &LogEntry) -> Result<(), OutputError> {
    out.line(&format!("  {}", subject_and_cause(line)))?;
    if let Some(id) = &line.request_id {
        out.line(&format!("    request: {}", printable(id)))?;
    }
    match next_step::of_entry(line) {
        Some(step) => out.line(&format!("    next: {step}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use enroller_core::observed::AccountState;

    use super::*;
    use crate::output::testing::printed;

    #[test]
    fn what_the_functions_enrolled_meanwhile_counts_as_it_was_planned() {
        let (enroll, covered) = (VpcPlan::Enroll { beside: None }, VpcPlan::Covered("fl-00000001".parse().unwrap()));
        let replace = VpcPlan::Replace { differences: String::new(), beside: None, to_group: true };
        for (planned, expected) in [
            (Some(&enroll), Made::Enrolled),
            (Some(&replace), Made::Repaired),
            (Some(&covered), Made::Covered),
            (None, Made::Covered),
        ] {
            assert_eq!(Made::of(&VpcResult::Covered, false, planned), expected, "{planned:?}");
        }
        assert_eq!(Made::of(&VpcResult::Broken(String::new()), false, Some(&enroll)), Made::Broken);
    }

    #[test]
    fn a_later_pass_keeps_what_an_earlier_one_has_made() {
        assert_eq!(Made::Covered.after(Some(Made::Enrolled)), Made::Enrolled);
        assert_eq!(Made::Repaired.after(Some(Made::Enrolled)), Made::Enrolled);
        assert_eq!(Made::Enrolled.after(Some(Made::Failed)), Made::Enrolled);
        assert_eq!(Made::Failed.after(Some(Made::Enrolled)), Made::Failed);
    }

    #[test]
    fn untrusted_text_is_escaped() {
        let hostile = "prod\u{1b}[2J\u{202e}dorp\n\u{9b}31m";
        let line = LogEntry::about(None, "grant", hostile, Outcome::Failed, hostile);
        let mut outcomes = Outcomes::new(GrantsDone { failures: vec![line], ..GrantsDone::default() }, (1, 1), None);
        let id = "111122223333".parse().unwrap();
        let account = Account { id, name: hostile.to_owned(), state: AccountState::Active, parents: Vec::new() };
        outcomes.left_out(&account, &OutOfScope::AccountExcluded);
        let text = printed(|out| outcomes.print(out, false).unwrap());
        assert_eq!(text.matches("prod\u{fffd}[2J\u{fffd}dorp\u{fffd}\u{fffd}31m").count(), 3, "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{text:?}");
    }
}
