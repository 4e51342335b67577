//! How a person's command signs in: with what the AWS CLI would take, through the same proxy and with the same trusted
//! certificates. An error is told in the words of the AWS CLI, with the profile and with what was tried, because the SDK
//! only reports its last try, usually the instance metadata service.

use std::fmt;
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::{ConfigLoader, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;

mod error;
mod network;
mod places;
mod provider;

pub use error::SignInError;
use places::Places;
use provider::FirstAnswer;

/// How long getting credentials may take. The SDK's 5 seconds are too short for a person who has to touch a key.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(120);

/// Where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSource {
    /// The last characters of the access key id. AWS's own tools show as much.
    key_end: String,
    /// The variables, the profile or the service.
    from: String,
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access key ****{} from {}", self.key_end, self.from)
    }
}

/// Gets credentials once, and returns the configuration that goes on with them. `profile` is that of the flag
/// `--profile`. As in the AWS CLI, it precedes the variables with keys, and `AWS_PROFILE` does not.
pub(crate) async fn sign_in(
    loader: ConfigLoader,
    home: Region,
    idle_per_host: usize,
    profile: Option<&str>,
) -> Result<(SdkConfig, CredentialSource), SignInError> {
    let places = Places::read(profile).await?;
    places.check()?;
    let client = network::http_client(places.ca_bundle(), idle_per_host)?;
    let cache = IdentityCache::lazy().load_timeout(SIGN_IN_TIMEOUT).build();
    let mut loader = loader.http_client(client.clone()).identity_cache(cache);
    if let Some(profile) = profile {
        let chain = provider::of_profile(profile, client, home);
        loader = loader.profile_name(profile).credentials_provider(chain);
    }
    if let Some(profile) = places.login_profile() {
        loader = loader.credentials_provider(provider::of_login(profile));
    }
    let config = loader.load().await;
    let Some(provider) = config.credentials_provider() else { return Err(places.not_located(None)) };
    let provider = FirstAnswer::new(provider);
    let credentials = provider.ask().await.map_err(|error| places.failed(&error))?;
    let key = credentials.access_key_id();
    let key_end = key.chars().skip(key.chars().count().saturating_sub(4)).collect();
    let source = CredentialSource { key_end, from: places.used() };
    let provider = SharedCredentialsProvider::new(provider);
    Ok((config.into_builder().credentials_provider(provider).build(), source))
}
