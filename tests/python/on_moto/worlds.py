"""The two independent AWSes that the referee compares: the simulated AWS and moto."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from common.enroller_runs import Enroller
from common.organization_state import DESTINATION, AccountRegion, observe
from common.simulated_aws import HOME, REGIONS, Keys, SimulatedAws
from on_moto.end_state import Clients, end_state
from on_moto.moto_aws import CALLER, MotoAws

# A destination of another tool in the central account.
THEIR_DESTINATION = "SecurityTeam"


@dataclass
class World:
    """One AWS with an organization, and the enroller that runs on it."""

    name: str
    central: str
    # Without the central account. On the simulated AWS, the first member is the management account. On moto, the
    # management account is the central account, because moto treats every caller as the management account.
    members: list[str]
    enroller: Enroller
    # Log groups that exist only because moto requires them for filters to a destination.
    hidden: set[str]
    _clients: Clients
    _remove: Callable[[str], None]

    def client(self, service: str, account: str | None = None, region: str = HOME):
        return self._clients(service, account or self.central, region)

    @property
    def accounts(self) -> list[str]:
        return [self.central, *self.members]

    def end_state(self) -> list[str]:
        names = {self.central: "central"} | {account: f"member-{n}" for n, account in enumerate(self.members)}
        return end_state(self._clients, names, self.central, REGIONS, self.hidden)

    def account_regions(self) -> list[AccountRegion]:
        return observe(self._clients, self.accounts, REGIONS)

    def remove_from_organization(self, account: str) -> None:
        self._remove(account)

    def make_their_destination(self, admitted: str, policy: str) -> None:
        """Creates another tool's destination in the central account, which authorizes one account."""
        environment = self.enroller.environment
        self.client("logs").put_destination(
            destinationName=THEIR_DESTINATION,
            targetArn=environment["ENROLLER_DESTINATION_TARGET_ARN"],
            roleArn=environment["ENROLLER_DESTINATION_ROLE_ARN"],
        )
        self.client("logs").put_destination_policy(destinationName=THEIR_DESTINATION, accessPolicy=policy)
        if THEIR_DESTINATION in self.hidden:
            self.client("logs").create_log_group(logGroupName=THEIR_DESTINATION)


# In both worlds the enroller creates the delivery role.
MAKER = "delivery_role_maker=enroller"


def on_sim(aws: SimulatedAws) -> World:
    """The simulated AWS as `enroller sim --installed` starts it, except that the enroller creates the delivery roles."""
    members = [aws.management.account, *aws.members]
    keys = {account: _root_keys(aws, account) for account in [aws.central.account, *members]}

    def clients(service: str, account: str, region: str):
        return aws.client(service, keys[account], region)

    def remove(account: str) -> None:
        organizations = aws.client("organizations", aws.management, "us-east-1")
        organizations.remove_account_from_organization(AccountId=account)

    # It begins with destinations that grant no account. moto has none, so the enroller creates them on both.
    for region in REGIONS:
        clients("logs", aws.central.account, region).delete_destination(destinationName=DESTINATION)
    enroller = Enroller(aws.binary, aws.endpoint, aws.central, HOME, aws.environment)
    return World("the simulated AWS", aws.central.account, members, enroller, set(), clients, remove)


def _root_keys(aws: SimulatedAws, account: str) -> Keys:
    central = aws.central
    return Keys(account, central.access_key_id.replace(central.account, account), central.secret_access_key)


def on_moto(moto: MotoAws, binary: str, members: int) -> World:
    moto.make_organization(members)
    settings = moto.make_central_resources()
    enroller = Enroller(binary, moto.endpoint, moto.caller, HOME, settings)

    def remove(account: str) -> None:
        moto.client("organizations").remove_account_from_organization(AccountId=account)

    hidden = {DESTINATION, THEIR_DESTINATION}
    return World("moto", CALLER, moto.members, enroller, hidden, moto.client, remove)
