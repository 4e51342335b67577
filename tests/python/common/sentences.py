"""Checks as sentences. They run in order, and a later check can build on the state that an earlier one left."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import contextmanager


class Sentences:
    """Prints each check and counts the results."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    @contextmanager
    def check(self, sentence: str):
        """A failure inside the block fails only this check. The next checks still run."""
        try:
            yield
        except Exception as error:
            self.failed += 1
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
            print(f"FAILED  {sentence}\n        {kind}{error}  ({where})", flush=True)
        else:
            self.passed += 1
            print(f"ok      {sentence}", flush=True)

    def note(self, text: str) -> None:
        """Prints something that a reader needs to judge the results."""
        print(f"note    {text}", flush=True)

    def end(self) -> int:
        """Prints the totals and returns the exit code."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def none(problems: list[str]) -> None:
    """Fails if there are problems, and shows the first ones."""
    assert not problems, f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'}: {'; '.join(problems[:5])}"


def equal(actual, expected) -> None:
    """Like `assert actual == expected`, but shows both values."""
    assert actual == expected, f"it is {actual!r}, not {expected!r}"


def end_after(seconds: int) -> None:
    """Ends the run and its subprocesses when the time is up or on SIGTERM."""

    def stuck(_signal, _frame):
        print(f"FAILED  timed out after {seconds} seconds", file=sys.stderr, flush=True)
        sys.exit(1)

    signal.signal(signal.SIGALRM, stuck)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.alarm(seconds)
