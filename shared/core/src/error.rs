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
    /// IAM denies the call. Policies take effect with a delay, and the stack that makes the role may be updated a moment
    /// later than the one that relies on it.
    Permission,
    /// An explicit deny of the account: of an identity policy, a permissions boundary, a session policy or a resource.
    ExplicitDeny,
    /// A service control policy or a resource control policy denies a change.
    OrganizationPolicy,
    /// Organizations denies the central account a call, so its delegation is missing or was changed.
    Delegation,
    /// STS is switched off for a Region in the account.
    SessionRegion,
    /// AWS rejects the central account's credentials in one Region, which it has probably not enabled.
    CentralRegion,
    /// The Region has failed to answer for several accounts, and is not asked for a while.
    Region,
    /// A code or an answer that this version does not know.
    Unknown,
    /// AWS says that a flow log exists, but does not list it.
    FlowLog,
    /// A flow log that was just created has not delivered yet, so the one it replaces is kept.
    Successor,
}

/// How often a message comes back for an error that time seldom cures, before it is left to a person and to the next
/// sweep. With the growing delays between the tries, that is a quarter of an hour.
const TRIES_BEFORE_A_PERSON: u32 = 5;

impl Wait {
    /// How often a message is received for this reason before a person has to act. `None` if the queue alone decides,
    /// which moves a message to the dead-letter queue after its last receive.
    pub const fn tries(self) -> Option<u32> {
        match self {
            Self::Permission
            | Self::ExplicitDeny
            | Self::OrganizationPolicy
            | Self::Delegation
            | Self::SessionRegion
            | Self::CentralRegion
            | Self::Unknown => Some(TRIES_BEFORE_A_PERSON),
            Self::MemberRole
            | Self::Account
            | Self::Credentials
            | Self::Clock
            | Self::Grant
            | Self::RolePropagation
            | Self::Vpc
            | Self::FlowLog
            | Self::Successor
            | Self::Region => None,
        }
    }
}

/// Why the enroller deliberately does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// The account has not enabled the Region.
    RegionDisabled,
    /// A policy of the organization denies the call that looks, which may be the organization's decision. A denied
    /// change is [`Wait::OrganizationPolicy`].
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

    /// What to do if the call was needed: the same, except that a resource which is unexpectedly absent, or already
    /// there, is looked at again. AWS's reads lag behind its writes.
    #[must_use]
    pub const fn of_failure(self) -> Self {
        match self {
            Self::AlreadyThere | Self::Absent => Self::RetrySoon,
            Self::RetrySoon | Self::RetryLater(_) | Self::Skip(_) | Self::Terminal(_) => self,
        }
    }

    /// Whether a message that was received `receive_count` times should return to the queue once more.
    pub const fn returns_after(self, receive_count: u32) -> bool {
        match self {
            Self::RetryLater(wait) => match wait.tries() {
                Some(tries) => receive_count < tries,
                None => true,
            },
            Self::RetrySoon | Self::AlreadyThere | Self::Absent | Self::Skip(_) | Self::Terminal(_) => {
                self.is_retryable()
            }
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
                "deploy the member stack to this account (StackSet); retried automatically"
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
            Self::RetryLater(Wait::Permission) => {
                "allow this action in the role that made the call: in a member account, update the member stack; in the central account, the central stack"
            }
            Self::RetryLater(Wait::ExplicitDeny) => {
                "remove the explicit deny that the message names: it overrides what the stacks allow"
            }
            Self::RetryLater(Wait::OrganizationPolicy) => {
                "exempt the member role in the service control or resource control policy that denies this change"
            }
            Self::RetryLater(Wait::Delegation) => {
                "make the central account a delegated administrator (docs/deploy.md, \"Trusted access and delegated administration\"), or check its delegation policy"
            }
            Self::RetryLater(Wait::SessionRegion) => {
                "activate STS in the Region that the message names, in the account's IAM settings"
            }
            Self::RetryLater(Wait::CentralRegion) => {
                "enable the Region in the central account, or remove it from the setting `regions`"
            }
            Self::RetryLater(Wait::Region) => "no action needed: the Region is asked again in a minute",
            Self::RetryLater(Wait::Unknown) => {
                "look the code up in AWS's documentation of the call, and report it as unknown to the enroller"
            }
            Self::RetryLater(Wait::FlowLog) => {
                "no action yet: the VPC is looked at again. If this persists, look for its flow log in the account itself (aws ec2 describe-flow-logs) and delete it"
            }
            Self::RetryLater(Wait::Successor) => {
                "no action needed where the functions are deployed: the old flow log is deleted when the new one delivers. Elsewhere, run enroller backfill again after 15 minutes"
            }
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
                "the log group has reached its quota of subscription filters (5, not adjustable): delete one of the others from it"
            }
            "ec2:CreateFlowLogs" => "the VPC has reached its quota of flow logs: delete those that nobody needs",
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
            "logs:CreateLogGroup" | "logs:AssociateKmsKey" => Disposition::Terminal(
                "check that the KMS key exists in this Region, is enabled, and that its policy allows CloudWatch Logs to use it for this log group",
            ),
            _ => Disposition::Terminal("check the settings behind this call; AWS's message names the parameter"),
        }
    }
}

/// Whether a denial comes from a policy of the organization.
///
/// AWS sends `UnauthorizedOperation` or `AccessDeniedException` as for any denial. Only the message differs: "…with an
/// explicit deny in a service control policy" (IAM user guide, "Troubleshoot access denied error messages").
pub fn is_organization_policy(message: &str) -> bool {
    message.contains("service control policy") || message.contains("resource control policy")
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
        assert_eq!(of("logs:CreateLogGroup", "AccessDeniedException"), Disposition::RetryLater(Wait::Permission));
        assert_eq!(
            of("organizations:ListAccounts", "AccessDeniedException"),
            Disposition::RetryLater(Wait::Delegation)
        );
        assert_eq!(of("ec2:DescribeVpcs", "AuthFailure"), Disposition::RetryLater(Wait::Credentials));
        let central = of("logs:DescribeDestinations", "UnrecognizedClientException");
        assert_eq!(central, Disposition::RetryLater(Wait::CentralRegion));
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
    fn a_policy_of_the_organization_may_hide_an_account_but_a_denied_change_is_a_failure() {
        for policy in ["service", "resource"] {
            let message = format!("You are not authorized, with an explicit deny in a {policy} control policy");
            let of = |operation| AwsError::answered(operation, "UnauthorizedOperation", message.clone()).disposition();
            for look in ["ec2:DescribeVpcs", "logs:ListTagsForResource", "iam:GetRole"] {
                assert_eq!(of(look), Disposition::Skip(Skip::OrganizationPolicy), "{look}");
            }
            for change in ["ec2:CreateFlowLogs", "ec2:DeleteFlowLogs", "logs:PutSubscriptionFilter", "iam:CreateRole"] {
                assert_eq!(of(change), Disposition::RetryLater(Wait::OrganizationPolicy), "{change}");
            }
        }
    }

    #[test]
    fn an_explicit_deny_is_not_taken_for_a_missing_grant_or_permission() {
        for operation in ["logs:PutSubscriptionFilter", "ec2:CreateFlowLogs", "logs:DescribeLogGroups"] {
            let message = "User: x is not authorized to perform this, with an explicit deny in a permissions boundary";
            let error = AwsError::answered(operation, "AccessDeniedException", message);
            assert_eq!(error.disposition(), Disposition::RetryLater(Wait::ExplicitDeny), "{operation}");
        }
    }

    #[test]
    fn a_denial_comes_back_some_times_and_is_then_for_a_person() {
        let denied = of("ec2:CreateFlowLogs", "UnauthorizedOperation");
        let comes_back: Vec<bool> = (1..=6).map(|receives| denied.returns_after(receives)).collect();
        assert_eq!(comes_back, [true, true, true, true, false, false]);
        assert!(of("ec2:CreateFlowLogs", "InternalError").returns_after(100), "the queue decides");
        assert!(of("sts:AssumeRole", "AccessDenied").returns_after(100), "the member stack may take hours");
        assert!(!of("ec2:CreateFlowLogs", "FlowLogsLimitExceeded").returns_after(1));
    }

    #[test]
    fn what_was_needed_and_is_absent_or_in_the_way_is_looked_at_again() {
        for (operation, code) in
            [("logs:ListTagsForResource", "ResourceNotFoundException"), ("iam:CreateRole", "EntityAlreadyExists")]
        {
            assert!(!of(operation, code).is_retryable());
            assert_eq!(of(operation, code).of_failure(), Disposition::RetrySoon);
        }
        let terminal = of("ec2:CreateFlowLogs", "FlowLogsLimitExceeded");
        assert_eq!(terminal.of_failure(), terminal);
    }

    #[test]
    fn every_known_code_has_a_next_step_and_no_known_code_is_other() {
        for text in KNOWN {
            assert!(!matches!(Code::parse(text), Code::Other(_)), "{text}");
            assert!(!of("logs:CreateLogGroup", text).next_step().is_empty(), "{text}");
        }
        assert_eq!(of("ec2:DescribeVpcs", "SomethingNew"), Disposition::RetryLater(Wait::Unknown));
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
            ("sts:AssumeRole", "RegionDisabledException", "retry-later", true, "activate STS"),
            ("logs:PutDestination", "AuthFailure", "retry-later", true, "in the central account"),
            ("ec2:CreateFlowLogs", "UnauthorizedOperation", "retry-later", true, "update the member stack"),
            ("organizations:ListAccounts", "AccessDeniedException", "retry-later", true, "delegated administrator"),
            ("logs:CreateLogGroup", "InvalidParameterException", "terminal", false, "KMS key"),
            ("ec2:DescribeVpcs", "SomethingNew", "retry-later", true, "report it as unknown"),
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
