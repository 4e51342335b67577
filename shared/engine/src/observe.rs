//! One look at an account and Region: four calls in one round trip.

use std::sync::Arc;

use enroller_core::error::{AwsError, Code, Disposition, Skip, Wait};
use enroller_core::ids::AccountRegion;
use enroller_core::observed::Observed;
use enroller_core::plan::Desired;
use futures::future::join4;

use crate::ports::{AwsResult, Ec2, Logs, Ports};
use crate::reconcile_error::ReconcileError;

/// Observes account-Regions: reads only.
#[derive(Clone)]
pub struct Observer {
    ec2: Arc<dyn Ec2>,
    logs: Arc<dyn Logs>,
}

impl Observer {
    /// An observer through these ports.
    pub fn new(ports: &Ports) -> Self {
        Self { ec2: Arc::clone(&ports.ec2), logs: Arc::clone(&ports.logs) }
    }

    /// What AWS says is there. The log group's tags cost a fifth call, made only where its settings differ.
    ///
    /// # Errors
    ///
    /// What keeps the account-Region from being observed.
    pub async fn observe(&self, desired: &Desired<'_>) -> Result<Observed, ReconcileError> {
        let (at, group) = (&desired.at, &desired.settings.log_group_name);
        let (ec2, logs) = (&self.ec2, &self.logs);
        let (vpcs, flow_logs, log_group, filters) =
            join4(ec2.vpcs(at), ec2.flow_logs(at), logs.log_group(at, group), logs.subscription_filters(at, group))
                .await;
        let observed =
            (|| Ok(Observed { vpcs: vpcs?, flow_logs: flow_logs?, log_group: log_group?, filters: filters? }))();
        let mut observed = match observed {
            Ok(observed) => observed,
            Err(error) => return Err(self.explain(at, error).await),
        };
        if desired.needs_group_tags(&observed) {
            let tags = logs.log_group_tags(at, group).await?;
            if let Some(group) = &mut observed.log_group {
                group.tags = Some(tags);
            }
        }
        Ok(observed)
    }

    /// Credentials are refused both where a Region is disabled and where an account is not ready. The account's list of
    /// enabled Regions tells the two apart.
    async fn explain(&self, at: &AccountRegion, error: AwsError) -> ReconcileError {
        if error.disposition() != Disposition::RetryLater(Wait::Credentials) {
            return ReconcileError::Aws(error);
        }
        match self.region_is_enabled(at).await {
            Ok(false) => ReconcileError::Skipped(Skip::RegionDisabled),
            Ok(true) => ReconcileError::Aws(error),
            // The account answers nowhere: it is not ready, and the question about its Regions says the same.
            Err(second) if second.code == Code::CredentialsRejected => ReconcileError::Aws(error),
            Err(second) => ReconcileError::Aws(second),
        }
    }

    /// Whether the account has enabled the Region, asked in the home Region.
    async fn region_is_enabled(&self, at: &AccountRegion) -> AwsResult<bool> {
        Ok(self.ec2.enabled_regions(at.account).await?.contains(&at.region))
    }
}
