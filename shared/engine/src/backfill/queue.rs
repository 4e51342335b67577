//! Queueing a run's accounts until time runs out.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::backfill::Selection;
use enroller_core::grants::ShardAssignments;
use enroller_core::ids::{AccountId, Region};
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::message::{BackfillContinuation, EnrollmentRequest, Message, SyncRequest};
use futures::future::join_all;

use super::{Backfill, BackfillCommand, BackfillError, BackfillReport};
use crate::ports::{AwsResult, Outgoing};

/// Requests sent at once: the most messages that one SendMessageBatch accepts (SQS API reference).
const BATCH: usize = 10;

/// The reason in requests of a run without one.
const NO_REASON: &str = "backfill";

/// The work before the first account, for the error message.
const PREPARING: &str = "listing the organization and reading the grants";

/// The properties that all requests of a run share.
struct Run<'a> {
    id: &'a str,
    reason: &'a str,
    regions: &'a BTreeSet<Region>,
    assignments: BTreeMap<Region, ShardAssignments>,
}

impl Run<'_> {
    fn enroll(&self, account: AccountId) -> EnrollmentRequest {
        let assigned = self
            .assignments
            .iter()
            .filter_map(|(region, shards)| Some((region.clone(), shards.get(&account)?.clone())));
        EnrollmentRequest {
            account,
            regions: self.regions.iter().cloned().collect(),
            destinations: assigned.collect(),
            reason: self.reason.to_owned(),
            run_id: Some(self.id.to_owned()),
            requested_at_ms: None,
            waited_for: BTreeSet::new(),
        }
    }
}

impl Backfill {
    pub(super) async fn queue_accounts(
        &self,
        command: &BackfillCommand,
        deadline_ms: u64,
    ) -> Result<BackfillReport, BackfillError> {
        let settings = &self.ctx.settings;
        let (request, run_id) = (command.request(), command.run_id());
        let listing = self.ctx.within(deadline_ms, self.organization.accounts()).await;
        let listing = listing.ok_or(BackfillError::OutOfTime(PREPARING))??;
        let selection = request.select(settings, listing);
        let reason = if request.reason.is_empty() { NO_REASON } else { &request.reason };
        let (Selection { chosen, left_out, notes }, after) = match command {
            BackfillCommand::Begin { .. } => {
                let sync_request = self.ctx.within(deadline_ms, self.request_sync(reason, run_id)).await;
                sync_request.ok_or(BackfillError::OutOfTime(PREPARING))??;
                (selection, None)
            }
            BackfillCommand::Continue(continuation) => {
                (Selection { chosen: selection.chosen, ..Selection::default() }, Some(continuation.after))
            }
        };
        let regions = request.regions(settings);
        let assignments = self.ctx.within(deadline_ms, self.assignments_of(regions)).await;
        let assignments = assignments.ok_or(BackfillError::OutOfTime(PREPARING))?;
        let run = Run { id: run_id, reason, regions, assignments };
        let due: Vec<AccountId> = chosen.iter().map(|account| account.id).filter(|id| Some(*id) > after).collect();
        let sent = self.send_requests(&run, &due, deadline_ms).await?;
        let (sent, remaining) = due.split_at(sent);
        let continues_after = match (sent.last(), remaining.is_empty()) {
            (_, true) => None,
            (None, false) => return Err(BackfillError::OutOfTime("queueing the accounts")),
            (Some(after), false) => {
                let (request, run_id, after) = (request.clone(), run_id.to_owned(), *after);
                let continuation = Message::Backfill(BackfillContinuation { request, run_id, after });
                let continuation =
                    Outgoing { body: continuation.to_json(), delay_seconds: 0, fifo: None, sender: None };
                // Without a limit: the time for work is up already, and a try that is late is better than none.
                self.queues.send(&self.continuations, vec![continuation]).await?;
                Some(after)
            }
        };
        Ok(BackfillReport {
            run_id: run_id.to_owned(),
            dry_run: false,
            accounts: sent.len(),
            account_regions: sent.len() * regions.len(),
            accounts_remaining: remaining.len(),
            continues_after,
            left_out,
            notes,
            plan: None,
        })
    }

    async fn request_sync(&self, reason: &str, run_id: &str) -> Result<(), BackfillError> {
        let (reason, run) = (reason.to_owned(), Some(run_id.to_owned()));
        let sync = SyncRequest { reason, run_id: run, allow_mass_revocation: false };
        // The run id is the deduplication id, so a run that is started again within five minutes causes no second sync.
        let sent = self.outbox.grant(Message::Sync(sync).to_json(), run_id.to_owned()).await;
        sent.map_err(BackfillError::Grants)
    }

    /// Sends batch after batch until time runs out. Returns how many accounts were sent. A batch that was cut off
    /// counts as not sent.
    async fn send_requests(&self, run: &Run<'_>, due: &[AccountId], deadline_ms: u64) -> AwsResult<usize> {
        let mut sent = 0;
        for batch in due.chunks(BATCH) {
            let requests = batch.iter().map(|account| (run.enroll(*account), 0));
            match self.ctx.within(deadline_ms, self.outbox.enroll(requests)).await {
                Some(answer) => sent += answer.map(|_| batch.len())?,
                None => break,
            }
        }
        Ok(sent)
    }

    /// The shard assignments of each Region, read once for all accounts. A Region that cannot be read is logged and
    /// left out: the enroller reads it itself, and the other Regions must not wait for it.
    async fn assignments_of(&self, regions: &BTreeSet<Region>) -> BTreeMap<Region, ShardAssignments> {
        let reads = regions.iter().map(async |region| (region, self.assignments.region_grants(region).await));
        let mut assignments = BTreeMap::new();
        for (region, grants) in join_all(reads).await {
            match grants {
                Ok(grants) => {
                    assignments.insert(region.clone(), grants.assignments(self.ctx.settings.granted_organization()));
                }
                Err(error) => {
                    let resource = format!("destinations of {region}");
                    let line = LogEntry::about(error.account, "read-grants", resource, Outcome::Failed, "");
                    let line = LogEntry { region: Some(region.clone()), ..line.failed_with(&error) };
                    self.ctx.log.entry(&line);
                }
            }
        }
        assignments
    }
}
