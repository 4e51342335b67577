"""Checks of infra/guardrails and of the printed bucket policy: sizes, and the grammar by a tool of others. Part of check_templates.py.

What the policies deny is tested on the simulated AWS: tests/scenarios/tests/guardrails.rs.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import parliament

from common.sentences import Sentences, none
from templates.template_model import INFRA, Template

# AWS Organizations, "Quotas": characters of a service control policy and of a resource control policy.
MAX_POLICY = 5_120
# Actions that parliament 1.6.4 does not know yet. botocore's model has them.
NEW_ACTIONS = {"logs:PutLogGroupDeletionProtection"}
LONGEST = {
    "OrganizationId": "o-" + "x" * 32, "LogGroupName": "/aws/vpc/" + "x" * 90, "MemberStackName": "x" * 91, "MemberRoleName": "m" * 64,
    "DeliveryRoleName": "d" * 64, "FilterRoleName": "f" * 64, "OwnershipTagValue": "v" * 64, "OptOutTag": "x" * 64 + "=off",
    "TrafficTypeTag": "t" * 64, "GuardrailExemptRole": "aws-reserved/sso.amazonaws.com/*", "GuardrailBucket": "b" * 63,
    "GuardrailAccountPolicies": "true",
}


def guardrails(say: Sentences, template: Template) -> None:
    def policy(name: str, **values: str) -> dict:
        return template.render(template.resources[name]["Properties"]["Content"], {"OrganizationId": "o-exampleorg1", **values})

    names = ["ServiceControlPolicy", "ResourceControlPolicy"]
    with say.check("the guard rails fit in 5,120 characters, also with long names"):
        sizes = {name: len(json.dumps(policy(name, **LONGEST), separators=(",", ":"))) for name in names}
        none([f"{name}: {size}" for name, size in sizes.items() if size > MAX_POLICY])
    with say.check("parliament finds no mistake in the guard rails, and finds a planted one"):
        wrong = []
        for name in names:
            for values in ({}, LONGEST):
                found = parliament.analyze_policy_string(json.dumps(policy(name, **values)), ignore_private_auditors=True).findings
                wrong += [f"{name}: {finding.issue} {finding.detail}" for finding in found
                          if not any(action in str(finding.detail) for action in NEW_ACTIONS)]
        none(wrong)
        planted = json.dumps(policy(names[0])).replace("ec2:DeleteFlowLogs", "ec2:DeleteFlowLog")
        assert parliament.analyze_policy_string(planted, ignore_private_auditors=True).findings
    with say.check("the guard rails only deny, and every statement but the one about leaving exempts our roles by ARN"):
        for name in names:
            for statement in policy(name, GuardrailExemptRole="BreakGlass", GuardrailAccountPolicies="true")["Statement"]:
                assert statement["Effect"] == "Deny", statement
                exempt = [values["aws:PrincipalArn"] for operator, values in statement.get("Condition", {}).items() if operator.startswith("ArnNotLike")]
                assert exempt and "arn:aws:iam::*:role/BreakGlass" in exempt[0] or statement["Sid"] in ("Leave", "OrganizationOnly"), statement
                none([f"{statement['Sid']} exempts {arn}" for arns in exempt for arn in arns if arn.endswith("role/*")])
    with say.check("infra/deploy bucket-policy prints a policy without mistakes, which lets only the stream's role write, and nobody delete"):
        statements = {statement["Sid"]: statement for statement in printed_bucket_policy()["Statement"]}
        allowed = [statement for statement in statements.values() if statement["Effect"] == "Allow"]
        role = "arn:aws:iam::210987654321:role/vpc-flow-logs-enroller-central-StreamRole-*"
        assert allowed and all(statement["Condition"] == {"ArnLike": {"aws:PrincipalArn": role}} for statement in allowed)
        assert "s3:DeleteObject" in statements["VpcFlowLogsLifecycleOnly"]["Action"]
        found = parliament.analyze_policy_string(json.dumps(printed_bucket_policy()), ignore_private_auditors=True).findings
        none([f"{finding.issue} {finding.detail}" for finding in found])


def printed_bucket_policy() -> dict:
    values = {"CENTRAL_ACCOUNT": "210987654321", "MANAGEMENT_ACCOUNT": "123456789012", "HOME_REGION": "eu-west-1", "TARGETS": "r-ab12",
              "OrganizationId": "o-a1b2c3d4e5", "ExternalId": "0123456789abcdef", "EnrolledRegions": "eu-west-1", "ExistingBucketName": "log-archive"}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "installation.env"
        config.write_text("".join(f"{key}={value}\n" for key, value in values.items()), encoding="utf-8")
        done = subprocess.run([INFRA / "deploy", "--config", config, "bucket-policy"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout[done.stdout.index("{"):])
