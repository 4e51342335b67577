"""Checks of the way in and out: packages, wrong parameters, deployment, uninstalling."""

from __future__ import annotations

import json
import re
from pathlib import Path

from botocore.exceptions import ClientError

from common.organization_state import observe, policies
from common.sentences import Sentences, none
from common.simulated_aws import GLOBAL, HOME, REGIONS, equal
from deployed.aws import DeployedAws
from deployed.infra import (
    CENTRAL_STACK,
    GLIBC,
    LEFT_OUT,
    MANAGEMENT_STACK,
    MEMBER_STACK,
    NAMES,
    REGIONAL_STACK,
    Infra,
    newest_glibc,
    settled,
)

# Settings that infra/deploy itself refuses.
WRONG_SETTINGS = [
    ("CENTRAL_ACCOUNT", "44445555666"),
    ("OrganizationId", "exampleorg1"),
    ("HOME_REGION", "Ireland"),
    ("EnrolledRegions", "eu-west-1, us-east-1"),
    ("ExternalId", "short"),
    ("TARGETS", "everything"),
    ("OrganisationId", "o-exampleorg1"),
    ("BUILD_PROFILE", "debug"),
]
# Those that CloudFormation refuses: one by its pattern, one by a rule over two parameters.
WRONG_PARAMETERS = [
    ("AlarmEmail", "nobody"),
    ("ExpireAfterDays", "90"),
]


def packages(told: Sentences, zips: Path, made_here: bool) -> None:
    newest = {name: newest_glibc(zips / f"{name}.zip") for name in NAMES}
    if made_here and max(newest.values()) > GLIBC:
        told.note(f"packaged from this machine's build, which needs glibc {max(newest.values())}: not for provided.al2023")
        return
    with told.check("each zip holds one executable bootstrap that the glibc of Amazon Linux 2023 can run"):
        none([f"{name} needs {version}" for name, version in newest.items() if version > GLIBC])


def installation(told: Sentences, aws: DeployedAws, infra: Infra) -> None:
    _left_out(told, aws, infra)
    with told.check("infra/deploy package makes a bucket for the zips and uploads them"):
        infra.deploy(aws.central, "package")
    for key, value in WRONG_SETTINGS + WRONG_PARAMETERS:
        with told.check(f"{key}={value!r} gives a message that names {key}, and no stack"):
            done = infra.run("deploy", aws.central, "central", **{key: value})
            assert done.returncode != 0, f"it was accepted:\n{done.stdout}"
            said = done.stderr[-1_000:]
            assert key in said, f"it says {said!r}"
            # One of the script's own is refused before anybody is asked.
            equal("+ aws" in done.stdout, (key, value) in WRONG_PARAMETERS)
            equal(stacks(aws, aws.central, HOME), [])
    _somebody_elses(aws)
    with told.check("infra/deploy central makes the stacks of the central account, and shows what they made"):
        said = infra.deploy(aws.central, "central")
        equal(stacks(aws, aws.central, HOME), ["somebody-elses", CENTRAL_STACK])
        equal(stacks(aws, aws.central, GLOBAL), [REGIONAL_STACK])
        for name in ("BucketName", "EnrollmentsQueueUrl", "BackfillFunctionName"):
            assert name in said, f"{name} is not in:\n{said}"
    with told.check("infra/deploy central with nothing changed changes nothing"):
        assert said.count("No changes to deploy") == 0, said
        equal(infra.deploy(aws.central, "central").count("No changes to deploy"), 2)
    with told.check("infra/deploy management forwards account events, and makes the member stack there"):
        infra.deploy(aws.management, "management")
        equal(stacks(aws, aws.management, HOME), [MEMBER_STACK])
        equal(stacks(aws, aws.management, GLOBAL), [MANAGEMENT_STACK, MEMBER_STACK])
    with told.check("infra/deploy refuses the credentials of another account"):
        done = infra.run("deploy", aws.management, "central")
        assert done.returncode != 0 and aws.central in done.stderr, done.stderr
    told.note("ministack has no StackSets: the member stacks are made one by one, with the StackSet's parameters")
    with told.check("the member stack can be made in every account and Region"):
        for account in aws.accounts:
            if account != aws.management:
                infra.deploy_member(account)


def _left_out(told: Sentences, aws: DeployedAws, infra: Infra) -> None:
    """The list of what is left out has to stay as short as it can be."""
    client = aws.deployed("cloudformation", aws.central)
    for item in LEFT_OUT:
        names = [name for of, name in infra.left_out if of is item]
        told.note(f"left out for ministack: {item.what}: {', '.join(names)}. Untested: {item.untested}")
        with told.check(f"ministack still refuses {item.what}, and the templates have some"):
            assert names, "none is in the templates: take it off the list"
            try:
                client.create_stack(StackName="refused", TemplateBody=json.dumps({"Resources": {"It": item.example}}))
            except ClientError as error:
                assert "Unrecognized resource type" in str(error), error
            else:
                assert settled(client, "refused").startswith("ROLLBACK"), "it is accepted: take it off the list"
                client.delete_stack(StackName="refused")


def _somebody_elses(aws: DeployedAws) -> None:
    """What others have in the central account, which must outlive the installation."""
    aws.deployed("sqs", aws.central).create_queue(QueueName="somebody-elses")
    aws.deployed("s3", aws.central).create_bucket(
        Bucket="somebody-elses", CreateBucketConfiguration={"LocationConstraint": HOME}
    )
    body = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "somebody-elses"}}}}'
    aws.deployed("cloudformation", aws.central).create_stack(StackName="somebody-elses", TemplateBody=body)
    aws.simulated("logs", aws.central).put_destination(
        destinationName="VPCFlowLogsDestinationOfOthers", targetArn=aws.sim.environment["ENROLLER_DESTINATION_TARGET_ARN"],
        roleArn=aws.sim.environment["ENROLLER_DESTINATION_ROLE_ARN"],
    )


def removal(told: Sentences, aws: DeployedAws, infra: Infra) -> None:
    bucket = output(aws, "BucketName")
    with told.check("the member stacks can be deleted, the one with the roles last"):
        for account in aws.accounts:
            if account != aws.management:
                infra.delete_member(account)
    aws.deployed("s3", aws.central).put_object(Bucket=bucket, Key="flow-logs/2026/11/23/10/object", Body=b"records")
    with told.check("infra/uninstall asks before it removes anything"):
        done = infra.run("uninstall", aws.central, "central")
        assert done.returncode != 0, done.stdout
        assert CENTRAL_STACK in stacks(aws, aws.central, HOME)
    with told.check("infra/uninstall management flow-logs takes stacks, flow logs and filters away"):
        done = infra.run("uninstall", aws.management, "--yes", "management", "flow-logs")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        equal([stacks(aws, aws.management, region) for region in REGIONS], [[], []])
        places = observe(aws.simulated, aws.accounts, REGIONS)
        equal([place.flow_logs for place in places if place.flow_logs], [])
        equal([place.filters for place in places if place.filters], [])
    with told.check("infra/uninstall central takes stacks, functions, queues, destinations and zips away"):
        done = infra.run("uninstall", aws.central, "--yes", "central")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        equal(stacks(aws, aws.central, HOME), ["somebody-elses"])
        equal(stacks(aws, aws.central, GLOBAL), [])
        equal(aws.deployed("lambda", aws.central).list_functions()["Functions"], [])
        urls = aws.deployed("sqs", aws.central).list_queues().get("QueueUrls", [])
        equal([url.rsplit("/", 1)[-1] for url in urls], ["somebody-elses"])
        destinations = [name for region in REGIONS for name in policies(aws.simulated("logs", aws.central, region))]
        equal(destinations, ["VPCFlowLogsDestinationOfOthers"])
    with told.check("the bucket, the records in it and what others made are left"):
        listed = aws.deployed("s3", aws.central).list_buckets()["Buckets"]
        equal(sorted(item["Name"] for item in listed), sorted([bucket, "somebody-elses"]))
        equal(aws.deployed("s3", aws.central).list_objects_v2(Bucket=bucket)["KeyCount"], 1)
        topics = aws.deployed("sns", aws.central).list_topics()["Topics"]
        equal([topic["TopicArn"].rsplit(":", 1)[-1] for topic in topics], ["somebody-elses"])
    with told.check("infra/uninstall can be run again"):
        done = infra.run("uninstall", aws.central, "--yes", "central")
        assert re.search("no stack", done.stdout), done.stdout


def output(aws: DeployedAws, key: str) -> str:
    """An output of the central stack."""
    stack = aws.deployed("cloudformation", aws.central).describe_stacks(StackName=CENTRAL_STACK)["Stacks"][0]
    return next(item["OutputValue"] for item in stack["Outputs"] if item["OutputKey"] == key)


def stacks(aws: DeployedAws, account: str, region: str) -> list[str]:
    """The stacks of a place by name, whatever became of them, but for those that are gone."""
    found = aws.deployed("cloudformation", account, region).describe_stacks()["Stacks"]
    return sorted(item["StackName"] for item in found)
