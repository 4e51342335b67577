#!/usr/bin/env python3
"""Runs the views and named queries of infra/central.yaml on what the simulated AWS delivered.

    python tests/python/sim/query_bucket.py target/debug/enroller

sqlglot parses the SQL in Athena's dialect and translates it to DuckDB's, which is not Athena: the JSON SerDe and the
partition are imitated, and so is UNNEST of rows. Exit code 0 if all checks passed.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

# Leave no bytecode in the checkout, and import from tests/python.
sys.dont_write_bytecode = True
sys.path[0] = str(Path(__file__).resolve().parents[1])

import duckdb
import sqlglot

from common.sentences import Sentences, end_after
from templates.template_model import Template

HOME = "eu-west-1"
VIEWS = ("AllRecordsView", "OwnRecordsView")
QUERIES = ("TopTalkersQuery", "RejectedByPortQuery", "VpcTrafficQuery", "InterfaceTrafficQuery", "ForeignRecordsQuery")
# Athena expands rows into columns when it unnests them, and DuckDB does not.
UNNEST = "CROSS JOIN UNNEST(logevents) AS e (event_id, event_ms, message)"
UNNESTED = "CROSS JOIN UNNEST(logevents) AS t (u)"


class Bucket:
    """The simulated AWS, as somebody who can write into a log group sees it."""

    def __init__(self, binary: str):
        command = [binary, "sim", "--listen", "127.0.0.1:0", "--installed", "--accounts", "4", "--vpcs", "1", "--regions", HOME]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.ready = json.loads(self.process.stdout.readline())
        keys = self.ready["central_account"]
        environment = {**os.environ, **self.ready["environment"], "AWS_ENDPOINT_URL": self.ready["endpoint"], "AWS_REGION": HOME,
                       "AWS_ACCESS_KEY_ID": keys["access_key_id"], "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"]}
        done = subprocess.run([binary, "backfill", "--yes", "--write-grants"], env=environment, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            self.stop()
            raise RuntimeError(f"the backfill ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    def call(self, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.ready['endpoint']}/_sim/{path}", data) as answer:
            return json.load(answer)

    def write(self, account: str, message: str) -> None:
        self.call("log-events", {"account": account, "region": HOME, "group": "vpc-flow-logs", "stream": "mine", "messages": [message]})

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def view_of(central: Template, name: str, values: dict[str, str]) -> dict:
    table = central.render(central.resources[name]["Properties"]["TableInput"], values)
    definition = re.fullmatch(r"/\* Presto View: (\S+) \*/", table["ViewOriginalText"])
    return {"name": table["Name"], "table": table, **json.loads(base64.b64decode(definition[1]))}


def in_duckdb(sql: str) -> str:
    """The SQL in DuckDB's dialect."""
    parsed = sqlglot.parse_one(sql, read="athena")
    if UNNEST in sql:
        flat = sql.replace(UNNEST, UNNESTED)
        flat = re.sub(r"event_id, event_ms, split\(message, ' '\)", "u.id AS event_id, u.timestamp AS event_ms, split(u.message, ' ')", flat)
        parsed = sqlglot.parse_one(flat, read="athena")
    return parsed.sql(dialect="duckdb")


def database(central: Template, lines: list[str], values: dict[str, str]) -> duckdb.DuckDBPyConnection:
    """What Athena would see: the table of deliveries, and the views on it."""
    here = duckdb.connect()
    here.execute("CREATE TABLE deliveries (messagetype VARCHAR, owner VARCHAR, loggroup VARCHAR, logstream VARCHAR, "
                 "subscriptionfilters VARCHAR[], logevents STRUCT(id VARCHAR, timestamp BIGINT, message VARCHAR)[], hour VARCHAR)")
    for line in lines:
        row = json.loads(line)
        here.execute("INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, strftime(now() AT TIME ZONE 'UTC', '%Y/%m/%d/%H'))",
                     [row[key] for key in ("messageType", "owner", "logGroup", "logStream", "subscriptionFilters", "logEvents")])
    for name in VIEWS:
        view = view_of(central, name, values)
        here.execute(f"CREATE VIEW {view['name']} AS {in_duckdb(view['originalSql'].strip())}")
    return here


def counts(here: duckdb.DuckDBPyConnection, view: str) -> dict[tuple[str, str], int]:
    return {tuple(row[:2]): row[2] for row in here.execute(f"SELECT owner, claim, count(*) FROM {view} GROUP BY ALL").fetchall()}


def same_columns(view: dict, here: duckdb.DuckDBPyConnection) -> None:
    columns = [(column["name"], column["type"]) for column in view["columns"]]
    hive = {"varchar": "string", "integer": "int", "bigint": "bigint"}
    assert [(name, hive[kind]) for name, kind in columns] == [(c["Name"], c["Type"]) for c in view["table"]["StorageDescriptor"]["Columns"]]
    found = here.execute(f"DESCRIBE {view['name']}").fetchall()
    assert [(row[0], row[1].lower()) for row in found] == columns, found


def main(binary: str) -> int:
    end_after(120)
    say = Sentences()
    central = Template("central")
    bucket = Bucket(binary)
    try:
        bucket.call("traffic", {})
        honest = bucket.call("bucket")["lines"]
        real = json.loads(honest[0])
        member, victim = real["owner"], next(owner for owner in (json.loads(line)["owner"] for line in honest) if owner != real["owner"])
        record = real["logEvents"][0]["message"].split(" ")

        def line(account: str) -> str:
            return " ".join([record[0], account, *record[2:]])

        for message in (line(victim), line("unknown"), line(member), "no record", line(victim) + " and more"):
            bucket.write(member, message)
        lines = bucket.call("bucket")["lines"]
    finally:
        bucket.stop()
    control = '{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],' \
              '"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}'
    here = database(central, [*lines, control], {})
    with say.check("every record that the simulated AWS delivered has its owner and log group, and is an own record"):
        before = database(central, honest, {})
        found = before.execute("SELECT owner = account_id, log_group, claim FROM own_records").fetchall()
        assert len(found) == len(honest) > 2 and set(found) == {(True, "vpc-flow-logs", "own")}, found
    with say.check("records in the name of another account, and text that is no record, are not among own_records"):
        assert counts(here, "all_records")[member, "other"] == 1 and counts(here, "all_records")[member, "malformed"] == 2
        assert {claim for _, claim in counts(here, "own_records")} == {"own", "unknown"}
    with say.check("nothing that one account writes adds a record to another"):
        of_victim = "SELECT * FROM own_records WHERE owner = ? OR account_id = ?"
        assert here.execute(of_victim, [victim, victim]).fetchall() == before.execute(of_victim, [victim, victim]).fetchall()
    with say.check("what the account adds in its own name shows its log stream"):
        rows = here.execute("SELECT log_stream FROM own_records WHERE owner = ? AND log_stream NOT LIKE interface_id || '-%'", [member])
        assert rows.fetchall() == [("mine",)] * 2
    with say.check("every record is in one of the two views' reach, and CloudWatch Logs' probes are in none"):
        assert sum(counts(here, "all_records").values()) == len(lines)
        assert ("CloudwatchLogs", "own") not in counts(here, "all_records")
    with say.check("interfaces of other accounts in a shared VPC are own records of an account in SharedVpcAccounts, and of no other"):
        assert counts(database(central, lines, {"SharedVpcAccounts": f"999988887777,{member}"}), "own_records")[member, "shared"] == 1
        assert (member, "shared") not in counts(database(central, lines, {"SharedVpcAccounts": victim}), "own_records")
    with say.check("the views' columns are those that they declare to Athena and to Glue"):
        for name in VIEWS:
            same_columns(view_of(central, name, {}), here)
    with say.check("every named query is valid in Athena's dialect and runs"):
        for name in QUERIES:
            query = central.render(central.resources[name]["Properties"]["QueryString"], {})
            arguments = [real["logStream"].removesuffix("-all"), "2000/01/01/00", "2999/01/01/00"] if "?" in query else None
            if name == "VpcTrafficQuery":
                arguments[0] = record[2]
            rows = here.execute(in_duckdb(query), arguments).fetchall()
            assert rows or name == "RejectedByPortQuery", f"{name} finds nothing"
    with say.check("with RecordFormat lines, the named queries read the table of lines"):
        query = central.render(central.resources["TopTalkersQuery"]["Properties"]["QueryString"], {"RecordFormat": "lines"})
        assert "FROM flow_logs" in query, query
    return say.end()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1]))
