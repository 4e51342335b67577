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
//!   grants in a day than the revocation guard allows.
//! - An account is announced to the enroller *before* its grant is written, with a short delay. In the other order, a
//!   crash in between would leave a granted account that is never enrolled. In this order, AWS rejects the enroller's
//!   filter, and the enroller asks for the grant again. An account whose request the queue did not take is not granted.
//! - An account about which Organizations gives no usable answer keeps its grant, and keeps nobody else from one.
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
mod questions;
mod regions;
mod report;
mod revocations;
mod write;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enroller_core::backfill::BackfillRequest;
use enroller_core::grants::GrantPlan;
use enroller_core::ids::{AccountId, Region};
use enroller_core::message::{Message, SyncRequest};
use enroller_core::metrics::Metrics;
use enroller_core::settings::Settings;
use futures::future::join_all;

use crate::context::Context;
use crate::outbox::Outbox;

pub use error::GranterError;
pub use members::Membership;
pub use planner::GrantPlanner;
pub use preview::GrantPreview;
pub use report::GrantReport;
pub use writer::{DestinationWriter, WriterPermit};

use announce::AnnouncementCache;
use regions::RegionSync;

/// The work that a batch of messages asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GrantSync {
    /// Accounts that joined according to an event. Each is announced to the enroller, whether granted before or not.
    pub joined: BTreeSet<AccountId>,
    /// Accounts whose enrollment waits for the grant. The waiting message comes back to the enroller by itself.
    pub requested: BTreeSet<AccountId>,
    /// Accounts that moved to another parent or state according to an event, so that they may be in scope now. Each is
    /// asked about, and announced to the enroller if it is in scope, whether granted before or not.
    pub moved: BTreeSet<AccountId>,
    /// Accounts that left or were closed according to an event, which Organizations has to confirm.
    pub departed: BTreeSet<AccountId>,
    /// Compare all accounts, with a new listing of the organization.
    pub sync: bool,
    /// A person allows what the guards would hold back: more revocations than the limit, and, where
    /// `filters_with_role` covers it, the switch of a policy from accounts to the organization.
    pub allow_mass_revocation: bool,
    /// Accounts whose filters were seen to be ready for a policy that names the organization, by Region; see
    /// [`FilterRoles`](crate::coverage::FilterRoles). A policy is switched only if every account that it lists is here,
    /// because a filter without a role stops delivering.
    pub filters_with_role: BTreeMap<Region, BTreeSet<AccountId>>,
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

    /// Whether the answers about the accounts that are named are enough.
    fn needs_no_listing(&self) -> bool {
        let others = [&self.joined, &self.requested, &self.departed];
        !self.sync && self.only.is_none() && others.iter().all(|named| named.is_empty())
    }

    /// Whether the sync is about every account, so that granted accounts missing from the listing are checked too.
    fn means_every_account(&self) -> bool {
        !self.only.as_ref().is_some_and(BackfillRequest::narrows_accounts)
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
        self.sync_until(work, None, metrics).await
    }

    /// The same until `deadline_ms`, in epoch milliseconds. What was done by then is in the report.
    pub async fn sync_until(&self, work: &GrantSync, deadline_ms: Option<u64>, metrics: &mut Metrics) -> GrantReport {
        let (mut report, mut regions) = (GrantReport::default(), Vec::new());
        let run = self.run(work, &mut report, &mut regions);
        let in_time = match deadline_ms {
            Some(deadline_ms) => self.context().within(deadline_ms, run).await.is_some(),
            None => {
                run.await;
                true
            }
        };
        self.announced.settle_grants(&regions, in_time && !report.must_come_back);
        for region in regions {
            // What a person allowed says nothing about what is usual, so it does not count for the next day.
            if !work.allow_mass_revocation {
                self.planner.revocations.remember(&region, self.context().clock.now_ms());
            }
            if region.writes > 0 {
                self.planner.assignments.forget_assignments(&region.region).await;
            }
            region.add_to(&mut report, metrics);
        }
        if !in_time {
            report.out_of_time();
        }
        if !report.needs_retry() {
            self.go_on(work, deadline_ms, &mut report).await;
        }
        report.measure(metrics);
        report
    }

    /// The sync itself. It may be dropped at any time, so what it does goes to `report` and `regions` at once.
    async fn run(&self, work: &GrantSync, report: &mut GrantReport, regions: &mut Vec<RegionSync>) {
        let mut members = match self.planner.membership(work, report).await {
            Ok(members) => members,
            Err(error) => {
                report.fail("list-accounts", "organization", error.into());
                report.must_come_back = true;
                return;
            }
        };
        *regions = self.planner.read_regions(work).await;
        self.planner.confirm_departed(&mut members, regions, work, report).await;
        for region in &mut *regions {
            self.planner.plan_for(region, &members, work);
        }
        if let Some(outbox) = &self.outbox {
            self.announce(outbox, work, &members, regions, report).await;
        }
        join_all(regions.iter_mut().map(|region| self.write_region(region, &members, work))).await;
    }

    /// Asks for another sync if this one could not ask about every suspect. It does so only after some were asked
    /// about, so that this ends.
    async fn go_on(&self, work: &GrantSync, deadline_ms: Option<u64>, report: &mut GrantReport) {
        let Some(outbox) = self.outbox.as_ref().filter(|_| report.not_asked > 0 && report.suspects_asked > 0) else {
            return;
        };
        let request = SyncRequest {
            reason: format!("it is not known of {} more whether they have departed", accounts(report.not_asked)),
            run_id: None,
            allow_mass_revocation: work.allow_mass_revocation,
        };
        let deduplication_id = format!("suspects-{}", self.context().clock.now_ms());
        let sending = outbox.grant(Message::Sync(request).to_json(), deduplication_id);
        let sent = match deadline_ms {
            Some(deadline_ms) => self.context().sent_by(deadline_ms, sending).await,
            None => sending.await,
        };
        if let Err(error) = sent {
            report.fail("request-sync", "grants queue", error.into());
        }
    }
}

/// A number of accounts in words.
fn accounts(count: usize) -> String {
    if count == 1 { "1 account".to_owned() } else { format!("{count} accounts") }
}

#[cfg(test)]
mod tests;
