"""Prepares infra/ for ministack: templates without the resource types that it rejects, zips, and a configuration.

The scripts run from a copy of infra/, so they deploy the copy's templates. Everything else in the copy is unchanged.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from common.simulated_aws import HOME, REGIONS, equal
from deployed.aws import DeployedAws, wait_until

ROOT = Path(__file__).resolve().parents[3]
NAMES = ["vpc-enroller", "account-onboarder", "backfill"]
CENTRAL_STACK = "vpc-flow-logs-enroller-central"
REGIONAL_STACK = "vpc-flow-logs-enroller-regional"
MANAGEMENT_STACK = "vpc-flow-logs-enroller-management"
MEMBER_STACK = "vpc-flow-logs-enroller-member"


@dataclass(frozen=True)
class LeftOut:
    """Resources that ministack rejects, and what is not tested for that reason."""

    what: str
    # Lines that identify such a resource in a template.
    marks: tuple[str, ...]
    # An example that ministack must reject. If it does not, the resources need not be left out.
    example: dict
    untested: str


LEFT_OUT = [
    LeftOut(
        "bus policies", ("    Type: AWS::Events::EventBusPolicy",), {"Type": "AWS::Events::EventBusPolicy"},
        "which principals can send events to the buses: ministack allows all",
    ),
    LeftOut(
        "saved queries", ("    Type: AWS::Athena::NamedQuery",), {"Type": "AWS::Athena::NamedQuery"},
        "the queries, but not the workgroup and the table",
    ),
    LeftOut(
        "composite alarms", ("    Type: AWS::CloudWatch::CompositeAlarm",),
        {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": {"AlarmRule": "TRUE"}},
        "these alarms, but not those that they are made of",
    ),
]

# Only earlier templates have such alarms.
METRIC_MATH = LeftOut("alarms with metric math", ("    Type: AWS::CloudWatch::Alarm", "      Metrics:"), {}, "these alarms, but not the others")

# The glibc version of Amazon Linux 2023, the base of provided.al2023.
GLIBC = (2, 34)


class Infra:
    """A copy of infra/ with zips and a configuration."""

    def __init__(self, aws: DeployedAws, zips: Path, source: Path = ROOT / "infra", left_out: "list[LeftOut] | None" = None, **settings: str):
        self.aws = aws
        self._folder = tempfile.TemporaryDirectory(prefix="deployed-")
        self.root = Path(self._folder.name)
        self.infra = self.root / "infra"
        shutil.copytree(source, self.infra, ignore=shutil.ignore_patterns("installation.env"))
        self.left_out = [name for template in self.infra.glob("*.yaml") for name in leave_out(template, left_out or LEFT_OUT)]
        (self.root / "dist").mkdir()
        for name in NAMES:
            (self.root / "dist" / f"{name}.zip").symlink_to(zips.resolve() / f"{name}.zip")
        self.settings = {
            "CENTRAL_ACCOUNT": aws.central,
            "MANAGEMENT_ACCOUNT": aws.management,
            "HOME_REGION": HOME,
            "TARGETS": "r-exam",
            "OrganizationId": aws.sim.organization,
            "ExternalId": aws.sim.external_id,
            "EnrolledRegions": ",".join(REGIONS),
            "Architecture": architecture(),
            **settings,
        }

    def run(self, script: str, account: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess:
        """Runs infra/deploy or infra/uninstall as a person in the account. `changes` override the configuration."""
        config = self.root / "installation.env"
        lines = [f"{key}={value}\n" for key, value in {**self.settings, **changes}.items()]
        config.write_text("".join(lines), encoding="utf-8")
        # The AWS CLI from this Python's environment.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [self.infra / script, "--config", config, *arguments],
            env={**self.aws.environment(account), "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def deploy(self, account: str, *steps: str) -> str:
        """Runs infra/deploy, which must succeed."""
        done = self.run("deploy", account, *steps)
        assert done.returncode == 0, f"infra/deploy {' '.join(steps)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    @functools.cache
    def member_parts(self) -> dict[str, list[dict[str, str]]]:
        """The StackSets that infra/deploy creates, with their parameters, in order."""
        parts = {}
        for line in self.deploy(self.aws.central, "--dry-run", "members").splitlines():
            words = shlex.split(line) if line.startswith("+ aws cloudformation create-stack-set ") else []
            if "--parameters" in words:
                parts[words[words.index("--stack-set-name") + 1]] = json.loads(words[words.index("--parameters") + 1])
        return parts

    def deploy_member(self, account: str, parts: "dict[str, list[dict[str, str]]] | None" = None, places: list[str] = REGIONS) -> None:
        """Creates the member stacks of one account, as the StackSets do: the roles in one Region, and then the rules in all."""
        for name, parameters in (parts or self.member_parts()).items():
            for region in [HOME] if name.endswith("-roles") else places:
                client = self.aws.deployed("cloudformation", account, region)
                client.create_stack(
                    StackName=instance_of(name), TemplateBody=(self.infra / "member.yaml").read_text(encoding="utf-8"),
                    Parameters=parameters, Capabilities=["CAPABILITY_NAMED_IAM"],
                )
                equal(settled(client, instance_of(name)), "CREATE_COMPLETE")

    def update_member(self, account: str, parameters: list[dict[str, str]], region: str) -> None:
        """Updates a member stack that has roles and rules."""
        client = self.aws.deployed("cloudformation", account, region)
        client.update_stack(
            StackName=instance_of(MEMBER_STACK), TemplateBody=(self.infra / "member.yaml").read_text(encoding="utf-8"),
            Parameters=parameters, Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        equal(settled(client, instance_of(MEMBER_STACK)), "UPDATE_COMPLETE")

    def delete_member(self, account: str) -> None:
        """Deletes the member stacks of one account in the opposite order."""
        for name, regions in ((MEMBER_STACK, REGIONS), (f"{MEMBER_STACK}-roles", [HOME])):
            for region in regions:
                client = self.aws.deployed("cloudformation", account, region)
                arn = client.describe_stacks(StackName=instance_of(name))["Stacks"][0]["StackId"]
                client.delete_stack(StackName=instance_of(name))
                equal(settled(client, arn), "DELETE_COMPLETE")


def instance_of(stack_set: str) -> str:
    """A StackSet names its stacks like this."""
    return f"StackSet-{stack_set}-00000000-0000-4000-8000-000000000001"


def settled(client, name: str) -> str:
    """Waits for a stack operation, and returns the final status."""

    def status() -> str:
        return client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]

    wait_until(lambda: not status().endswith("_IN_PROGRESS"), f"the stack {name} is done")
    return status()


def leave_out(template: Path, left_out: list[LeftOut]) -> list[tuple[LeftOut, str]]:
    """Removes the resources that ministack rejects from a template's text, and returns their names."""
    names, kept, block = [], [], []

    def end_of_block() -> None:
        found = [item for item in left_out if set(item.marks) <= set(block)]
        if found:
            names.append((found[0], f"{block[0].strip(' :')} of {template.name}"))
        else:
            kept.extend(block)
        block.clear()

    for line in template.read_text(encoding="utf-8").splitlines():
        # A line with the indentation of a resource's name ends the previous block.
        if re.match(r" {0,2}\S", line):
            end_of_block()
        block.append(line)
    end_of_block()
    template.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return names


def architecture() -> str:
    """Lambda's name of this machine's architecture."""
    return {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")


def built_here() -> Path:
    """Packages the zips of an ordinary build with infra/deploy."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".env") as config:
        config.write(
            "CENTRAL_ACCOUNT=444455556666\nMANAGEMENT_ACCOUNT=111122223333\nHOME_REGION=eu-west-1\nTARGETS=r-exam\n"
            "OrganizationId=o-exampleorg1\nExternalId=external-id-of-the-test\nEnrolledRegions=eu-west-1\n"
            f"Architecture={architecture()}\nBUILD_WITH=cargo\nBUILD_PROFILE=dev\n"
        )
        config.flush()
        # The accounts of the example are accepted only on an emulator.
        environment = {**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
        command = [ROOT / "infra" / "deploy", "--config", config.name, "build"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return ROOT / "dist" / "dev"


def newest_glibc(zip_file: Path) -> tuple[int, int]:
    """The newest version of glibc that the zip's bootstrap needs."""
    with zipfile.ZipFile(zip_file) as archive:
        [entry] = archive.infolist()
        assert entry.filename == "bootstrap", f"{zip_file} has {entry.filename} at its root"
        assert entry.external_attr >> 16 & 0o111, f"{zip_file}: bootstrap is not executable"
        binary = archive.read(entry)
    versions = [tuple(map(int, name[6:].split("."))) for name in needed_versions(binary) if name.startswith("GLIBC_2.")]
    assert versions, f"{zip_file}: bootstrap needs no glibc at all"
    return max(version[:2] for version in versions)


def needed_versions(binary: bytes) -> list[str]:
    """The symbol versions that a 64-bit little-endian ELF file needs: its section .gnu.version_r (type 0x6ffffffe)."""
    assert binary[:6] == b"\x7fELF\x02\x01", "it is not a 64-bit little-endian ELF file"
    (sections,) = struct.unpack_from("<Q", binary, 0x28)
    size, count = struct.unpack_from("<HH", binary, 0x3A)

    def section(index: int) -> tuple[int, ...]:
        """Type, offset, link."""
        kind, _, _, offset, _, link = struct.unpack_from("<IQQQQI", binary, sections + index * size + 4)
        return kind, offset, link

    def text(offset: int) -> str:
        return binary[offset : binary.index(b"\0", offset)].decode()

    names = []
    for kind, file_entry, link in map(section, range(count)):
        if kind != 0x6FFFFFFE:
            continue
        strings = section(link)[1]
        while True:
            _, entries, _, first, next_file = struct.unpack_from("<HHIII", binary, file_entry)
            version = file_entry + first
            for _ in range(entries):
                name, next_version = struct.unpack_from("<8xII", binary, version)
                names.append(text(strings + name))
                version += next_version
            if not next_file:
                break
            file_entry += next_file
    return names
