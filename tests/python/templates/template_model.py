"""CloudFormation templates as data: reads them with line numbers, walks them, and renders them for one account and Region."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cfnlint import decode

INFRA = Path(__file__).resolve().parents[3] / "infra"
NAMES = ["central", "regional", "member", "management"]
# What infra/deploy installs only if it is asked to.
OPTIONAL = ["guardrails/guardrails"]

# Removes an element, like AWS::NoValue.
NOTHING = object()

PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Region": "eu-west-1",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": NOTHING,
    "AWS::StackName": "a-stack",
}


class Template:
    """One template file."""

    def __init__(self, name: str):
        self.name = name
        self.path = INFRA / f"{name}.yaml"
        self.text = self.path.read_text(encoding="utf-8")
        self.lines = self.text.splitlines()
        self.document, problems = decode.decode(str(self.path))
        if problems:
            raise ValueError(f"{self.path}: {problems[0].message}")
        self.parameters: dict[str, dict[str, Any]] = self.document["Parameters"]
        self.resources: dict[str, dict[str, Any]] = self.document["Resources"]

    def of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((name, resource) for name, resource in self.resources.items() if resource["Type"] == kind)

    def statements(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Every policy statement, with its resource and its kind of policy: trust, identity or resource."""
        for name, resource in self.resources.items():
            for path, document in policy_documents(resource.get("Properties", {})):
                kind = {"AssumeRolePolicyDocument": "trust", "Policies": "identity"}.get(path, "resource")
                for statement in flattened(document):
                    yield name, kind, statement
        for name, resource in self.of_type("AWS::Events::EventBusPolicy"):
            yield name, "resource", resource["Properties"]["Statement"]

    def reason_above(self, line: int) -> str:
        """The comment directly above a line (0-based), or above the line that begins its list."""
        while line > 0:
            line -= 1
            text = self.lines[line].strip()
            if text.startswith("# reason:"):
                return text
            if not text.startswith("#") and not text.endswith(("Resource:", "|")):
                return ""
        return ""

    def render(self, node: Any, values: dict[str, str]) -> Any:
        """The node with parameters (defaults, overridden by `values`), pseudo parameters and conditions resolved."""
        known = {name: str(p["Default"]) for name, p in self.parameters.items() if "Default" in p}
        return Renderer(self.document.get("Conditions", {}), {**PSEUDO, **known, **values}).render(node)


class Renderer:
    """Resolves intrinsic functions. What only AWS knows becomes `<name.attribute>`."""

    def __init__(self, conditions: dict[str, Any], values: dict[str, Any]):
        self.conditions = conditions
        self.values = values

    def render(self, node: Any) -> Any:
        if isinstance(node, dict):
            if len(node) == 1:
                function, argument = next(iter(node.items()))
                if function in {"Ref", "Condition"} or function.startswith("Fn::"):
                    return self.call(function, argument)
            rendered = {str(key): self.render(value) for key, value in node.items()}
            return {key: value for key, value in rendered.items() if value is not NOTHING}
        if isinstance(node, list):
            return [value for value in map(self.render, node) if value is not NOTHING]
        return str(node) if isinstance(node, str) else node

    def call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return self.values.get(argument, f"<{argument}>")
            case "Fn::GetAtt":
                return f"<{'.'.join(argument)}>"
            case "Fn::Sub":
                text, extra = (argument, {}) if isinstance(argument, str) else argument
                values = {**self.values, **self.render(extra)}
                filled = re.sub(r"\$\{([^!}][^}]*)\}", lambda name: str(values.get(name[1], f"<{name[1]}>")), text)
                return filled.replace("${!", "${")
            case "Fn::Base64":
                text = self.render(argument)
                return base64.b64encode(text.encode()).decode() if isinstance(text, str) else {function: text}
            case "Fn::Join":
                parts = self.render(argument[1])
                return argument[0].join(parts) if all(isinstance(part, str) for part in parts) else {function: [argument[0], parts]}
            case "Fn::Split":
                return str(self.render(argument[1])).split(argument[0])
            case "Fn::Select":
                return self.render(argument[1])[int(argument[0])]
            case "Fn::If":
                return self.render(argument[1] if self.holds(argument[0]) else argument[2])
            case "Condition":
                return self.holds(argument)
            case "Fn::Equals":
                left, right = map(self.render, argument)
                return left == right
            case "Fn::Not":
                return not self.render(argument[0])
            case "Fn::And":
                return all(map(self.render, argument))
            case _:
                raise ValueError(f"{function} is not rendered")

    def holds(self, condition: str) -> bool:
        return bool(self.render(self.conditions[condition]))


def policy_documents(properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in ("AssumeRolePolicyDocument", "PolicyDocument", "KeyPolicy"):
        if key in properties:
            yield key, properties[key]
    for policy in properties.get("Policies", []):
        for branch in branches(policy):
            yield "Policies", branch["PolicyDocument"]


def flattened(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        yield from branches(statement)


def branches(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Both branches of Fn::If, without AWS::NoValue."""
    if "Fn::If" in node:
        for branch in node["Fn::If"][1:]:
            if branch != {"Ref": "AWS::NoValue"}:
                yield from branches(branch)
    else:
        yield node


def strings(node: Any) -> Iterator[Any]:
    """Every string below a node that is a value."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)


def lined_strings(parent: dict[str, Any], key: str) -> Iterator[tuple[str, int]]:
    """Every string below a member, with its line (0-based). A string without a line of its own gets its parent's."""

    def below(node: Any, line: int) -> Iterator[tuple[str, int]]:
        line = getattr(getattr(node, "start_mark", None), "line", line)
        if isinstance(node, str):
            yield node, line
        elif isinstance(node, dict):
            for value in node.values():
                yield from below(value, line)
        elif isinstance(node, list):
            for value in node:
                yield from below(value, line)

    if key in parent:
        own = next(name for name in parent if name == key)
        yield from below(parent[key], own.start_mark.line)


def listed(node: Any) -> list[Any]:
    return node if isinstance(node, list) else [node]
