"""The beginning and the end of every script of checks."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

from common.sentences import Sentences, end_after
from common.simulated_aws import CannotStart


def run(usage: str, limit_s: int, play: Callable[..., None]) -> int:
    """Calls `play` with the arguments of the command line, and returns the exit code.

    It is 0 if all checks passed, 1 if one failed or the time ran out, and 2 if the checks could not start or `play` does
    not accept that many arguments.
    """
    say = Sentences()
    try:
        inspect.signature(play).bind(say, *sys.argv[1:])
    except TypeError:
        print(usage.strip(), file=sys.stderr)
        return 2
    end_after(limit_s)
    try:
        play(say, *sys.argv[1:])
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    return say.end()
