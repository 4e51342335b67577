//! One API call, its caller, its service, and the error of a refused one.

use std::fmt;

/// The principal behind a call, as the access key or the session names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Account that the principal belongs to.
    pub account: String,
    /// `arn:aws:iam::A:root` for a long-term key, `arn:aws:sts::A:assumed-role/NAME/SESSION` for a session.
    pub principal_arn: String,
    /// Access key of a session; a session name can be used again. `None` for the account's own keys.
    pub session_key: Option<String>,
}

impl Caller {
    /// The root user of an account.
    pub(crate) fn root(account: &str) -> Self {
        let principal_arn = format!("arn:aws:iam::{account}:root");
        Self { account: account.to_owned(), principal_arn, session_key: None }
    }
}

/// A call that has been authenticated and parsed.
#[derive(Clone, Debug)]
pub struct Call {
    /// Position in the order of all calls ever received, from 1.
    pub sequence: u64,
    /// Request id in the answer.
    pub request_id: String,
    /// Service of the credential scope.
    pub service: Service,
    /// AWS's name of the operation, such as `CreateFlowLogs`.
    pub operation: String,
    /// Principal that makes the call.
    pub caller: Caller,
    /// Region of the credential scope.
    pub region: String,
}

/// The services that the simulated AWS offers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Service {
    /// Amazon EC2 (EC2 Query protocol).
    Ec2,
    /// Amazon CloudWatch Logs (AWS JSON 1.1).
    Logs,
    /// AWS Security Token Service (AWS Query).
    Sts,
    /// AWS Identity and Access Management (AWS Query), global.
    Iam,
    /// AWS Organizations (AWS JSON 1.1), global.
    Organizations,
    /// Amazon SQS (AWS JSON 1.0).
    Sqs,
    /// Amazon EventBridge (AWS JSON 1.1).
    Events,
    /// AWS CloudTrail (AWS JSON 1.1).
    CloudTrail,
}

impl Service {
    /// Every service that is simulated.
    pub const ALL: [Self; 8] =
        [Self::Ec2, Self::Logs, Self::Sts, Self::Iam, Self::Organizations, Self::Sqs, Self::Events, Self::CloudTrail];

    /// The name in a signature's credential scope and in IAM actions.
    pub fn signing_name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Logs => "logs",
            Self::Sts => "sts",
            Self::Iam => "iam",
            Self::Organizations => "organizations",
            Self::Sqs => "sqs",
            Self::Events => "events",
            Self::CloudTrail => "cloudtrail",
        }
    }

    /// The service of a credential scope; `None` for one that is not simulated.
    pub fn from_signing_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.signing_name() == name)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.signing_name())
    }
}

/// An error answer of a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct ApiError {
    /// HTTP status. The SDK retries 500, 502, 503 and 504, whatever the code.
    pub status: u16,
    /// AWS's error code, as the SDK's `ProvideErrorMetadata::code` shows it.
    pub code: String,
    /// AWS's message, verbatim where a source gives it.
    pub message: String,
}

impl ApiError {
    /// An error with AWS's code and message.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    /// For an operation that is not simulated. AWS does not behave like this. The error keeps a test from passing
    /// unnoticed.
    pub fn unknown_operation(operation: &str) -> Self {
        let message = format!("the simulated AWS does not know operation {operation}");
        Self::new(400, "UnknownOperationException", message)
    }

    /// For a parameter that is not simulated. AWS does not behave like this. The error keeps a test from passing
    /// unnoticed.
    pub fn unknown_parameter(parameter: &str, operation: &str) -> Self {
        let message = format!("the simulated AWS does not know parameter {parameter} of {operation}");
        Self::new(400, "UnknownParameter", message)
    }
}
