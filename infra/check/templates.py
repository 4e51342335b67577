"""Reads what infra/check needs of the templates: parameters, rules and the roles' fixed names.

Python has no YAML reader of its own, and nothing is to be installed for a deployment. So this reads the part of YAML that
the templates use there: blocks of one-line values, flow lists and flow mappings, and short tags. A check of the repository
compares it with a complete reader.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

INFRA = Path(__file__).resolve().parents[1]
NAMES = ["central", "regional", "member", "management", "guardrails/guardrails"]


class Flow:
    """One value on one line."""

    def __init__(self, text: str):
        self.text, self.at = text, 0

    def _skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at] == " ":
            self.at += 1

    def _peek(self) -> str:
        self._skip()
        return self.text[self.at] if self.at < len(self.text) else ""

    def value(self, ends: str = "") -> Any:
        first = self._peek()
        if first == "!":
            tag = re.compile(r"!(\w+) ").match(self.text, self.at)
            if not tag:
                raise ValueError(self.text)
            self.at = tag.end()
            name = tag[1] if tag[1] in ("Ref", "Condition") else f"Fn::{tag[1]}"
            return {name: self.value(ends)}
        if first == "[":
            return list(self._items("]"))
        if first == "{":
            return dict(self._members())
        return self._scalar(ends)

    def _items(self, end: str) -> Iterator[Any]:
        self.at += 1
        while self._peek() != end:
            yield self.value("," + end)
            if self._peek() == ",":
                self.at += 1
        self.at += 1

    def _members(self) -> Iterator[tuple[str, Any]]:
        self.at += 1
        while self._peek() != "}":
            key = self._scalar(":") if self._peek() in "'\"" else self._plain_key()
            self._skip()
            if self._peek() == ":":
                self.at += 1
            yield key, self.value(",}")
            if self._peek() == ",":
                self.at += 1
        self.at += 1

    def _plain_key(self) -> str:
        end = self.text.index(": ", self.at)
        key, self.at = self.text[self.at:end], end
        return key

    def _scalar(self, ends: str) -> str:
        quote = self._peek()
        if quote in ("'", '"'):
            end = self.at + 1
            while self.text[end] != quote or self.text[end + 1:end + 2] == quote == "'":
                end += 2 if self.text[end] == quote or (self.text[end] == "\\" and quote == '"') else 1
            inner, self.at = self.text[self.at + 1:end], end + 1
            return inner.replace("''", "'") if quote == "'" else re.sub(r"\\(.)", r"\1", inner)
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in ends:
            self.at += 1
        return self.text[start:self.at].strip()


class Template:
    """A template's parameters and rules."""

    def __init__(self, name: str, folder: Path = INFRA):
        self.name = name
        self.lines = (folder / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        self.parameters: dict[str, dict[str, Any]] = {}
        self.rules: dict[str, dict[str, Any]] = {}
        self._read()

    def _section(self, name: str) -> Iterator[tuple[int, str]]:
        """The lines of a section, with their indentation."""
        inside = False
        for line in self.lines:
            if re.match(r"[A-Za-z]", line):
                inside = line.startswith(f"{name}:")
            elif inside and line.strip() and not line.strip().startswith("#"):
                text = line.lstrip(" ")
                yield len(line) - len(text), text

    def _read(self) -> None:
        current: dict[str, Any] = {}
        for depth, text in self._section("Parameters"):
            key, _, value = text.partition(":")
            if depth == 2:
                current = self.parameters.setdefault(key, {})
            else:
                current[key] = Flow(value.strip()).value()
        for depth, text in self._section("Rules"):
            key, _, value = (text[2:] if text.startswith("- ") else text).partition(": ") if depth > 2 else text.partition(":")
            if depth == 2:
                current = self.rules.setdefault(key, {"Assertions": []})
            elif key == "RuleCondition":
                current[key] = Flow(value.strip()).value()
            elif key == "Assert":
                current["Assertions"].append({key: Flow(value.strip()).value()})
            elif key == "AssertDescription":
                current["Assertions"][-1][key] = Flow(value.strip()).value()

    def fixed_roles(self) -> list[str]:
        """Names of roles that no parameter changes."""
        found = (re.match(r" +RoleName: ([A-Za-z0-9]+)$", line) for line in self.lines)
        return [match[1] for match in found if match]


def holds(node: dict[str, Any], values: dict[str, str]) -> bool:
    """Whether a condition of a rule holds."""

    def of(item: Any) -> Any:
        return values.get(item["Ref"], "") if isinstance(item, dict) else item

    ((function, argument),) = node.items()
    if function == "Fn::Equals":
        return of(argument[0]) == of(argument[1])
    if function == "Fn::Not":
        return not holds(argument[0], values)
    if function == "Fn::And":
        return all(holds(item, values) for item in argument)
    if function == "Fn::Or":
        return any(holds(item, values) for item in argument)
    if function == "Fn::Contains":
        return of(argument[1]) in argument[0]
    raise ValueError(f"{function} in a rule")


def references(node: Any) -> list[str]:
    """The parameters that a rule names, in their order."""
    if isinstance(node, dict):
        return [name for key, value in node.items() for name in ([value] if key == "Ref" else references(value))]
    return [name for item in node for name in references(item)] if isinstance(node, list) else []


def violation(parameter: dict[str, Any], value: str) -> str:
    """Why CloudFormation would reject the value, or an empty text."""
    allowed = parameter.get("AllowedValues")
    if allowed is not None and value not in allowed:
        return "expected one of " + ", ".join(allowed)
    why = parameter.get("ConstraintDescription", "")
    if parameter.get("Type") == "Number":
        if not re.fullmatch(r"-?[0-9]+", value):
            return "expected a number"
        low, high = parameter.get("MinValue"), parameter.get("MaxValue")
        if (low is not None and int(value) < int(low)) or (high is not None and int(value) > int(high)):
            return f"expected {low} to {high}" if high is not None else f"expected at least {low}"
    elif not int(parameter.get("MinLength", 0)) <= len(value) <= int(parameter.get("MaxLength", 4096)):
        return why or f"expected at most {parameter.get('MaxLength', 4096)} characters"
    pattern = parameter.get("AllowedPattern")
    if pattern is not None and not re.fullmatch(pattern, value):
        return why
    return ""
