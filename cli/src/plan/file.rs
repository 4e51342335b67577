//! A plan in a file, which `enroller plan --out` writes and `enroller backfill --plan` carries out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use enroller_core::backfill::BackfillRequest;
use enroller_core::grants::{GrantPlan, ShardWrite};
use enroller_core::ids::{AccountId, OrganizationId, Region};
use enroller_core::plan::{Action, FlowLogSpec, Plan};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::OrganizationSnapshot;
use crate::about::{About, fingerprint};

/// A longer file is cut off, and then refused, before it fills the memory.
const LONGEST_BYTES: u64 = 1 << 30;

/// The version of the file format. A file with another version is refused.
const VERSION: u64 = 3;

/// Most differences of one kind that a refusal lists.
const LISTED: usize = 20;

/// A plan that an operator has reviewed, complete enough to detect every change since.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanFile {
    plan_file_version: u64,
    /// Who made it, when, of what and with which settings. Of this only the settings are compared.
    about: Value,
    organization_id: OrganizationId,
    central_account: AccountId,
    /// Whether the plan is about a simulated organization.
    simulated: bool,
    /// The accounts and Regions of the plan. The backfill uses the same selection.
    pub(crate) selection: BackfillRequest,
    /// The properties of the flow logs to create, which many of them share, by a name.
    flow_logs: BTreeMap<String, String>,
    /// One text per change, with all values that it would write and, where something is replaced, what that is.
    changes: BTreeSet<String>,
    /// Account-Regions and Regions that could not be inspected, with the cause.
    not_planned: BTreeMap<String, String>,
    /// Account-Regions that were inspected.
    #[serde(skip)]
    inspected: BTreeSet<String>,
}

/// Why a file is not carried out.
#[derive(Debug, thiserror::Error)]
enum NotAPlan {
    #[error("{file} is not a plan that `enroller plan --out` wrote")]
    Foreign {
        file: String,
        #[source]
        cause: serde_json::Error,
    },
    #[error(
        "{file} is a plan in format {found}, and this enroller ({}) reads format {VERSION}\n  \
         next: make a new plan with this enroller, or carry this one out with the enroller that made it",
        env!("CARGO_PKG_VERSION")
    )]
    OtherVersion { file: String, found: u64 },
    #[error("{file} asks for a dry run, which a plan does not")]
    DryRun { file: String },
}

impl PlanFile {
    pub(crate) fn of(about: &About, selection: &BackfillRequest, looked: &OrganizationSnapshot) -> Self {
        let mut file = Self {
            plan_file_version: VERSION,
            about: serde_json::to_value(about).unwrap_or_default(),
            organization_id: about.organization.clone(),
            central_account: about.central_account,
            simulated: about.simulated,
            selection: selection.clone(),
            flow_logs: BTreeMap::new(),
            changes: BTreeSet::new(),
            not_planned: BTreeMap::new(),
            inspected: BTreeSet::new(),
        };
        for (region, plan) in &looked.preview.regions {
            match plan {
                Ok(plan) => file.add_grants(region, plan),
                Err(error) => drop(file.not_planned.insert(format!("grants {region}"), error.to_string())),
            }
        }
        for at in looked.surveys.iter().flat_map(|survey| &survey.account_regions) {
            match &at.found {
                Ok((_, plan)) => file.add_steps(plan),
                Err(errors) => drop(file.not_planned.insert(at.at.to_string(), errors.to_string())),
            }
        }
        file
    }

    fn add_grants(&mut self, region: &Region, plan: &GrantPlan) {
        for write in &plan.writes {
            let ShardWrite { name, target, role, create, force, added, removed, .. } = write;
            let destination = |what: &str| format!("grants {region} {name}: {what}, target {target}, role {role}");
            self.changes.extend(create.then(|| destination("create-destination")));
            let repointing = write.repointing().map(|changes| format!("repoint-destination, {changes}"));
            self.changes.extend(repointing.map(|what| destination(&what)));
            self.changes.extend(force.then(|| format!("grants {region} {name}: switch-to-organization")));
            self.changes.extend(added.iter().map(|account| format!("grants {region} {name}: grant {account}")));
            self.changes.extend(removed.iter().map(|account| format!("grants {region} {name}: revoke {account}")));
        }
    }

    fn add_steps(&mut self, plan: &Plan) {
        self.inspected.insert(plan.at.to_string());
        for step in &plan.steps {
            if let Action::CreateFlowLogs { spec, .. } = &step.action {
                self.flow_logs.insert(name_of(spec), properties(spec));
            }
            let because = match &step.action {
                // These replace a value, which the reason names.
                Action::PutFilter { .. } | Action::SetRetention { .. } | Action::AssociateKmsKey { .. } => {
                    format!(", because {}", step.why)
                }
                _ => String::new(),
            };
            let changes = describe(&step.action);
            self.changes.extend(changes.into_iter().map(|change| format!("{}: {change}{because}", plan.at)));
        }
    }

    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("the plan cannot be written as JSON")?;
        std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
    }

    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let mut text = String::new();
        let read = File::open(file).and_then(|file| file.take(LONGEST_BYTES).read_to_string(&mut text));
        read.with_context(|| format!("cannot read {}", file.display()))?;
        let name = || file.display().to_string();
        // The version comes first: a file of another one has other fields.
        let value: Value = serde_json::from_str(&text).map_err(|cause| NotAPlan::Foreign { file: name(), cause })?;
        if let Some(found) = value.get("plan_file_version").and_then(Value::as_u64).filter(|found| *found != VERSION) {
            return Err(NotAPlan::OtherVersion { file: name(), found }.into());
        }
        let plan: Self = serde_json::from_value(value).map_err(|cause| NotAPlan::Foreign { file: name(), cause })?;
        if plan.selection.dry_run {
            return Err(NotAPlan::DryRun { file: name() }.into());
        }
        Ok(plan)
    }

    /// Checks that a plan made `now` equals this one.
    ///
    /// # Errors
    ///
    /// Lists the differences between the two plans.
    pub(crate) fn must_still_hold(&self, now: &Self) -> anyhow::Result<()> {
        let mut moved: Vec<String> = Vec::new();
        if (&self.organization_id, self.central_account) != (&now.organization_id, now.central_account) {
            let whose = |plan: &Self| format!("{} with central account {}", plan.organization_id, plan.central_account);
            moved.push(format!("made for organization {}, not {}", whose(self), whose(now)));
        }
        if self.simulated != now.simulated {
            let whose = if self.simulated { "a simulated organization" } else { "a real organization" };
            moved.push(format!("made for {whose}"));
        }
        moved.extend(self.settings_since(now));
        let differ = |one: &Self, other: &Self, what: &str| -> Vec<String> {
            let known = |name: &&String| !other.flow_logs.contains_key(*name);
            one.flow_logs
                .keys()
                .filter(known)
                .map(|name| format!("{what}: {name} is {}", one.flow_logs[name]))
                .collect()
        };
        moved.extend(differ(self, now, "flow logs in the plan"));
        moved.extend(differ(now, self, "flow logs now"));
        let no_longer = self.changes.difference(&now.changes);
        moved.extend(listed(no_longer.map(|it| format!("no longer needed: {it}")).collect()));
        moved
            .extend(listed(now.changes.difference(&self.changes).map(|it| format!("not in the plan: {it}")).collect()));
        let only = |one: &Self, other: &Self| -> Vec<(String, String)> {
            let only = one.not_planned.iter().filter(|(at, _)| !other.not_planned.contains_key(*at));
            only.map(|(at, cause)| (at.clone(), cause.clone())).collect()
        };
        let better = only(self, now).into_iter().map(|(at, _)| {
            let what = if now.can_be_planned(&at) { "can be inspected now" } else { "is no longer part of the plan" };
            format!("{what}: {at}")
        });
        moved.extend(listed(better.collect()));
        let worse = only(now, self).into_iter().map(|(at, cause)| format!("cannot be inspected now: {at}: {cause}"));
        moved.extend(listed(worse.collect()));
        anyhow::ensure!(
            moved.is_empty(),
            "things have changed since the plan was made; nothing was done:\n  {}\nnext: make a new plan",
            moved.join("\n  ")
        );
        Ok(())
    }

    /// The settings that are not those of the plan: they decide what is made, and what counts as ours.
    fn settings_since(&self, now: &Self) -> Vec<String> {
        let none = serde_json::Map::new();
        let of = |plan: &Self| plan.about["settings"].as_object().cloned().unwrap_or_else(|| none.clone());
        let (then, now) = (of(self), of(now));
        let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let moved = keys.into_iter().filter(|key| then.get(*key) != now.get(*key));
        moved
            .map(|key| format!("setting {key}: {:?} in the plan, {:?} now", text(then.get(key)), text(now.get(key))))
            .collect()
    }

    /// Whether this plan has looked at an account-Region, or at the grants of a Region.
    fn can_be_planned(&self, at: &str) -> bool {
        self.inspected.contains(at) || at.starts_with("grants ")
    }
}

/// The first lines, and how many more there are.
fn listed(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LISTED);
    if more > 0 {
        let what = lines[LISTED].split_once(':').map_or("", |(what, _)| what).to_owned();
        lines.truncate(LISTED);
        lines.push(format!("{what}: {more} more"));
    }
    lines
}

/// The properties of a flow log, which do not depend on the account.
fn properties(spec: &FlowLogSpec) -> String {
    let FlowLogSpec { traffic_type, interval, format, delivery_role } = spec;
    format!("{traffic_type}, {interval} s, {}, {format}", delivery_role.resource())
}

/// A short name for the properties.
fn name_of(spec: &FlowLogSpec) -> String {
    format!("spec-{}", &fingerprint(&properties(spec))[..8])
}

/// Splits a step into single changes, each with all values that it writes.
fn describe(action: &Action) -> Vec<String> {
    let label = action.label();
    match action {
        Action::EnsureDeliveryRole => vec![label.to_owned()],
        Action::CreateLogGroup { kms_key } => vec![format!("{label}, key {}", kms_key.as_deref().unwrap_or("none"))],
        Action::SetRetention { days: Some(days) } => vec![format!("{label} {days} days")],
        Action::SetRetention { days: None } => vec![format!("{label} never-expire")],
        Action::AssociateKmsKey { key } => vec![format!("{label} {key}")],
        Action::PutFilter { filter } => {
            let role = filter.role.as_deref().unwrap_or("none");
            vec![format!("{label} {} {:?} to {}, role {role}", filter.name, filter.pattern, filter.destination)]
        }
        Action::CreateFlowLogs { spec, vpcs, replaces } => {
            let name = name_of(spec);
            let made = vpcs.iter().map(|vpc| {
                let old: Vec<&str> = replaces.get(vpc).into_iter().flatten().map(|id| id.as_str()).collect();
                let instead = if old.is_empty() { String::new() } else { format!(" instead of {}", old.join(", ")) };
                format!("{label} {vpc}{instead}, {name}")
            });
            made.collect()
        }
        Action::TagFlowLogs { flow_logs } | Action::DeleteFlowLogs { flow_logs } => {
            flow_logs.iter().map(|(id, vpc)| format!("{label} {id} of {vpc}")).collect()
        }
    }
}
