//! Looking at accounts without changing them: what a plan and a coverage report are made of.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::ids::{Place, Region};
use enroller_core::names::DestinationName;
use enroller_core::observed::{Account, Observed};
use enroller_core::plan::{Plan, plan};
use enroller_core::scope::OutOfScope;
use futures::future::join_all;

use crate::engine::Engine;
use crate::reconcile::{Trouble, observe};

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
pub struct PlaceSurvey {
    /// The account and Region.
    pub place: Place,
    /// The destination that lets the account in now.
    pub granted_on: Option<DestinationName>,
    /// What is there and what would be done about it, or what stood in the way of looking.
    pub found: Result<(Observed, Plan), Trouble>,
}

/// One account as it was found.
#[derive(Debug)]
pub struct AccountSurvey {
    /// The account.
    pub account: Account,
    /// Why it is left alone, if it is; there are no places then.
    pub left_out: Option<OutOfScope>,
    /// Its Regions.
    pub places: Vec<PlaceSurvey>,
}

impl Engine {
    /// Looks at one account in these Regions.
    pub async fn survey(
        &self,
        account: &Account,
        regions: &BTreeSet<Region>,
        grants: &BTreeMap<Region, GrantedOn>,
    ) -> AccountSurvey {
        let mut survey = AccountSurvey { account: account.clone(), left_out: None, places: Vec::new() };
        if let Err(reason) = self.settings.account_in_scope(account) {
            survey.left_out = Some(reason);
            return survey;
        }
        let place = |region: &Region| Place { account: account.id, region: region.clone() };
        let now = |region| grants.get(region).and_then(|grant| grant.now.clone());
        survey.places = match self.aws.accounts.enter(account.id).await {
            Err(error) => {
                let failed = |region| PlaceSurvey {
                    place: place(region),
                    granted_on: now(region),
                    found: Err(Trouble::Aws(error.clone())),
                };
                regions.iter().map(failed).collect()
            }
            Ok(()) => {
                let looks = regions.iter().map(async |region| {
                    let planned = grants.get(region).map_or(&self.settings.destination_name, |grant| &grant.planned);
                    let found = self.found(&place(region), planned).await;
                    PlaceSurvey { place: place(region), granted_on: now(region), found }
                });
                join_all(looks).await
            }
        };
        survey
    }

    async fn found(&self, place: &Place, destination: &DestinationName) -> Result<(Observed, Plan), Trouble> {
        let desired = self.desired(place, destination);
        let observed = observe(self, &desired).await?;
        let plan = plan(&desired, &observed);
        Ok((observed, plan))
    }
}
