//! Looking at accounts without changing them: what a plan and a coverage report are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enroller_core::ids::{AccountRegion, Region};
use enroller_core::names::DestinationName;
use enroller_core::observed::{Account, Observed};
use enroller_core::plan::{Desired, Plan, plan};
use enroller_core::scope::OutOfScope;
use futures::future::join_all;

use crate::assignments::GrantedOn;
use crate::context::Context;
use crate::observe::Observer;
use crate::ports::{MemberSessions, Ports};
use crate::reconcile_error::ReconcileError;

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

/// Inspects accounts. It changes nothing and holds no port that could, but for the reads of the member ports.
pub struct Inspector {
    ctx: Context,
    sessions: Arc<dyn MemberSessions>,
    observer: Observer,
}

impl Inspector {
    /// An inspector through these ports.
    pub fn new(ctx: Context, ports: &Ports) -> Self {
        Self { ctx, sessions: Arc::clone(&ports.sessions), observer: Observer::new(ports) }
    }

    /// Inspects one account in these Regions.
    pub async fn inspect(
        &self,
        account: &Account,
        regions: &BTreeSet<Region>,
        grants: &BTreeMap<Region, GrantedOn>,
    ) -> AccountSnapshot {
        let mut snapshot = AccountSnapshot { account: account.clone(), left_out: None, account_regions: Vec::new() };
        if let Err(reason) = self.ctx.settings.account_in_scope(account) {
            snapshot.left_out = Some(reason);
            return snapshot;
        }
        let at = |region: &Region| AccountRegion { account: account.id, region: region.clone() };
        let now = |region| grants.get(region).and_then(|grant| grant.now.clone());
        snapshot.account_regions = match self.sessions.assume(account.id).await {
            Err(error) => {
                let failed = |region| AccountRegionSnapshot {
                    at: at(region),
                    granted_on: now(region),
                    found: Err(ReconcileError::Aws(error.clone())),
                };
                regions.iter().map(failed).collect()
            }
            Ok(()) => {
                let inspections = regions.iter().map(async |region| {
                    let planned =
                        grants.get(region).map_or(self.ctx.settings.destination_name.base(), |grant| &grant.planned);
                    let found = self.found(&at(region), planned).await;
                    AccountRegionSnapshot { at: at(region), granted_on: now(region), found }
                });
                join_all(inspections).await
            }
        };
        snapshot
    }

    async fn found(
        &self,
        at: &AccountRegion,
        destination: &DestinationName,
    ) -> Result<(Observed, Plan), ReconcileError> {
        let desired = Desired::new(&self.ctx.settings, at, destination);
        let observed = self.observer.observe(&desired).await?;
        let plan = plan(&desired, &observed);
        Ok((observed, plan))
    }
}
