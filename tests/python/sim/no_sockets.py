#!/usr/bin/env python3
"""Shows that a simulated command opens no socket. So it cannot reach AWS, whatever its environment contains.

    python tests/python/sim/no_sockets.py target/debug/enroller

Each command runs under a seccomp filter that kills the process at socket(2). To show that the filter works, the same
commands also run without --sim and must be killed. Runs on Linux on x86_64 or aarch64. Exit code 0 if all checks passed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import subprocess
import sys

# prctl(2) and seccomp(2), linux/audit.h, linux/filter.h.
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
# The kernel's number of the architecture, and the number of socket(2) on it.
MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}

# What an operator's shell can contain: everything that a call to AWS would need.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "ENROLLER_CENTRAL_ACCOUNT": "111122223333",
    "ENROLLER_ORGANIZATION_ID": "o-exampleorg1",
    "ENROLLER_HOME_REGION": "eu-west-1",
    "ENROLLER_REGIONS": "eu-west-1",
    "ENROLLER_DESTINATION_TARGET_ARN": "arn:aws:firehose:eu-west-1:111122223333:deliverystream/s",
    "ENROLLER_DESTINATION_ROLE_ARN": "arn:aws:iam::111122223333:role/r",
}

SIMULATED = [
    "plan --sim",
    "backfill --sim --yes",
    "coverage --sim",
    "doctor --sim",
    "grants --sim",
    "grants --sim sync --yes",
    "grants sync --sim --yes",
    "grants sync --yes --allow-mass-revocation --sim",
    "demo --accounts 4 --regions 1 --vpcs 1",
]


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def forbid_sockets() -> None:
    """Makes the kernel kill this process when it opens a socket. The filter stays in force after exec."""
    architecture, socket = MACHINES[platform.machine()]
    instructions = [
        (LOAD, 0, 0, 4),  # the architecture
        (JUMP_IF_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, 0),  # the number of the system call
        (JUMP_IF_EQUAL, 0, 1, socket),
        (RETURN, 0, 0, KILL_PROCESS),
        (RETURN, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(instructions), code)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "the kernel rejected the filter")


def run(enroller: str, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [enroller, *command.split()], env=ENVIRONMENT, preexec_fn=forbid_sockets, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )


def main() -> int:
    enroller = os.path.abspath(sys.argv[1])
    failed = 0
    for command, killed in [("plan", True), ("grants sync --yes", True), *((command, False) for command in SIMULATED)]:
        done = run(enroller, command)
        right = (done.returncode == -signal.SIGSYS) == killed
        failed += not right
        verdict = "was killed at a socket" if done.returncode == -signal.SIGSYS else f"opened no socket, exit code {done.returncode}"
        print(f"{'ok' if right else 'FAILED':7} enroller {command}: {verdict}")
        if not right or (not killed and not done.stdout):
            print(done.stdout[-500:], done.stderr[-500:])
    print(f"{len(SIMULATED) + 2 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
