"""The AWS CLI, with a profile that assumes the member role by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager

from common.simulated_aws import ACCOUNTS, HOME, SimulatedAws, equal


class Cli:
    """The AWS CLI with the profiles `central`, `enroller` and `member`, an administrator of the member account."""

    def __init__(self, aws: SimulatedAws, account: str, folder: str):
        self.account = account
        self.endpoint = aws.endpoint
        self.folder = folder
        config = os.path.join(folder, "config")
        with open(config, "w", encoding="utf-8") as file:
            file.write(
                f"[profile central]\nregion = {HOME}\naws_access_key_id = {aws.central.access_key_id}\n"
                f"aws_secret_access_key = {aws.central.secret_access_key}\n\n"
                f"[profile management]\nregion = {HOME}\naws_access_key_id = {aws.management.access_key_id}\n"
                f"aws_secret_access_key = {aws.management.secret_access_key}\n\n"
                f"[profile enroller]\nregion = {HOME}\nsource_profile = central\nrole_arn = {aws.role_arn(account)}\n"
                f"external_id = {aws.external_id}\nrole_session_name = drive-sim-cli\n\n"
                f"[profile member]\nregion = {HOME}\nsource_profile = management\n"
                f"role_arn = {aws.administrator_arn(account)}\nrole_session_name = drive-sim-cli\n"
            )
        # HOME keeps the cache of sessions out of the user's home directory.
        self.environment = {
            **os.environ,
            "AWS_CONFIG_FILE": config,
            # For the profile's AssumeRole call. For SQS, the AWS CLI v1 needs the flag.
            "AWS_ENDPOINT_URL": aws.endpoint,
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
            "HOME": folder,
        }

    def run(self, profile: str, *arguments: str) -> subprocess.CompletedProcess:
        general = ["--endpoint-url", self.endpoint, "--profile", profile, "--output", "json"]
        command = [sys.executable, "-m", "awscli", *general, *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30, check=False)

    def __call__(self, profile: str, *arguments: str):
        """Runs a command that must succeed, and returns its parsed output, or None without output."""
        done = self.run(profile, *arguments)
        assert done.returncode == 0, f"aws {' '.join(arguments)} failed: {done.stderr.strip()}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refused(self, code: str, profile: str, *arguments: str) -> None:
        done = self.run(profile, *arguments)
        assert done.returncode not in (0, 2), f"aws {' '.join(arguments)} ended with {done.returncode}: {done.stderr}"
        assert f"({code})" in done.stderr, f"aws {' '.join(arguments)} reported {done.stderr.strip()}, not {code}"

    def file(self, name: str, value) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(value, file)
        return f"file://{path}"


@contextmanager
def _cli(aws: SimulatedAws):
    with tempfile.TemporaryDirectory(prefix="drive-sim-") as folder:
        yield Cli(aws, aws.fresh_member(), folder)


def the_cli_assumes_a_members_role_by_its_profile(aws: SimulatedAws):
    with _cli(aws) as cli:
        identity = cli("enroller", "sts", "get-caller-identity")
        equal(identity["Account"], cli.account)
        equal(identity["Arn"], f"arn:aws:sts::{cli.account}:assumed-role/{aws.member_role}/drive-sim-cli")


def the_cli_lists_all_pages_of_accounts(aws: SimulatedAws):
    with _cli(aws) as cli:
        listed = cli("central", "organizations", "list-accounts")
        equal(len(listed["Accounts"]), ACCOUNTS)


def the_cli_covers_a_vpc_and_subscribes_its_log_group(aws: SimulatedAws):
    with _cli(aws) as cli:
        account, group = cli.account, "vpc-flow-logs"
        owner = f"Name=owner-id,Values={account}"
        vpc_ids = cli("member", "ec2", "describe-vpcs", "--filters", owner, "--query", "Vpcs[].VpcId")
        cli("member", "logs", "create-log-group", "--log-group-name", group, "--tags", "managed-by=drive-sim")
        cli("member", "logs", "put-retention-policy", "--log-group-name", group, "--retention-in-days", "30")
        destination_arn = aws.ready["destinations"][HOME]
        name = destination_arn.rsplit(":", 1)[-1]
        put_filter = [
            "logs", "put-subscription-filter", "--log-group-name", group, "--filter-name", "AllTraffic",
            "--filter-pattern", "", "--destination-arn", destination_arn,
        ]
        cli.refused("AccessDeniedException", "member", *put_filter)
        document = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": [account]}, "Action": "logs:PutSubscriptionFilter",
            "Resource": destination_arn,
        }]}
        cli("central", "logs", "put-destination-policy", "--destination-name", name,
            "--access-policy", cli.file("policy.json", document))
        described = cli("central", "logs", "describe-destinations", "--destination-name-prefix", name)
        equal(json.loads(described["destinations"][0]["accessPolicy"]), document)
        cli("member", *put_filter)
        made = cli(
            "member", "ec2", "create-flow-logs", "--resource-type", "VPC", "--resource-ids", *vpc_ids,
            "vpc-0123456789abcdef0", "--traffic-type", "ALL", "--log-group-name", group,
            "--deliver-logs-permission-arn", f"arn:aws:iam::{account}:role/VpcFlowLogsEnrollerDelivery",
            "--tag-specifications", "ResourceType=vpc-flow-log,Tags=[{Key=managed-by,Value=drive-sim}]",
        )
        equal(len(made["FlowLogIds"]), len(vpc_ids))
        equal([failure["Error"]["Code"] for failure in made["Unsuccessful"]], ["InvalidVpcID.NotFound"])
        filters = f"Name=log-group-name,Values={group}"
        seen = cli("member", "ec2", "describe-flow-logs", "--filter", filters, "--page-size", "5")
        equal({log["ResourceId"] for log in seen["FlowLogs"]}, set(vpc_ids))


def the_cli_reads_the_delivery_role(aws: SimulatedAws):
    with _cli(aws) as cli:
        role = cli("member", "iam", "get-role", "--role-name", "VpcFlowLogsEnrollerDelivery")["Role"]
        statement = role["AssumeRolePolicyDocument"]["Statement"][0]
        equal(statement["Principal"], {"Service": "vpc-flow-logs.amazonaws.com"})
        cli.refused("NoSuchEntity", "member", "iam", "get-role", "--role-name", "Nobody")


def the_cli_sends_and_receives_messages(aws: SimulatedAws):
    with _cli(aws) as cli:
        queue = cli("member", "sqs", "create-queue", "--queue-name", "mine")["QueueUrl"]
        cli("member", "sqs", "send-message", "--queue-url", queue, "--message-body", "from the command line")
        received = cli("member", "sqs", "receive-message", "--queue-url", queue)
        equal([message["Body"] for message in received["Messages"]], ["from the command line"])
