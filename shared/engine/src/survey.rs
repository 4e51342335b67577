//! Looking at accounts without changing them: what a plan and a coverage report are made of.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::ids::{AccountRegion, Region};
use enroller_core::names::DestinationName;
use enroller_core::observed::{Account, Observed};
use enroller_core::plan::{Plan, plan};
use enroller_core::scope::OutOfScope;
use futures::future::join_all;

use crate::engine::Engine;
use crate::reconcile::{ReconcileError, observe};

/// Where an account is granted, and where its filter will belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedOn {
    /// The destination that lets it in now.
    pub now: Option<DestinationName>,
    /// The destination it will be granted on.
    pub planned: DestinationName,
}

/// One place as it was found.
#[derive(Debug)]
pub struct AccountRegionSnapshot {
    /// The account and Region.
    pub at: AccountRegion,
    /// The destination that lets the account in now.
    pub granted_on: Option<DestinationName>,
    /// What is there and what would be done about it, or what stood in the way of looking.
    pub found: Result<(Observed, Plan), ReconcileError>,
}

/// One account as it was found.
#[derive(Debug)]
pub struct AccountSnapshot {
    /// The account.
    pub account: Account,
    /// Why it is left alone, if it is; there are no places then.
    pub left_out: Option<OutOfScope>,
    /// Its Regions.
    pub account_regions: Vec<AccountRegionSnapshot>,
}

impl Engine {
    /// Looks at one account in these Regions.
    pub async fn survey(
        &self,
        account: &Account,
        regions: &BTreeSet<Region>,
        grants: &BTreeMap<Region, GrantedOn>,
    ) -> AccountSnapshot {
        let mut survey = AccountSnapshot { account: account.clone(), left_out: None, account_regions: Vec::new() };
        if let Err(reason) = self.settings.account_in_scope(account) {
            survey.left_out = Some(reason);
            return survey;
        }
        let at = |region: &Region| AccountRegion { account: account.id, region: region.clone() };
        let now = |region| grants.get(region).and_then(|grant| grant.now.clone());
        survey.account_regions = match self.aws.sessions.assume(account.id).await {
            Err(error) => {
                let failed = |region| AccountRegionSnapshot {
                    at: at(region),
                    granted_on: now(region),
                    found: Err(ReconcileError::Aws(error.clone())),
                };
                regions.iter().map(failed).collect()
            }
            Ok(()) => {
                let looks = regions.iter().map(async |region| {
                    let planned = grants.get(region).map_or(&self.settings.destination_name, |grant| &grant.planned);
                    let found = self.found(&at(region), planned).await;
                    AccountRegionSnapshot { at: at(region), granted_on: now(region), found }
                });
                join_all(looks).await
            }
        };
        survey
    }

    async fn found(
        &self,
        at: &AccountRegion,
        destination: &DestinationName,
    ) -> Result<(Observed, Plan), ReconcileError> {
        let desired = self.desired(at, destination);
        let observed = observe(self, &desired).await?;
        let plan = plan(&desired, &observed);
        Ok((observed, plan))
    }
}
