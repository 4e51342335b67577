#!/usr/bin/env python3
"""Ends `enroller backfill` in the middle, at random moments, and looks at what further runs make of it.

    python tests/python/sim/kill_backfill.py PATH-OF-THE-BINARY [SEED]

Every round has a fresh simulated AWS, and kills the backfill as soon as so many changes have arrived there: after the
very first one, which is a policy, and then at random moments from early to late in the run. A further run must leave
what one undisturbed run leaves: everything once. With Ctrl-C instead, the backfill must also say what it has done.
Prints the seed, and one sentence for each check. Exit code 0 when all checks passed, 1 when one failed, 2 when they
could not start.
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
from common.organization_state import Place, filter_problems, flow_log_problems, observe, policies, policy_problems
from common.sentences import Sentences, none
from common.simulated_aws import HOME, REGIONS, Keys, SimulatedAws, equal

ACCOUNTS = 20
# Beside the default VPC.
VPCS = 2
LATENCY_MS = 20
# Of a run, in which it is killed. In its last moments it may end before the signal comes.
KILLS = [(0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8)]
INTERRUPTS = [(0.0, 0.3), (0.3, 0.6)]
# Few at once, so that accounts are left that an interrupted run has not begun.
CONCURRENCY = 4


class Round:
    """One simulated organization and the enroller that works on it."""

    def __init__(self, aws: SimulatedAws):
        self.aws = aws
        self.accounts = sorted({*aws.members, aws.management.account, aws.central.account})
        self.enroller = Enroller(aws.binary, aws.endpoint, aws.central, HOME, aws.environment)
        self._keys: dict[str, Keys] = {}

    def mutating_calls(self) -> int:
        with urllib.request.urlopen(f"{self.aws.endpoint}/_sim/stats", timeout=10) as answer:
            return json.load(answer)["mutating"]

    def end_backfill(self, calls: int, signal_number: int, *options: str) -> subprocess.CompletedProcess:
        """Starts a backfill and sends it the signal once that many mutating calls have arrived."""
        process = self.enroller.start("backfill", "--yes", *options)
        try:
            while process.poll() is None and self.mutating_calls() < calls:
                pass
            process.send_signal(signal_number)
            output, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
            process.wait()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def places(self) -> list[Place]:
        return observe(self._client, self.accounts, REGIONS)

    def _client(self, service: str, account: str, region: str):
        # Two threads may both ask for an account's keys; either answer will do.
        if account not in self._keys:
            self._keys[account] = self.aws.in_member(account)
        return self.aws.client(service, self._keys[account], region)

    def complete_and_single(self) -> None:
        """Everything is there, and nothing twice."""
        places = self.places()
        equal(len(places), ACCOUNTS * len(REGIONS))
        equal({len(place.vpcs) for place in places}, {VPCS + 1})
        none([problem for place in places for problem in flow_log_problems(place)])
        none([problem for place in places for problem in filter_problems(place, self.aws.central.account)])
        # Beside ours, exactly once, there is nothing: nobody else works in this organization.
        equal([len(place.filters) for place in places], [1] * len(places))
        equal([place.foreign for place in places if place.foreign], [])
        for region in REGIONS:
            found = policies(self.aws.client("logs", self.aws.central, region))
            none(policy_problems(region, found, self.accounts))

    def enrolled(self) -> tuple[set[str], set[str]]:
        """The accounts in which every VPC has its flow log, and those in which some VPC has one."""
        places = self.places()
        lacking = {place.account for place in places if flow_log_problems(place)}
        return set(self.accounts) - lacking, {place.account for place in places if place.ours}


@contextmanager
def fresh(binary: str):
    with SimulatedAws(binary, AnswerModel(), ACCOUNTS, VPCS, LATENCY_MS) as aws:
        yield Round(aws)


def undisturbed(binary: str, told: Sentences) -> int:
    """The measure of the others. Gives the mutating calls of a whole run."""
    with fresh(binary) as this:
        with told.check("an undisturbed backfill enrolls everything once"):
            ended_with(this.enroller.run("backfill", "--yes"), 0)
            this.complete_and_single()
        calls = this.mutating_calls()
        with told.check("a second one changes nothing"):
            done = this.enroller.run("backfill", "--yes")
            ended_with(done, 0)
            equal(figure(done.stdout, "changes made"), 0)
            equal(this.mutating_calls(), calls)
    return calls


def killed(binary: str, told: Sentences, calls: int, total: int) -> None:
    with fresh(binary) as this:
        done = this.end_backfill(calls, signal.SIGKILL)
        when = f"killed after {calls} of {total} changes"
        with told.check(f"{when}, a further backfill completes it and doubles nothing"):
            ended_with(done, -signal.SIGKILL)
            ended_with(this.enroller.run("backfill", "--yes"), 0)
            this.complete_and_single()


def interrupted(binary: str, told: Sentences, calls: int, total: int) -> None:
    with fresh(binary) as this:
        when = f"interrupted after {calls} of {total} changes"
        done = this.end_backfill(calls, signal.SIGINT, "--concurrency", str(CONCURRENCY))
        with told.check(f"{when}, backfill ends with 1 and says what is done"):
            ended_with(done, 1)
            assert "Run it again to go on" in done.stdout, done.stdout
        with told.check(f"{when}, the accounts it says are done are done, and no others were begun"):
            whole, begun = this.enrolled()
            equal((len(whole), begun), (figure(done.stdout, "accounts done"), whole))
            assert len(whole) < ACCOUNTS, "it was interrupted too late to leave anything undone"
        with told.check(f"{when}, a further backfill completes it and doubles nothing"):
            ended_with(this.enroller.run("backfill", "--yes"), 0)
            this.complete_and_single()


def play(told: Sentences, binary: str, seed: str | None = None) -> None:
    chosen = random.SystemRandom().randrange(10_000) if seed is None else int(seed)
    print(f"seed {chosen}; the same again: {sys.argv[0]} {binary} {chosen}", flush=True)
    chance = random.Random(chosen)
    total = undisturbed(binary, told)
    killed(binary, told, 1, total)
    for begin, end in KILLS:
        killed(binary, told, 1 + int(total * chance.uniform(begin, end)), total)
    # The policies are written before the first account is begun, and to that moment Ctrl-C just ends it.
    accounts = total - len(REGIONS)
    for begin, end in INTERRUPTS:
        interrupted(binary, told, len(REGIONS) + 1 + int(accounts * chance.uniform(begin, end)), total)


if __name__ == "__main__":
    sys.exit(script.run(__doc__, 300, play))
