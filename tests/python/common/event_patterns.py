"""The part of EventBridge's pattern language that the templates use (EventBridge user guide, "Comparison operators")."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

ABSENT = object()


def matches(pattern: dict[str, Any], event: Any) -> bool:
    # EventBridge flattens arrays of objects: one element has to match.
    if isinstance(event, list):
        return any(matches(pattern, element) for element in event)
    for field, wanted in pattern.items():
        if field == "$or":
            if not any(matches(branch, event) for branch in wanted):
                return False
            continue
        found = event.get(field, ABSENT) if isinstance(event, dict) else ABSENT
        if isinstance(wanted, dict):
            if not matches(wanted, found):
                return False
        elif not any(leaf(matcher, found) for matcher in wanted):
            return False
    return True


def leaf(matcher: Any, found: Any) -> bool:
    if not isinstance(matcher, dict):
        return found == matcher
    (operator, argument), *more = matcher.items()
    if more:
        raise ValueError(f"several operators: {matcher}")
    match operator:
        case "exists":
            return (found is not ABSENT) == argument
        case "prefix":
            return isinstance(found, str) and found.startswith(argument)
        case "wildcard":
            return isinstance(found, str) and fnmatchcase(found, argument)
        case "anything-but":
            return found is not ABSENT and found not in argument
        case _:
            raise ValueError(f"{operator} is not known here")


def call(source: str, name: str, request: dict[str, Any], *, user: str | None = "Admin", error: str | None = None) -> dict:
    """The event of an API call in account 111122223333."""
    identity: dict[str, Any] = {"type": "Root"}
    if user:
        identity = {"type": "AssumedRole", "sessionContext": {"sessionIssuer": {
            "type": "Role", "userName": user, "arn": f"arn:aws:iam::111122223333:role/{user}"}}}
    detail = {
        "eventVersion": "1.11", "eventSource": f"{source}.amazonaws.com", "eventName": name, "readOnly": False,
        "eventType": "AwsApiCall", "userIdentity": identity, "requestParameters": request, "responseElements": None,
    }
    if error:
        detail["errorCode"] = error
    return envelope(source, "AWS API Call via CloudTrail", detail)


def service_event(source: str, name: str, details: dict[str, Any]) -> dict:
    detail = {
        "eventSource": f"{source}.amazonaws.com", "eventName": name, "eventType": "AwsServiceEvent",
        "userIdentity": {"accountId": "111122223333", "invokedBy": "AWS Internal"}, "requestParameters": None,
        "responseElements": None, "serviceEventDetails": details,
    }
    return envelope(source, "AWS Service Event via CloudTrail", detail)


def stack_event(stack: str, status: str) -> dict:
    arn = f"arn:aws:cloudformation:eu-west-1:111122223333:stack/{stack}/00000000-0000-4000-8000-000000000002"
    detail = {"stack-id": arn, "status-details": {"status": status, "status-reason": ""}, "client-request-token": ""}
    return envelope("cloudformation", "CloudFormation Stack Status Change", detail)


def envelope(source: str, kind: str, detail: dict[str, Any]) -> dict:
    return {
        "version": "0", "id": "00000000-0000-4000-a000-000000000001", "source": f"aws.{source}", "detail-type": kind,
        "account": "111122223333", "region": "eu-west-1", "time": "2026-11-23T10:00:00Z", "resources": [],
        "detail": detail,
    }


def tags(name: str, resource: str, *keys: str, **how: Any) -> dict:
    """The event of a call that tags a resource with these keys, or takes all tags from it."""
    items = {"items": [{"key": key, "value": "x"} for key in keys]} if keys else {}
    return call("ec2", name, {"resourcesSet": {"items": [{"resourceId": "i-0"}, {"resourceId": resource}]}, "tagSet": items}, **how)


VPC, FLOW_LOG = "vpc-0123456789abcdef0", "fl-0123456789abcdef0"
OUR_GROUP = {"logGroupName": "vpc-flow-logs"}
OUR_FILTER = {**OUR_GROUP, "filterName": "AllTraffic"}

# Events in a member account, with whether a rule must forward them.
MEMBER_EVENTS = [
    (True, call("ec2", "CreateVpc", {"cidrBlock": "10.0.0.0/16"})),
    (True, call("ec2", "CreateVpc", {"cidrBlock": "10.0.0.0/16"}, user=None)),
    (True, call("ec2", "CreateDefaultVpc", {"CreateDefaultVpcRequest": ""})),
    (True, call("ec2", "DeleteFlowLogs", {"DeleteFlowLogsRequest": {"FlowLogId": {"tag": 1, "content": "fl-0123456789abcdef0"}}})),
    (True, call("ec2", "CreateVpc", {"cidrBlock": "10.0.0.0/16"}, error="Server.InternalError")),
    (True, tags("CreateTags", VPC, "Name", "vpc-flow-logs")),
    (True, tags("CreateTags", VPC, "vpc-flow-logs-traffic-type", user=None)),
    (True, tags("DeleteTags", VPC, "vpc-flow-logs")),
    (True, tags("DeleteTags", VPC)),
    (True, tags("DeleteTags", FLOW_LOG, "managed-by")),
    (True, call("ec2", "CreateTags", {"omitted": True, "originalSize": 120000, "reason": "OVERSIZE"})),
    (True, call("logs", "DeleteLogGroup", OUR_GROUP)),
    (True, call("logs", "PutRetentionPolicy", {**OUR_GROUP, "retentionInDays": 1})),
    (True, call("logs", "DeleteRetentionPolicy", OUR_GROUP)),
    (True, call("logs", "PutSubscriptionFilter", OUR_FILTER)),
    (True, call("logs", "DeleteSubscriptionFilter", OUR_FILTER)),
    (True, stack_event("StackSet-vpc-flow-logs-enroller-member-00000000-0000-4000-8000-000000000001", "CREATE_COMPLETE")),
    (True, stack_event("StackSet-vpc-flow-logs-enroller-member-00000000-0000-4000-8000-000000000001", "UPDATE_COMPLETE")),
    (True, stack_event("vpc-flow-logs-enroller-member", "CREATE_COMPLETE")),
    (True, call("logs", "PutTransformer", {"logGroupIdentifier": "vpc-flow-logs"})),
    (True, call("iam", "DeleteRole", {"roleName": "VpcFlowLogsEnrollerMember"})),
    (True, call("events", "DeleteRule", {"name": "vpc-flow-logs-enroller-vpcs"})),
    (True, call("events", "RemoveTargets", {"rule": "vpc-flow-logs-enroller-vpcs", "ids": ["central"]})),
    (True, call("cloudformation", "DeleteStack", {"stackName": "StackSet-vpc-flow-logs-enroller-member-0"})),
    (True, call("cloudformation", "DeleteStackInstances", {"stackSetName": "vpc-flow-logs-enroller-member"})),
    # Failed calls, calls on resources of other tools, the enroller's own calls, and irrelevant events.
    (False, call("ec2", "CreateVpc", {"cidrBlock": "10.0.0.0/16"}, error="Client.VpcLimitExceeded")),
    (False, tags("CreateTags", VPC, "Name", "owner")),
    (False, tags("CreateTags", "subnet-0123456789abcdef0", "vpc-flow-logs")),
    (False, tags("DeleteTags", "subnet-0123456789abcdef0")),
    (False, tags("CreateTags", VPC, "vpc-flow-logs", user="VpcFlowLogsEnrollerMember")),
    (False, tags("CreateTags", VPC, "vpc-flow-logs", error="Client.TagLimitExceeded")),
    (False, call("ec2", "DeleteVpc", {"vpcId": "vpc-0123456789abcdef0"})),
    (False, call("ec2", "CreateFlowLogs", {"CreateFlowLogsRequest": {"ResourceType": "VPC"}})),
    (False, call("ec2", "DeleteFlowLogs", {"DeleteFlowLogsRequest": {}}, user="VpcFlowLogsEnrollerMember")),
    (False, call("ec2", "DescribeVpcs", {"vpcSet": {}})),
    (False, call("logs", "DeleteLogGroup", {"logGroupName": "vpc-flow-logs-of-others"})),
    (False, call("logs", "PutSubscriptionFilter", {**OUR_GROUP, "filterName": "other"})),
    (False, call("logs", "PutSubscriptionFilter", OUR_FILTER, user="VpcFlowLogsEnrollerMember")),
    (False, call("logs", "CreateLogGroup", OUR_GROUP)),
    (False, call("iam", "DeleteRole", {"roleName": "Theirs"})),
    (False, call("iam", "PutRolePolicy", {"roleName": "PublishFlowLogs"}, user="VpcFlowLogsEnrollerMember")),
    (False, call("events", "DeleteRule", {"name": "theirs"})),
    (False, stack_event("StackSet-vpc-flow-logs-enroller-member-00000000-0000-4000-8000-000000000001", "DELETE_COMPLETE")),
    (False, stack_event("StackSet-vpc-flow-logs-enroller-member-00000000-0000-4000-8000-000000000001", "CREATE_IN_PROGRESS")),
    (False, stack_event("another-stack", "CREATE_COMPLETE")),
    (False, stack_event("vpc-flow-logs-enroller-member-too", "CREATE_COMPLETE")),
]

ACCOUNT = {"accountId": "444455556666"}

# Events in the management account, with whether a rule must forward them.
ACCOUNT_EVENTS = [
    (True, service_event("organizations", "CreateAccountResult", {"createAccountStatus": {**ACCOUNT, "state": "SUCCEEDED"}})),
    (True, service_event("organizations", "CloseAccountResult", {"closeAccountStatus": {**ACCOUNT, "state": "SUCCEEDED"}})),
    (True, service_event("organizations", "AccountJoinedOrganization", {**ACCOUNT, "joinedMethod": "Created"})),
    (True, service_event("organizations", "AccountDepartedOrganization", {**ACCOUNT, "departureMethod": "LEFT"})),
    (True, call("organizations", "MoveAccount", {**ACCOUNT, "destinationParentId": "ou-exam-11111111"})),
    (True, call("organizations", "RemoveAccountFromOrganization", ACCOUNT)),
    (True, service_event("controltower", "CreateManagedAccount", {"createManagedAccountStatus": {"state": "SUCCEEDED"}})),
    (True, service_event("controltower", "UpdateManagedAccount", {"updateManagedAccountStatus": {"state": "SUCCEEDED"}})),
    (True, service_event("controltower", "RegisterOrganizationalUnit", {"registerOrganizationalUnitStatus": {"state": "SUCCEEDED"}})),
    (True, service_event("organizations", "CreateAccountResult", {"createAccountStatus": {**ACCOUNT, "state": "PENDING_ACTIVATION"}})),
    (True, call("organizations", "MoveAccount", ACCOUNT, error="ServiceException")),
    (False, service_event("organizations", "CreateAccountResult", {"createAccountStatus": {"state": "FAILED"}})),
    (False, service_event("controltower", "CreateManagedAccount", {"createManagedAccountStatus": {"state": "FAILED"}})),
    (False, call("organizations", "MoveAccount", ACCOUNT, error="AccessDeniedException")),
    (False, call("organizations", "CreateAccount", {"email": "****"})),
    (False, call("organizations", "CloseAccount", ACCOUNT)),
    (False, call("organizations", "InviteAccountToOrganization", {"target": {"type": "ACCOUNT", "id": "444455556666"}})),
    (False, call("ec2", "CreateVpc", {"cidrBlock": "10.0.0.0/16"})),
]
