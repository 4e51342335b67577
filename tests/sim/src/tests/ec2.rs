use serde_json::json;

use super::*;

#[test]
fn a_vpc_of_another_account_is_seen_with_its_owner_and_without_tags() {
    let sim = small();
    let [owner, viewer] = <[String; 2]>::try_from(others(&sim)).unwrap();
    let id = first_vpc(&sim, &owner);
    sim.with(|world| {
        assert!(world.put_vpc_tag(&owner, REGION, &id, "team", "a"));
        assert!(world.ec2.share_vpc(&owner, REGION, &id, &viewer));
    });
    let describe = |input| Caller::of(&sim, &viewer, REGION).call(Service::Ec2, "DescribeVpcs", input).unwrap();
    let all = describe(json!({}));
    assert!(texts(&all, "vpcId").contains(&id) && texts(&all, "ownerId").contains(&owner));
    assert!(!all.contains("tagSet"), "{all}");
    let own = describe(json!({"Filter.1.Name": "owner-id", "Filter.1.Value.1": viewer}));
    assert!(!texts(&own, "vpcId").contains(&id) && texts(&own, "vpcId").len() == 2);
    let tagged = describe(json!({"Filter.1.Name": "tag:team", "Filter.1.Value.1": "a"}));
    assert_eq!(texts(&tagged, "vpcId"), Vec::<String>::new());
}

#[test]
fn pages_cover_every_vpc_once() {
    let sim = SimBuilder { vpcs: 12, ..SimBuilder::default() }.build();
    let account = others(&sim)[0].clone();
    let ec2 = Caller::of(&sim, &account, REGION);
    let (mut seen, mut token, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let mut input = json!({"MaxResults": "5"});
        if let Some(token) = &token {
            input["NextToken"] = json!(token);
        }
        let page = ec2.call(Service::Ec2, "DescribeVpcs", input).unwrap();
        seen.extend(texts(&page, "vpcId"));
        pages += 1;
        token = texts(&page, "nextToken").pop();
        if token.is_none() {
            break;
        }
    }
    let all: Vec<String> = sim.with(|world| world.ec2.vpcs(&account, REGION).map(|vpc| vpc.id.clone()).collect());
    assert_eq!((seen, pages), (all, 3));
}

#[test]
fn filters_take_wildcards_and_all_have_to_hold() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let ec2 = Caller::of(&sim, &account, REGION);
    let count = |input| texts(&ec2.call(Service::Ec2, "DescribeVpcs", input).unwrap(), "vpcId").len();
    assert_eq!(count(json!({"Filter.1.Name": "is-default", "Filter.1.Value.1": "true"})), 1);
    assert_eq!(count(json!({"Filter.1.Name": "vpc-id", "Filter.1.Value.1": "vpc-*"})), 2);
    let both = json!({
        "Filter.1.Name": "vpc-id", "Filter.1.Value.1": "vpc-*", "Filter.2.Name": "tag-key", "Filter.2.Value.1": "x",
    });
    assert_eq!(count(both), 0);
}

#[test]
fn bad_requests_are_refused_with_ec2s_codes() {
    let sim = small();
    let ec2 = Caller::of(&sim, &others(&sim)[0], REGION);
    let cases = [
        ("DescribeVpcs", json!({"MaxResults": "4"}), "InvalidParameterValue"),
        ("DescribeVpcs", json!({"MaxResults": "1001"}), "InvalidParameterValue"),
        ("DescribeVpcs", json!({"MaxResults": "5", "VpcId.1": "vpc-0"}), "InvalidParameterCombination"),
        ("DescribeVpcs", json!({"NextToken": "made up"}), "InvalidParameterValue"),
        ("DescribeVpcs", json!({"VpcId.1": "vpc-0123456789abcdef0"}), "InvalidVpcID.NotFound"),
        ("DescribeVpcs", json!({"Filter.1.Name": "frob", "Filter.1.Value.1": "x"}), "InvalidParameterValue"),
        ("DescribeVpcs", json!({"Frob": "x"}), "UnknownParameter"),
        ("DescribeSubnets", json!({}), "UnknownOperationException"),
        ("CreateVpc", json!({}), "MissingParameter"),
        ("CreateVpc", json!({"CidrBlock": "10.0.0.0/8"}), "InvalidVpc.Range"),
        ("CreateVpc", json!({"CidrBlock": "ten"}), "InvalidParameterValue"),
        ("CreateVpc", json!({"CidrBlock": "10.0.0.0/16", "DryRun": "true"}), "DryRunOperation"),
        ("CreateDefaultVpc", json!({}), "DefaultVpcAlreadyExists"),
        ("DeleteVpc", json!({"VpcId": "vpc-0123456789abcdef0"}), "InvalidVpcID.NotFound"),
        ("CreateTags", json!({"ResourceId.1": "vpc-0", "Tag.1.Key": "aws:x"}), "InvalidParameterValue"),
        ("CreateTags", json!({"ResourceId.1": "i-0", "Tag.1.Key": "x"}), "InvalidID"),
        ("DescribeRegions", json!({"RegionName.1": "eu-frob-1"}), "InvalidParameterValue"),
    ];
    for (operation, input, code) in cases {
        assert_eq!(ec2.code(Service::Ec2, operation, input.clone()), code, "{operation} {input}");
    }
}

#[test]
fn a_vpc_lives_from_its_creation_to_its_deletion_with_its_flow_logs() {
    let sim = small();
    let account = others(&sim)[0].clone();
    let ec2 = Caller::of(&sim, &account, REGION);
    let create = json!({
        "CidrBlock": "10.9.0.0/16", "TagSpecification.1.ResourceType": "vpc", "TagSpecification.1.Tag.1.Key": "team",
        "TagSpecification.1.Tag.1.Value": "<a&b>",
    });
    let created = ec2.call(Service::Ec2, "CreateVpc", create).unwrap();
    let id = texts(&created, "vpcId").remove(0);
    assert_eq!(texts(&created, "value"), ["&lt;a&amp;b&gt;"]);
    let flow_log = json!({
        "ResourceType": "VPC", "ResourceId.1": id, "TrafficType": "ALL", "LogDestinationType": "s3",
        "LogDestination": "arn:aws:s3:::bucket",
    });
    ec2.call(Service::Ec2, "CreateFlowLogs", flow_log).unwrap();
    assert!(ec2.call(Service::Ec2, "DeleteVpc", json!({"VpcId": id})).is_ok());
    let left = ec2.call(Service::Ec2, "DescribeFlowLogs", json!({})).unwrap();
    assert_eq!(texts(&left, "flowLogId"), Vec::<String>::new());
}

#[test]
fn only_enabled_regions_are_described_unless_all_are_asked_for() {
    let sim = small();
    let management = sim.management();
    sim.with(|world| world.enable_region(&management, "af-south-1")).unwrap();
    let ec2 = Caller::of(&sim, &others(&sim)[0], REGION);
    let enabled = ec2.call(Service::Ec2, "DescribeRegions", json!({})).unwrap();
    assert_eq!(texts(&enabled, "regionName"), ["eu-west-1", "us-east-1"]);
    let all = ec2.call(Service::Ec2, "DescribeRegions", json!({"AllRegions": "true"})).unwrap();
    assert_eq!(texts(&all, "optInStatus"), ["not-opted-in", "opt-in-not-required", "opt-in-not-required"]);
}
