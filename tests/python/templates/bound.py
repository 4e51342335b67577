"""A template with values in place of its parameters: what CloudFormation creates for one configuration.

References to resources stay, so that rules about two resources can follow them. Conditions are decided, and resources and
properties whose condition does not hold are gone.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from templates.template_model import NOTHING, Renderer, Template


class Binder(Renderer):
    """Resolves parameters and conditions, and keeps what refers to resources and pseudo parameters."""

    def call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                if argument == "AWS::NoValue":
                    return NOTHING
                return self.values[argument] if argument in self.values else {"Ref": argument}
            case "Fn::GetAtt":
                return {function: list(argument)}
            case "Fn::Sub":
                text, extra = (argument, {}) if isinstance(argument, str) else argument
                # A value may contain ${…} itself, such as a field of the log format.
                given = {name: str(value).replace("${", "${!") for name, value in self.values.items() if not name.startswith("AWS::")}
                filled = re.sub(r"\$\{([A-Za-z0-9]+)\}", lambda name: given.get(name[1], name[0]) if name[1] not in extra else name[0], str(text))
                return {function: [filled, self.render(extra)] if extra else filled}
            case "Fn::Split" | "Fn::Select" | "Fn::Join":
                rendered = [self.render(item) for item in argument]
                return rendered[1].split(rendered[0]) if function == "Fn::Split" and isinstance(rendered[1], str) else {function: rendered}
            case _:
                return super().call(function, argument)


def bound(template: Template, values: dict[str, str], region: str, account: str) -> dict[str, Any]:
    """The template's resources and outputs for these values of parameters, in one account and Region."""
    defaults = {name: str(parameter["Default"]) for name, parameter in template.parameters.items() if "Default" in parameter}
    own = {**defaults, **{name: value for name, value in values.items() if name in template.parameters}}
    missing = template.parameters.keys() - own.keys()
    assert not missing, f"{template.name}: no value for {', '.join(sorted(missing))}"
    typed = {name: int(value) if template.parameters[name]["Type"] == "Number" else value for name, value in own.items()}
    # Conditions compare texts.
    conditions = Renderer(template.document.get("Conditions", {}), {**own, "AWS::Region": region, "AWS::AccountId": account})
    binder = Binder(template.document.get("Conditions", {}), typed)
    binder.holds = conditions.holds
    sections = {"AWSTemplateFormatVersion": "2010-09-09", "Description": str(template.document["Description"])}
    for section in ("Resources", "Outputs"):
        sections[section] = {}
        for name, item in template.document.get(section, {}).items():
            if "Condition" in item and not conditions.holds(item["Condition"]):
                continue
            kept = {key: value for key, value in copy.deepcopy(dict(item)).items() if key not in ("Condition", "Metadata")}
            sections[section][str(name)] = binder.render(kept)
    return sections
