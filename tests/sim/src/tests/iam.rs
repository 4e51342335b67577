use serde_json::json;

use super::*;

fn trust(service: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]})
    .to_string()
}

fn administrator(sim: &Sim) -> Caller {
    Caller::of(sim, &others(sim)[0], GLOBAL)
}

#[test]
fn a_role_is_created_once_read_back_and_deleted_only_when_empty() {
    let sim = small();
    let iam = administrator(&sim);
    let create = json!({"RoleName": "r", "AssumeRolePolicyDocument": trust("vpc-flow-logs.amazonaws.com")});
    assert!(iam.call(Service::Iam, "CreateRole", create.clone()).is_ok());
    assert_eq!(iam.code(Service::Iam, "CreateRole", create), "EntityAlreadyExists");
    let read = iam.call(Service::Iam, "GetRole", json!({"RoleName": "r"})).unwrap();
    assert!(texts(&read, "AssumeRolePolicyDocument")[0].starts_with("%7B%22Statement%22%3A%5B"), "{read}");
    let policy = json!({"Statement": {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}}).to_string();
    let put = json!({"RoleName": "r", "PolicyName": "p", "PolicyDocument": policy});
    assert!(iam.call(Service::Iam, "PutRolePolicy", put).is_ok());
    assert_eq!(iam.code(Service::Iam, "DeleteRole", json!({"RoleName": "r"})), "DeleteConflict");
    assert!(iam.call(Service::Iam, "DeleteRolePolicy", json!({"RoleName": "r", "PolicyName": "p"})).is_ok());
    assert_eq!(iam.code(Service::Iam, "GetRolePolicy", json!({"RoleName": "r", "PolicyName": "p"})), "NoSuchEntity");
    assert!(iam.call(Service::Iam, "DeleteRole", json!({"RoleName": "r"})).is_ok());
    assert_eq!(iam.code(Service::Iam, "GetRole", json!({"RoleName": "r"})), "NoSuchEntity");
}

#[test]
fn documents_that_are_malformed_or_too_long_are_refused() {
    let sim = small();
    let iam = administrator(&sim);
    let long = trust(&"x".repeat(2048));
    for (document, code) in
        [("{", "MalformedPolicyDocument"), ("{}", "MalformedPolicyDocument"), (long.as_str(), "LimitExceeded")]
    {
        let input = json!({"RoleName": "r", "AssumeRolePolicyDocument": document});
        assert_eq!(iam.code(Service::Iam, "CreateRole", input), code);
    }
}

#[test]
fn roles_are_the_same_in_all_regions_and_iam_is_signed_for_one() {
    let sim = small();
    let mut iam = administrator(&sim);
    iam.region = REGION.to_owned();
    assert_eq!(iam.code(Service::Iam, "GetRole", json!({"RoleName": "r"})), "SignatureDoesNotMatch");
}

#[test]
fn a_new_role_cannot_be_used_before_it_has_spread() {
    let sim = small();
    sim.with(|world| world.settings.role_propagation_ms = 8_000);
    let account = others(&sim)[0].clone();
    let iam = Caller::of(&sim, &account, GLOBAL);
    let create = json!({"RoleName": "r", "AssumeRolePolicyDocument": trust("vpc-flow-logs.amazonaws.com")});
    iam.call(Service::Iam, "CreateRole", create).unwrap();
    let ec2 = Caller::of(&sim, &account, REGION);
    let input = json!({
        "ResourceType": "VPC", "ResourceId.1": first_vpc(&sim, &account), "TrafficType": "ALL", "LogGroupName": "g",
        "DeliverLogsPermissionArn": format!("arn:aws:iam::{account}:role/r"),
    });
    let refusal = ec2.call(Service::Ec2, "CreateFlowLogs", input.clone()).unwrap_err();
    assert_eq!(refusal, ApiError::new(400, "InvalidParameter", "Unable to assume given IAM role"));
    sim.advance(8_000);
    assert!(ec2.call(Service::Ec2, "CreateFlowLogs", input).is_ok());
}
