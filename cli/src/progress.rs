//! Progress of work on many accounts.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error: accounts done, rate, errors, time left. Invisible where standard error is no terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    errors: usize,
}

impl Progress {
    /// A bar for this many accounts.
    pub(crate) fn new(accounts: usize) -> Self {
        let bar = ProgressBar::new(accounts as u64);
        let template = "{spinner} {bar:30} {pos}/{len} accounts  {per_sec}  {msg}  {eta} left";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message("0 errors");
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, errors: 0 }
    }

    /// One account more is done.
    pub(crate) fn done(&mut self, failed: bool) {
        self.errors += usize::from(failed);
        self.bar.set_message(format!("{} errors", self.errors));
        self.bar.inc(1);
    }

    /// A line above the bar.
    pub(crate) fn say(&self, text: &str) {
        self.bar.println(text);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
