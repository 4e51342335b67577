"""Compares every raw answer with botocore's model of it.

botocore is lenient: it drops unknown members, and treats absent members as optional. A client in another language may be
stricter. So each of these is a failure here: an unknown member, a missing required member, a value of the wrong type, and
a value outside its enum, its length or its pattern.
"""

from __future__ import annotations

import json
import math
import re
from xml.etree import ElementTree

# Error codes that no model of an operation lists: the services' common errors, and the errors of the simulated AWS for
# unknown operations and parameters.
UNMODELLED = {
    "AccessDenied",
    "AccessDeniedException",
    "MissingParameter",
    "InvalidParameterValue",
    "UnrecognizedClientException",
    "ValidationException",
    "UnknownOperationException",
    "UnknownParameter",
}

ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Mismatch(AssertionError):
    """An answer that does not match AWS's model."""


class AnswerModel:
    """A handler of botocore's event `before-parse`, with a count of the answers it has compared."""

    def __init__(self):
        self.operations: set[tuple[str, str]] = set()
        self.successes = 0
        self.refusals = 0

    def compare(self, operation_model, response_dict, **_) -> None:
        """Raises Mismatch if the answer does not match. The call that got the answer then fails."""
        protocol = operation_model.service_model.resolved_protocol
        success = response_dict["status_code"] < 300
        if success:
            self.successes += 1
            self.operations.add((operation_model.service_model.service_name, operation_model.name))
        else:
            self.refusals += 1
        problems: list[str] = []
        body = response_dict["body"].decode()
        if protocol == "json":
            _compare_json(operation_model, success, body, response_dict["headers"], problems)
        elif protocol in ("query", "ec2"):
            _compare_xml(operation_model, protocol, success, body, problems)
        else:
            problems.append(f"protocol {protocol} is not one of those simulated")
        if problems:
            raise Mismatch(f"{operation_model.name} answers {'; '.join(problems)}")


# --- AWS JSON ---


def _compare_json(operation_model, success, body, headers, problems) -> None:
    version = operation_model.metadata["jsonVersion"]
    if headers.get("content-type") != f"application/x-amz-json-{version}":
        problems.append(f"content type {headers.get('content-type')}")
    if not headers.get("x-amzn-requestid"):
        problems.append("no request id")
    value = json.loads(body) if body else {}
    if not success:
        _json_refusal(operation_model, value, problems)
    elif operation_model.output_shape is None:
        if value != {}:
            problems.append(f"{value} although the operation has no output")
    else:
        _json_value(operation_model.output_shape, value, "", problems)


def _json_refusal(operation_model, value, problems) -> None:
    code = str(value.pop("__type", "")).rsplit("#", 1)[-1]
    shape = next((shape for shape in operation_model.error_shapes if shape.name == code), None)
    if shape is not None and shape.members:
        _json_value(shape, value, code, problems)
    elif shape is None and code not in UNMODELLED:
        problems.append(f"the error {code}, which neither the model nor the list of common errors has")
    if len(value) != 1 or not {"message", "Message"} & set(value):
        problems.append(f"an error without a message: {value}")


def _json_value(shape, value, path, problems) -> None:
    kind = shape.type_name
    expected = _JSON_TYPES[kind]
    if isinstance(value, bool) != (kind == "boolean") or not isinstance(value, expected):
        problems.append(f"{path or 'the body'} is {value!r}, not a {kind}")
    elif kind == "structure":
        _json_structure(shape, value, path, problems)
    elif kind == "list":
        _limits(shape, len(value), path, problems)
        for index, item in enumerate(value):
            _json_value(shape.member, item, f"{path}[{index}]", problems)
    elif kind == "map":
        for key, item in value.items():
            _json_value(shape.key, key, f"{path} key", problems)
            _json_value(shape.value, item, f"{path}.{key}", problems)
    elif kind == "string":
        _text(shape, value, path, problems)
    elif kind in ("integer", "long"):
        _limits(shape, value, path, problems)
    elif kind == "timestamp" and not math.isfinite(value):
        problems.append(f"{path} is {value}, not a time")


_JSON_TYPES = {
    "structure": dict,
    "list": list,
    "map": dict,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    # Epoch seconds with a fraction, unless the shape has another format.
    "timestamp": (int, float),
}


def _json_structure(shape, value, path, problems) -> None:
    known = {member.serialization.get("name", name): (name, member) for name, member in shape.members.items()}
    for wire_name, item in value.items():
        if wire_name not in known:
            problems.append(f"{path}.{wire_name}, which {shape.name} does not have")
        else:
            _json_value(known[wire_name][1], item, f"{path}.{wire_name}", problems)
    present = {known[name][0] for name in value if name in known}
    _required(shape, present, path, problems)


# --- AWS Query and EC2 Query ---


def _compare_xml(operation_model, protocol, success, body, problems) -> None:
    root = ElementTree.fromstring(body)
    namespace, tag = _split(root.tag)
    expected = operation_model.metadata["xmlNamespace"].rstrip("/")
    if namespace.rstrip("/") != expected and (success or protocol == "query"):
        problems.append(f"namespace {namespace}, not {expected}")
    if not success:
        _xml_refusal(protocol, root, problems)
        return
    if tag != f"{operation_model.name}Response":
        problems.append(f"the element {tag}")
    children = {_split(child.tag)[1]: child for child in root}
    shape = operation_model.output_shape
    if protocol == "ec2":
        if children.pop("requestId", None) is None:
            problems.append("no request id")
        root.remove(root[0])
        if shape is not None:
            _xml_value(shape, root, "", problems)
        elif set(children) != {"return"}:
            # EC2 API reference: operations without an output answer `return`, which is not in the model.
            problems.append(f"{sorted(children)} although the operation has no output")
        return
    metadata = children.pop("ResponseMetadata", None)
    if metadata is None or not metadata[0].text:
        problems.append("no request id")
    wrapper = shape.serialization["resultWrapper"] if shape is not None else None
    result = children.pop(wrapper, None)
    if children:
        problems.append(f"the elements {sorted(children)}")
    if wrapper is not None and result is None:
        problems.append(f"no {wrapper}")
    elif result is not None:
        _xml_value(shape, result, "", problems)


def _xml_refusal(protocol, root, problems) -> None:
    def outline(element):
        children = [outline(child) for child in element]
        return _split(element.tag)[1] + (f"({','.join(children)})" if children else "")

    expected = {
        "ec2": "Response(Errors(Error(Code,Message)),RequestID)",
        "query": "ErrorResponse(Error(Type,Code,Message),RequestId)",
    }[protocol]
    if outline(root) != expected:
        problems.append(f"an error like {outline(root)}, not {expected}")


def _xml_value(shape, node, path, problems) -> None:
    kind = shape.type_name
    text = node.text or ""
    if kind == "structure":
        _xml_structure(shape, node, path, problems)
    elif kind == "list":
        _limits(shape, len(node), path, problems)
        name = shape.member.serialization.get("name", "member")
        for index, item in enumerate(node):
            if _split(item.tag)[1] != name:
                problems.append(f"{path} has {_split(item.tag)[1]} in it, not {name}")
            _xml_value(shape.member, item, f"{path}[{index}]", problems)
    elif len(node):
        problems.append(f"{path} has elements in it although it is a {kind}")
    elif kind == "string":
        _text(shape, text, path, problems)
    elif kind == "boolean" and text not in ("true", "false"):
        problems.append(f"{path} is {text!r}, not a boolean")
    elif kind in ("integer", "long") and not re.fullmatch(r"-?\d+", text):
        problems.append(f"{path} is {text!r}, not a whole number")
    elif kind in ("integer", "long"):
        _limits(shape, int(text), path, problems)
    elif kind == "timestamp" and not ISO_8601.fullmatch(text):
        problems.append(f"{path} is {text!r}, not a time")
    elif kind not in ("boolean", "timestamp"):
        problems.append(f"{path} is a {kind}, which the comparison does not know")


def _xml_structure(shape, node, path, problems) -> None:
    known = {member.serialization.get("name", name): (name, member) for name, member in shape.members.items()}
    present = set()
    for child in node:
        tag = _split(child.tag)[1]
        if tag not in known:
            problems.append(f"{path}.{tag}, which {shape.name} does not have")
            continue
        name, member = known[tag]
        if name in present:
            problems.append(f"{path}.{tag} twice")
        present.add(name)
        _xml_value(member, child, f"{path}.{tag}", problems)
    _required(shape, present, path, problems)


def _split(tag: str) -> tuple[str, str]:
    namespace, separator, name = tag[1:].partition("}")
    return (namespace, name) if separator else ("", tag)


# --- both ---


def _required(shape, present, path, problems) -> None:
    missing = sorted(set(shape.required_members) - present)
    if missing:
        problems.append(f"{path or 'the body'} without {', '.join(missing)}, which {shape.name} requires")


def _text(shape, value, path, problems) -> None:
    if shape.enum and value not in shape.enum:
        problems.append(f"{path} is {value!r}, not one of {', '.join(shape.enum)}")
    _limits(shape, len(value), path, problems)
    pattern = shape.metadata.get("pattern")
    if pattern is None:
        return
    try:
        fits = re.fullmatch(pattern, value)
    except re.error:
        # A Java pattern that Python does not support, such as one with \p{L}.
        return
    if not fits:
        problems.append(f"{path} is {value!r}, which does not match {pattern}")


def _limits(shape, number, path, problems) -> None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and number < low) or (high is not None and number > high):
        problems.append(f"{path} has {number}, not {low} to {high}")
