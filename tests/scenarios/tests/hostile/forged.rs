//! Forged messages of the installation itself. Only its own rules and functions may write to the queues, so these cases
//! show what an attacker with the role of a function could do.

use enroller_tests::DAY_MS;
use serde_json::{Value, json};

use crate::harness::{
    End, IRELAND, Queue, assert_ends_as, assert_unchanged, calls_into, everything, member, other_member, policy,
    settled_organization,
};

#[tokio::test]
async fn a_forged_request_with_any_invalid_field_is_refused() {
    let lab = settled_organization().await;
    let account = member(&lab);
    let request = |name: &str, value: Value| {
        let mut body = json!({"kind": "enrollment-request", "version": 1, "account": account, "regions": [IRELAND]});
        body[name] = value;
        body
    };
    for (case, body, reason) in [
        ("no account", request("account", json!(null)), "malformed"),
        ("an account that is a number", request("account", json!(111_122_223_333_u64)), "expected a string"),
        ("an account that is a path", request("account", json!("../11112222")), "is not an account id"),
        ("an account in other digits", request("account", json!("１１１１２２２２３３３３")), "is not an account id"),
        ("a Region that is a path", request("regions", json!(["eu-west-1/.."])), "is not a Region"),
        ("no Region", request("regions", json!([])), "names no Region"),
        ("Regions in lists", request("regions", json!([[IRELAND]])), "malformed"),
        ("a destination that is an ARN", request("destinations", json!({IRELAND: "arn:aws:logs:x"})), "malformed"),
        ("a destination of every name", request("destinations", json!({IRELAND: "*"})), "malformed"),
        ("a destination of a Region that is none", request("destinations", json!({"mars": "d"})), "malformed"),
        ("a time before time", request("requested_at_ms", json!(-1)), "malformed"),
        ("a time beyond all", request("requested_at_ms", json!(1e30)), "malformed"),
        ("a reason that is a tree", request("reason", json!({"a": []})), "malformed"),
    ] {
        for queue in [Queue::Enrollments, Queue::Grants] {
            assert_ends_as(&lab, queue, case, &body.to_string(), &End::Refused(reason)).await;
        }
    }
}

#[tokio::test]
async fn a_forged_request_cannot_choose_a_foreign_destination() {
    let lab = settled_organization().await;
    let (account, central) = (member(&lab), lab.sim.central());
    let target = lab.settings.destination_target_arn.as_ref().unwrap().to_string();
    let role = lab.settings.destination_role_arn.as_ref().unwrap().to_string();
    let theirs = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": account},
        "Action": "logs:*", "Resource": "*"}]});
    lab.sim.with(|world| {
        world.put_destination(&central, IRELAND, "SecurityTeam", &target, &role).unwrap();
        world.put_destination_policy(&central, IRELAND, "SecurityTeam", &theirs.to_string()).unwrap();
    });
    let before = everything(&lab);
    for name in ["SecurityTeam", "VPCFlowLogsDestination-02", "VPCFlowLogsDestination-9", "NoSuchDestination"] {
        let body = json!({"kind": "enrollment-request", "version": 1, "account": account, "regions": [IRELAND],
            "destinations": {IRELAND: name}});
        Queue::Enrollments.send(&lab, &body.to_string()).await;
        lab.settle(DAY_MS).await.unwrap();
        assert_unchanged(&lab, &before, name);
        assert_eq!(Queue::Enrollments.dead(&lab), [""; 0], "{name}: the account's own destination is looked up");
    }
}

/// A request that names a shard comes from a function that has asked Organizations, so the enroller does not ask again:
/// for 10,000 accounts the rate limit of Organizations would use up the time of a sweep. If such a request is forged
/// and an outside account trusts the enroller, resources are created in that account. None of its records reach the
/// central account.
#[tokio::test]
async fn a_forged_request_for_an_outsider_with_a_shard_grants_nothing() {
    let lab = settled_organization().await;
    let stranger = lab.sim.with(|world| world.add_account("stranger"));
    lab.stacks.deploy_member(&stranger).unwrap();
    let before = policy(&lab);
    let body = json!({"kind": "enrollment-request", "version": 1, "account": stranger, "regions": [IRELAND],
        "destinations": {IRELAND: lab.settings.destination_name.base().as_str()}});
    Queue::Enrollments.send(&lab, &body.to_string()).await;
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(policy(&lab), before);
    let filters =
        lab.sim.with(|world| world.logs.groups(&stranger, IRELAND).map(|group| group.filters.len()).sum::<usize>());
    assert_eq!(filters, 0, "AWS refuses a filter that the policy does not allow");
    assert_eq!(Queue::Enrollments.dead(&lab), [body.to_string()], "a person finds the message");
}

#[tokio::test]
async fn a_forged_request_changes_no_other_account_or_region() {
    let lab = settled_organization().await;
    let (account, other) = (member(&lab), other_member(&lab));
    let before = everything(&lab);
    let body = json!({"kind": "enrollment-request", "version": 1, "account": account,
        "regions": [IRELAND, "sa-east-1", "xx-nowhere-9"], "reason": "\u{1b}[2J=cmd|' /C calc'!A0", "run_id": "../../x"});
    let from = lab.sim.calls().len();
    Queue::Enrollments.send(&lab, &body.to_string()).await;
    lab.settle(DAY_MS).await.unwrap();
    assert_unchanged(&lab, &before, "a request for everywhere");
    let calls = calls_into(&lab, from, &account);
    assert!(calls.iter().all(|call| call.account != other && call.region == IRELAND), "{calls:#?}");
}

#[tokio::test]
async fn a_forged_sync_without_guards_revokes_no_member() {
    let lab = settled_organization().await;
    let before = policy(&lab);
    let body = json!({"kind": "sync-request", "version": 1, "allow_mass_revocation": true});
    Queue::Grants.send(&lab, &body.to_string()).await;
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(policy(&lab), before);
    let text = json!({"kind": "sync-request", "version": 1, "allow_mass_revocation": "true"});
    assert_ends_as(&lab, Queue::Grants, "a guard lifted in words", &text.to_string(), &End::Refused("malformed")).await;
}
