"""How a script of checks begins and ends."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

from common.sentences import Sentences, end_after
from common.simulated_aws import CannotStart


def run(usage: str, limit_s: int, play: Callable[..., None]) -> int:
    """Plays with the words of the command line, if `play` takes so many, and gives the exit code: 0 when all checks
    passed, 1 when one failed or time ran out, 2 when they could not start."""
    told = Sentences()
    try:
        inspect.signature(play).bind(told, *sys.argv[1:])
    except TypeError:
        print(usage.strip(), file=sys.stderr)
        return 2
    end_after(limit_s)
    try:
        play(told, *sys.argv[1:])
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    return told.end()
