#!/usr/bin/env python3
"""The same scenarios against our simulated AWS and against moto, whose end states must be equal.

    python tests/python/on_moto/referee.py PATH-OF-THE-BINARY

moto knows nothing of the enroller or its simulated AWS: where both say that the same thing is there, read by the same
code through boto3, it is unlikely that the simulated AWS only pleases its makers. What is read is in `end_state.py`.
Prints one sentence for each check. Exit code 0 when all checks passed, 1 when one failed, 2 when they could not start.

Where moto is laxer than AWS or different, and what is done about it here:
- Whoever calls is the management account too, and any AssumeRole succeeds: trust and external ids are not judged by it.
- A destination's policy is stored unread and asked by nobody, so moto would take a filter that AWS refuses. Only its
  text is compared; whom it lets in is judged by the simulated AWS alone.
- PutSubscriptionFilter looks for a log group with the destination's name. One is made, and not compared.
- A log group takes two filters (on AWS five), and with two even the update of one is refused: the account with a filter
  of others has no other change of filters to go through.
- CreateFlowLogs takes a role that does not exist, and nothing delivers, so nothing tells that a role is gone. The role
  that is deleted here goes together with the flow logs of a Region, before whose successors the enroller looks at it.
- A second flow log from a VPC to the same group is refused whatever its settings. So a replacement deletes the old one
  first there, where on AWS the new one comes first: the end is the same, which is what is compared.
- DeliverLogsStatus may say that a delivery failed where there was none. It is not compared.
- Listings have no pages, ListAccounts no Paths. What becomes of pages is tested elsewhere, with the simulated AWS.
- Nothing is delivered, so no lost record is seen; nor is one here on the simulated AWS.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

from common import script
from common.answer_model import AnswerModel
from common.enroller_runs import ended_with, figure
from common.organization_state import DELIVERY_ROLE, DESTINATION, FILTER, LOG_GROUP, OPT_OUT, flow_log_problems
from common.sentences import Sentences, none
from common.simulated_aws import HOME, REGIONS, SimulatedAws, equal
from on_moto.moto_aws import MotoAws
from on_moto.worlds import MAKER, THEIR_DESTINATION, World, on_moto, on_sim

# Beside the central account.
MEMBERS = 4
FIRST, SECOND, THIRD, LAST = range(MEMBERS)
# Beside the default VPC, which both AWSes make in every account and Region.
CIDR = "10.0.0.0/16"
OPTED_OUT_CIDR = "10.9.0.0/16"
BUCKET = "flow-logs-of-the-network-team"
THEIR_FILTER = "ToTheSecurityTeam"
FORMAT = "${version} ${account-id} ${region} ${vpc-id} ${srcaddr} ${dstaddr} ${action}"


@dataclass
class Scenario:
    """What happens to an organization at rest, and what the enroller makes of it."""

    sentence: str
    # What people do to it.
    happens: Callable[[World], None] = lambda world: None
    # Settings from here on.
    settings: dict[str, str] = field(default_factory=dict)
    # The exit code of `plan` before, which changes nothing: 2 when there is something to do.
    planned: int = 2
    # That of `coverage` before, where it is asked: 1 when a VPC is not covered.
    coverage: int | None = None
    command: tuple[str, ...] = ("backfill", "--yes")
    # What must hold in the end besides equality, since two AWSes agree about an enroller that does nothing too.
    holds: Callable[[World], None] = lambda world: None


# --- what people do ---


def begin(world: World) -> None:
    """VPCs, and what others made before: they must find it as they left it."""
    for account in world.accounts:
        for region in REGIONS:
            world.client("ec2", account, region).create_vpc(CidrBlock=CIDR)
    first, second, third = (world.members[number] for number in (FIRST, SECOND, THIRD))
    ec2 = world.client("ec2", first)
    if world.hidden:
        # moto looks for the bucket, in the flow log's own account only.
        where = {"LocationConstraint": HOME}
        world.client("s3", first).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    answer = ec2.create_flow_logs(
        ResourceType="VPC", ResourceIds=[vpc_of(world, first, HOME, CIDR)], TrafficType="REJECT",
        LogDestinationType="s3", LogDestination=f"arn:aws:s3:::{BUCKET}",
    )
    equal(answer["Unsuccessful"], [])
    tags = [{"ResourceType": "vpc", "Tags": [OPT_OUT]}]
    world.client("ec2", second).create_vpc(CidrBlock=OPTED_OUT_CIDR, TagSpecifications=tags)
    arn = f"arn:aws:logs:{HOME}:{world.central}:destination:{THEIR_DESTINATION}"
    statement = {
        "Effect": "Allow", "Principal": {"AWS": third}, "Action": "logs:PutSubscriptionFilter", "Resource": arn
    }
    world.make_their_destination(third, json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    logs = world.client("logs", third)
    logs.create_log_group(logGroupName=LOG_GROUP)
    logs.put_subscription_filter(
        logGroupName=LOG_GROUP, filterName=THEIR_FILTER, filterPattern="REJECT", destinationArn=arn
    )


def vpc_of(world: World, account: str, region: str, cidr: str) -> str:
    vpcs = world.client("ec2", account, region).describe_vpcs()["Vpcs"]
    return next(vpc["VpcId"] for vpc in vpcs if vpc["CidrBlock"] == cidr)


def delete_flow_log(world: World, member: int = SECOND) -> None:
    account = world.members[member]
    vpc = vpc_of(world, account, HOME, CIDR)
    [place] = [it for it in world.places() if (it.account, it.region) == (account, HOME)]
    [mine] = [log["FlowLogId"] for log in place.ours if log["ResourceId"] == vpc]
    world.client("ec2", account).delete_flow_logs(FlowLogIds=[mine])


def delete_filter(world: World) -> None:
    logs = world.client("logs", world.members[SECOND], REGIONS[1])
    logs.delete_subscription_filter(logGroupName=LOG_GROUP, filterName=FILTER)


def delete_group(world: World) -> None:
    world.client("logs", world.members[LAST]).delete_log_group(logGroupName=LOG_GROUP)


def delete_role(world: World) -> None:
    """The delivery role, and all our flow logs in one Region."""
    [place] = [it for it in world.places() if (it.account, it.region) == (world.members[FIRST], HOME)]
    ids = [log["FlowLogId"] for log in place.ours]
    world.client("ec2", world.members[FIRST]).delete_flow_logs(FlowLogIds=ids)
    iam = world.client("iam", world.members[FIRST], "us-east-1")
    for name in iam.list_role_policies(RoleName=DELIVERY_ROLE)["PolicyNames"]:
        iam.delete_role_policy(RoleName=DELIVERY_ROLE, PolicyName=name)
    iam.delete_role(RoleName=DELIVERY_ROLE)


def change_retention(world: World) -> None:
    world.client("logs", world.members[LAST]).put_retention_policy(logGroupName=LOG_GROUP, retentionInDays=1)


def edit_policy(world: World) -> None:
    """Somebody takes an account out of our statement, and adds one that lets another account in."""
    [item] = world.client("logs").describe_destinations(DestinationNamePrefix=DESTINATION)["destinations"]
    policy = json.loads(item["accessPolicy"])
    ours = policy["Statement"][0]
    theirs = {**ours, "Sid": "SecurityTeam", "Principal": {"AWS": world.members[SECOND]}}
    ours["Principal"]["AWS"].remove(world.members[FIRST])
    policy["Statement"].append(theirs)
    world.client("logs").put_destination_policy(destinationName=DESTINATION, accessPolicy=json.dumps(policy))


def exclude(world: World) -> None:
    """An account that is left alone from now on, with something to repair and something new."""
    delete_flow_log(world, THIRD)
    account = world.members[THIRD]
    world.client("ec2", account).create_vpc(CidrBlock="10.5.0.0/16")
    world.enroller.environment["ENROLLER_EXCLUDED_ACCOUNTS"] = account


def include_again(world: World) -> None:
    del world.enroller.environment["ENROLLER_EXCLUDED_ACCOUNTS"]


def opt_out(world: World) -> None:
    account = world.members[SECOND]
    world.client("ec2", account).create_tags(Resources=[vpc_of(world, account, HOME, CIDR)], Tags=[OPT_OUT])


def leave(world: World) -> None:
    world.remove_from_organization(world.members[LAST])


# --- what must hold ---


def covered(interval: int = 600) -> Callable[[World], None]:
    def check(world: World) -> None:
        none([problem for place in world.places() for problem in flow_log_problems(place, interval)])

    return check


def untouched(world: World) -> None:
    [third] = [it for it in world.places() if (it.account, it.region) == (world.members[THIRD], HOME)]
    equal(len(third.vpcs) - len(third.ours), 2)


def told(*texts: str) -> Callable[[World], None]:
    """Every text stands somewhere in the end state; one that begins with a minus does not."""

    def check(world: World) -> None:
        state = "\n".join(world.end_state())
        for text in texts:
            assert (text.removeprefix("-") in state) != text.startswith("-"), f"{text!r}:\n{state}"

    return check


def no_grant_left(world: World) -> None:
    """The account is on no destination of ours as far as our statement goes."""
    ours = [line for line in world.end_state() if f"policy of {DESTINATION} member-{LAST}" in line]
    none([line for line in ours if '"Sid": "VpcEnroller"' in line])


SCENARIOS = [
    Scenario(
        "a backfill of one account in one Region", command=("backfill", "--yes", "--region", HOME, "--account")
    ),
    Scenario("a backfill of the whole organization", holds=covered()),
    Scenario("a second backfill", planned=0, holds=covered()),
    Scenario("a flow log that somebody deleted", delete_flow_log, coverage=1, holds=covered()),
    Scenario("a filter that somebody deleted", delete_filter, coverage=1, holds=covered()),
    Scenario("a log group that somebody deleted", delete_group, coverage=1, holds=covered()),
    Scenario("a delivery role that somebody deleted", delete_role, holds=covered()),
    Scenario("a retention that somebody changed", change_retention, holds=told('-"retentionInDays": 1}')),
    Scenario(
        "an account taken out of the policy, and a statement of others",
        edit_policy,
        holds=told('"Sid": "SecurityTeam"'),
    ),
    Scenario("another retention", settings={"ENROLLER_RETENTION_DAYS": "90"}, holds=told('"retentionInDays": 90')),
    Scenario("another interval", settings={"ENROLLER_AGGREGATION_INTERVAL": "60"}, holds=covered(60)),
    Scenario("another format", settings={"ENROLLER_LOG_FORMAT": FORMAT}, holds=told(FORMAT)),
    Scenario("an account that is excluded", exclude, planned=0, holds=untouched),
    Scenario("an account that is excluded no longer", include_again, holds=covered(60)),
    Scenario("a VPC that opts out when it is enrolled", opt_out, planned=0),
    Scenario("an account that leaves the organization", leave, holds=no_grant_left),
]


class Referee:
    """Both worlds, step by step."""

    def __init__(self, worlds: list[World], told: Sentences):
        self.worlds = worlds
        self.told = told
        self.pool = ThreadPoolExecutor(len(worlds))

    def both(self, act: Callable[[World], object]) -> list:
        return list(self.pool.map(act, self.worlds))

    def play(self, scenario: Scenario) -> None:
        def run(world: World) -> tuple[int, list[str]]:
            world.enroller.environment.update(scenario.settings)
            scenario.happens(world)
            ended_with(world.enroller.run("plan"), scenario.planned)
            if scenario.coverage is not None:
                ended_with(world.enroller.run("coverage"), scenario.coverage)
            before = world.end_state()
            narrowed = [world.members[FIRST]] if scenario.command[-1] == "--account" else []
            done = world.enroller.run(*scenario.command, *narrowed)
            ended_with(done, 0)
            changes, state = figure(done.stdout, "changes made"), world.end_state()
            equal(changes == 0, scenario.planned == 0)
            equal(state == before, scenario.planned == 0)
            scenario.holds(world)
            return changes, state

        with self.told.check(f"{scenario.sentence} ends in the same state on both"):
            (ours, here), (theirs, there) = self.both(run)
            none(difference(here, there, *(world.name for world in self.worlds)))
            self.told.note(f"{ours} changes on ours, {theirs} on moto; {len(here)} lines are equal")

    def begin(self) -> None:
        with self.told.check("a plan of the new organization changes nothing on either"):
            self.both(begin)
            before = self.both(World.end_state)
            for done in self.both(lambda world: world.enroller.run("plan")):
                ended_with(done, 2)
            equal(self.both(World.end_state), before)

    def end(self) -> None:
        with self.told.check("coverage and grants then tell the same on both"):
            for command, code in ((("coverage",), 0), (("grants", "sync", "--dry-run"), 0)):
                for done in self.both(lambda world, command=command: world.enroller.run(*command)):
                    ended_with(done, code)


def difference(here: list[str], there: list[str], here_name: str, there_name: str) -> list[str]:
    only = [f"only on {here_name}: {line}" for line in here if line not in there]
    only += [f"only on {there_name}: {line}" for line in there if line not in here]
    return only or ([] if here == there else ["a line is there more often on one of them"])


def play(told: Sentences, binary: str) -> None:
    # Central and management account, and one less than on moto, where they are one.
    with SimulatedAws(binary, AnswerModel(), MEMBERS + 1, 0, settings=(MAKER,)) as aws, MotoAws() as moto:
        referee = Referee([on_sim(aws), on_moto(moto, binary, MEMBERS)], told)
        referee.begin()
        for scenario in SCENARIOS:
            referee.play(scenario)
        referee.end()


if __name__ == "__main__":
    sys.exit(script.run(__doc__, 600, play))
