//! A progress bar for work on many accounts.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::count;

/// A bar on standard error that shows the accounts done, the rate, the errors and the time left. It is invisible if
/// standard error is not a terminal.
pub(crate) struct Progress {
    bar: ProgressBar,
    errors: usize,
}

impl Progress {
    /// Shows a bar for this number of accounts.
    pub(crate) fn new(accounts: usize) -> Self {
        let bar = ProgressBar::new(accounts as u64);
        let template = "{spinner} {bar:30} {pos}/{len} accounts  {per_sec}  {msg}  {eta} left";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message("0 errors");
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, errors: 0 }
    }

    /// Counts one more account as done.
    pub(crate) fn done(&mut self, failed: bool) {
        self.errors += usize::from(failed);
        self.bar.set_message(count(self.errors, "error"));
        self.bar.inc(1);
    }

    /// Prints a line above the bar.
    pub(crate) fn line(&self, text: &str) {
        self.bar.println(text);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
