//! Mutations that keep JSON what it is. Changed byte by byte, nearly every body stops being JSON, and the fuzzer would
//! spend its time on the parser.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Map, Value, json};

/// Texts that the core looks for or compares.
const WORDS: &[&str] = &[
    "source",
    "detail",
    "detail-type",
    "account",
    "region",
    "time",
    "id",
    "resources",
    "eventName",
    "eventSource",
    "eventType",
    "eventID",
    "eventTime",
    "errorCode",
    "awsRegion",
    "recipientAccountId",
    "requestParameters",
    "responseElements",
    "serviceEventDetails",
    "userIdentity",
    "sessionContext",
    "sessionIssuer",
    "arn",
    "userName",
    "accountId",
    "state",
    "SUCCEEDED",
    "FAILED",
    "kind",
    "version",
    "Records",
    "body",
    "Sns",
    "Message",
    "Type",
    "Notification",
    "vpc",
    "vpcId",
    "ownerId",
    "content",
    "item",
    "items",
    "flowLogId",
    "FlowLogId",
    "flowLogIds",
    "flowLogIdSet",
    "DeleteFlowLogsRequest",
    "CreateVpcResponse",
    "logGroupName",
    "logGroupIdentifier",
    "filterName",
    "vpc-flow-logs",
    "AllTraffic",
    "aws.ec2",
    "aws.logs",
    "aws.organizations",
    "aws.controltower",
    "aws.cloudformation",
    "aws.events",
    "aws.scheduler",
    "ec2.amazonaws.com",
    "CreateVpc",
    "CreateDefaultVpc",
    "DeleteFlowLogs",
    "DeleteLogGroup",
    "PutSubscriptionFilter",
    "PutRetentionPolicy",
    "CreateAccountResult",
    "CloseAccountResult",
    "createAccountStatus",
    "closeAccountStatus",
    "AccountJoinedOrganization",
    "AccountDepartedOrganization",
    "AcceptHandshake",
    "MoveAccount",
    "RemoveAccountFromOrganization",
    "LeaveOrganization",
    "handshake",
    "action",
    "invite",
    "parties",
    "ORGANIZATION",
    "type",
    "CreateManagedAccount",
    "UpdateManagedAccount",
    "createManagedAccountStatus",
    "RegisterOrganizationalUnit",
    "stack-id",
    "status-details",
    "status",
    "CREATE_COMPLETE",
    "AwsApiCall",
    "AwsServiceEvent",
    "enrollment-request",
    "grant-request",
    "sync-request",
    "backfill-request",
    "regions",
    "destinations",
    "reason",
    "run_id",
    "requested_at_ms",
    "allow_mass_revocation",
    "request",
    "after",
    "accounts",
    "organizational_units",
    "exclude",
    "dry_run",
    "111122223333",
    "444455556666",
    "eu-west-1",
    "vpc-0123456789abcdef0",
    "fl-0123456789abcdef0",
    "Statement",
    "Sid",
    "Effect",
    "Allow",
    "Deny",
    "Principal",
    "NotPrincipal",
    "AWS",
    "Service",
    "Action",
    "NotAction",
    "Resource",
    "Condition",
    "StringEquals",
    "StringLike",
    "ForAnyValue:StringLike",
    "aws:PrincipalOrgID",
    "aws:PrincipalOrgPaths",
    "o-exampleorg1",
    "o-exampleorg2",
    "VpcEnroller",
    "VpcEnrollerOrganization",
    "VpcEnrollerNobody",
    "logs:PutSubscriptionFilter",
    "logs:*",
    "logs:put*",
    "*",
    "Version",
    "2012-10-17",
    "2008-10-17",
    "Id",
    "arn:aws:iam::111122223333:root",
    "arn:aws:logs:eu-west-1:999988887777:destination:Logs",
    "prefix",
    "suffix",
    "wildcard",
    "equals-ignore-case",
    "anything-but",
    "exists",
    "$or",
    "",
    "é\u{0}",
];

/// A generator of numbers that follow from the fuzzer's seed (Numerical Recipes' linear congruence).
struct Choices(u32);

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % limit.max(1)
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }

    fn value(&mut self) -> Value {
        match self.below(12) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!([]),
            3 => json!({}),
            4 => json!(1),
            5 => json!(111_122_223_333_u64),
            6 => json!(-0.5),
            7 => json!([self.word(), self.word()]),
            8 => json!({ self.word(): self.word() }),
            _ => json!(self.word()),
        }
    }
}

/// Changes one place of a JSON text, or bytes where the text is no JSON, and every fourth time anyhow.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut choices = Choices(seed);
    let document = serde_json::from_slice::<Value>(&data[..size]).ok().filter(|_| choices.below(4) > 0);
    let Some(mut document) = document else { return fuzzer_mutate(data, size, max_size) };
    for _ in 0..=choices.below(3) {
        change(&mut document, &mut choices);
    }
    let text = document.to_string();
    match data.get_mut(..text.len()) {
        Some(room) if text.len() <= max_size => {
            room.copy_from_slice(text.as_bytes());
            text.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

fn change(document: &mut Value, choices: &mut Choices) {
    let mut account_regions = Vec::new();
    pointers(document, String::new(), &mut account_regions);
    let from = account_regions[choices.below(account_regions.len())].clone();
    let copied = document.pointer(&from).cloned().unwrap_or_default();
    let Some(slot) = document.pointer_mut(&account_regions[choices.below(account_regions.len())]) else { return };
    match (choices.below(6), slot) {
        (0, slot) => *slot = copied,
        (1, slot) => *slot = json!(slot.to_string()),
        (2, slot) => *slot = json!([slot.take()]),
        (3, Value::Object(members)) => drop(members.insert(choices.word().to_owned(), choices.value())),
        (3, Value::Array(items)) => items.push(copied),
        (4, Value::Object(members)) => rename(members, choices),
        (4, Value::Array(items)) => drop(items.pop()),
        (_, slot) => *slot = choices.value(),
    }
}

/// Gives a member another name, mostly one in other letters, or takes it out.
fn rename(members: &mut Map<String, Value>, choices: &mut Choices) {
    let names: Vec<String> = members.keys().cloned().collect();
    let Some(name) = names.get(choices.below(names.len())) else { return };
    let Some(value) = members.remove(name) else { return };
    match choices.below(4) {
        0 => {}
        1 => drop(members.insert(choices.word().to_owned(), value)),
        _ => drop(members.insert(name.to_ascii_uppercase(), value)),
    }
}

fn pointers(value: &Value, at: String, account_regions: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                pointers(value, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), account_regions);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, format!("{at}/{index}"), account_regions);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    account_regions.push(at);
}
