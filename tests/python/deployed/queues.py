"""Checks of failures: malformed messages, accounts that are not ready, dead letters and their redrive."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager

from botocore.exceptions import ClientError

from common.sentences import Sentences
from common.simulated_aws import HOME, equal
from deployed.aws import DeployedAws, wait_for_none, wait_until
from deployed.events import create_vpc, put
from deployed.installation import output
from deployed.work import problems

QUEUE = "vpc-flow-logs-enrollments"
FUNCTION_LOG = "/aws/lambda/vpc-flow-logs-vpc-enroller"
DENY_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}],
}


def failures(say: Sentences, aws: DeployedAws) -> None:
    _poison(say, aws)
    account = aws.sim.members[0]
    with say.check("an account whose role is missing is retried, and enrolled once the role exists"):
        with _member_role_missing(aws, account):
            since = _now_ms()
            _new_vpc(aws, account)
            wait_until(lambda: _logged(aws, since, account, "retry-later"), "the enroller logs that it retries later")
            assert problems(aws, [account])
        wait_for_none(lambda: problems(aws, [account]))
    _redrive(say, aws, account)


def _poison(say: Sentences, aws: DeployedAws) -> None:
    url, since, messages = output(aws, "EnrollmentsQueueUrl"), _now_ms(), 2
    account = aws.sim.members[0]
    sqs = aws.deployed("sqs", aws.central)
    with say.check("malformed and forged messages move to the dead-letter queue after all their receives"):
        sqs.send_message(QueueUrl=url, MessageBody='{"source": "aws.ec2", "detail": {"eventName": "CreateVpc"')
        # The record claims to be from another account.
        forged = create_vpc(aws.sim.members[1], HOME, {"VpcId": "vpc-0123456789abcdef0", "CidrBlock": "10.0.0.0/16"})
        put(aws, account, HOME, forged)
        wait_until(lambda: _waiting(aws, f"{QUEUE}-dead") == messages, "both messages are dead letters")
        equal(_waiting(aws, QUEUE), 0)
    with say.check("each receive counts in the metric EventsRefused, which has an alarm"):
        equal(_metric(aws, since, "EventsRefused"), messages * _receives(aws))
    with say.check("the dead-letter queue can be purged, as the runbook describes"):
        sqs.purge_queue(QueueUrl=_url(aws, f"{QUEUE}-dead"))
        equal(_waiting(aws, f"{QUEUE}-dead"), 0)


def _redrive(say: Sentences, aws: DeployedAws, account: str) -> None:
    sqs, url = aws.deployed("sqs", aws.central), output(aws, "EnrollmentsQueueUrl")
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    with _member_role_missing(aws, account):
        say.note("maxReceiveCount of the queue is 1 instead of 12 for a while, because 12 receives take two hours")
        policy = json.dumps({**json.loads(before), "maxReceiveCount": 1})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
        with say.check("the message of an account that never becomes ready moves to the dead-letter queue"):
            _new_vpc(aws, account)
            wait_until(lambda: _waiting(aws, f"{QUEUE}-dead") == 1, "its message is a dead letter")
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": before})
    with say.check("ministack has no message move tasks, so the next check does the redrive by hand"):
        arn = f"arn:aws:sqs:{HOME}:{aws.central}:{QUEUE}-dead"
        try:
            sqs.start_message_move_task(SourceArn=arn)
        except ClientError as error:
            assert error.response["Error"]["Code"] in {"InvalidAction", "UnsupportedOperation"}, error
        else:
            raise AssertionError("ministack has them now: use them for the redrive below")
    with say.check("after the redrive, the message enrolls the account"):
        [message] = sqs.receive_message(QueueUrl=_url(aws, f"{QUEUE}-dead"), WaitTimeSeconds=5)["Messages"]
        sqs.send_message(QueueUrl=url, MessageBody=message["Body"])
        sqs.delete_message(QueueUrl=_url(aws, f"{QUEUE}-dead"), ReceiptHandle=message["ReceiptHandle"])
        wait_for_none(lambda: problems(aws, [account]))
        wait_until(lambda: _waiting(aws, QUEUE) == 0, "the queue is empty")
        equal(_waiting(aws, f"{QUEUE}-dead"), 0)


def _new_vpc(aws: DeployedAws, account: str) -> None:
    """Creates a VPC, and sends the event for it."""
    vpc = aws.simulated("ec2", account).create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]
    put(aws, account, HOME, create_vpc(account, HOME, vpc))


@contextmanager
def _member_role_missing(aws: DeployedAws, account: str):
    """Denies the functions the role. For them, this is the same as a missing role."""
    iam, role = aws.simulated("iam", account), aws.sim.member_role
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(DENY_ALL))
    # A change of its configuration restarts the function without its cached sessions.
    function, client = output(aws, "VpcEnrollerFunctionName"), aws.deployed("lambda", aws.central)
    size = client.get_function_configuration(FunctionName=function)["MemorySize"]
    client.update_function_configuration(FunctionName=function, MemorySize=size + 1)
    try:
        yield
    finally:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))


# --- state ---


def _url(aws: DeployedAws, name: str) -> str:
    return aws.deployed("sqs", aws.central).get_queue_url(QueueName=name)["QueueUrl"]


def _waiting(aws: DeployedAws, name: str) -> int:
    """The number of messages on a queue, with those in flight and delayed."""
    attributes = aws.deployed("sqs", aws.central).get_queue_attributes(QueueUrl=_url(aws, name), AttributeNames=["All"])
    return sum(int(value) for key, value in attributes["Attributes"].items() if key.startswith("ApproximateNumber"))


def _receives(aws: DeployedAws) -> int:
    queue = aws.deployed("sqs", aws.central).get_queue_attributes(QueueUrl=_url(aws, QUEUE), AttributeNames=["All"])
    return json.loads(queue["Attributes"]["RedrivePolicy"])["maxReceiveCount"]


def _now_ms() -> int:
    return int(time.time() * 1_000)


def _lines(aws: DeployedAws, since: int) -> list[dict]:
    """The enroller's log lines since then: decisions and metrics."""
    logs = aws.deployed("logs", aws.central)
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=FUNCTION_LOG, startTime=since)
    texts = [event["message"] for page in pages for event in page["events"]]
    return [json.loads(text) for text in texts if text.startswith("{")]


def _logged(aws: DeployedAws, since: int, account: str, outcome: str) -> bool:
    return any(line.get("account") == account and line.get("outcome") == outcome for line in _lines(aws, since))


def _metric(aws: DeployedAws, since: int, name: str) -> int:
    """The sum of a metric in embedded metric format, as CloudWatch would extract it from the lines."""
    return int(sum(line.get(name, 0) for line in _lines(aws, since) if "_aws" in line))
