"""What can be said about a configuration with credentials. Every call only reads.

A finding needs evidence: a call that fails for another reason than "there is no such thing" is reported as not checked. A
caller who may not read everything can still deploy.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from configuration import Configuration

OURS = "VPC Flow Logs enroller"
ORGANIZATIONS = {"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-northwest-1",
                 "aws-eusc": "eusc-de-east-1"}


class Failed(Exception):
    """A call that failed, with AWS's error code."""

    def __init__(self, said: str):
        code = re.search(r"An error occurred \(([^)]+)\)", said)
        self.code = code[1] if code else ""
        super().__init__(self.code or (said.strip().splitlines() or ["the AWS CLI failed"])[-1][:200])


class Account:
    """Calls with the credentials of one account."""

    def __init__(self, cli: str, profile: str):
        self.command = [cli, *(["--profile", profile] if profile else [])]

    def call(self, service: str, operation: str, region: str, *words: str) -> dict[str, Any]:
        command = [*self.command, service, operation, "--region", region, *words, "--output", "json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False)
        if done.returncode != 0:
            raise Failed(done.stderr)
        return json.loads(done.stdout or "{}")

    def find(self, absent: str, service: str, operation: str, region: str, *words: str) -> "dict[str, Any] | None":
        """As call, but None for an error whose code says that there is no such thing."""
        try:
            return self.call(service, operation, region, *words)
        except Failed as failed:
            if failed.code in absent.split():
                return None
            raise


class Checks:
    """All checks with credentials."""

    def __init__(self, configuration: Configuration, cli: str):
        self.of, self.cli = configuration, cli
        self.home = configuration.get("HOME_REGION")
        self.partition = configuration.regions[self.home][0]
        self.organizations = ORGANIZATIONS[self.partition]
        self.ids = {"central": configuration.get("CENTRAL_ACCOUNT"), "management": configuration.get("MANAGEMENT_ACCOUNT")}
        self.accounts: dict[str, Account] = {}

    def attempt(self, what: str, check: Any) -> None:
        try:
            check()
            print(f"  checked: {what}")
        except (Failed, KeyError, IndexError, TypeError, ValueError) as failed:
            print(f"  not checked: {what} ({failed})")

    def run(self) -> None:
        for name in self.ids:
            self._credentials(name)
        readers = [self.accounts[name] for name in ("management", "central") if name in self.accounts]
        if readers:
            self.attempt("the organization, its features and its management account", lambda: self._organization(readers[0]))
            self.attempt("the central account is an active member of the organization", lambda: self._member(readers[0]))
            self.attempt("the roots and OUs in TARGETS", lambda: self._targets(readers[0]))
            self.attempt("the organization's trail", lambda: self._trail(readers[0]))
        for name, account in self.accounts.items():
            self.attempt(f"Regions that are enabled in the {name} account", lambda: self._regions(name, account))
            self.attempt(f"names of roles in the {name} account", lambda: self._roles(name, account))
        if "central" in self.accounts:
            self._central(self.accounts["central"])
        owner = self.of.get("STACK_SET_ACCOUNT")
        if owner in self.accounts:
            self.attempt("the names of the StackSets", lambda: self._stack_set(self.accounts[owner], owner))
        if self.of.get("DeliveryRoleMaker") == "member-stack":
            print(f"  not checked: roles named {self.of.get('DeliveryRoleName')} in the other member accounts, which nobody can see from "
                  "here. A member stack fails where one exists. Choose a DeliveryRoleName that no account has, or delete the old role")

    def _credentials(self, name: str) -> None:
        key = f"{name.upper()}_PROFILE"
        profile, wanted = self.of.values.get(key, ""), self.ids[name]
        account = Account(self.cli, profile)
        try:
            found = account.call("sts", "get-caller-identity", self.home)["Account"]
        except (Failed, KeyError) as failed:
            if profile:
                self.of.refuse(key, f"AWS does not accept its credentials ({failed}). Sign in with this profile, or correct it")
            else:
                print(f"  not checked: the {name} account. There are no current credentials ({failed}), and {key} is not set")
            return
        if found == wanted:
            self.accounts[name] = account
        elif profile:
            self.of.refuse(key, f"its credentials belong to account {found}, but {name.upper()}_ACCOUNT is {wanted}. Correct the wrong one")
        elif found in self.ids.values():
            print(f"  not checked: the {name} account. The current credentials belong to {found}, and {key} is not set")
        else:
            self.of.refuse(f"{name.upper()}_ACCOUNT", f"the current credentials belong to account {found}. Correct the account, or set {key}")

    def _organization(self, reader: Account) -> None:
        found = reader.call("organizations", "describe-organization", self.organizations)["Organization"]
        if found["Id"] != self.of.get("OrganizationId"):
            self.of.refuse("OrganizationId", f"the organization of these credentials is {found['Id']}")
        if found["MasterAccountId"] != self.ids["management"]:
            self.of.refuse("MANAGEMENT_ACCOUNT", f"the management account of {found['Id']} is {found['MasterAccountId']}")
        if found["FeatureSet"] != "ALL":
            self.of.refuse("OrganizationId", f"{found['Id']} has consolidated billing only. Enable all features first: aws organizations "
                                             "enable-all-features")

    def _member(self, reader: Account) -> None:
        try:
            found = reader.call("organizations", "describe-account", self.organizations, "--account-id", self.ids["central"])["Account"]
        except Failed as failed:
            if failed.code != "AccountNotFoundException":
                raise
            self.of.refuse("CENTRAL_ACCOUNT", "is not an account of this organization. Correct it, or invite the account")
            return
        if (found.get("State") or found.get("Status")) != "ACTIVE":
            self.of.refuse("CENTRAL_ACCOUNT", "is closed or suspended. Choose another account")

    def _targets(self, reader: Account) -> None:
        roots = [root["Id"] for root in reader.call("organizations", "list-roots", self.organizations)["Roots"]]
        for target in self.of.listed("TARGETS"):
            if target.startswith("r-"):
                if target not in roots:
                    self.of.refuse("TARGETS", f"there is no root {target} in the organization. Its root is {', '.join(roots)}")
            elif reader.find("OrganizationalUnitNotFoundException", "organizations", "describe-organizational-unit", self.organizations,
                             "--organizational-unit-id", target) is None:
                self.of.refuse("TARGETS", f"there is no OU {target} in the organization (aws organizations "
                                          f"list-organizational-units-for-parent --parent-id {', '.join(roots)})")

    def _trail(self, reader: Account) -> None:
        """A warning: the enroller works without a trail, but then finds new VPCs with the sweep only."""
        trails = reader.call("cloudtrail", "describe-trails", self.home)["trailList"]
        fit = [trail for trail in trails if trail.get("IsOrganizationTrail") and trail.get("IsMultiRegionTrail")]
        if not fit:
            print("  WARNING: there is no organization trail in all Regions. Without it there are no events, and only the daily sweep finds "
                  "new VPCs. Create one in the management account: aws cloudtrail create-trail --is-organization-trail "
                  "--is-multi-region-trail")
            return
        status = [reader.call("cloudtrail", "get-trail-status", trail["HomeRegion"], "--name", trail["TrailARN"]) for trail in fit]
        if not any(one.get("IsLogging") for one in status):
            print(f"  WARNING: the trail {fit[0]['TrailARN']} does not log. Start it: aws cloudtrail start-logging --name {fit[0]['TrailARN']}")

    def _regions(self, name: str, account: Account) -> None:
        found = account.call("ec2", "describe-regions", self.home, "--all-regions")["Regions"]
        enabled = {region["RegionName"] for region in found if region.get("OptInStatus") != "not-opted-in"}
        if not enabled:
            raise Failed("EC2 lists no Region")
        wanted = [("HOME_REGION", self.home), *(("EnrolledRegions", region) for region in self.of.listed("EnrolledRegions"))]
        if name == "central" and self.of.get("CONTROL_TOWER_REGION"):
            wanted.append(("CONTROL_TOWER_REGION", self.of.get("CONTROL_TOWER_REGION")))
        for key, region in wanted:
            if region not in enabled:
                self.of.refuse(key, f"{region} is not enabled in the {name} account {self.ids[name]}. Enable it (aws account "
                                    f"enable-region --region-name {region}), or remove it")

    def _stack(self, account: Account, region: str, name: str) -> bool:
        found = account.find("ValidationError", "cloudformation", "describe-stacks", region, "--stack-name", name)
        return bool(found and found.get("Stacks"))

    def _roles(self, name: str, account: Account) -> None:
        for key in ("MemberRoleName", "DeliveryRoleName", "FilterRoleName"):
            if key == "DeliveryRoleName" and self.of.get("DeliveryRoleMaker") == "enroller":
                continue
            role = self.of.get(key)
            found = account.find("NoSuchEntity NoSuchEntityException", "iam", "get-role", self.organizations, "--role-name", role)
            if found and found.get("Role") and not self._is_ours(account, role, found["Role"]):
                self.of.refuse(key, f"the {name} account {self.ids[name]} has a role {role} that is not of this installation, so the member "
                                    "stack would fail there. Choose another name, or delete that role if nothing uses it")

    def _is_ours(self, account: Account, name: str, role: dict[str, Any]) -> bool:
        tags = {tag["Key"]: tag["Value"] for tag in role.get("Tags", [])}
        return tags.get("application") == "vpc-flow-logs-enroller" or OURS in role.get("Description", "") or self._in_a_stack(account, name)

    def _in_a_stack(self, account: Account, role: str) -> bool:
        """Whether a stack of this installation has the role: the StackSet's, or the plain one in the management account."""
        found = account.find("ValidationError", "cloudformation", "describe-stack-resources", self.home, "--physical-resource-id", role)
        return any(self.of.get("MemberStackName") in item["StackName"] for item in (found or {}).get("StackResources", []))

    def _stack_set(self, account: Account, owner: str) -> None:
        for name in (self.of.get("MemberStackName"), f"{self.of.get('MemberStackName')}-roles"):
            found = account.find("StackSetNotFoundException", "cloudformation", "describe-stack-set", self.home, "--stack-set-name", name,
                                 "--call-as", "DELEGATED_ADMIN" if owner == "central" else "SELF")
            if found and found.get("StackSet") and not found["StackSet"].get("Description", "").startswith(OURS):
                self.of.refuse("MemberStackName", f"there is a StackSet {name} that is not of this installation. Choose another name")

    def _central(self, account: Account) -> None:
        regions = dict.fromkeys([self.home, *self.of.listed("EnrolledRegions")])
        for region in regions:
            stack = "vpc-flow-logs-enroller-" + ("central" if region == self.home else "regional")
            self.attempt(f"the name of the bus in {region}", lambda: self._bus(account, region, stack))
            self.attempt(f"the names of the destinations in {region}", lambda: self._destinations(account, region))
        self.attempt("the name of the delivery stream", lambda: self._stream(account))
        self.attempt("the names of the buckets", lambda: self._buckets(account))

    def _bus(self, account: Account, region: str, stack: str) -> None:
        name = self.of.get("BusName")
        found = account.find("ResourceNotFoundException", "events", "describe-event-bus", region, "--name", name)
        if found and found.get("Arn") and not self._stack(account, region, stack):
            self.of.refuse("BusName", f"{region} has a bus {name} that no stack of this installation made. Choose another name")

    def _destinations(self, account: Account, region: str) -> None:
        name = self.of.get("DestinationName")
        stream = f"arn:{self.partition}:firehose:{self.home}:{self.ids['central']}:deliverystream/vpc-flow-logs"
        found = account.call("logs", "describe-destinations", region, "--destination-name-prefix", name)
        for item in found.get("destinations", []):
            named = re.fullmatch(re.escape(name) + r"(-[0-9]+)?", item["destinationName"])
            if named and item.get("targetArn") != stream and '"VpcEnroller' not in item.get("accessPolicy", ""):
                self.of.refuse("DestinationName", f"{region} has a destination {item['destinationName']} that delivers to "
                                                  f"{item.get('targetArn')}. Choose another name: the enroller would take it over")

    def _stream(self, account: Account) -> None:
        found = account.find("ResourceNotFoundException", "firehose", "describe-delivery-stream", self.home, "--delivery-stream-name",
                             "vpc-flow-logs")
        if found and found.get("DeliveryStreamDescription") and not self._stack(account, self.home, "vpc-flow-logs-enroller-central"):
            self.of.refuse("HOME_REGION", f"{self.home} has a delivery stream vpc-flow-logs that no stack of this installation made, and "
                                          "the name is fixed. Choose another home Region or account, or delete that stream")

    def _buckets(self, account: Account) -> None:
        code, logs = self.of.get("CODE_BUCKET"), self.of.get("BucketName")
        if self._bucket(account, code) == "of others":
            self.of.refuse("CODE_BUCKET", f"the bucket {code} belongs to another account. Choose another name")
        if not logs or self._stack(account, self.home, "vpc-flow-logs-enroller-central"):
            return
        where = self._bucket(account, logs)
        if where:
            self.of.refuse("BucketName", f"the bucket {logs} exists already ({where}), and the stack makes a new one. Choose another name. "
                                         "An earlier installation keeps its bucket")

    def _bucket(self, account: Account, name: str) -> str:
        try:
            account.call("s3api", "head-bucket", self.home, "--bucket", name, "--expected-bucket-owner", self.ids["central"])
        except Failed as failed:
            if failed.code in ("404", "NoSuchBucket"):
                return ""
            if failed.code in ("403", "301", "AccessDenied"):
                return "of others"
            raise
        return "in the central account"


def check_accounts(configuration: Configuration, cli: str) -> None:
    Checks(configuration, cli).run()
