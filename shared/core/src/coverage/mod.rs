//! The coverage report: which VPCs of the organization are covered, which are not, and why.
//!
//! # Flow
//!
//! A [`Survey`] collects inspected account-Regions ([`Survey::add`]) and what is excluded without an inspection
//! ([`Survey::leave_out`]), in any order. [`Survey::finish`] returns a [`CoverageReport`] whose rows are sorted.
//!
//! # Guarantees
//!
//! - Every visible VPC of every inspected account-Region has exactly one row.
//! - An account-Region that could not be inspected has one row without a VPC, and so has an excluded account.
//! - The same observations give the same report, whatever their order.
//!
//! # Caveats
//!
//! Texts in a report (account names, tags, AWS's messages) are untrusted, so a renderer has to escape them.

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

/// The status of a VPC, or of an account-Region that could not be inspected. In the order they are shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Its enrollment exists but does not work.
    Broken,
    /// It has no flow log.
    NotCovered,
    /// It has only unmanaged flow logs, and none of them delivers to the log group what the settings require.
    ForeignOnly,
    /// The account-Region could not be inspected, so nothing is known about its VPCs.
    Unknown,
    /// Its flow log, log group, filter and grant are correct, and AWS reports no failed delivery.
    Covered,
    /// It is covered as far as its own tag lets it: the tag narrows what it records, and the settings allow that.
    Narrowed,
    /// It is not enrolled, because its own tag or an entry of the settings opts it out.
    OptedOut,
    /// AWS or the organization does not allow enrollment there: the Region is not enabled, or a service control policy
    /// denies it.
    Skipped,
    /// It is deliberately not enrolled, because of its owner, account, organizational unit or Region.
    Excluded,
}

impl Status {
    /// All statuses, in order.
    pub const ALL: [Self; 9] = [
        Self::Broken,
        Self::NotCovered,
        Self::ForeignOnly,
        Self::Unknown,
        Self::Covered,
        Self::Narrowed,
        Self::OptedOut,
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
            Self::Narrowed => "narrowed",
            Self::OptedOut => "opted-out",
            Self::Skipped => "skipped",
            Self::Excluded => "excluded",
        }
    }

    /// The name as shown to operators.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Broken => "Broken",
            Self::NotCovered => "Not covered",
            Self::ForeignOnly => "Foreign logs only",
            Self::Unknown => "Unknown",
            Self::Covered => "Covered",
            Self::Narrowed => "Narrowed",
            Self::OptedOut => "Opted out",
            Self::Skipped => "Skipped",
            Self::Excluded => "Excluded",
        }
    }

    /// What the status means, as a sentence for operators.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Broken => {
                "An enrollment exists but does not work: delivery fails, or the flow log, log group, filter or grant is missing or wrong."
            }
            Self::NotCovered => "No flow log records this VPC.",
            Self::ForeignOnly => {
                "Only unmanaged flow logs exist, and none delivers what the settings require to the log group."
            }
            Self::Unknown => "The account and Region could not be inspected.",
            Self::Covered => "Flow log, log group, filter and grant are in place, and AWS reports no failed delivery.",
            Self::Narrowed => {
                "Everything is in place, but the VPC's own tag narrows what it records, as the settings allow."
            }
            Self::OptedOut => "The VPC's own tag or an entry of the settings opts this VPC out.",
            Self::Skipped => "AWS or the organization does not allow enrollment there.",
            Self::Excluded => {
                "Deliberately not enrolled, because of its owner, account, organizational unit or Region."
            }
        }
    }

    /// Whether an operator should act.
    pub const fn is_problem(self) -> bool {
        match self {
            Self::Broken | Self::NotCovered | Self::ForeignOnly | Self::Unknown => true,
            Self::Covered | Self::Narrowed | Self::OptedOut | Self::Skipped | Self::Excluded => false,
        }
    }
}

/// A VPC, or an account-Region or account whose VPCs could not or should not be inspected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoverageRow {
    /// The account that sees the VPC. Another account may own it and share it.
    pub account: AccountId,
    /// The account's name in Organizations.
    pub account_name: String,
    /// The roots and organizational units above the account, outermost first; empty if unknown.
    #[serde(rename = "organizational_units")]
    pub units: Vec<ParentId>,
    /// The Region; absent for an account that is excluded in all Regions.
    pub region: Option<Region>,
    /// The VPC; absent if none was inspected.
    pub vpc: Option<VpcId>,
    /// The VPC's `Name` tag, or empty.
    pub name: String,
    /// The status of the VPC, or of the account-Region or account.
    pub status: Status,
    /// The reason, in sentences for operators; empty if covered, unless there is something to know about it.
    pub reason: String,
    /// The flow log that the status is about: the correct one, the failing one, the one that differs, or the first
    /// unmanaged one.
    pub flow_log: Option<FlowLogId>,
    /// The destination on which the account is granted in this Region.
    pub destination: Option<DestinationName>,
    /// What an operator should do; empty if nothing.
    pub next_step: String,
}

/// Which VPCs of an organization are covered, and which are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageReport {
    /// The organization named in the settings.
    pub organization: OrganizationId,
    /// When the report was generated, as RFC 3339 text in UTC.
    pub generated_at: String,
    /// The Regions enrolled by the settings, with or without rows.
    pub regions: BTreeSet<Region>,
    /// Names of roots and organizational units, as far as they were fetched. A unit may be missing.
    pub unit_names: BTreeMap<ParentId, String>,
    /// The number of accounts that were inspected, successfully or not.
    pub accounts: usize,
    /// The number of account-Regions that were inspected, successfully or not.
    pub account_regions: usize,
    /// The number of inspected account-Regions without a VPC, which have no row.
    pub empty_account_regions: usize,
    /// The rows, sorted by account, Region and VPC.
    pub rows: Vec<CoverageRow>,
}

impl CoverageReport {
    /// The number of rows with each status.
    pub fn totals(&self) -> Totals {
        self.rows.iter().collect()
    }

    /// The number of each account's rows with each status.
    pub fn by_account(&self) -> BTreeMap<AccountId, Totals> {
        self.grouped(|row| [row.account])
    }

    /// The number of each Region's rows with each status. Accounts that are excluded in all Regions count in none.
    pub fn by_region(&self) -> BTreeMap<Region, Totals> {
        self.grouped(|row| row.region.clone())
    }

    /// The number of rows below each root and organizational unit with each status. A row counts for all units above
    /// its account, so the totals of different units overlap.
    pub fn by_unit(&self) -> BTreeMap<ParentId, Totals> {
        self.grouped(|row| row.units.clone())
    }

    /// [`Totals::coverage_percent`] of all rows.
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

/// The JSON document. Its keys are stable, and totals come before the rows.
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
