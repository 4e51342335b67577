use serde_json::json;

use super::super::fixtures::*;
use super::*;

fn result(name: &str, status: &str, body: &Value) -> Event {
    service_event("organizations", name).service_details(json!({status: body}))
}

fn granted(event: Event) -> AccountId {
    match acted(&event.build()) {
        Trigger::Grant { account, .. } => account,
        other => panic!("not a grant: {other:?}"),
    }
}

fn revoked(event: Event) -> AccountId {
    match acted(&event.build()) {
        Trigger::Revoke { account, .. } => account,
        other => panic!("not a revocation: {other:?}"),
    }
}

fn synced(event: Event) -> Option<String> {
    match acted(&event.build()) {
        Trigger::Sync { resource, allow_mass_revocation: false, run_id: None, .. } => resource,
        other => panic!("not a sync: {other:?}"),
    }
}

#[test]
fn a_created_account_is_granted_and_a_closed_one_revoked() {
    let status = json!({"id": "car-1", "state": "SUCCEEDED", "accountId": OTHER, "govCloudAccountId": "777788889999",
        "completedTimestamp": "Sep 16, 2020 9:20:53 PM"});
    assert_eq!(granted(result("CreateAccountResult", "createAccountStatus", &status)), account(OTHER));
    assert_eq!(revoked(result("CloseAccountResult", "closeAccountStatus", &status)), account(OTHER));
    let text = json!({"createAccountStatus": status}).to_string();
    let event = service_event("organizations", "CreateAccountResult").service_details(json!(text));
    assert_eq!(granted(event), account(OTHER));
}

#[test]
fn a_failed_result_is_ignored_with_its_reason() {
    for (state, why) in [("FAILED", "EMAIL_ALREADY_EXISTS"), ("IN_PROGRESS", "IN_PROGRESS"), ("failed", "failed")] {
        let status = json!({"state": state, "accountId": OTHER, "failureReason": "EMAIL_ALREADY_EXISTS"});
        for (name, member) in
            [("CreateAccountResult", "createAccountStatus"), ("CloseAccountResult", "closeAccountStatus")]
        {
            let reason = ignored(&result(name, member, &status).build());
            assert!(reason.contains(why), "{reason}");
        }
    }
}

#[test]
fn a_result_without_a_state_or_a_proper_account_is_refused() {
    for status in [
        json!(null),
        json!({"accountId": OTHER}),
        json!({"state": "SUCCEEDED"}),
        json!({"state": "SUCCEEDED", "accountId": "XXXXXXXXXXXX"}),
        json!({"state": "SUCCEEDED", "accountId": 12}),
        json!({"state": "SUCCEEDED", "accountId": [OTHER]}),
    ] {
        refused(&result("CreateAccountResult", "createAccountStatus", &status).build());
    }
}

#[test]
fn the_envelope_of_an_organization_event_may_have_placeholders() {
    let status = json!({"state": "SUCCEEDED", "accountId": OTHER});
    for envelope in [json!("XXXXXXXXXXXX"), json!(null), json!(7)] {
        let event = result("CreateAccountResult", "createAccountStatus", &status).top("account", envelope);
        assert_eq!(granted(event.top("region", json!("home"))), account(OTHER));
    }
}

#[test]
fn a_call_with_the_name_of_a_lifecycle_event_is_ignored_and_the_reverse() {
    let status = json!({"state": "SUCCEEDED", "accountId": OTHER});
    let event = result("CreateAccountResult", "createAccountStatus", &status).detail("eventType", json!("AwsApiCall"));
    assert!(ignored(&event.build()).contains("API call"));
    let event = service_event("organizations", "AccountDepartedOrganization")
        .service_details(json!({"accountId": OTHER}))
        .without_detail("eventType")
        .top("detail-type", json!("AWS API Call via CloudTrail"));
    assert!(ignored(&event.build()).contains("API call"));
    for name in ["RemoveAccountFromOrganization", "MoveAccount", "LeaveOrganization", "AcceptHandshake"] {
        let event = service_event("organizations", name).request(json!({"accountId": OTHER}));
        assert!(ignored(&event.build()).contains("service event"), "{name}");
    }
}

#[test]
fn membership_events_are_read_wherever_they_have_the_account() {
    let bare = |name| service_event("organizations", name).detail("userIdentity", json!({"accountId": MANAGEMENT}));
    let joined = || bare("AccountJoinedOrganization");
    for event in [
        joined().service_details(json!({"accountId": OTHER, "joinedMethod": "Created"})),
        joined().service_details(json!({"account": {"AccountID": OTHER}, "joinedMethod": "INVITED"})),
        joined().service_details(json!([{"accountId": OTHER}, {"accountId": OTHER}])),
        joined().request(json!({"accountId": OTHER})),
        joined().response(json!({"membership": {"accountId": 444_455_556_666_u64}})),
        joined().detail("accountId", json!(OTHER)),
        joined().service_details(json!({"accountId": OTHER})).detail("eventType", json!("AwsMembershipEvent")),
        joined().service_details(json!({"accountId": OTHER})).without("detail-type").without_detail("eventType"),
    ] {
        assert_eq!(granted(event), account(OTHER));
    }
    let departed =
        bare("AccountDepartedOrganization").service_details(json!({"accountId": OTHER, "departureMethod": "LEFT"}));
    let Trigger::Revoke { cause, .. } = acted(&departed.clone().build()) else { panic!("not a revocation") };
    assert_eq!(cause, "AccountDepartedOrganization: 444455556666 left the organization (LEFT)");
    assert_eq!(revoked(departed), account(OTHER));
}

#[test]
fn a_membership_event_that_does_not_name_the_account_triggers_a_sync() {
    for name in ["AccountJoinedOrganization", "AccountDepartedOrganization"] {
        let event = service_event("organizations", name);
        for details in
            [json!(null), json!({"joinedMethod": "Created"}), json!([{"accountId": OTHER}, {"accountId": MEMBER}])]
        {
            assert_eq!(synced(event.clone().service_details(details)), None);
        }
        let event = event.service_details(json!({"accountId": "XXXXXXXXXXXX"}));
        assert!(refused(&event.build()).contains("is not an account id"));
    }
}

#[test]
fn an_account_buried_deeper_than_any_event_nests_it_is_not_found() {
    let buried = |depth: u32, wrap: fn(Value) -> Value| {
        let details = (0..depth).fold(json!({"accountId": OTHER}), |inner, _| wrap(inner));
        service_event("organizations", "AccountJoinedOrganization").service_details(details)
    };
    for wrap in [(|inner| json!({"in": inner})) as fn(Value) -> Value, |inner| json!([inner])] {
        assert_eq!(granted(buried(5, wrap)), account(OTHER));
        assert_eq!(synced(buried(6, wrap)), None);
    }
}

#[test]
fn an_accepted_invitation_grants_the_account_that_accepted() {
    let accept = |handshake: Value| call("organizations", "AcceptHandshake").response(json!({"handshake": handshake}));
    let parties = json!([{"type": "ORGANIZATION", "id": "o-exampleorg1"}, {"type": "ACCOUNT", "id": MEMBER}]);
    for action in ["invite", "INVITE"] {
        let event = accept(json!({"action": action, "state": "ACCEPTED", "parties": parties}));
        assert_eq!(granted(event), account(MEMBER));
    }
    assert_eq!(granted(accept(json!({"action": "invite"}))), account(MEMBER));
    assert_eq!(
        granted(accept(json!({"action": "invite", "parties": [{"type": "ORGANIZATION", "id": "exampleorg1"}]}))),
        account(MEMBER)
    );
    let other = json!([{"type": "ORGANIZATION", "id": "o-otherother1"}]);
    assert!(ignored(&accept(json!({"action": "invite", "parties": other})).build()).contains("o-otherother1"));
    assert!(ignored(&accept(json!({"action": "enable_all_features"})).build()).contains("changes no membership"));
    assert_eq!(synced(call("organizations", "AcceptHandshake").response(json!(null))), Some(MEMBER.to_owned()));
    refused(&accept(json!({"action": "invite"})).top("account", json!("X")).build());
}

#[test]
fn moves_trigger_a_sync_and_removals_a_revocation() {
    let about =
        |name, id| call("organizations", name).request(json!({"accountId": id})).without_detail("recipientAccountId");
    assert_eq!(synced(about("MoveAccount", json!(OTHER))), Some(OTHER.to_owned()));
    assert_eq!(revoked(about("RemoveAccountFromOrganization", json!(OTHER))), account(OTHER));
    for name in ["MoveAccount", "RemoveAccountFromOrganization"] {
        for id in [json!(null), json!("XXXXXXXXXXXX"), json!(5)] {
            refused(&about(name, id).build());
        }
    }
    assert_eq!(revoked(call("organizations", "LeaveOrganization")), account(MEMBER));
    let failed = call("organizations", "LeaveOrganization").detail("errorCode", json!("AccessDenied"));
    assert!(ignored(&failed.build()).contains("AccessDenied"));
}

#[test]
fn what_is_only_requested_is_ignored() {
    for (name, request, reason) in [
        ("CreateAccount", json!({"email": "****"}), "only requests an account"),
        ("CreateGovCloudAccount", json!(null), "only requests an account"),
        ("CloseAccount", json!({"accountId": OTHER}), "only requests a closure"),
        ("InviteAccountToOrganization", json!({"target": {"id": OTHER}}), "only an invitation"),
        ("DescribeAccount", json!({"accountId": OTHER}), "changes no membership"),
    ] {
        let ignored = ignored(&call("organizations", name).request(request).build());
        assert!(ignored.contains(reason), "{ignored}");
    }
}
