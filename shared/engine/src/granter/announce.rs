//! Announcing accounts to the enroller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use enroller_core::ids::AccountId;
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::EnrollmentRequest;

use super::regions::RegionSync;
use super::{GrantReport, GrantSync, Granter, GranterError, Membership};
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

/// Seconds until an account that Organizations does not report as an active member yet is tried again. The retry goes through
/// the enroller's queue, whose messages are independent of each other. A message kept on the FIFO queue would block its
/// whole message group.
const UNKNOWN_DELAY_SECONDS: u32 = 60;

/// Requests sent before it is noted which accounts are announced. If a part fails, its accounts and those of the parts
/// behind it wait for another sync.
const SENT_TOGETHER: usize = 100;

/// After how many refused requests no more are sent in a sync, because the queue refuses all.
const REFUSED_BY_A_QUEUE_IN_TROUBLE: usize = 3;

impl Granter {
    /// Sends an enrollment request for every account that is about to be granted, that joined or moved according to an
    /// event, or that the listing lacks. An account whose request could not be sent is not granted.
    pub(super) async fn announce(
        &self,
        outbox: &Outbox,
        work: &GrantSync,
        members: &Membership,
        planned: &[RegionSync],
        report: &mut GrantReport,
    ) {
        let doubted: BTreeSet<AccountId> = report.doubts.iter().filter_map(GranterError::account).collect();
        for account in report.unknown.difference(&doubted) {
            let cause = match members.listed.contains(account) {
                true => "the account's state is PENDING_ACTIVATION; it will be looked up again",
                false => "the account was not found in the organization (yet); it will be looked up again",
            };
            let line = LogEntry::about(Some(*account), "grant", account.to_string(), Outcome::RetryLater, cause);
            report.decisions.push(line);
        }
        let plans = || planned.iter().filter_map(|region| Some((region, region.plan.as_ref()?)));
        let on_several_shards = plans().flat_map(|(_, plan)| &plan.on_several_shards).copied().collect();
        let on_several_shards = self.announced.newly_on_several_shards(on_several_shards, work.sync);
        let granted = plans().flat_map(|(_, plan)| &plan.granted).chain(&on_several_shards);
        let wanted = |id: &AccountId| members.wanted.contains(id) || report.unknown.contains(id);
        let named = work.joined.iter().chain(&work.moved).chain(&members.overlooked);
        let due = granted.chain(named).filter(|id| wanted(id)).copied().collect();
        let now_ms = self.context().clock.now_ms();
        let arrived: BTreeSet<AccountId> = work.joined.union(&work.moved).copied().collect();
        let due: Vec<AccountId> = self.announced.not_announced(due, &arrived, now_ms).into_iter().collect();
        let unknown = report.unknown.clone();
        let message = |account: &AccountId| {
            let assigned = plans()
                .filter_map(|(region, plan)| Some((region.region.clone(), plan.assignments.get(account)?.clone())));
            self.request(*account, assigned.collect(), work, unknown.contains(account), now_ms)
        };
        let mut refused = 0;
        for part in due.chunks(SENT_TOGETHER) {
            if let Ok(count) = outbox.enroll(part.iter().map(message)).await {
                report.announced += count;
                self.announced.announced(part, &on_several_shards, now_ms);
                continue;
            }
            // One request that the queue refuses must not keep the other accounts from being granted.
            for account in part {
                match outbox.enroll([message(account)]).await {
                    Ok(count) => {
                        report.announced += count;
                        self.announced.announced(&[*account], &on_several_shards, now_ms);
                    }
                    Err(error) => {
                        report.fail("request-enrollment", &account.to_string(), error.into());
                        report.must_come_back = true;
                        refused += 1;
                    }
                }
                if refused >= REFUSED_BY_A_QUEUE_IN_TROUBLE {
                    return;
                }
            }
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
            waited_for: BTreeSet::new(),
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
pub(super) struct AnnouncementCache(Mutex<Announcements>);

#[derive(Default)]
struct Announcements {
    last: BTreeMap<AccountId, Announced>,
    /// Accounts that were announced because they are on several shards. Once is enough, as both grants stay.
    on_several_shards: BTreeSet<AccountId>,
}

impl AnnouncementCache {
    fn lock(&self) -> MutexGuard<'_, Announcements> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The accounts to announce. An account in `arrived` may have come for a second time, so a failing grant does not
    /// keep it from being announced.
    fn not_announced(
        &self,
        accounts: BTreeSet<AccountId>,
        arrived: &BTreeSet<AccountId>,
        now_ms: u64,
    ) -> BTreeSet<AccountId> {
        let last = &mut self.lock().last;
        last.retain(|_, it| now_ms.saturating_sub(it.at_ms) < it.lasts_ms());
        let recently = |id: &AccountId| {
            last.get(id).is_some_and(|it| !arrived.contains(id) || now_ms.saturating_sub(it.at_ms) < ANNOUNCED_MS)
        };
        accounts.into_iter().filter(|id| !recently(id)).collect()
    }

    /// Those of the accounts on several shards that were not announced for it yet. Only a sync looks at every account,
    /// so only a sync forgets one that is on a single shard again, or announces one.
    fn newly_on_several_shards(&self, accounts: BTreeSet<AccountId>, all: bool) -> BTreeSet<AccountId> {
        if !all {
            return BTreeSet::new();
        }
        let known = &mut self.lock().on_several_shards;
        known.retain(|id| accounts.contains(id));
        accounts.difference(known).copied().collect()
    }

    fn announced(&self, accounts: &[AccountId], on_several_shards: &BTreeSet<AccountId>, at_ms: u64) {
        let mut known = self.lock();
        known.last.extend(accounts.iter().map(|account| (*account, Announced { at_ms, waits: false })));
        known.on_several_shards.extend(accounts.iter().filter(|id| on_several_shards.contains(id)));
    }

    /// Those of the accounts that no request was queued for. They must not be granted: nobody would enroll them.
    pub(super) fn unannounced(&self, accounts: &BTreeSet<AccountId>) -> BTreeSet<AccountId> {
        let known = self.lock();
        accounts.iter().filter(|id| !known.last.contains_key(id)).copied().collect()
    }

    /// Remembers which of the announced accounts still wait for a grant. A Region without a plan may be one where they
    /// do.
    pub(super) fn settle_grants(&self, regions: &[RegionSync], all_planned: bool) {
        let waiting: BTreeSet<AccountId> = regions.iter().flat_map(RegionSync::ungranted).collect();
        let all_planned = all_planned && regions.iter().all(|region| region.plan.is_some());
        for (account, it) in &mut self.lock().last {
            it.waits = waiting.contains(account) || (it.waits && !all_planned);
        }
    }
}
