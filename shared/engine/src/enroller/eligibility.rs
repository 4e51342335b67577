//! Whether an account is one of ours to change, asked before anything is done in it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use enroller_core::ids::{AccountId, Region};
use enroller_core::scope::OutOfScope;
use enroller_core::settings::GrantMode;

use super::{AccountWork, Assigned, Enroller};
use crate::ports::AwsResult;

/// How long a warm enroller believes what Organizations said of an account, in milliseconds.
const FRESH_MS: u64 = 300_000;

/// How long it believes that there is no such account: a new one may be missing for a moment.
const UNKNOWN_FRESH_MS: u64 = 15_000;

/// Whether we may change an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Eligibility {
    /// A member, and in scope.
    Member,
    /// A member that is left alone.
    OutOfScope(OutOfScope),
    /// No member, says Organizations; or not yet.
    Unknown,
}

/// What is remembered of accounts, and since when.
#[derive(Default)]
pub(super) struct EligibilityCache(Mutex<BTreeMap<AccountId, (u64, Eligibility)>>);

impl Enroller {
    /// Whether we may change an account.
    ///
    /// Requests that carry their destinations come from the onboarder or a backfill, which have asked Organizations.
    /// Otherwise an account that a statement of ours lists was a member when it was granted, so Organizations is asked
    /// only where OUs are excluded or none lists the account. Others may let in whom they like.
    pub(super) async fn eligibility(
        &self,
        work: &AccountWork,
        assigned: &[(Region, Assigned)],
    ) -> AwsResult<Eligibility> {
        let settings = &self.ctx.settings;
        let named_is_enough =
            settings.excluded_organizational_units.is_empty() && settings.grant_mode == GrantMode::AccountList;
        for (region, assigned) in assigned {
            // Where the policies could not be read nothing is done, so there is nothing to ask for.
            if assigned.is_err() || self.named_shard(work, region).is_some() {
                continue;
            }
            let listed = named_is_enough && self.assignments.is_listed(work.account, region).await;
            if !listed {
                return self.ask_organizations(work.account).await;
            }
        }
        Ok(Eligibility::Member)
    }

    async fn ask_organizations(&self, account: AccountId) -> AwsResult<Eligibility> {
        let now_ms = self.ctx.clock.now_ms();
        if let Some(eligibility) = self.eligibility.recall(account, now_ms) {
            return Ok(eligibility);
        }
        let eligibility = match self.organization.account(account).await? {
            None => Eligibility::Unknown,
            Some(account) => self
                .ctx
                .settings
                .account_in_scope(&account)
                .map_or_else(Eligibility::OutOfScope, |()| Eligibility::Member),
        };
        self.eligibility.remember(account, now_ms, eligibility.clone());
        Ok(eligibility)
    }
}

impl EligibilityCache {
    fn recall(&self, account: AccountId, now_ms: u64) -> Option<Eligibility> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at_ms, eligibility) = known.get(&account)?;
        let fresh_ms = match eligibility {
            Eligibility::Unknown => UNKNOWN_FRESH_MS,
            Eligibility::Member | Eligibility::OutOfScope(_) => FRESH_MS,
        };
        (now_ms.saturating_sub(*at_ms) < fresh_ms).then(|| eligibility.clone())
    }

    fn remember(&self, account: AccountId, now_ms: u64, eligibility: Eligibility) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Events may name any account: what is too old to be used is not kept.
        known.retain(|_, (at_ms, _)| now_ms.saturating_sub(*at_ms) < FRESH_MS);
        known.insert(account, (now_ms, eligibility));
    }
}
