//! Member accounts: roles, Regions, trails, quotas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::CheckResult;
use crate::error::{AwsError, Disposition, Wait};
use crate::ids::{AccountRegion, Region};
use crate::observed::{FlowLog, SubscriptionFilter, Vpc};
use crate::policy::equivalent;
use crate::settings::{DeliveryRoleMaker, Settings};

/// The maximum number of subscription filters on a log group, a quota that AWS does not raise (CloudWatch Logs quotas).
const FILTERS: usize = 5;

/// The maximum number of flow logs on a VPC (VPC user guide, "Flow log limitations").
const FLOW_LOGS: usize = 250;

/// A trail as DescribeTrails returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are AWS's own")]
pub struct TrailFacts {
    pub name: String,
    pub arn: String,
}

/// A role that a service assumes, as the templates define it.
#[derive(Debug, Clone, Copy)]
pub struct ServiceRole<'a> {
    /// The service's principal: `vpc-flow-logs.amazonaws.com`.
    pub service: &'a str,
    /// The desired trust policy.
    pub trust: &'a Value,
    /// The desired document of its inline policy.
    pub permissions: &'a Value,
    /// The name of the inline policy with the permissions.
    pub policy_name: &'a str,
}

/// A role as IAM returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleFacts {
    /// The role's trust policy.
    pub trust: Value,
    /// The role's inline policy of the requested name, if it has one.
    pub policy: Option<Value>,
}

/// Whether the member role can be assumed.
pub fn check_member_role(settings: &Settings, assumed: Result<(), &AwsError>) -> CheckResult {
    let Err(error) = assumed else {
        return CheckResult::ok(format!("{} can be assumed", settings.member_role_name));
    };
    let not_assumable = matches!(error.disposition(), Disposition::RetryLater(Wait::MemberRole));
    if !not_assumable {
        return CheckResult::could_not_look(error);
    }
    CheckResult::failed(
        format!("{} cannot be assumed, so the account was not checked: {error}", settings.member_role_name),
        "deploy the member stack to this account (StackSet); if it exists, compare the role's trust policy and \
         external id with the settings",
    )
}

/// Whether a service can assume the role and has the permissions it needs.
pub fn check_service_role(role: Option<&RoleFacts>, wanted: &ServiceRole<'_>, maker: DeliveryRoleMaker) -> CheckResult {
    let remedy = match maker {
        DeliveryRoleMaker::MemberStack => "update the member stack (StackSet) in this account",
        DeliveryRoleMaker::Enroller => {
            "run `enroller backfill` for this account: it repairs a role that the enroller made, before the first flow log \
            and where AWS reports access errors; otherwise correct the role by hand"
        }
    };
    let Some(role) = role else {
        return match maker {
            DeliveryRoleMaker::MemberStack => CheckResult::failed("the role does not exist", remedy),
            DeliveryRoleMaker::Enroller => {
                CheckResult::ok("not created yet; the enroller creates it with the first VPC")
            }
        };
    };
    let trusted = trusts(&role.trust, wanted.service);
    if trusted.is_empty() {
        return CheckResult::failed(format!("its trust policy does not allow {} to assume it", wanted.service), remedy);
    }
    if !equivalent(&role.trust, wanted.trust) {
        let open = trusted.iter().any(|statement| statement.get("Condition").is_none());
        let finding = match open {
            true => "its trust policy has no condition, so that other accounts' flow logs could use it",
            false => "its trust policy differs from the template's, and whether its conditions hold is unknown",
        };
        return CheckResult::warning(finding, remedy);
    }
    match &role.policy {
        Some(policy) if equivalent(policy, wanted.permissions) => {
            CheckResult::ok("its trust policy and permissions are correct")
        }
        Some(_) => {
            CheckResult::warning(format!("its policy {} differs from the template's", wanted.policy_name), remedy)
        }
        None => CheckResult::warning(
            format!(
                "it has no inline policy {}, and whether other policies allow the same is unknown",
                wanted.policy_name
            ),
            remedy,
        ),
    }
}

/// The statements that allow a service to assume a role.
fn trusts<'a>(trust: &'a Value, service: &str) -> Vec<&'a Value> {
    let statements = match &trust["Statement"] {
        Value::Array(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    let names = |value: &Value, wanted: &str| match value {
        Value::Array(list) => list.iter().any(|name| name.as_str() == Some(wanted)),
        other => other.as_str() == Some(wanted),
    };
    let allows = |statement: &&Value| {
        statement["Effect"].as_str() == Some("Allow")
            && names(&statement["Action"], "sts:AssumeRole")
            && names(&statement["Principal"]["Service"], service)
    };
    statements.iter().filter(allows).collect()
}

/// Whether a trail is logging in an account-Region. `logging` is the first that is; `unseen` is the error of a trail
/// whose status could not be read.
pub fn check_trails(trails: &[TrailFacts], logging: Option<&TrailFacts>, unseen: Option<&AwsError>) -> CheckResult {
    let remedy = "create a multi-Region organization trail with management events, or start logging \
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
        "no action needed if the account does not use them; otherwise enable them, or remove them from the setting `regions`",
    )
}

/// Whether the log group has the managed filter, or room for it.
pub fn check_filter_slots(settings: &Settings, filters: &[SubscriptionFilter]) -> CheckResult {
    let has_managed = filters.iter().any(|filter| filter.name == settings.filter_name.as_str());
    let names: Vec<&str> = filters.iter().map(|filter| filter.name.as_str()).collect();
    let group = &settings.log_group_name;
    let remedy = "remove an unused filter, or set another log_group_name";
    let facts = format!("{} of {FILTERS} filters on {group}", filters.len());
    match FILTERS.saturating_sub(filters.len()) {
        0 if !has_managed => CheckResult::failed(format!("all {facts} are unmanaged: {}", names.join(", ")), remedy),
        1 if !has_managed => {
            CheckResult::warning(format!("{facts}, and the managed one is missing: {}", names.join(", ")), remedy)
        }
        _ => CheckResult::ok(facts),
    }
}

/// Whether each VPC of an account-Region has room for another flow log. From nine tenths of the quota on, the result is
/// a warning.
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
    let remedy = "delete unused flow logs of this VPC";
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
