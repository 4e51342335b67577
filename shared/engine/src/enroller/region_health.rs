//! Regions that do not answer. One Region in trouble must not make every batch as long as its slowest call.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use enroller_core::error::Code;
use enroller_core::ids::{AccountId, Region};

use super::AccountRegionReport;
use crate::reconcile_error::ReconcileError;

/// A Region counts as down if it did not answer for this many accounts, and for none in between.
const ACCOUNTS: usize = 3;

/// How long an account that got no answer counts, in milliseconds. An account with a trouble of its own comes back again
/// and again.
const COUNTS_MS: u64 = 300_000;

/// How long a Region that is down is not asked, in milliseconds. After that one account is enough to find out that it
/// still is.
const DOWN_MS: u64 = 60_000;

#[derive(Debug, Default, Clone)]
struct Health {
    /// The accounts that the Region did not answer for, each with the last time in epoch milliseconds.
    silent: BTreeMap<AccountId, u64>,
    /// Until when it is not asked, in epoch milliseconds.
    down_until_ms: u64,
}

/// What a warm enroller remembers about the Regions: a circuit breaker for each.
#[derive(Default)]
pub(super) struct RegionHealth(Mutex<BTreeMap<Region, Health>>);

impl RegionHealth {
    pub(super) fn is_down(&self, region: &Region, now_ms: u64) -> bool {
        let health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        health.get(region).is_some_and(|it| now_ms < it.down_until_ms)
    }

    /// Learns from the outcome of one account in a Region.
    pub(super) fn record(&self, region: &Region, report: &AccountRegionReport, now_ms: u64) {
        let silent = report.errors.iter().any(|error| is_silence_of(region, error));
        if !silent && !report.looked_at {
            // Nothing was asked there, for example because the role could not be assumed.
            return;
        }
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !silent {
            health.remove(region);
            return;
        }
        let it = health.entry(region.clone()).or_default();
        it.silent.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < COUNTS_MS);
        it.silent.insert(report.at.account, now_ms);
        if it.silent.len() >= ACCOUNTS {
            it.down_until_ms = now_ms.saturating_add(DOWN_MS);
        }
    }
}

/// Whether a call to this Region got no answer, or one of a server in trouble.
fn is_silence_of(region: &Region, error: &ReconcileError) -> bool {
    error.aws_error().is_some_and(|error| {
        matches!(error.code, Code::NoAnswer | Code::Internal) && error.region.as_ref() == Some(region)
    })
}
