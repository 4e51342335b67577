//! The operations of EventBridge that read, and those that take rules away (API reference and model). Stacks create buses
//! and rules, and stacks are not simulated.

use serde_json::{Value, json};

use super::bus::{Bus, BusId, Rule, Target, delete_rule, set_rule_enabled};
use crate::call::{ApiError, Call};
use crate::json_input::Input;
use crate::world::World;

/// Entries of a page where no limit is given (model: LimitMax100; the default is not documented).
const PAGE: u64 = 100;

pub(crate) fn handle(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let known: &[&str] = match call.operation.as_str() {
        "DescribeEventBus" => &["Name"],
        "DescribeRule" | "DisableRule" => &["Name", "EventBusName"],
        "DeleteRule" => &["Name", "EventBusName", "Force"],
        "RemoveTargets" => &["Rule", "EventBusName", "Ids", "Force"],
        "ListRuleNamesByTarget" => &["TargetArn", "EventBusName", "NextToken", "Limit"],
        "ListTargetsByRule" => &["Rule", "EventBusName", "NextToken", "Limit"],
        other => return Err(ApiError::unknown_operation(other)),
    };
    let input = Input::of(call, input, known)?;
    match call.operation.as_str() {
        "DescribeEventBus" => describe_bus(world, call, &input),
        "DescribeRule" => describe_rule(world, call, &input),
        "ListRuleNamesByTarget" => list_rule_names(world, call, &input),
        "DeleteRule" => delete(world, call, &input),
        "DisableRule" => disable(world, call, &input),
        "RemoveTargets" => remove_targets(world, call, &input),
        _ => list_targets(world, call, &input),
    }
}

/// The bus whose name or ARN a parameter gives, and its contents. A default bus exists even if nobody has used it.
fn bus<'a>(world: &'a World, call: &Call, input: &Input<'_>, name: &str) -> Result<(BusId, Option<&'a Bus>), ApiError> {
    let name = input.text(name)?.unwrap_or("default");
    let id = BusId::from_arn(name).unwrap_or_else(|| BusId {
        account: call.caller.account.clone(),
        region: call.region.clone(),
        name: name.to_owned(),
    });
    let found = world.events.buses.get(&id);
    // Only the owner may read a bus. Bus policies that allow others to read are not simulated.
    let own = id.account == call.caller.account && id.region == call.region;
    if own && (found.is_some() || id.name == "default") {
        return Ok((id, found));
    }
    Err(not_found(format!("Event bus {} does not exist.", id.name)))
}

fn rule<'a>(world: &'a World, call: &Call, input: &Input<'_>, parameter: &str) -> Result<(BusId, &'a Rule), ApiError> {
    let (id, found) = bus(world, call, input, "EventBusName")?;
    let name = input.required_text(parameter)?;
    let rule = found.and_then(|bus| bus.rules.get(name));
    let rule = rule.ok_or_else(|| not_found(format!("Rule {name} does not exist on EventBus {}.", id.name)))?;
    Ok((id, rule))
}

/// Model: ResourceNotFoundException.
fn not_found(message: String) -> ApiError {
    ApiError::new(400, "ResourceNotFoundException", message)
}

fn describe_bus(world: &World, call: &Call, input: &Input<'_>) -> Result<Value, ApiError> {
    let (id, found) = bus(world, call, input, "Name")?;
    let mut answer = json!({ "Name": id.name, "Arn": id.to_string() });
    if let Some(policy) = found.and_then(|bus| bus.policy.as_ref()) {
        answer["Policy"] = json!(policy.to_string());
    }
    Ok(answer)
}

fn describe_rule(world: &World, call: &Call, input: &Input<'_>) -> Result<Value, ApiError> {
    let (id, rule) = rule(world, call, input, "Name")?;
    let name = &rule.settings.name;
    Ok(json!({
        "Name": name,
        "Arn": id.arn_of_rule(name),
        "EventBusName": id.name,
        "EventPattern": rule.settings.pattern.to_string(),
        "State": if rule.enabled { "ENABLED" } else { "DISABLED" },
        "CreatedBy": id.account,
    }))
}

/// A rule that does not exist is deleted without an error. One with targets is kept (API reference, DeleteRule).
fn delete(world: &mut World, call: &Call, input: &Input<'_>) -> Result<Value, ApiError> {
    let Ok((id, found)) = rule(world, call, input, "Name") else { return Ok(json!({})) };
    if !found.settings.targets.is_empty() {
        return Err(ApiError::new(400, "ValidationException", "Rule can't be deleted since it has targets."));
    }
    let name = found.settings.name.clone();
    delete_rule(world, &id, &name);
    Ok(json!({}))
}

fn disable(world: &mut World, call: &Call, input: &Input<'_>) -> Result<Value, ApiError> {
    let (id, found) = rule(world, call, input, "Name")?;
    let name = found.settings.name.clone();
    set_rule_enabled(world, &id, &name, false);
    Ok(json!({}))
}

fn remove_targets(world: &mut World, call: &Call, input: &Input<'_>) -> Result<Value, ApiError> {
    let (id, found) = rule(world, call, input, "Rule")?;
    let name = found.settings.name.clone();
    let gone = input.texts("Ids")?;
    if let Some(rule) = world.events.buses.get_mut(&id).and_then(|bus| bus.rules.get_mut(&name)) {
        let mut number = 0;
        rule.settings.targets.retain(|_| {
            number += 1;
            !gone.contains(&target_id(number - 1).as_str())
        });
    }
    Ok(json!({ "FailedEntryCount": 0, "FailedEntries": [] }))
}

fn target_id(number: usize) -> String {
    format!("target-{}", number + 1)
}

fn list_rule_names(world: &World, call: &Call, input: &Input<'_>) -> Result<Value, ApiError> {
    let (_, found) = bus(world, call, input, "EventBusName")?;
    let wanted = input.required_text("TargetArn")?;
    let rules = found.into_iter().flat_map(|bus| bus.rules.values());
    let towards = rules.filter(|rule| rule.settings.targets.iter().any(|target| arn(target) == wanted));
    page(input, "RuleNames", towards.map(|rule| json!(rule.settings.name)).collect())
}

fn list_targets(world: &World, call: &Call, input: &Input<'_>) -> Result<Value, ApiError> {
    let (_, rule) = rule(world, call, input, "Rule")?;
    let shown = rule.settings.targets.iter().enumerate().map(|(number, target)| show(number, target));
    page(input, "Targets", shown.collect())
}

fn arn(target: &Target) -> &str {
    match target {
        Target::Bus { arn, .. } | Target::Queue { arn, .. } => arn,
    }
}

fn show(number: usize, target: &Target) -> Value {
    let mut shown = json!({ "Id": target_id(number), "Arn": arn(target) });
    match target {
        Target::Bus { role_arn: Some(role), .. } => shown["RoleArn"] = json!(role),
        Target::Queue { message_group_id: Some(group), .. } => {
            shown["SqsParameters"] = json!({ "MessageGroupId": group });
        }
        Target::Bus { role_arn: None, .. } | Target::Queue { message_group_id: None, .. } => {}
    }
    shown
}

fn page(input: &Input<'_>, name: &str, all: Vec<Value>) -> Result<Value, ApiError> {
    let limit = usize::try_from(input.number("Limit", 1, PAGE)?.unwrap_or(PAGE)).unwrap_or(usize::MAX);
    let from: usize = match input.text("NextToken")?.map(str::parse) {
        None => 0,
        Some(Ok(from)) => from,
        Some(Err(_)) => return Err(ApiError::new(400, "ValidationException", "The token is not valid.")),
    };
    let shown: Vec<Value> = all.iter().skip(from).take(limit).cloned().collect();
    let mut answer = json!({ name: shown });
    if from.saturating_add(limit) < all.len() {
        answer["NextToken"] = json!((from + limit).to_string());
    }
    Ok(answer)
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
