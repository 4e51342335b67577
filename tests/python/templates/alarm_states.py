"""What CloudWatch does with an alarm, given the points of its metric. None stands for a period without a point.

Source: CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data", whose tables this is checked with, and
the API reference of PutCompositeAlarm for suppressed actions. How many periods beyond EvaluationPeriods CloudWatch reads is
not documented. So a check tries several.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Points = Sequence["float | None"]

# Periods that CloudWatch may read beyond EvaluationPeriods. The guide's tables have two.
EXTRA = (0, 1, 2, 4)
OPERATORS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


@dataclass(frozen=True)
class Alarm:
    """An alarm on one metric. Metric math is refused: no alarm here needs it, and its missing points are another story."""

    periods: int
    to_alarm: int
    missing: str
    breaches: Callable[[float], bool]
    period: int

    @staticmethod
    def of(properties: dict[str, Any]) -> "Alarm":
        assert "Metrics" not in properties, "metric math: teach alarm_states.py what it does with missing points first"
        missing = properties["TreatMissingData"]
        assert missing in ("breaching", "notBreaching"), f"{missing} is not modelled"
        compare, threshold = OPERATORS[properties["ComparisonOperator"]], float(properties["Threshold"])
        periods = int(properties["EvaluationPeriods"])
        return Alarm(periods, int(properties.get("DatapointsToAlarm", periods)), missing, lambda value: compare(value, threshold),
                     int(properties["Period"]))

    def state(self, points: Points, extra: int = 2) -> str:
        """The state after these points, the newest last. Points before the first are missing."""
        reach = self.periods + extra
        real = [point for point in [None, *points][-reach:] if point is not None]
        # If enough points exist, the newest count, and the setting for missing points is not used.
        breaching = sum(map(self.breaches, real[-self.periods:]))
        if self.missing == "breaching":
            breaching += max(0, self.periods - len(real))
        return "ALARM" if breaching >= self.to_alarm else "OK"

    def states(self, points: Points, extra: int = 2) -> list[str]:
        """The state after each point."""
        return [self.state(points[:end], extra) for end in range(1, len(points) + 1)]


@dataclass(frozen=True)
class Composite:
    """A composite alarm for one other alarm, whose actions a third one suppresses."""

    wait: int
    extension: int

    @staticmethod
    def of(properties: dict[str, Any]) -> "Composite":
        return Composite(properties["ActionsSuppressorWaitPeriod"], properties["ActionsSuppressorExtensionPeriod"])

    def notifies(self, child: Callable[[int], str], suppressor: Callable[[int], str], until: int, step: int = 60) -> list[int]:
        """The seconds at which it tells of ALARM. `child` and `suppressor` are the states at a second."""
        told: list[int] = []
        began, suppressed, left, pending = 0, False, None, False
        for now in range(0, until, step):
            alarm = child(now) == "ALARM"
            if alarm and not (now > 0 and child(now - step) == "ALARM"):
                began, pending, suppressed, left = now, True, False, None
            if not alarm:
                pending = False
            if not pending:
                continue
            if suppressor(now) == "ALARM":
                suppressed, left = True, None
            elif suppressed and left is None:
                left = now
            due = now - left >= self.extension if left is not None else not suppressed and now - began >= self.wait
            if due:
                told.append(now)
                pending = False
        return told
