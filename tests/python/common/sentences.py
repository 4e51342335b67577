"""Checks told as sentences, one after the other, where a later one builds on what an earlier one left behind."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import contextmanager


class Sentences:
    """Prints every check and counts them."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    @contextmanager
    def check(self, sentence: str):
        """What fails inside fails this sentence only; the next ones are still tried."""
        try:
            yield
        except Exception as error:
            self.failed += 1
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
            print(f"FAILED  {sentence}\n        {kind}{error}  ({place})", flush=True)
        else:
            self.passed += 1
            print(f"ok      {sentence}", flush=True)

    def note(self, text: str) -> None:
        """Something a reader of the results must know to judge them."""
        print(f"note    {text}", flush=True)

    def end(self) -> int:
        """Prints the sum and gives the exit code."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def none(problems: list[str]) -> None:
    """Fails with the first of the problems, if there are any."""
    assert not problems, f"{len(problems)} problems: {'; '.join(problems[:5])}"


def end_after(seconds: int) -> None:
    """Ends the run, with its subprocesses, when it is stuck or told to stop."""

    def stuck(_signal, _frame):
        print(f"FAILED  not done after {seconds} seconds", file=sys.stderr, flush=True)
        sys.exit(1)

    signal.signal(signal.SIGALRM, stuck)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.alarm(seconds)
