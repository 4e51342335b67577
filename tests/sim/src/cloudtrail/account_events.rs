//! Events of accounts and stacks that no call of the simulated API causes.
//!
//! Sources: Organizations user guide, "Logging and monitoring" (CreateAccountResult, CloseAccountResult); captured
//! records in public repositories (MoveAccount, RemoveAccountFromOrganization, LeaveOrganization); Control Tower user
//! guide, "Lifecycle events"; CloudFormation user guide, "Events delivered by EventBridge".

use serde_json::{Value, json};

use super::{API_CALL, envelope};
use crate::events;
use crate::regions::GLOBAL_REGION;
use crate::time::{civil, iso8601};
use crate::world::World;

/// What happens to an account, one variant per event name.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "`account` and `name` are those of the account that the event is about")]
pub enum OrganizationEvent<'a> {
    /// The API call that asks for an account; it has no id yet.
    CreateAccount {
        /// Id of the request, `car-…`.
        request_id: &'a str,
    },
    /// The account exists and has an id.
    CreateAccountSucceeded {
        /// Id of the request, `car-…`.
        request_id: &'a str,
        account: &'a str,
    },
    /// The account could not be created.
    CreateAccountFailed {
        /// Id of the request, `car-…`.
        request_id: &'a str,
        /// `failureReason`, such as `EMAIL_ALREADY_EXISTS`.
        reason: &'a str,
    },
    /// An account is a member now. Field names are those of the API model; the record's shape is UNVERIFIED.
    AccountJoinedOrganization {
        account: &'a str,
        /// `joinedMethod`: `Created` or `INVITED`.
        method: &'a str,
    },
    /// An account is no longer a member. Shape UNVERIFIED, as above.
    AccountDepartedOrganization {
        account: &'a str,
        /// `LEFT`, `REMOVED` or `CLEANED`.
        method: &'a str,
    },
    /// The management account removes an account.
    RemoveAccountFromOrganization { account: &'a str },
    /// A member leaves: recorded in that member, not in the management account.
    LeaveOrganization { account: &'a str },
    /// An account gets another parent.
    MoveAccount {
        account: &'a str,
        /// Root or OU before.
        from: &'a str,
        /// Root or OU after.
        to: &'a str,
    },
    /// The API call that asks for an account to be closed.
    CloseAccount { account: &'a str },
    /// The account is closed.
    CloseAccountSucceeded { account: &'a str },
    /// Control Tower has set up an account.
    CreateManagedAccount {
        account: &'a str,
        name: &'a str,
        /// Id of its OU.
        organizational_unit: &'a str,
    },
}

/// Emits the event of an account on the bus where AWS shows it: the management account's default bus in the
/// Organizations Region, or the member's for what the member does.
pub fn organization_event(world: &mut World, happening: &OrganizationEvent<'_>) {
    let management = world.organization.management().to_owned();
    let account = match happening {
        OrganizationEvent::LeaveOrganization { account } => (*account).to_owned(),
        OrganizationEvent::CreateAccount { .. }
        | OrganizationEvent::CreateAccountSucceeded { .. }
        | OrganizationEvent::CreateAccountFailed { .. }
        | OrganizationEvent::AccountJoinedOrganization { .. }
        | OrganizationEvent::AccountDepartedOrganization { .. }
        | OrganizationEvent::RemoveAccountFromOrganization { .. }
        | OrganizationEvent::MoveAccount { .. }
        | OrganizationEvent::CloseAccount { .. }
        | OrganizationEvent::CloseAccountSucceeded { .. }
        | OrganizationEvent::CreateManagedAccount { .. } => management,
    };
    if !world.events.is_watched(&account, GLOBAL_REGION) {
        return;
    }
    let (source, name, part) = parts(happening, world.now_ms());
    let detail = match part {
        Part::Call { request, response } => call_detail(world, &account, name, request, response),
        Part::Service(details) => service_detail(world, source, &account, name, details),
    };
    let kind = if detail["eventType"] == "AwsApiCall" { API_CALL } else { "AWS Service Event via CloudTrail" };
    let event = envelope(world, source, kind, &account, GLOBAL_REGION, detail);
    events::publish_from_trail(world, &account, GLOBAL_REGION, event);
}

enum Part {
    Call { request: Value, response: Value },
    Service(Value),
}

/// Event source, event name and the members that differ from event to event.
fn parts(happening: &OrganizationEvent<'_>, now_ms: u64) -> (&'static str, &'static str, Part) {
    let organizations = "aws.organizations";
    let now = organizations_time(now_ms);
    let call = |name, request| (organizations, name, Part::Call { request, response: Value::Null });
    let service = |name, details| (organizations, name, Part::Service(details));
    match *happening {
        OrganizationEvent::CreateAccount { request_id } => {
            let request = json!({"tags": [], "email": "****", "accountName": "****"});
            let response = json!({"createAccountStatus": {
                "accountName": "****", "state": "IN_PROGRESS", "id": request_id, "requestedTimestamp": now,
            }});
            (organizations, "CreateAccount", Part::Call { request, response })
        }
        OrganizationEvent::CreateAccountSucceeded { request_id, account } => {
            let status = json!({"id": request_id, "state": "SUCCEEDED", "accountName": "****", "accountId": account,
                "requestedTimestamp": now, "completedTimestamp": now});
            service("CreateAccountResult", json!({"createAccountStatus": status}))
        }
        OrganizationEvent::CreateAccountFailed { request_id, reason } => {
            let status = json!({"id": request_id, "state": "FAILED", "accountName": "****", "failureReason": reason,
                "requestedTimestamp": now, "completedTimestamp": now});
            service("CreateAccountResult", json!({"createAccountStatus": status}))
        }
        OrganizationEvent::AccountJoinedOrganization { account, method } => service(
            "AccountJoinedOrganization",
            json!({"accountId": account, "joinedMethod": method, "joinedTime": iso8601(now_ms)}),
        ),
        OrganizationEvent::AccountDepartedOrganization { account, method } => service(
            "AccountDepartedOrganization",
            json!({"accountId": account, "departureMethod": method, "departureTime": iso8601(now_ms)}),
        ),
        OrganizationEvent::RemoveAccountFromOrganization { account } => {
            call("RemoveAccountFromOrganization", json!({"accountId": account}))
        }
        OrganizationEvent::LeaveOrganization { .. } => call("LeaveOrganization", Value::Null),
        OrganizationEvent::MoveAccount { account, from, to } => {
            call("MoveAccount", json!({"accountId": account, "sourceParentId": from, "destinationParentId": to}))
        }
        OrganizationEvent::CloseAccount { account } => call("CloseAccount", json!({"accountId": account})),
        OrganizationEvent::CloseAccountSucceeded { account } => {
            let status = json!({"accountId": account, "state": "SUCCEEDED", "requestedTimestamp": now,
                "completedTimestamp": now});
            service("CloseAccountResult", json!({"closeAccountStatus": status}))
        }
        OrganizationEvent::CreateManagedAccount { account, name, organizational_unit } => {
            let details = managed_account(account, name, organizational_unit, now_ms);
            ("aws.controltower", "CreateManagedAccount", Part::Service(details))
        }
    }
}

/// Details of an account that Control Tower created.
fn managed_account(account: &str, name: &str, organizational_unit: &str, now_ms: u64) -> Value {
    let now = iso8601(now_ms).replace('Z', "+0000");
    json!({"createManagedAccountStatus": {
        "organizationalUnit": {
            "organizationalUnitName": "Workloads", "organizationalUnitId": organizational_unit,
        },
        "account": {"accountName": name, "accountId": account},
        "state": "SUCCEEDED",
        "message": "AWS Control Tower successfully created a managed account.",
        "requestedTimestamp": now,
        "completedTimestamp": now,
    }})
}

fn call_detail(world: &mut World, account: &str, name: &str, request: Value, response: Value) -> Value {
    let role = format!("arn:aws:iam::{account}:role/Admin");
    json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLEROLEID001:administrator",
            "arn": format!("arn:aws:sts::{account}:assumed-role/Admin/administrator"),
            "accountId": account,
            "accessKeyId": "ASIAEXAMPLEKEYID0001",
            "sessionContext": {
                "sessionIssuer": {
                    "type": "Role", "principalId": "AROAEXAMPLEROLEID001", "arn": role, "accountId": account,
                    "userName": "Admin",
                },
                "attributes": {"creationDate": iso8601(world.now_ms()), "mfaAuthenticated": "false"},
            },
        },
        "eventTime": iso8601(world.now_ms()),
        "eventSource": "organizations.amazonaws.com",
        "eventName": name,
        "awsRegion": GLOBAL_REGION,
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "simulated-aws",
        "requestParameters": request,
        "responseElements": response,
        "requestID": world.ids.uuid(),
        "eventID": world.ids.uuid(),
        "readOnly": false,
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": account,
        "eventCategory": "Management",
    })
}

/// A service event has no caller, so there is no identity beyond the account and no request id.
fn service_detail(world: &mut World, source: &str, account: &str, name: &str, details: Value) -> Value {
    let principal = format!("{}.amazonaws.com", source.trim_start_matches("aws."));
    json!({
        "eventVersion": "1.11",
        "userIdentity": {"accountId": account, "invokedBy": principal},
        "eventTime": iso8601(world.now_ms()),
        "eventSource": principal,
        "eventName": name,
        "awsRegion": GLOBAL_REGION,
        "sourceIPAddress": principal,
        "userAgent": principal,
        "requestParameters": null,
        "responseElements": null,
        "eventID": world.ids.uuid(),
        "readOnly": false,
        "eventType": "AwsServiceEvent",
        "managementEvent": true,
        "recipientAccountId": account,
        "serviceEventDetails": details,
        "eventCategory": "Management",
    })
}

/// `Nov 23, 2026 10:00:00 AM`, as Organizations writes times in its events.
fn organizations_time(epoch_ms: u64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = civil(epoch_ms / 86_400_000);
    let second = epoch_ms / 1_000 % 86_400;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let month = usize::try_from(month).ok().and_then(|month| MONTHS.get(month - 1)).copied().unwrap_or_default();
    let half = if hour < 12 { "AM" } else { "PM" };
    let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
    format!("{month} {day}, {year} {hour}:{minute:02}:{second:02} {half}")
}

/// A change of a CloudFormation stack.
#[derive(Debug, Clone, Copy)]
pub struct StackStatus<'a> {
    /// Account of the stack.
    pub account: &'a str,
    /// Region of the stack.
    pub region: &'a str,
    /// Name of the stack; a stack set's instances are `StackSet-NAME-UUID`.
    pub stack_name: &'a str,
    /// `status-details.status`, such as `CREATE_COMPLETE`.
    pub status: &'a str,
}

/// Emits a CloudFormation Stack Status Change on the default bus of the stack's account and Region. CloudFormation
/// sends it itself, so it needs no trail.
pub fn stack_status(world: &mut World, change: &StackStatus<'_>) {
    let StackStatus { account, region, stack_name, status } = *change;
    let id = world.ids.uuid();
    let stack_id = format!("arn:aws:cloudformation:{region}:{account}:stack/{stack_name}/{id}");
    let detail = json!({
        "stack-id": stack_id,
        "status-details": {"status": status, "status-reason": ""},
        "client-request-token": "",
    });
    let kind = "CloudFormation Stack Status Change";
    let mut event = envelope(world, "aws.cloudformation", kind, account, region, detail);
    event["resources"] = json!([stack_id]);
    events::publish(world, account, region, event);
}
