//! Counts by status.

use serde::Serialize;

use super::{CoverageRow, Status};

/// The number of rows with each status. A row is a VPC, or an account-Region or account without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "each field is named after its status")]
pub struct Totals {
    pub covered: usize,
    pub broken: usize,
    pub not_covered: usize,
    pub foreign_only: usize,
    /// [`Status::Unknown`]; each row is an account-Region.
    pub unknown: usize,
    pub narrowed: usize,
    pub opted_out: usize,
    /// [`Status::Skipped`]; each row is an account-Region.
    pub skipped: usize,
    pub excluded: usize,
}

impl Totals {
    /// Counts one more row.
    pub fn count(&mut self, status: Status) {
        *match status {
            Status::Covered => &mut self.covered,
            Status::Broken => &mut self.broken,
            Status::NotCovered => &mut self.not_covered,
            Status::ForeignOnly => &mut self.foreign_only,
            Status::Unknown => &mut self.unknown,
            Status::Narrowed => &mut self.narrowed,
            Status::OptedOut => &mut self.opted_out,
            Status::Skipped => &mut self.skipped,
            Status::Excluded => &mut self.excluded,
        } += 1;
    }

    /// The number of rows with this status.
    pub const fn of(&self, status: Status) -> usize {
        match status {
            Status::Covered => self.covered,
            Status::Broken => self.broken,
            Status::NotCovered => self.not_covered,
            Status::ForeignOnly => self.foreign_only,
            Status::Unknown => self.unknown,
            Status::Narrowed => self.narrowed,
            Status::OptedOut => self.opted_out,
            Status::Skipped => self.skipped,
            Status::Excluded => self.excluded,
        }
    }

    /// The number of all rows.
    pub const fn all(&self) -> usize {
        self.wanted() + self.narrowed + self.opted_out + self.skipped + self.excluded
    }

    /// The number of rows that should be covered and are not.
    pub const fn problems(&self) -> usize {
        self.broken + self.not_covered + self.foreign_only + self.unknown
    }

    /// The number of rows that should be covered.
    pub const fn wanted(&self) -> usize {
        self.covered + self.problems()
    }

    /// The covered share of the rows that should be covered, in percent, rounded down to a tenth; `None` if there are
    /// no such rows. An account-Region that could not be inspected counts as one row that is not covered, so 100 means
    /// that nothing is left to do.
    pub fn coverage_percent(&self) -> Option<f64> {
        let tenths = (self.covered * 1_000).checked_div(self.wanted())?;
        #[expect(clippy::cast_precision_loss, reason = "at most 1,000")]
        Some(tenths as f64 / 10.0)
    }
}

impl<'a> FromIterator<&'a CoverageRow> for Totals {
    fn from_iter<I: IntoIterator<Item = &'a CoverageRow>>(rows: I) -> Self {
        let mut totals = Self::default();
        for row in rows {
            totals.count(row.status);
        }
        totals
    }
}
