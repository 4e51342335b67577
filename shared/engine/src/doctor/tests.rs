use super::*;
use crate::ports::Role;
use crate::testing::{MANAGEMENT, World, at, away, home, id};

#[test]
fn a_sample_is_spread_over_all_accounts_without_naming_one_twice() {
    let accounts: Vec<AccountId> = (0..10_u32).map(|number| format!("{number:012}").parse().unwrap()).collect();
    for (sample, expected) in [
        (Sample::Accounts(0), vec![]),
        (Sample::Accounts(1), vec![0]),
        (Sample::Accounts(3), vec![0, 3, 6]),
        (Sample::Accounts(10), (0..10).collect()),
        (Sample::Accounts(99), (0..10).collect()),
        (Sample::All, (0..10).collect::<Vec<usize>>()),
    ] {
        let expected: Vec<AccountId> = expected.into_iter().map(|index| accounts[index]).collect();
        assert_eq!(spread(&accounts, sample), expected, "{sample:?}");
    }
    assert!(spread(&[], Sample::All).is_empty());
}

/// Everything as it should be, with accounts 1 and 2.
fn healthy() -> World {
    let world = World::granted(&[], [1, 2]);
    let settings = &world.settings;
    for number in [1, 2] {
        let key = (id(number), settings.delivery_role_name.clone());
        let trust = enroller_core::policy::delivery_role::trust_policy(settings.partition(), id(number));
        world.roles.roles.lock().unwrap().insert(key.clone(), Role { trust, tags: world.own_tags() });
        let group = &settings.log_group_name;
        let document = enroller_core::policy::delivery_role::permissions(settings.partition(), id(number), group);
        let policy = settings.delivery_role_policy_name.clone();
        world.roles.policies.lock().unwrap().insert((key, policy), document);
    }
    world
}

async fn check(world: &World) -> DoctorReport {
    world.doctor().check(&DoctorOptions::default()).await
}

/// What a check of this kind ended with, everywhere it was made.
fn statuses(report: &DoctorReport, id: CheckId) -> Vec<Status> {
    report.checks().iter().filter(|check| check.id == id).map(Check::status).collect()
}

fn not_ok(report: &DoctorReport) -> Vec<(CheckId, Status)> {
    let bad = report.checks().iter().filter(|check| check.status() != Status::Ok);
    bad.map(|check| (check.id, check.status())).collect()
}

#[tokio::test]
async fn a_healthy_installation_is_found_healthy_without_a_change() {
    let world = healthy();
    let report = check(&world).await;
    assert_eq!(not_ok(&report), []);
    assert!(world.journal.changes().is_empty());
    let made: BTreeSet<CheckId> = report.checks().iter().map(|check| check.id).collect();
    let all: BTreeSet<CheckId> = CheckId::ALL.iter().copied().filter(|id| *id != CheckId::FilterRole).collect();
    assert_eq!(made, all, "filter roles are for organization mode only");
}

#[tokio::test]
async fn a_caller_of_another_account_ends_everything() {
    let world = healthy();
    *world.facts.caller.lock().unwrap() = id(1);
    let report = check(&world).await;
    assert_eq!(not_ok(&report), [(CheckId::Caller, Status::Failed)]);
    assert_eq!((report.checks().len(), world.journal.calls().len()), (1, 1));
}

#[tokio::test]
async fn a_caller_that_is_not_known_ends_everything() {
    let world = healthy();
    world.journal.fail("sts:GetCallerIdentity", 1, "InvalidClientTokenId");
    let report = check(&world).await;
    assert_eq!(not_ok(&report), [(CheckId::Caller, Status::Unknown)]);
    assert_eq!((report.checks().len(), world.journal.calls().len()), (1, 1));
}

#[tokio::test]
async fn a_call_that_fails_is_a_check_not_made_and_keeps_no_other() {
    let checks = check(&healthy()).await.checks().len();
    for (operation, about, id) in [
        ("organizations:DescribeOrganization", String::new(), CheckId::Organization),
        ("logs:DescribeDestinations", home().to_string(), CheckId::Destination),
        ("events:DescribeEventBus", away().to_string(), CheckId::Bus),
        ("sqs:GetQueueAttributes", "/enrollments".to_owned(), CheckId::Queue),
        ("sqs:GetQueueAttributes", "/dead-backfill".to_owned(), CheckId::DeadLetters),
        ("ec2:DescribeRegions", id(1).to_string(), CheckId::EnabledRegions),
        ("iam:GetRole", id(2).to_string(), CheckId::DeliveryRole),
        ("iam:GetRolePolicy", id(2).to_string(), CheckId::DeliveryRole),
        ("cloudtrail:DescribeTrails", at(2, away()).to_string(), CheckId::Trail),
        ("events:ListRules", at(1, home()).to_string(), CheckId::MemberRules),
        ("logs:DescribeSubscriptionFilters", at(1, home()).to_string(), CheckId::FilterSlots),
        ("ec2:DescribeVpcs", at(1, home()).to_string(), CheckId::FlowLogSlots),
        ("ec2:DescribeFlowLogs", at(1, away()).to_string(), CheckId::FlowLogSlots),
        ("events:ListRules", MANAGEMENT.to_owned(), CheckId::ManagementRules),
        ("cloudtrail:DescribeTrails", MANAGEMENT.to_owned(), CheckId::ManagementTrail),
    ] {
        let world = healthy();
        world.journal.fail_at(operation, &about, 1, "AccessDeniedException");
        let report = check(&world).await;
        assert_eq!(not_ok(&report), [(id, Status::Unknown)], "{operation} {about}");
        assert!(report.checks().len() + 5 > checks, "{operation} {about}");
    }
}

#[tokio::test]
async fn without_a_listing_no_account_is_looked_at() {
    let world = healthy();
    world.journal.fail("organizations:ListAccounts", 1, "AccessDeniedException");
    let report = check(&world).await;
    assert_eq!(not_ok(&report), [(CheckId::AccountListing, Status::Unknown)]);
    assert_eq!(world.journal.about("sts:AssumeRole"), [MANAGEMENT]);
    assert!(statuses(&report, CheckId::Grants).is_empty(), "whom to compare with is not known");
    assert_eq!(statuses(&report, CheckId::Queue).len(), 3);
}

#[tokio::test]
async fn an_account_that_cannot_be_entered_is_not_looked_at_further() {
    let world = healthy();
    world.journal.fail_at("sts:AssumeRole", id(1), 1, "AccessDenied");
    let report = check(&world).await;
    assert_eq!(not_ok(&report), [(CheckId::MemberRole, Status::Failed)]);
    let checks = |number| report.checks().iter().filter(|check| check.account == Some(id(number))).count();
    assert_eq!((checks(1), checks(2)), (1, 11));
    assert_eq!(world.journal.about("ec2:DescribeRegions"), [id(2).to_string()]);
}

#[tokio::test]
async fn a_management_account_that_cannot_be_entered_is_one_check() {
    let world = healthy();
    world.journal.fail_at("sts:AssumeRole", MANAGEMENT, 1, "AccessDenied");
    let report = check(&world).await;
    assert_eq!(not_ok(&report), [(CheckId::ManagementRules, Status::Unknown)]);
    assert!(statuses(&report, CheckId::ManagementTrail).is_empty());
}

#[tokio::test]
async fn a_region_that_an_account_has_not_enabled_is_not_looked_at() {
    let world = healthy();
    world.ec2.enabled.lock().unwrap().remove(&away());
    let report = check(&world).await;
    let looks = world.journal.about("ec2:DescribeVpcs");
    assert!(looks.len() == 2 && looks.iter().all(|it| it.ends_with("eu-west-1")), "{looks:?}");
    assert!(statuses(&report, CheckId::EnabledRegions).iter().all(|status| *status != Status::Ok));
}

#[tokio::test]
async fn a_role_that_is_missing_is_found() {
    let world = healthy();
    world.roles.roles.lock().unwrap().clear();
    let report = check(&world).await;
    assert_eq!(not_ok(&report), vec![(CheckId::DeliveryRole, Status::Failed); 2]);
    assert_eq!(world.journal.count("iam:GetRolePolicy"), 0);
}

#[tokio::test]
async fn trails_are_asked_until_one_is_logging() {
    let world = healthy();
    *world.facts.trails.lock().unwrap() = vec![("stopped", false), ("running", true), ("other", true)];
    let report = check(&world).await;
    assert_eq!(not_ok(&report), []);
    let asked: BTreeSet<String> = world.journal.about("cloudtrail:GetTrailStatus").into_iter().collect();
    let name = |name: &str| format!("arn:aws:cloudtrail:::{name}");
    assert_eq!(asked, BTreeSet::from([name("stopped"), name("running")]));
}

#[tokio::test]
async fn no_trail_that_is_logging_is_a_failure_and_one_not_seen_is_unknown() {
    let world = healthy();
    *world.facts.trails.lock().unwrap() = vec![("stopped", false), ("hidden", true)];
    world.journal.fail_at("cloudtrail:GetTrailStatus", "hidden", 100, "AccessDeniedException");
    let report = check(&world).await;
    assert_eq!(statuses(&report, CheckId::Trail), vec![Status::Unknown; 4]);
    *world.facts.trails.lock().unwrap() = vec![("stopped", false)];
    let report = check(&world).await;
    assert_eq!(statuses(&report, CheckId::Trail), vec![Status::Failed; 4]);
}

#[tokio::test]
async fn an_account_without_a_grant_is_found() {
    let world = healthy();
    world.grant(&away(), 1, crate::testing::ids([1]));
    let report = check(&world).await;
    assert_eq!(not_ok(&report).iter().map(|(id, _)| *id).collect::<Vec<_>>(), [CheckId::Grants]);
}

#[tokio::test]
async fn as_many_accounts_are_looked_at_as_are_asked_for() {
    let world = World::granted(&[], 1..=9);
    for (sample, looked_at) in [(Sample::Accounts(3), 3), (Sample::All, 9)] {
        world.journal.clear();
        let options = DoctorOptions { sample, ..DoctorOptions::default() };
        world.doctor().check(&options).await;
        let entered = world.journal.about("sts:AssumeRole");
        assert_eq!(entered.iter().filter(|it| *it != MANAGEMENT).count(), looked_at);
    }
}

#[tokio::test]
async fn rules_are_looked_for_on_the_bus_that_is_named() {
    let world = healthy();
    let options = DoctorOptions { bus: "other-bus".to_owned(), ..DoctorOptions::default() };
    world.doctor().check(&options).await;
    let buses = world.journal.about("events:DescribeEventBus");
    assert!(buses.len() == 2 && buses.iter().all(|it| it.ends_with("other-bus")), "{buses:?}");
}

#[tokio::test]
async fn a_queue_that_is_not_set_is_an_unknown_check() {
    let world = World::granted(&[("backfill_queue_url", "")], []);
    let report = check(&world).await;
    assert_eq!(statuses(&report, CheckId::Queue), [Status::Unknown, Status::Ok, Status::Ok]);
}

#[tokio::test]
async fn in_organization_mode_filter_roles_are_looked_at() {
    let world = World::granted(&[("grant_mode", "organization")], [1]);
    let report = check(&world).await;
    assert_eq!(statuses(&report, CheckId::FilterRole), [Status::Failed]);
    assert!(statuses(&report, CheckId::DestinationRoom).is_empty());
}
