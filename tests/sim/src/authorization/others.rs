//! Permissions that the operations of STS, Organizations, SQS, EventBridge and CloudTrail need.

use serde_json::Value;

use super::Need;
use crate::call::Call;
use crate::wire::query::Params;
use crate::world::World;

pub(super) fn sts(call: &Call, params: &Params) -> Option<Vec<Need>> {
    match call.operation.as_str() {
        // STS API reference: no permissions are required.
        "GetCallerIdentity" => Some(Vec::new()),
        // A role of the same account that the trust policy names itself needs none of its own; that is not simulated.
        "AssumeRole" => {
            let need = Need::own(call, params.get("RoleArn").unwrap_or_default());
            Some(vec![match params.get("ExternalId") {
                Some(id) => need.with("sts:ExternalId", id),
                None => need,
            }])
        }
        _ => None,
    }
}

pub(super) fn organizations(world: &World, call: &Call, input: &Value) -> Option<Vec<Need>> {
    let resource = match call.operation.as_str() {
        "DescribeOrganization" | "ListAccounts" | "ListRoots" | "ListDelegatedAdministrators" => "*".to_owned(),
        "DescribeAccount" | "RemoveAccountFromOrganization" => unit_arn(world, &input["AccountId"]),
        "DescribeOrganizationalUnit" => unit_arn(world, &input["OrganizationalUnitId"]),
        "ListParents" => unit_arn(world, &input["ChildId"]),
        "ListOrganizationalUnitsForParent" | "ListAccountsForParent" | "ListChildren" => {
            unit_arn(world, &input["ParentId"])
        }
        _ => return None,
    };
    Some(vec![Need::own(call, resource)])
}

/// ARN of an account, an OU or a root, told apart by the form of the id.
fn unit_arn(world: &World, id: &Value) -> String {
    let id = id.as_str().unwrap_or_default();
    let kind = match id.split('-').next() {
        Some("ou") => "ou",
        Some("r") => "root",
        Some(_) | None => "account",
    };
    let (organization, management) = (world.organization.id(), world.organization.management());
    format!("arn:aws:organizations::{management}:{kind}/{organization}/{id}")
}

/// Batches need the permission of the single operation (SQS developer guide, "Amazon SQS API permissions").
pub(super) fn sqs(world: &World, call: &Call, input: &Value) -> Option<Vec<Need>> {
    let action = match call.operation.as_str() {
        "SendMessage" | "SendMessageBatch" => "sqs:SendMessage",
        "DeleteMessage" | "DeleteMessageBatch" => "sqs:DeleteMessage",
        "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => "sqs:ChangeMessageVisibility",
        "ReceiveMessage" => "sqs:ReceiveMessage",
        "GetQueueAttributes" => "sqs:GetQueueAttributes",
        "GetQueueUrl" => "sqs:GetQueueUrl",
        "CreateQueue" => "sqs:CreateQueue",
        _ => return None,
    };
    let by_url = input["QueueUrl"].as_str().and_then(|url| world.sqs.arn_of_url(url, &call.region));
    let resource = by_url.unwrap_or_else(|| {
        let owner = input["QueueOwnerAWSAccountId"].as_str().unwrap_or(&call.caller.account);
        format!("arn:aws:sqs:{}:{owner}:{}", call.region, input["QueueName"].as_str().unwrap_or_default())
    });
    Some(vec![Need::new(action, resource)])
}

pub(super) fn events(call: &Call, input: &Value) -> Option<Vec<Need>> {
    let prefix = format!("arn:aws:events:{}:{}", call.region, call.caller.account);
    let named = |name: &str| {
        let given = input[name].as_str().unwrap_or("default");
        given.rsplit_once("event-bus/").map_or(given, |(_, name)| name).to_owned()
    };
    let rule = |name: &str| {
        let rule = input[name].as_str().unwrap_or_default();
        match named("EventBusName").as_str() {
            "default" => format!("{prefix}:rule/{rule}"),
            bus => format!("{prefix}:rule/{bus}/{rule}"),
        }
    };
    let resource = match call.operation.as_str() {
        "ListRuleNamesByTarget" => "*".to_owned(),
        "DescribeEventBus" => format!("{prefix}:event-bus/{}", named("Name")),
        "DescribeRule" | "DeleteRule" | "DisableRule" => rule("Name"),
        "ListTargetsByRule" | "RemoveTargets" => rule("Rule"),
        _ => return None,
    };
    Some(vec![Need::own(call, resource)])
}

pub(super) fn cloudtrail(call: &Call, input: &Value) -> Option<Vec<Need>> {
    let resource = match call.operation.as_str() {
        "DescribeTrails" => "*".to_owned(),
        "GetTrailStatus" => {
            let name = input["Name"].as_str().unwrap_or_default();
            let own = || format!("arn:aws:cloudtrail:{}:{}:trail/{name}", call.region, call.caller.account);
            if name.starts_with("arn:") { name.to_owned() } else { own() }
        }
        _ => return None,
    };
    Some(vec![Need::own(call, resource)])
}
