//! Whose credentials a process has, and where they come from. An error is told in the words of the AWS CLI, with the
//! profile and with what was tried, because the SDK only reports its last try, usually the instance metadata service.

use std::error::Error;
use std::fmt;

use aws_config::profile::{Profile, ProfileSet};
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_types::SdkConfig;
// The SDK reads profile files only through these two, although it calls them internal.
use aws_types::os_shim_internal::{Env, Fs};

use crate::errors::chain;

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

/// Why there are no credentials. The first sentence of each is the AWS CLI's.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// `AWS_PROFILE` names a profile that no file has.
    #[error(
        "The config profile ({profile}) could not be found\n  AWS_PROFILE names it; {}",
        known_profiles(.known)
    )]
    ProfileNotFound {
        /// The profile.
        profile: String,
        /// The profiles that exist.
        known: Vec<String>,
    },
    /// A profile file cannot be parsed.
    #[error("Unable to parse config file")]
    Unparsable(#[source] Box<dyn Error + Send + Sync>),
    /// One of two variables is missing.
    #[error("Partial credentials found in env, missing: {0}")]
    Partial(&'static str),
    /// No source has credentials.
    #[error("Unable to locate credentials. You can configure credentials by running \"aws configure\".\n  tried:{}", list(.0))]
    NotLocated(Vec<String>),
    /// The profile signs in with IAM Identity Center (SSO), which failed.
    #[error(
        "The SSO session associated with this profile has expired or is otherwise invalid, or this program cannot use it. \
         To refresh this SSO session run aws sso login with the corresponding profile.\n  cause: {cause}\n  \
         next: aws sso login --profile {profile} && eval \"$(aws configure export-credentials --profile {profile} --format env)\""
    )]
    Sso {
        /// The profile.
        profile: String,
        /// What the SDK reports.
        cause: String,
    },
    /// A source has credentials, and getting them failed.
    #[error(
        "Error when retrieving credentials from {from}: {cause}\n  \
         next: correct it, or let the AWS CLI do it: \
         eval \"$(aws configure export-credentials --profile {profile} --format env)\""
    )]
    Failed {
        /// The profile in use.
        profile: String,
        /// The variables, the profile or the service.
        from: String,
        /// What the SDK reports.
        cause: String,
    },
}

fn known_profiles(known: &[String]) -> String {
    match known {
        [] => "~/.aws/config and ~/.aws/credentials have no profiles".to_owned(),
        known => format!("the profiles in ~/.aws/config and ~/.aws/credentials are {}", known.join(", ")),
    }
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n    {line}")).collect()
}

/// Gets the credentials once.
pub(crate) async fn sign_in(config: &SdkConfig) -> Result<CredentialSource, SignInError> {
    let profiles = aws_config::profile::load(&Fs::real(), &Env::real(), &Default::default(), None).await;
    let profiles = profiles.map_err(|error| SignInError::Unparsable(error.into()))?;
    let places = Places { env: Env::real(), profiles };
    places.check()?;
    let Some(provider) = config.credentials_provider() else { return Err(places.not_located(None)) };
    match provider.provide_credentials().await {
        Ok(credentials) => {
            let key = credentials.access_key_id();
            let key_end = key.chars().skip(key.chars().count().saturating_sub(4)).collect();
            Ok(CredentialSource { key_end, from: places.used() })
        }
        Err(error) => Err(places.failed(&error)),
    }
}

/// Where credentials may be: the environment and the profile files.
struct Places {
    env: Env,
    profiles: ProfileSet,
}

impl Places {
    fn variable(&self, name: &str) -> Option<String> {
        self.env.get(name).ok().filter(|value| !value.trim().is_empty())
    }

    fn profile(&self) -> Option<&Profile> {
        self.profiles.get_profile(self.profiles.selected_profile())
    }

    /// What the AWS CLI refuses, and the SDK passes over in silence.
    fn check(&self) -> Result<(), SignInError> {
        if let Some(profile) = self.variable("AWS_PROFILE")
            && self.profiles.get_profile(&profile).is_none()
        {
            let mut known: Vec<String> = self.profiles.profiles().map(str::to_owned).collect();
            known.sort();
            return Err(SignInError::ProfileNotFound { profile, known });
        }
        match (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY")) {
            (Some(_), None) => Err(SignInError::Partial("AWS_SECRET_ACCESS_KEY")),
            (None, Some(_)) => Err(SignInError::Partial("AWS_ACCESS_KEY_ID")),
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }

    /// The first place that has something, in the SDK's order.
    fn used(&self) -> String {
        if self.variable("AWS_ACCESS_KEY_ID").is_some() {
            let passed_over =
                self.variable("AWS_PROFILE").map(|profile| format!(", which precede AWS_PROFILE={profile}"));
            let from = "the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            return format!("{from}{}", passed_over.unwrap_or_default());
        }
        if let Some(kind) = self.profile().and_then(kind_of) {
            return format!("the profile {} ({kind})", self.profiles.selected_profile());
        }
        if self.variable("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
            return "the web identity token of AWS_WEB_IDENTITY_TOKEN_FILE".to_owned();
        }
        if self.in_container() {
            return "the container's credentials (AWS_CONTAINER_CREDENTIALS_…)".to_owned();
        }
        IMDS.to_owned()
    }

    fn in_container(&self) -> bool {
        let variables = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
        variables.iter().any(|name| self.variable(name).is_some())
    }

    fn failed(&self, error: &CredentialsError) -> SignInError {
        let cause = chain(error);
        let profile = self.profiles.selected_profile().to_owned();
        let uses_profile = self.variable("AWS_ACCESS_KEY_ID").is_none();
        match error {
            CredentialsError::CredentialsNotLoaded(_) => self.not_located(Some(cause)),
            _ if uses_profile && self.profile().and_then(kind_of) == Some(SSO) => SignInError::Sso { profile, cause },
            // The last place is asked if all others have nothing. On most machines it is not there, or refuses.
            _ if self.used() == IMDS => self.not_located(Some(cause)),
            _ => SignInError::Failed { profile, from: self.used(), cause },
        }
    }

    /// `cause` is what the SDK reports: a line for each place that has nothing, or the error of its last try.
    fn not_located(&self, cause: Option<String>) -> SignInError {
        let cause = cause.unwrap_or_else(|| "not tried".to_owned());
        let of = |place: &str| {
            let line = cause.lines().find_map(|line| line.trim().strip_prefix(place)?.strip_prefix(": "))?;
            Some(line.trim_start_matches("the credential provider was not enabled: ").to_owned())
        };
        let profile = self.profiles.selected_profile();
        let in_profile = match self.profile() {
            None => "it is in neither ~/.aws/config nor ~/.aws/credentials".to_owned(),
            Some(_) => of("Profile").unwrap_or_else(|| "it has no credentials".to_owned()),
        };
        let mut tried = vec![
            "environment: AWS_ACCESS_KEY_ID is not set".to_owned(),
            format!("profile {profile}: {in_profile}"),
            "web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set".to_owned(),
            "container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and …_FULL_URI are not set".to_owned(),
            format!("instance metadata service (IMDS): {}", of("Ec2InstanceMetadata").unwrap_or(cause)),
        ];
        if self.variable("AWS_DEFAULT_PROFILE").is_some() && self.variable("AWS_PROFILE").is_none() {
            tried.push("AWS_DEFAULT_PROFILE is set and not used here: set AWS_PROFILE".to_owned());
        }
        SignInError::NotLocated(tried)
    }
}

const SSO: &str = "SSO";

const IMDS: &str = "the instance metadata service (IMDS)";

/// How a profile gets credentials, if it does.
fn kind_of(profile: &Profile) -> Option<&'static str> {
    let has = |key: &str| profile.get(key).is_some();
    match () {
        () if has("role_arn") => Some("assumed role"),
        () if has("sso_session") || has("sso_start_url") => Some(SSO),
        () if has("credential_process") => Some("credential process"),
        () if has("login_session") => Some("login session"),
        () if has("aws_access_key_id") => Some("access key"),
        () => None,
    }
}
