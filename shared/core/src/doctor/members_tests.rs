use serde_json::json;

use super::super::Status;
use super::*;
use crate::ids::Partition;
use crate::observed::{Delivery, FlowLogTarget};
use crate::policy::delivery_role::{permissions, trust_policy};
use crate::settings::tests::with;

fn settings(changes: &[(&str, &str)]) -> Settings {
    with(changes).unwrap()
}

fn at() -> AccountRegion {
    AccountRegion { account: "111122223333".parse().unwrap(), region: "eu-west-1".parse().unwrap() }
}

#[test]
fn a_member_role_that_cannot_be_assumed_fails_and_other_errors_are_unknown() {
    let settings = settings(&[]);
    assert_eq!(check_member_role(&settings, Ok(())).status, Status::Ok);
    for (code, status) in
        [("AccessDenied", Status::Failed), ("Throttling", Status::Unknown), ("ExpiredToken", Status::Unknown)]
    {
        let error = AwsError::answered("sts:AssumeRole", code, "no");
        let verdict = check_member_role(&settings, Err(&error));
        assert_eq!(verdict.status, status, "{code}");
        assert!(verdict.finding.contains(code), "{verdict:?}");
    }
}

#[test]
fn a_service_role_is_checked_by_trust_then_permissions_and_by_its_maker() {
    let group = "vpc-flow-logs".parse().unwrap();
    let (trust, allowed) =
        (trust_policy(Partition::Aws, at().account), permissions(Partition::Aws, at().account, &group));
    let wanted = ServiceRole {
        service: "vpc-flow-logs.amazonaws.com",
        trust: &trust,
        permissions: &allowed,
        policy_name: "Permissions",
    };
    let role = |trust: &Value, policy: Option<&Value>| RoleFacts { trust: trust.clone(), policy: policy.cloned() };
    let (mut open, mut stranger, mut other) = (trust.clone(), trust.clone(), trust.clone());
    open["Statement"][0].as_object_mut().unwrap().remove("Condition");
    stranger["Statement"][0]["Principal"] = json!({ "Service": "ec2.amazonaws.com" });
    let mut several = stranger.clone();
    several["Statement"][0]["Principal"] = json!({ "Service": ["ec2.amazonaws.com", "s3.amazonaws.com"] });
    other["Statement"][0]["Condition"] = json!({ "StringEquals": { "aws:SourceAccount": "999988887777" } });
    let stack = DeliveryRoleMaker::MemberStack;
    for (found, maker, status, finding) in [
        (Some(role(&trust, Some(&allowed))), stack, Status::Ok, "are correct"),
        (None, stack, Status::Failed, "does not exist"),
        (None, DeliveryRoleMaker::Enroller, Status::Ok, "not created yet"),
        (Some(role(&stranger, Some(&allowed))), stack, Status::Failed, "does not allow vpc-flow-logs.amazonaws.com"),
        (Some(role(&several, Some(&allowed))), stack, Status::Failed, "does not allow vpc-flow-logs.amazonaws.com"),
        (Some(role(&json!({}), Some(&allowed))), stack, Status::Failed, "does not allow"),
        (Some(role(&open, Some(&allowed))), stack, Status::Warning, "no condition"),
        (Some(role(&other, Some(&allowed))), stack, Status::Warning, "differs from the template's"),
        (Some(role(&trust, None)), stack, Status::Warning, "no inline policy Permissions"),
        (
            Some(role(&trust, Some(&json!({ "Statement": [] })))),
            stack,
            Status::Warning,
            "its policy Permissions differs",
        ),
    ] {
        let verdict = check_service_role(found.as_ref(), &wanted, maker);
        assert_eq!(verdict.status, status, "{verdict:?}");
        assert!(verdict.finding.contains(finding), "{verdict:?}");
    }
}

#[test]
fn one_logging_trail_is_enough_and_an_unread_one_is_unknown() {
    let trail = TrailFacts { name: "organization".to_owned(), arn: "arn".to_owned() };
    let error = AwsError::answered("cloudtrail:GetTrailStatus", "AccessDeniedException", "no");
    let trails = std::slice::from_ref(&trail);
    for (verdict, status) in [
        (check_trails(trails, Some(&trail), None), Status::Ok),
        (check_trails(trails, Some(&trail), Some(&error)), Status::Ok),
        (check_trails(trails, None, Some(&error)), Status::Unknown),
        (check_trails(trails, None, None), Status::Failed),
        (check_trails(&[], None, None), Status::Failed),
    ] {
        assert_eq!(verdict.status, status, "{verdict:?}");
    }
}

#[test]
fn a_region_that_is_not_enabled_is_named() {
    let regions = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<Region>>();
    let enrolled = regions(&["eu-west-1", "me-south-1"]);
    assert_eq!(check_regions(&enrolled, &regions(&["eu-west-1", "me-south-1", "us-east-1"])).status, Status::Ok);
    let verdict = check_regions(&enrolled, &regions(&["eu-west-1"]));
    assert_eq!((verdict.status, verdict.finding.as_str()), (Status::Warning, "not enabled: me-south-1"));
}

#[test]
fn filter_slots_matter_only_while_the_managed_filter_is_missing() {
    let settings = settings(&[]);
    let filter = |name: &str| SubscriptionFilter {
        name: name.to_owned(),
        pattern: String::new(),
        destination: "arn".to_owned(),
        role: None,
        form: crate::observed::FilterForm::default(),
    };
    for (names, status) in [
        (&[][..], Status::Ok),
        (&["a", "b", "c"][..], Status::Ok),
        (&["a", "b", "c", "d"], Status::Warning),
        (&["a", "b", "c", "d", "e"], Status::Failed),
        (&["a", "b", "c", "d", settings.filter_name.as_str()], Status::Ok),
        (&["a", "b", "c", settings.filter_name.as_str()], Status::Ok),
    ] {
        let filters: Vec<_> = names.iter().map(|name| filter(name)).collect();
        let verdict = check_filter_slots(&settings, &filters);
        assert_eq!(verdict.status, status, "{verdict:?}");
    }
}

#[test]
fn flow_log_slots_are_counted_for_each_vpc_of_the_account() {
    let vpc = |id: &str, owner: &str| Vpc {
        id: id.parse().unwrap(),
        owner: owner.parse().unwrap(),
        is_default: false,
        tags: BTreeMap::new(),
    };
    let vpcs = [vpc("vpc-00000001", "111122223333"), vpc("vpc-00000002", "999988887777")];
    let flow_logs = |resource: &str, count: usize| -> Vec<FlowLog> {
        let flow_log = |number: usize| FlowLog {
            id: format!("fl-{number:08x}").parse().unwrap(),
            resource: resource.to_owned(),
            traffic_type: None,
            target: FlowLogTarget::Other("arn".to_owned()),
            delivery_role: None,
            interval: 600,
            format: None,
            active: true,
            delivery: Delivery::Unknown,
            created_ms: None,
            tags: BTreeMap::new(),
        };
        (0..count).map(flow_log).collect()
    };
    for (resource, count, status) in [
        ("vpc-00000001", 224, Status::Ok),
        ("vpc-00000001", 225, Status::Warning),
        ("vpc-00000001", 250, Status::Failed),
        ("vpc-00000002", 250, Status::Ok),
        ("subnet-00000001", 250, Status::Ok),
    ] {
        let verdict = check_flow_log_slots(&at(), &vpcs, &flow_logs(resource, count));
        assert_eq!(verdict.status, status, "{resource} {count}: {verdict:?}");
    }
    assert_eq!(check_flow_log_slots(&at(), &[], &[]).finding, "no VPCs");
}
