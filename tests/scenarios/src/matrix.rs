//! The fault matrix: a scenario is run once without a fault and its calls are recorded; then once for each call and each
//! fault, with the fault at that call. Every run must end in the same state.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use enroller_core::settings::GrantMode;
use enroller_lab::Lab;
use enroller_sim::traffic::TrafficReport;
use enroller_sim::{ApiError, CallRecord, FaultKind, FaultRule, When};
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

use crate::chaos::FOREIGN_ACCOUNT;
use crate::invariants::{account_in_scope, missing_records, wants_logs};
use crate::state::{difference, half_enrolled, managed, unmanaged};
use crate::{DAY_MS, MAX_POLICY_BYTES};

/// What happens, and what it may lead to.
pub struct Scenario {
    /// For the report, and for `ENROLLER_CASE`.
    pub name: &'static str,
    /// An organization at rest, with things of others in it, just before.
    pub prepare: fn() -> LocalBoxFuture<'static, Lab>,
    /// What people or AWS do. No fault strikes here.
    pub begin: for<'a> fn(&'a mut Lab) -> LocalBoxFuture<'a, ()>,
    /// Whether a backfill is started then.
    pub sweep: bool,
    /// Whether no record of an enrolled VPC may be lost: nobody breaks anything, and AWS takes successors.
    pub lossless: bool,
    /// Changing calls, beside those of the run without a fault, that mend what a fault leaves behind.
    pub repairs: &'static [&'static str],
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An internal error; nothing was done.
    ErrorBefore,
    /// An internal error, though it was done.
    ErrorAfter,
    /// The connection breaks after it was done.
    LostAfter,
    /// The service's throttling code.
    Throttle,
    /// No answer in time; nothing was done.
    TimeoutBefore,
    /// No answer in time, though it was done.
    TimeoutAfter,
    /// It was done, and the process is gone.
    Crash,
    /// A refusal for want of a permission, which somebody then gives.
    Denied,
    /// A refusal for which there is no cause.
    Invalid,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::LostAfter,
        Self::Throttle,
        Self::TimeoutBefore,
        Self::TimeoutAfter,
        Self::Crash,
    ];
    /// Those after which a message may be given up, so that it takes a sweep to put things right.
    pub const REFUSED: [Self; 2] = [Self::Denied, Self::Invalid];
    /// Those that the SDK tries again after.
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
            // The codes of AWS differ by service, and mean the same to the enroller.
            Self::Denied => FaultKind::ErrorBefore(ApiError::new(403, "AccessDeniedException", "not authorized")),
            Self::Invalid => FaultKind::ErrorBefore(ApiError::new(400, "InvalidParameterException", "it is invalid")),
        }
    }

    /// Arms it for the call of this sequence number. A process that is gone makes no further call.
    pub fn arm(self, lab: &Lab, sequence: u64) {
        lab.sim.arm(FaultRule::new(self.kind()).at(When::Sequence(sequence)));
        if self == Self::Crash {
            lab.sim.arm(FaultRule::new(FaultKind::HangBefore).at(When::After(sequence)));
        }
    }
}

/// The work's outcome, or `None` if the process died of a fault that was armed meanwhile.
pub async fn unless_process_dies<T>(lab: &Lab, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if lab.sim.with(|world| world.faults.hanging()) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Every VPC sends records after each changing call, so that a gap between two calls is seen. Faults that were armed
/// before come first.
pub fn watch_records(lab: &Lab) {
    let tick = FaultKind::HookAfter(Arc::new(|world, call| {
        let changes = ["Create", "Delete", "Put"].iter().any(|verb| call.operation.starts_with(verb));
        if changes {
            enroller_sim::traffic::tick(world);
        }
    }));
    lab.sim.arm(FaultRule::new(tick));
}

/// A new process takes over from one that died; meanwhile VPCs send records.
pub fn start_new_process(lab: &mut Lab) {
    lab.sim.traffic_tick();
    lab.sim.with(|world| world.faults.clear());
    watch_records(lab);
    lab.cold_start().unwrap();
}

/// Lets everything happen until all is quiet, through a crash if one is armed.
///
/// # Panics
///
/// The laboratory itself fails.
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

/// Invokes `backfill` as a schedule does: Lambda tries an asynchronous invocation that fails twice more, with the same
/// request id, after one and two minutes.
pub async fn sweep(lab: &mut Lab) -> Option<Value> {
    let first = lab.invocation(json!({"reason": "test"}));
    for minutes in [1, 2, 0] {
        let mut event = lab.invocation(first.payload.clone());
        event.context.request_id.clone_from(&first.context.request_id);
        match unless_process_dies(lab, backfill::handle(&lab.backfill, event)).await {
            Some(Ok(answer)) => return Some(answer),
            Some(Err(_)) => {}
            None => start_new_process(lab),
        }
        lab.sim.advance(minutes * 60_000);
    }
    None
}

/// Faults that are tried at every call, and how.
#[derive(Clone, Copy, Debug)]
pub struct FaultSet {
    /// The faults.
    pub faults: &'static [Fault],
    /// Tries of the SDK per call.
    pub attempts: u32,
    /// Whether it takes a sweep to put things right.
    pub then_sweep: bool,
}

impl FaultSet {
    /// All that is tried.
    pub const ALL: [Self; 3] = [
        Self { faults: &Fault::ALL, attempts: 1, then_sweep: false },
        Self { faults: &Fault::RETRIED, attempts: 4, then_sweep: false },
        Self { faults: &Fault::REFUSED, attempts: 1, then_sweep: true },
    ];
}

/// What came of one run.
struct Run {
    /// The product's calls.
    calls: Vec<CallRecord>,
    /// How many of them were made before the sweep that puts things right.
    before_sweep: usize,
    ours: Vec<String>,
    /// What is wrong with it whatever the other runs did.
    wrong: Vec<String>,
}

/// Without tokio's budget, which would make a task pause where the runs before have left it.
async fn run(scenario: &Scenario, set: &FaultSet, fault: Option<(u64, Fault)>) -> Run {
    tokio::task::unconstrained(run_once(scenario, set, fault)).await
}

async fn run_once(scenario: &Scenario, set: &FaultSet, fault: Option<(u64, Fault)>) -> Run {
    let mut lab = (scenario.prepare)().await;
    lab.set_attempts(set.attempts).unwrap();
    lab.sim.traffic_tick();
    (scenario.begin)(&mut lab).await;
    lab.recording.take();
    let (before, theirs) = (lab.sim.calls().len(), unmanaged(&lab));
    if let Some((position, fault)) = fault {
        fault.arm(&lab, before as u64 + position);
    }
    watch_records(&lab);
    let mut wrong = Vec::new();
    if scenario.sweep && sweep(&mut lab).await.is_none() {
        wrong.push("three invocations of backfill failed".to_owned());
    }
    settle(&mut lab).await;
    let before_sweep = lab.sim.calls().len() - before;
    if set.then_sweep {
        sweep(&mut lab).await;
        settle(&mut lab).await;
    }
    let changed = difference(&theirs, &unmanaged(&lab));
    wrong.extend(changed.into_iter().map(|line| format!("changed what is not ours: {line}")));
    for queue in ["enrollments", "enrollments-dead", "grants.fifo", "grants-dead.fifo", "backfill", "backfill-dead"] {
        for body in lab.sim.bodies(&lab.url(queue)).unwrap_or_default() {
            wrong.push(format!("left on {queue}: {body}"));
        }
    }
    wrong.extend(violations(&lab));
    let TrafficReport { lost_by_reason, before_by_reason, .. } = lab.sim.traffic_report();
    if scenario.lossless && (!lost_by_reason.is_empty() || half_enrolled(&before_by_reason) > 0) {
        wrong.push(format!("records were lost: {lost_by_reason:?}, before enrollment {before_by_reason:?}"));
    }
    if std::env::var_os(CASE).is_some() {
        wrong.extend(lab.recording.take().into_iter().map(|line| format!("line: {line:?}")));
    }
    Run { calls: lab.sim.calls().split_off(before), before_sweep, ours: managed(&lab), wrong }
}

/// What is not as it should be, judged without a look at the run without a fault.
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
            let ours = logs.filter(|log| own.is_on(&log.tags)).count();
            if ours != 1 {
                wrong.push(format!("{} of {} in {} has {ours} flow logs of ours", vpc.id, vpc.owner, vpc.region));
            }
        }
    });
    let before = lab.sim.traffic_report();
    lab.sim.traffic_tick();
    let after = lab.sim.traffic_report();
    wrong.extend(missing_records(lab, &before.vpcs, &after.vpcs));
    if lab.settings.grant_mode == GrantMode::AccountList {
        let misassigned = audit.misassigned().into_iter().filter(|at| account_in_scope(lab, &at.account));
        wrong.extend(misassigned.map(|at| format!("not granted once: {at:?}")));
    }
    let strangers = audit.strangers.iter().filter(|id| *id != FOREIGN_ACCOUNT);
    wrong.extend(strangers.map(|id| format!("granted and no member: {id}")));
    let long = audit.destinations.iter().filter(|it| it.policy_bytes > MAX_POLICY_BYTES);
    wrong.extend(long.map(|it| format!("{} has {} bytes", it.name, it.policy_bytes)));
    wrong
}

/// Operation and place of a call that changes something.
fn changes(calls: &[CallRecord]) -> BTreeSet<(String, String, String)> {
    let changing = calls.iter().filter(|call| call.mutating);
    changing.map(|call| (call.operation.clone(), call.account.clone(), call.region.clone())).collect()
}

/// Whose call it is, and in which Region.
fn at(call: &CallRecord) -> (String, String) {
    (call.account.clone(), call.region.clone())
}

/// One case can be run alone: `ENROLLER_CASE='new VPC/3/Crash/1'`, as the report names it.
pub const CASE: &str = "ENROLLER_CASE";

/// Size and outcome of a scenario's matrix.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Calls of the run without a fault.
    pub calls: usize,
    /// Runs with a fault.
    pub cases: usize,
    /// What is wrong, by case.
    pub failures: Vec<String>,
}

/// Runs a scenario's matrix of the given faults.
pub async fn matrix(scenario: &Scenario, set: &FaultSet) -> Outcome {
    let baseline = run(scenario, set, None).await;
    let mut outcome = Outcome { calls: baseline.before_sweep, ..Outcome::default() };
    if !baseline.wrong.is_empty() {
        outcome.failures.push(format!("{}, without a fault:\n  {}", scenario.name, baseline.wrong.join("\n  ")));
        return outcome;
    }
    let mut allowed = changes(&baseline.calls);
    for (_, account, region) in allowed.clone() {
        allowed.extend(scenario.repairs.iter().map(|it| ((*it).to_owned(), account.clone(), region.clone())));
    }
    let account_regions: BTreeSet<_> = baseline.calls.iter().map(at).collect();
    let only = std::env::var(CASE).ok();
    for (index, call) in baseline.calls.iter().take(baseline.before_sweep).enumerate() {
        for fault in set.faults {
            let case = format!("{}/{}/{fault:?}/{}", scenario.name, index + 1, set.attempts);
            if only.as_ref().is_some_and(|only| *only != case) {
                continue;
            }
            outcome.cases += 1;
            let found = run(scenario, set, Some((index as u64 + 1, *fault))).await;
            let mut wrong = found.wrong;
            wrong.extend(difference(&baseline.ours, &found.ours));
            let unplanned = changes(&found.calls);
            wrong.extend(unplanned.difference(&allowed).map(|call| format!("a call outside the plan: {call:?}")));
            let astray = found.calls.iter().filter(|call| !account_regions.contains(&at(call)));
            wrong.extend(astray.map(|call| format!("a call elsewhere: {call:?}")));
            let hit_it =
                found.calls.get(index).is_some_and(|hit| hit.operation == call.operation && hit.outcome.is_some());
            if !hit_it {
                wrong.push(format!("the fault hit_it {:?}", found.calls.get(index)));
            }
            if !wrong.is_empty() || only.is_some() {
                let CallRecord { service, operation, account, region, .. } = call;
                let at = format!("{service}:{operation} by {account} in {region}");
                outcome.failures.push(format!("{case} ({at})\n  {}", wrong.join("\n  ")));
            }
        }
    }
    outcome
}

/// Runs a scenario's whole matrix and tells of it.
///
/// # Panics
///
/// A case fails; all that did are listed.
#[expect(clippy::print_stdout, reason = "the report of a test")]
pub async fn assert_recovers(scenario: &Scenario) {
    let mut failures = Vec::new();
    for set in &FaultSet::ALL {
        let Outcome { calls, cases, failures: failed } = matrix(scenario, set).await;
        println!(
            "fault matrix, {}, {} tries per call: {calls} calls x {} faults = {cases} cases, {} failed",
            scenario.name,
            set.attempts,
            set.faults.len(),
            failed.len()
        );
        failures.extend(failed);
    }
    if !failures.is_empty() {
        panic!("{} case(s) failed; {CASE}='…' runs one alone:\n{}", failures.len(), failures.join("\n"));
    }
}
