//! Counts by status.

use serde::Serialize;

use super::{CoverageRow, Status};

/// How many rows have each status. A row is a VPC, or a place or account without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// [`Status::Covered`].
    pub covered: usize,
    /// [`Status::Broken`].
    pub broken: usize,
    /// [`Status::NotCovered`].
    pub not_covered: usize,
    /// [`Status::ForeignOnly`].
    pub foreign_only: usize,
    /// [`Status::Unknown`]; each is a place.
    pub unknown: usize,
    /// [`Status::Skipped`]; each is a place.
    pub skipped: usize,
    /// [`Status::Excluded`].
    pub excluded: usize,
}

impl Totals {
    /// One row more.
    pub fn count(&mut self, status: Status) {
        *match status {
            Status::Covered => &mut self.covered,
            Status::Broken => &mut self.broken,
            Status::NotCovered => &mut self.not_covered,
            Status::ForeignOnly => &mut self.foreign_only,
            Status::Unknown => &mut self.unknown,
            Status::Skipped => &mut self.skipped,
            Status::Excluded => &mut self.excluded,
        } += 1;
    }

    /// How many rows have this status.
    pub const fn of(&self, status: Status) -> usize {
        match status {
            Status::Covered => self.covered,
            Status::Broken => self.broken,
            Status::NotCovered => self.not_covered,
            Status::ForeignOnly => self.foreign_only,
            Status::Unknown => self.unknown,
            Status::Skipped => self.skipped,
            Status::Excluded => self.excluded,
        }
    }

    /// How many rows there are.
    pub const fn all(&self) -> usize {
        self.wanted() + self.skipped + self.excluded
    }

    /// How many rows should be covered and are not.
    pub const fn problems(&self) -> usize {
        self.broken + self.not_covered + self.foreign_only + self.unknown
    }

    /// How many rows should be covered.
    pub const fn wanted(&self) -> usize {
        self.covered + self.problems()
    }

    /// The share of what should be covered that is, in percent, rounded down to a tenth; `None` where nothing should
    /// be. A place that could not be looked at counts as one that is not covered: 100 means that nothing is open.
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
