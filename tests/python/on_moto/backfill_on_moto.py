#!/usr/bin/env python3
"""Runs `enroller plan`, `backfill` and `coverage` against a moto server, and checks the resulting state.

    python tests/python/on_moto/backfill_on_moto.py PATH-OF-THE-BINARY

It covers what moto has and the simulated AWS over HTTP does not: nested OUs and a closed account. `referee.py` compares
what both have. Prints one sentence for each check.

Exit code: 0 if all checks passed, 1 if one failed, 2 if they could not start.

Where moto differs from AWS:
- The caller's account is also the management account, and every AssumeRole succeeds. So roles, trust policies and
  external ids are not tested here.
- moto stores destination policies and never evaluates them. So only their text is checked.
- ListAccounts returns no Paths, so the enroller finds OUs with ListParents.
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
    AccountRegion,
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
# In addition to the default VPC, which moto creates in each account and Region.
VPCS = 2
FOREIGN_FILTER = "ToTheSecurityTeam"
FOREIGN_DESTINATION = "SecurityTeam"
FOREIGN_BUCKET = "flow-logs-of-the-network-team"


class Story:
    """An organization on moto and the enroller that runs on it, from the first plan to full coverage."""

    def __init__(self, moto: MotoAws, binary: str, say: Sentences):
        self.moto = moto
        self.say = say
        moto.make_organization(MEMBERS)
        self.enroller = Enroller(binary, moto.endpoint, moto.caller, HOME, moto.make_central_resources())
        for account in moto.accounts:
            for region in REGIONS:
                for number in range(VPCS):
                    moto.client("ec2", account, region).create_vpc(CidrBlock=f"10.{number}.0.0/16")
        self._make_foreign_things()

    def _make_foreign_things(self) -> None:
        """Creates resources of other tools, which the enroller must not change."""
        account = self.moto.members[0]
        # moto requires the bucket in the flow log's own account.
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

    # --- state ---

    def account_regions(self) -> list[AccountRegion]:
        return observe(self.moto.client, self.moto.accounts, REGIONS)

    def policies(self) -> dict[str, dict[str, str]]:
        return {region: policies(self.moto.client("logs", region=region)) for region in REGIONS}

    def covered(self, when: str) -> None:
        """Checks that hold after every complete run."""
        account_regions, found = self.account_regions(), self.policies()
        with self.say.check(f"{when}, every VPC in every account-Region has exactly one managed flow log"):
            none([problem for at in account_regions for problem in flow_log_problems(at)])
            vpcs = sum(len(at.vpcs) for at in account_regions)
            equal(vpcs, len(self.moto.accounts) * len(REGIONS) * (1 + VPCS) + 1)
            equal(sum(len(at.managed) for at in account_regions), vpcs - 1)
        with self.say.check(f"{when}, every log group has the managed filter to the destination of its Region"):
            none([problem for at in account_regions for problem in filter_problems(at, CALLER)])
        with self.say.check(f"{when}, log groups have a retention of 30 days, except the one from another tool"):
            kept = {(at.account, at.region): at.log_group.get("retentionInDays") for at in account_regions}
            equal(kept.pop((self.moto.members[2], HOME)), None)
            equal(set(kept.values()), {30})
        with self.say.check(f"{when}, the policy in every Region lists every account once"):
            none([text for region in REGIONS for text in policy_problems(region, found[region], self.moto.accounts)])

    def foreign(self) -> tuple[list[dict], list[dict]]:
        """Flow logs and filters of other tools, with all their attributes."""
        account_regions = self.account_regions()
        logs = [log for at in account_regions for log in at.foreign]
        return logs, [item for at in account_regions for item in at.foreign_filters]

    # --- actions ---

    def first_run(self) -> None:
        foreign = self.foreign()
        equal((len(foreign[0]), len(foreign[1])), (1, 1))
        with self.say.check("a plan of the new organization shows changes and makes none"):
            before = self.account_regions(), self.policies()
            ended_with(self.enroller.run("plan"), 2)
            equal((self.account_regions(), self.policies()), before)
        with self.say.check("a backfill with --ou enrolls the accounts below the OU, nested OUs included"):
            ended_with(self.enroller.run("backfill", "--yes", "--write-grants", "--ou", self.moto.upper), 0)
            enrolled = {at.account for at in self.account_regions() if at.managed}
            equal(enrolled, set(self.moto.members[1::3] + self.moto.members[2::3]))
        with self.say.check("the first backfill of the whole organization succeeds"):
            done = self.enroller.run("backfill", "--yes", "--write-grants")
            ended_with(done, 0)
            equal(figure(done.stdout, "accounts done"), len(self.moto.accounts))
        self.covered("after the first run")
        with self.say.check("a closed account is neither enrolled nor granted"):
            [closed] = observe(self.moto.client, [self.moto.closed], [HOME])
            equal((closed.managed, closed.log_group), ([], None))
            assert self.moto.closed not in str(self.policies()), self.policies()
        with self.say.check("every account has the delivery role, which the flow logs service can assume"):
            for account in self.moto.accounts:
                role = self.moto.client("iam", account).get_role(RoleName=DELIVERY_ROLE)["Role"]
                trusted = [item["Principal"]["Service"] for item in role["AssumeRolePolicyDocument"]["Statement"]]
                equal(trusted, ["vpc-flow-logs.amazonaws.com"])
        self._unchanged(foreign, "the first run")
        with self.say.check("afterwards, plan and coverage find nothing to do"):
            ended_with(self.enroller.run("plan"), 0)
            ended_with(self.enroller.run("coverage"), 0)

    def _unchanged(self, foreign: tuple, event: str) -> None:
        with self.say.check(f"{event} does not change the flow log and the filter of other tools"):
            equal(self.foreign(), foreign)


def play(say: Sentences, binary: str) -> None:
    with MotoAws() as moto:
        Story(moto, binary, say).first_run()


if __name__ == "__main__":
    sys.exit(script.run(__doc__, 300, play))
