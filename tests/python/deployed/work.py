"""Checks of the deployed functions at work: the first run, events, permissions and event patterns."""

from __future__ import annotations

import json

from botocore.exceptions import ClientError

from common.enroller_runs import Enroller, ended_with
from common.event_patterns import ACCOUNT_EVENTS, MEMBER_EVENTS
from common.organization_state import DESTINATION, filter_problems, flow_log_problems, granted, observe, policies, policy_problems
from common.sentences import Sentences, none
from common.simulated_aws import GLOBAL, HOME, REGIONS, equal
from deployed.aws import DeployedAws, wait_for_none
from deployed.events import account_joined, create_vpc, put
from deployed.installation import output

BUS = "vpc-flow-logs-enroller"


def problems(aws: DeployedAws, accounts: list[str], regions: list[str] = REGIONS) -> list[str]:
    """What is missing before these accounts are enrolled everywhere."""
    account_regions = observe(aws.simulated, accounts, regions)
    found = [text for at in account_regions for text in flow_log_problems(at)]
    found += [text for at in account_regions for text in filter_problems(at, aws.central)]
    for region in regions:
        of_region = policies(aws.simulated("logs", aws.central, region))
        found += policy_problems(region, {DESTINATION: of_region.get(DESTINATION, "")}, aws.accounts)
    return found


def first_run(say: Sentences, aws: DeployedAws) -> None:
    function = output(aws, "BackfillFunctionName")
    client = aws.deployed("lambda", aws.central)
    with say.check("a dry run of the deployed backfill returns a plan and changes nothing"):
        before = _calls(aws)
        answer = client.invoke(FunctionName=function, Payload=b'{"dry_run": true, "reason": "before the first run"}')
        plan = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, plan
        equal(plan["accounts"], len(aws.accounts))
        equal(plan["plan"]["actions"]["put-subscription-filter"], len(aws.accounts) * len(REGIONS))
        equal(_calls(aws), before)
    enroller = _operator(aws)
    with say.check("enroller backfill --function invokes it, waits until the queues are empty, and succeeds"):
        ended_with(enroller.run("backfill", "--yes", "--function", function), 0)
    with say.check("afterwards, every VPC in every account-Region is enrolled, and every account is granted"):
        wait_for_none(lambda: problems(aws, aws.accounts))
    with say.check("enroller backfill --function without --yes and without a terminal ends with 1"):
        before = _calls(aws)
        done = enroller.run("backfill", "--function", function)
        ended_with(done, 1)
        assert "--yes" in done.stderr, done.stderr
        equal(_calls(aws), before)
    with say.check("enroller backfill --function with an unknown function reports it and ends with 1"):
        done = enroller.run("backfill", "--yes", "--function", "no-such-function")
        ended_with(done, 1)
        assert "no-such-function" in done.stderr, done.stderr


def _operator(aws: DeployedAws) -> Enroller:
    """The command line tool with credentials of the central account."""
    queues = {
        f"ENROLLER_{name.upper()}_QUEUE_URL": output(aws, f"{name.capitalize()}QueueUrl")
        for name in ("enrollments", "grants", "backfill")
    }
    keys = aws.keys(aws.central)
    settings = {**aws.endpoints(), **aws.sim.environment, **queues}
    return Enroller(aws.sim.binary, aws.endpoint, keys, HOME, settings)


def _calls(aws: DeployedAws) -> int:
    return aws.mutating_calls()


def events(say: Sentences, aws: DeployedAws) -> None:
    account, joined = aws.sim.members[:2]
    with say.check("a CreateVpc event in another Region of a member account leads to an enrolled VPC"):
        vpc = aws.simulated("ec2", account, GLOBAL).create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]
        assert problems(aws, [account]), "it is enrolled before the event was sent"
        put(aws, account, GLOBAL, create_vpc(account, GLOBAL, vpc))
        wait_for_none(lambda: problems(aws, [account]))
    with say.check("an AccountJoinedOrganization event in the management account leads to a grant"):
        _revoke(aws, joined)
        put(aws, aws.management, GLOBAL, account_joined(aws.management, joined))
        wait_for_none(lambda: problems(aws, [joined]))


def _revoke(aws: DeployedAws, account: str) -> None:
    """Removes an account from the policies, as if it were new."""
    for region in REGIONS:
        logs = aws.simulated("logs", aws.central, region)
        policy = json.loads(policies(logs)[DESTINATION])
        [statement] = policy["Statement"]
        statement["Principal"]["AWS"].remove(account)
        logs.put_destination_policy(destinationName=DESTINATION, accessPolicy=json.dumps(policy))


def permissions(say: Sentences, aws: DeployedAws) -> None:
    """The checks before show that the roles allow what the functions do. This shows that they allow no more."""
    bucket = output(aws, "BucketName")
    own, grants, backfill = (output(aws, f"{name}QueueUrl") for name in ("Enrollments", "Grants", "Backfill"))
    with say.check("the enroller's role can use its own queue and send to the onboarder's, and nothing else"):
        sqs = aws.as_function("VpcFlowLogsEnrollerVpcEnroller", "sqs")
        sqs.get_queue_attributes(QueueUrl=own, AttributeNames=["QueueArn"])
        for attempt in (
            lambda: sqs.receive_message(QueueUrl=grants),
            lambda: sqs.send_message(QueueUrl=backfill, MessageBody="{}"),
            lambda: sqs.purge_queue(QueueUrl=own),
            lambda: aws.as_function("VpcFlowLogsEnrollerVpcEnroller", "s3").list_objects_v2(Bucket=bucket),
        ):
            try:
                attempt()
            except ClientError as error:
                assert error.response["Error"]["Code"].startswith("AccessDenied"), error
            else:
                raise AssertionError("the call succeeded")


def patterns(say: Sentences, aws: DeployedAws) -> None:
    """Tests the deployed rules with ministack's matcher. `check_templates.py` tests them with our own."""
    account = aws.sim.members[0]
    with say.check("by ministack's matcher, a member account's rules forward what concerns the enroller"):
        names = ["vpcs", "tags", "log-group", "filter", "stack", "group", "watch", "watch-of-watch"]
        rules = _rules(aws, account, "default", [f"vpc-flow-logs-enroller-{name}" for name in names])
        none([text for wanted, event in MEMBER_EVENTS for text in _unlike(aws, rules, event, account, int(wanted))])
    with say.check("the management account's rule forwards what concerns the enroller"):
        rules = _rules(aws, aws.management, "default", ["vpc-flow-logs-enroller-account-events"], GLOBAL)
        none([text for wanted, event in ACCOUNT_EVENTS for text in _unlike(aws, rules, event, account, int(wanted))])
    with say.check("every forwarded event matches exactly one rule of the home bus"):
        rules = _rules(aws, aws.central, BUS, ["vpc-events", "member-stack-events", "account-events", "watch-events", "center-events"])
        forwarded = [event for wanted, event in MEMBER_EVENTS + ACCOUNT_EVENTS if wanted]
        none([text for event in forwarded for text in _unlike(aws, rules, event, account, 1)])


def _rules(aws: DeployedAws, account: str, bus: str, names: list[str], region: str = HOME) -> list[str]:
    client = aws.deployed("events", account, region)
    return [client.describe_rule(Name=name, EventBusName=bus)["EventPattern"] for name in names]


def _unlike(aws: DeployedAws, rules: list[str], event: dict, account: str, wanted: int) -> list[str]:
    # The events in the table are from another account.
    text = json.dumps(event).replace("111122223333", account)
    client = aws.deployed("events", aws.central)
    found = sum(client.test_event_pattern(EventPattern=rule, Event=text)["Result"] for rule in rules)
    return [] if found == wanted else [f"{found} rules match, not {wanted}: {text}"]
