//! The data plane: traffic in every VPC becomes flow log records, which reach the central S3 bucket only if every link
//! works at that time.
//!
//! **Flow** of a record: VPC, flow log with its delivery role, log group, subscription filter, destination with its
//! policy and role, stream, S3. A record that does not arrive is counted under the first broken link, separately before
//! the VPC's first delivery (not enrolled yet) and after it (lost). Nothing is retried: as in AWS, a filter sees only
//! events after its creation.

mod bucket;
mod delivery_path;
mod record;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use self::bucket::Bucket;
pub use self::bucket::LogEvents;
pub(crate) use self::delivery_path::deliver_unasked;
use self::delivery_path::{Delivery, DeliveryPaths};
use crate::sim::Sim;
use crate::world::World;

/// Lines kept per VPC.
const KEPT_LINES: usize = 3;

/// State of the data plane.
#[derive(Debug)]
pub struct TrafficState {
    /// Records that every VPC produces in a tick. A third of them are rejected traffic.
    pub records_per_tick: u64,
    vpcs: BTreeMap<String, VpcTraffic>,
    bucket: Bucket,
}

impl Default for TrafficState {
    fn default() -> Self {
        Self { records_per_tick: 3, vpcs: BTreeMap::new(), bucket: Bucket::default() }
    }
}

/// The first broken link between a VPC and S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// The VPC has no flow log of any kind.
    NotLogged,
    /// Its flow logs are too young to record.
    NotRecording,
    /// It has flow logs, none of which goes to CloudWatch Logs.
    OtherDestination,
    /// The delivery role is missing, does not trust VPC Flow Logs, or may not write to the log group.
    DeliveryRole,
    /// The log group does not exist, and the delivery role may not make it.
    LogGroup,
    /// No subscription filter of the log group goes to a destination and takes the record.
    Filter,
    /// The filter is disabled after a failed delivery.
    FilterDisabled,
    /// The destination of the filter does not exist in the Region.
    Destination,
    /// The destination's policy does not admit the account.
    DestinationPolicy,
    /// The filter needs a role and has none, or its role cannot be assumed or lacks permissions.
    FilterRole,
    /// The destination's role cannot be assumed for this sender, may not write, or its stream is gone.
    DestinationRole,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLogged => "no flow log",
            Self::NotRecording => "flow log does not record yet",
            Self::OtherDestination => "no flow log to CloudWatch Logs",
            Self::DeliveryRole => "delivery role",
            Self::LogGroup => "log group missing",
            Self::Filter => "no matching subscription filter",
            Self::FilterDisabled => "subscription filter disabled after a failure",
            Self::Destination => "destination missing",
            Self::DestinationPolicy => "destination policy does not admit the account",
            Self::FilterRole => "role of the subscription filter",
            Self::DestinationRole => "destination role or stream",
        })
    }
}

/// Delivery of one VPC's records. Each record is counted in exactly one of `delivered`, `filtered_out`,
/// `not_logged_before_enrollment` and `lost_after_enrollment`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "`region` and `vpc_id` are AWS's own")]
pub struct VpcTraffic {
    /// Account that owns the VPC.
    pub account: String,
    pub region: String,
    pub vpc_id: String,
    /// Records produced while the owner was a member of the organization.
    pub sent: u64,
    /// Records that reached S3, each counted once.
    pub delivered: u64,
    /// Further copies that reached S3.
    pub duplicated: u64,
    /// Records outside the traffic type of flow logs that did deliver.
    pub filtered_out: u64,
    /// Records that did not arrive before the first one that did, by broken link.
    pub before_enrollment: BTreeMap<Loss, u64>,
    /// Records that did not arrive after one had, by broken link.
    pub after_enrollment: BTreeMap<Loss, u64>,
    /// Records that reached S3 although the owner was not a member of the organization.
    pub from_outside: u64,
    /// The last lines that reached S3, oldest first.
    pub lines: VecDeque<String>,
}

impl VpcTraffic {
    /// Whether a record of this VPC ever reached S3.
    pub fn was_delivered(&self) -> bool {
        self.delivered > 0
    }

    fn keep(&mut self, line: Option<String>) {
        self.lines.extend(line);
        while self.lines.len() > KEPT_LINES {
            self.lines.pop_front();
        }
    }

    fn count(&mut self, records: u64, enrolled: bool, delivery: Delivery) {
        self.sent += records;
        match delivery {
            Delivery::Delivered(copies) => {
                self.delivered += records;
                self.duplicated += records * (copies - 1);
            }
            Delivery::NotWanted => self.filtered_out += records,
            Delivery::Lost(loss) => {
                let losses = if enrolled { &mut self.after_enrollment } else { &mut self.before_enrollment };
                *losses.entry(loss).or_default() += records;
            }
        }
    }
}

/// Delivery of all records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficReport {
    /// Records produced in VPCs of members.
    pub sent: u64,
    /// Records that reached S3, each counted once.
    pub delivered: u64,
    /// Further copies that reached S3.
    pub duplicated: u64,
    /// Records outside the traffic type of flow logs that did deliver.
    pub filtered_out: u64,
    /// Records that did not arrive before the first of their VPC that did.
    pub not_logged_before_enrollment: u64,
    /// Records that did not arrive although one of their VPC had before.
    pub lost_after_enrollment: u64,
    /// `not_logged_before_enrollment` by broken link.
    pub before_by_reason: BTreeMap<Loss, u64>,
    /// `lost_after_enrollment` by broken link.
    pub lost_by_reason: BTreeMap<Loss, u64>,
    /// Records that reached S3 from accounts that were not members.
    pub from_outside: u64,
    /// Every VPC that existed at some tick, by id.
    pub vpcs: Vec<VpcTraffic>,
}

/// Lets every VPC produce its records at the current time.
pub fn tick(world: &mut World) {
    let total = world.traffic.records_per_tick;
    let rejected = total / 3;
    // The links behind a log group are the same for all of its VPCs: evaluated once per tick.
    let mut paths = DeliveryPaths::default();
    let vpcs: Vec<(String, String, String)> =
        world.ec2.all_vpcs().map(|vpc| (vpc.owner.clone(), vpc.region.clone(), vpc.id.clone())).collect();
    for (account, region, vpc_id) in vpcs {
        let vpc = delivery_path::follow(world, &mut paths, &account, &region, &vpc_id);
        let member = world.organization.is_member(&account);
        let now_ms = world.now_ms();
        let line = vpc.format.map(|format| record::line(&format, &account, &region, &vpc_id, "ACCEPT", now_ms));
        if let Some(line) = &line {
            let stream = format!("eni-{}-all", vpc_id.trim_start_matches("vpc-"));
            world.traffic.bucket.deliver(vpc.senders, &stream, &[line.as_str()], now_ms);
        }
        let traffic = world.traffic.vpcs.entry(vpc_id.clone()).or_insert_with(|| VpcTraffic {
            account,
            region,
            vpc_id,
            ..VpcTraffic::default()
        });
        let enrolled = traffic.was_delivered();
        for (records, delivery) in [(total - rejected, vpc.accepted), (rejected, vpc.rejected)] {
            match delivery {
                delivery if member => traffic.count(records, enrolled, delivery),
                Delivery::Delivered(_) => traffic.from_outside += records,
                Delivery::NotWanted | Delivery::Lost(_) => {}
            }
        }
        traffic.keep(line);
    }
}

/// Sums up the delivery of all records so far.
pub fn report(world: &World) -> TrafficReport {
    let mut report = TrafficReport::default();
    for vpc in world.traffic.vpcs.values() {
        report.sent += vpc.sent;
        report.delivered += vpc.delivered;
        report.duplicated += vpc.duplicated;
        report.filtered_out += vpc.filtered_out;
        report.from_outside += vpc.from_outside;
        for (loss, count) in &vpc.before_enrollment {
            report.not_logged_before_enrollment += count;
            *report.before_by_reason.entry(*loss).or_default() += count;
        }
        for (loss, count) in &vpc.after_enrollment {
            report.lost_after_enrollment += count;
            *report.lost_by_reason.entry(*loss).or_default() += count;
        }
        report.vpcs.push(vpc.clone());
    }
    report
}

impl Sim {
    /// Lets every VPC produce its records at the current time.
    pub fn traffic_tick(&self) {
        self.with(tick);
    }

    /// Delivery of all records so far.
    pub fn traffic_report(&self) -> TrafficReport {
        self.with(|world| report(world))
    }
}

#[cfg(test)]
mod tests;
