//! The `enrollments` queue: events and requests about member accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enroller_core::error::Disposition;
use enroller_core::event::{Decoded, Enrolled, Trigger};
use enroller_core::ids::{AccountId, Region, VpcId};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::{GrantRequest, Message, SyncRequest};
use enroller_core::metrics::Metrics;
use futures::stream::{StreamExt, iter};

use super::{AccountReport, AccountWork, Enroller};
use crate::batch::{BatchReport, Inbox, Record, Route};
use crate::context::Context;
use crate::outbox::Outbox;
use crate::ports::{AwsResult, Queues, RegionDestinations};
use crate::reconcile_error::ReconcileError;

/// Requests for the same account's grant within this many milliseconds count as one.
const GRANT_REQUEST_WINDOW_MS: u64 = 20_000;

/// How often a message about a VPC that EC2 does not list comes back before the VPC counts as deleted. EC2 is
/// eventually consistent within seconds.
const VPC_LOOKUPS: u32 = 3;

/// The records of a batch about one account, as one unit of work.
struct Unit {
    work: AccountWork,
    records: Vec<usize>,
    /// VPCs that were just created, each with the index of the record that names it.
    expected: Vec<(usize, Region, VpcId)>,
    /// When the first of the events happened, in epoch milliseconds.
    since_ms: Option<u64>,
}

impl Enroller {
    /// Reconciles until `deadline_ms`, in epoch milliseconds. No change is started after that. A call that is still
    /// pending is dropped. That is safe, because the next run observes the current state.
    pub async fn reconcile_until(&self, work: &AccountWork, deadline_ms: u64) -> AccountReport {
        let report = self.ctx.within(deadline_ms, self.reconcile(work, deadline_ms)).await;
        report.unwrap_or_else(|| AccountReport::out_of_time(work))
    }
}

/// Processes the messages of the `enrollments` queue.
pub struct EnrollmentQueue {
    ctx: Context,
    enroller: Enroller,
    inbox: Inbox,
    outbox: Outbox,
}

impl EnrollmentQueue {
    /// Creates the processor. The enroller does the work.
    pub fn new(enroller: Enroller, queues: &Arc<dyn Queues>, outbox: Outbox) -> Self {
        let ctx = enroller.ctx.clone();
        Self { inbox: Inbox::new(ctx.clone(), queues), ctx, enroller, outbox }
    }

    /// The context that it shares with the other workers.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// The enroller that does the work.
    pub fn enroller(&self) -> &Enroller {
        &self.enroller
    }

    /// The outbox that it sends messages through.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Processes a batch until `deadline_ms`, in epoch milliseconds.
    pub async fn batch(&self, records: &[Record], deadline_ms: u64) -> BatchReport {
        let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
        let mut units = BTreeMap::new();
        let mut for_other_queue = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let Some(decoded) = self.inbox.read(record, &mut report, &mut metrics) else { continue };
            match route(decoded, index, &mut units) {
                Route::Here => {}
                Route::OtherQueue(message) => for_other_queue.push((record, message)),
                Route::Nowhere => report.refuse_unroutable(record, &mut metrics),
            }
        }
        for (record, message) in for_other_queue {
            let sent = self.outbox.grant(message.to_json(), record.id.clone()).await;
            report.forwarded(record, "ask-onboarder", sent);
        }
        let work = iter(units.into_values()).map(|unit| async {
            let account_report = self.enroller.reconcile_until(&unit.work, deadline_ms).await;
            (unit, account_report)
        });
        let done: Vec<_> = work.buffer_unordered(self.ctx.settings.max_concurrency).collect().await;
        for (unit, account_report) in done {
            self.answer_unit(records, &unit, account_report, &mut report, &mut metrics).await;
        }
        self.inbox.answer(records, deadline_ms, report, metrics).await
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
            if records[index].receive_count <= VPC_LOOKUPS {
                account.add(&at, ReconcileError::NotVisible(vpc));
            }
        }
        account.measure(unit.since_ms, self.ctx.clock.now_ms(), metrics);
        report.changes += account.changes();
        if account.needs_grant()
            && let Err(error) = self.request_grant(unit.work.account).await
        {
            let line = LogEntry::about(None, "ask-onboarder", "grants queue", Outcome::Failed, "");
            report.decisions.push(line.failed_with(&error));
        }
        let errors = || account.account_regions.iter().flat_map(|report| &report.errors);
        let retry = errors().any(|error| error.disposition().is_retryable());
        let later = errors().any(|error| matches!(error.disposition(), Disposition::RetryLater(_)));
        if retry {
            let indices = unit.records.iter();
            report.defer(indices.map(|index| &records[*index]), !later);
        }
        report.decisions.extend(account.account_regions.into_iter().flat_map(|report| report.decisions));
    }

    /// Sends the granter a request for an account's grant.
    async fn request_grant(&self, account: AccountId) -> AwsResult<()> {
        let reason = "an enrollment is waiting for the account's grant".to_owned();
        // Many VPCs of a new account need the same grant, so SQS drops the duplicates. A later request must not be
        // dropped.
        let deduplication_id = format!("{account}-{}", self.ctx.clock.now_ms() / GRANT_REQUEST_WINDOW_MS);
        self.outbox.grant(Message::Grant(GrantRequest { account, reason }).to_json(), deduplication_id).await
    }
}

/// Adds a record to its account's unit, or returns the message to forward to the granter.
fn route(decoded: Decoded, index: usize, units: &mut BTreeMap<AccountId, Unit>) -> Route<Message> {
    let mut expected = None;
    let (account, regions, destinations, since_ms) = match decoded.trigger {
        Trigger::Enroll { account, region, what, .. } => {
            expected = match what {
                Enrolled::Vpc(vpc) => Some((index, region.clone(), vpc)),
                Enrolled::MemberStack(_) => None,
            };
            (account, vec![region], RegionDestinations::new(), decoded.occurred_at_ms)
        }
        Trigger::Repair { account, region, .. } => {
            (account, vec![region], RegionDestinations::new(), decoded.occurred_at_ms)
        }
        Trigger::Request(request) => (request.account, request.regions, request.destinations, request.requested_at_ms),
        Trigger::Grant { account, cause, .. } | Trigger::Revoke { account, cause } => {
            // One comparison with Organizations finds both the accounts that joined and those that left.
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
