//! Whether an account may be changed. This is decided before any call in the account.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use enroller_core::ids::{AccountId, Region};
use enroller_core::observed::AccountState;
use enroller_core::scope::OutOfScope;
use enroller_core::settings::GrantMode;

use super::{AccountWork, AskedBy, Assigned, Enroller};
use crate::ports::AwsResult;

/// How long an answer of Organizations about an account is remembered, in milliseconds.
const FRESH_MS: u64 = 300_000;

/// How long a request is believed that its sender has asked Organizations, in milliseconds. Requests may wait for an hour
/// and three quarters, and an account may leave or be excluded meanwhile.
const BELIEVED_MS: u64 = 900_000;

/// How long the answer that an account is not to be changed is remembered, in milliseconds. A new account may be missing
/// for a moment, and one that was moved out of an excluded unit must not lose the message about its new VPC.
const BRIEFLY_FRESH_MS: u64 = 15_000;

/// Whether the enroller may change an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Eligibility {
    /// Yes: the account is a member and in scope.
    Member,
    /// No: the account is a member that the settings exclude.
    OutOfScope(OutOfScope),
    /// No: Organizations does not report the account as an active member. It may have joined a moment ago.
    Unknown,
}

/// The remembered answers by account, each with its time in epoch milliseconds.
#[derive(Default)]
pub(super) struct EligibilityCache(Mutex<BTreeMap<AccountId, (u64, Eligibility)>>);

impl Enroller {
    /// Whether the enroller may change an account.
    ///
    /// An account that a managed statement lists was a member when it was granted. Organizations is therefore asked only
    /// if that says too little, because OUs are excluded or the whole organization is granted, or if no managed
    /// statement lists the account. Unmanaged statements may authorize any account, so they prove nothing. Where a
    /// listing says too little, a fresh request that names the destination is enough: the granter or backfill that sent
    /// it has just asked Organizations, and a run over ten thousand accounts cannot ask about each again.
    pub(super) async fn eligibility(
        &self,
        work: &AccountWork,
        assigned: &[(Region, Assigned)],
    ) -> AwsResult<Eligibility> {
        let settings = &self.ctx.settings;
        let listing_is_enough =
            settings.excluded_organizational_units.is_empty() && settings.grant_mode == GrantMode::AccountList;
        for (region, assigned) in assigned {
            // Nothing is done in a Region whose policies could not be read, so no answer is needed for it.
            if assigned.is_err() {
                continue;
            }
            let named = self.named_shard(work, region).is_some();
            let known = match work.asked_by {
                AskedBy::Command if named => true,
                AskedBy::Message { at_ms: Some(at_ms) } if named && !listing_is_enough => self.is_recent(at_ms),
                AskedBy::Command | AskedBy::Message { .. } => {
                    listing_is_enough && self.assignments.is_listed(work.account, region).await
                }
            };
            if !known {
                return self.ask_organizations(work.account).await;
            }
        }
        Ok(Eligibility::Member)
    }

    fn is_recent(&self, at_ms: u64) -> bool {
        self.ctx.clock.now_ms().abs_diff(at_ms) < BELIEVED_MS
    }

    async fn ask_organizations(&self, account: AccountId) -> AwsResult<Eligibility> {
        let now_ms = self.ctx.clock.now_ms();
        if let Some(eligibility) = self.eligibility.recall(account, now_ms) {
            return Ok(eligibility);
        }
        let eligibility = match self.organization.account(account).await? {
            None => Eligibility::Unknown,
            Some(account) => match self.ctx.settings.account_in_scope(&account) {
                Ok(()) => Eligibility::Member,
                Err(OutOfScope::State(AccountState::PendingActivation)) => Eligibility::Unknown,
                Err(reason) => Eligibility::OutOfScope(reason),
            },
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
            Eligibility::Unknown | Eligibility::OutOfScope(_) => BRIEFLY_FRESH_MS,
            Eligibility::Member => FRESH_MS,
        };
        (now_ms.saturating_sub(*at_ms) < fresh_ms).then(|| eligibility.clone())
    }

    fn remember(&self, account: AccountId, now_ms: u64, eligibility: Eligibility) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Events may name any number of accounts, so entries that are too old to be used are removed.
        known.retain(|_, (at_ms, _)| now_ms.saturating_sub(*at_ms) < FRESH_MS);
        known.insert(account, (now_ms, eligibility));
    }
}
