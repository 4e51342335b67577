#!/usr/bin/env python3
"""Kills `enroller backfill` at random moments, and checks that another run completes it.

    python tests/python/sim/kill_backfill.py PATH-OF-THE-BINARY [SEED]

Each round has a fresh simulated AWS. It kills the backfill once a number of changes have arrived there: after the very
first change, which is a policy, and then at random moments from early to late in the run. Another run must leave the
state of a run without interruption: everything exists exactly once. After Ctrl-C, the backfill must also report what it
has done. Prints the seed, and one sentence for each check.

Exit code: 0 if all checks passed, 1 if one failed, 2 if they could not start.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

from common import script
from common.answer_model import AnswerModel
from common.enroller_runs import LIMIT_S, Enroller, ended_with, figure
from common.organization_state import AccountRegion, filter_problems, flow_log_problems, observe, policies, policy_problems
from common.sentences import Sentences, none
from common.simulated_aws import HOME, REGIONS, Keys, SimulatedAws, equal

ACCOUNTS = 20
# In addition to the default VPC.
VPCS = 2
LATENCY_MS = 20
# Parts of a run in which it is killed. Near the end, a run can finish before the signal arrives.
KILLS = [(0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8)]
INTERRUPTS = [(0.0, 0.3), (0.3, 0.6)]
# Low, so that an interrupted run has accounts that it has not started.
CONCURRENCY = 4


class Round:
    """One simulated organization and the enroller that runs on it."""

    def __init__(self, aws: SimulatedAws):
        self.aws = aws
        self.accounts = sorted({*aws.members, aws.management.account, aws.central.account})
        self.enroller = Enroller(aws.binary, aws.endpoint, aws.central, HOME, aws.environment)
        self._keys: dict[str, Keys] = {}

    def mutating_calls(self) -> int:
        with urllib.request.urlopen(f"{self.aws.endpoint}/_sim/stats", timeout=10) as answer:
            return json.load(answer)["mutating"]

    def end_backfill(self, calls: int, signal_number: int, *options: str) -> subprocess.CompletedProcess:
        """Starts a backfill, and sends the signal after that many mutating calls."""
        process = self.enroller.start("backfill", "--yes", "--write-grants", *options)
        try:
            while process.poll() is None and self.mutating_calls() < calls:
                pass
            process.send_signal(signal_number)
            output, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
            process.wait()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def account_regions(self) -> list[AccountRegion]:
        return observe(self._client, self.accounts, REGIONS)

    def _client(self, service: str, account: str, region: str):
        # Two threads can request an account's keys at the same time. Both answers are valid.
        if account not in self._keys:
            self._keys[account] = self.aws.in_member(account)
        return self.aws.client(service, self._keys[account], region)

    def complete_and_single(self) -> None:
        """Checks that everything exists, and nothing exists twice."""
        account_regions = self.account_regions()
        equal(len(account_regions), ACCOUNTS * len(REGIONS))
        equal({len(at.vpcs) for at in account_regions}, {VPCS + 1})
        none([problem for at in account_regions for problem in flow_log_problems(at)])
        none([problem for at in account_regions for problem in filter_problems(at, self.aws.central.account)])
        # No other tool works in this organization, so there is nothing but one managed resource each.
        equal([len(at.filters) for at in account_regions], [1] * len(account_regions))
        equal([at.foreign for at in account_regions if at.foreign], [])
        for region in REGIONS:
            found = policies(self.aws.client("logs", self.aws.central, region))
            none(policy_problems(region, found, self.accounts))

    def enrolled(self) -> tuple[set[str], set[str]]:
        """The accounts in which every VPC has its flow log, and the accounts in which at least one VPC has one."""
        account_regions = self.account_regions()
        lacking = {at.account for at in account_regions if flow_log_problems(at)}
        return set(self.accounts) - lacking, {at.account for at in account_regions if at.managed}


@contextmanager
def fresh(binary: str):
    with SimulatedAws(binary, AnswerModel(), ACCOUNTS, VPCS, LATENCY_MS) as aws:
        yield Round(aws)


def undisturbed(binary: str, say: Sentences) -> int:
    """The reference for the other rounds. Returns the number of mutating calls of a whole run."""
    with fresh(binary) as this:
        with say.check("a backfill without interruption enrolls everything once"):
            ended_with(this.enroller.run("backfill", "--yes", "--write-grants"), 0)
            this.complete_and_single()
        calls = this.mutating_calls()
        with say.check("a second backfill changes nothing"):
            done = this.enroller.run("backfill", "--yes", "--write-grants")
            ended_with(done, 0)
            equal(figure(done.stdout, "changes made"), 0)
            equal(this.mutating_calls(), calls)
    return calls


def killed(binary: str, say: Sentences, calls: int, total: int) -> None:
    with fresh(binary) as this:
        done = this.end_backfill(calls, signal.SIGKILL)
        when = f"killed after {calls} of {total} changes"
        with say.check(f"{when}, another backfill completes it and creates nothing twice"):
            ended_with(done, -signal.SIGKILL)
            ended_with(this.enroller.run("backfill", "--yes", "--write-grants"), 0)
            this.complete_and_single()


def interrupted(binary: str, say: Sentences, calls: int, total: int) -> None:
    with fresh(binary) as this:
        when = f"interrupted after {calls} of {total} changes"
        done = this.end_backfill(calls, signal.SIGINT, "--concurrency", str(CONCURRENCY))
        with say.check(f"{when}, the backfill ends with 1 and reports what it has done"):
            ended_with(done, 1)
            assert "Run the command again to continue" in done.stdout, done.stdout
        with say.check(f"{when}, the accounts reported as done are complete, and no others were started"):
            whole, begun = this.enrolled()
            equal((len(whole), begun), (figure(done.stdout, "accounts done"), whole))
            assert len(whole) < ACCOUNTS, "the interrupt came too late: all accounts are done"
        with say.check(f"{when}, another backfill completes it and creates nothing twice"):
            ended_with(this.enroller.run("backfill", "--yes", "--write-grants"), 0)
            this.complete_and_single()


def play(say: Sentences, binary: str, seed: str | None = None) -> None:
    chosen = random.SystemRandom().randrange(10_000) if seed is None else int(seed)
    print(f"seed {chosen}. To repeat this run: {sys.argv[0]} {binary} {chosen}", flush=True)
    chance = random.Random(chosen)
    total = undisturbed(binary, say)
    killed(binary, say, 1, total)
    for begin, end in KILLS:
        killed(binary, say, 1 + int(total * chance.uniform(begin, end)), total)
    # The policies are written before the first account. Until then, Ctrl-C ends the run without a report.
    accounts = total - len(REGIONS)
    for begin, end in INTERRUPTS:
        interrupted(binary, say, len(REGIONS) + 1 + int(accounts * chance.uniform(begin, end)), total)


if __name__ == "__main__":
    sys.exit(script.run(__doc__, 300, play))
