"""The installed queues, and the events that reach them (SQS)."""

from __future__ import annotations

import hashlib
import json
import time

from common.simulated_aws import SimulatedAws, equal, refused

# Seconds within which a sent message, or the event of a call, must arrive.
PATIENCE_S = 10


class Queue:
    def __init__(self, aws: SimulatedAws, variable: str):
        self.sqs = aws.client("sqs", aws.central)
        self.url = aws.environment[f"ENROLLER_{variable}_QUEUE_URL"]

    def send(self, body: str, **more) -> dict:
        return self.sqs.send_message(QueueUrl=self.url, MessageBody=body, **more)

    def attributes(self) -> dict:
        return self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]

    def receive(self, wanted) -> dict:
        """Returns the first message whose body is wanted, and deletes messages of earlier checks before it."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            answer = self.sqs.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=1, WaitTimeSeconds=1, MessageSystemAttributeNames=["All"]
            )
            for message in answer.get("Messages", []):
                if wanted(message["Body"]):
                    return message
                self.delete(message)
            if "Messages" not in answer:
                # The simulated queue validates WaitTimeSeconds but does not wait.
                time.sleep(0.05)
        raise AssertionError(f"no such message on {self.url} within {PATIENCE_S} seconds")

    def drain(self) -> list[str]:
        """Deletes every visible message and returns the bodies. Events of earlier checks can still arrive later."""
        bodies = []
        while messages := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            bodies += [message["Body"] for message in messages]
            for message in messages:
                self.delete(message)
        return bodies

    def delete(self, message: dict) -> None:
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def make_visible_after(self, message: dict, seconds: int) -> None:
        self.sqs.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds
        )


def a_vpc_created_in_a_member_account_sends_an_event_to_the_queue(aws: SimulatedAws):
    session = aws.in_member(aws.fresh_member())
    vpc_id = aws.client("ec2", session).create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    queue = Queue(aws, "ENROLLMENTS")
    message = queue.receive(lambda body: vpc_id in body)
    event = json.loads(message["Body"])
    equal((event["source"], event["account"]), ("aws.ec2", session.account))
    equal((event["detail"]["eventName"], event["detail-type"]), ("CreateVpc", "AWS API Call via CloudTrail"))
    equal(event["detail"]["responseElements"]["vpc"]["vpcId"], vpc_id)
    queue.delete(message)


def a_message_is_sent_received_made_visible_again_and_deleted(aws: SimulatedAws):
    queue = Queue(aws, "ENROLLMENTS")
    body = f'{{"check": {aws.number()}, "text": "ä & <ö>"}}'
    sent = queue.send(body)
    digest = hashlib.md5(body.encode()).hexdigest()
    equal(sent["MD5OfMessageBody"], digest)
    message = queue.receive(lambda received: received == body)
    equal((message["MessageId"], message["MD5OfBody"]), (sent["MessageId"], digest))
    equal(message["Attributes"]["ApproximateReceiveCount"], "1")
    assert abs(time.time() * 1000 - int(message["Attributes"]["SentTimestamp"])) < 300_000, message
    equal(int(queue.attributes()["ApproximateNumberOfMessagesNotVisible"]), 1)

    queue.make_visible_after(message, 900)
    assert body not in queue.drain(), "a message that was in flight was received"
    queue.make_visible_after(message, 0)
    again = queue.receive(lambda received: received == body)
    equal(again["Attributes"]["ApproximateReceiveCount"], "2")
    queue.delete(again)
    equal(int(queue.attributes()["ApproximateNumberOfMessagesNotVisible"]), 0)
    with refused("ReceiptHandleIsInvalid"):
        queue.make_visible_after({"ReceiptHandle": "made-up"}, 0)


def batches_of_messages_have_a_result_for_each_message(aws: SimulatedAws):
    queue = Queue(aws, "ENROLLMENTS")
    bodies = [f"batch {aws.number()}" for _ in range(3)]
    entries = [{"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies)]
    sent = queue.sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
    equal(([entry["Id"] for entry in sent["Successful"]], sent.get("Failed", [])), (["0", "1", "2"], []))
    messages = [queue.receive(lambda received: received in bodies) for _ in bodies]
    handles = [{"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]} for index, message in enumerate(messages)]
    changed = queue.sqs.change_message_visibility_batch(
        QueueUrl=queue.url,
        Entries=[{**entry, "VisibilityTimeout": 60} for entry in handles]
        + [{"Id": "bad", "ReceiptHandle": "made-up", "VisibilityTimeout": 60}],
    )
    equal(len(changed["Successful"]), 3)
    (failure,) = changed["Failed"]
    equal((failure["Id"], failure["Code"], failure["SenderFault"]), ("bad", "ReceiptHandleIsInvalid", True))
    deleted = queue.sqs.delete_message_batch(QueueUrl=queue.url, Entries=handles)
    equal(len(deleted["Successful"]), 3)
    with refused("AWS.SimpleQueueService.TooManyEntriesInBatchRequest"):
        queue.sqs.send_message_batch(
            QueueUrl=queue.url, Entries=[{"Id": str(index), "MessageBody": "x"} for index in range(11)]
        )


def the_grants_queue_is_fifo_by_group_and_deduplicates(aws: SimulatedAws):
    queue = Queue(aws, "GRANTS")
    equal(queue.attributes()["FifoQueue"], "true")
    with refused("MissingParameter", "The request must contain the parameter MessageGroupId."):
        queue.send("no group")
    bodies = [f"grant {aws.number()}" for _ in range(2)]
    sent = [queue.send(body, MessageGroupId="grants") for body in bodies]
    assert sent[0]["SequenceNumber"] < sent[1]["SequenceNumber"], sent
    equal(queue.send(bodies[0], MessageGroupId="grants")["MessageId"], sent[0]["MessageId"])
    first = queue.receive(lambda received: received in bodies)
    equal((first["Body"], first["Attributes"]["MessageGroupId"]), (bodies[0], "grants"))
    # The message in flight blocks its group.
    assert bodies[1] not in queue.drain(), "a message was received while its group was blocked"
    queue.delete(first)
    second = queue.receive(lambda received: received in bodies)
    equal(second["Body"], bodies[1])
    queue.delete(second)


def a_queue_is_found_by_name_by_its_own_account_only(aws: SimulatedAws):
    queue = Queue(aws, "ENROLLMENTS")
    equal(queue.sqs.get_queue_url(QueueName="vpc-flow-logs-enrollments")["QueueUrl"], queue.url)
    assert "deadLetterTargetArn" in json.loads(queue.attributes()["RedrivePolicy"]), queue.attributes()
    try:
        queue.sqs.get_queue_url(QueueName="nobody")
    except queue.sqs.exceptions.QueueDoesNotExist as refusal:
        # Clients still show the error code of the older Query API of SQS.
        equal(refusal.response["Error"]["Code"], "AWS.SimpleQueueService.NonExistentQueue")
    else:
        raise AssertionError("a queue that does not exist was found")
    member = aws.client("sqs", aws.in_member(aws.members[0]))
    with refused("AccessDenied"):
        member.receive_message(QueueUrl=queue.url)


def a_queue_can_be_created(aws: SimulatedAws):
    sqs = aws.client("sqs", aws.in_member(aws.fresh_member()))
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "120"}
    url = sqs.create_queue(QueueName="mine.fifo", Attributes=attributes)["QueueUrl"]
    made = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(attributes))["Attributes"]
    equal(made, attributes)
    with refused("QueueAlreadyExists"):
        sqs.create_queue(QueueName="mine.fifo", Attributes={**attributes, "VisibilityTimeout": "60"})
