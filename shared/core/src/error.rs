//! AWS errors and what to do about each: one table keyed by the error *code*, [`AwsError::disposition`].
//!
//! EC2 and STS model no error types, and the model of CloudWatch Logs lacks several codes, so only the code is
//! reliable. A message is read in exactly one function, [`is_organization_policy`], because AWS gives a deny by a
//! service control policy no code of its own.

use std::fmt;

use crate::ids::{AccountId, Region};

mod disposition;

pub use disposition::{Disposition, Skip, Wait};

/// Declares [`Code`] from the texts AWS sends, so that each known code is spelled exactly once.
macro_rules! codes {
    ($($name:ident = $($text:literal)|+;)*) => {
        /// An AWS error code. Codes with one meaning share a variant.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the name is the code")]
        pub enum Code {
            $($name,)*
            /// No response arrived: the connection failed or the call timed out.
            NoAnswer,
            /// A response that could not be parsed.
            Unparsable,
            /// A code that this version does not know, as AWS sent it.
            Other(String),
        }
        impl Code {
            /// Parses a code as AWS sends it; an unknown one becomes [`Code::Other`].
            pub fn parse(text: &str) -> Self {
                match text {
                    $($($text)|+ => Self::$name,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }
        #[cfg(test)]
        const KNOWN: &[&str] = &[$($($text,)+)*];
    };
}

codes! {
    // aws-runtime's THROTTLING_ERRORS, without LimitExceededException: for CloudWatch Logs that is a quota.
    Throttled = "Throttling" | "ThrottlingException" | "ThrottledException" | "RequestThrottled"
        | "RequestThrottledException" | "TooManyRequestsException" | "RequestLimitExceeded" | "SlowDown"
        | "BandwidthLimitExceeded" | "PriorRequestNotComplete" | "EC2ThrottledException"
        | "RequestThrottledByService";
    Internal = "InternalError" | "InternalFailure" | "InternalServerError" | "InternalServerException"
        | "ServiceException" | "ServiceFailure" | "ServiceFailureException" | "ServiceUnavailable"
        | "ServiceUnavailableException" | "Unavailable" | "RequestTimeout" | "RequestTimeoutException";
    OperationAborted = "OperationAbortedException" | "ConcurrentModificationException" | "ConcurrentModification";
    CredentialsExpired = "ExpiredToken" | "ExpiredTokenException" | "RequestExpired";
    AccessDenied = "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation";
    AccountNotReady = "OptInRequired" | "PendingVerification" | "Blocked" | "AccountDisabled"
        | "SubscriptionRequiredException";
    CredentialsRejected = "AuthFailure" | "UnrecognizedClientException" | "InvalidClientTokenId"
        | "InvalidAccessKeyId";
    // A wrong clock looks like this. STS and EC2 send the first code and the JSON services the second, whether the time
    // or the signature is wrong. Only the message distinguishes them ("Signature expired: … is now earlier than …").
    SignatureRefused = "SignatureDoesNotMatch" | "InvalidSignatureException" | "RequestTimeTooSkewed"
        | "RequestInTheFuture";
    RegionDisabled = "RegionDisabledException";
    VpcNotFound = "InvalidVpcID.NotFound" | "InvalidVpcId.NotFound";
    FlowLogExists = "FlowLogAlreadyExists";
    Exists = "ResourceAlreadyExistsException" | "EntityAlreadyExists" | "EntityAlreadyExistsException";
    NotFound = "ResourceNotFoundException" | "NoSuchEntity" | "NoSuchEntityException"
        | "InvalidFlowLogId.NotFound" | "AccountNotFoundException";
    QueueNotFound = "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue";
    Quota = "LimitExceededException" | "LimitExceeded" | "FlowLogsLimitExceeded" | "ServiceQuotaExceededException";
    InvalidParameter = "InvalidParameter" | "InvalidParameterValue" | "InvalidParameterException"
        | "InvalidParameterCombination" | "MissingParameter" | "IdempotentParameterMismatch";
    Validation = "ValidationException" | "ValidationError" | "InvalidOperationException" | "InvalidInputException";
    BadPolicy = "MalformedPolicyDocument" | "MalformedPolicyDocumentException" | "PackedPolicyTooLarge"
        | "PackedPolicyTooLargeException";
    NoOrganization = "AWSOrganizationsNotInUseException";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(text) => f.pad(text),
            known => f.pad(&format!("{known:?}")),
        }
    }
}

/// An AWS call that failed, with what is needed to investigate it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} failed with {code_text}: {message}{}", .request_id.as_deref().map(|id| format!(" (request {id})")).unwrap_or_default())]
pub struct AwsError {
    /// The action as IAM names it: `ec2:CreateFlowLogs`.
    pub operation: &'static str,
    /// Parsed from `code_text`; the [disposition](Self::disposition) follows from it.
    pub code: Code,
    /// The code as AWS sent it.
    pub code_text: String,
    /// The message of AWS, or of the transport where there was no response.
    pub message: String,
    /// AWS's request id, absent where there was no response.
    pub request_id: Option<String>,
    /// The account the call was made in.
    pub account: Option<AccountId>,
    /// The Region the call was made in.
    pub region: Option<Region>,
}

impl AwsError {
    /// An error response from AWS.
    pub fn answered(operation: &'static str, code: &str, message: impl Into<String>) -> Self {
        Self {
            operation,
            code: Code::parse(code),
            code_text: code.to_owned(),
            message: message.into(),
            request_id: None,
            account: None,
            region: None,
        }
    }

    /// A call that got no response: it may or may not have taken effect.
    pub fn unanswered(operation: &'static str, message: impl Into<String>) -> Self {
        let code_text = Code::NoAnswer.to_string();
        Self { code: Code::NoAnswer, code_text, ..Self::answered(operation, "", message) }
    }

    /// A response that lacks a value or has one that this version cannot read; `message` names it.
    pub fn unparsable(operation: &'static str, message: impl Into<String>) -> Self {
        let code_text = Code::Unparsable.to_string();
        Self { code: Code::Unparsable, code_text, ..Self::answered(operation, "", message) }
    }

    /// Adds the account and the Region the call was made in.
    #[must_use]
    pub fn at(mut self, account: AccountId, region: &Region) -> Self {
        self.account = Some(account);
        self.region = Some(region.clone());
        self
    }

    /// What to do about this error. There is no wildcard arm over codes, so that a new code forces a decision.
    pub fn disposition(&self) -> Disposition {
        use Disposition::{Absent, AlreadyThere, RetryLater, RetrySoon, Terminal};
        match &self.code {
            Code::Throttled | Code::Internal | Code::OperationAborted | Code::CredentialsExpired | Code::NoAnswer => {
                RetrySoon
            }
            Code::AccessDenied => self.denied(),
            Code::AccountNotReady => RetryLater(Wait::Account),
            Code::CredentialsRejected if self.is_of_destinations() => RetryLater(Wait::CentralRegion),
            Code::CredentialsRejected => RetryLater(Wait::Credentials),
            Code::SignatureRefused => RetryLater(Wait::Clock),
            Code::RegionDisabled => RetryLater(Wait::SessionRegion),
            Code::VpcNotFound => RetryLater(Wait::Vpc),
            Code::FlowLogExists | Code::Exists => AlreadyThere,
            Code::NotFound => Absent,
            Code::QueueNotFound => Terminal("check the queue URLs in the function's settings"),
            Code::Quota => self.quota(),
            Code::InvalidParameter | Code::Validation => self.invalid(),
            Code::BadPolicy => Terminal("this is a bug: report it with the message, which quotes the rejected policy"),
            Code::NoOrganization => Terminal("run the enroller in an account that belongs to an organization"),
            // A proxy or a captive portal in between may answer for a while, and AWS adds codes without notice.
            Code::Unparsable | Code::Other(_) => RetryLater(Wait::Unknown),
        }
    }

    /// Whether the call is one about destinations. Only the central account makes them.
    fn is_of_destinations(&self) -> bool {
        matches!(self.operation, "logs:DescribeDestinations" | "logs:PutDestination" | "logs:PutDestinationPolicy")
    }

    /// Whether the call only reads.
    fn reads(&self) -> bool {
        let name = self.operation.split_once(':').map_or("", |(_, name)| name);
        ["Describe", "Get", "List"].iter().any(|verb| name.starts_with(verb))
    }

    fn denied(&self) -> Disposition {
        Disposition::RetryLater(match self.operation {
            // From outside, a missing role looks the same as one that does not trust the caller.
            "sts:AssumeRole" => Wait::MemberRole,
            _ if is_organization_policy(&self.message) && self.reads() => {
                return Disposition::Skip(Skip::OrganizationPolicy);
            }
            _ if is_organization_policy(&self.message) => Wait::OrganizationPolicy,
            _ if self.message.contains("explicit deny") => Wait::ExplicitDeny,
            // AWS sends this where the destination's policy does not list the account (CloudWatch Logs, cross-account
            // subscriptions). Right after a grant it resolves by itself.
            "logs:PutSubscriptionFilter" => Wait::Grant,
            operation if operation.starts_with("organizations:") => Wait::Delegation,
            _ => Wait::Permission,
        })
    }

    fn quota(&self) -> Disposition {
        Disposition::Terminal(match self.operation {
            "logs:PutSubscriptionFilter" => {
                "the log group has reached its quota of subscription filters (5, not adjustable): delete one that nobody needs, or set another log_group_name; then run enroller backfill"
            }
            "ec2:CreateFlowLogs" => {
                "the VPC has reached its quota of flow logs: delete those that nobody needs, then run enroller backfill"
            }
            _ => {
                "request a higher quota (Service Quotas) for this call's account and Region, or delete what nobody needs there"
            }
        })
    }

    fn invalid(&self) -> Disposition {
        match self.operation {
            // `Unable to assume given IAM role`, `Could not deliver test message` and `Make sure you have given
            // CloudWatch Logs permission to assume the provided role` come with these codes while a role propagates.
            // The enroller builds the rest of these requests from validated types.
            "ec2:CreateFlowLogs" | "logs:PutDestination" | "logs:PutSubscriptionFilter" => {
                Disposition::RetryLater(Wait::RolePropagation)
            }
            "logs:CreateLogGroup" | "logs:AssociateKmsKey" => Disposition::Terminal(
                "if kms_key_arn is set, check that the KMS key exists in this Region, is enabled, and that its policy allows CloudWatch Logs to use it for this log group; otherwise AWS's message names the parameter",
            ),
            _ => Disposition::Terminal("check the settings behind this call; AWS's message names the parameter"),
        }
    }
}

/// An error with everything that caused it, on one line.
pub fn inline_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Whether a denial comes from a policy of the organization.
///
/// AWS sends `UnauthorizedOperation` or `AccessDeniedException` as for any denial. Only the message differs: "…with an
/// explicit deny in a service control policy" (IAM user guide, "Troubleshoot access denied error messages").
pub fn is_organization_policy(message: &str) -> bool {
    message.contains("service control policy") || message.contains("resource control policy")
}

#[cfg(test)]
mod tests;
