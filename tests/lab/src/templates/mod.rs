//! Evaluation of the shipped CloudFormation templates: the roles, rules, buses and queues that a stack creates.
//!
//! Only requested resources are evaluated. An unknown function, attribute or reference is an error, so that no part of
//! a policy is ignored. Patterns of parameters, rules and deletion policies are not checked here.
//! `tests/python/templates/check_templates.py` and cfn-lint check them.

mod evaluate;
mod resources;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

pub use resources::{BusPolicy, PatternRule, QueueResource, RoleResource, RuleTarget};

/// A parsed template, not evaluated yet.
#[derive(Debug, Clone)]
pub struct Template {
    document: Value,
}

type Read = LazyLock<Result<Template, TemplateError>>;

static CENTRAL: Read = LazyLock::new(|| Template::parse(include_str!("../../../../infra/central.yaml")));
static REGIONAL: Read = LazyLock::new(|| Template::parse(include_str!("../../../../infra/regional.yaml")));
static MEMBER: Read = LazyLock::new(|| Template::parse(include_str!("../../../../infra/member.yaml")));
static MANAGEMENT: Read = LazyLock::new(|| Template::parse(include_str!("../../../../infra/management.yaml")));
static GUARDRAILS: Read =
    LazyLock::new(|| Template::parse(include_str!("../../../../infra/guardrails/guardrails.yaml")));

/// One of the shipped templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is named after its file: `infra/central.yaml`, `infra/guardrails/guardrails.yaml`"
)]
pub enum Part {
    Central,
    Regional,
    Member,
    Management,
    Guardrails,
}

impl Part {
    /// The template, read once.
    ///
    /// # Errors
    ///
    /// The errors of [`Template::parse`].
    pub fn template(self) -> Result<&'static Template, TemplateError> {
        let read = match self {
            Self::Central => &CENTRAL,
            Self::Regional => &REGIONAL,
            Self::Member => &MEMBER,
            Self::Management => &MANAGEMENT,
            Self::Guardrails => &GUARDRAILS,
        };
        read.as_ref().map_err(Clone::clone)
    }
}

/// Why a template cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not YAML, or YAML that CloudFormation does not accept.
    #[error("the template cannot be read: {0}")]
    Yaml(String),
    /// A function that is not evaluated here.
    #[error("function {0} is not evaluated")]
    Function(String),
    /// A parameter without a value or a default.
    #[error("parameter {0} has no value")]
    Parameter(String),
    /// A value for a parameter that the template does not have.
    #[error("the template has no parameter {0}")]
    UnknownParameter(String),
    /// A condition that the template does not have.
    #[error("condition {0} does not exist")]
    Condition(String),
    /// A resource that does not exist, or whose condition does not hold.
    #[error("resource {0} does not exist in this stack")]
    Resource(String),
    /// An attribute or name of a type of resource that is not known here.
    #[error("{attribute} of a resource of type {kind} is not known")]
    Attribute {
        /// Type of the resource.
        kind: String,
        /// Argument of `Fn::GetAtt`, or "its name".
        attribute: String,
    },
    /// A part of the template has the wrong form.
    #[error("{0} has the wrong form")]
    Form(String),
}

impl Template {
    /// Parses the text of a template.
    ///
    /// # Errors
    ///
    /// The text is not YAML as CloudFormation reads it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        yaml::parse(text).map(|document| Self { document })
    }

    /// Whether the template has this parameter.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.document["Parameters"].get(name).is_some()
    }

    /// The template as a stack with these parameters. The other parameters have their defaults.
    ///
    /// # Errors
    ///
    /// A parameter lacks a value, or the template does not have it.
    pub fn stack(&self, account_region: AccountRegion, given: &[(&str, String)]) -> Result<Stack<'_>, TemplateError> {
        let known = self.document["Parameters"].as_object();
        let mut parameters = BTreeMap::new();
        for (name, parameter) in known.into_iter().flatten() {
            let given = given.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
            let default = || evaluate::text_of(parameter.get("Default")?);
            let value = given.or_else(default).ok_or_else(|| TemplateError::Parameter(name.clone()))?;
            parameters.insert(name.clone(), value);
        }
        match given.iter().find(|(name, _)| !parameters.contains_key(*name)) {
            Some((name, _)) => Err(TemplateError::UnknownParameter((*name).to_owned())),
            None => Ok(Stack { document: &self.document, account_region, parameters }),
        }
    }
}

/// Account and Region of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRegion {
    /// Account of the stack.
    pub account: String,
    /// Region of the stack.
    pub region: String,
}

/// A template with values for its parameters, in one account and Region.
#[derive(Debug, Clone)]
pub struct Stack<'t> {
    document: &'t Value,
    account_region: AccountRegion,
    parameters: BTreeMap<String, String>,
}

impl Stack<'_> {
    /// Account and Region of the stack.
    pub fn account_region(&self) -> &AccountRegion {
        &self.account_region
    }
}
