//! The live timeline of the demo.

use std::collections::BTreeMap;
use std::time::Duration;

use enroller_core::log::{LogEntry, Outcome};
use enroller_lab::Lab;
use enroller_lab::audit::audit;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::{OwoColorize, Style};
use serde::Serialize;

/// One line of the timeline.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry {
    /// Seconds of virtual time since the demo began.
    pub(super) at_seconds: u64,
    /// `act`, `event` or `enroller`.
    pub(super) kind: &'static str,
    /// The title of the act, the event, or the enroller's decisions.
    pub(super) text: String,
}

/// The enroller's decisions since the last line about them: a number and a cause for each action and outcome.
type Tally = BTreeMap<(String, Outcome), (usize, String)>;

/// Prints the timeline as it grows, and keeps its entries.
pub(super) struct Show {
    begun_ms: u64,
    bar: ProgressBar,
    quiet: bool,
    entries: Vec<Entry>,
    tally: Tally,
    tally_at_ms: u64,
    steps: u64,
}

/// Equal decisions within this much virtual time share a line.
const GROUPED_MS: u64 = 30_000;

/// The progress bar is updated once in this many steps, because counting the VPCs is expensive.
const COUNT_EVERY: u64 = 8;

impl Show {
    pub(super) fn new(begun_ms: u64, quiet: bool) -> Self {
        let bar = match quiet {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
            false => ProgressBar::new(0),
        };
        let style = ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} VPCs covered  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { begun_ms, bar, quiet, entries: Vec::new(), tally: Tally::new(), tally_at_ms: begun_ms, steps: 0 }
    }

    /// Starts a new act.
    pub(super) fn act(&mut self, title: &str) {
        let at_seconds = self.entries.last().map_or(0, |entry| entry.at_seconds);
        self.entries.push(Entry { at_seconds, kind: "act", text: title.to_owned() });
        let style = Style::new().bold();
        self.print(&format!("\n{}", title.style(style)));
    }

    /// Adds an event in the organization.
    pub(super) fn event(&mut self, now_ms: u64, text: &str) {
        self.flush(now_ms);
        self.entry(now_ms, "event", text);
    }

    /// Adds decisions of the functions.
    pub(super) fn decisions(&mut self, now_ms: u64, decisions: &[LogEntry]) {
        if now_ms.saturating_sub(self.tally_at_ms) > GROUPED_MS {
            self.flush(now_ms);
        }
        for decision in decisions {
            let key = (decision.action.clone(), decision.outcome);
            let (count, _) = self.tally.entry(key).or_insert_with(|| (0, decision.cause.clone()));
            *count += 1;
            self.tally_at_ms = now_ms;
        }
    }

    /// Prints the decisions that are not printed yet.
    pub(super) fn flush(&mut self, now_ms: u64) {
        for ((action, outcome), (count, cause)) in std::mem::take(&mut self.tally) {
            let text = match outcome {
                Outcome::Done => format!("{count:>5} x {action}"),
                Outcome::Unchanged => format!("{count:>5} x {action}: nothing to change"),
                Outcome::Ignored | Outcome::Skipped => format!("{count:>5} x {action}: left alone, {}", short(&cause)),
                Outcome::Noticed => format!("{count:>5} x {action}: {}", short(&cause)),
                Outcome::RetryLater => format!("{count:>5} x {action}: to be retried, {}", short(&cause)),
                Outcome::Refused | Outcome::Failed => format!("{count:>5} x {action}: FAILED, {}", short(&cause)),
            };
            let at_ms = self.tally_at_ms.min(now_ms);
            self.entry(at_ms, "enroller", &text);
        }
        self.tally_at_ms = now_ms;
    }

    /// Updates the progress bar.
    pub(super) fn progress(&mut self, lab: &Lab, regions: &[String]) {
        self.steps += 1;
        if self.quiet || self.bar.is_hidden() || !self.steps.is_multiple_of(COUNT_EVERY) {
            return;
        }
        let audit = audit(&lab.sim, regions);
        let vpcs: usize = audit.account_regions.iter().map(|at| at.vpcs).sum();
        self.bar.set_length(vpcs as u64);
        self.bar.set_position((vpcs - audit.uncovered()) as u64);
        self.bar.set_message(format!("{} API calls", lab.sim.with(|world| world.stats.total())));
    }

    /// Removes the progress bar and returns the timeline.
    pub(super) fn finish(&mut self) -> Vec<Entry> {
        self.bar.finish_and_clear();
        std::mem::take(&mut self.entries)
    }

    fn entry(&mut self, at_ms: u64, kind: &'static str, text: &str) {
        let at_seconds = at_ms.saturating_sub(self.begun_ms) / 1_000;
        let clock = format!("+{:02}:{:02}:{:02}", at_seconds / 3_600, at_seconds / 60 % 60, at_seconds % 60);
        let style = if kind == "event" { Style::new().yellow() } else { Style::new() };
        let shown = text.style(style).to_string();
        self.print(&format!("  {}  {shown}", clock.dimmed()));
        self.entries.push(Entry { at_seconds, kind, text: text.trim().to_owned() });
    }

    /// Prints a line above the bar. anstream removes the colours if the output is not a terminal. A failure to write is
    /// ignored here and ends the demo when it prints the summary.
    fn print(&self, line: &str) {
        if self.quiet {
            return;
        }
        self.bar.suspend(|| {
            use std::io::Write;
            drop(writeln!(anstream::stdout().lock(), "{line}"));
        });
    }
}

fn short(cause: &str) -> String {
    const LONGEST: usize = 110;
    match cause.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &cause[..end]),
        None => cause.to_owned(),
    }
}
