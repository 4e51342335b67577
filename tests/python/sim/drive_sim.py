#!/usr/bin/env python3
"""Drives `enroller sim` with AWS's own clients: boto3 and the AWS CLI.

    python tests/python/sim/drive_sim.py PATH-OF-THE-BINARY [WORDS]

Starts the simulated AWS, makes the calls that the enroller and its operators make, and stops it again. Client-side
parameter validation is on, and no call is retried. Every answer is compared with botocore's model (see
`common/answer_model.py`). With WORDS, only checks whose sentence contains them run.

Exit code: 0 if all checks passed, 1 if one failed, 2 if they could not start.
"""

from __future__ import annotations

import inspect
import signal
import sys
import traceback
from pathlib import Path

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

from common.answer_model import AnswerModel
from common.simulated_aws import CannotStart, SimulatedAws
from sim.checks import cli, comparison, flow_logs, identity, logs, queues, simulator

# The tests of the comparison come first, and the stop comes last.
MODULES = [comparison, identity, flow_logs, logs, queues, cli, simulator]

# Seconds after which the run times out.
LIMIT_S = 110


def checks(words: str):
    for module in MODULES:
        for name, check in vars(module).items():
            if inspect.isfunction(check) and check.__module__ == module.__name__ and not name.startswith("_"):
                sentence = name.replace("_", " ")
                if words in sentence:
                    yield sentence, check


def run(aws: SimulatedAws, words: str) -> int:
    """Runs the checks in order and returns the number of failures."""
    passed = failed = 0
    for sentence, check in checks(words):
        try:
            check(aws)
        except Exception as error:
            failed += 1
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            frames = traceback.extract_tb(error.__traceback__)
            inside = [frame for frame in frames if frame.filename.endswith(".py") and "/checks/" in frame.filename]
            where = f"  ({inside[-1].filename.rsplit('/', 1)[-1]}:{inside[-1].lineno})" if inside else ""
            print(f"FAILED  {sentence}\n        {kind}{error}{where}", flush=True)
        else:
            passed += 1
            print(f"ok      {sentence}", flush=True)
    if passed + failed == 0:
        print(f"no check's sentence contains {words!r}")
        failed = 1
    print_summary(aws.answers)
    print(f"{passed} passed, {failed} failed", flush=True)
    return failed


def print_summary(answers: AnswerModel) -> None:
    print(f"\n{answers.successes} successes and {answers.refusals} errors compared with botocore's models:")
    by_service: dict[str, list[str]] = {}
    for service, operation in sorted(answers.operations):
        by_service.setdefault(service, []).append(operation)
    for service, operations in by_service.items():
        print(f"  {service}: {', '.join(operations)}")


def stuck(_signal, _frame):
    raise TimeoutError(f"timed out after {LIMIT_S} seconds")


def terminated(_signal, _frame):
    sys.exit(143)


def main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    signal.signal(signal.SIGALRM, stuck)
    signal.signal(signal.SIGTERM, terminated)
    signal.alarm(LIMIT_S)
    try:
        with SimulatedAws(arguments[1], AnswerModel()) as aws:
            failed = run(aws, arguments[2] if len(arguments) == 3 else "")
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
