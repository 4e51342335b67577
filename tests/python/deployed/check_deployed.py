#!/usr/bin/env python3
"""Deploys the templates and the real zips on an emulator with infra/deploy, and tests them there.

    python tests/python/deployed/check_deployed.py PATH-OF-THE-BINARY [FOLDER-WITH-THE-THREE-ZIPS]

Without a folder, `infra/deploy … build` packages the zips from the ordinary build (cargo's dev profile). The emulator is
ministack. It runs the functions as processes, feeds them from its queues, and has the event buses. `enroller sim` answers
the functions' calls other than SQS (see `aws.py`). Prints one sentence for each check.

Exit code: 0 if all checks passed, 1 if one failed, 2 if they could not start.

Where ministack differs from AWS:
- It rejects some resource types. `infra.py` lists them, and what is not tested for that reason. The test fails if a newer
  version accepts one of them.
- It has no StackSets. The member stack is created in each account and Region as a plain stack, with the parameters that
  infra/deploy passes to the StackSet.
- Buses of other accounts and Regions, sources that begin with "aws.", numbers as text, permissions of batches and the keys
  of functions need changes, which `ministack_server.py` makes.
- It checks the roles' permissions only for the services it emulates. Of the functions' calls, these are the SQS calls.
- It has no message move tasks. The test does the redrive by hand.
- It does not evaluate bus policies, and it does not create metrics from log lines. The test reads the log lines.
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

# With the management and the central account.
ACCOUNTS = 4
# In addition to the default VPC.
VPCS = 1


def play(say: Sentences, binary: str, folder: str | None = None) -> None:
    began = time.monotonic()
    zips = built_here() if folder is None else Path(folder)
    with DeployedAws(binary, ACCOUNTS, VPCS) as aws:
        infra = Infra(aws, zips)
        try:
            installation.packages(say, zips, made_here=folder is None)
            installation.installation(say, aws, infra)
            work.patterns(say, aws)
            work.first_run(say, aws)
            work.events(say, aws)
            work.permissions(say, aws)
            queues.failures(say, aws)
            installation.removal(say, aws, infra)
        finally:
            if say.failed:
                print(aws.log_tail(), file=sys.stderr)
    say.note(f"{time.monotonic() - began:.0f} seconds")


if __name__ == "__main__":
    sys.exit(script.run(__doc__, 570, play))
