"""An `aws` command for the scripts in infra/ that makes no calls, and a `sleep` that takes no time.

The `aws` command records every call, and answers from a table. The profile's name is the id of the account that a call
belongs to. After assume-role, the access key is that id. `--query` and `--output text` work as in the AWS CLI.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jmespath


@dataclass
class Call:
    """One call that was made."""

    account: str
    words: list[str]

    @property
    def operation(self) -> str:
        return " ".join(self.words[:2])

    def option(self, name: str) -> list[str]:
        """The words after an option, up to the next one."""
        if name not in self.words:
            return []
        rest = self.words[self.words.index(name) + 1:]
        ends = [at for at, word in enumerate(rest) if word.startswith("--")]
        return rest[:ends[0]] if ends else rest


class StandIn:
    """An `aws` command in a folder that goes first in PATH."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        (folder / "aws").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "{folder}" "$@"\n')
        (folder / "sleep").write_text("#!/bin/sh\n")
        # Without the detour of a launcher such as pyenv, which takes longer than the scripts.
        (folder / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        for name in ("aws", "sleep", "python3"):
            (folder / name).chmod(0o755)
        self.answer([])

    def answer(self, table: list[tuple[str, Any]]) -> None:
        """Sets the answers to calls from now on. An entry fits a call that contains all its words (account, operation,
        options), and the first entry that fits wins. An answer that begins with `!` is an error code. Of {"in turn": [...]}
        each call gets the next one, and the last one stays. A call that fits no entry is answered {}."""
        (self.folder / "table").write_text(json.dumps(table))
        (self.folder / "calls").write_text("")

    def calls(self, *operations: str) -> list[Call]:
        """The calls since the answers were set: all calls, or those of some operations."""
        calls = [Call(*json.loads(line)) for line in (self.folder / "calls").read_text().splitlines()]
        return [call for call in calls if not operations or call.operation in operations]


def text(value: Any) -> str:
    """What the AWS CLI prints with `--output text`."""
    if isinstance(value, list):
        if any(isinstance(item, list) for item in value):
            return "\n".join(text(item) for item in value)
        return "\t".join(map(text, value))
    return str(value)


def answer_to(account: str, words: list[str], table: list[list[Any]]) -> Any:
    call = [account, *re.split(r"\s+", " ".join(words))]
    for fits, answer in table:
        if all(word in call for word in fits.split()):
            if isinstance(answer, dict) and "in turn" in answer:
                turns = answer["in turn"]
                return turns.pop(0) if len(turns) > 1 else turns[0]
            return answer
    if "get-caller-identity" in words:
        return {"Account": account}
    if "assume-role" in words:
        role = words[words.index("--role-arn") + 1]
        return {"Credentials": {"AccessKeyId": role.split(":")[4], "SecretAccessKey": "secret", "SessionToken": "token"}}
    return {}


def main(folder: Path, words: list[str]) -> int:
    account = os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_PROFILE") or "444455556666"
    if words[0] == "--profile":
        account, words = words[1], words[2:]
    with (folder / "calls").open("a") as calls:
        calls.write(json.dumps([account, words]) + "\n")
    table = json.loads((folder / "table").read_text())
    answer = answer_to(account, words, table)
    (folder / "table").write_text(json.dumps(table))
    if isinstance(answer, str) and answer.startswith("!"):
        print(f"\nAn error occurred ({answer[1:]}) when calling the operation: no", file=sys.stderr)
        return 254
    if "--query" in words:
        answer = jmespath.search(words[words.index("--query") + 1], answer)
    if "--output" in words and words[words.index("--output") + 1] == "text":
        print(text(answer), end="\n" if answer != [] else "")
    elif answer:
        print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
