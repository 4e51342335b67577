use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::tests::{Caller, GLOBAL, REGION, first_vpc, others, small, trusting_role};
use crate::{Service, Sim};

fn member(sim: &Sim) -> Caller {
    Caller::of(sim, &others(sim)[0], REGION)
}

fn describe(caller: &Caller) -> String {
    caller.code(Service::Ec2, "DescribeVpcs", json!({})).split(' ').next().unwrap_or_default().to_owned()
}

/// A session of a role that may do everything in an account.
fn session(sim: &Sim, account: &str, role: &str) -> Caller {
    let credentials = sim.role_session(account, role, "enroller").unwrap();
    Caller { sim: sim.clone(), credentials, region: REGION.to_owned() }
}

#[test]
fn an_outage_of_a_service_in_a_region_lasts_its_seconds_and_no_longer() {
    let sim = small();
    sim.set_rule("outage=service=ec2,region=eu-west-1,answer=503,seconds=120").unwrap();
    let elsewhere = Caller { region: GLOBAL.to_owned(), ..member(&sim) };
    assert_eq!((describe(&member(&sim)), describe(&elsewhere)), ("Unavailable".to_owned(), "answered".to_owned()));
    sim.advance(119_999);
    assert_eq!(describe(&member(&sim)), "Unavailable");
    sim.advance(1);
    assert_eq!(describe(&member(&sim)), "answered");
}

#[test]
fn an_outage_answers_with_a_status_a_code_silence_or_a_broken_connection() {
    for (answer, code) in [
        ("500", "InternalError"),
        ("InternalServiceException", "InternalServiceException"),
        ("silence", "Hangs"),
        ("broken", "Lost"),
    ] {
        let sim = small();
        sim.set_rule(&format!("outage=operation=DescribeVpcs|CreateVpc,answer={answer},calls=2")).unwrap();
        let create = json!({"CidrBlock": "10.9.0.0/16"});
        assert_eq!(describe(&member(&sim)), code);
        assert_eq!(member(&sim).code(Service::Ec2, "CreateVpc", create), code);
        assert_eq!(describe(&member(&sim)), "answered", "only two calls: {answer}");
    }
}

#[test]
fn sts_can_be_off_for_a_region_while_another_one_gives_sessions() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let central = sim.central();
    let role =
        trusting_role(&sim, &account, "Member", &json!({"AWS": format!("arn:aws:iam::{central}:root")}), &json!({}));
    sim.set_rule("sts-off=eu-west-1").unwrap();
    let assume = |region: &str| {
        let input = json!({"RoleArn": role, "RoleSessionName": "enroller"});
        Caller::of(&sim, &central, region).code(Service::Sts, "AssumeRole", input)
    };
    assert_eq!(assume(REGION), "RegionDisabledException");
    assert!(assume(GLOBAL).starts_with("answered"), "{}", assume(GLOBAL));
}

#[test]
fn a_service_control_policy_denies_actions_of_members_with_its_own_text_and_not_of_the_management_account() {
    let sim = small();
    sim.set_rule("scp-deny=action=ec2:DeleteFlowLogs|logs:*").unwrap();
    let refusal = member(&sim).call(Service::Logs, "DescribeLogGroups", json!({})).unwrap_err();
    assert_eq!(refusal.code, "AccessDeniedException");
    assert!(refusal.message.ends_with("with an explicit deny in a service control policy"), "{refusal}");
    let unknown = json!({"FlowLogId.1": "fl-00000000000000000"});
    assert!(member(&sim).code(Service::Ec2, "DeleteFlowLogs", unknown).starts_with("answered"), "nothing to delete");
    let management = Caller::of(&sim, &sim.management(), REGION);
    assert!(management.call(Service::Logs, "DescribeLogGroups", json!({})).is_ok());
    assert_eq!(describe(&member(&sim)), "answered");
}

#[test]
fn an_identity_policy_denies_an_action_of_one_role_only() {
    let sim = small();
    let account = others(&sim)[0].clone();
    for role in ["One", "Other"] {
        trusting_role(&sim, &account, role, &json!("*"), &json!({}));
    }
    sim.set_rule(&format!("iam-deny=action=ec2:Describe*,account={account},role=One")).unwrap();
    let refusal = session(&sim, &account, "One").call(Service::Ec2, "DescribeVpcs", json!({})).unwrap_err();
    assert_eq!(refusal.code, "UnauthorizedOperation");
    assert!(refusal.message.ends_with("with an explicit deny in an identity-based policy"), "{refusal}");
    assert_eq!(describe(&session(&sim, &account, "Other")), "answered");
}

#[test]
fn sessions_of_a_deleted_role_stay_denied_when_it_is_made_again_and_a_new_session_works() {
    let sim = small();
    let account = others(&sim)[0].clone();
    trusting_role(&sim, &account, "Member", &json!("*"), &json!({}));
    let old = session(&sim, &account, "Member");
    trusting_role(&sim, &account, "Member", &json!("*"), &json!({}));
    assert_eq!(describe(&old), "answered", "an update keeps the role's id");
    sim.with(|world| world.iam.remove_role(&account, "Member")).unwrap();
    assert_eq!(describe(&old), "UnauthorizedOperation");
    trusting_role(&sim, &account, "Member", &json!("*"), &json!({}));
    assert_eq!(describe(&old), "UnauthorizedOperation");
    assert_eq!(old.code(Service::Logs, "DescribeLogGroups", json!({})), "AccessDeniedException");
    assert_eq!(describe(&session(&sim, &account, "Member")), "answered");
    assert_eq!(describe(&old), "UnauthorizedOperation", "a new session of the same name does not revive it");
}

#[test]
fn revoked_sessions_are_denied_and_new_ones_work() {
    let sim = small();
    let account = others(&sim)[0].clone();
    trusting_role(&sim, &account, "Member", &json!("*"), &json!({}));
    let old = session(&sim, &account, "Member");
    sim.revoke_sessions(&account, "Member").unwrap();
    assert_eq!(describe(&old), "UnauthorizedOperation");
    assert_eq!(describe(&session(&sim, &account, "Member")), "answered");
    assert!(old.call(Service::Sts, "GetCallerIdentity", json!({})).is_ok());
}

#[test]
fn create_flow_logs_can_say_that_a_flow_log_exists_where_there_is_none() {
    let sim = small();
    let account = others(&sim)[0].clone();
    sim.set_rule("flow-log-exists=region=eu-west-1,calls=1").unwrap();
    let input = json!({
        "ResourceType": "VPC", "ResourceId.1": first_vpc(&sim, &account), "TrafficType": "ALL",
        "LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::bucket",
    });
    let create = || member(&sim).call(Service::Ec2, "CreateFlowLogs", input.clone()).unwrap();
    assert!(create().contains("<code>FlowLogAlreadyExists</code>"));
    assert_eq!(sim.with(|world| world.ec2.flow_logs(&account, REGION).count()), 0);
    assert!(create().contains("<unsuccessful></unsuccessful>"));
}

#[test]
fn an_attribute_comes_back_in_another_form() {
    let sim = small();
    sim.set_rule("echo=attribute=cidrBlock,form={}-x,operation=DescribeVpcs").unwrap();
    sim.set_rule("echo=attribute=Name,form=other,service=organizations").unwrap();
    let vpcs = member(&sim).call(Service::Ec2, "DescribeVpcs", json!({})).unwrap();
    assert!(vpcs.contains("<cidrBlock>10.0.0.0/16-x</cidrBlock>"), "{vpcs}");
    let central = Caller::of(&sim, &sim.central(), GLOBAL);
    let listed = central.json(Service::Organizations, "ListAccounts", json!({}));
    assert_eq!(listed["Accounts"][0]["Name"], "other");
}

fn control(sim: &Sim, method: &Method, path: &str, body: &Value) -> (u16, Value) {
    let response = respond(sim, method, path, body.to_string().as_bytes()).unwrap();
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

#[test]
fn rules_are_set_shown_and_lifted_over_the_control_endpoint() {
    let sim = small();
    let body = json!({
        "outage": {"service": "ec2", "account": [others(&sim)[0]], "answer": "silence"},
        "twins": "same-destination", "role-propagation-seconds": 10,
    });
    let (status, set) = control(&sim, &Method::POST, "/_sim/rules", &body);
    let id = set["ids"]["outage"].as_u64().unwrap();
    assert_eq!((status, describe(&member(&sim))), (200, "Hangs".to_owned()));
    let (_, shown) = control(&sim, &Method::GET, "/_sim/rules", &json!(null));
    assert_eq!((&shown["rules"][0]["hits"], &shown["rules"][0]["value"]), (&json!(1), &body["outage"]));
    assert_eq!(shown["switches"]["twins"], "same-destination");
    assert_eq!(sim.with(|world| (world.settings.role_propagation_ms, world.rules.hits(id))), (10_000, 1));
    assert_eq!(control(&sim, &Method::DELETE, &format!("/_sim/rules/{id}"), &json!(null)).0, 200);
    assert_eq!(describe(&member(&sim)), "answered");
    assert_eq!(control(&sim, &Method::DELETE, "/_sim/rules/7", &json!(null)).0, 404);
    assert!(respond(&sim, &Method::POST, "/", b"").is_none(), "a call to AWS");
}

#[test]
fn the_clock_moves_over_the_control_endpoint() {
    let sim = small();
    let before = sim.now_ms();
    assert_eq!(control(&sim, &Method::POST, "/_sim/clock", &json!({"advance_seconds": 90})).0, 200);
    assert_eq!(sim.now_ms() - before, 90_000);
}

#[test]
fn a_rule_that_cannot_be_read_says_why_and_sets_nothing() {
    let sim = small();
    for (text, part) in [
        ("outage", "NAME=VALUE"),
        ("frob=1", "there is no rule frob; the rules are outage, "),
        ("outage=service=ec2,frob=1", "it has no frob, only answer"),
        ("outage=answer=200", "is no HTTP error"),
        ("outage=seconds=soon", "seconds is not a whole number"),
        ("scp-deny=true", "action is missing"),
        ("twins=none", "same-configuration or same-destination"),
        ("role-propagation-seconds=long", "not a whole number"),
    ] {
        let error = sim.set_rule(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    let body = json!({"outage": {}, "twins": "none"});
    assert_eq!(control(&sim, &Method::POST, "/_sim/rules", &body).0, 400);
    assert_eq!(describe(&member(&sim)), "answered");
}

#[test]
fn a_key_can_be_refused_to_cloudwatch_logs_for_a_time() {
    let sim = small();
    sim.set_rule("key-refused=seconds=60").unwrap();
    let account = others(&sim)[0].clone();
    let create = || {
        let key = format!("arn:aws:kms:{REGION}:{account}:key/00000000-0000-4000-8000-000000000000");
        let input = json!({"logGroupName": "g", "kmsKeyId": key});
        member(&sim).call(Service::Logs, "CreateLogGroup", input).map_err(|refusal| refusal.code)
    };
    assert_eq!(create(), Err("InvalidParameterException".to_owned()));
    sim.advance(60_000);
    assert!(create().is_ok());
}

#[test]
fn a_queue_can_refuse_the_events_of_rules() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let queue = crate::fixtures::watch(&sim, &account, REGION);
    let make = || {
        member(&sim).call(Service::Ec2, "CreateVpc", json!({"CidrBlock": "10.9.0.0/16"})).unwrap();
        sim.advance(3_600_000);
        crate::fixtures::events_on(&sim, &queue).len()
    };
    let rule = sim.set_rule("queue-refuses-events=eu-west-1").unwrap().unwrap();
    assert_eq!(make(), 0);
    assert!(sim.with(|world| world.rules.hits(rule)) > 0);
    sim.with(|world| world.rules.lift(rule));
    assert_eq!(make(), 1);
}
