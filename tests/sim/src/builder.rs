//! Builds an organization to start from.

use crate::limits::LimitClock;
use crate::organizations::JoinedMethod;
use crate::sim::Sim;
use crate::world::World;

/// What to build. The initial resources emit no events.
///
/// ```
/// use enroller_sim::SimBuilder;
///
/// let sim = SimBuilder { accounts: 5, vpcs: 2, ..SimBuilder::default() }.build();
/// assert_eq!(sim.members().len(), 5);
/// let account = sim.members()[3].clone();
/// // Two VPCs beside the default VPC.
/// assert_eq!(sim.with(|world| world.ec2.vpcs(&account, "eu-west-1").count()), 3);
/// ```
#[derive(Clone, Debug)]
pub struct SimBuilder {
    /// Number of accounts, the management and the central account included; at least 2.
    pub accounts: usize,
    /// Regions that every account has enabled, beside the global services in us-east-1.
    pub regions: Vec<String>,
    /// VPCs of each account in each Region, beside the default VPC.
    pub vpcs: usize,
    /// Seed of all ids.
    pub seed: u64,
    /// Whether, and on which clock, AWS's request rate limits hold.
    pub limits: LimitClock,
    /// Real milliseconds that every answer takes.
    pub latency_ms: u64,
    /// Whether the wall clock moves time, as a server needs. Otherwise only the test does.
    pub real_time: bool,
}

impl Default for SimBuilder {
    fn default() -> Self {
        Self {
            accounts: 4,
            regions: vec!["eu-west-1".to_owned(), "us-east-1".to_owned()],
            vpcs: 1,
            seed: 1,
            limits: LimitClock::Off,
            latency_ms: 0,
            real_time: false,
        }
    }
}

/// OUs of a new organization.
const UNITS: [&str; 3] = ["Security", "Workloads", "Sandbox"];

impl SimBuilder {
    /// Builds the organization: the management account under the root, the central account, which is a delegated
    /// administrator, in the first OU, and the other accounts in the remaining OUs.
    pub fn build(&self) -> Sim {
        let mut world = World::new(self.seed);
        world.events.seed(self.seed);
        if self.real_time {
            world.use_real_time();
        }
        world.regions = self.regions.iter().cloned().collect();
        world.limits.clock = self.limits;
        world.settings.latency_ms = self.latency_ms;

        let management = world.add_account("management");
        let (id, root) = (format!("o-{}", world.ids.hex(10)), format!("r-{}", world.ids.hex(4)));
        let now_ms = world.now_ms();
        world.organization.found(id, root, &management, now_ms);
        let units = add_units(&mut world);
        for number in 1..self.accounts.max(2) {
            let name = if number == 1 { "central".to_owned() } else { format!("member-{number:05}") };
            let account = world.add_account(&name);
            world.put_creator_role(&account);
            let unit = if number == 1 { 0 } else { 1 + number % (units.len() - 1) };
            let now_ms = world.now_ms();
            world.organization.add(&account, &units[unit], JoinedMethod::Created, now_ms);
            if number == 1 {
                world.organization.delegate(&account);
            }
        }
        world.organization.forget_changes();
        self.add_vpcs(&mut world);
        Sim::new(world)
    }

    fn add_vpcs(&self, world: &mut World) {
        let accounts: Vec<String> = world.accounts.keys().cloned().collect();
        for account in &accounts {
            for region in &self.regions {
                for number in 0..self.vpcs {
                    world.put_vpc(account, region, &format!("10.{}.0.0/16", number % 256), false);
                }
            }
        }
    }
}

fn add_units(world: &mut World) -> Vec<String> {
    let root = world.organization.root().to_owned();
    let suffix = root.trim_start_matches("r-").to_owned();
    let mut ids = Vec::new();
    for name in UNITS {
        let id = format!("ou-{suffix}-{}", world.ids.hex(8));
        world.organization.add_unit(id.clone(), name, &root);
        ids.push(id);
    }
    ids
}
