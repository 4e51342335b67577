//! What only the doctor asks for: caller, buses, the state of queues, trails. All is well unless armed.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use enroller_core::doctor::caller::{CallerIdentity, OrganizationFacts};
use enroller_core::doctor::event_routes::{BusFacts, RuleFacts, TargetFacts};
use enroller_core::doctor::members::TrailFacts;
use enroller_core::doctor::queues::{QueueFacts, RedriveFacts};
use enroller_core::ids::{AccountId, AccountRegion};
use serde_json::json;

use super::journal::Journal;
use super::{CENTRAL, MANAGEMENT, ORGANIZATION};
use crate::doctor::DoctorPorts;
use crate::doctor::ports::{EventBuses, Identity, QueueState, Trails};
use crate::ports::AwsResult;

pub(crate) struct FakeFacts {
    pub(crate) journal: Arc<Journal>,
    pub(crate) caller: Mutex<AccountId>,
    /// Names of the trails of every place, and whether each is logging.
    pub(crate) trails: Mutex<Vec<(&'static str, bool)>>,
}

impl FakeFacts {
    pub(crate) fn new(journal: &Arc<Journal>) -> Self {
        let (caller, trails) = (Mutex::new(CENTRAL.parse().unwrap()), Mutex::new(vec![("organization", true)]));
        Self { journal: Arc::clone(journal), caller, trails }
    }

    pub(crate) fn ports(self: &Arc<Self>) -> DoctorPorts {
        let facts = || Arc::clone(self);
        DoctorPorts { identity: facts(), buses: facts(), queues: facts(), trails: facts() }
    }
}

#[async_trait]
impl Identity for FakeFacts {
    async fn caller(&self) -> AwsResult<CallerIdentity> {
        self.journal.call("sts:GetCallerIdentity", "").await?;
        let account = *self.caller.lock().unwrap();
        Ok(CallerIdentity { account, arn: format!("arn:aws:iam::{account}:role/Operator") })
    }

    async fn organization(&self) -> AwsResult<OrganizationFacts> {
        self.journal.call("organizations:DescribeOrganization", "").await?;
        Ok(OrganizationFacts { id: ORGANIZATION.parse().unwrap(), management_account: MANAGEMENT.parse().unwrap() })
    }
}

#[async_trait]
impl EventBuses for FakeFacts {
    async fn bus(&self, at: &AccountRegion, name: &str) -> AwsResult<Option<BusFacts>> {
        self.journal.call("events:DescribeEventBus", format!("{at} {name}")).await?;
        let arn = format!("arn:aws:events:{}:{}:event-bus/{name}", at.region, at.account);
        let condition = json!({"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}});
        let allow = json!({"Sid": "s", "Effect": "Allow", "Principal": "*", "Action": "events:PutEvents",
            "Resource": arn, "Condition": condition});
        let policy = Some(json!({"Version": "2012-10-17", "Statement": [allow]}).to_string());
        Ok(Some(BusFacts { arn, policy }))
    }

    async fn rules_towards(&self, at: &AccountRegion, bus: &str, target: &str) -> AwsResult<Vec<RuleFacts>> {
        self.journal.call("events:ListRules", format!("{at} {bus}")).await?;
        let (role, message_group) = (Some("arn:aws:iam::1:role/Forward".to_owned()), Some("grants".to_owned()));
        let target = TargetFacts { arn: target.to_owned(), role, message_group };
        let pattern = Some(json!({"source": [{"prefix": "aws."}]}));
        Ok(vec![RuleFacts { name: "Everything".to_owned(), enabled: true, pattern, targets: vec![target] }])
    }
}

#[async_trait]
impl QueueState for FakeFacts {
    async fn queue(&self, url: &str) -> AwsResult<Option<QueueFacts>> {
        self.journal.call("sqs:GetQueueAttributes", url).await?;
        let name = url.rsplit('/').next().unwrap();
        let (arn, fifo) = (format!("arn:aws:sqs:eu-west-1:{CENTRAL}:{name}"), name.ends_with(".fifo"));
        let dead_letter_arn = format!("arn:aws:sqs:eu-west-1:{CENTRAL}:dead-{name}");
        let redrive = (!name.starts_with("dead-")).then_some(RedriveFacts { dead_letter_arn, max_receives: 10 });
        let (visible, in_flight, delayed) = (0, 0, 0);
        Ok(Some(QueueFacts { arn, visible, in_flight, delayed, redrive, fifo, content_based_deduplication: fifo }))
    }
}

#[async_trait]
impl Trails for FakeFacts {
    async fn trails(&self, at: &AccountRegion) -> AwsResult<Vec<TrailFacts>> {
        self.journal.call("cloudtrail:DescribeTrails", at).await?;
        let named = |name: &str| TrailFacts { name: name.to_owned(), arn: format!("arn:aws:cloudtrail:::{name}") };
        Ok(self.trails.lock().unwrap().iter().map(|(name, _)| named(name)).collect())
    }

    async fn is_logging(&self, _: &AccountRegion, arn: &str) -> AwsResult<bool> {
        self.journal.call("cloudtrail:GetTrailStatus", arn).await?;
        Ok(self.trails.lock().unwrap().iter().any(|(name, logging)| arn.ends_with(name) && *logging))
    }
}
