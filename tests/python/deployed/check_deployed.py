#!/usr/bin/env python3
"""Deploys the templates and the real zips with infra/deploy on an emulator, and lets things happen.

    python tests/python/deployed/check_deployed.py PATH-OF-THE-BINARY [FOLDER-WITH-THE-THREE-ZIPS]

Without a folder the zips are packaged from the ordinary build (cargo's dev profile) by `infra/deploy … build`. The
emulator is ministack, which runs the functions as processes, feeds them from its queues and has the buses; what the
functions call besides SQS is answered by `enroller sim` (see `aws.py`). Prints one sentence for each check. Exit
code 0 when all checks passed, 1 when one failed, 2 when they could not start.

Where ministack is not like AWS:
- It refuses some resource types; `infra.py` lists them with what goes untested. Each is tried: one that it takes
  by now fails the test.
- It has no StackSets: the member stack is made in each account and Region as a stack, with the parameters that
  infra/deploy gives the StackSet.
- Buses of other accounts and Regions, sources that begin with "aws.", numbers as text, permissions of batches and the keys
  of functions need changes, which `ministack_server.py` makes.
- Of the roles' permissions it checks those for the services it plays: of what the functions call, SQS.
- It has no message move tasks: the redrive is done by hand.
- It takes no notice of bus policies, and it does not turn the metrics in log lines into metrics: they are read there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

from common import script
from common.sentences import Sentences
from deployed import installation, queues, work
from deployed.aws import DeployedAws
from deployed.infra import Infra, built_here

# The management and the central account included.
ACCOUNTS = 4
# Beside the default VPC.
VPCS = 1


def play(told: Sentences, binary: str, folder: str | None = None) -> None:
    began = time.monotonic()
    zips = built_here() if folder is None else Path(folder)
    with DeployedAws(binary, ACCOUNTS, VPCS) as aws:
        infra = Infra(aws, zips)
        try:
            installation.packages(told, zips, made_here=folder is None)
            installation.installation(told, aws, infra)
            work.patterns(told, aws)
            work.first_run(told, aws)
            work.events(told, aws)
            work.permissions(told, aws)
            queues.failures(told, aws)
            installation.removal(told, aws, infra)
        finally:
            if told.failed:
                print(aws.log_tail(), file=sys.stderr)
    told.note(f"{time.monotonic() - began:.0f} seconds")


if __name__ == "__main__":
    sys.exit(script.run(__doc__, 570, play))
