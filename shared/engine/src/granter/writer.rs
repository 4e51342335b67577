//! The port that writes destinations, and the permit that only the granter can create.

use async_trait::async_trait;
use enroller_core::arn::Arn;
use enroller_core::ids::Region;
use enroller_core::names::DestinationName;

use crate::ports::AwsResult;

/// A permit that every write of a destination requires. Only the granter can create one, so a second writer does not
/// compile:
///
/// ```compile_fail
/// use enroller_engine::granter::WriterPermit;
/// let permit = WriterPermit(());
/// ```
///
/// The private field is the only obstacle, because other modules can name the type itself:
///
/// ```
/// use enroller_engine::granter::WriterPermit;
/// fn needs(_: &WriterPermit) {}
/// let _: fn(&WriterPermit) = needs;
/// ```
#[derive(Debug)]
pub struct WriterPermit(());

impl WriterPermit {
    pub(super) const fn new() -> Self {
        Self(())
    }
}

/// Write access to the destinations of the central account (CloudWatch Logs). PutDestinationPolicy replaces the whole
/// document and has no condition, so two writers would lose each other's accounts.
#[async_trait]
pub trait DestinationWriter: Send + Sync {
    /// Creates a destination, or changes its target and role.
    async fn put_destination(
        &self,
        permit: &WriterPermit,
        region: &Region,
        name: &DestinationName,
        target: &Arn,
        role: &Arn,
    ) -> AwsResult<()>;
    /// Replaces a destination's access policy. `force` allows the switch from accounts to the organization.
    async fn put_policy(
        &self,
        permit: &WriterPermit,
        region: &Region,
        name: &DestinationName,
        policy: &str,
        force: bool,
    ) -> AwsResult<()>;
}
