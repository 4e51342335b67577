//! How every call is made: with which credentials, in which Region, how fast, and how its error is converted.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::config::IdentityCache;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use enroller_core::ids::AccountRegion;
use enroller_core::settings::Settings;
use enroller_engine::ports::AwsResult;
use tokio::sync::Semaphore;

use crate::credentials::{Session, Sessions};
use crate::errors::{aws_error, unparsable};
use crate::limits::{Api, Limits};

/// The number of clients a service keeps before it drops them all. A client is created in well under a millisecond but
/// takes some tens of kilobytes, too much to keep one for each of ten thousand accounts.
const MAX_CLIENTS: usize = 512;

/// The calls that may be in progress at once, each with a connection of its own. Accounts, Regions and the calls in each
/// of them multiply.
pub(crate) const MAX_CALLS_IN_PROGRESS: usize = 384;

/// The timeout of a call with all its attempts and the waits between them, well below the 15 minutes a function can
/// run. The engine reserves twice this for the two calls that replace a flow log. Connecting has the SDK's own timeout,
/// 3.1 seconds.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(100);

/// What the clients of all services share.
pub(crate) struct Link {
    pub(crate) settings: Arc<Settings>,
    /// Everything but the Region and, in member accounts, the credentials. It includes endpoint URLs, even those of one
    /// service from `AWS_ENDPOINT_URL_<SERVICE>` or a profile, and configurations derived from it keep them.
    pub(crate) config: SdkConfig,
    pub(crate) sessions: Sessions,
    pub(crate) limits: Arc<Limits>,
    /// The timeouts of calls that only read, if they differ from those in `config`.
    pub(crate) read_timeouts: Option<TimeoutConfig>,
    /// A permit for each call that may be in progress, see [`MAX_CALLS_IN_PROGRESS`].
    pub(crate) in_progress: Semaphore,
}

/// Whose credentials a service is called with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Identity {
    /// The member role of the account the call is about, the central account's own included.
    Member,
    /// The process's own credentials.
    Central,
}

/// A client with the session it was created for.
type Kept<C> = (Option<Arc<Session>>, C);

/// The clients of one service.
pub(crate) struct Calls<C> {
    link: Arc<Link>,
    identity: Identity,
    make: fn(&SdkConfig) -> C,
    /// By account and Region, and by whether it only reads: then it waits less long for an answer.
    clients: Mutex<HashMap<(AccountRegion, bool), Kept<C>>>,
}

impl<C: Clone + Send> Calls<C> {
    pub(crate) fn new(link: &Arc<Link>, identity: Identity, make: fn(&SdkConfig) -> C) -> Self {
        Self { link: Arc::clone(link), identity, make, clients: Mutex::default() }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.link.settings
    }

    /// Makes one request, once the rate limit allows it.
    ///
    /// The role is assumed here, and the client gets plain credentials instead of a provider that it would call in the
    /// middle of the request: a denied AssumeRole would then look like a failed connection. If AWS rejects a session
    /// that may be older than the role behind it, the request is made once more with a new one.
    pub(crate) async fn call<T, E, Answer>(
        &self,
        api: Api,
        at: &AccountRegion,
        request: impl Fn(C) -> Answer + Send + Sync,
    ) -> AwsResult<T>
    where
        Answer: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: Error + ProvideErrorMetadata + Send + 'static,
        T: Send,
    {
        let session = match self.identity {
            Identity::Member => Some(self.link.sessions.of(at.account).await?),
            Identity::Central => None,
        };
        let error = match self.send(api, at, &request, session.as_ref()).await {
            Err(error) => error,
            Ok(answer) => return Ok(answer),
        };
        match &session {
            Some(session) if self.link.sessions.may_be_stale(session, &error) => {
                self.link.sessions.forget(at.account, session).await;
                let renewed = self.link.sessions.of(at.account).await?;
                self.send(api, at, &request, Some(&renewed)).await
            }
            Some(_) | None => Err(error),
        }
    }

    async fn send<T, E, Answer>(
        &self,
        api: Api,
        at: &AccountRegion,
        request: &(impl Fn(C) -> Answer + Send + Sync),
        session: Option<&Arc<Session>>,
    ) -> AwsResult<T>
    where
        Answer: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: Error + ProvideErrorMetadata + Send + 'static,
        T: Send,
    {
        self.link.limits.ready(api, at.account, &at.region).await;
        // The semaphore is never closed, and a call without a permit would only be one call too many.
        let _permit = self.link.in_progress.acquire().await.ok();
        let client = self.client(api, at, session);
        request(client).await.map_err(|error| aws_error(api.operation, at, error))
    }

    fn client(&self, api: Api, at: &AccountRegion, session: Option<&Arc<Session>>) -> C {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (at.clone(), api.reads());
        if let Some((made_for, client)) = clients.get(&key)
            && made_for.as_ref().map(Arc::as_ptr) == session.map(Arc::as_ptr)
        {
            return client.clone();
        }
        let region = aws_types::region::Region::new(at.region.as_str().to_owned());
        let mut config = self.link.config.to_builder().region(region);
        if let Some(session) = session {
            // The SDK's shared identity cache would keep an entry for every session there ever was.
            config = config
                .credentials_provider(SharedCredentialsProvider::new(session.credentials.clone()))
                .identity_cache(IdentityCache::no_cache());
        }
        if let (true, Some(timeouts)) = (api.reads(), &self.link.read_timeouts) {
            config = config.timeout_config(timeouts.clone());
        }
        let client = (self.make)(&config.build());
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(key, (session.cloned(), client.clone()));
        client
    }
}

/// Fetches pages until AWS returns no further token. Even an empty page may have one.
pub(crate) async fn all_pages<T, Page>(
    api: Api,
    at: &AccountRegion,
    mut page: impl FnMut(Option<String>) -> Page,
) -> AwsResult<Vec<T>>
where
    Page: Future<Output = AwsResult<(Vec<T>, Option<String>)>>,
{
    let mut all = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let (items, next) = page(token.clone()).await?;
        all.extend(items);
        match next.filter(|next| !next.is_empty()) {
            None => return Ok(all),
            // Otherwise the same page would be fetched for ever.
            Some(next) if token.as_ref() == Some(&next) => {
                return Err(unparsable(api.operation, at, format!("page token {next:?} returns itself")));
            }
            Some(next) => token = Some(next),
        }
    }
}
