//! The ports that only the doctor needs: the caller's identity, event buses, queues and trails. None of them can change
//! anything.
//!
//! They are separate from [`crate::ports`], so that the functions need neither permissions nor adapters for them.

use std::sync::Arc;

use async_trait::async_trait;
use enroller_core::doctor::caller::{CallerIdentity, OrganizationFacts};
use enroller_core::doctor::event_routes::{BusFacts, RuleFacts};
use enroller_core::doctor::members::TrailFacts;
use enroller_core::doctor::queues::QueueFacts;
use enroller_core::ids::AccountRegion;

use crate::ports::AwsResult;

/// The caller (STS), and the organization of the caller's account (Organizations).
#[async_trait]
pub trait Identity: Send + Sync {
    /// The principal behind the credentials. The call needs no permission.
    async fn caller(&self) -> AwsResult<CallerIdentity>;
    /// The organization. Every member account may read it.
    async fn organization(&self) -> AwsResult<OrganizationFacts>;
}

/// Event buses and rules (EventBridge). Those of the central account are read with the caller's own credentials, those
/// of other accounts with the member role.
#[async_trait]
pub trait EventBuses: Send + Sync {
    /// The bus of this name, if it exists. The bus `default` exists everywhere.
    async fn bus(&self, at: &AccountRegion, name: &str) -> AwsResult<Option<BusFacts>>;
    /// The rules of a bus that have `target` among their targets, enabled or not. Other rules are not read: a default
    /// bus may have hundreds of them.
    async fn rules_towards(&self, at: &AccountRegion, bus: &str, target: &str) -> AwsResult<Vec<RuleFacts>>;
}

/// The state of the central account's queues in the home Region (SQS).
#[async_trait]
pub trait QueueState: Send + Sync {
    /// The queue at this URL, if it exists.
    async fn queue(&self, url: &str) -> AwsResult<Option<QueueFacts>>;
}

/// Trails (CloudTrail), read with the same credentials as event buses.
#[async_trait]
pub trait Trails: Send + Sync {
    /// The trails that could log in this account-Region: its own, multi-Region trails, and organization trails.
    async fn trails(&self, at: &AccountRegion) -> AwsResult<Vec<TrailFacts>>;
    /// Whether a trail is logging in this account-Region.
    async fn is_logging(&self, at: &AccountRegion, arn: &str) -> AwsResult<bool>;
}

/// The ports that only the doctor uses.
#[expect(missing_docs, reason = "each field is named after its port")]
#[derive(Clone)]
pub struct DoctorPorts {
    pub identity: Arc<dyn Identity>,
    pub buses: Arc<dyn EventBuses>,
    pub queues: Arc<dyn QueueState>,
    pub trails: Arc<dyn Trails>,
}
