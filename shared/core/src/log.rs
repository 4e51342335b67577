//! Log entries: one for each decision, for people and for log queries.

use serde::Serialize;

use crate::error::{AwsError, Disposition};
use crate::ids::{AccountId, AccountRegion, Region};

/// How a decision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A change was made.
    Done,
    /// The resource exists already, so nothing was changed.
    Unchanged,
    /// Out of scope or unmanaged, so deliberately left alone.
    Ignored,
    /// A malformed or forged message or event. It is never retried.
    Refused,
    /// AWS or the organization does not allow it here. This is not a failure.
    Skipped,
    /// Somebody else changed what the installation needs. A person should know of it, repaired or not.
    Noticed,
    /// The message returned to the queue.
    RetryLater,
    /// A person has to act.
    Failed,
}

/// One decision, logged as one line of JSON. The keys are stable: log queries and alarms may rely on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogEntry {
    /// The account the entry is about, if any.
    pub account: Option<AccountId>,
    /// The Region the entry is about, if any.
    pub region: Option<Region>,
    /// The VPC, log group, filter, destination, role, event or message.
    pub resource: String,
    /// What was to be done.
    pub action: String,
    /// How it ended, in kebab-case: `retry-later`.
    pub outcome: Outcome,
    /// Why it was done, or why it failed.
    pub cause: String,
    /// AWS's request id, for failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What a person should do, for failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// Who made a change that was noticed, as CloudTrail names them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The id of CloudTrail's event of that change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

impl LogEntry {
    /// An entry about something in an account-Region.
    pub fn at(
        at: &AccountRegion,
        action: &str,
        resource: impl Into<String>,
        outcome: Outcome,
        cause: impl Into<String>,
    ) -> Self {
        let decision = Self::about(Some(at.account), action, resource, outcome, cause);
        Self { region: Some(at.region.clone()), ..decision }
    }

    /// An entry about something without a Region, and perhaps without an account.
    pub fn about(
        account: Option<AccountId>,
        action: &str,
        resource: impl Into<String>,
        outcome: Outcome,
        cause: impl Into<String>,
    ) -> Self {
        Self {
            account,
            region: None,
            resource: resource.into(),
            action: action.to_owned(),
            outcome,
            cause: cause.into(),
            request_id: None,
            next_step: None,
            principal: None,
            event_id: None,
        }
    }

    /// Turns the entry into that of a failed call: outcome, cause, request id and next step follow from the error.
    #[must_use]
    pub fn failed_with(mut self, error: &AwsError) -> Self {
        let disposition = error.disposition().of_failure();
        self.outcome = outcome_of(disposition);
        self.cause = format!("{} failed with {}: {}", error.operation, error.code_text, error.message);
        self.request_id.clone_from(&error.request_id);
        self.next_step = Some(disposition.next_step().to_owned());
        self
    }

    /// Adds what a person should do.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next_step = Some(step.into());
        self
    }
}

/// The outcome of a decision that failed with an AWS error of this disposition.
pub const fn outcome_of(disposition: Disposition) -> Outcome {
    match disposition {
        Disposition::AlreadyThere | Disposition::Absent => Outcome::Unchanged,
        Disposition::RetrySoon | Disposition::RetryLater(_) => Outcome::RetryLater,
        Disposition::Skip(_) => Outcome::Skipped,
        Disposition::Terminal(_) => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_account_region_action_cause_and_next_step() {
        let at = AccountRegion { account: "111122223333".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
        let line = LogEntry::at(&at, "create-flow-log", "vpc-0123456789abcdef0", Outcome::Done, "it has none");
        insta::assert_json_snapshot!(line, @r#"
        {
          "account": "111122223333",
          "region": "eu-west-1",
          "resource": "vpc-0123456789abcdef0",
          "action": "create-flow-log",
          "outcome": "done",
          "cause": "it has none"
        }
        "#);
        let mut error = AwsError::answered("ec2:CreateFlowLogs", "Throttling", "slow down");
        error.request_id = Some("1a2b".to_owned());
        let failed = line.clone().failed_with(&error);
        assert_eq!((failed.outcome, failed.request_id.as_deref()), (Outcome::RetryLater, Some("1a2b")));
        assert!(failed.cause.starts_with("ec2:CreateFlowLogs failed with ") && failed.cause.ends_with(": slow down"));
        assert_eq!(failed.next_step.as_deref(), Some(error.disposition().next_step()));
        assert_eq!(line.next("wait").next_step.as_deref(), Some("wait"));
    }
}
