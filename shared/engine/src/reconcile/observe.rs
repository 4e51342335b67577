//! One look at an account and Region: four calls in one round trip.

use enroller_core::error::{Code, Disposition, Skip, Wait};
use enroller_core::ids::Place;
use enroller_core::observed::Observed;
use enroller_core::plan::Desired;
use futures::future::join4;

use super::report::Trouble;
use crate::engine::Engine;
use crate::ports::AwsResult;

/// What AWS says is there. The log group's tags cost a fifth call, made only where its settings differ.
pub async fn observe(engine: &Engine, desired: &Desired<'_>) -> Result<Observed, Trouble> {
    let (place, group) = (&desired.place, &desired.settings.log_group_name);
    let (network, logs) = (&engine.aws.network, &engine.aws.logs);
    let (vpcs, flow_logs, log_group, filters) = join4(
        network.vpcs(place),
        network.flow_logs(place),
        logs.log_group(place, group),
        logs.subscription_filters(place, group),
    )
    .await;
    let observed = (|| Ok(Observed { vpcs: vpcs?, flow_logs: flow_logs?, log_group: log_group?, filters: filters? }))();
    let mut observed = match observed {
        Ok(observed) => observed,
        Err(error) => return Err(explain(engine, place, error).await),
    };
    if desired.needs_group_tags(&observed) {
        let tags = logs.log_group_tags(place, group).await.map_err(Trouble::Aws)?;
        if let Some(group) = &mut observed.log_group {
            group.tags = Some(tags);
        }
    }
    Ok(observed)
}

/// Credentials are refused both where a Region is disabled and where an account is not ready; the account's list of
/// enabled Regions tells the two apart.
async fn explain(engine: &Engine, place: &Place, error: enroller_core::error::AwsError) -> Trouble {
    if error.disposition() != Disposition::RetryLater(Wait::Credentials) {
        return Trouble::Aws(error);
    }
    match region_is_enabled(engine, place).await {
        Ok(false) => Trouble::Skipped(Skip::RegionDisabled),
        Ok(true) => Trouble::Aws(error),
        // The account answers nowhere: it is not ready, and the question about its Regions says the same.
        Err(second) if second.code == Code::CredentialsRejected => Trouble::Aws(error),
        Err(second) => Trouble::Aws(second),
    }
}

/// Whether the account has enabled the Region, asked in the home Region.
pub async fn region_is_enabled(engine: &Engine, place: &Place) -> AwsResult<bool> {
    Ok(engine.aws.network.enabled_regions(place.account).await?.contains(&place.region))
}
