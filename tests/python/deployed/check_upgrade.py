#!/usr/bin/env python3
"""Upgrades an installation of earlier templates on an emulator, while VPCs appear and flow logs deliver.

    python tests/python/deployed/check_upgrade.py PATH-OF-THE-BINARY [FOLDER-WITH-THE-THREE-ZIPS]

The earlier templates and scripts come from git (`BEFORE`). `check_deployed.py` explains the emulator. The functions have the
code of today before and after, because the earlier code would have to be compiled. Prints one sentence for each check.

Exit code: 0 if all checks passed, 1 if one failed, 2 if they could not start.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

from common import organization_state, script
from common.organization_state import observe
from common.sentences import Sentences, none
from common.simulated_aws import GLOBAL, HOME, REGIONS, CannotStart, equal
from deployed.aws import DeployedAws, wait_for_none
from deployed.events import create_vpc, put
from deployed.infra import CENTRAL_STACK, LEFT_OUT, MEMBER_STACK, METRIC_MATH, ROOT, Infra, built_here, instance_of, settled
from deployed.installation import output
from deployed.work import problems

# The last commit before infra/check, two StackSets and this order of an upgrade.
BEFORE = "18b40ea"
ACCOUNTS, VPCS = 4, 1
# The default at that time. The simulated accounts have a role of that name.
OLD_DELIVERY_ROLE = "PublishFlowLogs"
organization_state.DELIVERY_ROLE = OLD_DELIVERY_ROLE


def earlier(folder: Path) -> Path:
    """infra/ as it was."""
    done = subprocess.run(["git", "-C", ROOT, "archive", BEFORE, "infra"], capture_output=True, check=False)
    if done.returncode != 0:
        raise CannotStart(f"git has no commit {BEFORE}: fetch the whole history ({done.stderr.decode().strip()})")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as packed:
        packed.extractall(folder, filter="data")
    return folder / "infra"


class Watch:
    """Looks all the time whether the VPCs that were covered still are."""

    def __init__(self, aws: DeployedAws, regions: list[str]):
        self.aws, self.regions = aws, regions
        self.before = self._covered()
        self.gaps: list[str] = []
        self.looks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _covered(self) -> dict[tuple[str, str], set[str]]:
        """The flow logs and filters of each account-Region."""
        found = observe(self.aws.simulated, self.aws.accounts, self.regions)
        return {(at.account, at.region): {log["FlowLogId"] for log in at.flow_logs} | {item["filterName"] for item in at.filters} for at in found}

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._ended.wait(0.5):
            now = self._covered()
            self.looks += 1
            self.gaps += [f"{place}: {names - now[place]} gone" for place, names in self.before.items() if names - now[place]]

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()


def new_vpc(aws: DeployedAws, account: str, region: str) -> None:
    """A VPC appears, and its event."""
    vpc = aws.simulated("ec2", account, region).create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]
    put(aws, account, region, create_vpc(account, region, vpc))


def install(say: Sentences, aws: DeployedAws, old: Infra) -> None:
    with say.check(f"the templates of {BEFORE} are installed by the scripts of {BEFORE}, in one Region, and enroll all accounts"):
        for account, steps in ((aws.central, ("package", "central")), (aws.management, ("management",))):
            old.deploy(account, *steps)
        for account in aws.sim.members + [aws.central]:
            old.deploy_member(account, old_one_set(old), [HOME])
        aws.deployed("lambda", aws.central).invoke(FunctionName=output(aws, "BackfillFunctionName"), Payload=b'{"reason": "first run"}')
        wait_for_none(lambda: home_problems(aws))


def home_problems(aws: DeployedAws) -> list[str]:
    return problems(aws, aws.accounts, [HOME])


def old_one_set(infra: Infra) -> dict[str, list[dict[str, str]]]:
    parts = infra.member_parts()
    assert list(parts) == [MEMBER_STACK], parts
    return parts


def upgrade(say: Sentences, aws: DeployedAws, new: Infra) -> None:
    appeared = []

    def appears(region: str = HOME) -> None:
        account = aws.sim.members[len(appeared) % len(aws.sim.members)]
        new_vpc(aws, account, region)
        appeared.append((account, region))

    with Watch(aws, [HOME]) as watch:
        with say.check("each step of the upgrade succeeds, while VPCs appear"):
            appears()
            new.deploy(aws.central, "package", "regional")
            appears()
            parameters = {name: {"Part": "all", "DeliveryRoleName": OLD_DELIVERY_ROLE}.get(name, value) for name, value in
                          ((item["ParameterKey"], item["ParameterValue"]) for item in new.member_parts()[MEMBER_STACK])}
            given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
            for account in aws.sim.members + [aws.central]:
                new.update_member(account, given, HOME)
                new.deploy_member(account, {MEMBER_STACK: given}, [GLOBAL])
            appears(GLOBAL)
            said = new.deploy(aws.management, "management")
            assert f"DeliveryRoleName stays {OLD_DELIVERY_ROLE}" in said, said
            appears()
            said = new.deploy(aws.central, "central")
            assert f"DeliveryRoleName stays {OLD_DELIVERY_ROLE}" in said, said
            appears(GLOBAL)
            new.deploy(aws.central, "backfill")
        with say.check("then every VPC is covered, also those that appeared meanwhile and those in the new Region"):
            wait_for_none(lambda: problems(aws, aws.accounts))
        with say.check("no dead-letter queue has a message"):
            sqs = aws.deployed("sqs", aws.central)
            queues = [url for url in sqs.list_queues()["QueueUrls"] if "dead" in url or "undelivered" in url]
            assert len(queues) == 4, queues
            counts = {url.rsplit("/", 1)[-1]: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
                      ["Attributes"]["ApproximateNumberOfMessages"] for url in queues}
            none([f"{name}: {count}" for name, count in counts.items() if count != "0"])
    with say.check("no flow log and no filter was gone for a moment"):
        none(watch.gaps)
        assert watch.looks > 5, watch.looks
    with say.check("the functions kept the name of the delivery role, and know the new Region"):
        functions = aws.deployed("lambda", aws.central).list_functions()["Functions"]
        known = {(item["Environment"]["Variables"]["ENROLLER_DELIVERY_ROLE_NAME"], item["Environment"]["Variables"]["ENROLLER_REGIONS"])
                 for item in functions}
        equal(known, {(OLD_DELIVERY_ROLE, ",".join(REGIONS))})
        equal(aws.deployed("cloudformation", aws.central).describe_stacks(StackName=CENTRAL_STACK)["Stacks"][0]["StackStatus"], "UPDATE_COMPLETE")
    with say.check("the rules of the accounts send what they cannot forward to the queue of their Region"):
        client = aws.deployed("events", aws.sim.members[0], GLOBAL)
        target, = client.list_targets_by_rule(Rule="vpc-flow-logs-enroller-vpcs")["Targets"]
        equal(target["DeadLetterConfig"]["Arn"], f"arn:aws:sqs:{GLOBAL}:{aws.central}:vpc-flow-logs-undelivered-events")


def play(say: Sentences, binary: str, folder: str | None = None) -> None:
    began = time.monotonic()
    zips = built_here() if folder is None else Path(folder)
    with tempfile.TemporaryDirectory(prefix="before-") as place, DeployedAws(binary, ACCOUNTS, VPCS, (f"delivery_role_name={OLD_DELIVERY_ROLE}",)) as aws:
        old = Infra(aws, zips, earlier(Path(place)), [*LEFT_OUT, METRIC_MATH], EnrolledRegions=HOME)
        try:
            install(say, aws, old)
            upgrade(say, aws, Infra(aws, zips))
        finally:
            if say.failed:
                print(aws.log_tail(), file=sys.stderr)
    say.note(f"{time.monotonic() - began:.0f} seconds")


if __name__ == "__main__":
    sys.exit(script.run(__doc__, 900, play))
