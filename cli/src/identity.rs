//! Who is calling. Every command asks before it does anything else: wrong credentials look like a missing member stack
//! or a disabled Region later, and must change nothing.

use enroller_aws::{CredentialSource, SignInError};
use enroller_core::error::{AwsError, Code};
use enroller_core::ids::{AccountId, OrganizationId};
use enroller_core::settings::Settings;
use enroller_engine::doctor::ports::Identity;

use crate::output::{printable, warn};

/// What a command is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It only reads.
    Read,
    /// It changes something, and has to know for certain where.
    Change,
    /// It looks for what is wrong, and reports a wrong account by itself.
    Diagnose,
}

/// The principal that a command calls as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// As AWS returned it.
    pub(crate) arn: String,
    pub(crate) account: AccountId,
}

/// Why a command does not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// There are no credentials.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// AWS refuses the credentials, or does not answer.
    #[error("{}{}\n  next: {}", told(.error), origin(.source_of_keys), next_step(.error))]
    Refused { error: Box<AwsError>, source_of_keys: Option<CredentialSource> },
    /// The credentials are those of another account.
    #[error(
        "these are credentials of account {}, and the central account in the settings is {central}\n  caller: {}{}\n  \
         next: use credentials of account {central}, or correct central_account",
        .caller.account, printable(&.caller.arn), origin(.source_of_keys)
    )]
    OtherAccount { caller: Caller, central: AccountId, source_of_keys: Option<CredentialSource> },
    /// The account belongs to another organization.
    #[error(
        "account {central} belongs to organization {found}, and organization_id in the settings is {expected}\n  \
         next: correct organization_id, or use the settings and credentials that belong together"
    )]
    OtherOrganization { central: AccountId, found: OrganizationId, expected: OrganizationId },
    /// Organizations did not say which organization this is.
    #[error(
        "it cannot be checked that this is organization {expected}: {}\n  next: {}",
        told(.error), organization_step(.error)
    )]
    UnknownOrganization { error: Box<AwsError>, expected: OrganizationId },
}

/// An error as the AWS CLI tells it.
fn told(error: &AwsError) -> String {
    let message = printable(&error.message);
    if error.code == Code::NoAnswer {
        return format!("Could not connect to the endpoint URL: {message}");
    }
    let operation = error.operation.split_once(':').map_or(error.operation, |(_, operation)| operation);
    format!("An error occurred ({}) when calling the {operation} operation: {message}", printable(&error.code_text))
}

fn origin(source: &Option<CredentialSource>) -> String {
    source.as_ref().map(|source| format!("\n  credentials: {}", printable(&source.to_string()))).unwrap_or_default()
}

fn next_step(error: &AwsError) -> &'static str {
    match error.code {
        Code::CredentialsRejected => {
            "check these credentials: the access key does not exist, is inactive, lacks its session token or belongs to another partition"
        }
        Code::CredentialsExpired => "sign in again: the session has expired",
        Code::SignatureRefused => "check the secret access key, and the clock of this machine",
        Code::NoAnswer => {
            "check the network, home_region, AWS_ENDPOINT_URL, the proxy (HTTPS_PROXY, NO_PROXY) and the certificates to \
             trust (AWS_CA_BUNDLE)"
        }
        Code::Unparsable => "check AWS_ENDPOINT_URL: the response did not come from AWS",
        _ => "check these credentials",
    }
}

fn organization_step(error: &AwsError) -> &'static str {
    match error.code {
        Code::AccessDenied => "allow organizations:DescribeOrganization to the caller",
        Code::NoOrganization => "use the central account of the organization",
        _ => "run the command again",
    }
}

/// Asks who is calling, and compares with the settings.
///
/// # Errors
///
/// See [`IdentityError`]. A command that only reads goes on, with a warning, if it cannot be known which organization it
/// reads.
pub(crate) async fn check(
    settings: &Settings,
    identity: &dyn Identity,
    source_of_keys: Option<CredentialSource>,
    purpose: Purpose,
) -> Result<Caller, IdentityError> {
    let found = match identity.caller().await {
        Ok(found) => Caller { arn: found.arn, account: found.account },
        Err(error) => return Err(IdentityError::Refused { error: Box::new(error), source_of_keys }),
    };
    if purpose == Purpose::Diagnose {
        return Ok(found);
    }
    let central = settings.central_account;
    if found.account != central {
        return Err(IdentityError::OtherAccount { caller: found, central, source_of_keys });
    }
    let expected = settings.organization_id.clone();
    match identity.organization().await {
        Ok(organization) if organization.id == expected => Ok(found),
        Ok(organization) => Err(IdentityError::OtherOrganization { central, found: organization.id, expected }),
        Err(error) => {
            let belongs_nowhere = error.code == Code::NoOrganization;
            let unknown = IdentityError::UnknownOrganization { error: Box::new(error), expected };
            if purpose == Purpose::Change || belongs_nowhere {
                return Err(unknown);
            }
            warn(&unknown.to_string());
            Ok(found)
        }
    }
}
