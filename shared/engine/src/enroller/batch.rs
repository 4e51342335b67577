//! The `enrollments` queue: events and requests about member accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enroller_core::error::Disposition;
use enroller_core::event::{ChangeByOthers, Decoded, Enrolled, Trigger};
use enroller_core::ids::{AccountId, AccountRegion, Region, VpcId};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::{EnrollmentRequest, GrantRequest, Message, SyncRequest};
use enroller_core::metrics::{Metric, Metrics};
use futures::stream::{StreamExt, iter};

use super::{AccountReport, AccountWork, AskedBy, Enroller};
use crate::batch::{ANSWER_MS, BatchReport, Inbox, Pace, Record, Route};
use crate::context::Context;
use crate::outbox::Outbox;
use crate::ports::{AwsResult, Queues, RegionDestinations};
use crate::reconcile_error::ReconcileError;
use crate::watch::SLOWER_SECONDS;

/// Requests for the same account's grant within this many milliseconds count as one.
const GRANT_REQUEST_WINDOW_MS: u64 = 20_000;

/// The class of a failure that only a person can fix, as [`enroller_core::error::Disposition::label`] names it. The alarm fires on it.
const TERMINAL: &str = "terminal";

/// How often a message about a VPC that EC2 does not list comes back before the VPC counts as deleted. EC2 is
/// eventually consistent within seconds.
const VPC_LOOKUPS: u32 = 3;

/// How long after its creation a VPC does not count as deleted, however often its message came back, in milliseconds.
const VISIBLE_MS: u64 = 600_000;

/// One record of a batch, and what it asks for.
struct Asked {
    index: usize,
    regions: BTreeSet<Region>,
    /// The message, if it is a request. An event is about one Region, and comes back as a whole.
    request: Option<EnrollmentRequest>,
    /// When the event happened, in epoch milliseconds.
    occurred_at_ms: Option<u64>,
    /// What somebody else changed, with the id of the event, if the record is about that.
    change: Option<(ChangeByOthers, Option<String>)>,
}

/// The records of a batch about one account, as one unit of work.
struct Unit {
    work: AccountWork,
    records: Vec<Asked>,
    /// VPCs that were just created, each with the index of the record that names it.
    expected: Vec<(usize, Region, VpcId)>,
    /// Changes of tags: the Region, the resources and who made them.
    tagged: Vec<(Region, String, String)>,
    /// When the first of the events happened, in epoch milliseconds.
    since_ms: Option<u64>,
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
            if self.must_wait(record, &decoded, &mut report, &mut metrics) {
                report.slow_down(record, SLOWER_SECONDS);
                continue;
            }
            match route(decoded, index, &mut units) {
                Route::Here => {}
                Route::OtherQueue(message) => for_other_queue.push((record, message)),
                Route::Nowhere => report.refuse_unroutable(record, &mut metrics),
            }
        }
        for (record, message) in for_other_queue {
            let sent = self.outbox.grant(message.to_json(), record.id.clone());
            report.forwarded(record, "ask-onboarder", self.ctx.sent_by(deadline_ms, sent).await);
        }
        let mut report = self.inbox.answer(records, deadline_ms, report, metrics).await;
        let units = iter(units.into_values()).map(|unit| async {
            let account = self.enroller.reconcile(&unit.work, deadline_ms).await;
            self.answer_unit(records, unit, account, deadline_ms).await
        });
        let mut units = units.buffer_unordered(self.ctx.settings.max_concurrency);
        while let Some(part) = units.next().await {
            report.merge(part);
        }
        report
    }

    /// Whether the repair that a record asks for has to wait. What came back has waited.
    fn must_wait(&self, record: &Record, decoded: &Decoded, report: &mut BatchReport, metrics: &mut Metrics) -> bool {
        let Some(change) = decoded.change.as_ref().filter(|_| record.receive_count <= 1) else { return false };
        let (now_ms, event_id) = (self.ctx.clock.now_ms(), decoded.event_id.as_deref());
        self.inbox.watch.must_wait(change, event_id, now_ms, &mut report.decisions, metrics)
    }

    /// Tells of changes that only the look at the account could show to be about what is ours: there was something to
    /// repair, or it could not be seen. Remembers what was repaired.
    fn tell_of_changes(
        &self,
        records: &[Asked],
        account: &AccountReport,
        report: &mut BatchReport,
        metrics: &mut Metrics,
    ) {
        let now_ms = self.ctx.clock.now_ms();
        let mut repaired = Vec::new();
        for asked in records {
            let Some((change, event_id)) = &asked.change else { continue };
            let of_record = || account.account_regions.iter().filter(|it| asked.regions.contains(&it.at.region));
            let changed = of_record().any(|region| region.changes > 0);
            if !change.certain && (changed || of_record().any(|region| !region.errors.is_empty())) {
                self.inbox.watch.tell(change, event_id.as_deref(), now_ms, &mut report.decisions, metrics);
            }
            repaired.extend(changed.then_some(change));
        }
        self.inbox.watch.repaired(repaired, now_ms);
    }

    /// Answers the records of one account, as soon as its own work is done.
    async fn answer_unit(
        &self,
        records: &[Record],
        unit: Unit,
        mut account: AccountReport,
        deadline_ms: u64,
    ) -> BatchReport {
        let (mut report, mut metrics) = (BatchReport::default(), Metrics::default());
        let unseen = account.unseen(&unit.expected);
        let now_ms = self.ctx.clock.now_ms();
        for (index, at, vpc) in unseen {
            let asked = unit.records.iter().find(|asked| asked.index == index);
            let occurred_at_ms = asked.and_then(|asked| asked.occurred_at_ms);
            let recent = occurred_at_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < VISIBLE_MS);
            if recent || records[index].receive_count <= VPC_LOOKUPS {
                account.add(&at, ReconcileError::NotVisible(vpc));
            }
        }
        account.measure(unit.since_ms, self.ctx.clock.now_ms(), &mut metrics);
        report.changes = account.changes();
        self.tell_of_changes(&unit.records, &account, &mut report, &mut metrics);
        let told = unit.tagged.iter().flat_map(|(region, resources, by)| account.of_tags(region, resources, by));
        report.decisions.extend(told);
        let answer_by_ms = deadline_ms.saturating_add(ANSWER_MS);
        if account.needs_grant()
            && let Err(error) = self.ctx.sent_by(answer_by_ms, self.request_grant(unit.work.account)).await
        {
            let line = LogEntry::about(None, "ask-onboarder", "grants queue", Outcome::Failed, "");
            report.decisions.push(line.failed_with(&error));
        }
        for asked in unit.records {
            self.answer_record(&records[asked.index], asked, &account, answer_by_ms, &mut report, &mut metrics).await;
        }
        report.decisions.splice(0..0, account.account_regions.into_iter().flat_map(|report| report.decisions));
        self.inbox.answer(records, deadline_ms, report, metrics).await
    }

    /// Decides what becomes of one record. What is done is done: if only some of a request's Regions failed, each of
    /// them goes on by itself, with its own count and delay. So does a Region that has to wait for something else than
    /// the message was received for so far.
    async fn answer_record(
        &self,
        record: &Record,
        asked: Asked,
        account: &AccountReport,
        answer_by_ms: u64,
        report: &mut BatchReport,
        metrics: &mut Metrics,
    ) {
        let mut unfinished: BTreeMap<Region, Pace> = BTreeMap::new();
        let mut anew: Vec<(EnrollmentRequest, u32)> = Vec::new();
        for region in account.account_regions.iter().filter(|it| asked.regions.contains(&it.at.region)) {
            let (returning, exhausted): (Vec<_>, Vec<_>) = region
                .errors
                .iter()
                .filter(|error| error.disposition().is_retryable())
                .partition(|error| error.disposition().returns_after(record.receive_count));
            let request = asked.request.clone().unwrap_or_else(|| request_for(&region.at, asked.occurred_at_ms));
            let waits: BTreeSet<String> = exhausted.iter().filter_map(|error| limited_wait(error)).collect();
            if let Some(pace) = returning.iter().map(|error| Pace::of(error.disposition())).max() {
                unfinished.insert(region.at.region.clone(), pace);
            } else if let Some(pace) = exhausted.iter().map(|error| Pace::of(error.disposition())).max()
                && !waits.is_subset(&request.waited_for)
            {
                let waited_for = request.waited_for.union(&waits).cloned().collect();
                let again = EnrollmentRequest { waited_for, ..only_in(&request, &region.at.region) };
                anew.push((again, pace.wait_seconds(1)));
                continue;
            }
            for error in &exhausted {
                report.decisions.push(given_up_on(&region.at, error, record.receive_count));
                metrics.add_with(Metric::VpcsFailed, vec![("Class", TERMINAL.to_owned())], 1.0);
            }
        }
        let some_are_finished = unfinished.len() < asked.regions.len();
        let splits = asked.request.filter(|_| some_are_finished);
        if let Some(request) = &splits {
            anew.extend(unfinished.iter().map(|(region, pace)| (only_in(request, region), pace.wait_seconds(1))));
        }
        let mut pace = unfinished.values().filter(|_| splits.is_none()).max().copied();
        if !anew.is_empty()
            && let Err(error) = self.ctx.sent_by(answer_by_ms, self.outbox.enroll(anew)).await
        {
            let resource = record.id.clone();
            let line = LogEntry::about(error.account, "request-enrollment", resource, Outcome::Failed, "");
            report.decisions.push(line.failed_with(&error));
            pace = Some(Pace::Soon);
        }
        if let Some(pace) = pace {
            report.defer(std::iter::once(record), pace);
        }
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
    let (mut expected, mut asked_by, mut tagged) = (None, None, None);
    let change = decoded.change.map(|change| (change, decoded.event_id));
    let (account, regions, destinations, since_ms) = match decoded.trigger {
        Trigger::Enroll { account, region, what, cause } => {
            match what {
                Enrolled::Vpc(vpc) => expected = Some((index, region.clone(), vpc)),
                Enrolled::Tagged(resources) => tagged = Some((region.clone(), resources, cause)),
                Enrolled::MemberStack(_) | Enrolled::Unnamed => {}
            }
            (account, vec![region], RegionDestinations::new(), decoded.occurred_at_ms)
        }
        Trigger::Repair { account, region, .. } => {
            (account, vec![region], RegionDestinations::new(), decoded.occurred_at_ms)
        }
        Trigger::Request(request) => {
            asked_by = Some(request.clone());
            (request.account, request.regions, request.destinations, request.requested_at_ms)
        }
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
    let requested_at_ms = asked_by.as_ref().and_then(|request: &EnrollmentRequest| request.requested_at_ms);
    let unit = units.entry(account).or_insert_with(|| Unit {
        work: AccountWork {
            account,
            regions: BTreeSet::new(),
            destinations: RegionDestinations::new(),
            asked_by: AskedBy::Message { at_ms: requested_at_ms },
            approved: None,
        },
        records: Vec::new(),
        expected: Vec::new(),
        tagged: Vec::new(),
        since_ms: None,
    });
    let regions: BTreeSet<Region> = regions.into_iter().collect();
    unit.work.regions.extend(regions.iter().cloned());
    unit.work.destinations.extend(destinations);
    if let (AskedBy::Message { at_ms }, Some(_)) = (unit.work.asked_by, &asked_by) {
        // What is believed of one request must not be believed of an older one.
        unit.work.asked_by = AskedBy::Message { at_ms: [at_ms, requested_at_ms].into_iter().flatten().min() };
    }
    unit.records.push(Asked { index, regions, request: asked_by, change, occurred_at_ms: decoded.occurred_at_ms });
    unit.expected.extend(expected);
    unit.tagged.extend(tagged);
    unit.since_ms = [unit.since_ms, since_ms].into_iter().flatten().min();
    Route::Here
}

/// What an error has to wait for, if that is not waited for endlessly.
fn limited_wait(error: &ReconcileError) -> Option<String> {
    match error.disposition() {
        Disposition::RetryLater(wait) if wait.tries().is_some() => Some(wait.label().to_owned()),
        _ => None,
    }
}

/// A request for what an event is about.
fn request_for(at: &AccountRegion, occurred_at_ms: Option<u64>) -> EnrollmentRequest {
    EnrollmentRequest {
        account: at.account,
        regions: vec![at.region.clone()],
        destinations: RegionDestinations::new(),
        reason: "an event that could not be acted on yet".to_owned(),
        run_id: None,
        requested_at_ms: occurred_at_ms,
        waited_for: BTreeSet::new(),
    }
}

/// The rest of a request: one Region of it.
fn only_in(request: &EnrollmentRequest, region: &Region) -> EnrollmentRequest {
    let destinations = request.destinations.get(region).map(|name| (region.clone(), name.clone()));
    EnrollmentRequest {
        regions: vec![region.clone()],
        destinations: destinations.into_iter().collect(),
        ..request.clone()
    }
}

/// Logs that a message does not come back for an error, although time might have cured it.
fn given_up_on(at: &AccountRegion, error: &ReconcileError, receives: u32) -> LogEntry {
    let cause = format!("given up after {receives} tries: {error}");
    let request_id = error.aws_error().and_then(|error| error.request_id.clone());
    let line = LogEntry::at(at, "reconcile", at.to_string(), Outcome::Failed, cause);
    LogEntry { request_id, ..line }.next(error.disposition().next_step())
}
