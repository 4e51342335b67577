//! Announcing accounts to the enroller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use enroller_core::ids::AccountId;
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::EnrollmentRequest;

use super::regions::RegionSync;
use super::{GrantReport, GrantSync, Granter, Membership};
use crate::outbox::Outbox;
use crate::ports::RegionDestinations;

/// How long an announced account is not announced again by another message about it, in milliseconds.
const ANNOUNCED_MS: u64 = 60_000;

/// How long an announced account whose grant keeps failing is not announced again, in milliseconds. Its request is
/// still on the enroller's queue, comes back for an hour and three quarters, and asks for the grant by itself. Each of
/// these questions is a sync. If every sync sent another request, the requests would multiply for as long as the grant
/// fails.
const WAITING_MS: u64 = 3_600_000;

/// Seconds until the enroller receives a request. The grants are written meanwhile.
const GRANTED_DELAY_SECONDS: u32 = 5;

/// Seconds until an account that Organizations does not report as a member yet is tried again. The retry goes through
/// the enroller's queue, whose messages are independent of each other. A message kept on the FIFO queue would block its
/// whole message group.
const UNKNOWN_DELAY_SECONDS: u32 = 60;

impl Granter {
    /// Sends an enrollment request for every account that is about to be granted or that joined according to an event.
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
        let due: BTreeSet<AccountId> =
            granted.chain(&work.joined).chain(&work.moved).filter(|id| wanted(id)).copied().collect();
        let now_ms = self.context().clock.now_ms();
        let arrived: BTreeSet<AccountId> = work.joined.union(&work.moved).copied().collect();
        let due = self.announced.not_announced(due, &arrived, now_ms);
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

/// The last announcement of an account.
#[derive(Debug, Clone, Copy)]
struct Announced {
    /// Its time in epoch milliseconds.
    at_ms: u64,
    /// Whether the account's grant could not be written since.
    waits: bool,
}

impl Announced {
    fn lasts_ms(self) -> u64 {
        if self.waits { WAITING_MS } else { ANNOUNCED_MS }
    }
}

/// The accounts announced recently. An account that was granted together with others is thus not announced again by its
/// own message.
#[derive(Default)]
pub(super) struct AnnouncementCache(Mutex<BTreeMap<AccountId, Announced>>);

impl AnnouncementCache {
    /// The accounts to announce. An account in `joined` may have joined for a second time, so a failing grant does not
    /// keep it from being announced.
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

    /// Remembers which of the announced accounts still wait for a grant.
    pub(super) fn settle_grants(&self, regions: &[RegionSync]) {
        let waiting: BTreeSet<AccountId> = regions.iter().flat_map(RegionSync::ungranted).collect();
        let mut announced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (account, it) in &mut *announced {
            it.waits = waiting.contains(account);
        }
    }
}
