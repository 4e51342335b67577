"""Events that AWS services send to an account's default bus, in the form of CloudTrail and Organizations."""

from __future__ import annotations

import json
import uuid
from typing import Any

from common.simulated_aws import GLOBAL
from deployed.aws import DeployedAws


def create_vpc(account: str, region: str, vpc: dict[str, Any]) -> dict[str, Any]:
    """The record of a CreateVpc call with a person's role. `vpc` is EC2's description of the VPC."""
    role = f"arn:aws:iam::{account}:role/Admin"
    owner = {"type": "Role", "principalId": "AROAEXAMPLE", "arn": role, "accountId": account, "userName": "Admin"}
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole", "principalId": "AROAEXAMPLE:person", "accountId": account,
            "arn": f"arn:aws:sts::{account}:assumed-role/Admin/person",
            "sessionContext": {
                "sessionIssuer": owner,
                "attributes": {"creationDate": "2026-11-23T09:00:00Z", "mfaAuthenticated": "true"},
            },
        },
        "eventTime": "2026-11-23T10:00:00Z",
        "eventSource": "ec2.amazonaws.com",
        "eventName": "CreateVpc",
        "awsRegion": region,
        "sourceIPAddress": "203.0.113.7",
        "userAgent": "aws-cli/2.31.0",
        "requestParameters": {
            "cidrBlock": vpc["CidrBlock"], "instanceTenancy": "default", "amazonProvidedIpv6CidrBlock": False,
        },
        "responseElements": {
            "requestId": str(uuid.uuid4()),
            "vpc": {
                "vpcId": vpc["VpcId"], "state": "pending", "ownerId": account, "cidrBlock": vpc["CidrBlock"],
                "cidrBlockAssociationSet": {"items": [{
                    "cidrBlock": vpc["CidrBlock"], "associationId": "vpc-cidr-assoc-0123456789abcdef0",
                    "cidrBlockState": {"state": "associated"},
                }]},
                "ipv6CidrBlockAssociationSet": {}, "dhcpOptionsId": "dopt-0123456789abcdef0",
                "instanceTenancy": "default", "tagSet": {}, "isDefault": False,
            },
        },
        "requestID": str(uuid.uuid4()),
        "eventID": str(uuid.uuid4()),
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }


def account_joined(management: str, account: str) -> dict[str, Any]:
    """The service event in the management account about a new member."""
    return {
        "eventVersion": "1.11",
        "userIdentity": {"accountId": management, "invokedBy": "organizations.amazonaws.com"},
        "eventTime": "2026-11-23T10:00:00Z",
        "eventSource": "organizations.amazonaws.com",
        "eventName": "AccountJoinedOrganization",
        "awsRegion": GLOBAL,
        "sourceIPAddress": "organizations.amazonaws.com",
        "userAgent": "organizations.amazonaws.com",
        "requestParameters": None,
        "responseElements": None,
        "eventID": str(uuid.uuid4()),
        "readOnly": False,
        "eventType": "AwsServiceEvent",
        "managementEvent": True,
        "recipientAccountId": management,
        "serviceEventDetails": {"accountId": account, "joinedMethod": "Created", "joinedTimestamp": 1795428000},
        "eventCategory": "Management",
    }


def put(aws: DeployedAws, account: str, region: str, detail: dict[str, Any]) -> None:
    """Sends the record to the account's default bus, as AWS does."""
    kind = "Service Event" if detail["eventType"] == "AwsServiceEvent" else "API Call"
    answer = aws.deployed("events", account, region).put_events(Entries=[{
        "Source": f"aws.{detail['eventSource'].removesuffix('.amazonaws.com')}",
        "DetailType": f"AWS {kind} via CloudTrail",
        "Detail": json.dumps(detail),
    }])
    assert answer["FailedEntryCount"] == 0, answer
