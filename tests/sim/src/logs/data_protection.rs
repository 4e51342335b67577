//! Data protection policies of log groups (API reference, PutDataProtectionPolicy). Those of accounts are account-level
//! policies. What they mask is not simulated: they are checked, stored and shown.

use serde_json::{Value, json};

use super::groups::named_by;
use super::{DataProtection, invalid_parameter, not_found};
use crate::call::{ApiError, Call};
use crate::json_input::Input;
use crate::world::World;

/// Longest document in characters (PutDataProtectionPolicy).
const MAX_DOCUMENT: usize = 30_720;

pub(super) fn put(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["logGroupIdentifier", "policyDocument"])?;
    let document = input.required_text("policyDocument")?.to_owned();
    check(&document)?;
    let updated_ms = world.now_ms();
    let group = group(world, call, &input)?;
    group.data_protection = Some(DataProtection::Activated { document: document.clone(), updated_ms });
    Ok(json!({ "logGroupIdentifier": group.name, "policyDocument": document, "lastUpdatedTime": updated_ms }))
}

/// The answer for a group without a policy has no document: UNVERIFIED.
pub(super) fn get(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["logGroupIdentifier"])?;
    let group = group(world, call, &input)?;
    Ok(match &group.data_protection {
        Some(DataProtection::Activated { document, updated_ms }) => {
            json!({ "logGroupIdentifier": group.name, "policyDocument": document, "lastUpdatedTime": updated_ms })
        }
        Some(DataProtection::Deleted) | None => json!({ "logGroupIdentifier": group.name }),
    })
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["logGroupIdentifier"])?;
    let group = group(world, call, &input)?;
    match group.data_protection.replace(DataProtection::Deleted) {
        Some(_) => Ok(json!({})),
        None => {
            group.data_protection = None;
            Err(not_found("The specified data protection policy does not exist."))
        }
    }
}

/// The group by its name or ARN.
fn group<'a>(world: &'a mut World, call: &Call, input: &Input<'_>) -> Result<&'a mut super::LogGroup, ApiError> {
    let identifier = input.required_text("logGroupIdentifier")?;
    let name = identifier.split(":log-group:").last().unwrap_or(identifier).trim_end_matches(":*");
    named_by(world, call, name)
}

/// PutDataProtectionPolicy: one statement audits, one de-identifies with an empty `MaskConfig`, and both name the same
/// identifiers. The texts are UNVERIFIED.
pub(super) fn check(document: &str) -> Result<(), ApiError> {
    let invalid = || invalid_parameter("The data protection policy document is not valid.");
    if document.chars().count() > MAX_DOCUMENT {
        return Err(invalid());
    }
    let document: Value = serde_json::from_str(document).map_err(|_| invalid())?;
    let statements = document["Statement"].as_array().ok_or_else(invalid)?;
    let of = |operation: &str| statements.iter().find(|statement| !statement["Operation"][operation].is_null());
    let (audit, mask) = (of("Audit").ok_or_else(invalid)?, of("Deidentify").ok_or_else(invalid)?);
    let named = audit["DataIdentifier"].as_array().is_some_and(|identifiers| !identifiers.is_empty());
    let same = audit["DataIdentifier"] == mask["DataIdentifier"];
    let empty = mask["Operation"]["Deidentify"]["MaskConfig"] == json!({});
    let destination = audit["Operation"]["Audit"]["FindingsDestination"].is_object();
    if named && same && empty && destination { Ok(()) } else { Err(invalid()) }
}
