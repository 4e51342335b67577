"""What a binary needs where it runs."""

from __future__ import annotations

import platform
import re
from pathlib import Path

TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
# The number of the machine in an ELF header.
MACHINES = {"x86_64": 62, "arm64": 183}
# Amazon Linux 2023, which Lambda's provided.al2023 runs.
GLIBC = (2, 34)


class Refused(Exception):
    """A binary that would not run."""


def of_this_machine() -> str:
    return {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


def check(path: Path, architecture: str) -> None:
    """Refuses a binary for another architecture, or one that needs a newer glibc than Lambda has."""
    content = path.read_bytes()
    if content[:4] != b"\x7fELF" or int.from_bytes(content[18:20], "little") != MACHINES[architecture]:
        raise Refused(f"{path} is not a binary for {architecture}")
    newest = max(glibc_versions(content), default=(0, 0))
    if newest > GLIBC:
        raise Refused(f"{path} needs glibc {'.'.join(map(str, newest))}, and Lambda's provided.al2023 has {'.'.join(map(str, GLIBC))}")
    print(f"  {path.name} for {architecture}: {len(content):,} bytes, glibc {'.'.join(map(str, newest))}", flush=True)


def glibc_versions(content: bytes) -> set[tuple[int, ...]]:
    """The versions of glibc whose symbols a binary links. They are among the strings of its dynamic section."""
    found = re.findall(rb"\0GLIBC_(\d+(?:\.\d+)+)(?=\0)", content)
    return {tuple(int(part) for part in version.split(b".")) for version in found}
