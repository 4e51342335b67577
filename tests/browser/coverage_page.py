#!/usr/bin/env python3
"""Opens the page that `enroller coverage --html FILE` writes in a headless Chromium, and operates it.

    python tests/browser/coverage_page.py FILE [WORDS]

Compares what the page shows with the data in it, which is counted here by other code. Besides FILE, it tests three pages
made from FILE with other data: one with 10,000 rows, one with hostile names, and an empty one. WORDS selects the checks
whose sentence contains them. The exit code is 0 if all checks passed, 1 if one failed, and 2 if they could not start.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import report
from browser import Browser, CannotStart

ROWS = 10_000
# These limits are generous. An idle machine needs a tenth of them, and a page that draws every row takes longer.
LOAD_SECONDS = 10
SEARCH_SECONDS = 2

CHECKS = []


def check(page: str):
    """Registers a check of one of the pages: given, large, hostile or empty."""

    def register(function):
        CHECKS.append((page, function.__name__.replace("_", " "), function))
        return function

    return register


def expect(condition: object, *details: object) -> None:
    if not condition:
        raise AssertionError(" ".join(str(item) for item in details))


def number(text: str) -> int:
    return int(re.sub(r"\D", "", text) or 0)


def found(browser: Browser) -> int:
    """The number of rows that pass the filters, as the page shows it."""
    return number(browser.one("#found").text.split(" of ")[0])


def vpcs_of(data: dict, **wanted: int) -> set[str]:
    columns = {"account": report.ACCOUNT, "region": report.REGION, "status": report.STATUS}
    return {row[report.VPC] for row in data["rows"] if all(row[columns[key]] == value for key, value in wanted.items())}


@check("given")
def the_totals_are_those_of_the_data(browser: Browser, data: dict) -> None:
    counts = report.counts(data)
    for status in data["statuses"]:
        shown = number(browser.one(f'[data-tile="{status["id"]}"] .figure').text)
        expect(shown == counts[status["id"]], status["id"], shown, "is not", counts[status["id"]])
    percent = report.percent(data)
    expect(data["coverage_percent"] == percent, "the data has", data["coverage_percent"], "not", percent)
    shown = browser.one("#coverage .figure").text
    expect(shown == ("–" if percent is None else f"{percent:.1f} %"), shown, percent)
    expect(found(browser) == len(data["rows"]), found(browser), len(data["rows"]))


@check("given")
def the_title_and_the_heading_name_the_organization(browser: Browser, data: dict) -> None:
    expect(data["organization"] in browser.driver.title, browser.driver.title)
    part = f": only {data['part']}" if data["part"] else ""
    expect(browser.one("h1").text == f"Coverage of {data['organization']}{part}", browser.one("h1").text)
    expect(("SIMULATED" in browser.driver.title) == data["about"]["simulated"], browser.driver.title)
    expect(("PARTIAL" in browser.driver.title) != data["about"]["scope"]["complete"], browser.driver.title)
    loud = data["about"]["simulated"] or not data["about"]["scope"]["complete"]
    expect(browser.one("#banner").is_displayed() == loud, "the banner")


@check("given")
def every_region_and_unit_has_a_bar(browser: Browser, data: dict) -> None:
    shown = browser.texts("#regions .what")
    expect(shown == data["regions"], shown)
    if browser.all("#groups-more:not([hidden])"):
        browser.click("#groups-more")
    shown = sorted(browser.texts("#groups .what"))
    expect(shown == sorted(unit["name"] or unit["id"] for unit in data["units"]), shown)


@check("large")
def a_bar_shows_the_percentage_of_its_region(browser: Browser, data: dict) -> None:
    for region in range(len(data["regions"])):
        there = {**data, "rows": [row for row in data["rows"] if row[report.REGION] == region]}
        shown = browser.one(f'#regions [data-value="{region}"] .share b').text
        expect(shown == f"{report.percent(there):.1f} %", shown, report.percent(there))


@check("given")
def every_control_has_a_name(browser: Browser, data: dict) -> None:
    script = """return [...document.querySelectorAll('button, select, input')].filter(e =>
        !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map(e => e.outerHTML)"""
    expect(not browser.run(script), browser.run(script))
    twice = "const ids = [...document.querySelectorAll('[id]')].map(e => e.id); return ids.filter((id, at) => ids.indexOf(id) !== at)"
    expect(not browser.run(twice), "duplicate ids:", browser.run(twice))


@check("large")
def ten_thousand_rows_load_in_bounded_time_and_are_not_all_drawn(browser: Browser, data: dict) -> None:
    expect(browser.seconds < LOAD_SECONDS, f"{browser.seconds:.1f} s")
    expect(found(browser) == ROWS, found(browser))
    expect(0 < len(browser.all("#body tr")) <= 1_000, len(browser.all("#body tr")))


@check("large")
def typing_filters_ten_thousand_rows_at_once(browser: Browser, data: dict) -> None:
    begun = time.monotonic()
    browser.type("#search", "VPC number 4321")
    seconds = time.monotonic() - begun
    shown = browser.texts("#body td:nth-child(4) bdi")
    expect("vpc number 4321" in shown and len(shown) == found(browser), shown)
    expect(seconds < SEARCH_SECONDS, f"{seconds:.1f} s")
    browser.type("#search", "account-17 delivery eu-west-1")
    texts = [text.lower() for text in browser.texts("#body tr")]
    expect(texts and all("account-17" in t and "delivery" in t and "eu-west-1" in t for t in texts), texts[:1])


@check("large")
def a_search_without_a_hit_is_reported_and_can_be_cleared(browser: Browser, data: dict) -> None:
    browser.type("#search", "no such thing anywhere")
    expect(found(browser) == 0 and browser.one("#empty").text == "Nothing matches these filters.", browser.one("#empty").text)
    browser.click("#clear")
    expect(found(browser) == ROWS and browser.one("#search").get_attribute("value") == "", found(browser))


@check("large")
def chips_filter_by_status_and_add_up(browser: Browser, data: dict) -> None:
    counts = report.counts(data)
    browser.click('[data-chip="broken"]')
    expect(found(browser) == counts["broken"], found(browser), counts["broken"])
    expect(set(browser.texts("#body .status")) == {"Broken"}, set(browser.texts("#body .status")))
    browser.click('[data-chip="not-covered"]')
    expect(found(browser) == counts["broken"] + counts["not-covered"], found(browser))
    expect(browser.one('[data-chip="broken"]').get_attribute("aria-pressed") == "true")
    browser.click('[data-chip="broken"]')
    browser.click('[data-chip="not-covered"]')
    expect(found(browser) == ROWS, found(browser))


@check("large")
def a_tile_shows_its_status_alone(browser: Browser, data: dict) -> None:
    browser.click('[data-tile="foreign-only"]')
    expect(found(browser) == report.counts(data)["foreign-only"], found(browser))


@check("large")
def region_unit_and_account_filter_together(browser: Browser, data: dict) -> None:
    browser.choose("#region", 2)
    expect(found(browser) == len(vpcs_of(data, region=2)), found(browser))
    browser.choose("#account", 7)
    expect(found(browser) == len(vpcs_of(data, region=2, account=7)), found(browser))
    browser.choose("#unit", 1 + 7 % 20)
    expect(found(browser) == len(vpcs_of(data, region=2, account=7)), "the account is in that unit")
    browser.choose("#unit", 1 + 8 % 20)
    expect(found(browser) == 0, "the account is not in that unit")
    expect(len(browser.all("#active button")) == 4, "three filters and clear all")


@check("large")
def a_bar_filters_and_a_second_click_removes_the_filter(browser: Browser, data: dict) -> None:
    browser.click('#regions [data-value="1"] .what')
    expect(found(browser) == len(vpcs_of(data, region=1)), found(browser))
    expect(browser.one("#region").get_attribute("value") == "1", "the select follows")
    browser.click('#regions [data-value="1"] .what')
    expect(found(browser) == ROWS, found(browser))
    browser.click('#regions [data-value="1"] [data-status="broken"]')
    status = report.statuses(data)["broken"]
    expect(found(browser) == len(vpcs_of(data, region=1, status=status)), found(browser))


@check("large")
def accounts_are_charted_most_problems_first(browser: Browser, data: dict) -> None:
    browser.click('[data-group="account"]')
    problems = {index for index, status in enumerate(data["statuses"]) if status["problem"]}
    totals = [0] * len(data["accounts"])
    for row in data["rows"]:
        totals[row[report.ACCOUNT]] += row[report.STATUS] in problems
    first = int(browser.one("#groups [data-value]").get_attribute("data-value"))
    expect(totals[first] == max(totals), totals[first], max(totals))
    browser.click("#groups-more")
    expect(len(browser.all("#groups .bar")) == len(data["accounts"]), len(browser.all("#groups .bar")))


@check("large")
def columns_sort_both_ways_and_show_the_order(browser: Browser, data: dict) -> None:
    browser.click('[data-sort="vpc"]')
    expect(browser.one('th[aria-sort="ascending"]').text.startswith("VPC"))
    expect(browser.texts("#body td:nth-child(4) bdi")[0] == "vpc number 0", "numbers sort as numbers")
    expect(browser.run("return document.activeElement.dataset.sort") == "vpc", "the focus stays")
    browser.click('[data-sort="vpc"]')
    expect(browser.one('th[aria-sort="descending"]').text.startswith("VPC"))
    expect(browser.texts("#body td:nth-child(4) bdi")[0] == f"vpc number {ROWS - 1}")


@check("large")
def pages_turn_to_the_last_row(browser: Browser, data: dict) -> None:
    first = browser.texts("#body td:nth-child(4)")
    browser.click('[data-page="next"]')
    expect(browser.one("#page").text.startswith("101–200 of"), browser.one("#page").text)
    expect(not set(first) & set(browser.texts("#body td:nth-child(4)")))
    browser.click('[data-page="last"]')
    expect(browser.one("#page").text.endswith("10,000 of 10,000"), browser.one("#page").text)
    expect(not browser.one('[data-page="next"]').is_enabled())
    browser.choose("#size", 1000)
    expect(len(browser.all("#body tr")) == 1_000, len(browser.all("#body tr")))


@check("large")
def the_keyboard_alone_reaches_the_table(browser: Browser, data: dict) -> None:
    browser.run("document.activeElement.blur(); document.querySelector('.skip').focus()")
    box = browser.run("const r = document.activeElement.getBoundingClientRect(); return [r.width, r.height]")
    expect(min(box) > 10, "the skip link shows when it has the focus", box)
    browser.run("document.querySelector('[data-chip=\"broken\"]').focus()")
    browser.driver.switch_to.active_element.send_keys(" ")
    expect(found(browser) == report.counts(data)["broken"], found(browser))
    expect(browser.run("return document.activeElement.dataset.chip") == "broken", "the focus stays on the chip")


@check("large")
def dark_follows_the_system_and_the_toggle_wins(browser: Browser, data: dict) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        seen[scheme] = browser.run(ground)
    expect(seen["light"] != seen["dark"], seen)
    browser.click('[data-theme-choice="light"]')
    expect(browser.run(ground) == seen["light"], "the toggle wins over the system")
    browser.click('[data-theme-choice="auto"]')
    expect(browser.run(ground) == seen["dark"], "auto follows the system again")
    browser.prefer("light")
    expect(browser.run(ground) == seen["light"])


@check("large")
def nothing_is_cut_off_at_any_width(browser: Browser, data: dict) -> None:
    for width in (360, 480, 768, 1024, 1280, 1920):
        browser.size(width, 900)
        wide = browser.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        expect(wide[0] <= wide[1], f"at {width} px the page is {wide[0]} px wide")


@check("large")
def a_printout_has_every_row_that_passes_the_filters(browser: Browser, data: dict) -> None:
    browser.click('[data-tile="broken"]')
    broken = report.counts(data)["broken"]
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    expect(len(browser.all("#body tr")) == broken, len(browser.all("#body tr")), broken)
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    expect(len(browser.all("#body tr")) == min(broken, 100), len(browser.all("#body tr")))


@check("hostile")
def hostile_names_are_text_and_nothing_else(browser: Browser, data: dict) -> None:
    rows = browser.run("""return [...document.querySelectorAll('#body tr')].map(tr =>
        [tr.children[1], tr.children[3], tr.children[4]].map(td => td.querySelector('bdi').textContent))""")
    expect(sorted(rows) == sorted([name] * 3 for name in report.HOSTILE), rows)
    expect(set(browser.texts("#groups .what")) == set(report.HOSTILE), browser.texts("#groups .what"))
    expect(browser.run("return window.pwned") is None, "a name was run")
    expect(browser.run("return document.querySelectorAll('img, iframe, b b').length") == 0, "a name became an element")
    expect(browser.run("return document.scripts.length") == 2, "a name became a script")


@check("hostile")
def a_long_or_right_to_left_name_stays_in_its_cell(browser: Browser, data: dict) -> None:
    for width in (360, 1280):
        browser.size(width, 900)
        wide = browser.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        expect(wide[0] <= wide[1], f"at {width} px the page is {wide[0]} px wide")
    expect(browser.run("return getComputedStyle(document.querySelector('#body bdi')).unicodeBidi") == "isolate")


@check("empty")
def an_empty_report_is_reported_as_empty(browser: Browser, data: dict) -> None:
    expect(browser.one("#empty").text == "No account-Region was inspected.", browser.one("#empty").text)
    expect(browser.one("#coverage .figure").text == "–", browser.one("#coverage .figure").text)
    expect(not browser.one("#save").is_enabled())


def silent(browser: Browser, page: Path) -> None:
    """Runs at the end of every check: there is no console message, and no request except for the page itself."""
    console, requests = browser.console(), browser.requests()
    expect(not console, "the console has messages:", console)
    expect(requests == [page.resolve().as_uri()], "the page requested", requests)


def run_one(browser: Browser, page: Path, function) -> None:
    browser.size(1280, 900)
    browser.prefer("light")
    browser.seconds = browser.open(page)
    function(browser, report.read(page))
    silent(browser, page)


def message(error: Exception) -> str:
    """The message without the browser's stack trace, which has only addresses."""
    return str(error).split("Stacktrace:")[0].strip()[:2_000]


def run(page: Path, words: str) -> int:
    data, failed, passed = report.read(page), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        made = {"large": report.large(data, ROWS), "hostile": report.hostile(data), "empty": report.empty(data)}
        pages = {kind: report.exchanged(page, other, Path(folder) / f"{kind}.html") for kind, other in made.items()}
        pages["given"] = page
        browser = Browser()
        try:
            for kind, sentence, function in CHECKS:
                if words not in sentence:
                    continue
                try:
                    run_one(browser, pages[kind], function)
                    passed += 1
                    print(f"ok      {sentence}")
                except Exception as error:  # Any exception fails the check, and the others still run.
                    failed += 1
                    print(f"FAILED  {sentence}\n        {type(error).__name__}: {message(error)}")
        finally:
            browser.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return run(Path(arguments[0]), " ".join(arguments[1:]))
    except (CannotStart, OSError, TypeError, ValueError) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
