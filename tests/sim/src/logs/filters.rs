//! Subscription filters.

use serde_json::{Value, json};

use super::filter_pattern::problem_of;
use super::groups::named;
use super::{
    DestinationPolicy, LogGroupClass, LogsArn, MAX_FILTERS, MAX_PAGE, Sender, SubscriptionFilter, check_free_name,
    invalid_parameter, not_found, page, paged,
};
use crate::call::{ApiError, Call};
use crate::json_input::Input;
use crate::service_role::{Source, assumable, is_role_of};
use crate::world::World;

/// The action that a destination's policy has to allow.
pub(crate) const PUT_FILTER: &str = "logs:PutSubscriptionFilter";

/// Longest filter pattern in characters (PutSubscriptionFilter).
const MAX_PATTERN: usize = 1_024;

pub(super) fn put(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let known = [
        "logGroupName",
        "filterName",
        "filterPattern",
        "destinationArn",
        "roleArn",
        "distribution",
        "applyOnTransformedLogs",
        "fieldSelectionCriteria",
        "emitSystemFields",
    ];
    let input = Input::of(call, input, &known)?;
    let name = input.required_text("filterName")?;
    check_free_name(name, "filterName")?;
    let pattern = input.required_text("filterPattern")?;
    if pattern.chars().count() > MAX_PATTERN {
        return Err(invalid_parameter("Invalid filter pattern: longer than 1024 characters"));
    }
    if let Some(problem) = problem_of(pattern) {
        return Err(invalid_parameter(problem));
    }
    let distribution = input.text("distribution")?.unwrap_or("ByLogStream");
    if !matches!(distribution, "Random" | "ByLogStream") {
        return Err(invalid_parameter(format!("Invalid distribution: {distribution}")));
    }
    let (field_selection, system_fields, transformed) = form(&input)?;
    let destination_arn = input.required_text("destinationArn")?;
    let role_arn = input.text("roleArn")?;
    let group = named(world, call, &input)?;
    check_class(group.class)?;
    let group_arn = group.arn.clone();
    let (full, existing) = (group.filters.len() >= MAX_FILTERS, group.filters.get(name));
    if full && existing.is_none() {
        // CloudWatch Logs user guide, quotas; updating an existing name takes no slot.
        return Err(ApiError::new(400, "LimitExceededException", "Resource limit exceeded."));
    }
    let created_ms = existing.map(|filter| filter.created_ms);
    check_destination(world, call, destination_arn, role_arn)?;
    if let Some(role_arn) = role_arn {
        check_role(world, call, role_arn, &group_arn)?;
    }
    let filter = SubscriptionFilter {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        destination_arn: destination_arn.to_owned(),
        role_arn: role_arn.map(str::to_owned),
        created_ms: created_ms.unwrap_or(world.now_ms()),
        disabled_until_ms: 0,
        field_selection,
        transformed,
        system_fields,
        distribution: distribution.to_owned(),
    };
    named(world, call, &input)?.filters.insert(name.to_owned(), filter);
    Ok(json!({}))
}

/// What decides, besides the pattern, which events pass and in which form. A put without them clears them: that is
/// UNVERIFIED for an existing filter.
fn form(input: &Input<'_>) -> Result<(String, Vec<String>, bool), ApiError> {
    let selection = input.text("fieldSelectionCriteria")?.unwrap_or_default();
    // PutSubscriptionFilter: at most 2,000 characters, over system fields.
    if selection.chars().count() > 2_000 || !(selection.is_empty() || selection.contains('@')) {
        return Err(invalid_parameter("Invalid fieldSelectionCriteria"));
    }
    let fields = input.texts("emitSystemFields")?;
    // PutSubscriptionFilter, `emitSystemFields`: the valid values.
    if let Some(unknown) = fields.iter().find(|it| !["@aws.account", "@aws.region", "@source.log"].contains(*it)) {
        return Err(invalid_parameter(format!("Invalid system field: {unknown}")));
    }
    let fields = fields.into_iter().map(str::to_owned).collect();
    Ok((selection.to_owned(), fields, input.flag("applyOnTransformedLogs")?.unwrap_or(false)))
}

/// Whether a selection over system fields passes the events of an account and Region. Conditions are joined from left to
/// right, and one that is not understood passes nothing.
pub(crate) fn selects(criteria: &str, account: &str, region: &str) -> bool {
    let mut passes = true;
    for part in criteria.replace(" OR ", " AND |").split(" AND ").filter(|part| !part.trim().is_empty()) {
        let (part, is_or) = part.strip_prefix('|').map_or((part, false), |rest| (rest, true));
        let words: Vec<&str> = part.split_whitespace().collect();
        let value = match words.first() {
            Some(&"@aws.account") => account,
            Some(&"@aws.region") => region,
            _ => return false,
        };
        let listed = part.contains(&format!("\"{value}\"")) || words.last() == Some(&value);
        let holds = match words.get(1) {
            Some(&("=" | "IN")) => listed,
            Some(&("!=" | "NOT")) => !listed,
            _ => false,
        };
        passes = if is_or { passes || holds } else { passes && holds };
    }
    passes
}

/// Reading is refused as well as writing. Text: turbot/steampipe-plugin-aws issue 2758.
fn check_class(class: LogGroupClass) -> Result<(), ApiError> {
    match class {
        LogGroupClass::Standard => Ok(()),
        LogGroupClass::InfrequentAccess | LogGroupClass::Delivery | LogGroupClass::Essentials => {
            let message = "This operation is only supported on the Standard log class.";
            Err(ApiError::new(400, "ValidationException", message))
        }
    }
}

fn check_destination(world: &World, call: &Call, arn: &str, role_arn: Option<&str>) -> Result<(), ApiError> {
    let vendor = arn.split(':').nth(2).unwrap_or_default();
    match (vendor, role_arn) {
        ("logs", _) => check_logical_destination(world, call, arn, role_arn),
        // Texts: public issue trackers of infrastructure tools that create filters.
        ("firehose" | "kinesis", None) => {
            Err(invalid_parameter(format!("destinationArn for vendor {vendor} cannot be used without roleArn")))
        }
        ("lambda", Some(_)) => Err(invalid_parameter("destinationArn for vendor lambda cannot be used with roleArn")),
        ("firehose" | "kinesis", Some(_)) if !world.logs.has_stream(arn) => Err(invalid_parameter(
            "Could not deliver test message to specified stream. Check if the given stream is in ACTIVE state.",
        )),
        ("firehose" | "kinesis", Some(_)) | ("lambda", None) => Ok(()),
        _ => Err(invalid_parameter(format!("Invalid destinationArn: {arn}"))),
    }
}

fn check_logical_destination(world: &World, call: &Call, arn: &str, role_arn: Option<&str>) -> Result<(), ApiError> {
    // "Log groups and the destination must be in the same AWS Region" (user guide, "Cross-account cross-Region log data
    // sharing using Firehose"); text UNVERIFIED.
    if LogsArn::parse(arn).is_some_and(|arn| arn.region != call.region) {
        return Err(invalid_parameter("The destination must be in the same Region as the log group."));
    }
    let destination = world.logs.destination(arn);
    // UNVERIFIED: code and text for a destination that does not exist.
    let destination = destination.ok_or_else(|| not_found("The specified destination does not exist."))?;
    let account = call.caller.account.as_str();
    let policy = destination.policy().filter(|policy| admits(world, policy, account, arn));
    let Some(policy) = policy else {
        // Text: aws/aws-cli 4422. Without a policy nobody is admitted, not even the owner (same issue).
        let message =
            format!("User with accountId: {account} is not authorized to perform: {PUT_FILTER} on resource: {arn}");
        return Err(ApiError::new(400, "AccessDeniedException", message));
    };
    if policy.is_organization() && role_arn.is_none() {
        // Text: cloud-custodian/cloud-custodian PR 8246, aws/aws-cli 9474.
        return Err(invalid_parameter(
            "Role ARN is required when creating subscription filter against destination with Organization access policy",
        ));
    }
    Ok(())
}

/// Whether a destination's policy admits the account as it stands in the organization now.
pub(crate) fn admits(world: &World, policy: &DestinationPolicy, account: &str, arn: &str) -> bool {
    let member = world.organization.is_member(account);
    let sender = Sender {
        account,
        organization: member.then(|| world.organization.id()),
        path: world.organization.path_of(account).filter(|_| member),
    };
    policy.admits(&sender, PUT_FILTER, arn)
}

/// The principals under which CloudWatch Logs assumes roles in a Region (user guide, "Confused deputy prevention").
pub(crate) fn service_principals(region: &str) -> [String; 2] {
    ["logs.amazonaws.com".to_owned(), format!("logs.{region}.amazonaws.com")]
}

fn check_role(world: &World, call: &Call, role_arn: &str, group_arn: &str) -> Result<(), ApiError> {
    let account = &call.caller.account;
    if !is_role_of(role_arn, account) {
        return Err(ApiError::new(400, "AccessDeniedException", "Cross-account pass role is not allowed."));
    }
    let [global, regional] = service_principals(&call.region);
    let source_arn = format!("{group_arn}:*");
    let source = Source { account, arn: &source_arn };
    if assumable(world, role_arn, &[&global, &regional], &source).is_none() {
        // Code and text: hashicorp/terraform-provider-aws, internal/service/logs/subscription_filter.go.
        let message = "Make sure you have given CloudWatch Logs permission to assume the provided role.";
        return Err(ApiError::new(400, "ValidationException", message));
    }
    Ok(())
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["logGroupName", "filterNamePrefix", "limit", "nextToken"])?;
    let prefix = input.text("filterNamePrefix")?.unwrap_or_default();
    let limit = input.number("limit", 1, MAX_PAGE)?;
    let token = input.text("nextToken")?;
    let group = named(world, call, &input)?;
    check_class(group.class)?;
    let filters = group.filters.values().filter(|filter| filter.name.starts_with(prefix));
    let named = filters.map(|filter| (filter.name.as_str(), render(&group.name, filter)));
    let (items, next) = page(named, token, limit)?;
    Ok(paged("subscriptionFilters", items, next))
}

fn render(group: &str, filter: &SubscriptionFilter) -> Value {
    let mut rendered = json!({
        "filterName": filter.name,
        "logGroupName": group,
        "filterPattern": filter.pattern,
        "destinationArn": filter.destination_arn,
        "distribution": filter.distribution,
        "applyOnTransformedLogs": filter.transformed,
        "creationTime": filter.created_ms,
    });
    if !filter.field_selection.is_empty() {
        rendered["fieldSelectionCriteria"] = json!(filter.field_selection);
    }
    if !filter.system_fields.is_empty() {
        rendered["emitSystemFields"] = json!(filter.system_fields);
    }
    if let Some(role_arn) = &filter.role_arn {
        rendered["roleArn"] = json!(role_arn);
    }
    rendered
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["logGroupName", "filterName"])?;
    let name = input.required_text("filterName")?;
    let group = named(world, call, &input)?;
    match group.filters.remove(name) {
        Some(_) => Ok(json!({})),
        None => Err(not_found("The specified subscription filter does not exist.")),
    }
}
