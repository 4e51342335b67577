//! Permissions that IAM's operations need.

use super::Need;
use crate::call::Call;
use crate::wire::query::Params;
use crate::world::World;

pub(super) fn needs(world: &World, call: &Call, params: &Params) -> Option<Vec<Need>> {
    let account = &call.caller.account;
    let name = params.get("RoleName").unwrap_or_default();
    let existing = world.iam.role(account, name);
    let path = existing.map_or_else(|| params.get("Path").unwrap_or("/"), |role| role.path.as_str());
    let role_arn = format!("arn:aws:iam::{account}:role{path}{name}");
    let tags = params.tags("Tags.member");
    let own = Need::own(call, role_arn.as_str()).with_request_tags(&tags);
    match call.operation.as_str() {
        // IAM user guide, "Tag IAM roles": tags in CreateRole need the permission to tag as well.
        "CreateRole" if !tags.is_empty() => {
            Some(vec![own, Need::new("iam:TagRole", role_arn).with_request_tags(&tags)])
        }
        "CreateRole" => Some(vec![own]),
        "GetRole"
        | "DeleteRole"
        | "PutRolePolicy"
        | "GetRolePolicy"
        | "DeleteRolePolicy"
        | "UpdateAssumeRolePolicy"
        | "TagRole"
        | "ListRolePolicies" => Some(vec![own.with_resource_tags(existing.map(|role| &role.tags))]),
        _ => None,
    }
}
