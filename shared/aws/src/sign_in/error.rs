//! Why there are no credentials.

use std::error::Error;
use std::path::PathBuf;

/// Why there are no credentials. The first sentence of each is the AWS CLI's.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// A flag or a variable names a profile that no file has.
    #[error(
        "The config profile ({profile}) could not be found\n  {named_by} names it; {}",
        known_profiles(.known)
    )]
    ProfileNotFound {
        /// The profile.
        profile: String,
        /// The flag or the variable.
        named_by: &'static str,
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
    /// The session of IAM Identity Center (SSO) is over, or never began.
    #[error(
        "The SSO session associated with this profile has expired or is otherwise invalid. To refresh this SSO session \
         run aws sso login with the corresponding profile.\n  cause: {cause}\n  next: aws sso login --profile {profile}"
    )]
    SsoSession {
        /// The profile that has the session.
        profile: String,
        /// What the SDK reports.
        cause: String,
    },
    /// The person is signed in to IAM Identity Center (SSO), and may not have this role.
    #[error(
        "An error occurred (ForbiddenException) when calling the GetRoleCredentials operation: No access\n  \
         cause: {cause}\n  next: check sso_account_id and sso_role_name of the profile {profile}, or have the permission \
         set assigned to you"
    )]
    SsoRole {
        /// The profile that has the session.
        profile: String,
        /// What the SDK reports.
        cause: String,
    },
    /// The session of `aws login` is over, or never began.
    #[error(
        "Your session has expired or credentials have changed. Please reauthenticate using 'aws login'.\n  \
         cause: {cause}\n  next: aws login --profile {profile}"
    )]
    LoginSession {
        /// The profile that has the session.
        profile: String,
        /// What the SDK reports.
        cause: String,
    },
    /// The command in `credential_process` failed, or printed something else.
    #[error(
        "Error when retrieving credentials from custom-process: {cause}\n  \
         next: run the command of credential_process in the profile {profile} by itself, and correct it"
    )]
    Process {
        /// The profile that has the command.
        profile: String,
        /// What the SDK reports, with the standard error of the command.
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
    /// The file of trusted certificates cannot be used.
    #[error(
        "Could not find a suitable TLS CA certificate bundle, invalid path: {}\n  {named_by} names it: {cause}\n  \
         next: correct the path, or the file", .path.display()
    )]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// The variable, or the key and its profile.
        named_by: String,
        /// Why it cannot be used.
        cause: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
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
