"""Prints why the last operation of a stack failed, first cause first: reads `aws cloudformation describe-stack-events`."""

from __future__ import annotations

import json
import sys
from typing import Any

# Resources that CloudFormation gave up because another one had failed.
CANCELLED = ("Resource creation cancelled", "Resource update cancelled", "Resource deletion cancelled")


def last_operation(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events since a person started the last operation, oldest first. AWS lists the newest first."""
    since = []
    for event in events:
        since.append(event)
        starts = event.get("ResourceStatus", "").endswith("_IN_PROGRESS") and event.get("ResourceStatusReason") == "User Initiated"
        # A deletion is the last operation only if it failed itself.
        if starts and event.get("PhysicalResourceId") == event.get("StackId"):
            break
    return since[::-1]


def causes(events: list[dict[str, Any]]) -> list[str]:
    failed = [event for event in last_operation(events) if event.get("ResourceStatus", "").endswith("_FAILED")
              and not event.get("ResourceStatusReason", "").startswith(CANCELLED)]
    of_resources = [event for event in failed if event.get("PhysicalResourceId") != event.get("StackId")]
    return [f"{event.get('LogicalResourceId')} ({event.get('ResourceType')}) {event['ResourceStatus']}: {event.get('ResourceStatusReason', 'no reason')}"
            for event in of_resources or failed]


if __name__ == "__main__":
    for cause in causes(json.loads(sys.stdin.read() or "{}").get("StackEvents", [])):
        print(f"  {cause}")
