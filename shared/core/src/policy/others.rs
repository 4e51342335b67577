//! The effect of unmanaged statements on member accounts. These statements are read and never changed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::document::{account_of, aws_principals, glob, organization_condition, texts};
use crate::arn::Arn;
use crate::ids::{AccountId, OrganizationId};

/// The action that a destination's policy grants. Account-level subscription policies would also need
/// `logs:PutAccountPolicy`. The enroller does not create any, so it does not grant that.
pub(super) const ACTION: &str = "logs:PutSubscriptionFilter";

/// The accounts that these statements authorize by naming them.
///
/// Only a statement that certainly allows counts, not one with a condition or for another action or resource.
pub(super) fn allowed_accounts(statements: &[Value], destination: &Arn) -> BTreeSet<AccountId> {
    let mut accounts: BTreeSet<_> = about(statements, "Allow", destination)
        .filter(|statement| !statement.contains_key("Condition"))
        .flat_map(principals)
        .filter_map(account_of)
        .collect();
    accounts.retain(|account| !denies(statements, *account, destination));
    accounts
}

/// Whether these statements authorize every account of `organization`.
pub(super) fn allow_organization(statements: &[Value], organization: &OrganizationId, destination: &Arn) -> bool {
    organizations(statements, destination).any(|id| id == organization.as_str())
}

/// Whether these statements authorize accounts by organization, by its id or by a path in it.
pub(super) fn name_an_organization(statements: &[Value], destination: &Arn) -> bool {
    about(statements, "Allow", destination).any(|statement| statement.contains_key("Condition"))
}

/// Whether these statements deny an account. Conditions are not evaluated, because they may hold.
pub(super) fn denies(statements: &[Value], account: AccountId, destination: &Arn) -> bool {
    about(statements, "Deny", destination).any(|statement| {
        statement.contains_key("NotPrincipal")
            || principals(statement).any(|name| name == "*" || account_of(name) == Some(account))
    })
}

/// Whether these statements deny an account whatever the request: without a condition, which might not hold.
pub(super) fn certainly_deny(statements: &[Value], account: AccountId, destination: &Arn) -> bool {
    let about = about(statements, "Deny", destination).filter(|statement| !statement.contains_key("Condition"));
    let is_it = |name: &str| name == "*" || account_of(name) == Some(account);
    about.into_iter().any(|statement| match statement.get("NotPrincipal") {
        Some(spared) => aws_principals(spared).is_some_and(|names| !names.into_iter().any(is_it)),
        None => principals(statement).any(is_it),
    })
}

/// The accounts that statements which deny name.
pub(super) fn named_by_denials(statements: &[Value]) -> BTreeSet<AccountId> {
    let denials = statements.iter().filter_map(Value::as_object);
    let denials = denials.filter(|statement| statement.get("Effect").and_then(Value::as_str) == Some("Deny"));
    denials.flat_map(principals).filter_map(account_of).collect()
}

fn organizations<'a>(statements: &'a [Value], destination: &Arn) -> impl Iterator<Item = &'a str> {
    about(statements, "Allow", destination)
        .filter(|statement| principals(statement).any(|name| name == "*"))
        .filter_map(|statement| organization_condition(statement.get("Condition")?))
        .flatten()
}

/// The statements with this effect on subscribing to this destination.
fn about<'a>(statements: &'a [Value], effect: &str, destination: &Arn) -> impl Iterator<Item = &'a Map<String, Value>> {
    let destination = destination.to_string();
    let names = |statement: &Map<String, Value>, element: &str, matches: &dyn Fn(&str) -> bool| {
        statement.get(element).and_then(texts).is_some_and(|patterns| patterns.into_iter().any(matches))
    };
    statements.iter().filter_map(Value::as_object).filter(move |statement| {
        statement.get("Effect").and_then(Value::as_str) == Some(effect)
            && names(statement, "Action", &|pattern| glob(&pattern.to_lowercase(), &ACTION.to_lowercase()))
            && names(statement, "Resource", &|pattern| glob(pattern, &destination))
    })
}

fn principals(statement: &Map<String, Value>) -> impl Iterator<Item = &str> {
    statement.get("Principal").and_then(aws_principals).into_iter().flatten()
}
