"""The export has every row of the ledger as it is now, however it came to be so."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from analytics.errors import AnalyticsError
from analytics.lake import Lake, new_connection
from analytics.tables import TABLES
from storage.backup import copy_ledger, read_backup
from storage.database import Database
from storage.exceptions import GreenlineError
from storage.export import _ELSEWHERE, _OF_THE_AGENTS, NOT_EXPORTED, Snapshot
from storage.restore import restore
from storage.whole_file import new_file
from tasks.export import STATE, bring_up_to_date

LEDGER = TABLES["ledger"]
TYPES = {
    "int4": "INTEGER", "int8": "BIGINT", "text": "VARCHAR", "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "bool": "BOOLEAN", "jsonb": "JSON", "json": "JSON", "uuid": "UUID", "numeric": "DOUBLE",
    "varchar": "VARCHAR", "bytea": "BLOB",
}  # fmt: skip


def exported(folder: Path, table: str) -> list[dict]:
    """The rows that the exports say a table has, by their key."""
    with new_connection() as connection:
        Lake(str(folder)).view(connection, table)
        relation = connection.table(f"ledger_{table}")
        rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    key = LEDGER[table].key
    assert len({row[key] for row in rows}) == len(rows), f"a row of {table} is doubled"
    return sorted(rows, key=lambda row: row[key])


def everything(folder: Path) -> dict[str, list[dict]]:
    return {table: exported(folder, table) for table in LEDGER}


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in folder.rglob("*")
        if path.is_file()
    }


def execute(database: Database, statement: str, *parameters: object) -> None:
    with database.get_connection() as connection:
        connection.execute(statement, parameters)


def event(connection: psycopg.Connection, text: str) -> None:
    connection.execute("INSERT INTO events (event_type) VALUES (%s)", (text,))


def project(connection: psycopg.Connection, name: str, text: str) -> None:
    """A row with a text of any length."""
    connection.execute(
        "INSERT INTO projects (name, repo_path, default_branch) VALUES (%s, %s, %s)",
        (name, name, text),
    )


def events(folder: Path) -> list[str]:
    return sorted(row["event_type"] for row in exported(folder, "events"))


# ---------------------------------------------------------------- the whole ledger


def test_every_table_and_column_is_exported_with_its_type(database):
    """Whoever adds a table or a column has to say what the analytics see of it."""
    with database.get_connection() as connection:
        found = connection.execute(
            "SELECT c.table_schema AS schema, c.table_name AS table, c.column_name AS column,"
            " CASE WHEN c.data_type = 'USER-DEFINED' THEN 'text' ELSE c.udt_name END AS type"
            " FROM information_schema.columns c JOIN information_schema.tables t"
            " USING (table_schema, table_name)"
            " WHERE c.table_schema IN ('public', 'agent') AND t.table_type = 'BASE TABLE'"
            " AND c.column_name <> 'changed_in' ORDER BY c.ordinal_position"
        ).fetchall()
    ledger: dict[str, dict[str, str]] = {}
    for row in found:
        ledger.setdefault(row["table"], {})[row["column"]] = TYPES[row["type"]]
        assert (row["schema"] == "agent") == (row["table"] in _OF_THE_AGENTS)
    with new_connection() as connection:
        exports = {}
        for table in LEDGER:
            relation = connection.table(f"ledger.{table}")
            exports[table] = dict(zip(relation.columns, map(str, relation.types), strict=True))
    for table, column in _ELSEWHERE:
        assert column not in ledger[table]
        ledger[table][column] = TYPES["timestamptz"]
    assert exports == {
        table: columns for table, columns in ledger.items() if table not in NOT_EXPORTED
    }
    assert set(ledger) == set(LEDGER) | set(NOT_EXPORTED)


def test_every_exported_table_marks_its_changes(database):
    """An index finds them; a table without a mark would never be exported again."""
    with database.get_connection() as connection:
        marked = connection.execute(
            "SELECT t.tgrelid::regclass::text AS name FROM pg_trigger t WHERE t.tgname = 'mark_change'"
        ).fetchall()
        indexed = connection.execute(
            "SELECT tablename AS name FROM pg_indexes WHERE indexdef LIKE '%(changed_in)'"
        ).fetchall()
    assert {row["name"].removeprefix("agent.") for row in marked} == set(LEDGER)
    assert {row["name"] for row in indexed} == set(LEDGER)


def test_every_time_that_files_a_row_is_a_column_of_its_own():
    assert all(len(table.times) == 1 for table in LEDGER.values())


def test_what_the_ledger_says_comes_out_again(stored, tmp_path):
    """Rows of a real run, of several tables, value by value."""
    stored.finish(stored.begin(), "failure", failure_class="not_red", error="no\nred", exit_code=1)
    stored.finish(stored.begin(), "success", commit_sha_after="b" * 40, result={"a": [1, None]})
    report = bring_up_to_date(stored.database, tmp_path)
    assert report.full
    compared = 0
    with psycopg.connect(stored.database.url) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        for table in LEDGER:
            schema = "agent" if table in _OF_THE_AGENTS else "public"
            rows = exported(tmp_path, table)
            assert len(rows) == report.rows.get(table, 0)
            for row in rows:
                del row["week"]
                columns = [name for name in row if (table, name) not in _ELSEWHERE]
                query = f"SELECT {', '.join(columns)} FROM {schema}.{table} WHERE {LEDGER[table].key} = %s"
                (there,) = connection.execute(query, (row[LEDGER[table].key],)).fetchall()
                for name, value in zip(columns, there, strict=True):
                    said = row[name]
                    if isinstance(value, dict | list):
                        said = json.loads(said)
                    assert said == value, (table, name)
                    compared += 1
    assert compared > 100


NASTY = (
    "", "\\N", "NULL", "\\.", '"', '""', ",", "a,b", "\n", "\r\n", "\r", '"\n1,2,3\n"', "tab\t", " ",
    "ünï 🐘", "\x01\x7f", "\x1e", "\x1f", "\x1e\x1f\n\x1e", "\x1e\\N\x1e", "'", "\\", '\\"', "x" * 70_000, '{"a": 1}', "2026-11-21 00:00:00+00,",
)  # fmt: skip
JSONS = (
    None, True, 0, -1.5, 1e20, 12345678901234567890, "", "null", [], {}, [None], {"a": {"b": [1, "x"]}},
    {'"': "\n", "\\": "\\N"}, "🐘", {"": ""},
)  # fmt: skip


@pytest.mark.parametrize("full", [True, False], ids=["full", "incremental"])
def test_every_value_comes_through(database, tmp_path, full):
    """NULL is not the empty text; quotes, lines and what looks like a row are text."""
    if not full:
        bring_up_to_date(database, tmp_path)
    with database.get_connection() as connection:
        for number, text in enumerate(NASTY):
            project(connection, str(number), text)
        for value in (*NASTY, *JSONS):
            connection.execute(
                "INSERT INTO events (event_type, run_id, payload_json) VALUES ('', NULL, %s)",
                (Jsonb(value),),
            )
        connection.execute("INSERT INTO events (event_type, ws_id) VALUES ('none', '\\N')")
    bring_up_to_date(database, tmp_path)
    assert [row["default_branch"] for row in exported(tmp_path, "projects")] == list(NASTY)
    *jsons, last = exported(tmp_path, "events")
    assert [json.loads(row["payload_json"]) for row in jsons] == [*NASTY, *JSONS]
    assert {(row["run_id"], row["event_type"]) for row in jsons} == {(None, "")}
    assert (last["payload_json"], last["ws_id"]) == (None, "\\N")


def test_figures_times_and_json_text_come_through(stored, tmp_path):
    """A cost is a double, a plain `json` keeps its text, a time its microseconds."""
    attempt = stored.begin()
    text = '{"b":  1, "a" : 2, "b": 3, "s": "\\u00e4"}'
    with stored.database.get_connection() as connection:
        connection.execute("UPDATE steps SET context_snapshot = %s", (text,))
        connection.execute(
            "INSERT INTO agent.phase_results (run_id, phase) SELECT id, 'analysis' FROM agent.feature_runs"
        )
        connection.execute(
            "INSERT INTO agent.agent_invocations (phase_result_id, attempt_id, agent_type,"
            " cost_reported, started_at, completed_at)"
            " SELECT id, %s, 'coder', 0.12345678, '2026-12-31 23:59:59.999999+00',"
            " '2027-01-01 01:00:00+05:30' FROM agent.phase_results",
            (attempt["id"],),
        )
    bring_up_to_date(stored.database, tmp_path)
    assert {row["context_snapshot"] for row in exported(tmp_path, "steps")} == {text}
    (row,) = exported(tmp_path, "agent_invocations")
    assert row["cost_reported"] == float(Decimal("0.12345678"))
    assert row["cost_computed"] is None
    assert row["started_at"] == datetime(2026, 12, 31, 23, 59, 59, 999999, UTC)
    assert row["completed_at"] == datetime(2026, 12, 31, 19, 30, tzinfo=UTC)
    assert row["week"] == "2026-W53"


def test_a_time_that_no_calendar_has_is_unknown(database, tmp_path):
    """Nothing that is written into the ledger can make the export impossible."""
    times = ("infinity", "-infinity", "0044-03-15 BC", "4713-01-01 BC", "12026-01-01")
    for number, time in enumerate(times):
        execute(
            database,
            "INSERT INTO projects (name, repo_path, created_at, updated_at) VALUES (%s, %s, %s, %s)",
            f"p{number}", f"/{number}", time, "2026-01-01",
        )  # fmt: skip
    bring_up_to_date(database, tmp_path)
    rows = exported(tmp_path, "projects")
    assert len(rows) == len(times)
    assert {(row["created_at"], row["week"]) for row in rows} == {(None, "none")}


def test_a_huge_text_comes_through(database, tmp_path):
    """20 MB in one value, beside small rows before and after it."""
    huge = '"quoted", line\n' * 1_400_000
    with database.get_connection() as connection:
        for number, text in enumerate(("before", huge, "after")):
            project(connection, str(number), text)
    bring_up_to_date(database, tmp_path)
    branches = [row["default_branch"] for row in exported(tmp_path, "projects")]
    assert branches == ["before", huge, "after"]


def test_test_results_are_filed_by_their_verification(stored, tmp_path):
    """They have no time of their own."""
    attempt = stored.begin()
    with stored.database.get_connection() as connection:
        connection.execute(
            "INSERT INTO verifications (run_id, attempt_id, kind, tree, command_hash, report_state,"
            " created_at) VALUES (%s, %s, 'full', 't', 'h', 'complete', '2026-01-05Z')",
            (stored.run_id, attempt["id"]),
        )
        connection.execute(
            "INSERT INTO test_results (verification_id, node_id, outcome)"
            " SELECT id, 'test_a', 'passed' FROM verifications"
        )
    bring_up_to_date(stored.database, tmp_path)
    (row,) = exported(tmp_path, "test_results")
    assert (row["created_at"], row["week"]) == (datetime(2026, 1, 5, tzinfo=UTC), "2026-W02")


# ---------------------------------------------------------------- what changed


def test_nothing_changed_touches_nothing(stored, tmp_path):
    bring_up_to_date(stored.database, tmp_path)
    before = files(tmp_path)
    report = bring_up_to_date(stored.database, tmp_path)
    assert (report.rows, report.files, report.full) == ({}, 0, False)
    assert files(tmp_path) == before


def test_only_what_changed_is_written_and_the_last_word_counts(stored, tmp_path):
    """An attempt that ended later, one that was rolled back."""
    first, second = stored.begin(), stored.begin(1)
    bring_up_to_date(stored.database, tmp_path)
    stored.finish(first, "success", commit_sha_after="b" * 40)
    report = bring_up_to_date(stored.database, tmp_path)
    assert report.rows["step_attempts"] == 1
    assert "runs" not in report.rows
    execute(stored.database, "UPDATE step_attempts SET active = false WHERE id = %s", first["id"])
    assert bring_up_to_date(stored.database, tmp_path).rows == {"step_attempts": 1}
    rows = exported(tmp_path, "step_attempts")
    assert [(row["id"], row["status"], row["active"]) for row in rows] == [
        (first["id"], "success", False), (second["id"], "in_progress", True),
    ]  # fmt: skip


def test_a_transaction_that_commits_late_is_not_missed(database, tmp_path):
    """It has its number before others that were exported already."""
    early = database.get_connection()
    event(early, "early")
    with database.get_connection() as connection:
        event(connection, "later")
    bring_up_to_date(database, tmp_path)
    assert events(tmp_path) == ["later"]
    with database.get_connection() as connection:
        event(connection, "later still")
    assert bring_up_to_date(database, tmp_path).rows == {"events": 1}
    early.commit()
    early.close()
    assert bring_up_to_date(database, tmp_path).rows == {"events": 1}
    assert events(tmp_path) == ["early", "later", "later still"]
    assert bring_up_to_date(database, tmp_path).rows == {}


def test_a_transaction_that_lasts_makes_nobody_write_the_same_again(database, tmp_path):
    with database.get_connection() as lasting:
        event(lasting, "never")
        with database.get_connection() as connection:
            event(connection, "done")
        bring_up_to_date(database, tmp_path)
        before = files(tmp_path)
        for _ in range(3):
            assert bring_up_to_date(database, tmp_path).rows == {}
        assert files(tmp_path) == before
        lasting.rollback()
    assert bring_up_to_date(database, tmp_path).rows == {}
    assert events(tmp_path) == ["done"]


def test_only_indexes_are_asked_for_what_changed(stored, tmp_path):
    """The cost of an export is that of what changed, however much there is."""
    bring_up_to_date(stored.database, tmp_path)
    with stored.database.get_connection() as connection:
        for number in range(500):
            event(connection, f"e{number}")
        connection.execute("ANALYZE events")
    bring_up_to_date(stored.database, tmp_path)
    since = json.loads((tmp_path / STATE).read_text())["snapshot"]
    with stored.database.get_connection() as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT id FROM events AS row_ WHERE row_.changed_in >= pg_snapshot_xmin(%(s)s::pg_snapshot)"
            " AND row_.changed_in < pg_snapshot_xmax(pg_current_snapshot())"
            " AND NOT pg_visible_in_snapshot(row_.changed_in, %(s)s::pg_snapshot)",
            {"s": since},
        ).fetchall()
    told = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "idx_events_changed_in" in told
    assert re.search(r"Index Cond: \(\(changed_in >= .* AND \(changed_in < ", told)


# ---------------------------------------------------------------- which ledger


def test_a_folder_with_exports_of_another_ledger_is_replaced(stored, empty_database, tmp_path):
    """Rows of two ledgers have the same keys: they are never mixed. What was imported stays."""
    bring_up_to_date(stored.database, tmp_path)
    imported = tmp_path / "imported" / "attempts" / "week=2026-W01" / "base.parquet"
    imported.parent.mkdir(parents=True)
    imported.write_bytes(b"theirs")
    other = Database(empty_database)
    other.init_db()
    execute(other, "INSERT INTO projects (name, repo_path) VALUES ('other', '/other')")
    report = bring_up_to_date(other, tmp_path)
    other.dispose()
    assert report.full
    assert [row["name"] for row in exported(tmp_path, "projects")] == ["other"]
    assert exported(tmp_path, "runs") == []
    assert imported.read_bytes() == b"theirs"


def test_a_restored_ledger_is_exported_in_full(stored, tmp_path):
    """What came after the backup is gone from the exports too."""
    with new_file(tmp_path / "backup", replace=False) as stream:
        copy_ledger(stored.database, stream)
    stored.finish(stored.begin(), "success", commit_sha_after="b" * 40)
    exports = tmp_path / "exports"
    bring_up_to_date(stored.database, exports)
    assert len(exported(exports, "step_attempts")) == 1
    with read_backup(tmp_path / "backup") as backup:
        restore(stored.database, backup, replace=True, by="a person")
    assert bring_up_to_date(stored.database, exports).full
    assert exported(exports, "step_attempts") == []
    assert not bring_up_to_date(stored.database, exports).full


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("100:100:", "100:100:", True),
        ("100:120:100,110", "115:130:115", True),
        ("100:120:100", "90:130:90", False),
        ("100:120:100", "100:110:100", False),
        ("nonsense", "100:110:", False),
        ("", "100:110:", False),
        ("120:100:", "130:140:", False),
    ],
)
def test_a_snapshot_of_another_history_is_not_gone_on_with(before, now, expected):
    """Numbers of transactions only grow: smaller ones are of a ledger that was put back."""
    assert Snapshot("a", now).continues(Snapshot("a", before)) is expected
    assert not Snapshot("b", now).continues(Snapshot("a", before))
    assert not Snapshot("a", now).continues(None)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"tables": 1}', b"null"])
def test_a_state_that_says_nothing_means_all_of_it(stored, tmp_path, content):
    bring_up_to_date(stored.database, tmp_path)
    (tmp_path / STATE).write_bytes(content)
    assert bring_up_to_date(stored.database, tmp_path).full


def test_rows_that_were_deleted_go_with_a_full_export(stored, tmp_path):
    bring_up_to_date(stored.database, tmp_path)
    execute(stored.database, "DELETE FROM projects")
    assert bring_up_to_date(stored.database, tmp_path).rows == {}
    assert len(exported(tmp_path, "projects")) == 1
    report = bring_up_to_date(stored.database, tmp_path, full=True)
    assert report.full
    assert exported(tmp_path, "projects") == exported(tmp_path, "step_attempts") == []


def test_rows_with_numbers_of_another_cluster_are_exported_once(database, tmp_path):
    """`pg_restore` brings them: they may lie ahead of all numbers here."""
    execute(
        database,
        "INSERT INTO events (event_type, changed_in) VALUES ('far', '999999999999'::xid8)",
    )
    assert bring_up_to_date(database, tmp_path).rows == {"events": 1}
    assert bring_up_to_date(database, tmp_path).rows == {}
    with database.get_connection() as connection:
        event(connection, "near")
    assert bring_up_to_date(database, tmp_path).rows == {"events": 1}
    assert events(tmp_path) == ["far", "near"]


# ---------------------------------------------------------------- any order of things


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("insert", "old", "update", "export", "tidy", "begin", "commit", "rollback")
        ),
        st.integers(0, 5),
    ),
    min_size=3,
    max_size=25,
)


@settings(
    max_examples=25, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(steps=STEPS)
def test_many_small_exports_say_what_a_full_one_says(database, tmp_path_factory, steps):
    """Whatever was inserted, changed, committed late or taken back in between."""
    folder = tmp_path_factory.mktemp("exports")
    insert = "INSERT INTO projects (name, repo_path, created_at) VALUES (gen_random_uuid(), gen_random_uuid(), now() - %s * interval '3 days')"
    update = "UPDATE projects SET last_attempt_number = last_attempt_number + 1 WHERE id %% 6 = %s AND pg_try_advisory_xact_lock(id)"
    lasting = database.get_connection()
    for what, number in steps:
        if what == "insert":
            execute(database, insert, 0)
        elif what == "old":
            execute(database, insert, number)
        elif what == "begin":
            lasting.execute(insert, (number,))
        elif what == "commit":
            lasting.commit()
        elif what == "rollback":
            lasting.rollback()
        elif what == "update":
            execute(database, update, number)
        elif what == "tidy":
            (folder / ".tidy").unlink(missing_ok=True)
        else:
            bring_up_to_date(database, folder)
    lasting.commit()
    lasting.close()
    bring_up_to_date(database, folder)
    anew = tmp_path_factory.mktemp("anew")
    bring_up_to_date(database, anew)
    assert exported(folder, "projects") == exported(anew, "projects")


# ---------------------------------------------------------------- at the same time, and without room


EXPORT = """
import sys
from pathlib import Path
from storage.database import Database
from tasks.export import bring_up_to_date
report = bring_up_to_date(Database(sys.argv[1]), Path(sys.argv[2]))
print(sum(report.rows.values()), report.full)
"""


def test_two_at_once_one_waits_and_takes_what_is_left(stored, tmp_path):
    for number in range(200):
        execute(stored.database, "INSERT INTO events (event_type) VALUES (%s)", f"e{number}")
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", EXPORT, stored.database.url, tmp_path],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )
        for _ in range(3)
    ]  # fmt: skip
    told = sorted(process.communicate(timeout=120)[0].split() for process in begun)
    assert [process.returncode for process in begun] == [0, 0, 0]
    assert told[:2] == [["0", "False"], ["0", "False"]]
    assert told[2][1] == "True"
    assert len([name for name in events(tmp_path) if name.startswith("e")]) == 200


def test_what_is_read_meanwhile_is_whole(database, tmp_path):
    """A reader sees what some export left, never a part of one."""
    stop = threading.Event()
    bring_up_to_date(database, tmp_path)

    def read() -> list[int]:
        seen = []
        while not stop.is_set():
            with Lake(str(tmp_path)).reading():
                seen.append(len(exported(tmp_path, "events")))
        return seen

    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(read)
        for _ in range(20):
            with database.get_connection() as connection:
                for number in range(10):
                    event(connection, f"e{number}")
            bring_up_to_date(database, tmp_path)
        stop.set()
        seen = reading.result(60)
    assert len(seen) > 3
    assert all(count % 10 == 0 for count in seen)
    assert seen == sorted(seen)


def test_a_folder_that_cannot_be_written_is_told_in_one_message(stored, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AnalyticsError, match="cannot be written"):
        bring_up_to_date(stored.database, tmp_path / "file")
    with pytest.raises(AnalyticsError, match="cannot be written"):
        bring_up_to_date(stored.database, tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


def test_the_files_are_their_owners_alone(stored, tmp_path):
    """They hold what agents said and did."""
    folder = tmp_path / "exports"
    bring_up_to_date(stored.database, folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from pathlib import Path
from storage.database import Database
from tasks.export import bring_up_to_date
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    bring_up_to_date(Database(sys.argv[1]), Path(sys.argv[2]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk_leaves_what_was_there(database, tmp_path):
    """One message; the next export, with room, has everything."""
    with database.get_connection() as connection:
        event(connection, "before")
    bring_up_to_date(database, tmp_path)
    before = files(tmp_path)
    with database.get_connection() as connection:
        for number in range(3):
            project(connection, str(number), os.urandom(400_000).hex())
    told = subprocess.run(
        [sys.executable, "-c", FULL_DISK, database.url, tmp_path],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert told.stdout.startswith("AnalyticsError the exports in "), told.stdout + told.stderr
    assert len(told.stdout.splitlines()) == 1
    assert files(tmp_path) == before
    assert bring_up_to_date(database, tmp_path).rows == {"projects": 3}


def test_a_server_that_goes_away_leaves_what_was_there(stored, tmp_path):
    bring_up_to_date(stored.database, tmp_path)
    before = files(tmp_path)
    gone = Database(stored.database.url.rpartition("/")[0] + "/no_such_database")
    with pytest.raises(GreenlineError):
        bring_up_to_date(gone, tmp_path)
    assert files(tmp_path) == before


def test_a_report_is_a_document(stored, tmp_path):
    report = bring_up_to_date(stored.database, tmp_path)
    document = json.loads(json.dumps(report.document()))
    assert set(document) == {"exports", "full", "rows", "files", "marker", "seconds"}
    assert math.isfinite(document["seconds"])
