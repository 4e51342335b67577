//! Finds the account that an event of Organizations or Control Tower is about.
//!
//! AccountJoinedOrganization and AccountDepartedOrganization have no published schema, and samples of other events name
//! the account in several ways. CloudTrail masks some fields and leaves out large ones. So every part of a record is
//! searched, and an account that cannot be read is never guessed: the whole organization is compared instead.

use std::collections::BTreeSet;

use serde_json::Value;

use super::envelope::Record;
use super::json::{field, parsed};
use crate::arn::Arn;
use crate::ids::AccountId;

/// Deeper than any event nests its account id, and shallow enough for any stack.
const MAX_DEPTH: usize = 6;

/// Names that only the member has.
const MEMBER_NAMES: [&str; 6] = [
    "memberaccountid",
    "targetaccountid",
    "childaccountid",
    "joinedaccountid",
    "departedaccountid",
    "createdaccountid",
];

/// Objects, or ids, that stand for the member.
const MEMBERS: [&str; 4] = ["account", "memberaccount", "member", "target"];

#[derive(Default)]
struct Found {
    /// Accounts in fields that only the member has.
    members: BTreeSet<AccountId>,
    /// Accounts in `accountId`, which can also be the management account.
    accounts: BTreeSet<AccountId>,
}

/// The account that a record is about; `None` where it names none, masks it, or names several.
pub(super) fn account_in(record: &Record<'_>) -> Option<AccountId> {
    let mut found = Found::default();
    for part in [&*record.service_details, &record.response, &record.request, &*record.envelope.detail] {
        found.search(part, MAX_DEPTH);
    }
    // Where the event comes from is the management account, which neither joins nor leaves.
    let management = record.envelope.account();
    let mut candidates = if found.members.is_empty() { found.accounts } else { found.members };
    candidates.retain(|account| Some(*account) != management);
    candidates.pop_first().filter(|_| candidates.is_empty())
}

/// The account in the member `accountId`, if it can be read.
pub(super) fn account_id(value: &Value) -> Option<AccountId> {
    parsed(field(value, "accountId")?).ok()
}

impl Found {
    fn search(&mut self, value: &Value, depth: usize) {
        if depth == 0 {
            return;
        }
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| self.member(name, value, depth)),
            Value::Array(values) => values.iter().for_each(|value| self.search(value, depth - 1)),
            Value::String(text) => self.members.extend(account_of_arn(text)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The caller's identity is skipped: it is the management account.
    fn member(&mut self, name: &str, value: &Value, depth: usize) {
        let name = name.replace(['_', '-'], "").to_ascii_lowercase();
        match &*name {
            "useridentity" => {}
            "accountid" => self.accounts.extend(parsed::<AccountId>(value)),
            name if MEMBER_NAMES.contains(&name) => self.members.extend(parsed::<AccountId>(value)),
            name => {
                if MEMBERS.contains(&name) {
                    let id = field(value, "id").unwrap_or(value);
                    self.members.extend(parsed::<AccountId>(id));
                }
                self.search(value, depth - 1);
            }
        }
    }
}

/// The account of `arn:…:organizations::MANAGEMENT:account/o-…/ACCOUNT`.
fn account_of_arn(text: &str) -> Option<AccountId> {
    let arn: Arn = text.parse().ok().filter(|arn: &Arn| arn.service() == "organizations")?;
    arn.resource().strip_prefix("account/")?.rsplit_once('/')?.1.parse().ok()
}
