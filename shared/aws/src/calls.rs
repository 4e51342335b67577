//! How every call is made: with which credentials, in which Region, how fast, and how its error is converted.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sts::config::IdentityCache;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::SdkConfig;
use enroller_core::error::Code;
use enroller_core::ids::AccountRegion;
use enroller_core::settings::Settings;
use enroller_engine::ports::AwsResult;

use crate::credentials::{Session, Sessions};
use crate::errors::{aws_error, unparsable};
use crate::limits::{Api, Limits};

/// The number of clients a service keeps before it drops them all. A client is created in well under a millisecond but
/// takes some tens of kilobytes, too much to keep one for each of ten thousand accounts.
const MAX_CLIENTS: usize = 512;

/// What the clients of all services share.
pub(crate) struct Link {
    pub(crate) settings: Arc<Settings>,
    /// Everything but the Region and, in member accounts, the credentials. It includes endpoint URLs, even those of one
    /// service from `AWS_ENDPOINT_URL_<SERVICE>` or a profile, and configurations derived from it keep them.
    pub(crate) config: SdkConfig,
    pub(crate) sessions: Sessions,
    pub(crate) limits: Arc<Limits>,
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
    clients: Mutex<HashMap<AccountRegion, Kept<C>>>,
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
    /// middle of the request: a denied AssumeRole would then look like a failed connection.
    pub(crate) async fn call<T, E, Answer>(
        &self,
        api: Api,
        at: &AccountRegion,
        request: impl FnOnce(C) -> Answer + Send,
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
        self.link.limits.ready(api, at.account, &at.region).await;
        let client = self.client(at, session.as_ref());
        let error = match request(client).await {
            Ok(answer) => return Ok(answer),
            Err(error) => aws_error(api.operation, at, error),
        };
        if let (Code::CredentialsExpired, Some(session)) = (&error.code, &session) {
            self.link.sessions.forget(at.account, session).await;
        }
        Err(error)
    }

    fn client(&self, at: &AccountRegion, session: Option<&Arc<Session>>) -> C {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_for, client)) = clients.get(at)
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
        let client = (self.make)(&config.build());
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(at.clone(), (session.cloned(), client.clone()));
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
