//! AWS errors and what to do about each: one table keyed by the error *code*, [`AwsError::disposition`].
//!
//! EC2 and STS model no error types, and the model of CloudWatch Logs lacks several codes, so only the code is
//! reliable. A message is read in exactly one function, [`is_organization_policy`], because AWS gives a deny by a
//! service control policy no code of its own.

use std::fmt;

use crate::ids::{AccountId, Region};

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

/// Why a later try is likely to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wait {
    /// The member role is missing or does not trust the enroller yet: the member stack usually arrives after the
    /// account.
    MemberRole,
    /// AWS is still setting the account up, or has blocked it.
    Account,
    /// AWS rejects the account's credentials: the Region is disabled or the account is not ready.
    Credentials,
    /// AWS rejects the request's signature, usually because the calling machine's clock is wrong. Another machine, or
    /// the same one later, may have the right time.
    Clock,
    /// The account's grant has not taken effect on its destination yet.
    Grant,
    /// A new IAM role has not propagated everywhere yet.
    RolePropagation,
    /// The VPC is gone or not visible yet; the next observation shows which.
    Vpc,
}

/// Why the enroller deliberately does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// The account has not enabled the Region.
    RegionDisabled,
    /// A service control policy denies the call, which is the organization's decision.
    OrganizationPolicy,
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The resource to be created exists already: success.
    AlreadyThere,
    /// The resource to be read or removed does not exist.
    Absent,
    /// Throttled, transient or aborted: the same call may succeed within seconds.
    RetrySoon,
    /// Something else has to happen first, which takes minutes.
    RetryLater(Wait),
    /// There is nothing to do, and this is not a failure.
    Skip(Skip),
    /// A person has to act; the text is the next step.
    Terminal(&'static str),
}

impl Disposition {
    /// A short, stable name for logs and metric dimensions.
    pub const fn label(self) -> &'static str {
        match self {
            Self::AlreadyThere => "already-there",
            Self::Absent => "absent",
            Self::RetrySoon => "retry-soon",
            Self::RetryLater(_) => "retry-later",
            Self::Skip(_) => "skipped",
            Self::Terminal(_) => "terminal",
        }
    }

    /// Whether the message should return to the queue, because the same request may succeed later.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::RetrySoon | Self::RetryLater(_) => true,
            Self::AlreadyThere | Self::Absent | Self::Skip(_) | Self::Terminal(_) => false,
        }
    }

    /// What an operator should know or do, as shown with the error.
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::AlreadyThere | Self::Absent => "no action needed",
            Self::RetrySoon => "no action needed: retried within seconds",
            Self::RetryLater(Wait::MemberRole) => {
                "deploy the member stack to this account (StackSet); retried until the message expires"
            }
            Self::RetryLater(Wait::Account) => "wait until AWS has activated the account; retried automatically",
            Self::RetryLater(Wait::Credentials) => {
                "enable the Region in the account, or remove it from the setting `regions`"
            }
            Self::RetryLater(Wait::Clock) => {
                "check the clock and the access keys of the machine that made the call; retried automatically"
            }
            Self::RetryLater(Wait::Grant) => {
                "no action yet: the account's grant is pending. If this persists, check that the member role allows logs:PutSubscriptionFilter on the destination"
            }
            Self::RetryLater(Wait::RolePropagation) => {
                "check that the role exists and trusts the service named in the message; retried automatically"
            }
            Self::RetryLater(Wait::Vpc) => "no action needed: the VPC is checked again",
            Self::Skip(Skip::RegionDisabled) => {
                "no action needed; to stop checking the Region, remove it from the setting `regions`"
            }
            Self::Skip(Skip::OrganizationPolicy) => {
                "no action needed if intended; otherwise exempt the member role in the service control policy"
            }
            Self::Terminal(step) => step,
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
            Code::CredentialsRejected => RetryLater(Wait::Credentials),
            Code::SignatureRefused => RetryLater(Wait::Clock),
            Code::RegionDisabled => Disposition::Skip(Skip::RegionDisabled),
            Code::VpcNotFound => RetryLater(Wait::Vpc),
            Code::FlowLogExists | Code::Exists => AlreadyThere,
            Code::NotFound => Absent,
            Code::QueueNotFound => Terminal("check the queue URLs in the function's settings"),
            Code::Quota => self.quota(),
            Code::InvalidParameter | Code::Validation => self.invalid(),
            Code::BadPolicy => Terminal("this is a bug: report it with the message, which quotes the rejected policy"),
            Code::NoOrganization => Terminal("run the enroller in an account that belongs to an organization"),
            Code::Unparsable => Terminal("check AWS_ENDPOINT_URL: the response did not come from AWS"),
            Code::Other(_) => Terminal(
                "look the code up in AWS's documentation of the call, and report it as unknown to the enroller",
            ),
        }
    }

    fn denied(&self) -> Disposition {
        match self.operation {
            // From outside, a missing role looks the same as one that does not trust the caller.
            "sts:AssumeRole" => Disposition::RetryLater(Wait::MemberRole),
            _ if is_organization_policy(&self.message) => Disposition::Skip(Skip::OrganizationPolicy),
            // AWS sends this where the destination's policy does not list the account (CloudWatch Logs, cross-account
            // subscriptions). Right after a grant it resolves by itself.
            "logs:PutSubscriptionFilter" => Disposition::RetryLater(Wait::Grant),
            _ => Disposition::Terminal("allow this action in the role that made the call (see its template)"),
        }
    }

    fn quota(&self) -> Disposition {
        Disposition::Terminal(match self.operation {
            "logs:PutSubscriptionFilter" => {
                "the log group has reached its quota of subscription filters (5, not adjustable): remove one, or set another log_group_name"
            }
            "ec2:CreateFlowLogs" => "the VPC has reached its quota of flow logs: remove some",
            _ => "request a higher quota from AWS",
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
            _ => Disposition::Terminal("check the settings behind this call; AWS's message names the parameter"),
        }
    }
}

/// Whether a denial comes from a service control policy.
///
/// AWS sends `UnauthorizedOperation` or `AccessDeniedException` as for any denial. Only the message differs: "…with an
/// explicit deny in a service control policy".
pub fn is_organization_policy(message: &str) -> bool {
    message.contains("service control policy")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(operation: &'static str, code: &str) -> Disposition {
        AwsError::answered(operation, code, "message").disposition()
    }

    #[test]
    fn the_same_code_means_different_things_to_different_calls() {
        assert_eq!(of("sts:AssumeRole", "AccessDenied"), Disposition::RetryLater(Wait::MemberRole));
        assert_eq!(of("logs:PutSubscriptionFilter", "AccessDeniedException"), Disposition::RetryLater(Wait::Grant));
        assert!(matches!(of("logs:CreateLogGroup", "AccessDeniedException"), Disposition::Terminal(_)));
        assert_eq!(of("ec2:CreateFlowLogs", "InvalidParameter"), Disposition::RetryLater(Wait::RolePropagation));
        assert!(matches!(of("logs:PutRetentionPolicy", "InvalidParameterException"), Disposition::Terminal(_)));
    }

    #[test]
    fn a_rejected_signature_is_retried_because_clocks_get_corrected() {
        for (operation, code) in [
            ("sts:AssumeRole", "SignatureDoesNotMatch"),
            ("logs:PutSubscriptionFilter", "InvalidSignatureException"),
            ("ec2:CreateFlowLogs", "RequestInTheFuture"),
            ("iam:GetRole", "RequestTimeTooSkewed"),
        ] {
            assert_eq!(of(operation, code), Disposition::RetryLater(Wait::Clock), "{code}");
        }
    }

    #[test]
    fn a_quota_of_cloudwatch_logs_is_not_mistaken_for_throttling() {
        assert!(matches!(of("logs:PutSubscriptionFilter", "LimitExceededException"), Disposition::Terminal(_)));
        assert_eq!(of("logs:PutSubscriptionFilter", "ThrottlingException"), Disposition::RetrySoon);
    }

    #[test]
    fn a_service_control_policy_is_a_decision_not_a_failure() {
        let message =
            "You are not authorized to perform this operation with an explicit deny in a service control policy";
        let error = AwsError::answered("ec2:DescribeVpcs", "UnauthorizedOperation", message);
        assert_eq!(error.disposition(), Disposition::Skip(Skip::OrganizationPolicy));
    }

    #[test]
    fn every_known_code_has_a_next_step_and_no_known_code_is_other() {
        for text in KNOWN {
            assert!(!matches!(Code::parse(text), Code::Other(_)), "{text}");
            assert!(!of("logs:CreateLogGroup", text).next_step().is_empty(), "{text}");
        }
        assert!(matches!(of("ec2:DescribeVpcs", "SomethingNew"), Disposition::Terminal(_)));
    }

    #[test]
    fn every_disposition_has_a_label_a_retry_rule_and_a_next_step() {
        for (operation, code, label, again, step) in [
            ("logs:CreateLogGroup", "ResourceAlreadyExistsException", "already-there", false, "no action needed"),
            ("logs:DeleteLogGroup", "ResourceNotFoundException", "absent", false, "no action needed"),
            ("ec2:DescribeVpcs", "RequestLimitExceeded", "retry-soon", true, "retried within seconds"),
            ("sts:AssumeRole", "AccessDenied", "retry-later", true, "deploy the member stack"),
            ("ec2:DescribeVpcs", "OptInRequired", "retry-later", true, "until AWS has activated the account"),
            ("ec2:DescribeVpcs", "AuthFailure", "retry-later", true, "enable the Region"),
            ("sts:AssumeRole", "SignatureDoesNotMatch", "retry-later", true, "check the clock"),
            ("logs:PutSubscriptionFilter", "AccessDeniedException", "retry-later", true, "grant is pending"),
            ("logs:PutDestination", "InvalidParameterException", "retry-later", true, "check that the role exists"),
            ("ec2:CreateFlowLogs", "InvalidVpcId.NotFound", "retry-later", true, "the VPC is checked again"),
            ("sts:AssumeRole", "RegionDisabledException", "skipped", false, "remove it from the setting"),
            ("sqs:SendMessage", "QueueDoesNotExist", "terminal", false, "check the queue URLs"),
            (
                "logs:PutSubscriptionFilter",
                "LimitExceededException",
                "terminal",
                false,
                "quota of subscription filters",
            ),
            ("ec2:CreateFlowLogs", "FlowLogsLimitExceeded", "terminal", false, "quota of flow logs"),
            ("iam:CreateRole", "LimitExceeded", "terminal", false, "a higher quota"),
        ] {
            let found = of(operation, code);
            assert_eq!((found.label(), found.is_retryable()), (label, again), "{operation} {code}");
            assert!(found.next_step().contains(step), "{operation} {code}: {}", found.next_step());
        }
    }

    #[test]
    fn a_code_is_shown_by_its_name_or_as_aws_sent_it() {
        assert_eq!(format!("{:>10}", Code::NoAnswer), "  NoAnswer");
        assert_eq!(Code::parse("SomethingNew").to_string(), "SomethingNew");
        let unanswered = AwsError::unanswered("ec2:DescribeVpcs", "timed out");
        assert_eq!(unanswered.to_string(), "ec2:DescribeVpcs failed with NoAnswer: timed out");
        assert_eq!(unanswered.disposition(), Disposition::RetrySoon);
    }

    #[test]
    fn an_error_knows_where_its_call_was_made() {
        let (account, region) = ("111122223333".parse().unwrap(), "eu-west-1".parse().unwrap());
        let error = AwsError::answered("ec2:DescribeVpcs", "InternalError", "x").at(account, &region);
        assert_eq!((error.account, error.region), (Some(account), Some(region)));
    }

    #[test]
    fn the_text_carries_operation_code_and_request_id() {
        let mut error = AwsError::answered("ec2:CreateFlowLogs", "FlowLogsLimitExceeded", "too many");
        error.request_id = Some("r-1".into());
        assert_eq!(error.to_string(), "ec2:CreateFlowLogs failed with FlowLogsLimitExceeded: too many (request r-1)");
    }
}
