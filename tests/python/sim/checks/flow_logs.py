"""VPCs and their flow logs (EC2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from common.simulated_aws import HOME, REGIONS, VPCS, SimulatedAws, equal, refused

GROUP = "vpc-flow-logs"
DELIVERY_ROLE = "VpcFlowLogsEnrollerDelivery"
FORMAT = "${version} ${account-id} ${vpc-id} ${region} ${srcaddr} ${dstaddr} ${action} ${log-status}"


@dataclass
class Member:
    """A member account that no other check uses, and calls in it."""

    account: str
    ec2: object
    logs: object

    @staticmethod
    def of(aws: SimulatedAws) -> Member:
        session = aws.in_member(aws.fresh_member())
        return Member(session.account, aws.client("ec2", session), aws.client("logs", session))

    def vpc_ids(self) -> list[str]:
        owner = [{"Name": "owner-id", "Values": [self.account]}]
        return [vpc["VpcId"] for vpc in self.ec2.describe_vpcs(Filters=owner)["Vpcs"]]

    def flow_log(self, vpc_ids: list[str], **changes) -> dict:
        """Creates flow logs as the enroller does, and returns the answer."""
        parameters = {
            "ResourceType": "VPC",
            "ResourceIds": vpc_ids,
            "TrafficType": "ALL",
            "LogDestinationType": "cloud-watch-logs",
            "LogGroupName": GROUP,
            "DeliverLogsPermissionArn": f"arn:aws:iam::{self.account}:role/{DELIVERY_ROLE}",
            "MaxAggregationInterval": 60,
            "LogFormat": FORMAT,
            "TagSpecifications": [
                {"ResourceType": "vpc-flow-log", "Tags": [{"Key": "managed-by", "Value": "drive-sim"}]}
            ],
        }
        return self.ec2.create_flow_logs(**{**parameters, **changes})

    def described(self, *ids: str) -> list[dict]:
        return self.ec2.describe_flow_logs(FlowLogIds=list(ids))["FlowLogs"]


def vpcs_are_listed_in_pages_filtered_by_owner(aws: SimulatedAws):
    member = Member.of(aws)
    owner = [{"Name": "owner-id", "Values": [member.account]}]
    pages = list(member.ec2.get_paginator("describe_vpcs").paginate(Filters=owner, PaginationConfig={"PageSize": 5}))
    vpcs = [vpc for page in pages for vpc in page["Vpcs"]]
    assert len(pages) > 1 and len(pages[0]["Vpcs"]) == 5, [len(page["Vpcs"]) for page in pages]
    equal([vpc["VpcId"] for vpc in vpcs], member.vpc_ids())
    equal(len([vpc for vpc in vpcs if not vpc["IsDefault"]]), VPCS)
    for vpc in vpcs:
        equal((vpc["OwnerId"], vpc["State"], type(vpc["IsDefault"])), (member.account, "available", bool))
        equal(vpc["CidrBlockAssociationSet"][0]["CidrBlockState"]["State"], "associated")


def the_owner_filter_works_and_unknown_filters_are_rejected(aws: SimulatedAws):
    ec2 = Member.of(aws).ec2
    equal(ec2.describe_vpcs(Filters=[{"Name": "owner-id", "Values": ["111122223333"]}])["Vpcs"], [])
    with refused("InvalidParameterValue", "The filter 'owner' is invalid"):
        ec2.describe_vpcs(Filters=[{"Name": "owner", "Values": ["111122223333"]}])
    with refused("InvalidVpcID.NotFound", "The vpc ID 'vpc-0123456789abcdef0' does not exist"):
        ec2.describe_vpcs(VpcIds=["vpc-0123456789abcdef0"])


def a_vpc_can_be_created_tagged_and_deleted(aws: SimulatedAws):
    ec2 = Member.of(aws).ec2
    tags = [{"Key": "Name", "Value": "a & b"}]
    made = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])["Vpc"]
    equal((made["CidrBlock"], made["IsDefault"], made["Tags"]), ("10.9.0.0/16", False, tags))
    ec2.create_tags(Resources=[made["VpcId"]], Tags=[{"Key": "flow-logs", "Value": "off"}])
    tagged = ec2.describe_vpcs(Filters=[{"Name": "tag:flow-logs", "Values": ["off"]}])["Vpcs"]
    equal([vpc["VpcId"] for vpc in tagged], [made["VpcId"]])
    ec2.delete_tags(Resources=[made["VpcId"]], Tags=[{"Key": "flow-logs"}])
    equal(ec2.describe_vpcs(VpcIds=[made["VpcId"]])["Vpcs"][0]["Tags"], tags)
    ec2.delete_vpc(VpcId=made["VpcId"])
    with refused("InvalidVpcID.NotFound"):
        ec2.describe_vpcs(VpcIds=[made["VpcId"]])


def there_is_one_default_vpc_and_it_can_be_created_again(aws: SimulatedAws):
    ec2 = Member.of(aws).ec2
    default = [{"Name": "is-default", "Values": ["true"]}]
    for vpc in ec2.describe_vpcs(Filters=default)["Vpcs"]:
        with refused("DefaultVpcAlreadyExists"):
            ec2.create_default_vpc()
        ec2.delete_vpc(VpcId=vpc["VpcId"])
    made = ec2.create_default_vpc()["Vpc"]
    equal((made["IsDefault"], made["CidrBlock"]), (True, "172.31.0.0/16"))
    equal([vpc["VpcId"] for vpc in ec2.describe_vpcs(Filters=default)["Vpcs"]], [made["VpcId"]])
    with refused("DefaultVpcAlreadyExists"):
        ec2.create_default_vpc()


def a_dry_run_changes_nothing(aws: SimulatedAws):
    member = Member.of(aws)
    before = member.vpc_ids()
    with refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set."):
        member.ec2.create_vpc(CidrBlock="10.9.0.0/16", DryRun=True)
    equal(member.vpc_ids(), before)


def every_vpc_of_an_account_gets_a_flow_log_in_one_call(aws: SimulatedAws):
    member = Member.of(aws)
    vpc_ids = member.vpc_ids()
    answer = member.flow_log(vpc_ids)
    equal((len(answer["FlowLogIds"]), answer["Unsuccessful"]), (len(vpc_ids), []))
    flow_logs = member.described(*answer["FlowLogIds"])
    equal({log["ResourceId"] for log in flow_logs}, set(vpc_ids))
    for log in flow_logs:
        age = datetime.now(timezone.utc) - log["CreationTime"]
        assert timedelta(seconds=-2) < age < timedelta(minutes=5), log["CreationTime"]
        equal((log["FlowLogStatus"], log["TrafficType"], log["LogGroupName"]), ("ACTIVE", "ALL", GROUP))
        equal((log["LogDestinationType"], log["MaxAggregationInterval"]), ("cloud-watch-logs", 60))
        equal((log["LogFormat"], log["Tags"]), (FORMAT, [{"Key": "managed-by", "Value": "drive-sim"}]))
        equal(log["DeliverLogsPermissionArn"], f"arn:aws:iam::{member.account}:role/{DELIVERY_ROLE}")


def an_unknown_vpc_is_unsuccessful_and_the_others_succeed(aws: SimulatedAws):
    member = Member.of(aws)
    known = member.vpc_ids()[0]
    answer = member.flow_log([known, "vpc-0123456789abcdef0"])
    equal([log["ResourceId"] for log in member.described(*answer["FlowLogIds"])], [known])
    (failure,) = answer["Unsuccessful"]
    equal(failure["ResourceId"], "vpc-0123456789abcdef0")
    error = {"Code": "InvalidVpcID.NotFound", "Message": "The vpc ID 'vpc-0123456789abcdef0' does not exist"}
    equal(failure["Error"], error)


def a_flow_log_that_exists_cannot_be_created_again(aws: SimulatedAws):
    member = Member.of(aws)
    vpc_id = member.vpc_ids()[0]
    equal(member.flow_log([vpc_id])["Unsuccessful"], [])
    answer = member.flow_log([vpc_id])
    equal(answer["FlowLogIds"], [])
    message = "There is an existing Flow Log with the same configuration and log destination."
    error = {"Code": "FlowLogAlreadyExists", "Message": message}
    equal(answer["Unsuccessful"], [{"ResourceId": vpc_id, "Error": error}])
    equal(member.flow_log([vpc_id], TrafficType="REJECT")["Unsuccessful"], [])


def a_client_token_makes_a_call_idempotent(aws: SimulatedAws):
    member = Member.of(aws)
    vpc_id = member.vpc_ids()[0]
    first = member.flow_log([vpc_id], ClientToken="token-1")
    again = member.flow_log([vpc_id], ClientToken="token-1")
    equal((again["FlowLogIds"], again["ClientToken"]), (first["FlowLogIds"], "token-1"))
    with refused("IdempotentParameterMismatch"):
        member.flow_log([vpc_id], ClientToken="token-1", TrafficType="REJECT")


def a_flow_log_needs_a_role_that_the_service_can_assume(aws: SimulatedAws):
    member = Member.of(aws)
    vpc_ids = member.vpc_ids()[:1]
    with refused("InvalidParameter", "Unable to assume given IAM role"):
        member.flow_log(vpc_ids, DeliverLogsPermissionArn=f"arn:aws:iam::{member.account}:role/Nobody")
    with refused("UnauthorizedOperation"):
        member.flow_log(vpc_ids, DeliverLogsPermissionArn=f"arn:aws:iam::{aws.central.account}:role/{DELIVERY_ROLE}")


def more_than_three_hundred_vpcs_in_one_call_are_rejected(aws: SimulatedAws):
    with refused("InvalidParameterValue"):
        Member.of(aws).flow_log([f"vpc-{number:017x}" for number in range(301)])


def flow_logs_are_listed_in_pages_and_by_filters(aws: SimulatedAws):
    member = Member.of(aws)
    vpc_ids = member.vpc_ids()
    made = member.flow_log(vpc_ids)["FlowLogIds"]
    rejects = member.flow_log(vpc_ids[:2], TrafficType="REJECT", TagSpecifications=[])["FlowLogIds"]
    pages = list(member.ec2.get_paginator("describe_flow_logs").paginate(PaginationConfig={"PageSize": 4}))
    equal(len(pages), -(-len(made + rejects) // 4))
    equal(sorted(log["FlowLogId"] for page in pages for log in page["FlowLogs"]), sorted(made + rejects))

    def filtered(name: str, *values: str) -> list[str]:
        answer = member.ec2.describe_flow_logs(Filters=[{"Name": name, "Values": list(values)}])
        return sorted(log["FlowLogId"] for log in answer["FlowLogs"])

    equal(filtered("traffic-type", "REJECT"), sorted(rejects))
    equal(filtered("tag:managed-by", "drive-sim"), sorted(made))
    equal(filtered("log-group-name", GROUP), sorted(made + rejects))
    equal(filtered("log-group-name", "another"), [])
    equal(filtered("log-destination-type", "s3"), [])
    equal(len(filtered("resource-id", vpc_ids[0], vpc_ids[1])), 4)
    with refused("InvalidParameterValue"):
        filtered("creation-time", "today")


def flow_logs_can_be_deleted_and_unknown_ones_are_unsuccessful(aws: SimulatedAws):
    member = Member.of(aws)
    first, second = member.flow_log(member.vpc_ids()[:2])["FlowLogIds"]
    answer = member.ec2.delete_flow_logs(FlowLogIds=[first, "fl-0123456789abcdef0"])
    (failure,) = answer["Unsuccessful"]
    equal((failure["ResourceId"], failure["Error"]["Code"]), ("fl-0123456789abcdef0", "InvalidFlowLogId.NotFound"))
    equal(member.ec2.delete_flow_logs(FlowLogIds=[second])["Unsuccessful"], [])
    equal(member.ec2.describe_flow_logs()["FlowLogs"], [])
    with refused("InvalidFlowLogId.NotFound"):
        member.described(first)


def an_account_lists_its_regions(aws: SimulatedAws):
    ec2 = Member.of(aws).ec2
    regions = ec2.describe_regions()["Regions"]
    equal(sorted(region["RegionName"] for region in regions), sorted(REGIONS))
    equal({region["OptInStatus"] for region in regions}, {"opt-in-not-required"})
    (home,) = ec2.describe_regions(RegionNames=[HOME], AllRegions=True)["Regions"]
    equal(home["Endpoint"], f"ec2.{HOME}.amazonaws.com")
    with refused("InvalidParameterValue"):
        ec2.describe_regions(RegionNames=["mars-north-1"])


def a_region_that_is_not_enabled_is_rejected(aws: SimulatedAws):
    session = aws.in_member(aws.members[0])
    with refused("AuthFailure", "AWS was not able to validate the provided access credentials"):
        aws.client("ec2", session, "ap-east-1").describe_vpcs()
    with refused("UnrecognizedClientException"):
        aws.client("logs", session, "ap-east-1").describe_log_groups()
