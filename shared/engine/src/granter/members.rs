//! Which accounts are members, which have departed, and on what evidence.

use std::collections::{BTreeMap, BTreeSet};

use enroller_core::ids::AccountId;
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::observed::{Account, AccountState};
use enroller_core::scope::OutOfScope;
use futures::lock::Mutex;

use super::questions::{Answer, is_gone};
use super::{GrantPlanner, GrantReport, GrantSync, GranterError};
use crate::ports::AwsResult;

/// How long a listing of the organization is reused at least, in milliseconds. Accounts that join together cause one
/// message each.
const LISTING_FRESH_MS: u64 = 60_000;

/// A listing is reused for this many times as long as it took, so that listings use at most a sixth of the time and of
/// Organizations' request rate. Ten thousand accounts take a minute.
const LISTING_FRESH_FACTOR: u64 = 5;

/// How long a listing is reused at most, in milliseconds, however slow it was.
const LISTING_FRESH_MOST_MS: u64 = 600_000;

/// A listing that takes longer than this, in milliseconds, is not repeated for one account that it lacks.
const QUICK_LISTING_MS: u64 = 5_000;

/// How long the answer that a departed account is gone overrides a listing, in milliseconds.
const GONE_MS: u64 = 900_000;

/// What a warm granter remembers about the organization.
#[derive(Default)]
pub(super) struct MembershipCache {
    listing: Mutex<Option<Listing>>,
    /// When Organizations reported a departed account as closed or not a member, in epoch milliseconds.
    gone: Mutex<BTreeMap<AccountId, u64>>,
}

/// The last listing of the organization.
struct Listing {
    /// When it was complete, in epoch milliseconds.
    at_ms: u64,
    /// How long it took, in milliseconds.
    took_ms: u64,
    accounts: BTreeMap<AccountId, Account>,
}

impl Listing {
    fn is_fresh(&self, now_ms: u64) -> bool {
        let lasts_ms = self.took_ms.saturating_mul(LISTING_FRESH_FACTOR);
        now_ms.saturating_sub(self.at_ms) < lasts_ms.clamp(LISTING_FRESH_MS, LISTING_FRESH_MOST_MS)
    }

    /// Applies a fresh answer about an account, or takes an account out that is gone.
    fn correct(accounts: &mut BTreeMap<AccountId, Account>, members: &[Account], gone: &BTreeMap<AccountId, u64>) {
        accounts.extend(members.iter().map(|account| (account.id, account.clone())));
        accounts.retain(|id, _| !gone.contains_key(id));
    }
}

/// The accounts of the organization, as far as grants depend on them.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    /// Accounts to grant.
    pub wanted: BTreeSet<AccountId>,
    /// Every account of the listing, in scope or not.
    pub listed: BTreeSet<AccountId>,
    /// Accounts that Organizations itself reported as closed or not a member.
    pub departed: BTreeSet<AccountId>,
    /// Granted accounts that the listing lacks and that were not asked about yet.
    pub undecided: BTreeSet<AccountId>,
    /// Members that the listing lacks, of which Organizations said so in this sync. Whoever works from a listing has
    /// passed them over.
    pub overlooked: BTreeSet<AccountId>,
}

/// Notes that there is no usable answer about an account that a message names.
fn doubt_named(id: AccountId, doubt: GranterError, work: &GrantSync, report: &mut GrantReport) {
    let departed = work.departed.contains(&id);
    if departed && doubt.disposition().is_retryable() {
        // Nothing but this message tells of the departure before the next sweep.
        report.fail("revoke", &id.to_string(), doubt);
        return;
    }
    report.doubt(if departed { "revoke" } else { "grant" }, doubt);
    if work.joined.contains(&id) || work.moved.contains(&id) {
        // The enroller asks again, on a queue whose messages do not wait for each other.
        report.unknown.insert(id);
    }
}

/// What follows from the answers about the accounts that messages name.
fn judge(
    described: BTreeMap<AccountId, Option<Account>>,
    work: &GrantSync,
    membership: &mut Membership,
    report: &mut GrantReport,
) {
    for (id, account) in described {
        let departed = work.departed.contains(&id);
        match account {
            account if is_gone(account.as_ref()) => {
                if account.is_some() || departed {
                    membership.departed.insert(id);
                } else {
                    report.unknown.insert(id);
                }
            }
            Some(account) if departed => {
                let cause = format!("not confirmed: the account's state in Organizations is {}", account.state);
                let line = LogEntry::about(Some(id), "revoke", id.to_string(), Outcome::Ignored, cause);
                report.decisions.push(line.next("no action needed: the next sweep compares again"));
            }
            Some(_) | None => {}
        }
    }
}

impl GrantPlanner {
    /// Lists the organization, and looks up each account that a message names and the listing lacks. An account about
    /// which there is no answer stops nobody else.
    pub(super) async fn membership(&self, work: &GrantSync, report: &mut GrantReport) -> AwsResult<Membership> {
        let mut accounts = self.accounts_for(work).await?;
        let named = work.joined.iter().chain(&work.requested);
        // An account that left and came back is looked up too: only a new answer overrides the remembered one.
        let gone: BTreeSet<AccountId> = self.cache.gone.lock().await.keys().copied().collect();
        let unsure = |id: &&AccountId| !accounts.contains_key(id) || gone.contains(id);
        // One that a sync's new listing shows again has come back, or the listing lags.
        let back = gone.iter().filter(|id| work.sync && accounts.contains_key(id));
        let missing: BTreeSet<AccountId> = named.filter(unsure).chain(&work.moved).chain(back).copied().collect();
        let arrivals = self.ask_all(missing, None).await;
        // The listing is older than these accounts, and accounts seldom join alone. A new listing also finds those
        // whose messages are still on the queue, so that one write grants them all.
        let newcomer =
            |(id, answer): (&AccountId, &Answer)| matches!(answer, Ok(Some(_))) && !accounts.contains_key(id);
        if !work.needs_no_listing() && arrivals.iter().any(newcomer) && self.lists_quickly().await {
            accounts = self.listing(true).await?;
        }
        let departures = self.ask_all(work.departed.iter().copied(), None).await;
        let mut described = BTreeMap::new();
        let mut membership = Membership::default();
        for (id, answer) in arrivals.into_iter().chain(departures) {
            self.verdicts.forget(id);
            match answer {
                Ok(account) => {
                    described.insert(id, account);
                }
                Err(doubt) => doubt_named(id, doubt, work, report),
            }
        }
        self.correct_listing(&mut accounts, &described, &work.departed).await;
        judge(described, work, &mut membership, report);
        for account in accounts.values() {
            self.classify(account, work, &mut membership, report);
        }
        if let Some(only) = work.only.as_ref().filter(|only| only.narrows_accounts()) {
            let meant = |id: &AccountId| accounts.get(id).is_some_and(|account| only.includes(account));
            membership.wanted.retain(meant);
            membership.departed.retain(meant);
        }
        Ok(membership)
    }

    fn classify(&self, account: &Account, work: &GrantSync, membership: &mut Membership, report: &mut GrantReport) {
        membership.listed.insert(account.id);
        if account.state == AccountState::Closed {
            membership.departed.insert(account.id);
        }
        let named = [&work.joined, &work.requested, &work.moved].iter().any(|named| named.contains(&account.id));
        match self.ctx.settings.account_in_scope(account) {
            // A listed account keeps its grant, and only a sync names all of them: every batch would be too often.
            Ok(()) if account.state == AccountState::Unknown => {
                let told = report.doubts.iter().any(|it| it.account() == Some(account.id));
                if (named || work.sync) && !told {
                    report.doubt("grant", GranterError::UnknownState { account: account.id });
                }
            }
            Ok(()) => {
                membership.wanted.insert(account.id);
            }
            // CreateAccountResult comes before the account is active, and no event says when it is.
            Err(OutOfScope::State(AccountState::PendingActivation)) if named => {
                report.unknown.insert(account.id);
            }
            Err(reason) if named => {
                let resource = account.id.to_string();
                let line = LogEntry::about(Some(account.id), "grant", resource, Outcome::Ignored, reason.to_string());
                report.decisions.push(line);
            }
            Err(_) => {}
        }
    }

    /// Adds members that the listing lacks, for this sync and for everybody who works with the same listing.
    pub(super) async fn adopt(
        &self,
        overlooked: Vec<Account>,
        membership: &mut Membership,
        work: &GrantSync,
        report: &mut GrantReport,
    ) {
        for account in &overlooked {
            self.classify(account, work, membership, report);
        }
        if let Some(remembered) = &mut *self.cache.listing.lock().await {
            Listing::correct(&mut remembered.accounts, &overlooked, &BTreeMap::new());
        }
    }

    /// Applies fresh answers about single accounts to a listing, and remembers the result. A listing lags behind: the
    /// next message, or a listing made shortly after, would otherwise grant an account that has just left.
    async fn correct_listing(
        &self,
        accounts: &mut BTreeMap<AccountId, Account>,
        described: &BTreeMap<AccountId, Option<Account>>,
        departed: &BTreeSet<AccountId>,
    ) {
        let now_ms = self.ctx.clock.now_ms();
        let mut gone = self.cache.gone.lock().await;
        gone.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < GONE_MS);
        let mut members = Vec::new();
        for (id, account) in described {
            match account {
                Some(account) if account.state != AccountState::Closed => {
                    gone.remove(id);
                    members.push(account.clone());
                }
                Some(_) | None if departed.contains(id) => {
                    gone.insert(*id, now_ms);
                }
                // It may have joined a moment ago.
                Some(_) | None => {}
            }
        }
        Listing::correct(accounts, &members, &gone);
        if let Some(remembered) = &mut *self.cache.listing.lock().await {
            Listing::correct(&mut remembered.accounts, &members, &gone);
        }
    }

    /// The accounts of the organization by id. Without `refresh`, a fresh listing is reused.
    pub(super) async fn listing(&self, refresh: bool) -> AwsResult<BTreeMap<AccountId, Account>> {
        let mut listing = self.cache.listing.lock().await;
        let begun_ms = self.ctx.clock.now_ms();
        if let Some(known) = listing.as_ref().filter(|known| !refresh && known.is_fresh(begun_ms)) {
            return Ok(known.accounts.clone());
        }
        let accounts = self.organization.accounts().await?;
        let at_ms = self.ctx.clock.now_ms();
        let mut listed: BTreeMap<AccountId, Account> = self.verdicts.members(at_ms);
        listed.extend(accounts.into_iter().map(|account| (account.id, account)));
        let accounts = listed;
        let took_ms = at_ms.saturating_sub(begun_ms);
        *listing = Some(Listing { at_ms, took_ms, accounts: accounts.clone() });
        Ok(accounts)
    }

    /// The accounts that a sync begins with. If the messages name all the accounts that they are about, nothing more is
    /// needed than the answers about these.
    async fn accounts_for(&self, work: &GrantSync) -> AwsResult<BTreeMap<AccountId, Account>> {
        if !work.needs_no_listing() {
            return self.listing(work.sync).await;
        }
        let listing = self.cache.listing.lock().await;
        let known = listing.as_ref().filter(|known| known.is_fresh(self.ctx.clock.now_ms()));
        Ok(known.map(|known| known.accounts.clone()).unwrap_or_default())
    }

    async fn lists_quickly(&self) -> bool {
        self.cache.listing.lock().await.as_ref().is_none_or(|known| known.took_ms <= QUICK_LISTING_MS)
    }
}
