//! The result of a backfill.

use std::collections::BTreeMap;
use std::io::Write;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use enroller_core::ids::AccountId;
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::observed::Account;
use enroller_core::scope::OutOfScope;
use enroller_engine::enroller::{AccountReport, GAP, KEEP_FLOW_LOG, VpcResult};
use enroller_engine::granter::GrantReport;
use owo_colors::Style;

use crate::output::{Output, OutputError, printable};

/// The latest report on every account, and the result of the sync of the grants.
pub(super) struct Outcomes {
    accounts: BTreeMap<AccountId, AccountReport>,
    left_out: Vec<String>,
    grants_added: usize,
    grants_removed: usize,
    changes: usize,
    /// Failures of the sync of the grants.
    grant_failures: Vec<LogEntry>,
}

/// The number of VPCs with each result.
#[derive(Default)]
struct Counts {
    enrolled: usize,
    repaired: usize,
    covered: usize,
    left_alone: usize,
    broken: usize,
    failed: usize,
}

impl Outcomes {
    pub(super) fn new(grants: &GrantReport) -> Self {
        let failed = |line: &&LogEntry| is_failure(line);
        Self {
            accounts: BTreeMap::new(),
            left_out: Vec::new(),
            grants_added: grants.granted.len(),
            grants_removed: grants.revoked.len(),
            changes: grants.writes,
            grant_failures: grants.decisions.iter().filter(failed).cloned().collect(),
        }
    }

    pub(super) fn left_out(&mut self, account: &Account, reason: &OutOfScope) {
        self.left_out.push(format!("{} {}: {reason}", account.id, printable(&account.name)));
    }

    /// Adds an account's report. A report of a later pass replaces the earlier one, whose changes still count.
    pub(super) fn add(&mut self, account: AccountId, report: AccountReport) {
        self.changes += report.changes();
        self.accounts.insert(account, report);
    }

    /// Whether every selected VPC is covered or deliberately left alone.
    pub(super) fn all_well(&self) -> bool {
        self.failures().next().is_none()
    }

    fn failures(&self) -> impl Iterator<Item = &LogEntry> {
        let lines = self.accounts.values().flat_map(|report| &report.account_regions).flat_map(|at| &at.decisions);
        self.grant_failures.iter().chain(lines.filter(|line| is_failure(line)))
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for result in self.accounts.values().flat_map(|report| &report.account_regions).flat_map(|at| at.vpcs.values())
        {
            match result {
                VpcResult::Enrolled => counts.enrolled += 1,
                VpcResult::Repaired => counts.repaired += 1,
                VpcResult::Covered | VpcResult::CoveredByOthers => counts.covered += 1,
                VpcResult::OutOfScope(_) => counts.left_alone += 1,
                VpcResult::Broken(_) => counts.broken += 1,
                VpcResult::Failed(_) => counts.failed += 1,
            }
        }
        counts
    }

    /// Account-Regions of which not even the VPCs are known.
    fn not_inspected(&self) -> usize {
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
            ("accounts granted", self.grants_added),
            ("grants removed", self.grants_removed),
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
        let account_regions = self.accounts.values().flat_map(|report| &report.account_regions);
        let gaps: Vec<&LogEntry> =
            account_regions.flat_map(|at| &at.decisions).filter(|line| line.cause == GAP).collect();
        if gaps.is_empty() {
            return Ok(());
        }
        let title = out.styled("Gaps", Style::new().yellow().bold());
        out.line(&format!(
            "\n{title}: AWS rejected a second flow log, so the old one was deleted before its replacement was created"
        ))?;
        for line in gaps {
            out.line(&format!("  {}", subject_and_cause(line)))?;
        }
        Ok(())
    }

    /// Replaced flow logs that are kept until their successors deliver.
    fn print_unfinished<W: Write>(&self, out: &mut Output<W>) -> Result<(), OutputError> {
        let account_regions = self.accounts.values().flat_map(|report| &report.account_regions);
        let kept: Vec<&LogEntry> =
            account_regions.flat_map(|at| &at.decisions).filter(|line| line.action == KEEP_FLOW_LOG).collect();
        if kept.is_empty() {
            return Ok(());
        }
        let title = out.styled("Not finished", Style::new().yellow().bold());
        out.line(&format!(
            "\n{title}: replaced flow logs go when their successors deliver; run the command again after 15 minutes, or leave it to the functions"
        ))?;
        for line in kept {
            out.line(&format!("  {}", subject_and_cause(line)))?;
        }
        Ok(())
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

fn is_failure(line: &LogEntry) -> bool {
    match line.outcome {
        Outcome::RetryLater | Outcome::Failed | Outcome::Refused => true,
        Outcome::Done | Outcome::Unchanged | Outcome::Ignored | Outcome::Skipped => false,
    }
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
    match &line.next_step {
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
    fn untrusted_text_is_escaped() {
        let hostile = "prod\u{1b}[2J\u{202e}dorp\n\u{9b}31m";
        let line = LogEntry::about(None, "grant", hostile, Outcome::Failed, hostile);
        let grants = GrantReport { decisions: vec![line], ..GrantReport::default() };
        let mut outcomes = Outcomes::new(&grants);
        let id = "111122223333".parse().unwrap();
        let account = Account { id, name: hostile.to_owned(), state: AccountState::Active, parents: Vec::new() };
        outcomes.left_out(&account, &OutOfScope::AccountExcluded);
        let text = printed(|out| outcomes.print(out, false).unwrap());
        assert_eq!(text.matches("prod\u{fffd}[2J\u{fffd}dorp\u{fffd}\u{fffd}31m").count(), 3, "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{text:?}");
    }
}
