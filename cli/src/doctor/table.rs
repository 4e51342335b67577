//! The doctor report for a terminal. Checks are grouped. Checks that passed take one line per kind, the others also show
//! what the problem means and how to fix it.

use std::io::Write;

use enroller_core::doctor::{Check, CheckId, Group, Status, Summary};
use owo_colors::Style;

use super::Report;
use crate::output::{Output, OutputError, count, printable};

/// Most problems listed for one kind of check. The others are counted.
const LISTED: usize = 10;

/// Width of the status column, in characters.
const STATUS: usize = 7;

/// Width of the column with the check's id, in characters.
const ID: usize = 18;

/// Prints all checks by group, and a summary as the last line.
pub(super) fn print<W: Write>(out: &mut Output<W>, report: &Report<'_>) -> Result<(), OutputError> {
    let title = out.styled(&format!("Doctor report for {}", report.organization), Style::new().bold());
    out.line(&format!("{title}, central account {}, home Region {}", report.central_account, report.home_region))?;
    report.about.print(out)?;
    let accounts = match report.sample {
        Some(most) => format!("a sample of at most {}; --all checks every one", count(most, "account")),
        None => "every account in scope".to_owned(),
    };
    out.line(&format!("Accounts: {accounts}"))?;
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
    let (passed, mut problems): (Vec<&Check>, Vec<&Check>) =
        checks.iter().partition(|check| check.status() == Status::Ok);
    match passed.as_slice() {
        [] => {}
        [only] => line(out, Status::Ok, id, &finding(only))?,
        several => line(out, Status::Ok, id, &format!("{} of {}", several.len(), checks.len()))?,
    }
    if problems.is_empty() {
        return Ok(());
    }
    problems.sort_by_key(|check| std::cmp::Reverse(check.status()));
    for check in problems.iter().take(LISTED) {
        line(out, check.status(), id, &finding(check))?;
    }
    if let Some(more) = problems.len().checked_sub(LISTED).filter(|more| *more > 0) {
        beneath(out, &format!("and {more} more, listed by --format json"))?;
    }
    beneath(out, &out.styled(&format!("why   {}", id.meaning()), Style::new().dimmed()))?;
    let mut remedies: Vec<&str> = problems.iter().map(|check| check.verdict.remedy.as_str()).collect();
    remedies.sort_unstable();
    remedies.dedup();
    remedies.iter().try_for_each(|remedy| beneath(out, &format!("fix   {}", printable(remedy))))
}

/// What the check found, with its subject in front.
fn finding(check: &Check) -> String {
    let finding = printable(&check.verdict.finding);
    match check.subject() {
        subject if subject.is_empty() => finding,
        subject => format!("{}: {finding}", printable(&subject)),
    }
}

fn line<W: Write>(out: &mut Output<W>, status: Status, id: CheckId, text: &str) -> Result<(), OutputError> {
    // The word is padded before it is styled, because padding would count the escape codes as characters.
    let word = out.styled(&format!("{:<STATUS$}", status.as_str()), style(status));
    out.line(&format!("  {word}  {:<ID$}  {text}", id.as_str()))
}

/// Prints a line that is aligned with the text of the line above.
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

/// The last line: the worst status, and the number of checks with each status.
fn verdict<W: Write>(out: &Output<W>, summary: &Summary) -> String {
    let worst = Status::ALL.into_iter().rev().find(|status| summary.of(*status) > 0).unwrap_or(Status::Ok);
    let text = match worst {
        Status::Ok => "All checks passed",
        Status::Warning => "Everything works, with warnings",
        Status::Unknown => "Nothing is known to be broken, but not everything could be checked",
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
            about: crate::about::testing::about(),
            sample: Some(5),
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
    fn passed_checks_take_a_line_and_problems_show_why_and_a_fix() {
        let shown = shown(vec![
            Check::new(CheckId::Caller, CheckResult::ok("arn:aws:iam::444455556666:root")),
            member_role(1, CheckResult::ok("Member can be assumed")),
            member_role(2, CheckResult::ok("Member can be assumed")),
            member_role(3, CheckResult::failed("Member cannot be assumed", "deploy the member stack")),
            Check::new(CheckId::Queue, CheckResult::warning("it has no dead-letter queue", "update the stack"))
                .about("q"),
        ]);
        let about = crate::about::testing::about().lines().join("\n");
        let (queue, role) = (CheckId::Queue.meaning(), CheckId::MemberRole.meaning());
        let expected = format!(
            "\
Doctor report for o-exampleorg1, central account 444455556666, home Region eu-west-1
{about}
Accounts: a sample of at most 5 accounts; --all checks every one

Caller and organization
  ok       caller              arn:aws:iam::444455556666:root

Queues
  warning  queue               q: it has no dead-letter queue
                               why   {queue}
                               fix   update the stack

Accounts
  ok       member-role         2 of 3
  failed   member-role         000000000003: Member cannot be assumed
                               why   {role}
                               fix   deploy the member stack

Something does not work: 3 ok, 1 warning, 1 failed
"
        );
        assert_eq!(shown, expected);
    }

    #[test]
    fn equal_problems_take_a_few_lines_and_the_worst_come_first() {
        let failed = |number| member_role(number, CheckResult::failed("no", "deploy the member stack"));
        let mut checks: Vec<Check> =
            (1..5_000).map(|number| member_role(number, CheckResult::unknown("?", "ask"))).collect();
        checks.extend((5_000..5_020).map(failed));
        let shown = shown(checks);
        assert!(shown.lines().count() < 25, "{shown}");
        assert!(shown.contains("and 5009 more, listed by --format json"), "{shown}");
        assert!(shown.contains("000000005000: no"), "{shown}");
        assert!(shown.contains("fix   ask") && shown.contains("fix   deploy the member stack"), "{shown}");
    }

    #[test]
    fn the_last_line_is_the_overall_result() {
        for (verdict, expected) in [
            (CheckResult::ok("x"), "All checks passed: 1 ok\n"),
            (CheckResult::warning("x", "y"), "Everything works, with warnings: 1 warning\n"),
            (CheckResult::unknown("x", "y"), "but not everything could be checked: 1 unknown\n"),
        ] {
            assert!(shown(vec![member_role(1, verdict)]).ends_with(expected), "{expected}");
        }
    }

    #[test]
    fn untrusted_text_is_escaped_and_a_closed_pipe_ends_the_output() {
        let hostile = vec![member_role(1, CheckResult::failed("a\u{1b}[2Jb", "c\nd"))];
        let text = shown(hostile);
        assert!(text.contains("a\u{fffd}[2Jb") && text.contains("c\u{fffd}d"), "{text}");
        let checkup = DoctorReport::default();
        assert!(matches!(print(&mut to_nobody(), &report(&checkup)), Err(OutputError::NobodyReads)));
    }
}
