#!/usr/bin/env python3
"""Deploys the templates and the real zips with infra/deploy on an emulator, and lets things happen.

    python deployed.py PATH-OF-THE-BINARY [FOLDER-WITH-THE-THREE-ZIPS]

Without a folder the zips are packaged from the ordinary build (cargo's dev profile) by `infra/deploy … build`. The
emulator is ministack, which runs the functions as processes, feeds them from its queues and has the buses; what the
functions call besides SQS is answered by `enroller sim` (see `deployed_aws`). Prints one sentence for each check. Exit
code 0 when all checks passed, 1 when one failed, 2 when they could not start.

Where ministack is not like AWS:
- It refuses some resource types; `deployed_infra` lists them with what goes untested. Each is tried: one that it takes
  by now fails the test.
- It has no StackSets: the member stack is made in each account and Region as a stack, with the parameters that
  infra/deploy gives the StackSet.
- Buses of other accounts and Regions, sources that begin with "aws.", numbers as text, permissions of batches and the keys
  of functions need changes, which `ministack_server` makes.
- Of the roles' permissions it checks those for the services it plays: of what the functions call, SQS.
- It has no message move tasks: the redrive is done by hand.
- It takes no notice of bus policies, and it does not turn the metrics in log lines into metrics: they are read there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

# The checkout stays as it is.
sys.dont_write_bytecode = True

import deployed_installation
import deployed_queues
import deployed_work
from deployed_aws import DeployedAws
from deployed_infra import Infra, built_here
from sentences import Sentences, end_after
from simulated_aws import CannotStart

# The management and the central account included.
ACCOUNTS = 4
# Beside the default VPC.
VPCS = 1


def main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    end_after(570)
    began = time.monotonic()
    told = Sentences()
    try:
        zips = Path(arguments[2]) if len(arguments) == 3 else built_here()
        with DeployedAws(arguments[1], ACCOUNTS, VPCS) as aws:
            infra = Infra(aws, zips)
            try:
                deployed_installation.packages(told, zips, made_here=len(arguments) == 2)
                deployed_installation.installation(told, aws, infra)
                deployed_work.patterns(told, aws)
                deployed_work.first_run(told, aws)
                deployed_work.events(told, aws)
                deployed_work.permissions(told, aws)
                deployed_queues.failures(told, aws)
                deployed_installation.removal(told, aws, infra)
            finally:
                if told.failed:
                    print(aws.log_tail(), file=sys.stderr)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 2
    told.note(f"{time.monotonic() - began:.0f} seconds")
    return told.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
