mod changes;
mod create;
mod eligibility;
mod grants;
mod limits;
mod queue;
mod regions;
mod role;
mod silence;
mod steps;

use enroller_core::error::Code;
use enroller_core::ids::Region;

use super::*;
use crate::testing::{DEADLINE, World, away, home, vpc_id, work};

/// Reconciles account 1 in both Regions.
async fn reconcile(world: &World) -> AccountReport {
    world.enroller().reconcile(&work(1, [home(), away()]), DEADLINE).await
}

/// Reconciles account 1 in the home Region.
async fn reconcile_home(world: &World) -> AccountRegionReport {
    let report = world.enroller().reconcile(&work(1, [home()]), DEADLINE).await;
    assert_eq!(report.account_regions.len(), 1);
    report.account_regions.into_iter().next().unwrap()
}

fn region_of<'a>(report: &'a AccountReport, region: &Region) -> &'a AccountRegionReport {
    report.account_regions.iter().find(|it| it.at.region == *region).unwrap()
}

fn vpcs(report: &AccountRegionReport, numbers: impl IntoIterator<Item = u32>) -> Vec<VpcResult> {
    numbers.into_iter().map(|number| report.vpcs[&vpc_id(number)].clone()).collect()
}

/// The codes of AWS's errors in a report.
fn codes(report: &AccountRegionReport) -> Vec<Code> {
    let errors = report.errors.iter().filter_map(ReconcileError::aws_error);
    errors.map(|error| error.code.clone()).collect()
}
