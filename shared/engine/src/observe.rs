//! Observing an account-Region, with four calls, of which three run at once.

use std::sync::Arc;

use enroller_core::error::{AwsError, Code, Disposition, Skip, Wait};
use enroller_core::ids::AccountRegion;
use enroller_core::names::LogGroupName;
use enroller_core::observed::{LogGroup, LogGroupClass, Observed, SubscriptionFilter};
use enroller_core::plan::Desired;
use futures::future::join3;

use crate::ports::{AwsResult, Ec2, Logs, Ports};
use crate::reconcile_error::ReconcileError;

/// Observes account-Regions. It only reads.
#[derive(Clone)]
pub struct Observer {
    ec2: Arc<dyn Ec2>,
    logs: Arc<dyn Logs>,
}

impl Observer {
    /// Creates an observer that reads through these ports.
    pub fn new(ports: &Ports) -> Self {
        Self { ec2: Arc::clone(&ports.ec2), logs: Arc::clone(&ports.logs) }
    }

    /// Reads the current state of an account-Region. The log group's tags take a fifth call, which is made only if the
    /// group or its filter differs from the desired state. Each data protection policy in force takes another one.
    ///
    /// # Errors
    ///
    /// A read failed, or the account has not enabled the Region.
    pub async fn observe(&self, desired: &Desired<'_>) -> Result<Observed, ReconcileError> {
        let (at, group) = (&desired.at, &desired.settings.log_group_name);
        let (ec2, logs) = (&self.ec2, &self.logs);
        let (vpcs, flow_logs, logs_there) =
            join3(ec2.vpcs(at), ec2.flow_logs(at), self.group_and_filters(at, group)).await;
        // A policy of the organization may hide an account. VPCs that are seen are not hidden.
        let seen = vpcs.as_ref().is_ok_and(|vpcs| !vpcs.is_empty());
        let observed: AwsResult<Observed> = (|| {
            let (vpcs, flow_logs, (log_group, filters)) = (vpcs?, flow_logs?, logs_there?);
            Ok(Observed { vpcs, flow_logs, log_group, filters })
        })();
        let mut observed = match observed {
            Ok(observed) => observed,
            Err(error) if seen => return Err(of_seen(self.explain(at, error).await)),
            Err(error) => return Err(self.explain(at, error).await),
        };
        if desired.needs_group_tags(&observed) {
            let tags = logs.log_group_tags(at, group).await.map_err(|error| of_seen(ReconcileError::Aws(error)))?;
            if let Some(group) = &mut observed.log_group {
                group.tags = Some(tags);
            }
        }
        Ok(observed)
    }

    /// Reads the subscription filters of a log group alone.
    ///
    /// # Errors
    ///
    /// The read failed, or the account has not enabled the Region.
    pub async fn filters(
        &self,
        at: &AccountRegion,
        group: &LogGroupName,
    ) -> Result<Vec<SubscriptionFilter>, ReconcileError> {
        match self.logs.subscription_filters(at, group).await {
            Ok(filters) => Ok(filters),
            Err(error) => Err(self.explain(at, error).await),
        }
    }

    /// The filters are asked for only where there can be some. DescribeSubscriptionFilters fails with a
    /// ValidationException for a log group of another class, and so would hide the class.
    async fn group_and_filters(
        &self,
        at: &AccountRegion,
        name: &LogGroupName,
    ) -> AwsResult<(Option<LogGroup>, Vec<SubscriptionFilter>)> {
        let mut group = self.logs.log_group(at, name).await?;
        for policy in group.iter_mut().flat_map(|group| &mut group.protection) {
            policy.document = match self.logs.data_protection(at, name, policy.scope).await {
                Ok(document) => document,
                // A policy that may not be read may mask anything. The plan says so, and what to do.
                Err(error) if error.code == Code::AccessDenied => None,
                Err(error) => return Err(error),
            };
        }
        let filters = match group.as_ref().map(|group| &group.class) {
            Some(LogGroupClass::Standard) => self.logs.subscription_filters(at, name).await?,
            Some(LogGroupClass::Other(_)) | None => Vec::new(),
        };
        Ok((group, filters))
    }

    /// Finds out why AWS rejected the credentials: it does so both in a disabled Region and in an account that is not
    /// ready. The account's list of enabled Regions distinguishes the two.
    async fn explain(&self, at: &AccountRegion, error: AwsError) -> ReconcileError {
        if error.disposition() != Disposition::RetryLater(Wait::Credentials) {
            return ReconcileError::Aws(error);
        }
        match self.region_is_enabled(at).await {
            Ok(false) => ReconcileError::Skipped(Skip::RegionDisabled),
            Ok(true) => ReconcileError::Aws(error),
            // AWS rejects the credentials in the home Region too, so the account is not ready.
            Err(second) if second.code == Code::CredentialsRejected => ReconcileError::Aws(error),
            Err(second) => ReconcileError::Aws(second),
        }
    }

    /// Whether the account has enabled the Region. The call goes to the home Region.
    async fn region_is_enabled(&self, at: &AccountRegion) -> AwsResult<bool> {
        Ok(self.ec2.enabled_regions(at.account).await?.contains(&at.region))
    }
}

/// The error of a look in an account-Region whose VPCs were seen: a policy of the organization does not excuse it.
fn of_seen(error: ReconcileError) -> ReconcileError {
    match error {
        ReconcileError::Aws(error) if error.disposition() == Disposition::Skip(Skip::OrganizationPolicy) => {
            ReconcileError::LookDenied(error)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
