//! From EC2's responses to the observed state.
//!
//! VPCs and managed flow logs must be readable, or the result is an error that names the value. An unmanaged flow log
//! with an id in a new format must not block an account: it is skipped with a warning. That is safe, because unmanaged
//! flow logs are never changed, and AWS rejects a duplicate of a skipped one (FlowLogAlreadyExists).

use aws_sdk_ec2::types::{
    FlowLog as Ec2FlowLog, LogDestinationType, Region as Ec2Region, Tag as Ec2Tag, Vpc as Ec2Vpc,
};
use enroller_core::arn::Arn;
use enroller_core::ids::{AccountRegion, Region};
use enroller_core::observed::{Delivery, FlowLog, FlowLogTarget, Tags, Vpc};
use enroller_core::settings::Tag;
use enroller_engine::ports::AwsResult;

use crate::errors::unparsable;
use crate::limits::{DESCRIBE_FLOW_LOGS, DESCRIBE_VPCS};

/// The default aggregation interval of CreateFlowLogs, in seconds (EC2 API reference).
const DEFAULT_INTERVAL: u32 = 600;

fn tags(tags: &[Ec2Tag]) -> Tags {
    let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
    tags.iter().map(|tag| (text(tag.key()), text(tag.value()))).collect()
}

pub(super) fn vpc(at: &AccountRegion, vpc: &Ec2Vpc) -> AwsResult<Vpc> {
    let wrong = |invalid: enroller_core::ids::Invalid| unparsable(DESCRIBE_VPCS.operation, at, invalid.to_string());
    Ok(Vpc {
        id: vpc.vpc_id().unwrap_or_default().parse().map_err(wrong)?,
        owner: vpc.owner_id().unwrap_or_default().parse().map_err(wrong)?,
        is_default: vpc.is_default().unwrap_or(false),
        tags: tags(vpc.tags()),
    })
}

pub(super) fn flow_logs(at: &AccountRegion, ownership: &Tag, page: &[Ec2FlowLog]) -> AwsResult<Vec<FlowLog>> {
    let mut read = Vec::with_capacity(page.len());
    for found in page {
        match flow_log(at, found) {
            Ok(flow_log) => read.push(flow_log),
            Err(error) if ownership.is_on(&tags(found.tags())) => return Err(error),
            Err(error) => tracing::warn!(%error, at = %at, "skipped an unmanaged flow log"),
        }
    }
    Ok(read)
}

fn flow_log(at: &AccountRegion, found: &Ec2FlowLog) -> AwsResult<FlowLog> {
    let wrong = |message: String| unparsable(DESCRIBE_FLOW_LOGS.operation, at, message);
    let id = found.flow_log_id().unwrap_or_default().parse();
    let id = id.map_err(|invalid: enroller_core::ids::Invalid| wrong(invalid.to_string()))?;
    let resource = found.resource_id().filter(|resource| !resource.is_empty());
    let interval = found.max_aggregation_interval().map(u32::try_from).transpose();
    Ok(FlowLog {
        resource: resource.ok_or_else(|| wrong(format!("{id} has no resource")))?.to_owned(),
        // Absent for transit gateways. A value that AWS adds later differs from the desired ones, too.
        traffic_type: found.traffic_type().and_then(|kind| kind.as_str().parse().ok()),
        target: target(at, found),
        delivery_role: found.deliver_logs_permission_arn().map(str::to_owned),
        interval: interval
            .map_err(|error| wrong(format!("{id} has an invalid interval: {error}")))?
            .unwrap_or(DEFAULT_INTERVAL),
        format: found.log_format().map(str::to_owned),
        // ACTIVE is the only documented status.
        active: found.flow_log_status().is_none_or(|status| status == "ACTIVE"),
        delivery: delivery(found),
        created_ms: found.creation_time().and_then(|at| u64::try_from(at.to_millis().ok()?).ok()),
        tags: tags(found.tags()),
        id,
    })
}

/// A log group of another account or Region may have the name of ours, but nothing of it is ours: whoever makes such a
/// flow log keeps the records to themselves.
fn target(at: &AccountRegion, found: &Ec2FlowLog) -> FlowLogTarget {
    let arn = found.log_destination().unwrap_or_default();
    let other = || FlowLogTarget::Other(arn.to_owned());
    if let Some(role) = found.deliver_cross_account_role().filter(|role| !role.is_empty()) {
        let to = if arn.is_empty() { found.log_group_name().unwrap_or_default() } else { arn };
        return FlowLogTarget::Other(format!("{to} across accounts with role {role}"));
    }
    match found.log_destination_type() {
        None | Some(LogDestinationType::CloudWatchLogs) => {
            // If created with an ARN, it may have the ARN only: arn:…:log-group:NAME or arn:…:log-group:NAME:*
            let parsed = arn.parse::<Arn>().ok();
            let elsewhere = |arn: &Arn| arn.account() != Some(at.account) || arn.region() != Some(&at.region);
            if parsed.as_ref().is_some_and(elsewhere) {
                return other();
            }
            let from_arn =
                || parsed.as_ref()?.resource().strip_prefix("log-group:").map(|it| it.trim_end_matches(":*"));
            let name = found.log_group_name().filter(|name| !name.is_empty()).or_else(from_arn);
            name.map_or_else(other, |name| FlowLogTarget::LogGroup(name.to_owned()))
        }
        Some(_) => other(),
    }
}

fn delivery(found: &Ec2FlowLog) -> Delivery {
    match found.deliver_logs_status() {
        None | Some("") => Delivery::Unknown,
        Some("SUCCESS") => Delivery::Success,
        Some(status) => Delivery::Failed(found.deliver_logs_error_message().unwrap_or(status).to_owned()),
    }
}

/// Skips a Region with a code in a new format, which no setting can name.
pub(super) fn region(at: &AccountRegion, region: &Ec2Region) -> Option<Region> {
    match region.region_name().unwrap_or_default().parse() {
        Ok(region) => Some(region),
        Err(error) => {
            tracing::warn!(%error, account = %at.account, "skipped an enabled Region");
            None
        }
    }
}
