//! The audit: what of the organization is covered, what is not, and why.
//!
//! # Flow
//!
//! A [`Survey`] takes in what was seen ([`Survey::add`]) and what is left alone without a look
//! ([`Survey::leave_out`]), in any order, and ends in a [`CoverageReport`] whose rows are sorted.
//!
//! # Guarantees
//!
//! - Every visible VPC of every place that was looked at has exactly one row.
//! - A place that could not be looked at has one row without a VPC, and so has an account that is left alone.
//! - The same observations give the same report, whatever order they came in.
//!
//! # Caveats
//!
//! Texts in a report (account names, tags, AWS's messages) are as untrusted as whoever wrote them: a renderer has to
//! escape them.

mod builder;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::ids::{AccountId, FlowLogId, OrganizationId, ParentId, Region, VpcId};
use crate::names::DestinationName;

pub use builder::{FailureClass, InspectedRegion, InspectionFailure, Survey};
pub use totals::Totals;

/// How a VPC, or a place that could not be looked at, stands. In the order in which a person wants to see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Its enrollment exists but does not work as it should.
    Broken,
    /// Nothing records its traffic for us.
    NotCovered,
    /// Only flow logs of others exist, and none of them delivers to our log group what the settings ask for.
    ForeignOnly,
    /// The account and Region could not be looked at, so nothing is known of its VPCs.
    Unknown,
    /// Its flow log, log group, filter and grant are as they should be, and AWS reports no failed delivery.
    Covered,
    /// AWS or the organization does not allow it there: a Region that is not enabled, a service control policy.
    Skipped,
    /// Left alone on purpose: by its tag, its owner, its account, organizational unit or Region.
    Excluded,
}

impl Status {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Broken,
        Self::NotCovered,
        Self::ForeignOnly,
        Self::Unknown,
        Self::Covered,
        Self::Skipped,
        Self::Excluded,
    ];

    /// The name in JSON and CSV, which never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::NotCovered => "not-covered",
            Self::ForeignOnly => "foreign-only",
            Self::Unknown => "unknown",
            Self::Covered => "covered",
            Self::Skipped => "skipped",
            Self::Excluded => "excluded",
        }
    }

    /// The name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Broken => "Broken",
            Self::NotCovered => "Not covered",
            Self::ForeignOnly => "Foreign logs only",
            Self::Unknown => "Unknown",
            Self::Covered => "Covered",
            Self::Skipped => "Skipped",
            Self::Excluded => "Excluded",
        }
    }

    /// What it means, in a sentence for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Broken => {
                "An enrollment exists but does not work: delivery fails, or the flow log, log group, filter or grant is missing or wrong."
            }
            Self::NotCovered => "No flow log records this VPC.",
            Self::ForeignOnly => {
                "Only flow logs of others exist, and none delivers what is asked for to our log group."
            }
            Self::Unknown => "The account and Region could not be looked at.",
            Self::Covered => "Flow log, log group, filter and grant are in place, and AWS reports no failed delivery.",
            Self::Skipped => "AWS or the organization does not allow it there.",
            Self::Excluded => "Left alone on purpose: by tag, owner, account, organizational unit or Region.",
        }
    }

    /// Whether a person should do something about it.
    pub const fn is_problem(self) -> bool {
        match self {
            Self::Broken | Self::NotCovered | Self::ForeignOnly | Self::Unknown => true,
            Self::Covered | Self::Skipped | Self::Excluded => false,
        }
    }
}

/// One VPC, or one place or account where no VPC could or should be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoverageRow {
    /// The account.
    pub account: AccountId,
    /// Its name.
    pub account_name: String,
    /// The roots and organizational units above the account, outermost first; empty where not known.
    #[serde(rename = "organizational_units")]
    pub units: Vec<ParentId>,
    /// The Region; absent for an account that is left alone everywhere.
    pub region: Option<Region>,
    /// The VPC; absent where none was looked at.
    pub vpc: Option<VpcId>,
    /// The VPC's `Name` tag, or empty.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// Why, in sentences for people; empty when covered.
    pub reason: String,
    /// The flow log that the status is about: the right one, the failing one, the one that differs, or the first of
    /// others.
    pub flow_log: Option<FlowLogId>,
    /// The destination on which the account is granted in this Region.
    pub destination: Option<DestinationName>,
    /// What a person should do; empty where nothing.
    pub next_step: String,
}

/// What of an organization is covered, and what is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageReport {
    /// The organization.
    pub organization: OrganizationId,
    /// When it was made, as RFC 3339 text in UTC.
    pub generated_at: String,
    /// The enrolled Regions.
    pub regions: BTreeSet<Region>,
    /// Names of roots and organizational units, as far as they were looked up; empty is allowed.
    pub unit_names: BTreeMap<ParentId, String>,
    /// How many accounts were looked at, or tried to.
    pub accounts: usize,
    /// How many accounts and Regions were looked at, or tried to.
    pub account_regions: usize,
    /// How many of the places hold no VPC, and so have no row.
    pub empty_account_regions: usize,
    /// By account, Region and VPC.
    pub rows: Vec<CoverageRow>,
}

impl CoverageReport {
    /// How many rows have each status.
    pub fn totals(&self) -> Totals {
        self.rows.iter().collect()
    }

    /// How many rows of each account have each status.
    pub fn by_account(&self) -> BTreeMap<AccountId, Totals> {
        self.grouped(|row| [row.account])
    }

    /// How many rows of each Region have each status. Accounts that are left alone everywhere are in none.
    pub fn by_region(&self) -> BTreeMap<Region, Totals> {
        self.grouped(|row| row.region.clone())
    }

    /// How many rows below each root and organizational unit have each status. What is in a unit counts for all units
    /// above it too, so the totals of different units overlap.
    pub fn by_unit(&self) -> BTreeMap<ParentId, Totals> {
        self.grouped(|row| row.units.clone())
    }

    /// See [`Totals::coverage_percent`].
    pub fn coverage_percent(&self) -> Option<f64> {
        self.totals().coverage_percent()
    }

    fn grouped<K: Ord, I: IntoIterator<Item = K>>(&self, keys: impl Fn(&CoverageRow) -> I) -> BTreeMap<K, Totals> {
        let mut groups = BTreeMap::<K, Totals>::new();
        for row in &self.rows {
            for key in keys(row) {
                groups.entry(key).or_default().count(row.status);
            }
        }
        groups
    }
}

/// The document others read: its keys are stable, and totals stand before the rows.
impl Serialize for CoverageReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            organization: &'a OrganizationId,
            generated_at: &'a str,
            regions: &'a BTreeSet<Region>,
            organizational_unit_names: &'a BTreeMap<ParentId, String>,
            accounts: usize,
            account_regions: usize,
            empty_account_regions: usize,
            coverage_percent: Option<f64>,
            totals: Totals,
            by_account: BTreeMap<AccountId, Totals>,
            by_organizational_unit: BTreeMap<ParentId, Totals>,
            by_region: BTreeMap<Region, Totals>,
            rows: &'a [CoverageRow],
        }
        let document = Document {
            organization: &self.organization,
            generated_at: &self.generated_at,
            regions: &self.regions,
            organizational_unit_names: &self.unit_names,
            accounts: self.accounts,
            account_regions: self.account_regions,
            empty_account_regions: self.empty_account_regions,
            coverage_percent: self.coverage_percent(),
            totals: self.totals(),
            by_account: self.by_account(),
            by_organizational_unit: self.by_unit(),
            by_region: self.by_region(),
            rows: &self.rows,
        };
        document.serialize(serializer)
    }
}
