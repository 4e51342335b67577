//! One random schedule: an organization that is disturbed while events are lost and calls fail, and the invariants that
//! must hold after every step and at the end. Everything is drawn from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use enroller_lab::Lab;
use enroller_lab::install::BACKFILL;
use enroller_sim::events::DeliverySettings;
use enroller_sim::logs::Destination;
use enroller_sim::traffic::{Loss, VpcTraffic};
use enroller_sim::{CallRecord, FaultKind, FaultRule, Service, TwinRule, When};
use serde_json::Value;

use crate::chaos::{AccountRegion, Disturbance, History, add_statement, edit_policies};
use crate::initial_state::{MAX_LISTING_LAG_MS, draw};
use crate::invariants::{account_in_scope, missing_records, violations, wants_logs};
use crate::matrix::{Fault, start_new_process, sweep, unless_process_dies, watch_records};
use crate::state::{difference, half_enrolled, statements, unmanaged};
use crate::{DAY_MS, refused_policies};

const MINUTE_MS: u64 = 60_000;

/// Eleven minutes: AWS disables a filter for ten minutes after a failed delivery.
const DISABLED_MS: u64 = 11 * MINUTE_MS;

/// The result of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleOutcome {
    /// Number of calls to AWS.
    pub calls: usize,
    /// Hash over all calls with account, Region, time and outcome. The same seed gives the same value.
    pub digest: u64,
}

/// A destination's ARN, the `Sid` of an unmanaged statement on it, and when it was added, in epoch milliseconds.
type Statement = (String, String, u64);

/// Pairs of a destination's ARN and an account that a managed statement names.
type Granted = BTreeSet<(String, String)>;

struct ScheduleRun {
    lab: Lab,
    rng: fastrand::Rng,
    history: History,
    /// Records lost after enrollment, by VPC id.
    lost: BTreeMap<String, u64>,
}

/// Runs the schedule of a seed.
///
/// # Errors
///
/// The violated invariants and the history of the run, as text.
pub async fn run_schedule(seed: u64) -> Result<ScheduleOutcome, String> {
    tokio::task::unconstrained(async {
        let mut run = ScheduleRun::new(seed).map_err(|error| error.to_string())?;
        let outcome = run.run().await;
        outcome.map_err(|wrong| format!("seed {seed}: {wrong}\n  {}", run.history.events.join("\n  ")))?;
        let calls = run.lab.sim.calls();
        let mut hasher = DefaultHasher::new();
        for call in &calls {
            (call.service, &call.operation, &call.account, &call.region, call.time_ms, &call.outcome).hash(&mut hasher);
        }
        Ok(ScheduleOutcome { calls: calls.len(), digest: hasher.finish() })
    })
    .await
}

impl ScheduleRun {
    fn new(seed: u64) -> Result<Self, enroller_lab::LabError> {
        // The SDK draws its backoff from this thread's generator.
        fastrand::seed(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (lab, settings) = draw(seed, &mut rng)?;
        let mut history = History::default();
        history.settings = settings;
        history.events.push(format!(
            "settings: {:?}, {:?}",
            history.settings,
            lab.sim.with(|world| world.settings.clone())
        ));
        history.deployed.extend(lab.sim.members());
        let mut run = Self { lab, rng, history, lost: BTreeMap::new() };
        run.disturbance().note_scope();
        Ok(run)
    }

    async fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.usize(5..=10) {
            self.step().await?;
        }
        self.finish().await
    }

    fn disturbance(&mut self) -> Disturbance<'_> {
        Disturbance { lab: &mut self.lab, rng: &mut self.rng, history: &mut self.history }
    }

    async fn step(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.usize(0..=2) {
            self.disturbance().act().await;
        }
        if self.rng.u32(0..4) == 0 {
            let delivery = DeliverySettings {
                drop_probability: self.rng.f64() * 0.5,
                duplicate_probability: self.rng.f64() * 0.5,
                max_delay_ms: self.rng.u64(0..=5 * MINUTE_MS),
                reorder: self.rng.bool(),
            };
            self.lab.sim.set_event_delivery(delivery, self.rng.u64(..));
        }
        if self.rng.u32(0..6) == 0 {
            self.lab.cold_start().unwrap();
        }
        self.arm();
        let horizon_ms = self.rng.u64(0..=30 * MINUTE_MS);
        let swept = self.rng.u32(0..8) == 0;
        self.work(horizon_ms, swept).await?;
        self.lab.sim.advance(self.rng.u64(0..=10 * MINUTE_MS));
        self.tick()
    }

    /// Arms faults for some of the next calls.
    fn arm(&mut self) {
        for _ in 0..self.rng.usize(0..=3) {
            let sequence = self.lab.sim.with(|world| world.stats.total()) + self.rng.u64(1..=40);
            let fault = Fault::ALL[self.rng.usize(0..Fault::ALL.len())];
            self.history.events.push(format!("call {sequence}: {fault:?}"));
            fault.arm(&self.lab, sequence);
        }
    }

    /// Sometimes adds a statement to every policy between the onboarder's first read and its write.
    fn arm_editor(&mut self) -> Arc<Mutex<Vec<Statement>>> {
        let added = Arc::new(Mutex::new(Vec::new()));
        if self.rng.u32(0..3) == 0 {
            let (told, central, regions) = (Arc::clone(&added), self.lab.sim.central(), self.lab.regions.clone());
            let number = self.rng.u32(1_000..2_000);
            let hook = FaultKind::HookBefore(Arc::new(move |world, _| {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                for region in &regions {
                    edit_policies(world, &central, region, |statements, arn| add_statement(statements, arn, number));
                    // AWS rejects a policy that is too long.
                    let sid = format!("Theirs{number}");
                    let taken = world.logs.destinations(&central, region).filter(|it| holds(it, &sid));
                    let now_ms = world.now_ms();
                    told.extend(taken.map(|it| (it.arn.clone(), sid.clone(), now_ms)));
                }
            }));
            let when = When::Nth(self.rng.u64(1..=2));
            self.lab.sim.arm(FaultRule::new(hook).on(Service::Sqs, "SendMessageBatch").at(when));
        }
        added
    }

    /// Runs the functions and checks what they must not do.
    async fn work(&mut self, horizon_ms: u64, swept: bool) -> Result<(), String> {
        let (theirs, granted) = (unmanaged(&self.lab), self.granted());
        let added = self.arm_editor();
        watch_records(&self.lab);
        let (begun_ms, mut processes) = (self.lab.sim.now_ms(), 1);
        if swept && self.lab.is_overlapping() {
            self.history.events.push(format!("{begun_ms} sweep, beside everything else"));
            self.ask_for_sweep().await;
        } else if swept {
            self.history.events.push(format!("{begun_ms} sweep"));
            sweep(&mut self.lab).await;
        }
        loop {
            match unless_process_dies(&self.lab, self.lab.settle(horizon_ms)).await {
                Some(Ok(_)) => break,
                Some(Err(error)) => return Err(error.to_string()),
                None => {
                    processes += 1;
                    start_new_process(&mut self.lab);
                }
            }
        }
        self.lab.sim.with(|world| world.faults.clear());
        let added = added.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut changed = difference(&theirs, &unmanaged(&self.lab));
        changed.retain(|line| !(line.starts_with('+') && added.iter().any(|(_, sid, _)| line.contains(sid.as_str()))));
        if !changed.is_empty() {
            return Err(format!("unmanaged resources were changed: {changed:#?}"));
        }
        self.check_policies()?;
        self.check_kept(&added)?;
        let now = self.granted();
        for (destination, account) in granted.difference(&now) {
            let member = self.lab.sim.with(|world| world.organization.is_member(account));
            if member {
                return Err(format!("{account} was removed from {destination} although it is a member"));
            }
        }
        // A new process forgets what was revoked in the last day. The sweep may have needed some, too.
        let days = (self.lab.sim.now_ms() - begun_ms) / DAY_MS + 1;
        self.check_guard(&granted, &now, days * if swept { processes + 3 } else { processes })
    }

    /// Asks for a sweep as a person does. A fault may hit this call, too. After a crash no call is answered until a new
    /// process starts, and the person asks again.
    async fn ask_for_sweep(&mut self) {
        loop {
            let asked = self.lab.send(BACKFILL, r#"{"reason": "test"}"#);
            match unless_process_dies(&self.lab, asked).await {
                Some(Ok(())) => return,
                Some(Err(_)) => {}
                None => start_new_process(&mut self.lab),
            }
        }
    }

    /// In organizations this small, a limit below 100 percent lets one account of a Region go at a time, and 0 none.
    fn check_guard(&self, before: &Granted, now: &Granted, times: u64) -> Result<(), String> {
        let at_most = match self.lab.settings.revocation_limit_percent {
            100 => return Ok(()),
            0 => 0,
            _ => times,
        };
        for region in &self.lab.regions {
            let here = |all: &Granted| -> BTreeSet<String> {
                all.iter().filter(|(arn, _)| arn.contains(region.as_str())).map(|(_, id)| id.clone()).collect()
            };
            let revoked = here(before).difference(&here(now)).count() as u64;
            if revoked > at_most {
                return Err(format!("{revoked} accounts were revoked in {region}, and the guard allows {at_most}"));
            }
        }
        Ok(())
    }

    /// Pairs of a destination's ARN and an account that a managed statement names.
    fn granted(&self) -> Granted {
        let central = self.lab.sim.central();
        self.lab.sim.with(|world| {
            let of_region = |region: &String| world.logs.destinations(&central, region).cloned().collect::<Vec<_>>();
            let all = self.lab.regions.iter().flat_map(of_region);
            all.flat_map(|it| statements(&it).0.into_iter().map(move |id| (it.arn.clone(), id))).collect()
        })
    }

    /// AWS has no conditional put. A statement is overwritten if no read can show it yet when the policy is put
    /// (docs/aws-assumptions.md, "The race that nobody can win").
    fn check_kept(&self, added: &[Statement]) -> Result<(), String> {
        let lag_ms = self.lab.sim.with(|world| world.settings.read_lag_ms);
        let puts: Vec<CallRecord> =
            self.lab.sim.calls().into_iter().filter(|call| call.operation == "PutDestinationPolicy").collect();
        for (arn, sid, added_ms) in added {
            let unseen = *added_ms..added_ms.saturating_add(lag_ms);
            let raced = |put: &CallRecord| arn.contains(&put.region) && unseen.contains(&put.time_ms);
            if puts.iter().any(raced) {
                continue;
            }
            let destination = self.lab.sim.with(|world| world.logs.destination(arn).cloned());
            if !destination.is_some_and(|it| holds(&it, sid)) {
                return Err(format!("statement {sid}, added to {arn} during the run, was lost"));
            }
        }
        Ok(())
    }

    fn check_policies(&self) -> Result<(), String> {
        if refused_policies(&self.lab) > 0 {
            return Err("AWS refused a destination policy".to_owned());
        }
        let central = self.lab.sim.central();
        self.lab.sim.with(|world| {
            for region in &self.lab.regions {
                for destination in world.logs.destinations(&central, region) {
                    let Some(policy) = &destination.access_policy else { continue };
                    if serde_json::from_str::<Value>(policy).is_err() {
                        return Err(format!("the policy of {} is not valid: {policy}", destination.arn));
                    }
                }
            }
            Ok(())
        })
    }

    /// Sends records from every VPC. An enrolled VPC may lose records only where a person broke the delivery.
    fn tick(&mut self) -> Result<(), String> {
        let of_vpc = |vpc: VpcTraffic| (vpc.vpc_id, vpc.delivered);
        let delivered: BTreeMap<_, _> = self.lab.sim.traffic_report().vpcs.into_iter().map(of_vpc).collect();
        self.lab.sim.traffic_tick();
        let settings = self.lab.sim.with(|world| world.settings.clone());
        // A deleted flow log goes on recording for minutes. What arrives by then is no evidence of a repair.
        let (now_ms, stops_ms) = (self.lab.sim.now_ms(), settings.stopping_delay_ms);
        let mut whole: BTreeSet<AccountRegion> = self.history.broken.keys().cloned().collect();
        whole.retain(|at| now_ms >= self.history.broken[at].saturating_add(stops_ms));
        // Where AWS refuses a second flow log, the old one has to be deleted first. That leaves a reported gap, which
        // lasts until the new one records.
        let gaps = settings.twin_rule == TwinRule::SameDestination;
        let told = |(loss, _): &(&Loss, &u64)| gaps && matches!(loss, Loss::NotLogged | Loss::NotRecording);
        for vpc in self.lab.sim.traffic_report().vpcs {
            let at = (vpc.account.clone(), vpc.region.clone());
            let late: u64 = vpc.after_enrollment.iter().filter(|it| !told(it)).map(|(_, records)| records).sum();
            let lost = late + half_enrolled(&vpc.before_enrollment);
            let before = self.lost.insert(vpc.vpc_id.clone(), lost).unwrap_or_default();
            if lost > before && !self.history.broken.contains_key(&at) {
                let (early, late) = (vpc.before_enrollment, vpc.after_enrollment);
                return Err(format!("records of {} in {at:?} were lost: {late:?}, before {early:?}", vpc.vpc_id));
            }
            let delivered_before = delivered.get(&vpc.vpc_id).copied().unwrap_or_default();
            let there = self.lab.sim.with(|world| world.ec2.vpc(&at.0, &at.1, &vpc.vpc_id).is_some());
            let due = vpc.was_delivered() || wants_logs(&self.lab, &at.0, &at.1, &vpc.vpc_id);
            // Nothing is repaired in an account that is out of scope.
            let left_alone = !account_in_scope(&self.lab, &at.0);
            if there && (left_alone || due && vpc.delivered == delivered_before) {
                whole.remove(&at);
            }
        }
        for at in &whole {
            self.history.events.push(format!("{} {} {}: records arrive again", self.lab.sim.now_ms(), at.0, at.1));
        }
        self.history.broken.retain(|at, _| !whole.contains(at));
        Ok(())
    }

    /// Settles, sweeps once, and checks every invariant.
    async fn finish(&mut self) -> Result<(), String> {
        let mut disturbance = self.disturbance();
        disturbance.finish_closing();
        disturbance.restore_member_roles();
        disturbance.deploy_missing_stacks();
        disturbance.note_scope();
        self.lab.sim.set_event_delivery(DeliverySettings::default(), 0);
        self.lab.sim.advance(MAX_LISTING_LAG_MS);
        self.lab.cold_start().unwrap();
        self.history.events.push(format!("{} no more disturbances", self.lab.sim.now_ms()));
        self.work(DAY_MS, false).await?;
        // AWS reports a missing delivery role only after a delivery needed it.
        self.tick()?;
        let exceptions = self.disturbance().create_exceptions().await;
        self.work(DAY_MS, true).await?;
        self.lab.sim.advance(DISABLED_MS);
        self.work(DAY_MS, false).await?;
        // A flow log made last begins to record.
        self.lab.sim.advance(DISABLED_MS);
        let before = self.lab.sim.traffic_report();
        self.tick()?;
        let after = self.lab.sim.traffic_report();
        let mut wrong = missing_records(&self.lab, &before.vpcs, &after.vpcs);
        wrong.extend(violations(&self.lab, &self.history.ever_in_scope));
        for ((account, region), vpc) in exceptions {
            if self.lab.sim.with(|world| world.ec2.flow_logs_of(&account, &region, &vpc).next().is_some()) {
                wrong.push(format!("{account} {region} {vpc} has a flow log but is out of scope"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("at the end:\n  {}", wrong.join("\n  "))) }
    }
}

/// Whether the policy has a statement with this `Sid`.
fn holds(destination: &Destination, sid: &str) -> bool {
    statements(destination).1.iter().any(|statement| statement["Sid"] == sid)
}
