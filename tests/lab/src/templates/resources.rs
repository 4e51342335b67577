//! The types of resources that a simulated installation needs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::evaluate::text_of;
use super::{Stack, TemplateError};

/// `AWS::IAM::Role` with its inline policies.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleResource {
    /// Name, given or in the form that CloudFormation generates.
    pub name: String,
    /// `AssumeRolePolicyDocument`, with its functions evaluated.
    pub trust: Value,
    /// Inline policies by name.
    pub policies: BTreeMap<String, Value>,
}

/// `AWS::Events::Rule` with a pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternRule {
    /// Name of the rule.
    pub name: String,
    /// Name of its bus.
    pub bus: String,
    /// `EventPattern`, with its functions evaluated.
    pub pattern: Value,
    /// Buses and queues to which it sends.
    pub targets: Vec<RuleTarget>,
}

/// A target of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTarget {
    /// ARN of a bus or a queue.
    pub arn: String,
    /// Role that EventBridge assumes.
    pub role_arn: Option<String>,
    /// Message group of a FIFO queue.
    pub message_group_id: Option<String>,
}

/// `AWS::Events::EventBusPolicy` with its one statement.
#[derive(Debug, Clone, PartialEq)]
pub struct BusPolicy {
    /// Name of the bus.
    pub bus: String,
    /// The statement with its id.
    pub statement: Value,
}

/// `AWS::SQS::Queue` with its redrive policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueResource {
    /// Name of the queue.
    pub name: String,
    /// Whether it is a FIFO queue.
    pub fifo: bool,
    /// Whether deduplication ids are derived from bodies.
    pub content_based_deduplication: bool,
    /// Name of the dead-letter queue, and the number of receives before a message goes there.
    pub redrive: Option<(String, u32)>,
    /// How long a received message stays invisible, in seconds.
    pub visibility_timeout_seconds: u64,
}

impl Stack<'_> {
    /// The roles.
    ///
    /// # Errors
    ///
    /// One of them cannot be evaluated.
    pub fn roles(&self) -> Result<Vec<RoleResource>, TemplateError> {
        let read = |id: &str, properties: &Value| {
            only(
                properties,
                &["RoleName", "Description", "MaxSessionDuration", "AssumeRolePolicyDocument", "Policies"],
            )?;
            let mut policies = BTreeMap::new();
            for policy in properties["Policies"].as_array().into_iter().flatten() {
                let name = text_of(&policy["PolicyName"]).ok_or_else(|| TemplateError::Form(id.to_owned()))?;
                policies.insert(name, policy["PolicyDocument"].clone());
            }
            let trust = properties["AssumeRolePolicyDocument"].clone();
            Ok(RoleResource { name: self.name(id)?, trust, policies })
        };
        self.of_type("AWS::IAM::Role", read)
    }

    /// The service control policies.
    ///
    /// # Errors
    ///
    /// One of them cannot be evaluated.
    pub fn service_control_policies(&self) -> Result<Vec<Value>, TemplateError> {
        let policies = self.of_type("AWS::Organizations::Policy", |_, properties| Ok(properties.clone()))?;
        let of_kind = policies.into_iter().filter(|policy| policy["Type"] == "SERVICE_CONTROL_POLICY");
        Ok(of_kind.map(|policy| policy["Content"].clone()).collect())
    }

    /// The rules with a pattern. Schedules are not simulated.
    ///
    /// # Errors
    ///
    /// One of them cannot be evaluated.
    pub fn rules(&self) -> Result<Vec<PatternRule>, TemplateError> {
        let target = |target: &Value| {
            only(target, &["Id", "Arn", "RoleArn", "SqsParameters", "RetryPolicy", "DeadLetterConfig"])?;
            let arn = text_of(&target["Arn"]).ok_or_else(|| TemplateError::Form("a target".to_owned()))?;
            let message_group_id = text_of(&target["SqsParameters"]["MessageGroupId"]);
            Ok(RuleTarget { arn, role_arn: text_of(&target["RoleArn"]), message_group_id })
        };
        let read = |id: &str, properties: &Value| {
            let known =
                ["Name", "Description", "EventBusName", "EventPattern", "Targets", "ScheduleExpression", "State"];
            only(properties, &known)?;
            let targets = properties["Targets"].as_array().into_iter().flatten().map(target);
            Ok(PatternRule {
                name: self.name(id)?,
                bus: text_of(&properties["EventBusName"]).unwrap_or_else(|| "default".to_owned()),
                pattern: properties["EventPattern"].clone(),
                targets: targets.collect::<Result<_, TemplateError>>()?,
            })
        };
        let all = self.of_type("AWS::Events::Rule", read)?;
        Ok(all.into_iter().filter(|rule| !rule.pattern.is_null()).collect())
    }

    /// Names of the event buses.
    ///
    /// # Errors
    ///
    /// One of them cannot be evaluated.
    pub fn buses(&self) -> Result<Vec<String>, TemplateError> {
        self.of_type("AWS::Events::EventBus", |id, _| self.name(id))
    }

    /// The policies of event buses.
    ///
    /// # Errors
    ///
    /// One of them cannot be evaluated.
    pub fn bus_policies(&self) -> Result<Vec<BusPolicy>, TemplateError> {
        let read = |id: &str, properties: &Value| {
            only(properties, &["EventBusName", "StatementId", "Statement"])?;
            let mut statement = properties["Statement"].clone();
            statement["Sid"] = properties["StatementId"].clone();
            let bus = text_of(&properties["EventBusName"]).ok_or_else(|| TemplateError::Form(id.to_owned()))?;
            Ok(BusPolicy { bus, statement })
        };
        self.of_type("AWS::Events::EventBusPolicy", read)
    }

    /// The queues.
    ///
    /// # Errors
    ///
    /// One of them cannot be evaluated.
    pub fn queues(&self) -> Result<Vec<QueueResource>, TemplateError> {
        let read = |id: &str, properties: &Value| {
            let flag = |name: &str| properties[name].as_bool().unwrap_or(false);
            let redrive = &properties["RedrivePolicy"];
            let dead = redrive["deadLetterTargetArn"].as_str().and_then(|arn| arn.rsplit(':').next());
            let count = redrive["maxReceiveCount"].as_u64().and_then(|count| u32::try_from(count).ok());
            Ok(QueueResource {
                name: self.name(id)?,
                fifo: flag("FifoQueue"),
                content_based_deduplication: flag("ContentBasedDeduplication"),
                redrive: dead.map(str::to_owned).zip(count),
                // SQS's default (SQS API reference, CreateQueue).
                visibility_timeout_seconds: properties["VisibilityTimeout"].as_u64().unwrap_or(30),
            })
        };
        self.of_type("AWS::SQS::Queue", read)
    }

    /// The resources of a type whose conditions hold, in the order of their logical ids.
    fn of_type<T>(
        &self,
        kind: &str,
        read: impl Fn(&str, &Value) -> Result<T, TemplateError>,
    ) -> Result<Vec<T>, TemplateError> {
        let mut found = Vec::new();
        for (id, resource) in self.document["Resources"].as_object().into_iter().flatten() {
            if resource["Type"] == kind && self.exists(resource)? {
                let properties = self.value(&resource["Properties"])?.unwrap_or_default();
                found.push(read(id, &properties)?);
            }
        }
        Ok(found)
    }

    fn exists(&self, resource: &Value) -> Result<bool, TemplateError> {
        resource["Condition"].as_str().map_or(Ok(true), |condition| self.condition(condition))
    }

    fn resource(&self, id: &str) -> Result<(&str, &Value), TemplateError> {
        let missing = || TemplateError::Resource(id.to_owned());
        let resource = self.document["Resources"].get(id).ok_or_else(missing)?;
        if !self.exists(resource)? {
            return Err(missing());
        }
        Ok((resource["Type"].as_str().unwrap_or_default(), &resource["Properties"]))
    }

    /// The name of a resource, given or in the form that CloudFormation generates.
    fn name(&self, id: &str) -> Result<String, TemplateError> {
        let (kind, properties) = self.resource(id)?;
        let property = match kind {
            "AWS::IAM::Role" => "RoleName",
            "AWS::SQS::Queue" => "QueueName",
            "AWS::Events::EventBus" | "AWS::Events::Rule" => "Name",
            "AWS::Lambda::Function" => "FunctionName",
            "AWS::Logs::LogGroup" => "LogGroupName",
            "AWS::Logs::LogStream" => "LogStreamName",
            "AWS::S3::Bucket" => "BucketName",
            "AWS::KinesisFirehose::DeliveryStream" => "DeliveryStreamName",
            other => {
                return Err(TemplateError::Attribute { kind: other.to_owned(), attribute: "its name".to_owned() });
            }
        };
        let given = self.value(properties.get(property).unwrap_or(&Value::Null))?;
        Ok(given.as_ref().and_then(text_of).unwrap_or_else(|| format!("stack-{id}-1EXAMPLE")))
    }

    /// The value of `Ref` for a resource.
    pub(super) fn reference_to(&self, id: &str) -> Result<String, TemplateError> {
        let (kind, _) = self.resource(id)?;
        let name = self.name(id)?;
        Ok(match kind {
            "AWS::SQS::Queue" => {
                format!(
                    "https://sqs.{}.amazonaws.com/{}/{name}",
                    self.account_region.region, self.account_region.account
                )
            }
            _ => name,
        })
    }

    /// The value of `GetAtt` for a resource.
    pub(super) fn attribute(&self, id: &str, attribute: &str) -> Result<String, TemplateError> {
        let (kind, properties) = self.resource(id)?;
        let name = self.name(id)?;
        let (account, region) = (&self.account_region.account, &self.account_region.region);
        let regional = |service: &str, resource: &str| format!("arn:aws:{service}:{region}:{account}:{resource}");
        match (kind, attribute) {
            ("AWS::IAM::Role", "Arn") => Ok(format!("arn:aws:iam::{account}:role/{name}")),
            ("AWS::S3::Bucket", "Arn") => Ok(format!("arn:aws:s3:::{name}")),
            ("AWS::SQS::Queue", "Arn") => Ok(regional("sqs", &name)),
            ("AWS::SQS::Queue", "QueueName") => Ok(name),
            ("AWS::Events::EventBus", "Arn") => Ok(regional("events", &format!("event-bus/{name}"))),
            ("AWS::Events::Rule", "Arn") => {
                let bus = properties.get("EventBusName").map(|bus| self.text(bus)).transpose()?;
                let path = bus.map_or_else(|| name.clone(), |bus| format!("{bus}/{name}"));
                Ok(regional("events", &format!("rule/{path}")))
            }
            ("AWS::Lambda::Function", "Arn") => Ok(regional("lambda", &format!("function:{name}"))),
            ("AWS::KinesisFirehose::DeliveryStream", "Arn") => {
                Ok(regional("firehose", &format!("deliverystream/{name}")))
            }
            (kind, attribute) => {
                Err(TemplateError::Attribute { kind: kind.to_owned(), attribute: attribute.to_owned() })
            }
        }
    }
}

/// Refuses unknown properties, because an ignored property could change what the resource means.
fn only(properties: &Value, known: &[&str]) -> Result<(), TemplateError> {
    let mut names = properties.as_object().into_iter().flatten().map(|(name, _)| name);
    match names.find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(TemplateError::Form(format!("property {name}"))),
        None => Ok(()),
    }
}
