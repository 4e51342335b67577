//! The permissions that a call needs, and whether the caller's role has them.
//!
//! Every operation has an entry here. One without an entry is denied to everyone, so that no call goes unchecked.
//! Source of actions and resources: service authorization reference, the pages of the services, as of November 2026.
//! The account's own long-term keys may do everything in it, like its root user; what a role may do is in its inline
//! policies. Policies of resources, permission boundaries and session policies are not simulated here.

mod ec2;
mod iam;
mod logs;
mod others;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::call::{ApiError, Call, Service};
use crate::policy_language::{self, Context, VALUE_SEPARATOR};
use crate::preflight::denied_by_policy;
use crate::rules;
use crate::sts;
use crate::wire::Input;
use crate::world::World;

/// One permission that a call needs.
#[derive(Debug, PartialEq, Eq)]
struct Need {
    action: String,
    resource: String,
    /// Condition keys beside those of principal, Region and the resource's account.
    keys: Vec<(String, String)>,
}

impl Need {
    fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), keys: Vec::new() }
    }

    /// The operation's own action on a resource.
    fn own(call: &Call, resource: impl Into<String>) -> Self {
        Self::new(format!("{}:{}", call.service, call.operation), resource)
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.keys.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Tags in the request. Several keys of tags stand in one text, because a condition key has one value here.
    fn with_request_tags(mut self, tags: &BTreeMap<String, String>) -> Self {
        let keys: Vec<&str> = tags.keys().map(String::as_str).collect();
        self.keys.extend((!keys.is_empty()).then(|| ("aws:TagKeys".to_owned(), keys.join(VALUE_SEPARATOR))));
        self.keys.extend(tags.iter().map(|(key, value)| (format!("aws:RequestTag/{key}"), value.clone())));
        self
    }

    /// Tags of the resource.
    fn with_resource_tags(mut self, tags: Option<&BTreeMap<String, String>>) -> Self {
        let tags = tags.into_iter().flatten();
        self.keys.extend(tags.map(|(key, value)| (format!("aws:ResourceTag/{key}"), value.clone())));
        self
    }

    /// Handing a role to a service (IAM user guide, "Grant a user permissions to pass a role to an AWS service").
    fn pass_role(role_arn: &str, service: &str) -> Self {
        Self::new("iam:PassRole", role_arn).with("iam:PassedToService", service)
    }
}

/// Refuses the call when the caller is a session of a role whose policies do not allow it.
pub(crate) fn check(world: &mut World, call: &Call, input: &Input) -> Result<(), ApiError> {
    let needs = needs(world, call, input).ok_or_else(|| ApiError::unknown_operation(&call.operation))?;
    for need in &needs {
        rules::denied(world, call, &need.action, &need.resource)?;
    }
    let world = &*world;
    bound_by_policies(world, call, &needs)?;
    let Some(session) = world.sts.session_of(&call.caller) else { return Ok(()) };
    let principal = sts::principal_context(world, call);
    for need in needs {
        let mut context = principal.clone();
        context.extend(resource_context(world, &need.resource));
        context.extend(need.keys);
        // A session belongs to the id of its role: it may nothing once the role is gone, even under a reused name.
        let role = world.iam.role_by_arn(&session.role_arn).filter(|role| session.is_of(role));
        if !role.is_some_and(|role| world.role_allows(role, &need.action, &need.resource, &context)) {
            return Err(refusal(call, &need.action, &need.resource));
        }
    }
    Ok(())
}

/// Refuses what a service control policy denies. Policies bind every principal of a member account, root included, and
/// none of the management account (Organizations user guide, "Service control policies").
fn bound_by_policies(world: &World, call: &Call, needs: &[Need]) -> Result<(), ApiError> {
    let account = &call.caller.account;
    if account == world.organization.management() || !world.organization.is_member(account) {
        return Ok(());
    }
    for need in needs {
        let mut context = sts::principal_context(world, call);
        context.extend(resource_context(world, &need.resource));
        context.extend(need.keys.iter().cloned());
        let denies = |policy| policy_language::denies(policy, &need.action, &need.resource, &context);
        if world.service_control_policies.iter().any(denies) {
            let (user, Need { action, resource, .. }) = (&call.caller.principal_arn, need);
            let message = format!(
                "User: {user} is not authorized to perform: {action} on resource: {resource} with an explicit deny in a \
                 service control policy"
            );
            return Err(denied_by_policy(call.service, &message));
        }
    }
    Ok(())
}

/// What the call needs; `None` for an operation that is not known.
fn needs(world: &World, call: &Call, input: &Input) -> Option<Vec<Need>> {
    match (call.service, input) {
        (Service::Ec2, Input::Form(params)) => ec2::needs(world, call, params),
        (Service::Iam, Input::Form(params)) => iam::needs(world, call, params),
        (Service::Sts, Input::Form(params)) => others::sts(call, params),
        (Service::Logs, Input::Json(input)) => logs::needs(world, call, input),
        (Service::Organizations, Input::Json(input)) => others::organizations(world, call, input),
        (Service::Sqs, Input::Json(input)) => others::sqs(world, call, input),
        (Service::Events, Input::Json(input)) => others::events(call, input),
        (Service::CloudTrail, Input::Json(input)) => others::cloudtrail(call, input),
        (Service::Ec2 | Service::Iam | Service::Sts, Input::Json(_))
        | (
            Service::Logs | Service::Organizations | Service::Sqs | Service::Events | Service::CloudTrail,
            Input::Form(_),
        ) => None,
    }
}

/// Condition keys about the owner of the resource (IAM user guide, "AWS global condition context keys").
fn resource_context(world: &World, resource: &str) -> Context {
    let mut context = Context::new();
    if let Some(account) = resource.split(':').nth(4).filter(|account| !account.is_empty()) {
        context.insert("aws:ResourceAccount".to_owned(), account.to_owned());
        if world.organization.is_member(account) {
            context.insert("aws:ResourceOrgID".to_owned(), world.organization.id().to_owned());
        }
    }
    context
}

/// The message of AWS (IAM user guide, "Troubleshoot access denied error messages").
fn refusal(call: &Call, action: &str, resource: &str) -> ApiError {
    let user = &call.caller.principal_arn;
    let message = format!(
        "User: {user} is not authorized to perform: {action} on resource: {resource} because no identity-based policy \
         allows the {action} action"
    );
    denied_by_policy(call.service, &message)
}
