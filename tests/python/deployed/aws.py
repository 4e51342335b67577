"""The two AWSes of the deployed test: ministack, which runs what the templates create, and the simulated AWS.

ministack has CloudFormation, S3, Lambda, SQS and EventBridge. Calls of the functions and the operator to EC2, CloudWatch
Logs, STS, IAM and Organizations go to `enroller sim`, which rejects what AWS rejects there. Both have the same accounts
and the same sessions of the functions' roles.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import boto3

from common.answer_model import AnswerModel
from common.simulated_aws import HOME, CannotStart, Keys, SimulatedAws, client_for

# Maximum time, in seconds, for anything that goes through queues and functions. The retry of a message for an account
# that was not ready comes after 30 seconds.
PATIENCE_S = 120
# Names of the services in the SDKs' settings (AWS SDKs and Tools reference guide, "Service-specific endpoints").
SIMULATED = ["EC2", "CLOUDWATCH_LOGS", "STS", "IAM", "ORGANIZATIONS"]


class DeployedAws:
    """Starts and stops both together."""

    def __init__(self, binary: str, accounts: int, vpcs: int, settings: tuple[str, ...] = ()):
        self.sim = SimulatedAws(binary, AnswerModel(), accounts, vpcs, settings=settings)
        self._session = boto3.Session()
        self._clients: dict = {}
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> DeployedAws:
        self.sim.__enter__()
        try:
            self.central = self.sim.central.account
            self.management = self.sim.management.account
            self.accounts = sorted({*self.sim.members, self.central, self.management})
            self._folder = tempfile.TemporaryDirectory(prefix="ministack-")
            self.log = Path(self._folder.name, "ministack.log")
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            **self.endpoints(),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_REGION": HOME,
            # Roles on ministack can then do only what the templates' policies allow.
            "AUTH": "true",
            "PEOPLE": json.dumps({account: asdict(self.keys(account)) for account in self.accounts}),
            "FUNCTION_ROLES": json.dumps(self.sim.ready["function_roles"]),
            "TMPDIR": self._folder.name,
            "S3_DATA_DIR": str(Path(self._folder.name, "s3")),
        }
        launcher = Path(__file__).with_name("ministack_server.py")
        with self.log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen([sys.executable, launcher], env=environment, stdout=log, stderr=log)
        wait_until(self._answers, "ministack answers", 60)

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise CannotStart(f"ministack ended during its start:\n{self.log.read_text(encoding='utf-8')[-3_000:]}")
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=5):
                return True
        except OSError:
            return False

    def __exit__(self, *_) -> None:
        try:
            if self._process is not None:
                self._process.terminate()
                try:
                    self._process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
        finally:
            self.sim.stop()

    def mutating_calls(self) -> int:
        """The number of calls so far that changed something on the simulated AWS."""
        with urllib.request.urlopen(f"{self.sim.endpoint}/_sim/stats", timeout=10) as answer:
            return json.load(answer)["mutating"]

    def log_tail(self) -> str:
        """The last lines of ministack's log, which includes the functions' log lines."""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-60:])

    def endpoints(self) -> dict[str, str]:
        """Environment variables that give every SDK the endpoint of each service."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            **{f"AWS_ENDPOINT_URL_{service}": self.sim.endpoint for service in SIMULATED},
        }

    def environment(self, account: str) -> dict[str, str]:
        """The environment of a person with all permissions in an account."""
        keys = self.keys(account)
        return {
            **os.environ,
            **self.endpoints(),
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            "AWS_REGION": HOME,
            "AWS_DEFAULT_REGION": HOME,
        }

    def keys(self, account: str) -> Keys:
        """The keys of a person with all permissions in an account of the simulated AWS. They contain the account id."""
        central = self.sim.central
        return Keys(account, central.access_key_id.replace(central.account, account), central.secret_access_key)

    def simulated(self, service: str, account: str, region: str = HOME):
        """A client of the simulated AWS."""
        return self.sim.client(service, self.keys(account), region)

    def deployed(self, service: str, account: str, region: str = HOME):
        """A client of ministack."""
        key = (service, account, region)
        if key not in self._clients:
            self._clients[key] = client_for(self._session, self.endpoint, service, self.keys(account), region)
        return self._clients[key]

    def as_function(self, role: str, service: str):
        """A client of ministack with a function's session of its role."""
        keys = self.sim.ready["function_roles"][role]
        return client_for(self._session, self.endpoint, service, Keys(self.central, **keys), HOME)


def free_port() -> int:
    """A free port. If another process takes it first, ministack ends with an error."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(done: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Polls until the condition holds."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"timed out after {seconds} seconds, waiting until {what}"
        time.sleep(0.2)


def wait_for_none(problems: Callable[[], list[str]], seconds: float = PATIENCE_S) -> None:
    """Polls until there are no problems. After the timeout, it fails with those that are left."""
    end = time.monotonic() + seconds
    while found := problems():
        assert time.monotonic() < end, f"after {seconds} seconds, the number of problems is still {len(found)}: {'; '.join(found[:5])}"
        time.sleep(0.2)
