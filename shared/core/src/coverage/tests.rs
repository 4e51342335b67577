mod tags;
mod totals;

use super::*;
use crate::arn::Arn;
use crate::grants::GrantDoubt;
use crate::ids::AccountRegion;
use crate::observed::{
    Account, AccountState, DataProtection, Delivery, FlowLog, FlowLogTarget, LogGroupClass, Observed, ProtectionScope,
    SubscriptionFilter, Tags, TrafficType, Vpc,
};
use crate::plan::tests::{NOW, right_flow_log, right_log_group};
use crate::plan::{Desired, plan};
use crate::scope::OutOfScope;
use crate::settings::Settings;
use crate::settings::tests::with;

const ACCOUNT: &str = "444455556666";
const VPC: &str = "vpc-0123456789abcdef0";
const FLOW_LOG: &str = "fl-0123456789abcdef0";

/// An account-Region, and whether the account is granted there.
struct Site {
    settings: Settings,
    observed: Observed,
    granted: bool,
    doubt: Option<GrantDoubt>,
}

impl Site {
    /// One VPC with a working enrollment.
    fn covered() -> Self {
        let settings = with(&[]).unwrap();
        let mut site = Self { settings, observed: Observed::default(), granted: true, doubt: None };
        site.observed.vpcs = vec![vpc(VPC, &[("Name", "payments")])];
        site.observed.flow_logs = vec![site.right_flow_log()];
        site.observed.log_group = Some(right_log_group(&site.settings));
        site.observed.filters = vec![site.desired().filter()];
        site
    }

    fn after(mut self, change: impl FnOnce(&mut Observed)) -> Self {
        change(&mut self.observed);
        self
    }

    fn not_granted(mut self) -> Self {
        self.granted = false;
        self
    }

    fn desired(&self) -> Desired<'_> {
        let at = at("eu-west-1");
        let name = &self.settings.destination_name.base();
        let destination = Arn::destination(&at.region, self.settings.central_account, name);
        Desired { settings: &self.settings, at, destination }
    }

    fn right_flow_log(&self) -> FlowLog {
        right_flow_log(&self.desired(), FLOW_LOG.parse().unwrap(), VPC)
    }

    fn report(&self) -> CoverageReport {
        let plan = plan(&self.desired(), &self.observed, NOW);
        let seen = InspectedRegion {
            account: &account("prod"),
            at: at("eu-west-1"),
            granted_on: self.granted.then(|| self.settings.destination_name.base().clone()),
            doubt: self.doubt.clone(),
            looked: Ok((&self.observed, &plan)),
        };
        report_of(&self.settings, |survey| survey.add(&self.settings, &seen))
    }

    fn row(&self) -> CoverageRow {
        self.report().rows.swap_remove(0)
    }
}

fn report_of(settings: &Settings, fill: impl FnOnce(&mut Survey)) -> CoverageReport {
    let mut survey = Survey::default();
    fill(&mut survey);
    survey.finish(settings, "2026-11-23T10:00:00Z".to_owned(), BTreeMap::new())
}

fn at(region: &str) -> AccountRegion {
    AccountRegion { account: ACCOUNT.parse().unwrap(), region: region.parse().unwrap() }
}

fn account(name: &str) -> Account {
    let parents = ["r-ab12", "ou-ab12-workload"].map(|unit| unit.parse().unwrap()).to_vec();
    Account { id: ACCOUNT.parse().unwrap(), name: name.to_owned(), state: AccountState::Active, parents }
}

fn vpc(id: &str, pairs: &[(&str, &str)]) -> Vpc {
    Vpc { id: id.parse().unwrap(), owner: ACCOUNT.parse().unwrap(), is_default: false, tags: tags(pairs) }
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn summary(row: &CoverageRow) -> String {
    format!("{}: {} -> {}", row.status.as_str(), row.reason, row.next_step)
}

#[test]
fn whom_a_statement_of_others_denies_is_covered_nowhere_and_no_backfill_would_help() {
    let name = Site::covered().settings.destination_name.base().clone();
    for (granted, doubt) in [
        (true, GrantDoubt::DeniedByOthers(name.clone())),
        (false, GrantDoubt::DeniedByOthers(name.clone())),
        (true, GrantDoubt::Unreadable(name)),
    ] {
        let row = Site { granted, doubt: Some(doubt.clone()), ..Site::covered() }.row();
        assert_eq!((row.status, row.reason.contains(&doubt.to_string())), (Status::Broken, true), "{}", row.reason);
        assert!(!row.next_step.contains("backfill"), "{}", row.next_step);
        let bare = |seen: &mut Observed| seen.flow_logs.clear();
        let row = Site { granted, doubt: Some(doubt), ..Site::covered() }.after(bare).row();
        assert!(!row.next_step.contains("backfill"), "{}", row.next_step);
    }
}

#[test]
fn an_enrolled_vpc_is_covered_and_needs_no_reason() {
    let row = Site::covered().row();
    assert_eq!(summary(&row), "covered:  -> ");
    assert_eq!(row.name, "payments");
    assert_eq!(row.flow_log.unwrap().as_str(), FLOW_LOG);
    assert_eq!(row.destination.unwrap().as_str(), "VPCFlowLogsDestination");
    assert_eq!(row.units.len(), 2);
}

#[test]
fn an_equal_unmanaged_flow_log_covers_the_vpc_too() {
    let others = |seen: &mut Observed| (seen.flow_logs[0].tags, seen.flow_logs[0].delivery_role) = (Tags::new(), None);
    let row = Site::covered().after(others).row();
    assert_eq!(summary(&row), "covered:  -> ");
}

#[test]
fn a_failing_delivery_is_broken_with_awss_message_and_a_next_step() {
    for (message, next_step) in [
        ("Access error", "Update the member stack in this account"),
        ("Access error (The log destination is not accessible)", "Update the member stack in this account"),
        ("Rate limited", "Request a higher quota of CloudWatch Logs"),
        ("Unknown error", "Wait an hour"),
    ] {
        let row = Site::covered().after(|seen| seen.flow_logs[0].delivery = Delivery::Failed(message.to_owned())).row();
        let reason = format!("Flow log {FLOW_LOG} is ACTIVE, but its delivery fails: {message}.");
        assert!(summary(&row).starts_with(&format!("broken: {reason} -> {next_step}")), "{}", summary(&row));
        assert!(row.next_step.ends_with('.'));
    }
}

#[test]
fn a_flow_log_does_not_cover_without_everything_behind_it() {
    let foreign = SubscriptionFilter {
        name: "AllTraffic".to_owned(),
        pattern: "REJECT".to_owned(),
        destination: "arn:aws:logs:eu-west-1:111122223333:destination:VPCFlowLogsDestination".to_owned(),
        role: None,
        form: crate::observed::FilterForm::default(),
    };
    let backfill = "Run enroller backfill.";
    for (site, expected, next_step) in [
        (Site::covered().after(|seen| seen.filters.clear()), "subscription filter AllTraffic does not exist", backfill),
        (
            Site::covered().after(|seen| seen.filters = vec![foreign]),
            "subscription filter AllTraffic differs: pattern is \"REJECT\", not \"\"",
            backfill,
        ),
        (
            Site::covered().after(|seen| {
                seen.log_group = None;
                seen.filters.clear();
            }),
            "log group vpc-flow-logs does not exist",
            backfill,
        ),
        (
            Site::covered().not_granted(),
            "the account is not granted on any destination of this Region",
            "Run enroller backfill, which also requests a grant for the account.",
        ),
        (
            Site::covered().after(|seen| {
                seen.log_group.as_mut().unwrap().class = LogGroupClass::Other("INFREQUENT_ACCESS".to_owned());
            }),
            "the log group has class INFREQUENT_ACCESS, which does not support subscription filters: set another \
             log_group_name",
            "Set another log_group_name or delete the log group, then run enroller backfill.",
        ),
    ] {
        let reason = format!("Flow log {FLOW_LOG} is ACTIVE, but {expected}.");
        assert_eq!(summary(&site.row()), format!("broken: {reason} -> {next_step}"));
    }
}

#[test]
fn several_faults_are_reported_together_and_the_grant_comes_first() {
    let row = Site::covered().not_granted().after(|seen| seen.filters.clear()).row();
    assert_eq!(
        summary(&row),
        format!(
            "broken: Flow log {FLOW_LOG} is ACTIVE, but the account is not granted on any destination of this Region; \
             and subscription filter AllTraffic does not exist. -> Run enroller backfill, which also requests \
             a grant for the account."
        )
    );
}

#[test]
fn a_filters_destination_does_not_matter_without_a_grant() {
    let elsewhere = "arn:aws:logs:eu-west-1:111122223333:destination:VPCFlowLogsDestination-2";
    let site = Site::covered().after(|seen| seen.filters[0].destination = elsewhere.to_owned());
    assert!(site.row().reason.contains("differs: destination"), "{}", site.row().reason);
    let row = site.not_granted().row();
    assert!(!row.reason.contains("destination is"), "{}", row.reason);
}

#[test]
fn a_managed_flow_log_that_differs_from_the_settings_is_broken() {
    let row = Site::covered().after(|seen| seen.flow_logs[0].traffic_type = Some(TrafficType::Reject)).row();
    let reason = "Its flow log differs from the settings: traffic type is REJECT, not ALL.";
    assert_eq!(summary(&row), format!("broken: {reason} -> Run enroller backfill."));
    assert_eq!(row.flow_log.unwrap().as_str(), FLOW_LOG);
}

#[test]
fn a_vpc_without_a_flow_log_is_not_covered_whatever_else_exists() {
    let bare = |seen: &mut Observed| seen.flow_logs.clear();
    let nothing = |seen: &mut Observed| *seen = Observed { vpcs: seen.vpcs.clone(), ..Observed::default() };
    for site in [Site::covered().after(bare), Site::covered().after(nothing)] {
        assert_eq!(summary(&site.row()), "not-covered: It has no flow log. -> Run enroller backfill.");
    }
    assert_eq!(
        summary(&Site::covered().not_granted().after(bare).row()),
        "not-covered: It has no flow log. The account is not granted on any destination of this Region. -> Run \
         enroller backfill, which also requests a grant for the account."
    );
}

#[test]
fn only_unmanaged_flow_logs_and_none_are_distinguished() {
    let to_s3 = |id: &str, site: &Site| FlowLog {
        id: id.parse().unwrap(),
        target: FlowLogTarget::Other("arn:aws:s3:::somebody-elses-bucket".to_owned()),
        tags: Tags::new(),
        ..site.right_flow_log()
    };
    let site = Site::covered();
    let (one, two) = (to_s3("fl-00000001", &site), to_s3("fl-00000002", &site));
    let alone = Site::covered().after(|seen| seen.flow_logs = vec![one.clone()]).row();
    assert_eq!(
        summary(&alone),
        "foreign-only: It has the unmanaged flow log fl-00000001, which does not deliver to log group vpc-flow-logs \
         what the settings require. -> Run enroller backfill."
    );
    assert_eq!(alone.flow_log.unwrap().as_str(), "fl-00000001");
    let both = Site::covered().after(|seen| seen.flow_logs = vec![one, two]).row();
    assert_eq!(
        both.reason,
        "It has the unmanaged flow logs fl-00000001 and 1 more, which do not deliver to log group vpc-flow-logs what \
         the settings require."
    );
}

#[test]
fn an_unmanaged_flow_log_to_the_log_group_is_named_with_what_it_lacks() {
    let row = Site::covered()
        .after(|seen| {
            seen.flow_logs[0].tags = Tags::new();
            seen.flow_logs[0].delivery_role = None;
            seen.flow_logs[0].traffic_type = Some(TrafficType::Reject);
        })
        .row();
    assert_eq!(
        summary(&row),
        format!(
            "foreign-only: The unmanaged flow log {FLOW_LOG} delivers to log group vpc-flow-logs, but not what the \
             settings require: it records traffic type REJECT, not ALL. -> Run enroller backfill."
        )
    );
    assert_eq!(row.flow_log.unwrap().as_str(), FLOW_LOG);
}

#[test]
fn records_that_arrive_twice_are_told_of_a_covered_vpc() {
    let twice = |created_ms, delivery: Delivery| {
        let site = Site::covered();
        let old = FlowLog { id: "fl-00000007".parse().unwrap(), interval: 60, ..site.right_flow_log() };
        site.after(|seen| {
            (seen.flow_logs[0].created_ms, seen.flow_logs[0].delivery) = (Some(created_ms), delivery);
            seen.flow_logs.push(old);
        })
        .row()
    };
    assert_eq!(
        summary(&twice(NOW, Delivery::Success)),
        "covered: Flow log fl-00000007 is no longer needed, and until it is deleted, records arrive twice. -> Run \
         enroller backfill."
    );
    let row = twice(NOW, Delivery::Unknown);
    assert!(
        row.reason.starts_with(&format!("The replaced flow log fl-00000007 is kept until {FLOW_LOG} delivers")),
        "{}",
        row.reason
    );
    assert!(row.next_step.starts_with("No action needed where the functions are deployed"), "{}", row.next_step);
}

#[test]
fn a_flow_log_that_aws_returns_in_another_form_is_broken_and_backfill_is_not_recommended() {
    let site = Site::covered();
    let tag = site.desired().settings_tag(&site.desired().flow_log(TrafficType::All));
    let row = site
        .after(|seen| {
            seen.flow_logs[0].tags.insert(tag.key, tag.value);
            seen.flow_logs[0].interval = 300;
        })
        .row();
    let text = summary(&row);
    assert!(text.starts_with(&format!("broken: Flow log {FLOW_LOG} was created with these settings")), "{text}");
    assert!(text.contains("interval is 300, not 600") && text.contains("-> Compare the flow log"), "{text}");
}

#[test]
fn a_filter_of_others_with_our_name_makes_its_vpcs_broken() {
    let elsewhere = "arn:aws:logs:eu-west-1:777788889999:destination:Elsewhere";
    let row = Site::covered().after(|seen| seen.filters[0].destination = elsewhere.to_owned()).row();
    assert_eq!(row.status, Status::Broken);
    assert!(row.reason.contains(elsewhere), "{}", row.reason);
    assert!(row.next_step.starts_with("Delete that filter, set another filter_name"), "{}", row.next_step);
}

#[test]
fn masked_records_are_no_coverage() {
    let document = r#"{"Statement": [{"DataIdentifier": ["arn:aws:dataprotection::aws:data-identifier/IpAddress"],
        "Operation": {"Deidentify": {"MaskConfig": {}}}}]}"#;
    let protection = DataProtection { scope: ProtectionScope::LogGroup, document: Some(document.to_owned()) };
    let row = Site::covered().after(|seen| seen.log_group.as_mut().unwrap().protection.push(protection)).row();
    assert_eq!(row.status, Status::Broken);
    let reason = "the data protection policy of the log group masks IpAddress";
    assert!(row.reason.contains(reason), "{}", row.reason);
    assert!(row.next_step.starts_with("Find out who put that policy"), "{}", row.next_step);
}

#[test]
fn an_excluded_account_has_one_row_without_a_region() {
    let settings = with(&[]).unwrap();
    let region = "eu-west-1".parse().unwrap();
    let report = report_of(&settings, |survey| {
        survey.leave_out(&account("old"), Some(&region), &OutOfScope::Region);
        survey.leave_out(&account("old"), None, &OutOfScope::State(AccountState::Suspended));
    });
    let rows: Vec<_> = report.rows.iter().map(|row| (row.region.is_some(), row.vpc.is_some(), summary(row))).collect();
    let expected = [
        (false, false, "excluded: The account's state is SUSPENDED. -> ".to_owned()),
        (true, false, "excluded: The Region is not enrolled. -> ".to_owned()),
    ];
    assert_eq!(rows, expected);
    assert_eq!((report.accounts, report.account_regions), (0, 0), "nothing was inspected");
}

#[test]
fn a_failed_inspection_is_skipped_or_unknown_with_awss_message() {
    let scp = "ec2:DescribeVpcs failed with UnauthorizedOperation: an explicit deny in a service control policy";
    for (class, text, request_id, expected) in [
        (FailureClass::Skipped, scp, Some("r-1"), format!("skipped: Not enrolled here: {scp} (request r-1). -> Wait.")),
        (
            FailureClass::Later,
            "the member role is missing.",
            None,
            "unknown: This account and Region could not be inspected: the member role is missing. -> Wait.".to_owned(),
        ),
        (
            FailureClass::Failed,
            "denied (request r-2)",
            Some("r-2"),
            "unknown: This account and Region could not be inspected: denied (request r-2). -> Wait.".to_owned(),
        ),
    ] {
        let settings = with(&[]).unwrap();
        let request_id = request_id.map(str::to_owned);
        let failure = InspectionFailure { text: text.to_owned(), class, request_id, next_step: "wait".to_owned() };
        let (account, at) = (account("prod"), at("us-east-1"));
        let seen = InspectedRegion { account: &account, at, granted_on: None, doubt: None, looked: Err(&failure) };
        let report = report_of(&settings, |survey| survey.add(&settings, &seen));
        assert_eq!(summary(&report.rows[0]), expected);
        assert_eq!((report.rows[0].vpc.clone(), report.empty_account_regions), (None, 0));
    }
}

#[test]
fn an_account_region_without_vpcs_has_no_row_but_is_counted() {
    let report = Site::covered().after(|seen| *seen = Observed::default()).report();
    assert_eq!(
        (report.rows.len(), report.accounts, report.account_regions, report.empty_account_regions),
        (0, 1, 1, 1)
    );
    assert_eq!(report.coverage_percent(), None);
}
