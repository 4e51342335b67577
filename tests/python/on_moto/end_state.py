"""Reads with boto3 the end state of an organization, in a form that two AWSes can agree on: without ids and times, and with
names for accounts and VPCs."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from common.organization_state import DELIVERY_ROLE

# Attributes of log groups. Stored bytes are left out, because moto counts them and the enroller does not change them.
GROUP = ("logGroupName", "retentionInDays", "kmsKeyId", "logGroupClass")
FILTER = ("filterName", "filterPattern", "destinationArn", "roleArn", "distribution")
# Without DeliverLogsStatus: moto reports a failed delivery although there was none.
FLOW_LOG = (
    "TrafficType",
    "LogDestinationType",
    "LogGroupName",
    "LogDestination",
    "DeliverLogsPermissionArn",
    "MaxAggregationInterval",
    "LogFormat",
    "FlowLogStatus",
)
DESTINATION = ("destinationName", "targetArn", "roleArn")
ROLE = ("Path", "RoleName", "Description", "MaxSessionDuration", "AssumeRolePolicyDocument")

# Creates a client of a service in an account and a Region.
Clients = Callable[[str, str, str], object]


def end_state(
    clients: Clients, accounts: dict[str, str], central: str, regions: list[str], hidden: set[str]
) -> list[str]:
    """Sorted lines of text: what every account has in every Region, and what the central account authorizes.

    `accounts` has each account's name. Log groups in `hidden` exist only because the emulator requires them.
    """
    account_regions = [(account, region) for account in accounts for region in regions]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda at: _account_region(clients, *at, hidden), account_regions))
        found += list(pool.map(lambda account: _role(clients("iam", account, "us-east-1"), account), accounts))
        found += list(pool.map(lambda region: _destinations(clients("logs", central, region), region), regions))
    text = "\n".join(sorted(line for lines in found for line in lines))
    for account, name in accounts.items():
        text = text.replace(account, name)
    return sorted(text.splitlines())


def _account_region(clients: Clients, account: str, region: str, hidden: set[str]) -> list[str]:
    ec2, logs = clients("ec2", account, region), clients("logs", account, region)
    own = [{"Name": "owner-id", "Values": [account]}]
    vpcs = {vpc["VpcId"]: vpc for vpc in _pages(ec2, "describe_vpcs", "Vpcs", Filters=own)}

    def line(kind: str, item: dict) -> str:
        return f"{account} {region} {kind} {json.dumps(item, sort_keys=True)}"

    lines = [line("VPC", {"CidrBlock": vpc["CidrBlock"], "Tags": _tags(vpc)}) for vpc in vpcs.values()]
    for log in _pages(ec2, "describe_flow_logs", "FlowLogs"):
        vpc = vpcs.get(log["ResourceId"], {}).get("CidrBlock", "a VPC that does not exist")
        # moto does not return the LogDestination of a log group. LogGroupName has the same information.
        shown = {name: value for name, value in log.items() if name != "LogDestination" or "LogGroupName" not in log}
        lines.append(line("flow log", {"of": vpc, "Tags": _tags(log), **_some(shown, FLOW_LOG)}))
    for group in _pages(logs, "describe_log_groups", "logGroups"):
        name = group["logGroupName"]
        if name in hidden:
            continue
        arn = group["arn"].removesuffix(":*")
        tags = logs.list_tags_for_resource(resourceArn=arn)["tags"]
        # Absent means STANDARD (CloudWatch Logs API reference, LogGroup).
        lines.append(line("log group", {"logGroupClass": "STANDARD", **_some(group, GROUP), "tags": tags}))
        for item in _pages(logs, "describe_subscription_filters", "subscriptionFilters", logGroupName=name):
            # ByLogStream is the default, which moto does not return.
            lines.append(line("filter", {"of": name, "distribution": "ByLogStream", **_some(item, FILTER)}))
    return lines


def _role(iam, account: str) -> list[str]:
    try:
        role = iam.get_role(RoleName=DELIVERY_ROLE)["Role"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise
        return []
    policies = {
        name: iam.get_role_policy(RoleName=DELIVERY_ROLE, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=DELIVERY_ROLE)["PolicyNames"]
    }
    # moto returns an absent description as an empty one.
    shown = {name: value for name, value in _some(role, ROLE).items() if value != ""}
    return [f"{account} role {json.dumps({**shown, 'Tags': _tags(role), 'policies': policies}, sort_keys=True)}"]


def _destinations(logs, region: str) -> list[str]:
    lines = []
    for item in _pages(logs, "describe_destinations", "destinations"):
        lines.append(f"{region} destination {json.dumps(_some(item, DESTINATION), sort_keys=True)}")
        policy = json.loads(item.get("accessPolicy") or "{}")
        statements = policy.pop("Statement", [])
        name = item["destinationName"]
        lines.append(f"{region} policy of {name} {json.dumps(policy, sort_keys=True)}")
        for statement in statements:
            # One line for each account, because the order by id differs between the two AWSes.
            principals = statement.pop("Principal")["AWS"]
            for principal in [principals] if isinstance(principals, str) else principals:
                lines.append(f"{region} policy of {name} {principal} {json.dumps(statement, sort_keys=True)}")
    return lines


def _pages(client, operation: str, key: str, **parameters) -> list[dict]:
    return [item for page in client.get_paginator(operation).paginate(**parameters) for item in page[key]]


def _some(item: dict, names: tuple[str, ...]) -> dict:
    return {name: item[name] for name in names if item.get(name) is not None}


def _tags(item: dict) -> dict[str, str]:
    tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
    # The fingerprint of a flow log's settings is another one in another account, and the two have other accounts.
    return {key: "a fingerprint" if key == "vpc-flow-logs-settings" else value for key, value in tags.items()}
