//! The checks for people at a terminal: by group, one line for what is well, and for what is not what it means and how
//! to mend it.

use std::io::Write;

use enroller_core::doctor::{Check, CheckId, Group, Status, Summary};
use owo_colors::Style;

use super::Report;
use crate::coverage::table::printable;
use crate::output::{Output, OutputError};

/// Lines about what is not well in one kind of check; the rest is counted.
const NAMED: usize = 10;

/// Width of the status and the id.
const STATUS: usize = 7;
const ID: usize = 18;

/// Prints all checks.
pub(super) fn print<W: Write>(out: &mut Output<W>, report: &Report<'_>) -> Result<(), OutputError> {
    let title = out.styled(&format!("DoctorReport of {}", report.organization), Style::new().bold());
    out.line(&format!("{title}, central account {}, home Region {}", report.central_account, report.home_region))?;
    let mut shown: Option<Group> = None;
    for id in CheckId::ALL {
        let checks: Vec<&Check> = report.checks.iter().filter(|check| check.id == *id).collect();
        if checks.is_empty() {
            continue;
        }
        if shown.replace(id.group()) != Some(id.group()) {
            let heading = out.styled(id.group().title(), Style::new().bold());
            out.line(&format!("\n{heading}"))?;
        }
        of_one_kind(out, *id, &checks)?;
    }
    out.line("")?;
    out.line(&verdict(out, &report.summary))
}

fn of_one_kind<W: Write>(out: &mut Output<W>, id: CheckId, checks: &[&Check]) -> Result<(), OutputError> {
    let (well, mut ill): (Vec<&Check>, Vec<&Check>) = checks.iter().partition(|check| check.status() == Status::Ok);
    match well.as_slice() {
        [] => {}
        [only] => line(out, Status::Ok, id, &told(only))?,
        several => line(out, Status::Ok, id, &format!("{} of {}", several.len(), checks.len()))?,
    }
    if ill.is_empty() {
        return Ok(());
    }
    ill.sort_by_key(|check| std::cmp::Reverse(check.status()));
    for check in ill.iter().take(NAMED) {
        line(out, check.status(), id, &told(check))?;
    }
    if let Some(more) = ill.len().checked_sub(NAMED).filter(|more| *more > 0) {
        beneath(out, &format!("and {more} more, which --format json lists"))?;
    }
    beneath(out, &out.styled(&format!("why   {}", id.meaning()), Style::new().dimmed()))?;
    let mut remedies: Vec<&str> = ill.iter().map(|check| check.verdict.remedy.as_str()).collect();
    remedies.sort_unstable();
    remedies.dedup();
    remedies.iter().try_for_each(|remedy| beneath(out, &format!("mend  {}", printable(remedy))))
}

fn told(check: &Check) -> String {
    let finding = printable(&check.verdict.finding);
    match check.subject() {
        subject if subject.is_empty() => finding,
        subject => format!("{}: {finding}", printable(&subject)),
    }
}

fn line<W: Write>(out: &mut Output<W>, status: Status, id: CheckId, text: &str) -> Result<(), OutputError> {
    // Padded before it is styled: the escape codes would count as letters.
    let word = out.styled(&format!("{:<STATUS$}", status.as_str()), style(status));
    out.line(&format!("  {word}  {:<ID$}  {text}", id.as_str()))
}

/// A line under the text of the one above.
fn beneath<W: Write>(out: &mut Output<W>, text: &str) -> Result<(), OutputError> {
    out.line(&format!("{:indent$}{text}", "", indent = STATUS + ID + 6))
}

fn style(status: Status) -> Style {
    match status {
        Status::Ok => Style::new().green(),
        Status::Warning | Status::Unknown => Style::new().yellow(),
        Status::Failed => Style::new().red(),
    }
}

/// The last line: everything in one sentence.
fn verdict<W: Write>(out: &Output<W>, summary: &Summary) -> String {
    let worst = Status::ALL.into_iter().rev().find(|status| summary.of(*status) > 0).unwrap_or(Status::Ok);
    let text = match worst {
        Status::Ok => "All is well",
        Status::Warning => "It works, with warnings",
        Status::Unknown => "Nothing is known to be broken, but not everything could be looked at",
        Status::Failed => "Something does not work",
    };
    let counts: Vec<String> = Status::ALL
        .into_iter()
        .filter(|status| summary.of(*status) > 0)
        .map(|status| format!("{} {}", summary.of(status), status.as_str()))
        .collect();
    out.styled(&format!("{text}: {}", counts.join(", ")), style(worst).bold())
}

#[cfg(test)]
mod tests {
    use enroller_core::doctor::{CheckResult, DoctorReport};

    use super::*;
    use crate::output::testing::{printed, to_nobody};

    fn shown(checks: Vec<Check>) -> String {
        let checkup = DoctorReport::new(checks);
        printed(|out| print(out, &report(&checkup)).unwrap())
    }

    fn report(checkup: &DoctorReport) -> Report<'_> {
        static ORGANIZATION: std::sync::OnceLock<enroller_core::ids::OrganizationId> = std::sync::OnceLock::new();
        static HOME: std::sync::OnceLock<enroller_core::ids::Region> = std::sync::OnceLock::new();
        Report {
            organization: ORGANIZATION.get_or_init(|| "o-exampleorg1".parse().unwrap()),
            central_account: "444455556666".parse().unwrap(),
            home_region: HOME.get_or_init(|| "eu-west-1".parse().unwrap()),
            summary: checkup.summary(),
            checks: checkup.checks(),
        }
    }

    fn member_role(number: usize, verdict: CheckResult) -> Check {
        Check::new(CheckId::MemberRole, verdict).of(format!("{number:012}").parse().unwrap())
    }

    #[test]
    fn what_is_well_takes_a_line_and_what_is_not_says_why_and_how() {
        let shown = shown(vec![
            Check::new(CheckId::Caller, CheckResult::ok("arn:aws:iam::444455556666:root")),
            member_role(1, CheckResult::ok("Member can be assumed")),
            member_role(2, CheckResult::ok("Member can be assumed")),
            member_role(3, CheckResult::failed("Member cannot be assumed", "deploy the member stack")),
            Check::new(CheckId::Queue, CheckResult::warning("it has no dead-letter queue", "update the stack"))
                .about("q"),
        ]);
        let expected = "\
DoctorReport of o-exampleorg1, central account 444455556666, home Region eu-west-1

Caller and organization
  ok       caller              arn:aws:iam::444455556666:root

Queues
  warning  queue               q: it has no dead-letter queue
                               why   A function receives its messages from this queue, and those it cannot process must go to a dead-letter queue.
                               mend  update the stack

Accounts
  ok       member-role         2 of 3
  failed   member-role         000000000003: Member cannot be assumed
                               why   The enroller makes all its calls in an account with this role; without it the account is not enrolled.
                               mend  deploy the member stack

Something does not work: 3 ok, 1 warning, 1 failed
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn thousands_of_equal_failures_take_a_few_lines_and_the_worst_come_first() {
        let failed = |number| member_role(number, CheckResult::failed("no", "deploy the member stack"));
        let mut checks: Vec<Check> =
            (1..5_000).map(|number| member_role(number, CheckResult::unknown("?", "ask"))).collect();
        checks.extend((5_000..5_020).map(failed));
        let shown = shown(checks);
        assert!(shown.lines().count() < 25, "{shown}");
        assert!(shown.contains("and 5009 more, which --format json lists"), "{shown}");
        assert!(shown.contains("000000005000: no"), "{shown}");
        assert!(shown.contains("mend  ask") && shown.contains("mend  deploy the member stack"), "{shown}");
    }

    #[test]
    fn the_last_line_says_how_it_stands() {
        for (verdict, expected) in [
            (CheckResult::ok("x"), "All is well: 1 ok\n"),
            (CheckResult::warning("x", "y"), "It works, with warnings: 1 warning\n"),
            (CheckResult::unknown("x", "y"), "but not everything could be looked at: 1 unknown\n"),
        ] {
            assert!(shown(vec![member_role(1, verdict)]).ends_with(expected), "{expected}");
        }
    }

    #[test]
    fn a_stranger_cannot_write_to_the_terminal_and_a_reader_who_has_seen_enough_ends_it() {
        let hostile = vec![member_role(1, CheckResult::failed("a\u{1b}[2Jb", "c\nd"))];
        let text = shown(hostile);
        assert!(text.contains("a\u{fffd}[2Jb") && text.contains("c\u{fffd}d"), "{text}");
        let checkup = DoctorReport::default();
        assert!(matches!(print(&mut to_nobody(), &report(&checkup)), Err(OutputError::NobodyReads)));
    }
}
