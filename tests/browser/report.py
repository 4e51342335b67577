"""The report in a page: reads it as the page's script does, counts it with other code, and replaces it."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

DATA = re.compile(r'(<script type="application/json" id="data">)(.*?)(</script>)', re.DOTALL)
ACCOUNT, REGION, VPC, NAME, STATUS, REASON, FLOW_LOG, DESTINATION, NEXT = range(9)

HOSTILE = [
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 1</script>",
    '<img src=x onerror="window.pwned = 1">',
    "<!--<script>",
    "O'Brien & \"Sons\" &lt;b&gt;",
    "\u202edrowssap \u05e9\u05dc\u05d5\u05dd",
    "شركة الاختبار prod",
    "line\u2028separator\u2029paragraph",
    "{{name}} ${name} /*DATA*/",
    "=cmd|' /C calc'!A0",
    "日本語アカウント 🔒",
    "x" * 250,
]


def read(page: Path) -> dict:
    """Returns the report's data in a page."""
    return json.loads(DATA.search(page.read_text(encoding="utf-8"))[2])


def exchanged(page: Path, data: dict, target: Path) -> Path:
    """Writes the same page with other data to `target`."""
    text = json.dumps(data, ensure_ascii=False)
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    html = page.read_text(encoding="utf-8")
    target.write_text(DATA.sub(lambda found: found[1] + text + found[3], html, count=1), encoding="utf-8")
    return target


def counts(data: dict) -> Counter:
    """The number of rows by status id."""
    return Counter(data["statuses"][row[STATUS]]["id"] for row in data["rows"])


def percent(data: dict) -> float | None:
    """The percentage of covered rows among those that should be covered, rounded down to a tenth."""
    found = counts(data)
    wanted = found["covered"] + sum(found[status["id"]] for status in data["statuses"] if status["problem"])
    return found["covered"] * 1000 // wanted / 10 if wanted else None


def statuses(data: dict) -> dict[str, int]:
    return {status["id"]: index for index, status in enumerate(data["statuses"])}


def large(data: dict, rows: int, accounts: int = 250) -> dict:
    """A report with this number of rows, independent of the rows in `data`. It is the same every time."""
    chance, index = random.Random(1), statuses(data)
    kinds = ["covered"] * 92 + ["broken"] * 3 + ["not-covered"] * 2 + ["foreign-only", "excluded", "skipped"]
    texts = ["", "It has no flow log.", "Flow log is ACTIVE, but its delivery fails: Access error.", "Run enroller backfill."]
    made = []
    for number in range(rows):
        kind = chance.choice(kinds)
        reason, step = {"covered": (0, 0), "broken": (2, 3), "excluded": (1, 0), "skipped": (1, 0)}.get(kind, (1, 3))
        region, vpc = chance.randrange(4), f"vpc-{number:017x}"
        made.append([number % accounts, region, vpc, f"vpc number {number}", index[kind], reason, f"fl-{number:017x}", 0, step])
    report = {
        **data,
        "regions": ["ap-southeast-2", "eu-central-1", "eu-west-1", "us-east-1"],
        "units": [{"id": "r-ab12", "name": "Root"}, *({"id": f"ou-ab12-{n:08}", "name": f"Unit {n}"} for n in range(1, 21))],
        "accounts": [{"id": f"{n:012}", "name": f"account-{n}", "units": [0, 1 + n % 20]} for n in range(accounts)],
        "texts": texts,
        "rows": made,
    }
    return {**report, "coverage_percent": percent(report)}


def hostile(data: dict) -> dict:
    """A report with hostile names of accounts, units and VPCs, and hostile reasons."""
    index, names = statuses(data), HOSTILE
    rows = [[n, 0, f"vpc-{n:08x}", name, index["broken"], n + 1, "", 0, n + 1] for n, name in enumerate(names)]
    report = {
        **data,
        "regions": ["eu-west-1"],
        "units": [{"id": f"ou-ab12-{n:08}", "name": name} for n, name in enumerate(names)],
        "accounts": [{"id": f"{n:012}", "name": name, "units": [n]} for n, name in enumerate(names)],
        "texts": ["", *names],
        "rows": rows,
    }
    return {**report, "coverage_percent": percent(report)}


def empty(data: dict) -> dict:
    """A report without any rows."""
    nothing = {"regions": [], "units": [], "accounts": [], "texts": [], "rows": []}
    return {**data, **nothing, "account_regions": 0, "empty_account_regions": 0, "surveyed_accounts": 0, "coverage_percent": None}
