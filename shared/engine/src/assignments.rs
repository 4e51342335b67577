//! Which destination each account is granted on, remembered per Region.
//!
//! The destinations' policies are the only record; there is no database. DescribeDestinations allows 5 calls per second
//! and Region for the whole central account. A warm function therefore reads a Region again only if the remembered
//! policies do not list an account, if AWS rejects a filter, or after [`FRESH_MS`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use enroller_core::error::AwsError;
use enroller_core::grants::{GrantDoubt, PolicyState, RegionGrants, Shard, ShardAssignments};
use enroller_core::ids::{AccountId, Region};
use enroller_core::names::DestinationName;
use futures::lock::Mutex;

use crate::context::Context;
use crate::ports::{AwsResult, Destination, DestinationReader, Ports};

/// How long remembered assignments are used without reading the policies again, in milliseconds.
pub const FRESH_MS: u64 = 300_000;

/// The shortest time between two reads for accounts without an assignment, in milliseconds. A flood of events from
/// accounts without a grant must not use up the central account's request rate.
const READ_AGAIN_MS: u64 = 2_000;

struct Known {
    at_ms: u64,
    assignments: ShardAssignments,
    /// The destinations that are certainly ours.
    ours: BTreeSet<DestinationName>,
}

impl Known {
    /// The account's destination: by the policies, or else the one that a request names, if it is one of ours.
    fn destination(&self, account: AccountId, named: Option<&DestinationName>) -> Option<DestinationName> {
        let by_request = || named.filter(|name| self.ours.contains(*name));
        self.assignments.get(&account).or_else(by_request).cloned()
    }
}

/// What is remembered of one Region.
#[derive(Default)]
struct Slot {
    /// The number of reads that have ended. Who read a lower number before it waited for the lock has waited for the last
    /// one, and uses its outcome.
    reads: AtomicU64,
    /// The lock allows one read at a time.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Option<Known>,
    /// The failure of the last read. Without it, everybody who waited would make the same call, one after the other.
    failed: Option<AwsError>,
}

/// The remembered assignments, by Region.
#[derive(Default)]
struct AssignmentCache {
    regions: std::sync::Mutex<BTreeMap<Region, Arc<Slot>>>,
}

impl AssignmentCache {
    fn slot(&self, region: &Region) -> Arc<Slot> {
        let mut regions = self.regions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(regions.entry(region.clone()).or_default())
    }
}

/// The destination that an account is granted on in a Region, now and after a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedOn {
    /// The destination whose policy authorizes it now, if any.
    pub now: Option<DestinationName>,
    /// The destination that it is granted on after a sync, to which its filter must deliver.
    pub planned: DestinationName,
    /// Why the grant does not count, if so.
    pub doubt: Option<GrantDoubt>,
}

/// Which destination each account is granted on, in every Region.
pub struct Assignments {
    ctx: Context,
    reader: Arc<dyn DestinationReader>,
    cache: AssignmentCache,
}

impl Assignments {
    /// Creates it with an empty cache.
    pub fn new(ctx: Context, ports: &Ports) -> Self {
        Self { ctx, reader: Arc::clone(&ports.destinations), cache: AssignmentCache::default() }
    }

    /// The destination on which an account is granted in a Region; `None` if it is not granted there.
    pub async fn destination_of(&self, account: AccountId, region: &Region) -> AwsResult<Option<DestinationName>> {
        self.destination_by(account, region, None).await
    }

    /// The same for a request that names a destination. A grant may be newer than what is remembered, so the name
    /// counts if the account has no other destination and the named one is ours. A request alone must not be able to
    /// send an account's records to a destination of somebody else.
    pub(crate) async fn destination_by(
        &self,
        account: AccountId,
        region: &Region,
        named: Option<&DestinationName>,
    ) -> AwsResult<Option<DestinationName>> {
        let slot = self.cache.slot(region);
        let seen = slot.reads.load(Ordering::Acquire);
        let mut state = slot.state.lock().await;
        if let Some(error) = &state.failed
            && slot.reads.load(Ordering::Acquire) != seen
        {
            return Err(error.clone());
        }
        let now_ms = self.ctx.clock.now_ms();
        if let Some(known) = &state.known {
            let age = now_ms.saturating_sub(known.at_ms);
            let name = known.destination(account, named);
            if age < FRESH_MS && (name.is_some() || age < READ_AGAIN_MS) {
                return Ok(name);
            }
        }
        let read = self.region_grants(region).await;
        slot.reads.fetch_add(1, Ordering::Release);
        state.failed = read.as_ref().err().cloned();
        let grants = read?;
        let assignments = grants.assignments(self.ctx.settings.granted_organization());
        let known = Known { at_ms: now_ms, assignments, ours: grants.own_destinations() };
        let name = known.destination(account, named);
        state.known = Some(known);
        Ok(name)
    }

    /// Whether the managed statement of a remembered policy lists the account in a Region. The granter lists only
    /// accounts that Organizations reported as members.
    pub(crate) async fn is_listed(&self, account: AccountId, region: &Region) -> bool {
        let slot = self.cache.slot(region);
        slot.state.lock().await.known.as_ref().is_some_and(|known| known.assignments.is_listed(&account))
    }

    /// Forgets a Region's assignments unless they were read after `since_ms`, in epoch milliseconds. Many accounts
    /// whose filters were rejected together thus cause one read.
    pub(crate) async fn forget_assignment(&self, region: &Region, since_ms: u64) {
        let slot = self.cache.slot(region);
        let mut state = slot.state.lock().await;
        if state.known.as_ref().is_some_and(|known| known.at_ms <= since_ms) {
            state.known = None;
        }
    }

    /// Forgets a Region's assignments, so that the next question reads them from AWS.
    pub(crate) async fn forget_assignments(&self, region: &Region) {
        self.cache.slot(region).state.lock().await.known = None;
    }

    /// Reads the shards of a Region.
    ///
    /// # Errors
    ///
    /// DescribeDestinations failed.
    pub async fn region_grants(&self, region: &Region) -> AwsResult<RegionGrants> {
        let settings = &self.ctx.settings;
        let naming = &settings.destination_name;
        let found = self.reader.destinations(region, naming.base()).await?;
        let shards = found.into_iter().filter(|destination| naming.index_of(&destination.name).is_some());
        let grants = RegionGrants::new(region.clone(), settings.central_account, naming.clone(), shards.map(shard));
        Ok(match (&settings.destination_target_arn, &settings.destination_role_arn) {
            (Some(target), Some(role)) => grants.delivering_to(target, role),
            _ => grants,
        })
    }
}

fn shard(destination: Destination) -> Shard {
    let Destination { name, target, role, policy } = destination;
    Shard { name, target, role, policy: PolicyState::read(policy.as_deref()) }
}

#[cfg(test)]
mod tests;
