//! The organization's accounts (AWS Organizations).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_organizations::Client;
use aws_sdk_organizations::types::{Account as SdkAccount, AccountStatus, Parent};
use enroller_core::error::{AwsError, Code};
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

    /// The id of an account in a response, which must be one of our organization.
    fn identify(&self, api: Api, at: &AccountRegion, found: &SdkAccount) -> AwsResult<AccountId> {
        let id = found.id().unwrap_or_default().parse();
        let id = id.map_err(|invalid: Invalid| unparsable(api.operation, at, invalid.to_string()))?;
        let ours = &self.0.settings().organization_id;
        if let Some(other) = organizations_of(found).find(|organization| organization != ours) {
            let message = format!("account {id} is in organization {other}, but the setting organization_id is {ours}");
            return Err(unparsable(api.operation, at, message));
        }
        Ok(id)
    }

    async fn parents(
        &self,
        api: Api,
        at: &AccountRegion,
        id: AccountId,
        found: &SdkAccount,
        above: &mut Above,
    ) -> AwsResult<Vec<ParentId>> {
        let in_path = parents_in_path(id, found.paths());
        let in_path = in_path.map_err(|invalid| unparsable(api.operation, at, invalid.to_string()))?;
        if in_path.is_empty() { self.climb(at, id, above).await } else { Ok(in_path) }
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

/// Whether the parents of one account cannot be read while those of others can: it left a moment ago, a policy hides it,
/// or its path is in a new format. It must not stop everybody else, so its state counts as unknown. Other errors may be
/// over at the next try.
fn is_about_one(error: &AwsError) -> bool {
    match error.code {
        Code::AccessDenied | Code::NotFound | Code::Unparsable => true,
        _ => error.code_text == "ChildNotFoundException",
    }
}

fn account(id: AccountId, found: &SdkAccount, state: AccountState, parents: Vec<ParentId>) -> Account {
    Account { id, name: found.name().unwrap_or_default().to_owned(), state, parents }
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
        let (mut placed, mut doubted, mut doubt) = (0, 0, None);
        for found in &found {
            let id = self.identify(LIST_ACCOUNTS, at, found)?;
            match self.parents(LIST_ACCOUNTS, at, id, found, &mut above).await {
                Ok(parents) => {
                    placed += 1;
                    accounts.push(account(id, found, state(id, found), parents));
                }
                Err(error) if is_about_one(&error) => {
                    tracing::warn!(account = %id, %error, "the organizational units above an account are not known");
                    accounts.push(account(id, found, AccountState::Unknown, Vec::new()));
                    doubted += 1;
                    doubt.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        // What fails for most accounts is no account's fault.
        doubt.filter(|_| doubted >= placed).map_or(Ok(accounts), Err)
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
        let id = self.identify(DESCRIBE_ACCOUNT, at, found)?;
        let parents = self.parents(DESCRIBE_ACCOUNT, at, id, found, &mut Above::new()).await?;
        Ok(Some(account(id, found, state(id, found), parents)))
    }
}
