//! What `enroller doctor` looks at beyond the ports of the engine: who calls, event buses, queues and trails. Nothing
//! here changes anything.
//!
//! Kept apart from [`crate::ports`], so that functions need no permission and no adapter for it.

use std::sync::Arc;

use async_trait::async_trait;
use enroller_core::doctor::caller::{CallerIdentity, OrganizationFacts};
use enroller_core::doctor::event_routes::{BusFacts, RuleFacts};
use enroller_core::doctor::members::TrailFacts;
use enroller_core::doctor::queues::QueueFacts;
use enroller_core::ids::AccountRegion;

use crate::ports::AwsResult;

/// Who calls, and the organization the caller's account is in.
#[async_trait]
pub trait Identity: Send + Sync {
    /// The principal behind the credentials (STS); needs no permission.
    async fn caller(&self) -> AwsResult<CallerIdentity>;
    /// The organization, which every member may ask for.
    async fn organization(&self) -> AwsResult<OrganizationFacts>;
}

/// Event buses and rules (EventBridge). Those of the central account are asked for with the caller's own credentials,
/// those of other accounts with the member role.
#[async_trait]
pub trait EventBuses: Send + Sync {
    /// The bus of this name, if it exists. `default` does everywhere.
    async fn bus(&self, at: &AccountRegion, name: &str) -> AwsResult<Option<BusFacts>>;
    /// The rules of a bus that have `target` among their targets, enabled or not. A default bus may have hundreds of
    /// rules of others, which are not asked for.
    async fn rules_towards(&self, at: &AccountRegion, bus: &str, target: &str) -> AwsResult<Vec<RuleFacts>>;
}

/// The state of queues of the central account in the home Region (SQS).
#[async_trait]
pub trait QueueState: Send + Sync {
    /// The queue at this URL, if it exists.
    async fn queue(&self, url: &str) -> AwsResult<Option<QueueFacts>>;
}

/// Trails (CloudTrail), asked for as event buses are.
#[async_trait]
pub trait Trails: Send + Sync {
    /// The trails that could log at this place: its own, those of all Regions, and those of the organization.
    async fn trails(&self, at: &AccountRegion) -> AwsResult<Vec<TrailFacts>>;
    /// Whether a trail logs what happens at this place.
    async fn is_logging(&self, at: &AccountRegion, arn: &str) -> AwsResult<bool>;
}

/// All of AWS that only the doctor looks at.
#[expect(missing_docs, reason = "each field is named after its port")]
#[derive(Clone)]
pub struct DoctorPorts {
    pub identity: Arc<dyn Identity>,
    pub buses: Arc<dyn EventBuses>,
    pub queues: Arc<dyn QueueState>,
    pub trails: Arc<dyn Trails>,
}
