//! The fault matrix. A scenario first runs without a fault, and its calls are recorded. It then runs once for each call
//! and each fault, with the fault at that call. Every run must end in the same state.

mod wider;

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use enroller_core::settings::GrantMode;
use enroller_lab::Lab;
use enroller_sim::traffic::TrafficReport;
use enroller_sim::{ApiError, CallRecord, FaultKind, FaultRule, Service, When};
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

use crate::chaos::FOREIGN_ACCOUNT;
use crate::invariants::{account_in_scope, missing_records, wants_logs};
use crate::state::{difference, half_enrolled, managed, unmanaged};
use crate::{DAY_MS, refused_policies};

/// Something that happens to an organization, and what the enroller may do about it.
pub struct Scenario {
    /// Name in the report and in `ENROLLER_CASE`.
    pub name: &'static str,
    /// Builds a settled organization that also holds unmanaged resources.
    pub prepare: fn() -> LocalBoxFuture<'static, Lab>,
    /// What people or AWS do. No fault applies to it.
    pub begin: for<'a> fn(&'a mut Lab) -> LocalBoxFuture<'a, ()>,
    /// Whether a backfill starts after that.
    pub sweep: bool,
    /// Whether no record of an enrolled VPC may be lost. This holds where nobody breaks anything and AWS accepts a new
    /// flow log beside the old one.
    pub lossless: bool,
    /// Changing operations that may follow a fault although the run without a fault has none of them.
    pub repairs: &'static [&'static str],
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An internal error before the call has any effect.
    ErrorBefore,
    /// An internal error although the call took effect.
    ErrorAfter,
    /// The connection breaks after the call took effect.
    LostAfter,
    /// The service's throttling code.
    Throttle,
    /// A timeout before the call has any effect.
    TimeoutBefore,
    /// A timeout although the call took effect.
    TimeoutAfter,
    /// The process dies after the call took effect.
    Crash,
    /// An access denial. The permission is there at the next call.
    Denied,
}

impl Fault {
    /// Faults from which the retries of the queues recover.
    pub const ALL: [Self; 8] = [
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::LostAfter,
        Self::Throttle,
        Self::TimeoutBefore,
        Self::TimeoutAfter,
        Self::Crash,
        Self::Denied,
    ];
    /// Faults that the SDK retries.
    pub const RETRIED: [Self; 3] = [Self::Throttle, Self::TimeoutBefore, Self::TimeoutAfter];

    fn kind(self) -> FaultKind {
        let error = || ApiError::new(500, "InternalFailure", "An internal error has occurred");
        match self {
            Self::ErrorBefore => FaultKind::ErrorBefore(error()),
            Self::ErrorAfter => FaultKind::ErrorAfter(error()),
            Self::LostAfter => FaultKind::LostAfter,
            Self::Throttle => FaultKind::Throttle,
            Self::TimeoutBefore => FaultKind::TimeoutBefore,
            Self::TimeoutAfter => FaultKind::TimeoutAfter,
            Self::Crash => FaultKind::HangAfter,
            // AWS uses other codes in some services. The enroller treats them alike.
            Self::Denied => FaultKind::ErrorBefore(ApiError::new(403, "AccessDeniedException", "not authorized")),
        }
    }

    /// Arms the fault for the call with this sequence number. After a crash, every later call hangs as well, because a
    /// dead process makes no calls.
    pub fn arm(self, lab: &Lab, sequence: u64) {
        lab.sim.arm(FaultRule::new(self.kind()).at(When::Sequence(sequence)));
        if self == Self::Crash {
            lab.sim.arm(FaultRule::new(FaultKind::HangBefore).at(When::After(sequence)));
        }
    }
}

/// The result of the work, or `None` if an armed crash ended the process.
pub async fn unless_process_dies<T>(lab: &Lab, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if lab.sim.with(|world| world.faults.hanging()) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Lets every VPC send records after each changing call, so that a gap between two calls shows. Faults that were armed
/// earlier take precedence.
pub fn watch_records(lab: &Lab) {
    let tick = FaultKind::HookAfter(Arc::new(|world, call| {
        let changes = ["Create", "Delete", "Put"].iter().any(|verb| call.operation.starts_with(verb));
        if changes {
            enroller_sim::traffic::tick(world);
        }
    }));
    lab.sim.arm(FaultRule::new(tick));
}

/// Replaces a process that died. VPCs send records before the new one starts.
pub fn start_new_process(lab: &mut Lab) {
    lab.sim.traffic_tick();
    lab.sim.with(|world| world.faults.clear());
    watch_records(lab);
    lab.cold_start().unwrap();
}

/// Runs the functions until nothing is left to do, and starts a new process after a crash.
///
/// # Panics
///
/// A function returns an error, or the simulated installation fails.
pub async fn settle(lab: &mut Lab) {
    loop {
        match unless_process_dies(lab, lab.settle(DAY_MS)).await {
            Some(outcome) => match outcome {
                Ok(_) => return,
                Err(error) => panic!("{error}"),
            },
            None => start_new_process(lab),
        }
    }
}

/// Invokes `backfill` as a schedule does. Lambda retries a failed asynchronous invocation twice, with the same request
/// id, after one and two minutes. Returns the answer, or `None` if all three invocations failed.
pub async fn sweep(lab: &mut Lab) -> Option<Value> {
    let first = lab.invocation(json!({"reason": "test"}));
    for minutes in [1, 2, 0] {
        let mut event = lab.invocation(first.payload.clone());
        event.context.request_id.clone_from(&first.context.request_id);
        match unless_process_dies(lab, lab.sweep_with(event)).await {
            Some(Ok(answer)) => return Some(answer),
            Some(Err(_)) => {}
            None => start_new_process(lab),
        }
        lab.sim.advance(minutes * 60_000);
    }
    None
}

/// Faults that are injected at every call, one per run.
#[derive(Clone, Copy, Debug)]
pub struct FaultSet {
    /// One run injects one of these.
    pub faults: &'static [Fault],
    /// Attempts of the SDK per call, the first included.
    pub attempts: u32,
}

impl FaultSet {
    /// The sets that every scenario must recover from. No sweep helps.
    pub const ALL: [Self; 2] =
        [Self { faults: &Fault::ALL, attempts: 1 }, Self { faults: &Fault::RETRIED, attempts: 4 }];
}

const SWEEP_FAILED: &str = "all three invocations of backfill failed";

/// What goes wrong in one run.
#[derive(Clone, Copy, Debug)]
enum Trouble<'a> {
    Nothing,
    /// Faults at the calls with these positions, from 1.
    At(&'a [(u64, Fault)]),
    /// This answer to the call with this position.
    Answer(u64, &'a ApiError),
    /// A rule of the simulated AWS.
    Rule(&'a str),
}

impl Trouble<'_> {
    fn arm(self, lab: &Lab, before: u64) {
        match self {
            Self::Nothing => {}
            Self::At(faults) => faults.iter().for_each(|(position, fault)| fault.arm(lab, before + position)),
            Self::Answer(position, error) => {
                let answer = FaultRule::new(FaultKind::ErrorBefore(error.clone()));
                lab.sim.arm(answer.at(When::Sequence(before + position)));
            }
            Self::Rule(rule) => drop(lab.sim.set_rule(rule).unwrap()),
        }
    }
}

/// The result of one run.
struct Run {
    /// The calls of the functions.
    calls: Vec<CallRecord>,
    managed: Vec<String>,
    /// What is wrong regardless of the run without a fault.
    wrong: Vec<String>,
}

/// Runs without tokio's cooperative budget, because the part of it that earlier runs used up would move the points at
/// which a task yields.
async fn run(scenario: &Scenario, attempts: u32, trouble: Trouble<'_>, then_sweep: bool) -> Run {
    // On the heap, because a test's thread has a small stack.
    tokio::task::unconstrained(Box::pin(run_once(scenario, attempts, trouble, then_sweep))).await
}

async fn run_once(scenario: &Scenario, attempts: u32, trouble: Trouble<'_>, then_sweep: bool) -> Run {
    let mut lab = (scenario.prepare)().await;
    lab.set_attempts(attempts).unwrap();
    lab.sim.traffic_tick();
    (scenario.begin)(&mut lab).await;
    lab.recording.take();
    let (before, theirs) = (lab.sim.calls().len(), unmanaged(&lab));
    trouble.arm(&lab, before as u64);
    watch_records(&lab);
    let mut wrong = Vec::new();
    if scenario.sweep && sweep(&mut lab).await.is_none() {
        wrong.push(SWEEP_FAILED.to_owned());
    }
    settle(&mut lab).await;
    if then_sweep {
        sweep(&mut lab).await;
        settle(&mut lab).await;
    }
    let changed = difference(&theirs, &unmanaged(&lab));
    wrong.extend(changed.into_iter().map(|line| format!("an unmanaged resource was changed: {line}")));
    for queue in ["enrollments", "enrollments-dead", "grants.fifo", "grants-dead.fifo", "backfill", "backfill-dead"] {
        for body in lab.sim.bodies(&lab.url(queue)).unwrap_or_default() {
            wrong.push(format!("left on {queue}: {body}"));
        }
    }
    wrong.extend(violations(&lab));
    // The simulated AWS stores no policy of more than 5,120 bytes, so that its length says nothing.
    if !matches!(trouble, Trouble::Answer(..)) && refused_policies(&lab) > 0 {
        wrong.push("AWS refused a destination policy".to_owned());
    }
    let TrafficReport { lost_by_reason, before_by_reason, .. } = lab.sim.traffic_report();
    if scenario.lossless && (!lost_by_reason.is_empty() || half_enrolled(&before_by_reason) > 0) {
        wrong.push(format!("records were lost: {lost_by_reason:?}, before enrollment {before_by_reason:?}"));
    }
    if std::env::var_os(CASE).is_some() {
        wrong.extend(lab.recording.take().into_iter().map(|line| format!("line: {line:?}")));
    }
    Run { calls: lab.sim.calls().split_off(before), managed: managed(&lab), wrong }
}

/// Violations that need no comparison with the run without a fault.
fn violations(lab: &Lab) -> Vec<String> {
    let audit = crate::audit_of(lab);
    let mut wrong = Vec::new();
    let own = &lab.settings.ownership_tag;
    let vpcs = lab.sim.with(|world| world.ec2.all_vpcs().cloned().collect::<Vec<_>>());
    let wanted = vpcs.iter().filter(|vpc| account_in_scope(lab, &vpc.owner));
    let wanted = wanted.filter(|vpc| wants_logs(lab, &vpc.owner, &vpc.region, &vpc.id));
    let due: BTreeSet<String> = wanted.map(|vpc| vpc.id.clone()).collect();
    lab.sim.with(|world| {
        for vpc in world.ec2.all_vpcs().filter(|vpc| due.contains(&vpc.id)) {
            let logs = world.ec2.flow_logs_of(&vpc.owner, &vpc.region, &vpc.id);
            let managed = logs.filter(|log| own.is_on(&log.tags)).count();
            if managed != 1 {
                wrong.push(format!("{} of {} in {} has {managed} managed flow logs", vpc.id, vpc.owner, vpc.region));
            }
        }
    });
    let before = lab.sim.traffic_report();
    lab.sim.traffic_tick();
    let after = lab.sim.traffic_report();
    wrong.extend(missing_records(lab, &before.vpcs, &after.vpcs));
    if lab.settings.grant_mode == GrantMode::AccountList {
        let misassigned = audit.misassigned().into_iter().filter(|at| account_in_scope(lab, &at.account));
        wrong.extend(misassigned.map(|at| format!("not granted exactly once: {at:?}")));
    }
    let strangers = audit.strangers.iter().filter(|id| *id != FOREIGN_ACCOUNT);
    wrong.extend(strangers.map(|id| format!("granted but not a member: {id}")));
    wrong
}

/// Operation, account and Region of every changing call.
fn changes(calls: &[CallRecord]) -> BTreeSet<(String, String, String)> {
    let changing = calls.iter().filter(|call| call.mutating);
    changing.map(|call| (call.operation.clone(), call.account.clone(), call.region.clone())).collect()
}

/// Account of the caller, and Region.
fn at(call: &CallRecord) -> (String, String) {
    (call.account.clone(), call.region.clone())
}

/// Environment variable that selects a single case by its name in the report: `ENROLLER_CASE='new VPC/3/Crash/1'`.
pub const CASE: &str = "ENROLLER_CASE";

/// Size and result of one scenario's matrix.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Calls in the run without a fault, each of which gets every fault once.
    pub calls: usize,
    /// Runs with a fault.
    pub cases: usize,
    /// One text per failed case: its name, the call with the fault, and what is wrong.
    pub failures: Vec<String>,
}

/// A run without trouble, and what it allows other runs to do.
struct Baseline {
    run: Run,
    allowed: BTreeSet<(String, String, String)>,
    account_regions: BTreeSet<(String, String)>,
}

impl Baseline {
    /// The run without trouble, or a text that says what is wrong with it.
    async fn of(scenario: &Scenario, attempts: u32) -> Result<Self, String> {
        let run = run(scenario, attempts, Trouble::Nothing, false).await;
        if !run.wrong.is_empty() {
            return Err(format!("{}, without a fault:\n  {}", scenario.name, run.wrong.join("\n  ")));
        }
        let mut allowed = changes(&run.calls);
        for (_, account, region) in allowed.clone() {
            allowed.extend(scenario.repairs.iter().map(|it| ((*it).to_owned(), account.clone(), region.clone())));
        }
        let account_regions = run.calls.iter().map(at).collect();
        Ok(Self { run, allowed, account_regions })
    }

    /// What is wrong with another run.
    fn judge(&self, found: &mut Run) -> Vec<String> {
        let mut wrong = std::mem::take(&mut found.wrong);
        wrong.extend(difference(&self.run.managed, &found.managed));
        let unplanned = changes(&found.calls);
        wrong.extend(
            unplanned
                .difference(&self.allowed)
                .map(|call| format!("a change that the run without a fault does not make: {call:?}")),
        );
        // Where the STS of a Region is off, that of another one is asked.
        let asked_elsewhere = |call: &&CallRecord| call.service == Service::Sts && call.operation == "AssumeRole";
        let astray = found.calls.iter().filter(|call| !self.account_regions.contains(&at(call)));
        let astray = astray.filter(|call| !asked_elsewhere(call));
        wrong.extend(astray.map(|call| format!("a call in another account or Region: {call:?}")));
        wrong
    }

    /// Adds to `wrong` that the trouble did not hit the call that it was meant for.
    fn check_hit(&self, index: usize, found: &Run, wrong: &mut Vec<String>) {
        let (meant, hit) = (&self.run.calls[index], found.calls.get(index));
        if !hit.is_some_and(|hit| hit.operation == meant.operation && hit.outcome.is_some()) {
            wrong.push(format!("the fault hit {hit:?}"));
        }
    }
}

/// The operation of a call, and where it was made.
fn place(call: &CallRecord) -> String {
    let CallRecord { service, operation, account, region, .. } = call;
    format!("{service}:{operation} by {account} in {region}")
}

impl Outcome {
    /// Counts a case. `wrong` is what is wrong with it.
    fn case(&mut self, case: &str, at: &str, wrong: &[String]) {
        self.cases += 1;
        let alone = std::env::var_os(CASE).is_some();
        if !wrong.is_empty() || alone {
            self.failures.push(format!("{case} ({at})\n  {}", wrong.join("\n  ")));
        }
    }
}

/// Whether the case is meant to run: all are, unless [`CASE`] names another.
fn is_meant(case: &str) -> bool {
    std::env::var(CASE).ok().is_none_or(|only| only == case)
}

/// Runs one scenario with every fault of the set at every call.
pub async fn matrix(scenario: &Scenario, set: &FaultSet) -> Outcome {
    let mut outcome = Outcome::default();
    let baseline = match Baseline::of(scenario, set.attempts).await {
        Ok(baseline) => baseline,
        Err(wrong) => return Outcome { failures: vec![wrong], ..outcome },
    };
    outcome.calls = baseline.run.calls.len();
    for (index, call) in baseline.run.calls.iter().enumerate() {
        for fault in set.faults {
            let case = format!("{}/{}/{fault:?}/{}", scenario.name, index + 1, set.attempts);
            if is_meant(&case) {
                let trouble = [(index as u64 + 1, *fault)];
                let mut found = run(scenario, set.attempts, Trouble::At(&trouble), false).await;
                let mut wrong = baseline.judge(&mut found);
                baseline.check_hit(index, &found, &mut wrong);
                outcome.case(&case, &place(call), &wrong);
            }
        }
    }
    outcome
}

/// Runs one scenario with all kinds of trouble and prints the number of cases.
///
/// # Panics
///
/// A case fails. The message lists every failed case.
#[expect(clippy::print_stdout, reason = "the report of a test")]
pub async fn assert_recovers(scenario: &Scenario) {
    let mut failures = Vec::new();
    let mut report = |what: &str, outcome: Outcome| {
        let Outcome { calls, cases, failures: failed } = outcome;
        println!("fault matrix, {}, {what}: {calls} calls, {cases} cases, {} failed", scenario.name, failed.len());
        failures.extend(failed);
    };
    for set in &FaultSet::ALL {
        report(&format!("{} faults, {} attempts", set.faults.len(), set.attempts), matrix(scenario, set).await);
    }
    report("all errors of each call", wider::refusals(scenario).await);
    report("outages of minutes", wider::outages(scenario).await);
    report("two faults", wider::pairs(scenario).await);
    if !failures.is_empty() {
        panic!("failed cases: {}. {CASE}='…' runs one alone:\n{}", failures.len(), failures.join("\n"));
    }
}
