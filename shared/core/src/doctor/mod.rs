//! Checks of a live installation: what was found, what it means and how to fix it.
//!
//! Each check takes facts as plain values and returns a [`CheckResult`]. Calling AWS is the caller's part.
//!
//! | you look for | it is in |
//! |---|---|
//! | all checks, their groups and meanings | [`CheckId`] |
//! | caller, organization, list of accounts | [`caller`] |
//! | destinations, their policies and the room in them | [`destinations`] |
//! | buses and rules: whether every required event is routed | [`event_routes`], [`pattern`] |
//! | queues and dead letters | [`queues`] |
//! | roles, Regions, trails and quotas of member accounts | [`members`] |

pub mod caller;
mod catalogue;
pub mod destinations;
pub mod event_routes;
pub mod members;
pub mod pattern;
pub mod queues;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

pub use catalogue::{CheckId, Group};

use crate::error::{AwsError, Code, Disposition, Wait};
use crate::ids::{AccountId, AccountRegion, Region};

/// The status of a check, in order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works, and nothing needs attention.
    Ok,
    /// It works, but needs attention before it stops working.
    Warning,
    /// It could not be checked.
    Unknown,
    /// It does not work.
    Failed,
}

impl Status {
    /// All statuses, in order of severity.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Warning, Self::Unknown, Self::Failed];

    /// The name in JSON, which never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`status` is described by its type")]
pub struct CheckResult {
    pub status: Status,
    /// What was found: one sentence without a full stop.
    pub finding: String,
    /// How to fix it; empty where there is nothing to fix.
    pub remedy: String,
}

impl CheckResult {
    /// A result with [`Status::Ok`].
    pub fn ok(finding: impl Into<String>) -> Self {
        Self { status: Status::Ok, finding: finding.into(), remedy: String::new() }
    }

    /// A result with [`Status::Warning`].
    pub fn warning(finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Warning, finding: finding.into(), remedy: remedy.into() }
    }

    /// It does not work.
    pub fn failed(finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Failed, finding: finding.into(), remedy: remedy.into() }
    }

    /// A result with [`Status::Unknown`].
    pub fn unknown(finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Unknown, finding: finding.into(), remedy: remedy.into() }
    }

    /// The result where a call failed that the check needs.
    pub fn could_not_look(error: &AwsError) -> Self {
        let remedy = match (&error.code, error.disposition()) {
            (Code::NoAnswer, _) => {
                "run the doctor again; if this persists, check the network and AWS_ENDPOINT_URL".to_owned()
            }
            (_, Disposition::RetrySoon) => "run the doctor again in a minute".to_owned(),
            (_, Disposition::RetryLater(Wait::Permission | Wait::Grant)) => {
                format!("allow {} for the caller, or in a member account for the member role", error.operation)
            }
            // The doctor looks once, so nothing is tried again by itself.
            (_, other) => other.next_step().replace("; retried automatically", ""),
        };
        Self::unknown(error.to_string(), remedy)
    }
}

/// A check and its result. The ids and JSON keys are stable: scripts may rely on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The kind of check.
    pub id: CheckId,
    /// The account that was checked; `None` for the installation as a whole.
    pub account: Option<AccountId>,
    /// The Region that was checked; `None` where it makes no difference.
    pub region: Option<Region>,
    /// The destination, queue or role that was checked; empty where there is only one.
    pub resource: String,
    /// What was found, and how to fix it.
    pub verdict: CheckResult,
    /// AWS's request id, if a call failed.
    pub request_id: Option<String>,
}

impl Check {
    /// A check of the installation as a whole.
    pub fn new(id: CheckId, verdict: CheckResult) -> Self {
        Self { id, account: None, region: None, resource: String::new(), verdict, request_id: None }
    }

    /// A check that could not be made because a call failed.
    pub fn could_not_look(id: CheckId, error: &AwsError) -> Self {
        Self { request_id: error.request_id.clone(), ..Self::new(id, CheckResult::could_not_look(error)) }
    }

    /// Sets the account that was checked.
    #[must_use]
    pub fn of(self, account: AccountId) -> Self {
        Self { account: Some(account), ..self }
    }

    /// Sets the Region that was checked.
    #[must_use]
    pub fn within(self, region: &Region) -> Self {
        Self { region: Some(region.clone()), ..self }
    }

    /// Sets the account and the Region that were checked.
    #[must_use]
    pub fn at(self, at: &AccountRegion) -> Self {
        self.of(at.account).within(&at.region)
    }

    /// Sets which of several resources was checked.
    #[must_use]
    pub fn about(self, resource: impl Into<String>) -> Self {
        Self { resource: resource.into(), ..self }
    }

    /// The status in [`Self::verdict`].
    pub fn status(&self) -> Status {
        self.verdict.status
    }

    /// What was checked: account, Region and resource, as far as they are set; empty for the installation as a whole.
    pub fn subject(&self) -> String {
        let account = self.account.map(|account| account.to_string());
        let region = self.region.as_ref().map(ToString::to_string);
        let resource = Some(self.resource.clone()).filter(|resource| !resource.is_empty());
        [account, region, resource].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Check", 10)?;
        fields.serialize_field("id", self.id.as_str())?;
        fields.serialize_field("group", self.id.group().title())?;
        fields.serialize_field("account", &self.account)?;
        fields.serialize_field("region", &self.region)?;
        fields.serialize_field("resource", &self.resource)?;
        fields.serialize_field("status", &self.verdict.status)?;
        fields.serialize_field("finding", &self.verdict.finding)?;
        fields.serialize_field("meaning", self.id.meaning())?;
        fields.serialize_field("remedy", &self.verdict.remedy)?;
        fields.serialize_field("request_id", &self.request_id)?;
        fields.end()
    }
}

/// The number of checks with each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "each field is named after its status")]
pub struct Summary {
    pub ok: usize,
    pub warning: usize,
    pub unknown: usize,
    pub failed: usize,
}

impl Summary {
    /// The number of checks with this status.
    pub fn of(&self, status: Status) -> usize {
        match status {
            Status::Ok => self.ok,
            Status::Warning => self.warning,
            Status::Unknown => self.unknown,
            Status::Failed => self.failed,
        }
    }

    /// The number of all checks.
    pub fn total(&self) -> usize {
        Status::ALL.into_iter().map(|status| self.of(status)).sum()
    }
}

/// All checks of one run of the doctor, in the order of [`CheckId`] and then by what was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DoctorReport {
    checks: Vec<Check>,
}

impl DoctorReport {
    /// Sorts the checks by kind, account, Region and resource.
    pub fn new(mut checks: Vec<Check>) -> Self {
        checks
            .sort_by(|a, b| (a.id, a.account, &a.region, &a.resource).cmp(&(b.id, b.account, &b.region, &b.resource)));
        Self { checks }
    }

    /// The checks, in order.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The number of checks with each status.
    pub fn summary(&self) -> Summary {
        let count = |status| self.checks.iter().filter(|check| check.status() == status).count();
        Summary {
            ok: count(Status::Ok),
            warning: count(Status::Warning),
            unknown: count(Status::Unknown),
            failed: count(Status::Failed),
        }
    }

    /// The most severe status; [`Status::Ok`] without checks. A warning is not a failure. Neither is an unknown, but it
    /// must not be mistaken for success.
    pub fn worst(&self) -> Status {
        self.checks.iter().map(Check::status).max().unwrap_or(Status::Ok)
    }

    /// The exit code of a command: 0 if everything works, with or without warnings; 1 if a check failed; 2 if no check
    /// failed but something could not be checked.
    pub fn exit_code(&self) -> u8 {
        match self.worst() {
            Status::Ok | Status::Warning => 0,
            Status::Failed => 1,
            Status::Unknown => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(status: Status) -> Check {
        let verdict = CheckResult { status, finding: "found".to_owned(), remedy: "fix".to_owned() };
        Check::new(CheckId::Trail, verdict)
    }

    #[test]
    fn only_failed_checks_fail_and_unknown_is_not_success() {
        for (statuses, exit) in [
            (&[][..], 0),
            (&[Status::Ok, Status::Warning], 0),
            (&[Status::Ok, Status::Unknown, Status::Warning], 2),
            (&[Status::Failed, Status::Unknown, Status::Ok], 1),
        ] {
            let report = DoctorReport::new(statuses.iter().map(|status| check(*status)).collect());
            assert_eq!(report.exit_code(), exit, "{statuses:?}");
            assert_eq!((report.summary().total(), report.checks().len()), (statuses.len(), statuses.len()));
        }
    }

    #[test]
    fn a_status_is_written_as_its_word() {
        assert_eq!(Status::ALL.map(Status::as_str), ["ok", "warning", "unknown", "failed"]);
    }

    #[test]
    fn a_check_names_account_region_resource_and_meaning() {
        let at = AccountRegion { account: "111122223333".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
        let check = check(Status::Failed).at(&at).about("trail");
        assert_eq!(check.subject(), "111122223333 eu-west-1 trail");
        let shown = serde_json::to_value(&check).unwrap();
        assert_eq!(shown["id"], json!("trail"));
        assert_eq!(shown["status"], json!("failed"));
        assert_eq!(shown["account"], json!("111122223333"));
        assert!(shown["meaning"].as_str().is_some_and(|meaning| !meaning.is_empty()));
    }

    #[test]
    fn a_failed_call_is_shown_with_code_request_and_what_to_allow() {
        let mut error = AwsError::answered("events:ListRules", "AccessDeniedException", "no");
        error.request_id = Some("id-1".to_owned());
        let check = Check::could_not_look(CheckId::MemberRules, &error);
        assert_eq!(check.status(), Status::Unknown);
        assert_eq!(check.verdict.finding, "events:ListRules failed with AccessDeniedException: no (request id-1)");
        assert!(check.verdict.remedy.contains("allow events:ListRules"), "{}", check.verdict.remedy);
        assert_eq!(check.request_id.as_deref(), Some("id-1"));
        let denied =
            "User is not authorized to perform: events:ListRules with an explicit deny in a service control policy";
        let by_policy = AwsError::answered("events:ListRules", "AccessDeniedException", denied);
        assert_eq!(CheckResult::could_not_look(&by_policy).remedy, by_policy.disposition().next_step());
        for (operation, code, message, remedy) in [
            ("events:ListRules", "ThrottlingException", "slow down", "run the doctor again"),
            ("organizations:ListAccounts", "AccessDeniedException", "no", "delegated administrator"),
            ("events:ListRules", "AccessDeniedException", "no, with an explicit deny in x", "remove the explicit deny"),
            ("ec2:DescribeRegions", "OptInRequired", "not yet", "look at its state in AWS Organizations"),
        ] {
            let shown = CheckResult::could_not_look(&AwsError::answered(operation, code, message)).remedy;
            assert!(shown.contains(remedy) && !shown.contains("retried"), "{shown}");
        }
        let unanswered = AwsError::unanswered("events:ListRules", "connection refused");
        assert!(CheckResult::could_not_look(&unanswered).remedy.contains("AWS_ENDPOINT_URL"));
    }
}
