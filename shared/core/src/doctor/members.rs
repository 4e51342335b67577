//! Member accounts: roles, Regions, trails, quotas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::CheckResult;
use crate::error::{AwsError, Disposition, Wait};
use crate::ids::{AccountRegion, Region};
use crate::observed::{FlowLog, SubscriptionFilter, Vpc};
use crate::policy::equivalent;
use crate::settings::{DeliveryRoleMaker, Settings};

/// Subscription filters of one log group, which AWS does not raise (CloudWatch Logs quotas).
const FILTERS: usize = 5;

/// Flow logs of one VPC (VPC user guide, "Flow log limitations").
const FLOW_LOGS: usize = 250;

/// A trail as DescribeTrails shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailFacts {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

/// A role that a service takes on, and what it should be.
#[derive(Debug, Clone, Copy)]
pub struct ServiceRole<'a> {
    /// The service: `vpc-flow-logs.amazonaws.com`.
    pub service: &'a str,
    /// The trust policy the templates give it.
    pub trust: &'a Value,
    /// The permissions the templates give it.
    pub permissions: &'a Value,
    /// The inline policy they are in.
    pub policy_name: &'a str,
}

/// A role as IAM shows it: its trust policy, and the inline policy that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleFacts {
    /// Its trust policy.
    pub trust: Value,
    /// The inline policy, if there is one of that name.
    pub policy: Option<Value>,
}

/// Whether the member role can be taken on.
pub fn check_member_role(settings: &Settings, entered: Result<(), &AwsError>) -> CheckResult {
    let Err(error) = entered else {
        return CheckResult::ok(format!("{} can be taken on", settings.member_role_name));
    };
    let not_assumable = matches!(error.disposition(), Disposition::RetryLater(Wait::MemberRole));
    if !not_assumable {
        return CheckResult::could_not_look(error);
    }
    CheckResult::failed(
        format!("{} cannot be taken on, so the account was not looked at: {error}", settings.member_role_name),
        "deploy the member stack to this account (StackSet); if it is there, compare the role's trust policy and \
         external id with the settings",
    )
}

/// Whether a service can take on the role and may do with it what it has to.
pub fn check_service_role(role: Option<&RoleFacts>, wanted: &ServiceRole<'_>, maker: DeliveryRoleMaker) -> CheckResult {
    let remedy = match maker {
        DeliveryRoleMaker::MemberStack => "update the member stack (StackSet) in this account",
        DeliveryRoleMaker::Enroller => "run `enroller backfill` for this account, which puts a role of ours right",
    };
    let Some(role) = role else {
        return match maker {
            DeliveryRoleMaker::MemberStack => CheckResult::failed("the role does not exist", remedy),
            DeliveryRoleMaker::Enroller => CheckResult::ok("not made yet; the enroller makes it with the first VPC"),
        };
    };
    let trusted = trusts(&role.trust, wanted.service);
    if trusted.is_empty() {
        return CheckResult::failed(format!("its trust policy does not let {} take it on", wanted.service), remedy);
    }
    if !equivalent(&role.trust, wanted.trust) {
        let open = trusted.iter().any(|statement| statement.get("Condition").is_none());
        let finding = match open {
            true => "its trust policy has no condition, so flow logs of other accounts could use it",
            false => "its trust policy is not the one of the templates; whether its conditions hold is not known",
        };
        return CheckResult::warning(finding, remedy);
    }
    match &role.policy {
        Some(policy) if equivalent(policy, wanted.permissions) => {
            CheckResult::ok("trust and permissions as they should be")
        }
        Some(_) => {
            CheckResult::warning(format!("its policy {} is not the one of the templates", wanted.policy_name), remedy)
        }
        None => CheckResult::warning(
            format!("it has no inline policy {}; whether others allow the same is not known", wanted.policy_name),
            remedy,
        ),
    }
}

/// The statements that let a service take a role on.
fn trusts<'a>(trust: &'a Value, service: &str) -> Vec<&'a Value> {
    let statements = match &trust["Statement"] {
        Value::Array(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    let names = |value: &Value, wanted: &str| match value {
        Value::Array(list) => list.iter().any(|name| name.as_str() == Some(wanted)),
        other => other.as_str() == Some(wanted),
    };
    let lets = |statement: &&Value| {
        statement["Effect"].as_str() == Some("Allow")
            && names(&statement["Action"], "sts:AssumeRole")
            && names(&statement["Principal"]["Service"], service)
    };
    statements.iter().filter(lets).collect()
}

/// Whether a trail logs at a place. `logging` is the first that does; `unseen` is a trail whose status could not be
/// read.
pub fn check_trails(trails: &[TrailFacts], logging: Option<&TrailFacts>, unseen: Option<&AwsError>) -> CheckResult {
    let remedy = "make a multi-Region organization trail with management events, or start logging \
                  (aws cloudtrail start-logging)";
    if let Some(trail) = logging {
        return CheckResult::ok(format!("{} is logging", trail.name));
    }
    if let Some(error) = unseen {
        return CheckResult::could_not_look(error);
    }
    let names: Vec<&str> = trails.iter().map(|trail| trail.name.as_str()).collect();
    match names.as_slice() {
        [] => CheckResult::failed("there is no trail", remedy),
        names => CheckResult::failed(format!("no trail is logging: {}", names.join(", ")), remedy),
    }
}

/// Whether an account has all enrolled Regions enabled.
pub fn check_regions(enrolled: &BTreeSet<Region>, enabled: &BTreeSet<Region>) -> CheckResult {
    let missing: Vec<&str> = enrolled.difference(enabled).map(Region::as_str).collect();
    if missing.is_empty() {
        return CheckResult::ok(format!("all {} enrolled Regions are enabled", enrolled.len()));
    }
    CheckResult::warning(
        format!("not enabled: {}", missing.join(", ")),
        "nothing if nobody uses them there; otherwise enable them, or take them off the settings",
    )
}

/// Whether our filter has its place among the five of the log group.
pub fn check_filter_slots(settings: &Settings, filters: &[SubscriptionFilter]) -> CheckResult {
    let ours = filters.iter().any(|filter| filter.name == settings.filter_name.as_str());
    let names: Vec<&str> = filters.iter().map(|filter| filter.name.as_str()).collect();
    let group = &settings.log_group_name;
    let remedy = "remove a filter that nobody needs, or set another log_group_name";
    let facts = format!("{} of {FILTERS} filters on {group}", filters.len());
    match FILTERS.saturating_sub(filters.len()) {
        0 if !ours => CheckResult::failed(format!("all {facts} belong to others: {}", names.join(", ")), remedy),
        1 if !ours => CheckResult::warning(format!("{facts}, ours not among them: {}", names.join(", ")), remedy),
        _ => CheckResult::ok(facts),
    }
}

/// Whether the VPCs of a place have room for one more flow log. A warning from nine tenths on.
pub fn check_flow_log_slots(at: &AccountRegion, vpcs: &[Vpc], flow_logs: &[FlowLog]) -> CheckResult {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for flow_log in flow_logs {
        *counts.entry(flow_log.resource.as_str()).or_default() += 1;
    }
    let own = vpcs.iter().filter(|vpc| vpc.owner == at.account);
    let counts: Vec<(String, usize)> = own
        .map(|vpc| (vpc.id.to_string(), counts.get(vpc.id.to_string().as_str()).copied().unwrap_or_default()))
        .collect();
    let Some((vpc, most)) = counts.iter().max_by_key(|(_, count)| *count) else { return CheckResult::ok("no VPCs") };
    let remedy = "delete flow logs of this VPC that nobody needs";
    let facts = format!("{vpc} has {most} of {FLOW_LOGS} flow logs");
    if *most >= FLOW_LOGS {
        CheckResult::failed(facts, remedy)
    } else if most * 10 >= FLOW_LOGS * 9 {
        CheckResult::warning(facts, remedy)
    } else {
        CheckResult::ok(format!("at most {most} of {FLOW_LOGS} flow logs on each of {} VPCs", counts.len()))
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
