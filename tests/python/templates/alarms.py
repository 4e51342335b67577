"""Checks of the alarms: each is tried on series of points, also absent ones. Part of check_templates.py."""

from __future__ import annotations

import re
from pathlib import Path

from common.sentences import Sentences, none
from templates.alarm_states import EXTRA, Alarm, Composite, Points
from templates.template_model import INFRA, Template

ROOT = INFRA.parent
PREFIX = "vpc-flow-logs-enroller-"
KINDS = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
HOUR = 3_600


def alarms(say: Sentences, templates: dict[str, Template]) -> None:
    central = templates["central"]
    found = {(template.name, alarm["Properties"]["AlarmName"].removeprefix(PREFIX)): alarm["Properties"]
             for template in templates.values() for _, alarm in template.of_type("AWS::CloudWatch::Alarm")}
    names(say, templates, found)
    model(say)
    each(say, found)
    uncovered(say, central, found["central", "vpcs-uncovered"])
    sweeps(say, found["central", "sweep-missing"])
    records(say, central, found)


def names(say: Sentences, templates: dict[str, Template], found: dict[tuple[str, str], dict]) -> None:
    with say.check("every alarm has an existing metric and a chapter in the runbook"):
        metrics = (ROOT / "shared/core/src/metrics.rs").read_text(encoding="utf-8")
        runbook = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
        wrong = [f"{name}: no metric {properties['MetricName']}" for (_, name), properties in found.items()
                 if properties["Namespace"] == "VpcFlowLogsEnroller" and f'"{properties["MetricName"]}"' not in metrics]
        wrong += [f"{name}: longer than CloudWatch's evaluation range" for (_, name), properties in found.items()
                  if properties["Period"] * properties["EvaluationPeriods"] > (604_800 if properties["Period"] >= HOUR else 86_400)]
        every = {alarm["Properties"]["AlarmName"].removeprefix(PREFIX)
                 for template in templates.values() for kind in KINDS for _, alarm in template.of_type(kind)}
        wrong += [f"{name} is not in docs/runbook.md" for name in sorted(every) if not re.search(rf"^#+ .*`{re.escape(name)}`", runbook, re.M)]
        none(wrong)
        assert len(found) > 20, len(found)
    with say.check("every alarm tells a topic of its Region, but for those that a composite alarm speaks for"):
        spoken_for = {"stream-silent"}
        none([f"{place} {name}" for (place, name), properties in found.items()
              if properties["AlarmActions"] != [{"Ref": "AlarmTopic"}] and name not in spoken_for])


def model(say: Sentences) -> None:
    with say.check("the model of alarms agrees with the tables in CloudWatch's user guide"):
        # 0 is not breaching, X is breaching, - is missing. M of 3 points, and the states if missing ones are breaching or not.
        table = [("0-X-X", 3, "OK", "OK"), ("0----", 3, "OK", "OK"), ("-----", 3, "ALARM", "OK"), ("0XX-X", 3, "ALARM", "ALARM"),
                 ("--X--", 3, "ALARM", "OK"), ("0-X-X", 2, "ALARM", "ALARM"), ("00X0X", 2, "ALARM", "ALARM"), ("0-X--", 2, "ALARM", "OK"),
                 ("----0", 2, "ALARM", "OK"), ("---X-", 2, "ALARM", "OK")]
        wrong = []
        for text, datapoints, *expected in table:
            points = [{"0": 0.0, "X": 1.0, "-": None}[mark] for mark in text]
            for missing, state in zip(("breaching", "notBreaching"), expected):
                got = Alarm(3, datapoints, missing, lambda value: value > 0, 300).state(points)
                wrong += [] if got == state else [f"{text} {datapoints} of 3, {missing}: {got}, expected {state}"]
        none(wrong)


def each(say: Sentences, found: dict[tuple[str, str], dict]) -> None:
    with say.check("every alarm fires on its failure, ends with it, and takes absence as it should"):
        wrong = []
        for (place, name), properties in found.items():
            alarm, threshold = Alarm.of(properties), float(properties["Threshold"])
            step = 1.0 if threshold >= 1 or threshold == 0 else 0.05
            good, bad = (threshold, threshold + step) if alarm.breaches(threshold + step) else (threshold, threshold - step)
            count = alarm.periods
            for extra in EXTRA:
                tries: list[tuple[str, Points, str]] = [
                    ("good points", [good] * 2 * count, "OK"),
                    ("bad points after good ones", [good] * 2 * count + [bad] * count, "ALARM"),
                    ("good points after bad ones", [bad] * 2 * count + [good] * count, "OK"),
                    ("one bad point too few", [good] * 2 * count + [bad] * (alarm.to_alarm - 1), "OK"),
                    ("no point ever", [None] * 2 * count, "ALARM" if name in ("sweep-missing", "stream-silent") else "OK"),
                    ("absence long after bad points", [bad] * count + [None] * (count + extra), "ALARM" if alarm.missing == "breaching" else "OK"),
                    ("absence long after good points", [good] * count + [None] * (count + extra), "ALARM" if alarm.missing == "breaching" else "OK"),
                ]
                wrong += [f"{place} {name}: {what} ({extra} more periods read): {alarm.state(points, extra)}, expected {state}"
                          for what, points, state in tries if alarm.state(points, extra) != state]
        none(wrong)


def uncovered(say: Sentences, central: Template, properties: dict) -> None:
    alarm = Alarm.of(properties)
    with say.check("vpcs-uncovered fires for an account that never becomes ready, before its message is given up"):
        source = (ROOT / "shared/engine/src/batch.rs").read_text(encoding="utf-8")
        longest = int(re.search(r"LONGEST_WAIT_SECONDS: u32 = ([0-9]+);", source)[1])
        first = int(re.search(r"let seconds = ([0-9]+)_u32.saturating_mul\(1 << doublings\)", source)[1])
        receives = central.resources["EnrollmentsQueue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"]
        waits = [min(first << number, longest) for number in range(receives - 1)]
        moments = [sum(waits[:number]) for number in range(receives)]
        # Every period must contain a receive, wherever it begins. So a period must be longer than the longest wait.
        assert longest < alarm.period, alarm.period
        for offset in range(0, alarm.period, 60):
            points: list[float | None] = [None] * ((offset + moments[-1]) // alarm.period + 1)
            for moment in moments:
                points[(offset + moment) // alarm.period] = 1.0
            for extra in EXTRA:
                assert "ALARM" in alarm.states(points, extra), (offset, extra, points)
    with say.check("vpcs-uncovered is silent while a new account can still become ready, and about what the organization forbids"):
        # An account that is ready after an hour, in the worst position of the periods.
        for extra in EXTRA:
            assert alarm.states([1.0, 1.0, 1.0, None, None, None], extra) == ["OK"] * 6
            assert alarm.states([None] * 48, extra) == ["OK"] * 48
    with say.check("no alarm computes with metrics: one that was never published cannot silence it"):
        none([name for name, item in central.of_type("AWS::CloudWatch::Alarm") if "Metrics" in item["Properties"]])


def sweeps(say: Sentences, properties: dict) -> None:
    alarm = Alarm.of(properties)
    # A sweep at the 17th minute can be invoked a little late, and a long one goes on in later invocations.
    days: Points = [1.0 if hour % 24 == 3 else None for hour in range(24 * 7)]
    with say.check("sweep-missing is silent with a sweep a day, and fires in the hours after one that did not come"):
        for extra in EXTRA:
            assert set(alarm.states(days, extra)[3:]) == {"OK"}
            missed = list(days)
            missed[3 + 24 * 5] = None
            states = alarm.states(missed, extra)
            fired = states.index("ALARM", 3)
            assert 26 <= fired - (3 + 24 * 4) <= 26 + max(EXTRA), fired
            assert states[3 + 24 * 6] == "OK"


def records(say: Sentences, central: Template, found: dict[tuple[str, str], dict]) -> None:
    silent, sweep = Alarm.of(found["central", "stream-silent"]), Alarm.of(found["central", "sweep-missing"])
    composite = central.resources["NoRecordsAlarm"]["Properties"]
    model_of = Composite.of(composite)

    def told(records_at: set[int], runs_at: set[int], hours: int = 72) -> list[float]:
        """The hours at which no-records tells, given the hours of records and of runs."""
        def states(alarm: Alarm, at: set[int]) -> list[str]:
            # The state before the first hour has ended, too.
            return [alarm.state([]), *alarm.states([5.0 if hour in at else None for hour in range(hours)])]

        child, suppressor = states(silent, records_at), states(sweep, runs_at)
        moments = model_of.notifies(lambda now: child[now // HOUR], lambda now: suppressor[now // HOUR], hours * HOUR)
        return [moment / HOUR for moment in moments]

    every_day = {30, 54}
    with say.check("no-records watches the stream, and waits for the first run, which ends sweep-missing"):
        assert composite["AlarmRule"] == {"Fn::Sub": 'ALARM("${StreamSilentAlarm.Arn}")'}, composite["AlarmRule"]
        assert list(composite["ActionsSuppressor"]["Fn::GetAtt"]) == ["SweepMissingAlarm", "Arn"]
        assert composite["AlarmActions"] == [{"Ref": "AlarmTopic"}]
    with say.check("no-records tells hours after a first run that brought no record, and not before"):
        found_at = told(set(), {5} | every_day)
        assert len(found_at) == 1 and 4 <= found_at[0] - 5 <= 8, found_at
    with say.check("no-records is silent if records come within an hour of the first run, however late that is"):
        for first in (1, 5, 20):
            assert told(set(range(first + 1, 72)), {first} | every_day) == [], first
    with say.check("no-records tells of a stream that falls silent, within a third of a day"):
        found_at = told(set(range(6, 40)), {5} | every_day)
        assert len(found_at) == 1 and 6 <= found_at[0] - 40 <= 9, found_at
    with say.check("with another schedule there is no sweep-missing, and stream-silent tells by itself"):
        for schedule, actions in [("cron(17 3 * * ? *)", None), ("rate(6 hours)", ["<AlarmTopic>"])]:
            made = central.render(found["central", "stream-silent"], {"SweepSchedule": schedule})
            assert made.get("AlarmActions") == actions, (schedule, made.get("AlarmActions"))
