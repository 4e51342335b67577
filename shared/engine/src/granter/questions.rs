//! Asking Organizations about single accounts, whose answer counts more than any listing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use enroller_core::grants::RegionGrants;
use enroller_core::ids::AccountId;
use enroller_core::log::{LogEntry, Outcome};
use enroller_core::observed::{Account, AccountState};
use futures::stream::{StreamExt, iter};

use super::regions::RegionSync;
use super::{GrantPlanner, GrantReport, GrantSync, GranterError, Membership, accounts};

/// The most suspects that one sync asks about. DescribeAccount allows 20 calls a second for an account and 24 for the
/// whole organization (Organizations user guide, "Quotas"), so this takes half a minute of the function's five. The
/// listing of ten thousand accounts takes another one.
const SUSPECTS_PER_SYNC: usize = 600;

/// How long one sync goes on asking about suspects, in milliseconds, if answers are slow. The writes need the rest.
const ASKING_MS: u64 = 60_000;

/// Questions asked at the same time.
const ASKED_AT_ONCE: usize = 8;

/// How long the answer about a suspect is remembered, in milliseconds. A sync that could not ask about all is followed
/// by another one, which must not ask about the same ones. An account that came back since is listed again, and then it
/// is no suspect.
const ANSWERED_MS: u64 = 3_600_000;

/// What Organizations said of an account: `None` if it is not a member.
pub(super) type Answer = Result<Option<Account>, GranterError>;

/// The last answer about a suspect.
#[derive(Debug, Clone)]
enum Verdict {
    /// It is closed or not a member.
    Departed,
    /// It is a member, though the listing lacks it.
    Member(Account),
    /// There was no usable answer, so it is asked about again, after the others.
    Doubtful,
}

/// The last answers about suspects, each with its time in epoch milliseconds.
#[derive(Default)]
pub(super) struct VerdictCache(Mutex<BTreeMap<AccountId, (u64, Verdict)>>);

impl VerdictCache {
    fn fresh(&self, now_ms: u64) -> BTreeMap<AccountId, Verdict> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at_ms, _)| now_ms.saturating_sub(*at_ms) < ANSWERED_MS);
        known.iter().map(|(id, (_, verdict))| (*id, verdict.clone())).collect()
    }

    /// The members that a listing lacked lately.
    pub(super) fn members(&self, now_ms: u64) -> BTreeMap<AccountId, Account> {
        let member = |(id, verdict)| match verdict {
            Verdict::Member(account) => Some((id, account)),
            Verdict::Departed | Verdict::Doubtful => None,
        };
        self.fresh(now_ms).into_iter().filter_map(member).collect()
    }

    /// Forgets what was said of an account, because there is a newer answer about it. It may have left and come back.
    pub(super) fn forget(&self, id: AccountId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn remember(&self, id: AccountId, at_ms: u64, verdict: Verdict) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (at_ms, verdict));
    }
}

/// Whether an answer is evidence that the account has departed.
pub(super) fn is_gone(account: Option<&Account>) -> bool {
    account.is_none_or(|it| it.state == AccountState::Closed)
}

impl GrantPlanner {
    async fn ask(&self, id: AccountId) -> Answer {
        let answer = self.organization.account(id).await;
        let account = answer.map_err(|source| GranterError::NotAnswered { account: id, source })?;
        match account {
            Some(account) if account.state == AccountState::Unknown => Err(GranterError::UnknownState { account: id }),
            account => Ok(account),
        }
    }

    async fn ask_into(&self, id: AccountId, answers: &Mutex<BTreeMap<AccountId, Answer>>) {
        let answer = self.ask(id).await;
        answers.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
    }

    /// Asks about each account, several at once. Those that `deadline_ms` cuts off are missing in the result.
    pub(super) async fn ask_all(
        &self,
        ids: impl IntoIterator<Item = AccountId>,
        deadline_ms: Option<u64>,
    ) -> BTreeMap<AccountId, Answer> {
        let answers = Mutex::new(BTreeMap::new());
        let asks = iter(ids).map(|id| self.ask_into(id, &answers));
        let asking = asks.buffer_unordered(ASKED_AT_ONCE).collect::<()>();
        match deadline_ms {
            Some(deadline_ms) => drop(self.ctx.within(deadline_ms, asking).await),
            None => asking.await,
        }
        answers.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out which granted accounts that the listing lacks have departed. Each is asked about once, for all Regions
    /// together, and never more than [`SUSPECTS_PER_SYNC`] in one sync.
    ///
    /// A listing alone is not evidence. The answer about the very account is. Without one the account keeps its grant.
    pub(super) async fn confirm_departed(
        &self,
        members: &mut Membership,
        regions: &[RegionSync],
        work: &GrantSync,
        report: &mut GrantReport,
    ) {
        // Only a requested sync has a fresh listing, so only then are granted accounts checked that no message names.
        if !work.sync || !work.means_every_account() {
            return;
        }
        let now_ms = self.ctx.clock.now_ms();
        let mut known = self.verdicts.fresh(now_ms);
        let mut overlooked = Vec::new();
        let mut open = Vec::new();
        for id in suspects(regions, members) {
            match known.remove(&id) {
                Some(Verdict::Departed) => {
                    members.departed.insert(id);
                }
                Some(Verdict::Member(account)) => overlooked.push(account),
                Some(Verdict::Doubtful) => open.push((true, id)),
                None => open.push((false, id)),
            }
        }
        open.sort_unstable();
        let left = open.split_off(open.len().min(SUSPECTS_PER_SYNC));
        members.undecided.extend(left.into_iter().map(|(_, id)| id));
        let asked: Vec<AccountId> = open.iter().map(|(_, id)| *id).collect();
        let mut answers = self.ask_all(asked, Some(now_ms.saturating_add(ASKING_MS))).await;
        report.suspects_asked = answers.len();
        for (_, id) in open {
            let verdict = match answers.remove(&id) {
                Some(Ok(Some(account))) if !is_gone(Some(&account)) => {
                    members.overlooked.insert(id);
                    overlooked.push(account.clone());
                    Verdict::Member(account)
                }
                Some(Ok(_)) => {
                    members.departed.insert(id);
                    Verdict::Departed
                }
                Some(Err(doubt)) => {
                    report.doubt("revoke", doubt);
                    Verdict::Doubtful
                }
                None => {
                    members.undecided.insert(id);
                    Verdict::Doubtful
                }
            };
            self.verdicts.remember(id, now_ms, verdict);
        }
        self.adopt(overlooked, members, work, report).await;
        report.not_asked = members.undecided.len();
        if report.not_asked > 0 {
            report.decisions.push(not_asked(report.not_asked));
        }
    }
}

/// The accounts that are granted somewhere and that the listing lacks.
fn suspects(regions: &[RegionSync], members: &Membership) -> BTreeSet<AccountId> {
    let listed = regions.iter().filter_map(|region| region.grants.as_ref()).flat_map(RegionGrants::listed);
    listed.filter(|id| !members.listed.contains(id) && !members.departed.contains(id)).collect()
}

fn not_asked(count: usize) -> LogEntry {
    let cause = format!(
        "{} that the listing lacks could not be asked about in this sync, and no grant of theirs is removed",
        accounts(count)
    );
    LogEntry::about(None, "revoke", "accounts", Outcome::RetryLater, cause)
        .next("no action needed: another sync or the next sweep asks about them")
}
