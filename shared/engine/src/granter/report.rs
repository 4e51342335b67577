//! What a sync did, and what it could not do.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::error::Disposition;
use enroller_core::grants::{ShardAssignments, ShardUsage};
use enroller_core::ids::{AccountId, Region};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::metrics::{Metric, Metrics};

use super::GranterError;

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
    /// The shard assignments of each Region that could be read, without accounts whose grant could not be written.
    pub assignments: BTreeMap<Region, ShardAssignments>,
    /// Accounts that messages name and that Organizations does not report as members (yet).
    pub unknown: BTreeSet<AccountId>,
    /// Enrollment requests sent.
    pub announced: usize,
    /// The errors that kept grants from being written.
    pub errors: Vec<GranterError>,
    /// Why it is not known of some accounts whether they are members. They keep their grants. This holds up nobody
    /// else, so the batch does not come back for it.
    pub doubts: Vec<GranterError>,
    /// Granted accounts that the listing lacks and that could not be asked about in this sync.
    pub not_asked: usize,
    /// How many were asked about.
    pub(super) suspects_asked: usize,
    /// Whether the deadline ended the sync.
    pub(super) cut_off: bool,
    /// Whether something failed without which nothing is done for an account that only a message of the batch names:
    /// listing the organization, or announcing the account.
    pub(super) must_come_back: bool,
    /// One log entry for each change, failure and note.
    pub decisions: Vec<LogEntry>,
}

impl GrantReport {
    /// Whether the batch has to come back: time ran out, nothing could be done, or a failure may pass by itself.
    /// What only a person can mend is not tried again and again, because a FIFO queue holds everything back meanwhile.
    /// An alarm reports it, and the next sweep finds it.
    pub fn needs_retry(&self) -> bool {
        self.needs_retry_after(1, &BTreeSet::new())
    }

    /// Whether a message that was received `receive_count` times has to come back once more. The failures of the
    /// Regions in `given_up` do not bring it back.
    pub(crate) fn needs_retry_after(&self, receive_count: u32, given_up: &BTreeSet<Region>) -> bool {
        let left = |error: &&GranterError| !error.region().is_some_and(|region| given_up.contains(region));
        self.cut_off
            || self.must_come_back
            || self.errors.iter().filter(left).any(|error| error.returns_after(receive_count))
    }

    /// Notes that the deadline ended the sync.
    pub(super) fn out_of_time(&mut self) {
        self.cut_off = true;
        let cause = "time ran out; the batch is returned to the queue";
        self.decisions.push(LogEntry::about(None, "sync-grants", "grants", Outcome::RetryLater, cause));
    }

    pub(super) fn fail(&mut self, action: &str, resource: &str, error: GranterError) {
        self.decisions.push(error.entry(action, resource));
        self.errors.push(error);
    }

    /// Notes that it is not known whether an account is a member.
    pub(super) fn doubt(&mut self, action: &str, doubt: GranterError) {
        self.decisions.push(doubt.entry(action, "grant"));
        self.doubts.push(doubt);
    }

    /// Counts the results.
    pub(super) fn measure(&self, metrics: &mut Metrics) {
        #[expect(clippy::cast_precision_loss, reason = "numbers of accounts and bytes are far below 2^52")]
        let number = |count: usize| count as f64;
        for (metric, count) in [(Metric::GrantsAdded, self.granted.len()), (Metric::GrantsRevoked, self.revoked.len())]
        {
            if count > 0 {
                metrics.add(metric, number(count));
            }
        }
        if self.not_asked > 0 {
            let class = Disposition::RetrySoon.label().to_owned();
            metrics.add_with(Metric::GrantsFailed, vec![("Class", class)], number(self.not_asked));
        }
        for error in self.errors.iter().chain(&self.doubts) {
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
