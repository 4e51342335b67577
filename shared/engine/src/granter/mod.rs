//! Syncing grants: the only writer of destinations and their policies.
//!
//! # Flow
//!
//! A sync does the same whatever its messages say:
//!
//! 1. It computes the complete set of accounts from Organizations.
//! 2. It reads and plans each Region's shards.
//! 3. It announces the accounts that will be granted to the enroller.
//! 4. It reads the shards that differ again, writes them once, reads them back and compares.
//!
//! # Guarantees
//!
//! - A grant is removed only after Organizations reported that very account as closed or not a member, and never more
//!   grants at once than the revocation guard allows.
//! - An account is announced to the enroller *before* its grant is written, with a short delay. In the other order, a
//!   crash in between would leave a granted account that is never enrolled. In this order, AWS rejects the enroller's
//!   filter, and the enroller asks for the grant again.
//! - A failure in one Region never stops another.
//! - A change that another principal makes in between is noticed when the policy is read back, and planned for again.
//!
//! # Assumptions
//!
//! One sync runs at a time (a FIFO queue with one message group). If two run at once, the later write wins. The next
//! sync restores what was lost, because it compares with Organizations and not with the last write.

mod announce;
pub mod batch;
mod error;
mod members;
mod planner;
mod preview;
mod regions;
mod write;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enroller_core::backfill::BackfillRequest;
use enroller_core::grants::{GrantPlan, ShardAssignments, ShardUsage};
use enroller_core::ids::{AccountId, Region};
use enroller_core::log::LogEntry;
use enroller_core::metrics::{Metric, Metrics};
use enroller_core::settings::Settings;
use futures::future::join_all;

use crate::context::Context;
use crate::outbox::Outbox;

pub use error::GranterError;
pub use members::Membership;
pub use planner::GrantPlanner;
pub use preview::GrantPreview;
pub use writer::{DestinationWriter, WriterPermit};

use announce::AnnouncementCache;

/// The work that a batch of messages asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GrantSync {
    /// Accounts that joined according to an event. Each is announced to the enroller, whether granted before or not.
    pub joined: BTreeSet<AccountId>,
    /// Accounts whose enrollment waits for the grant. The waiting message comes back to the enroller by itself.
    pub requested: BTreeSet<AccountId>,
    /// Accounts that left or were closed according to an event, which Organizations has to confirm.
    pub departed: BTreeSet<AccountId>,
    /// List the organization again instead of using a listing of the last minute.
    pub sync: bool,
    /// A person allows what the guards would hold back: more revocations than the limit, and the switch of a policy
    /// from accounts to the organization.
    pub allow_mass_revocation: bool,
    /// The reason for the sync, which enrollment requests carry on.
    pub reason: String,
    /// Limits the sync to the accounts and Regions of this request; `None` means all. Grants of other accounts stay
    /// unchanged.
    pub only: Option<BackfillRequest>,
    /// The plans that a person approved, by Region. If set, a write outside them is not made and counts as a failure.
    pub approved: Option<BTreeMap<Region, GrantPlan>>,
}

impl GrantSync {
    /// The Regions to sync.
    fn regions<'a>(&'a self, settings: &'a Settings) -> &'a BTreeSet<Region> {
        self.only.as_ref().map_or(&settings.regions, |only| only.regions(settings))
    }

    /// Whether the sync is about every account, so that granted accounts missing from the listing are checked too.
    fn means_every_account(&self) -> bool {
        !self.only.as_ref().is_some_and(BackfillRequest::narrows_accounts)
    }
}

/// The result of a sync.
#[derive(Debug, Default)]
pub struct GrantReport {
    /// Accounts granted in at least one Region.
    pub granted: BTreeSet<AccountId>,
    /// Accounts whose grant was removed in at least one Region.
    pub revoked: BTreeSet<AccountId>,
    /// Policies and destinations written.
    pub writes: usize,
    /// How full the shards are, by Region.
    pub usage: BTreeMap<Region, Vec<ShardUsage>>,
    /// The planned shard assignments of each Region that could be read.
    pub assignments: BTreeMap<Region, ShardAssignments>,
    /// Accounts that messages name and that Organizations does not report as members (yet).
    pub unknown: BTreeSet<AccountId>,
    /// Enrollment requests sent.
    pub announced: usize,
    /// The errors. With any error the batch comes back, and in the end goes to the dead-letter queue: no message about
    /// an account is dropped because of an error here.
    pub errors: Vec<GranterError>,
    /// One log entry for each change, failure and note.
    pub decisions: Vec<LogEntry>,
}

impl GrantReport {
    /// Whether the batch has to come back.
    pub fn needs_retry(&self) -> bool {
        !self.errors.is_empty()
    }

    fn fail(&mut self, action: &str, resource: &str, error: GranterError) {
        self.decisions.push(error.entry(action, resource));
        self.errors.push(error);
    }

    /// Counts the results.
    pub fn measure(&self, metrics: &mut Metrics) {
        #[expect(clippy::cast_precision_loss, reason = "numbers of accounts and bytes are far below 2^52")]
        let number = |count: usize| count as f64;
        for (metric, count) in [(Metric::GrantsAdded, self.granted.len()), (Metric::GrantsRevoked, self.revoked.len())]
        {
            if count > 0 {
                metrics.add(metric, number(count));
            }
        }
        for error in &self.errors {
            let class = error.disposition().label().to_owned();
            metrics.add_with(Metric::GrantsFailed, vec![("Class", class)], 1.0);
        }
        for (region, shards) in &self.usage {
            for shard in shards {
                let dimensions = vec![("Region", region.to_string()), ("Shard", shard.name.to_string())];
                metrics.add_with(Metric::PolicyBytes, dimensions, number(shard.bytes));
            }
        }
    }
}

/// Writes destinations and their policies, as the only writer.
pub struct Granter {
    planner: GrantPlanner,
    writer: Arc<dyn DestinationWriter>,
    outbox: Option<Outbox>,
    announced: AnnouncementCache,
}

impl Granter {
    /// Creates a granter that announces no accounts: the caller enrolls the granted accounts itself.
    pub fn new(planner: GrantPlanner, writer: Arc<dyn DestinationWriter>) -> Self {
        Self { planner, writer, outbox: None, announced: AnnouncementCache::default() }
    }

    /// Makes the granter announce each account to the enroller before it is granted.
    #[must_use]
    pub fn announcing(self, outbox: Outbox) -> Self {
        Self { outbox: Some(outbox), ..self }
    }

    /// The context that it shares with the other workers.
    pub fn context(&self) -> &Context {
        self.planner.context()
    }

    /// The planner that it uses.
    pub fn planner(&self) -> &GrantPlanner {
        &self.planner
    }

    /// Syncs the grants of every enrolled Region with the organization, and announces granted accounts to the enroller.
    pub async fn sync(&self, work: &GrantSync, metrics: &mut Metrics) -> GrantReport {
        let mut report = GrantReport::default();
        let membership = match self.planner.membership(work, &mut report).await {
            Ok(membership) => membership,
            Err(error) => {
                report.fail("list-accounts", "organization", error.into());
                report.measure(metrics);
                return report;
            }
        };
        let regions = work.regions(&self.context().settings).iter();
        let planned = join_all(regions.map(|region| self.planner.plan_region(region, &membership, work))).await;
        if let Some(outbox) = &self.outbox {
            self.announce(outbox, work, &membership, &planned, &mut report).await;
        }
        let written = join_all(planned.into_iter().map(|region| self.write_region(region, &membership, work))).await;
        self.announced.settle_grants(&written);
        for region in written {
            region.add_to(&mut report, metrics);
        }
        report.measure(metrics);
        report
    }
}

#[cfg(test)]
mod tests;
