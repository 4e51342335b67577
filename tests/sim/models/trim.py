#!/usr/bin/env python3
"""Trims botocore's service models to the operations that the simulated AWS knows.

    python tests/sim/models/trim.py DIRECTORY-OF-BOTOCORE

Writes `SERVICE.json` beside this file: protocol data, operations and the shapes that they reach, without documentation.
"""

import gzip
import json
import sys
from pathlib import Path

OPERATIONS = {
    "ec2": """CreateDefaultVpc CreateFlowLogs CreateTags CreateVpc DeleteFlowLogs DeleteTags DeleteVpc DescribeFlowLogs
        DescribeRegions DescribeVpcs""",
    "logs": """AssociateKmsKey CreateLogGroup DeleteAccountPolicy DeleteDataProtectionPolicy DeleteDestination
        DeleteLogGroup DeleteRetentionPolicy DeleteSubscriptionFilter DescribeAccountPolicies DescribeDestinations
        DescribeLogGroups DescribeSubscriptionFilters DisassociateKmsKey GetDataProtectionPolicy ListTagsForResource
        PutAccountPolicy PutDataProtectionPolicy PutDestination PutDestinationPolicy PutRetentionPolicy PutSubscriptionFilter TagResource UntagResource""",
    "sts": "AssumeRole GetCallerIdentity",
    "iam": """CreateRole DeleteRole DeleteRolePolicy GetRole GetRolePolicy ListRolePolicies PutRolePolicy TagRole
        UpdateAssumeRolePolicy""",
    "organizations": """DescribeAccount DescribeOrganization DescribeOrganizationalUnit ListAccounts
        ListAccountsForParent ListChildren ListDelegatedAdministrators ListOrganizationalUnitsForParent ListParents
        ListRoots RemoveAccountFromOrganization""",
    "sqs": """ChangeMessageVisibility ChangeMessageVisibilityBatch CreateQueue DeleteMessage DeleteMessageBatch
        GetQueueAttributes GetQueueUrl ReceiveMessage SendMessage SendMessageBatch""",
    "events": """DeleteRule DescribeEventBus DescribeRule DisableRule ListRuleNamesByTarget ListTargetsByRule
        RemoveTargets""",
    "cloudtrail": "DescribeTrails GetTrailStatus",
}
SHAPE = ("type", "members", "member", "key", "value", "required", "min", "max", "pattern", "enum", "error", "flattened")
REFERENCE = ("shape", "location", "locationName", "queryName", "flattened")


def kept(node: dict, keys) -> dict:
    return {key: node[key] for key in keys if key in node}


def trimmed(shape: dict) -> dict:
    result = kept(shape, SHAPE)
    if "members" in result:
        result["members"] = {name: kept(member, REFERENCE) for name, member in result["members"].items()}
    for part in ("member", "key", "value"):
        if part in result:
            result[part] = kept(result[part], REFERENCE)
    return result


def trim(model: dict, names: list[str]) -> dict:
    operations, shapes = {}, {}

    def reach(name: str):
        if name in shapes:
            return
        shapes[name] = trimmed(model["shapes"][name])
        shape = shapes[name]
        parts = [shape[part] for part in ("member", "key", "value") if part in shape]
        for part in [*shape.get("members", {}).values(), *parts]:
            reach(part["shape"])

    for name in names:
        full = model["operations"][name]
        operation = {part: full[part]["shape"] for part in ("input", "output") if part in full}
        operation["errors"] = [error["shape"] for error in full.get("errors", [])]
        for shape in [*operation.values()][:-1] + operation["errors"]:
            reach(shape)
        operations[name] = operation
    metadata = kept(model["metadata"], ("apiVersion", "protocol", "serviceId"))
    return {"metadata": metadata, "operations": operations, "shapes": dict(sorted(shapes.items()))}


def written(model: dict) -> str:
    """One line for each operation and shape, so that differences can be read."""
    blocks = []
    for part in ("operations", "shapes"):
        lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=True)}" for name, value in model[part].items()]
        blocks.append(f'"{part}": {{\n' + ",\n".join(lines) + "\n}")
    return f'{{\n"metadata": {json.dumps(model["metadata"])},\n' + ",\n".join(blocks) + "\n}\n"


def main():
    data = Path(sys.argv[1]) / "data"
    for service, names in OPERATIONS.items():
        newest = max((data / service).iterdir()) / "service-2.json.gz"
        with gzip.open(newest) as file:
            model = trim(json.load(file), names.split())
        Path(__file__).with_name(f"{service}.json").write_text(written(model))


if __name__ == "__main__":
    main()
