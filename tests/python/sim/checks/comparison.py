"""Tests of the comparison itself: it must detect answers with a single error."""

from __future__ import annotations

import json

import botocore.session

from common.answer_model import AnswerModel, Mismatch
from common.simulated_aws import SimulatedAws

ACCOUNT = {"Id": "111122223333", "State": "ACTIVE", "JoinedTimestamp": 1790000000.25}
GROUP = {"logGroupName": "vpc-flow-logs", "retentionInDays": 30, "creationTime": 1790000000000}
FLOW_LOG = "<flowLogId>fl-1</flowLogId><creationTime>2026-11-23T00:00:00.000Z</creationTime>"
EC2 = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'
STS = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'


def _compare(service: str, operation: str, body, status: int = 200) -> None:
    model = botocore.session.get_session().get_service_model(service)
    headers = {"content-type": f"application/x-amz-json-{model.metadata.get('jsonVersion')}", "x-amzn-requestid": "1"}
    body = body if isinstance(body, str) else json.dumps(body)
    response = {"body": body.encode(), "headers": headers, "status_code": status}
    AnswerModel().compare(operation_model=model.operation_model(operation), response_dict=response)


def _each_is_detected(service: str, operation: str, right, wrong: dict, status: int = 200) -> None:
    for body in right:
        _compare(service, operation, body, status)
    for expected, body in wrong.items():
        try:
            _compare(service, operation, body, status)
        except Mismatch as mismatch:
            assert expected in str(mismatch), f"{mismatch} does not contain {expected!r}"
        else:
            raise AssertionError(f"{operation}: {body} was accepted, although {expected}")


def wrong_json_answers_are_detected(_: SimulatedAws):
    def account(**changes) -> dict:
        return {"Account": {**ACCOUNT, **changes}}

    wrong = {
        "which Account does not have": account(AccountState="ACTIVE"),
        "not one of": account(State="RUNNING"),
        "does not match": account(Id="1111"),
        "not a timestamp": account(JoinedTimestamp="2026-11-23T00:00:00Z"),
        "not a string": account(Name=None),
        "has 5, not 6 to": account(Email="a@b.c"),
        "not a structure": {"Account": []},
    }
    _each_is_detected("organizations", "DescribeAccount", [account(), {}], wrong)

    def group(**changes) -> dict:
        return {"logGroups": [{**GROUP, **changes}]}

    wrong = {
        "not a integer": group(retentionInDays="30"),
        "not a long": group(creationTime=1790000000.5),
        "not a boolean": group(deletionProtectionEnabled=0),
        "not a list": {"logGroups": {}},
    }
    _each_is_detected("logs", "DescribeLogGroups", [group(), {"logGroups": []}], wrong)
    wrong = {"which SendMessageBatchResult requires": {"Successful": []}}
    _each_is_detected("sqs", "SendMessageBatch", [{"Successful": [], "Failed": []}], wrong)
    _each_is_detected("logs", "PutRetentionPolicy", ["", {}], {"has no output": {"done": True}})


def wrong_xml_answers_are_detected(_: SimulatedAws):
    def flow_logs(item: str, namespace: str = EC2, identity: str = "<requestId>1</requestId>", name: str = "item"):
        answer = f"{identity}<flowLogSet><{name}>{item}</{name}></flowLogSet>"
        return f"<DescribeFlowLogsResponse {namespace}>{answer}</DescribeFlowLogsResponse>"

    wrong = {
        "which FlowLog does not have": flow_logs(f"{FLOW_LOG}<vpcId>vpc-1</vpcId>"),
        "twice": flow_logs(f"{FLOW_LOG}<flowLogId>fl-2</flowLogId>"),
        "not one of": flow_logs("<trafficType>BOTH</trafficType>"),
        "not a time": flow_logs("<creationTime>1790000000</creationTime>"),
        "not a whole number": flow_logs("<maxAggregationInterval>1 min</maxAggregationInterval>"),
        "not item": flow_logs(FLOW_LOG, name="member"),
        "namespace": flow_logs(FLOW_LOG, namespace=EC2.replace("2016", "2014")),
        "no request id": flow_logs(FLOW_LOG, identity=""),
    }
    _each_is_detected("ec2", "DescribeFlowLogs", [flow_logs(FLOW_LOG)], wrong)

    def identity(result: str, tail: str = "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>"):
        return f"<GetCallerIdentityResponse {STS}>{result}{tail}</GetCallerIdentityResponse>"

    result = "<GetCallerIdentityResult><Account>111122223333</Account></GetCallerIdentityResult>"
    wrong = {
        "no GetCallerIdentityResult": identity(""),
        "no request id": identity(result, tail=""),
        "which GetCallerIdentityResponse does not have": identity(result.replace("Account", "account")),
    }
    _each_is_detected("sts", "GetCallerIdentity", [identity(result)], wrong)
    right = [f"<CreateTagsResponse {EC2}><requestId>1</requestId><return>true</return></CreateTagsResponse>"]
    _each_is_detected("ec2", "CreateTags", right, {"has no output": right[0].replace("return", "tags")})


def wrong_error_answers_are_detected(_: SimulatedAws):
    right = {"__type": "ResourceNotFoundException", "message": "The specified log group does not exist."}
    wrong = {
        "neither the model nor": {**right, "__type": "NoSuchLogGroup"},
        "without a message": {"__type": right["__type"]},
    }
    _each_is_detected("logs", "PutRetentionPolicy", [right], wrong, status=400)
    right = {"__type": "AccountNotFoundException", "Message": "You specified an account that doesn't exist."}
    wrong = {"which AccountNotFoundException does not have": {"__type": right["__type"], "message": "It is gone."}}
    _each_is_detected("organizations", "DescribeAccount", [right], wrong, status=400)
    error = "<Error><Code>InvalidVpcID.NotFound</Code><Message>no</Message></Error>"
    right = [f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"]
    wrong = {"an error like": right[0].replace("RequestID", "RequestId")}
    _each_is_detected("ec2", "DescribeVpcs", right, wrong, status=400)
