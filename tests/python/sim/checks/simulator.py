"""What the simulated AWS does beyond AWS: it counts calls, names unknown operations, and stops."""

from __future__ import annotations

import json
import urllib.request

from common.simulated_aws import GLOBAL, HOME, SimulatedAws, equal, refused


def calls_are_counted_by_operation_account_and_region(aws: SimulatedAws):
    def stats() -> dict:
        with urllib.request.urlopen(f"{aws.endpoint}/_sim/stats", timeout=10) as answer:
            equal(answer.headers.get_content_type(), "application/json")
            return json.load(answer)

    def calls(report: dict, operation: str, region: str) -> int:
        wanted = (operation, session.account, region)
        rows = [row for row in report["calls"] if (row["operation"], row["account"], row["region"]) == wanted]
        return sum(row["calls"] for row in rows)

    session = aws.in_member(aws.fresh_member())
    before = stats()
    aws.client("ec2", session).describe_vpcs()
    aws.client("ec2", session, GLOBAL).create_vpc(CidrBlock="10.9.0.0/16")
    with refused("ResourceNotFoundException"):
        aws.client("logs", session).delete_log_group(logGroupName="nothing")
    after = stats()
    for name, more in (("total", 3), ("mutating", 2), ("reading", 1)):
        equal(after[name] - before[name], more)
    equal(calls(after, "DescribeVpcs", HOME), 1)
    equal((calls(after, "CreateVpc", HOME), calls(after, "CreateVpc", GLOBAL)), (0, 1))
    code = "logs:ResourceNotFoundException"
    equal(after["errors"][code] - before["errors"].get(code, 0), 1)
    equal(after["by_account"][session.account], 3)


def unknown_operations_and_parameters_are_rejected_by_name(aws: SimulatedAws):
    with refused("UnknownOperationException", ".* does not know operation DescribeInstances"):
        aws.client("ec2", aws.central).describe_instances()
    with refused("UnknownParameter", ".* does not know parameter emitSystemFields of PutSubscriptionFilter"):
        aws.client("logs", aws.central).put_subscription_filter(
            logGroupName="a", filterName="b", filterPattern="", destinationArn="c", emitSystemFields=["@aws.account"]
        )
    with refused("UnknownParameter", ".* does not know parameter Policy of AssumeRole"):
        aws.client("sts", aws.central).assume_role(
            RoleArn=aws.role_arn(aws.members[0]), RoleSessionName="drive-sim", Policy="{}"
        )


def it_stops_on_request(aws: SimulatedAws):
    """Must be the last check, because no call is possible after it."""
    equal(aws.stop(), 0)
