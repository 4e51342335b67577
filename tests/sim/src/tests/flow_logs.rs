use serde_json::json;

use super::*;
use crate::settings::TwinRule;

struct Setting {
    sim: Sim,
    account: String,
    vpc: String,
    ec2: Caller,
    input: Value,
}

fn setting() -> Setting {
    let sim = small();
    let account = others(&sim)[0].clone();
    let service = json!({"Service": "vpc-flow-logs.amazonaws.com"});
    let condition = json!({"StringEquals": {"aws:SourceAccount": account}});
    let role = trusting_role(&sim, &account, "VpcFlowLogsEnrollerDelivery", &service, &condition);
    let vpc = first_vpc(&sim, &account);
    let input = json!({
        "ResourceType": "VPC", "ResourceId.1": vpc, "TrafficType": "ALL", "LogGroupName": "vpc-flow-logs",
        "DeliverLogsPermissionArn": role, "MaxAggregationInterval": "60",
    });
    let ec2 = Caller::of(&sim, &account, REGION);
    Setting { sim, account, vpc, ec2, input }
}

impl Setting {
    fn create(&self, changes: &Value) -> Result<String, ApiError> {
        let mut input = self.input.clone();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                input.as_object_mut().unwrap().remove(name);
            } else {
                input[name] = value.clone();
            }
        }
        self.ec2.call(Service::Ec2, "CreateFlowLogs", input)
    }
}

#[test]
fn a_flow_log_is_created_described_and_deleted() {
    let setting = setting();
    let tags = json!({
        "TagSpecification.1.ResourceType": "vpc-flow-log", "TagSpecification.1.Tag.1.Key": "managed-by",
        "TagSpecification.1.Tag.1.Value": "enroller",
    });
    let created = setting.create(&tags).unwrap();
    let id = texts(&created, "item").remove(0);
    assert!(id.len() == 20 && id.starts_with("fl-"));
    for (name, value) in [
        ("resource-id", setting.vpc.as_str()),
        ("log-group-name", "vpc-flow-logs"),
        ("tag:managed-by", "enroller"),
        ("traffic-type", "ALL"),
        ("log-destination-type", "cloud-watch-logs"),
    ] {
        let filter = json!({"Filter.1.Name": name, "Filter.1.Value.1": value});
        let found = setting.ec2.call(Service::Ec2, "DescribeFlowLogs", filter).unwrap();
        assert_eq!(texts(&found, "flowLogId"), [id.as_str()], "{name}");
        assert_eq!(texts(&found, "flowLogStatus"), ["ACTIVE"]);
        assert!(!found.contains("deliverLogsStatus"));
    }
    let none = json!({"Filter.1.Name": "deliver-log-status", "Filter.1.Value.1": "FAILED"});
    assert!(!setting.ec2.call(Service::Ec2, "DescribeFlowLogs", none.clone()).unwrap().contains(&id));
    setting.sim.with(|world| {
        world.ec2.set_delivery(&setting.account, REGION, &id, Err("Access error".to_owned()));
    });
    let failed = setting.ec2.call(Service::Ec2, "DescribeFlowLogs", none).unwrap();
    assert_eq!(texts(&failed, "deliverLogsErrorMessage"), ["Access error"]);

    let input = json!({"FlowLogId.1": id, "FlowLogId.2": "fl-0123456789abcdef0"});
    let deleted = setting.ec2.call(Service::Ec2, "DeleteFlowLogs", input).unwrap();
    assert_eq!(texts(&deleted, "resourceId"), ["fl-0123456789abcdef0"]);
    assert_eq!(texts(&deleted, "code"), ["InvalidFlowLogId.NotFound"]);
}

#[test]
fn an_answer_of_200_carries_the_resources_that_failed() {
    let setting = setting();
    let other = others(&setting.sim)[1].clone();
    let shared = first_vpc(&setting.sim, &other);
    setting.sim.with(|world| world.ec2.share_vpc(&other, REGION, &shared, &setting.account));
    let resources = json!({"ResourceId.2": "vpc-0123456789abcdef0", "ResourceId.3": shared});
    let answer = setting.create(&resources).unwrap();
    assert_eq!(texts(&answer, "resourceId"), ["vpc-0123456789abcdef0", shared.as_str()]);
    assert_eq!(texts(&answer, "code"), ["InvalidVpcID.NotFound", "UnauthorizedOperation"]);
    assert_eq!(setting.sim.with(|world| world.ec2.flow_logs(&setting.account, REGION).count()), 1);

    let again = setting.create(&json!({})).unwrap();
    assert_eq!(texts(&again, "code"), ["FlowLogAlreadyExists"]);
    let message = "There is an existing Flow Log with the same configuration and log destination.";
    assert_eq!(texts(&again, "message"), [message]);
}

#[test]
fn what_counts_as_a_twin_can_be_switched() {
    for (rule, codes) in
        [(TwinRule::SameConfiguration, vec![]), (TwinRule::SameDestination, vec!["FlowLogAlreadyExists".to_owned()])]
    {
        let setting = setting();
        setting.sim.with(|world| world.settings.twin_rule = rule);
        setting.create(&json!({})).unwrap();
        for change in [json!({"MaxAggregationInterval": "600"}), json!({"LogFormat": "${vpc-id}"})] {
            assert_eq!(texts(&setting.create(&change).unwrap(), "code"), codes, "{rule:?} {change}");
        }
        assert_eq!(texts(&setting.create(&json!({"LogGroupName": "other"})).unwrap(), "code"), Vec::<String>::new());
    }
}

#[test]
fn more_than_300_resources_are_refused_and_300_are_not() {
    let setting = setting();
    let many = |count: usize| {
        let ids = (2..=count).map(|number| (format!("ResourceId.{number}"), json!(format!("vpc-{number}"))));
        setting.create(&Value::Object(ids.collect()))
    };
    assert_eq!(many(301).unwrap_err().code, "InvalidParameterValue");
    assert_eq!(texts(&many(300).unwrap(), "resourceId").len(), 299);
}

#[test]
fn bad_settings_are_refused_before_anything_is_created() {
    let setting = setting();
    let foreign = trusting_role(&setting.sim, &setting.sim.central(), "r", &json!("*"), &json!({}));
    let distrustful = trusting_role(
        &setting.sim,
        &setting.account,
        "distrustful",
        &json!({"Service": "vpc-flow-logs.amazonaws.com"}),
        &json!({"StringEquals": {"aws:SourceAccount": "999999999999"}}),
    );
    let cases = [
        (json!({"DeliverLogsPermissionArn": null}), "InvalidParameter"),
        (json!({"DeliverLogsPermissionArn": distrustful}), "InvalidParameter"),
        (json!({"DeliverLogsPermissionArn": foreign}), "UnauthorizedOperation"),
        (json!({"DeliverLogsPermissionArn": "role"}), "InvalidParameterValue"),
        (json!({"MaxAggregationInterval": "300"}), "InvalidParameterValue"),
        (json!({"TrafficType": "SOME"}), "InvalidParameterValue"),
        (json!({"TrafficType": null}), "MissingParameter"),
        (json!({"LogFormat": "${frob}"}), "InvalidParameterValue"),
        (json!({"LogDestination": "arn:aws:logs:eu-west-1:1:log-group:g"}), "InvalidParameterCombination"),
        (json!({"LogGroupName": null}), "MissingParameter"),
        (json!({"LogGroupName": "a b"}), "InvalidParameterValue"),
        (json!({"LogDestinationType": "s3"}), "InvalidParameterCombination"),
        (json!({"TagSpecification.1.ResourceType": "vpc"}), "InvalidParameterValue"),
        (json!({"ResourceType": "Subnet"}), "UnknownParameter"),
        (json!({"DeliverCrossAccountRole": "x"}), "UnknownParameter"),
        (json!({"ResourceId.1": null}), "MissingParameter"),
    ];
    for (change, code) in cases {
        let refusal = setting.create(&change).unwrap_err();
        assert_eq!(refusal.code, code, "{change}: {refusal}");
    }
    assert_eq!(setting.sim.with(|world| world.ec2.flow_logs(&setting.account, REGION).count()), 0);
}

#[test]
fn a_client_token_gives_the_same_answer_again_and_fits_one_request_only() {
    let setting = setting();
    let token = json!({"ClientToken": "token-1"});
    let first = texts(&setting.create(&token).unwrap(), "item");
    assert_eq!(texts(&setting.create(&token).unwrap(), "item"), first);
    let other = json!({"ClientToken": "token-1", "TrafficType": "REJECT"});
    assert_eq!(setting.create(&other).unwrap_err().code, "IdempotentParameterMismatch");
}

#[test]
fn a_resource_takes_250_flow_logs() {
    let setting = setting();
    for number in 0..250 {
        setting.create(&json!({"LogGroupName": format!("group-{number}")})).unwrap();
    }
    let answer = setting.create(&json!({"LogGroupName": "group-250"})).unwrap();
    assert_eq!(texts(&answer, "code"), ["FlowLogsLimitExceeded"]);
}
