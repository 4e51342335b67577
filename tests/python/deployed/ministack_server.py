#!/usr/bin/env python3
"""Starts ministack with the few changes that the enroller needs; see `aws.py`.

    BIND_HOST=127.0.0.1 GATEWAY_PORT=… PEOPLE=… FUNCTION_ROLES=… python ministack_server.py

The changes affect how events arrive and travel, and which keys functions have. Templates, queues and functions are
handled by ministack as it is. The changes fit the version in requirements.txt. If a name no longer exists, the start
fails.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager

# Leave no bytecode in the checkout, and keep this folder's modules away from ministack's imports.
sys.dont_write_bytecode = True
del sys.path[0]

from ministack import app
from ministack.core import iam_actions, lambda_runtime, responses
from ministack.services import eventbridge, lambda_svc, sts

# Keys of the simulated AWS, by account and by the name of a function's role.
PEOPLE: dict[str, dict[str, str]] = json.loads(os.environ["PEOPLE"])
ROLE_KEYS: dict[str, dict[str, str]] = json.loads(os.environ["FUNCTION_ROLES"])


@contextmanager
def acting_in(account: str, region: str):
    """Calls inside the block see the state of this account and Region."""
    account_before = responses._request_account_id.set(account)
    region_before = responses._request_region.set(region)
    try:
        yield
    finally:
        responses._request_account_id.reset(account_before)
        responses._request_region.reset(region_before)


def know_the_people() -> None:
    """Registers people's keys, which both AWSes accept. Each key belongs to its account's root, as in the simulated AWS."""
    for account, keys in PEOPLE.items():
        sts.register_session(keys["access_key_id"], {
            "Arn": f"arn:aws:iam::{account}:root",
            "UserId": account,
            "AccountId": account,
            "PrincipalType": "Root",
            "SecretAccessKey": keys["secret_access_key"],
            "SessionToken": None,
        })


def let_tests_play_aws() -> None:
    """Accepts sources that begin with "aws." in PutEvents. AWS rejects them, but the tests send what AWS services send."""
    put_events = eventbridge._put_events
    eventbridge._put_events = lambda data, allow_aws_source=False: put_events(data, allow_aws_source=True)


def forward_between_buses() -> None:
    """Forwards events between accounts and Regions, and keeps an event's own account and Region. ministack does neither."""
    within = eventbridge._dispatch_to_event_bus

    def dispatch(spec, event, rule, event_path, target_input_payload=None):
        name = spec.resource.removeprefix("event-bus/")
        # The bus's account and Region determine where rules are searched.
        with acting_in(spec.account_id, spec.region):
            if name not in eventbridge._event_buses:
                return within(spec, event, rule, event_path, target_input_payload)
            eventbridge._dispatch_event({**event, "EventBusName": name})

    eventbridge._dispatch_to_event_bus = dispatch


def read_numbers() -> None:
    """Converts MaximumConcurrency to a number. CloudFormation passes parameters as text."""
    concurrency = lambda_svc._sqs_esm_concurrency

    def as_number(esm, *rest):
        scaling = {key: int(value) for key, value in (esm.get("ScalingConfig") or {}).items()}
        return concurrency({**esm, "ScalingConfig": scaling}, *rest)

    lambda_svc._sqs_esm_concurrency = as_number


def pass_for_tls() -> None:
    """Treats requests as TLS. The queues reject requests without TLS, and on this machine all requests are without TLS."""
    pin = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, secure: pin(source_ip, True)


def ask_for_single_actions() -> None:
    """Checks batch calls with the single action, such as SendMessage for SendMessageBatch (SQS guide, "Batch actions")."""
    of_request = iam_actions.extract_iam_action

    def action(service, *rest, **named):
        found = of_request(service, *rest, **named)
        return found.removesuffix("Batch") if service == "sqs" and found else found

    iam_actions.extract_iam_action = action


def share_role_sessions() -> None:
    """Gives a function one session of its role, which both ministack and the simulated AWS accept."""
    made_here = lambda_runtime.execution_credentials

    def credentials(config):
        role = config.get("Role", "")
        name = role.rsplit("/", 1)[-1]
        keys = ROLE_KEYS.get(name)
        if keys is None:
            return made_here(config)
        account = role.split(":")[4]
        session = config["FunctionName"]
        sts.register_session(keys["access_key_id"], {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
            "UserId": f"{name}:{session}",
            "SecretAccessKey": keys["secret_access_key"],
            "SessionToken": keys["session_token"],
        })
        return {
            "AWS_ACCESS_KEY_ID": keys["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
            "AWS_SESSION_TOKEN": keys["session_token"],
        }

    lambda_runtime.execution_credentials = lambda_svc.execution_credentials = credentials


if __name__ == "__main__":
    know_the_people()
    share_role_sessions()
    pass_for_tls()
    ask_for_single_actions()
    let_tests_play_aws()
    forward_between_buses()
    read_numbers()
    app.main()
