//! Event kinds, and why an event is acted on, ignored or refused.
//!
//! # Flow
//!
//! A message body is an EventBridge envelope or one of the product's own [messages](crate::message). [`decode`] turns
//! it into a [`Trigger`], which says *where to look*, never what to do: its handler observes AWS and reconciles.
//!
//! | source | decoded in |
//! |---|---|
//! | `aws.ec2`: VPCs and flow logs | `ec2` |
//! | `aws.ec2`: their tags | `tags` |
//! | `aws.logs`: log groups and subscription filters | `logs` |
//! | `aws.cloudformation`: the member stack is ready | `cloudformation` |
//! | what somebody changed about the installation itself: destinations, roles, rules, stacks, stream, … | `watch` |
//! | `aws.organizations`: accounts join, move and leave | `organizations` |
//! | `aws.controltower`: its lifecycle events | `control_tower` |
//! | `aws.events`, `aws.scheduler`: the sweep | here |
//!
//! # Guarantees
//!
//! Nothing here panics, whatever the input. An event is recognised by `source` and `eventName`, never by its
//! `detail-type` alone, which is undocumented for some events and worded differently in China. The account to act on
//! never comes from `userIdentity`, which names the caller and may belong to another account.
//!
//! # Assumptions
//!
//! EventBridge lets only AWS send events whose source begins with `aws.`, so an envelope with such a source comes from
//! AWS. One that contradicts itself is refused nevertheless.

mod cloudformation;
mod containers;
mod control_tower;
mod ec2;
mod envelope;
mod explain;
#[cfg(test)]
mod fixtures;
mod json;
mod logs;
mod member;
mod organizations;
#[cfg(test)]
mod robustness;
mod tags;
mod watch;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;

use serde_json::Value;

use crate::grants::ShardNaming;
use crate::ids::{AccountId, Invalid, OrganizationId, Region, VpcId};
use crate::message::{BackfillContinuation, EnrollmentRequest, Message};
use crate::names::{FilterName, LogGroupName, RoleName};
use crate::settings::Settings;

pub use envelope::wrap_cloudtrail;
pub use explain::{Explanation, explain};
pub use watch::{ChangeByOthers, FORWARDERS, FUNCTION_ROLES, MEMBER_RULES};

use envelope::{Envelope, Record};

/// The names by which events that concern the installation are recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventContext {
    /// The log group whose changes trigger a repair.
    pub log_group: LogGroupName,
    /// The log group's subscription filter whose changes trigger a repair.
    pub filter: FilterName,
    /// The role the enroller assumes in member accounts. Calls made with it are the enroller's own.
    pub member_role: RoleName,
    /// The name of the member stack, or of the StackSet that deploys it.
    pub member_stack: String,
    /// The organization. If it is `None`, a handshake of any organization counts.
    pub organization: Option<OrganizationId>,
    /// The keys of the tags that decide whether and how a VPC is enrolled, and which flow logs are ours.
    pub tag_keys: BTreeSet<String>,
    /// The account that owns the destinations. Only its own events can be about them.
    pub central_account: AccountId,
    /// The names of the destinations.
    pub destinations: ShardNaming,
    /// The enrolled Regions, for what concerns an account in all of them.
    pub regions: BTreeSet<Region>,
    /// The roles in member accounts whose changes concern the installation.
    pub roles: BTreeSet<String>,
}

impl EventContext {
    /// The names in these settings.
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            log_group: settings.log_group_name.clone(),
            filter: settings.filter_name.clone(),
            member_role: settings.member_role_name.clone(),
            member_stack: settings.member_stack_name.clone(),
            organization: Some(settings.organization_id.clone()),
            tag_keys: BTreeSet::from([
                settings.opt_out_tag.key.clone(),
                settings.traffic_type_tag.clone(),
                settings.ownership_tag.key.clone(),
            ]),
            central_account: settings.central_account,
            destinations: settings.destination_name.clone(),
            regions: settings.regions.clone(),
            roles: [&settings.member_role_name, &settings.delivery_role_name, &settings.filter_role_name]
                .into_iter()
                .map(ToString::to_string)
                .chain(FORWARDERS.map(str::to_owned))
                .collect(),
        }
    }
}

/// Where to look, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`account` is the account to look at, and `what` is described by its type")]
pub enum Trigger {
    /// A VPC was created or tagged, or an account became ready in a Region.
    Enroll {
        account: AccountId,
        /// The Region of the event.
        region: Region,
        what: Enrolled,
        /// What happened, as a sentence.
        cause: String,
    },
    /// Part of an enrollment was undone.
    Repair {
        account: AccountId,
        /// The Region of the event.
        region: Region,
        /// The log group's name, or the flow logs' ids separated by commas. Empty where the event does not show it.
        resource: String,
        /// What happened, as a sentence.
        cause: String,
    },
    /// Another function or the command line tool requests that an account be reconciled.
    Request(EnrollmentRequest),
    /// An account joined the organization, or is to be granted for another reason.
    Grant {
        account: AccountId,
        /// Whether the enroller requests it. The account's enrollment then waits for the grant and comes back by
        /// itself.
        requested: bool,
        /// What happened, as a sentence.
        cause: String,
    },
    /// An account may have left the organization or been closed. This must be confirmed before its grant is removed.
    Revoke {
        account: AccountId,
        /// What happened, as a sentence.
        cause: String,
    },
    /// Every grant is to be compared with the organization's accounts.
    Sync {
        /// What happened, as a sentence.
        cause: String,
        /// What it happened to: an account, an organizational unit or a schedule.
        resource: Option<String>,
        /// Whether this run may revoke more than the guard's share of all grants.
        allow_mass_revocation: bool,
        /// The sweep it belongs to, if any.
        run_id: Option<String>,
    },
    /// A backfill that ran out of time continues.
    Backfill(BackfillContinuation),
}

impl Trigger {
    /// A sync caused by an event, for which the revocation guard stays on.
    fn sync(cause: String, resource: Option<String>) -> Self {
        Self::Sync { cause, resource, allow_mass_revocation: false, run_id: None }
    }

    /// The same trigger, whose cause also says that the call failed with this code.
    fn doubted(mut self, code: &str) -> Self {
        match &mut self {
            Self::Enroll { cause, .. }
            | Self::Repair { cause, .. }
            | Self::Grant { cause, .. }
            | Self::Revoke { cause, .. }
            | Self::Sync { cause, .. } => {
                cause.push_str(&format!("; the call failed with {code}, which leaves open what it changed"));
            }
            Self::Request(_) | Self::Backfill(_) => {}
        }
        self
    }
}

/// What an enrollment is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enrolled {
    /// A VPC that was created.
    Vpc(VpcId),
    /// The member stack of this name, which makes its account ready.
    MemberStack(String),
    /// VPCs or flow logs with these ids, separated by commas, whose tags changed.
    Tagged(String),
    /// Something that the event does not show, so the whole account-Region is looked at.
    Unnamed,
}

impl fmt::Display for Enrolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vpc(vpc) => vpc.fmt(f),
            Self::MemberStack(name) => f.write_str(name),
            Self::Tagged(resources) => f.write_str(resources),
            Self::Unnamed => Ok(()),
        }
    }
}

impl From<Message> for Trigger {
    fn from(message: Message) -> Self {
        match message {
            Message::Enrollment(request) => Self::Request(request),
            Message::Grant(request) => Self::Grant { account: request.account, requested: true, cause: request.reason },
            Message::Sync(request) => Self::Sync {
                cause: request.reason,
                resource: None,
                allow_mass_revocation: request.allow_mass_revocation,
                run_id: request.run_id,
            },
            Message::Backfill(continuation) => Self::Backfill(continuation),
        }
    }
}

/// A trigger, and the id and time of its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Where to look, and why.
    pub trigger: Trigger,
    /// CloudTrail's `eventID`, which survives forwarding and replay, or else the envelope's `id`. Absent for the
    /// product's own messages.
    pub event_id: Option<String>,
    /// When the event happened, in milliseconds since 1970-01-01 UTC; absent where it has no RFC 3339 time.
    pub occurred_at_ms: Option<u64>,
    /// What somebody else changed or deleted of what the installation needs, if the event is about that.
    pub change: Option<ChangeByOthers>,
}

/// The account, Region and resource of an event, as far as they could be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// The account the event is from.
    pub account: Option<AccountId>,
    /// The Region the event is from.
    pub region: Option<Region>,
    /// The resource the event names.
    pub resource: Option<String>,
}

/// A legitimate body that needs no action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// The reason, as a sentence.
    pub reason: String,
    /// The event's account, Region and resource.
    pub subject: Subject,
}

/// A body that is malformed, forged or contradicts itself. Retrying would not help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The reason, as a sentence.
    pub reason: String,
    /// The event's account, Region and resource.
    pub subject: Subject,
}

/// The decision about a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classified {
    /// It can be trusted and triggers work.
    Act(Box<Decoded>),
    /// It needs no action.
    Ignore(Ignored),
    /// It cannot be trusted, so nothing is done.
    Refuse(Refused),
}

/// Why an event gives no trigger.
#[derive(Debug)]
enum Rejection {
    Ignore { reason: String, resource: Option<String> },
    Refuse { reason: String },
}

impl Rejection {
    fn ignore(reason: impl Into<String>) -> Self {
        Self::Ignore { reason: reason.into(), resource: None }
    }

    fn ignore_about(resource: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Ignore { reason: reason.into(), resource: Some(resource.into()) }
    }

    fn refuse(reason: impl Into<String>) -> Self {
        Self::Refuse { reason: reason.into() }
    }

    /// The decision, with texts from the event cut to a length fit for a log entry.
    fn decision(self, account: Option<AccountId>, region: Option<Region>) -> Classified {
        match self {
            Self::Ignore { reason, resource } => {
                let resource = resource.map(|resource| json::cut(&resource, 512));
                Classified::Ignore(Ignored {
                    reason: json::cut(&reason, 1000),
                    subject: Subject { account, region, resource },
                })
            }
            Self::Refuse { reason } => Classified::Refuse(Refused {
                reason: json::cut(&reason, 1000),
                subject: Subject { account, region, resource: None },
            }),
        }
    }
}

impl From<Invalid> for Rejection {
    fn from(invalid: Invalid) -> Self {
        Self::refuse(invalid.to_string())
    }
}

/// The `detail-type` of a schedule's event.
const SCHEDULED: &str = "Scheduled Event";

/// Decides what to do about the body of a queue's message.
///
/// # Examples
///
/// ```
/// use enroller_core::event::{Classified, EventContext, Trigger, decode};
/// # use enroller_core::settings::Settings;
/// # let settings = Settings::from_lookup(|key| {
/// #     let value = match key {
/// #         "central_account" => "111122223333",
/// #         "organization_id" => "o-exampleorg1",
/// #         "home_region" | "regions" => "eu-west-1",
/// #         _ => return None,
/// #     };
/// #     Some(value.to_owned())
/// # })?;
///
/// let context = EventContext::from_settings(&settings);
/// let body = r#"{
///     "source": "aws.ec2", "account": "444455556666", "region": "eu-west-1",
///     "detail-type": "AWS API Call via CloudTrail",
///     "detail": {
///         "eventSource": "ec2.amazonaws.com", "eventName": "CreateVpc",
///         "responseElements": {"vpc": {"vpcId": "vpc-0123456789abcdef0"}}
///     }
/// }"#;
/// let Classified::Act(decoded) = decode(body, &context) else { panic!("not acted on") };
/// let Trigger::Enroll { account, what, .. } = decoded.trigger else { panic!("not an enrollment") };
/// assert_eq!((account.to_string().as_str(), what.to_string().as_str()), ("444455556666", "vpc-0123456789abcdef0"));
///
/// let Classified::Ignore(ignored) = decode(&body.replace("Create", "Delete"), &context) else { panic!() };
/// assert_eq!(ignored.reason, "DeleteVpc leaves no VPC to cover");
///
/// let Classified::Refuse(refused) = decode("hello", &context) else { panic!() };
/// assert!(refused.reason.starts_with("the body is not JSON"));
/// # Ok::<(), enroller_core::settings::SettingsError>(())
/// ```
pub fn decode(body: &str, context: &EventContext) -> Classified {
    match parse(body) {
        Ok(value) => decode_value(&value, context),
        Err(rejection) => rejection.decision(None, None),
    }
}

/// Decides what to do about an EventBridge envelope or one of the product's own messages. Either may be wrapped in one
/// SNS notification.
pub fn decode_value(value: &Value, context: &EventContext) -> Classified {
    match sns_message(value).map(parse) {
        None => decode_bare(value, context),
        Some(Ok(inner)) => decode_bare(&inner, context),
        Some(Err(rejection)) => rejection.decision(None, None),
    }
}

/// serde_json limits nesting to 128 levels, so that a hostile body cannot exhaust the stack.
fn parse(body: &str) -> Result<Value, Rejection> {
    serde_json::from_str(body).map_err(|error| Rejection::refuse(format!("the body is not JSON: {error}")))
}

fn sns_message(value: &Value) -> Option<&str> {
    let notification = value.get("Type").and_then(Value::as_str) == Some("Notification");
    value.get("Message").and_then(Value::as_str).filter(|_| notification)
}

fn decode_bare(value: &Value, context: &EventContext) -> Classified {
    if Message::claims(value) {
        return own_message(value);
    }
    let envelope = match Envelope::read(value) {
        Ok(envelope) => envelope,
        Err(rejection) => return rejection.decision(None, None),
    };
    match trigger(&envelope, context) {
        Ok((trigger, change)) => Classified::Act(Box::new(Decoded {
            trigger,
            change,
            event_id: envelope.event_id(),
            occurred_at_ms: envelope.occurred_at_ms(),
        })),
        Err(rejection) => rejection.decision(envelope.account(), envelope.region()),
    }
}

fn own_message(value: &Value) -> Classified {
    match Message::from_value(value) {
        Ok(message) => {
            let occurred_at_ms = match &message {
                Message::Enrollment(request) => request.requested_at_ms,
                Message::Grant(_) | Message::Sync(_) | Message::Backfill(_) => None,
            };
            Classified::Act(Box::new(Decoded { trigger: message.into(), event_id: None, occurred_at_ms, change: None }))
        }
        Err(error) => {
            let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Rejection::refuse(format!("{error}{cause}")).decision(None, None)
        }
    }
}

/// Whether an event comes from a schedule of EventBridge or EventBridge Scheduler.
pub fn is_schedule(value: &Value) -> bool {
    let is = |name, text: &str| value.get(name).and_then(Value::as_str).is_some_and(|it| it.eq_ignore_ascii_case(text));
    (is("source", "aws.events") || is("source", "aws.scheduler")) && is("detail-type", SCHEDULED)
}

fn trigger(envelope: &Envelope<'_>, context: &EventContext) -> Result<(Trigger, Option<ChangeByOthers>), Rejection> {
    let is_call = || json::field(&envelope.detail, "eventName").is_some();
    let decode: fn(&Record<'_>, &EventContext) -> Result<Trigger, Rejection> = match envelope.source {
        "aws.ec2" => ec2::decode,
        "aws.logs" => logs::decode,
        "aws.organizations" => organizations::decode,
        "aws.controltower" => |record, _| control_tower::decode(record),
        "aws.cloudformation" if !is_call() => return Ok((cloudformation::decode(envelope, context)?, None)),
        "aws.events" | "aws.scheduler" if !is_call() => return Ok((schedule(envelope)?, None)),
        source if watch::concerns(source) => watch::decode,
        other => {
            let other = json::cut(other, 80);
            return Err(Rejection::ignore(format!("Events of the source {other:?} do not concern enrollment")));
        }
    };
    let record = Record::read(envelope)?;
    let trigger = decode(&record, context)?;
    let change = watch::change(&record, &trigger);
    Ok((record.doubt.iter().fold(trigger, |trigger, code| trigger.doubted(code)), change))
}

fn schedule(envelope: &Envelope<'_>) -> Result<Trigger, Rejection> {
    let detail_type = envelope.detail_type();
    if !detail_type.eq_ignore_ascii_case(SCHEDULED) {
        let detail_type = json::cut(&detail_type, 80);
        return Err(Rejection::ignore(format!("{detail_type:?} of {} is not a scheduled event", envelope.source)));
    }
    Ok(Trigger::sync("The schedule is due".to_owned(), envelope.first_resource()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fixtures::*;
    use super::*;

    #[test]
    fn our_own_messages_become_triggers() {
        let body = r#"{"kind":"enrollment-request","version":1,"account":"111122223333","regions":["eu-west-1"],
            "reason":"granted","requested_at_ms":5,"later":"field"}"#;
        let Classified::Act(decoded) = decode(body, &context()) else { panic!("not acted on") };
        assert_eq!(decoded.occurred_at_ms, Some(5));
        let Trigger::Request(request) = decoded.trigger else { panic!("not a request") };
        assert_eq!(request.account, account(MEMBER));

        let body = json!({"kind": "grant-request", "version": 1, "account": MEMBER, "reason": "asked for"});
        assert_eq!(
            acted(&body),
            Trigger::Grant { account: account(MEMBER), requested: true, cause: "asked for".to_owned() }
        );

        let body = json!({"kind": "sync-request", "version": 1, "reason": "nightly", "run_id": "r", "allow_mass_revocation": true});
        assert_eq!(
            acted(&body),
            Trigger::Sync {
                cause: "nightly".to_owned(),
                resource: None,
                allow_mass_revocation: true,
                run_id: Some("r".to_owned())
            }
        );

        let body = json!({"kind": "backfill-request", "version": 1, "request": {"reason": "nightly"}, "run_id": "r",
            "after": MEMBER});
        let Trigger::Backfill(continuation) = acted(&body) else { panic!("not a continuation") };
        assert_eq!((continuation.after, continuation.request.reason.as_str()), (account(MEMBER), "nightly"));
    }

    #[test]
    fn our_own_messages_are_refused_with_what_is_wrong() {
        let body = json!({"kind": "grant-request", "version": 1, "account": "vpc"});
        assert!(refused(&body).contains("\"vpc\" is not an account id: expected 12 digits"));
        assert!(refused(&json!({"kind": "grant-request", "version": 9, "account": MEMBER})).contains("version 9"));
    }

    #[test]
    fn a_scheduled_event_is_a_sync_with_the_guard_on() {
        for source in ["aws.events", "aws.scheduler"] {
            for detail in [json!({}), json!("{}"), json!(null)] {
                let event = json!({"source": source, "detail-type": "Scheduled Event", "detail": detail,
                    "resources": ["arn:aws:events:eu-west-1:111122223333:rule/nightly"]});
                let resource = Some("arn:aws:events:eu-west-1:111122223333:rule/nightly".to_owned());
                assert_eq!(acted(&event), Trigger::sync("The schedule is due".to_owned(), resource));
                assert!(is_schedule(&event));
            }
        }
        let other = json!({"source": "aws.events", "detail-type": "Schedule Changed", "detail": {}});
        assert!(ignored(&other).contains("not a scheduled event"));
        assert!(!is_schedule(&other) && !is_schedule(&create_vpc().build()) && !is_schedule(&json!(null)));
    }

    #[test]
    fn events_of_other_sources_with_known_names_are_ignored() {
        for source in ["com.example", "aws.rds", "aws.EC2", "ec2"] {
            let event = create_vpc().top("source", json!(source)).build();
            assert!(ignored(&event).contains(source), "{source}");
        }
    }

    #[test]
    fn what_is_not_an_event_is_ignored_and_what_is_not_json_is_refused() {
        for value in [json!(null), json!(7), json!([]), json!({}), json!({"messageType": "CONTROL_MESSAGE"})] {
            ignored(&value);
        }
        assert!(refused(&json!({"detail": {"eventName": "CreateVpc"}})).contains("source"));
        for body in ["", "Message Body", "{", "{\"source\":", &"[".repeat(100_000)] {
            let Classified::Refuse(refusal) = decode(body, &context()) else { panic!("{body} was not refused") };
            assert!(refusal.reason.starts_with("the body is not JSON: "), "{}", refusal.reason);
        }
    }

    #[test]
    fn one_sns_notification_is_unwrapped() {
        let event = create_vpc().build();
        let wrap = |message: &Value| json!({"Type": "Notification", "TopicArn": "t", "Message": message.to_string()});
        assert_eq!(acted(&wrap(&event)), acted(&event));
        ignored(&wrap(&wrap(&event)));
        assert!(refused(&json!({"Type": "Notification", "Message": "hello"})).contains("not JSON"));
    }

    #[test]
    fn duplicate_keys_and_fields_added_by_archives_do_not_matter() {
        let body = create_vpc().top("replay-name", json!("archive")).build().to_string();
        let body = body.replacen("{", "{\"source\":\"com.example\",", 1);
        assert!(matches!(decode(&body, &context()), Classified::Act(_)));
    }

    #[test]
    fn an_event_is_identified_by_its_cloudtrail_id_and_time() {
        let decoded = |event: &Value| match decode_value(event, &context()) {
            Classified::Act(decoded) => (decoded.event_id, decoded.occurred_at_ms),
            other => panic!("{other:?}"),
        };
        let event = create_vpc();
        assert_eq!(decoded(&event.clone().build()), (Some(EVENT_ID.to_owned()), Some(EVENT_MS)));
        let event = event.without_detail("eventID").top("time", json!("Nov 23, 2026 10:00:00 AM"));
        assert_eq!(decoded(&event.clone().build()), (Some(ENVELOPE_ID.to_owned()), Some(EVENT_MS)));
        let event = event.without("id").without("time").without("version").without_detail("eventTime");
        assert_eq!(decoded(&event.build()), (None, None));
    }

    #[test]
    fn text_from_outside_is_cut_before_it_reaches_a_log() {
        let event = create_vpc().detail("eventName", json!("x".repeat(100_000))).build();
        assert!(ignored(&event).chars().count() <= 1001);
    }
}
