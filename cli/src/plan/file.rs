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

use super::OrganizationSnapshot;
use crate::session::Session;

/// A longer file is cut off, and then refused, before it fills the memory.
const LONGEST_BYTES: u64 = 1 << 30;

/// The version of the file format. A file with another version is refused.
const VERSION: u32 = 1;

/// A plan that an operator has reviewed, complete enough to detect every change since.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanFile {
    plan_file_version: u32,
    organization_id: OrganizationId,
    central_account: AccountId,
    /// Whether the plan is about a simulated organization.
    simulated: bool,
    /// The accounts and Regions of the plan. The backfill uses the same selection.
    pub(crate) selection: BackfillRequest,
    /// One text per change, with all values that it would write.
    changes: BTreeSet<String>,
    /// Account-Regions and Regions that could not be inspected, with the cause.
    not_planned: BTreeMap<String, String>,
}

impl PlanFile {
    pub(crate) fn of(session: &Session, selection: &BackfillRequest, looked: &OrganizationSnapshot) -> Self {
        let settings = session.settings();
        let mut file = Self {
            plan_file_version: VERSION,
            organization_id: settings.organization_id.clone(),
            central_account: settings.central_account,
            simulated: session.is_simulated(),
            selection: selection.clone(),
            changes: BTreeSet::new(),
            not_planned: BTreeMap::new(),
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
            let ShardWrite { name, target, role, create, repoint, force, added, removed, .. } = write;
            let destination = |what: &str| format!("grants {region} {name}: {what}, target {target}, role {role}");
            self.changes.extend(create.then(|| destination("create-destination")));
            self.changes.extend(repoint.then(|| destination("repoint-destination")));
            self.changes.extend(force.then(|| format!("grants {region} {name}: switch-to-organization")));
            self.changes.extend(added.iter().map(|account| format!("grants {region} {name}: grant {account}")));
            self.changes.extend(removed.iter().map(|account| format!("grants {region} {name}: revoke {account}")));
        }
    }

    fn add_steps(&mut self, plan: &Plan) {
        for step in &plan.steps {
            self.changes.extend(describe(&step.action).into_iter().map(|change| format!("{}: {change}", plan.at)));
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
        let what = || format!("{} is not a plan written by this version of enroller", file.display());
        let plan: Self = serde_json::from_str(&text).with_context(what)?;
        anyhow::ensure!(plan.plan_file_version == VERSION, what());
        anyhow::ensure!(!plan.selection.dry_run, "{} asks for a dry run, which a plan does not", file.display());
        Ok(plan)
    }

    /// Checks that a plan made `now` equals this one.
    ///
    /// # Errors
    ///
    /// Lists every difference between the two plans.
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
        moved.extend(self.changes.difference(&now.changes).map(|it| format!("no longer needed: {it}")));
        moved.extend(now.changes.difference(&self.changes).map(|it| format!("not in the plan: {it}")));
        let could_look = |one: &Self, other: &Self, what: &str| -> Vec<String> {
            let only = one.not_planned.iter().filter(|(at, _)| !other.not_planned.contains_key(*at));
            only.map(|(at, cause)| format!("{what}: {at}: {cause}")).collect()
        };
        moved.extend(could_look(self, now, "can be inspected now"));
        moved.extend(could_look(now, self, "can no longer be inspected"));
        anyhow::ensure!(
            moved.is_empty(),
            "things have changed since the plan was made; nothing was done:\n  {}\nnext: make a new plan",
            moved.join("\n  ")
        );
        Ok(())
    }
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
            let FlowLogSpec { traffic_type, interval, format, delivery_role } = spec;
            let made = vpcs.iter().map(|vpc| {
                let old: Vec<&str> = replaces.get(vpc).into_iter().flatten().map(|id| id.as_str()).collect();
                let instead = if old.is_empty() { String::new() } else { format!(" instead of {}", old.join(", ")) };
                format!("{label} {vpc}{instead}: {traffic_type:?}, {interval} s, role {delivery_role}, {format}")
            });
            made.collect()
        }
        Action::DeleteFlowLogs { flow_logs } => {
            flow_logs.iter().map(|(id, vpc)| format!("{label} {id} of {vpc}")).collect()
        }
    }
}
