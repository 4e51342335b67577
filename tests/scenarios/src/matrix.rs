//! The fault matrix. A scenario first runs without a fault, and its calls are recorded. It then runs once for each call
//! and each fault, with the fault at that call. Every run must end in the same state.

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
    /// A validation error that has no cause. The next call is accepted.
    Invalid,
}

impl Fault {
    /// Faults from which the retries of the queues recover.
    pub const ALL: [Self; 7] = [
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::LostAfter,
        Self::Throttle,
        Self::TimeoutBefore,
        Self::TimeoutAfter,
        Self::Crash,
    ];
    /// Faults after which a message may end in the dead-letter queue, so that recovery takes a sweep.
    pub const REFUSED: [Self; 2] = [Self::Denied, Self::Invalid];
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
            Self::Invalid => {
                FaultKind::ErrorBefore(ApiError::new(400, "InvalidParameterException", "the parameter is invalid"))
            }
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
        match unless_process_dies(lab, backfill::handle(&lab.backfill, event)).await {
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
    /// Whether recovery takes a sweep.
    pub then_sweep: bool,
}

impl FaultSet {
    /// The sets that every scenario must recover from.
    pub const ALL: [Self; 3] = [
        Self { faults: &Fault::ALL, attempts: 1, then_sweep: false },
        Self { faults: &Fault::RETRIED, attempts: 4, then_sweep: false },
        Self { faults: &Fault::REFUSED, attempts: 1, then_sweep: true },
    ];
}

/// The result of one run.
struct Run {
    /// The calls of the functions.
    calls: Vec<CallRecord>,
    /// The number of those calls before the sweep of the recovery.
    before_sweep: usize,
    managed: Vec<String>,
    /// What is wrong regardless of the run without a fault.
    wrong: Vec<String>,
}

/// Runs without tokio's cooperative budget, because the part of it that earlier runs used up would move the points at
/// which a task yields.
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
        wrong.push("all three invocations of backfill failed".to_owned());
    }
    settle(&mut lab).await;
    let before_sweep = lab.sim.calls().len() - before;
    if set.then_sweep {
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
    let TrafficReport { lost_by_reason, before_by_reason, .. } = lab.sim.traffic_report();
    if scenario.lossless && (!lost_by_reason.is_empty() || half_enrolled(&before_by_reason) > 0) {
        wrong.push(format!("records were lost: {lost_by_reason:?}, before enrollment {before_by_reason:?}"));
    }
    if std::env::var_os(CASE).is_some() {
        wrong.extend(lab.recording.take().into_iter().map(|line| format!("line: {line:?}")));
    }
    Run { calls: lab.sim.calls().split_off(before), before_sweep, managed: managed(&lab), wrong }
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
    let long = audit.destinations.iter().filter(|it| it.policy_bytes > MAX_POLICY_BYTES);
    wrong.extend(long.map(|it| format!("{} has {} bytes", it.name, it.policy_bytes)));
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

/// Runs one scenario with every fault of the set at every call.
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
            wrong.extend(difference(&baseline.managed, &found.managed));
            let unplanned = changes(&found.calls);
            wrong.extend(
                unplanned
                    .difference(&allowed)
                    .map(|call| format!("a change that the run without a fault does not make: {call:?}")),
            );
            let astray = found.calls.iter().filter(|call| !account_regions.contains(&at(call)));
            wrong.extend(astray.map(|call| format!("a call in another account or Region: {call:?}")));
            let hit_it =
                found.calls.get(index).is_some_and(|hit| hit.operation == call.operation && hit.outcome.is_some());
            if !hit_it {
                wrong.push(format!("the fault hit {:?}", found.calls.get(index)));
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

/// Runs one scenario with all fault sets and prints the number of cases.
///
/// # Panics
///
/// A case fails. The message lists every failed case.
#[expect(clippy::print_stdout, reason = "the report of a test")]
pub async fn assert_recovers(scenario: &Scenario) {
    let mut failures = Vec::new();
    for set in &FaultSet::ALL {
        let Outcome { calls, cases, failures: failed } = matrix(scenario, set).await;
        println!(
            "fault matrix, {}, {} attempts per call: {calls} calls x {} faults = {cases} cases, {} failed",
            scenario.name,
            set.attempts,
            set.faults.len(),
            failed.len()
        );
        failures.extend(failed);
    }
    if !failures.is_empty() {
        panic!("failed cases: {}. {CASE}='…' runs one alone:\n{}", failures.len(), failures.join("\n"));
    }
}
