"""The two AWSs of the deployed test: ministack, which runs what the templates make, and the simulated AWS.

On ministack are CloudFormation, S3, Lambda, SQS and EventBridge; the functions' and the operator's calls to EC2,
CloudWatch Logs, STS, IAM and Organizations go to `enroller sim`, which knows what AWS refuses there. Both have the same
accounts, and a function's session of its role is the same in both.
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

# How long anything may take that goes through queues and functions, in seconds. A message that was refused once by an
# account that is not ready comes back after 30.
PATIENCE_S = 120
# By the names that the SDKs read (AWS SDKs and Tools reference guide, "Service-specific endpoints").
SIMULATED = ["EC2", "CLOUDWATCH_LOGS", "STS", "IAM", "ORGANIZATIONS"]


class DeployedAws:
    """Both, started and stopped together."""

    def __init__(self, binary: str, accounts: int, vpcs: int):
        self.sim = SimulatedAws(binary, AnswerModel(), accounts, vpcs)
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
            # Roles may then do on ministack what the templates' policies let them, and no more.
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
            raise CannotStart(f"ministack ends at once:\n{self.log.read_text(encoding='utf-8')[-3_000:]}")
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
        """The calls so far that changed something on the simulated AWS."""
        with urllib.request.urlopen(f"{self.sim.endpoint}/_sim/stats", timeout=10) as answer:
            return json.load(answer)["mutating"]

    def log_tail(self) -> str:
        """The last lines that ministack wrote, which has the functions' own among them."""
        return "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-60:])

    def endpoints(self) -> dict[str, str]:
        """Environment variables that lead every SDK to where a service is."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            **{f"AWS_ENDPOINT_URL_{service}": self.sim.endpoint for service in SIMULATED},
        }

    def environment(self, account: str) -> dict[str, str]:
        """Of a person with all rights in an account."""
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
        """The keys of a person with all rights in an account of the simulated AWS: the account stands in them."""
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
    """A port that nobody listens on; somebody else may be quicker, and then ministack ends and says so."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(done: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    """Asks again and again until it is so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not within {seconds} seconds: {what}"
        time.sleep(0.2)


def wait_for_none(problems: Callable[[], list[str]], seconds: float = PATIENCE_S) -> None:
    """Asks again and again until nothing is wrong; then tells what is."""
    end = time.monotonic() + seconds
    while found := problems():
        assert time.monotonic() < end, f"still after {seconds} seconds, {len(found)}: {'; '.join(found[:5])}"
        time.sleep(0.2)
