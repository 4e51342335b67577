//! The plan as data, which `--format json` prints and the text format renders.

use std::collections::BTreeMap;

use enroller_core::coverage::{InspectedRegion, Status, Totals};
use enroller_core::error::Disposition;
use enroller_core::grants::{GrantDoubt, GrantPlan};
use enroller_core::ids::{AccountId, Region, VpcId};
use enroller_core::log::LogEntry;
use enroller_core::observed::{Account, Observed};
use enroller_core::plan::{Action, Lacking, Plan, VpcPlan};
use enroller_core::settings::Settings;
use enroller_engine::coverage::{AccountRegionSnapshot, AccountSnapshot};
use enroller_engine::granter::GranterError;
use enroller_engine::ports::AwsResult;
use enroller_engine::reconcile_error::ReconcileError;
use serde::Serialize;

use super::OrganizationSnapshot;
use crate::about::About;
use crate::judged::coverage_of;
use crate::next_step;

/// The plan for all selected accounts.
#[derive(Debug, Serialize)]
pub(crate) struct PlanReport {
    pub(crate) about: About,
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
    /// VPCs without a working flow log of ours that a backfill gives one.
    pub(crate) vpcs_to_enroll: usize,
    /// VPCs to repair whose flow log is replaced. They count in `vpcs_to_repair`, too.
    pub(crate) vpcs_to_replace: usize,
    /// Broken VPCs that a backfill repairs.
    pub(crate) vpcs_to_repair: usize,
    pub(crate) vpcs_covered: usize,
    /// Broken VPCs that a backfill does not repair.
    pub(crate) vpcs_broken: usize,
    /// VPCs without a flow log of ours that a backfill cannot give one.
    pub(crate) vpcs_blocked: usize,
    pub(crate) vpcs_left_alone: usize,
    pub(crate) grants_to_add: usize,
    pub(crate) grants_to_remove: usize,
    /// Resources that a backfill makes, alters or deletes: in member accounts, and destinations with their policies.
    pub(crate) changes: usize,
    pub(crate) skipped: usize,
    /// Account-Regions, and Regions' grants, that could not be inspected or in which a backfill would do nothing.
    pub(crate) failures: usize,
    /// What `enroller coverage` says now. Its broken ones are `vpcs_to_repair` and `vpcs_broken` together, and those
    /// with no flow log or only one of others are `vpcs_to_enroll` and `vpcs_blocked` together.
    pub(crate) coverage: Totals,
}

impl Summary {
    /// VPCs that are not covered and that a backfill does not help.
    pub(crate) const fn for_a_person(&self) -> usize {
        self.vpcs_broken + self.vpcs_blocked
    }

    fn counter(&mut self, verdict: Verdict) -> &mut usize {
        match verdict {
            Verdict::Covered => &mut self.vpcs_covered,
            Verdict::Broken => &mut self.vpcs_broken,
            Verdict::Enroll => &mut self.vpcs_to_enroll,
            Verdict::Replace | Verdict::Repair => &mut self.vpcs_to_repair,
            Verdict::Blocked => &mut self.vpcs_blocked,
            Verdict::LeftAlone => &mut self.vpcs_left_alone,
        }
    }
}

/// What a backfill makes of a VPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Nothing is to be done.
    Covered,
    /// It is broken, and a backfill does not repair it.
    Broken,
    /// It gets a flow log.
    Enroll,
    /// Its flow log is replaced.
    Replace,
    /// Its flow log is right, and what keeps the records from arriving is repaired.
    Repair,
    /// It has no flow log, and a backfill cannot give it one.
    Blocked,
    /// It is not enrolled on purpose.
    LeftAlone,
}

impl Verdict {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::Broken => "broken",
            Self::Enroll => "enroll",
            Self::Replace => "replace",
            Self::Repair => "repair",
            Self::Blocked => "blocked",
            Self::LeftAlone => "left-alone",
        }
    }
}

/// The planned write to one destination.
#[derive(Debug, Serialize)]
pub(crate) struct GrantChange {
    pub(crate) region: Region,
    pub(crate) destination: String,
    pub(crate) create: bool,
    pub(crate) repoint: bool,
    /// How target and role change, for the text.
    #[serde(skip)]
    pub(crate) repointing: Option<String>,
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
    /// How many resources it makes, alters or deletes.
    pub(crate) changes: usize,
    pub(crate) vpcs: Vec<VpcId>,
}

/// The verdict on one VPC.
#[derive(Debug, Serialize)]
pub(crate) struct VpcLine {
    pub(crate) vpc: VpcId,
    pub(crate) name: Option<String>,
    pub(crate) verdict: Verdict,
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
    pub(crate) fn of(about: About, settings: &Settings, looked: &OrganizationSnapshot) -> Self {
        let mut report = Self {
            about,
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
            report.add_account(settings, looked, survey);
        }
        report.summary.coverage = coverage_of(settings, &looked.surveys).totals();
        report
    }

    fn add_grants(&mut self, region: &Region, plan: Result<&GrantPlan, &GranterError>) {
        let empty = |destination: String| GrantChange {
            region: region.clone(),
            destination,
            create: false,
            repoint: false,
            repointing: None,
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
                repointing: write.repointing(),
                add: write.added.iter().copied().collect(),
                remove: write.removed.iter().copied().collect(),
                ..empty(write.name.to_string())
            });
        }
    }

    fn add_account(&mut self, settings: &Settings, looked: &OrganizationSnapshot, survey: &AccountSnapshot) {
        let account = &survey.account;
        if let Some(reason) = &survey.left_out {
            let (name, reason) = (account.name.clone(), reason.to_string());
            self.left_alone.push(LeftAlone { account: account.id, name, reason });
            return;
        }
        self.summary.accounts += 1;
        let mut role = looked.roles.get(&account.id);
        let mut regions = Vec::new();
        for at in &survey.account_regions {
            let granted = at.found.is_err() || looked.will_be_granted(&at.at);
            regions.push(self.region_plan(settings, account, at, granted, &mut role));
        }
        self.accounts.push(AccountPlan { account: account.id, name: account.name.clone(), regions });
    }

    /// `role` is what the delivery role lacks. The first Region that checks it takes it.
    fn region_plan(
        &mut self,
        settings: &Settings,
        account: &Account,
        survey: &AccountRegionSnapshot,
        granted: bool,
        role: &mut Option<&AwsResult<Vec<&'static str>>>,
    ) -> RegionPlan {
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
                // Without a grant a backfill stops before the first step.
                let steps = if granted { plan.steps.as_slice() } else { &[] };
                region.steps = steps.iter().map(|step| StepPlan::of(&step.action, &step.why, role)).collect();
                let (at, granted_on, doubt) = (survey.at.clone(), survey.granted_on.clone(), survey.doubt.clone());
                let seen = InspectedRegion { account, at, granted_on, doubt, looked: Ok((observed, plan)) };
                let mendable = survey.doubt.as_ref().is_none_or(GrantDoubt::is_repairable);
                let helps = granted && mendable && plan.blocked.is_none() && plan.masked.is_none();
                region.vpcs = self.vpc_lines(&seen.judged(settings), observed, plan, helps);
                region.notes.clone_from(&plan.notes);
                let unfinished = plan.unfinished.iter().map(|(vpc, finding)| format!("{vpc}: {finding}"));
                region.notes.extend(unfinished);
                region.failure = match &plan.blocked {
                    Some(blocked) => Some(failure(&ReconcileError::Blocked(blocked.clone()))),
                    None if !granted && region.vpcs.iter().any(|vpc| vpc.verdict != Verdict::LeftAlone) => {
                        Some(Failure::not_to_be_granted())
                    }
                    None => None,
                };
                self.summary.changes += region.steps.iter().map(|step| step.changes).sum::<usize>();
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
        helps: bool,
    ) -> Vec<VpcLine> {
        let names: BTreeMap<&VpcId, Option<&String>> =
            observed.vpcs.iter().map(|vpc| (&vpc.id, vpc.tags.get("Name"))).collect();
        let mut lines = Vec::new();
        for (vpc, planned) in &plan.vpcs {
            let (verdict, reason) = verdict(planned, judged.get(vpc), helps);
            self.summary.vpcs += 1;
            self.summary.vpcs_to_replace += usize::from(verdict == Verdict::Replace);
            *self.summary.counter(verdict) += 1;
            let name = names.get(vpc).copied().flatten().cloned();
            lines.push(VpcLine { vpc: vpc.clone(), name, verdict, reason });
        }
        lines
    }
}

/// What a backfill makes of a VPC. Whether it is covered is judged as coverage judges it. `helps` is false where a
/// backfill changes nothing in the account-Region.
fn verdict(planned: &VpcPlan, judged: Option<&(Status, String)>, helps: bool) -> (Verdict, String) {
    let broken = judged
        .filter(|(status, _)| !matches!(status, Status::Covered | Status::Narrowed))
        .map(|(_, reason)| reason.clone());
    match (planned, broken) {
        (VpcPlan::Covered(id), None) => (Verdict::Covered, format!("by {id}")),
        (VpcPlan::CoveredByOthers(id), None) => (Verdict::Covered, format!("by {id}, an unmanaged flow log")),
        (VpcPlan::Covered(_) | VpcPlan::CoveredByOthers(_), Some(reason)) if helps => (Verdict::Repair, reason),
        (VpcPlan::Covered(_) | VpcPlan::CoveredByOthers(_), Some(reason)) => (Verdict::Broken, reason),
        (VpcPlan::Broken { flow_log, message }, _) => {
            (Verdict::Broken, format!("{flow_log} does not deliver: {message}"))
        }
        (VpcPlan::Enroll { beside: None }, _) if helps => (Verdict::Enroll, "no managed flow log".to_owned()),
        (VpcPlan::Enroll { beside: Some(Lacking { flow_log, lacks }) }, _) if helps => {
            (Verdict::Enroll, format!("no managed flow log, and the unmanaged {flow_log} is not enough: {lacks}"))
        }
        (VpcPlan::Enroll { .. }, reason) => (Verdict::Blocked, reason.unwrap_or_default()),
        (VpcPlan::Replace { differences, .. }, _) if helps => (Verdict::Replace, differences.clone()),
        (VpcPlan::Replace { differences, .. }, reason) => {
            (Verdict::Broken, reason.unwrap_or_else(|| differences.clone()))
        }
        (VpcPlan::NotAsAsked { flow_log, differences }, _) => {
            let reason = format!("AWS returns {flow_log} with other values than it was created with: {differences}");
            (Verdict::Broken, reason)
        }
        (VpcPlan::OutOfScope(reason), _) => (Verdict::LeftAlone, reason.to_string()),
    }
}

impl StepPlan {
    /// `role` is what the delivery role lacks. It is taken by the first step that checks the role.
    fn of(action: &Action, why: &str, role: &mut Option<&AwsResult<Vec<&'static str>>>) -> Self {
        let (mut changes, mut why) = (action.changes(), why.to_owned());
        if *action == Action::EnsureDeliveryRole {
            match role.take() {
                Some(Ok(missing)) if missing.is_empty() => why.push_str("; it needs no change"),
                Some(Ok(missing)) => {
                    changes = missing.len();
                    why.push_str(&format!("; {}", missing.join(", and ")));
                }
                Some(Err(error)) => why.push_str(&format!("; it could not be read: {error}")),
                None => {}
            }
        }
        let vpcs = match action {
            Action::CreateFlowLogs { vpcs, .. } => vpcs.clone(),
            Action::TagFlowLogs { flow_logs } | Action::DeleteFlowLogs { flow_logs } => {
                flow_logs.values().cloned().collect()
            }
            Action::EnsureDeliveryRole
            | Action::CreateLogGroup { .. }
            | Action::SetRetention { .. }
            | Action::AssociateKmsKey { .. }
            | Action::PutFilter { .. } => Vec::new(),
        };
        Self { action: action.label(), why, changes, vpcs }
    }
}

impl Failure {
    /// The plan of the grants leaves the account out.
    fn not_to_be_granted() -> Self {
        let cause = "the account is not granted on any destination of this Region, and cannot be";
        let next_step = "resolve the problems of the grants, which `enroller grants sync --dry-run` shows";
        Self { class: "terminal", cause: cause.to_owned(), next_step: next_step.to_owned() }
    }

    fn of(disposition: Disposition, cause: String) -> Self {
        Self { class: disposition.label(), cause, next_step: next_step::of_disposition(disposition) }
    }
}

fn failure(error: &ReconcileError) -> Failure {
    Failure::of(error.disposition(), error.to_string())
}
