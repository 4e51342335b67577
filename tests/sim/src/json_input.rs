//! Reading the input of a JSON operation, strictly: a member that is not simulated is refused by name.

use serde_json::{Map, Value};

use crate::call::{ApiError, Call, Service};

/// The input of one call, or a structure inside it.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    service: Service,
    fields: &'a Map<String, Value>,
}

impl<'a> Input<'a> {
    /// Takes the input of `call`, whose members must all be `known`; null counts as absent.
    pub(crate) fn of(call: &Call, input: &'a Value, known: &[&str]) -> Result<Self, ApiError> {
        Self::nested(call, input, "input", known)
    }

    /// Takes a structure inside the input.
    pub(crate) fn nested(call: &Call, value: &'a Value, name: &str, known: &[&str]) -> Result<Self, ApiError> {
        let fields = value.as_object().ok_or_else(|| invalid(call.service, name, "must be a structure"))?;
        match fields.iter().find(|(name, value)| !value.is_null() && !known.contains(&name.as_str())) {
            Some((name, _)) => Err(ApiError::unknown_parameter(name, &call.operation)),
            None => Ok(Self { service: call.service, fields }),
        }
    }

    /// A member of any type.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// A text, if given.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, ApiError> {
        self.typed(name, Value::as_str, "must be a string")
    }

    /// A text that must be given.
    pub(crate) fn required_text(&self, name: &str) -> Result<&'a str, ApiError> {
        self.text(name)?.ok_or_else(|| missing(self.service, name))
    }

    /// A whole number between `low` and `high`, if given.
    pub(crate) fn number(&self, name: &str, low: u64, high: u64) -> Result<Option<u64>, ApiError> {
        let number = self.typed(name, Value::as_u64, "must be a whole number")?;
        match number {
            Some(number) if !(low..=high).contains(&number) => {
                Err(invalid(self.service, name, &format!("must be between {low} and {high}")))
            }
            within => Ok(within),
        }
    }

    /// A boolean, if given.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.typed(name, Value::as_bool, "must be a boolean")
    }

    /// A list; empty if not given.
    pub(crate) fn list(&self, name: &str) -> Result<&'a [Value], ApiError> {
        Ok(self.typed(name, Value::as_array, "must be a list")?.map_or(&[], Vec::as_slice))
    }

    /// A list of texts; empty if not given.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<&'a str>, ApiError> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| invalid(self.service, name, "must hold strings"));
        self.list(name)?.iter().map(text).collect()
    }

    /// A map of texts; empty if not given.
    pub(crate) fn text_map(&self, name: &str) -> Result<std::collections::BTreeMap<String, String>, ApiError> {
        let Some(map) = self.typed(name, Value::as_object, "must be a map")? else { return Ok(Default::default()) };
        let pair = |(key, value): (&String, &Value)| match value.as_str() {
            Some(text) => Ok((key.clone(), text.to_owned())),
            None => Err(invalid(self.service, name, "must hold strings")),
        };
        map.iter().map(pair).collect()
    }

    fn typed<T>(&self, name: &str, read: impl Fn(&'a Value) -> Option<T>, rule: &str) -> Result<Option<T>, ApiError> {
        let read = |value| read(value).ok_or_else(|| invalid(self.service, name, rule));
        self.get(name).map(read).transpose()
    }
}

/// The error of a service for an invalid value: CloudWatch Logs `InvalidParameterException`, SQS
/// `InvalidParameterValue`, EventBridge `ValidationException` (their API references, "Common errors" and the
/// operations' own lists).
pub(crate) fn invalid(service: Service, name: &str, rule: &str) -> ApiError {
    match service {
        Service::Sqs => {
            let message = format!("Value for parameter {name} is invalid. Reason: {rule}.");
            ApiError::new(400, "InvalidParameterValue", message)
        }
        Service::Events => {
            let message =
                format!("1 validation error detected: Value at '{name}' failed to satisfy constraint: Member {rule}");
            ApiError::new(400, "ValidationException", message)
        }
        Service::Logs | Service::Organizations | Service::Ec2 | Service::Iam | Service::Sts | Service::CloudTrail => {
            ApiError::new(
                400,
                "InvalidParameterException",
                format!("1 validation error detected: Value at '{name}' failed to satisfy constraint: Member {rule}"),
            )
        }
    }
}

fn missing(service: Service, name: &str) -> ApiError {
    match service {
        Service::Sqs => {
            ApiError::new(400, "MissingParameter", format!("The request must contain the parameter {name}."))
        }
        Service::Logs
        | Service::Organizations
        | Service::Ec2
        | Service::Iam
        | Service::Sts
        | Service::Events
        | Service::CloudTrail => invalid(service, name, "must not be null"),
    }
}
