"""The names in the templates that operators and their tools rely on, and the file that fixes them."""

from __future__ import annotations

from collections.abc import Iterable

from common.sentences import Sentences
from templates.template_model import INFRA, Template

FILE = INFRA.parent / "tests" / "contract" / "templates.txt"


def names(templates: Iterable[Template]) -> list[str]:
    """Parameters, outputs, exports and alarms, one a line, sorted."""
    found = []
    for template in templates:
        outputs = template.document.get("Outputs", {})
        found += [f"{template.name} parameter {name}" for name in template.parameters]
        found += [f"{template.name} output {name}" for name in outputs]
        found += [f"{template.name} export {export}" for output in outputs.values() for export in output.get("Export", {}).values()]
        found += [f"{template.name} alarm {alarm['Properties']['AlarmName']}" 
                  for kind in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm") for _, alarm in template.of_type(kind)]
    return sorted(found)


def write(templates: Iterable[Template]) -> None:
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text("".join(f"{line}\n" for line in names(templates)), encoding="utf-8")
    print(f"wrote {FILE.relative_to(INFRA.parent)}")


def contract(say: Sentences, templates: Iterable[Template]) -> None:
    with say.check("parameters, outputs and alarms of the templates are those in tests/contract/templates.txt"):
        found, fixed = names(templates), FILE.read_text(encoding="utf-8").splitlines()
        changes = [f"new: {line}" for line in found if line not in fixed] + [f"gone: {line}" for line in fixed if line not in found]
        assert found == fixed, (
            f"{'; '.join(changes) or 'the list is not sorted'}. Operators rely on these names. If the change is intended, add "
            "an entry to CHANGELOG.md and regenerate the list: check_templates.py --write-contract"
        )
