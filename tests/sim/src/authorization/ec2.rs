//! Permissions that EC2's operations need.

use std::collections::BTreeMap;

use super::Need;
use crate::call::Call;
use crate::wire::query::Params;
use crate::world::World;

pub(super) fn needs(world: &World, call: &Call, params: &Params) -> Option<Vec<Need>> {
    match call.operation.as_str() {
        "DescribeVpcs" | "DescribeFlowLogs" | "DescribeRegions" => Some(vec![Need::own(call, "*")]),
        "CreateVpc" => Some(created(call, params, "vpc")),
        "CreateDefaultVpc" => Some(vec![Need::own(call, arn(call, "vpc", "*"))]),
        "DeleteVpc" => {
            let id = params.get("VpcId").unwrap_or_default();
            Some(vec![on_existing(world, call, id)])
        }
        "CreateTags" | "DeleteTags" => {
            let tags = params.tags("Tag");
            let on = |id: &str| on_existing(world, call, id).with_request_tags(&tags);
            Some(params.list("ResourceId").into_iter().map(on).collect())
        }
        "CreateFlowLogs" => Some(create_flow_logs(world, call, params)),
        "DeleteFlowLogs" => {
            // An id that EC2 does not know has no tags to compare: that it answers NotFound before it asks policies is
            // UNVERIFIED.
            let known = params.list("FlowLogId").into_iter().filter(|id| tags_of(world, call, id).is_some());
            Some(known.map(|id| on_existing(world, call, id)).collect())
        }
        _ => None,
    }
}

/// The flow logs, every resource, the tags given with them, and the role handed to the flow logs service.
fn create_flow_logs(world: &World, call: &Call, params: &Params) -> Vec<Need> {
    let mut needs = created(call, params, "vpc-flow-log");
    needs.extend(params.list("ResourceId").into_iter().map(|id| on_existing(world, call, id)));
    if let Some(role_arn) = params.get("DeliverLogsPermissionArn") {
        needs.push(Need::pass_role(role_arn, "vpc-flow-logs.amazonaws.com"));
    }
    let format = params.get("LogFormat").unwrap_or_default();
    needs.extend(ecs_actions(format).into_iter().map(|action| Need::new(action, "*")));
    needs
}

/// What the fields about ECS need of the caller (VPC user guide, "Flow log records", the fields of version 7).
fn ecs_actions(format: &str) -> Vec<&'static str> {
    let has = |part: &str| format.contains(&format!("${{ecs-{part}"));
    let all = [
        ("ecs:ListClusters", has("")),
        ("ecs:ListContainerInstances", has("container-instance-")),
        ("ecs:ListServices", has("service-name")),
        ("ecs:ListTaskDefinitions", has("task-definition-arn")),
        ("ecs:ListTasks", has("task-arn") || has("task-id")),
    ];
    all.into_iter().filter(|(_, needed)| *needed).map(|(action, _)| action).collect()
}

/// Creation of a resource that has no id yet. Tags need a permission of their own (EC2 user guide, "Grant permission to
/// tag Amazon EC2 resources during creation").
fn created(call: &Call, params: &Params, kind: &str) -> Vec<Need> {
    let structures = params.structures("TagSpecification");
    let tags: BTreeMap<String, String> =
        structures.iter().flat_map(|start| params.tags(&format!("{start}.Tag"))).collect();
    let new = arn(call, kind, "*");
    let mut needs = vec![Need::own(call, new.as_str()).with_request_tags(&tags)];
    if !tags.is_empty() {
        let tagging = Need::new("ec2:CreateTags", new).with("ec2:CreateAction", &call.operation);
        needs.push(tagging.with_request_tags(&tags));
    }
    needs
}

fn on_existing(world: &World, call: &Call, id: &str) -> Need {
    let kind = if id.starts_with("fl-") { "vpc-flow-log" } else { "vpc" };
    Need::own(call, arn(call, kind, id)).with_resource_tags(tags_of(world, call, id))
}

fn tags_of<'a>(world: &'a World, call: &Call, id: &str) -> Option<&'a BTreeMap<String, String>> {
    world.ec2.tags_of(&call.caller.account, &call.region, id)
}

fn arn(call: &Call, kind: &str, id: &str) -> String {
    format!("arn:aws:ec2:{}:{}:{kind}/{id}", call.region, call.caller.account)
}
