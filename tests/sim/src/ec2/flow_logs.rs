//! DescribeFlowLogs and DeleteFlowLogs.

use serde_json::{Value, json};

use super::describe::{Filter, Page, tag_set};
use super::{DeliverStatus, FlowLog, missing, no_such_flow_log};
use crate::call::{ApiError, Call};
use crate::time::iso8601_ms;
use crate::traffic;
use crate::wire::QueryAnswer;
use crate::wire::query::Params;
use crate::wire::xml::Element;
use crate::world::World;

pub(super) const DESCRIBE: &[&str] = &["FlowLogId.N", "Filter.N.Name", "Filter.N.Value.N", "MaxResults", "NextToken"];

/// EC2 model, DescribeFlowLogs: the filters.
const FILTERS: &[&str] =
    &["deliver-log-status", "log-destination-type", "flow-log-id", "log-group-name", "resource-id", "traffic-type"];

pub(super) fn describe(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let filters = Filter::parse(params, FILTERS)?;
    let page = Page::parse(params, 1)?;
    let ids = params.list("FlowLogId");
    let (account, region) = (call.caller.account.as_str(), call.region.as_str());
    if world.settings.constant_traffic {
        traffic::deliver_unasked(world, account, region);
    }
    let all: Vec<&FlowLog> = world.ec2.flow_logs(account, region).collect();
    if let Some(unknown) = ids.iter().find(|id| all.binary_search_by(|log| log.id.as_str().cmp(id)).is_err()) {
        return Err(no_such_flow_log(unknown));
    }
    let wanted = all.into_iter().filter(|log| ids.is_empty() || ids.contains(&log.id.as_str()));
    let passing = wanted.filter(|log| filters.iter().all(|filter| passes(filter, log))).collect();
    let (page, token) = page.cut(passing, |log| &log.id);
    let set = Element::set("flowLogSet", page.into_iter().map(members));
    Ok((std::iter::once(set).chain(token).collect(), Value::Null))
}

fn passes(filter: &Filter<'_>, log: &FlowLog) -> bool {
    filter.passes(&log.tags, |name| match name {
        "deliver-log-status" => log.deliver_logs_status.as_ref().map(|status| status_name(status).to_owned()),
        "log-destination-type" => Some(log.log_destination_type.clone()),
        "flow-log-id" => Some(log.id.clone()),
        "log-group-name" => log.log_group_name.clone(),
        "resource-id" => Some(log.resource_id.clone()),
        "traffic-type" => Some(log.traffic_type.clone()),
        _ => None,
    })
}

fn status_name(status: &DeliverStatus) -> &'static str {
    match status {
        DeliverStatus::Success => "SUCCESS",
        DeliverStatus::Failed(_) => "FAILED",
    }
}

/// EC2 model, FlowLog: the status is `ACTIVE` even when nothing is delivered. The state of delivery is another member,
/// absent before the first delivery.
fn members(log: &FlowLog) -> Vec<Element> {
    let mut members = vec![
        Element::text("creationTime", iso8601_ms(log.created_ms)),
        Element::text("flowLogId", log.id.as_str()),
        Element::text("flowLogStatus", "ACTIVE"),
        Element::text("resourceId", log.resource_id.as_str()),
        Element::text("trafficType", log.traffic_type.as_str()),
        Element::text("logDestinationType", log.log_destination_type.as_str()),
        Element::text("logFormat", log.log_format.as_str()),
        Element::text("maxAggregationInterval", log.max_aggregation_interval.to_string()),
    ];
    let optional = [
        ("logGroupName", &log.log_group_name),
        ("logDestination", &log.log_destination),
        ("deliverLogsPermissionArn", &log.deliver_logs_permission_arn),
    ];
    members.extend(optional.into_iter().filter_map(|(name, value)| Some(Element::text(name, value.as_deref()?))));
    if let Some(status) = &log.deliver_logs_status {
        members.push(Element::text("deliverLogsStatus", status_name(status)));
        if let DeliverStatus::Failed(message) = status {
            members.push(Element::text("deliverLogsErrorMessage", message.as_str()));
        }
    }
    if !log.tags.is_empty() {
        members.push(tag_set(&log.tags));
    }
    members
}

/// EC2 model, DeleteFlowLogs: HTTP 200 with every failure in `Unsuccessful`.
pub(super) fn delete(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let ids = params.list("FlowLogId");
    if ids.is_empty() {
        return Err(missing("FlowLogId"));
    }
    if ids.len() > 1000 {
        // EC2 model, DeleteFlowLogs: at most 1,000 ids.
        return Err(ApiError::new(400, "InvalidParameterValue", "At most 1000 flow log IDs can be given."));
    }
    let (now_ms, delay_ms) = (world.now_ms(), world.settings.stopping_delay_ms);
    let state = world.ec2.region_mut(&call.caller.account, &call.region);
    state.stopping.retain(|(_, until_ms)| now_ms < *until_ms);
    let mut unsuccessful: Vec<Value> = Vec::new();
    for id in ids {
        match state.remove_flow_log(id) {
            Some(removed) if delay_ms > 0 => state.stopping.push((removed, now_ms + delay_ms)),
            Some(_) => {}
            None => unsuccessful.push(failure(id, &no_such_flow_log(id))),
        }
    }
    Ok((vec![unsuccessful_set(&unsuccessful)], json!({ "unsuccessful": unsuccessful })))
}

/// A failed id as facts.
pub(super) fn failure(resource_id: &str, refusal: &ApiError) -> Value {
    json!({ "resourceId": resource_id, "error": { "code": refusal.code, "message": refusal.message } })
}

/// The `unsuccessful` set, built from the facts.
pub(super) fn unsuccessful_set(failures: &[Value]) -> Element {
    let text = |name: &str, value: &Value| Element::text(name, value.as_str().unwrap_or_default());
    let item = |failure: &Value| {
        let error = &failure["error"];
        let error = vec![text("code", &error["code"]), text("message", &error["message"])];
        vec![text("resourceId", &failure["resourceId"]), Element::of("error", error)]
    };
    Element::set("unsuccessful", failures.iter().map(item))
}
