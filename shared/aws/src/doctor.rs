//! What only the doctor reads: the caller, event buses, queues and trails. Nothing here makes changes.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_cloudtrail::Client as CloudTrail;
use aws_sdk_eventbridge::Client as EventBridge;
use aws_sdk_eventbridge::operation::describe_rule::DescribeRuleOutput;
use aws_sdk_eventbridge::types::{RuleState, Target};
use aws_sdk_organizations::Client as Organizations;
use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::types::QueueAttributeName;
use aws_sdk_sts::Client as Sts;
use enroller_core::doctor::caller::{CallerIdentity, OrganizationFacts};
use enroller_core::doctor::event_routes::{BusFacts, RuleFacts, TargetFacts};
use enroller_core::doctor::members::TrailFacts;
use enroller_core::doctor::queues::{QueueFacts, RedriveFacts};
use enroller_core::error::{AwsError, Code};
use enroller_core::ids::{AccountRegion, Invalid};
use enroller_engine::doctor::ports::{DoctorPorts, EventBuses, Identity, QueueState, Trails};
use enroller_engine::ports::AwsResult;
use serde_json::Value;

use crate::calls::{Calls, Identity as As, Link, all_pages};
use crate::errors::unparsable;
use crate::limits::{
    DESCRIBE_EVENT_BUS, DESCRIBE_ORGANIZATION, DESCRIBE_RULE, DESCRIBE_TRAILS, GET_CALLER_IDENTITY, GET_QUEUE,
    GET_TRAIL_STATUS, LIST_RULE_NAMES, LIST_TARGETS,
};

#[cfg(test)]
mod tests;

/// The ports of the doctor.
pub(crate) fn doctor_ports(link: &Arc<Link>) -> DoctorPorts {
    DoctorPorts {
        identity: Arc::new(Callers {
            sts: Calls::new(link, As::Central, Sts::new),
            organizations: Calls::new(link, As::Central, Organizations::new),
        }),
        buses: Arc::new(Buses(Both::new(link, EventBridge::new))),
        queues: Arc::new(Queues(Calls::new(link, As::Central, Sqs::new))),
        trails: Arc::new(CloudTrails(Both::new(link, CloudTrail::new))),
    }
}

/// Calls with the process's own credentials in the central account, and with the member role in all others.
struct Both<C> {
    central: Calls<C>,
    members: Calls<C>,
}

impl<C: Clone + Send> Both<C> {
    fn new(link: &Arc<Link>, make: fn(&aws_types::SdkConfig) -> C) -> Self {
        Self { central: Calls::new(link, As::Central, make), members: Calls::new(link, As::Member, make) }
    }

    fn of(&self, at: &AccountRegion) -> &Calls<C> {
        let own = at.account == self.central.settings().central_account;
        if own { &self.central } else { &self.members }
    }
}

/// `None` if AWS reports that the resource does not exist.
fn if_there<T>(result: AwsResult<T>) -> AwsResult<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.code, Code::NotFound | Code::QueueNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

struct Callers {
    sts: Calls<Sts>,
    organizations: Calls<Organizations>,
}

#[async_trait]
impl Identity for Callers {
    async fn caller(&self) -> AwsResult<CallerIdentity> {
        let settings = self.sts.settings();
        let at = AccountRegion { account: settings.central_account, region: settings.home_region.clone() };
        let request = |client: Sts| client.get_caller_identity().send();
        let answer = self.sts.call(GET_CALLER_IDENTITY, &at, request).await?;
        let wrong = |invalid: Invalid| unparsable(GET_CALLER_IDENTITY.operation, &at, invalid.to_string());
        let account = answer.account().unwrap_or_default().parse().map_err(wrong)?;
        Ok(CallerIdentity { account, arn: answer.arn().unwrap_or_default().to_owned() })
    }

    async fn organization(&self) -> AwsResult<OrganizationFacts> {
        let settings = self.organizations.settings();
        let operation = DESCRIBE_ORGANIZATION.operation;
        let region = settings.partition().organizations_region().parse();
        let region = region.map_err(|invalid: Invalid| AwsError::unparsable(operation, invalid.to_string()))?;
        let at = AccountRegion { account: settings.central_account, region };
        let request = |client: Organizations| client.describe_organization().send();
        let answer = self.organizations.call(DESCRIBE_ORGANIZATION, &at, request).await?;
        let found =
            answer.organization().ok_or_else(|| unparsable(operation, &at, "the response has no organization"))?;
        let wrong = |invalid: Invalid| unparsable(operation, &at, invalid.to_string());
        Ok(OrganizationFacts {
            id: found.id().unwrap_or_default().parse().map_err(wrong)?,
            management_account: found.master_account_id().unwrap_or_default().parse().map_err(wrong)?,
        })
    }
}

struct Buses(Both<EventBridge>);

impl Buses {
    async fn targets(&self, at: &AccountRegion, bus: &str, rule: &str) -> AwsResult<Vec<TargetFacts>> {
        all_pages(LIST_TARGETS, at, async |token| {
            let request = |client: EventBridge| {
                client.list_targets_by_rule().event_bus_name(bus).rule(rule).set_next_token(token.clone()).send()
            };
            let page = self.0.of(at).call(LIST_TARGETS, at, request).await?;
            Ok((page.targets().iter().map(target).collect(), page.next_token))
        })
        .await
    }
}

fn target(found: &Target) -> TargetFacts {
    let group = found.sqs_parameters().and_then(|parameters| parameters.message_group_id());
    TargetFacts {
        arn: found.arn().to_owned(),
        role: found.role_arn().map(str::to_owned),
        message_group: group.map(str::to_owned),
    }
}

fn rule(
    at: &AccountRegion,
    name: String,
    found: &DescribeRuleOutput,
    targets: Vec<TargetFacts>,
) -> AwsResult<RuleFacts> {
    let read = |pattern: &str| {
        serde_json::from_str::<Value>(pattern)
            .map_err(|error| unparsable(DESCRIBE_RULE.operation, at, format!("the pattern of rule {name}: {error}")))
    };
    let pattern = found.event_pattern().map(read).transpose()?;
    Ok(RuleFacts { enabled: found.state() != Some(&RuleState::Disabled), pattern, targets, name })
}

#[async_trait]
impl EventBuses for Buses {
    async fn bus(&self, at: &AccountRegion, name: &str) -> AwsResult<Option<BusFacts>> {
        let request = |client: EventBridge| client.describe_event_bus().name(name).send();
        let answer = if_there(self.0.of(at).call(DESCRIBE_EVENT_BUS, at, request).await)?;
        Ok(answer.map(|bus| BusFacts {
            arn: bus.arn().unwrap_or_default().to_owned(),
            policy: bus.policy().filter(|policy| !policy.is_empty()).map(str::to_owned),
        }))
    }

    async fn rules_towards(&self, at: &AccountRegion, bus: &str, target: &str) -> AwsResult<Vec<RuleFacts>> {
        let names: Vec<String> = all_pages(LIST_RULE_NAMES, at, async |token| {
            let request = |client: EventBridge| {
                client
                    .list_rule_names_by_target()
                    .event_bus_name(bus)
                    .target_arn(target)
                    .set_next_token(token.clone())
                    .send()
            };
            let page = self.0.of(at).call(LIST_RULE_NAMES, at, request).await?;
            Ok((page.rule_names().to_vec(), page.next_token))
        })
        .await?;
        let mut rules = Vec::new();
        for name in names {
            let request = |client: EventBridge| client.describe_rule().event_bus_name(bus).name(&name).send();
            // The rule may have been deleted since it was listed.
            let Some(found) = if_there(self.0.of(at).call(DESCRIBE_RULE, at, request).await)? else { continue };
            let Some(targets) = if_there(self.targets(at, bus, &name).await)? else { continue };
            rules.push(rule(at, name, &found, targets)?);
        }
        Ok(rules)
    }
}

struct Queues(Calls<Sqs>);

fn number(
    at: &AccountRegion,
    attributes: &HashMap<QueueAttributeName, String>,
    name: &QueueAttributeName,
) -> AwsResult<u64> {
    let text = attributes.get(name).map(String::as_str).unwrap_or_default();
    text.parse().map_err(|error| unparsable(GET_QUEUE.operation, at, format!("{name} {text:?}: {error}")))
}

/// `{"deadLetterTargetArn":"…","maxReceiveCount":12}`. SQS also accepts and returns the number as a string.
fn redrive(at: &AccountRegion, policy: &str) -> AwsResult<RedriveFacts> {
    let wrong = || unparsable(GET_QUEUE.operation, at, format!("redrive policy {policy:?}"));
    let document: Value = serde_json::from_str(policy).map_err(|_| wrong())?;
    let receives = &document["maxReceiveCount"];
    let receives = receives.as_u64().or_else(|| receives.as_str()?.parse().ok()).ok_or_else(wrong)?;
    Ok(RedriveFacts {
        dead_letter_arn: document["deadLetterTargetArn"].as_str().ok_or_else(wrong)?.to_owned(),
        max_receives: u32::try_from(receives).map_err(|_| wrong())?,
    })
}

#[async_trait]
impl QueueState for Queues {
    async fn queue(&self, url: &str) -> AwsResult<Option<QueueFacts>> {
        let settings = self.0.settings();
        let at = AccountRegion { account: settings.central_account, region: settings.home_region.clone() };
        let request =
            |client: Sqs| client.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All).send();
        let Some(answer) = if_there(self.0.call(GET_QUEUE, &at, request).await)? else { return Ok(None) };
        let none = HashMap::new();
        let attributes = answer.attributes().unwrap_or(&none);
        let is = |name: &QueueAttributeName| attributes.get(name).is_some_and(|value| value == "true");
        let depth = |name| number(&at, attributes, &name);
        let policy = attributes.get(&QueueAttributeName::RedrivePolicy);
        Ok(Some(QueueFacts {
            arn: attributes.get(&QueueAttributeName::QueueArn).cloned().unwrap_or_default(),
            visible: depth(QueueAttributeName::ApproximateNumberOfMessages)?,
            in_flight: depth(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)?,
            delayed: depth(QueueAttributeName::ApproximateNumberOfMessagesDelayed)?,
            redrive: policy.map(|policy| redrive(&at, policy)).transpose()?,
            fifo: is(&QueueAttributeName::FifoQueue),
            content_based_deduplication: is(&QueueAttributeName::ContentBasedDeduplication),
        }))
    }
}

struct CloudTrails(Both<CloudTrail>);

#[async_trait]
impl Trails for CloudTrails {
    async fn trails(&self, at: &AccountRegion) -> AwsResult<Vec<TrailFacts>> {
        // Shadow trails are trails of other Regions that log in this one, too, including those of the organization.
        let request = |client: CloudTrail| client.describe_trails().include_shadow_trails(true).send();
        let answer = self.0.of(at).call(DESCRIBE_TRAILS, at, request).await?;
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let trails = answer.trail_list().iter();
        Ok(trails.map(|trail| TrailFacts { name: text(trail.name()), arn: text(trail.trail_arn()) }).collect())
    }

    async fn is_logging(&self, at: &AccountRegion, arn: &str) -> AwsResult<bool> {
        // A shadow trail is found by its ARN only (CloudTrail API reference, GetTrailStatus).
        let request = |client: CloudTrail| client.get_trail_status().name(arn).send();
        let answer = self.0.of(at).call(GET_TRAIL_STATUS, at, request).await?;
        Ok(answer.is_logging() == Some(true))
    }
}
