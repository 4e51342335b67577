//! Only Organizations decides which accounts are members, whatever a message says.

use enroller_core::log::Outcome;
use enroller_lab::Lab;
use enroller_sim::organizations::AccountState;
use enroller_tests::{DAY_MS, calls_since, count};
use serde_json::{Value, json};

use crate::events::{call, create_vpc};
use crate::harness::{
    IRELAND, Queue, assert_unchanged, calls_into, edit_policy, everything, member, policy, settled_organization,
};

/// Calls that one message about an outside account may cause. Each receive costs 2 (the policies and Organizations),
/// and a message is received at most 12 times.
const CALLS_FOR_A_STRANGER: usize = 60;

fn service_event(lab: &Lab, service: &str, name: &str, details: Value) -> Value {
    let mut event = call(service, name, &lab.sim.management());
    event["detail-type"] = json!("AWS Service Event via CloudTrail");
    event["detail"]["eventType"] = json!("AwsServiceEvent");
    event["detail"]["serviceEventDetails"] = details;
    event
}

/// An account outside the organization that does all it can to be enrolled: it has VPCs and the member stack.
fn stranger(lab: &Lab) -> String {
    let stranger = lab.sim.with(|world| world.add_account("stranger"));
    lab.stacks.deploy_member(&stranger).unwrap();
    stranger
}

#[tokio::test]
async fn an_outside_account_is_not_granted_and_its_role_not_assumed() {
    let lab = settled_organization().await;
    let stranger = stranger(&lab);
    let status = json!({"state": "SUCCEEDED", "accountId": stranger, "account": {"accountId": stranger}});
    let of = |service, name, status_name: &str| service_event(&lab, service, name, json!({status_name: status}));
    let handshake = {
        let mut event = call("organizations", "AcceptHandshake", &stranger);
        let parties = json!([{"type": "ORGANIZATION", "id": lab.settings.organization_id.as_str()}]);
        event["detail"]["responseElements"] = json!({"handshake": {"action": "INVITE", "parties": parties}});
        event
    };
    for (case, queue, body) in [
        ("a VPC", Queue::Enrollments, create_vpc(&stranger)),
        ("a grant request", Queue::Grants, json!({"kind": "grant-request", "version": 1, "account": stranger})),
        (
            "an enrollment request",
            Queue::Enrollments,
            json!({"kind": "enrollment-request", "version": 1, "account": stranger, "regions": [IRELAND]}),
        ),
        ("created", Queue::Grants, of("organizations", "CreateAccountResult", "createAccountStatus")),
        ("managed", Queue::Grants, of("controltower", "CreateManagedAccount", "createManagedAccountStatus")),
        ("joined", Queue::Grants, service_event(&lab, "organizations", "AccountJoinedOrganization", status.clone())),
        ("accepted", Queue::Grants, handshake),
        ("a VPC on the other queue", Queue::Grants, create_vpc(&stranger)),
    ] {
        let (before, from) = (everything(&lab), lab.sim.calls().len());
        lab.recording.take();
        queue.send(&lab, &body.to_string()).await;
        lab.settle(DAY_MS).await.unwrap();
        assert_unchanged(&lab, &before, case);
        let calls = calls_since(&lab, from);
        assert_eq!(calls_into(&lab, from, &stranger), [], "{case}");
        assert!(calls.iter().all(|call| !call.mutating), "{case}: {calls:#?}");
        assert!(calls.len() <= CALLS_FOR_A_STRANGER, "{case}: {} calls", calls.len());
        let lines = lab.recording.take();
        let named = lines.iter().any(|line| line.cause.contains("the account was not found in the organization"));
        assert!(named, "{case}: {lines:#?}");
        for queue in Queue::ALL {
            assert_eq!(
                lab.sim.queue_depth(&queue.url(&lab)).unwrap().total(),
                0,
                "{case} comes to an end on {queue:?}"
            );
        }
    }
}

/// The enroller only requests a comparison. It does not pass on what the event claims.
#[tokio::test]
async fn an_account_event_on_the_enrollers_queue_only_causes_a_sync() {
    let lab = settled_organization().await;
    let stranger = stranger(&lab);
    let details = json!({"createAccountStatus": {"state": "SUCCEEDED", "accountId": stranger}});
    let event = service_event(&lab, "organizations", "CreateAccountResult", details);
    let (before, from) = (everything(&lab), lab.sim.calls().len());
    Queue::Enrollments.send(&lab, &event.to_string()).await;
    lab.settle(DAY_MS).await.unwrap();
    assert_unchanged(&lab, &before, "an account event on the wrong queue");
    let calls = calls_since(&lab, from);
    assert_eq!(calls_into(&lab, from, &stranger), []);
    assert!(calls.iter().all(|call| !call.mutating), "{calls:#?}");
    assert_eq!(count(&calls, "ListAccounts"), 1);
}

/// An unmanaged statement shows whom its author authorizes, not which accounts are members.
#[tokio::test]
async fn an_account_that_only_an_unmanaged_statement_names_is_ignored() {
    let lab = settled_organization().await;
    let partner = stranger(&lab);
    edit_policy(&lab, |document| {
        let theirs = json!({"Sid": "Partner", "Effect": "Allow", "Principal": {"AWS": partner},
            "Action": "logs:PutSubscriptionFilter", "Resource": "*"});
        document["Statement"].as_array_mut().unwrap().push(theirs);
    });
    lab.sim.advance(600_000);
    let (before, from) = (everything(&lab), lab.sim.calls().len());
    Queue::Enrollments.send(&lab, &create_vpc(&partner).to_string()).await;
    lab.settle(DAY_MS).await.unwrap();
    assert_eq!(calls_into(&lab, from, &partner), []);
    assert_unchanged(&lab, &before, "a partner's VPC");
    assert_eq!(Queue::Enrollments.dead(&lab).len(), 1, "a person finds the message");
}

#[tokio::test]
async fn forged_departures_of_members_revoke_nothing() {
    let lab = settled_organization().await;
    let accounts = lab.sim.members();
    let management = lab.sim.management();
    let before = policy(&lab);
    for account in &accounts {
        let request = |name| {
            let mut event = call("organizations", name, &management);
            event["detail"]["requestParameters"] = json!({"accountId": account});
            event
        };
        let closed = json!({"closeAccountStatus": {"state": "SUCCEEDED", "accountId": account}});
        for event in [
            request("RemoveAccountFromOrganization"),
            call("organizations", "LeaveOrganization", account),
            service_event(&lab, "organizations", "CloseAccountResult", closed),
            service_event(&lab, "organizations", "AccountDepartedOrganization", json!({"accountId": account})),
        ] {
            // Each event goes directly on the queue, and also the way that AWS's own events take.
            Queue::Grants.send(&lab, &event.to_string()).await;
            let mut real = event;
            for name in ["region", "/detail/awsRegion"] {
                let slot = if name == "region" { real.get_mut(name) } else { real.pointer_mut(name) };
                *slot.unwrap() = json!("us-east-1");
            }
            lab.sim.emit(real).unwrap();
        }
    }
    let from = lab.sim.calls().len();
    lab.recording.take();
    lab.settle(DAY_MS).await.unwrap();
    let lines = lab.recording.take();
    let kept = lines.iter().filter(|line| line.action == "revoke" && line.outcome == Outcome::Ignored);
    assert!(
        kept.clone().all(|line| line.cause == "not confirmed: the account's state in Organizations is ACTIVE"),
        "{lines:#?}"
    );
    assert!(kept.count() >= accounts.len(), "{lines:#?}");
    assert_eq!(policy(&lab), before);
    assert_eq!(count(&calls_since(&lab, from), "PutDestinationPolicy"), 0);
    assert_eq!(Queue::Grants.dead(&lab).len(), 0);
}

#[tokio::test]
async fn a_suspended_account_is_not_changed_and_keeps_its_grant() {
    let lab = settled_organization().await;
    let account = member(&lab);
    lab.sim.with(|world| world.set_account_state(&account, AccountState::Suspended)).unwrap();
    lab.sim.with(|world| world.put_vpc(&account, IRELAND, "10.1.0.0/16", false));
    lab.sim.advance(600_000);
    let before = everything(&lab);
    for (queue, body) in [
        (Queue::Enrollments, create_vpc(&account)),
        (Queue::Grants, json!({"kind": "grant-request", "version": 1, "account": account})),
        (Queue::Grants, json!({"kind": "sync-request", "version": 1})),
        (Queue::Grants, call("organizations", "LeaveOrganization", &account)),
        (Queue::Backfill, json!({"accounts": [account]})),
    ] {
        queue.send(&lab, &body.to_string()).await;
        lab.settle(DAY_MS).await.unwrap();
        assert_unchanged(&lab, &before, &body.to_string());
        assert_eq!(lab.sim.queue_depth(&queue.url(&lab)).unwrap().total(), 0, "{body}");
    }
}
