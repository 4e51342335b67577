"""Checks of packages, invalid configurations, deployment and uninstallation."""

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

# Settings that infra/deploy rejects: its own, one that violates a parameter's pattern, and one that violates a rule.
WRONG_SETTINGS = [
    ("CENTRAL_ACCOUNT", "44445555666"),
    ("OrganizationId", "exampleorg1"),
    ("HOME_REGION", "Ireland"),
    ("EnrolledRegions", "eu-west-1, us-east-1"),
    ("ExternalId", "short"),
    ("TARGETS", "everything"),
    ("OrganisationId", "o-exampleorg1"),
    ("BUILD_PROFILE", "debug"),
    ("AlarmEmail", "nobody"),
    ("ExpireAfterDays", "90"),
]

# A resource whose creation fails, in a copy of the central template.
FAILS = "FailsInThisTest"


def packages(say: Sentences, zips: Path, made_here: bool) -> None:
    newest = {name: newest_glibc(zips / f"{name}.zip") for name in NAMES}
    if made_here and max(newest.values()) > GLIBC:
        say.note(f"the zips come from this machine's build, which needs glibc {max(newest.values())}: they cannot run on provided.al2023")
        return
    with say.check("each zip has one executable bootstrap that runs with the glibc of Amazon Linux 2023"):
        none([f"{name} needs {version}" for name, version in newest.items() if version > GLIBC])


def installation(say: Sentences, aws: DeployedAws, infra: Infra) -> None:
    _left_out(say, aws, infra)
    with say.check("infra/deploy package creates a bucket for the zips and uploads them"):
        infra.deploy(aws.central, "package")
    for key, value in WRONG_SETTINGS:
        with say.check(f"{key}={value!r} is rejected with a message that names {key}, and creates no stack"):
            done = infra.run("deploy", aws.central, "central", **{key: value})
            assert done.returncode != 0, f"it was accepted:\n{done.stdout}"
            said = done.stderr[-1_000:]
            assert key in said, f"the message is {said!r}"
            assert "+ aws" not in done.stdout, "it made a call"
            equal(stacks(aws, aws.central, HOME), [])
    _add_foreign_resources(aws)
    _failed_creation(say, aws, infra)
    with say.check("infra/deploy central creates the stacks of the central account, and prints their outputs"):
        said = infra.deploy(aws.central, "central")
        assert "delete-stack" in said and FAILS in said, f"the failed stack was not deleted:\n{said}"
        equal(stacks(aws, aws.central, HOME), ["another-tools", CENTRAL_STACK])
        equal(stacks(aws, aws.central, GLOBAL), [REGIONAL_STACK])
        for name in ("BucketName", "EnrollmentsQueueUrl", "BackfillFunctionName"):
            assert name in said, f"{name} is not in:\n{said}"
    with say.check("infra/deploy central again, without a change, changes nothing"):
        assert said.count("No changes to deploy") == 0, said
        equal(infra.deploy(aws.central, "central").count("No changes to deploy"), 2)
    with say.check("infra/deploy management creates the rule for account events and the member stack"):
        infra.deploy(aws.management, "management")
        equal(stacks(aws, aws.management, HOME), [MEMBER_STACK])
        equal(stacks(aws, aws.management, GLOBAL), [MANAGEMENT_STACK, MEMBER_STACK])
    with say.check("infra/deploy backfill queues a backfill of all accounts"):
        assert '"MessageId"' in infra.deploy(aws.central, "backfill")
    with say.check("infra/deploy rejects the credentials of another account"):
        done = infra.run("deploy", aws.management, "central")
        assert done.returncode != 0 and aws.central in done.stderr, done.stderr
    say.note("ministack has no StackSets: the member stacks are created one by one, with the StackSet's parameters")
    with say.check("the member stack can be created in every account and Region"):
        for account in aws.accounts:
            if account != aws.management:
                infra.deploy_member(account)


def _failed_creation(say: Sentences, aws: DeployedAws, infra: Infra) -> None:
    """Makes the creation of the central stack fail when everything else is there. The next step finds the failed stack."""
    template = infra.infra / "central.yaml"
    text = template.read_text(encoding="utf-8")
    fails = f"  {FAILS}:\n    Type: Custom::Fails\n    DependsOn: BackfillSource\n    Properties:\n      ServiceToken: arn:aws:lambda:{HOME}:{aws.central}:function:none\n"
    template.write_text(text.replace("\nOutputs:\n", f"\n{fails}\nOutputs:\n"), encoding="utf-8")
    try:
        with say.check("a creation that fails is rolled back, and infra/deploy says what failed"):
            done = infra.run("deploy", aws.central, "central")
            assert done.returncode != 0 and f"{FAILS} (Custom::Fails) CREATE_FAILED" in done.stderr, done.stderr
            client = aws.deployed("cloudformation", aws.central)
            equal(client.describe_stacks(StackName=CENTRAL_STACK)["Stacks"][0]["StackStatus"], "ROLLBACK_COMPLETE")
    finally:
        template.write_text(text, encoding="utf-8")


def _left_out(say: Sentences, aws: DeployedAws, infra: Infra) -> None:
    """Checks that the list of what is left out is as short as possible."""
    client = aws.deployed("cloudformation", aws.central)
    for item in LEFT_OUT:
        names = [name for of, name in infra.left_out if of is item]
        say.note(f"left out for ministack: {item.what} ({', '.join(names)}). Not tested: {item.untested}")
        with say.check(f"ministack still rejects {item.what}, and the templates have some"):
            assert names, "the templates have none: remove it from the list"
            try:
                client.create_stack(StackName="refused", TemplateBody=json.dumps({"Resources": {"It": item.example}}))
            except ClientError as error:
                assert "Unrecognized resource type" in str(error), error
            else:
                assert settled(client, "refused").startswith("ROLLBACK"), "ministack accepts it: remove it from the list"
                client.delete_stack(StackName="refused")


def _add_foreign_resources(aws: DeployedAws) -> None:
    """Creates resources of another tool in the central account, which must outlive the installation."""
    aws.deployed("sqs", aws.central).create_queue(QueueName="another-tools")
    aws.deployed("s3", aws.central).create_bucket(
        Bucket="another-tools", CreateBucketConfiguration={"LocationConstraint": HOME}
    )
    body = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "another-tools"}}}}'
    aws.deployed("cloudformation", aws.central).create_stack(StackName="another-tools", TemplateBody=body)
    aws.simulated("logs", aws.central).put_destination(
        destinationName="VPCFlowLogsDestinationOfOthers", targetArn=aws.sim.environment["ENROLLER_DESTINATION_TARGET_ARN"],
        roleArn=aws.sim.environment["ENROLLER_DESTINATION_ROLE_ARN"],
    )


def removal(say: Sentences, aws: DeployedAws, infra: Infra) -> None:
    bucket = output(aws, "BucketName")
    with say.check("the member stacks can be deleted, the Region with the roles last"):
        for account in aws.accounts:
            if account != aws.management:
                infra.delete_member(account)
    aws.deployed("s3", aws.central).put_object(Bucket=bucket, Key="flow-logs/2026/11/23/10/object", Body=b"records")
    with say.check("infra/uninstall asks for confirmation before it removes anything"):
        done = infra.run("uninstall", aws.central, "central")
        assert done.returncode != 0, done.stdout
        assert CENTRAL_STACK in stacks(aws, aws.central, HOME)
    with say.check("infra/uninstall management flow-logs removes stacks, flow logs and filters"):
        done = infra.run("uninstall", aws.management, "--yes", "management", "flow-logs")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        equal([stacks(aws, aws.management, region) for region in REGIONS], [[], []])
        account_regions = observe(aws.simulated, aws.accounts, REGIONS)
        equal([at.flow_logs for at in account_regions if at.flow_logs], [])
        equal([at.filters for at in account_regions if at.filters], [])
    with say.check("infra/uninstall central removes stacks, functions, queues, destinations and zips"):
        done = infra.run("uninstall", aws.central, "--yes", "central")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        equal(stacks(aws, aws.central, HOME), ["another-tools"])
        equal(stacks(aws, aws.central, GLOBAL), [])
        equal(aws.deployed("lambda", aws.central).list_functions()["Functions"], [])
        urls = aws.deployed("sqs", aws.central).list_queues().get("QueueUrls", [])
        equal([url.rsplit("/", 1)[-1] for url in urls], ["another-tools"])
        destinations = [name for region in REGIONS for name in policies(aws.simulated("logs", aws.central, region))]
        equal(destinations, ["VPCFlowLogsDestinationOfOthers"])
    with say.check("the bucket, its records and the resources of another tool are kept"):
        listed = aws.deployed("s3", aws.central).list_buckets()["Buckets"]
        equal(sorted(item["Name"] for item in listed), sorted([bucket, "another-tools"]))
        equal(aws.deployed("s3", aws.central).list_objects_v2(Bucket=bucket)["KeyCount"], 1)
        topics = aws.deployed("sns", aws.central).list_topics()["Topics"]
        equal([topic["TopicArn"].rsplit(":", 1)[-1] for topic in topics], ["another-tools"])
    with say.check("infra/uninstall can be run again"):
        done = infra.run("uninstall", aws.central, "--yes", "central")
        assert re.search("no stack", done.stdout), done.stdout


def output(aws: DeployedAws, key: str) -> str:
    """An output of the central stack."""
    stack = aws.deployed("cloudformation", aws.central).describe_stacks(StackName=CENTRAL_STACK)["Stacks"][0]
    return next(item["OutputValue"] for item in stack["Outputs"] if item["OutputKey"] == key)


def stacks(aws: DeployedAws, account: str, region: str) -> list[str]:
    """The names of an account-Region's stacks with any status, without deleted stacks."""
    found = aws.deployed("cloudformation", account, region).describe_stacks()["Stacks"]
    return sorted(item["StackName"] for item in found)
