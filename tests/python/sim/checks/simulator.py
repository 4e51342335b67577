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
    with refused("UnknownParameter", ".* does not know parameter includeLinkedAccounts of DescribeLogGroups"):
        aws.client("logs", aws.central).describe_log_groups(includeLinkedAccounts=True)
    with refused("UnknownParameter", ".* does not know parameter Policy of AssumeRole"):
        aws.client("sts", aws.central).assume_role(
            RoleArn=aws.role_arn(aws.members[0]), RoleSessionName="drive-sim", Policy="{}"
        )


def rules_are_set_shown_and_lifted_while_it_runs(aws: SimulatedAws):
    def control(method: str, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{aws.endpoint}/_sim/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    session = aws.in_member(aws.fresh_member())
    ec2 = aws.client("ec2", session)
    outage = {"service": "ec2", "account": [session.account], "answer": "UnauthorizedOperation", "status": 403}
    number = control("POST", "rules", {"outage": outage})["ids"]["outage"]
    with refused("UnauthorizedOperation"):
        ec2.describe_vpcs()
    shown = [rule for rule in control("GET", "rules")["rules"] if rule["id"] == number]
    equal((shown[0]["hits"], shown[0]["value"]), (1, outage))
    control("DELETE", f"rules/{number}")
    ec2.describe_vpcs()


def it_stops_on_request(aws: SimulatedAws):
    """Must be the last check, because no call is possible after it."""
    equal(aws.stop(), 0)
