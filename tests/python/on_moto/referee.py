#!/usr/bin/env python3
"""Runs the same scenarios on the simulated AWS and on moto, and requires equal end states.

    python tests/python/on_moto/referee.py PATH-OF-THE-BINARY

moto was written without knowledge of the enroller or its simulated AWS. The same boto3 code reads both. If both report
the same state, it is unlikely that the simulated AWS only confirms its authors' assumptions. `end_state.py` defines what
is read. Prints one sentence for each check.

Exit code: 0 if all checks passed, 1 if one failed, 2 if they could not start.

Where moto is laxer than AWS or differs from it, and what this means here:
- The caller is also the management account, and every AssumeRole succeeds. So moto does not check trust policies and
  external ids.
- moto stores a destination's policy and never evaluates it, so it accepts filters that AWS denies. Only the policy's text
  is compared. Only the simulated AWS checks whom the policy authorizes.
- PutSubscriptionFilter requires a log group with the destination's name. It is created here, and not compared.
- A log group can have two filters (on AWS five), and with two filters moto rejects even an update. So no scenario changes
  filters in the account that has another tool's filter.
- CreateFlowLogs accepts a role that does not exist, and nothing delivers, so nothing shows that a role is missing. The
  scenario that deletes the role also deletes the flow logs of one Region. The enroller checks the role before it creates
  them again.
- moto rejects a second flow log from a VPC to the same log group, whatever its settings. So a replacement deletes the old
  flow log first. On AWS it creates the new one first. The end state is the same, and only that is compared.
- DeliverLogsStatus can report a failed delivery although there was none. It is not compared.
- Listings have no pages, and ListAccounts has no Paths. Other tests check pages with the simulated AWS.
- Nothing is delivered, so lost records are not detected here, on either AWS.
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

# In addition to the central account.
MEMBERS = 4
FIRST, SECOND, THIRD, LAST = range(MEMBERS)
# In addition to the default VPC, which both AWSes create in every account and Region.
CIDR = "10.0.0.0/16"
OPTED_OUT_CIDR = "10.9.0.0/16"
BUCKET = "flow-logs-of-the-network-team"
THEIR_FILTER = "ToTheSecurityTeam"
FORMAT = "${version} ${account-id} ${region} ${vpc-id} ${srcaddr} ${dstaddr} ${action}"


@dataclass
class Scenario:
    """A change of a settled organization, and what the enroller does about it."""

    sentence: str
    # The change.
    happens: Callable[[World], None] = lambda world: None
    # Settings of this and all later scenarios.
    settings: dict[str, str] = field(default_factory=dict)
    # Exit code of `plan` before the command: 2 if there is something to do. A plan changes nothing.
    planned: int = 2
    # Exit code of `coverage` before the command, if it is checked: 1 if a VPC is not covered.
    coverage: int | None = None
    command: tuple[str, ...] = ("backfill", "--yes", "--write-grants")
    # Flow logs are replaced, or could not deliver. The run after the next delivery deletes the old ones, and finds all well.
    again: bool = False
    # What must hold in the end besides equality. Equality alone would also hold for an enroller that does nothing.
    holds: Callable[[World], None] = lambda world: None


# --- changes ---


def begin(world: World) -> None:
    """Creates VPCs, and resources of other tools that the enroller must not change."""
    for account in world.accounts:
        for region in REGIONS:
            world.client("ec2", account, region).create_vpc(CidrBlock=CIDR)
    first, second, third = (world.members[number] for number in (FIRST, SECOND, THIRD))
    ec2 = world.client("ec2", first)
    if world.hidden:
        # moto requires the bucket in the flow log's own account.
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
    [at] = [it for it in world.account_regions() if (it.account, it.region) == (account, HOME)]
    [mine] = [log["FlowLogId"] for log in at.managed if log["ResourceId"] == vpc]
    world.client("ec2", account).delete_flow_logs(FlowLogIds=[mine])


def delete_filter(world: World) -> None:
    logs = world.client("logs", world.members[SECOND], REGIONS[1])
    logs.delete_subscription_filter(logGroupName=LOG_GROUP, filterName=FILTER)


def delete_group(world: World) -> None:
    world.client("logs", world.members[LAST]).delete_log_group(logGroupName=LOG_GROUP)


def delete_role(world: World) -> None:
    """Deletes the delivery role, and all managed flow logs in one Region."""
    [at] = [it for it in world.account_regions() if (it.account, it.region) == (world.members[FIRST], HOME)]
    ids = [log["FlowLogId"] for log in at.managed]
    world.client("ec2", world.members[FIRST]).delete_flow_logs(FlowLogIds=ids)
    iam = world.client("iam", world.members[FIRST], "us-east-1")
    for name in iam.list_role_policies(RoleName=DELIVERY_ROLE)["PolicyNames"]:
        iam.delete_role_policy(RoleName=DELIVERY_ROLE, PolicyName=name)
    iam.delete_role(RoleName=DELIVERY_ROLE)


def change_retention(world: World) -> None:
    world.client("logs", world.members[LAST]).put_retention_policy(logGroupName=LOG_GROUP, retentionInDays=1)


def edit_policy(world: World) -> None:
    """Removes an account from the managed statement, and adds a foreign statement for another account."""
    [item] = world.client("logs").describe_destinations(DestinationNamePrefix=DESTINATION)["destinations"]
    policy = json.loads(item["accessPolicy"])
    managed = policy["Statement"][0]
    foreign = {**managed, "Sid": "SecurityTeam", "Principal": {"AWS": world.members[SECOND]}}
    managed["Principal"]["AWS"].remove(world.members[FIRST])
    policy["Statement"].append(foreign)
    world.client("logs").put_destination_policy(destinationName=DESTINATION, accessPolicy=json.dumps(policy))


def exclude(world: World) -> None:
    """Excludes an account that has something to repair and something to enroll."""
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
        none([problem for at in world.account_regions() for problem in flow_log_problems(at, interval)])

    return check


def untouched(world: World) -> None:
    [third] = [it for it in world.account_regions() if (it.account, it.region) == (world.members[THIRD], HOME)]
    equal(len(third.vpcs) - len(third.managed), 2)


def state_has(*texts: str) -> Callable[[World], None]:
    """Every text must be in the end state. A text that begins with a minus must not be."""

    def check(world: World) -> None:
        state = "\n".join(world.end_state())
        for text in texts:
            assert (text.removeprefix("-") in state) != text.startswith("-"), f"{text!r}:\n{state}"

    return check


def no_grant_left(world: World) -> None:
    """The managed statement must not list the account on any destination."""
    lines = [line for line in world.end_state() if f"policy of {DESTINATION} member-{LAST}" in line]
    none([line for line in lines if '"Sid": "VpcEnroller"' in line])


SCENARIOS = [
    Scenario(
        "a backfill of one account in one Region",
        command=("backfill", "--yes", "--write-grants", "--region", HOME, "--account"),
    ),
    Scenario("a backfill of the whole organization", holds=covered()),
    Scenario("a second backfill", planned=0, holds=covered()),
    Scenario("a deleted flow log", delete_flow_log, coverage=1, holds=covered()),
    Scenario("a deleted filter", delete_filter, coverage=1, holds=covered()),
    Scenario("a deleted log group", delete_group, coverage=1, again=True, holds=covered()),
    Scenario("a deleted delivery role", delete_role, again=True, holds=covered()),
    Scenario("a changed retention", change_retention, holds=state_has('-"retentionInDays": 1}')),
    Scenario(
        "an account removed from the policy, and a foreign statement added",
        edit_policy,
        holds=state_has('"Sid": "SecurityTeam"'),
    ),
    Scenario("a new retention setting", settings={"ENROLLER_RETENTION_DAYS": "90"}, holds=state_has('"retentionInDays": 90')),
    Scenario("a new aggregation interval",
             settings={"ENROLLER_AGGREGATION_INTERVAL": "60"}, again=True, holds=covered(60)),
    Scenario("a new log format", settings={"ENROLLER_LOG_FORMAT": FORMAT}, again=True, holds=state_has(FORMAT)),
    Scenario("an account that is excluded", exclude, planned=0, holds=untouched),
    Scenario("an account that is no longer excluded", include_again, again=True, holds=covered(60)),
    Scenario("a VPC that opts out after it was enrolled", opt_out, planned=0),
    Scenario("an account that leaves the organization", leave, holds=no_grant_left),
]


class Referee:
    """Runs both worlds in step."""

    def __init__(self, worlds: list[World], say: Sentences):
        self.worlds = worlds
        self.say = say
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
            if scenario.again:
                ended_with(world.enroller.run(*scenario.command, *narrowed), 0)
            else:
                ended_with(done, 0)
            changes, state = figure(done.stdout, "changes made"), world.end_state()
            equal(changes == 0, scenario.planned == 0)
            equal(state == before, scenario.planned == 0)
            scenario.holds(world)
            return changes, state

        with self.say.check(f"{scenario.sentence} ends in the same state on both"):
            (ours, here), (theirs, there) = self.both(run)
            none(difference(here, there, *(world.name for world in self.worlds)))
            self.say.note(f"{ours} changes on the simulated AWS, {theirs} on moto. {len(here)} lines are equal")

    def begin(self) -> None:
        with self.say.check("a plan of the new organization changes nothing on both"):
            self.both(begin)
            before = self.both(World.end_state)
            for done in self.both(lambda world: world.enroller.run("plan")):
                ended_with(done, 2)
            equal(self.both(World.end_state), before)

    def end(self) -> None:
        with self.say.check("afterwards, coverage and grants find nothing to do on both"):
            for command, code in ((("coverage",), 0), (("grants", "sync", "--dry-run"), 0)):
                for done in self.both(lambda world, command=command: world.enroller.run(*command)):
                    ended_with(done, code)


def difference(here: list[str], there: list[str], here_name: str, there_name: str) -> list[str]:
    only = [f"only on {here_name}: {line}" for line in here if line not in there]
    only += [f"only on {there_name}: {line}" for line in there if line not in here]
    return only or ([] if here == there else ["a line is there more often on one of the two"])


def play(say: Sentences, binary: str) -> None:
    # The central and the management account are two accounts here. On moto they are one.
    with SimulatedAws(binary, AnswerModel(), MEMBERS + 1, 0, settings=(MAKER,)) as aws, MotoAws() as moto:
        referee = Referee([on_sim(aws), on_moto(moto, binary, MEMBERS)], say)
        referee.begin()
        for scenario in SCENARIOS:
            referee.play(scenario)
        referee.end()


if __name__ == "__main__":
    sys.exit(script.run(__doc__, 600, play))
