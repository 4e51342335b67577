//! The plan as data, which `--format json` prints and the text format renders.

use std::collections::BTreeMap;

use enroller_core::coverage::{InspectedRegion, Status};
use enroller_core::error::Disposition;
use enroller_core::grants::GrantPlan;
use enroller_core::ids::{AccountId, Region, VpcId};
use enroller_core::log::LogEntry;
use enroller_core::observed::{Account, Observed};
use enroller_core::plan::{Action, Lacking, Plan, VpcPlan};
use enroller_core::settings::Settings;
use enroller_engine::coverage::{AccountRegionSnapshot, AccountSnapshot};
use enroller_engine::granter::GranterError;
use enroller_engine::reconcile_error::ReconcileError;
use serde::Serialize;

use super::OrganizationSnapshot;

/// The plan for all selected accounts.
#[derive(Debug, Serialize)]
pub(crate) struct PlanReport {
    pub(crate) organization: String,
    pub(crate) summary: Summary,
    pub(crate) grants: Vec<GrantChange>,
    pub(crate) accounts: Vec<AccountPlan>,
    pub(crate) left_alone: Vec<LeftAlone>,
    /// Problems with the grants that need an operator.
    pub(crate) warnings: Vec<LogEntry>,
}

/// The figures of the plan's last line.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    pub(crate) accounts: usize,
    pub(crate) account_regions: usize,
    pub(crate) vpcs: usize,
    pub(crate) vpcs_to_enroll: usize,
    pub(crate) vpcs_to_replace: usize,
    pub(crate) vpcs_to_repair: usize,
    pub(crate) vpcs_covered: usize,
    pub(crate) vpcs_broken: usize,
    pub(crate) vpcs_left_alone: usize,
    pub(crate) grants_to_add: usize,
    pub(crate) grants_to_remove: usize,
    /// Steps that change member accounts, and writes to destinations.
    pub(crate) changes: usize,
    pub(crate) skipped: usize,
    /// Account-Regions, and Regions' grants, that could not be inspected.
    pub(crate) failures: usize,
}

/// The planned write to one destination.
#[derive(Debug, Serialize)]
pub(crate) struct GrantChange {
    pub(crate) region: Region,
    pub(crate) destination: String,
    pub(crate) create: bool,
    pub(crate) repoint: bool,
    pub(crate) add: Vec<AccountId>,
    pub(crate) remove: Vec<AccountId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

/// The plan for one account in all its Regions.
#[derive(Debug, Serialize)]
pub(crate) struct AccountPlan {
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) regions: Vec<RegionPlan>,
}

/// The plan for one account-Region.
#[derive(Debug, Serialize)]
pub(crate) struct RegionPlan {
    pub(crate) region: Region,
    pub(crate) granted: bool,
    pub(crate) steps: Vec<StepPlan>,
    pub(crate) vpcs: Vec<VpcLine>,
    pub(crate) notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failure>,
}

/// One changing step in an account-Region.
#[derive(Debug, Serialize)]
pub(crate) struct StepPlan {
    pub(crate) action: &'static str,
    pub(crate) why: String,
    pub(crate) vpcs: Vec<VpcId>,
}

/// The verdict on one VPC.
#[derive(Debug, Serialize)]
pub(crate) struct VpcLine {
    pub(crate) vpc: VpcId,
    pub(crate) name: Option<String>,
    /// `covered`, `broken`, `enroll`, `replace`, `repair` or `left-alone`.
    pub(crate) verdict: &'static str,
    pub(crate) reason: String,
}

/// Why an account-Region cannot be planned.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// `skipped`, `retry-later` or `terminal`: how the enroller would handle it.
    pub(crate) class: &'static str,
    pub(crate) cause: String,
    pub(crate) next_step: String,
}

/// An account that is out of scope and is not enrolled.
#[derive(Debug, Serialize)]
pub(crate) struct LeftAlone {
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl PlanReport {
    pub(crate) fn of(settings: &Settings, looked: &OrganizationSnapshot) -> Self {
        let mut report = Self {
            organization: settings.organization_id.to_string(),
            summary: Summary::default(),
            grants: Vec::new(),
            accounts: Vec::new(),
            left_alone: Vec::new(),
            warnings: looked.preview.decisions.clone(),
        };
        for (region, plan) in &looked.preview.regions {
            report.add_grants(region, plan.as_ref());
        }
        for survey in &looked.surveys {
            report.add_account(settings, survey);
        }
        report
    }

    fn add_grants(&mut self, region: &Region, plan: Result<&GrantPlan, &GranterError>) {
        let empty = |destination: String| GrantChange {
            region: region.clone(),
            destination,
            create: false,
            repoint: false,
            add: Vec::new(),
            remove: Vec::new(),
            failure: None,
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                let failure = Some(Failure::of(error.disposition(), error.to_string()));
                self.grants.push(GrantChange { failure, ..empty("destinations".to_owned()) });
                self.summary.failures += 1;
                return;
            }
        };
        for write in &plan.writes {
            self.summary.changes += 1;
            self.summary.grants_to_add += write.added.len();
            self.summary.grants_to_remove += write.removed.len();
            self.grants.push(GrantChange {
                create: write.create,
                repoint: write.repoint,
                add: write.added.iter().copied().collect(),
                remove: write.removed.iter().copied().collect(),
                ..empty(write.name.to_string())
            });
        }
    }

    fn add_account(&mut self, settings: &Settings, survey: &AccountSnapshot) {
        let account = &survey.account;
        if let Some(reason) = &survey.left_out {
            let (name, reason) = (account.name.clone(), reason.to_string());
            self.left_alone.push(LeftAlone { account: account.id, name, reason });
            return;
        }
        self.summary.accounts += 1;
        let regions = survey.account_regions.iter().map(|at| self.region_plan(settings, account, at)).collect();
        self.accounts.push(AccountPlan { account: account.id, name: account.name.clone(), regions });
    }

    fn region_plan(&mut self, settings: &Settings, account: &Account, survey: &AccountRegionSnapshot) -> RegionPlan {
        self.summary.account_regions += 1;
        let mut region = RegionPlan {
            region: survey.at.region.clone(),
            granted: survey.granted_on.is_some(),
            steps: Vec::new(),
            vpcs: Vec::new(),
            notes: Vec::new(),
            failure: None,
        };
        match &survey.found {
            Ok((observed, plan)) => {
                region.steps = plan.steps.iter().map(|step| StepPlan::of(&step.action, &step.why)).collect();
                let (at, granted_on) = (survey.at.clone(), survey.granted_on.clone());
                let seen = InspectedRegion { account, at, granted_on, looked: Ok((observed, plan)) };
                region.vpcs = self.vpc_lines(&seen.judged(settings), observed, plan);
                region.notes.clone_from(&plan.notes);
                let unfinished = plan.unfinished.iter().map(|(vpc, finding)| format!("{vpc}: {finding}"));
                region.notes.extend(unfinished);
                region.failure = plan.blocked.clone().map(|blocked| failure(&ReconcileError::Blocked(blocked)));
                self.summary.changes += region.steps.len();
            }
            Err(errors) => region.failure = Some(failure(errors)),
        }
        match region.failure.as_ref().map(|failure| failure.class) {
            Some("skipped") => self.summary.skipped += 1,
            Some(_) => self.summary.failures += 1,
            None => {}
        }
        region
    }

    fn vpc_lines(
        &mut self,
        judged: &BTreeMap<VpcId, (Status, String)>,
        observed: &Observed,
        plan: &Plan,
    ) -> Vec<VpcLine> {
        let names: BTreeMap<&VpcId, Option<&String>> =
            observed.vpcs.iter().map(|vpc| (&vpc.id, vpc.tags.get("Name"))).collect();
        let mut lines = Vec::new();
        for (vpc, verdict) in &plan.vpcs {
            self.summary.vpcs += 1;
            let (verdict, reason, counter) = self.verdict(verdict, judged.get(vpc));
            *counter += 1;
            let name = names.get(vpc).copied().flatten().cloned();
            lines.push(VpcLine { vpc: vpc.clone(), name, verdict, reason });
        }
        lines
    }

    /// What a backfill would make of a VPC. `covered` means what coverage means by it: a correct flow log whose records
    /// cannot reach the destination is one to repair.
    fn verdict(&mut self, verdict: &VpcPlan, judged: Option<&(Status, String)>) -> (&'static str, String, &mut usize) {
        let summary = &mut self.summary;
        match verdict {
            VpcPlan::Covered(_) | VpcPlan::CoveredByOthers(_)
                if let Some((status, reason)) = judged
                    && *status != Status::Covered =>
            {
                ("repair", reason.clone(), &mut summary.vpcs_to_repair)
            }
            VpcPlan::Covered(id) => ("covered", format!("by {id}"), &mut summary.vpcs_covered),
            VpcPlan::CoveredByOthers(id) => {
                ("covered", format!("by {id}, an unmanaged flow log"), &mut summary.vpcs_covered)
            }
            VpcPlan::Broken { flow_log, message } => {
                ("broken", format!("{flow_log} does not deliver: {message}"), &mut summary.vpcs_broken)
            }
            VpcPlan::Enroll { beside: None } => {
                ("enroll", "no managed flow log".to_owned(), &mut summary.vpcs_to_enroll)
            }
            VpcPlan::Enroll { beside: Some(Lacking { flow_log, lacks }) } => {
                let reason = format!("no managed flow log, and the unmanaged {flow_log} is not enough: {lacks}");
                ("enroll", reason, &mut summary.vpcs_to_enroll)
            }
            VpcPlan::Replace { differences, .. } => ("replace", differences.clone(), &mut summary.vpcs_to_replace),
            VpcPlan::NotAsAsked { flow_log, differences } => {
                let reason =
                    format!("AWS returns {flow_log} with other values than it was created with: {differences}");
                ("broken", reason, &mut summary.vpcs_broken)
            }
            VpcPlan::OutOfScope(reason) => ("left-alone", reason.to_string(), &mut summary.vpcs_left_alone),
        }
    }
}

impl StepPlan {
    fn of(action: &Action, why: &str) -> Self {
        let vpcs = match action {
            Action::CreateFlowLogs { vpcs, .. } => vpcs.clone(),
            Action::DeleteFlowLogs { flow_logs } => flow_logs.values().cloned().collect(),
            Action::EnsureDeliveryRole
            | Action::CreateLogGroup { .. }
            | Action::SetRetention { .. }
            | Action::AssociateKmsKey { .. }
            | Action::PutFilter { .. } => Vec::new(),
        };
        Self { action: action.label(), why: why.to_owned(), vpcs }
    }
}

impl Failure {
    fn of(disposition: Disposition, cause: String) -> Self {
        Self { class: disposition.label(), cause, next_step: disposition.next_step().to_owned() }
    }
}

fn failure(error: &ReconcileError) -> Failure {
    Failure::of(error.disposition(), error.to_string())
}
