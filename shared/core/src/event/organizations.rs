//! Accounts that join, move and leave.
//!
//! Organizations' events appear in the management account only, except AcceptHandshake and LeaveOrganization, which
//! appear in the member account that makes the call. Whatever they say is confirmed with Organizations before a grant
//! changes. So an event that does not let its account be read is no reason to refuse it: the whole organization is
//! compared.

use serde_json::Value;

use super::envelope::Record;
use super::json::{cut, is_masked, parsed, path, text, text_at};
use super::member::{account_id, account_in};
use super::{EventContext, Rejection, Trigger};
use crate::ids::AccountId;

pub(super) fn decode(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    let name = &record.name;
    match &**name {
        "CreateAccountResult" => {
            let account = account_id(record.succeeded("createAccountStatus")?);
            Ok(about(record, account, grant, |account| format!("{name}: {account} was created")))
        }
        "CloseAccountResult" => {
            let account = account_id(record.succeeded("closeAccountStatus")?);
            Ok(about(record, account, revoke, |account| format!("{name}: {account} was closed")))
        }
        "AccountJoinedOrganization" => membership(record, "joinedMethod", "joined the organization", grant),
        "AccountDepartedOrganization" => membership(record, "departureMethod", "left the organization", revoke),
        "AcceptHandshake" => handshake(record, context),
        "MoveAccount" => Ok(about(record, called_on(record)?, moved, |account| {
            format!("{name} moved {account} to another parent, which may change whether it is in scope")
        })),
        "RemoveAccountFromOrganization" => {
            Ok(about(record, called_on(record)?, revoke, |account| format!("{name} removed {account}")))
        }
        "LeaveOrganization" => {
            record.must_be_call()?;
            let account = record.envelope.account();
            Ok(about(record, account, revoke, |account| format!("{name}: {account} left the organization")))
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

fn moved(account: AccountId, cause: String) -> Trigger {
    Trigger::sync(cause, Some(account.to_string()))
}

/// The trigger about one account. Where the event does not let it be read, the whole organization is compared.
fn about(
    record: &Record<'_>,
    account: Option<AccountId>,
    trigger: fn(AccountId, String) -> Trigger,
    cause: impl Fn(AccountId) -> String,
) -> Trigger {
    match account {
        Some(account) => trigger(account, cause(account)),
        None => Trigger::sync(format!("{} does not show which account it is about", record.short_name()), None),
    }
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

/// The account that an API call names in its request.
fn called_on(record: &Record<'_>) -> Result<Option<AccountId>, Rejection> {
    record.must_be_call()?;
    Ok(account_id(&record.request))
}

fn membership(
    record: &Record<'_>,
    method: &str,
    what: &str,
    trigger: fn(AccountId, String) -> Trigger,
) -> Result<Trigger, Rejection> {
    record.must_be_service_event()?;
    let parts = [&*record.service_details, &record.response, &record.request, &*record.envelope.detail];
    let how = parts.iter().find_map(|part| text_at(part, &[method]));
    let how = how.map(|how| format!(" ({})", cut(&how, 40))).unwrap_or_default();
    let name = &record.name;
    match account_in(record) {
        Some(account) => Ok(trigger(account, format!("{name}: {account} {what}{how}"))),
        // No account, or several of which any may be meant, so the whole organization is compared.
        None => Ok(Trigger::sync(format!("{name} does not name the account that {what}{how}"), None)),
    }
}

/// An accepted invitation, recorded in the account that accepted it. Other handshakes (enabling all features) change
/// no membership. CloudTrail delivers a copy to the other side of some calls, so the party's id comes first.
fn handshake(record: &Record<'_>, context: &EventContext) -> Result<Trigger, Rejection> {
    record.must_be_call()?;
    let account =
        party(&record.response, "ACCOUNT").and_then(|id| parsed(id).ok()).or_else(|| record.envelope.account());
    let action = text_at(&record.response, &["handshake", "action"]);
    let Some(action) = action.filter(|action| !is_masked(action)) else {
        let of = account.map(|account| format!(" in {account}")).unwrap_or_default();
        let cause = format!("AcceptHandshake{of} does not name what was accepted");
        return Ok(Trigger::sync(cause, account.map(|account| account.to_string())));
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
    Ok(about(record, account, grant, |account| format!("AcceptHandshake: {account} accepted the invitation")))
}

/// The id of the handshake's party of this type.
fn party<'a>(response: &'a Value, kind: &str) -> Option<&'a Value> {
    let parties = path(response, &["handshake", "parties"])?.as_array()?;
    let is_of_kind = |party: &&Value| text_at(party, &["type"]).is_some_and(|of| of.eq_ignore_ascii_case(kind));
    path(parties.iter().find(is_of_kind)?, &["id"])
}

fn organization_of(response: &Value) -> Option<String> {
    let id = text(party(response, "ORGANIZATION")?).filter(|id| !is_masked(id))?;
    // The API shows a party's id with the prefix, its `Resources` without.
    Some(if id.starts_with("o-") { id.into_owned() } else { format!("o-{id}") })
}

#[cfg(test)]
#[path = "organizations_tests.rs"]
mod tests;
