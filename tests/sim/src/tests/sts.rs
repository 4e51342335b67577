use serde_json::json;

use super::*;
use crate::organizations::AccountState;

struct Setting {
    sim: Sim,
    central: Caller,
    member: String,
    role_arn: String,
}

fn setting() -> Setting {
    let sim = small();
    let member = others(&sim)[0].clone();
    let principal = json!({"AWS": format!("arn:aws:iam::{}:root", sim.central())});
    let organization = sim.with(|world| world.organization.id().to_owned());
    let condition = json!({"StringEquals": {"sts:ExternalId": "external-1", "aws:PrincipalOrgID": organization}});
    let role_arn = trusting_role(&sim, &member, "enroller", &principal, &condition);
    let central = Caller::of(&sim, &sim.central(), GLOBAL);
    Setting { sim, central, member, role_arn }
}

fn request(role_arn: &str) -> Value {
    json!({"RoleArn": role_arn, "RoleSessionName": "run", "ExternalId": "external-1"})
}

fn session(caller: &Caller, input: Value, region: &str) -> Caller {
    let answer = caller.call(Service::Sts, "AssumeRole", input).unwrap();
    let text = |name| texts(&answer, name).remove(0);
    let credentials = Credentials {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: Some(text("SessionToken")),
    };
    Caller { sim: caller.sim.clone(), credentials, region: region.to_owned() }
}

#[test]
fn a_trusted_caller_gets_a_session_of_the_members_account() {
    let setting = setting();
    let session = session(&setting.central, request(&setting.role_arn), REGION);
    let identity = session.call(Service::Sts, "GetCallerIdentity", json!({})).unwrap();
    assert_eq!(texts(&identity, "Arn"), [format!("arn:aws:sts::{}:assumed-role/enroller/run", setting.member)]);
    let vpcs = session.call(Service::Ec2, "DescribeVpcs", json!({})).unwrap();
    assert!(texts(&vpcs, "ownerId").iter().all(|owner| *owner == setting.member));
}

#[test]
fn whom_the_trust_policy_does_not_allow_is_denied_with_awss_message() {
    let setting = setting();
    let Setting { sim, central, role_arn, .. } = &setting;
    let missing = role_arn.replace("enroller", "absent");
    let stranger = sim.with(|world| world.add_account("stranger"));
    let management = Caller::of(sim, &sim.management(), GLOBAL);
    let cases = [
        (central, json!({"RoleArn": role_arn, "RoleSessionName": "run"})),
        (central, json!({"RoleArn": role_arn, "RoleSessionName": "run", "ExternalId": "other"})),
        (central, request(&missing)),
        (central, request("arn:aws:iam::999999999999:role/enroller")),
        (&management, request(role_arn)),
        (&Caller::of(sim, &stranger, GLOBAL), request(role_arn)),
    ];
    for (caller, input) in cases {
        let refusal = caller.call(Service::Sts, "AssumeRole", input.clone()).unwrap_err();
        let user = caller.credentials.access_key_id.replace("AKIA", "arn:aws:iam::").replace("SIM0", ":root");
        let arn = input["RoleArn"].as_str().unwrap();
        let message = format!("User: {user} is not authorized to perform: sts:AssumeRole on resource: {arn}");
        assert_eq!(refusal, ApiError::new(403, "AccessDenied", message));
    }
}

#[test]
fn a_role_pinned_to_the_callers_role_admits_only_its_sessions() {
    let setting = setting();
    let central = setting.sim.central();
    let lambda =
        trusting_role(&setting.sim, &central, "lambda", &json!({"Service": "lambda.amazonaws.com"}), &json!({}));
    let pinned = trusting_role(&setting.sim, &setting.member, "pinned", &json!({"AWS": lambda}), &json!({}));
    let credentials = setting.sim.role_session(&central, "lambda", "function").unwrap();
    let function = Caller { sim: setting.sim.clone(), credentials, region: GLOBAL.to_owned() };
    assert!(function.call(Service::Sts, "AssumeRole", request(&pinned)).is_ok());
    assert_eq!(setting.central.code(Service::Sts, "AssumeRole", request(&pinned)), "AccessDenied");

    let two_hours = |caller: &Caller| {
        let mut input = request(&pinned);
        input["DurationSeconds"] = json!("7200");
        caller.call(Service::Sts, "AssumeRole", input).unwrap_err().message
    };
    assert!(two_hours(&function).contains("1 hour session limit for roles assumed by role chaining"));
}

#[test]
fn durations_outside_the_roles_limits_are_refused() {
    let setting = setting();
    for (seconds, part) in [
        ("899", "greater than or equal to 900"),
        ("43201", "less than or equal to 43200"),
        ("3601", "MaxSessionDuration set"),
    ] {
        let mut input = request(&setting.role_arn);
        input["DurationSeconds"] = json!(seconds);
        let refusal = setting.central.call(Service::Sts, "AssumeRole", input).unwrap_err();
        assert!(refusal.code == "ValidationError" && refusal.message.contains(part), "{seconds}: {refusal}");
    }
}

#[test]
fn a_session_ends_on_virtual_time_with_the_code_of_each_service() {
    let setting = setting();
    let regional = session(&setting.central, request(&setting.role_arn), REGION);
    setting.sim.advance(3_599_999);
    assert!(regional.call(Service::Ec2, "DescribeVpcs", json!({})).is_ok());
    setting.sim.advance(1);
    for (service, operation, code) in [
        (Service::Ec2, "DescribeVpcs", "RequestExpired"),
        (Service::Sts, "GetCallerIdentity", "ExpiredToken"),
        (Service::Logs, "DescribeLogGroups", "ExpiredTokenException"),
    ] {
        assert_eq!(regional.code(service, operation, json!({})), code);
    }
}

#[test]
fn a_session_key_without_its_token_is_unknown() {
    let setting = setting();
    let mut session = session(&setting.central, request(&setting.role_arn), REGION);
    session.credentials.session_token = None;
    for (service, operation, code) in [
        (Service::Ec2, "DescribeVpcs", "AuthFailure"),
        (Service::Sts, "GetCallerIdentity", "InvalidClientTokenId"),
        (Service::Logs, "DescribeLogGroups", "UnrecognizedClientException"),
    ] {
        assert_eq!(session.code(service, operation, json!({})), code);
    }
}

#[test]
fn the_endpoints_region_has_to_be_enabled_in_the_target_account() {
    let setting = setting();
    let central = setting.sim.central();
    setting.sim.with(|world| world.enable_region(&central, "af-south-1")).unwrap();
    let caller = Caller::of(&setting.sim, &central, "af-south-1");
    assert_eq!(caller.code(Service::Sts, "AssumeRole", request(&setting.role_arn)), "RegionDisabledException");
    setting.sim.with(|world| world.enable_region(&setting.member, "af-south-1")).unwrap();
    assert!(caller.call(Service::Sts, "AssumeRole", request(&setting.role_arn)).is_ok());
}

#[test]
fn no_role_of_a_suspended_closed_or_unfinished_account_can_be_assumed() {
    for state in [AccountState::Suspended, AccountState::Closed, AccountState::PendingActivation] {
        let setting = setting();
        setting.sim.with(|world| world.set_account_state(&setting.member, state)).unwrap();
        assert_eq!(setting.central.code(Service::Sts, "AssumeRole", request(&setting.role_arn)), "AccessDenied");
    }
    let setting = setting();
    setting.sim.with(|world| world.close(&setting.member)).unwrap();
    assert!(setting.central.call(Service::Sts, "AssumeRole", request(&setting.role_arn)).is_ok());
}
