//! VPCs whose old flow log stands in the way of its successor, and may not be deleted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use enroller_core::ids::{AccountRegion, VpcId};

/// How long a VPC is remembered, in milliseconds. Meanwhile only the deletion is tried again. Without this, each return
/// of the message and each sweep would make two calls of CreateFlowLogs that AWS is known to refuse.
const REMEMBERED_MS: u64 = 86_400_000;

/// What a warm enroller remembers about such VPCs, each with the time of the denied deletion in epoch milliseconds.
#[derive(Default)]
pub(super) struct Undeletable(Mutex<BTreeMap<(AccountRegion, VpcId), u64>>);

impl Undeletable {
    pub(super) fn contains(&self, at: &AccountRegion, vpc: &VpcId, now_ms: u64) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at_ms = known.get(&(at.clone(), vpc.clone()));
        at_ms.is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) < REMEMBERED_MS)
    }

    pub(super) fn remember(&self, at: &AccountRegion, vpc: &VpcId, now_ms: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < REMEMBERED_MS);
        known.insert((at.clone(), vpc.clone()), now_ms);
    }

    pub(super) fn forget(&self, at: &AccountRegion, vpc: &VpcId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(at.clone(), vpc.clone()));
    }
}
