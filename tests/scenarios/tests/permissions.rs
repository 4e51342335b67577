//! The permission contract: everything works with the roles of the shipped templates, every permission is needed, and
//! everything else is denied.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use enroller_core::policy::{delivery_role, filter_role};
use enroller_lab::{Element, Lab, Withheld};
use enroller_sim::iam::Use;
use enroller_sim::{ApiError, Credentials, Service};
use enroller_tests::permissions::{Case, Run, all, allowed, run};
use enroller_tests::state::difference;
use enroller_tests::{ordinary_member, organization, settled};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const IRELAND: &str = "eu-west-1";
const MEMBER_ROLE: &str = "VpcFlowLogsEnrollerMember";
const DELIVERY_ROLE: &str = "VpcFlowLogsEnrollerDelivery";

/// Permissions that no case uses: role, statement, action, and the reason why they are there. A test fails when a
/// listed permission is used after all.
const UNUSED: &[(&str, &str, &str, &str)] = &[
    (STREAM_ROLE, "Bucket", "s3:GetBucketLocation", FIREHOSE),
    (STREAM_ROLE, "Bucket", "s3:ListBucket", FIREHOSE),
    (STREAM_ROLE, "Bucket", "s3:ListBucketMultipartUploads", FIREHOSE),
    (STREAM_ROLE, "Errors", "logs:PutLogEvents", FIREHOSE),
    (STREAM_ROLE, "Objects", "s3:AbortMultipartUpload", FIREHOSE),
    (STREAM_ROLE, "Objects", "s3:GetObject", FIREHOSE),
    (STREAM_ROLE, "Objects", "s3:PutObject", FIREHOSE),
];

/// The only role without a given name, as the template evaluation names it.
const STREAM_ROLE: &str = "stack-StreamRole-1EXAMPLE";
const FIREHOSE: &str = "The simulated AWS ends at the stream. Firehose asks for these (Firehose developer guide, \"Grant \
                        Firehose access to an Amazon S3 destination\").";

/// Requests whose denial is expected: role and action.
const REFUSED: &[(&str, &str)] = &[
    // The flow logs service would recreate a deleted log group. The role must not allow it.
    (DELIVERY_ROLE, "logs:CreateLogGroup"),
];

/// A case run with all permissions, and how long it took.
struct Baseline {
    case: Case,
    run: Run,
    took: Duration,
}

/// All cases with all permissions, the fastest first. They run once per process.
async fn baseline() -> &'static [Baseline] {
    static BASELINE: OnceCell<Vec<Baseline>> = OnceCell::const_new();
    let make = || async {
        let mut runs = Vec::new();
        for case in all() {
            let begun = Instant::now();
            let run = run(&case, None).await;
            runs.push(Baseline { case, run, took: begun.elapsed() });
        }
        runs.sort_by_key(|baseline| baseline.took);
        runs
    };
    BASELINE.get_or_init(make).await
}

#[tokio::test]
async fn every_case_succeeds_with_the_roles_of_the_templates() {
    for Baseline { case, run, .. } in baseline().await {
        for denial in &run.denials {
            let expected = REFUSED.contains(&(denial.role.as_str(), denial.action.as_str()));
            assert!(expected, "{}: {denial:?}", case.name);
        }
        let left = run.end.iter().filter(|line| line.contains("messages on ") && !line.starts_with("0 "));
        assert_eq!(left.collect::<Vec<_>>(), [""; 0], "{}", case.name);
        assert!(!run.end.iter().any(|line| line.starts_with("failed:")), "{}: {:#?}", case.name, run.end);
    }
}

#[tokio::test]
async fn every_allowed_action_and_resource_is_used_or_has_a_reason() {
    let baseline = baseline().await;
    let allowed = allowed();
    let (mut actions, mut resources) = (BTreeSet::new(), BTreeSet::new());
    for ((role, policy, statement), (names, count)) in &allowed {
        let key = (role.as_str(), policy.as_str(), statement.as_str());
        actions.extend(names.iter().map(|name| (key, name.as_str())));
        resources.extend((0..*count).map(|number| (key, number)));
    }
    let total = (actions.len(), resources.len());
    for used in baseline.iter().flat_map(|baseline| &baseline.run.uses) {
        let key = (used.role.as_str(), used.policy.as_str(), used.statement.as_str());
        actions.remove(&(key, used.action.as_str()));
        resources.remove(&(key, used.resource));
    }
    println!(
        "permissions: of {} actions on {} resources, {} and {} are not used by any of {} cases",
        total.0,
        total.1,
        actions.len(),
        resources.len(),
        baseline.len()
    );
    let reasons: BTreeSet<_> = UNUSED.iter().map(|(role, statement, action, _)| (*role, *statement, *action)).collect();
    let unused: BTreeSet<_> =
        actions.iter().map(|((role, _, statement), action)| (*role, *statement, *action)).collect();
    let without_reason: Vec<_> = unused.difference(&reasons).collect();
    assert!(without_reason.is_empty(), "allowed and never used: {without_reason:#?}");
    let outdated: Vec<_> = reasons.difference(&unused).collect();
    assert!(outdated.is_empty(), "used after all, or no longer allowed: {outdated:#?}");
    resources.retain(|((role, ..), _)| *role != STREAM_ROLE);
    assert!(resources.is_empty(), "resources that are allowed and never used: {resources:#?}");
}

/// What can be withheld: each used action, and each used resource of a statement with several resources.
fn withheld(roles: impl Fn(&str) -> bool, baseline: &[Baseline]) -> BTreeSet<Withheld> {
    let allowed = allowed();
    let mut found = BTreeSet::new();
    for used in baseline.iter().flat_map(|baseline| &baseline.run.uses) {
        let Use { role, policy, statement, .. } = used;
        let key = (role.clone(), policy.clone(), statement.clone());
        let Some((_, resources)) = allowed.get(&key).filter(|_| roles(role)) else { continue };
        let of =
            |element| Withheld { role: role.clone(), policy: policy.clone(), statement: statement.clone(), element };
        found.insert(of(Element::Action(used.action.clone())));
        if *resources > 1 {
            found.insert(of(Element::Resource(used.resource)));
        }
    }
    found
}

fn uses(baseline: &Baseline, withheld: &Withheld) -> bool {
    baseline.run.uses.iter().any(|used| {
        (&used.role, &used.policy, &used.statement) == (&withheld.role, &withheld.policy, &withheld.statement)
            && match &withheld.element {
                Element::Action(action) => used.action == *action,
                Element::Resource(number) => used.resource == *number,
            }
    })
}

/// Withholds one permission after the other. Each time the end state of some case must change.
async fn assert_each_is_needed(what: &str, roles: impl Fn(&str) -> bool) {
    let baseline = baseline().await;
    let (mut noticed_by, mut runs, begun) = (BTreeMap::<&str, usize>::new(), 0, Instant::now());
    let mut slowest = (Duration::ZERO, String::new());
    let mut needless = Vec::new();
    let all = withheld(roles, baseline);
    for one in &all {
        let mut noticed = false;
        for case in baseline.iter().filter(|case| uses(case, one)) {
            runs += 1;
            let started = Instant::now();
            let without = run(&case.case, Some(one)).await;
            if started.elapsed() > slowest.0 {
                slowest = (started.elapsed(), format!("{} without {one:?}", case.case.name));
            }
            if !difference(&case.run.end, &without.end).is_empty() {
                *noticed_by.entry(case.case.name).or_default() += 1;
                noticed = true;
                break;
            }
        }
        if !noticed {
            needless.push(format!("{one:?}"));
        }
    }
    println!(
        "permissions of {what}: {} withheld one by one, {} noticed, {runs} runs in {:?} (slowest {slowest:?}): {noticed_by:?}",
        all.len(),
        all.len() - needless.len(),
        begun.elapsed()
    );
    assert!(needless.is_empty(), "no end state changes without:\n{}", needless.join("\n"));
}

fn is_function(role: &str) -> bool {
    ["VpcEnroller", "AccountOnboarder", "Backfill"].iter().any(|name| role == format!("VpcFlowLogsEnroller{name}"))
}

#[tokio::test]
async fn the_functions_need_each_of_their_permissions() {
    assert_each_is_needed("the functions' roles", is_function).await;
}

#[tokio::test]
async fn the_member_role_needs_each_of_its_permissions() {
    assert_each_is_needed("the member role", |role| role == MEMBER_ROLE).await;
}

#[tokio::test]
async fn the_roles_of_aws_services_need_each_of_their_permissions() {
    assert_each_is_needed("the roles of AWS services", |role| !is_function(role) && role != MEMBER_ROLE).await;
}

/// The document without lists of one, which mean the same as their element.
fn without_lists_of_one(document: &Value) -> Value {
    match document {
        Value::Array(items) if items.len() == 1 => without_lists_of_one(&items[0]),
        Value::Array(items) => items.iter().map(without_lists_of_one).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), without_lists_of_one(value))).collect())
        }
        other => other.clone(),
    }
}

#[tokio::test]
async fn the_enrollers_role_documents_match_the_template() {
    let lab = organization(2, &[IRELAND], 0);
    let account = lab.sim.management();
    let roles = lab.stacks.member_stack(&account, IRELAND).unwrap().roles().unwrap();
    let role = |name: &str| roles.iter().find(|role| role.name == name).unwrap().clone();
    let (partition, id, group) = (lab.settings.partition(), account.parse().unwrap(), &lab.settings.log_group_name);
    let delivery = role(DELIVERY_ROLE);
    assert_eq!(delivery.trust, delivery_role::trust_policy(partition, id));
    assert_eq!(
        without_lists_of_one(&delivery.policies[&lab.settings.delivery_role_policy_name]),
        without_lists_of_one(&delivery_role::permissions(partition, id, group))
    );
    let filter = role("VPCFlowLogsFilterRole");
    assert_eq!(filter.trust, filter_role::trust_policy(partition, id));
    assert_eq!(
        without_lists_of_one(&filter.policies["Deliver"]),
        without_lists_of_one(&filter_role::permissions(partition, id, group))
    );
}

/// A settled installation whose roles can be used.
struct Installation {
    lab: Lab,
    member: String,
}

impl Installation {
    async fn new() -> Self {
        let lab = settled(3, &[IRELAND, "us-east-1"], 1).await;
        let member = ordinary_member(&lab);
        Self { lab, member }
    }

    fn call_as(
        &self,
        (account, role): (&str, &str),
        region: &str,
        service: Service,
        operation: &str,
        input: &Value,
    ) -> Result<String, ApiError> {
        let session: Credentials = self.lab.sim.role_session(account, role, "intruder").unwrap();
        self.lab.sim.call_raw(&session, region, service, operation, input)
    }

    /// A call with the member role in the member account.
    fn by_member(&self, service: Service, operation: &str, input: &Value) -> Result<String, ApiError> {
        self.call_as((&self.member, MEMBER_ROLE), IRELAND, service, operation, input)
    }
}

#[track_caller]
fn assert_denied(answer: Result<String, ApiError>, action: &str) {
    let refusal = answer.unwrap_err();
    let because = format!("because no identity-based policy allows the {action} action");
    assert!(refusal.message.ends_with(&because), "{refusal}");
}

#[tokio::test]
async fn the_member_role_cannot_touch_unmanaged_resources() {
    let installation = Installation::new().await;
    let (sim, member) = (&installation.lab.sim, &installation.member);
    let vpc = sim.with(|world| world.ec2.vpcs(member, IRELAND).next().unwrap().id.clone());
    let create = |tags: Value, role: &str| {
        let mut input = json!({ "ResourceType": "VPC", "ResourceId.1": vpc, "TrafficType": "REJECT",
            "LogGroupName": "vpc-flow-logs", "DeliverLogsPermissionArn": format!("arn:aws:iam::{member}:role/{role}") });
        input.as_object_mut().unwrap().extend(tags.as_object().unwrap().clone());
        input
    };
    let tag = |value: &str| {
        json!({ "TagSpecification.1.ResourceType": "vpc-flow-log", "TagSpecification.1.Tag.1.Key": "managed-by",
            "TagSpecification.1.Tag.1.Value": value })
    };
    let flow_logs = |input: &Value| installation.by_member(Service::Ec2, "CreateFlowLogs", input);
    assert_denied(flow_logs(&create(json!({}), DELIVERY_ROLE)), "ec2:CreateFlowLogs");
    assert_denied(flow_logs(&create(tag("another-tool"), DELIVERY_ROLE)), "ec2:CreateFlowLogs");
    assert_denied(flow_logs(&create(tag("vpc-flow-logs-enroller"), MEMBER_ROLE)), "iam:PassRole");
    // An unmanaged flow log in the account.
    let theirs = json!({ "ResourceType": "VPC", "ResourceId.1": vpc, "TrafficType": "ALL", "LogDestinationType": "s3",
        "LogDestination": "arn:aws:s3:::theirs" });
    let answer = sim.call_raw(&sim.credentials_of(member), IRELAND, Service::Ec2, "CreateFlowLogs", &theirs).unwrap();
    let id = answer.split_once("<flowLogIdSet><item>").unwrap().1.split_once('<').unwrap().0.to_owned();
    assert_denied(
        installation.by_member(Service::Ec2, "DeleteFlowLogs", &json!({ "FlowLogId.1": id })),
        "ec2:DeleteFlowLogs",
    );
    let claim = json!({ "ResourceId.1": id, "Tag.1.Key": "managed-by", "Tag.1.Value": "vpc-flow-logs-enroller" });
    assert_denied(installation.by_member(Service::Ec2, "CreateTags", &claim), "ec2:CreateTags");

    let group = json!({ "logGroupName": "payroll" });
    assert_denied(installation.by_member(Service::Logs, "CreateLogGroup", &group), "logs:CreateLogGroup");
    let retention = json!({ "logGroupName": "vpc-flow-logs-2", "retentionInDays": 1 });
    assert_denied(installation.by_member(Service::Logs, "PutRetentionPolicy", &retention), "logs:PutRetentionPolicy");
    let managed = json!({ "logGroupName": "vpc-flow-logs" });
    assert_denied(installation.by_member(Service::Logs, "DeleteLogGroup", &managed), "logs:DeleteLogGroup");
    let elsewhere = json!({ "logGroupName": "vpc-flow-logs", "filterName": "f", "filterPattern": "",
        "destinationArn": format!("arn:aws:logs:{IRELAND}:999999999999:destination:VPCFlowLogsDestination") });
    assert_denied(
        installation.by_member(Service::Logs, "PutSubscriptionFilter", &elsewhere),
        "logs:PutSubscriptionFilter",
    );
    let as_role = json!({ "RoleName": DELIVERY_ROLE });
    let answer = installation.call_as((member, MEMBER_ROLE), "us-east-1", Service::Iam, "DeleteRole", &as_role);
    assert_denied(answer, "iam:DeleteRole");
}

#[tokio::test]
async fn each_function_can_only_do_its_own_work() {
    let installation = Installation::new().await;
    let central = installation.lab.sim.central();
    let enroller = (central.as_str(), "VpcFlowLogsEnrollerVpcEnroller");
    let onboarder = (central.as_str(), "VpcFlowLogsEnrollerAccountOnboarder");
    let name = "VPCFlowLogsDestination";
    let policy = json!({ "destinationName": name, "accessPolicy": "{}" });
    let answer = installation.call_as(enroller, IRELAND, Service::Logs, "PutDestinationPolicy", &policy);
    assert_denied(answer, "logs:PutDestinationPolicy");
    // The onboarder is denied a Region that is not enrolled, another destination and another role.
    let lab = &installation.lab;
    lab.sim.with(|world| {
        world.regions.insert("eu-north-1".to_owned());
        world.accounts.get_mut(&central).unwrap().regions.insert("eu-north-1".to_owned());
    });
    let put = |region: &str, name: &str, role: &str| {
        let role = format!("arn:aws:iam::{central}:role/{role}");
        let target = lab.settings.destination_target_arn.as_ref().unwrap().to_string();
        let input = json!({ "destinationName": name, "targetArn": target, "roleArn": role });
        installation.call_as(onboarder, region, Service::Logs, "PutDestination", &input)
    };
    assert_denied(put("eu-north-1", name, "VPCFlowLogsDestinationRole"), "logs:PutDestination");
    assert_denied(put(IRELAND, "Theirs", "VPCFlowLogsDestinationRole"), "logs:PutDestination");
    assert_denied(put(IRELAND, name, "VpcFlowLogsEnrollerBackfill"), "iam:PassRole");
    assert!(put(IRELAND, name, "VPCFlowLogsDestinationRole").is_ok());
    let role_arn = format!("arn:aws:iam::{}:role/{MEMBER_ROLE}", installation.member);
    let assume = json!({ "RoleArn": role_arn, "RoleSessionName": "s1", "ExternalId": "simulated-external-id" });
    assert_denied(installation.call_as(onboarder, IRELAND, Service::Sts, "AssumeRole", &assume), "sts:AssumeRole");
    assert!(installation.call_as(enroller, IRELAND, Service::Sts, "AssumeRole", &assume).is_ok());
}

#[tokio::test]
async fn only_the_functions_reach_members_and_only_members_are_reached() {
    let installation = Installation::new().await;
    let (sim, central, member) = (&installation.lab.sim, installation.lab.sim.central(), &installation.member);
    let input = |account: &str, external_id: Option<&str>| {
        let role_arn = format!("arn:aws:iam::{account}:role/{MEMBER_ROLE}");
        let mut input = json!({ "RoleArn": role_arn, "RoleSessionName": "s1" });
        if let Some(id) = external_id {
            input["ExternalId"] = json!(id);
        }
        input
    };
    let enroller = (central.as_str(), "VpcFlowLogsEnrollerVpcEnroller");
    let assume =
        |who: (&str, &str), input: &Value| installation.call_as(who, IRELAND, Service::Sts, "AssumeRole", input);
    let right = Some("simulated-external-id");
    assert!(assume(enroller, &input(member, right)).is_ok());
    for wrong in [None, Some("another-external-id")] {
        assert_eq!(assume(enroller, &input(member, wrong)).unwrap_err().code, "AccessDenied");
    }
    // Full rights in the central account are not enough to assume the member role.
    let keys = sim.credentials_of(&central);
    let answer = sim.call_raw(&keys, IRELAND, Service::Sts, "AssumeRole", &input(member, right));
    assert_eq!(answer.unwrap_err().code, "AccessDenied");
    // An account that left for no other organization has no aws:ResourceOrgID, so only the question whether it is a member
    // keeps the enroller out. In another organization the key differs.
    sim.with(|world| world.leave(member)).unwrap();

    // Its rules still forward events, but the bus rejects them.
    let before = sim.event_counts();
    let cidr = json!({ "CidrBlock": "10.8.0.0/16" });
    sim.call_raw(&sim.credentials_of(member), IRELAND, Service::Ec2, "CreateVpc", &cidr).unwrap();
    let after = sim.event_counts();
    assert_eq!((after.no_permission - before.no_permission, after.queued - before.queued), (1, 0));
}
