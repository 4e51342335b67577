//! Permissions that CloudWatch Logs' operations need.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Need;
use crate::call::Call;
use crate::world::World;

pub(super) fn needs(world: &World, call: &Call, input: &Value) -> Option<Vec<Need>> {
    let text = |name: &str| input[name].as_str().unwrap_or_default();
    match call.operation.as_str() {
        // Neither has resource-level permissions. What AWS checks is seen in error messages: the groups' ARN without a
        // name (hashicorp/terraform-provider-aws issue 8804).
        "DescribeLogGroups" => Some(vec![Need::own(call, arn(call, "log-group::log-stream:"))]),
        // "To see data protection policies, you must have the logs:GetDataProtectionPolicy and
        // logs:DescribeAccountPolicies permissions" (DescribeAccountPolicies). On which resource is UNVERIFIED.
        "DescribeAccountPolicies" if text("policyType") == "DATA_PROTECTION_POLICY" => {
            Some(vec![Need::own(call, "*"), Need::new("logs:GetDataProtectionPolicy", "*")])
        }
        "DescribeDestinations" | "PutAccountPolicy" | "DescribeAccountPolicies" | "DeleteAccountPolicy" => {
            Some(vec![Need::own(call, "*")])
        }
        "GetDataProtectionPolicy" | "PutDataProtectionPolicy" | "DeleteDataProtectionPolicy" => {
            let identifier = text("logGroupIdentifier");
            Some(vec![on_group(world, call, identifier.split(":log-group:").last().unwrap_or(identifier))])
        }
        "CreateLogGroup" => Some(create_group(world, call, input)),
        "DeleteLogGroup"
        | "PutRetentionPolicy"
        | "DeleteRetentionPolicy"
        | "AssociateKmsKey"
        | "DisassociateKmsKey"
        | "DescribeSubscriptionFilters"
        | "DeleteSubscriptionFilter" => Some(vec![on_group(world, call, text("logGroupName"))]),
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            let tags = text_map(&input["tags"]);
            Some(vec![Need::own(call, text("resourceArn")).with_request_tags(&tags)])
        }
        "PutSubscriptionFilter" => {
            let mut needs = vec![on_group(world, call, text("logGroupName"))];
            // Of a destination as well as of the group (CloudWatch Logs user guide, "Create a subscription filter",
            // cross-account); streams and functions have policies of their own.
            let destination = text("destinationArn");
            needs.extend(destination.contains(":destination:").then(|| Need::own(call, destination)));
            needs.extend(pass_role(input));
            Some(needs)
        }
        "PutDestination" => {
            let mut needs = vec![on_destination(call, input)];
            needs.extend(pass_role(input));
            Some(needs)
        }
        "DeleteDestination" | "PutDestinationPolicy" => Some(vec![on_destination(call, input)]),
        _ => None,
    }
}

/// With tags the permission to tag as well (API reference, CreateLogGroup); a key needs none of the caller.
fn create_group(world: &World, call: &Call, input: &Value) -> Vec<Need> {
    let tags = text_map(&input["tags"]);
    let name = input["logGroupName"].as_str().unwrap_or_default();
    let mut needs = vec![Need::own(call, group_arn(world, call, name)).with_request_tags(&tags)];
    if !tags.is_empty() {
        let tagged = arn(call, &format!("log-group:{name}"));
        needs.push(Need::new("logs:TagResource", tagged).with_request_tags(&tags));
    }
    needs
}

fn on_group(world: &World, call: &Call, name: &str) -> Need {
    let group = world.logs.group(&call.caller.account, &call.region, name);
    Need::own(call, group_arn(world, call, name)).with_resource_tags(group.map(|group| &group.tags))
}

/// The ARN in error messages, which a policy has to cover with `log-group:NAME:*`. Actions on tags use the ARN without
/// the suffix. The user guide used to say so ("CloudWatch Logs resources and operations") and names the bare ARN alone
/// since 2026, hence the switch.
fn group_arn(world: &World, call: &Call, name: &str) -> String {
    let end = if world.settings.bare_log_group_arns { "" } else { ":log-stream:" };
    arn(call, &format!("log-group:{name}{end}"))
}

fn on_destination(call: &Call, input: &Value) -> Need {
    let name = input["destinationName"].as_str().unwrap_or_default();
    Need::own(call, arn(call, &format!("destination:{name}")))
}

fn pass_role(input: &Value) -> Option<Need> {
    input["roleArn"].as_str().map(|role_arn| Need::pass_role(role_arn, "logs.amazonaws.com"))
}

fn arn(call: &Call, resource: &str) -> String {
    format!("arn:aws:logs:{}:{}:{resource}", call.region, call.caller.account)
}

fn text_map(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
