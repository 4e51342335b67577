"""A moto server as a subprocess, with an organization in it."""

from __future__ import annotations

import collections
import json
import re
import subprocess
import sys
import threading

import boto3

from common.organization_state import DESTINATION
from common.simulated_aws import CannotStart, Keys, client_for, forget_ambient_settings

# For moto, keys that did not come from AssumeRole belong to this account.
CALLER = "123456789012"
HOME = "eu-west-1"
REGIONS = [HOME, "us-east-1"]
STREAM = "vpc-flow-logs"
DESTINATION_ROLE = "VPCFlowLogsDestinationRole"


class MotoAws:
    """One moto server. Leaving the context stops it."""

    def __enter__(self) -> MotoAws:
        forget_ambient_settings()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            self._read_endpoint()
        except BaseException:
            self.__exit__()
            raise
        self.caller = Keys(CALLER, "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
        self._keys = {CALLER: self.caller}
        self._clients: dict = {}
        self._lock = threading.RLock()
        self._session = boto3.Session()
        return self

    def _read_endpoint(self) -> None:
        said = []
        for line in self._process.stderr:
            said.append(line)
            found = re.search(r"Running on (http://127\.0\.0\.1:\d+)", line)
            if found:
                self.endpoint = found[1]
                # moto writes a line for each call, and would block on a full pipe.
                drain = threading.Thread(target=collections.deque, args=(self._process.stderr, 0), daemon=True)
                drain.start()
                return
        raise CannotStart(f"the moto server did not start: {''.join(said)[-2_000:]}")

    def __exit__(self, *_) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def client(self, service: str, account: str = CALLER, region: str = HOME):
        """A client in an account. For other accounts than the caller's it uses AssumeRole, as moto requires."""
        with self._lock:
            found = self._clients.get((service, account, region))
            if found is None:
                found = client_for(self._session, self.endpoint, service, self._keys_of(account), region)
                self._clients[service, account, region] = found
            return found

    def _keys_of(self, account: str) -> Keys:
        if account not in self._keys:
            # moto always allows this, even if the role does not exist.
            role = f"arn:aws:iam::{account}:role/OrganizationAccountAccessRole"
            answer = self.client("sts").assume_role(RoleArn=role, RoleSessionName="prepare")
            self._keys[account] = Keys.from_assume_role(account, answer["Credentials"])
        return self._keys[account]

    # --- what an organization has before the first run ---

    def make_organization(self, members: int) -> None:
        """Creates members in the root, in an OU and in a nested OU in turn, and one closed account."""
        client = self.client("organizations")
        self.organization = client.create_organization(FeatureSet="ALL")["Organization"]["Id"]
        root = client.list_roots()["Roots"][0]["Id"]
        self.upper = client.create_organizational_unit(ParentId=root, Name="workloads")["OrganizationalUnit"]["Id"]
        lower = client.create_organizational_unit(ParentId=self.upper, Name="production")["OrganizationalUnit"]["Id"]

        def make(name: str) -> str:
            answer = client.create_account(AccountName=name, Email=f"{name}@example.com")
            return answer["CreateAccountStatus"]["AccountId"]

        self.members = [make(f"member-{number}") for number in range(members)]
        for number, account in enumerate(self.members):
            unit = [root, self.upper, lower][number % 3]
            if unit != root:
                client.move_account(AccountId=account, SourceParentId=root, DestinationParentId=unit)
        self.closed = make("closed")
        client.close_account(AccountId=self.closed)
        self.accounts = [CALLER, *self.members]

    def make_central_resources(self) -> dict[str, str]:
        """Creates what the central stacks create, and returns the settings for it."""
        trust = {"Effect": "Allow", "Principal": {"Service": "logs.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        made = self.client("iam").create_role(RoleName=DESTINATION_ROLE, AssumeRolePolicyDocument=document)
        role = made["Role"]["Arn"]
        bucket = f"{STREAM}-{CALLER}"
        self.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": HOME})
        to = {"RoleARN": role, "BucketARN": f"arn:aws:s3:::{bucket}"}
        stream = self.client("firehose").create_delivery_stream(
            DeliveryStreamName=STREAM, ExtendedS3DestinationConfiguration=to
        )["DeliveryStreamARN"]
        for region in REGIONS:
            # For a filter to a destination, moto requires a log group of that name.
            self.client("logs", region=region).create_log_group(logGroupName=DESTINATION)
        return {
            "ENROLLER_CENTRAL_ACCOUNT": CALLER,
            "ENROLLER_ORGANIZATION_ID": self.organization,
            "ENROLLER_HOME_REGION": HOME,
            "ENROLLER_REGIONS": ",".join(REGIONS),
            "ENROLLER_DESTINATION_TARGET_ARN": stream,
            "ENROLLER_DESTINATION_ROLE_ARN": role,
            # So that moto also checks the enroller's own IAM calls.
            "ENROLLER_DELIVERY_ROLE_MAKER": "enroller",
            "ENROLLER_EXTERNAL_ID": "external-id-of-the-test",
        }
