//! Tags of log groups and destinations.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::groups::check_tag_count;
use super::{LogsArn, invalid_parameter, not_found};
use crate::call::{ApiError, Call};
use crate::json_input::Input;
use crate::world::World;

pub(super) fn tag(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["resourceArn", "tags"])?;
    let added = input.text_map("tags")?;
    if added.is_empty() {
        return Err(invalid_parameter(
            "1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length greater \
             than or equal to 1",
        ));
    }
    check_reserved(&added)?;
    let tags = tags_of(world, call, &input)?;
    let mut merged = tags.clone();
    merged.extend(added);
    check_tag_count(merged.len())?;
    *tags = merged;
    Ok(json!({}))
}

pub(super) fn untag(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["resourceArn", "tagKeys"])?;
    let keys = input.texts("tagKeys")?;
    tags_of(world, call, &input)?.retain(|key, _| !keys.contains(&key.as_str()));
    Ok(json!({}))
}

pub(super) fn list(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["resourceArn"])?;
    Ok(json!({"tags": tags_of(world, call, &input)?}))
}

/// "Tags that begin with aws: are reserved" (TagResource); the text is UNVERIFIED.
pub(super) fn check_reserved(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    match tags.keys().find(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        Some(key) => Err(invalid_parameter(format!("The tag key {key} begins with aws:, which is reserved."))),
        None => Ok(()),
    }
}

/// TagResource: the ARN of a log group is the one without the trailing `:*`.
fn tags_of<'a>(
    world: &'a mut World,
    call: &Call,
    input: &Input<'_>,
) -> Result<&'a mut BTreeMap<String, String>, ApiError> {
    let text = input.required_text("resourceArn")?;
    let arn = LogsArn::parse(text).filter(|arn| !arn.resource.ends_with(":*"));
    let arn = arn.ok_or_else(|| invalid_parameter(format!("Invalid resourceArn: {text}")))?;
    let missing = || not_found("The specified resource does not exist.");
    if arn.account != call.caller.account || arn.region != call.region {
        return Err(missing());
    }
    match arn.resource.split_once(':') {
        Some(("log-group", name)) => {
            let group = world.logs.group_mut(arn.account, arn.region, name);
            group.map(|group| &mut group.tags).ok_or_else(missing)
        }
        Some(("destination", name)) => {
            let destination = world.logs.destination_mut(arn.account, arn.region, name);
            destination.map(|destination| &mut destination.tags).ok_or_else(missing)
        }
        Some(_) | None => Err(invalid_parameter(format!("Invalid resourceArn: {text}"))),
    }
}
