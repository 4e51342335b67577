"""Log groups, subscription filters, and destinations with their access policies (CloudWatch Logs)."""

from __future__ import annotations

import json
import re
import time

from common.simulated_aws import GLOBAL, HOME, SimulatedAws, equal, refused

GROUP = "vpc-flow-logs"
ACTION = "logs:PutSubscriptionFilter"
NOT_IAM_GRAMMAR = (
    "Error occurred while parsing accessPolicy. Please check if the accessPolicy has been constructed correctly using "
    "IAM grammar."
)


class Destination:
    """A destination in the central account without a policy, which no other check uses."""

    def __init__(self, aws: SimulatedAws):
        self.logs = aws.client("logs", aws.central)
        self.name = f"Checked{aws.number()}"
        answer = self.logs.put_destination(
            destinationName=self.name,
            targetArn=aws.environment["ENROLLER_DESTINATION_TARGET_ARN"],
            roleArn=aws.environment["ENROLLER_DESTINATION_ROLE_ARN"],
        )
        self.arn = answer["destination"]["arn"]
        self.organization = aws.organization

    def described(self) -> dict:
        found = self.logs.describe_destinations(DestinationNamePrefix=self.name)["destinations"]
        return next(destination for destination in found if destination["destinationName"] == self.name)

    def document(self, principal, **more) -> dict:
        statement = {"Effect": "Allow", "Principal": principal, "Action": ACTION, "Resource": self.arn, **more}
        return {"Version": "2012-10-17", "Statement": [statement]}

    def for_accounts(self, *accounts: str) -> str:
        return json.dumps(self.document({"AWS": list(accounts)}))

    def for_organization(self) -> str:
        condition = {"StringEquals": {"aws:PrincipalOrgID": [self.organization]}}
        return json.dumps(self.document("*", Condition=condition))

    def put(self, policy: str, **more) -> None:
        self.logs.put_destination_policy(destinationName=self.name, accessPolicy=policy, **more)


def _member_with_group(aws: SimulatedAws):
    session = aws.in_member(aws.fresh_member())
    logs = aws.client("logs", session)
    logs.create_log_group(logGroupName=GROUP)
    return session.account, logs


def _put_filter(logs, destination_arn: str, name: str = "AllTraffic", group: str = GROUP, **more) -> None:
    logs.put_subscription_filter(
        logGroupName=group, filterName=name, filterPattern="", destinationArn=destination_arn, **more
    )


# --- log groups ---


def a_log_group_is_created_with_retention_and_tags_and_described(aws: SimulatedAws):
    session = aws.in_member(aws.fresh_member())
    logs = aws.client("logs", session)
    logs.create_log_group(logGroupName=GROUP, tags={"managed-by": "drive-sim"})
    with refused("ResourceAlreadyExistsException", "The specified log group already exists"):
        logs.create_log_group(logGroupName=GROUP)
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=30)
    (group,) = logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]
    arn = f"arn:aws:logs:{HOME}:{session.account}:log-group:{GROUP}"
    equal((group["logGroupName"], group["arn"], group["logGroupArn"]), (GROUP, f"{arn}:*", arn))
    equal((group["retentionInDays"], group["logGroupClass"]), (30, "STANDARD"))
    assert abs(time.time() * 1000 - group["creationTime"]) < 300_000, group["creationTime"]
    equal(logs.list_tags_for_resource(resourceArn=arn)["tags"], {"managed-by": "drive-sim"})
    logs.tag_resource(resourceArn=arn, tags={"team": "network"})
    logs.untag_resource(resourceArn=arn, tagKeys=["managed-by"])
    equal(logs.list_tags_for_resource(resourceArn=arn)["tags"], {"team": "network"})
    logs.delete_retention_policy(logGroupName=GROUP)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"][0]
    logs.delete_log_group(logGroupName=GROUP)
    equal(logs.describe_log_groups()["logGroups"], [])


def invalid_retentions_and_missing_groups_are_rejected(aws: SimulatedAws):
    _, logs = _member_with_group(aws)
    with refused("InvalidParameterException"):
        logs.put_retention_policy(logGroupName=GROUP, retentionInDays=31)
    with refused("ResourceNotFoundException", "The specified log group does not exist."):
        logs.put_retention_policy(logGroupName="another", retentionInDays=30)
    with refused("ResourceNotFoundException", "The specified log group does not exist."):
        logs.describe_subscription_filters(logGroupName="another")


def a_key_can_encrypt_a_log_group(aws: SimulatedAws):
    account, logs = _member_with_group(aws)
    key = f"arn:aws:kms:{HOME}:{account}:key/0123abcd-0000-1111-2222-0123456789ab"
    logs.associate_kms_key(logGroupName=GROUP, kmsKeyId=key)
    equal(logs.describe_log_groups()["logGroups"][0]["kmsKeyId"], key)
    logs.disassociate_kms_key(logGroupName=GROUP)
    assert "kmsKeyId" not in logs.describe_log_groups()["logGroups"][0]


def log_groups_are_listed_in_pages(aws: SimulatedAws):
    _, logs = _member_with_group(aws)
    for number in range(4):
        logs.create_log_group(logGroupName=f"/aws/lambda/{number}")
    pages = list(logs.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 2}))
    equal([len(page["logGroups"]) for page in pages], [2, 2, 1])
    matching = logs.describe_log_groups(logGroupNamePattern="lambda/2")["logGroups"]
    equal([group["logGroupName"] for group in matching], ["/aws/lambda/2"])


# --- the grant ---


def a_filter_is_denied_before_the_grant_and_accepted_after_it(aws: SimulatedAws):
    account, logs = _member_with_group(aws)
    destination = Destination(aws)
    denied = re.escape(
        f"User with accountId: {account} is not authorized to perform: {ACTION} on resource: {destination.arn}"
    )
    with refused("AccessDeniedException", denied):
        _put_filter(logs, destination.arn)
    destination.put(destination.for_accounts("111122223333"))
    with refused("AccessDeniedException", denied):
        _put_filter(logs, destination.arn)
    destination.put(destination.for_accounts("111122223333", account))
    _put_filter(logs, destination.arn)
    (found,) = logs.describe_subscription_filters(logGroupName=GROUP)["subscriptionFilters"]
    equal((found["filterName"], found["filterPattern"]), ("AllTraffic", ""))
    equal((found["destinationArn"], found["logGroupName"]), (destination.arn, GROUP))
    assert isinstance(found["creationTime"], int) and "roleArn" not in found, found
    logs.delete_subscription_filter(logGroupName=GROUP, filterName="AllTraffic")
    equal(logs.describe_subscription_filters(logGroupName=GROUP)["subscriptionFilters"], [])


def a_filter_needs_its_log_group_and_a_destination_in_its_region(aws: SimulatedAws):
    account, logs = _member_with_group(aws)
    destination = Destination(aws)
    destination.put(destination.for_accounts(account))
    with refused("ResourceNotFoundException", "The specified log group does not exist."):
        _put_filter(logs, destination.arn, group="another")
    with refused("InvalidParameterException"):
        _put_filter(logs, destination.arn.replace(HOME, GLOBAL))


def a_sixth_filter_on_a_group_is_rejected(aws: SimulatedAws):
    account, logs = _member_with_group(aws)
    destination = Destination(aws)
    destination.put(destination.for_accounts(account))
    for number in range(5):
        _put_filter(logs, destination.arn, f"Filter{number}")
    with refused("LimitExceededException", "Resource limit exceeded."):
        _put_filter(logs, destination.arn, "Filter5")
    _put_filter(logs, destination.arn, "Filter4", distribution="Random")
    pages = logs.get_paginator("describe_subscription_filters").paginate(
        logGroupName=GROUP, PaginationConfig={"PageSize": 2}
    )
    names = [found["filterName"] for page in pages for found in page["subscriptionFilters"]]
    equal(names, [f"Filter{number}" for number in range(5)])


# --- destination policies ---


def a_destination_keeps_its_policy_byte_for_byte(aws: SimulatedAws):
    destination = Destination(aws)
    assert "accessPolicy" not in destination.described(), "a new destination has no policy"
    policy = json.dumps(destination.document({"AWS": ["111122223333"]}), indent=3)
    destination.put(policy)
    described = destination.described()
    equal(described["accessPolicy"], policy)
    equal(described["targetArn"], aws.environment["ENROLLER_DESTINATION_TARGET_ARN"])
    equal(described["roleArn"], aws.environment["ENROLLER_DESTINATION_ROLE_ARN"])
    assert abs(time.time() * 1000 - described["creationTime"]) < 300_000, described["creationTime"]


def a_policy_of_more_than_5120_bytes_is_rejected(aws: SimulatedAws):
    destination = Destination(aws)

    def policy(size: int) -> str:
        document = destination.document({"AWS": ["111122223333"]})
        room = size - len(json.dumps({**document, "Id": ""}))
        return json.dumps({**document, "Id": "x" * room})

    destination.put(policy(5120))
    with refused("InvalidParameterException", re.escape(NOT_IAM_GRAMMAR)):
        destination.put(policy(5121))
    equal(len(destination.described()["accessPolicy"]), 5120)


def a_policy_with_arns_a_bare_wildcard_or_bad_syntax_is_rejected(aws: SimulatedAws):
    destination = Destination(aws)
    arn = "arn:aws:iam::111122223333:root"
    message = re.escape(f"Principal section of policy contains ARN instead of account ID: {arn}")
    with refused("InvalidParameterException", message):
        destination.put(destination.for_accounts(arn))
    for principal in ("*", {"AWS": "*"}, {"AWS": ["*"]}):
        with refused("InvalidParameterException"):
            destination.put(json.dumps(destination.document(principal)))
    for text in ("{", json.dumps(destination.document({"AWS": [111122223333]}))):
        with refused("InvalidParameterException", re.escape(NOT_IAM_GRAMMAR)):
            destination.put(text)
    assert "accessPolicy" not in destination.described(), "a rejected policy is not stored"


def changing_accounts_to_an_organization_needs_force_update(aws: SimulatedAws):
    account, logs = _member_with_group(aws)
    destination = Destination(aws)
    destination.put(destination.for_accounts(account))
    message = "Cannot update existing policy on Subscription Destination. .* Use the Force flag to accept this risk."
    with refused("InvalidParameterException", message):
        destination.put(destination.for_organization())
    with refused("InvalidParameterException", message):
        destination.put(destination.for_organization(), forceUpdate=False)
    destination.put(destination.for_organization(), forceUpdate=True)
    equal(json.loads(destination.described()["accessPolicy"]), json.loads(destination.for_organization()))
    needs_role = (
        "Role ARN is required when creating subscription filter against destination with Organization access policy"
    )
    with refused("InvalidParameterException", needs_role):
        _put_filter(logs, destination.arn)
    destination.put(destination.for_accounts(account))


def an_organization_policy_authorizes_a_filter_with_a_member_role(aws: SimulatedAws):
    account, logs = _member_with_group(aws)
    destination = Destination(aws)
    destination.put(destination.for_organization())
    role_arn = f"arn:aws:iam::{account}:role/Sender"
    with refused("ValidationException", "Make sure you have given CloudWatch Logs permission to assume .*"):
        _put_filter(logs, destination.arn, roleArn=role_arn)
    statement = {"Effect": "Allow", "Principal": {"Service": "logs.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    aws.client("iam", aws.in_member(account), GLOBAL).create_role(RoleName="Sender", AssumeRolePolicyDocument=trust)
    _put_filter(logs, destination.arn, roleArn=role_arn)
    (found,) = logs.describe_subscription_filters(logGroupName=GROUP)["subscriptionFilters"]
    equal(found["roleArn"], role_arn)


def only_the_owner_sees_a_destination_and_writes_its_policy(aws: SimulatedAws):
    account, logs = _member_with_group(aws)
    destination = Destination(aws)
    equal(logs.describe_destinations()["destinations"], [])
    with refused("InvalidParameterException"):
        logs.put_destination_policy(destinationName=destination.name, accessPolicy=destination.for_accounts(account))


def destinations_are_listed_in_pages_and_installed_in_every_region(aws: SimulatedAws):
    for _ in range(3):
        Destination(aws)
    for region, arn in aws.ready["destinations"].items():
        logs = aws.client("logs", aws.central, region)
        pages = logs.get_paginator("describe_destinations").paginate(PaginationConfig={"PageSize": 2})
        arns = [destination["arn"] for page in pages for destination in page["destinations"]]
        assert arn in arns, f"{arn} is not among {arns}"
        equal(len(arns), len(set(arns)))


def a_destination_needs_a_stream_and_a_role_that_can_write_to_it(aws: SimulatedAws):
    logs = aws.client("logs", aws.central)
    stream = aws.environment["ENROLLER_DESTINATION_TARGET_ARN"]
    role = aws.environment["ENROLLER_DESTINATION_ROLE_ARN"]
    message = "Could not deliver test message to specified destination. Check if the destination is valid."
    for target_arn, role_arn in ((f"{stream}-missing", role), (stream, f"{role}-missing")):
        with refused("InvalidParameterException", re.escape(message)):
            logs.put_destination(destinationName="Broken", targetArn=target_arn, roleArn=role_arn)


def a_deleted_destination_is_gone(aws: SimulatedAws):
    destination = Destination(aws)
    destination.logs.delete_destination(destinationName=destination.name)
    equal(destination.logs.describe_destinations(DestinationNamePrefix=destination.name)["destinations"], [])
    with refused("ResourceNotFoundException"):
        destination.logs.delete_destination(destinationName=destination.name)
