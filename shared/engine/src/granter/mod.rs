//! The one and only writer of destinations and grants.
//!
//! # Flow
//!
//! Whatever the messages of a batch say, the same is done: the complete set of accounts is computed from
//! Organizations, each Region's shards are read and planned for, the accounts that will be granted are handed to the
//! enroller, and the shards that differ are read again, written once, read back and compared.
//!
//! # Guarantees
//!
//! - A grant is removed only after Organizations said of that account that it is closed or no member, and never more
//!   than the guard lets through.
//! - An account is handed to the enroller *before* its grant is written, with a short delay. Were it the other way
//!   round, a crash in between would leave an account that is granted and that nobody enrolls; this way round the
//!   enroller is refused and asks again.
//! - One Region's failure never stops another.
//! - What somebody else wrote in between is seen when reading back, and planned for again.
//!
//! # Assumptions
//!
//! One run at a time (a FIFO queue with one message group). Of two at once the later write wins; what it lost is put
//! back by the next run, which compares with Organizations and not with the last write.

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

/// What a batch of messages asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GrantSync {
    /// Accounts said to have joined. Each is handed to the enroller, granted before or not.
    pub joined: BTreeSet<AccountId>,
    /// Accounts whose enrollment waits for its grant and comes back by itself.
    pub requested: BTreeSet<AccountId>,
    /// Accounts said to have left or been closed. To be confirmed.
    pub departed: BTreeSet<AccountId>,
    /// Ask Organizations anew instead of using a listing of the last minute.
    pub sync: bool,
    /// A person allows what the guards would hold back: more revocations than their limit, and the switch of a
    /// policy from accounts to the organization.
    pub allow_mass_revocation: bool,
    /// Why, for the requests sent on.
    pub reason: String,
    /// Only the accounts and Regions that this means; everything unless set. Grants of other accounts stay as they are.
    pub only: Option<BackfillRequest>,
    /// The plans that a person has seen, by Region. Where set, a write beyond them is a failure and is not made.
    pub approved: Option<BTreeMap<Region, GrantPlan>>,
}

impl GrantSync {
    /// The Regions to work on.
    fn regions<'a>(&'a self, settings: &'a Settings) -> &'a BTreeSet<Region> {
        self.only.as_ref().map_or(&settings.regions, |only| only.regions(settings))
    }

    /// Whether accounts beyond those of the listing are looked into.
    fn means_every_account(&self) -> bool {
        !self.only.as_ref().is_some_and(BackfillRequest::narrows_accounts)
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct GrantReport {
    /// Accounts granted in at least one Region.
    pub granted: BTreeSet<AccountId>,
    /// Accounts whose grant was removed in at least one Region.
    pub revoked: BTreeSet<AccountId>,
    /// Policies and destinations written.
    pub writes: usize,
    /// How full the shards are.
    pub usage: BTreeMap<Region, Vec<ShardUsage>>,
    /// Where accounts belong in each Region that could be read.
    pub assignments: BTreeMap<Region, ShardAssignments>,
    /// Accounts named that Organizations does not know (yet).
    pub unknown: BTreeSet<AccountId>,
    /// Enrollment requests sent.
    pub announced: usize,
    /// What failed. The batch comes back, and in the end goes to the dead-letter queue: no message about an account
    /// is dropped because something was wrong here.
    pub errors: Vec<GranterError>,
    /// One line for each change, failure and note.
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

    /// Counts the outcomes.
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

/// Writes destinations and their policies, as the only one.
pub struct Granter {
    planner: GrantPlanner,
    writer: Arc<dyn DestinationWriter>,
    outbox: Option<Outbox>,
    announced: AnnouncementCache,
}

impl Granter {
    /// A granter that announces nobody: whoever calls it enrolls the granted accounts itself.
    pub fn new(planner: GrantPlanner, writer: Arc<dyn DestinationWriter>) -> Self {
        Self { planner, writer, outbox: None, announced: AnnouncementCache::default() }
    }

    /// A granter that announces each account to the enroller before it is granted.
    #[must_use]
    pub fn announcing(self, outbox: Outbox) -> Self {
        Self { outbox: Some(outbox), ..self }
    }

    /// What it shares with the other workers.
    pub fn context(&self) -> &Context {
        self.planner.context()
    }

    /// What it plans with.
    pub fn planner(&self) -> &GrantPlanner {
        &self.planner
    }

    /// Makes the grants of every enrolled Region what they should be, and announces granted accounts to the enroller.
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
