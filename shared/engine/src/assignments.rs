//! Which destination each account is granted on, remembered per Region.
//!
//! The policies of the destinations are the record; there is no database. DescribeDestinations allows 5 calls a
//! second and Region for the whole central account, so a warm function asks again only when an account is not on
//! what it remembers, when AWS refuses a filter, or after [`FRESH_MS`].

use std::collections::BTreeMap;
use std::sync::Arc;

use enroller_core::arn::Arn;
use enroller_core::error::{AwsError, Code};
use enroller_core::grants::{PolicyState, RegionGrants, Shard, ShardAssignments, ShardNaming};
use enroller_core::ids::{AccountId, Region};
use enroller_core::names::DestinationName;
use futures::lock::Mutex;

use crate::engine::Engine;
use crate::ports::{AwsResult, Destination};

/// How long a remembered placement is believed without asking again, in milliseconds.
pub const FRESH_MS: u64 = 300_000;

/// Two questions about accounts that are not there are at least this far apart, in milliseconds, so that a flood of
/// events from accounts without a grant cannot use up the central account's rate.
const ASK_AGAIN_MS: u64 = 2_000;

struct Known {
    at_ms: u64,
    assignments: ShardAssignments,
}

/// The remembered placement of one Region; the lock lets one question be asked at a time.
type Slot = Arc<Mutex<Option<Known>>>;

/// The remembered placements.
#[derive(Default)]
pub(crate) struct AssignmentCache {
    regions: std::sync::Mutex<BTreeMap<Region, Slot>>,
}

impl AssignmentCache {
    fn slot(&self, region: &Region) -> Slot {
        let mut regions = self.regions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(regions.entry(region.clone()).or_default())
    }
}

impl Engine {
    /// The destination on which an account is granted in a Region; `None` if it is not.
    pub async fn destination_of(&self, account: AccountId, region: &Region) -> AwsResult<Option<DestinationName>> {
        let slot = self.assignments.slot(region);
        let mut known = slot.lock().await;
        let now_ms = self.clock.now_ms();
        if let Some(known) = &*known {
            let age = now_ms.saturating_sub(known.at_ms);
            let name = known.assignments.get(&account);
            if age < FRESH_MS && (name.is_some() || age < ASK_AGAIN_MS) {
                return Ok(name.cloned());
            }
        }
        let assignments = self.region_grants(region).await?.assignments(self.settings.granted_organization());
        let name = assignments.get(&account).cloned();
        *known = Some(Known { at_ms: now_ms, assignments });
        Ok(name)
    }

    /// Whether a statement of ours lists the account in a Region, as far as remembered: the onboarder asks Organizations
    /// before it lists one.
    pub(crate) async fn is_listed(&self, account: AccountId, region: &Region) -> bool {
        let slot = self.assignments.slot(region);
        slot.lock().await.as_ref().is_some_and(|known| known.assignments.is_listed(&account))
    }

    /// Makes the next question about a Region go to AWS, unless it was asked since `since_ms`: many accounts whose
    /// filters were refused together ask once.
    pub(crate) async fn forget_assignment(&self, region: &Region, since_ms: u64) {
        let slot = self.assignments.slot(region);
        let mut known = slot.lock().await;
        if known.as_ref().is_some_and(|known| known.at_ms <= since_ms) {
            *known = None;
        }
    }

    /// Makes the next question about a Region go to AWS.
    pub(crate) async fn forget_assignments(&self, region: &Region) {
        *self.assignments.slot(region).lock().await = None;
    }

    /// Reads the shards of a Region.
    pub async fn region_grants(&self, region: &Region) -> AwsResult<RegionGrants> {
        let naming = self.naming()?;
        let found = self.aws.destinations.destinations(region, naming.base()).await?;
        let ours = found.into_iter().filter(|destination| naming.index_of(&destination.name).is_some());
        let shards: Vec<Shard> = ours.map(|destination| self.shard(region, destination)).collect::<AwsResult<_>>()?;
        Ok(RegionGrants::new(region.clone(), self.settings.central_account, naming, shards))
    }

    pub(crate) fn naming(&self) -> AwsResult<ShardNaming> {
        ShardNaming::new(self.settings.destination_name.clone()).map_err(|invalid| {
            AwsError::without_answer("logs:DescribeDestinations", Code::Unparsable, invalid.to_string())
        })
    }

    fn shard(&self, region: &Region, destination: Destination) -> AwsResult<Shard> {
        let arn = |text: &str| {
            text.parse::<Arn>().map_err(|invalid| {
                AwsError::without_answer("logs:DescribeDestinations", Code::Unparsable, invalid.to_string())
                    .at(self.settings.central_account, region)
            })
        };
        Ok(Shard {
            target: arn(&destination.target)?,
            role: arn(&destination.role)?,
            policy: PolicyState::read(destination.policy.as_deref()),
            name: destination.name,
        })
    }
}
