//! Account-level policies for retention and subscriptions (API reference, PutAccountPolicy).
//!
//! Records that an account-level subscription would deliver are not simulated; the policy is stored and shown.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::groups::RETENTION_DAYS;
use super::{LogGroup, data_protection, invalid_parameter, not_found, page, paged};
use crate::call::{ApiError, Call};
use crate::json_input::Input;
use crate::world::World;

/// A retention policy works a day after it was put (PutAccountPolicy).
const EFFECTIVE_AFTER_MS: u64 = 24 * 60 * 60 * 1_000;

/// Most retention policies of an account and Region (PutAccountPolicy).
const MAX_RETENTION_POLICIES: usize = 20;

const RETENTION: &str = "RETENTION_POLICY";
const SUBSCRIPTION: &str = "SUBSCRIPTION_FILTER_POLICY";
const DATA_PROTECTION: &str = "DATA_PROTECTION_POLICY";

/// Policies by type and name.
pub(super) type AccountPolicies = BTreeMap<(String, String), AccountPolicy>;

#[derive(Clone, Debug)]
pub(super) struct AccountPolicy {
    document: String,
    criteria: Option<String>,
    created_ms: u64,
    updated_ms: u64,
    /// What a retention policy wants, and since when; the newest last.
    retentions: Vec<(u64, Retention)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Retention {
    /// `None` for `NEVER_EXPIRE`.
    days: Option<u64>,
    /// Whether it applies to log groups that are older than the policy.
    retroactive: bool,
    /// Beginnings of names; empty for all log groups.
    prefixes: Vec<String>,
}

impl AccountPolicy {
    /// The retention in force for a log group.
    fn for_group(&self, group: &LogGroup, now_ms: u64) -> Option<&Retention> {
        let in_force = self.retentions.iter().rev().find(|(since_ms, _)| now_ms >= *since_ms);
        in_force.map(|(_, retention)| retention).filter(|retention| {
            let named = retention.prefixes.is_empty()
                || retention.prefixes.iter().any(|prefix| group.name.starts_with(prefix.as_str()));
            named && (retention.retroactive || group.created_ms > self.created_ms)
        })
    }
}

/// Name and days of the policy that determines the retention of a log group: the longest one, of several the oldest.
pub(super) fn retention_of(policies: &AccountPolicies, group: &LogGroup, now_ms: u64) -> Option<(String, Option<u64>)> {
    let applying = policies.iter().filter_map(|((_, name), policy)| {
        let days = policy.for_group(group, now_ms)?.days;
        Some((days.unwrap_or(u64::MAX), std::cmp::Reverse(policy.created_ms), name, days))
    });
    applying.max_by_key(|(length, age, ..)| (*length, *age)).map(|(_, _, name, days)| (name.clone(), days))
}

/// Whether an account-level data protection policy applies to every log group. It does so within five minutes
/// (PutAccountPolicy), here at once.
pub(super) fn protects(policies: &AccountPolicies) -> bool {
    policies.keys().any(|(kind, _)| kind == DATA_PROTECTION)
}

pub(super) fn put(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let known = ["policyName", "policyDocument", "policyType", "scope", "selectionCriteria"];
    let input = Input::of(call, input, &known)?;
    let (kind, name) = (input.required_text("policyType")?, input.required_text("policyName")?);
    let document = input.required_text("policyDocument")?;
    let criteria = input.text("selectionCriteria")?;
    if name.is_empty() || name.len() > 256 || name.contains([':', '*']) {
        return Err(invalid_parameter("The policy name is not valid."));
    }
    let retention = match kind {
        RETENTION => Some(read_retention(document, criteria)?),
        SUBSCRIPTION => {
            check_subscription(document, criteria)?;
            None
        }
        DATA_PROTECTION => {
            if criteria.is_some() {
                // PutAccountPolicy: it applies to all log groups.
                return Err(invalid_parameter("A data protection policy has no selection criteria."));
            }
            data_protection::check(document)?;
            None
        }
        other => return Err(ApiError::unknown_parameter(&format!("policyType={other}"), &call.operation)),
    };
    let now_ms = world.now_ms();
    let policies = &mut world.logs.account_region_mut(&call.caller.account, &call.region).policies;
    let key = (kind.to_owned(), name.to_owned());
    let others = policies.keys().filter(|other| other.0 == kind && **other != key).count();
    let most = if kind == RETENTION { MAX_RETENTION_POLICIES } else { 1 };
    if others >= most {
        return Err(ApiError::new(400, "LimitExceededException", "Resource limit exceeded."));
    }
    let policy = policies.entry(key.clone()).or_insert_with(|| AccountPolicy {
        document: String::new(),
        criteria: None,
        created_ms: now_ms,
        updated_ms: now_ms,
        retentions: Vec::new(),
    });
    policy.document = document.to_owned();
    policy.criteria = criteria.map(str::to_owned);
    policy.updated_ms = now_ms;
    policy.retentions.extend(retention.map(|retention| (now_ms + EFFECTIVE_AFTER_MS, retention)));
    Ok(json!({ "accountPolicy": render(&key, policy, &call.caller.account) }))
}

pub(super) fn delete(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["policyName", "policyType"])?;
    let key = (input.required_text("policyType")?.to_owned(), input.required_text("policyName")?.to_owned());
    match world.logs.account_region_mut(&call.caller.account, &call.region).policies.remove(&key) {
        Some(_) => Ok(json!({})),
        None => Err(not_found("The specified account policy does not exist.")),
    }
}

pub(super) fn describe(world: &mut World, call: &Call, input: &Value) -> Result<Value, ApiError> {
    let input = Input::of(call, input, &["policyType", "policyName", "nextToken"])?;
    let (kind, name) = (input.required_text("policyType")?, input.text("policyName")?);
    let account = call.caller.account.as_str();
    let policies = &world.logs.account_region_mut(account, &call.region).policies;
    let wanted = policies.iter().filter(|(key, _)| key.0 == kind && name.is_none_or(|name| name == key.1));
    let rendered = wanted.map(|(key, policy)| (key.1.as_str(), render(key, policy, account)));
    let (items, next) = page(rendered, input.text("nextToken")?, None)?;
    Ok(paged("accountPolicies", items, next))
}

fn render((kind, name): &(String, String), policy: &AccountPolicy, account: &str) -> Value {
    let mut rendered = json!({
        "policyName": name,
        "policyType": kind,
        "policyDocument": policy.document,
        "scope": "ALL",
        "accountId": account,
        "lastUpdatedTime": policy.updated_ms,
    });
    if let Some(criteria) = &policy.criteria {
        rendered["selectionCriteria"] = json!(criteria);
    }
    rendered
}

fn read_retention(document: &str, criteria: Option<&str>) -> Result<Retention, ApiError> {
    let parsed: Value = serde_json::from_str(document).unwrap_or_default();
    let days = match &parsed["retentionInDays"] {
        Value::String(text) if text == "NEVER_EXPIRE" => None,
        days => {
            let days = days.as_u64().filter(|days| *days >= 30 && RETENTION_DAYS.contains(days));
            Some(days.ok_or_else(|| invalid_parameter("The policy document has no valid retentionInDays."))?)
        }
    };
    let retroactive = match parsed["enforcementMode"].as_str() {
        Some("RETROACTIVE") => true,
        Some("NEW_ONLY") => false,
        _ => return Err(invalid_parameter("The policy document has no valid enforcementMode.")),
    };
    Ok(Retention { days, retroactive, prefixes: criteria.map_or(Ok(Vec::new()), prefixes)? })
}

/// The prefixes in `LogGroupNamePrefix IN ["…"]`. The exact grammar is UNVERIFIED.
fn prefixes(criteria: &str) -> Result<Vec<String>, ApiError> {
    let rest = criteria.trim().strip_prefix("LogGroupNamePrefix");
    let rest = rest.ok_or_else(|| invalid_parameter("The only selection criterion is LogGroupNamePrefix."))?;
    Ok(rest.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

fn check_subscription(document: &str, criteria: Option<&str>) -> Result<(), ApiError> {
    let parsed: Value = serde_json::from_str(document).unwrap_or_default();
    if !parsed["DestinationArn"].is_string() {
        return Err(invalid_parameter("The policy document has no DestinationArn."));
    }
    if criteria.is_some_and(|criteria| !criteria.trim().starts_with("LogGroupName NOT IN")) {
        return Err(invalid_parameter("The only selection criterion is LogGroupName NOT IN []."));
    }
    Ok(())
}
