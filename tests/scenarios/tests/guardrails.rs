//! The policies of `infra/guardrails`: what an administrator of a member account can no longer do, and that the product
//! works under them.

#![cfg(test)]

use aws_sdk_ec2::types::Tag;
use enroller_lab::people::Person;
use enroller_lab::{As, Lab, sdk_config};
use enroller_sim::policy_language::{Context, denies};
use enroller_tests::{DAY_MS, assert_all_covered, ordinary_member, organization, settled};
use serde_json::json;

const IRELAND: &str = "eu-west-1";
const BY_POLICY: &str = "with an explicit deny in a service control policy";
const GROUP: &str = "vpc-flow-logs";

/// The first id of a flow log of the account, and its VPC.
async fn flow_log_of(person: &Person) -> (String, String) {
    person.flow_logs().await.unwrap().remove(0)
}

fn assert_denied<T: std::fmt::Debug, E: std::error::Error>(what: &str, result: Result<T, E>) {
    let error = result.expect_err(what);
    let text = aws_sdk_ec2::error::DisplayErrorContext(&error).to_string();
    assert!(text.contains(BY_POLICY), "{what}: {text}");
}

#[tokio::test]
async fn an_administrator_can_no_longer_switch_logging_off() {
    let lab = settled(4, &[IRELAND], 2).await;
    lab.stacks.put_guardrails(&[]).unwrap();
    let account = ordinary_member(&lab);
    let person = Person::of(&lab.sim, &account, IRELAND);
    let ec2 = aws_sdk_ec2::Client::new(&sdk_config(&lab.sim, IRELAND, As::Account(&account)));
    let iam = aws_sdk_iam::Client::new(&sdk_config(&lab.sim, "us-east-1", As::Account(&account)));
    let (flow_log, vpc) = flow_log_of(&person).await;
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();

    assert_denied("delete the flow log", person.delete_flow_log(&flow_log).await);
    assert_denied("delete the filter", person.delete_filter(GROUP, "AllTraffic").await);
    assert_denied("delete the log group", person.delete_log_group(GROUP).await);
    assert_denied("shorten the retention", person.put_retention(GROUP, 1).await);
    let function = format!("arn:aws:lambda:{IRELAND}:{account}:function:mine");
    assert_denied("use up the filters", person.filter_to_function(GROUP, "mine", &function).await);
    let untag = ec2.delete_tags().resources(&flow_log).tags(Tag::builder().key("managed-by").build()).send();
    assert_denied("take our tag off", untag.await);
    let retag = ec2.create_tags().resources(&flow_log).tags(tag("managed-by", "me")).send();
    assert_denied("change our tag", retag.await);
    let opt_out = ec2.create_tags().resources(&vpc).tags(tag("team", "a")).tags(tag("vpc-flow-logs", "off")).send();
    assert_denied("opt a VPC out", opt_out.await);
    let narrow = ec2.create_tags().resources(&vpc).tags(tag("vpc-flow-logs-traffic-type", "REJECT")).send();
    assert_denied("narrow a VPC's recording", narrow.await);
    assert_denied("make a VPC that is opted out", person.create_vpc(&[("vpc-flow-logs", "off")]).await);
    for role in ["VpcFlowLogsEnrollerMember", "VpcFlowLogsEnrollerDelivery"] {
        let policy = iam.put_role_policy().role_name(role).policy_name("mine").policy_document("{}").send();
        assert_denied("change a role", policy.await);
    }
    assert_all_covered(&lab);
}

#[tokio::test]
async fn a_foreign_flow_log_cannot_be_made_to_look_like_ours() {
    let lab = settled(4, &[IRELAND], 1).await;
    let account = ordinary_member(&lab);
    let person = Person::of(&lab.sim, &account, IRELAND);
    let (ours, vpc) = flow_log_of(&person).await;
    person.log_to_bucket(&vpc, "arn:aws:s3:::theirs").await.unwrap();
    let logs = person.flow_logs().await.unwrap();
    let (foreign, _) = logs.into_iter().find(|(id, on)| *on == vpc && *id != ours).unwrap();
    lab.stacks.put_guardrails(&[]).unwrap();
    let ec2 = aws_sdk_ec2::Client::new(&sdk_config(&lab.sim, IRELAND, As::Account(&account)));
    let ownership = Tag::builder().key("managed-by").value("vpc-flow-logs-enroller").build();
    assert_denied("tag a foreign flow log", ec2.create_tags().resources(&foreign).tags(ownership).send().await);
    person.delete_flow_log(&foreign).await.expect("their own flow log is theirs to delete");
}

#[tokio::test]
async fn people_go_on_working_with_what_is_theirs() {
    let lab = settled(4, &[IRELAND], 1).await;
    lab.stacks.put_guardrails(&[("GuardrailAccountPolicies", "true")]).unwrap();
    let account = ordinary_member(&lab);
    let person = Person::of(&lab.sim, &account, IRELAND);
    let vpc = person.create_vpc(&[("team", "a")]).await.unwrap();
    person.create_log_group("vpc-flow-logs-of-a-team").await.unwrap();
    person.put_retention("vpc-flow-logs-of-a-team", 7).await.unwrap();
    person.delete_log_group("vpc-flow-logs-of-a-team").await.unwrap();
    person.log_to_bucket(&vpc, "arn:aws:s3:::theirs").await.unwrap();
    person.delete_vpc(&vpc).await.unwrap();
}

#[tokio::test]
async fn the_product_enrolls_repairs_and_delivers_under_the_guard_rails() {
    let lab: Lab = organization(4, &[IRELAND, "us-east-1"], 2);
    lab.stacks.put_guardrails(&[("GuardrailAccountPolicies", "true")]).unwrap();
    lab.deploy_members().unwrap();
    lab.settle(DAY_MS).await.unwrap();
    assert_all_covered(&lab);
    // A change of the settings replaces what is there, which is a deletion, too.
    let account = ordinary_member(&lab);
    let person = Person::of(&lab.sim, &account, IRELAND);
    person.create_vpc(&[]).await.unwrap();
    let mut lab = lab;
    lab.reconfigure(&[("traffic_type", "REJECT"), ("retention_days", "7")]).unwrap();
    lab.sweep(json!({})).await.unwrap();
    lab.settle(2 * DAY_MS).await.unwrap();
    lab.reconfigure(&[]).unwrap();
    lab.sweep(json!({})).await.unwrap();
    lab.settle(3 * DAY_MS).await.unwrap();
    assert_all_covered(&lab);
}

#[tokio::test]
async fn the_management_account_is_not_bound_and_the_exempt_role_neither() {
    let lab = settled(4, &[IRELAND], 1).await;
    lab.stacks.put_guardrails(&[("GuardrailExemptRole", "BreakGlass")]).unwrap();
    let person = Person::of(&lab.sim, &lab.sim.management(), IRELAND);
    person.delete_flow_log(&flow_log_of(&person).await.0).await.expect("policies do not bind this account");
    lab.settle(2 * DAY_MS).await.unwrap();
    assert_all_covered(&lab);

    let policies = lab.sim.with(|world| world.service_control_policies.clone());
    let [policy] = policies.as_slice() else { panic!("one policy, not {}", policies.len()) };
    let group = format!("arn:aws:logs:{IRELAND}:111122223333:log-group:{GROUP}");
    let by =
        |role: &str| Context::from([("aws:PrincipalArn".to_owned(), format!("arn:aws:iam::111122223333:role/{role}"))]);
    for (role, denied) in [
        ("Administrator", true),
        ("BreakGlassNot", true),
        ("BreakGlass", false),
        ("VpcFlowLogsEnrollerMember", false),
        ("stacksets-exec-0123456789abcdef0123456789abcdef", false),
    ] {
        assert_eq!(denies(policy, "logs:DeleteLogGroup", &group, &by(role)), denied, "{role}");
    }
}

/// What the simulated AWS has no operation for.
#[tokio::test]
async fn everything_else_that_would_switch_logging_off_is_denied_too() {
    let lab = organization(3, &[IRELAND], 1);
    lab.stacks.put_guardrails(&[("GuardrailAccountPolicies", "true")]).unwrap();
    let policies = lab.sim.with(|world| world.service_control_policies.clone());
    let arn = |service: &str, rest: &str| format!("arn:aws:{service}:{IRELAND}:111122223333:{rest}");
    let rule = arn("events", "rule/vpc-flow-logs-enroller-vpcs");
    let stack = arn("cloudformation", "stack/StackSet-vpc-flow-logs-enroller-member-0a1b/0a1b");
    let group = arn("logs", "log-group:vpc-flow-logs");
    let stream = arn("logs", "log-group:vpc-flow-logs:log-stream:eni-1-all");
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/{name}");
    let denied = |principal: &str, action: &str, resource: &str| {
        let context = Context::from([("aws:PrincipalArn".to_owned(), role(principal))]);
        policies.iter().any(|policy| denies(policy, action, resource, &context))
    };
    for (action, resource) in [
        ("events:DisableRule", rule.as_str()),
        ("events:DeleteRule", &rule),
        ("events:PutRule", &rule),
        ("events:RemoveTargets", &rule),
        ("cloudformation:DeleteStack", &stack),
        ("cloudformation:UpdateStack", &stack),
        ("logs:PutDataProtectionPolicy", &group),
        ("logs:PutTransformer", &group),
        ("logs:PutLogGroupDeletionProtection", &group),
        ("logs:AssociateKmsKey", &group),
        ("logs:DeleteLogStream", &stream),
        ("logs:CreateLogStream", &stream),
        ("logs:PutLogEvents", &stream),
        ("logs:PutAccountPolicy", "*"),
        ("iam:DeleteRole", &role("VpcFlowLogsEnrollerForwarder")),
        ("iam:CreateRole", &role("stacksets-exec-forged")),
        ("organizations:LeaveOrganization", "*"),
    ] {
        assert!(denied("Administrator", action, resource), "{action} on {resource}");
    }
    for (action, resource) in [
        ("events:DisableRule", arn("events", "rule/theirs")),
        ("events:DescribeRule", rule.clone()),
        ("cloudformation:DeleteStack", arn("cloudformation", "stack/theirs/0a1b")),
        ("cloudformation:DescribeStacks", stack.clone()),
        ("logs:GetLogEvents", stream.clone()),
        ("logs:PutLogEvents", arn("logs", "log-group:theirs:log-stream:s")),
        ("iam:GetRole", role("VpcFlowLogsEnrollerDelivery")),
        ("iam:CreateRole", role("theirs")),
    ] {
        assert!(!denied("Administrator", action, &resource), "{action} on {resource}");
    }
    // VPC Flow Logs writes with the delivery role, and CloudWatch Logs reads with the filter role.
    for role in ["VpcFlowLogsEnrollerDelivery", "VPCFlowLogsFilterRole"] {
        assert!(!denied(role, "logs:PutLogEvents", &stream), "{role}");
    }
    assert!(denied("VpcFlowLogsEnrollerDelivery", "logs:DeleteLogGroup", &group));
}
