//! The organization's accounts (AWS Organizations).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_organizations::Client;
use aws_sdk_organizations::types::{Account as SdkAccount, AccountStatus, Parent};
use enroller_core::error::AwsError;
use enroller_core::ids::{AccountId, AccountRegion, Invalid, OrganizationId, ParentId};
use enroller_core::observed::{Account, AccountState};
use enroller_engine::ports::{AwsResult, Organization};

use crate::calls::{CALL_TIMEOUT, Calls, Identity, Link, all_pages};
use crate::errors::unparsable;
use crate::limits::{Api, DESCRIBE_ACCOUNT, LIST_ACCOUNTS, LIST_PARENTS};

#[cfg(test)]
mod tests;

/// The largest page of ListAccounts (API reference).
const PAGE: i32 = 20;

/// The attempts of one page of a listing, where calls are retried at all. A listing of ten thousand accounts has 500
/// pages, other tools share the organization's rate, and one page that is given up loses all of them. The SDK waits at
/// most 20 seconds between two attempts, so that these fit into the timeout of a call.
const PAGE_ATTEMPTS: u32 = 8;

/// More than the root and the five levels of OUs below it that an organization can have (Organizations quotas).
const MAX_DEPTH: usize = 10;

/// The parent of each OU, as far as fetched. It is kept for one listing only, because OUs can be moved.
type Above = BTreeMap<ParentId, ParentId>;

pub(crate) struct Organizations(Calls<Client>);

impl Organizations {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        Self(Calls::new(link, Identity::Central, Client::new))
    }

    fn at(&self) -> AwsResult<AccountRegion> {
        let settings = self.0.settings();
        let region = settings
            .partition()
            .organizations_region()
            .parse()
            .map_err(|invalid: Invalid| AwsError::unparsable(LIST_ACCOUNTS.operation, invalid.to_string()))?;
        Ok(AccountRegion { account: settings.central_account, region })
    }

    async fn read(&self, api: Api, at: &AccountRegion, found: &SdkAccount, above: &mut Above) -> AwsResult<Account> {
        let wrong = |invalid: Invalid| unparsable(api.operation, at, invalid.to_string());
        let id: AccountId = found.id().unwrap_or_default().parse().map_err(wrong)?;
        let ours = &self.0.settings().organization_id;
        if let Some(other) = organizations_of(found).find(|organization| organization != ours) {
            let message = format!("account {id} is in organization {other}, but the setting organization_id is {ours}");
            return Err(unparsable(api.operation, at, message));
        }
        let mut parents = parents_in_path(id, found.paths()).map_err(wrong)?;
        if parents.is_empty() {
            parents = self.climb(at, id, above).await?;
        }
        Ok(Account { id, name: found.name().unwrap_or_default().to_owned(), state: state(id, found), parents })
    }

    /// The roots and OUs above an account, fetched one by one, outermost first.
    async fn climb(&self, at: &AccountRegion, account: AccountId, above: &mut Above) -> AwsResult<Vec<ParentId>> {
        let mut parents = vec![self.parent(at, account.to_string()).await?];
        while let Some(child) = parents.last().filter(|parent| !is_root(parent)).cloned() {
            if parents.len() > MAX_DEPTH {
                let message = format!("{account} has more than {MAX_DEPTH} parents and no root: {parents:?}");
                return Err(unparsable(LIST_PARENTS.operation, at, message));
            }
            let parent = match above.get(&child) {
                Some(known) => known.clone(),
                None => self.parent(at, child.to_string()).await?,
            };
            above.insert(child, parent.clone());
            parents.push(parent);
        }
        parents.reverse();
        Ok(parents)
    }

    async fn parent(&self, at: &AccountRegion, child: String) -> AwsResult<ParentId> {
        let parents: Vec<Parent> = all_pages(LIST_PARENTS, at, async |token| {
            let request = |client: Client| client.list_parents().child_id(&child).set_next_token(token.clone()).send();
            let page = self.0.call(LIST_PARENTS, at, request).await?;
            Ok((page.parents.unwrap_or_default(), page.next_token))
        })
        .await?;
        let id = parents.first().and_then(Parent::id).unwrap_or_default();
        id.parse().map_err(|invalid| unparsable(LIST_PARENTS.operation, at, format!("parent of {child}: {invalid}")))
    }
}

/// What a page of a listing overrides in the client's configuration.
fn patient(client: &Client) -> aws_sdk_organizations::config::Builder {
    let mut builder = aws_sdk_organizations::Config::builder();
    match client.config().retry_config() {
        Some(retries) if retries.has_retry() => {
            builder.set_retry_config(Some(retries.clone().with_max_attempts(PAGE_ATTEMPTS)));
        }
        Some(_) | None => return builder,
    }
    // A call that only reads would end before its attempts do.
    if let Some(timeouts) = client.config().timeout_config().filter(|it| it.has_timeouts()) {
        builder.set_timeout_config(Some(timeouts.to_builder().operation_timeout(CALL_TIMEOUT).build()));
    }
    builder
}

fn is_root(parent: &ParentId) -> bool {
    parent.as_str().starts_with("r-")
}

/// The organizations that an account's ARN and paths name. If they are not ours, the central account has moved to
/// another organization or the setting is wrong. Then the accounts that are missing have not departed, and those that
/// are there must not be granted.
fn organizations_of(found: &SdkAccount) -> impl Iterator<Item = OrganizationId> {
    let arn = found.arn().unwrap_or_default().split(":account/").nth(1);
    let paths = found.paths().iter().map(String::as_str);
    arn.into_iter().chain(paths).filter_map(|path| path.split('/').next()?.parse().ok())
}

/// The roots and OUs in a path such as `o-exampleorg1/r-abcd/ou-abcd-11111111/111122223333/`.
fn parents_in_path(account: AccountId, paths: &[String]) -> Result<Vec<ParentId>, Invalid> {
    let path = paths.first().map_or("", String::as_str);
    let account = account.to_string();
    path.split('/')
        .filter(|part| !part.is_empty() && *part != account && part.parse::<OrganizationId>().is_err())
        .map(str::parse)
        .collect()
}

fn state(id: AccountId, found: &SdkAccount) -> AccountState {
    let Some(state) = found.state() else { return state_of_old(found.status()) };
    match state.as_str() {
        "PENDING_ACTIVATION" => AccountState::PendingActivation,
        "ACTIVE" => AccountState::Active,
        "SUSPENDED" => AccountState::Suspended,
        "PENDING_CLOSURE" => AccountState::PendingClosure,
        "CLOSED" => AccountState::Closed,
        other => {
            tracing::warn!(account = %id, state = other, "an account has a state that this version does not know");
            AccountState::Unknown
        }
    }
}

/// The state from `Status`, which was retired in favour of `State` in September 2026; endpoints that return only
/// `Status` are still supported. Its SUSPENDED meant closed, but a grant is not removed because of a value that has
/// since changed its meaning.
fn state_of_old(status: Option<&AccountStatus>) -> AccountState {
    match status {
        Some(AccountStatus::Active) => AccountState::Active,
        Some(AccountStatus::PendingClosure) => AccountState::PendingClosure,
        Some(AccountStatus::Suspended) => AccountState::Suspended,
        Some(_) | None => AccountState::Unknown,
    }
}

#[async_trait]
impl Organization for Organizations {
    async fn accounts(&self) -> AwsResult<Vec<Account>> {
        let at = &self.at()?;
        let found = all_pages(LIST_ACCOUNTS, at, async |token| {
            let request = |client: Client| {
                let patience = patient(&client);
                let page = client.list_accounts().max_results(PAGE).set_next_token(token.clone());
                page.customize().config_override(patience).send()
            };
            let page = self.0.call(LIST_ACCOUNTS, at, request).await?;
            Ok((page.accounts.unwrap_or_default(), page.next_token))
        })
        .await?;
        let mut above = Above::new();
        let mut accounts = Vec::with_capacity(found.len());
        for account in &found {
            accounts.push(self.read(LIST_ACCOUNTS, at, account, &mut above).await?);
        }
        Ok(accounts)
    }

    async fn account(&self, id: AccountId) -> AwsResult<Option<Account>> {
        let at = &self.at()?;
        let request = |client: Client| client.describe_account().account_id(id.to_string()).send();
        let answer = match self.0.call(DESCRIBE_ACCOUNT, at, request).await {
            Ok(answer) => answer,
            Err(error) if error.code_text == "AccountNotFoundException" => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = answer.account();
        let found = found.ok_or_else(|| unparsable(DESCRIBE_ACCOUNT.operation, at, "the response has no account"))?;
        self.read(DESCRIBE_ACCOUNT, at, found, &mut Above::new()).await.map(Some)
    }
}
