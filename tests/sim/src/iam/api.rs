//! IAM's operations (IAM API reference and model).

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::Role;
use crate::call::{ApiError, Call};
use crate::policy_language::{DocumentKind, problem_of};
use crate::time::iso8601;
use crate::wire::QueryAnswer;
use crate::wire::query::Params;
use crate::wire::xml::Element;
use crate::world::World;

/// IAM answers policy documents percent-encoded after RFC 3986.
const DOCUMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(crate) fn handle(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let known: &[&str] = match call.operation.as_str() {
        "GetRole" | "DeleteRole" => &["RoleName"],
        "CreateRole" => &[
            "RoleName",
            "Path",
            "AssumeRolePolicyDocument",
            "Description",
            "MaxSessionDuration",
            "Tags.member.N.Key",
            "Tags.member.N.Value",
        ],
        "PutRolePolicy" => &["RoleName", "PolicyName", "PolicyDocument"],
        "GetRolePolicy" | "DeleteRolePolicy" => &["RoleName", "PolicyName"],
        "UpdateAssumeRolePolicy" => &["RoleName", "PolicyDocument"],
        "TagRole" => &["RoleName", "Tags.member.N.Key", "Tags.member.N.Value"],
        "ListRolePolicies" => &["RoleName", "Marker", "MaxItems"],
        unknown => return Err(ApiError::unknown_operation(unknown)),
    };
    params.only(&call.operation, known)?;
    let account = call.caller.account.as_str();
    let name = role_name(params)?;
    if call.operation == "CreateRole" {
        return create_role(world, account, name, params);
    }
    let now_ms = world.now_ms();
    let role = world.iam.role_mut(account, name).ok_or_else(|| no_such_role(name))?;
    match call.operation.as_str() {
        "GetRole" => Ok((vec![role_element(role)], Value::Null)),
        "PutRolePolicy" => put_role_policy(role, params, now_ms),
        "GetRolePolicy" => get_role_policy(role, params),
        "DeleteRolePolicy" => delete_role_policy(role, params, now_ms),
        "UpdateAssumeRolePolicy" => update_trust(role, params),
        "TagRole" => tag_role(role, params),
        "ListRolePolicies" => list_role_policies(role, params),
        "DeleteRole" => {
            if !role.policies.is_empty() {
                // Model: DeleteConflict.
                let message = "Cannot delete entity, must delete policies first.";
                return Err(ApiError::new(409, "DeleteConflict", message));
            }
            world.iam.remove_role(account, name);
            Ok((Vec::new(), json!({ "roleName": name, "time": now_ms })))
        }
        unknown => Err(ApiError::unknown_operation(unknown)),
    }
}

/// Model: roleNameType, `[\w+=,.@-]+` of 1 to 64.
fn role_name(params: &Params) -> Result<&str, ApiError> {
    name_of(params, "RoleName", "roleName", 64)
}

fn name_of<'a>(params: &'a Params, parameter: &str, shown: &str, longest: usize) -> Result<&'a str, ApiError> {
    let name = params.get(parameter).unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if (1..=longest).contains(&name.len()) && name.chars().all(good) {
        return Ok(name);
    }
    let message = format!(
        "1 validation error detected: Value at '{shown}' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: [\\w+=,.@-]+ and have length between 1 and {longest}"
    );
    Err(ApiError::new(400, "ValidationError", message))
}

fn create_role(world: &mut World, account: &str, name: &str, params: &Params) -> QueryAnswer {
    let trust = document(params, "AssumeRolePolicyDocument", DocumentKind::Trust)?;
    if world.iam.role(account, name).is_some() {
        // Model: EntityAlreadyExists.
        let message = format!("Role with name {name} already exists.");
        return Err(ApiError::new(409, "EntityAlreadyExists", message));
    }
    let path = params.get("Path").unwrap_or("/");
    if !path.starts_with('/') || !path.ends_with('/') || path.len() > 512 {
        return Err(ApiError::new(400, "ValidationError", "The specified value for path is invalid."));
    }
    let max_session_seconds = match params.get("MaxSessionDuration").map(str::parse) {
        None => 3600,
        Some(Ok(seconds @ 3600..=43_200)) => seconds,
        Some(_) => {
            // Model: roleMaxSessionDurationType, 3,600 to 43,200.
            let message = "MaxSessionDuration must be between 3600 and 43200 seconds.";
            return Err(ApiError::new(400, "ValidationError", message));
        }
    };
    let tags = new_tags(params)?;
    let mut role = world.new_role(account, path, name, trust);
    role.tags = tags;
    role.description = params.get("Description").map(str::to_owned);
    role.max_session_seconds = max_session_seconds;
    let answer = (vec![role_element(&role)], json!({ "roleName": name, "arn": role.arn }));
    world.iam.insert(account, role);
    Ok(answer)
}

fn put_role_policy(role: &mut Role, params: &Params, now_ms: u64) -> QueryAnswer {
    let policy_name = name_of(params, "PolicyName", "policyName", 128)?;
    let policy = document(params, "PolicyDocument", DocumentKind::Identity)?;
    let others = role.policies.iter().filter(|(name, _)| name.as_str() != policy_name);
    let size = others.map(|(_, other)| other.to_string().len()).sum::<usize>() + policy.to_string().len();
    if size > 10_240 {
        // IAM user guide, "IAM and AWS STS quotas": role inline policies together 10,240 characters.
        let message = format!("Maximum policy size of 10240 bytes exceeded for role {}", role.name);
        return Err(ApiError::new(409, "LimitExceeded", message));
    }
    let mut policies = role.policies.clone();
    policies.insert(policy_name.to_owned(), policy);
    role.change_policies(policies, now_ms);
    Ok((Vec::new(), json!({ "roleName": role.name, "policyName": policy_name })))
}

fn get_role_policy(role: &Role, params: &Params) -> QueryAnswer {
    let policy_name = name_of(params, "PolicyName", "policyName", 128)?;
    let policy = role.policies.get(policy_name).ok_or_else(|| no_such_policy(policy_name))?;
    let members = vec![
        Element::text("RoleName", role.name.as_str()),
        Element::text("PolicyName", policy_name),
        Element::text("PolicyDocument", encode(policy)),
    ];
    Ok((members, Value::Null))
}

fn delete_role_policy(role: &mut Role, params: &Params, now_ms: u64) -> QueryAnswer {
    let policy_name = name_of(params, "PolicyName", "policyName", 128)?;
    let mut policies = role.policies.clone();
    policies.remove(policy_name).ok_or_else(|| no_such_policy(policy_name))?;
    role.change_policies(policies, now_ms);
    Ok((Vec::new(), json!({ "roleName": role.name, "policyName": policy_name })))
}

fn update_trust(role: &mut Role, params: &Params) -> QueryAnswer {
    role.trust = document(params, "PolicyDocument", DocumentKind::Trust)?;
    Ok((Vec::new(), json!({ "roleName": role.name })))
}

/// Tags of a request. Keys of IAM differ in more than case (text: terraform-aws-modules/terraform-aws-rds-aurora issue
/// 189). That keys beginning with `aws:` are refused is documented (IAM user guide, "Tags for IAM resources"); with which
/// code is UNVERIFIED.
fn new_tags(params: &Params) -> Result<BTreeMap<String, String>, ApiError> {
    let tags = params.tags("Tags.member");
    let folded: BTreeSet<String> = tags.keys().map(|key| key.to_ascii_lowercase()).collect();
    if folded.len() < params.structures("Tags.member").len() {
        let message = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
        return Err(ApiError::new(400, "InvalidInput", message));
    }
    if folded.iter().any(|key| key.starts_with("aws:")) {
        return Err(ApiError::new(400, "InvalidInput", "Tag keys beginning with aws: are reserved."));
    }
    Ok(tags)
}

fn tag_role(role: &mut Role, params: &Params) -> QueryAnswer {
    let added = new_tags(params)?;
    let mut tags = role.tags.clone();
    // A key replaces the same key in another case (aws/aws-cdk issue 26253).
    tags.retain(|key, _| !added.keys().any(|new| new.eq_ignore_ascii_case(key)));
    tags.extend(added);
    if tags.len() > 50 {
        // IAM user guide, "IAM and AWS STS quotas": 50 tags.
        return Err(ApiError::new(409, "LimitExceeded", "The number of tags has reached the maximum limit."));
    }
    role.tags = tags;
    Ok((Vec::new(), json!({ "roleName": role.name })))
}

fn list_role_policies(role: &Role, params: &Params) -> QueryAnswer {
    let most = match params.get("MaxItems").map(str::parse) {
        None => 100,
        Some(Ok(most @ 1..=1000)) => most,
        // Model: maxItemsType, 1 to 1,000.
        Some(_) => return Err(ApiError::new(400, "ValidationError", "MaxItems must be between 1 and 1000.")),
    };
    let marker = params.get("Marker").unwrap_or_default();
    let mut rest = role.policies.keys().filter(|name| name.as_str() > marker);
    let page: Vec<&String> = rest.by_ref().take(most).collect();
    let truncated = rest.next().is_some();
    let names = page.iter().map(|name| Element::text("member", name.as_str())).collect();
    let mut members = vec![Element::of("PolicyNames", names), Element::text("IsTruncated", truncated.to_string())];
    if let (true, Some(last)) = (truncated, page.last()) {
        members.push(Element::text("Marker", last.as_str()));
    }
    Ok((members, Value::Null))
}

fn document(params: &Params, parameter: &str, kind: DocumentKind) -> Result<Value, ApiError> {
    // Model: MalformedPolicyDocument.
    let malformed = |message: String| ApiError::new(400, "MalformedPolicyDocument", message);
    let text = params.get(parameter).unwrap_or_default();
    let document: Value =
        serde_json::from_str(text).map_err(|_| malformed("This policy contains invalid Json".to_owned()))?;
    if let Some(problem) = problem_of(&document, kind) {
        return Err(malformed(problem));
    }
    if kind == DocumentKind::Trust && document.to_string().len() > 2048 {
        // IAM user guide, "IAM and AWS STS quotas": trust policy 2,048 characters, white space not counted.
        return Err(ApiError::new(409, "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048"));
    }
    Ok(document)
}

fn encode(document: &Value) -> String {
    utf8_percent_encode(&document.to_string(), DOCUMENT).to_string()
}

fn role_element(role: &Role) -> Element {
    let mut members = vec![
        Element::text("Path", role.path.as_str()),
        Element::text("RoleName", role.name.as_str()),
        Element::text("RoleId", role.id.as_str()),
        Element::text("Arn", role.arn.as_str()),
        Element::text("CreateDate", iso8601(role.created_ms)),
        Element::text("AssumeRolePolicyDocument", encode(&role.trust)),
        Element::text("MaxSessionDuration", role.max_session_seconds.to_string()),
    ];
    members.extend(role.description.as_deref().map(|text| Element::text("Description", text)));
    if !role.tags.is_empty() {
        let tag = |(key, value): (&String, &String)| {
            vec![Element::text("Key", key.as_str()), Element::text("Value", value.as_str())]
        };
        members.push(Element::members("Tags", role.tags.iter().map(tag)));
    }
    Element::of("Role", members)
}

/// Model: NoSuchEntity.
fn no_such_role(name: &str) -> ApiError {
    ApiError::new(404, "NoSuchEntity", format!("The role with name {name} cannot be found."))
}

/// Model: NoSuchEntity.
fn no_such_policy(name: &str) -> ApiError {
    ApiError::new(404, "NoSuchEntity", format!("The role policy with name {name} cannot be found."))
}
