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
fn a_result_that_hides_its_account_triggers_a_sync() {
    for (name, member) in [("CreateAccountResult", "createAccountStatus"), ("CloseAccountResult", "closeAccountStatus")]
    {
        for status in [
            json!(null),
            json!({"omitted": true, "originalSize": 120_000, "reason": "OVERSIZE"}),
            json!({"state": "SUCCEEDED"}),
            json!({"state": "SUCCEEDED", "accountId": "XXXXXXXXXXXX"}),
            json!({"state": "SUCCEEDED", "accountId": "****"}),
            json!({"state": "SUCCEEDED", "accountId": null}),
            // The leading zero of 012345678901 is lost, and no digit is guessed.
            json!({"state": "SUCCEEDED", "accountId": 12_345_678_901_u64}),
            json!({"state": "SUCCEEDED", "accountId": [OTHER]}),
        ] {
            assert_eq!(synced(result(name, member, &status)), None, "{status}");
        }
    }
}

#[test]
fn an_account_that_is_still_being_activated_is_granted_all_the_same() {
    for state in ["PENDING_ACTIVATION", "SUCCEEDED", ""] {
        let status = json!({"id": "car-1", "state": state, "accountId": OTHER, "accountState": "PENDING_ACTIVATION"});
        assert_eq!(granted(result("CreateAccountResult", "createAccountStatus", &status)), account(OTHER));
    }
    let status = json!({"accountId": OTHER});
    assert_eq!(granted(result("CreateAccountResult", "createAccountStatus", &status)), account(OTHER));
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
        for masked in ["XXXXXXXXXXXX", "************", "HIDDEN_DUE_TO_SECURITY_REASONS", ""] {
            assert_eq!(synced(event.clone().service_details(json!({"accountId": masked}))), None, "{masked}");
            assert_eq!(synced(event.clone().service_details(json!({"memberAccountId": masked}))), None, "{masked}");
        }
    }
}

#[test]
fn the_account_of_a_membership_event_has_several_names() {
    let event =
        || service_event("organizations", "AccountJoinedOrganization").detail("recipientAccountId", json!(MANAGEMENT));
    let arn = format!("arn:aws:organizations::{MANAGEMENT}:account/o-exampleorg1/{OTHER}");
    for details in [
        json!({"memberAccountId": OTHER, "joinedMethod": "INVITED"}),
        json!({"MemberAccountId": 444_455_556_666_u64}),
        json!({"member": {"accountId": OTHER}}),
        json!({"account": {"id": OTHER, "name": "****", "email": "****"}}),
        json!({"account": OTHER}),
        json!({"target": {"type": "ACCOUNT", "id": OTHER}}),
        json!({"accountArn": arn}),
        // The management account stands beside the member, and an account in a member's own field is preferred.
        json!({"accountId": MANAGEMENT, "memberAccountId": OTHER}),
        json!({"accountId": MANAGEMENT, "account": {"id": OTHER}}),
        json!({"managementAccountId": MEMBER, "masterAccountId": MEMBER, "accountId": OTHER}),
        json!({"accountId": "****", "memberAccountId": OTHER}),
    ] {
        assert_eq!(granted(event().service_details(details.clone())), account(OTHER), "{details}");
    }
    let resources = json!([{"accountId": MANAGEMENT, "type": "AWS::Organizations::Account", "ARN": arn}]);
    assert_eq!(granted(event().detail("resources", resources)), account(OTHER));
    // Neither the management account nor a caller joins.
    assert_eq!(synced(event().service_details(json!({"accountId": MANAGEMENT}))), None);
    assert_eq!(synced(event().detail("userIdentity", json!({"accountId": MEMBER}))), None);
    // The account of a VPC endpoint is the caller's.
    assert_eq!(synced(event().detail("vpcEndpointAccountId", json!(MEMBER))), None);
    let departed = service_event("organizations", "AccountDepartedOrganization");
    assert_eq!(revoked(departed.service_details(json!({"memberAccountId": OTHER}))), account(OTHER));
}

#[test]
fn two_accounts_in_one_membership_event_trigger_a_sync() {
    let event = service_event("organizations", "AccountDepartedOrganization");
    for details in [
        json!({"memberAccountId": OTHER, "account": {"id": MEMBER}}),
        json!([{"memberAccountId": OTHER}, {"memberAccountId": MEMBER}]),
    ] {
        assert_eq!(synced(event.clone().service_details(details)), None);
    }
}

#[test]
fn the_region_of_an_organization_event_does_not_matter() {
    for (outer, inner) in
        [("us-gov-west-1", "us-gov-west-1"), ("eu-west-1", "us-east-1"), ("cn-northwest-1", "cn-north-1")]
    {
        let event = service_event("organizations", "AccountJoinedOrganization")
            .service_details(json!({"accountId": OTHER}))
            .top("region", json!(outer))
            .detail("awsRegion", json!(inner))
            .detail("readOnly", json!(true));
        assert_eq!(granted(event), account(OTHER), "{outer} {inner}");
    }
}

#[test]
fn a_call_that_may_have_happened_all_the_same_is_looked_into() {
    let failed = |name: &str, code: &str| {
        let request = json!({"accountId": OTHER});
        call("organizations", name).request(request).detail("errorCode", json!(code)).build()
    };
    for code in ["ServiceException", "InternalFailure", "ServiceUnavailable", "Server.InternalError"] {
        let Trigger::Revoke { cause, .. } = acted(&failed("RemoveAccountFromOrganization", code)) else { panic!() };
        assert!(
            cause.ends_with(&format!("; the call failed with {code}, which leaves open what it changed")),
            "{cause}"
        );
        assert!(matches!(acted(&failed("MoveAccount", code)), Trigger::Sync { .. }));
    }
    for code in ["AccessDenied", "ConstraintViolationException", "TooManyRequestsException", "Client.DryRunOperation"] {
        assert!(ignored(&failed("RemoveAccountFromOrganization", code)).contains(code));
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
    for action in [json!("HIDDEN_DUE_TO_SECURITY_REASONS"), json!(null), json!("")] {
        assert_eq!(synced(accept(json!({"action": action}))), Some(MEMBER.to_owned()), "{action}");
    }
    // The copy in the management account names the account that accepted as a party.
    let copy = accept(json!({"action": "invite", "parties": parties}))
        .top("account", json!(MANAGEMENT))
        .detail("recipientAccountId", json!(MANAGEMENT))
        .detail("sharedEventID", json!(EVENT_ID));
    assert_eq!(granted(copy), account(MEMBER));
    for name in ["AcceptHandshake", "LeaveOrganization"] {
        let masked = call("organizations", name)
            .response(json!({"handshake": {"action": "invite"}}))
            .top("account", json!("XXXXXXXXXXXX"))
            .without_detail("recipientAccountId");
        assert_eq!(synced(masked), None, "{name}");
    }
}

#[test]
fn moves_trigger_a_sync_and_removals_a_revocation() {
    let about =
        |name, id| call("organizations", name).request(json!({"accountId": id})).without_detail("recipientAccountId");
    assert_eq!(synced(about("MoveAccount", json!(OTHER))), Some(OTHER.to_owned()));
    assert_eq!(revoked(about("RemoveAccountFromOrganization", json!(OTHER))), account(OTHER));
    for name in ["MoveAccount", "RemoveAccountFromOrganization"] {
        for id in [json!(null), json!("XXXXXXXXXXXX"), json!(5)] {
            assert_eq!(synced(about(name, id)), None);
        }
        assert_eq!(synced(call("organizations", name)), None);
        assert_eq!(synced(call("organizations", name).request(json!({"omitted": true}))), None);
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
