"""Reads with boto3 what an organization has in every account and Region, and finds what is not enrolled correctly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

# The defaults of the settings of the same names.
LOG_GROUP = "vpc-flow-logs"
DESTINATION = "VPCFlowLogsDestination"
FILTER = "AllTraffic"
DELIVERY_ROLE = "VpcFlowLogsEnrollerDelivery"
OWNERSHIP = {"Key": "managed-by", "Value": "vpc-flow-logs-enroller"}
OPT_OUT = {"Key": "vpc-flow-logs", "Value": "off"}

# Creates a client of a service in an account and a Region.
Clients = Callable[[str, str, str], object]


@dataclass(frozen=True)
class AccountRegion:
    """One account in one Region."""

    account: str
    region: str
    vpcs: list[dict]
    flow_logs: list[dict]
    # The log group that the enroller creates, or None.
    log_group: dict | None
    filters: list[dict]

    @property
    def managed(self) -> list[dict]:
        return [log for log in self.flow_logs if OWNERSHIP in log.get("Tags", [])]

    @property
    def foreign(self) -> list[dict]:
        return [log for log in self.flow_logs if log not in self.managed]

    @property
    def foreign_filters(self) -> list[dict]:
        return [item for item in self.filters if item["filterName"] != FILTER]


def observe(clients: Clients, accounts: Iterable[str], regions: Iterable[str]) -> list[AccountRegion]:
    """Reads every account in every Region."""
    account_regions = [(account, region) for account in accounts for region in regions]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda at: _observe_one(clients, *at), account_regions))


def _observe_one(clients: Clients, account: str, region: str) -> AccountRegion:
    ec2, logs = clients("ec2", account, region), clients("logs", account, region)

    def pages(client, operation: str, key: str, **parameters) -> list[dict]:
        return [item for page in client.get_paginator(operation).paginate(**parameters) for item in page[key]]

    groups = pages(logs, "describe_log_groups", "logGroups", logGroupNamePrefix=LOG_GROUP)
    group = next((group for group in groups if group["logGroupName"] == LOG_GROUP), None)
    filters = group and pages(logs, "describe_subscription_filters", "subscriptionFilters", logGroupName=LOG_GROUP)
    own = [{"Name": "owner-id", "Values": [account]}]
    return AccountRegion(
        account,
        region,
        vpcs=pages(ec2, "describe_vpcs", "Vpcs", Filters=own),
        flow_logs=pages(ec2, "describe_flow_logs", "FlowLogs"),
        log_group=group,
        filters=filters or [],
    )


def policies(logs) -> dict[str, str]:
    """The access policies of a Region's destinations."""
    pages = logs.get_paginator("describe_destinations").paginate(DestinationNamePrefix=DESTINATION)
    return {item["destinationName"]: item.get("accessPolicy", "") for page in pages for item in page["destinations"]}


def granted(policy: str) -> list[str]:
    """The accounts in a policy. An account that it lists twice is there twice."""
    accounts: list[str] = []
    for statement in json.loads(policy)["Statement"]:
        assert statement["Effect"] == "Allow", statement
        assert "logs:PutSubscriptionFilter" in statement["Action"], statement
        principals = statement["Principal"]["AWS"]
        accounts += [principals] if isinstance(principals, str) else principals
    return accounts


# --- what is not enrolled correctly ---


def flow_log_problems(at: AccountRegion, interval: int = 600) -> list[str]:
    """Every VPC must have exactly one managed flow log that delivers to the log group, and a VPC that opted out none."""
    where = f"{at.account} {at.region}"
    counts = Counter(log["ResourceId"] for log in at.managed)
    problems = []
    for vpc in at.vpcs:
        wanted = 0 if OPT_OUT in vpc.get("Tags", []) else 1
        if counts[vpc["VpcId"]] != wanted:
            problems.append(f"{where} {vpc['VpcId']} has {counts[vpc['VpcId']]} managed flow logs, not {wanted}")
    expected = {
        "LogGroupName": LOG_GROUP,
        "LogDestinationType": "cloud-watch-logs",
        "DeliverLogsPermissionArn": f"arn:aws:iam::{at.account}:role/{DELIVERY_ROLE}",
        "FlowLogStatus": "ACTIVE",
        "TrafficType": "ALL",
        "MaxAggregationInterval": interval,
    }
    for log in at.managed:
        for key, value in expected.items():
            if log.get(key) != value:
                problems.append(f"{where} {log['FlowLogId']} has {key} {log.get(key)!r}, not {value!r}")
        # Absent before the first delivery.
        if log.get("DeliverLogsStatus", "SUCCESS") != "SUCCESS":
            problems.append(f"{where} {log['FlowLogId']} does not deliver: {log.get('DeliverLogsErrorMessage')}")
    return problems


def filter_problems(at: AccountRegion, central: str) -> list[str]:
    """The log group must exist, with one managed filter to the destination of its Region."""
    where = f"{at.account} {at.region}"
    if at.log_group is None:
        return [f"{where} has no log group {LOG_GROUP}"]
    found = [item["destinationArn"] for item in at.filters if item["filterName"] == FILTER]
    expected = [f"arn:aws:logs:{at.region}:{central}:destination:{DESTINATION}"]
    return [] if found == expected else [f"{where} has filters to {found}, not to {expected}"]


def policy_problems(region: str, found: dict[str, str], accounts: Iterable[str]) -> list[str]:
    """Every account must be granted exactly once, and no other account."""
    if not found.get(DESTINATION):
        return [f"{region} has no destination with a policy"]
    counts = Counter(account for policy in found.values() for account in granted(policy))
    expected = Counter(accounts)
    return [] if counts == expected else [f"{region} grants {counts}, not {expected}"]
