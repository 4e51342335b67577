"""The simulated AWS as a subprocess, and clients for its accounts."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from common.answer_model import AnswerModel
from common.sentences import equal as equal

# Enough for three pages of ListAccounts. The last page is not full.
ACCOUNTS = 45
# More than the smallest page size of DescribeVpcs, which is 5.
VPCS = 6
HOME = "eu-west-1"
GLOBAL = "us-east-1"
REGIONS = [HOME, GLOBAL]


class CannotStart(Exception):
    """The simulated AWS did not start."""


@dataclass(frozen=True)
class Keys:
    """An access key, or the credentials of a session."""

    account: str
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    @staticmethod
    def from_assume_role(account: str, credentials: dict) -> Keys:
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        return Keys(account, *(credentials[name] for name in names))


class SimulatedAws:
    """One simulated AWS with the enroller installed. Leaving the context stops it."""

    def __init__(
        self,
        binary: str,
        answers: AnswerModel,
        accounts: int = ACCOUNTS,
        vpcs: int = VPCS,
        latency_ms: int = 0,
        settings: tuple[str, ...] = (),
    ):
        self.binary = binary
        self.answers = answers
        self.size = ["--accounts", str(accounts), "--vpcs", str(vpcs), "--latency-ms", str(latency_ms)]
        self.size += [word for setting in settings for word in ("--set", setting)]
        self._process: subprocess.Popen | None = None
        self._clients: dict = {}
        self._clients_lock = threading.Lock()
        self._numbers = itertools.count(1)

    def __enter__(self) -> SimulatedAws:
        forget_ambient_settings()
        options = ["--listen", "127.0.0.1:0", "--installed", "--regions", ",".join(REGIONS)]
        command = [self.binary, "sim", *options, *self.size]
        try:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            raise CannotStart(f"cannot run {self.binary}: {error}") from error
        try:
            self._read_first_line()
        except BaseException:
            self.stop()
            raise
        return self

    def _read_first_line(self) -> None:
        line = self._process.stdout.readline()
        try:
            self.ready = json.loads(line)
        except ValueError as error:
            raise CannotStart(f"{self.binary} sim did not print a line of JSON first: {line!r}") from error
        self.endpoint = self.ready["endpoint"]
        self.organization = self.ready["organization_id"]
        self.management = _keys(self.ready["management_account"])
        self.central = _keys(self.ready["central_account"])
        self.member_role = self.ready["member_role"]
        self.external_id = self.ready["external_id"]
        self.environment = self.ready["environment"]
        special = {self.management.account, self.central.account}
        self.members = [account for account in self.ready["member_accounts"] if account not in special]
        self._unused = iter(self.members)
        session = botocore.session.get_session()
        session.register("before-parse", self.answers.compare)
        self._session = boto3.Session(botocore_session=session)

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> int:
        """Interrupts it, as an operator does, and returns its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._process.stdout.close()

    def number(self) -> int:
        """A number for names that no other check uses."""
        return next(self._numbers)

    def fresh_member(self) -> str:
        """A member account that no other check uses."""
        return next(self._unused)

    def client(self, service: str, keys: Keys, region: str = HOME):
        """A client that validates its parameters and never retries, so that a retry cannot hide an error."""
        # Threads can share clients, but not sessions.
        with self._clients_lock:
            found = self._clients.get((service, keys, region))
            if found is None:
                found = client_for(self._session, self.endpoint, service, keys, region)
                self._clients[service, keys, region] = found
            return found

    def role_arn(self, account: str) -> str:
        """The role that the enroller assumes in a member account."""
        return f"arn:aws:iam::{account}:role/{self.member_role}"

    def administrator_arn(self, account: str) -> str:
        """The role that Organizations creates in the accounts it creates."""
        return f"arn:aws:iam::{account}:role/OrganizationAccountAccessRole"

    def in_member(self, account: str, session_name: str = "drive-sim") -> Keys:
        """Credentials of an administrator of a member account, obtained from the management account."""
        if account == self.management.account:
            return self.management
        answer = self.client("sts", self.management).assume_role(
            RoleArn=self.administrator_arn(account), RoleSessionName=session_name
        )
        return Keys.from_assume_role(account, answer["Credentials"])


def client_for(session: boto3.Session, endpoint: str, service: str, keys: Keys, region: str):
    """A client that validates its parameters and never retries."""
    return session.client(
        service,
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token,
        config=Config(parameter_validation=True, retries={"total_max_attempts": 1}, read_timeout=20),
    )


def _keys(value: dict) -> Keys:
    return Keys(value["id"], value["access_key_id"], value["secret_access_key"])


def forget_ambient_settings() -> None:
    """Keeps profiles, proxies and settings of the machine away from the clients and the binary."""
    ambient = [name for name in os.environ if name.startswith(("AWS_", "ENROLLER_")) or name.lower().endswith("_proxy")]
    for name in ambient:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


@contextmanager
def refused(code: str, message: str | None = None):
    """Expects an error with this code from the call inside. `message` is a regular expression for the whole message."""
    try:
        yield
    except ClientError as error:
        actual = error.response["Error"]
        assert actual["Code"] == code, f"failed with {actual['Code']}: {actual['Message']}, not with {code}"
        if message is not None:
            fits = re.fullmatch(message, actual["Message"], re.DOTALL)
            assert fits, f"the message of {code} is {actual['Message']!r}, not {message!r}"
        assert error.response["ResponseMetadata"]["RequestId"], "an error has a request id"
    else:
        raise AssertionError(f"it succeeded and did not fail with {code}")
