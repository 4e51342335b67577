#!/usr/bin/env python3
"""Drives `enroller sim` with the clients that AWS makes: boto3, and the AWS CLI of the same environment.

    python tests/python/sim/drive_sim.py PATH-OF-THE-BINARY [WORDS]

Starts the simulated AWS, does what the enroller does and what its people do, and stops it again. Client-side parameter
validation is on, nothing is retried, and every answer is compared with botocore's model of it (see `common/answer_model.py`).
With WORDS, only the checks whose sentence contains them run. Exit code 0 when all checks passed, 1 when one failed,
2 when they could not start.
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

# The measure first, the stop last.
MODULES = [comparison, identity, flow_logs, logs, queues, cli, simulator]

# Seconds after which the run is stuck.
LIMIT_S = 110


def checks(words: str):
    for module in MODULES:
        for name, check in vars(module).items():
            if inspect.isfunction(check) and check.__module__ == module.__name__ and not name.startswith("_"):
                sentence = name.replace("_", " ")
                if words in sentence:
                    yield sentence, check


def run(aws: SimulatedAws, words: str) -> int:
    """Runs the checks one after the other and gives the number of those that failed."""
    passed = failed = 0
    for sentence, check in checks(words):
        try:
            check(aws)
        except Exception as error:
            failed += 1
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            place = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in place if frame.filename.endswith(".py") and "/checks/" in frame.filename]
            where = f"  ({ours[-1].filename.rsplit('/', 1)[-1]}:{ours[-1].lineno})" if ours else ""
            print(f"FAILED  {sentence}\n        {kind}{error}{where}", flush=True)
        else:
            passed += 1
            print(f"ok      {sentence}", flush=True)
    if passed + failed == 0:
        print(f"no check says {words!r}")
        failed = 1
    print_summary(aws.answers)
    print(f"{passed} passed, {failed} failed", flush=True)
    return failed


def print_summary(answers: AnswerModel) -> None:
    print(f"\n{answers.successes} answers and {answers.refusals} refusals compared with botocore's models:")
    by_service: dict[str, list[str]] = {}
    for service, operation in sorted(answers.operations):
        by_service.setdefault(service, []).append(operation)
    for service, operations in by_service.items():
        print(f"  {service}: {', '.join(operations)}")


def stuck(_signal, _frame):
    raise TimeoutError(f"not done after {LIMIT_S} seconds")


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
