//! Where credentials may be: the environment and the profile files.

use std::path::PathBuf;

use aws_config::profile::{Profile, ProfileSet};
use aws_credential_types::provider::error::CredentialsError;
// The SDK reads profile files only through these two, although it calls them internal.
use aws_types::os_shim_internal::{Env, Fs};

use super::error::SignInError;
use super::network::CaBundle;
use crate::errors::chain;

/// The environment and the profile files.
pub(super) struct Places {
    env: Env,
    profiles: ProfileSet,
    /// The selected profile is that of the flag `--profile`.
    by_flag: bool,
}

impl Places {
    /// Reads the profile files. `profile` is that of the flag.
    pub(super) async fn read(profile: Option<&str>) -> Result<Self, SignInError> {
        let selected = profile.map(|name| name.to_owned().into());
        let profiles = aws_config::profile::load(&Fs::real(), &Env::real(), &Default::default(), selected).await;
        let profiles = profiles.map_err(|error| SignInError::Unparsable(error.into()))?;
        Ok(Self { env: Env::real(), profiles, by_flag: profile.is_some() })
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.env.get(name).ok().filter(|value| !value.trim().is_empty())
    }

    fn selected(&self) -> &str {
        self.profiles.selected_profile()
    }

    fn profile(&self) -> Option<&Profile> {
        self.profiles.get_profile(self.selected())
    }

    /// The variables with keys, unless a flag names a profile.
    fn keys_count(&self) -> bool {
        !self.by_flag && self.variable("AWS_ACCESS_KEY_ID").is_some()
    }

    /// What the AWS CLI refuses, and the SDK passes over in silence.
    pub(super) fn check(&self) -> Result<(), SignInError> {
        let named_by = match self.by_flag {
            true => Some("--profile"),
            false => self.variable("AWS_PROFILE").map(|_| "AWS_PROFILE"),
        };
        if let Some(named_by) = named_by
            && self.profile().is_none()
        {
            let mut known: Vec<String> = self.profiles.profiles().map(str::to_owned).collect();
            known.sort();
            return Err(SignInError::ProfileNotFound { profile: self.selected().to_owned(), named_by, known });
        }
        match (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY")) {
            _ if self.by_flag => Ok(()),
            (Some(_), None) => Err(SignInError::Partial("AWS_SECRET_ACCESS_KEY")),
            (None, Some(_)) => Err(SignInError::Partial("AWS_ACCESS_KEY_ID")),
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }

    /// The certificates to trust, if they are not those of the machine. The variable precedes the profile.
    pub(super) fn ca_bundle(&self) -> Option<CaBundle> {
        if let Some(path) = self.variable("AWS_CA_BUNDLE") {
            return Some(CaBundle { path: path.into(), named_by: "AWS_CA_BUNDLE".to_owned() });
        }
        let path = self.profile()?.get("ca_bundle").filter(|path| !path.trim().is_empty())?;
        let named_by = format!("ca_bundle of the profile {}", self.selected());
        let path = match (path.strip_prefix("~/"), self.variable("HOME")) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
            _ => path.into(),
        };
        Some(CaBundle { path, named_by })
    }

    /// The first place that has something, in the SDK's order.
    pub(super) fn used(&self) -> String {
        if self.keys_count() {
            let passed_over =
                self.variable("AWS_PROFILE").map(|profile| format!(", which precede AWS_PROFILE={profile}"));
            let from = "the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            return format!("{from}{}", passed_over.unwrap_or_default());
        }
        if let Some(kind) = self.profile().and_then(Kind::of) {
            let base = self.base().filter(|(name, _)| *name != self.selected());
            let with = base.map(|(name, kind)| format!(", with the profile {name}: {}", kind.name()));
            return format!("the profile {} ({}{})", self.selected(), kind.name(), with.unwrap_or_default());
        }
        if !self.by_flag && self.variable("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
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

    /// The profile at the end of the `source_profile` keys, which has the credentials that the roles are assumed with.
    fn base(&self) -> Option<(&str, Kind)> {
        let mut profile = self.profile()?;
        // Longer than any real chain. The SDK reports a chain that never ends.
        for _ in 0..16 {
            match profile.get("source_profile").filter(|_| Kind::of(profile) == Some(Kind::Role)) {
                Some(next) if next != profile.name() => profile = self.profiles.get_profile(next)?,
                // A role whose source is itself has its other keys for that.
                Some(_) => return Kind::without_role(profile).map(|kind| (profile.name(), kind)),
                None => return Kind::of(profile).map(|kind| (profile.name(), kind)),
            }
        }
        None
    }

    /// The selected profile, if it rests on a session of `aws login`.
    pub(super) fn login_profile(&self) -> Option<&str> {
        let rests = !self.keys_count() && matches!(self.base(), Some((_, Kind::Login)));
        rests.then(|| self.selected())
    }

    pub(super) fn failed(&self, error: &CredentialsError) -> SignInError {
        let cause = chain(error);
        if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
            return self.not_located(Some(cause));
        }
        if !self.keys_count()
            && let Some((profile, kind)) = self.base()
            && let Some(found) = kind.failed(profile, &cause)
        {
            return found;
        }
        match self.used() {
            // The last place is asked if all others have nothing. On most machines it is not there, or refuses.
            from if from == IMDS => self.not_located(Some(cause)),
            from => SignInError::Failed { profile: self.selected().to_owned(), from, cause },
        }
    }

    /// `cause` is what the SDK reports: a line for each place that has nothing, or the error of its last try.
    pub(super) fn not_located(&self, cause: Option<String>) -> SignInError {
        let cause = cause.unwrap_or_else(|| "not tried".to_owned());
        let of = |place: &str| {
            let line = cause.lines().find_map(|line| line.trim().strip_prefix(place)?.strip_prefix(": "))?;
            Some(line.trim_start_matches("the credential provider was not enabled: ").to_owned())
        };
        let in_profile = match self.profile() {
            None => "it is in neither ~/.aws/config nor ~/.aws/credentials".to_owned(),
            Some(_) => of("Profile").unwrap_or_else(|| "it has no credentials".to_owned()),
        };
        let variables = [
            "environment: AWS_ACCESS_KEY_ID is not set".to_owned(),
            "web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set".to_owned(),
        ];
        let passed_over = |line: String| match self.by_flag {
            true => line.split(':').next().map(|place| format!("{place}: passed over, because of --profile")),
            false => Some(line),
        };
        let [environment, web_identity] = variables.map(passed_over);
        let mut tried: Vec<String> = environment.into_iter().collect();
        tried.push(format!("profile {}: {in_profile}", self.selected()));
        tried.extend(web_identity);
        tried.push("container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and …_FULL_URI are not set".to_owned());
        tried.push(format!("instance metadata service (IMDS): {}", of("Ec2InstanceMetadata").unwrap_or(cause)));
        let unnamed = !self.by_flag && self.variable("AWS_PROFILE").is_none();
        if self.variable("AWS_DEFAULT_PROFILE").is_some() && unnamed {
            tried.push("AWS_DEFAULT_PROFILE is set and not used here: set AWS_PROFILE".to_owned());
        }
        SignInError::NotLocated(tried)
    }
}

const IMDS: &str = "the instance metadata service (IMDS)";

/// How a profile gets credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Role,
    WebIdentity,
    Sso,
    Login,
    Process,
    Key,
}

impl Kind {
    /// In the SDK's order.
    fn of(profile: &Profile) -> Option<Self> {
        let has = |key: &str| profile.get(key).is_some();
        match () {
            () if has("role_arn") && has("web_identity_token_file") => Some(Self::WebIdentity),
            () if has("role_arn") => Some(Self::Role),
            () => Self::without_role(profile),
        }
    }

    fn without_role(profile: &Profile) -> Option<Self> {
        let has = |key: &str| profile.get(key).is_some();
        match () {
            () if has("sso_session") || has("sso_start_url") => Some(Self::Sso),
            () if has("login_session") => Some(Self::Login),
            () if has("credential_process") => Some(Self::Process),
            () if has("aws_access_key_id") => Some(Self::Key),
            () => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Role => "assumed role",
            Self::WebIdentity => "web identity",
            Self::Sso => "SSO",
            Self::Login => "login session",
            Self::Process => "credential process",
            Self::Key => "access key",
        }
    }

    /// What an error means to a person who signs in like this, if it is not one of the network or of a role that is assumed
    /// afterwards.
    fn failed(self, profile: &str, cause: &str) -> Option<SignInError> {
        if ["dispatch failure", "timeout", "AssumeRole", "AccessDenied"].iter().any(|word| cause.contains(word)) {
            return None;
        }
        let (profile, cause) = (profile.to_owned(), cause.to_owned());
        match self {
            Self::Sso if cause.contains("ForbiddenException") => Some(SignInError::SsoRole { profile, cause }),
            Self::Sso => Some(SignInError::SsoSession { profile, cause }),
            Self::Login => Some(SignInError::LoginSession { profile, cause }),
            Self::Process => Some(SignInError::Process { profile, cause }),
            Self::Role | Self::WebIdentity | Self::Key => None,
        }
    }
}
