//! Previewing a sync: what the granter would do, without doing it.

use std::collections::BTreeMap;

use enroller_core::grants::GrantPlan;
use enroller_core::ids::{AccountId, Region};
use enroller_core::log::LogEntry;
use enroller_core::observed::Account;

use super::{GrantPlanner, GrantReport, GrantSync, GranterError};
use crate::assignments::GrantedOn;
use crate::ports::AwsResult;

/// The organization, and the grants that a sync would change.
#[derive(Debug)]
pub struct GrantPreview {
    /// All accounts of the organization.
    pub accounts: Vec<Account>,
    /// The plan for each Region, or why the Region could not be read.
    pub regions: BTreeMap<Region, Result<GrantPlan, GranterError>>,
    /// Log entries about what a person has to decide or fix.
    pub decisions: Vec<LogEntry>,
}

impl GrantPreview {
    /// The plans of the Regions that could be read, for a person to approve.
    pub fn plans(&self) -> BTreeMap<Region, GrantPlan> {
        let readable =
            self.regions.iter().filter_map(|(region, plan)| Some((region.clone(), plan.as_ref().ok()?.clone())));
        readable.collect()
    }

    /// The destination that an account is granted on now and after a sync, in each Region that could be read.
    pub fn granted_on(&self, account: AccountId) -> BTreeMap<Region, GrantedOn> {
        let mut granted = BTreeMap::new();
        for (region, plan) in &self.regions {
            if let Ok(plan) = plan
                && let Some(name) = plan.assignments.get(&account)
            {
                let doubt = plan.assignments.doubt(&account).cloned();
                let now = (!plan.granted.contains(&account)).then(|| name.clone());
                granted.insert(region.clone(), GrantedOn { now, planned: name.clone(), doubt });
            }
        }
        granted
    }
}

impl GrantPlanner {
    /// All accounts of the organization, from a listing of the last minute if there is one.
    ///
    /// # Errors
    ///
    /// The organization could not be listed completely.
    pub async fn organization_accounts(&self) -> AwsResult<Vec<Account>> {
        Ok(self.listing(false).await?.into_values().collect())
    }

    /// What [`Granter::sync`](super::Granter::sync) would do with this work. A preview changes nothing and sends
    /// nothing.
    ///
    /// # Errors
    ///
    /// The organization could not be listed completely.
    pub async fn preview(&self, work: &GrantSync) -> AwsResult<GrantPreview> {
        let mut report = GrantReport::default();
        let mut members = self.membership(work, &mut report).await?;
        let mut regions = self.read_regions(work).await;
        self.confirm_departed(&mut members, &regions, work, &mut report).await;
        for region in &mut regions {
            self.plan_for(region, &members, work);
        }
        let mut preview = GrantPreview { accounts: Vec::new(), regions: BTreeMap::new(), decisions: report.decisions };
        for region in regions {
            preview.decisions.extend(region.decisions);
            let plan = match (region.plan, region.error) {
                (_, Some(error)) => Err(error),
                (Some(plan), None) => Ok(plan),
                // Planning sets either a plan or an error, so this does not happen.
                (None, None) => continue,
            };
            preview.regions.insert(region.region, plan);
        }
        preview.accounts = self.organization_accounts().await?;
        Ok(preview)
    }
}
