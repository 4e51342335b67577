"""Checks of `infra/deploy check`: which configurations it refuses, with which key. Part of check_templates.py."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from common.sentences import Sentences, none
from templates.aws_stand_in import StandIn
from templates.template_model import INFRA, NAMES, Template

CENTRAL, MANAGEMENT, OTHER = "210987654321", "123456789012", "345678901234"
RIGHT = {
    "CENTRAL_ACCOUNT": CENTRAL, "MANAGEMENT_ACCOUNT": MANAGEMENT, "HOME_REGION": "eu-west-1", "TARGETS": "r-ab12",
    "OrganizationId": "o-a1b2c3d4e5", "ExternalId": "0123456789abcdef", "EnrolledRegions": "eu-west-1,us-east-1",
    "CENTRAL_PROFILE": CENTRAL, "MANAGEMENT_PROFILE": MANAGEMENT,
}
# Configurations that can be deployed: the changes to the one above.
RIGHT_CHANGES: list[dict[str, str]] = [
    {},
    {"HOME_REGION": "us-gov-west-1", "EnrolledRegions": "us-gov-west-1,us-gov-east-1", "Encryption": "SSE-KMS",
     "LogGroupKmsKeyArn": f"arn:aws-us-gov:kms:{{region}}:{CENTRAL}:key/mrk-1234abcd"},
    {"HOME_REGION": "cn-north-1", "EnrolledRegions": "cn-north-1", "STACK_SET_ACCOUNT": "management"},
    {"TARGETS": "ou-ab12-11111111,ou-ab12-22222222", "EnrolledRegions": "ap-southeast-2,eu-south-2,me-central-1", "AlarmEmail": "a@example.org",
     "RecordFormat": "envelope", "PrefixMode": "account", "SweepSchedule": "cron(0 1 ? * MON-FRI *)", "ExcludedOrganizationalUnits": "ou-ab12-33333333",
     "FilterPattern": '"REJECT"', "OperatorRoleArn": f"arn:aws:iam::{CENTRAL}:role/Operators", "CONTROL_TOWER_REGION": "eu-central-1"},
    {"MEMBER_STACK_IN_MANAGEMENT": "false", "ExcludedAccounts": MANAGEMENT, "PermissionsBoundaryName": "teams/boundary", "GuardrailTargets": "r-ab12",
     "GuardrailBucket": "flow-logs-of-us", "GuardrailExemptRole": "BreakGlass", "ObjectLockMode": "GOVERNANCE", "Encryption": "SSE-KMS",
     "KeyScope": "everything", "KeyReaderArns": f"arn:aws:iam::{CENTRAL}:role/Auditors"},
    {"SweepSchedule": "rate(1 hour)", "ArchiveAfterDays": "never", "ExpireAfterDays": "30", "LogFormat": "${version} ${vpc-id}",
     "TAGS": "cost center=12:34,owner=net@example.org", "FAILURE_TOLERANCE_PERCENT": "0", "CONCURRENT_ACCOUNTS_PERCENT": "10"},
]
# A change that makes the configuration wrong, and the key that the refusal names if that is not the only key changed.
WRONG: list[tuple[dict[str, str], str]] = [(change, key or next(iter(change))) for change, key in [
    ({"CENTRAL_ACCOUNT": "44445555666"}, ""),
    ({"CENTRAL_ACCOUNT": MANAGEMENT}, ""),
    ({"CENTRAL_ACCOUNT": "444455556666"}, ""),
    ({"MANAGEMENT_ACCOUNT": "111122223333"}, ""),
    ({"MANAGEMENT_ACCOUNT": ""}, ""),
    ({"OrganizationId": "o-exampleorg1"}, ""),
    ({"OrganizationId": "a1b2c3d4e5"}, ""),
    ({"ExternalId": "choose-something-of-your-own"}, ""),
    ({"ExternalId": "'0123456789abcdef'"}, ""),
    ({"TARGETS": "r-exam"}, ""),
    ({"TARGETS": "r-ab12,r-cd34"}, ""),
    ({"TARGETS": "r-ab12,ou-ab12-11111111"}, ""),
    ({"TARGETS": "ou-ab12-11111111,ou-ab12-11111111"}, ""),
    ({"HOME_REGION": "eu-west-9"}, ""),
    ({"HOME_REGION": "eu-south-1"}, ""),
    ({"EnrolledRegions": "eu-west-1,eu-wset-2"}, ""),
    ({"EnrolledRegions": "eu-west-1,eu-west-1"}, ""),
    ({"EnrolledRegions": "eu-west-1,us-gov-west-1"}, ""),
    ({"EnrolledRegions": "eu-west-1 "}, ""),
    ({"CONTROL_TOWER_REGION": "us-gov-west-1"}, ""),
    ({"AlarmEmail": "nobody"}, ""),
    ({"AlarmEmail": '"a@example.org"'}, ""),
    ({"Architecture": "x86"}, ""),
    ({"MaximumConcurrency": "1"}, ""),
    ({"MaximumConcurrency": "ten"}, ""),
    ({"BufferSeconds": "30"}, ""),
    ({"AccountsAtOnce": "300"}, ""),
    ({"RetentionDays": "31"}, ""),
    ({"AggregationInterval": "300"}, ""),
    ({"ExpireAfterDays": "90"}, ""),
    ({"DeepArchiveAfterDays": "180", "ArchiveAfterDays": "180"}, ""),
    ({"PrefixMode": "account", "RecordFormat": "lines"}, "RecordFormat"),
    ({"LogFormat": "version account-id"}, ""),
    ({"LogGroupKmsKeyArn": f"arn:aws:kms:eu-west-1:{CENTRAL}:key/1234abcd"}, ""),
    ({"LogGroupKmsKeyArn": f"arn:aws-cn:kms:{{region}}:{CENTRAL}:key/1234abcd"}, ""),
    ({"OperatorRoleArn": f"arn:aws:iam::{MANAGEMENT}:role/Operators"}, ""),
    ({"DeliveryRoleName": "VpcFlowLogsEnrollerMember"}, ""),
    ({"MemberRoleName": "vpcflowlogsenrollerforwarder"}, ""),
    ({"BucketName": "flow-logs-s3alias"}, ""),
    ({"BucketName": f"vpc-flow-logs-enroller-code-{CENTRAL}-eu-west-1"}, ""),
    ({"SweepSchedule": "rate(1 hours)"}, ""),
    ({"SweepSchedule": "rate(6 hour)"}, ""),
    ({"SweepSchedule": "cron(17 3 * * *)"}, ""),
    ({"SweepSchedule": "cron(17 3 * * * *)"}, ""),
    ({"ExcludedOrganizationalUnits": "r-ab12"}, ""),
    ({"BusName": "default"}, ""),
    ({"STACK_SET_ACCOUNT": "delegated"}, ""),
    ({"MEMBER_STACK_IN_MANAGEMENT": "false"}, ""),
    ({"PermissionsBoundaryName": "boundary", "DeliveryRoleMaker": "enroller"}, ""),
    ({"GuardrailBucket": "flow-logs"}, "GuardrailExemptRole"),
    ({"GuardrailTargets": "everybody"}, ""),
    ({"ObjectLockMode": "WORM"}, ""),
    ({"ExistingBucketName": "log-archive", "BucketName": "flow-logs"}, "BucketName"),
    ({"ExistingBucketName": "log-archive", "ObjectLockMode": "GOVERNANCE"}, "ObjectLockMode"),
    ({"FAILURE_TOLERANCE_PERCENT": "101"}, ""),
    ({"CONCURRENT_ACCOUNTS_PERCENT": "0"}, ""),
    ({"TAGS": "cost-center"}, ""),
    ({"TAGS": "application=flows"}, ""),
    ({"TAGS": "aws:team=net"}, ""),
    ({"TAGS": "managed-by=net"}, ""),
    ({"TAGS": "Team=net,team=sec"}, ""),
    ({"TAGS": "team=net,team=sec"}, ""),
    ({"BUILD_WITH": "make"}, ""),
    ({"BUILD_PROFILE": "dev"}, ""),
    ({"HomeRegion": "eu-west-1"}, ""),
    ({"AlarmMail": "a@example.org"}, ""),
]]

ORGANIZATION = {"Organization": {"Id": "o-a1b2c3d4e5", "MasterAccountId": MANAGEMENT, "FeatureSet": "ALL"}}
ROOTS = {"Roots": [{"Id": "r-ab12"}]}
TRAIL = {"trailList": [{"IsOrganizationTrail": True, "IsMultiRegionTrail": True, "HomeRegion": "eu-west-1", "TrailARN": "arn:of-the-trail"}]}
# An organization in which the configuration above can be deployed. Nothing of it is there yet.
FREE: list[tuple[str, Any]] = [
    ("describe-organization", ORGANIZATION), ("describe-account", {"Account": {"State": "ACTIVE"}}), ("list-roots", ROOTS),
    ("describe-organizational-unit", {"OrganizationalUnit": {"Id": "ou"}}), ("describe-trails", TRAIL), ("get-trail-status", {"IsLogging": True}),
    ("describe-regions", {"Regions": [{"RegionName": "eu-west-1", "OptInStatus": "opt-in-not-required"}, {"RegionName": "us-east-1"},
                                      {"RegionName": "eu-south-1", "OptInStatus": "not-opted-in"}]}),
    ("get-role", "!NoSuchEntity"), ("describe-event-bus", "!ResourceNotFoundException"), ("describe-stacks", "!ValidationError"),
    ("describe-destinations", {"destinations": []}), ("describe-delivery-stream", "!ResourceNotFoundException"), ("head-bucket", "!404"),
    ("describe-stack-set", "!StackSetNotFoundException"), ("get-function-concurrency", "!ResourceNotFoundException"),
    ("get-account-settings", {"AccountLimit": {"UnreservedConcurrentExecutions": 1000}}), ("describe-stack-resources", "!ValidationError"),
]
# What is different there, the configuration's changes, and the key that the refusal names.
TAKEN: list[tuple[list[tuple[str, Any]], dict[str, str], str]] = [
    ([(f"{CENTRAL} get-caller-identity", {"Account": OTHER})], {}, "CENTRAL_PROFILE"),
    ([(f"{MANAGEMENT} get-caller-identity", "!ExpiredToken")], {}, "MANAGEMENT_PROFILE"),
    ([("get-caller-identity", {"Account": OTHER})], {"CENTRAL_PROFILE": "", "MANAGEMENT_PROFILE": ""}, "CENTRAL_ACCOUNT"),
    ([("describe-organization", {"Organization": {**ORGANIZATION["Organization"], "Id": "o-zzzzzzzzzz"}})], {}, "OrganizationId"),
    ([("describe-organization", {"Organization": {**ORGANIZATION["Organization"], "MasterAccountId": OTHER}})], {}, "MANAGEMENT_ACCOUNT"),
    ([("describe-organization", {"Organization": {**ORGANIZATION["Organization"], "FeatureSet": "CONSOLIDATED_BILLING"}})], {}, "OrganizationId"),
    ([("describe-account", "!AccountNotFoundException")], {}, "CENTRAL_ACCOUNT"),
    ([("describe-account", {"Account": {"Status": "SUSPENDED"}})], {}, "CENTRAL_ACCOUNT"),
    ([("list-roots", {"Roots": [{"Id": "r-zzzz"}]})], {}, "TARGETS"),
    ([("describe-organizational-unit", "!OrganizationalUnitNotFoundException")], {"TARGETS": "ou-ab12-11111111"}, "TARGETS"),
    ([], {"EnrolledRegions": "eu-west-1,eu-south-1"}, "EnrolledRegions"),
    ([("get-account-settings", {"AccountLimit": {"UnreservedConcurrentExecutions": 10}})], {}, "ReserveConcurrency"),
    ([(f"{MANAGEMENT} get-role VpcFlowLogsEnrollerDelivery", {"Role": {"RoleName": "VpcFlowLogsEnrollerDelivery"}})], {}, "DeliveryRoleName"),
    ([(f"{CENTRAL} get-role VpcFlowLogsEnrollerMember", {"Role": {"Description": "of others"}})], {}, "MemberRoleName"),
    ([("describe-event-bus", {"Arn": "arn:of-the-bus"})], {}, "BusName"),
    ([("describe-destinations us-east-1", {"destinations": [{"destinationName": "VPCFlowLogsDestination-2", "targetArn": "arn:of-others"}]})], {},
     "DestinationName"),
    ([("describe-stack-set", {"StackSet": {"Description": "of others"}})], {}, "MemberStackName"),
    ([("describe-delivery-stream", {"DeliveryStreamDescription": {"DeliveryStreamName": "vpc-flow-logs"}})], {}, "HOME_REGION"),
    ([("head-bucket", "!403")], {}, "CODE_BUCKET"),
    ([("head-bucket flow-logs-of-ours", {})], {"BucketName": "flow-logs-of-ours"}, "BucketName"),
]


class Checker:
    """Runs infra/deploy with a configuration and an `aws` command that makes no calls."""

    def __init__(self, folder: Path):
        self.aws, self.config = StandIn(folder / "bin"), folder / "installation.env"

    def run(self, *arguments: str, changes: dict[str, str] | None = None, endpoint: str = "") -> subprocess.CompletedProcess[str]:
        values = {**RIGHT, **(changes or {})}
        self.config.write_text("".join(f"{key}={value}\n" for key, value in values.items()), encoding="utf-8")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        environment |= {"PATH": f"{self.aws.folder}:{environment['PATH']}", **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})}
        return subprocess.run([INFRA / "deploy", "--config", self.config, *arguments], capture_output=True, text=True, env=environment,
                              check=False, stdin=subprocess.DEVNULL)


def configurations(say: Sentences, templates: dict[str, Template]) -> None:
    with say.check("infra/check reads the same parameters and rules from the templates as a complete YAML reader"):
        read = _reader()
        for name in NAMES:
            assert _plain(templates[name].parameters) == read.Template(name).parameters, name
            assert _plain(templates[name].document.get("Rules", {})) == read.Template(name).rules, name
    with tempfile.TemporaryDirectory() as folder:
        it = Checker(Path(folder))
        _offline(say, it)
        _with_credentials(say, it)


def _offline(say: Sentences, it: Checker) -> None:
    with say.check(f"infra/deploy check accepts {len(RIGHT_CHANGES)} right configurations offline"):
        refused = [(changes, done.stderr) for changes in RIGHT_CHANGES
                   if (done := it.run("--dry-run", "all", changes=changes)).returncode != 0]
        none([f"{changes}: {said}" for changes, said in refused])
    with say.check(f"infra/deploy check refuses {len(WRONG)} wrong configurations offline, each by its key alone, before anything runs"):
        wrong = []
        for changes, key in WRONG:
            done = it.run("--dry-run", "check", changes=changes)
            said = [line for line in done.stderr.splitlines() if line]
            if done.returncode != 1 or done.stdout or not said or not all(key in line for line in said):
                wrong.append(f"{changes}: {done.returncode} {done.stderr or done.stdout}")
        none(wrong)
        assert not it.aws.calls(), it.aws.calls()
    with say.check("every step refuses what check refuses, and all mistakes are reported at once"):
        done = it.run("members", changes={"AlarmEmail": "nobody", "HOME_REGION": "eu-south-1", "EnrolledRegions": "eu-south-1"})
        assert done.returncode == 1 and "AlarmEmail" in done.stderr and "HOME_REGION" in done.stderr, done.stderr
        with it.config.open("a", encoding="utf-8") as file:
            file.write("AlarmEmail=a@example.org\n")
        done = subprocess.run([INFRA / "deploy", "--dry-run", "--config", it.config, "check"], capture_output=True, text=True, check=False)
        assert "AlarmEmail" in done.stderr and "twice" in done.stderr, done.stderr
    with say.check("values of the example are accepted only where AWS_ENDPOINT_URL is on this machine"):
        example = {"CENTRAL_ACCOUNT": "444455556666", "OrganizationId": "o-exampleorg1", "CENTRAL_PROFILE": "444455556666"}
        assert it.run("--dry-run", "check", changes=example, endpoint="http://127.0.0.1:4566").returncode == 0
        assert it.run("--dry-run", "check", changes=example, endpoint="https://sts.example.org").returncode == 1


def _with_credentials(say: Sentences, it: Checker) -> None:
    with say.check("infra/deploy check with credentials reads only, and accepts an organization in which all names are free"):
        it.aws.answer(FREE)
        done = it.run("check")
        assert done.returncode == 0 and "VpcFlowLogsEnrollerDelivery" in done.stdout, done.stdout + done.stderr
        assert done.stdout.count("not checked") == 1 and "WARNING" not in done.stdout, done.stdout
        none([str(call.words) for call in it.aws.calls() if not call.words[1].startswith(("describe-", "get-", "list-", "head-"))])
    with say.check("infra/deploy check accepts what an earlier deployment of this installation created"):
        ours = [("describe-stacks", {"Stacks": [{"StackStatus": "UPDATE_COMPLETE"}]}), ("describe-event-bus", {"Arn": "arn:of-the-bus"}),
                ("get-role", {"Role": {"Description": "Role that the VPC Flow Logs enroller of the central account assumes"}}),
                ("get-role VPCFlowLogsFilterRole", {"Role": {"Tags": [{"Key": "application", "Value": "vpc-flow-logs-enroller"}]}}),
                ("describe-stack-set", {"StackSet": {"Description": "VPC Flow Logs enroller, every account"}}), ("head-bucket", {}),
                ("describe-destinations", {"destinations": [{"destinationName": "VPCFlowLogsDestination", "targetArn": "arn:old",
                                                             "accessPolicy": '{"Statement":[{"Sid":"VpcEnroller1"}]}'}]})]
        it.aws.answer([*ours, *FREE])
        done = it.run("check", changes={"BucketName": "flow-logs-of-ours"})
        assert done.returncode == 0, done.stdout + done.stderr
    with say.check(f"infra/deploy check with credentials refuses {len(TAKEN)} accounts, each by the key to change"):
        wrong = []
        for different, changes, key in TAKEN:
            it.aws.answer([*different, *FREE])
            done = it.run("check", changes=changes)
            if done.returncode != 1 or key not in done.stderr:
                wrong.append(f"{key}: {done.returncode} {done.stderr or done.stdout}")
        none(wrong)
    with say.check("all begins with check, so that a taken name stops it before anything is created"):
        it.aws.answer([("describe-event-bus", {"Arn": "arn:of-the-bus"}), *FREE])
        done = it.run("all")
        assert done.returncode == 1 and "BusName" in done.stderr and not it.aws.calls("cloudformation activate-organizations-access"), done.stderr
    with say.check("a trail that is missing or stopped is a warning, and what may not be read is reported as not checked"):
        for answers in ([("describe-trails", {"trailList": []})], [("get-trail-status", {"IsLogging": False})]):
            it.aws.answer([*answers, *FREE])
            done = it.run("check")
            assert done.returncode == 0 and "WARNING" in done.stdout, done.stdout + done.stderr
        it.aws.answer([("get-role", "!AccessDenied"), ("describe-destinations", "!AccessDeniedException"), *FREE])
        done = it.run("check")
        assert done.returncode == 0 and done.stdout.count("(AccessDenied") == 4, done.stdout


def _reader() -> Any:
    spec = importlib.util.spec_from_file_location("infra_check_templates", INFRA / "check" / "templates.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    return [_plain(item) for item in node] if isinstance(node, list) else str(node)
