//! One random schedule: an organization to which things happen, with lost events and failing calls, and what must hold
//! after every step and in the end. Everything is drawn from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use enroller_lab::Lab;
use enroller_sim::events::DeliverySettings;
use enroller_sim::logs::Destination;
use enroller_sim::traffic::{Loss, VpcTraffic};
use enroller_sim::{FaultKind, FaultRule, Service, TwinRule, When};
use serde_json::Value;

use crate::matrix::{Fault, start_anew, sweep, unless_it_dies, watch_records};
use crate::mischief::{Deeds, Mischief, add_statement, edit_policies};
use crate::opening::{MOST_LAG_MS, open};
use crate::state::{difference, half_enrolled, others, statements};
use crate::verdict::{account_in_scope, missing_records, shortcomings, wants_logs};
use crate::{DAY_MS, MOST_POLICY_BYTES};

const MINUTE_MS: u64 = 60_000;

/// A filter that failed is disabled for ten minutes.
const DISABLED_MS: u64 = 11 * MINUTE_MS;

/// What came of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Calls to AWS.
    pub calls: usize,
    /// Of all calls with their places, times and outcomes: the same for the same seed.
    pub digest: u64,
}

/// A destination's ARN, and the `Sid` of what somebody else put there.
type Statement = (String, String);

struct Play {
    lab: Lab,
    rng: fastrand::Rng,
    deeds: Deeds,
    /// Records lost after enrollment, by VPC.
    lost: BTreeMap<String, u64>,
}

/// Plays a seed's schedule.
///
/// # Errors
///
/// What does not hold, and everything that had been done.
pub async fn play(seed: u64) -> Result<Played, String> {
    tokio::task::unconstrained(async {
        let mut play = Play::new(seed).map_err(|error| error.to_string())?;
        let outcome = play.run().await;
        outcome.map_err(|wrong| format!("seed {seed}: {wrong}\n  {}", play.deeds.told.join("\n  ")))?;
        let calls = play.lab.sim.calls();
        let mut hasher = DefaultHasher::new();
        for call in &calls {
            (call.service, &call.operation, &call.account, &call.region, call.time_ms, &call.outcome).hash(&mut hasher);
        }
        Ok(Played { calls: calls.len(), digest: hasher.finish() })
    })
    .await
}

impl Play {
    fn new(seed: u64) -> Result<Self, enroller_lab::LabError> {
        // The SDK draws its waits between two tries from this thread's generator.
        fastrand::seed(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let (lab, settings) = open(seed, &mut rng)?;
        let mut deeds = Deeds::default();
        deeds.settings = settings;
        deeds.told.push(format!("settings: {:?}, {:?}", deeds.settings, lab.sim.with(|world| world.settings.clone())));
        deeds.deployed.extend(lab.sim.members());
        let mut play = Self { lab, rng, deeds, lost: BTreeMap::new() };
        play.mischief().note_scope();
        Ok(play)
    }

    async fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.usize(5..=10) {
            self.step().await?;
        }
        self.finish().await
    }

    fn mischief(&mut self) -> Mischief<'_> {
        Mischief { lab: &mut self.lab, rng: &mut self.rng, deeds: &mut self.deeds }
    }

    async fn step(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.usize(0..=2) {
            self.mischief().act().await;
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

    /// Some of the next calls fail.
    fn arm(&mut self) {
        for _ in 0..self.rng.usize(0..=3) {
            let sequence = self.lab.sim.with(|world| world.stats.total()) + self.rng.u64(1..=40);
            let faults = [&Fault::ALL[..], &Fault::REFUSED].concat();
            let fault = faults[self.rng.usize(0..faults.len())];
            self.deeds.told.push(format!("call {sequence}: {fault:?}"));
            fault.arm(&self.lab, sequence);
        }
    }

    /// Somebody adds a statement to every policy between the onboarder's first look and its writing.
    fn arm_editor(&mut self) -> Arc<Mutex<Vec<Statement>>> {
        let added = Arc::new(Mutex::new(Vec::new()));
        if self.rng.u32(0..3) == 0 {
            let (told, central, regions) = (Arc::clone(&added), self.lab.sim.central(), self.lab.regions.clone());
            let number = self.rng.u32(1_000..2_000);
            let hook = FaultKind::HookBefore(Arc::new(move |world, _| {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                for region in &regions {
                    edit_policies(world, &central, region, |statements, arn| add_statement(statements, arn, number));
                    // AWS does not take what is too long.
                    let sid = format!("Theirs{number}");
                    let taken = world.logs.destinations(&central, region).filter(|it| holds(it, &sid));
                    told.extend(taken.map(|it| (it.arn.clone(), sid.clone())));
                }
            }));
            let strike = When::Nth(self.rng.u64(1..=2));
            self.lab.sim.arm(FaultRule::new(hook).on(Service::Sqs, "SendMessageBatch").at(strike));
        }
        added
    }

    /// Lets the functions work, and checks what they may not do meanwhile.
    async fn work(&mut self, horizon_ms: u64, swept: bool) -> Result<(), String> {
        let (theirs, granted) = (others(&self.lab), self.granted());
        let added = self.arm_editor();
        watch_records(&self.lab);
        if swept {
            self.deeds.told.push(format!("{} a sweep", self.lab.sim.now_ms()));
            sweep(&mut self.lab).await;
        }
        loop {
            match unless_it_dies(&self.lab, self.lab.settle(horizon_ms)).await {
                Some(Ok(_)) => break,
                Some(Err(error)) => return Err(error.to_string()),
                None => start_anew(&mut self.lab),
            }
        }
        self.lab.sim.with(|world| world.faults.clear());
        let added = added.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut changed = difference(&theirs, &others(&self.lab));
        changed.retain(|line| !(line.starts_with('+') && added.iter().any(|(_, sid)| line.contains(sid.as_str()))));
        if !changed.is_empty() {
            return Err(format!("what is not ours was changed: {changed:#?}"));
        }
        self.check_policies()?;
        self.check_kept(&added)?;
        let now = self.granted();
        for (destination, account) in granted.difference(&now) {
            let member = self.lab.sim.with(|world| world.organization.is_member(account));
            if member {
                return Err(format!("{account} was taken off {destination} without evidence"));
            }
        }
        Ok(())
    }

    /// Destinations with the accounts that our statements name.
    fn granted(&self) -> BTreeSet<(String, String)> {
        let central = self.lab.sim.central();
        self.lab.sim.with(|world| {
            let of_region = |region: &String| world.logs.destinations(&central, region).cloned().collect::<Vec<_>>();
            let all = self.lab.regions.iter().flat_map(of_region);
            all.flat_map(|it| statements(&it).0.into_iter().map(move |id| (it.arn.clone(), id))).collect()
        })
    }

    fn check_kept(&self, added: &[Statement]) -> Result<(), String> {
        for (arn, sid) in added {
            let destination = self.lab.sim.with(|world| world.logs.destination(arn).cloned());
            if !destination.is_some_and(|it| holds(&it, sid)) {
                return Err(format!("statement {sid}, which somebody added to {arn} meanwhile, was lost"));
            }
        }
        Ok(())
    }

    fn check_policies(&self) -> Result<(), String> {
        let central = self.lab.sim.central();
        self.lab.sim.with(|world| {
            for region in &self.lab.regions {
                for destination in world.logs.destinations(&central, region) {
                    let Some(policy) = &destination.access_policy else { continue };
                    if policy.len() > MOST_POLICY_BYTES || serde_json::from_str::<Value>(policy).is_err() {
                        return Err(format!("the policy of {} is no policy: {policy}", destination.arn));
                    }
                }
            }
            Ok(())
        })
    }

    /// Traffic in every VPC: no record of an enrolled VPC is lost but where a person broke something.
    fn tick(&mut self) -> Result<(), String> {
        let of_vpc = |vpc: VpcTraffic| (vpc.vpc_id, vpc.delivered);
        let delivered: BTreeMap<_, _> = self.lab.sim.traffic_report().vpcs.into_iter().map(of_vpc).collect();
        self.lab.sim.traffic_tick();
        let mut whole = self.deeds.broken.clone();
        // Where AWS refuses the second flow log, the first has to go before it.
        let gaps = self.lab.sim.with(|world| world.settings.twin_rule) == TwinRule::SameDestination;
        let told = |(loss, _): &(&Loss, &u64)| gaps && **loss == Loss::NotLogged;
        for vpc in self.lab.sim.traffic_report().vpcs {
            let spot = (vpc.account.clone(), vpc.region.clone());
            let late: u64 = vpc.after_enrollment.iter().filter(|it| !told(it)).map(|(_, records)| records).sum();
            let lost = late + half_enrolled(&vpc.before_enrollment);
            let before = self.lost.insert(vpc.vpc_id.clone(), lost).unwrap_or_default();
            if lost > before && !self.deeds.broken.contains(&spot) {
                let (early, late) = (vpc.before_enrollment, vpc.after_enrollment);
                return Err(format!("records of {} in {spot:?} were lost: {late:?}, before {early:?}", vpc.vpc_id));
            }
            let delivered_before = delivered.get(&vpc.vpc_id).copied().unwrap_or_default();
            let there = self.lab.sim.with(|world| world.ec2.vpc(&spot.0, &spot.1, &vpc.vpc_id).is_some());
            let due = vpc.was_delivered() || wants_logs(&self.lab, &spot.0, &spot.1, &vpc.vpc_id);
            // In an account that is left alone nothing is mended.
            let left_alone = !account_in_scope(&self.lab, &spot.0);
            if there && (left_alone || due && vpc.delivered == delivered_before) {
                whole.remove(&spot);
            }
        }
        for spot in &whole {
            self.deeds.told.push(format!("{} {} {}: records arrive again", self.lab.sim.now_ms(), spot.0, spot.1));
        }
        self.deeds.broken.retain(|spot| !whole.contains(spot));
        Ok(())
    }

    /// After quiet and one sweep, all is as it should be.
    async fn finish(&mut self) -> Result<(), String> {
        let mut mischief = self.mischief();
        mischief.finish_closing();
        mischief.let_in_again();
        mischief.deploy_the_rest();
        mischief.note_scope();
        self.lab.sim.set_event_delivery(DeliverySettings::default(), 0);
        self.lab.sim.advance(MOST_LAG_MS);
        self.lab.cold_start().unwrap();
        self.deeds.told.push(format!("{} quiet", self.lab.sim.now_ms()));
        self.work(DAY_MS, false).await?;
        // AWS tells that a delivery role is missing after it was needed.
        self.tick()?;
        let exceptions = self.mischief().create_exceptions().await;
        self.work(DAY_MS, true).await?;
        self.lab.sim.advance(DISABLED_MS);
        self.work(DAY_MS, false).await?;
        let before = self.lab.sim.traffic_report();
        self.tick()?;
        let after = self.lab.sim.traffic_report();
        let mut wrong = missing_records(&self.lab, &before.vpcs, &after.vpcs);
        wrong.extend(shortcomings(&self.lab, &self.deeds.once));
        for ((account, region), vpc) in exceptions {
            if self.lab.sim.with(|world| world.ec2.flow_logs_of(&account, &region, &vpc).next().is_some()) {
                wrong.push(format!("{account} {region} {vpc} was to be left alone"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("in the end:\n  {}", wrong.join("\n  "))) }
    }
}

/// Whether somebody's statement is in the policy.
fn holds(destination: &Destination, sid: &str) -> bool {
    statements(destination).1.iter().any(|statement| statement["Sid"] == sid)
}
