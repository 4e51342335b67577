//! Input of the AWS JSON services, read strictly.

use serde_json::Value;

use crate::call::ApiError;

/// The input object; an empty body counts as an empty object.
pub(crate) fn parse(body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_slice(body) {
        Ok(input @ Value::Object(_)) => Ok(input),
        // AWS JSON protocol, "SerializationException".
        Ok(_) => Err(ApiError::new(400, "SerializationException", "Start of structure or map expected.")),
        Err(error) => Err(ApiError::new(400, "SerializationException", error.to_string())),
    }
}

/// Refuses members other than those named.
pub(crate) fn only(input: &Value, operation: &str, known: &[&str]) -> Result<(), ApiError> {
    let members = input.as_object().into_iter().flatten();
    match members.map(|(name, _)| name).find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(ApiError::unknown_parameter(name, operation)),
        None => Ok(()),
    }
}
