use serde_json::json;

use super::*;
use crate::organizations::AccountState;
use crate::world::ServiceControlDeny;

fn codes(caller: &Caller) -> [String; 3] {
    [
        caller.code(Service::Ec2, "DescribeVpcs", json!({})),
        caller.code(Service::Logs, "DescribeLogGroups", json!({})),
        caller.code(Service::Sqs, "ListQueues", json!({})),
    ]
}

#[test]
fn a_region_that_is_not_enabled_knows_no_credentials() {
    let sim = small();
    let caller = Caller::of(&sim, &others(&sim)[0], "af-south-1");
    assert_eq!(codes(&caller), ["AuthFailure", "UnrecognizedClientException", "UnrecognizedClientException"]);
}

#[test]
fn an_account_that_is_not_ready_has_no_services_until_then() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let ready_at_ms = sim.now_ms() + 60_000;
    sim.with(|world| world.accounts.get_mut(&account).unwrap().ready_at_ms = ready_at_ms);
    let caller = Caller::of(&sim, &account, REGION);
    assert_eq!(codes(&caller), ["OptInRequired", "SubscriptionRequiredException", "SubscriptionRequiredException"]);
    sim.advance(60_000);
    assert!(caller.call(Service::Ec2, "DescribeVpcs", json!({})).is_ok());
}

#[test]
fn a_closed_or_suspended_account_can_do_nothing() {
    for state in [AccountState::Closed, AccountState::Suspended] {
        let sim = small();
        let account = others(&sim)[0].clone();
        sim.with(|world| world.set_account_state(&account, state)).unwrap();
        assert_eq!(codes(&Caller::of(&sim, &account, REGION))[0], "AuthFailure");
    }
}

#[test]
fn a_service_control_policy_denies_by_region_and_action_and_says_so() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let denies = vec![
        ServiceControlDeny { region: Some(REGION.to_owned()), action_prefix: "ec2:".to_owned() },
        ServiceControlDeny { region: None, action_prefix: "logs:CreateLogGroup".to_owned() },
    ];
    let management = sim.management();
    sim.with(|world| {
        for account in [&account, &management] {
            world.accounts.get_mut(account).unwrap().denies = denies.clone();
        }
    });
    let (here, there) = (Caller::of(&sim, &account, REGION), Caller::of(&sim, &account, GLOBAL));
    let text = "with an explicit deny in a service control policy";
    let refusal = here.call(Service::Ec2, "DescribeVpcs", json!({})).unwrap_err();
    assert_eq!((refusal.status, refusal.code.as_str()), (403, "UnauthorizedOperation"));
    assert!(refusal.message.ends_with(text), "{refusal}");
    assert!(there.call(Service::Ec2, "DescribeVpcs", json!({})).is_ok());
    let refusal = there.call(Service::Logs, "CreateLogGroup", json!({"logGroupName": "g"})).unwrap_err();
    assert_eq!((refusal.status, refusal.code.as_str()), (400, "AccessDeniedException"));
    assert!(refusal.message.ends_with(text), "{refusal}");
    let unbound = Caller::of(&sim, &management, REGION);
    assert!(unbound.call(Service::Ec2, "DescribeVpcs", json!({})).is_ok());
}

#[test]
fn unknown_keys_get_the_code_of_each_service() {
    let sim = small();
    let caller = Caller::of(&sim, "999999999999", REGION);
    assert_eq!(codes(&caller), ["AuthFailure", "UnrecognizedClientException", "UnrecognizedClientException"]);
    assert_eq!(caller.code(Service::Sts, "GetCallerIdentity", json!({})), "InvalidClientTokenId");
}
