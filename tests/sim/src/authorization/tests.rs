use serde_json::{Value, json};

use crate::fixtures::allow;
use crate::tests::{Caller, GLOBAL, REGION, first_vpc, others, small};
use crate::{ApiError, Service, Sim};

/// A session of a role with these permissions in the first member account.
fn session(sim: &Sim, actions: &[&str], resource: &str) -> Caller {
    let account = others(sim)[0].clone();
    let trust = json!({"Statement": []});
    sim.with(|world| world.put_role(&account, "worker", trust, allow(actions, resource)).arn.clone());
    let credentials = sim.role_session(&account, "worker", "work").unwrap();
    Caller { sim: sim.clone(), credentials, region: REGION.to_owned() }
}

#[test]
fn each_service_refuses_what_no_policy_allows_in_its_own_words() {
    let sim = small();
    let caller = session(&sim, &[], "*");
    let account = others(&sim)[0].clone();
    let user = format!("User: arn:aws:sts::{account}:assumed-role/worker/work is not authorized to perform:");
    let because = |action: &str, resource: &str| {
        format!("{user} {action} on resource: {resource} because no identity-based policy allows the {action} action")
    };
    let group = format!("arn:aws:logs:{REGION}:{account}:log-group:g:log-stream:");
    let ec2 = format!("You are not authorized to perform this operation. {}", because("ec2:DescribeVpcs", "*"));
    let cases: [(Service, &str, Value, ApiError); 4] = [
        (Service::Ec2, "DescribeVpcs", json!({}), ApiError::new(403, "UnauthorizedOperation", ec2)),
        (
            Service::Logs,
            "CreateLogGroup",
            json!({"logGroupName": "g"}),
            ApiError::new(400, "AccessDeniedException", because("logs:CreateLogGroup", &group)),
        ),
        (
            Service::Sts,
            "AssumeRole",
            json!({"RoleArn": "arn:aws:iam::111122223333:role/r", "RoleSessionName": "me"}),
            ApiError::new(403, "AccessDenied", because("sts:AssumeRole", "arn:aws:iam::111122223333:role/r")),
        ),
        (
            Service::Sqs,
            "SendMessageBatch",
            json!({"QueueUrl": "q", "Entries": []}),
            ApiError::new(
                403,
                "AccessDeniedException",
                because("sqs:SendMessage", &format!("arn:aws:sqs:{REGION}:{account}:")),
            ),
        ),
    ];
    for (service, operation, input, expected) in cases {
        assert_eq!(caller.call(service, operation, input).unwrap_err(), expected);
    }
    let global = Caller { region: GLOBAL.to_owned(), ..caller };
    assert_eq!(global.code(Service::Iam, "GetRole", json!({"RoleName": "r"})), "AccessDenied");
    assert_eq!(global.code(Service::Organizations, "ListAccounts", json!({})), "AccessDeniedException");
    assert!(global.call(Service::Sts, "GetCallerIdentity", json!({})).is_ok(), "needs no permission");
}

#[test]
fn a_flow_log_needs_permission_on_itself_each_vpc_its_tags_and_its_role() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let vpc = first_vpc(&sim, &account);
    let role = format!("arn:aws:iam::{account}:role/VpcFlowLogsEnrollerDelivery");
    let input = json!({
        "ResourceType": "VPC", "ResourceId.1": vpc, "TrafficType": "ALL", "LogGroupName": "g",
        "DeliverLogsPermissionArn": role, "TagSpecification.1.ResourceType": "vpc-flow-log",
        "TagSpecification.1.Tag.1.Key": "managed-by", "TagSpecification.1.Tag.1.Value": "us",
    });
    let statements = |without: usize| {
        let ec2 = format!("arn:aws:ec2:{REGION}:{account}");
        let mut all = vec![
            json!({"Effect": "Allow", "Action": "ec2:CreateFlowLogs", "Resource": format!("{ec2}:vpc-flow-log/*"),
                "Condition": {"StringEquals": {"aws:RequestTag/managed-by": "us"}}}),
            json!({"Effect": "Allow", "Action": "ec2:CreateFlowLogs", "Resource": format!("{ec2}:vpc/{vpc}")}),
            json!({"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": format!("{ec2}:vpc-flow-log/*"),
                "Condition": {"StringEquals": {"ec2:CreateAction": "CreateFlowLogs"}}}),
            json!({"Effect": "Allow", "Action": "iam:PassRole", "Resource": role,
                "Condition": {"StringEquals": {"iam:PassedToService": "vpc-flow-logs.amazonaws.com"}}}),
        ];
        if without < all.len() {
            all.remove(without);
        }
        json!({"Statement": all})
    };
    for without in 0..=4 {
        let caller = session(&sim, &[], "*");
        sim.with(|world| {
            let policies = std::collections::BTreeMap::from([("p".to_owned(), statements(without))]);
            world.put_role(&account, "worker", json!({"Statement": []}), policies);
        });
        let code = caller.code(Service::Ec2, "CreateFlowLogs", input.clone());
        // With all four the call gets as far as the role, which does not exist.
        let expected = if without < 4 { "UnauthorizedOperation" } else { "InvalidParameter" };
        assert_eq!(code, expected, "without statement {without}");
    }
}

#[test]
fn what_is_allowed_on_one_resource_is_refused_on_another() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let ours = format!("arn:aws:logs:*:{account}:log-group:ours:*");
    let caller = session(&sim, &["logs:CreateLogGroup", "logs:PutRetentionPolicy"], &ours);
    assert!(caller.call(Service::Logs, "CreateLogGroup", json!({"logGroupName": "ours"})).is_ok());
    for name in ["ours2", "theirs"] {
        let code = caller.code(Service::Logs, "CreateLogGroup", json!({"logGroupName": name}));
        assert_eq!(code, "AccessDeniedException", "{name}");
    }
    let tagged = json!({"logGroupName": "ours", "tags": {"k": "v"}});
    let refusal = caller.call(Service::Logs, "CreateLogGroup", tagged).unwrap_err();
    assert!(refusal.message.contains("logs:TagResource on resource"), "{refusal}");
}

#[test]
fn a_session_whose_role_is_gone_may_do_nothing() {
    let sim = small();
    let caller = session(&sim, &["*"], "*");
    assert!(caller.call(Service::Ec2, "DescribeVpcs", json!({})).is_ok());
    let account = others(&sim)[0].clone();
    sim.with(|world| world.iam.remove_role(&account, "worker"));
    assert_eq!(caller.code(Service::Ec2, "DescribeVpcs", json!({})), "UnauthorizedOperation");
}

#[test]
fn fields_about_ecs_need_permissions_to_list_what_they_name() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let create = |caller: &Caller, fields: &str| {
        let input = json!({
            "ResourceType": "VPC", "ResourceId.1": first_vpc(&sim, &account), "TrafficType": "ALL",
            "LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::bucket", "LogFormat": fields,
        });
        caller.call(Service::Ec2, "CreateFlowLogs", input).map_err(|refusal| refusal.message)
    };
    let without = session(&sim, &["ec2:*"], "*");
    assert!(create(&without, "${version} ${action}").is_ok());
    assert!(create(&without, "${version} ${ecs-task-id}").unwrap_err().contains("ecs:ListClusters"));
    let with = session(&sim, &["ec2:*", "ecs:ListClusters", "ecs:ListTasks"], "*");
    assert!(create(&with, "${version} ${ecs-task-id}").is_ok());
    assert!(create(&with, "${version} ${ecs-service-name}").unwrap_err().contains("ecs:ListServices"));
}
