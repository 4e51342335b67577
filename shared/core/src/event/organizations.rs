//! Accounts that join, move and leave.
//!
//! Organizations' events appear in the management account only, except AcceptHandshake and LeaveOrganization, which
//! appear in the member account that makes the call. AccountJoinedOrganization and AccountDepartedOrganization have no
//! published schema. Their account id is searched for, and where none is found the whole organization is compared.

use std::collections::BTreeSet;

use serde_json::Value;

use super::envelope::Record;
use super::json::{cut, field, parsed, path, text_at};
use super::{EventContext, Rejection, Trigger};
use crate::ids::AccountId;

pub(super) fn decode(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    match &*record.name {
        "CreateAccountResult" => {
            let account = account_in(record, record.succeeded("createAccountStatus")?)?;
            Ok(grant(account, format!("CreateAccountResult: {account} was created")))
        }
        "CloseAccountResult" => {
            let account = account_in(record, record.succeeded("closeAccountStatus")?)?;
            Ok(revoke(account, format!("CloseAccountResult: {account} was closed")))
        }
        "AccountJoinedOrganization" => membership(record, "joinedMethod", "joined the organization", grant),
        "AccountDepartedOrganization" => membership(record, "departureMethod", "left the organization", revoke),
        "AcceptHandshake" => handshake(record, context),
        "MoveAccount" => {
            let account = called_on(record)?;
            let cause =
                format!("MoveAccount moved {account} to another parent, which may change whether it is in scope");
            Ok(Trigger::sync(cause, Some(account.to_string())))
        }
        "RemoveAccountFromOrganization" => {
            let account = called_on(record)?;
            Ok(revoke(account, format!("RemoveAccountFromOrganization removed {account}")))
        }
        "LeaveOrganization" => {
            record.must_be_call()?;
            let account = record.envelope.acting_account()?;
            Ok(revoke(account, format!("LeaveOrganization: {account} left the organization")))
        }
        _ => Err(only_requested(record)),
    }
}

fn grant(account: AccountId, cause: String) -> Trigger {
    Trigger::Grant { account, requested: false, cause }
}

fn revoke(account: AccountId, cause: String) -> Trigger {
    Trigger::Revoke { account, cause }
}

fn only_requested(record: &Record<'_>) -> Rejection {
    let requested = |names: &[&str]| text_at(&record.request, names).map(|id| cut(&id, 80)).unwrap_or_default();
    match &*record.name {
        name @ ("CreateAccount" | "CreateGovCloudAccount") => Rejection::ignore(format!(
            "{name} only requests an account; CreateAccountResult reports whether it was created"
        )),
        "CloseAccount" => Rejection::ignore_about(
            requested(&["accountId"]),
            "CloseAccount only requests a closure; CloseAccountResult reports its completion",
        ),
        "InviteAccountToOrganization" => Rejection::ignore_about(
            requested(&["target", "id"]),
            "InviteAccountToOrganization is only an invitation; AccountJoinedOrganization reports its acceptance",
        ),
        _ => Rejection::ignore(format!("{} changes no membership", record.short_name())),
    }
}

fn account_in(record: &Record<'_>, value: &Value) -> Result<AccountId, Rejection> {
    let account = field(value, "accountId");
    Ok(parsed(account.ok_or_else(|| Rejection::refuse(format!("{} names no account", record.name)))?)?)
}

/// The account that an API call names in its request.
fn called_on(record: &Record<'_>) -> Result<AccountId, Rejection> {
    record.must_be_call()?;
    account_in(record, &record.request)
}

fn membership(
    record: &Record<'_>,
    method: &str,
    what: &str,
    trigger: fn(AccountId, String) -> Trigger,
) -> Result<Trigger, Rejection> {
    record.must_be_service_event()?;
    let parts = [&*record.service_details, &record.response, &record.request, &*record.envelope.detail];
    let mut found = BTreeSet::new();
    for part in parts {
        search(part, MAX_DEPTH, &mut found)?;
    }
    let how = parts.iter().find_map(|part| text_at(part, &[method]));
    let how = how.map(|how| format!(" ({})", cut(&how, 40))).unwrap_or_default();
    let name = &record.name;
    match found.iter().copied().collect::<Vec<_>>().as_slice() {
        [account] => Ok(trigger(*account, format!("{name}: {account} {what}{how}"))),
        // No account, or several of which any may be meant, so the whole organization is compared.
        _ => Ok(Trigger::sync(format!("{name} does not name the account that {what}{how}"), None)),
    }
}

/// Deeper than any event nests its account id, and shallow enough for any stack.
const MAX_DEPTH: usize = 6;

/// Collects the values of `accountId`. The caller's identity is skipped: it is the management account.
fn search(value: &Value, depth: usize, found: &mut BTreeSet<AccountId>) -> Result<(), Rejection> {
    if depth == 0 {
        return Ok(());
    }
    match value {
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            if name.eq_ignore_ascii_case("accountId") && !value.is_null() {
                found.insert(parsed(value)?);
                Ok(())
            } else if name.eq_ignore_ascii_case("userIdentity") {
                Ok(())
            } else {
                search(value, depth - 1, found)
            }
        }),
        Value::Array(values) => values.iter().try_for_each(|value| search(value, depth - 1, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// An accepted invitation, recorded in the account that accepted it. Other handshakes (enabling all features) change
/// no membership.
fn handshake(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    record.must_be_call()?;
    let account = record.envelope.acting_account()?;
    let Some(action) = text_at(&record.response, &["handshake", "action"]) else {
        let cause = format!("AcceptHandshake in {account} does not name what was accepted");
        return Ok(Trigger::sync(cause, Some(account.to_string())));
    };
    if !action.eq_ignore_ascii_case("invite") {
        return Err(Rejection::ignore(format!("AcceptHandshake of {:?} changes no membership", cut(&action, 80))));
    }
    if let (Some(ours), Some(theirs)) = (&context.organization, organization_of(&record.response))
        && ours.as_str() != theirs
    {
        return Err(Rejection::ignore(format!(
            "AcceptHandshake is about another organization, {:?}",
            cut(&theirs, 80)
        )));
    }
    Ok(grant(account, format!("AcceptHandshake: {account} accepted the invitation")))
}

fn organization_of(response: &Value) -> Option<String> {
    let parties = path(response, &["handshake", "parties"])?.as_array()?;
    let is_organization =
        |party: &&Value| text_at(party, &["type"]).is_some_and(|kind| kind.eq_ignore_ascii_case("ORGANIZATION"));
    let id = text_at(parties.iter().find(is_organization)?, &["id"])?;
    // The API shows a party's id with the prefix, its `Resources` without.
    Some(if id.starts_with("o-") { id.into_owned() } else { format!("o-{id}") })
}

#[cfg(test)]
#[path = "organizations_tests.rs"]
mod tests;
