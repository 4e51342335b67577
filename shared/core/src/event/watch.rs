//! What somebody else changes about the installation itself, as CloudTrail tells it: in the central account the
//! destinations, stream, bucket, key, queues, rules, roles and functions, and in a member account the roles, rules and
//! stack. What is changed about log groups, filters and flow logs is read in `logs`, `ec2` and `tags`.
//!
//! # Guarantees
//!
//! An event is about the central account only if EventBridge says that it comes from there. No member can send such an
//! event: EventBridge sets the account of an event, and keeps it when a rule forwards the event. What our functions do
//! is recognised by the whole identity, see [`Record::must_not_be_by`].
//!
//! # Assumptions
//!
//! The rules of `infra` select the central account's buckets, keys and the like by name, so they are not compared again
//! here. IAM's events appear in one Region of the partition only (IAM user guide, "Logging IAM and AWS STS API calls").

use serde_json::Value;

use super::envelope::Record;
use super::json::{cut, is_masked, text_at};
use super::{Enrolled, EventContext, Rejection, Trigger};
use crate::ids::AccountRegion;
use crate::message::EnrollmentRequest;

/// The roles of the functions in the central account, as `infra/central.yaml` names them.
pub const FUNCTION_ROLES: [&str; 3] =
    ["VpcFlowLogsEnrollerVpcEnroller", "VpcFlowLogsEnrollerAccountOnboarder", "VpcFlowLogsEnrollerBackfill"];

/// The roles that forward events to the central account, as the templates name them.
pub const FORWARDERS: [&str; 2] = ["VpcFlowLogsEnrollerForwarder", "VpcFlowLogsEnrollerAccountForwarder"];

/// How the names of the rules in member accounts begin.
pub const MEMBER_RULES: &str = "vpc-flow-logs-enroller-";

/// Something that the installation needs and somebody else changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeByOthers {
    /// Where it happened.
    pub at: AccountRegion,
    /// The call: `DeleteLogGroup`.
    pub call: String,
    /// What was changed, as far as the event shows it.
    pub resource: String,
    /// Who made the call: `userIdentity.arn`, as a rule.
    pub principal: String,
    /// Whether the event itself shows that it is about what is ours. The ids of flow logs do not. Then the change
    /// counts only if there was something to repair.
    pub certain: bool,
}

/// The services that only the installation's own resources matter of.
pub(super) fn concerns(source: &str) -> bool {
    matches!(source, "aws.iam" | "aws.events" | "aws.cloudformation") || is_central(source)
}

fn is_central(source: &str) -> bool {
    matches!(source, "aws.firehose" | "aws.s3" | "aws.kms" | "aws.sqs" | "aws.lambda")
}

pub(super) fn decode(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    record.must_be_call()?;
    match record.envelope.source {
        "aws.iam" => role(record, context),
        "aws.events" => rule(record, context),
        "aws.cloudformation" => stack(record, context),
        _ => center(record, context),
    }
}

/// A destination of the central account, or its access policy.
pub(super) fn destination(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    record.must_be_call()?;
    let at = record.envelope.at()?;
    let name = text_at(&record.request, &["destinationName"]).filter(|name| !is_masked(name));
    if at.account != context.central_account {
        return Err(not_central(record, &at));
    }
    let is_ours = |name: &str| name.parse().is_ok_and(|name| context.destinations.index_of(&name).is_some());
    if let Some(name) = name.as_ref().filter(|name| !is_ours(name)) {
        let name = cut(name, 512);
        return Err(Rejection::ignore_about(
            name.clone(),
            format!("{} is about the destination {name:?}, which is not the enroller's", record.short_name()),
        ));
    }
    record.must_not_be_by(&FUNCTION_ROLES, context.central_account)?;
    let resource = name.map_or_else(|| "a destination".to_owned(), |name| cut(&name, 512));
    let cause = format!("{} changed {resource} in {}", record.name, at.region);
    Ok(Trigger::sync(cause, Some(resource)))
}

/// A role. It is global, so what it is needed for is looked at in every Region.
fn role(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    let at = record.envelope.at()?;
    let name = text_at(&record.request, &["roleName"]).filter(|name| !is_masked(name));
    if name.as_ref().is_some_and(|name| !context.roles.contains(&**name)) {
        return center(record, context);
    }
    record.must_be_by_others(&context.member_role, at.account)?;
    let of = name.map_or_else(|| "a role that it does not show".to_owned(), |name| format!("the role {name}"));
    Ok(Trigger::Request(EnrollmentRequest {
        account: at.account,
        regions: context.regions.iter().cloned().collect(),
        destinations: std::collections::BTreeMap::new(),
        reason: format!("{} changed {of}", record.short_name()),
        run_id: None,
        requested_at_ms: record.envelope.occurred_at_ms(),
        waited_for: std::collections::BTreeSet::new(),
    }))
}

/// A rule that forwards a member account's events, or one of the central account.
fn rule(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    let AccountRegion { account, region } = record.envelope.at()?;
    let name = subject(&record.request);
    if !name.as_ref().is_some_and(|name| name.starts_with(MEMBER_RULES)) {
        return center(record, context);
    }
    record.must_be_by_others(&context.member_role, account)?;
    let resource = name.unwrap_or_default();
    let cause = format!("{} changed the rule {resource}", record.short_name());
    Ok(Trigger::Repair { account, region, resource, cause })
}

/// The member stack, or the StackSet that it comes from.
fn stack(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    let AccountRegion { account, region } = record.envelope.at()?;
    let name = record.short_name();
    let set = text_at(&record.request, &["stackSetName"]);
    if set.as_ref().is_some_and(|set| set.split(':').next() == Some(&*context.member_stack)) {
        let resource = format!("StackSet {}", context.member_stack);
        return Ok(Trigger::sync(format!("{name} changed the {resource}"), Some(resource)));
    }
    let stack = text_at(&record.request, &["stackName"]).map(|stack| cut(&stack, 512)).unwrap_or_default();
    // A stack's ARN, or its name. A StackSet names its stacks after itself.
    if name == "DeleteStack" && stack.contains(&*context.member_stack) {
        let cause = format!("{name} deletes the member stack {stack}");
        return Ok(Trigger::Repair { account, region, resource: stack, cause });
    }
    center(record, context)
}

/// Anything else of the central account: what is ours is compared and repaired, the rest is told.
fn center(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    let at = record.envelope.at()?;
    if at.account != context.central_account {
        return Err(not_central(record, &at));
    }
    record.must_not_be_by(&FUNCTION_ROLES, context.central_account)?;
    let service = record.envelope.source.strip_prefix("aws.").unwrap_or_default();
    let named = subject(&record.request).unwrap_or_else(|| "something that it does not show".to_owned());
    let resource = format!("{service} {named}");
    let cause = format!("{} changed {resource} in {}", record.short_name(), at.region);
    Ok(Trigger::sync(cause, Some(resource)))
}

fn not_central(record: &Record<'_>, at: &AccountRegion) -> Rejection {
    let (name, account) = (record.short_name(), at.account);
    Rejection::ignore(format!("{name} is from {account}, and nothing that it changes there is the installation's"))
}

/// What a call is about, under whichever name its service gives it.
fn subject(request: &Value) -> Option<String> {
    let names = [
        "roleName",
        "rule",
        "name",
        "eventBusName",
        "deliveryStreamName",
        "bucketName",
        "keyId",
        "queueUrl",
        "functionName",
        "uUID",
        "stackName",
        "stackSetName",
    ];
    let shown = names.into_iter().filter_map(|name| text_at(request, &[name]));
    shown.filter(|name| !name.is_empty() && !is_masked(name)).map(|name| cut(&name, 500)).next()
}

/// What somebody changed, if this trigger is about such a change.
pub(super) fn change(record: &Record<'_>, trigger: &Trigger) -> Option<ChangeByOthers> {
    let source = record.envelope.source;
    let (resource, certain) = match trigger {
        Trigger::Repair { resource, .. } => (resource.clone(), source != "aws.ec2" && !resource.is_empty()),
        // The tag of a flow log that may be ours. The tags of VPCs are decisions and not damage.
        Trigger::Enroll { what: Enrolled::Tagged(ids), .. } if ids.split(',').any(|id| id.starts_with("fl-")) => {
            (ids.clone(), false)
        }
        Trigger::Request(_) => (format!("role {}", subject(&record.request).unwrap_or_default()), true),
        Trigger::Sync { resource, .. } if source == "aws.logs" || concerns(source) => {
            (resource.clone().unwrap_or_default(), true)
        }
        Trigger::Enroll { .. }
        | Trigger::Grant { .. }
        | Trigger::Revoke { .. }
        | Trigger::Sync { .. }
        | Trigger::Backfill(_) => return None,
    };
    let at = record.envelope.at().ok()?;
    Some(ChangeByOthers { at, call: record.short_name(), resource, principal: record.principal(), certain })
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
