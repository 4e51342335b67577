"""What an organization has, read with boto3 from every account and Region; and what of it is not as enrolled."""

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
DELIVERY_ROLE = "PublishFlowLogs"
OWNERSHIP = {"Key": "managed-by", "Value": "vpc-flow-logs-enroller"}
OPT_OUT = {"Key": "vpc-flow-logs", "Value": "off"}

# A client of a service, in an account and a Region.
Clients = Callable[[str, str, str], object]


@dataclass(frozen=True)
class Place:
    """One account in one Region."""

    account: str
    region: str
    vpcs: list[dict]
    flow_logs: list[dict]
    # Of the log group the enroller makes; None without one.
    log_group: dict | None
    filters: list[dict]

    @property
    def ours(self) -> list[dict]:
        return [log for log in self.flow_logs if OWNERSHIP in log.get("Tags", [])]

    @property
    def foreign(self) -> list[dict]:
        return [log for log in self.flow_logs if log not in self.ours]

    @property
    def foreign_filters(self) -> list[dict]:
        return [item for item in self.filters if item["filterName"] != FILTER]


def observe(clients: Clients, accounts: Iterable[str], regions: Iterable[str]) -> list[Place]:
    """Every account in every Region."""
    places = [(account, region) for account in accounts for region in regions]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda place: _observe_place(clients, *place), places))


def _observe_place(clients: Clients, account: str, region: str) -> Place:
    ec2, logs = clients("ec2", account, region), clients("logs", account, region)

    def pages(client, operation: str, key: str, **parameters) -> list[dict]:
        return [item for page in client.get_paginator(operation).paginate(**parameters) for item in page[key]]

    groups = pages(logs, "describe_log_groups", "logGroups", logGroupNamePrefix=LOG_GROUP)
    group = next((group for group in groups if group["logGroupName"] == LOG_GROUP), None)
    filters = group and pages(logs, "describe_subscription_filters", "subscriptionFilters", logGroupName=LOG_GROUP)
    own = [{"Name": "owner-id", "Values": [account]}]
    return Place(
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
    """The accounts a policy names, one entry for each time it names one."""
    accounts: list[str] = []
    for statement in json.loads(policy)["Statement"]:
        assert statement["Effect"] == "Allow", statement
        assert "logs:PutSubscriptionFilter" in statement["Action"], statement
        principals = statement["Principal"]["AWS"]
        accounts += [principals] if isinstance(principals, str) else principals
    return accounts


# --- what is not as enrolled ---


def flow_log_problems(place: Place, interval: int = 600) -> list[str]:
    """Every VPC has exactly one flow log of ours that delivers to the group; one that opted out has none."""
    where = f"{place.account} {place.region}"
    counts = Counter(log["ResourceId"] for log in place.ours)
    problems = []
    for vpc in place.vpcs:
        wanted = 0 if OPT_OUT in vpc.get("Tags", []) else 1
        if counts[vpc["VpcId"]] != wanted:
            problems.append(f"{where} {vpc['VpcId']} has {counts[vpc['VpcId']]} flow logs of ours, not {wanted}")
    expected = {
        "LogGroupName": LOG_GROUP,
        "LogDestinationType": "cloud-watch-logs",
        "DeliverLogsPermissionArn": f"arn:aws:iam::{place.account}:role/{DELIVERY_ROLE}",
        "FlowLogStatus": "ACTIVE",
        "TrafficType": "ALL",
        "MaxAggregationInterval": interval,
    }
    for log in place.ours:
        for key, value in expected.items():
            if log.get(key) != value:
                problems.append(f"{where} {log['FlowLogId']} has {key} {log.get(key)!r}, not {value!r}")
        # Absent before the first delivery.
        if log.get("DeliverLogsStatus", "SUCCESS") != "SUCCESS":
            problems.append(f"{where} {log['FlowLogId']} does not deliver: {log.get('DeliverLogsErrorMessage')}")
    return problems


def filter_problems(place: Place, central: str) -> list[str]:
    """The group exists, and has our filter once, to the destination of its Region."""
    where = f"{place.account} {place.region}"
    if place.log_group is None:
        return [f"{where} has no log group {LOG_GROUP}"]
    ours = [item["destinationArn"] for item in place.filters if item["filterName"] == FILTER]
    expected = [f"arn:aws:logs:{place.region}:{central}:destination:{DESTINATION}"]
    return [] if ours == expected else [f"{where} has the filters {ours}, not {expected}"]


def policy_problems(region: str, found: dict[str, str], accounts: Iterable[str]) -> list[str]:
    """Every account is granted once, and nobody else is."""
    if not found.get(DESTINATION):
        return [f"{region} has no destination with a policy"]
    counts = Counter(account for policy in found.values() for account in granted(policy))
    expected = Counter(accounts)
    return [] if counts == expected else [f"{region} grants {counts}, not {expected}"]
