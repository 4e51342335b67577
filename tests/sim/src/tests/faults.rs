use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::limits::LimitClock;
use crate::{FaultKind, FaultRule, When};

fn creating(sim: &Sim) -> Caller {
    Caller::of(sim, &others(sim)[0], REGION)
}

fn vpc_count(sim: &Sim) -> usize {
    sim.with(|world| world.ec2.vpcs(&others_of(world), REGION).count())
}

fn others_of(world: &crate::World) -> String {
    let organization = &world.organization;
    let ours = |id: &str| id != organization.management() && !organization.is_delegated_administrator(id);
    organization.members().map(|(id, _)| id).find(|id| ours(id)).unwrap().to_owned()
}

#[test]
fn a_fault_strikes_before_or_after_the_effect() {
    let refusal = ApiError::new(500, "InternalError", "An internal error has occurred");
    let cases = [
        (FaultKind::ErrorBefore(refusal.clone()), "InternalError", 0),
        (FaultKind::ErrorAfter(refusal), "InternalError", 1),
        (FaultKind::LostBefore, "Lost", 0),
        (FaultKind::LostAfter, "Lost", 1),
        (FaultKind::TimeoutBefore, "TimedOut", 0),
        (FaultKind::TimeoutAfter, "TimedOut", 1),
        (FaultKind::HangBefore, "Hangs", 0),
        (FaultKind::HangAfter, "Hangs", 1),
        (FaultKind::Throttle, "RequestLimitExceeded", 0),
    ];
    for (kind, code, effects) in cases {
        let sim = small();
        let before = vpc_count(&sim);
        sim.arm(FaultRule::new(kind.clone()).on(Service::Ec2, "CreateVpc").at(When::First(1)));
        let create = || creating(&sim).code(Service::Ec2, "CreateVpc", json!({"CidrBlock": "10.0.0.0/16"}));
        assert_eq!(create(), code, "{kind:?}");
        assert_eq!(vpc_count(&sim) - before, effects, "{kind:?}");
        assert!(create().starts_with("answered"), "{kind:?}");
        assert_eq!(sim.calls()[0].outcome.as_deref(), Some(code));
    }
}

#[test]
fn rules_match_by_operation_account_region_and_number() {
    let sim = small();
    let [one, two] = <[String; 2]>::try_from(others(&sim)).unwrap();
    let rule = FaultRule::new(FaultKind::Throttle).on(Service::Ec2, "DescribeVpcs").by(&one).within(REGION);
    sim.arm(rule.at(When::Nth(2)));
    let describe = |account: &str, region: &str| {
        Caller::of(&sim, account, region).call(Service::Ec2, "DescribeVpcs", json!({})).is_ok()
    };
    let seen = [describe(&one, REGION), describe(&two, REGION), describe(&one, GLOBAL), describe(&one, REGION)];
    assert_eq!(seen, [true, true, true, false]);
    assert!(describe(&one, REGION));
    assert_eq!(sim.with(|world| world.faults.hits()), 1);
    sim.arm(FaultRule::new(FaultKind::Throttle).at(When::Sequence(7)));
    assert_eq!([describe(&two, REGION), describe(&two, REGION)], [true, false]);
}

#[test]
fn a_hook_changes_the_world_in_the_middle_of_a_call() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let vpc = first_vpc(&sim, &account);
    let vanishing = vpc.clone();
    let hook = FaultKind::HookBefore(Arc::new(move |world: &mut crate::World, call: &crate::Call| {
        let account = call.caller.account.clone();
        assert!(world.ec2.vpcs(&account, REGION).any(|vpc| vpc.id == vanishing));
        world.ec2.remove_account(&account);
    }));
    sim.arm(FaultRule::new(hook).on(Service::Ec2, "DescribeVpcs"));
    assert_eq!(creating(&sim).code(Service::Ec2, "DescribeVpcs", json!({"VpcId.1": vpc})), "InvalidVpcID.NotFound");
}

#[test]
fn limits_throttle_with_the_services_code_and_time_heals() {
    let sim = SimBuilder { limits: LimitClock::Virtual, ..SimBuilder::default() }.build();
    let central = Caller::of(&sim, &sim.central(), GLOBAL);
    let describe = || central.call(Service::Organizations, "DescribeOrganization", json!({}));
    assert!(describe().is_ok() && describe().is_ok());
    assert_eq!(describe().unwrap_err().code, "TooManyRequestsException");
    sim.advance(1_000);
    assert!(describe().is_ok());
}

#[test]
fn calls_are_counted_and_logged_in_order() {
    let sim = small();
    let caller = creating(&sim);
    caller.call(Service::Ec2, "DescribeVpcs", json!({})).unwrap();
    caller.call(Service::Ec2, "CreateVpc", json!({})).unwrap_err();
    let calls = sim.calls();
    let shown: Vec<_> = calls.iter().map(|call| (call.sequence, call.mutating, call.outcome.as_deref())).collect();
    assert_eq!(shown, [(1, false, None), (2, true, Some("MissingParameter"))]);
    let report = sim.with(|world| world.stats.report());
    assert_eq!(report["by_operation"]["ec2:CreateVpc"], json!({"calls": 1, "mutating": true}));
    assert_eq!(report["errors"], json!({"ec2:MissingParameter": 1}));
    assert_eq!((&report["total"], &report["mutating"]), (&json!(2), &json!(1)));
}
