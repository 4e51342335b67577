//! The `enrollments` queue: events and requests about member accounts.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::error::Disposition;
use enroller_core::event::{Decoded, Trigger};
use enroller_core::ids::{AccountId, Region, VpcId};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::{GrantRequest, Message, SyncRequest};
use enroller_core::metrics::Metrics;
use futures::stream::{StreamExt, iter};

use super::{BatchReport, Record, Route};
use crate::engine::Engine;
use crate::ports::{Outgoing, RegionDestinations};
use crate::reconcile::{AccountReport, AccountWork, ReconcileError};

/// The message group of the grants queue: one, so that there is one writer.
pub const GRANTS_GROUP: &str = "grants";

/// Two questions about the same account's grant within this many milliseconds are one.
const ASK_ONCE_MS: u64 = 20_000;

/// How often a message about a VPC that EC2 does not show comes back before the VPC counts as deleted. EC2 is
/// eventually consistent for seconds.
const LOOKS_FOR_VPC: u32 = 3;

/// Everything a batch says about one account.
struct Unit {
    work: AccountWork,
    records: Vec<usize>,
    /// VPCs that were just made, by the record that says so.
    expected: Vec<(usize, Region, VpcId)>,
    since_ms: Option<u64>,
}

impl Engine {
    /// Works through a batch of the `enrollments` queue until `deadline_ms`, epoch milliseconds.
    pub async fn enroll_batch(&self, records: &[Record], deadline_ms: u64) -> BatchReport {
        let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
        let mut units = BTreeMap::new();
        let mut for_other_queue = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let Some(decoded) = self.read(record, &mut report, &mut metrics) else { continue };
            match route(decoded, index, &mut units) {
                Route::Here => {}
                Route::OtherQueue(message) => for_other_queue.push((record, message)),
                Route::Nowhere => report.refuse_unroutable(record, &mut metrics),
            }
        }
        for (record, message) in for_other_queue {
            let sent = self.ask_onboarder(&message, record.id.clone()).await;
            answer_sent(record, sent, &mut report);
        }
        let work = iter(units.into_values()).map(|unit| async {
            let account_report = self.reconcile_until(&unit.work, deadline_ms).await;
            (unit, account_report)
        });
        let done: Vec<_> = work.buffer_unordered(self.settings.max_concurrency).collect().await;
        for (unit, account_report) in done {
            self.answer_unit(records, &unit, account_report, &mut report, &mut metrics).await;
        }
        self.return_to_queue(records, deadline_ms, &mut report, &mut metrics).await;
        self.tell(&report, &metrics);
        report
    }

    /// Reconciles unless and until time runs out. No change is begun after that; a call that still hangs then is given
    /// up, which is safe: the next run looks at what is there.
    pub async fn reconcile_until(&self, work: &AccountWork, deadline_ms: u64) -> AccountReport {
        let report = self.within(deadline_ms, self.reconcile(work, deadline_ms)).await;
        report.unwrap_or_else(|| AccountReport::out_of_time(work))
    }

    async fn answer_unit(
        &self,
        records: &[Record],
        unit: &Unit,
        mut account: AccountReport,
        report: &mut BatchReport,
        metrics: &mut Metrics,
    ) {
        let unseen = account.unseen(&unit.expected);
        for (index, at, vpc) in unseen {
            if records[index].receive_count <= LOOKS_FOR_VPC {
                account.add(&at, ReconcileError::NotVisible(vpc));
            }
        }
        account.measure(unit.since_ms, self.clock.now_ms(), metrics);
        report.changes += account.changes();
        if account.needs_grant() {
            let reason = "an enrollment waits for the account's grant".to_owned();
            let message = Message::Grant(GrantRequest { account: unit.work.account, reason });
            // Many VPCs of a new account ask for one grant; a later try has to get through, though.
            let asked = format!("{}-{}", unit.work.account, self.clock.now_ms() / ASK_ONCE_MS);
            if let Err(line) = self.ask_onboarder(&message, asked).await {
                report.decisions.push(*line);
            }
        }
        let errors = || account.account_regions.iter().flat_map(|at| &at.errors);
        let retry = errors().any(|errors| errors.disposition().is_retryable());
        let later = errors().any(|errors| matches!(errors.disposition(), Disposition::RetryLater(_)));
        if retry {
            let indices = unit.records.iter();
            report.defer(indices.map(|index| &records[*index]), !later);
        }
        report.decisions.extend(account.account_regions.into_iter().flat_map(|at| at.decisions));
    }

    /// Sends a message to the one writer of grants. SQS drops a second one with the same `once` for five minutes.
    ///
    /// # Errors
    ///
    /// The line that tells of the failure.
    pub async fn ask_onboarder(&self, message: &Message, once: String) -> Result<(), Box<LogEntry>> {
        let line =
            LogEntry::about(None, "ask-onboarder", "grants queue", Outcome::Failed, "grants_queue_url is not set");
        let Some(queue) = &self.settings.grants_queue_url else {
            return Err(Box::new(line.next("set grants_queue_url, or grant the account by hand")));
        };
        let fifo = Some((GRANTS_GROUP.to_owned(), once));
        let outgoing = Outgoing { body: message.to_json(), delay_seconds: 0, fifo };
        match self.aws.queues.send(queue, vec![outgoing]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Box::new(line.failed_with(&error))),
        }
    }
}

/// The answer to a record that was sent on to the other function's queue.
pub(super) fn answer_sent(record: &Record, sent: Result<(), Box<LogEntry>>, report: &mut BatchReport) {
    match sent {
        Ok(()) => {
            let cause = "it belongs to the other function, and was sent on to its queue";
            report.decisions.push(LogEntry::about(None, "forward", record.id.clone(), Outcome::Done, cause));
        }
        Err(line) => {
            report.decisions.push(*line);
            report.defer(std::iter::once(record), true);
        }
    }
}

/// Adds a record to its account's unit, or says what to tell the onboarder.
fn route(decoded: Decoded, index: usize, units: &mut BTreeMap<AccountId, Unit>) -> Route<Message> {
    let mut expected = None;
    let (account, regions, destinations, since_ms) = match decoded.trigger {
        Trigger::Enroll { account, region, resource, .. } => {
            // The member stack's name is a resource too, and no VPC.
            expected = resource.parse().ok().map(|vpc| (index, region.clone(), vpc));
            (account, vec![region], RegionDestinations::new(), decoded.occurred_at_ms)
        }
        Trigger::Repair { account, region, .. } => {
            (account, vec![region], RegionDestinations::new(), decoded.occurred_at_ms)
        }
        Trigger::Request(request) => (request.account, request.regions, request.destinations, request.requested_at_ms),
        Trigger::Grant { account, cause } | Trigger::Revoke { account, cause } => {
            // Who leaves is found by the same comparison with Organizations as who comes.
            let reason = format!("{cause} (account {account})");
            return Route::OtherQueue(Message::Sync(SyncRequest {
                reason,
                run_id: None,
                allow_mass_revocation: false,
            }));
        }
        Trigger::Sync { cause, run_id, allow_mass_revocation, .. } => {
            return Route::OtherQueue(Message::Sync(SyncRequest { reason: cause, run_id, allow_mass_revocation }));
        }
        Trigger::Backfill(_) => return Route::Nowhere,
    };
    let unit = units.entry(account).or_insert_with(|| Unit {
        work: AccountWork {
            account,
            regions: BTreeSet::new(),
            destinations: RegionDestinations::new(),
            approved: None,
        },
        records: Vec::new(),
        expected: Vec::new(),
        since_ms: None,
    });
    unit.work.regions.extend(regions);
    unit.work.destinations.extend(destinations);
    unit.records.push(index);
    unit.expected.extend(expected);
    unit.since_ms = [unit.since_ms, since_ms].into_iter().flatten().min();
    Route::Here
}
