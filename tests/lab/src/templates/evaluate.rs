//! Conditions and functions (CloudFormation template reference, "Intrinsic functions").

use serde_json::{Map, Value, json};

use super::{Stack, TemplateError};

/// Text of a scalar, because all parameters of a template are text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Name and argument, if the object is a function.
fn function(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (name, argument) = members.iter().next()?;
    (name == "Ref" || name.starts_with("Fn::")).then_some((name, argument))
}

fn form(what: &str) -> TemplateError {
    TemplateError::Form(what.to_owned())
}

fn list<'a>(value: &'a Value, what: &str) -> Result<&'a [Value], TemplateError> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| form(what))
}

impl Stack<'_> {
    /// A value with all functions evaluated; `None` for `AWS::NoValue`, which removes the property.
    pub(super) fn value(&self, value: &Value) -> Result<Option<Value>, TemplateError> {
        if let Some((name, argument)) = function(value) {
            return self.call(name, argument);
        }
        match value {
            Value::Array(items) => {
                let evaluated = items.iter().map(|item| self.value(item)).collect::<Result<Vec<_>, _>>()?;
                Ok(Some(evaluated.into_iter().flatten().collect()))
            }
            Value::Object(members) => {
                let mut evaluated = Map::new();
                for (name, member) in members {
                    if let Some(member) = self.value(member)? {
                        evaluated.insert(name.clone(), member);
                    }
                }
                Ok(Some(Value::Object(evaluated)))
            }
            scalar => Ok(Some(scalar.clone())),
        }
    }

    /// Evaluates a value that must be a text.
    pub(super) fn text(&self, value: &Value) -> Result<String, TemplateError> {
        self.value(value)?.as_ref().and_then(text_of).ok_or_else(|| form(&value.to_string()))
    }

    fn call(&self, name: &str, argument: &Value) -> Result<Option<Value>, TemplateError> {
        match name {
            "Ref" => self.reference(argument.as_str().ok_or_else(|| form(name))?),
            "Fn::GetAtt" => match list(argument, name)? {
                [Value::String(resource), Value::String(attribute)] => {
                    self.attribute(resource, attribute).map(|text| Some(json!(text)))
                }
                _ => Err(form(name)),
            },
            "Fn::Sub" => self.substitute(argument).map(|text| Some(json!(text))),
            "Fn::If" => match list(argument, name)? {
                [Value::String(condition), yes, no] => self.value(if self.condition(condition)? { yes } else { no }),
                _ => Err(form(name)),
            },
            "Fn::Split" => match list(argument, name)? {
                [Value::String(separator), text] => {
                    let text = self.text(text)?;
                    Ok(Some(text.split(separator.as_str()).collect()))
                }
                _ => Err(form(name)),
            },
            "Fn::Join" => match list(argument, name)? {
                [Value::String(separator), parts] => Ok(Some(json!(self.texts(parts)?.join(separator)))),
                _ => Err(form(name)),
            },
            "Fn::Select" => match list(argument, name)? {
                [index, parts] => {
                    let index: usize = self.text(index)?.parse().map_err(|_| form(name))?;
                    self.texts(parts)?.get(index).map(|part| Some(json!(part))).ok_or_else(|| form(name))
                }
                _ => Err(form(name)),
            },
            other => Err(TemplateError::Function(other.to_owned())),
        }
    }

    fn texts(&self, parts: &Value) -> Result<Vec<String>, TemplateError> {
        let parts = self.value(parts)?.unwrap_or_default();
        list(&parts, "a list")?.iter().map(|part| text_of(part).ok_or_else(|| form("a list of texts"))).collect()
    }

    fn reference(&self, name: &str) -> Result<Option<Value>, TemplateError> {
        let text = match name {
            "AWS::NoValue" => return Ok(None),
            // The simulated AWS has only one partition.
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            "AWS::Region" => self.account_region.region.clone(),
            "AWS::AccountId" => self.account_region.account.clone(),
            other => match self.parameters.get(other) {
                Some(value) => value.clone(),
                None => self.reference_to(other)?,
            },
        };
        Ok(Some(json!(text)))
    }

    /// `${Name}`, `${Resource.Attribute}`, `${!Literal}`; a map of its own comes first.
    fn substitute(&self, argument: &Value) -> Result<String, TemplateError> {
        let (text, own) = match argument {
            Value::String(text) => (text, None),
            Value::Array(both) => match both.as_slice() {
                [Value::String(text), Value::Object(own)] => (text, Some(own)),
                _ => return Err(form("Fn::Sub")),
            },
            _ => return Err(form("Fn::Sub")),
        };
        let mut parts = text.split("${");
        let mut result = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').ok_or_else(|| form("Fn::Sub"))?;
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str(&format!("${{{literal}}}"));
            } else if let Some(value) = own.and_then(|own| own.get(name)) {
                result.push_str(&self.text(value)?);
            } else if let Some((resource, attribute)) = name.split_once('.') {
                result.push_str(&self.attribute(resource, attribute)?);
            } else {
                result.push_str(&self.text(&json!({ "Ref": name }))?);
            }
            result.push_str(rest);
        }
        Ok(result)
    }

    /// Whether a condition of the template holds.
    pub(super) fn condition(&self, name: &str) -> Result<bool, TemplateError> {
        let condition = self.document["Conditions"].get(name);
        self.holds(condition.ok_or_else(|| TemplateError::Condition(name.to_owned()))?)
    }

    fn holds(&self, condition: &Value) -> Result<bool, TemplateError> {
        let members = condition.as_object().filter(|members| members.len() == 1);
        let (name, argument) = members.and_then(|members| members.iter().next()).ok_or_else(|| form("a condition"))?;
        match name.as_str() {
            "Condition" => self.condition(argument.as_str().ok_or_else(|| form(name))?),
            "Fn::Equals" => match list(argument, name)? {
                [left, right] => Ok(self.text(left)? == self.text(right)?),
                _ => Err(form(name)),
            },
            "Fn::Not" => match list(argument, name)? {
                [one] => Ok(!self.holds(one)?),
                _ => Err(form(name)),
            },
            "Fn::And" => list(argument, name)?.iter().try_fold(true, |all, one| Ok(all & self.holds(one)?)),
            "Fn::Or" => list(argument, name)?.iter().try_fold(false, |any, one| Ok(any | self.holds(one)?)),
            other => Err(TemplateError::Function(other.to_owned())),
        }
    }
}
