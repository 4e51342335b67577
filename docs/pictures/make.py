#!/usr/bin/env python3
"""Draws the pictures of the documents.

    python3 docs/pictures/make.py             write the SVG files beside this script
    python3 docs/pictures/make.py --check     exit with 1 when a file is not what the script draws

Colours follow the reader's light or dark scheme. The output depends on nothing but this file.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .note { font-size: 11.5px; fill: #59636e; }
  .frame { fill: none; stroke: #8c959f; stroke-dasharray: 5 4; }
  .box { fill: #f6f8fa; stroke: #59636e; }
  .kept { fill: #ddf4ff; stroke: #0969da; stroke-width: 1.5; }
  .arrow { fill: none; stroke: #59636e; stroke-width: 1.5; }
  .work { stroke: #0969da; stroke-width: 2; }
  .head { fill: #59636e; }
  .workhead { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .note { fill: #9198a1; }
    .frame { stroke: #656c76; }
    .box { fill: #212830; stroke: #9198a1; }
    .kept { fill: #122d4f; stroke: #4493f8; }
    .arrow { stroke: #9198a1; }
    .work { stroke: #4493f8; }
    .head { fill: #9198a1; }
    .workhead { fill: #4493f8; }
  }
"""


class Picture:
    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            "<defs>",
        ]
        for name in ("head", "workhead"):
            self.parts.append(
                f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
                f'markerUnits="userSpaceOnUse" orient="auto"><path class="{name}" d="M0 0.5 L8 4 L0 7.5 z"/></marker>')
        self.parts.append("</defs>")

    def frame(self, x: int, y: int, width: int, height: int, title: str) -> None:
        self.parts.append(f'<rect class="frame" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>')
        self.text(x + 12, y + 21, title, "title", "start")

    def box(self, x: int, y: int, width: int, height: int, *lines: str, kept: bool = False) -> None:
        """A box with one line of text or several; `kept` is what the enroller maintains."""
        self.parts.append(f'<rect class="{"kept" if kept else "box"}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>')
        first = y + height / 2 + 4.5 - 8 * (len(lines) - 1)
        for number, line in enumerate(lines):
            self.text(x + width // 2, first + 16 * number, line)

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> None:
        name = f' class="{kind}"' if kind else ""
        self.parts.append(f'<text{name} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>')

    def arrow(self, *points: tuple[int, int], work: bool = False) -> None:
        """An arrow through all points; `work` is a change the enroller makes."""
        path = " L".join(f"{x} {y}" for x, y in points)
        name, head = ("arrow work", "workhead") if work else ("arrow", "head")
        self.parts.append(f'<path class="{name}" d="M{path}" marker-end="url(#{head})"/>')

    def svg(self) -> str:
        return "\n".join([*self.parts, "</svg>", ""])


def delivery() -> str:
    picture = Picture(900, 178, "Log delivery path: from a VPC through a destination of the central account to one S3 bucket")
    picture.frame(8, 8, 494, 116, "Member account, each enrolled Region")
    picture.frame(526, 8, 366, 116, "Central account")
    names = [("VPC",), ("Flow log",), ("Log group",), ("Subscription", "filter")]
    for number, lines in enumerate(names):
        picture.box(24 + 122 * number, 42, 96, 50, *lines, kept=number > 0)
        picture.arrow((120 + 122 * number, 67), (146 + 122 * number if number < 3 else 542, 67))
    picture.text(194, 110, "delivery role", "note")
    picture.box(542, 42, 96, 50, "Destination", kept=True)
    picture.box(664, 42, 90, 50, "Firehose")
    picture.box(780, 42, 96, 50, "S3 bucket")
    picture.arrow((638, 67), (664, 67))
    picture.arrow((754, 67), (780, 67))
    picture.text(590, 110, "same Region", "note")
    picture.text(770, 110, "home Region", "note")
    picture.box(24, 142, 22, 18, kept=True)
    picture.text(56, 156, "created and maintained by the enroller, the destination's access policy included", "note", "start")
    return picture.svg()


def enrollment() -> str:
    picture = Picture(900, 452, "How enrollment is maintained: events and a sweep lead to queues, and functions reconcile accounts")
    picture.frame(8, 8, 248, 108, "Management account")
    picture.box(24, 48, 216, 50, "accounts join, move,", "leave or are closed")
    picture.frame(8, 134, 248, 226, "Member accounts")
    picture.box(24, 170, 216, 50, "CreateVpc, DeleteFlowLogs,", "stack complete, …")
    picture.box(24, 292, 216, 50, "log group, filter,", "flow logs", kept=True)
    picture.frame(286, 8, 176, 436, "Central, each Region")
    picture.box(304, 48, 140, 50, "event bus")
    picture.box(304, 376, 140, 50, "destinations,", "access policies", kept=True)
    picture.frame(492, 8, 400, 352, "Central, home Region")
    picture.box(512, 48, 150, 50, "home bus")
    picture.box(726, 48, 150, 50, "backfill", "(schedule, operator)")
    picture.box(512, 170, 150, 50, "enrollments", "queue")
    picture.box(726, 170, 150, 50, "grants.fifo", "queue, one writer")
    picture.box(512, 292, 150, 50, "vpc-enroller")
    picture.box(726, 292, 150, 50, "account-onboarder")
    # Events.
    picture.arrow((240, 73), (304, 73))
    picture.arrow((240, 195), (374, 195), (374, 98))
    picture.arrow((444, 73), (512, 73))
    picture.arrow((585, 98), (585, 170))
    picture.text(578, 138, "VPC events", "note", "end")
    picture.arrow((640, 98), (760, 170))
    picture.text(742, 138, "account events", "note", "start")
    picture.arrow((750, 98), (630, 170))
    picture.arrow((845, 98), (845, 170))
    # Queues to functions, and what the functions ask of each other.
    picture.arrow((556, 220), (556, 292))
    picture.arrow((845, 220), (845, 292))
    picture.arrow((640, 292), (760, 220))
    picture.text(564, 268, "not granted yet", "note", "start")
    picture.arrow((750, 292), (630, 220))
    picture.text(838, 268, "accounts to enroll", "note", "end")
    # Work.
    picture.arrow((512, 317), (240, 317), work=True)
    picture.text(374, 309, "AssumeRole", "note")
    picture.arrow((801, 342), (801, 401), (444, 401), work=True)
    picture.text(640, 418, "PutDestination, PutDestinationPolicy", "note")
    return picture.svg()


PICTURES = {"delivery.svg": delivery, "enrollment.svg": enrollment}


def main() -> int:
    stale = []
    for name, draw in PICTURES.items():
        path, svg = HERE / name, draw()
        if sys.argv[1:] != ["--check"]:
            path.write_text(svg, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != svg:
            stale.append(name)
    for name in stale:
        print(f"docs/pictures/{name} is not what docs/pictures/make.py draws: run it", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
