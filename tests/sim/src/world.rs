//! The whole state of the simulated AWS, behind one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ec2::Ec2State;
use crate::events::EventsState;
use crate::faults::Faults;
use crate::iam::IamState;
use crate::lag::Past;
use crate::limits::Limits;
use crate::logs::LogsState;
use crate::organizations::OrganizationState;
use crate::rules::Rules;
use crate::settings::Settings;
use crate::sqs::SqsState;
use crate::stats::Stats;
use crate::sts::StsState;
use crate::traffic::TrafficState;

/// Virtual time at which every world starts: 2026-11-23T10:00:00Z, in epoch milliseconds.
pub const START_MS: u64 = 1_795_428_000_000;

/// All accounts and services.
#[derive(Debug)]
#[expect(missing_docs, reason = "each field without a description has one at its type")]
pub struct World {
    /// Generator of all ids.
    pub ids: Ids,
    /// Regions that exist; each account has its own enabled ones among them.
    pub regions: BTreeSet<String>,
    /// Accounts that exist, members of the organization or not, by id.
    pub accounts: BTreeMap<String, Account>,
    pub organization: OrganizationState,
    pub sts: StsState,
    /// VPCs and flow logs.
    pub ec2: Ec2State,
    pub iam: IamState,
    /// Log groups, filters, destinations.
    pub logs: LogsState,
    pub sqs: SqsState,
    pub events: EventsState,
    pub traffic: TrafficState,
    /// Calls counted and logged.
    pub stats: Stats,
    /// Faults that are armed.
    pub faults: Faults,
    /// Rules in force, set by name.
    pub rules: Rules,
    /// Service control policies that bind every member account.
    pub service_control_policies: Vec<serde_json::Value>,
    /// AWS's request rate limits.
    pub limits: Limits,
    /// Switches for what AWS does not document, and delays.
    pub settings: Settings,
    /// Draws of the seed: which reads lag, which writes are aborted, which messages repeat.
    pub(crate) dice: fastrand::Rng,
    /// Earlier states, for reads that lag.
    pub(crate) past: Past,
    clock: Clock,
}

impl World {
    /// A world without accounts, on virtual time.
    pub fn new(seed: u64) -> Self {
        Self {
            ids: Ids::new(seed),
            regions: BTreeSet::new(),
            accounts: BTreeMap::new(),
            organization: OrganizationState::default(),
            sts: StsState::default(),
            ec2: Ec2State::default(),
            iam: IamState::default(),
            logs: LogsState::default(),
            sqs: SqsState::default(),
            events: EventsState::default(),
            traffic: TrafficState::default(),
            stats: Stats::default(),
            faults: Faults::default(),
            service_control_policies: Vec::new(),
            rules: Rules::default(),
            limits: Limits::default(),
            settings: Settings::default(),
            dice: fastrand::Rng::with_seed(seed),
            past: Past::default(),
            clock: Clock::Virtual { now_ms: START_MS },
        }
    }

    /// Now, in epoch milliseconds. Only [`World::advance_clock`] moves it, unless the world runs on real time.
    pub fn now_ms(&self) -> u64 {
        match self.clock {
            Clock::Virtual { now_ms } => now_ms,
            Clock::Real { ahead_ms } => real_ms() + ahead_ms,
        }
    }

    /// Moves the clock forward, on real time as well: the world then runs ahead of the wall clock.
    pub fn advance_clock(&mut self, ms: u64) {
        match &mut self.clock {
            Clock::Virtual { now_ms } => *now_ms += ms,
            Clock::Real { ahead_ms } => *ahead_ms += ms,
        }
    }

    /// Lets the wall clock move time from now on.
    pub fn use_real_time(&mut self) {
        self.clock = Clock::Real { ahead_ms: 0 };
        self.settings.constant_traffic = true;
    }

    /// Whether the wall clock moves time.
    pub fn is_real_time(&self) -> bool {
        matches!(self.clock, Clock::Real { .. })
    }

    /// Whether the account exists and has the Region enabled.
    pub fn region_enabled(&self, account: &str, region: &str) -> bool {
        self.accounts.get(account).is_some_and(|account| account.regions.contains(region))
    }
}

/// An AWS account, whatever organization it is in.
#[derive(Clone, Debug)]
pub struct Account {
    /// Name given at its creation.
    pub name: String,
    /// E-mail address of the root user.
    pub email: String,
    /// Regions that it has enabled; in others it can do nothing.
    pub regions: BTreeSet<String>,
    /// Time in epoch milliseconds before which its services answer that the account is not subscribed yet.
    pub ready_at_ms: u64,
    /// Time in epoch milliseconds before which its roles cannot be assumed.
    pub assumable_at_ms: u64,
    /// What service control policies deny to its principals.
    pub denies: Vec<ServiceControlDeny>,
}

impl Account {
    /// A ready account without denies.
    pub(crate) fn new(name: &str, regions: BTreeSet<String>) -> Self {
        // No account is without a name (Organizations model).
        let name = if name.is_empty() { "account" } else { name };
        let (name, email) = (name.to_owned(), format!("{name}@example.com"));
        Self { name, email, regions, ready_at_ms: 0, assumable_at_ms: 0, denies: Vec::new() }
    }
}

/// An explicit deny of a service control policy.
#[derive(Clone, Debug)]
pub struct ServiceControlDeny {
    /// Only in this Region; everywhere when `None`.
    pub region: Option<String>,
    /// Beginning of the denied actions, such as `ec2:` or `ec2:CreateFlowLogs`; empty for all.
    pub action_prefix: String,
}

#[derive(Debug)]
enum Clock {
    Virtual { now_ms: u64 },
    Real { ahead_ms: u64 },
}

fn real_ms() -> u64 {
    // A wall clock before 1970 or after the year 584 million is not worth an error path.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Deterministic generator of unique ids: the same seed and the same order of calls give the same ids.
#[derive(Clone, Debug)]
pub struct Ids {
    seed: u64,
    counter: u64,
}

impl Ids {
    /// Ids of one seed.
    pub fn new(seed: u64) -> Self {
        Self { seed: mix(seed), counter: 0 }
    }

    /// `digits` lower-case hex digits, 1 to 32. Unique while fewer than 16^`digits` ids were made.
    pub fn hex(&mut self, digits: usize) -> String {
        self.counter += 1;
        let word = mix(self.counter.wrapping_add(self.seed));
        if digits >= 17 {
            // Newer EC2 ids are 17 digits of which the first is 0.
            let second = mix(word ^ self.seed);
            return format!("0{word:016x}{second:016x}").chars().take(digits).collect();
        }
        // Multiplying by an odd number permutes the residues, so a short id is unique as well.
        let bits = 4 * u32::try_from(digits).unwrap_or(16).clamp(1, 16);
        let mask = u64::MAX >> (64 - bits);
        let short = self.counter.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(self.seed) & mask;
        format!("{short:0digits$x}")
    }

    /// An id in the shape of a UUID.
    pub fn uuid(&mut self) -> String {
        let hex = self.hex(32);
        format!("{}-{}-4{}-a{}-{}", &hex[1..9], &hex[9..13], &hex[13..16], &hex[16..19], &hex[19..31])
    }
}

/// A permutation of the 64-bit numbers that looks random (the finalizer of splitmix64).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_one_seed_repeat_and_never_collide() {
        for digits in [4, 8, 17, 32] {
            let (mut one, mut two) = (Ids::new(7), Ids::new(7));
            let made: Vec<String> = (0..5_000).map(|_| one.hex(digits)).collect();
            assert!(made.iter().all(|id| id.len() == digits && *id == two.hex(digits)), "{digits} digits");
            assert_eq!(made.iter().collect::<HashSet<_>>().len(), made.len(), "{digits} digits");
        }
    }

    #[test]
    fn another_seed_gives_other_ids_and_a_uuid_has_its_shape() {
        assert_ne!(Ids::new(1).hex(17), Ids::new(2).hex(17));
        let uuid = Ids::new(1).uuid();
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }
}
