#!/usr/bin/env python3
"""Checks infra/: linters of others check the templates and scripts, and our own rules check what linters do not.

    pip install -r tests/python/templates/requirements.txt
    python tests/python/templates/check_templates.py [--write-contract]

Makes no calls to AWS. Exit code 0 if all checks passed. With --write-contract it checks nothing, and writes the
templates' public names to tests/contract/templates.txt.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

from common.event_patterns import ACCOUNT_EVENTS, MEMBER_EVENTS, matches
from common.sentences import Sentences, end_after, none
from templates import contract
from templates.alarms import alarms
from templates.bad_values import BAD, GOOD
from templates.configurations import configurations
from templates.evidence import evidence
from templates.guardrails import guardrails
from templates.scripts import accepts, scripts
from templates.template_model import INFRA, NAMES, OPTIONAL, Template, lined_strings, listed, strings

TOOLS = Path(sys.executable).parent
ROOT = INFRA.parent

# EventBridge quotas.
MAX_PATTERN = 2_048
# CloudFormation: a template in the request, and one in a bucket.
MAX_BODY, MAX_OBJECT = 51_200, 1_000_000
# Lambda: all environment variables of a function, with names and values.
MAX_ENVIRONMENT = 4_096
# IAM's default quotas: the trust policy of a role, and all its inline policies.
MAX_TRUST, MAX_INLINE = 2_048, 10_240


def tool(name: str, *arguments: str) -> str:
    """Runs a linter and returns its output. Fails with that output if the linter fails."""
    environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"}
    done = subprocess.run([TOOLS / name, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode == 0, f"{name}: {(done.stdout + done.stderr)[-2000:]}"
    return done.stdout


def linters(say: Sentences, templates: list[Template]) -> None:
    paths = [str(template.path) for template in templates]
    with say.check("cfn-lint finds nothing, not even information, except stateful resources without a deletion policy"):
        # Queues and log groups are deleted with the stack. A check below covers the bucket and the key.
        tool("cfn-lint", "--include-checks", "I", "--ignore-checks", "I3011", "--", *paths)
    with say.check("checkov finds nothing, except what a comment in the template skips with a reason"):
        found = json.loads(tool("checkov", "-d", "infra", "--framework", "cloudformation", "--skip-download", "-o", "json"))
        none([f"{check['check_id']} {check['resource']}" for check in found["results"]["failed_checks"]])
        assert found["summary"]["passed"] > 50, found["summary"]
        reasons = [check["check_result"].get("suppress_comment", "") for check in found["results"]["skipped_checks"]]
        none([f"no reason: {reason!r}" for reason in reasons if len(reason) < 20])
    with say.check("shellcheck finds nothing in the scripts"):
        scripts = [str(INFRA / name) for name in ("deploy", "uninstall", "lib.sh")]
        scripts += [str(ROOT / ".ci" / name) for name in ("run", "dependency-rules")]
        tool("shellcheck", "--external-sources", *scripts)
        none([name for name in scripts if re.search(r"\beval\b", Path(name).read_text(encoding="utf-8"))])


# What bash learned after 3.2, the version of macOS.
NEW_IN_BASH = re.compile(r"""\b(mapfile|readarray|coproc)\b|\b(declare|local|typeset)\s+-[a-z]*[Angu]|\$\{[A-Za-z_]\w*(\[[@*]\])?(\^|,|@[A-Z])
    |\|&|&>>|\bwait\s+-n|\$\{\w+\[-[0-9]|;;?&|\bprintf\s+.%\(|\bBASHPID\b|\bEPOCHSECONDS\b""", re.X)
# What Python's library learned after 3.8. The syntax is checked by Python itself.
NEW_IN_PYTHON = re.compile(r"\.(removeprefix|removesuffix|bit_count)\(|\bzoneinfo\b|\btomllib\b|\bgraphlib\b|@cache\b|\bfunctools\.cache\b|\bstrict=")


def versions(say: Sentences) -> None:
    with say.check("the scripts use nothing that is newer than bash 3.2 and Python 3.8, and the check finds such things"):
        for line in ("mapfile -t a", "declare -A a", "echo ${a^^}", "echo ${a,,}", "a |& b", "local -n a=b", "echo ${a@Q}", "echo ${a[-1]}"):
            assert NEW_IN_BASH.search(line), line
        wrong = [f"{name}:{number}: {line.strip()}" for name in ("deploy", "uninstall", "lib.sh")
                 for number, line in enumerate((INFRA / name).read_text(encoding="utf-8").splitlines(), 1)
                 if NEW_IN_BASH.search(line.split(" # ")[0])]
        for path in sorted((INFRA / "check").glob("*.py")):
            text = path.read_text(encoding="utf-8")
            ast.parse(text, feature_version=(3, 8))
            wrong += [f"{path.name}: {found[0]}" for found in NEW_IN_PYTHON.finditer(text)]
        none(wrong)


def parameters(say: Sentences, templates: list[Template]) -> None:
    with say.check("every parameter has a description, a constraint, and a text for values that violate a pattern"):
        wrong = []
        for template in templates:
            for name, parameter in template.parameters.items():
                bounded = {"AllowedPattern", "AllowedValues", "MinValue", "MaxLength"} & parameter.keys()
                if not bounded or len(parameter.get("Description", "")) < 10:
                    wrong.append(f"{template.name} {name}")
                if "AllowedPattern" in parameter and "ConstraintDescription" not in parameter:
                    wrong.append(f"{template.name} {name}: no ConstraintDescription")
        none(wrong)
    with say.check("bad parameter values are rejected, and good values and defaults are accepted"):
        wrong = []
        for template in templates:
            for name, parameter in template.parameters.items():
                pattern = parameter.get("AllowedPattern")
                if pattern is None:
                    continue
                assert name in BAD, f"{template.name} {name} has a pattern, but no bad values to test it with"
                wrong += [f"{template.name} {name} accepts {bad!r}" for bad in BAD[name] if accepts(parameter, bad)]
                good = [*GOOD.get(name, []), *([str(parameter["Default"])] if "Default" in parameter else [])]
                assert good, f"{name}: no good value to test it with"
                wrong += [f"{template.name} {name} rejects {value!r}" for value in good if not accepts(parameter, value)]
        none(wrong)
    with say.check("a parameter of several templates is the same in all of them, except for its description"):
        seen: dict[str, tuple[str, dict]] = {}
        wrong = []
        for template in templates:
            for name, parameter in template.parameters.items():
                core = {key: value for key, value in parameter.items() if key != "Description"}
                first, other = seen.setdefault(name, (template.name, core))
                if other != core:
                    wrong.append(f"{name} in {first} and {template.name}")
        none(wrong)
    with say.check("a rule rejects lifecycle days that S3 would reject together, before anything is created"):
        central = templates[0]
        days = {name: [v for v in map(str, central.parameters[name]["AllowedValues"]) if v != "never"]
                for name in ("ArchiveAfterDays", "DeepArchiveAfterDays", "ExpireAfterDays")}
        wrong = []
        for first, second in [("ArchiveAfterDays", "DeepArchiveAfterDays"), ("ArchiveAfterDays", "ExpireAfterDays"),
                              ("DeepArchiveAfterDays", "ExpireAfterDays")]:
            for one in days[first]:
                for other in days[second]:
                    if rules_allow(central, {first: one, second: other}) != (int(one) < int(other)):
                        wrong.append(f"{first}={one} {second}={other}")
        none(wrong)
        assert not rules_allow(central, {"PrefixMode": "account", "RecordFormat": "lines"})
        assert rules_allow(central, {"PrefixMode": "account", "RecordFormat": "envelope"})


def rules_allow(template: Template, values: dict[str, str]) -> bool:
    defaults = {"ArchiveAfterDays": "never", "DeepArchiveAfterDays": "never", "ExpireAfterDays": "never", "PrefixMode": "time",
                "ExistingBucketName": ""}
    values = {**defaults, **values}

    def holds(node) -> bool:
        (function, argument), = node.items()
        match function:
            case "Fn::Equals":
                return argument == [argument[0], argument[1]] and values[argument[0]["Ref"]] == argument[1]
            case "Fn::Not":
                return not holds(argument[0])
            case "Fn::Contains":
                return values[argument[1]["Ref"]] in argument[0]
        raise ValueError(function)

    return all(holds(assertion["Assert"]) for rule in template.document["Rules"].values()
               if holds(rule["RuleCondition"]) for assertion in rule["Assertions"])


def policies(say: Sentences, templates: list[Template]) -> None:
    with say.check("every ARN uses AWS::Partition"):
        none([f"{t.name}:{number}: {line.strip()}" for t in templates for number, line in enumerate(t.lines, 1)
              if re.search(r"(?<![:\w])arn:(?!\$\{AWS::Partition\}:|aws\[)", line.split("# ")[0])])
    with say.check("iam:PassRole is allowed only for named roles and one service"):
        wrong = []
        for template in templates:
            for name, _, statement in template.statements():
                if "iam:PassRole" in listed(statement.get("Action")):
                    conditions = statement.get("Condition", {})
                    tests = [conditions.get(operator, {}) for operator in ("StringEquals", "StringEqualsIfExists", "StringLikeIfExists")]
                    # A regional name of a service, such as logs.*.amazonaws.com, is the same service.
                    passed = {text.split(".")[0] for test in tests for text in listed(test.get("iam:PassedToService", []))}
                    if any("*" in text for text in strings(statement["Resource"])) or len(passed) != 1 or "*" in passed:
                        wrong.append(f"{template.name} {name} {statement.get('Sid')}")
                if any(action in {"*", "iam:*"} for action in listed(statement.get("Action"))):
                    wrong.append(f"{template.name} {name} {statement.get('Sid')}")
        none(wrong)
    with say.check("permissions and queue policies for EventBridge require no account, because it does not send one"):
        wrong = []
        for template in templates:
            for name, permission in template.of_type("AWS::Lambda::Permission"):
                if permission["Properties"]["Principal"] == "events.amazonaws.com" and "SourceAccount" in permission["Properties"]:
                    wrong.append(f"{template.name} {name}")
            for name, policy in template.of_type("AWS::SQS::QueuePolicy"):
                for statement in listed(policy["Properties"]["PolicyDocument"]["Statement"]):
                    # A key that EventBridge may not send is tested with IfExists only.
                    tested = {operator for operator in statement["Condition"] if not operator.endswith("IfExists")}
                    if statement["Principal"] == {"Service": "events.amazonaws.com"} and tested not in ({"ArnEquals"}, {"ArnLike"}):
                        wrong.append(f"{template.name} {name} {statement['Sid']}")
        none(wrong)
    with say.check("no invocation of Lambda, which retries only for minutes, stands between a rule and its queue, and a rule retries for a day"):
        wrong = []
        for name, rule in templates[0].of_type("AWS::Events::Rule"):
            for target in rule["Properties"]["Targets"]:
                to = target["Arn"]["Fn::GetAtt"][0]
                kind = templates[0].resources[to]["Type"]
                if kind == "AWS::Events::EventBus":
                    # From the default bus to ours, with EventBridge's own retries.
                    continue
                if kind != "AWS::SQS::Queue":
                    wrong.append(f"{name}: {to} is no queue")
                if target.get("RetryPolicy") != {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}:
                    wrong.append(f"{name}: {target.get('RetryPolicy')}")
        none(wrong)
    with say.check("every trust and resource policy statement that allows has a condition"):
        wrong = []
        for template in templates:
            for name, kind, statement in template.statements():
                of_the_key = template.resources[name]["Type"] == "AWS::KMS::Key" and statement.get("Sid") == "Account"
                if kind != "identity" and statement["Effect"] == "Allow" and not statement.get("Condition") and not of_the_key:
                    wrong.append(f"{template.name} {name} {statement.get('Sid', '')}")
        none(wrong)


def permissions(say: Sentences, templates: list[Template]) -> None:
    with say.check("actions have no wildcards, except in deny statements and in the key policy"):
        none([f"{t.name} {name}: {action}" for t in templates for name, _, statement in t.statements()
              if statement["Effect"] == "Allow" and t.resources[name]["Type"] != "AWS::KMS::Key"
              for action in listed(statement["Action"]) if "*" in action])
    with say.check("every wildcard in a resource has a reason in the line above"):
        wrong = []
        for template in templates:
            for name, _, statement in template.statements():
                for text, line in lined_strings(statement, "Resource"):
                    if "*" in text and len(template.reason_above(line)) < len("# reason: ") + 10:
                        wrong.append(f"{template.name}:{line + 1} {name}: {text}")
        none(wrong)
    with say.check("roles fit in IAM's default quotas"):
        wrong = []
        values = {"OperatorRoleArn": "arn:aws:iam::444455556666:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Operators_0123456789abcdef",
                  "DeliveryRoleMaker": "enroller", "LogGroupsHaveKmsKey": "true", "Encryption": "SSE-KMS",
                  "CentralAccountId": "444455556666", "OrganizationId": "o-exampleorg1", "ExternalId": "x" * 128}
        for template in templates:
            for name, role in template.of_type("AWS::IAM::Role"):
                known = {key: value for key, value in values.items() if key in template.parameters}
                rendered = template.render(role["Properties"], known)
                trust = len(json.dumps(rendered["AssumeRolePolicyDocument"], separators=(",", ":")))
                inline = sum(len(json.dumps(p["PolicyDocument"], separators=(",", ":"))) for p in rendered["Policies"])
                if trust > MAX_TRUST or inline > MAX_INLINE:
                    wrong.append(f"{template.name} {name}: trust {trust}, inline {inline}")
        none(wrong)
    with say.check("the bucket and the key are kept when the stack is deleted"):
        central = templates[0].resources
        kept = [(central[name].get("DeletionPolicy"), central[name].get("UpdateReplacePolicy")) for name in ("Bucket", "Key")]
        # A creation that is rolled back must not leave them behind: the next try would find the name taken, or make a second one.
        assert kept == [("RetainExceptOnCreate", "Retain")] * 2, kept


def functions(say: Sentences, central: Template) -> None:
    resources = central.resources
    with say.check("the functions have the same settings, which the core knows, within Lambda's 4 KB"):
        source = (ROOT / "shared/core/src/settings/read.rs").read_text(encoding="utf-8")
        keys = re.findall(r'^\s*\(?"([a-z_]+)", ', source.split("KEYS:")[1].split("];")[0], re.M)
        keys += re.findall(r'^\s*\(\n\s*"([a-z_]+)",$', source.split("KEYS:")[1].split("];")[0], re.M)
        known = {f"ENROLLER_{key.upper()}" for key in keys}
        variables = [f["Properties"]["Environment"]["Variables"] for _, f in central.of_type("AWS::Lambda::Function")]
        assert len(variables) == 3 and variables[0] == variables[1] == variables[2]
        none([f"{name} is not a setting" for name in variables[0] if name not in known])
        none([f"{name} is not set" for name in sorted(known - {"ENROLLER_DELIVERY_ROLE_POLICY_NAME"}) if name not in variables[0]])
        # infra/deploy adds the size of the configured values to this size of the rest, and rejects a sum above 4 KB.
        rest = int(re.search(r"^environment_rest=([0-9]+)$", (INFRA / "deploy").read_text(encoding="utf-8"), re.M)[1])
        arns = {"<Stream.Arn>": 80, "<DestinationRole.Arn>": 80, "<EnrollmentsQueue>": 90, "<GrantsQueue>": 90, "<BackfillQueue>": 90}
        rendered = central.render(variables[0], {"OrganizationId": "", "EnrolledRegions": "", "ExternalId": ""})
        size = sum(len(name) + arns.get(str(value), len(str(value))) for name, value in rendered.items())
        assert size <= rest < MAX_ENVIRONMENT, size
    with say.check("the visibility timeout is six times the function's timeout, and every queue has a dead-letter queue"):
        wrong = []
        for name, source in central.of_type("AWS::Lambda::EventSourceMapping"):
            properties = source["Properties"]
            queue = resources[properties["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
            function = resources[properties["FunctionName"]["Fn::GetAtt"][0]]["Properties"]
            enough = 6 * function["Timeout"] + properties.get("MaximumBatchingWindowInSeconds", 0)
            if queue["VisibilityTimeout"] < enough:
                wrong.append(f"{name}: {queue['VisibilityTimeout']} s, expected {enough} s")
            if properties["FunctionResponseTypes"] != ["ReportBatchItemFailures"]:
                wrong.append(f"{name}: no partial batches")
            if queue["RedrivePolicy"]["maxReceiveCount"] < 5:
                wrong.append(f"{name}: too few receives")
            if problem := scaling_problem(properties, function, central):
                wrong.append(f"{name}: {problem}")
        none(wrong)
    with say.check("no event source scales beyond the function's reserved concurrency, and the check finds such errors"):
        _, onboarder = next(pair for pair in central.of_type("AWS::Lambda::EventSourceMapping") if pair[0] == "GrantsSource")
        function = resources["AccountOnboarderFunction"]["Properties"]
        planted = {**onboarder["Properties"], "ScalingConfig": {"MaximumConcurrency": 2}}
        assert scaling_problem(planted, function, central) == "maximum 2 is greater than the reserved 1"
        planted["ScalingConfig"]["MaximumConcurrency"] = 1
        assert scaling_problem(planted, function, central) == "maximum 1 is below Lambda's minimum of 2"


def scaling_problem(mapping: dict, function: dict, central: Template) -> str | None:
    """Why Lambda would reject a mapping's maximum: it is less than 2, or more than its function reserves."""
    maximum = mapping.get("ScalingConfig", {}).get("MaximumConcurrency")
    if maximum is None:
        return None
    value = lambda given: central.parameters[given["Ref"]]["Default"] if isinstance(given, dict) else given
    least = central.parameters[maximum["Ref"]]["MinValue"] if isinstance(maximum, dict) else maximum
    if least < 2:
        return f"maximum {least} is below Lambda's minimum of 2"
    reserved = function["ReservedConcurrentExecutions"]
    if isinstance(reserved, dict):
        condition, reserved, otherwise = reserved["Fn::If"]
        assert condition == "ReservesConcurrency" and otherwise == {"Ref": "AWS::NoValue"}, reserved
    # The same parameter on both sides is valid for every value.
    if maximum != reserved and value(maximum) > value(reserved):
        return f"maximum {value(maximum)} is greater than the reserved {value(reserved)}"
    return None


def contents(say: Sentences, central: Template) -> None:
    with say.check("rules wait for the role they use if the same stack creates both"):
        wrong = []
        for template in map(Template, ("member", "management")):
            wrong += [f"{template.name} {name}" for name, rule in template.of_type("AWS::Events::Rule")
                      if ["ForwarderRole", "Arn"] not in rule.get("Metadata", {}).get("After", {}).get("Fn::If", [0, {}])[1].values()]
        none(wrong)
    with say.check("the table's columns are the fields of the default format"):
        source = (ROOT / "shared/core/src/settings.rs").read_text(encoding="utf-8")
        text = source.split("pub const DEFAULT_FORMAT: &str =")[1].split(";")[0]
        fields = [field.replace("-", "_") for field in re.findall(r"\$\{([a-z0-9-]+)\}", text)]
        columns = central.resources["Table"]["Properties"]["TableInput"]["StorageDescriptor"]["Columns"]
        assert [column["Name"] for column in columns] == fields
    with say.check("the dashboard is JSON"):
        body = central.render(central.resources["Dashboard"]["Properties"]["DashboardBody"], {})
        assert len(json.loads(body)["widgets"]) > 5


def events(say: Sentences, templates: dict[str, Template]) -> None:
    member = {"CentralAccountId": "444455556666", "HomeRegion": "eu-west-1", "RolesRegion": "eu-west-1"}
    with say.check("event patterns fit in EventBridge's 2,048 characters"):
        wrong = []
        for template in templates.values():
            for name, rule in template.of_type("AWS::Events::Rule"):
                pattern = rule["Properties"].get("EventPattern")
                longest = {"LogGroupName": "x" * 512, "FilterName": "x" * 256, "MemberRoleName": "x" * 64,
                           "OptOutTag": "x" * 128 + "=", "TrafficTypeTag": "x" * 128}
                known = {key: value for key, value in longest.items() if key in template.parameters}
                if pattern and len(json.dumps(template.render(pattern, known), separators=(",", ":"))) > MAX_PATTERN:
                    wrong.append(f"{template.name} {name}")
        none(wrong)
    for name, cases in [("member", MEMBER_EVENTS), ("management", ACCOUNT_EVENTS)]:
        with say.check(f"the rules of {name}.yaml forward the needed events once, to the right queue, and nothing else"):
            wrong = []
            rules = patterns(templates[name], member)
            forward = patterns(templates["regional"], {}, "EventBusName")
            # The home bus tells events of the central account from those of members.
            home = patterns(templates["central"], {"AWS::AccountId": "444455556666"}, "EventBusName")
            for needed, event in cases:
                sent = sum(matches(pattern, event) for pattern in rules.values())
                name_of = f"{event['detail'].get('eventName', event['detail'].get('stack-id'))} {event['detail-type']}"
                if sent != int(needed):
                    wrong.append(f"{name_of}: {sent} rules match, expected {int(needed)}")
                arrives = [rule for rule, pattern in home.items() if matches(pattern, event)]
                if needed and not (all(matches(pattern, event) for pattern in forward.values()) and len(arrives) == 1):
                    wrong.append(f"{name_of}: must match one rule of the home bus, but matches {arrives}")
                if needed and (arrives == ["AccountEventsRule"]) != (name == "management"):
                    wrong.append(f"{name_of}: ends in {arrives}")
            none(wrong)
    with say.check("rules on the central account's default bus target the home bus, and rules of other accounts do not"):
        wrong = []
        for name in ("member", "management"):
            for rule, resource in templates[name].of_type("AWS::Events::Rule"):
                for account, region in [("111122223333", "us-east-1"), ("444455556666", "eu-west-1")]:
                    values = {**member, "AWS::AccountId": account, "AWS::Region": "us-east-1"}
                    arn = templates[name].render(resource["Properties"]["Targets"], values)[0]["Arn"]
                    if arn != f"arn:aws:events:{region}:444455556666:event-bus/vpc-flow-logs-enroller":
                        wrong.append(f"{name} {rule} in {account}: {arn}")
        none(wrong)


def patterns(template: Template, values: dict[str, str], having: str = "Name") -> dict[str, dict]:
    """The patterns of the rules that have this property. Those on the default bus have no EventBusName."""
    known = {key: value for key, value in values.items() if key in template.parameters or key.startswith("AWS::")}
    rules = ((name, rule["Properties"].get("EventPattern")) for name, rule in template.of_type("AWS::Events::Rule")
             if having in rule["Properties"])
    return {name: template.render(pattern, known) for name, pattern in rules if pattern}


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--write-contract"]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    end_after(600)
    say = Sentences()
    templates = {name: Template(name) for name in [*NAMES, *OPTIONAL]}
    if arguments:
        contract.write(templates.values())
        return 0
    linters(say, list(templates.values()))
    with say.check("templates fit in a request, or in a bucket"):
        sizes = {name: len(template.text.encode()) for name, template in templates.items()}
        none([f"{name}: {size}" for name, size in sizes.items() if size > (MAX_OBJECT if name == "central" else MAX_BODY)])
    contract.contract(say, templates.values())
    versions(say)
    parameters(say, list(templates.values()))
    policies(say, list(templates.values()))
    permissions(say, list(templates.values()))
    functions(say, templates["central"])
    alarms(say, templates)
    contents(say, templates["central"])
    evidence(say, templates["central"], templates["member"])
    guardrails(say, templates["guardrails/guardrails"])
    events(say, templates)
    scripts(say, {name: templates[name] for name in NAMES})
    configurations(say, templates)
    return say.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
