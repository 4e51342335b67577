#!/usr/bin/env python3
"""Runs `enroller plan`, `backfill` and `coverage` against a moto server, and looks at what they leave there.

    python tests/python/on_moto/backfill_on_moto.py PATH-OF-THE-BINARY

What moto has and the simulated AWS over HTTP has not: units within units, and a closed account. What both have is compared
by `referee.py`. Prints one sentence for each check. Exit code 0 when all checks passed, 1 when one failed, 2 when they could
not start.

Where moto is not like AWS:
- The caller's account is also the management account, and any AssumeRole succeeds: roles, trust and external ids are
  not tested here.
- Destination policies are stored unread, and nothing asks them: only their text is checked.
- ListAccounts gives no Paths, so units come from ListParents, call by call.
- DescribeVpcs and DescribeFlowLogs do not page.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

from common import script
from common.enroller_runs import Enroller, ended_with, figure
from common.organization_state import (
    DELIVERY_ROLE,
    LOG_GROUP,
    OPT_OUT,
    Place,
    filter_problems,
    flow_log_problems,
    observe,
    policies,
    policy_problems,
)
from common.sentences import Sentences, none
from common.simulated_aws import equal
from on_moto.moto_aws import CALLER, HOME, REGIONS, MotoAws

MEMBERS = 6
# Beside the default VPC, which moto makes in each account and Region.
VPCS = 2
FOREIGN_FILTER = "ToTheSecurityTeam"
FOREIGN_DESTINATION = "SecurityTeam"
FOREIGN_BUCKET = "flow-logs-of-the-network-team"


class Story:
    """The organization on moto and the enroller that works on it, from the first plan to full coverage."""

    def __init__(self, moto: MotoAws, binary: str, told: Sentences):
        self.moto = moto
        self.told = told
        moto.make_organization(MEMBERS)
        self.enroller = Enroller(binary, moto.endpoint, moto.caller, HOME, moto.make_central_resources())
        for account in moto.accounts:
            for region in REGIONS:
                for number in range(VPCS):
                    moto.client("ec2", account, region).create_vpc(CidrBlock=f"10.{number}.0.0/16")
        self._make_foreign_things()

    def _make_foreign_things(self) -> None:
        """What others made before: they must find it as they left it."""
        account = self.moto.members[0]
        # moto looks for the bucket in the flow log's own account only.
        where = {"LocationConstraint": HOME}
        self.moto.client("s3", account).create_bucket(Bucket=FOREIGN_BUCKET, CreateBucketConfiguration=where)
        ec2 = self.moto.client("ec2", account)
        answer = ec2.create_flow_logs(
            ResourceType="VPC", ResourceIds=[ec2.describe_vpcs()["Vpcs"][0]["VpcId"]], TrafficType="REJECT",
            LogDestinationType="s3", LogDestination=f"arn:aws:s3:::{FOREIGN_BUCKET}",
        )
        equal(answer["Unsuccessful"], [])
        self.moto.client("ec2", self.moto.members[1]).create_vpc(
            CidrBlock="10.9.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": [OPT_OUT]}]
        )
        self.moto.client("logs").create_log_group(logGroupName=FOREIGN_DESTINATION)
        logs = self.moto.client("logs", self.moto.members[2])
        logs.create_log_group(logGroupName=LOG_GROUP)
        logs.put_subscription_filter(
            logGroupName=LOG_GROUP, filterName=FOREIGN_FILTER, filterPattern="REJECT",
            destinationArn=f"arn:aws:logs:{HOME}:{CALLER}:destination:{FOREIGN_DESTINATION}",
        )

    # --- looking ---

    def places(self) -> list[Place]:
        return observe(self.moto.client, self.moto.accounts, REGIONS)

    def policies(self) -> dict[str, dict[str, str]]:
        return {region: policies(self.moto.client("logs", region=region)) for region in REGIONS}

    def covered(self, when: str) -> None:
        """The checks that hold after every run to the end."""
        places, found = self.places(), self.policies()
        with self.told.check(f"{when}, every VPC of every account and Region has exactly one flow log of ours"):
            none([problem for place in places for problem in flow_log_problems(place)])
            vpcs = sum(len(place.vpcs) for place in places)
            equal(vpcs, len(self.moto.accounts) * len(REGIONS) * (1 + VPCS) + 1)
            equal(sum(len(place.ours) for place in places), vpcs - 1)
        with self.told.check(f"{when}, every log group has our filter to the destination of its Region"):
            none([problem for place in places for problem in filter_problems(place, CALLER)])
        with self.told.check(f"{when}, log groups keep 30 days, but for the one that somebody else made"):
            kept = {(place.account, place.region): place.log_group.get("retentionInDays") for place in places}
            equal(kept.pop((self.moto.members[2], HOME)), None)
            equal(set(kept.values()), {30})
        with self.told.check(f"{when}, the policy of every Region names every account once"):
            none([text for region in REGIONS for text in policy_problems(region, found[region], self.moto.accounts)])

    def foreign(self) -> tuple[list[dict], list[dict]]:
        """What others made, with everything moto says about it."""
        places = self.places()
        logs = [log for place in places for log in place.foreign]
        return logs, [item for place in places for item in place.foreign_filters]

    # --- what happens ---

    def first_run(self) -> None:
        foreign = self.foreign()
        equal((len(foreign[0]), len(foreign[1])), (1, 1))
        with self.told.check("a plan of the new organization tells of changes and makes none"):
            before = self.places(), self.policies()
            ended_with(self.enroller.run("plan"), 2)
            equal((self.places(), self.policies()), before)
        with self.told.check("a backfill narrowed to a unit enrolls the accounts below it, units of units included"):
            ended_with(self.enroller.run("backfill", "--yes", "--ou", self.moto.upper), 0)
            enrolled = {place.account for place in self.places() if place.ours}
            equal(enrolled, set(self.moto.members[1::3] + self.moto.members[2::3]))
        with self.told.check("the first whole backfill ends well"):
            done = self.enroller.run("backfill", "--yes")
            ended_with(done, 0)
            equal(figure(done.stdout, "accounts done"), len(self.moto.accounts))
        self.covered("after the first run")
        with self.told.check("a closed account is neither enrolled nor granted"):
            [closed] = observe(self.moto.client, [self.moto.closed], [HOME])
            equal((closed.ours, closed.log_group), ([], None))
            assert self.moto.closed not in str(self.policies()), self.policies()
        with self.told.check("every account has the delivery role, which flow logs may take on"):
            for account in self.moto.accounts:
                role = self.moto.client("iam", account).get_role(RoleName=DELIVERY_ROLE)["Role"]
                trusted = [item["Principal"]["Service"] for item in role["AssumeRolePolicyDocument"]["Statement"]]
                equal(trusted, ["vpc-flow-logs.amazonaws.com"])
        self._unchanged(foreign, "the first run")
        with self.told.check("plan and coverage then find nothing to do"):
            ended_with(self.enroller.run("plan"), 0)
            ended_with(self.enroller.run("coverage"), 0)

    def _unchanged(self, foreign: tuple, event: str) -> None:
        with self.told.check(f"{event} leaves the flow log and the filter of others as they were"):
            equal(self.foreign(), foreign)


def play(told: Sentences, binary: str) -> None:
    with MotoAws() as moto:
        Story(moto, binary, told).first_run()


if __name__ == "__main__":
    sys.exit(script.run(__doc__, 300, play))
