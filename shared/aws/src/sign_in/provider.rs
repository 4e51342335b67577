//! Providers of credentials that the SDK does not have.

use std::sync::{Mutex, PoisonError};

use aws_config::Region;
use aws_config::credential_process::CredentialProcessProvider;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// The credentials of a profile that a flag names. The variables with keys are passed over, as in the AWS CLI. A profile
/// without credentials leads to the container or the instance, as there.
pub(super) fn of_profile(name: &str, client: SharedHttpClient, home: Region) -> CredentialsProviderChain {
    let config = ProviderConfig::without_region().with_http_client(client).with_region(Some(home));
    let profile = ProfileFileCredentialsProvider::builder().configure(&config).profile_name(name).build();
    CredentialsProviderChain::first_try("Profile", profile)
        .or_else("EcsContainer", EcsCredentialsProvider::builder().configure(&config).build())
        .or_else("Ec2InstanceMetadata", ImdsCredentialsProvider::builder().configure(&config).build())
}

/// The credentials of a profile that rests on a session of `aws login`. The AWS CLI, which began the session, renews it. The
/// SDK could, with elliptic curves in 26 more packages.
pub(super) fn of_login(profile: &str) -> CredentialProcessProvider {
    let quoted = profile.replace('\'', r"'\''");
    CredentialProcessProvider::new(format!("aws configure export-credentials --format process --profile '{quoted}'"))
}

/// Hands its first answer out once more. So what a person has to confirm is asked for once: when signing in, and not
/// again in the first call.
#[derive(Debug)]
pub(super) struct FirstAnswer {
    provider: SharedCredentialsProvider,
    first: Mutex<Option<Credentials>>,
}

impl FirstAnswer {
    pub(super) fn new(provider: SharedCredentialsProvider) -> Self {
        Self { provider, first: Mutex::default() }
    }

    /// Asks, and keeps the answer for the next call.
    pub(super) async fn ask(&self) -> provider::Result {
        let credentials = self.provider.provide_credentials().await?;
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(credentials.clone());
        Ok(credentials)
    }

    async fn next(&self) -> provider::Result {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            Some(credentials) => Ok(credentials),
            None => self.provider.provide_credentials().await,
        }
    }
}

impl ProvideCredentials for FirstAnswer {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.next())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Counting(Arc<AtomicU32>);

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            future::ProvideCredentials::ready(Ok(Credentials::new(format!("KEY{number}"), "s", None, None, "test")))
        }
    }

    #[tokio::test]
    async fn the_first_call_does_not_ask_again_and_the_second_does() {
        let asked = Arc::new(AtomicU32::new(0));
        let provider = FirstAnswer::new(SharedCredentialsProvider::new(Counting(Arc::clone(&asked))));
        assert_eq!(provider.ask().await.unwrap().access_key_id(), "KEY1");
        assert_eq!(provider.provide_credentials().await.unwrap().access_key_id(), "KEY1");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(provider.provide_credentials().await.unwrap().access_key_id(), "KEY2");
    }
}
