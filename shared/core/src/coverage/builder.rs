//! From what was seen in each place to rows.

use std::collections::{BTreeMap, BTreeSet};

use super::{CoverageReport, CoverageRow, Status};
use crate::ids::{AccountId, AccountRegion, FlowLogId, ParentId, Region, VpcId};
use crate::names::DestinationName;
use crate::observed::{Account, FlowLog, Observed, Vpc};
use crate::plan::{Action, Plan, VpcPlan};
use crate::scope::OutOfScope;
use crate::settings::Settings;

/// What to do about a VPC that the enroller can put right by itself.
const RUN_BACKFILL: &str = "Run enroller backfill.";

/// What to do about an account that is not granted.
const GRANT: &str = "Run enroller backfill, which also has the account granted.";

/// What to do about a log group that cannot be subscribed to.
const OTHER_LOG_GROUP: &str = "Set another log group name, or remove that log group, then run enroller backfill.";

/// Why a place could not be looked at, sorted by what that says of its VPCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// AWS or the organization does not allow it there, which is no failure.
    Skipped,
    /// It may work later by itself.
    Later,
    /// A person has to act.
    Failed,
}

/// Why a place could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectionFailure {
    /// What happened, as AWS or the enroller words it; neither a capital nor a full stop is expected.
    pub text: String,
    /// What it says of the VPCs there.
    pub class: FailureClass,
    /// AWS's request id, where an answer came back.
    pub request_id: Option<String>,
    /// What a person should do; empty where nothing.
    pub next_step: String,
}

/// What was seen in one account and Region.
#[derive(Debug, Clone)]
pub struct InspectedRegion<'a> {
    /// The account.
    pub account: &'a Account,
    /// The account and Region.
    pub at: AccountRegion,
    /// The destination of the Region on which the account is granted, if any.
    pub granted_on: Option<DestinationName>,
    /// What is there and what would be done about it, or why that is not known. Where the account is not granted, the
    /// plan's destination is a guess, and what it says of the filter's destination is passed over.
    pub looked: Result<(&'a Observed, &'a Plan), &'a InspectionFailure>,
}

/// A report as it grows.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    rows: Vec<CoverageRow>,
    accounts: BTreeSet<AccountId>,
    account_regions: usize,
    empty_account_regions: usize,
}

impl Survey {
    /// Takes in a place that was looked at, or tried to. `settings` are those the plan was made with.
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

    /// Takes in an account, or one Region of it, that is left alone without a look.
    pub fn leave_out(&mut self, account: &Account, region: Option<&Region>, why: &OutOfScope) {
        self.rows.push(CoverageRow {
            region: region.cloned(),
            status: Status::Excluded,
            reason: sentence(&why.to_string()),
            ..row_of(account)
        });
    }

    /// The report. `generated_at` is RFC 3339 text in UTC; `unit_names` may lack any unit.
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

/// What a row says of the account alone.
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
        FailureClass::Later | FailureClass::Failed => (Status::Unknown, "This place could not be looked at"),
    };
    let mut reason = format!("{lead}: {}", failure.text.trim_end_matches('.'));
    if let Some(request) = failure.request_id.as_deref().filter(|request| !failure.text.contains(*request)) {
        reason.push_str(&format!(" (request {request})"));
    }
    CoverageRow { status, reason: sentence(&reason), next_step: sentence(&failure.next_step), ..row }
}

/// A fault of the place that keeps all its flow logs from being of use.
struct Fault {
    what: String,
    next_step: &'static str,
}

/// Judges the VPCs of one place.
struct Judge<'a> {
    log_group: &'a str,
    names: BTreeMap<&'a VpcId, &'a str>,
    flow_logs: BTreeMap<&'a str, Vec<&'a FlowLog>>,
    settings: &'a Settings,
    faults: Vec<Fault>,
}

impl<'a> Judge<'a> {
    fn of(settings: &'a Settings, seen: &InspectedRegion<'_>, observed: &'a Observed, plan: &Plan) -> Self {
        let name = |vpc: &'a Vpc| Some((&vpc.id, vpc.tags.get("Name")?.as_str()));
        let mut flow_logs = BTreeMap::<&str, Vec<&FlowLog>>::new();
        for log in &observed.flow_logs {
            flow_logs.entry(&log.resource).or_default().push(log);
        }
        Self {
            log_group: settings.log_group_name.as_str(),
            names: observed.vpcs.iter().filter_map(name).collect(),
            flow_logs,
            settings,
            faults: faults(settings, seen.granted_on.is_some(), observed, plan),
        }
    }

    fn row(&self, row: CoverageRow, vpc: &VpcId, verdict: &VpcPlan) -> CoverageRow {
        let name = self.names.get(vpc).map_or_else(String::new, |name| (*name).to_owned());
        let row = CoverageRow { vpc: Some(vpc.clone()), name, ..row };
        match verdict {
            VpcPlan::Covered(log) | VpcPlan::CoveredByOthers(log) => self.with_right_flow_log(row, log),
            VpcPlan::Broken { flow_log, message } => {
                let reason = format!("Flow log {flow_log} is ACTIVE, but its delivery fails: {message}");
                self.broken(row, Some(flow_log.clone()), reason, next_step_of(message))
            }
            VpcPlan::Replace { differences } => {
                let log = self.own_flow_log(vpc);
                let reason = format!("Its flow log differs from the settings: {differences}");
                self.broken(row, log, reason, RUN_BACKFILL)
            }
            VpcPlan::Enroll => self.without_ours(row, vpc),
            VpcPlan::OutOfScope(why) => CoverageRow {
                status: Status::Excluded,
                reason: sentence(&why.to_string()),
                flow_log: self.own_flow_log(vpc),
                ..row
            },
        }
    }

    fn with_right_flow_log(&self, row: CoverageRow, log: &FlowLogId) -> CoverageRow {
        let row = CoverageRow { flow_log: Some(log.clone()), ..row };
        match self.faults.split_first() {
            None => CoverageRow { status: Status::Covered, ..row },
            Some((first, rest)) => {
                let mut reason = format!("Flow log {log} is ACTIVE, but {}", first.what);
                rest.iter().for_each(|fault| reason.push_str(&format!("; and {}", fault.what)));
                let next_step = first.next_step.to_owned();
                CoverageRow { status: Status::Broken, reason: sentence(&reason), next_step, ..row }
            }
        }
    }

    /// A failing flow log, with the faults of the place besides, because mending one alone would not help.
    fn broken(&self, row: CoverageRow, log: Option<FlowLogId>, reason: String, next_step: &str) -> CoverageRow {
        let mut reason = sentence(&reason);
        for fault in &self.faults {
            reason.push_str(&format!(" {}", sentence(&fault.what)));
        }
        CoverageRow { status: Status::Broken, reason, flow_log: log, next_step: next_step.to_owned(), ..row }
    }

    fn without_ours(&self, row: CoverageRow, vpc: &VpcId) -> CoverageRow {
        let others = self.flow_logs.get(vpc.as_str()).map_or(&[][..], Vec::as_slice);
        let (status, mut reason) = match others {
            [] => (Status::NotCovered, "It has no flow log.".to_owned()),
            [one] => (Status::ForeignOnly, format!("Flow log {} of somebody else {}.", one.id, self.not_for_us())),
            [first, rest @ ..] => {
                let more = rest.len();
                let text =
                    format!("Flow logs of others, {} and {more} more, exist; none {}.", first.id, self.delivers());
                (Status::ForeignOnly, text)
            }
        };
        for fault in self.faults.iter().filter(|fault| fault.next_step != RUN_BACKFILL) {
            reason.push_str(&format!(" {}", sentence(&fault.what)));
        }
        let beyond = self.faults.iter().map(|fault| fault.next_step).find(|step| *step != RUN_BACKFILL);
        CoverageRow {
            status,
            reason,
            flow_log: others.first().map(|log| log.id.clone()),
            next_step: beyond.unwrap_or(RUN_BACKFILL).to_owned(),
            ..row
        }
    }

    fn delivers(&self) -> String {
        format!("delivers to log group {} what the settings ask for", self.log_group)
    }

    fn not_for_us(&self) -> String {
        format!("exists, but does not deliver to log group {} what the settings ask for", self.log_group)
    }

    /// The first flow log of a VPC that is ours.
    fn own_flow_log(&self, vpc: &VpcId) -> Option<FlowLogId> {
        let here = self.flow_logs.get(vpc.as_str())?.iter();
        here.filter(|log| self.settings.ownership_tag.is_on(&log.tags)).map(|log| log.id.clone()).min()
    }
}

/// What is wrong with the place as a whole, what a person has to do something about first.
fn faults(settings: &Settings, granted: bool, observed: &Observed, plan: &Plan) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !granted {
        let what = "the account is not granted on any destination of this Region".to_owned();
        faults.push(Fault { what, next_step: GRANT });
    }
    if let Some(blocked) = &plan.blocked {
        faults.push(Fault { what: blocked.to_string(), next_step: OTHER_LOG_GROUP });
        return faults;
    }
    if observed.log_group.is_none() {
        let what = format!("log group {} does not exist", settings.log_group_name);
        faults.push(Fault { what, next_step: RUN_BACKFILL });
        // A filter cannot be without its group, so naming it as well would say the same twice.
        return faults;
    }
    let filter_there = observed.filters.iter().any(|filter| filter.name == settings.filter_name.as_str());
    let filter_step = plan.steps.iter().find(|step| matches!(step.action, Action::PutFilter { .. }));
    if let Some(step) = filter_step.filter(|_| granted || !filter_there) {
        faults.push(Fault { what: step.why.clone(), next_step: RUN_BACKFILL });
    }
    faults
}

/// AWS has three messages (see [`Delivery::Failed`](crate::observed::Delivery::Failed)), and each wants another thing.
fn next_step_of(message: &str) -> &'static str {
    if message.starts_with("Access error") {
        "Run enroller backfill, which checks the delivery role and its trust policy."
    } else if message.starts_with("Rate limited") {
        "Ask AWS for a higher CloudWatch Logs quota in this account and Region."
    } else {
        "Run enroller backfill; if it stays, delete the flow log, which is then made anew, or ask AWS."
    }
}

/// The text with a capital and a full stop; empty text stays empty.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), letters.as_str())
}
