//! The links between a VPC and S3 in their current state.

use std::collections::BTreeMap;

use super::bucket::Sender;
use super::{Loss, record};
use crate::ec2::FlowLog;
use crate::logs::{self, LogGroup, SubscriptionFilter};
use crate::service_role::{Source, allows, assumable};
use crate::world::World;

/// After a delivery that can never succeed, a filter is disabled for up to ten minutes and the log events of that time
/// are skipped (CloudWatch Logs user guide, "Real-time processing of log data with subscriptions").
const DISABLED_MS: u64 = 10 * 60 * 1_000;

/// Delivery of the records of a VPC with one action (ACCEPT or REJECT).
#[derive(Clone, Copy)]
pub(super) enum Delivery {
    /// This many copies reach S3, at least one.
    Delivered(u64),
    /// No flow log of the VPC captures this action, though there is one for the other.
    NotWanted,
    /// No copy reaches S3, for this reason.
    Lost(Loss),
}

/// Delivery of the records of a VPC by action, and the format and senders of the lines that arrive.
pub(super) struct VpcDelivery {
    pub(super) accepted: Delivery,
    pub(super) rejected: Delivery,
    pub(super) format: Option<String>,
    pub(super) senders: Vec<Sender>,
}

/// Filters that bring a log group's records to S3, by account, Region, group, record format and action.
#[derive(Default)]
pub(super) struct DeliveryPaths(BTreeMap<[String; 5], Result<Vec<String>, Loss>>);

/// Follows every flow log of a VPC and records the result of its delivery.
pub(super) fn follow(
    world: &mut World,
    paths: &mut DeliveryPaths,
    account: &str,
    region: &str,
    vpc_id: &str,
) -> VpcDelivery {
    let (now_ms, delay_ms) = (world.now_ms(), world.settings.recording_delay_ms);
    let recording = world.ec2.recording(account, region, vpc_id, now_ms, delay_ms);
    let flow_logs: Vec<FlowLog> = recording.cloned().collect();
    let young = world.ec2.flow_logs_of(account, region, vpc_id).next().is_some();
    let mut written = Vec::new();
    for flow_log in &flow_logs {
        let Some(group) = flow_log.log_group_name.as_deref() else { continue };
        let outcome = write_to_group(world, account, region, flow_log, group);
        let status = outcome.map_err(|_| "Access error".to_owned());
        world.ec2.set_delivery(account, region, &flow_log.id, status);
        written.push((flow_log, group, outcome));
    }
    let (mut format, mut senders) = (None, Vec::new());
    let mut delivery_of = |action: &str| {
        // The flow log that gets furthest determines the reported link.
        let (mut copies, mut furthest) = (0, None);
        for (flow_log, group, outcome) in &written {
            if flow_log.traffic_type != "ALL" && flow_log.traffic_type != action {
                continue;
            }
            let path = [account, region, group, &flow_log.log_format, action];
            match outcome.and_then(|()| paths.filters(world, path)) {
                Ok(filters) => {
                    copies += filters.len() as u64;
                    format = Some(flow_log.log_format.clone());
                    if action == "ACCEPT" {
                        senders.extend(filters.iter().map(|filter| Sender::new(account, group, filter)));
                    }
                }
                Err(loss) => furthest = furthest.max(Some(loss)),
            }
        }
        match (copies, furthest) {
            (0, Some(loss)) => Delivery::Lost(loss),
            (0, None) if flow_logs.is_empty() && young => Delivery::Lost(Loss::NotRecording),
            (0, None) if flow_logs.is_empty() => Delivery::Lost(Loss::NotLogged),
            (0, None) if written.is_empty() => Delivery::Lost(Loss::OtherDestination),
            (0, None) => Delivery::NotWanted,
            (copies, _) => Delivery::Delivered(copies),
        }
    };
    let (accepted, rejected) = (delivery_of("ACCEPT"), delivery_of("REJECT"));
    VpcDelivery { accepted, rejected, format, senders }
}

/// The first link: the delivery role writes to the log group, which it creates if it is missing. The role needs the
/// documented minimum of permissions (VPC user guide, "IAM role for publishing flow logs to CloudWatch Logs"), and
/// another one to create a missing log group.
fn write_to_group(world: &mut World, account: &str, region: &str, flow_log: &FlowLog, group: &str) -> Result<(), Loss> {
    if let Group::ToCreate = reaches_group(world, account, region, flow_log, group)? {
        logs::create_for_service(world, account, region, group);
    }
    Ok(())
}

fn reaches_group(world: &World, account: &str, region: &str, flow_log: &FlowLog, group: &str) -> Result<Group, Loss> {
    let role_arn = flow_log.deliver_logs_permission_arn.as_deref().ok_or(Loss::DeliveryRole)?;
    let source_arn = format!("arn:aws:ec2:{region}:{account}:vpc-flow-log/{}", flow_log.id);
    let source = Source { account, arn: &source_arn };
    let role = assumable(world, role_arn, &["vpc-flow-logs.amazonaws.com"], &source).ok_or(Loss::DeliveryRole)?;
    let group_arn = format!("arn:aws:logs:{region}:{account}:log-group:{group}");
    let all_groups = format!("arn:aws:logs:{region}:{account}:log-group::log-stream:");
    // A policy has to name `log-group:NAME:*`; the group's bare ARN covers no stream.
    let stream_arn = format!("{group_arn}:log-stream:eni-{}-all", flow_log.resource_id.trim_start_matches("vpc-"));
    let finds = allows(world, role, &["logs:DescribeLogGroups"], &all_groups)
        && allows(world, role, &["logs:DescribeLogStreams"], &format!("{group_arn}:log-stream:"));
    if !finds || !allows(world, role, &["logs:CreateLogStream", "logs:PutLogEvents"], &stream_arn) {
        return Err(Loss::DeliveryRole);
    }
    if world.logs.group(account, region, group).is_some() {
        return Ok(Group::Exists);
    }
    let may_create = [group_arn.as_str(), stream_arn.as_str()];
    if may_create.iter().any(|arn| allows(world, role, &["logs:CreateLogGroup"], arn)) {
        return Ok(Group::ToCreate);
    }
    Err(Loss::LogGroup)
}

/// What the delivery role finds.
enum Group {
    Exists,
    ToCreate,
}

/// Shows the result of deliveries of flow logs that have begun to record, without records. A missing log group is not
/// made: only records do that.
pub(crate) fn deliver_unasked(world: &mut World, account: &str, region: &str) {
    let (now_ms, delay_ms) = (world.now_ms(), world.settings.recording_delay_ms);
    let old_enough = |flow_log: &&FlowLog| now_ms >= flow_log.created_ms.saturating_add(delay_ms);
    let flow_logs: Vec<FlowLog> = world.ec2.flow_logs(account, region).filter(old_enough).cloned().collect();
    for flow_log in &flow_logs {
        let Some(group) = flow_log.log_group_name.as_deref() else { continue };
        let status = match reaches_group(world, account, region, flow_log, group) {
            Ok(Group::Exists) => Ok(()),
            Ok(Group::ToCreate) => continue,
            Err(_) => Err("Access error".to_owned()),
        };
        world.ec2.set_delivery(account, region, &flow_log.id, status);
    }
}

impl DeliveryPaths {
    /// The group's filters that bring records to S3, a copy each; the furthest broken link if none does.
    fn filters(&mut self, world: &mut World, path: [&str; 5]) -> Result<Vec<String>, Loss> {
        let key = path.map(str::to_owned);
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        let [account, region, group, format, action] = path;
        let sample = record::line(format, account, region, "vpc-00000000000000000", action, world.now_ms());
        let outcome = through_filters(world, [account, region, group], &sample);
        self.0.insert(key, outcome.clone());
        outcome
    }
}

/// The filters of a log group that bring a line to S3.
pub(super) fn through_filters(
    world: &mut World,
    [account, region, group]: [&str; 3],
    line: &str,
) -> Result<Vec<String>, Loss> {
    let Some(group) = world.logs.group(account, region, group).cloned() else { return Err(Loss::LogGroup) };
    let (mut delivering, mut furthest) = (Vec::new(), Loss::Filter);
    for filter in group.filters.values() {
        let to_destination = filter.destination_arn.contains(":destination:");
        let selected = logs::selects(&filter.field_selection, account, region);
        if !to_destination || !selected || !record::pattern_matches(&filter.pattern, line) {
            continue;
        }
        match through_filter(world, account, region, &group, filter) {
            Ok(()) => delivering.push(filter.name.clone()),
            Err(loss) => {
                furthest = furthest.max(loss);
                disable(world, account, region, &group.name, filter, loss);
            }
        }
    }
    if delivering.is_empty() { Err(furthest) } else { Ok(delivering) }
}

fn through_filter(
    world: &World,
    account: &str,
    region: &str,
    group: &LogGroup,
    filter: &SubscriptionFilter,
) -> Result<(), Loss> {
    // Records of the time at which it was disabled were lost for the original reason.
    let now_ms = world.now_ms();
    if now_ms < filter.disabled_until_ms && filter.disabled_until_ms != now_ms + DISABLED_MS {
        return Err(Loss::FilterDisabled);
    }
    let arn = &filter.destination_arn;
    let destination = world.logs.destination(arn).ok_or(Loss::Destination)?;
    let policy = destination.policy().filter(|policy| logs::admits(world, policy, account, arn));
    let policy = policy.ok_or(Loss::DestinationPolicy)?;
    let source_arn = format!("{}:*", group.arn);
    let source = Source { account, arn: &source_arn };
    let services = logs::service_principals(region);
    let services = services.each_ref().map(String::as_str);
    match &filter.role_arn {
        None if policy.is_organization() => return Err(Loss::FilterRole),
        None => {}
        // "Create an IAM role": permission logs:PutLogEvents on the source log group (CloudWatch Logs user guide,
        // cross-account subscriptions with an organization).
        Some(role_arn) => {
            let role = assumable(world, role_arn, &services, &source).ok_or(Loss::FilterRole)?;
            if !allows(world, role, &["logs:PutLogEvents"], &source_arn) {
                return Err(Loss::FilterRole);
            }
        }
    }
    // Deliveries run on the source account's behalf, unlike the test message of PutDestination.
    let (target, role) = (&destination.target_arn, &destination.role_arn);
    let delivers = logs::delivers(world, account, region, &source_arn, target, role);
    if delivers { Ok(()) } else { Err(Loss::DestinationRole) }
}

fn disable(world: &mut World, account: &str, region: &str, group: &str, filter: &SubscriptionFilter, loss: Loss) {
    if loss == Loss::FilterDisabled {
        return;
    }
    let until_ms = world.now_ms() + DISABLED_MS;
    let group = world.logs.group_mut(account, region, group);
    if let Some(filter) = group.and_then(|group| group.filters.get_mut(&filter.name)) {
        filter.disabled_until_ms = until_ms;
    }
}
