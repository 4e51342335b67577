//! Handing accounts to the enroller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use enroller_core::ids::AccountId;
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::EnrollmentRequest;

use super::regions::RegionSync;
use super::{GrantReport, GrantSync, Granter, Membership};
use crate::outbox::Outbox;
use crate::ports::RegionDestinations;

/// An account handed over so recently, in milliseconds, is not handed over again by another message about it.
const ANNOUNCED_MS: u64 = 60_000;

/// Nor one within this time, in milliseconds, whose grant could not be written since: its request is still on the
/// enroller's queue, comes back for an hour and three quarters, and asks for the grant by itself. Every question is a
/// sync, so a request more for each of them would feed itself for as long as the grant fails.
const WAITING_MS: u64 = 3_600_000;

/// Seconds until the enroller sees a request: the grants are written meanwhile.
const GRANTED_DELAY_SECONDS: u32 = 5;

/// Seconds before an account that Organizations does not know yet is tried again, by way of the enroller's queue: its
/// messages have a life of their own, while one kept back here would block the whole FIFO group.
const UNKNOWN_DELAY_SECONDS: u32 = 60;

impl Granter {
    /// Sends a request for every account that is about to be granted and every one that is said to have arrived.
    pub(super) async fn announce(
        &self,
        outbox: &Outbox,
        work: &GrantSync,
        members: &Membership,
        planned: &[RegionSync],
        report: &mut GrantReport,
    ) {
        for account in &report.unknown {
            let cause = "the account was not found in the organization (yet); it will be looked up again";
            let line = LogEntry::about(Some(*account), "grant", account.to_string(), Outcome::RetryLater, cause);
            report.decisions.push(line);
        }
        let plans = || planned.iter().filter_map(|region| Some((region, region.plan.as_ref()?)));
        let granted = plans().flat_map(|(_, plan)| plan.granted.iter().chain(&plan.on_several_shards));
        let wanted = |id: &AccountId| members.wanted.contains(id) || report.unknown.contains(id);
        let due: BTreeSet<AccountId> = granted.chain(&work.joined).filter(|id| wanted(id)).copied().collect();
        let now_ms = self.context().clock.now_ms();
        let due = self.announced.not_announced(due, &work.joined, now_ms);
        if due.is_empty() {
            return;
        }
        let message = |account: &AccountId| {
            let assigned = plans()
                .filter_map(|(region, plan)| Some((region.region.clone(), plan.assignments.get(account)?.clone())));
            self.request(*account, assigned.collect(), work, report.unknown.contains(account), now_ms)
        };
        match outbox.enroll(due.iter().map(message)).await {
            Ok(sent) => {
                report.announced = sent;
                self.announced.announced(due, now_ms);
            }
            Err(error) => report.fail("request-enrollment", "enrollments queue", error.into()),
        }
    }

    fn request(
        &self,
        account: AccountId,
        destinations: RegionDestinations,
        work: &GrantSync,
        unknown: bool,
        now_ms: u64,
    ) -> (EnrollmentRequest, u32) {
        let request = EnrollmentRequest {
            account,
            regions: self.context().settings.regions.iter().cloned().collect(),
            destinations,
            reason: work.reason.clone(),
            run_id: None,
            requested_at_ms: Some(now_ms),
        };
        let delay_seconds = if unknown { UNKNOWN_DELAY_SECONDS } else { GRANTED_DELAY_SECONDS };
        (request, delay_seconds)
    }
}

/// When an account was handed over.
#[derive(Debug, Clone, Copy)]
struct Announced {
    at_ms: u64,
    /// Whether its grant could not be written since.
    waits: bool,
}

impl Announced {
    fn lasts_ms(self) -> u64 {
        if self.waits { WAITING_MS } else { ANNOUNCED_MS }
    }
}

/// The accounts last announced, so that one that was granted together with others is not announced again by its own
/// message.
#[derive(Default)]
pub(super) struct AnnouncementCache(Mutex<BTreeMap<AccountId, Announced>>);

impl AnnouncementCache {
    /// Those that have to be handed over. One that is said to have arrived may be there for a second time, whatever
    /// became of the first.
    fn not_announced(
        &self,
        accounts: BTreeSet<AccountId>,
        joined: &BTreeSet<AccountId>,
        now_ms: u64,
    ) -> BTreeSet<AccountId> {
        let mut announced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        announced.retain(|_, it| now_ms.saturating_sub(it.at_ms) < it.lasts_ms());
        let recently = |id: &AccountId| {
            announced.get(id).is_some_and(|it| !joined.contains(id) || now_ms.saturating_sub(it.at_ms) < ANNOUNCED_MS)
        };
        accounts.into_iter().filter(|id| !recently(id)).collect()
    }

    fn announced(&self, accounts: BTreeSet<AccountId>, at_ms: u64) {
        let mut announced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        announced.extend(accounts.into_iter().map(|account| (account, Announced { at_ms, waits: false })));
    }

    /// Remembers of the accounts that were handed over which of them still wait for a grant.
    pub(super) fn settle_grants(&self, regions: &[RegionSync]) {
        let waiting: BTreeSet<AccountId> = regions.iter().flat_map(RegionSync::ungranted).collect();
        let mut announced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (account, it) in &mut *announced {
            it.waits = waiting.contains(account);
        }
    }
}
