//! Whether buses and rules route the required events.
//!
//! A rule is checked by its effect, not by its name: for each required event, an enabled rule must match it and have
//! the right target. The events have the shape of AWS's own, with every field that a rule may reasonably match.

use serde_json::{Value, json};

use super::{CheckResult, pattern};
use crate::event::MEMBER_RULES;
use crate::ids::{AccountId, AccountRegion, OrganizationId, Region};
use crate::settings::Settings;

/// A rule of a bus, as ListRules and ListTargetsByRule return it.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleFacts {
    /// The rule's name, which only findings mention.
    pub name: String,
    /// Whether the rule is enabled, with or without read-only management events.
    pub enabled: bool,
    /// The event pattern; absent for schedules.
    pub pattern: Option<Value>,
    /// The targets of matching events.
    pub targets: Vec<TargetFacts>,
}

/// A target of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFacts {
    /// The ARN of the bus or queue.
    pub arn: String,
    /// The ARN of the role the rule sends with.
    pub role: Option<String>,
    /// The message group, for a FIFO queue.
    pub message_group: Option<String>,
}

/// A bus as DescribeEventBus returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "`arn` is AWS's own field")]
pub struct BusFacts {
    pub arn: String,
    /// The resource policy, verbatim; `None` authorizes only the owner.
    pub policy: Option<String>,
}

/// An event that has to be routed.
#[derive(Debug, Clone, PartialEq)]
pub struct RequiredEvent {
    /// The event's name, as shown to operators.
    pub name: &'static str,
    /// Whether without this event work waits for the sweep. Other events are hints.
    pub vital: bool,
    /// A sample of the event, with its envelope.
    pub event: Value,
}

/// Where required events have to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTarget {
    /// To the bus of this ARN, with a role, which is mandatory for bus targets created after 2 March 2023 (EventBridge
    /// user guide, "Sending and receiving events between AWS accounts").
    Bus(String),
    /// To the standard queue of this ARN.
    Queue(String),
    /// To the FIFO queue of this ARN, with a message group.
    FifoQueue(String),
}

impl EventTarget {
    /// The ARN of the bus or queue.
    pub fn arn(&self) -> &str {
        match self {
            Self::Bus(arn) | Self::Queue(arn) | Self::FifoQueue(arn) => arn,
        }
    }

    fn lacks(&self, target: &TargetFacts) -> Option<&'static str> {
        match self {
            Self::Bus(_) => target.role.is_none().then_some("has no role, which a bus requires"),
            Self::Queue(_) => None,
            Self::FifoQueue(_) => target.message_group.is_none().then_some("has no message group"),
        }
    }
}

/// The events that a member account has to forward from a Region.
pub fn member_events(settings: &Settings, at: &AccountRegion) -> Vec<RequiredEvent> {
    let group = settings.log_group_name.as_str();
    let filter = json!({ "logGroupName": group, "filterName": settings.filter_name.as_str() });
    let retention = json!({ "logGroupName": group });
    let stack = settings.member_stack_name.as_str();
    let tagged = |key: &str| {
        let (vpc, tag) = (json!({ "resourceId": "vpc-0123456789abcdef0" }), json!({ "key": key, "value": "x" }));
        json!({ "resourcesSet": { "items": [vpc] }, "tagSet": { "items": [tag] } })
    };
    let mut needed = vec![
        call(at, true, "ec2", "CreateVpc", json!({ "cidrBlock": "10.0.0.0/16" })),
        call(at, true, "ec2", "CreateDefaultVpc", json!({ "CreateDefaultVpcRequest": "" })),
        call(at, true, "ec2", "DeleteFlowLogs", json!({ "DeleteFlowLogsRequest": { "FlowLogId": { "tag": 1 } } })),
        call(at, true, "logs", "DeleteLogGroup", json!({ "logGroupName": group })),
        call(at, true, "logs", "DeleteSubscriptionFilter", filter.clone()),
        call(at, false, "logs", "PutSubscriptionFilter", filter),
        call(at, false, "logs", "PutRetentionPolicy", retention.clone()),
        call(at, false, "logs", "DeleteRetentionPolicy", retention),
        call(at, false, "ec2", "CreateTags", tagged(&settings.traffic_type_tag)),
        call(at, false, "ec2", "DeleteTags", tagged(&settings.opt_out_tag.key)),
    ];
    // A StackSet names its stacks `StackSet-<stack set>-<uuid>`.
    let set = format!("StackSet-{stack}-00000000-0000-4000-8000-000000000001");
    needed.push(stack_event(at, "member stack CREATE_COMPLETE", &set, "CREATE_COMPLETE"));
    needed.push(stack_event(at, "member stack UPDATE_COMPLETE", &set, "UPDATE_COMPLETE"));
    needed
}

/// The events about the enroller's own rules and roles that a member account has to forward. Without them whoever deletes
/// the rules first can delete the flow logs unseen until the next sweep.
pub fn watch_events(settings: &Settings, at: &AccountRegion) -> Vec<RequiredEvent> {
    let rule = format!("{MEMBER_RULES}vpcs");
    let role = json!({ "roleName": settings.member_role_name.as_str() });
    vec![
        call(at, true, "events", "DeleteRule", json!({ "name": rule })),
        call(at, true, "events", "RemoveTargets", json!({ "rule": rule, "ids": ["central"] })),
        call(at, true, "events", "DisableRule", json!({ "name": format!("{MEMBER_RULES}watch") })),
        call(at, true, "iam", "DeleteRole", role.clone()),
        call(at, true, "iam", "UpdateAssumeRolePolicy", role),
    ]
}

/// The same of a member account that is not the central one, for rules that tell the two apart.
pub fn watch_events_of_members(settings: &Settings, region: &Region) -> Vec<RequiredEvent> {
    let account = [EXAMPLE, "444455556666"].into_iter().filter_map(|id| id.parse().ok());
    let member = account.into_iter().find(|account: &AccountId| *account != settings.central_account);
    let at = |account| AccountRegion { account, region: region.clone() };
    member.map(|account| watch_events(settings, &at(account))).unwrap_or_default()
}

/// The events about destinations that the central account has to send to its home Region.
pub fn center_events(settings: &Settings, at: &AccountRegion) -> Vec<RequiredEvent> {
    let destination = json!({ "destinationName": settings.destination_name.base().as_str() });
    ["PutDestination", "DeleteDestination", "PutDestinationPolicy"]
        .into_iter()
        .map(|name| call(at, true, "logs", name, destination.clone()))
        .collect()
}

/// The events that the management account has to forward from the Region of Organizations. Events of Control Tower are
/// not required: they come from its own home Region, if it is used at all.
pub fn account_events(at: &AccountRegion) -> Vec<RequiredEvent> {
    vec![
        service_event(at, "CreateAccountResult", "createAccountStatus"),
        service_event(at, "CloseAccountResult", "closeAccountStatus"),
        service_event(at, "AccountJoinedOrganization", ""),
        service_event(at, "AccountDepartedOrganization", ""),
        call(at, true, "organizations", "RemoveAccountFromOrganization", json!({ "accountId": EXAMPLE })),
        call(at, false, "organizations", "MoveAccount", json!({ "accountId": EXAMPLE })),
    ]
}

/// The account that the sample events are about.
const EXAMPLE: &str = "111122223333";

fn envelope(at: &AccountRegion, source: &str, kind: &str, detail: Value) -> Value {
    json!({
        "version": "0",
        "id": "00000000-0000-4000-a000-000000000001",
        "source": format!("aws.{source}"),
        "detail-type": kind,
        "account": at.account,
        "region": at.region,
        "time": "2026-11-23T10:00:00Z",
        "resources": [],
        "detail": detail,
    })
}

fn call(at: &AccountRegion, vital: bool, source: &str, name: &'static str, parameters: Value) -> RequiredEvent {
    let account = at.account;
    let identity = json!({
        "type": "AssumedRole",
        "arn": format!("arn:aws:sts::{account}:assumed-role/Admin/operator"),
        "accountId": account,
        "sessionContext": { "sessionIssuer": {
            "type": "Role", "arn": format!("arn:aws:iam::{account}:role/Admin"), "accountId": account,
            "userName": "Admin",
        } },
    });
    let detail = json!({
        "eventVersion": "1.11",
        "userIdentity": identity,
        "eventSource": format!("{source}.amazonaws.com"),
        "eventName": name,
        "awsRegion": at.region,
        "requestParameters": parameters,
        "readOnly": false,
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": account,
        "eventCategory": "Management",
    });
    RequiredEvent { name, vital, event: envelope(at, source, "AWS API Call via CloudTrail", detail) }
}

fn service_event(at: &AccountRegion, name: &'static str, status: &str) -> RequiredEvent {
    let facts = match status {
        "" => json!({ "accountId": EXAMPLE }),
        status => json!({ status: { "state": "SUCCEEDED", "accountId": EXAMPLE } }),
    };
    let detail = json!({
        "eventVersion": "1.11",
        "userIdentity": { "accountId": at.account, "invokedBy": "AWS Internal" },
        "eventSource": "organizations.amazonaws.com",
        "eventName": name,
        "awsRegion": at.region,
        "requestParameters": null,
        "responseElements": null,
        "serviceEventDetails": facts,
        "eventType": "AwsServiceEvent",
        "managementEvent": true,
        "readOnly": false,
        "recipientAccountId": at.account,
        "eventCategory": "Management",
    });
    RequiredEvent {
        name,
        vital: true,
        event: envelope(at, "organizations", "AWS Service Event via CloudTrail", detail),
    }
}

fn stack_event(at: &AccountRegion, name: &'static str, stack: &str, status: &str) -> RequiredEvent {
    let AccountRegion { account, region } = at;
    let partition = region.partition();
    let id =
        format!("arn:{partition}:cloudformation:{region}:{account}:stack/{stack}/00000000-0000-4000-8000-000000000002");
    let detail = json!({
        "stack-id": id,
        "status-details": { "status": status, "status-reason": "" },
        "client-request-token": "",
    });
    let mut event = envelope(at, "cloudformation", "CloudFormation Stack Status Change", detail);
    event["resources"] = json!([id]);
    RequiredEvent { name, vital: false, event }
}

/// Whether these rules send every required event to `way`. `remedy` is what creates or repairs the rules.
pub fn check_route(rules: &[RuleFacts], needed: &[RequiredEvent], way: &EventTarget, remedy: &str) -> CheckResult {
    let target = |rule: &RuleFacts| rule.targets.iter().find(|target| target.arn == way.arn()).cloned();
    let towards: Vec<(&RuleFacts, TargetFacts)> = rules.iter().filter_map(|rule| Some((rule, target(rule)?))).collect();
    if towards.is_empty() {
        return CheckResult::failed(format!("no rule sends anything to {}", way.arn()), remedy);
    }
    let (mut missing, mut hints, mut unclear) = (Vec::new(), Vec::new(), Vec::new());
    for needed in needed {
        match sent(&towards, needed, way) {
            Some(true) => {}
            None => unclear.push(needed.name),
            Some(false) if needed.vital => missing.push(needed.name),
            Some(false) => hints.push(needed.name),
        }
    }
    let why = || towards.iter().filter_map(|(rule, target)| fault(rule, target, way)).collect::<Vec<_>>().join("; ");
    let not_sent = |names: &[&str]| {
        let why = why();
        let why = if why.is_empty() { why } else { format!(": {why}") };
        format!("no rule sends {} to {}{why}", names.join(", "), way.arn())
    };
    if !missing.is_empty() {
        CheckResult::failed(not_sent(&missing), remedy)
    } else if !unclear.is_empty() {
        let finding = format!(
            "whether rules send {} is unknown: a pattern has operators that this version does not know",
            unclear.join(", ")
        );
        CheckResult::unknown(finding, "test the rules' patterns with `aws events test-event-pattern`")
    } else if !hints.is_empty() {
        CheckResult::warning(not_sent(&hints), remedy)
    } else {
        let names: Vec<&str> = towards.iter().map(|(rule, _)| rule.name.as_str()).collect();
        CheckResult::ok(format!("{} to {}", names.join(", "), way.arn()))
    }
}

fn sent(towards: &[(&RuleFacts, TargetFacts)], needed: &RequiredEvent, way: &EventTarget) -> Option<bool> {
    let working = towards.iter().filter(|(rule, target)| fault(rule, target, way).is_none());
    let matched = working.map(|(rule, _)| match &rule.pattern {
        Some(pattern) => pattern::matches(pattern, &needed.event),
        None => Some(false),
    });
    let answers: Vec<Option<bool>> = matched.collect();
    if answers.contains(&Some(true)) {
        return Some(true);
    }
    if answers.contains(&None) { None } else { Some(false) }
}

/// What prevents a rule from sending any event.
fn fault(rule: &RuleFacts, target: &TargetFacts, way: &EventTarget) -> Option<String> {
    if !rule.enabled {
        return Some(format!("rule {} is disabled", rule.name));
    }
    way.lacks(target).map(|lacks| format!("the target of rule {} {lacks}", rule.name))
}

/// Whether a bus accepts events from every account of the organization.
pub fn check_bus(bus: &BusFacts, organization: &OrganizationId, owner: AccountId) -> CheckResult {
    let remedy = "update the central stacks: their bus policy allows events:PutEvents with aws:PrincipalOrgID";
    let Some(policy) = &bus.policy else {
        return CheckResult::failed(format!("it has no policy, so only {owner} may send to it"), remedy);
    };
    let document: Value = match serde_json::from_str(policy) {
        Ok(document) => document,
        Err(error) => return CheckResult::failed(format!("its policy is not JSON: {error}"), remedy),
    };
    let statements = match &document["Statement"] {
        Value::Array(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    if statements.iter().any(|statement| admits(statement, organization)) {
        return CheckResult::ok(format!("accepts events from all accounts of {organization}"));
    }
    CheckResult::failed(format!("its policy does not allow {organization} to send to it"), remedy)
}

/// Accepts any principal element and any form of the condition on the organization: what matters is that members may
/// send.
fn admits(statement: &Value, organization: &OrganizationId) -> bool {
    let texts = |value: &Value| -> Vec<String> {
        match value {
            Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            other => other.as_str().map(str::to_owned).into_iter().collect(),
        }
    };
    let everyone =
        statement["Principal"] == json!("*") || texts(&statement["Principal"]["AWS"]).contains(&"*".to_owned());
    let action = texts(&statement["Action"])
        .iter()
        .any(|action| ["*", "events:*", "events:put*", "events:putevents"].contains(&action.to_lowercase().as_str()));
    let named = statement["Condition"].as_object().into_iter().flatten().any(|(_, keys)| {
        let mut keys = keys.as_object().into_iter().flatten();
        keys.any(|(key, values)| {
            key.eq_ignore_ascii_case("aws:PrincipalOrgID") && texts(values).iter().any(|id| id == organization.as_str())
        })
    });
    statement["Effect"] == json!("Allow") && everyone && action && named
}

#[cfg(test)]
#[path = "event_routes_tests.rs"]
mod tests;
