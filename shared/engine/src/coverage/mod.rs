//! Inspecting accounts without changing them, for plans and coverage reports.

mod filters;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enroller_core::grants::GrantDoubt;
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

pub use filters::FilterRoles;

/// The state of one account-Region.
#[derive(Debug)]
pub struct AccountRegionSnapshot {
    /// The account and Region.
    pub at: AccountRegion,
    /// The destination that authorizes the account now, if any.
    pub granted_on: Option<DestinationName>,
    /// Why the grant, or the one that is planned, does not count, if so.
    pub doubt: Option<GrantDoubt>,
    /// The observed state and the plan to correct it, or why it could not be observed.
    pub found: Result<(Observed, Plan), ReconcileError>,
}

/// The state of one account in the inspected Regions.
#[derive(Debug)]
pub struct AccountSnapshot {
    /// The account.
    pub account: Account,
    /// Why the account is out of scope, if it is. `account_regions` is then empty.
    pub left_out: Option<OutOfScope>,
    /// The inspected Regions.
    pub account_regions: Vec<AccountRegionSnapshot>,
}

/// Inspects accounts and changes nothing: of its ports it calls only the reads.
pub struct Inspector {
    ctx: Context,
    sessions: Arc<dyn MemberSessions>,
    observer: Observer,
}

impl Inspector {
    /// Creates an inspector that reads through these ports.
    pub fn new(ctx: Context, ports: &Ports) -> Self {
        Self { ctx, sessions: Arc::clone(&ports.sessions), observer: Observer::new(ports) }
    }

    /// Inspects one account in these Regions. `grants` are the destinations it is granted on; in a Region that is
    /// missing there, the plan assumes the first destination.
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
        let doubt = |region| grants.get(region).and_then(|grant| grant.doubt.clone());
        snapshot.account_regions = match self.sessions.assume(account.id).await {
            Err(error) => {
                let failed = |region| AccountRegionSnapshot {
                    at: at(region),
                    granted_on: now(region),
                    doubt: doubt(region),
                    found: Err(ReconcileError::Aws(error.clone())),
                };
                regions.iter().map(failed).collect()
            }
            Ok(()) => {
                let inspections = regions.iter().map(async |region| {
                    let planned =
                        grants.get(region).map_or(self.ctx.settings.destination_name.base(), |grant| &grant.planned);
                    let found = self.found(&at(region), planned).await;
                    AccountRegionSnapshot { at: at(region), granted_on: now(region), doubt: doubt(region), found }
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
        let plan = plan(&desired, &observed, self.ctx.clock.now_ms());
        Ok((observed, plan))
    }
}

#[cfg(test)]
mod tests;
