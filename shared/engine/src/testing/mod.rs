//! Fakes of the ports: stateful, armed by count, and all writing their calls into one [`journal`].
//!
//! Their state is AWS's as far as the engine looks at it. What is armed beyond that is said where a test needs it.

pub(crate) mod clock;
pub(crate) mod destinations;
pub(crate) mod doctor;
pub(crate) mod ec2;
pub(crate) mod events;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod logs;
pub(crate) mod organization;
pub(crate) mod queues;
pub(crate) mod roles;
pub(crate) mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enroller_core::arn::Arn;
use enroller_core::ids::{AccountId, AccountRegion, FlowLogId, Region, VpcId};
use enroller_core::names::DestinationName;
use enroller_core::observed::{
    Account, AccountState, Delivery, FlowLog, FlowLogTarget, LogGroup, LogGroupClass, Tags, Vpc,
};
use enroller_core::plan::Desired;
use enroller_core::settings::Settings;

use self::clock::FakeClock;
use self::destinations::FakeDestinations;
use self::doctor::FakeFacts;
use self::ec2::FakeEc2;
use self::journal::Journal;
use self::log::FakeLog;
use self::logs::FakeLogs;
use self::organization::FakeOrganization;
use self::queues::FakeQueues;
use self::roles::FakeRoles;
use self::sessions::FakeSessions;
use crate::assignments::Assignments;
use crate::backfill::Backfill;
use crate::batch::Record;
use crate::context::Context;
use crate::coverage::Inspector;
use crate::doctor::Doctor;
use crate::enroller::batch::EnrollmentQueue;
use crate::enroller::{AccountWork, AskedBy, Enroller};
use crate::granter::batch::GrantQueue;
use crate::granter::{GrantPlanner, Granter};
use crate::outbox::Outbox;
use crate::ports::{Clock, Destination, Ports, Queues};

pub(crate) const CENTRAL: &str = "999999999999";
pub(crate) const MANAGEMENT: &str = "888888888888";
pub(crate) const ORGANIZATION: &str = "o-exampleorg1";
pub(crate) const ENROLLMENTS: &str = "https://sqs.eu-west-1.amazonaws.com/999999999999/enrollments";
pub(crate) const GRANTS: &str = "https://sqs.eu-west-1.amazonaws.com/999999999999/grants.fifo";
pub(crate) const BACKFILL: &str = "https://sqs.eu-west-1.amazonaws.com/999999999999/backfill";

/// When every test begins, and when its time is up.
pub(crate) const T0: u64 = 1_795_000_000_000;
pub(crate) const DEADLINE: u64 = T0 + 900_000;

/// Settings of two Regions, changed as a test likes.
pub(crate) fn settings(changes: &[(&str, &str)]) -> Settings {
    let mut values: BTreeMap<&str, &str> = BTreeMap::from([
        ("central_account", CENTRAL),
        ("organization_id", ORGANIZATION),
        ("home_region", "eu-west-1"),
        ("regions", "eu-west-1, us-east-1"),
        ("destination_target_arn", "arn:aws:firehose:eu-west-1:999999999999:deliverystream/Logs"),
        ("destination_role_arn", "arn:aws:iam::999999999999:role/Destination"),
        ("enrollments_queue_url", ENROLLMENTS),
        ("grants_queue_url", GRANTS),
        ("backfill_queue_url", BACKFILL),
    ]);
    values.extend(changes.iter().copied());
    Settings::from_lookup(|key| values.get(key).map(|value| (*value).to_owned())).unwrap()
}

pub(crate) fn id(number: u32) -> AccountId {
    format!("11111111{number:04}").parse().unwrap()
}

pub(crate) fn ids(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<AccountId> {
    numbers.into_iter().map(id).collect()
}

pub(crate) fn home() -> Region {
    "eu-west-1".parse().unwrap()
}

pub(crate) fn away() -> Region {
    "us-east-1".parse().unwrap()
}

pub(crate) fn at(number: u32, region: Region) -> AccountRegion {
    AccountRegion { account: id(number), region }
}

pub(crate) fn vpc_id(number: u32) -> VpcId {
    format!("vpc-{number:08x}").parse().unwrap()
}

pub(crate) fn flow_log_id(number: u32) -> FlowLogId {
    format!("fl-{number:08x}").parse().unwrap()
}

pub(crate) fn account(number: u32) -> Account {
    let parents = vec!["r-ab12".parse().unwrap(), "ou-ab12-workload".parse().unwrap()];
    Account { id: id(number), name: format!("workload {number}"), state: AccountState::Active, parents }
}

/// One account in these Regions, with nothing known of its destinations.
pub(crate) fn work(number: u32, regions: impl IntoIterator<Item = Region>) -> AccountWork {
    let regions = regions.into_iter().collect();
    AccountWork {
        account: id(number),
        regions,
        destinations: BTreeMap::new(),
        asked_by: AskedBy::Message { at_ms: None },
        approved: None,
    }
}

/// A message of a queue with its receipt, received for the first time.
pub(crate) fn record(name: &str, body: impl ToString) -> Record {
    let source = Some(("queue".to_owned(), format!("receipt of {name}")));
    Record { id: name.to_owned(), body: body.to_string(), source, receive_count: 1 }
}

/// All of AWS that the engine sees.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) log: Arc<FakeLog>,
    pub(crate) ec2: Arc<FakeEc2>,
    pub(crate) logs: Arc<FakeLogs>,
    pub(crate) roles: Arc<FakeRoles>,
    pub(crate) destinations: Arc<FakeDestinations>,
    pub(crate) organization: Arc<FakeOrganization>,
    pub(crate) queues: Arc<FakeQueues>,
    pub(crate) facts: Arc<FakeFacts>,
}

impl World {
    /// Nobody but the central account.
    pub(crate) fn with(changes: &[(&str, &str)]) -> Self {
        let settings = settings(changes);
        let clock = Arc::new(FakeClock::at(T0));
        let journal = Arc::new(Journal::new(Arc::clone(&clock)));
        Self {
            ec2: Arc::new(FakeEc2::new(&journal, &settings.regions)),
            logs: Arc::new(FakeLogs::new(&journal)),
            roles: Arc::new(FakeRoles::new(&journal)),
            destinations: Arc::new(FakeDestinations::new(&journal)),
            organization: Arc::new(FakeOrganization::new(&journal)),
            queues: Arc::new(FakeQueues::new(&journal)),
            facts: Arc::new(FakeFacts::new(&journal)),
            log: Arc::default(),
            settings,
            clock,
            journal,
        }
    }

    /// So many member accounts without a grant.
    pub(crate) fn members(changes: &[(&str, &str)], numbers: impl IntoIterator<Item = u32>) -> Self {
        let world = Self::with(changes);
        for number in numbers {
            world.organization.add(account(number));
        }
        world
    }

    /// So many member accounts, granted in both Regions.
    pub(crate) fn granted(changes: &[(&str, &str)], numbers: impl IntoIterator<Item = u32> + Clone) -> Self {
        let world = Self::members(changes, numbers.clone());
        for region in world.settings.regions.clone() {
            world.grant(&region, 1, ids(numbers.clone()));
        }
        world
    }

    /// Account 1, granted, with VPC 1 in the home Region and VPC 2 in the other, and nothing of ours yet.
    pub(crate) fn fresh(changes: &[(&str, &str)]) -> Self {
        let world = Self::granted(changes, [1]);
        world.add_vpc(&at(1, home()), 1);
        world.add_vpc(&at(1, away()), 2);
        world
    }

    /// The same with everything as it should be.
    pub(crate) fn enrolled(changes: &[(&str, &str)]) -> Self {
        let world = Self::fresh(changes);
        world.enroll(&at(1, home()), 1);
        world.enroll(&at(1, away()), 2);
        world
    }

    pub(crate) fn add_vpc(&self, at: &AccountRegion, number: u32) {
        let vpc = Vpc { id: vpc_id(number), owner: at.account, is_default: false, tags: Tags::new() };
        self.ec2.vpcs.lock().unwrap().entry(at.clone()).or_default().push(vpc);
    }

    /// Log group, filter and a flow log for a VPC, as they should be.
    pub(crate) fn enroll(&self, at: &AccountRegion, vpc: u32) {
        let desired = Desired::new(&self.settings, at, &self.shard(1));
        let group = LogGroup {
            retention_days: self.settings.retention_days,
            retention_policy: None,
            kms_key: None,
            class: LogGroupClass::Standard,
            created_ms: Some(T0 - 90 * 24 * 3_600_000),
            protection: Vec::new(),
            tags: Some(self.own_tags()),
        };
        self.logs.groups.lock().unwrap().insert(at.clone(), group);
        self.logs.filters.lock().unwrap().insert(at.clone(), vec![desired.filter()]);
        self.ec2.add_flow_log(at, self.flow_log(at, vpc, vpc));
    }

    /// A flow log of ours as it should be.
    pub(crate) fn flow_log(&self, at: &AccountRegion, number: u32, vpc: u32) -> FlowLog {
        FlowLog {
            id: flow_log_id(number),
            resource: vpc_id(vpc).to_string(),
            traffic_type: Some(self.settings.traffic_type),
            target: FlowLogTarget::LogGroup(self.settings.log_group_name.to_string()),
            delivery_role: Some(self.settings.delivery_role(at.account).to_string()),
            interval: self.settings.aggregation_interval,
            format: Some(self.settings.log_format.clone()),
            active: true,
            delivery: Delivery::Success,
            created_ms: Some(T0 - 24 * 3_600_000),
            tags: self.own_tags(),
        }
    }

    pub(crate) fn own_tags(&self) -> Tags {
        let tag = &self.settings.ownership_tag;
        Tags::from([(tag.key.clone(), tag.value.clone())])
    }

    pub(crate) fn shard(&self, number: u32) -> DestinationName {
        self.settings.destination_name.name_of(number)
    }

    /// Puts a shard with exactly these accounts.
    pub(crate) fn grant(&self, region: &Region, shard: u32, accounts: BTreeSet<AccountId>) {
        let (parts, name) = (self.settings.destination_parts().unwrap(), self.shard(shard));
        let arn = Arn::destination(region, self.settings.central_account, &name);
        let destination = Destination { name, target: parts.target, role: parts.role, policy: None };
        self.destinations.put(region, destination, &arn, accounts);
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports {
            sessions: Arc::new(FakeSessions(Arc::clone(&self.journal))),
            ec2: Arc::clone(&self.ec2) as _,
            logs: Arc::clone(&self.logs) as _,
            roles: Arc::clone(&self.roles) as _,
            destinations: Arc::clone(&self.destinations) as _,
            organization: Arc::clone(&self.organization) as _,
            queues: self.queues(),
        }
    }

    pub(crate) fn context(&self) -> Context {
        Context::new(self.settings.clone(), Arc::clone(&self.clock) as Arc<dyn Clock>, Arc::clone(&self.log) as _)
    }

    fn queues(&self) -> Arc<dyn Queues> {
        Arc::clone(&self.queues) as _
    }

    pub(crate) fn outbox(&self) -> Outbox {
        Outbox::new(&self.queues(), self.settings.queue_urls().unwrap())
    }

    pub(crate) fn assignments(&self) -> Assignments {
        Assignments::new(self.context(), &self.ports())
    }

    pub(crate) fn enroller(&self) -> Enroller {
        Enroller::new(self.context(), &self.ports())
    }

    pub(crate) fn enrollment_queue(&self) -> EnrollmentQueue {
        EnrollmentQueue::new(self.enroller(), &self.queues(), self.outbox())
    }

    pub(crate) fn planner(&self) -> GrantPlanner {
        GrantPlanner::new(self.context(), &self.ports(), self.settings.destination_parts().unwrap())
    }

    pub(crate) fn granter(&self) -> Granter {
        Granter::new(self.planner(), Arc::clone(&self.destinations) as _)
    }

    pub(crate) fn grant_queue(&self) -> GrantQueue {
        GrantQueue::new(self.granter(), &self.queues(), self.outbox())
    }

    pub(crate) fn backfill(&self) -> Backfill {
        Backfill::new(self.planner(), &self.ports(), self.outbox(), BACKFILL.to_owned())
    }

    pub(crate) fn inspector(&self) -> Inspector {
        Inspector::new(self.context(), &self.ports())
    }

    pub(crate) fn doctor(&self) -> Doctor {
        Doctor::new(self.context(), &self.ports(), self.facts.ports())
    }
}
