//! Destinations and their access policies.

use serde_json::{Value, json};

use super::destination_policy::INVALID_PRINCIPAL;
use super::filters::service_principals;
use super::{Destination, DestinationPolicy, MAX_PAGE, check_free_name, invalid_parameter, not_found, page, paged};
use crate::call::{ApiError, Call};
use crate::json_input::Input;
use crate::service_role::{Source, allows, assumable, is_role_of};
use crate::world::World;

/// Text: hashicorp/terraform-provider-aws, internal/service/logs/destination.go.
const NO_TEST_MESSAGE: &str =
    "Could not deliver test message to specified destination. Check if the destination is valid.";

pub(super) fn put(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["destinationName", "targetArn", "roleArn", "tags"])?;
    let name = input.required_text("destinationName")?;
    check_free_name(name, "destinationName")?;
    let (target_arn, role_arn) = (input.required_text("targetArn")?, input.required_text("roleArn")?);
    let account = call.caller.account.as_str();
    let arn = format!("arn:aws:logs:{}:{account}:destination:{name}", call.region);
    if !is_role_of(role_arn, account) {
        return Err(ApiError::new(400, "AccessDeniedException", "Cross-account pass role is not allowed."));
    }
    // Tags in the same call make the test message fail; Terraform tags afterwards for that reason (same source file).
    let tagged = !input.text_map("tags")?.is_empty();
    if tagged || !delivers(world, account, &call.region, &arn, target_arn, role_arn) {
        return Err(invalid_parameter(NO_TEST_MESSAGE));
    }
    let now_ms = world.now_ms();
    let existing = world.logs.account_region_mut(account, &call.region).destinations.remove(name);
    let destination = match existing {
        Some(existing) => Destination { target_arn: target_arn.to_owned(), role_arn: role_arn.to_owned(), ..existing },
        // PutDestination makes it "without an access policy": nobody may subscribe yet.
        None => Destination {
            name: name.to_owned(),
            arn,
            target_arn: target_arn.to_owned(),
            role_arn: role_arn.to_owned(),
            access_policy: None,
            tags: std::collections::BTreeMap::new(),
            created_ms: now_ms,
            policy: None,
        },
    };
    let rendered = render(&destination);
    world.logs.account_region_mut(account, &call.region).destinations.insert(name.to_owned(), destination);
    Ok(json!({"destination": rendered}))
}

/// Whether the destination can deliver to its stream: the stream exists, in any Region, and the role can be
/// assumed by CloudWatch Logs and may write to it. Both the test message of PutDestination, which is sent on behalf of
/// the recipient, and every delivery need this (user guide, "Create a destination").
///
/// UNVERIFIED: whether `aws:SourceOrgID` is present for the recipient's own test message; it is here, if the account is
/// a member.
pub(crate) fn delivers(
    world: &World,
    sender: &str,
    region: &str,
    source_arn: &str,
    target_arn: &str,
    role_arn: &str,
) -> bool {
    let actions: &[&str] = match target_arn.split(':').nth(2) {
        Some("firehose") => &["firehose:PutRecord", "firehose:PutRecordBatch"],
        Some("kinesis") => &["kinesis:PutRecord"],
        Some(_) | None => return false,
    };
    let [global, regional] = service_principals(region);
    let source = Source { account: sender, arn: source_arn };
    world.logs.has_stream(target_arn)
        && assumable(world, role_arn, &[&global, &regional], &source)
            .is_some_and(|role| allows(world, role, actions, target_arn))
}

pub(super) fn put_policy(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["destinationName", "accessPolicy", "forceUpdate"])?;
    let name = input.required_text("destinationName")?;
    let document = input.required_text("accessPolicy")?;
    let force = input.flag("forceUpdate")?.unwrap_or(false);
    let parsed = DestinationPolicy::parse(document).map_err(invalid_parameter);
    let invalid = matches!(&parsed, Ok(policy) if policy.names_any(world.logs.invalid_principals()));
    let destination = world.logs.destination_mut(&call.caller.account, &call.region, name);
    // The operation models no ResourceNotFoundException; the text is UNVERIFIED.
    let destination = destination.ok_or_else(|| invalid_parameter("The specified destination does not exist."))?;
    let policy = parsed?;
    if invalid {
        return Err(invalid_parameter(INVALID_PRINCIPAL));
    }
    if let Some(previous) = destination.policy() {
        policy.check_replaces(previous, force).map_err(invalid_parameter)?;
    }
    destination.access_policy = Some(document.to_owned());
    destination.policy = Some(policy);
    Ok(json!({}))
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["DestinationNamePrefix", "limit", "nextToken"])?;
    let prefix = input.text("DestinationNamePrefix")?.unwrap_or_default();
    let limit = input.number("limit", 1, MAX_PAGE)?;
    let destinations = world.logs.destinations(&call.caller.account, &call.region);
    let named = destinations
        .filter(|destination| destination.name.starts_with(prefix))
        .map(|destination| (destination.name.as_str(), render(destination)));
    let (items, next) = page(named, input.text("nextToken")?, limit)?;
    Ok(paged("destinations", items, next))
}

fn render(destination: &Destination) -> Value {
    let mut rendered = json!({
        "destinationName": destination.name,
        "targetArn": destination.target_arn,
        "roleArn": destination.role_arn,
        "arn": destination.arn,
        "creationTime": destination.created_ms,
    });
    if let Some(policy) = &destination.access_policy {
        rendered["accessPolicy"] = json!(policy);
    }
    rendered
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["destinationName"])?;
    let name = input.required_text("destinationName")?;
    match world.logs.account_region_mut(&call.caller.account, &call.region).destinations.remove(name) {
        Some(_) => Ok(json!({})),
        None => Err(not_found("The specified destination does not exist.")),
    }
}
