//! Handing accounts to the enroller.

use std::collections::BTreeSet;

use enroller_core::ids::AccountId;
use enroller_core::message::{EnrollmentRequest, Message};
use enroller_core::report::{Decision, Outcome};

use super::regions::RegionSync;
use super::{GrantReport, GrantWork, Membership};
use crate::engine::Engine;
use crate::ports::{Outgoing, RegionDestinations};

/// An account handed over so recently, in milliseconds, is not handed over again by another message about it.
const ANNOUNCED_MS: u64 = 60_000;

/// Seconds until the enroller sees a request: the grants are written meanwhile.
const GRANTED_DELAY_SECONDS: u32 = 5;

/// Seconds before an account that Organizations does not know yet is tried again, by way of the enroller's queue: its
/// messages have a life of their own, while one kept back here would block the whole FIFO group.
const UNKNOWN_DELAY_SECONDS: u32 = 60;

impl Engine {
    /// Sends a request for every account that is about to be granted and every one that is said to have arrived.
    pub(super) async fn announce(
        &self,
        work: &GrantWork,
        members: &Membership,
        planned: &[RegionSync],
        report: &mut GrantReport,
    ) {
        for account in &report.unknown {
            let cause = "Organizations does not know the account (yet); it is looked for again";
            let line = Decision::about(Some(*account), "grant", account.to_string(), Outcome::RetryLater, cause);
            report.decisions.push(line);
        }
        let plans = || planned.iter().filter_map(|region| Some((region, region.plan.as_ref()?)));
        let granted = plans().flat_map(|(_, plan)| plan.granted.iter().chain(&plan.doubled));
        let wanted = |id: &AccountId| members.wanted.contains(id) || report.unknown.contains(id);
        let due: BTreeSet<AccountId> = granted.chain(&work.arrived).filter(|id| wanted(id)).copied().collect();
        let now_ms = self.clock.now_ms();
        let due = self.memory.not_announced(due, now_ms);
        if due.is_empty() {
            return;
        }
        let Some(queue) = &self.settings.enrollments_queue_url else {
            let line =
                Decision::about(None, "request-enrollment", "enrollments queue", Outcome::Failed, "it is not set");
            report.decisions.push(line.next("set enrollments_queue_url, or run a backfill for the granted accounts"));
            return;
        };
        let message = |account: &AccountId| {
            let placed = plans()
                .filter_map(|(region, plan)| Some((region.region.clone(), plan.placement.get(account)?.clone())));
            self.request(*account, placed.collect(), work, report.unknown.contains(account), now_ms)
        };
        match self.aws.queues.send(queue, due.iter().map(message).collect()).await {
            Ok(sent) => {
                report.announced = sent;
                self.memory.announced(due, now_ms);
            }
            Err(error) => report.fail("request-enrollment", queue, error),
        }
    }

    fn request(
        &self,
        account: AccountId,
        destinations: RegionDestinations,
        work: &GrantWork,
        unknown: bool,
        now_ms: u64,
    ) -> Outgoing {
        let request = EnrollmentRequest {
            account,
            regions: self.settings.regions.iter().cloned().collect(),
            destinations,
            reason: work.reason.clone(),
            run_id: None,
            requested_at_ms: Some(now_ms),
        };
        let delay_seconds = if unknown { UNKNOWN_DELAY_SECONDS } else { GRANTED_DELAY_SECONDS };
        Outgoing { body: Message::Enrollment(request).to_json(), delay_seconds, fifo: None }
    }
}

impl super::Memory {
    fn not_announced(&self, accounts: BTreeSet<AccountId>, now_ms: u64) -> BTreeSet<AccountId> {
        let mut announced = self.announced.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        announced.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < ANNOUNCED_MS);
        accounts.into_iter().filter(|id| !announced.contains_key(id)).collect()
    }

    fn announced(&self, accounts: BTreeSet<AccountId>, now_ms: u64) {
        let mut announced = self.announced.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        announced.extend(accounts.into_iter().map(|account| (account, now_ms)));
    }
}
