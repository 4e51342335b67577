//! One random schedule: an organization to which things happen, with lost events and failing calls, and what must hold
//! after every step and in the end. Everything is drawn from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use enroller_sim::events::DeliverySettings;
use enroller_sim::traffic::VpcTraffic;
use enroller_sim::{FaultKind, FaultRule, Service, SimBuilder, Strike};
use enroller_testkit::{Lab, LabOptions};
use serde_json::Value;

use crate::matrix::{Fault, start_anew, sweep, unless_it_dies, watch_records};
use crate::mischief::{Deeds, Mischief, SOMEBODY_ELSE, add_statement, edit_policies};
use crate::state::{difference, half_enrolled, others, statements};
use crate::{DAY_MS, look};

const MINUTE_MS: u64 = 60_000;

/// A filter that failed is disabled for ten minutes.
const DISABLED_MS: u64 = 11 * MINUTE_MS;

/// Longest policy that AWS takes, in bytes.
const MOST_BYTES: usize = 5_120;

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
    fn new(seed: u64) -> Result<Self, enroller_testkit::LabError> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let regions = ["eu-west-1", "us-east-1"][..rng.usize(1..=2)].iter().map(|it| (*it).to_owned()).collect();
        let (accounts, vpcs) = (rng.usize(4..=6), rng.usize(0..=1));
        let organization = SimBuilder { accounts, regions, vpcs, seed, ..SimBuilder::default() };
        let maker = if rng.bool() { "enroller" } else { "member-stack" };
        let settings = vec![("delivery_role_maker", maker.to_owned()), ("revocation_limit_percent", "100".to_owned())];
        let mut lab = Lab::new(&LabOptions { organization, settings })?;
        lab.set_attempts(1);
        lab.deploy_members()?;
        let mut deeds = Deeds::default();
        deeds.deployed.extend(lab.sim.members());
        Ok(Self { lab, rng, deeds, lost: BTreeMap::new() })
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
            self.lab.cold_start();
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
            let fault = Fault::ALL[self.rng.usize(0..Fault::ALL.len())];
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
                    edit_policies(world, &central, region, |statements, arn| {
                        add_statement(statements, arn, number);
                        told.push((arn.to_owned(), format!("Theirs{number}")));
                    });
                }
            }));
            let strike = Strike::Nth(self.rng.u64(1..=2));
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
            let kept = destination.is_some_and(|it| statements(&it).1.iter().any(|it| it["Sid"] == **sid));
            if !kept {
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
                    if policy.len() > MOST_BYTES || serde_json::from_str::<Value>(policy).is_err() {
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
        for vpc in self.lab.sim.traffic_report().vpcs {
            let spot = (vpc.account.clone(), vpc.region.clone());
            let lost: u64 = vpc.after_enrollment.values().sum::<u64>() + half_enrolled(&vpc.before_enrollment);
            let before = self.lost.insert(vpc.vpc_id.clone(), lost).unwrap_or_default();
            if lost > before && !self.deeds.broken.contains(&spot) {
                let (early, late) = (vpc.before_enrollment, vpc.after_enrollment);
                return Err(format!("records of {} in {spot:?} were lost: {late:?}, before {early:?}", vpc.vpc_id));
            }
            let delivered_before = delivered.get(&vpc.vpc_id).copied().unwrap_or_default();
            let there = self.lab.sim.with(|world| world.ec2.vpc(&spot.0, &spot.1, &vpc.vpc_id).is_some());
            if there && vpc.delivered == delivered_before {
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
        self.mischief().finish_closing();
        self.mischief().deploy_the_rest();
        self.lab.sim.set_event_delivery(DeliverySettings::default(), 0);
        self.lab.cold_start();
        self.deeds.told.push(format!("{} quiet", self.lab.sim.now_ms()));
        self.work(DAY_MS, false).await?;
        // AWS tells that a delivery role is missing after it was needed.
        self.tick()?;
        self.work(DAY_MS, true).await?;
        self.lab.sim.advance(DISABLED_MS);
        self.work(DAY_MS, false).await?;
        let before = self.lab.sim.traffic_report();
        self.tick()?;
        let after = self.lab.sim.traffic_report();
        let (sent, delivered) = (after.sent - before.sent, after.delivered - before.delivered);
        if sent != delivered || after.duplicated != before.duplicated {
            return Err(format!("{sent} records were sent and {delivered} arrived: {:?}", after.lost_by_reason));
        }
        let audit = look(&self.lab);
        let right = audit.places.iter().all(|it| it.uncovered.is_empty() && it.doubled.is_empty());
        // Whom others let in is theirs to know.
        let strangers = audit.strangers.iter().any(|id| id != SOMEBODY_ELSE);
        if !right || !audit.misplaced().is_empty() || strangers {
            return Err(format!("not covered in the end: {audit:#?}"));
        }
        for queue in ["enrollments", "grants.fifo", "backfill"] {
            let left = self.lab.sim.bodies(&self.lab.url(queue)).map_err(|error| error.to_string())?;
            if !left.is_empty() {
                return Err(format!("left on {queue}: {left:?}"));
            }
        }
        Ok(())
    }
}
