"""Checks a configuration before anything is deployed: infra/deploy runs it as `python3 -B infra/check FILE [AWS]`.

AWS is the path of the AWS CLI, which a launcher of python3 can hide by changing PATH. Without it, no call is made. It
prints one line for each finding, with the key and what to do, and ends with 1 if it refuses the configuration. Needs
Python 3.8 or newer, and nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path

from configuration import Configuration


def main(arguments: list[str]) -> int:
    path = Path(arguments[0])
    configuration = Configuration(path)
    configuration.check()
    if len(arguments) > 1 and not configuration.refused:
        # Imported only now, so that an offline check cannot make a call.
        from account import check_accounts

        check_accounts(configuration, arguments[1])
    for key, why in dict.fromkeys(configuration.refused):
        value = configuration.values.get(key)
        short = f"{value[:60]}…" if value is not None and len(value) > 60 else value
        said = f'{key} = "{short}"' if value is not None else key
        print(f"deploy: {path}: {said}: {why}", file=sys.stderr)
    return 1 if configuration.refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
