"""Runs the binary against an endpoint that acts as AWS."""

from __future__ import annotations

import os
import re
import subprocess

from common.simulated_aws import Keys

LIMIT_S = 90


class Enroller:
    """The binary with the credentials of the central account and the settings of an installation."""

    def __init__(self, binary: str, endpoint: str, keys: Keys, region: str, settings: dict[str, str]):
        self.binary = os.path.abspath(binary)
        self.environment = {
            **os.environ,
            # Some VPCs of these scripts opt out with their tag.
            "ENROLLER_NARROWING_TAGS": "followed",
            **settings,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            "AWS_REGION": region,
        }

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess:
        """Runs a command and waits for it. `settings` are further environment variables."""
        return subprocess.run(
            [self.binary, *arguments],
            env={**self.environment, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen:
        """Starts a command. The caller waits for it."""
        return subprocess.Popen(
            [self.binary, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def ended_with(done: subprocess.CompletedProcess, code: int) -> None:
    assert done.returncode == code, f"it ends with {done.returncode}, not {code}:\n{done.stdout}{done.stderr}"


def figure(text: str, what: str) -> int:
    """A number from the table of outcomes."""
    found = re.search(rf"{what}\s+(\d+)", text)
    assert found, f"there is no {what!r} in:\n{text}"
    return int(found[1])
