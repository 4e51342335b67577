//! Test support: a small organization with every link that a record needs to get from a VPC to S3.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::call::{ApiError, Call, Caller, Service};
use crate::events::{BusId, RuleSettings, Target};
use crate::organizations::JoinedMethod;
use crate::sim::Sim;
use crate::sqs::QueueSettings;
use crate::wire::query::Params;
use crate::world::{Account, World};
use crate::{cloudtrail, ec2, iam, logs, sqs};

pub(crate) const MANAGEMENT: &str = "999988887777";
pub(crate) const CENTRAL: &str = "444455556666";
pub(crate) const MEMBER: &str = "111122223333";
pub(crate) const STRANGER: &str = "777766665555";
pub(crate) const REGION: &str = "eu-west-1";
pub(crate) const STREAM: &str = "arn:aws:firehose:us-east-1:444455556666:deliverystream/flow-logs";
pub(crate) const DESTINATION: &str = "arn:aws:logs:eu-west-1:444455556666:destination:VPCFlowLogsDestination";
pub(crate) const DESTINATION_ROLE: &str = "arn:aws:iam::444455556666:role/ToFirehose";
pub(crate) const DELIVERY_ROLE: &str = "arn:aws:iam::111122223333:role/VpcFlowLogsEnrollerDelivery";
pub(crate) const FILTER_ROLE: &str = "arn:aws:iam::111122223333:role/FilterRole";
pub(crate) const GROUP: &str = "vpc-flow-logs";

/// Management, central and one member account in organization `o-exampleorg1`, and a stranger outside; no resources.
pub(crate) fn organization() -> World {
    let mut world = World::new(1);
    world.regions = BTreeSet::from([REGION.to_owned(), "us-east-1".to_owned()]);
    for account in [MANAGEMENT, CENTRAL, MEMBER, STRANGER] {
        world.accounts.insert(account.to_owned(), Account::new(account, world.regions.clone()));
    }
    world.organization.found("o-exampleorg1".to_owned(), "r-exam".to_owned(), MANAGEMENT, 0);
    for account in [CENTRAL, MEMBER] {
        world.organization.add(account, "r-exam", JoinedMethod::Created, 0);
    }
    world
}

/// A call by the account's root user.
pub(crate) fn call(account: &str, region: &str, service: Service, operation: &str) -> Call {
    Call {
        sequence: 1,
        request_id: "00000000-0000-4000-8000-000000000001".to_owned(),
        service,
        operation: operation.to_owned(),
        caller: Caller::root(account),
        region: region.to_owned(),
    }
}

/// Calls CloudWatch Logs in [`REGION`].
pub(crate) fn logs(world: &mut World, account: &str, operation: &str, input: Value) -> Result<Value, ApiError> {
    logs::handle(world, &call(account, REGION, Service::Logs, operation), &input)
}

/// Calls SQS in [`REGION`] as the central account.
pub(crate) fn sqs(world: &mut World, operation: &str, input: Value) -> Result<Value, ApiError> {
    sqs::handle(world, &call(CENTRAL, REGION, Service::Sqs, operation), &input)
}

/// Calls EC2 in [`REGION`] and records the call on the trail; returns the facts of the answer.
pub(crate) fn ec2(world: &mut World, account: &str, operation: &str, form: &str) -> Result<Value, ApiError> {
    let call = call(account, REGION, Service::Ec2, operation);
    let params = Params::parse(form.as_bytes(), "");
    let outcome = ec2::handle(world, &call, &params).map(|(_, facts)| facts);
    cloudtrail::record(world, &call, &params.to_json(), outcome.as_ref());
    outcome
}

pub(crate) fn iam(world: &mut World, account: &str, operation: &str, parameters: &[(&str, &str)]) {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let call = call(account, "us-east-1", Service::Iam, operation);
    iam::handle(world, &call, &Params::parse(form.as_bytes(), "")).unwrap();
}

pub(crate) fn allow(actions: &[&str], resource: &str) -> BTreeMap<String, Value> {
    let statement = json!([{"Effect": "Allow", "Action": actions, "Resource": resource}]);
    BTreeMap::from([("policy".to_owned(), json!({"Version": "2012-10-17", "Statement": statement}))])
}

pub(crate) fn trust(service: &str, condition: Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole", "Condition": condition,
    }]})
}

/// A destination policy that names accounts.
pub(crate) fn policy_for(accounts: &[&str]) -> String {
    destination_policy(json!({"AWS": accounts}), None)
}

/// A destination policy that admits the organization.
pub(crate) fn policy_for_organization() -> String {
    destination_policy(json!("*"), Some(json!({"StringEquals": {"aws:PrincipalOrgID": ["o-exampleorg1"]}})))
}

fn destination_policy(principal: Value, condition: Option<Value>) -> String {
    let mut statement = json!({
        "Effect": "Allow", "Principal": principal, "Action": "logs:PutSubscriptionFilter", "Resource": DESTINATION,
    });
    if let Some(condition) = condition {
        statement["Condition"] = condition;
    }
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

/// The organization with the stream, the destination and a policy for the member.
pub(crate) fn with_destination() -> World {
    let mut world = organization();
    world.logs.add_stream(STREAM);
    let condition = json!({"StringEquals": {"aws:SourceOrgID": "o-exampleorg1"}});
    world.put_role(
        CENTRAL,
        "ToFirehose",
        trust("logs.amazonaws.com", condition),
        allow(&["firehose:PutRecord*"], STREAM),
    );
    put_destination(&mut world).unwrap();
    put_policy(&mut world, &policy_for(&[MEMBER]), false).unwrap();
    world
}

pub(crate) fn put_destination(world: &mut World) -> Result<Value, ApiError> {
    let input = json!({"destinationName": "VPCFlowLogsDestination", "targetArn": STREAM, "roleArn": DESTINATION_ROLE});
    logs(world, CENTRAL, "PutDestination", input)
}

pub(crate) fn put_policy(world: &mut World, document: &str, force: bool) -> Result<Value, ApiError> {
    let input = json!({"destinationName": "VPCFlowLogsDestination", "accessPolicy": document, "forceUpdate": force});
    logs(world, CENTRAL, "PutDestinationPolicy", input)
}

/// The destination as well as log group and roles of the member.
pub(crate) fn with_group() -> World {
    let mut world = with_destination();
    logs(&mut world, MEMBER, "CreateLogGroup", json!({"logGroupName": GROUP})).unwrap();
    let condition = json!({
        "StringEquals": {"aws:SourceAccount": MEMBER},
        "ArnLike": {"aws:SourceArn": format!("arn:aws:ec2:*:{MEMBER}:vpc-flow-log/*")},
    });
    let streams = format!("arn:aws:logs:*:{MEMBER}:log-group:{GROUP}:*");
    let groups = format!("arn:aws:logs:*:{MEMBER}:log-group:*");
    let actions = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogGroups", "logs:DescribeLogStreams"];
    world.put_role(
        MEMBER,
        "VpcFlowLogsEnrollerDelivery",
        trust("vpc-flow-logs.amazonaws.com", condition),
        allow(&actions, &groups),
    );
    world.put_role(
        MEMBER,
        "FilterRole",
        trust("logs.amazonaws.com", json!({})),
        allow(&["logs:PutLogEvents"], &streams),
    );
    world
}

pub(crate) fn put_filter(world: &mut World, name: &str, role_arn: Option<&str>) -> Result<Value, ApiError> {
    let mut input =
        json!({"logGroupName": GROUP, "filterName": name, "filterPattern": "", "destinationArn": DESTINATION});
    if let Some(role_arn) = role_arn {
        input["roleArn"] = json!(role_arn);
    }
    logs(world, MEMBER, "PutSubscriptionFilter", input)
}

/// Everything, with one VPC of the member and its flow log; returns the ids of both.
pub(crate) fn enrolled() -> (World, String, String) {
    let mut world = with_group();
    put_filter(&mut world, "AllTraffic", None).unwrap();
    let vpc_id = world.put_vpc(MEMBER, REGION, "10.0.0.0/16", false);
    let flow_log = create_flow_log(&mut world, &vpc_id, "ALL");
    (world, vpc_id, flow_log)
}

/// Sends every event of the account's default bus in the Region to a queue; returns its URL.
pub(crate) fn watch(sim: &Sim, account: &str, region: &str) -> String {
    let url = sim.create_queue(account, region, "all", QueueSettings::default()).unwrap();
    let arn = format!("arn:aws:sqs:{region}:{account}:all");
    let rule = RuleSettings {
        name: "all".to_owned(),
        pattern: json!({"source": [{"prefix": "aws."}]}),
        targets: vec![Target::Queue { arn, message_group_id: None }],
        delay_ms: 0,
    };
    sim.put_rule(&BusId::default_bus(account, region), &rule).unwrap();
    url
}

/// The messages of a queue, which are events.
pub(crate) fn events_on(sim: &Sim, url: &str) -> Vec<Value> {
    sim.bodies(url).unwrap().iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

/// Makes a flow log of a VPC of the member.
pub(crate) fn create_flow_log(world: &mut World, vpc_id: &str, traffic_type: &str) -> String {
    let form = format!(
        "ResourceType=VPC&ResourceId.1={vpc_id}&TrafficType={traffic_type}&LogGroupName={GROUP}\
         &DeliverLogsPermissionArn={DELIVERY_ROLE}&MaxAggregationInterval=60"
    );
    let facts = ec2(world, MEMBER, "CreateFlowLogs", &form).unwrap();
    assert_eq!(facts["unsuccessful"], json!([]));
    facts["flowLogIds"][0].as_str().unwrap().to_owned()
}
