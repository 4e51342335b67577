//! Handing granted accounts to the enroller.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::grants::Placement;
use enroller_core::ids::{AccountId, Region};
use enroller_core::message::{EnrollmentRequest, Message};
use enroller_core::report::{Decision, Outcome};

use super::{GrantReport, GrantWork};
use crate::engine::Engine;
use crate::ports::Outgoing;

/// An account handed over so recently, in milliseconds, is not handed over again by another message about it.
const ANNOUNCED_MS: u64 = 60_000;

/// Seconds before an account that Organizations does not know yet is tried again, by way of the enroller's queue: its
/// messages have a life of their own, while one kept back here would block the whole FIFO group.
const UNKNOWN_DELAY_SECONDS: u32 = 60;

impl Engine {
    pub(super) async fn announce(
        &self,
        work: &GrantWork,
        placements: &BTreeMap<Region, Placement>,
        report: &mut GrantReport,
    ) {
        for account in &report.unknown {
            let cause = "Organizations does not know the account (yet); it is looked for again";
            let line = Decision::about(Some(*account), "grant", account.to_string(), Outcome::RetryLater, cause);
            report.decisions.push(line);
        }
        let Some(queue) = self.settings.enrollments_queue_url.clone() else { return };
        let now_ms = self.clock.now_ms();
        let granted: BTreeSet<AccountId> = report.granted.iter().chain(&work.arrived).copied().collect();
        let due: Vec<AccountId> = {
            let mut announced = self.memory.announced.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            announced.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < ANNOUNCED_MS);
            granted.into_iter().filter(|id| !announced.contains_key(id)).collect()
        };
        let mut messages = Vec::new();
        let mut sent_for = Vec::new();
        for account in due {
            let message = self.request(account, work, placements, report, now_ms);
            if let Some(message) = message {
                sent_for.push(account);
                messages.push(message);
            }
        }
        if messages.is_empty() {
            return;
        }
        match self.aws.queues.send(&queue, messages).await {
            Ok(sent) => {
                report.announced = sent;
                let mut announced = self.memory.announced.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                announced.extend(sent_for.into_iter().map(|account| (account, now_ms)));
            }
            Err(error) => report.fail("request-enrollment", &queue, error),
        }
    }

    /// The request for one account: with its destinations where it is granted, delayed where Organizations does not
    /// know it yet, none where it is out of scope.
    fn request(
        &self,
        account: AccountId,
        work: &GrantWork,
        placements: &BTreeMap<Region, Placement>,
        report: &GrantReport,
        now_ms: u64,
    ) -> Option<Outgoing> {
        let unknown = report.unknown.contains(&account);
        let destinations: BTreeMap<_, _> = placements
            .iter()
            .filter_map(|(region, placement)| Some((region.clone(), placement.get(&account)?.clone())))
            .collect();
        if destinations.is_empty() && !unknown {
            return None;
        }
        let request = EnrollmentRequest {
            account,
            regions: self.settings.regions.iter().cloned().collect(),
            destinations,
            reason: work.reason.clone(),
            run_id: None,
            requested_at_ms: Some(now_ms),
        };
        Some(Outgoing {
            body: Message::Enrollment(request).to_json(),
            delay_seconds: if unknown { UNKNOWN_DELAY_SECONDS } else { 0 },
            fifo: None,
        })
    }
}
