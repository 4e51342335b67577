//! `enroller doctor` on a healthy installation, and with one thing broken at a time: exactly that check fails.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fmt::Write;

use enroller_core::doctor::{Check, CheckId, DoctorReport, Status};
use enroller_engine::doctor::{DoctorOptions, Sample};
use enroller_lab::install::{BUS, ENROLLMENTS};
use enroller_lab::{As, Lab, Operator, connection_on};
use enroller_sim::events::{BusId, delete_rule, put_bus_policy, set_rule_enabled};
use enroller_sim::world::ServiceControlDeny;
use enroller_sim::{Service, Sim};
use enroller_tests::{calls_since, ordinary_member, organization, settled, settled_with};
use serde_json::{Value, json};

const IRELAND: &str = "eu-west-1";
const VIRGINIA: &str = "us-east-1";
const SYDNEY: &str = "ap-southeast-2";

/// Six accounts in three Regions, settled.
async fn installed() -> Lab {
    settled(6, &[IRELAND, VIRGINIA, SYDNEY], 1).await
}

async fn examined(lab: &Lab) -> DoctorReport {
    let doctor = lab.operator(lab.recording.clone()).doctor();
    doctor.check(&DoctorOptions { sample: Sample::All, ..DoctorOptions::default() }).await
}

fn problems(checkup: &DoctorReport) -> Vec<&Check> {
    checkup.checks().iter().filter(|check| check.status() != Status::Ok).collect()
}

/// The only check that is not ok.
#[track_caller]
fn only(checkup: &DoctorReport, id: CheckId, status: Status) -> Check {
    let checks = problems(checkup);
    assert_eq!(checks.len(), 1, "{checks:#?}");
    assert_eq!((checks[0].id, checks[0].status()), (id, status), "{checks:#?}");
    assert!(!checks[0].verdict.remedy.is_empty());
    checks[0].clone()
}

fn central_bus(lab: &Lab, region: &str) -> BusId {
    BusId { account: lab.sim.central(), region: region.to_owned(), name: BUS.to_owned() }
}

/// Calls CloudWatch Logs in Ireland as an administrator of the central account.
fn by_hand(sim: &Sim, operation: &str, input: &Value) {
    sim.call_raw(&sim.credentials_of(&sim.central()), IRELAND, Service::Logs, operation, input).unwrap();
}

#[tokio::test]
async fn every_check_of_a_healthy_installation_is_ok() {
    let lab = installed().await;
    let from = lab.sim.calls().len();
    let checkup = examined(&lab).await;
    assert!(problems(&checkup).is_empty(), "{:#?}", problems(&checkup));
    assert_eq!(checkup.exit_code(), 0);
    assert!(calls_since(&lab, from).iter().all(|call| !call.mutating), "the doctor changes nothing");

    let mut counts = BTreeMap::<CheckId, usize>::new();
    for check in checkup.checks() {
        *counts.entry(check.id).or_default() += 1;
    }
    let mut shown = String::new();
    for (id, count) in counts {
        let first = checkup.checks().iter().find(|check| check.id == id).unwrap();
        writeln!(shown, "{count:>2} {:<20} {}: {}", id.as_str(), first.subject(), first.verdict.finding).unwrap();
    }
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn the_organizations_region_need_not_be_enrolled() {
    let lab = settled(3, &[IRELAND], 1).await;
    let checkup = examined(&lab).await;
    assert!(problems(&checkup).is_empty(), "{:#?}", problems(&checkup));
}

#[tokio::test]
async fn a_sample_checks_that_many_accounts_and_assumes_each_role_once() {
    let lab = installed().await;
    let doctor = lab.operator(lab.recording.clone()).doctor();
    let from = lab.sim.calls().len();
    let options = DoctorOptions { sample: Sample::Accounts(2), ..DoctorOptions::default() };
    let checkup = doctor.check(&options).await;
    assert_eq!(checkup.checks().iter().filter(|check| check.id == CheckId::MemberRole).count(), 2);
    let assumed = calls_since(&lab, from).iter().filter(|call| call.operation == "AssumeRole").count();
    assert!(assumed <= 3, "2 accounts and the management account: {assumed}");
}

#[tokio::test]
async fn a_missing_member_role_is_reported_once_for_its_account_only() {
    let lab = installed().await;
    let account = ordinary_member(&lab);
    lab.sim.with(|world| world.iam.remove_role(&account, lab.settings.member_role_name.as_str()));
    let check = only(&examined(&lab).await, CheckId::MemberRole, Status::Failed);
    assert_eq!(check.subject(), account);
    assert!(check.verdict.finding.contains("sts:AssumeRole failed with AccessDenied"), "{check:?}");
    assert!(check.request_id.is_some());
    assert!(check.verdict.remedy.contains("deploy the member stack"), "{check:?}");
}

#[tokio::test]
async fn a_deleted_disabled_or_too_narrow_member_rule_is_reported() {
    let account = |lab: &Lab| BusId::default_bus(&ordinary_member(lab), SYDNEY);
    type Break = fn(&Lab, &BusId);
    let breaks: [(Break, Status, &str); 3] = [
        (
            |lab, bus| {
                for rule in ["vpcs", "tags", "log-group", "filter", "stack", "group", "watch", "watch-of-watch"] {
                    let name = format!("vpc-flow-logs-enroller-{rule}");
                    assert!(lab.sim.with(|world| delete_rule(world, bus, &name)));
                }
            },
            Status::Failed,
            "no rule sends anything to",
        ),
        (
            |lab, bus| {
                assert!(lab.sim.with(|world| set_rule_enabled(world, bus, "vpc-flow-logs-enroller-vpcs", false)));
            },
            Status::Failed,
            "rule vpc-flow-logs-enroller-vpcs is disabled",
        ),
        (
            |lab, bus| assert!(lab.sim.with(|world| delete_rule(world, bus, "vpc-flow-logs-enroller-stack"))),
            Status::Warning,
            "no rule sends member stack CREATE_COMPLETE, member stack UPDATE_COMPLETE",
        ),
    ];
    let lab = installed().await;
    for (broken, status, finding) in breaks {
        broken(&lab, &account(&lab));
        let check = only(&examined(&lab).await, CheckId::MemberRules, status);
        assert_eq!(check.subject(), format!("{} {SYDNEY}", ordinary_member(&lab)));
        assert!(check.verdict.finding.contains(finding), "{check:?}");
        lab.stacks.deploy_member(&ordinary_member(&lab)).unwrap();
    }
}

#[tokio::test]
async fn broken_central_and_management_rules_and_policies_are_reported() {
    let lab = installed().await;
    for (region, rule, subject) in [
        (IRELAND, "vpc-events", "eu-west-1 to enrollments"),
        (IRELAND, "account-events", "eu-west-1 to grants"),
        (SYDNEY, "forward-to-home", "ap-southeast-2 to home"),
    ] {
        let bus = central_bus(&lab, region);
        assert!(lab.sim.with(|world| set_rule_enabled(world, &bus, rule, false)));
        let check = only(&examined(&lab).await, CheckId::BusRules, Status::Failed);
        assert_eq!(check.subject(), subject);
        lab.sim.with(|world| set_rule_enabled(world, &bus, rule, true));
    }
    let management = BusId::default_bus(&lab.sim.management(), VIRGINIA);
    lab.sim.with(|world| delete_rule(world, &management, "vpc-flow-logs-enroller-account-events"));
    let check = only(&examined(&lab).await, CheckId::ManagementRules, Status::Failed);
    assert!(check.verdict.remedy.contains("management stack"), "{check:?}");

    let lab = installed().await;
    let bus = central_bus(&lab, SYDNEY);
    lab.sim.with(|world| put_bus_policy(world, &bus, json!({ "Statement": [] }))).unwrap();
    assert_eq!(only(&examined(&lab).await, CheckId::Bus, Status::Failed).subject(), SYDNEY);
}

#[tokio::test]
async fn a_destination_with_another_role_is_reported() {
    let lab = installed().await;
    let (central, name) = (lab.sim.central(), &lab.settings.destination_name.base());
    let target = lab.settings.destination_target_arn.as_ref().unwrap().to_string();
    // The other role works just as well, so only a comparison with the settings finds it.
    lab.sim.with(|world| {
        let role = world.iam.role(&central, "VPCFlowLogsDestinationRole").unwrap().clone();
        world.put_role(&central, "Other", role.trust.clone(), role.policies().clone());
    });
    let role = format!("arn:aws:iam::{central}:role/Other");
    let input = json!({ "destinationName": name.as_str(), "targetArn": target, "roleArn": role });
    by_hand(&lab.sim, "PutDestination", &input);
    let report = examined(&lab).await;
    let failed: Vec<_> = report.checks().iter().filter(|check| check.verdict.status == Status::Failed).collect();
    let [check, grants] = failed.as_slice() else { panic!("{failed:#?}") };
    assert_eq!((check.id, grants.id), (CheckId::Destination, CheckId::Grants), "nobody is known to deliver there");
    assert_eq!(check.subject(), format!("{IRELAND} {name}"));
    assert!(check.verdict.finding.contains(&format!("its role is {role}, but in the settings it is")), "{check:?}");
}

#[tokio::test]
async fn an_edited_policy_is_reported_and_its_room_and_grants_not_guessed() {
    let lab = installed().await;
    let name = lab.settings.destination_name.base().as_str();
    let accounts: Vec<String> = lab.sim.members();
    let resource = format!("arn:aws:logs:{IRELAND}:{}:destination:{name}", lab.sim.central());
    // The managed statement was turned into a Deny.
    let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Sid": "VpcEnroller", "Effect": "Deny",
        "Principal": { "AWS": accounts }, "Action": "logs:PutSubscriptionFilter", "Resource": resource }] });
    by_hand(&lab.sim, "PutDestinationPolicy", &json!({ "destinationName": name, "accessPolicy": policy.to_string() }));
    let checks = examined(&lab).await;
    let failed: Vec<_> = checks.checks().iter().filter(|check| check.verdict.status == Status::Failed).collect();
    let [policy, grants] = failed.as_slice() else { panic!("{failed:#?}") };
    assert_eq!((policy.id, grants.id), (CheckId::DestinationPolicy, CheckId::Grants));
    assert!(policy.verdict.finding.contains("its Effect is not Allow"), "{policy:?}");
    assert!(policy.verdict.remedy.contains("by hand"), "{policy:?}");
    let nobody = format!("{} of {} accounts in scope are kept from their grant", accounts.len(), accounts.len());
    assert!(grants.verdict.finding.starts_with(&nobody), "{grants:?}");
}

#[tokio::test]
async fn dead_letters_are_reported_with_their_number() {
    let lab = installed().await;
    let url = lab.url(&format!("{ENROLLMENTS}-dead"));
    let credentials = lab.sim.credentials_of(&lab.sim.central());
    for _ in 0..2 {
        let input = json!({ "QueueUrl": url, "MessageBody": "{}" });
        lab.sim.call_raw(&credentials, IRELAND, Service::Sqs, "SendMessage", &input).unwrap();
    }
    let check = only(&examined(&lab).await, CheckId::DeadLetters, Status::Failed);
    assert_eq!(check.subject(), "vpc-flow-logs-enrollments-dead");
    assert_eq!(check.verdict.finding, "it has 2 messages");
    assert!(check.verdict.remedy.contains("start-message-move-task"));
}

#[tokio::test]
async fn a_trail_that_is_off_is_reported_with_its_account_and_region() {
    let lab = installed().await;
    let account = ordinary_member(&lab);
    lab.sim.with(|world| world.events.set_trail(&account, SYDNEY, false));
    let check = only(&examined(&lab).await, CheckId::Trail, Status::Failed);
    assert_eq!(check.subject(), format!("{account} {SYDNEY}"));
    assert_eq!(check.verdict.finding, "no trail is logging: organization-trail");

    let lab = settled(3, &[IRELAND], 1).await;
    let management = lab.sim.management();
    lab.sim.with(|world| world.events.set_trail(&management, VIRGINIA, false));
    let check = only(&examined(&lab).await, CheckId::ManagementTrail, Status::Failed);
    assert_eq!(check.subject(), format!("{management} {VIRGINIA}"));
}

#[tokio::test]
async fn a_missing_delivery_role_or_a_wrong_trust_is_reported() {
    let lab = installed().await;
    let (account, name) = (ordinary_member(&lab), lab.settings.delivery_role_name.as_str());
    let found = lab.sim.with(|world| world.iam.role(&account, name).unwrap().clone());
    let mut stranger = found.trust.clone();
    stranger["Statement"][0]["Principal"] = json!({ "Service": "ec2.amazonaws.com" });
    lab.sim.with(|world| world.put_role(&account, name, stranger, found.policies().clone()).name.clone());
    let check = only(&examined(&lab).await, CheckId::DeliveryRole, Status::Failed);
    assert_eq!(check.subject(), format!("{account} {name}"));
    assert!(check.verdict.finding.contains("does not allow vpc-flow-logs.amazonaws.com to assume it"), "{check:?}");
    lab.sim.with(|world| world.iam.remove_role(&account, name));
    let check = only(&examined(&lab).await, CheckId::DeliveryRole, Status::Failed);
    assert_eq!(check.verdict.finding, "the role does not exist");
}

#[tokio::test]
async fn in_organization_mode_the_filter_role_is_checked() {
    let lab = settled_with(3, &[IRELAND], 1, &[("grant_mode", "organization")]).await;
    assert!(problems(&examined(&lab).await).is_empty());
    let account = ordinary_member(&lab);
    lab.sim.with(|world| world.iam.remove_role(&account, lab.settings.filter_role_name.as_str()));
    only(&examined(&lab).await, CheckId::FilterRole, Status::Failed);
}

#[tokio::test]
async fn a_region_that_an_account_has_not_enabled_is_only_a_warning() {
    let lab = installed().await;
    let account = ordinary_member(&lab);
    lab.sim.with(|world| world.accounts.get_mut(&account).unwrap().regions.remove(SYDNEY));
    let check = only(&examined(&lab).await, CheckId::EnabledRegions, Status::Warning);
    assert_eq!(check.verdict.finding, format!("not enabled: {SYDNEY}"));
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown_and_the_rest_is_still_checked() {
    let lab = installed().await;
    let account = ordinary_member(&lab);
    let deny = ServiceControlDeny { region: Some(IRELAND.to_owned()), action_prefix: "cloudtrail:".to_owned() };
    lab.sim.with(|world| world.accounts.get_mut(&account).unwrap().denies.push(deny));
    let checkup = examined(&lab).await;
    let check = only(&checkup, CheckId::Trail, Status::Unknown);
    assert!(check.verdict.finding.contains("cloudtrail:DescribeTrails failed with AccessDeniedException"), "{check:?}");
    assert!(check.request_id.is_some());
    assert_eq!(checkup.exit_code(), 2);
}

#[tokio::test]
async fn a_caller_of_another_account_is_the_only_failure() {
    let lab = installed().await;
    let connection = connection_on(&lab.sim, &lab.settings, As::Account(&ordinary_member(&lab)));
    let checkup =
        Operator::new(lab.context(lab.recording.clone()), &connection).doctor().check(&DoctorOptions::default()).await;
    assert_eq!(checkup.checks().len(), 1);
    only(&checkup, CheckId::Caller, Status::Failed);
    assert_eq!(checkup.exit_code(), 1);
}

#[tokio::test]
async fn an_installation_that_was_never_swept_has_no_destinations() {
    let lab = organization(3, &[IRELAND], 1);
    let checkup = examined(&lab).await;
    let of = |id| checkup.checks().iter().filter(|check| check.id == id).map(Check::status).collect::<Vec<_>>();
    assert_eq!(of(CheckId::Destination), [Status::Failed]);
    assert_eq!(of(CheckId::MemberRole), [Status::Failed; 3]);
    assert_eq!(of(CheckId::ManagementRules), [Status::Unknown], "no role can be assumed there yet");
    assert_eq!(of(CheckId::Queue), [Status::Ok; 3]);

    // The one account that may look at destinations of its own.
    let parts = lab.settings.destination_parts().unwrap();
    let (central, name) = (lab.sim.central(), lab.settings.destination_name.base().to_string());
    let (target, role) = (parts.target.to_string(), parts.role.to_string());
    lab.sim.with(|world| world.put_destination(&central, IRELAND, &name, &target, &role)).unwrap();
    let checkup = examined(&lab).await;
    let of = |id| checkup.checks().iter().filter(|check| check.id == id).map(Check::status).collect::<Vec<_>>();
    assert_eq!((of(CheckId::Destination), of(CheckId::DestinationPolicy)), (vec![Status::Ok], vec![Status::Failed]));
    assert_eq!(of(CheckId::Grants), [Status::Failed]);
}
