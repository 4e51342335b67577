"""Checks of infra/deploy and infra/uninstall: the AWS CLI calls that they print and make. Part of check_templates.py."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from common.sentences import Sentences, none
from templates.aws_stand_in import Call, StandIn
from templates.template_model import INFRA, NAMES, Template

EXAMPLE = INFRA / "installation.env.example"
MANAGEMENT, CENTRAL = "111122223333", "444455556666"
MEMBER, CLOSED, BARRED = "222233334444", "555566667777", "333344445555"
OLD_OU, NEW_OU = "ou-exam-11111111", "ou-exam-22222222"
IRELAND, VIRGINIA = "eu-west-1", "us-east-1"
RULES_SET, ROLES_SET = "vpc-flow-logs-enroller-member", "vpc-flow-logs-enroller-member-roles"
ROLES_ARN = f"arn:aws:cloudformation:{IRELAND}:{CENTRAL}:stackset/{ROLES_SET}:1"

DONE = [("update-stack-set", {"OperationId": "op"}), ("create-stack-instances", {"OperationId": "op"}),
        ("delete-stack-instances", {"OperationId": "op"}),
        ("describe-stack-set-operation", {"StackSetOperation": {"Status": "SUCCEEDED", "StatusDetails": {"FailedStackInstancesCount": 0}}})]
HALF_DONE = [("describe-stack-set-operation", {"StackSetOperation": {"Status": "SUCCEEDED", "StatusDetails": {"FailedStackInstancesCount": 1}}}),
             ("list-stack-set-operation-results", {"Summaries": [
                 {"Account": MEMBER, "Region": IRELAND, "Status": "FAILED", "StatusReason": "the role exists"},
                 {"Account": BARRED, "Region": IRELAND, "Status": "SUCCEEDED"}]})]
NO_STACK_SET = [("describe-stack-set", "!StackSetNotFoundException")]
ENABLED = [("describe-regions", {"Regions": [{"RegionName": IRELAND}, {"RegionName": VIRGINIA}]})]


def stack_set(targets: list[str], regions: list[str]) -> list[tuple]:
    """One StackSet for roles and rules, from before there were two."""
    return [(f"describe-stack-set {ROLES_SET}", "!StackSetNotFoundException"), ("describe-stack-set", {"StackSet": {"Status": "ACTIVE", "OrganizationalUnitIds": targets, "Regions": regions}})]


def accounts(**states: str) -> list[tuple]:
    return [("list-accounts", {"Accounts": [{"Id": key.removeprefix("a"), "State": state} for key, state in states.items()]})]


class Scripts:
    """A copy of the scripts with its own configuration and zips, and an `aws` command that makes no calls."""

    def __init__(self, folder: Path):
        self.infra = folder / "infra"
        shutil.copytree(INFRA, self.infra)
        (folder / "dist").mkdir()
        for name in ("vpc-enroller", "account-onboarder", "backfill"):
            (folder / "dist" / f"{name}.zip").write_bytes(b"")
        self.text = EXAMPLE.read_text(encoding="utf-8").replace("choose-something-of-your-own", "0123456789abcdef")
        self.config = folder / "installation.env"
        self.aws = StandIn(folder / "bin")

    def run(self, name: str, *arguments: str, dry_run: bool = False, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs a script with settings in addition to those of the example. The profiles' names are the account ids."""
        settings = {"CENTRAL_PROFILE": CENTRAL, "MANAGEMENT_PROFILE": MANAGEMENT, **settings}
        kept = [line for line in self.text.splitlines() if line.split("=")[0] not in settings]
        self.config.write_text("\n".join([*kept, *(f"{key}={value}" for key, value in settings.items())]) + "\n", encoding="utf-8")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        # The example's accounts are accepted only on an emulator.
        environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
        environment["PATH"] = f"{self.aws.folder}:{environment['PATH']}"
        options = ["--dry-run"] if dry_run else ["--yes"] if name == "uninstall" else []
        return subprocess.run([self.infra / name, *options, "--config", self.config, *arguments], capture_output=True, text=True,
                              env=environment, check=False, stdin=subprocess.DEVNULL)

    def answer(self, *tables: Iterable[tuple]) -> None:
        """Sets the answers to calls from now on. Earlier entries win."""
        self.aws.answer([entry for table in (*tables, DONE) for entry in table])


def scripts(say: Sentences, templates: dict[str, Template]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        it = Scripts(Path(folder))
        dry_runs(say, it, templates)
        member_stacks(say, it)
        upgrades(say, it)
        concurrency(say, it)
        failed_stacks(say, it)
        removal_of_stacks(say, it)
        removal_in_accounts(say, it)


def dry_runs(say: Sentences, it: Scripts, templates: dict[str, Template]) -> None:
    with say.check("a dry run of all steps prints every command and every template parameter, and makes no calls"):
        done = it.run("deploy", "all", dry_run=True)
        assert done.returncode == 0, done.stderr
        none(wrong_parameters(done.stdout, templates))
        order = [done.stdout.index(text) for text in ("register-delegated-administrator", "cargo lambda build", "s3 cp",
                                                      "central.yaml", "create-stack-set", "management.yaml")]
        assert order == sorted(order), order
        assert not it.aws.calls(), it.aws.calls()
    with say.check("the central account becomes a delegated administrator only if it administers the StackSet"):
        done = it.run("deploy", "trust", "members", dry_run=True, STACK_SET_ACCOUNT="management")
        assert done.returncode == 0 and "register-delegated-administrator" not in done.stdout, done.stdout
        assert "--call-as SELF" in done.stdout and "DELEGATED_ADMIN" not in done.stdout
    with say.check("a parameter that is not configured gets the template's default, whatever an earlier deployment set"):
        given = parameters_given(it.run("deploy", "all", dry_run=True, LogGroupName="/org/flows").stdout)
        names = {(template, name): value for template, name, value in given}
        assert names["central", "LogGroupName"] == names["member", "LogGroupName"] == "/org/flows"
        made = {"CentralAccountId", "HomeRegion", "RolesRegion", "HomeBusArn", "CodeBucket", "CodePrefix", "LogGroupsHaveKmsKey", "Part"}
        stated = made | {line.split("=")[0] for line in it.config.read_text(encoding="utf-8").splitlines()}
        wrong = [f"{template} {name}={value!r}" for template, name, value in given
                 if name not in stated and value != str(templates[template].parameters[name]["Default"])]
        none(wrong)
    if "ResourceTags" in templates["central"].parameters:
        with say.check("TAGS also go to what the functions create, unless ResourceTags says otherwise"):
            for settings, expected in [({"TAGS": "team=net"}, "team=net"), ({"TAGS": "team=net", "ResourceTags": ""}, ""), ({}, "")]:
                given = parameters_given(it.run("deploy", "central", dry_run=True, **settings).stdout)
                assert ("central", "ResourceTags", expected) in given, (settings, given)
    with say.check("an error in the configuration is reported before anything runs"):
        for changes, word in [({"AlarmMail": ""}, "AlarmMail"), ({"TARGETS": "exam"}, "TARGETS"), ({"HOME_REGION": "Ireland"}, "HOME_REGION"),
                              ({"OrganizationId": ""}, "OrganizationId"), ({"ExternalId": "short"}, "ExternalId"),
                              ({"OperatorRoleArn": f"arn:aws:iam::{MANAGEMENT}:role/Operators"}, "OperatorRoleArn"),
                              ({"FilterPattern": "x" * 1000, "ExcludedAccounts": ",".join(str(100_000_000_000 + n) for n in range(100))}, "4 KB")]:
            done = it.run("deploy", "all", dry_run=True, **changes)
            assert done.returncode == 1 and word in done.stderr and not done.stdout, (changes, done.stderr)
        done = it.run("deploy", "all", dry_run=True, OperatorRoleArn=f"arn:aws:iam::{CENTRAL}:role/Operators")
        assert done.returncode == 0, done.stderr
    with say.check("uninstall removes the functions before the destinations, and never the bucket of the logs"):
        done = it.run("uninstall", "all", dry_run=True)
        assert done.returncode == 0, done.stderr
        order = [done.stdout.index(text) for text in ("vpc-flow-logs-enroller-management", "delete-stack-set", "delete-flow-logs",
                                                      "vpc-flow-logs-enroller-central", "delete-destination")]
        assert order == sorted(order), order
        buckets = set(re.findall(r"s3://([^/ ]+)|--bucket (\S+)", done.stdout))
        assert {a or b for a, b in buckets} == {"vpc-flow-logs-enroller-code-444455556666-eu-west-1"}, buckets
        assert "delete-log-group" not in done.stdout
        assert not it.aws.calls(), it.aws.calls()


def parameters_given(output: str) -> list[tuple[str, str, str]]:
    """Template, name and value of every parameter in the commands of a dry run."""
    given = []
    for words in (shlex.split(line) for line in output.splitlines() if line.startswith("+ ")):
        if "--parameter-overrides" in words:
            template = Path(words[words.index("--template-file") + 1]).stem
            given += [(template, *pair.split("=", 1)) for pair in words[words.index("--parameter-overrides") + 1:]]
        if "--parameters" in words:
            given += [("member", p["ParameterKey"], p["ParameterValue"]) for p in json.loads(words[words.index("--parameters") + 1])]
    return given


def accepts(parameter: dict, value: str) -> bool:
    """Whether CloudFormation accepts the value. The pattern must match the whole value."""
    if "AllowedValues" in parameter:
        return value in map(str, parameter["AllowedValues"])
    return (re.fullmatch(str(parameter.get("AllowedPattern", "(?s:.*)")), value) is not None
            and parameter.get("MinLength", 0) <= len(value) <= parameter.get("MaxLength", 4_096))


def wrong_parameters(output: str, templates: dict[str, Template]) -> list[str]:
    given = parameters_given(output)
    assert {template for template, *_ in given} == set(NAMES), given
    wrong = [f"{template} has no {name}" for template, name, _ in given if name not in templates[template].parameters]
    wrong += [f"{template} {name}={value}" for template, name, value in given
              if not accepts(templates[template].parameters.get(name, {}), value)]
    for template in NAMES:
        missing = templates[template].parameters.keys() - {name for other, name, _ in given if other == template}
        wrong += [f"{template}: {name} is not given" for name in missing]
    return wrong


def member_stacks(say: Sentences, it: Scripts) -> None:
    def created(*tables: Iterable[tuple], **settings: str) -> list[tuple[list[str], list[str]]]:
        it.answer(*tables)
        done = it.run("deploy", "members", EnrolledRegions=f"{VIRGINIA},{IRELAND}", **settings)
        assert done.returncode == 0, done.stderr
        return [(call.option("--deployment-targets"), call.option("--regions")) for call in it.aws.calls("cloudformation create-stack-instances")]

    both = f"{OLD_OU},{NEW_OU}"
    with say.check("the first deployment creates member stacks in every target and Region, the Region with the roles first"):
        assert created(NO_STACK_SET, TARGETS=both) == [([f"OrganizationalUnitIds=[{both}]"], [IRELAND]),
                                                       ([f"OrganizationalUnitIds=[{both}]"], [IRELAND, VIRGINIA])]
        assert len(it.aws.calls("cloudformation create-stack-set")) == 2 and not it.aws.calls("cloudformation update-stack-set")
    two_sets(say, it)
    with say.check("a new OU gets stacks in all Regions, and the other OUs get stacks in new Regions"):
        assert created(stack_set([OLD_OU], [IRELAND]), TARGETS=both) == [
            ([f"OrganizationalUnitIds=[{NEW_OU}]"], [IRELAND, VIRGINIA]), ([f"OrganizationalUnitIds=[{OLD_OU}]"], [VIRGINIA])]
        order = [call.option("--operation-preferences")[0].split("RegionOrder=")[1].split("]")[0] for call in it.aws.calls()
                 if call.option("--operation-preferences")]
        assert order == ["[eu-west-1", "[eu-west-1,us-east-1", "[us-east-1"], order
        assert created(stack_set([OLD_OU], [IRELAND, VIRGINIA]), TARGETS=both) == [([f"OrganizationalUnitIds=[{NEW_OU}]"], [IRELAND, VIRGINIA])]
        assert created(stack_set([NEW_OU, OLD_OU], [VIRGINIA, IRELAND]), TARGETS=both) == []
        assert len(it.aws.calls("cloudformation update-stack-set")) == 1
    with say.check("failed stacks of a succeeded operation are listed, do not stop other steps, and fail the script"):
        it.answer(HALF_DONE, stack_set(["r-exam"], [IRELAND, VIRGINIA]))
        done = it.run("deploy", "members", "management")
        assert done.returncode == 1 and "left failed stacks (1, listed above)" in done.stderr, done.stderr
        assert f"{MEMBER}\t{IRELAND}\tthe role exists" in done.stdout and BARRED not in done.stdout, done.stdout
        assert it.aws.calls("cloudformation deploy")[-1].account == MANAGEMENT
    with say.check("failure tolerance and concurrency come from the configuration, and an operation that AWS stops lists its failures"):
        failed = [("describe-stack-set-operation", {"StackSetOperation": {"Status": "FAILED", "StatusDetails": {"FailedStackInstancesCount": 1}}})]
        it.answer(failed, HALF_DONE[1:], NO_STACK_SET)
        done = it.run("deploy", "members", FAILURE_TOLERANCE_PERCENT="5", CONCURRENT_ACCOUNTS_PERCENT="20")
        assert done.returncode == 1 and f"{MEMBER}\t{IRELAND}\tthe role exists" in done.stdout and "FAILURE_TOLERANCE_PERCENT" in done.stderr, done.stderr
        created, = it.aws.calls("cloudformation create-stack-instances")
        assert created.option("--operation-preferences")[0].endswith("FailureTolerancePercentage=5,MaxConcurrentPercentage=20"), created
    with say.check("every stack, the StackSet and the bucket of the zips have the tags of the configuration"):
        done = it.run("deploy", "package", "central", "members", "management", dry_run=True, TAGS="cost center=12:34,owner=a=b")
        commands = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("+ ")]
        plain = ["application=vpc-flow-logs-enroller", "cost center=12:34", "owner=a=b"]
        wanted = [{"Key": key, "Value": value} for key, value in (tag.split("=", 1) for tag in plain)]
        deployed = [words[words.index("--tags") + 1:words.index("--parameter-overrides")] for words in commands if "deploy" in words]
        assert deployed == [plain] * 5, deployed
        of_set, of_other = [json.loads(words[words.index("--tags") + 1]) for words in commands if "create-stack-set" in words]
        assert of_set == of_other
        (of_bucket,) = [json.loads(words[words.index("--tagging") + 1]) for words in commands if "put-bucket-tagging" in words]
        assert of_set == wanted and of_bucket == {"TagSet": wanted}, (of_set, of_bucket)
        it.answer(stack_set(["r-exam"], [IRELAND, VIRGINIA]))
        assert it.run("deploy", "members", TAGS="team=net").returncode == 0
        updated, = it.aws.calls("cloudformation update-stack-set")
        assert json.loads(updated.option("--tags")[0])[1] == {"Key": "team", "Value": "net"}, updated
    with say.check("an error from AWS is not mistaken for a missing StackSet"):
        it.answer([("describe-stack-set", "!Throttling")])
        done = it.run("deploy", "members")
        assert done.returncode != 0 and "Throttling" in done.stderr and not it.aws.calls("cloudformation create-stack-set"), done.stderr


def two_sets(say: Sentences, it: Scripts) -> None:
    def part(call: Call) -> str:
        return next(item["ParameterValue"] for item in json.loads(call.option("--parameters")[0]) if item["ParameterKey"] == "Part")

    def made() -> dict[str, tuple[str, str]]:
        return {call.option("--stack-set-name")[0]: (part(call), call.option("--auto-deployment")[0])
                for call in it.aws.calls("cloudformation create-stack-set", "cloudformation update-stack-set")}

    automatically = "Enabled=true,RetainStacksOnAccountRemoval=false"
    with say.check("in an account that joins, the StackSet of the rules waits for that of the roles"):
        # The ARN is known only after the creation.
        it.answer([(f"describe-stack-set {ROLES_SET} StackSet.StackSetARN", {"in turn": ["!StackSetNotFoundException", {"StackSet": {"StackSetARN": ROLES_ARN}}]})],
                  NO_STACK_SET)
        done = it.run("deploy", "members")
        assert done.returncode == 0, done.stderr
        assert made() == {ROLES_SET: ("roles", automatically), RULES_SET: ("rules", f"{automatically},DependsOn={ROLES_ARN}")}, made()
        assert list(made()) == [ROLES_SET, RULES_SET]
    with say.check("an installation with one StackSet keeps it, because roles cannot move without being deleted"):
        it.answer(stack_set(["r-exam"], [IRELAND, VIRGINIA]))
        assert it.run("deploy", "members").returncode == 0
        assert made() == {RULES_SET: ("all", automatically)} and not it.aws.calls("cloudformation create-stack-set"), made()
    with say.check("an installation with two StackSets updates both, the roles first"):
        it.answer([("describe-stack-set", {"StackSet": {"Status": "ACTIVE", "StackSetARN": ROLES_ARN, "OrganizationalUnitIds": ["r-exam"],
                                                        "Regions": [IRELAND, VIRGINIA]}})])
        assert it.run("deploy", "members").returncode == 0
        assert list(made()) == [ROLES_SET, RULES_SET] and not it.aws.calls("cloudformation create-stack-set"), made()
    with say.check("a member stack in the management account has roles and rules, whatever the StackSets have"):
        given = parameters_given(it.run("deploy", "members", "management", dry_run=True).stdout)
        assert [value for _, name, value in given if name == "Part"] == ["roles", "rules", "all", "all"], given


def upgrades(say: Sentences, it: Scripts) -> None:
    def said(*steps: str, tables: Iterable[Iterable[tuple]] = (), **settings: str) -> list[str]:
        it.answer(*tables, [("get-account-settings", {"AccountLimit": {"UnreservedConcurrentExecutions": 1000}}),
                            ("get-function-concurrency", "!ResourceNotFoundException"), ("get-queue-url", {"QueueUrl": "https://queue"})])
        done = it.run("deploy", *steps, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        return [f"{call.operation} {(call.option('--stack-name') or call.option('--stack-set-name') or [''])[0]} {(call.option('--region') or [''])[0]}"
                for call in it.aws.calls() if call.operation in ("cloudformation deploy", "cloudformation update-stack-set", "cloudformation create-stack-instances",
                                                                 "sqs send-message")]

    deployed = [("describe-stacks vpc-flow-logs-enroller-central Stacks[].StackStatus", {"Stacks": [{"StackStatus": "UPDATE_COMPLETE"}]}),
                ("describe-stacks Stacks[].StackStatus", "!ValidationError")]
    # cargo lambda must not run here.
    offline = {"BUILD_WITH": "cargo"}
    with say.check("an upgrade makes the bus of a new Region before a rule that sends there, and ends with a backfill"):
        steps = ("package", "regional", "members", "management", "central", "backfill")
        tables = (deployed, stack_set(["r-exam"], [IRELAND, VIRGINIA]))
        calls = said(*steps, tables=tables, EnrolledRegions=f"{IRELAND},{VIRGINIA},ap-southeast-2")
        bus = calls.index("cloudformation deploy vpc-flow-logs-enroller-regional ap-southeast-2")
        rules = [at for at, call in enumerate(calls) if "enroller-member" in call or "enroller-management" in call]
        assert bus < min(rules) and max(rules) < calls.index("cloudformation deploy vpc-flow-logs-enroller-central eu-west-1"), calls
        assert calls[-1].startswith("sqs send-message"), calls
    with say.check("deploy all installs where nothing is, and upgrades where the central stack is, in the other order"):
        done = it.run("deploy", "upgrade", dry_run=True, **offline, Architecture=this_machine())
        assert done.returncode == 0, done.stderr
        order = [done.stdout.index(text) for text in ("regional.yaml", "create-stack-set", "management.yaml", "/central.yaml", "sqs send-message")]
        assert order == sorted(order) and "register-delegated" not in done.stdout, done.stdout
        for status, upgrades_it in [("CREATE_COMPLETE", True), ("UPDATE_ROLLBACK_COMPLETE", True), ("ROLLBACK_COMPLETE", False), ("", False)]:
            answer = {"Stacks": [{"StackStatus": status}]} if status else "!ValidationError"
            it.answer([("describe-stacks vpc-flow-logs-enroller-central Stacks[].StackStatus", answer)], NO_STACK_SET)
            done = it.run("deploy", "all", BUILD_WITH="cargo", Architecture="arm64" if this_machine() == "x86_64" else "x86_64")
            # It ends in the step build, because this machine cannot build for the other architecture.
            assert ("so this is an upgrade" in done.stdout) == upgrades_it, (status, done.stdout)
    with say.check("a delivery role keeps the name that is deployed, unless the configuration says otherwise"):
        old = [{"ParameterKey": "DeliveryRoleName", "ParameterValue": "PublishFlowLogs"}]
        tables = ([("describe-stacks Stacks[].StackStatus", {"Stacks": [{"StackStatus": "UPDATE_COMPLETE"}]}), ("describe-stacks", {"Stacks": [{"Parameters": old}]}),
                   (f"describe-stack-set {ROLES_SET}", "!StackSetNotFoundException"),
                   ("describe-stack-set", {"StackSet": {"Status": "ACTIVE", "OrganizationalUnitIds": ["r-exam"], "Regions": [IRELAND], "Parameters": old}})],)
        for settings, expected in [({}, "PublishFlowLogs"), ({"DeliveryRoleName": "Another"}, "Another")]:
            said("central", "members", "management", tables=tables, **settings)
            given = [word.split("=", 1)[1] for call in it.aws.calls("cloudformation deploy") for word in call.words if word.startswith("DeliveryRoleName=")]
            given += [item["ParameterValue"] for call in it.aws.calls("cloudformation update-stack-set")
                      for item in json.loads(call.option("--parameters")[0]) if item["ParameterKey"] == "DeliveryRoleName"]
            assert len(given) >= 4 and set(given) == {expected}, given


def this_machine() -> str:
    return {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


def concurrency(say: Sentences, it: Scripts) -> None:
    def deployed(unreserved: int, reserved: object, **settings: str) -> bool:
        it.answer([("get-account-settings", {"AccountLimit": {"UnreservedConcurrentExecutions": unreserved}}),
                   ("get-function-concurrency vpc-flow-logs-vpc-enroller", reserved), ("get-function-concurrency", "!ResourceNotFoundException")])
        done = it.run("deploy", "central", **settings)
        assert done.returncode == 0 or "concurrent executions" in done.stderr, done.stderr
        return bool(it.aws.calls("cloudformation deploy"))

    with say.check("concurrency that Lambda would not reserve is rejected before each deployment"):
        absent, present = "!ResourceNotFoundException", {"ReservedConcurrentExecutions": 10}
        found = [deployed(113, absent), deployed(112, absent), deployed(103, present), deployed(103, present, MaximumConcurrency="11"),
                 deployed(103, {}), deployed(10, absent, ReserveConcurrency="false")]
        assert found == [True, False, True, False, False, True], found


def removal_of_stacks(say: Sentences, it: Scripts) -> None:
    with say.check("uninstall deletes the member stacks that the StackSet has, whatever the configuration lists"):
        it.answer(stack_set([OLD_OU, NEW_OU], [IRELAND, "ap-southeast-2"]))
        done = it.run("uninstall", "members")
        assert done.returncode == 0, done.stderr
        deleted, = it.aws.calls("cloudformation delete-stack-instances")
        assert deleted.option("--deployment-targets") == [f"OrganizationalUnitIds=[{OLD_OU},{NEW_OU}]"], deleted
        assert sorted(deleted.option("--regions")) == ["ap-southeast-2", IRELAND], deleted
        assert it.aws.calls("cloudformation delete-stack-set")
    with say.check("a StackSet is kept if one of its stacks could not be deleted"):
        it.answer(HALF_DONE, stack_set([OLD_OU], [IRELAND]))
        done = it.run("uninstall", "members")
        assert done.returncode == 1 and f"{MEMBER}\t{IRELAND}" in done.stdout, done.stdout
        assert not it.aws.calls("cloudformation delete-stack-set")
    with say.check("uninstall without an installation deletes nothing and succeeds"):
        it.answer(NO_STACK_SET, [("describe-stacks", "!ValidationError"), ("head-bucket", "!404")])
        done = it.run("uninstall", "management", "members", "central")
        assert done.returncode == 0 and not [call for call in it.aws.calls() if call.words[1].startswith(("delete-", "rm"))], done.stderr
    with say.check("only destinations with the enroller's stream or a managed statement are deleted"):
        managed, others = f"arn:aws:firehose:{IRELAND}:{CENTRAL}:deliverystream/vpc-flow-logs", "arn:aws:kinesis:eu-west-1:444455556666:stream/other"
        found = [("VPCFlowLogsDestination", managed, None), ("VPCFlowLogsDestination-2", others, '{"Statement":[{"Sid":"VpcEnroller"}]}'),
                 ("VPCFlowLogsDestination-3", others, '{"Statement":[]}'), ("VPCFlowLogsDestination-4", others, None),
                 ("VPCFlowLogsDestinationOfOthers", managed, None)]
        it.answer([("describe-destinations", {"destinations": [
            {"destinationName": name, "targetArn": target, **({"accessPolicy": policy} if policy else {})} for name, target, policy in found]})])
        done = it.run("uninstall", "central")
        assert done.returncode == 0, done.stderr
        deleted = {call.option("--destination-name")[0] for call in it.aws.calls("logs delete-destination")}
        assert deleted == {"VPCFlowLogsDestination", "VPCFlowLogsDestination-2"}, deleted


def removal_in_accounts(say: Sentences, it: Scripts) -> None:
    def subscribed(*names: str) -> list[tuple]:
        arns = [f"arn:aws:logs:{IRELAND}:{name}" for name in names]
        return [("describe-subscription-filters", {"subscriptionFilters": [{"filterName": "AllTraffic", "destinationArn": arn} for arn in arns]})]

    def deleted(*tables: Iterable[tuple], status: int = 0) -> set[str]:
        it.answer(*tables, ENABLED, accounts(**{f"a{MANAGEMENT}": "ACTIVE"}))
        done = it.run("uninstall", "flow-logs", EnrolledRegions=IRELAND)
        assert done.returncode == status, done.stderr
        return {call.operation for call in it.aws.calls() if call.words[1].startswith("delete-")}

    logs, none_left = [("describe-flow-logs", {"FlowLogs": [{"FlowLogId": id, "LogGroupName": "vpc-flow-logs"} for id in ("fl-1", "fl-2")]})], [("describe-flow-logs", {"FlowLogs": []})]
    with say.check("a flow log with nothing of ours but the tag is kept"):
        theirs = {"FlowLogId": "fl-9", "LogGroupName": "theirs", "DeliverLogsPermissionArn": f"arn:aws:iam::{MEMBER}:role/Theirs",
                  "Tags": [{"Key": "managed-by", "Value": "vpc-flow-logs-enroller"}]}
        to_s3 = {"FlowLogId": "fl-8", "LogDestination": "arn:aws:s3:::theirs"}
        ours = [{"LogGroupName": "vpc-flow-logs"}, {"LogDestination": f"arn:aws:logs:{IRELAND}:{MEMBER}:log-group:vpc-flow-logs"},
                {"DeliverLogsPermissionArn": f"arn:aws:iam::{MEMBER}:role/a/path/PublishFlowLogs", "LogGroupName": "old"},
                {"LogGroupName": "old", "Tags": [{"Key": "vpc-flow-logs-settings", "Value": "0123456789abcdef"}]}]
        listed = [theirs, to_s3, *({"FlowLogId": f"fl-{number}", **log} for number, log in enumerate(ours))]
        deleted([("describe-flow-logs", {"FlowLogs": listed})], subscribed())
        assert it.aws.calls("ec2 delete-flow-logs")[0].option("--flow-log-ids") == ["fl-0", "fl-1", "fl-2", "fl-3"]
    with say.check("a subscription filter of the same name with another destination is kept"):
        both = {"ec2 delete-flow-logs", "logs delete-subscription-filter"}
        assert deleted(logs, subscribed(f"{CENTRAL}:destination:VPCFlowLogsDestination")) == both
        assert it.aws.calls("ec2 delete-flow-logs")[0].option("--flow-log-ids") == ["fl-1", "fl-2"]
        assert deleted(logs, subscribed(f"{CENTRAL}:destination:VPCFlowLogsDestination-12")) == both
        for elsewhere in (f"{MEMBER}:destination:VPCFlowLogsDestination", f"{CENTRAL}:destination:VPCFlowLogsDestinationOfOthers",
                          f"{MANAGEMENT}:log-group:somewhere"):
            assert deleted(none_left, subscribed(elsewhere)) == set(), elsewhere
    with say.check("flow logs that AWS did not delete are listed, and fail the step"):
        left = {"Unsuccessful": [{"ResourceId": "fl-2", "Error": {"Code": "Client.Unavailable", "Message": "not now"}}]}
        it.answer([("delete-flow-logs", left)], logs, ENABLED, accounts(**{f"a{MANAGEMENT}": "ACTIVE"}))
        done = it.run("uninstall", "flow-logs")
        assert done.returncode == 1 and "fl-2\tClient.Unavailable\tnot now" in done.stderr and MANAGEMENT in done.stderr, done.stderr
        assert [call.option("--region") for call in it.aws.calls("ec2 delete-flow-logs")] == [[IRELAND], [VIRGINIA]], "a failure in one Region stopped another"
    with say.check("a Region that is not enabled and a missing log group are skipped, and other errors are failures"):
        it.answer(logs, [("describe-regions", {"Regions": [{"RegionName": IRELAND}]})], accounts(**{f"a{MANAGEMENT}": "ACTIVE"}))
        done = it.run("uninstall", "flow-logs")
        assert done.returncode == 0 and {call.option("--region")[0] for call in it.aws.calls("ec2 describe-flow-logs")} == {IRELAND}
        missing, refused = [("describe-subscription-filters", "!ResourceNotFoundException")], [("describe-subscription-filters", "!AccessDeniedException")]
        assert deleted(none_left, missing) == set()
        assert deleted(none_left, refused, status=1) == set()
        assert deleted([("describe-flow-logs", "!UnauthorizedOperation")], subscribed(), status=1) == set()
        assert deleted(none_left, [("describe-regions", "!RequestLimitExceeded")], status=1) == set()
    with say.check("log groups without the enroller's tag are kept"):
        for owner, expected in [("vpc-flow-logs-enroller", 1), ("another-tool", 0)]:
            it.answer([("list-tags-for-resource", {"tags": {"managed-by": owner}})], ENABLED, accounts(**{f"a{MANAGEMENT}": "ACTIVE"}))
            done = it.run("uninstall", "log-groups", EnrolledRegions=IRELAND)
            assert done.returncode == 0 and len(it.aws.calls("logs delete-log-group")) == expected, owner
    with say.check("an account whose role cannot be assumed is reported, a closed one is skipped, and the rest is removed"):
        barred = [(f"assume-role arn:aws:iam::{BARRED}:role/OrganizationAccountAccessRole", "!AccessDenied")]
        states = {f"a{MANAGEMENT}": "ACTIVE", f"a{MEMBER}": "PENDING_CLOSURE", f"a{BARRED}": "ACTIVE", f"a{CLOSED}": "CLOSED"}
        it.answer(barred, logs, ENABLED, accounts(**states), NO_STACK_SET, [("describe-stacks", {"Stacks": [{"StackStatus": "CREATE_COMPLETE"}]})])
        done = it.run("uninstall", "all")
        assert done.returncode == 1 and f"failed in these accounts: {BARRED} (" in done.stderr.splitlines()[-1], done.stderr
        assert {call.account for call in it.aws.calls("ec2 delete-flow-logs")} == {MANAGEMENT, MEMBER}
        assert [call.option("--stack-name")[0] for call in it.aws.calls("cloudformation delete-stack")][-1] == "vpc-flow-logs-enroller-central"
        assert not [call for call in it.aws.calls() if CLOSED in " ".join(call.words)]
        assert "secret" not in done.stdout + done.stderr
    with say.check("closed accounts are skipped with an older AWS CLI, too, which has another field for their state"):
        old = {"Accounts": [{"Id": MANAGEMENT, "Status": "ACTIVE"}, {"Id": CLOSED, "Status": "SUSPENDED"}]}
        it.answer(logs, ENABLED, [("list-accounts", old)])
        done = it.run("uninstall", "flow-logs")
        assert done.returncode == 0 and {call.account for call in it.aws.calls("ec2 delete-flow-logs")} == {MANAGEMENT}, done.stderr


def failed_stacks(say: Sentences, it: Scripts) -> None:
    stack = "arn:aws:cloudformation:eu-west-1:444455556666:stack/vpc-flow-logs-enroller-central/1"

    def event(name: str, status: str, reason: str = "", kind: str = "AWS::S3::Bucket") -> dict[str, str]:
        whole = name == "central"
        return {"LogicalResourceId": name, "ResourceStatus": status, "ResourceStatusReason": reason, "StackId": stack,
                "ResourceType": "AWS::CloudFormation::Stack" if whole else kind, "PhysicalResourceId": stack if whole else name}

    # AWS lists the newest event first. An earlier operation failed for another reason.
    events = [("describe-stack-events", {"StackEvents": [
        event("central", "ROLLBACK_COMPLETE"), event("central", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [Stream, Table]."),
        event("Table", "CREATE_FAILED", "Resource creation cancelled"), event("Bus", "CREATE_FAILED", "Bus already exists."),
        event("Stream", "CREATE_FAILED", "Firehose is unable to assume role"), event("Stream", "CREATE_IN_PROGRESS"),
        event("central", "CREATE_IN_PROGRESS", "User Initiated"), event("Old", "UPDATE_FAILED", "an old story")]})]
    quota = [("get-account-settings", {"AccountLimit": {"UnreservedConcurrentExecutions": 1000}}), ("get-function-concurrency", "!ResourceNotFoundException")]

    def status(*names: str) -> list[tuple]:
        turns = [{"Stacks": [{"StackStatus": name}]} if name else "!ValidationError" for name in names]
        return [("describe-stacks vpc-flow-logs-enroller-central Stacks[].StackStatus", {"in turn": turns})]

    def deployed(*tables: Iterable[tuple]) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        it.answer(*tables, events, quota, [("describe-stacks Stacks[].StackStatus", "!ValidationError")])
        done = it.run("deploy", "central", EnrolledRegions=IRELAND)
        changing = [call.words[1] for call in it.aws.calls() if call.option("--stack-name") == ["vpc-flow-logs-enroller-central"]
                    and not call.words[1].startswith("describe-")]
        return done, changing

    for name in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS"):
        with say.check(f"a stack that is {name} is deleted before it is created again, and its first cause is said first"):
            done, calls = deployed(status(name))
            assert done.returncode == 0 and calls == ["delete-stack", "wait", "deploy"], (calls, done.stderr)
            said = done.stdout
            assert said.index("Stream (AWS::S3::Bucket) CREATE_FAILED: Firehose is unable") < said.index("Bus already exists"), said
            assert "cancelled" not in said and "old story" not in said, said
    with say.check("a stack that works is never deleted"):
        for name in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE", ""):
            done, calls = deployed(status(name))
            assert done.returncode == 0 and calls == ["deploy"], (name, calls, done.stderr)
    with say.check("an operation that an interrupted run left is waited for, and what came of it decides"):
        done, calls = deployed(status("CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"))
        assert done.returncode == 0 and calls == ["deploy"] and done.stdout.count("waiting") == 2, done.stdout
        done, calls = deployed(status("CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE"))
        assert done.returncode == 0 and calls == ["delete-stack", "wait", "deploy"], calls
        done, calls = deployed(status("DELETE_IN_PROGRESS", ""))
        assert done.returncode == 0 and calls == ["deploy"], calls
    with say.check("a stack that only a person can repair stops the step, with the cause and what to do"):
        for name, advice in [("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"), ("DELETE_FAILED", "delete the stack")]:
            done, calls = deployed(status(name))
            assert done.returncode == 1 and calls == [] and advice in done.stderr and "Firehose is unable" in done.stderr, done.stderr
    with say.check("a deployment that fails says why, first cause first, and that the step can be run again"):
        done, calls = deployed(status("", "ROLLBACK_COMPLETE"), [("deploy vpc-flow-logs-enroller-central", "!Failed")])
        assert done.returncode == 1 and calls == ["deploy"] and "run the same step again" in done.stderr, done.stderr
        assert done.stderr.index("Firehose is unable") < done.stderr.index("Bus already exists"), done.stderr
    with say.check("a stack that cannot be deleted stops the step before it is deployed"):
        done, calls = deployed(status("ROLLBACK_FAILED"), [("wait stack-delete-complete", "!Waiter")])
        assert done.returncode == 1 and calls == ["delete-stack", "wait"] and "could not be deleted" in done.stderr, done.stderr
    with say.check("an error from AWS is not mistaken for a missing stack, and nothing is deleted"):
        done, calls = deployed([("describe-stacks vpc-flow-logs-enroller-central Stacks[].StackStatus", "!Throttling")])
        assert done.returncode != 0 and calls == [] and "Throttling" in done.stderr, done.stderr
    with say.check("the bucket of the zips is closed to the public even if an earlier run ended right after its creation"):
        it.answer()
        assert it.run("deploy", "package").returncode == 0
        assert it.aws.calls("s3api put-public-access-block") and not it.aws.calls("s3api create-bucket")
        it.answer()
        assert it.run("deploy", "package", CODE_BUCKET="of-another-team").returncode == 0
        assert not it.aws.calls("s3api put-public-access-block")
