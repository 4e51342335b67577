//! AWS errors, sorted by their *code* into what to do about them: one table, [`AwsError::disposition`].
//!
//! EC2 and STS model no error types, and several codes of CloudWatch Logs are missing from its model, so the code
//! is the only thing that can be relied upon. A message is read in exactly one place, [`is_organization_policy`],
//! because AWS gives a service control policy's deny no code of its own.

use std::fmt;

use crate::ids::{AccountId, Region};

/// Declares [`Code`] from the texts AWS sends, so that a known code is spelled exactly once.
macro_rules! codes {
    ($($name:ident = $($text:literal)|+;)*) => {
        /// An AWS error code. Codes with one meaning share a variant.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the name is the code")]
        pub enum Code {
            $($name,)*
            /// No answer came back: a connection that failed or a call that timed out.
            NoAnswer,
            /// An answer that could not be understood.
            Unparsable,
            /// A code this version does not know.
            Other(String),
        }
        impl Code {
            /// The code AWS sent, understood.
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
    // What a wrong clock looks like: STS and EC2 send the first, the JSON services the second, whether the time of the
    // request or its signature is wrong; only the message tells ("Signature expired: … is now earlier than …").
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
    /// The member role is missing or does not trust us yet: the member stack usually lands after the account.
    MemberRole,
    /// The account is still being set up by AWS, or blocked by it.
    Account,
    /// The account's credentials are refused: the Region is disabled or the account is not ready.
    Credentials,
    /// The request's signature is refused, mostly because of the clock of the machine that made it; another one, or the
    /// same one later, has a better clock.
    Clock,
    /// The account's grant is not in force on its destination yet.
    Grant,
    /// A new IAM role is not known everywhere yet.
    RolePropagation,
    /// The VPC is gone or not visible yet; the next look decides.
    Vpc,
}

/// Why nothing is done, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// The account has not enabled the Region.
    RegionDisabled,
    /// A service control policy denies it, which is a decision of the organization.
    OrganizationPolicy,
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// What was to be made is there already: success.
    AlreadyThere,
    /// What was to be read or removed is not there.
    Absent,
    /// Throttled, transient or aborted: the same call may work in seconds.
    RetrySoon,
    /// Something has to happen first; minutes.
    RetryLater(Wait),
    /// Nothing to do, and no failure.
    Skip(Skip),
    /// A person has to act; the text says how.
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

    /// Whether the same request is worth handing back to the queue.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::RetrySoon | Self::RetryLater(_) => true,
            Self::AlreadyThere | Self::Absent | Self::Skip(_) | Self::Terminal(_) => false,
        }
    }

    /// What a person should know or do.
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::AlreadyThere | Self::Absent => "nothing",
            Self::RetrySoon => "nothing: it is tried again in seconds",
            Self::RetryLater(Wait::MemberRole) => {
                "deploy the member stack to this account (StackSet); it is tried again until the message expires"
            }
            Self::RetryLater(Wait::Account) => "wait until AWS has activated the account; it is tried again",
            Self::RetryLater(Wait::Credentials) => "enable the Region in the account or take it off the settings",
            Self::RetryLater(Wait::Clock) => {
                "check the clock of the machine that made the call, and its access keys; it is tried again"
            }
            Self::RetryLater(Wait::Grant) => {
                "nothing at first: the onboarder grants the account; if it stays, check that the member role allows logs:PutSubscriptionFilter on the destination"
            }
            Self::RetryLater(Wait::RolePropagation) => {
                "check that the role exists and trusts the service named in the message; it is tried again"
            }
            Self::RetryLater(Wait::Vpc) => "nothing: the VPC is looked for again",
            Self::Skip(Skip::RegionDisabled) => "nothing, or take the Region off the settings",
            Self::Skip(Skip::OrganizationPolicy) => "nothing, or exempt the member role in the service control policy",
            Self::Terminal(step) => step,
        }
    }
}

/// An AWS call that failed, with everything a person needs to pursue it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} failed with {code_text}: {message}{}", .request_id.as_deref().map(|id| format!(" (request {id})")).unwrap_or_default())]
pub struct AwsError {
    /// The action as IAM names it: `ec2:CreateFlowLogs`.
    pub operation: &'static str,
    /// The code, understood.
    pub code: Code,
    /// The code as AWS wrote it.
    pub code_text: String,
    /// AWS's message, or the transport's.
    pub message: String,
    /// AWS's request id, where an answer came back.
    pub request_id: Option<String>,
    /// The account the call was made in.
    pub account: Option<AccountId>,
    /// The Region it was made in.
    pub region: Option<Region>,
}

impl AwsError {
    /// An error AWS answered with.
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

    /// A call that got no answer, or none that could be understood; `code` is `NoAnswer` or `Unparsable`.
    pub fn without_answer(operation: &'static str, code: Code, message: impl Into<String>) -> Self {
        let code_text = code.to_string();
        Self { operation, code, code_text, message: message.into(), request_id: None, account: None, region: None }
    }

    /// The same error, knowing where the call was made.
    #[must_use]
    pub fn at(mut self, account: AccountId, region: &Region) -> Self {
        self.account = Some(account);
        self.region = Some(region.clone());
        self
    }

    /// What to do: the one table. No wildcard arm over codes, so that a new code forces a decision.
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
            Code::BadPolicy => Terminal("this is a defect: report the message, which quotes the refused policy"),
            Code::NoOrganization => Terminal("run the enroller in an account of an organization"),
            Code::Unparsable => Terminal("check AWS_ENDPOINT_URL: the answer was not AWS's"),
            Code::Other(_) => Terminal("look the code up in the AWS documentation of the call and report it"),
        }
    }

    fn denied(&self) -> Disposition {
        match self.operation {
            // A role that is missing and one that does not trust us look the same from outside.
            "sts:AssumeRole" => Disposition::RetryLater(Wait::MemberRole),
            _ if is_organization_policy(&self.message) => Disposition::Skip(Skip::OrganizationPolicy),
            // Sent where the destination's policy does not name the account (CloudWatch Logs, cross-account
            // subscriptions), which right after a grant passes by itself.
            "logs:PutSubscriptionFilter" => Disposition::RetryLater(Wait::Grant),
            _ => Disposition::Terminal("allow this action in the role that made the call (see its template)"),
        }
    }

    fn quota(&self) -> Disposition {
        Disposition::Terminal(match self.operation {
            "logs:PutSubscriptionFilter" => {
                "the log group's subscription filters are used up (5, not adjustable): remove one, or set another log group name"
            }
            "ec2:CreateFlowLogs" => "the VPC's flow log subscriptions are used up: remove some",
            _ => "ask AWS for a higher quota",
        })
    }

    fn invalid(&self) -> Disposition {
        match self.operation {
            // `Unable to assume given IAM role`, `Could not deliver test message` and `Make sure you have given
            // CloudWatch Logs permission to assume the provided role` come with these codes while a role spreads.
            // The enroller builds the rest of these requests from validated types.
            "ec2:CreateFlowLogs" | "logs:PutDestination" | "logs:PutSubscriptionFilter" => {
                Disposition::RetryLater(Wait::RolePropagation)
            }
            _ => Disposition::Terminal(
                "check the settings that this call is built from; AWS's message names the parameter",
            ),
        }
    }
}

/// Whether a denial comes from a service control policy. AWS sends `UnauthorizedOperation` or
/// `AccessDeniedException` like for any denial, and only the message says "…with an explicit deny in a service
/// control policy".
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
    fn a_signature_that_is_refused_is_waited_for_because_clocks_are_put_right() {
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
    fn a_quota_of_cloudwatch_logs_is_not_taken_for_throttling() {
        assert!(matches!(of("logs:PutSubscriptionFilter", "LimitExceededException"), Disposition::Terminal(_)));
        assert_eq!(of("logs:PutSubscriptionFilter", "ThrottlingException"), Disposition::RetrySoon);
    }

    #[test]
    fn a_service_control_policy_is_a_decision_and_no_failure() {
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
    fn every_disposition_says_in_one_word_what_it_is_whether_to_try_again_and_what_a_person_does() {
        for (operation, code, label, again, step) in [
            ("logs:CreateLogGroup", "ResourceAlreadyExistsException", "already-there", false, "nothing"),
            ("logs:DeleteLogGroup", "ResourceNotFoundException", "absent", false, "nothing"),
            ("ec2:DescribeVpcs", "RequestLimitExceeded", "retry-soon", true, "tried again in seconds"),
            ("sts:AssumeRole", "AccessDenied", "retry-later", true, "deploy the member stack"),
            ("ec2:DescribeVpcs", "OptInRequired", "retry-later", true, "until AWS has activated the account"),
            ("ec2:DescribeVpcs", "AuthFailure", "retry-later", true, "enable the Region"),
            ("sts:AssumeRole", "SignatureDoesNotMatch", "retry-later", true, "check the clock"),
            ("logs:PutSubscriptionFilter", "AccessDeniedException", "retry-later", true, "the onboarder grants"),
            ("logs:PutDestination", "InvalidParameterException", "retry-later", true, "check that the role exists"),
            ("ec2:CreateFlowLogs", "InvalidVpcId.NotFound", "retry-later", true, "the VPC is looked for again"),
            ("sts:AssumeRole", "RegionDisabledException", "skipped", false, "take the Region off"),
            ("sqs:SendMessage", "QueueDoesNotExist", "terminal", false, "check the queue URLs"),
            (
                "logs:PutSubscriptionFilter",
                "LimitExceededException",
                "terminal",
                false,
                "subscription filters are used",
            ),
            ("ec2:CreateFlowLogs", "FlowLogsLimitExceeded", "terminal", false, "flow log subscriptions are used up"),
            ("iam:CreateRole", "LimitExceeded", "terminal", false, "a higher quota"),
        ] {
            let found = of(operation, code);
            assert_eq!((found.label(), found.is_retryable()), (label, again), "{operation} {code}");
            assert!(found.next_step().contains(step), "{operation} {code}: {}", found.next_step());
        }
    }

    #[test]
    fn a_code_is_shown_by_its_name_or_as_aws_wrote_it() {
        assert_eq!(format!("{:>10}", Code::NoAnswer), "  NoAnswer");
        assert_eq!(Code::parse("SomethingNew").to_string(), "SomethingNew");
        let unanswered = AwsError::without_answer("ec2:DescribeVpcs", Code::NoAnswer, "timed out");
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
