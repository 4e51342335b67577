//! CreateFlowLogs, the EC2 operation with the most ways to fail.

use serde_json::{Value, json};

use super::flow_logs::{failure, unsuccessful_set};
use super::state::{RegionState, TokenUse};
use super::{FlowLog, format, invalid_value, missing, no_such_vpc, tags};
use crate::call::{ApiError, Call};
use crate::iam::split_role_arn;
use crate::policy_language::{PrincipalKind, TrustRequest, trust_allows};
use crate::rules::flow_log_exists;
use crate::settings::TwinRule;
use crate::wire::QueryAnswer;
use crate::wire::query::Params;
use crate::wire::xml::Element;
use crate::world::World;

pub(super) const KNOWN: &[&str] = &[
    "ClientToken",
    "DeliverLogsPermissionArn",
    "LogGroupName",
    "ResourceId.N",
    "ResourceType",
    "TrafficType",
    "LogDestinationType",
    "LogDestination",
    "LogFormat",
    "MaxAggregationInterval",
    "TagSpecification.N.ResourceType",
    "TagSpecification.N.Tag.N.Key",
    "TagSpecification.N.Tag.N.Value",
];

/// EC2 model (SDK of 2026): at most 300 resources a call.
const MAX_RESOURCES: usize = 300;

/// VPC user guide, "Flow log limitations": 250 flow logs per resource.
const MAX_PER_RESOURCE: usize = 250;

pub(super) fn create(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let request: Vec<(String, String)> = params
        .iter()
        .filter(|(name, _)| *name != "ClientToken")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let given_token = params.get("ClientToken");
    if let Some(facts) = answered_before(world, call, given_token, &request)? {
        return Ok(answer(facts));
    }
    let resources = resources(params)?;
    let template = template(world, call, params)?;
    check_role(world, call, template.deliver_logs_permission_arn.as_deref())?;

    let (mut created, mut unsuccessful) = (Vec::new(), Vec::new());
    for resource_id in resources {
        let id = format!("fl-{}", world.ids.hex(17));
        let flow_log = FlowLog { id: id.clone(), resource_id: resource_id.to_owned(), ..template.clone() };
        match add(world, call, flow_log) {
            Ok(()) => created.push(id),
            Err(refusal) => unsuccessful.push(failure(resource_id, &refusal)),
        }
    }
    let token = given_token.map_or_else(|| world.ids.uuid(), str::to_owned);
    let facts = json!({ "flowLogIds": created, "unsuccessful": unsuccessful, "clientToken": token });
    if given_token.is_some() {
        let tokens = &mut world.ec2.region_mut(&call.caller.account, &call.region).tokens;
        tokens.insert(token, TokenUse { request, facts: facts.clone() });
    }
    Ok(answer(facts))
}

/// EC2 developer guide, "Ensuring idempotency": the same token gives the same answer, and with other parameters
/// IdempotentParameterMismatch.
fn answered_before(
    world: &World,
    call: &Call,
    token: Option<&str>,
    request: &[(String, String)],
) -> Result<Option<Value>, ApiError> {
    let state = world.ec2.region(&call.caller.account, &call.region);
    match token.and_then(|token| state?.tokens.get(token)) {
        None => Ok(None),
        Some(used) if used.request == request => Ok(Some(used.facts.clone())),
        Some(_) => {
            let message = "The client token you have provided has already been used with different parameters.";
            Err(ApiError::new(400, "IdempotentParameterMismatch", message))
        }
    }
}

fn answer(facts: Value) -> (Vec<Element>, Value) {
    let list = |name: &str| facts[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ids = list("flowLogIds").iter().map(|id| Element::text("item", text(id))).collect();
    let members = vec![
        Element::text("clientToken", text(&facts["clientToken"])),
        Element::of("flowLogIdSet", ids),
        unsuccessful_set(list("unsuccessful")),
    ];
    (members, facts)
}

fn resources(params: &Params) -> Result<Vec<&str>, ApiError> {
    match params.get("ResourceType") {
        Some("VPC") => {}
        Some(other) => return Err(ApiError::unknown_parameter(&format!("ResourceType={other}"), "CreateFlowLogs")),
        None => return Err(missing("ResourceType")),
    }
    let resources = params.list("ResourceId");
    if resources.is_empty() {
        return Err(missing("ResourceId"));
    }
    if resources.len() > MAX_RESOURCES {
        let message = format!("The maximum number of resources is {MAX_RESOURCES}; {} were given.", resources.len());
        return Err(invalid_value(message));
    }
    Ok(resources)
}

/// The flow log that every resource gets, without resource id and own id.
fn template(world: &World, call: &Call, params: &Params) -> Result<FlowLog, ApiError> {
    // EC2 model: the value sets of TrafficType, LogDestinationType and MaxAggregationInterval.
    let traffic_type = params.get("TrafficType").ok_or_else(|| missing("TrafficType"))?;
    if !["ACCEPT", "REJECT", "ALL"].contains(&traffic_type) {
        return Err(invalid_value(format!("Value ({traffic_type}) for parameter TrafficType is invalid.")));
    }
    let interval = params.get("MaxAggregationInterval").unwrap_or("600");
    let max_aggregation_interval = match interval {
        "60" => 60,
        "600" => 600,
        other => return Err(invalid_value(format!("Invalid Flow Log Max Aggregation Interval {other}"))),
    };
    let log_format = params.get("LogFormat").unwrap_or(format::DEFAULT);
    format::check(log_format)?;
    let destination = Destination::parse(call, params)?;
    Ok(FlowLog {
        id: String::new(),
        resource_id: String::new(),
        traffic_type: traffic_type.to_owned(),
        log_destination_type: destination.kind,
        log_group_name: destination.log_group_name,
        log_destination: Some(destination.arn),
        deliver_logs_permission_arn: destination.role_arn,
        max_aggregation_interval,
        log_format: log_format.to_owned(),
        tags: tags::of_specification(params, "vpc-flow-log")?,
        created_ms: world.now_ms(),
        deliver_logs_status: None,
    })
}

struct Destination {
    kind: String,
    log_group_name: Option<String>,
    arn: String,
    role_arn: Option<String>,
}

impl Destination {
    /// EC2 model, CreateFlowLogs: LogGroupName or LogDestination and not both, LogGroupName and
    /// DeliverLogsPermissionArn for CloudWatch Logs only, the latter required there.
    fn parse(call: &Call, params: &Params) -> Result<Self, ApiError> {
        let kind = params.get("LogDestinationType").unwrap_or("cloud-watch-logs").to_owned();
        let (group, arn) = (params.get("LogGroupName"), params.get("LogDestination"));
        let role_arn = params.get("DeliverLogsPermissionArn").map(str::to_owned);
        if group.is_some() && arn.is_some() {
            return Err(combination("Please only provide LogGroupName or only provide LogDestination."));
        }
        match kind.as_str() {
            "cloud-watch-logs" => {
                if role_arn.is_none() {
                    let message = "DeliverLogsPermissionArn can't be empty if LogDestinationType is cloud-watch-logs.";
                    return Err(ApiError::new(400, "InvalidParameter", message));
                }
                let prefix = format!("arn:aws:logs:{}:{}:log-group:", call.region, call.caller.account);
                let name = match (group, arn) {
                    (Some(name), _) => name,
                    // An ARN that ends in `:*` has to be trimmed by the caller; that AWS refuses it is UNVERIFIED.
                    (None, Some(arn)) => arn
                        .strip_prefix(prefix.as_str())
                        .ok_or_else(|| invalid_value(format!("LogDestination: {arn} is not a log group of yours.")))?,
                    (None, None) => return Err(missing("LogGroupName")),
                };
                check_group_name(name)?;
                Ok(Self { kind, log_group_name: Some(name.to_owned()), arn: format!("{prefix}{name}"), role_arn })
            }
            "s3" | "kinesis-data-firehose" => {
                if group.is_some() || role_arn.is_some() {
                    let parameter = "LogGroupName and DeliverLogsPermissionArn";
                    return Err(combination(&format!("{parameter} are not applicable for {kind} delivery.")));
                }
                let arn = arn.ok_or_else(|| missing("LogDestination"))?.to_owned();
                Ok(Self { kind, log_group_name: None, arn, role_arn })
            }
            other => Err(invalid_value(format!("Value ({other}) for parameter LogDestinationType is invalid."))),
        }
    }
}

/// CloudWatch Logs model, LogGroupName: 1 to 512 of `[.\-_/#A-Za-z0-9]`.
fn check_group_name(name: &str) -> Result<(), ApiError> {
    let good = |c: char| c.is_ascii_alphanumeric() || ".-_/#".contains(c);
    if (1..=512).contains(&name.len()) && name.chars().all(good) {
        return Ok(());
    }
    Err(invalid_value(format!("LogGroupName {name} is invalid.")))
}

/// EC2 developer guide, "Error codes": InvalidParameterCombination.
fn combination(message: &str) -> ApiError {
    ApiError::new(400, "InvalidParameterCombination", message)
}

/// VPC user guide, "IAM role for publishing flow logs to CloudWatch Logs": the role has to be one that the flow logs
/// service can assume; the message is that of field reports. A role of another account cannot be passed (IAM user
/// guide, "Grant a user permissions to pass a role to an AWS service").
fn check_role(world: &World, call: &Call, role_arn: Option<&str>) -> Result<(), ApiError> {
    let Some(role_arn) = role_arn else { return Ok(()) };
    let account = call.caller.account.as_str();
    let Some((owner, _)) = split_role_arn(role_arn) else {
        return Err(invalid_value(format!("Invalid IAM role ARN: {role_arn}")));
    };
    if owner != account {
        let message = "You are not authorized to perform this operation. Cross-account pass role is not allowed.";
        return Err(ApiError::new(403, "UnauthorizedOperation", message));
    }
    let source_arn = format!("arn:aws:ec2:{}:{account}:vpc-flow-log/fl-00000000000000000", call.region);
    let context = [("aws:SourceAccount", account), ("aws:SourceArn", source_arn.as_str())];
    let request = TrustRequest {
        action: "sts:AssumeRole",
        principal: PrincipalKind::Service("vpc-flow-logs.amazonaws.com"),
        context: context.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    };
    let role = world.iam.role_by_arn(role_arn);
    if role.is_some_and(|role| world.role_propagated(role) && trust_allows(&role.trust, &request)) {
        return Ok(());
    }
    Err(ApiError::new(400, "InvalidParameter", "Unable to assume given IAM role"))
}

/// Adds the flow log, or returns why its resource is `Unsuccessful`.
fn add(world: &mut World, call: &Call, flow_log: FlowLog) -> Result<(), ApiError> {
    let (account, region) = (call.caller.account.as_str(), call.region.as_str());
    let vpc_id = flow_log.resource_id.as_str();
    if world.ec2.vpc(account, region, vpc_id).is_none() {
        if world.ec2.shared_vpcs(account, region).any(|vpc| vpc.id == vpc_id) {
            // VPC user guide, "Share your VPC": participants cannot create flow logs for a shared VPC. Code and
            // message are UNVERIFIED.
            let message = format!("You are not authorized to create flow logs for {vpc_id}: it is shared with you.");
            return Err(ApiError::new(403, "UnauthorizedOperation", message));
        }
        return Err(no_such_vpc(vpc_id));
    }
    let rule = world.settings.twin_rule;
    let claimed = flow_log_exists(world, call);
    let state = world.ec2.region_mut(account, region);
    if claimed || state.flow_logs_of(vpc_id).any(|existing| are_twins(rule, existing, &flow_log)) {
        // The code and message of the resource provider of AWS::EC2::FlowLog.
        let message = "There is an existing Flow Log with the same configuration and log destination.";
        return Err(ApiError::new(400, "FlowLogAlreadyExists", message));
    }
    check_count(state, vpc_id)?;
    state.add_flow_log(flow_log);
    Ok(())
}

fn check_count(state: &RegionState, vpc_id: &str) -> Result<(), ApiError> {
    if state.flow_logs_of(vpc_id).count() < MAX_PER_RESOURCE {
        return Ok(());
    }
    let message = format!("Maximum number of flow logs reached for {vpc_id}.");
    Err(ApiError::new(400, "FlowLogsLimitExceeded", message))
}

fn are_twins(rule: TwinRule, one: &FlowLog, other: &FlowLog) -> bool {
    let same_destination =
        one.log_destination_type == other.log_destination_type && one.log_destination == other.log_destination;
    match rule {
        TwinRule::SameDestination => same_destination,
        TwinRule::SameConfiguration => {
            same_destination
                && one.traffic_type == other.traffic_type
                && one.max_aggregation_interval == other.max_aggregation_interval
                && one.log_format == other.log_format
                && one.deliver_logs_permission_arn == other.deliver_logs_permission_arn
        }
    }
}
