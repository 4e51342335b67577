//! The messages that the product's functions and commands send each other over its queues.
//!
//! They are the only bodies on the queues that are not EventBridge envelopes. Each has a `kind` and a `version`,
//! because for as long as its retention lasts a queue can hold messages of the previous release (or, after a rollback,
//! of the next one).

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::backfill::BackfillRequest;
use crate::ids::{AccountId, Region};
use crate::names::DestinationName;

/// The version of the messages that this release writes, and the only one it reads.
pub const VERSION: u64 = 1;

const ENROLLMENT: &str = "enrollment-request";
const GRANT: &str = "grant-request";
const SYNC: &str = "sync-request";
const BACKFILL: &str = "backfill-request";

/// "Reconcile this account in these Regions": what `account-onboarder` and `backfill` ask of `vpc-enroller`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EnrollmentRequest {
    /// The account to reconcile.
    pub account: AccountId,
    /// The Regions to reconcile it in; never empty.
    pub regions: Vec<Region>,
    /// The account's destination in each Region when the message was sent. It counts if the destination is ours and the
    /// policies, as far as remembered, name no other.
    #[serde(default)]
    pub destinations: BTreeMap<Region, DestinationName>,
    /// The reason, for people and logs.
    #[serde(default)]
    pub reason: String,
    /// The sweep this request belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// When the request was made, in milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at_ms: Option<u64>,
    /// What the account was waited for already until a message was given up, by [`Wait::label`]. A message that came back
    /// for one reason has not been tried often enough for another one.
    ///
    /// [`Wait::label`]: crate::error::Wait::label
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub waited_for: BTreeSet<String>,
}

/// "This account has no grant yet": what `vpc-enroller` asks of `account-onboarder`, the one writer of grants.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GrantRequest {
    /// The account to be granted.
    pub account: AccountId,
    /// The reason, for people and logs.
    #[serde(default)]
    pub reason: String,
}

/// "Compare every grant with the organization": what `backfill` and operators ask of `account-onboarder`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The reason, for people and logs.
    #[serde(default)]
    pub reason: String,
    /// The sweep this request belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Whether this run may revoke more than the guard's share of all grants.
    #[serde(default)]
    pub allow_mass_revocation: bool,
}

/// "Continue this backfill": what `backfill` sends to itself when its time runs out.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BackfillContinuation {
    /// The run's request. Unlike the message's own fields, an unknown field in it is refused: ignoring a selector of a
    /// later release would select more accounts than intended.
    pub request: BackfillRequest,
    /// The run's id, which is in every message that the run queues.
    pub run_id: String,
    /// The account queued last; accounts are queued in the order of their ids.
    pub after: AccountId,
}

/// A message of the product.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is described at its content")]
pub enum Message {
    Enrollment(EnrollmentRequest),
    Grant(GrantRequest),
    Sync(SyncRequest),
    Backfill(BackfillContinuation),
}

/// Why a body that claims to be one of the product's messages is refused. Sending it again would not help.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The `kind` is unknown, or not one of this release.
    #[error("{0:?} is not a kind of message that this release knows")]
    UnknownKind(String),
    /// The `version` is missing or belongs to another release.
    #[error("a {kind} of version {version} cannot be read: this release reads version {VERSION}")]
    UnknownVersion {
        /// The `kind` of the message.
        kind: String,
        /// The version in the message, as JSON.
        version: String,
    },
    /// A field is missing or has an invalid value.
    #[error("the {kind} is malformed")]
    Malformed {
        /// The `kind` of the message.
        kind: String,
        /// The first problem that serde found.
        #[source]
        source: serde_json::Error,
    },
    /// It names no Region. Nothing could be done, while the sender would believe that it was.
    #[error("the {ENROLLMENT} for {0} names no Region")]
    NoRegions(AccountId),
}

impl Message {
    /// The body to send: one JSON object with `kind`, `version` and the request's fields.
    pub fn to_json(&self) -> String {
        // The requests are structs of strings, numbers and string-keyed maps, which always serialize to JSON objects.
        let (kind, mut body) = match self {
            Self::Enrollment(request) => (ENROLLMENT, json!(request)),
            Self::Grant(request) => (GRANT, json!(request)),
            Self::Sync(request) => (SYNC, json!(request)),
            Self::Backfill(continuation) => (BACKFILL, json!(continuation)),
        };
        body["kind"] = json!(kind);
        body["version"] = json!(VERSION);
        body.to_string()
    }

    /// Whether a body claims to be one of the product's messages. EventBridge lets no sender choose an envelope's
    /// members, so a body with a `kind` and no `detail` was sent by a principal that may write to the queue.
    pub fn claims(body: &Value) -> bool {
        let has = |name| body.get(name).is_some_and(|value| !value.is_null());
        body.get("kind").is_some_and(Value::is_string) && !has("detail") && !has("detail-type")
    }

    /// Reads a body that [`claims`](Self::claims) to be one of the product's messages. Unknown members are ignored.
    ///
    /// # Errors
    ///
    /// The kind or the version is unknown, or a field is missing or malformed.
    pub fn from_value(body: &Value) -> Result<Self, MessageError> {
        let kind = body.get("kind").and_then(Value::as_str).unwrap_or_default();
        if ![ENROLLMENT, GRANT, SYNC, BACKFILL].contains(&kind) {
            return Err(MessageError::UnknownKind(kind.chars().take(80).collect()));
        }
        let version = body.get("version").unwrap_or(&Value::Null);
        if version.as_u64() != Some(VERSION) {
            let version = version.to_string().chars().take(80).collect();
            return Err(MessageError::UnknownVersion { kind: kind.to_owned(), version });
        }
        match kind {
            ENROLLMENT => {
                let request: EnrollmentRequest = fields(kind, body)?;
                if request.regions.is_empty() {
                    return Err(MessageError::NoRegions(request.account));
                }
                Ok(Self::Enrollment(request))
            }
            GRANT => fields(kind, body).map(Self::Grant),
            BACKFILL => fields(kind, body).map(Self::Backfill),
            _ => fields(kind, body).map(Self::Sync),
        }
    }
}

fn fields<T: DeserializeOwned>(kind: &str, body: &Value) -> Result<T, MessageError> {
    T::deserialize(body).map_err(|source| MessageError::Malformed { kind: kind.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    fn enrollment() -> EnrollmentRequest {
        let region: Region = "eu-west-1".parse().unwrap();
        EnrollmentRequest {
            account: "111122223333".parse().unwrap(),
            regions: vec![region.clone(), "us-east-1".parse().unwrap()],
            destinations: BTreeMap::from([(region, "VPCFlowLogsDestination".parse().unwrap())]),
            reason: "granted".to_owned(),
            run_id: None,
            requested_at_ms: Some(1_795_000_000_000),
            waited_for: BTreeSet::new(),
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let account = "111122223333".parse().unwrap();
        for message in [
            Message::Enrollment(enrollment()),
            Message::Grant(GrantRequest { account, reason: "no grant yet".to_owned() }),
            Message::Sync(SyncRequest {
                reason: "nightly".to_owned(),
                run_id: Some("run-1".to_owned()),
                allow_mass_revocation: true,
            }),
            Message::Backfill(BackfillContinuation {
                request: BackfillRequest { accounts: [account].into(), ..BackfillRequest::default() },
                run_id: "run-1".to_owned(),
                after: account,
            }),
        ] {
            let body: Value = serde_json::from_str(&message.to_json()).unwrap();
            assert!(Message::claims(&body), "{body}");
            assert_eq!(Message::from_value(&body).unwrap(), message);
        }
    }

    #[test]
    fn the_wire_form_is_the_one_earlier_releases_wrote() {
        let body: Value = serde_json::from_str(&Message::Enrollment(enrollment()).to_json()).unwrap();
        let expected = r#"{"kind":"enrollment-request","version":1,"account":"111122223333",
            "regions":["eu-west-1","us-east-1"],"destinations":{"eu-west-1":"VPCFlowLogsDestination"},
            "reason":"granted","requested_at_ms":1795000000000}"#;
        assert_eq!(body, serde_json::from_str::<Value>(expected).unwrap());
    }

    #[test]
    fn optional_fields_may_be_missing_and_unknown_ones_are_ignored() {
        let body = json!({"kind": GRANT, "version": 1, "account": "111122223333", "colour": "blue"});
        let Message::Grant(request) = Message::from_value(&body).unwrap() else { panic!("not a grant request") };
        assert_eq!(request.reason, "");
        let body = json!({"kind": SYNC, "version": 1});
        let Message::Sync(request) = Message::from_value(&body).unwrap() else { panic!("not a sync request") };
        assert!(!request.allow_mass_revocation, "the guard is off only when the message says so");
    }

    #[test]
    fn a_message_that_cannot_be_trusted_is_refused_with_what_is_wrong() {
        for (body, wrong) in [
            (json!({"kind": "lunch-request", "version": 1}), "\"lunch-request\" is not a kind"),
            (json!({"kind": GRANT, "account": "111122223333"}), "version null"),
            (json!({"kind": GRANT, "version": 2, "account": "111122223333"}), "version 2"),
            (json!({"kind": GRANT, "version": 1, "account": "1111"}), "\"1111\" is not an account id"),
            (json!({"kind": GRANT, "version": 1, "account": 111_122_223_333_u64}), "expected a string"),
            (json!({"kind": ENROLLMENT, "version": 1, "account": "111122223333"}), "missing field `regions`"),
            (json!({"kind": ENROLLMENT, "version": 1, "account": "111122223333", "regions": ["mars"]}), "a Region"),
            (json!({"kind": ENROLLMENT, "version": 1, "account": "111122223333", "regions": []}), "names no Region"),
            (json!({"kind": BACKFILL, "version": 1, "request": {}, "run_id": "r"}), "missing field `after`"),
            (
                json!({"kind": BACKFILL, "version": 1, "request": {"tags": []}, "run_id": "r", "after": "111122223333"}),
                "tags = []: unknown field",
            ),
        ] {
            let error = Message::from_value(&body).unwrap_err();
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            assert!(format!("{error}: {source}").contains(wrong), "{body} gave {error}: {source}");
        }
    }

    #[test]
    fn an_event_is_not_mistaken_for_a_message_of_the_product() {
        for body in [json!({"kind": "x", "detail": {}}), json!({"source": "aws.ec2"}), json!({"kind": 1}), json!([])] {
            assert!(!Message::claims(&body), "{body}");
        }
    }
}
