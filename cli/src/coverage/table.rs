//! The report for a terminal: problems first, totals last.
//!
//! Covered VPCs take one line per account, and equal problems of an account-Region share a line, so that a report about
//! ten thousand VPCs stays readable. With `every_vpc`, each VPC has its own line.

use std::collections::BTreeMap;
use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use enroller_core::coverage::{CoverageReport, CoverageRow, Status, Totals};
use enroller_core::ids::{AccountId, Region};
use owo_colors::Style;

use crate::about::About;
use crate::output::{Output, OutputError, count, printable};

/// Where the fourth column begins, in characters.
const INDENT: usize = 37;

/// Most VPCs named in a line about several VPCs. The others are counted.
const NAMED: usize = 3;

/// Most lines about what is left alone. They need no action, so the others are only counted.
const LEFT_ALONE: usize = 20;

/// Most accounts in the table of accounts with problems.
const ACCOUNTS: usize = 10;

/// Prints the whole report. `every_vpc` lists each VPC instead of grouping them.
pub(crate) fn print<W: Write>(
    out: &mut Output<W>,
    about: &About,
    report: &CoverageReport,
    every_vpc: bool,
) -> Result<(), OutputError> {
    let bold = Style::new().bold();
    let title = format!("VPC Flow Logs coverage of {}", report.organization);
    out.line(&format!("{}, {}", out.styled(&title, bold), report.generated_at))?;
    about.print(out)?;
    if every_vpc {
        each_vpc(out, report)?;
    } else {
        grouped(out, "Problems", report.rows.iter().filter(|row| row.status.is_problem()))?;
        grouped(out, "Covered, but", report.rows.iter().filter(|row| is_remarkable(row)))?;
        weakened(out, report)?;
        covered(out, report)?;
        left_alone(out, report)?;
    }
    what_to_do(out, report)?;
    totals(out, about, report)
}

/// The rows of each account, by account id.
fn by_account<'a>(rows: impl Iterator<Item = &'a CoverageRow>) -> BTreeMap<AccountId, Vec<&'a CoverageRow>> {
    let mut accounts = BTreeMap::<_, Vec<_>>::new();
    for row in rows {
        accounts.entry(row.account).or_default().push(row);
    }
    accounts
}

fn heading<W: Write>(out: &mut Output<W>, text: &str) -> Result<(), OutputError> {
    let text = out.styled(text, Style::new().bold());
    out.line(&format!("\n{text}"))
}

fn account_line(row: &CoverageRow) -> String {
    format!("{}  {}", row.account, printable(&row.account_name)).trim_end().to_owned()
}

fn each_vpc<W: Write>(out: &mut Output<W>, report: &CoverageReport) -> Result<(), OutputError> {
    for rows in by_account(report.rows.iter()).into_values() {
        let mut lines = rows;
        lines.sort_by_key(|row| (&row.region, row.status));
        if let Some(first) = lines.first() {
            heading(out, &account_line(first)).and_then(|()| lines.iter().try_for_each(|row| one_vpc(out, row)))?;
        }
    }
    Ok(())
}

fn one_vpc<W: Write>(out: &mut Output<W>, row: &CoverageRow) -> Result<(), OutputError> {
    let why = match (row.name.as_str(), row.reason.as_str()) {
        ("", reason) => reason.to_owned(),
        (name, "") => name.to_owned(),
        (name, reason) => format!("{name}: {reason}"),
    };
    line(out, row.status, region(row), vpc(row), &why)
}

/// Prints a line for each VPC that somebody opted out or narrowed: every one is a decision about evidence.
fn weakened<W: Write>(out: &mut Output<W>, report: &CoverageReport) -> Result<(), OutputError> {
    let rows = report.rows.iter().filter(|row| matches!(row.status, Status::Narrowed | Status::OptedOut));
    let accounts = by_account(rows);
    if accounts.is_empty() {
        return Ok(());
    }
    heading(out, "Opted out or narrowed")?;
    for rows in accounts.into_values() {
        if let Some(first) = rows.first() {
            out.line(&out.styled(&account_line(first), Style::new().bold()))?;
        }
        rows.iter().try_for_each(|row| one_vpc(out, row))?;
    }
    Ok(())
}

/// Whether there is something to know about a covered VPC, such as records that arrive twice.
fn is_remarkable(row: &CoverageRow) -> bool {
    row.status == Status::Covered && !row.reason.is_empty()
}

/// Prints rows. VPCs with the same account, Region, status and reason share a line.
fn grouped<'a, W: Write>(
    out: &mut Output<W>,
    title: &str,
    rows: impl Iterator<Item = &'a CoverageRow>,
) -> Result<(), OutputError> {
    let accounts = by_account(rows);
    if accounts.is_empty() {
        return Ok(());
    }
    heading(out, title)?;
    for rows in accounts.into_values() {
        let mut alike = BTreeMap::<_, Vec<&CoverageRow>>::new();
        for row in &rows {
            // Each reason may name the VPC's own flow log, which would keep equal problems apart.
            let reason = row.flow_log.as_ref().map_or(row.reason.clone(), |log| row.reason.replace(log.as_str(), "…"));
            alike.entry((&row.region, row.status, reason)).or_default().push(row);
        }
        if let Some(first) = rows.first() {
            out.line(&out.styled(&account_line(first), Style::new().bold()))?;
        }
        for ((_, status, reason), rows) in alike {
            match rows.as_slice() {
                [] => {}
                [row] => one_vpc(out, row)?,
                [first, ..] => {
                    let vpcs = count(rows.len(), "VPC");
                    line(out, status, region(first), &vpcs, &reason.replace(" … ", " "))?;
                    out.line(&format!("{:INDENT$}{}", "", several(&rows)))?;
                }
            }
        }
    }
    Ok(())
}

/// Prints one line per account with the number of covered VPCs in each Region.
fn covered<W: Write>(out: &mut Output<W>, report: &CoverageReport) -> Result<(), OutputError> {
    let accounts = by_account(report.rows.iter().filter(|row| row.status == Status::Covered));
    if accounts.is_empty() {
        return Ok(());
    }
    heading(out, "Covered")?;
    for rows in accounts.into_values() {
        let mut regions = BTreeMap::<&str, usize>::new();
        for row in &rows {
            *regions.entry(region(row)).or_default() += 1;
        }
        let regions: Vec<String> = regions.into_iter().map(|(region, vpcs)| format!("{region} {vpcs}")).collect();
        if let Some(first) = rows.first() {
            let vpcs = out.styled(&count(rows.len(), "VPC"), style(Status::Covered));
            out.line(&format!("  {}  {vpcs}: {}", account_line(first), regions.join(", ")))?;
        }
    }
    Ok(())
}

/// Prints one line per reason, because whole accounts and Regions share a reason.
fn left_alone<W: Write>(out: &mut Output<W>, report: &CoverageReport) -> Result<(), OutputError> {
    let mut reasons = BTreeMap::<(Status, &str), Vec<&CoverageRow>>::new();
    for row in report.rows.iter().filter(|row| matches!(row.status, Status::Skipped | Status::Excluded)) {
        reasons.entry((row.status, row.reason.as_str())).or_default().push(row);
    }
    if reasons.is_empty() {
        return Ok(());
    }
    heading(out, "Left alone")?;
    for ((status, reason), rows) in reasons.iter().take(LEFT_ALONE) {
        let whose = match rows.as_slice() {
            [row] => row.account.to_string(),
            rows => count(by_account(rows.iter().copied()).len(), "account"),
        };
        let what = match rows.as_slice() {
            [row] if row.vpc.is_some() => format!("{} {}", region(row), vpc(row)),
            [row] => region(row).to_owned(),
            rows => several_kinds(rows),
        };
        line(out, *status, &whose, &what, reason)?;
    }
    match reasons.len().saturating_sub(LEFT_ALONE) {
        0 => Ok(()),
        more => out.line(&format!("  and {}, shown by --all", count(more, "more reason"))),
    }
}

fn what_to_do<W: Write>(out: &mut Output<W>, report: &CoverageReport) -> Result<(), OutputError> {
    let mut steps = BTreeMap::<&str, usize>::new();
    let is_listed = |row: &&CoverageRow| row.status.is_problem() || is_remarkable(row);
    for row in report.rows.iter().filter(is_listed).filter(|row| !row.next_step.is_empty()) {
        *steps.entry(&row.next_step).or_default() += 1;
    }
    if steps.is_empty() {
        return Ok(());
    }
    heading(out, "What to do")?;
    let mut steps: Vec<_> = steps.into_iter().collect();
    steps.sort_by_key(|&(step, count)| (std::cmp::Reverse(count), step));
    steps.iter().try_for_each(|(step, count)| out.line(&format!("  {count:>6} x  {}", printable(step))))
}

fn totals<W: Write>(out: &mut Output<W>, about: &About, report: &CoverageReport) -> Result<(), OutputError> {
    let mut accounts: Vec<_> = report.by_account().into_iter().filter(|(_, totals)| totals.problems() > 0).collect();
    if accounts.len() > 1 {
        let title = match accounts.len() {
            many if many > ACCOUNTS => format!("Accounts with the most problems, {ACCOUNTS} of {many}"),
            _ => "Accounts with problems".to_owned(),
        };
        heading(out, &title)?;
        accounts.sort_by_key(|(account, totals)| (std::cmp::Reverse(totals.problems()), *account));
        accounts.truncate(ACCOUNTS);
        out.line(&counts("ACCOUNT", &accounts))?;
    }
    let regions: Vec<(Region, Totals)> = report.by_region().into_iter().collect();
    if !regions.is_empty() {
        heading(out, "Regions")?;
        out.line(&counts("REGION", &regions))?;
    }
    out.line("")?;
    out.line(&verdict(out, about, report))
}

/// A table of the number of rows with each status. Statuses that occur nowhere have no column.
fn counts<K: ToString>(what: &str, lines: &[(K, Totals)]) -> String {
    let present: Vec<Status> =
        Status::ALL.into_iter().filter(|status| lines.iter().any(|(_, totals)| totals.of(*status) > 0)).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let titles = present.iter().map(|status| status.title().to_uppercase());
    table.set_header([what.to_owned(), "COVERAGE".to_owned()].into_iter().chain(titles));
    for (key, totals) in lines {
        let numbers = present.iter().map(|status| totals.of(*status).to_string());
        table.add_row([key.to_string(), percent(totals)].into_iter().chain(numbers));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// The last line: the overall result.
fn verdict<W: Write>(out: &Output<W>, about: &About, report: &CoverageReport) -> String {
    let totals = report.totals();
    let (status, text) = match (totals.wanted(), totals.problems()) {
        (0, _) => (Status::Excluded, "There is nothing to cover".to_owned()),
        (_, 0) => (Status::Covered, format!("Everything is covered: {}", count(totals.covered, "VPC"))),
        (wanted, _) => (Status::Broken, format!("{} covered: {} of {wanted}", percent(&totals), totals.covered)),
    };
    let rest = Status::ALL.into_iter().filter(|status| *status != Status::Covered && totals.of(*status) > 0);
    let rest: Vec<String> =
        rest.map(|status| format!("{} {}", totals.of(status), status.title().to_lowercase())).collect();
    let rest = if rest.is_empty() { String::new() } else { format!("; {}", rest.join(", ")) };
    let inspected = format!(
        " ({}, {}, {} without a VPC)",
        count(report.accounts, "account"),
        count(report.account_regions, "account-Region"),
        report.empty_account_regions
    );
    let of = |part: String| match part.strip_prefix("in ") {
        Some(regions) => format!("In {regions} only: "),
        None => format!("Of {part} only: "),
    };
    let part = about.scope.title().map(of).unwrap_or_default();
    let simulated = if about.simulated { "SIMULATED. " } else { "" };
    out.styled(&format!("{simulated}{part}{text}{rest}{inspected}"), style(status).bold())
}

fn percent(totals: &Totals) -> String {
    totals.coverage_percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1} %"))
}

fn line<W: Write>(out: &mut Output<W>, status: Status, at: &str, what: &str, why: &str) -> Result<(), OutputError> {
    // The status is padded before it is styled, because padding would count the escape codes as characters.
    let status = out.styled(&format!("{:<17}", status.title().to_lowercase()), style(status));
    let text = format!("  {status}  {at:<14}  {what:<21}  {}", printable(why));
    out.line(text.trim_end())
}

fn style(status: Status) -> Style {
    match status {
        Status::Broken | Status::NotCovered => Style::new().red(),
        Status::ForeignOnly | Status::Unknown => Style::new().yellow(),
        Status::Covered => Style::new().green(),
        Status::Narrowed | Status::OptedOut => Style::new().yellow(),
        Status::Skipped | Status::Excluded => Style::new().dimmed(),
    }
}

fn region(row: &CoverageRow) -> &str {
    row.region.as_ref().map_or("all Regions", |region| region.as_str())
}

fn vpc(row: &CoverageRow) -> &str {
    row.vpc.as_ref().map_or("", |vpc| vpc.as_str())
}

fn several(rows: &[&CoverageRow]) -> String {
    let named: Vec<String> = rows.iter().take(NAMED).filter_map(|row| Some(row.vpc.as_ref()?.to_string())).collect();
    match rows.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn several_kinds(rows: &[&CoverageRow]) -> String {
    let vpcs = rows.iter().filter(|row| row.vpc.is_some()).count();
    match rows.len() - vpcs {
        0 => count(vpcs, "VPC"),
        account_regions if vpcs == 0 => count(account_regions, "account-Region"),
        account_regions => {
            format!("{}, {}", count(vpcs, "VPC"), count(account_regions, "account-Region"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{about, report, row};
    use super::*;
    use crate::output::testing::{printed, to_nobody};

    fn shown(rows: Vec<CoverageRow>, every_vpc: bool) -> String {
        printed(|out| print(out, &about(), &report(rows), every_vpc).unwrap())
    }

    /// Another VPC, in account 1.
    fn beside(number: u32, status: Status) -> CoverageRow {
        CoverageRow { account: row(1, status).account, account_name: "account-1".to_owned(), ..row(number, status) }
    }

    #[test]
    fn problems_come_first_and_totals_last() {
        let rows = vec![row(1, Status::Covered), row(2, Status::Broken), row(3, Status::Excluded)];
        let about = about().lines().join("\n");
        let expected = format!(
            "\
VPC Flow Logs coverage of o-exampleorg1, 2026-11-23T10:00:00Z
{about}

Problems
000000000002  account-2
  broken             eu-west-1       vpc-00000002           vpc 2: It has a reason.

Covered
  000000000001  account-1  1 VPC: eu-west-1 1

Left alone
  excluded           000000000003    eu-west-1 vpc-00000003  It has a reason.

What to do
       1 x  Run enroller backfill.

Regions
 REGION     COVERAGE  BROKEN  COVERED  EXCLUDED
 eu-west-1    50.0 %       1        1         1

50.0 % covered: 1 of 2; 1 broken, 1 excluded (3 accounts, 3 account-Regions, 0 without a VPC)
"
        );
        assert_eq!(shown(rows, false), expected);
    }

    #[test]
    fn the_last_line_reports_that_everything_is_covered() {
        let text = shown(vec![row(1, Status::Covered), row(2, Status::Covered)], false);
        assert!(
            text.ends_with("Everything is covered: 2 VPCs (2 accounts, 2 account-Regions, 0 without a VPC)\n"),
            "{text}"
        );
        assert!(!text.contains("Problems") && !text.contains("What to do"), "{text}");
        let nothing = shown(Vec::new(), false);
        assert!(
            nothing.ends_with("There is nothing to cover (0 accounts, 0 account-Regions, 0 without a VPC)\n"),
            "{nothing}"
        );
    }

    #[test]
    fn ten_thousand_covered_vpcs_take_one_line_per_account() {
        let numbered = |number: u32| CoverageRow {
            account: row(number % 50, Status::Covered).account,
            account_name: format!("account-{}", number % 50),
            ..row(number, Status::Covered)
        };
        let rows: Vec<_> = (0..10_000).map(numbered).collect();
        let text = shown(rows.clone(), false);
        assert!(text.lines().count() < 70, "{}", text.lines().count());
        assert!(text.contains("000000000007  account-7  200 VPCs: eu-west-1 200"), "{text}");
        assert!(shown(rows, true).lines().count() > 10_000);
    }

    #[test]
    fn equal_problems_of_an_account_region_share_a_line() {
        let with_log = |number: u32| CoverageRow {
            flow_log: Some(format!("fl-{number:08x}").parse().unwrap()),
            reason: format!("Flow log fl-{number:08x} is ACTIVE, but the log group does not exist."),
            ..beside(number, Status::Broken)
        };
        let text = shown((1..=5).map(with_log).collect(), false);
        let lines = "
  broken             eu-west-1       5 VPCs                 Flow log is ACTIVE, but the log group does not exist.
                                     vpc-00000001, vpc-00000002, vpc-00000003 and 2 more
";
        assert!(text.contains(lines), "{text}");
    }

    #[test]
    fn what_is_left_alone_is_listed_by_reason_up_to_a_limit() {
        let mut rows: Vec<_> = (1..=30).map(|number| row(number, Status::Skipped)).collect();
        assert!(shown(rows.clone(), false).contains("skipped            30 accounts     30 VPCs"), "one reason");
        for (number, row) in rows.iter_mut().enumerate() {
            row.reason = format!("Denied in account number {number}.");
        }
        let text = shown(rows, false);
        assert!(text.contains("  and 10 more reasons, shown by --all"), "{text}");
    }

    #[test]
    fn untrusted_text_is_escaped() {
        let mut hostile = row(1, Status::Broken);
        hostile.account_name = "prod\u{1b}[2J\u{202e}dorp".to_owned();
        hostile.name = "a\nb\u{9b}31m".to_owned();
        for every_vpc in [true, false] {
            let text = shown(vec![hostile.clone()], every_vpc);
            assert!(text.contains("prod\u{fffd}[2J\u{fffd}dorp") && text.contains("a\u{fffd}b\u{fffd}31m"), "{text}");
        }
    }

    #[test]
    fn a_closed_pipe_ends_the_output() {
        let ended = print(&mut to_nobody(), &about(), &report(vec![row(1, Status::Broken)]), false);
        assert!(matches!(ended, Err(OutputError::NobodyReads)));
    }
}
