"""What can be said about a configuration without a call to AWS."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from templates import NAMES, Template, holds, references, violation

ACCOUNT = r"[0-9]{12}"
ROOT = r"r-[0-9a-z]{4,32}"
UNIT = r"ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}"
TAG = r"[A-Za-z0-9 _.:/+@-]{1,128}=[A-Za-z0-9 _.:/+@=-]{0,256}"
REGION = r"(eusc|[a-z]{2})(-[a-z]+)+-[0-9]"

# Keys of installation.env.example that are no parameters: pattern, what is expected, and whether the key must be set.
KEYS = {
    "CENTRAL_ACCOUNT": (ACCOUNT, "expected the 12 digits of the central account's id", True),
    "MANAGEMENT_ACCOUNT": (ACCOUNT, "expected the 12 digits of the management account's id", True),
    "HOME_REGION": (REGION, "expected a Region such as eu-west-1", True),
    "TARGETS": (f"({ROOT}|{UNIT})(,({ROOT}|{UNIT}))*", "expected root or OU ids, separated by commas without spaces", True),
    "CENTRAL_PROFILE": (r"\S.*", "expected the name of a profile", False),
    "MANAGEMENT_PROFILE": (r"\S.*", "expected the name of a profile", False),
    "STACK_SET_ACCOUNT": ("central|management", "expected central or management", False),
    "MEMBER_STACK_IN_MANAGEMENT": ("true|false", "expected true or false", False),
    "FAILURE_TOLERANCE_PERCENT": ("[0-9]|[1-9][0-9]|100", "expected 0 to 100", False),
    "CONCURRENT_ACCOUNTS_PERCENT": ("[1-9]|[1-9][0-9]|100", "expected 1 to 100", False),
    "TAGS": (f"{TAG}(,{TAG})*", "expected key=value,key=value, with letters, digits, spaces and _ . : / + @ - only", False),
    "CONTROL_TOWER_REGION": (REGION, "expected a Region such as eu-west-1, or nothing", False),
    "WATCH_IAM": ("true|false", "expected true or false", False),
    "CODE_BUCKET": (r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "expected the name of a bucket, or nothing", False),
    "ZIPS": (r"\S.*", "expected a folder, or the archive of a release, or nothing", False),
    "BUILD_WITH": ("cargo-lambda|cargo", "expected cargo-lambda or cargo", False),
    "BUILD_PROFILE": ("release|dev", "expected release or dev", False),
    "MEMBER_ADMIN_ROLE": (r"[A-Za-z0-9+=,.@_-]{1,64}", "expected the name of a role", False),
}
# Parameters that infra/deploy works out, and the key that decides on them.
DERIVED = {
    "CentralAccountId": "CENTRAL_ACCOUNT",
    "HomeRegion": "HOME_REGION",
    "HomeBusArn": "BusName",
    "CodeBucket": "CODE_BUCKET",
    "CodePrefix": "nothing: it follows from the zips",
    "RolesRegion": "HOME_REGION",
    "Part": "nothing: each StackSet has its own",
    "LogGroupsHaveKmsKey": "LogGroupKmsKeyArn",
}
PLACEHOLDERS = {
    "CENTRAL_ACCOUNT": ("444455556666", "the id of the account that the bucket and the functions will be in"),
    "MANAGEMENT_ACCOUNT": ("111122223333", "Organization.MasterAccountId of `aws organizations describe-organization`"),
    "TARGETS": ("r-exam", "Roots[].Id of `aws organizations list-roots`, or the ids of OUs"),
    "OrganizationId": ("o-exampleorg1", "Organization.Id of `aws organizations describe-organization`"),
    "ExternalId": ("choose-something-of-your-own", "16 or more characters that you made up"),
}
# Keys of tags that infra/deploy and the functions set.
OWN_TAGS = ("application", "managed-by", "vpc-flow-logs-settings")
ROLES = ("MemberRoleName", "DeliveryRoleName", "FilterRoleName")
LISTS = ("TARGETS", "EnrolledRegions", "ExcludedAccounts", "ExcludedOrganizationalUnits", "TAGS")


def regions() -> dict[str, tuple[str, bool]]:
    """Partition of every Region, and whether it is an opt-in Region."""
    lines = Path(__file__).with_name("regions.txt").read_text(encoding="utf-8").splitlines()
    words = (line.split() for line in lines if not line.startswith("#"))
    return {name: (partition, kind == "opt-in") for name, partition, kind in words}


def on_an_emulator() -> bool:
    """Whether AWS_ENDPOINT_URL is on this machine. No account there is a real one."""
    return urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname in ("127.0.0.1", "localhost", "::1")


class Configuration:
    """A configuration file. `refused` has the findings, each with its key."""

    def __init__(self, path: Path):
        self.path = path
        self.values: dict[str, str] = {}
        self.refused: list[tuple[str, str]] = []
        self.templates = [Template(name) for name in NAMES]
        self.regions = regions()
        for line in path.read_text(encoding="utf-8").splitlines():
            key, equals, value = line.rstrip("\r").partition("=")
            if not equals or key.startswith("#"):
                continue
            if key in self.values:
                self.refuse(key, "the file has this key twice: remove one of the lines")
            self.values[key] = value

    def refuse(self, key: str, why: str) -> None:
        self.refused.append((key, why))

    def get(self, key: str) -> str:
        """The value in the file, else the default of a template."""
        if self.values.get(key) or (key in self.values and key not in KEYS):
            return self.values[key]
        if key == "CODE_BUCKET":
            return f"vpc-flow-logs-enroller-code-{self.get('CENTRAL_ACCOUNT')}-{self.get('HOME_REGION')}"
        if key == "ResourceTags" and self.values.get("TAGS"):
            return self.values["TAGS"]
        if key == "STACK_SET_ACCOUNT":
            return "central"
        defaults = (template.parameters.get(key, {}).get("Default") for template in self.templates)
        return next((value for value in defaults if value is not None), "")

    def listed(self, key: str) -> list[str]:
        return [item for item in self.get(key).split(",") if item]

    def check(self) -> None:
        """Every check, so that a person sees all mistakes at once."""
        self._keys()
        self._parameters()
        if not on_an_emulator():
            self._placeholders()
        self._regions()
        self._organization()
        self._names()
        self._tags()
        self._schedule()

    def _keys(self) -> None:
        for key, (pattern, expected, must) in KEYS.items():
            value = self.values.get(key, "")
            if not value and must:
                self.refuse(key, f"is not set: {expected}")
            elif value and not re.fullmatch(pattern, value):
                self.refuse(key, expected)
        for key, value in self.values.items():
            if value != value.strip():
                self.refuse(key, "has a space at its beginning or end: remove it")
            elif len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" and key != "FilterPattern":
                self.refuse(key, "is in quotes, which would become part of the value: remove them")
            if key in DERIVED:
                self.refuse(key, f"infra/deploy works this parameter out. Remove the line, and set {DERIVED[key]}")
        for key in LISTS:
            twice = {item for item in self.listed(key) if self.listed(key).count(item) > 1}
            if twice:
                self.refuse(key, f"has {', '.join(sorted(twice))} twice: name each once")
        if self.values.get("BUILD_PROFILE") == "dev" and self.values.get("BUILD_WITH") != "cargo":
            self.refuse("BUILD_PROFILE", "dev needs BUILD_WITH=cargo")

    def _parameters(self) -> None:
        seen = set()
        for template in self.templates:
            for name, parameter in template.parameters.items():
                if name in DERIVED or name in seen:
                    continue
                seen.add(name)
                # Then it has the value of TAGS, which is checked by its own key.
                if name == "ResourceTags" and not self.values.get(name):
                    continue
                if name not in self.values and "Default" not in parameter:
                    self.refuse(name, f"is not set: {parameter['Description']}")
                    continue
                why = violation(parameter, self.get(name))
                if why:
                    self.refuse(name, why)
            for rule in template.rules.values():
                self._rule(rule)

    def _rule(self, rule: dict) -> None:
        values = {name: self.get(name) for template in self.templates for name in template.parameters}
        if not holds(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}), values):
            return
        for assertion in rule["Assertions"]:
            if not holds(assertion["Assert"], values):
                names = references(rule.get("RuleCondition", {})) + references(assertion["Assert"])
                with_values = " and ".join(f"{name}={values[name]}" for name in dict.fromkeys(names))
                self.refuse(names[-1], f"{with_values} do not go together. {assertion['AssertDescription']}")

    def _placeholders(self) -> None:
        for key, (placeholder, instead) in PLACEHOLDERS.items():
            if placeholder in self.listed(key):
                self.refuse(key, f"still has the value of the example. Set it to {instead}")

    def _regions(self) -> None:
        home, wanted = self.get("HOME_REGION"), self.listed("EnrolledRegions")
        named = [("HOME_REGION", home), *(("EnrolledRegions", region) for region in wanted)]
        if self.get("CONTROL_TOWER_REGION"):
            named.append(("CONTROL_TOWER_REGION", self.get("CONTROL_TOWER_REGION")))
        for key, region in named:
            if region not in self.regions and re.fullmatch(REGION, region):
                self.refuse(key, f"{region} is not a Region that this version knows (infra/check/regions.txt). Correct it, or "
                                 "add a line there if the Region is new")
        if home not in self.regions:
            return
        partition, opt_in = self.regions[home]
        if opt_in:
            self.refuse("HOME_REGION", f"{home} is an opt-in Region: StackSets, STS and the forwarded events would fail in every "
                                       "account that has not enabled it. Choose a Region that every account has")
        for key, region in named[1:]:
            if region in self.regions and self.regions[region][0] != partition:
                self.refuse(key, f"{region} is in the partition {self.regions[region][0]}, but HOME_REGION is in {partition}. Each "
                                 "partition needs an installation of its own")
        for key in ("LogGroupKmsKeyArn", "OperatorRoleArn"):
            if self.get(key) and self.get(key).split(":")[1] != partition:
                self.refuse(key, f"the ARN must begin with arn:{partition}: as HOME_REGION is in that partition")
        key_region = (self.get("LogGroupKmsKeyArn").split(":") + [""] * 4)[3]
        if key_region and key_region != "{region}" and any(region != key_region for region in wanted):
            self.refuse("LogGroupKmsKeyArn", f"the key is in {key_region}, but a log group needs a key in its own Region. Write "
                                             "{region} in its place and make a (multi-Region) key in all of EnrolledRegions")

    def _organization(self) -> None:
        central, management = self.get("CENTRAL_ACCOUNT"), self.get("MANAGEMENT_ACCOUNT")
        if central and central == management:
            self.refuse("CENTRAL_ACCOUNT", "must not be the management account: service control policies do not apply there, and "
                                           "StackSets leave it out. Choose a member account")
        if self.values.get("MEMBER_STACK_IN_MANAGEMENT") == "false" and management not in self.listed("ExcludedAccounts"):
            self.refuse("MEMBER_STACK_IN_MANAGEMENT", f"without its member stack the management account cannot be enrolled, and every "
                                                      f"sweep would fail there. Add {management} to ExcludedAccounts")
        operator = self.get("OperatorRoleArn")
        if operator and f":iam::{central}:role/" not in operator:
            self.refuse("OperatorRoleArn", "expected a role of CENTRAL_ACCOUNT: the member roles trust no other account")
        targets = self.listed("TARGETS")
        roots = {re.sub(r"^ou-([0-9a-z]+)-.*|^r-(.*)", lambda match: match[1] or match[2], target) for target in targets}
        if len(roots) > 1:
            self.refuse("TARGETS", "the ids belong to different roots, but an organization has one. The part after r- or ou- must "
                                   "be the same in all of them")
        root = [target for target in targets if target.startswith("r-")]
        if root and len(targets) > 1:
            self.refuse("TARGETS", f"{root[0]} already has all accounts: name the root or OUs, not both")
        for unit in self.listed("ExcludedOrganizationalUnits"):
            if unit in targets:
                self.refuse("ExcludedOrganizationalUnits", f"{unit} is in TARGETS as well: nothing would be enrolled there. Remove "
                                                           "it from one of them")

    def _names(self) -> None:
        fixed = {name.lower() for template in self.templates for name in template.fixed_roles()}
        taken: dict[str, str] = {}
        for key in ROLES:
            name = self.get(key).lower()  # IAM compares names without regard to case.
            if name in fixed:
                self.refuse(key, f"a template makes a role {self.get(key)} for another purpose. Choose another name")
            elif name in taken:
                self.refuse(key, f"is the same role as {taken[name]}. Each needs a name of its own")
            taken[name] = key
        if self.get("PermissionsBoundaryName") and self.get("DeliveryRoleMaker") == "enroller":
            self.refuse("PermissionsBoundaryName", "with DeliveryRoleMaker=enroller, the functions make the delivery role, and without "
                                                   "a boundary. Set DeliveryRoleMaker=member-stack")
        bucket = self.get("BucketName")
        if bucket and bucket == self.get("CODE_BUCKET"):
            self.refuse("BucketName", "is the bucket of the zips (CODE_BUCKET). The logs need a bucket of their own")
        # S3 user guide, "General purpose bucket naming rules".
        if re.match(r"xn--|sthree-|amzn-s3-demo-", bucket) or re.search(r"(-s3alias|--ol-s3|--x-s3|--table-s3|-an)$", bucket):
            self.refuse("BucketName", "has a prefix or suffix that S3 reserves. Choose another name")

    def _tags(self) -> None:
        for setting in ("TAGS", "ResourceTags"):
            if setting not in self.values:
                continue
            keys = [tag.partition("=")[0].lower() for tag in self.listed(setting)]
            if len(keys) != len(set(keys)):
                self.refuse(setting, "has a key twice, in whatever letters: name each once")
            if len(keys) > 40:
                self.refuse(setting, "has more than 40 tags. A resource takes 50, and CloudFormation and the enroller add some")
            for key in keys:
                if key.startswith("aws:"):
                    self.refuse(setting, f"{key}: AWS reserves keys that begin with aws:")
                if key in OWN_TAGS:
                    self.refuse(setting, f"the tag {key} has a meaning here and is set by the enroller itself: remove it")

    def _schedule(self) -> None:
        """EventBridge user guide, "Schedule patterns". The parameter's pattern cannot express these."""
        schedule = self.get("SweepSchedule")
        rate = re.fullmatch(r"rate\(([0-9]+) (minute|hour|day)(s?)\)", schedule)
        if rate and (rate[1] == "1") == bool(rate[3]):
            self.refuse("SweepSchedule", f"EventBridge wants {rate[2]} with 1, and {rate[2]}s with any other number")
        cron = re.fullmatch(r"cron\((.*)\)", schedule)
        if cron:
            fields = cron[1].split()
            if len(fields) != 6:
                self.refuse("SweepSchedule", f"cron(…) has six fields in EventBridge, not {len(fields)}: minutes, hours, day of the "
                                             "month, month, day of the week, year")
            elif [fields[2], fields[4]].count("?") != 1:
                self.refuse("SweepSchedule", "one of day of the month and day of the week must be ?, and the other not")
