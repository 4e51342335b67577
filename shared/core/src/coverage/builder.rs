//! From inspected account-Regions to rows.

use std::collections::{BTreeMap, BTreeSet};

use super::{CoverageReport, CoverageRow, Status};
use crate::grants::GrantDoubt;
use crate::ids::{AccountId, AccountRegion, FlowLogId, ParentId, Region, VpcId};
use crate::names::DestinationName;
use crate::observed::{Account, FlowLog, Observed, Vpc};
use crate::plan::{Action, Finding, Lacking, Plan, VpcPlan, is_managed, next_step_of_failed_delivery};
use crate::scope::{OutOfScope, TagEffect};
use crate::settings::Settings;

/// The next step for what the enroller can repair by itself.
const RUN_BACKFILL: &str = "Run enroller backfill.";

/// The next step for an account that is not granted.
const GRANT: &str = "Run enroller backfill, which also requests a grant for the account.";

/// Why an account-Region could not be inspected, by what that means for its VPCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// AWS or the organization does not allow it there. This is not a failure.
    Skipped,
    /// It may work later without action.
    Later,
    /// A person has to act.
    Failed,
}

/// Why an account-Region could not be inspected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectionFailure {
    /// What happened, as AWS or the enroller reports it, with or without a capital letter and a full stop.
    pub text: String,
    /// What the failure means for the VPCs there.
    pub class: FailureClass,
    /// AWS's request id, absent if there was no response.
    pub request_id: Option<String>,
    /// What a person should do; empty where nothing.
    pub next_step: String,
}

/// The result of inspecting one account-Region.
#[derive(Debug, Clone)]
pub struct InspectedRegion<'a> {
    /// The inspected account, as Organizations returns it.
    pub account: &'a Account,
    /// The account's id, with the Region that was inspected.
    pub at: AccountRegion,
    /// The destination of the Region on which the account is granted, if any.
    pub granted_on: Option<DestinationName>,
    /// Why the grant, or the one that is planned, does not count, if so.
    pub doubt: Option<GrantDoubt>,
    /// The observed state and the plan for it, or why there are none. If the account is not granted, the plan's
    /// destination is a guess, and what the plan has on the filter's destination is ignored.
    pub looked: Result<(&'a Observed, &'a Plan), &'a InspectionFailure>,
}

impl InspectedRegion<'_> {
    /// The judgement of each VPC, which plan, backfill and coverage all go by. It is empty where the account-Region could
    /// not be inspected.
    pub fn judged(&self, settings: &Settings) -> BTreeMap<VpcId, (Status, String)> {
        let Ok((observed, plan)) = self.looked else { return BTreeMap::new() };
        let judge = Judge::of(settings, self, observed, plan);
        let rows = plan.vpcs.iter().map(|(vpc, verdict)| (vpc, judge.row(row_of(self.account), vpc, verdict)));
        rows.map(|(vpc, row)| (vpc.clone(), (row.status, row.reason))).collect()
    }
}

/// Collects inspection results for a report.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    rows: Vec<CoverageRow>,
    accounts: BTreeSet<AccountId>,
    account_regions: usize,
    empty_account_regions: usize,
}

impl Survey {
    /// Adds an account-Region that was inspected, successfully or not. `settings` are those of its plan.
    pub fn add(&mut self, settings: &Settings, seen: &InspectedRegion<'_>) {
        self.accounts.insert(seen.account.id);
        self.account_regions += 1;
        let empty = CoverageRow {
            region: Some(seen.at.region.clone()),
            destination: seen.granted_on.clone(),
            ..row_of(seen.account)
        };
        match seen.looked {
            Ok((observed, plan)) => {
                self.empty_account_regions += usize::from(plan.vpcs.is_empty());
                let judge = Judge::of(settings, seen, observed, plan);
                self.rows.extend(plan.vpcs.iter().map(|(vpc, verdict)| judge.row(empty.clone(), vpc, verdict)));
            }
            Err(failure) => self.rows.push(not_seen(empty, failure)),
        }
    }

    /// Adds an account, or one Region of it, that is excluded without an inspection.
    pub fn leave_out(&mut self, account: &Account, region: Option<&Region>, why: &OutOfScope) {
        self.rows.push(CoverageRow {
            region: region.cloned(),
            status: Status::Excluded,
            reason: sentence(&why.to_string()),
            ..row_of(account)
        });
    }

    /// Returns the report. `generated_at` is RFC 3339 text in UTC. `unit_names` may lack any unit.
    pub fn finish(
        mut self,
        settings: &Settings,
        generated_at: String,
        unit_names: BTreeMap<ParentId, String>,
    ) -> CoverageReport {
        self.rows.sort_by(|a, b| (a.account, &a.region, &a.vpc).cmp(&(b.account, &b.region, &b.vpc)));
        CoverageReport {
            organization: settings.organization_id.clone(),
            generated_at,
            regions: settings.regions.clone(),
            unit_names,
            accounts: self.accounts.len(),
            account_regions: self.account_regions,
            empty_account_regions: self.empty_account_regions,
            rows: self.rows,
        }
    }
}

/// A row with what is known from the account alone.
fn row_of(account: &Account) -> CoverageRow {
    CoverageRow {
        account: account.id,
        account_name: account.name.clone(),
        units: account.parents.clone(),
        region: None,
        vpc: None,
        name: String::new(),
        status: Status::Unknown,
        reason: String::new(),
        flow_log: None,
        destination: None,
        next_step: String::new(),
    }
}

fn not_seen(row: CoverageRow, failure: &InspectionFailure) -> CoverageRow {
    let (status, lead) = match failure.class {
        FailureClass::Skipped => (Status::Skipped, "Not enrolled here"),
        FailureClass::Later | FailureClass::Failed => {
            (Status::Unknown, "This account and Region could not be inspected")
        }
    };
    let mut reason = format!("{lead}: {}", failure.text.trim_end_matches('.'));
    if let Some(request) = failure.request_id.as_deref().filter(|request| !failure.text.contains(*request)) {
        reason.push_str(&format!(" (request {request})"));
    }
    CoverageRow { status, reason: sentence(&reason), next_step: sentence(&failure.next_step), ..row }
}

/// A fault of the account-Region, because of which none of its flow logs works.
struct Fault {
    what: String,
    next_step: String,
}

/// Judges the VPCs of one account-Region.
struct Judge<'a> {
    account: AccountId,
    log_group: &'a str,
    names: BTreeMap<&'a VpcId, &'a str>,
    flow_logs: BTreeMap<&'a str, Vec<&'a FlowLog>>,
    settings: &'a Settings,
    faults: Vec<Fault>,
    /// What to know of VPCs that are covered, as sentences, with the next step.
    remarks: BTreeMap<VpcId, Vec<(String, String)>>,
    /// Why VPCs record less than the settings ask for.
    narrowed: BTreeMap<VpcId, String>,
}

impl<'a> Judge<'a> {
    fn of(settings: &'a Settings, seen: &InspectedRegion<'_>, observed: &'a Observed, plan: &Plan) -> Self {
        let name = |vpc: &'a Vpc| Some((&vpc.id, vpc.tags.get("Name")?.as_str()));
        let mut flow_logs = BTreeMap::<&str, Vec<&FlowLog>>::new();
        for log in &observed.flow_logs {
            flow_logs.entry(&log.resource).or_default().push(log);
        }
        Self {
            account: seen.at.account,
            log_group: settings.log_group_name.as_str(),
            names: observed.vpcs.iter().filter_map(name).collect(),
            flow_logs,
            settings,
            faults: faults(settings, seen, observed, plan),
            remarks: remarks(settings, plan),
            narrowed: narrowed(plan),
        }
    }

    fn row(&self, row: CoverageRow, vpc: &VpcId, verdict: &VpcPlan) -> CoverageRow {
        let name = self.names.get(vpc).map_or_else(String::new, |name| (*name).to_owned());
        let row = CoverageRow { vpc: Some(vpc.clone()), name, ..row };
        match verdict {
            VpcPlan::Covered(log) | VpcPlan::CoveredByOthers(log) => self.with_right_flow_log(row, log),
            VpcPlan::Broken { flow_log, message } => {
                let reason = format!("Flow log {flow_log} is ACTIVE, but its delivery fails: {message}");
                let next_step = next_step_of_failed_delivery(message, self.settings.delivery_role_maker);
                self.broken(row, Some(flow_log.clone()), reason, &sentence(next_step))
            }
            VpcPlan::Replace { differences, .. } => {
                let log = self.own_flow_log(vpc);
                let reason = format!("Its flow log differs from the settings: {differences}");
                self.broken(row, log, reason, RUN_BACKFILL)
            }
            VpcPlan::NotAsAsked { flow_log, differences } => {
                let (flow_log, differences) = (flow_log.clone(), differences.clone());
                let finding = Finding::NotAsAsked { flow_log: flow_log.clone(), differences };
                self.broken(row, Some(flow_log), finding.to_string(), &sentence(finding.disposition().next_step()))
            }
            VpcPlan::Enroll { beside } => self.without_ours(row, vpc, beside.as_ref()),
            VpcPlan::OutOfScope(why) => CoverageRow {
                status: if why.is_of_one_vpc() { Status::OptedOut } else { Status::Excluded },
                reason: sentence(&why.to_string()),
                flow_log: self.own_flow_log(vpc),
                ..row
            },
        }
    }

    fn with_right_flow_log(&self, row: CoverageRow, log: &FlowLogId) -> CoverageRow {
        let row = CoverageRow { flow_log: Some(log.clone()), ..row };
        match self.faults.split_first() {
            None => {
                let vpc = row.vpc.clone();
                let narrowed = vpc.as_ref().and_then(|vpc| self.narrowed.get(vpc));
                let status = if narrowed.is_some() { Status::Narrowed } else { Status::Covered };
                let remarks = vpc.as_ref().and_then(|vpc| self.remarks.get(vpc)).into_iter().flatten();
                let reasons = narrowed.into_iter().chain(remarks.clone().map(|(reason, _)| reason));
                let reason = reasons.map(String::as_str).collect::<Vec<_>>().join(" ");
                let next_step = remarks.map(|(_, step)| step).find(|step| !step.is_empty()).cloned();
                CoverageRow { status, reason, next_step: next_step.unwrap_or_default(), ..row }
            }
            Some((first, rest)) => {
                let mut reason = format!("Flow log {log} is ACTIVE, but {}", first.what);
                rest.iter().for_each(|fault| reason.push_str(&format!("; and {}", fault.what)));
                let next_step = first.next_step.clone();
                CoverageRow { status: Status::Broken, reason: sentence(&reason), next_step, ..row }
            }
        }
    }

    /// A failing flow log, with the account-Region's faults, because fixing only one of them would not help.
    fn broken(&self, row: CoverageRow, log: Option<FlowLogId>, reason: String, next_step: &str) -> CoverageRow {
        let mut reason = sentence(&reason);
        for fault in &self.faults {
            reason.push_str(&format!(" {}", sentence(&fault.what)));
        }
        CoverageRow { status: Status::Broken, reason, flow_log: log, next_step: next_step.to_owned(), ..row }
    }

    fn without_ours(&self, row: CoverageRow, vpc: &VpcId, beside: Option<&Lacking>) -> CoverageRow {
        let others = self.flow_logs.get(vpc.as_str()).map_or(&[][..], Vec::as_slice);
        let (status, mut reason) = match (beside, others) {
            (_, []) => (Status::NotCovered, "It has no flow log.".to_owned()),
            (Some(Lacking { flow_log, lacks }), _) => {
                let group = self.log_group;
                let text = format!(
                    "The unmanaged flow log {flow_log} delivers to log group {group}, but not what the settings require: {lacks}."
                );
                (Status::ForeignOnly, text)
            }
            (None, [one]) => {
                let text = format!("It has the unmanaged flow log {}, which does not {}.", one.id, self.deliver());
                (Status::ForeignOnly, text)
            }
            (None, [first, rest @ ..]) => {
                let more = rest.len();
                let (id, deliver) = (&first.id, self.deliver());
                let text = format!("It has the unmanaged flow logs {id} and {more} more, which do not {deliver}.");
                (Status::ForeignOnly, text)
            }
        };
        for fault in self.faults.iter().filter(|fault| fault.next_step != RUN_BACKFILL) {
            reason.push_str(&format!(" {}", sentence(&fault.what)));
        }
        let beyond = self.faults.iter().map(|fault| fault.next_step.as_str()).find(|step| *step != RUN_BACKFILL);
        let first = || others.first().map(|log| log.id.clone());
        CoverageRow {
            status,
            reason,
            flow_log: beside.map(|lacking| lacking.flow_log.clone()).or_else(first),
            next_step: beyond.unwrap_or(RUN_BACKFILL).to_owned(),
            ..row
        }
    }

    fn deliver(&self) -> String {
        format!("deliver to log group {} what the settings require", self.log_group)
    }

    /// The first managed flow log of a VPC.
    fn own_flow_log(&self, vpc: &VpcId) -> Option<FlowLogId> {
        let here = self.flow_logs.get(vpc.as_str())?.iter();
        here.filter(|log| is_managed(self.settings, self.account, log)).map(|log| log.id.clone()).min()
    }
}

/// What is wrong with the account-Region as a whole. What an operator has to resolve comes first.
fn faults(settings: &Settings, seen: &InspectedRegion<'_>, observed: &Observed, plan: &Plan) -> Vec<Fault> {
    let (mut faults, granted) = (Vec::new(), seen.granted_on.is_some());
    if let Some(doubt) = &seen.doubt {
        faults.push(Fault { what: doubt.to_string(), next_step: sentence(doubt.next_step()) });
    } else if !granted {
        let what = "the account is not granted on any destination of this Region".to_owned();
        faults.push(Fault { what, next_step: GRANT.to_owned() });
    }
    if let Some(blocked) = &plan.blocked {
        faults.push(Fault { what: blocked.to_string(), next_step: sentence(blocked.next_step()) });
        return faults;
    }
    if observed.log_group.is_none() {
        let what = format!("log group {} does not exist", settings.log_group_name);
        faults.push(Fault { what, next_step: RUN_BACKFILL.to_owned() });
        // A filter cannot exist without its group, so its absence goes without saying.
        return faults;
    }
    if let Some(masked) = &plan.masked {
        faults.push(Fault { what: masked.to_string(), next_step: sentence(masked.disposition().next_step()) });
    }
    let filter_there = observed.filters.iter().any(|filter| filter.name == settings.filter_name.as_str());
    let filter_step = plan.steps.iter().find(|step| matches!(step.action, Action::PutFilter { .. }));
    if let Some(step) = filter_step.filter(|_| granted || !filter_there) {
        faults.push(Fault { what: step.why.clone(), next_step: RUN_BACKFILL.to_owned() });
    }
    faults
}

/// Why VPCs record less than the settings ask for.
fn narrowed(plan: &Plan) -> BTreeMap<VpcId, String> {
    let narrowed = plan.tags.iter().filter_map(|(vpc, effect)| match effect {
        TagEffect::Narrows(text) => Some((vpc.clone(), sentence(text))),
        TagEffect::Ignored(_) => None,
    });
    narrowed.collect()
}

/// What to know of VPCs although they are covered: more than one managed flow log, a lost tag, tags that are ignored,
/// an entry of the settings that has expired.
fn remarks(settings: &Settings, plan: &Plan) -> BTreeMap<VpcId, Vec<(String, String)>> {
    let mut remarks = BTreeMap::<VpcId, Vec<(String, String)>>::new();
    let mut add = |vpc: &VpcId, reason: &str, next_step: &str| {
        remarks.entry(vpc.clone()).or_default().push((sentence(reason), sentence(next_step)));
    };
    for (vpc, finding) in &plan.unfinished {
        add(vpc, &finding.to_string(), finding.disposition().next_step());
    }
    for step in &plan.steps {
        match &step.action {
            Action::DeleteFlowLogs { flow_logs } => flow_logs.iter().for_each(|(flow_log, vpc)| {
                let reason =
                    format!("flow log {flow_log} is no longer needed, and until it is deleted, records arrive twice");
                add(vpc, &reason, RUN_BACKFILL);
            }),
            Action::TagFlowLogs { flow_logs } => flow_logs.iter().for_each(|(flow_log, vpc)| {
                let tag = &settings.ownership_tag;
                add(vpc, &format!("somebody took the tag {tag} off its flow log {flow_log}"), RUN_BACKFILL);
            }),
            _ => {}
        }
    }
    for (vpc, effect) in &plan.tags {
        if let TagEffect::Ignored(text) = effect {
            add(vpc, text, "");
        }
    }
    for (vpc, text) in &plan.expired {
        add(vpc, text, "renew the entry in opted_out_vpcs or remove it");
    }
    remarks
}

/// The text as a sentence, with a capital letter and a full stop. Empty text stays empty.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), letters.as_str())
}
