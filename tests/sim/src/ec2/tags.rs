//! Tags of VPCs and flow logs.

use std::collections::BTreeMap;

use serde_json::json;

use super::{done, invalid_value, missing, no_such_flow_log, no_such_vpc};
use crate::call::{ApiError, Call};
use crate::wire::QueryAnswer;
use crate::wire::query::Params;
use crate::world::World;

pub(super) const KNOWN: &[&str] = &["ResourceId.N", "Tag.N.Key", "Tag.N.Value"];

/// Tags in the one `TagSpecification` of a create operation, which has to be for the kind of resource created.
pub(super) fn of_specification(params: &Params, resource_type: &str) -> Result<BTreeMap<String, String>, ApiError> {
    let mut tags = BTreeMap::new();
    for start in params.structures("TagSpecification") {
        let given = params.get(&format!("{start}.ResourceType")).unwrap_or_default();
        if given != resource_type {
            // EC2 model: the resource type of a tag specification has to be the one created.
            let message = format!("'{given}' is not a valid taggable resource type for this operation.");
            return Err(invalid_value(message));
        }
        tags.extend(read(params, &format!("{start}.Tag"))?);
    }
    check(&tags)?;
    Ok(tags)
}

/// Tags of a request, each key once (EC2 user guide, same page; the text is UNVERIFIED).
fn read(params: &Params, prefix: &str) -> Result<BTreeMap<String, String>, ApiError> {
    let tags = params.tags(prefix);
    if tags.len() < params.structures(prefix).len() {
        return Err(invalid_value("Duplicate tag keys specified."));
    }
    Ok(tags)
}

/// EC2 user guide, "Tag your Amazon EC2 resources": 50 tags, keys of 1 to 128 and values of up to 256 characters, no
/// key with the reserved beginning `aws:`.
fn check(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() > 50 {
        return Err(ApiError::new(400, "TagLimitExceeded", "More than 50 tags specified"));
    }
    for (key, value) in tags {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid_value("Tag keys starting with 'aws:' are reserved for internal use"));
        }
        if !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256 {
            return Err(invalid_value(format!("Tag '{key}' is too long or empty.")));
        }
    }
    Ok(())
}

pub(super) fn create(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let added = read(params, "Tag")?;
    check(&added)?;
    let resources = resources(params)?;
    for id in &resources {
        let mut tags = tags_of(world, call, id)?.clone();
        tags.extend(added.clone());
        check(&tags)?;
    }
    for id in &resources {
        tags_of(world, call, id)?.extend(added.clone());
    }
    let (answer, _) = done();
    Ok((answer, json!({ "resourceIds": resources, "tags": added })))
}

pub(super) fn delete(world: &mut World, call: &Call, params: &Params) -> QueryAnswer {
    let resources = resources(params)?;
    for id in &resources {
        tags_of(world, call, id)?;
    }
    for id in &resources {
        let tags = tags_of(world, call, id)?;
        let structures = params.structures("Tag");
        if structures.is_empty() {
            // EC2 API reference, DeleteTags: without tags, all of the user's tags are deleted.
            tags.clear();
        }
        for start in structures {
            let key = params.get(&format!("{start}.Key")).unwrap_or_default();
            // EC2 API reference, DeleteTags: with a value, even an empty one, only a tag of that value is deleted.
            let value = params.get(&format!("{start}.Value"));
            if value.is_none() || tags.get(key).map(String::as_str) == value {
                tags.remove(key);
            }
        }
    }
    let (answer, _) = done();
    Ok((answer, json!({ "resourceIds": resources })))
}

fn resources(params: &Params) -> Result<Vec<&str>, ApiError> {
    let resources = params.list("ResourceId");
    if resources.is_empty() { Err(missing("resourceIdSet")) } else { Ok(resources) }
}

fn tags_of<'a>(world: &'a mut World, call: &Call, id: &str) -> Result<&'a mut BTreeMap<String, String>, ApiError> {
    let state = world.ec2.region_mut(&call.caller.account, &call.region);
    if id.starts_with("vpc-") {
        return state.vpcs.get_mut(id).map(|vpc| &mut vpc.tags).ok_or_else(|| no_such_vpc(id));
    }
    if id.starts_with("fl-") {
        return state.flow_logs.get_mut(id).map(|flow_log| &mut flow_log.tags).ok_or_else(|| no_such_flow_log(id));
    }
    // EC2 developer guide, "Error codes": InvalidID.
    Err(ApiError::new(400, "InvalidID", format!("The ID '{id}' is not valid")))
}
