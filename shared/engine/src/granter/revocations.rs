//! What was revoked in the last day, for the revocation guard.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use enroller_core::ids::{AccountId, Region};

use super::regions::RegionSync;

/// The time that the revocation guard counts over, in milliseconds: a day.
const DAY_MS: u64 = 86_400_000;

/// The accounts revoked in each Region, with the time in epoch milliseconds.
///
/// A new container begins with none, because AWS keeps no record that the granter could read. A day thus begins anew
/// with a deployment, and after Lambda has replaced an idle container.
#[derive(Default)]
pub(super) struct RecentRevocations(Mutex<BTreeMap<Region, BTreeMap<AccountId, u64>>>);

impl RecentRevocations {
    /// How many accounts lost their grant in a Region in the last day.
    pub(super) fn recent(&self, region: &Region, now_ms: u64) -> usize {
        let mut revoked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(here) = revoked.get_mut(region) else { return 0 };
        here.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < DAY_MS);
        here.len()
    }

    /// Remembers what a sync revoked.
    pub(super) fn remember(&self, sync: &RegionSync, now_ms: u64) {
        let mut revoked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = revoked.entry(sync.region.clone()).or_default();
        here.extend(sync.revoked.iter().map(|account| (*account, now_ms)));
    }
}
