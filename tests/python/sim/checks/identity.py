"""Callers, roles and the organization (STS, IAM, Organizations)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from common.simulated_aws import GLOBAL, HOME, Keys, SimulatedAws, equal, refused

# --- STS ---


def a_caller_gets_its_identity(aws: SimulatedAws):
    identity = aws.client("sts", aws.central).get_caller_identity()
    equal(identity["Account"], aws.central.account)
    equal(identity["Arn"], f"arn:aws:iam::{aws.central.account}:root")


def unknown_access_keys_are_rejected(aws: SimulatedAws):
    stranger = Keys(aws.central.account, "AKIAEXAMPLEEXAMPLE00", "secret")
    with refused("InvalidClientTokenId", "The security token included in the request is invalid."):
        aws.client("sts", stranger).get_caller_identity()
    with refused("AuthFailure"):
        aws.client("ec2", stranger).describe_vpcs()
    with refused("UnrecognizedClientException"):
        aws.client("logs", stranger).describe_log_groups()


def the_central_account_assumes_the_member_role_with_the_external_id(aws: SimulatedAws):
    account = aws.members[0]
    answer = aws.client("sts", aws.central).assume_role(
        RoleArn=aws.role_arn(account), RoleSessionName="drive-sim", ExternalId=aws.external_id, DurationSeconds=900
    )
    session_arn = f"arn:aws:sts::{account}:assumed-role/{aws.member_role}/drive-sim"
    equal(answer["AssumedRoleUser"]["Arn"], session_arn)
    left = answer["Credentials"]["Expiration"] - datetime.now(timezone.utc)
    assert timedelta(seconds=880) < left <= timedelta(seconds=901), f"the session ends in {left}"
    session = Keys.from_assume_role(account, answer["Credentials"])
    for region in (HOME, GLOBAL):
        identity = aws.client("sts", session, region).get_caller_identity()
        equal((identity["Account"], identity["Arn"]), (account, session_arn))
        equal(identity["UserId"], answer["AssumedRoleUser"]["AssumedRoleId"])


def a_session_without_its_token_is_rejected(aws: SimulatedAws):
    session = aws.in_member(aws.members[0])
    with refused("InvalidClientTokenId"):
        without = Keys(session.account, session.access_key_id, session.secret_access_key)
        aws.client("sts", without).get_caller_identity()


def the_member_role_cannot_be_assumed_without_the_right_external_id(aws: SimulatedAws):
    role_arn = aws.role_arn(aws.members[0])
    message = (
        f"User: arn:aws:iam::{aws.central.account}:root is not authorized to perform: sts:AssumeRole on resource: "
        f"{role_arn}"
    )
    sts = aws.client("sts", aws.central)
    with refused("AccessDenied", message):
        sts.assume_role(RoleArn=role_arn, RoleSessionName="drive-sim")
    with refused("AccessDenied", message):
        sts.assume_role(RoleArn=role_arn, RoleSessionName="drive-sim", ExternalId="another-id")


def other_accounts_cannot_assume_the_member_role(aws: SimulatedAws):
    role_arn = aws.role_arn(aws.members[0])
    for keys in (aws.management, aws.in_member(aws.members[1])):
        with refused("AccessDenied", ".* is not authorized to perform: sts:AssumeRole on resource: .*"):
            aws.client("sts", keys).assume_role(
                RoleArn=role_arn, RoleSessionName="drive-sim", ExternalId=aws.external_id
            )


def a_missing_role_gives_the_same_error_as_a_denied_one(aws: SimulatedAws):
    for role_arn in (f"arn:aws:iam::{aws.members[0]}:role/Nobody", "arn:aws:iam::111122223333:role/Nobody"):
        with refused("AccessDenied"):
            aws.client("sts", aws.central).assume_role(RoleArn=role_arn, RoleSessionName="drive-sim")


def a_session_longer_than_the_roles_maximum_is_rejected(aws: SimulatedAws):
    with refused("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."):
        aws.client("sts", aws.central).assume_role(
            RoleArn=aws.role_arn(aws.members[0]),
            RoleSessionName="drive-sim",
            ExternalId=aws.external_id,
            DurationSeconds=7200,
        )


# --- IAM ---


def a_delivery_role_can_be_created_with_its_policy_and_read_back(aws: SimulatedAws):
    account = aws.fresh_member()
    iam = aws.client("iam", aws.in_member(account), GLOBAL)
    condition = {
        "StringEquals": {"aws:SourceAccount": account},
        "ArnLike": {"aws:SourceArn": f"arn:aws:ec2:*:{account}:vpc-flow-log/*"},
    }
    service = {"Service": "vpc-flow-logs.amazonaws.com"}
    trust = _document(Principal=service, Action="sts:AssumeRole", Condition=condition)
    permissions = _document(Action=["logs:CreateLogStream", "logs:PutLogEvents"], Resource="*")

    with refused("NoSuchEntity", "The role with name MadeHere cannot be found."):
        iam.get_role(RoleName="MadeHere")
    created = iam.create_role(
        RoleName="MadeHere",
        AssumeRolePolicyDocument=json.dumps(trust),
        Description="made by a check",
        MaxSessionDuration=3600,
        Tags=[{"Key": "owner", "Value": "drive-sim"}],
    )["Role"]
    equal(created["Arn"], f"arn:aws:iam::{account}:role/MadeHere")
    with refused("EntityAlreadyExists"):
        iam.create_role(RoleName="MadeHere", AssumeRolePolicyDocument=json.dumps(trust))

    role = iam.get_role(RoleName="MadeHere")["Role"]
    equal(role["AssumeRolePolicyDocument"], trust)
    equal((role["Description"], role["MaxSessionDuration"]), ("made by a check", 3600))
    equal(role["Tags"], [{"Key": "owner", "Value": "drive-sim"}])
    assert abs(datetime.now(timezone.utc) - role["CreateDate"]) < timedelta(minutes=5), role["CreateDate"]

    with refused("NoSuchEntity", "The role policy with name Deliver cannot be found."):
        iam.get_role_policy(RoleName="MadeHere", PolicyName="Deliver")
    iam.put_role_policy(RoleName="MadeHere", PolicyName="Deliver", PolicyDocument=json.dumps(permissions))
    equal(iam.get_role_policy(RoleName="MadeHere", PolicyName="Deliver")["PolicyDocument"], permissions)
    equal(iam.list_role_policies(RoleName="MadeHere")["PolicyNames"], ["Deliver"])

    with refused("DeleteConflict"):
        iam.delete_role(RoleName="MadeHere")
    iam.delete_role_policy(RoleName="MadeHere", PolicyName="Deliver")
    iam.delete_role(RoleName="MadeHere")
    with refused("NoSuchEntity"):
        iam.get_role(RoleName="MadeHere")


def the_trust_policy_and_tags_of_a_role_can_be_changed(aws: SimulatedAws):
    iam = aws.client("iam", aws.in_member(aws.fresh_member()), GLOBAL)
    trust = {service: _document(Principal={"Service": service}, Action="sts:AssumeRole") for service in ("a.b", "c.d")}
    iam.create_role(RoleName="Changing", AssumeRolePolicyDocument=json.dumps(trust["a.b"]))
    iam.update_assume_role_policy(RoleName="Changing", PolicyDocument=json.dumps(trust["c.d"]))
    iam.tag_role(RoleName="Changing", Tags=[{"Key": "team", "Value": "network + co"}])
    role = iam.get_role(RoleName="Changing")["Role"]
    equal(role["AssumeRolePolicyDocument"], trust["c.d"])
    equal(role["Tags"], [{"Key": "team", "Value": "network + co"}])


def inline_policies_of_a_role_are_listed_in_pages(aws: SimulatedAws):
    iam = aws.client("iam", aws.in_member(aws.fresh_member()), GLOBAL)
    trust = _document(Principal={"Service": "logs.amazonaws.com"}, Action="sts:AssumeRole")
    iam.create_role(RoleName="Many", AssumeRolePolicyDocument=json.dumps(trust))
    permissions = json.dumps(_document(Action="logs:PutLogEvents", Resource="*"))
    names = [f"Policy{number}" for number in range(5)]
    for name in names:
        iam.put_role_policy(RoleName="Many", PolicyName=name, PolicyDocument=permissions)
    pages = list(iam.get_paginator("list_role_policies").paginate(RoleName="Many", PaginationConfig={"PageSize": 2}))
    equal([len(page["PolicyNames"]) for page in pages], [2, 2, 1])
    equal([name for page in pages for name in page["PolicyNames"]], names)
    equal([page["IsTruncated"] for page in pages], [True, True, False])


def an_invalid_policy_is_rejected(aws: SimulatedAws):
    iam = aws.client("iam", aws.in_member(aws.members[0]), GLOBAL)
    with refused("MalformedPolicyDocument"):
        iam.create_role(RoleName="Bad", AssumeRolePolicyDocument="{")


# --- Organizations ---


def every_member_can_describe_the_organization(aws: SimulatedAws):
    for keys in (aws.central, aws.in_member(aws.members[0])):
        organization = aws.client("organizations", keys, GLOBAL).describe_organization()["Organization"]
        equal((organization["Id"], organization["FeatureSet"]), (aws.organization, "ALL"))
        equal(organization["MasterAccountId"], aws.management.account)


def global_services_answer_clients_of_any_region(aws: SimulatedAws):
    for region in (HOME, GLOBAL):
        organization = aws.client("organizations", aws.central, region).describe_organization()["Organization"]
        equal(organization["Id"], aws.organization)
        with refused("NoSuchEntity"):
            aws.client("iam", aws.central, region).get_role(RoleName="Nobody")


def accounts_are_listed_in_pages_of_twenty(aws: SimulatedAws):
    pages = list(aws.client("organizations", aws.central, GLOBAL).get_paginator("list_accounts").paginate())
    equal([len(page["Accounts"]) for page in pages], [20, 20, 5])
    accounts = [account for page in pages for account in page["Accounts"]]
    equal(sorted(account["Id"] for account in accounts), sorted(aws.ready["member_accounts"]))
    for account in accounts:
        equal(account["State"], "ACTIVE")
        assert isinstance(account["JoinedTimestamp"], datetime), account
        assert account["JoinedMethod"] in ("CREATED", "INVITED"), account
        assert account["Arn"].endswith(f":account/{aws.organization}/{account['Id']}"), account


def invalid_tokens_and_pages_of_more_than_twenty_are_rejected(aws: SimulatedAws):
    organizations = aws.client("organizations", aws.central, GLOBAL)
    with refused("InvalidInputException"):
        organizations.list_accounts(NextToken="made-up")
    with refused("InvalidInputException"):
        organizations.list_accounts(MaxResults=21)


def an_account_can_be_described_and_an_unknown_one_cannot(aws: SimulatedAws):
    organizations = aws.client("organizations", aws.central, GLOBAL)
    account = organizations.describe_account(AccountId=aws.members[0])["Account"]
    equal((account["Id"], account["State"]), (aws.members[0], "ACTIVE"))
    with refused("AccountNotFoundException"):
        organizations.describe_account(AccountId="111122223333")
    with refused("InvalidInputException"):
        organizations.describe_account(AccountId="1111")


def every_account_has_one_parent_and_is_listed_under_it(aws: SimulatedAws):
    organizations = aws.client("organizations", aws.central, GLOBAL)
    root = organizations.list_roots()["Roots"][0]["Id"]
    pages = organizations.get_paginator("list_organizational_units_for_parent").paginate(ParentId=root)
    units = [unit for page in pages for unit in page["OrganizationalUnits"]]
    by_parent = {
        parent: {
            account["Id"]
            for page in organizations.get_paginator("list_accounts_for_parent").paginate(ParentId=parent)
            for account in page["Accounts"]
        }
        for parent in [root, *(unit["Id"] for unit in units)]
    }
    equal(set().union(*by_parent.values()), set(aws.ready["member_accounts"]))
    for account in (aws.management.account, aws.central.account, *aws.members[:5]):
        (parent,) = organizations.list_parents(ChildId=account)["Parents"]
        equal(parent["Type"], "ROOT" if parent["Id"] == root else "ORGANIZATIONAL_UNIT")
        assert account in by_parent[parent["Id"]], f"{account} is not listed under {parent['Id']}"
    for unit in units:
        described = organizations.describe_organizational_unit(OrganizationalUnitId=unit["Id"])
        equal(described["OrganizationalUnit"], unit)
        children = organizations.get_paginator("list_children").paginate(ParentId=unit["Id"], ChildType="ACCOUNT")
        equal({child["Id"] for page in children for child in page["Children"]}, by_parent[unit["Id"]])
    with refused("ChildNotFoundException"):
        organizations.list_parents(ChildId="111122223333")
    with refused("ParentNotFoundException"):
        organizations.list_accounts_for_parent(ParentId="r-0000")


def the_central_account_can_list_the_organization_and_members_cannot(aws: SimulatedAws):
    answer = aws.client("organizations", aws.management, GLOBAL).list_delegated_administrators()
    equal([account["Id"] for account in answer["DelegatedAdministrators"]], [aws.central.account])
    with refused("AccessDeniedException", "You don't have permissions to access this resource."):
        aws.client("organizations", aws.in_member(aws.members[0]), GLOBAL).list_accounts()


def _document(**statement) -> dict:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
