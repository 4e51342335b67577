//! The EventBridge envelope and the CloudTrail record in it.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use serde_json::{Value, json};

use super::Rejection;
use super::json::{cut, field, parsed, path, section, text, text_at};
use crate::arn::Arn;
use crate::ids::{AccountId, AccountRegion, Invalid, Region};
use crate::names::RoleName;
use crate::time;

const SERVICE_EVENT: &str = "AwsServiceEvent";
const API_CALL: &str = "AwsApiCall";

/// Puts a raw CloudTrail record into the envelope in which EventBridge would deliver it.
///
/// The account is the record's `recipientAccountId`. A record without it gets an envelope without an account, because
/// nothing else in a record names the account it happened in.
pub fn wrap_cloudtrail(record: Value) -> Value {
    let member = |name| text_at(&record, &[name]);
    let host = member("eventSource").unwrap_or_default();
    // UNVERIFIED which of the two names CloudTrail writes in the European Sovereign Cloud.
    let source = match host.split_once(".amazonaws") {
        Some((service, ".com" | ".com.cn" | ".eu")) => format!("aws.{service}"),
        _ => host.into_owned(),
    };
    let service_event = member("eventType").is_some_and(|kind| kind.eq_ignore_ascii_case(SERVICE_EVENT));
    let detail_type = if service_event { "AWS Service Event via CloudTrail" } else { "AWS API Call via CloudTrail" };
    let copied = |name| field(&record, name).cloned().unwrap_or(Value::Null);
    json!({
        "version": "0",
        "id": copied("eventID"),
        "detail-type": detail_type,
        "source": source,
        "account": copied("recipientAccountId"),
        "time": copied("eventTime"),
        "region": copied("awsRegion"),
        "resources": [],
        "detail": record,
    })
}

/// An EventBridge event that has at least a source.
pub(super) struct Envelope<'a> {
    root: &'a Value,
    /// EventBridge guarantees it: only AWS can send a source that begins with `aws.`.
    pub(super) source: &'a str,
    /// The service's own part, parsed where a pipe or an input transformer turned it into a string.
    pub(super) detail: Cow<'a, Value>,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(root: &'a Value) -> Result<Self, Rejection> {
        let Some(source) = field(root, "source").and_then(Value::as_str) else {
            return Err(match field(root, "detail") {
                Some(_) => Rejection::refuse("the event names no source"),
                None => {
                    Rejection::ignore("This is neither an EventBridge event nor one of the enroller's own messages")
                }
            });
        };
        Ok(Self { root, source, detail: section(root, "detail") })
    }

    pub(super) fn detail_type(&self) -> Cow<'_, str> {
        text_at(self.root, &["detail-type"]).unwrap_or_default()
    }

    pub(super) fn event_id(&self) -> Option<String> {
        let id = text_at(&self.detail, &["eventID"]).or_else(|| text_at(self.root, &["id"]))?;
        Some(cut(&id, 100))
    }

    pub(super) fn occurred_at_ms(&self) -> Option<u64> {
        let read = |value, name| text_at(value, &[name]).and_then(|text| time::milliseconds(&text));
        read(self.root, "time").or_else(|| read(&self.detail, "eventTime"))
    }

    pub(super) fn first_resource(&self) -> Option<String> {
        let resources = field(self.root, "resources")?.as_array()?;
        Some(cut(&text(resources.first()?)?, 512))
    }

    /// The two fields that name the account the event is from.
    fn accounts(&self) -> [Option<&Value>; 2] {
        [field(self.root, "account"), field(&self.detail, "recipientAccountId")]
    }

    fn regions(&self) -> [Option<&Value>; 2] {
        [field(self.root, "region"), field(&self.detail, "awsRegion")]
    }

    /// The account the event is from, if it can be read.
    pub(super) fn account(&self) -> Option<AccountId> {
        self.accounts().into_iter().flatten().find_map(|value| parsed(value).ok())
    }

    /// The Region the event is from, if it can be read.
    pub(super) fn region(&self) -> Option<Region> {
        self.regions().into_iter().flatten().find_map(|value| parsed(value).ok())
    }

    /// Refuses an event that names two accounts. Values that cannot be read are skipped here: the documented samples of
    /// organization events contain placeholders.
    pub(super) fn one_account(&self) -> Result<(), Rejection> {
        agree::<AccountId>("accounts", self.accounts())
    }

    /// The account-Region of a member account's event. An event that names two, none or an invalid one is refused.
    /// Events of the organization need no Region, and theirs differs by partition and by who called from where.
    pub(super) fn at(&self) -> Result<AccountRegion, Rejection> {
        self.one_account()?;
        agree::<Region>("Regions", self.regions())?;
        Ok(AccountRegion { account: first("account", self.accounts())?, region: first("Region", self.regions())? })
    }
}

fn agree<T: FromStr<Err = Invalid> + PartialEq + Display>(
    what: &str,
    values: [Option<&Value>; 2],
) -> Result<(), Rejection> {
    match values.map(|value| value.and_then(|value| parsed::<T>(value).ok())) {
        [Some(outer), Some(inner)] if outer != inner => Err(Rejection::refuse(format!(
            "the event names two {what}: {outer} in its envelope, {inner} in its detail"
        ))),
        _ => Ok(()),
    }
}

fn first<T: FromStr<Err = Invalid>>(what: &str, values: [Option<&Value>; 2]) -> Result<T, Rejection> {
    let values = values.into_iter().flatten().map(parsed).collect::<Result<Vec<T>, Invalid>>()?;
    values.into_iter().next().ok_or_else(|| Rejection::refuse(format!("the event names no {what}")))
}

/// The type of a CloudTrail record. Membership events of Organizations have no documented type, so unknown types are
/// accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ApiCall,
    ServiceEvent,
    Unknown,
}

/// Errors of the service itself, in the words of EC2 and of the other services. AWS does not say whether such a call
/// was carried out. The rules of `infra` pass the same codes.
const DOUBTFUL: [&str; 7] = [
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServerException",
    "ServiceException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
];

fn leaves_doubt(code: &str) -> bool {
    code.starts_with("Server.") || DOUBTFUL.contains(&code)
}

/// A CloudTrail record of something that succeeded, or that may have.
pub(super) struct Record<'a> {
    pub(super) envelope: &'a Envelope<'a>,
    /// The error code of a call that may have been carried out although it failed.
    pub(super) doubt: Option<String>,
    pub(super) name: Cow<'a, str>,
    pub(super) request: Cow<'a, Value>,
    pub(super) response: Cow<'a, Value>,
    pub(super) service_details: Cow<'a, Value>,
}

impl<'a> Record<'a> {
    /// Ignores events without a record and calls that failed; refuses records that contradict their envelope.
    pub(super) fn read(envelope: &'a Envelope<'a>) -> Result<Self, Rejection> {
        let detail: &Value = &envelope.detail;
        let Some(name) = text_at(detail, &["eventName"]) else {
            let detail_type = cut(&envelope.detail_type(), 80);
            return Err(Rejection::ignore(format!("{detail_type:?} of {} is not a CloudTrail event", envelope.source)));
        };
        let service = envelope.source.strip_prefix("aws.").unwrap_or(envelope.source);
        if let Some(host) = text_at(detail, &["eventSource"])
            && !matches!(host.strip_prefix(service), Some(".amazonaws.com" | ".amazonaws.com.cn" | ".amazonaws.eu"))
        {
            let host = cut(&host, 80);
            return Err(Rejection::refuse(format!(
                "the source {} does not match the eventSource {host:?}",
                envelope.source
            )));
        }
        envelope.one_account()?;
        let code = field(detail, "errorCode").map(|code| text(code).unwrap_or(Cow::Borrowed("an error")));
        let code = code.filter(|code| !code.is_empty()).map(|code| cut(&code, 80));
        if let Some(code) = code.as_ref().filter(|code| !leaves_doubt(code)) {
            return Err(Rejection::ignore(format!("{} failed with {code}, so nothing changed", cut(&name, 80))));
        }
        Ok(Self {
            envelope,
            doubt: code,
            name,
            request: section(detail, "requestParameters"),
            response: section(detail, "responseElements"),
            service_details: section(detail, "serviceEventDetails"),
        })
    }

    /// The event's name, cut to fit into a sentence.
    pub(super) fn short_name(&self) -> String {
        cut(&self.name, 80)
    }

    fn kind(&self) -> Kind {
        let detail_type = self.envelope.detail_type();
        match text_at(&self.envelope.detail, &["eventType"]) {
            Some(kind) if kind.eq_ignore_ascii_case(API_CALL) => Kind::ApiCall,
            Some(kind) if kind.eq_ignore_ascii_case(SERVICE_EVENT) => Kind::ServiceEvent,
            Some(_) => Kind::Unknown,
            None if detail_type.contains("API Call") => Kind::ApiCall,
            None if detail_type.contains("Service Event") => Kind::ServiceEvent,
            None => Kind::Unknown,
        }
    }

    /// Ignores service events that carry the name of an API call.
    pub(super) fn must_be_call(&self) -> Result<(), Rejection> {
        match self.kind() {
            Kind::ApiCall | Kind::Unknown => Ok(()),
            Kind::ServiceEvent => {
                Err(Rejection::ignore(format!("{} is a service event here, not the API call", self.name)))
            }
        }
    }

    /// Ignores API calls that carry the name of a service event: a request is not yet a result.
    pub(super) fn must_be_service_event(&self) -> Result<(), Rejection> {
        match self.kind() {
            Kind::ServiceEvent | Kind::Unknown => Ok(()),
            Kind::ApiCall => {
                Err(Rejection::ignore(format!("{} is an API call here, not the service event", self.name)))
            }
        }
    }

    /// The part of a service event that reports a result. FAILED and IN_PROGRESS are ignored. Every other state, one
    /// that AWS has added since or left out included, is looked into: the account may exist, and be about to be
    /// activated.
    pub(super) fn succeeded(&self, status: &str) -> Result<&Value, Rejection> {
        self.must_be_service_event()?;
        let status = field(&self.service_details, status).unwrap_or(&self.service_details);
        let state = text_at(status, &["state"]).unwrap_or_default();
        if !["FAILED", "IN_PROGRESS"].iter().any(|unchanged| state.eq_ignore_ascii_case(unchanged)) {
            return Ok(status);
        }
        let why = text_at(status, &["failureReason"]).or_else(|| text_at(status, &["message"]));
        let why = why.map(|why| format!(" ({})", cut(&why, 200))).unwrap_or_default();
        Err(Rejection::ignore(format!("{} reports {}{why}, so nothing changed", self.name, cut(&state, 80))))
    }

    /// Ignores the enroller's own changes, which come back as events.
    ///
    /// Only a session of the member role *in the account the event is from* belongs to the enroller. A role of that
    /// name in another account does not.
    pub(super) fn must_be_by_others(&self, role: &RoleName, account: AccountId) -> Result<(), Rejection> {
        self.must_not_be_by(&[role.as_str()], account)
    }

    /// Ignores what sessions of one of these roles of this account did. Every part of the identity has to agree: the
    /// arn and the issuer's name, arn and account. An IAM user of that name is the issuer of a federated session, and
    /// has another arn.
    pub(super) fn must_not_be_by(&self, roles: &[&str], account: AccountId) -> Result<(), Rejection> {
        let identity = section(&self.envelope.detail, "userIdentity");
        let issuer = path(&identity, &["sessionContext", "sessionIssuer"]).unwrap_or(&Value::Null);
        let arns = [text_at(&identity, &["arn"]), text_at(issuer, &["arn"])];
        let arns: Vec<Arn> = arns.into_iter().flatten().filter_map(|arn| arn.parse().ok()).collect();
        let names: Vec<Cow<'_, str>> = text_at(issuer, &["userName"])
            .into_iter()
            .chain(arns.iter().map(|arn| Cow::Borrowed(role_in(arn).unwrap_or_default())))
            .collect();
        let accounts = [field(&identity, "accountId"), field(issuer, "accountId")];
        let is_of = |role: &&str| names.iter().all(|name| name == role);
        let by_enroller = !names.is_empty()
            && roles.iter().any(is_of)
            && arns.iter().all(|arn| arn.account() == Some(account))
            && accounts.into_iter().flatten().all(|value| parsed(value) == Ok(account));
        if by_enroller {
            return Err(Rejection::ignore(format!("{} was made by the enroller itself", self.short_name())));
        }
        Ok(())
    }

    /// Who made the call, as CloudTrail names them: the arn of a user or session, or else the service that called.
    pub(super) fn principal(&self) -> String {
        let identity = section(&self.envelope.detail, "userIdentity");
        let named = ["arn", "invokedBy", "principalId", "userName", "accountId"].into_iter();
        let named = named.filter_map(|name| text_at(&identity, &[name])).find(|name| !name.is_empty());
        named.map_or_else(|| "somebody whom CloudTrail does not name".to_owned(), |name| cut(&name, 300))
    }
}

/// The role of `arn:…:iam::…:role/path/NAME` or of `arn:…:sts::…:assumed-role/NAME/session`.
fn role_in(arn: &Arn) -> Option<&str> {
    match arn.service() {
        "iam" => arn.resource().strip_prefix("role/")?.rsplit('/').next(),
        "sts" => arn.resource().strip_prefix("assumed-role/")?.split('/').next(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Trigger, decode_value};
    use super::*;

    fn target(event: &Value) -> (AccountId, Region) {
        match acted(event) {
            Trigger::Enroll { account, region, .. } | Trigger::Repair { account, region, .. } => (account, region),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_raw_record_in_its_envelope_decides_as_the_event_would() {
        let event = create_vpc().build();
        let wrapped = wrap_cloudtrail(event["detail"].clone());
        assert_eq!(decode_value(&wrapped, &context()), decode_value(&event, &context()));
        assert_eq!(wrapped["source"], "aws.ec2");
        for host in ["logs.amazonaws.com.cn", "logs.amazonaws.eu"] {
            let elsewhere = wrap_cloudtrail(json!({"eventSource": host, "eventType": "AwsServiceEvent"}));
            assert_eq!(elsewhere["source"], "aws.logs");
            assert_eq!(elsewhere["detail-type"], "AWS Service Event via CloudTrail");
        }
        for odd in
            [json!(null), json!([1]), json!({"eventSource": 5}), json!({"eventSource": "ec2.amazonaws.com.evil"})]
        {
            ignored(&wrap_cloudtrail(odd));
        }
    }

    #[test]
    fn account_and_region_may_be_named_once() {
        let expected = (account(MEMBER), "eu-west-1".parse().unwrap());
        for event in [
            create_vpc().without_detail("recipientAccountId").without_detail("awsRegion"),
            create_vpc().without("account").without("region"),
            create_vpc().top("account", json!(111_122_223_333_u64)),
            create_vpc().top("account", json!(null)),
        ] {
            assert_eq!(target(&event.build()), expected);
        }
    }

    #[test]
    fn an_event_that_contradicts_itself_or_lacks_account_or_region_is_refused() {
        for (event, reason) in [
            (create_vpc().top("account", json!(OTHER)), "two accounts"),
            (create_vpc().top("region", json!("eu-west-2")), "two Regions"),
            (create_vpc().top("account", json!("XXXXXXXXXXXX")), "is not an account id"),
            (create_vpc().top("account", json!(11_122_223_333_u64)), "is not an account id"),
            (create_vpc().detail("recipientAccountId", json!("")), "is not an account id"),
            (create_vpc().top("region", json!("Ireland")), "is not a Region"),
            (create_vpc().without("account").without_detail("recipientAccountId"), "names no account"),
            (create_vpc().without("region").without_detail("awsRegion"), "names no Region"),
            (create_vpc().detail("eventSource", json!("logs.amazonaws.com")), "does not match"),
            (create_vpc().detail("eventSource", json!("ec2.amazonaws.com.evil.example")), "does not match"),
        ] {
            let refusal = refused(&event.build());
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn the_caller_never_chooses_the_account() {
        let event = create_vpc().detail("userIdentity", json!({"type": "AWSAccount", "accountId": OTHER})).build();
        assert_eq!(target(&event).0, account(MEMBER));
        let event = create_vpc().without("account").without_detail("recipientAccountId").build();
        assert!(refused(&event).contains("names no account"));
    }

    #[test]
    fn details_forwarded_as_strings_are_read() {
        let plain = create_vpc().build();
        let mut event = plain.clone();
        for name in ["responseElements", "requestParameters", "userIdentity"] {
            event["detail"][name] = json!(event["detail"][name].to_string());
        }
        event["detail"] = json!(event["detail"].to_string());
        assert_eq!(acted(&event), acted(&plain));
        ignored(&create_vpc().top("detail", json!("not json")).build());
    }

    #[test]
    fn failed_calls_are_ignored_with_their_code() {
        let event =
            create_vpc().detail("errorCode", json!("Client.VpcLimitExceeded")).detail("responseElements", json!(null));
        assert_eq!(ignored(&event.build()), "CreateVpc failed with Client.VpcLimitExceeded, so nothing changed");
        acted(&create_vpc().detail("errorCode", json!(null)).build());
    }

    #[test]
    fn the_partition_of_the_host_and_the_wording_of_the_detail_type_do_not_matter() {
        acted(&create_vpc().detail("eventSource", json!("ec2.amazonaws.com.cn")).build());
        acted(&create_vpc().top("detail-type", json!("Amazon API Call via CloudTrail")).build());
        acted(&create_vpc().without("detail-type").build());
        acted(&create_vpc().without_detail("eventSource").build());
    }

    #[test]
    fn a_service_event_with_the_name_of_a_call_is_ignored() {
        let event = create_vpc().detail("eventType", json!("AwsServiceEvent"));
        assert!(ignored(&event.build()).contains("service event"));
        let event =
            create_vpc().without_detail("eventType").top("detail-type", json!("AWS Service Event via CloudTrail"));
        assert!(ignored(&event.build()).contains("service event"));
    }

    #[test]
    fn an_event_of_an_unknown_or_missing_type_is_accepted() {
        acted(&create_vpc().detail("eventType", json!("AwsConsoleAction")).build());
        acted(&create_vpc().without_detail("eventType").without("detail-type").build());
        acted(&create_vpc().without_detail("eventType").build());
        let joined = service_event("organizations", "AccountJoinedOrganization").without_detail("eventType");
        acted(&joined.clone().without("detail-type").build());
        assert!(ignored(&joined.top("detail-type", json!("AWS API Call via CloudTrail")).build()).contains("API call"));
    }

    #[test]
    fn what_the_enroller_did_is_ignored_and_what_others_did_is_not() {
        let ours = delete_flow_logs().by_role("EnrollerMember", MEMBER);
        assert!(ignored(&ours.clone().build()).contains("made by the enroller itself"));
        let arn = json!({"arn": format!("arn:aws:sts::{MEMBER}:assumed-role/EnrollerMember/run")});
        ignored(&delete_flow_logs().detail("userIdentity", arn).build());
        for (theirs, why) in [
            (delete_flow_logs().by_role("Admin", MEMBER), "another role"),
            (delete_flow_logs().by_role("EnrollerMember", OTHER), "a role of that name in another account"),
            (delete_flow_logs().detail("userIdentity", json!({})), "no identity"),
            (delete_flow_logs().detail("userIdentity", json!({"userName": "EnrollerMember"})), "a user"),
            (
                ours.clone().identity("arn", json!(format!("arn:aws:sts::{MEMBER}:assumed-role/Admin/run"))),
                "an ARN that names another role",
            ),
        ] {
            assert!(matches!(acted(&theirs.build()), Trigger::Repair { .. }), "{why}");
        }
    }
}
