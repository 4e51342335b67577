//! Whether filters have their role, which they need as soon as a destination's policy names the organization.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::arn::Arn;
use enroller_core::ids::{AccountId, AccountRegion, Region};
use enroller_core::log::{LogEntry, Outcome};
use futures::stream::{StreamExt, iter};

use super::Inspector;
use crate::reconcile_error::ReconcileError;

/// What was seen of the filters that a policy's switch from accounts to the organization could stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterRoles {
    /// Accounts that the switch does not stop, by Region: each filter to the first destination has a role, or there is
    /// none.
    pub ready: BTreeMap<Region, BTreeSet<AccountId>>,
    /// The other accounts, with the reason.
    pub problems: Vec<LogEntry>,
}

impl Inspector {
    /// Looks at the filters of accounts, given by Region, to the first destination of that Region.
    pub async fn filter_roles(&self, accounts: &BTreeMap<Region, BTreeSet<AccountId>>) -> FilterRoles {
        let mut by_account: BTreeMap<AccountId, Vec<Region>> = BTreeMap::new();
        for (region, accounts) in accounts {
            for account in accounts {
                by_account.entry(*account).or_default().push(region.clone());
            }
        }
        let looks = iter(by_account).map(async |(account, regions)| self.looks(account, regions).await);
        let mut looks = std::pin::pin!(looks.buffer_unordered(self.ctx.settings.max_concurrency));
        let mut found = FilterRoles::default();
        while let Some(looks) = looks.next().await {
            for (at, look) in looks {
                match look {
                    Ok(()) => {
                        found.ready.entry(at.region).or_default().insert(at.account);
                    }
                    Err(problem) => found.problems.push(problem),
                }
            }
        }
        found.problems.sort_by(|one, other| (one.account, &one.region).cmp(&(other.account, &other.region)));
        found
    }

    async fn looks(&self, account: AccountId, regions: Vec<Region>) -> Vec<(AccountRegion, Result<(), LogEntry>)> {
        let session = self.sessions.assume(account).await;
        let mut looks = Vec::new();
        for region in regions {
            let at = AccountRegion { account, region };
            let look = match &session {
                Ok(()) => self.has_roles(&at).await,
                Err(error) => Err(self.problem(&at, &ReconcileError::Aws(error.clone()))),
            };
            looks.push((at, look));
        }
        looks
    }

    async fn has_roles(&self, at: &AccountRegion) -> Result<(), LogEntry> {
        let settings = &self.ctx.settings;
        let first = Arn::destination(&at.region, settings.central_account, settings.destination_name.base());
        let filters = match self.observer.filters(at, &settings.log_group_name).await {
            Ok(filters) => filters,
            // Nothing is delivered from a Region that the account has not enabled.
            Err(ReconcileError::Skipped(_)) => return Ok(()),
            Err(error) => return Err(self.problem(at, &error)),
        };
        let without_role = filters.iter().find(|it| it.destination == first.to_string() && it.role.is_none());
        without_role.map_or(Ok(()), |filter| {
            let line = LogEntry::at(at, "check-filter", &filter.name, Outcome::Failed, "the filter has no role");
            Err(line.next("run a backfill with grant_mode organization, which puts every filter with its role"))
        })
    }

    fn problem(&self, at: &AccountRegion, error: &ReconcileError) -> LogEntry {
        error.entry(at, "check-filter", self.ctx.settings.filter_name.to_string())
    }
}
