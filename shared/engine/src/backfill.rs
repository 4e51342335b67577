//! Backfill: every account that is in scope, handed to the enroller; by hand, by schedule (the sweep), or by the
//! command line tool.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::error::AwsError;
use enroller_core::grants::Placement;
use enroller_core::ids::{AccountId, ParentId, Region};
use enroller_core::message::{EnrollmentRequest, Message, SyncRequest};
use enroller_core::observed::Account;
use enroller_core::report::{Decision, Outcome};
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::ports::Outgoing;

/// What to backfill; everything is optional, and empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackfillRequest {
    /// Only these accounts.
    pub accounts: BTreeSet<AccountId>,
    /// Only accounts below these roots or OUs.
    pub organizational_units: BTreeSet<ParentId>,
    /// Not these accounts.
    pub exclude: BTreeSet<AccountId>,
    /// Only these of the enrolled Regions.
    pub regions: BTreeSet<Region>,
    /// Change nothing and send nothing; say what would be sent.
    pub dry_run: bool,
    /// Why, for logs.
    pub reason: String,
}

/// An account that is not enrolled, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The account.
    pub account: AccountId,
    /// Why.
    pub reason: String,
}

/// What a backfill queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackfillReport {
    /// Marks the requests of this run in logs.
    pub run_id: String,
    /// Whether nothing was sent.
    pub dry_run: bool,
    /// Accounts queued.
    pub accounts: usize,
    /// Account-Regions queued.
    pub account_regions: usize,
    /// Accounts of the selection that were not queued.
    pub left_out: Vec<LeftOut>,
}

/// Why a backfill could not be queued.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// AWS refused.
    #[error("the backfill was not queued completely; run it again, which does no harm")]
    Aws(#[from] AwsError),
    /// A setting is missing.
    #[error("{0} is not set")]
    NotSet(&'static str),
    /// The selection names Regions that are not enrolled.
    #[error("not enrolled: {0:?}; add them to the regions setting first")]
    Regions(Vec<Region>),
    /// The onboarder could not be asked to compare the grants.
    #[error("the grants queue took no message: {}", .0.cause)]
    Grants(Box<Decision>),
}

impl Engine {
    /// Asks the one writer to compare all grants, then queues one request per account, with all Regions in it.
    ///
    /// # Errors
    ///
    /// Nothing is sent unless the whole organization could be listed: part of it would look like all of it.
    pub async fn backfill(&self, request: &BackfillRequest, run_id: &str) -> Result<BackfillReport, BackfillError> {
        let stray: Vec<Region> = request.regions.difference(&self.settings.regions).cloned().collect();
        if !stray.is_empty() {
            return Err(BackfillError::Regions(stray));
        }
        let enrolled = &self.settings.regions;
        let regions = if request.regions.is_empty() { enrolled.clone() } else { request.regions.clone() };
        let (chosen, left_out) = self.choose(request, self.aws.organization.accounts().await?);
        let report = BackfillReport {
            run_id: run_id.to_owned(),
            dry_run: request.dry_run,
            accounts: chosen.len(),
            account_regions: chosen.len() * regions.len(),
            left_out,
        };
        if request.dry_run {
            return Ok(report);
        }
        let queue =
            self.settings.enrollments_queue_url.as_deref().ok_or(BackfillError::NotSet("enrollments_queue_url"))?;
        let reason = if request.reason.is_empty() { "backfill".to_owned() } else { request.reason.clone() };
        let sync =
            SyncRequest { reason: reason.clone(), run_id: Some(run_id.to_owned()), allow_mass_revocation: false };
        self.ask_onboarder(&Message::Sync(sync), run_id.to_owned()).await.map_err(BackfillError::Grants)?;
        let placements = self.placements_of(&regions).await;
        let mut messages = Vec::new();
        for account in chosen {
            let placed = placements.iter().filter_map(|(region, it)| Some((region.clone(), it.get(&account)?.clone())));
            let request = EnrollmentRequest {
                account,
                regions: regions.iter().cloned().collect(),
                destinations: placed.collect(),
                reason: reason.clone(),
                run_id: Some(run_id.to_owned()),
                requested_at_ms: None,
            };
            messages.push(Outgoing { body: Message::Enrollment(request).to_json(), delay_seconds: 0, fifo: None });
        }
        if !messages.is_empty() {
            self.aws.queues.send(queue, messages).await?;
        }
        Ok(report)
    }

    fn choose(&self, request: &BackfillRequest, accounts: Vec<Account>) -> (Vec<AccountId>, Vec<LeftOut>) {
        let (mut chosen, mut left_out) = (Vec::new(), Vec::new());
        let mut unseen = request.accounts.clone();
        for account in accounts {
            unseen.remove(&account.id);
            let named = request.accounts.contains(&account.id);
            let below = account.parents.iter().any(|unit| request.organizational_units.contains(unit));
            let everyone = request.accounts.is_empty() && request.organizational_units.is_empty();
            if !(named || below || everyone) {
                continue;
            }
            let verdict = match request.exclude.contains(&account.id) {
                true => Err("excluded by the request".to_owned()),
                false => self.settings.account_in_scope(&account).map_err(|reason| reason.to_string()),
            };
            match verdict {
                Ok(()) => chosen.push(account.id),
                Err(reason) => left_out.push(LeftOut { account: account.id, reason }),
            }
        }
        let unknown =
            unseen.into_iter().map(|account| LeftOut { account, reason: "no account of the organization".into() });
        left_out.extend(unknown);
        (chosen, left_out)
    }

    /// Where accounts are granted, asked once per Region. A Region that cannot be read is told of and left out: the
    /// enroller looks there itself, and the other Regions must not wait for it.
    async fn placements_of(&self, regions: &BTreeSet<Region>) -> BTreeMap<Region, Placement> {
        let mut placements = BTreeMap::new();
        for region in regions {
            match self.region_grants(region).await {
                Ok(grants) => {
                    placements.insert(region.clone(), grants.placement(self.settings.granted_organization()));
                }
                Err(error) => {
                    let resource = format!("destinations of {region}");
                    let line = Decision::about(error.account, "read-grants", resource, Outcome::Failed, "");
                    let line = Decision { region: Some(region.clone()), ..line.failed_with(&error) };
                    self.journal.decision(&line);
                }
            }
        }
        placements
    }
}
