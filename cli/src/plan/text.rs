//! The plan for a terminal, by account and Region. Accounts that are up to date share one line, and the figures come
//! last.

use std::io::Write;

use owo_colors::Style;

use super::report::{AccountPlan, Failure, GrantChange, PlanReport, RegionPlan, StepPlan, Verdict};
use crate::next_step;
use crate::output::{Output, OutputError, count, printable};

/// Most VPC ids or account ids shown in one line.
const SHOWN: usize = 6;

pub(super) fn print<W: Write>(out: &mut Output<W>, report: &PlanReport) -> Result<(), OutputError> {
    let title = format!("Plan for {}", report.organization);
    out.line(&out.styled(&title, Style::new().bold()))?;
    report.about.print(out)?;
    if !report.grants.is_empty() {
        heading(out, "Grants")?;
        for change in &report.grants {
            grant(out, change)?;
        }
    }
    for warning in &report.warnings {
        let at = warning.region.as_ref().map(ToString::to_string).unwrap_or_default();
        problem(out, &format!("{at} {}: {}", warning.action, warning.cause), next_step::of_entry(warning).as_deref())?;
    }
    let quiet = |account: &&AccountPlan| account.regions.iter().all(is_quiet);
    for account in report.accounts.iter().filter(|account| !quiet(account)) {
        heading(out, &format!("{} {}", account.account, account.name))?;
        for region in &account.regions {
            one_region(out, region)?;
        }
    }
    let unchanged = report.accounts.iter().filter(quiet).count();
    if unchanged > 0 {
        out.line(&format!("\n{} already up to date", count(unchanged, "account")))?;
    }
    if !report.left_alone.is_empty() {
        heading(out, "Left alone")?;
        for account in &report.left_alone {
            let (name, reason) = (printable(&account.name), printable(&account.reason));
            out.line(&format!("    {} {name}: {reason}", account.account))?;
        }
    }
    let style = if report.summary.changes > 0 { Style::new().bold() } else { Style::new().green().bold() };
    out.line(&format!("\n{}", out.styled(&summary(report), style)))
}

/// Whether the account-Region needs no change and no remark.
fn is_quiet(region: &RegionPlan) -> bool {
    let settled = region.vpcs.iter().all(|vpc| vpc.verdict == Verdict::Covered);
    region.steps.is_empty() && region.failure.is_none() && region.notes.is_empty() && settled
}

pub(super) fn summary(report: &PlanReport) -> String {
    let it = &report.summary;
    let mut now = format!("{} covered, {} broken", count(it.vpcs_covered, "VPC"), it.vpcs_broken);
    if it.vpcs_blocked > 0 {
        now.push_str(&format!(", {} blocked", it.vpcs_blocked));
    }
    now.push_str(&format!(", {} left alone.", it.vpcs_left_alone));
    if it.changes == 0 && it.failures == 0 {
        let person = match it.for_a_person() {
            0 => String::new(),
            some => format!(" A backfill does not help {}, see above.", count(some, "VPC")),
        };
        return format!("Nothing to do: {now}{person}");
    }
    format!(
        "Plan: {} to enroll, {} to repair (of these {} to replace), {} to add, {} to remove; {} in total. \
         {now} {} skipped, {} could not be inspected or changed.",
        count(it.vpcs_to_enroll, "VPC"),
        it.vpcs_to_repair,
        it.vpcs_to_replace,
        count(it.grants_to_add, "grant"),
        it.grants_to_remove,
        count(it.changes, "change"),
        count(it.skipped, "account-Region"),
        it.failures
    )
}

fn heading<W: Write>(out: &mut Output<W>, text: &str) -> Result<(), OutputError> {
    out.line(&format!("\n{}", out.styled(&printable(text), Style::new().bold())))
}

fn one_region<W: Write>(out: &mut Output<W>, region: &RegionPlan) -> Result<(), OutputError> {
    let covered = region.vpcs.iter().filter(|vpc| vpc.verdict == Verdict::Covered).count();
    match (&region.failure, region.vpcs.len()) {
        (Some(_), 0) => out.line(&format!("  {}", region.region))?,
        (_, vpcs) => out.line(&format!("  {}  ({covered} of {} covered)", region.region, count(vpcs, "VPC")))?,
    }
    for one in &region.steps {
        step(out, one)?;
    }
    // Where there are steps, they say what is repaired and why.
    let shown = |verdict| match verdict {
        Verdict::Broken | Verdict::Blocked | Verdict::LeftAlone => true,
        Verdict::Repair => region.steps.is_empty(),
        Verdict::Covered | Verdict::Enroll | Verdict::Replace => false,
    };
    for vpc in region.vpcs.iter().filter(|vpc| shown(vpc.verdict)) {
        let name = vpc.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        problem(out, &format!("{}{name} {}: {}", vpc.vpc, vpc.verdict.as_str(), vpc.reason), None)?;
    }
    for note in &region.notes {
        problem(out, note, None)?;
    }
    match &region.failure {
        Some(failure) => failed(out, failure),
        None => Ok(()),
    }
}

fn step<W: Write>(out: &mut Output<W>, step: &StepPlan) -> Result<(), OutputError> {
    let (sign, style) = match step.action {
        "delete-flow-logs" => ("-", Style::new().red()),
        "create-log-group" | "create-flow-logs" => ("+", Style::new().green()),
        _ => ("~", Style::new().yellow()),
    };
    let vpcs: Vec<&str> = step.vpcs.iter().take(SHOWN).map(|vpc| vpc.as_str()).collect();
    let mut shown = vpcs.join(", ");
    if step.vpcs.len() > SHOWN {
        shown.push_str(&format!(" and {} more", step.vpcs.len() - SHOWN));
    }
    let text = format!("    {} {:<24} {}", out.styled(sign, style), step.action, printable(&step.why));
    out.line(&text)?;
    if shown.is_empty() { Ok(()) } else { out.line(&format!("{:31}{shown}", "")) }
}

fn grant<W: Write>(out: &mut Output<W>, change: &GrantChange) -> Result<(), OutputError> {
    let at = format!("{} {}", change.region, change.destination);
    if let Some(failure) = &change.failure {
        return failed(out, failure);
    }
    let mut line = |sign: &str, style: Style, text: String| {
        let sign = out.styled(sign, style);
        out.line(&format!("    {sign} {at}: {text}"))
    };
    if change.create {
        line("+", Style::new().green(), "new destination".to_owned())?;
    }
    if change.repoint {
        let how = change.repointing.as_deref().map(|how| format!(": {how}")).unwrap_or_default();
        line("~", Style::new().yellow(), format!("target or role is corrected{how}"))?;
    }
    if !change.add.is_empty() {
        line(
            "+",
            Style::new().green(),
            format!("{} granted: {}", count(change.add.len(), "account"), some(&change.add)),
        )?;
    }
    if !change.remove.is_empty() {
        line(
            "-",
            Style::new().red(),
            format!("{} removed: {}", count(change.remove.len(), "account"), some(&change.remove)),
        )?;
    }
    Ok(())
}

fn some(accounts: &[enroller_core::ids::AccountId]) -> String {
    let mut text = accounts.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if accounts.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

fn failed<W: Write>(out: &mut Output<W>, failure: &Failure) -> Result<(), OutputError> {
    problem(out, &format!("{}: {}", failure.class, failure.cause), Some(&failure.next_step))
}

fn problem<W: Write>(out: &mut Output<W>, text: &str, next_step: Option<&str>) -> Result<(), OutputError> {
    let sign = out.styled("!", Style::new().red());
    out.line(&format!("    {sign} {}", printable(text)))?;
    match next_step {
        Some(step) => out.line(&format!("      next: {}", printable(step))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{LeftAlone, Summary, VpcLine};
    use super::*;
    use crate::output::testing::printed;

    const HOSTILE: &str = "prod\u{1b}[2J\u{202e}dorp\n\u{9b}31m";

    #[test]
    fn untrusted_text_is_escaped() {
        let name = HOSTILE.to_owned();
        let vpc = VpcLine {
            vpc: "vpc-0123456789abcdef0".parse().unwrap(),
            name: Some(name.clone()),
            verdict: Verdict::Broken,
            reason: name.clone(),
        };
        let failure = Failure { class: "terminal", cause: name.clone(), next_step: name.clone() };
        let step = StepPlan { action: "put-filter", why: name.clone(), changes: 1, vpcs: Vec::new() };
        let region = RegionPlan {
            region: "eu-west-1".parse().unwrap(),
            granted: true,
            steps: vec![step],
            vpcs: vec![vpc],
            notes: vec![name.clone()],
            failure: Some(failure),
        };
        let account: enroller_core::ids::AccountId = "111122223333".parse().unwrap();
        let report = PlanReport {
            about: crate::about::testing::about(),
            organization: "o-exampleorg1".to_owned(),
            summary: Summary::default(),
            grants: Vec::new(),
            accounts: vec![AccountPlan { account, name: name.clone(), regions: vec![region] }],
            left_alone: vec![LeftAlone { account, name: name.clone(), reason: name }],
            warnings: Vec::new(),
        };
        let text = printed(|out| print(out, &report).unwrap());
        assert!(text.contains("prod\u{fffd}[2J\u{fffd}dorp\u{fffd}\u{fffd}31m"), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{text:?}");
    }
}
