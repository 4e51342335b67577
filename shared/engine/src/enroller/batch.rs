//! The `enrollments` queue: events and requests about member accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enroller_core::error::Disposition;
use enroller_core::event::{Decoded, Trigger};
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

/// Two questions about the same account's grant within this many milliseconds are one.
const ASK_ONCE_MS: u64 = 20_000;

/// How often a message about a VPC that EC2 does not show comes back before the VPC counts as deleted. EC2 is
/// eventually consistent for seconds.
const VPC_LOOKUPS: u32 = 3;

/// Everything a batch says about one account.
struct Unit {
    work: AccountWork,
    records: Vec<usize>,
    /// VPCs that were just made, by the record that says so.
    expected: Vec<(usize, Region, VpcId)>,
    since_ms: Option<u64>,
}

impl Enroller {
    /// Reconciles unless and until time runs out. No change is begun after that; a call that still hangs then is
    /// dropped, which is safe: the next run looks at what is there.
    pub async fn reconcile_until(&self, work: &AccountWork, deadline_ms: u64) -> AccountReport {
        let report = self.ctx.within(deadline_ms, self.reconcile(work, deadline_ms)).await;
        report.unwrap_or_else(|| AccountReport::out_of_time(work))
    }
}

/// Works through the `enrollments` queue.
pub struct EnrollmentQueue {
    ctx: Context,
    enroller: Enroller,
    inbox: Inbox,
    outbox: Outbox,
}

impl EnrollmentQueue {
    /// Hands the queue's messages to this enroller.
    pub fn new(enroller: Enroller, queues: &Arc<dyn Queues>, outbox: Outbox) -> Self {
        let ctx = enroller.ctx.clone();
        Self { inbox: Inbox::new(ctx.clone(), queues), ctx, enroller, outbox }
    }

    /// What it shares with the other workers.
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// The enroller behind it.
    pub fn enroller(&self) -> &Enroller {
        &self.enroller
    }

    /// Where it sends messages.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Works through a batch until `deadline_ms`, in epoch milliseconds.
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
            && let Err(error) = self.ask_for_grant(unit.work.account).await
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

    /// Asks the granter for an account's grant.
    async fn ask_for_grant(&self, account: AccountId) -> AwsResult<()> {
        let reason = "an enrollment is waiting for the account's grant".to_owned();
        // Many VPCs of a new account ask for one grant; a later try has to get through, though.
        let deduplication_id = format!("{account}-{}", self.ctx.clock.now_ms() / ASK_ONCE_MS);
        self.outbox.grant(Message::Grant(GrantRequest { account, reason }).to_json(), deduplication_id).await
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
