//! The organization: what its listing shows, and what is said of single accounts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use enroller_core::ids::AccountId;
use enroller_core::observed::Account;

use super::journal::Journal;
use crate::ports::{AwsResult, Organization};

pub(crate) struct FakeOrganization {
    pub(crate) journal: Arc<Journal>,
    pub(crate) listed: Mutex<BTreeMap<AccountId, Account>>,
    /// The word about each account, which a listing may lag behind.
    pub(crate) described: Mutex<BTreeMap<AccountId, Account>>,
}

impl FakeOrganization {
    pub(crate) fn new(journal: &Arc<Journal>) -> Self {
        Self { journal: Arc::clone(journal), listed: Mutex::default(), described: Mutex::default() }
    }

    pub(crate) fn add(&self, account: Account) {
        self.describe(account.clone());
        self.listed.lock().unwrap().insert(account.id, account);
    }

    /// An account that no listing shows yet.
    pub(crate) fn describe(&self, account: Account) {
        self.described.lock().unwrap().insert(account.id, account);
    }

    /// The account leaves. Listings lag behind.
    pub(crate) fn depart(&self, account: AccountId) {
        self.described.lock().unwrap().remove(&account);
    }

    /// The account leaves, and listings know it.
    pub(crate) fn remove(&self, account: AccountId) {
        self.depart(account);
        self.listed.lock().unwrap().remove(&account);
    }
}

#[async_trait]
impl Organization for FakeOrganization {
    async fn accounts(&self) -> AwsResult<Vec<Account>> {
        self.journal.call("organizations:ListAccounts", "").await?;
        Ok(self.listed.lock().unwrap().values().cloned().collect())
    }

    async fn account(&self, id: AccountId) -> AwsResult<Option<Account>> {
        self.journal.call("organizations:DescribeAccount", id).await?;
        Ok(self.described.lock().unwrap().get(&id).cloned())
    }
}
