//! Building a plan, in the order that loses no record.

use std::collections::BTreeMap;

use super::flow_logs::{FlowLogPlans, plan_flow_logs};
use super::{Action, Blocked, Desired, FILTER_SLOTS, Plan, Step, VpcPlan, masking};
use crate::observed::{LogGroup, LogGroupClass, Observed, SubscriptionFilter};

/// How long a log group counts as new. A run that was interrupted after CreateLogGroup is repeated within hours, or by
/// the daily sweep.
const NEW_GROUP_MS: u64 = 25 * 3_600_000;

/// Plans the changes of one account-Region.
///
/// `observed` must have the log group's tags where [`Desired::needs_group_tags`] is true. Without them the group counts
/// as unmanaged. `now_ms` is the time of the observation, in epoch milliseconds.
///
/// # Examples
///
/// ```
/// use enroller_core::ids::AccountRegion;
/// use enroller_core::observed::{Observed, Tags, Vpc};
/// use enroller_core::plan::{Desired, plan};
/// # use enroller_core::settings::Settings;
/// # let settings = Settings::from_lookup(|key| {
/// #     let value = match key {
/// #         "central_account" => "111122223333",
/// #         "organization_id" => "o-exampleorg1",
/// #         "home_region" | "regions" => "eu-west-1",
/// #         _ => return None,
/// #     };
/// #     Some(value.to_owned())
/// # })?;
///
/// let at = AccountRegion { account: "444455556666".parse()?, region: "eu-west-1".parse()? };
/// let desired = Desired {
///     settings: &settings,
///     destination: "arn:aws:logs:eu-west-1:111122223333:destination:VPCFlowLogsDestination".parse()?,
///     at: at.clone(),
/// };
/// // An account-Region with a VPC and nothing else.
/// let vpc = Vpc {
///     id: "vpc-0123456789abcdef0".parse()?,
///     owner: at.account,
///     is_default: false,
///     tags: Tags::new(),
/// };
/// let observed = Observed { vpcs: vec![vpc], ..Observed::default() };
///
/// let plan = plan(&desired, &observed, 1_795_000_000_000);
/// let steps: Vec<&str> = plan.steps.iter().map(|step| step.action.label()).collect();
/// assert_eq!(steps, ["create-log-group", "put-subscription-filter", "create-flow-logs", "set-retention"]);
/// assert_eq!(plan.steps[2].why, "1 VPC has no managed flow log");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(desired: &Desired<'_>, observed: &Observed, now_ms: u64) -> Plan {
    let flow_logs = plan_flow_logs(desired, observed, now_ms);
    let mut plan = Plan {
        at: desired.at.clone(),
        steps: Vec::new(),
        vpcs: flow_logs.vpcs.clone(),
        unfinished: flow_logs.unfinished.clone(),
        tags: flow_logs.tags.clone(),
        expired: flow_logs.expired.clone(),
        notes: flow_logs.notes.clone(),
        masked: None,
        blocked: None,
    };
    // Without a VPC to cover, a log group and a filter would only clutter the account.
    if !plan.vpcs.values().any(wants_coverage) {
        plan.steps.extend(flow_logs.deletions);
        return plan;
    }
    plan.blocked = blocked(desired, observed);
    if plan.blocked.is_some() {
        return plan;
    }
    if let Some(group) = &observed.log_group {
        plan.masked = masking::finding(group);
        plan.notes.extend(masking::note(&desired.settings.log_group_name, group));
    }
    plan.steps.extend(delivery_role(desired, &flow_logs));
    let settings_of_group = log_group(desired, observed.log_group.as_ref(), now_ms, &mut plan);
    filter(desired, observed, &mut plan);
    plan.steps.extend(flow_logs.tagging);
    plan.steps.extend(flow_logs.creations);
    plan.steps.extend(flow_logs.deletions);
    // No record depends on the group's settings, so nothing that happens to them keeps a VPC from its flow log.
    plan.steps.extend(settings_of_group);
    plan
}

fn wants_coverage(vpc: &VpcPlan) -> bool {
    match vpc {
        VpcPlan::Covered(_)
        | VpcPlan::Broken { .. }
        | VpcPlan::CoveredByOthers(_)
        | VpcPlan::Enroll { .. }
        | VpcPlan::Replace { .. }
        | VpcPlan::NotAsAsked { .. } => true,
        VpcPlan::OutOfScope(_) => false,
    }
}

fn blocked(desired: &Desired<'_>, observed: &Observed) -> Option<Blocked> {
    let group = observed.log_group.as_ref()?;
    if let LogGroupClass::Other(class) = &group.class {
        return Some(Blocked::LogGroupClass(class.clone()));
    }
    if is_managed(desired, group) {
        return None;
    }
    let foreign = observed.filters.iter().find(|filter| desired.is_foreign(filter))?;
    Some(Blocked::ForeignFilter { name: foreign.name.clone(), destination: foreign.destination.clone() })
}

fn is_managed(desired: &Desired<'_>, group: &LogGroup) -> bool {
    group.tags.as_ref().is_some_and(|tags| desired.settings.ownership_tag.is_on(tags))
}

/// The role is checked only where it can be missing or wrong: before the first flow log that delivers with it to the
/// log group, and where AWS reports an access error. So a second run costs no IAM call.
fn delivery_role(desired: &Desired<'_>, flow_logs: &FlowLogPlans) -> Option<Step> {
    if !desired.makes_delivery_role() {
        return None;
    }
    let role = &desired.settings.delivery_role_name;
    let why = if flow_logs.access_error {
        format!("a flow log reports an access error, so role {role} is checked")
    } else if flow_logs.untried_role {
        format!("no managed flow log delivers to {} with role {role} yet", desired.settings.log_group_name)
    } else {
        return None;
    };
    Some(Step { action: Action::EnsureDeliveryRole, why })
}

/// Plans the log group. Returns the steps for its settings, which come last.
fn log_group(desired: &Desired<'_>, observed: Option<&LogGroup>, now_ms: u64, plan: &mut Plan) -> Vec<Step> {
    let mut settings = Vec::new();
    let name = &desired.settings.log_group_name;
    let Some(group) = observed else {
        let why = format!("log group {name} does not exist");
        plan.steps.push(Step { action: Action::CreateLogGroup { kms_key: desired.kms_key() }, why });
        if let Some(days) = desired.settings.retention_days {
            let why = "a new log group keeps events for ever".to_owned();
            settings.push(Step { action: Action::SetRetention { days: Some(days) }, why });
        }
        return settings;
    };
    if let Some(policy) = group.retention_policy.as_ref().filter(|_| lasts(group) != lasts_wanted(desired)) {
        let (is, wanted) = (days(group.retention_days), days(desired.settings.retention_days));
        plan.notes.push(format!(
            "retention of log group {name} is {is}, not {wanted}, because the account-level policy {policy} sets it: it is not changed"
        ));
    }
    if !desired.group_differs(group) {
        return settings;
    }
    if !is_managed(desired, group) {
        plan.notes.push(format!(
            "log group {name} was not created by the enroller (it lacks the tag {}): its retention and key are not changed",
            desired.settings.ownership_tag
        ));
        return settings;
    }
    if desired.retention_differs(group) {
        settings.extend(retention(desired, group, now_ms, plan));
    }
    if let Some(key) = desired.kms_key().filter(|key| group.kms_key.as_ref() != Some(key)) {
        let why = match &group.kms_key {
            Some(found) => format!("the log group's KMS key is {found}, not {key}"),
            None => "the log group has no KMS key".to_owned(),
        };
        settings.push(Step { action: Action::AssociateKmsKey { key }, why });
    }
    settings
}

/// A longer retention stays, because a shorter one deletes events that a person may have decided to keep. The exception
/// is a new group without a retention, as an interrupted run leaves it: it has no old events yet.
fn retention(desired: &Desired<'_>, group: &LogGroup, now_ms: u64, plan: &mut Plan) -> Option<Step> {
    let (is, wanted) = (days(group.retention_days), days(desired.settings.retention_days));
    let is_new = group.created_ms.is_some_and(|created| now_ms.saturating_sub(created) < NEW_GROUP_MS);
    let is_unset = group.retention_days.is_none() && is_new;
    if lasts(group) > lasts_wanted(desired) && !is_unset {
        let name = &desired.settings.log_group_name;
        plan.notes.push(format!(
            "retention of log group {name} is {is}, longer than {wanted}: it is not shortened; to shorten it, call PutRetentionPolicy"
        ));
        return None;
    }
    let why = format!("retention is {is}, not {wanted}");
    Some(Step { action: Action::SetRetention { days: desired.settings.retention_days }, why })
}

/// How long the group keeps events, for comparison.
fn lasts(group: &LogGroup) -> u32 {
    group.retention_days.unwrap_or(u32::MAX)
}

fn lasts_wanted(desired: &Desired<'_>) -> u32 {
    desired.settings.retention_days.unwrap_or(u32::MAX)
}

fn days(retention: Option<u32>) -> String {
    retention.map_or_else(|| "for ever".to_owned(), |days| format!("{days} days"))
}

/// What a filter is, by the names that operators know.
fn values(filter: &SubscriptionFilter) -> BTreeMap<&'static str, String> {
    let form = &filter.form;
    BTreeMap::from([
        ("destination", filter.destination.clone()),
        ("pattern", filter.pattern.clone()),
        ("role", filter.role.clone().unwrap_or_else(|| "none".to_owned())),
        ("field selection", form.field_selection.clone()),
        ("applied on transformed logs", form.transformed.to_string()),
        ("emitted system fields", form.system_fields.join(", ")),
        ("distribution", form.distribution.clone()),
    ])
}

fn filter(desired: &Desired<'_>, observed: &Observed, plan: &mut Plan) {
    let wanted = desired.filter();
    let present = observed.filters.iter().find(|filter| filter.name == wanted.name);
    let why = match present {
        Some(present) if *present == wanted => return,
        Some(present) => {
            let (is, should) = (values(present), values(&wanted));
            let both = is.iter().filter_map(|(what, is)| Some((what, (is, should.get(what)?))));
            let differing = both.filter(|(_, (is, should))| is != should);
            let texts: Vec<String> =
                differing.map(|(what, (is, should))| format!("{what} is {is:?}, not {should:?}")).collect();
            format!("subscription filter {} differs: {}", wanted.name, texts.join("; "))
        }
        None => {
            let taken = observed.filters.len();
            if taken >= FILTER_SLOTS {
                plan.notes.push(format!(
                    "the log group has {taken} unmanaged subscription filters, and CloudWatch Logs allows {FILTER_SLOTS}: \
                    AWS will probably reject the managed one"
                ));
            }
            format!("subscription filter {} does not exist", wanted.name)
        }
    };
    plan.steps.push(Step { action: Action::PutFilter { filter: wanted }, why });
}
