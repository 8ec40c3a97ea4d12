"""A backup is one moment of the ledger, whole; a restore puts all of it back, or changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import stat
import threading
import tracemalloc
import uuid
import zipfile
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest
from alembic import command
from psycopg import sql

from storage.backup import (
    MANIFEST,
    OF_THE_SCHEMA,
    copy_ledger,
    ledger_tables,
    read_backup,
    write_archive,
)
from storage.database import SCHEMA_VERSION, Database, migration_config
from storage.exceptions import GreenlineError, InputError, ServiceError
from storage.lease import this_owner
from storage.restore import restore
from storage.whole_file import new_file
from tests.conftest import _administer, _new_database

NASTY = "tab\there\nline\r\nback\\slash \\N \\. \\n 'quote' \"double\" {} ünï 🐘 \x01\x7f"
#: What a run that is not carried through leaves empty, one row each.
REST = """
INSERT INTO agent.sandboxes (run_id, source_type, cwd, duration)
    SELECT id, 'git', %(nasty)s, 12 FROM agent.feature_runs;
INSERT INTO agent.sandbox_snapshots (sandbox_id, run_id, size_bytes)
    SELECT id, run_id, 5000000000 FROM agent.sandboxes;
UPDATE agent.feature_runs f SET sandbox_id = s.id FROM agent.sandboxes s WHERE s.run_id = f.id;
UPDATE agent.sandboxes s SET source_snapshot_id = n.id
    FROM agent.sandbox_snapshots n WHERE n.sandbox_id = s.id;
INSERT INTO agent.phase_results (run_id, phase, output)
    SELECT id, 'analysis', jsonb_build_object('text', %(nasty)s) FROM agent.feature_runs;
INSERT INTO agent.agent_invocations (phase_result_id, attempt_id, agent_type, cost_reported)
    SELECT p.id, a.id, 'coder', 0.12345678 FROM agent.phase_results p, step_attempts a
    WHERE a.run_id = p.run_id::text;
UPDATE agent.agent_invocations i SET parent_invocation_id = p.id
    FROM agent.agent_invocations p WHERE p.id > i.id;
INSERT INTO agent.agent_steps (invocation_id, step_number, output_text, input_messages)
    SELECT id, 0, %(nasty)s, '[{"a": "\\t\\\\"}, null]' FROM agent.agent_invocations;
INSERT INTO agent.tool_calls (step_id, invocation_id, tool_call_id, tool_name, output_type)
    SELECT id, invocation_id, 'call', %(nasty)s, 'error-text' FROM agent.agent_steps;
INSERT INTO agent.memory_records (run_id, phase, kind, content)
    SELECT id, 'pr', 'insight', %(nasty)s FROM agent.feature_runs;
INSERT INTO agent.cta_events (run_id, kind, request_message, request_options)
    SELECT id, 'choice', %(nasty)s, '[{"id": "a", "label": "b"}]' FROM agent.feature_runs;
INSERT INTO work_stages (feature_id, ws_id, work_stage)
    SELECT f.id, w.ws_id, v.stage::work_stage
    FROM workstreams w JOIN runs r USING (run_id) JOIN features f ON f.id = r.feature_id,
        LATERAL unnest(ARRAY['unit_testing', 'unit_implementation', 'review', 'unit_implementation',
            'review', 'completed']) v (stage);
INSERT INTO verifications (run_id, attempt_id, kind, tree, command_hash, report_state)
    SELECT run_id, id, 'suite', repeat('a', 40), 'h', 'read' FROM step_attempts;
INSERT INTO test_results (verification_id, node_id, outcome, message)
    SELECT v.id, 'test_' || n, 'failed', %(nasty)s FROM verifications v, generate_series(1, 300) n;
INSERT INTO file_locks (project_id, file_path, holder, run_id, step_id)
    SELECT project_id, file_path, 'somewhere/-/1/2/3', NULL, id FROM steps WHERE step_number = 1;
INSERT INTO tool_results (tool_name, args_hash, project_id, fingerprint, result)
    SELECT 'list', 'h', id, 'f', 'null' FROM projects;
INSERT INTO commits (sha, project_id, parent, pack)
    SELECT repeat('c', 40), id, repeat('a', 40), '\\x00ff0a5c'::bytea FROM projects LIMIT 1;
INSERT INTO rollbacks (run_id, attempt_id, who) SELECT run_id, id, %(nasty)s FROM step_attempts;
INSERT INTO deliveries (run_id, mode, target_branch, commit_sha)
    SELECT run_id, 'branch', 'main', repeat('b', 40) FROM runs;
INSERT INTO errors (run_id, error_code, signature, message) SELECT run_id, 'e', 's', %(nasty)s FROM runs;
UPDATE steps SET context_snapshot = '{"b":  1, "a" : 2, "b": 3}', last_error = %(nasty)s;
UPDATE steps s SET parent_step_id = p.id FROM steps p
    WHERE p.subtask_id = s.subtask_id AND p.step_number = s.step_number - 1;
UPDATE runs SET lease_owner = 'somewhere/-/1/2/3', lease_expires_at = now() - interval '1 minute';
"""


@pytest.fixture
def full(store_run):
    """A ledger with rows in every table, two projects and numbers that were skipped."""
    told = store_run("/srv/roman", steps=3)
    for _ in range(2):
        told.finish(told.begin(), "failure", failure_class="not_red", error=NASTY)
    told.finish(told.begin(), "success", commit_sha_after="b" * 40, result={"text": NASTY})
    told.finish(told.begin(1), "failure", failure_class="not_green")
    other = store_run("/srv/greek", steps=2)
    other.finish(other.begin(), "failure", failure_class="crashed")
    with told.database.get_connection() as connection:
        for statement in REST.split(";\n")[:-1]:
            psycopg.ClientCursor(connection).execute(statement, {"nasty": NASTY})
        connection.execute("SELECT nextval('file_lock_tokens') FROM generate_series(1, 40)")
    return told


_made = {}


@pytest.fixture
def made(request, tmp_path):
    """A backup of a full ledger, made once; for what is about the file alone."""
    if "backup" not in _made:
        full = request.getfixturevalue("full")
        back_up(full.database, tmp_path / "ledger")
        _made["backup"] = (tmp_path / "ledger").read_bytes()
    else:
        (tmp_path / "ledger").write_bytes(_made["backup"])
    return tmp_path / "ledger"


@pytest.fixture
def new_database(ledger_server, ledger_template):
    """A function that gives another ledger with nothing in it."""
    with ExitStack() as stack:

        def new():
            name = f"greenline_other_{uuid.uuid4().hex[:12]}"
            url = stack.enter_context(_new_database(ledger_server, name, template=ledger_template))
            database = Database(url)
            stack.callback(database.dispose)
            return database

        yield new


def back_up(database, path, *, replace=False):
    with new_file(path, replace=replace) as stream:
        return copy_ledger(database, stream)


def put_back(database, path, *, replace=False):
    with read_backup(path) as backup:
        return restore(database, backup, replace=replace, by="a person")


def everything(database):
    """Every row of every table in both schemas, as text; but what a ledger keeps to itself."""
    with psycopg.connect(database.url) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        return {
            key: sorted(
                row
                for (row,) in connection.execute(
                    sql.SQL("SELECT ROW({})::text FROM {} t").format(
                        sql.SQL(", ").join(map(sql.Identifier, columns_of(connection, key))),
                        sql.Identifier(*key),
                    )
                )
                if "ledger_id" not in row or key != ("public", "schema_meta")
            )
            for key in in_the_database(connection)
        }


def columns_of(connection, key):
    """The columns of a table that belong to the ledger, not to one copy of it."""
    found = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE column_name <> 'changed_in'"
        " AND table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        key,
    )
    return [name for (name,) in found]


def in_the_database(connection):
    found = connection.execute(
        "SELECT table_schema, table_name FROM information_schema.tables"
        " WHERE table_schema IN ('public', 'agent') AND table_type = 'BASE TABLE'"
    )
    return sorted(found.fetchall())


def without_leases(rows):
    """What a restore leaves of these rows."""
    rows = dict(rows)
    rows["public", "file_locks"] = []
    rows["public", "runs"] = sorted(
        row.replace("somewhere/-/1/2/3", "").replace(lease_time(row), "")
        for row in rows["public", "runs"]
    )
    return rows


def lease_time(row):
    return row.split("somewhere/-/1/2/3,")[1].split(",")[0]


def without_event(rows):
    """These rows without the one that tells of the restore."""
    rows = dict(rows)
    (told,) = [row for row in rows["public", "events"] if "ledger_restored" in row]
    rows["public", "events"] = [row for row in rows["public", "events"] if row != told]
    return rows


def catalog(database):
    """Triggers, constraints and indexes with their states."""
    with psycopg.connect(database.url) as connection:
        return set(
            connection.execute(
                "SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger"
                " WHERE NOT tgisinternal"
                " UNION SELECT conrelid::regclass::text, conname,"
                "  pg_get_constraintdef(oid) || convalidated FROM pg_constraint"
                " UNION SELECT tablename::text, indexname, indexdef FROM pg_indexes"
                "  WHERE schemaname IN ('public', 'agent')"
            ).fetchall()
        )


# ---------------------------------------------------------------- there and back


def test_no_table_and_no_sequence_of_the_ledger_is_left_out(full, tmp_path):
    """Whoever adds a table or a sequence need not think of the backup."""
    manifest = back_up(full.database, tmp_path / "ledger")
    with psycopg.connect(full.database.url) as connection:
        tables = in_the_database(connection)
        sequences = connection.execute(
            "SELECT schemaname, sequencename FROM pg_sequences"
            " WHERE schemaname IN ('public', 'agent') ORDER BY 1, 2"
        ).fetchall()
        columns = {key: columns_of(connection, key) for key in tables}
    of_the_schema = {*OF_THE_SCHEMA, ("public", "alembic_version")}
    assert {table.key for table in manifest.tables} == set(tables) - of_the_schema
    for table in manifest.tables:
        assert sorted(table.columns) == sorted(columns[table.key])
        assert table.rows > 0, f"no test puts a row into {table.name}"
    assert [(each.schema_name, each.name) for each in manifest.sequences] == sequences


def test_every_row_comes_back(full, new_database, tmp_path):
    """Into another ledger, by a plain owner of its tables; an event says who restored what."""
    before = everything(full.database)
    manifest = back_up(full.database, tmp_path / "ledger")
    assert everything(full.database) == before
    other = new_database()
    schema = catalog(other)
    done = put_back(other, tmp_path / "ledger")
    after = everything(other)
    assert without_event(after) == without_leases(before)
    assert {key: len(before[key]) for key in ledger_tables()} == {
        table.key: table.rows for table in manifest.tables
    }
    assert catalog(other) == schema
    assert (done.runs, done.attempts, done.leases, done.file_locks) == (2, 5, 2, 2)
    assert (done.replaced.runs, done.replaced.attempts) == (0, 0)
    with other.get_connection() as connection:
        row = connection.execute(
            "SELECT payload_json, rolsuper FROM events, pg_roles"
            " WHERE event_type = 'ledger_restored' AND rolname = current_user"
        ).fetchone()
    assert row["payload_json"] == {
        "file": str(tmp_path / "ledger"),
        "backup_of": manifest.created_at.isoformat(),
        "by": "a person",
        "backup_schema_version": SCHEMA_VERSION,
        "replaced_runs": 0,
    }
    assert not row["rolsuper"] or "GREENLINE_TEST_DATABASE_URL" in os.environ
    # Once more, from the copy: the same again but for what the first restore recorded.
    back_up(other, tmp_path / "again")
    third = new_database()
    put_back(third, tmp_path / "again")
    again = everything(third)
    assert len(again["public", "events"]) == len(before["public", "events"]) + 2
    del again["public", "events"], after["public", "events"]
    assert again == after


def test_the_guards_are_back_after_a_restore(full, new_database, tmp_path):
    """Illegal moves from raw SQL are refused as before."""
    back_up(full.database, tmp_path / "ledger")
    other = new_database()
    put_back(other, tmp_path / "ledger")
    for refused in (
        "UPDATE runs SET status = 'completed'",
        "DELETE FROM events",
        "TRUNCATE events",
        "INSERT INTO work_stages (feature_id, ws_id, work_stage) SELECT 1, ws_id, 'review' FROM runs r JOIN workstreams w USING (run_id)",
        "UPDATE step_attempts SET run_id = 'nobody'",
    ):
        with other.get_connection() as connection, pytest.raises(psycopg.IntegrityError):
            connection.execute(refused)


def test_numbers_go_on_where_they_were(full, new_database, tmp_path, store_run):
    """Neither an attempt's number nor an id nor a fencing token is used again."""
    back_up(full.database, tmp_path / "ledger")
    other = new_database()
    put_back(other, tmp_path / "ledger")
    with full.database.get_connection() as connection:
        count = "SELECT max(id) AS id FROM step_attempts"
        highest = connection.execute(count).fetchone()["id"]
        token = "SELECT nextval('file_lock_tokens') AS token"
        expected = connection.execute(token).fetchone()
    with other.transaction() as ledger:
        attempt = ledger.begin_attempt(full.run_id, full.ws_id, full.steps[1], **BEGUN)
    assert (attempt["number"], attempt["attempt_no"]) == (5, 2)
    assert attempt["id"] == highest + 1
    with other.get_connection() as connection:
        assert connection.execute(token).fetchone() == expected


BEGUN = {"commit_sha_before": "a" * 40, "agent_config": {"adapter": "replay"}}


def test_what_was_used_after_the_backup_is_not_used_again(full, tmp_path):
    """Git still has what attempts that are replaced left, under their numbers."""
    back_up(full.database, tmp_path / "ledger")
    later = [full.begin(2)]
    full.finish(later[0], "failure")
    later.append(full.begin(2))
    with full.database.get_connection() as connection:
        connection.execute("SELECT nextval('file_lock_tokens') FROM generate_series(1, 9)")
        last = connection.execute("SELECT last_value AS n FROM file_lock_tokens").fetchone()["n"]
    done = put_back(full.database, tmp_path / "ledger", replace=True)
    assert (done.replaced.runs, done.replaced.attempts, done.attempts) == (2, 7, 5)
    attempt = full.begin(2)
    assert attempt["number"] == later[-1]["number"] + 1
    assert attempt["attempt_no"] == 1
    assert attempt["id"] > later[-1]["id"]
    with full.database.get_connection() as connection:
        token = connection.execute("SELECT nextval('file_lock_tokens') AS n").fetchone()["n"]
    assert token == last + 1


def test_replacing_leaves_what_the_backup_holds_and_nothing_else(full, tmp_path, store_run):
    before = everything(full.database)
    back_up(full.database, tmp_path / "ledger")
    schema = catalog(full.database)
    store_run("/srv/third")
    full.begin(2)
    put_back(full.database, tmp_path / "ledger", replace=True)
    after = without_event(everything(full.database))
    expected = without_leases(before)
    # Of these alone the highest number that was ever used stays.
    projects = ("public", "projects")
    assert [row.split(",")[0] for row in after[projects]] == [
        row.split(",")[0] for row in expected[projects]
    ]
    del after[projects], expected[projects]
    assert after == expected
    assert catalog(full.database) == schema


def test_settings_of_server_and_user_do_not_change_a_value(full, new_database, tmp_path):
    """Formats of times and encodings that somebody likes better are theirs to have."""
    other = new_database()
    databases = (full.database, other)
    likes = (
        "DateStyle = 'German, DMY'", "TimeZone = 'Asia/Tokyo'", "IntervalStyle = 'sql_standard'",
        "client_encoding = 'LATIN1'", "extra_float_digits = 0",
    )  # fmt: skip
    for each in databases:
        name = psycopg.conninfo.conninfo_to_dict(each.url)["dbname"]
        for setting in likes:
            _administer(each.url, f"ALTER DATABASE {{}} SET {setting}", name)
    schema = catalog(other)
    back_up(full.database, tmp_path / "ledger")
    put_back(other, tmp_path / "ledger")
    assert catalog(other) == schema
    for each in databases:
        name = psycopg.conninfo.conninfo_to_dict(each.url)["dbname"]
        _administer(each.url, "ALTER DATABASE {} RESET ALL", name)
    assert without_event(everything(other)) == without_leases(everything(full.database))


def test_a_table_of_somebody_elses_in_the_database_stays_as_it_is(full, tmp_path):
    """In a database of their own people may have tables, views and readers of their own."""
    with full.database.get_connection() as connection:
        connection.execute("CREATE TABLE mine (x int)")
        connection.execute("INSERT INTO mine VALUES (1)")
        connection.execute("CREATE VIEW numbers AS SELECT number FROM step_attempts")
        connection.execute("ALTER TABLE runs DISABLE TRIGGER guard_transition")
        connection.execute("ALTER TABLE steps ENABLE ALWAYS TRIGGER guard_transition")
    manifest = back_up(full.database, tmp_path / "ledger")
    assert ("public", "mine") not in {table.key for table in manifest.tables}
    schema = catalog(full.database)
    put_back(full.database, tmp_path / "ledger", replace=True)
    with full.database.get_connection() as connection:
        assert connection.execute("SELECT x FROM mine").fetchall() == [{"x": 1}]
        assert len(connection.execute("SELECT * FROM numbers").fetchall()) == 5
    assert catalog(full.database) == schema


def test_an_empty_ledger_is_a_backup_too(database, new_database, tmp_path):
    manifest = back_up(database, tmp_path / "ledger")
    assert sum(table.rows for table in manifest.tables) == 0
    assert put_back(new_database(), tmp_path / "ledger").runs == 0


def test_a_backup_of_an_older_schema_is_upgraded(full, new_database, tmp_path):
    """What a ledger of version 1 held is there, with what the migrations make of it."""
    with full.database.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql('UPDATE runs SET metadata_json = \'{"base_commit": "c0ffee"}\'')
        command.downgrade(migration_config(connection), "0001")
    older = everything(full.database)
    with full.database.get_connection() as connection:
        cursor = connection.cursor(row_factory=psycopg.rows.tuple_row)
        tables = {
            key: [
                name
                for (name,) in cursor.execute(
                    "SELECT column_name FROM information_schema.columns"
                    " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
                    key,
                ).fetchall()
            ]
            for key in in_the_database_of(cursor)
        }
        with new_file(tmp_path / "ledger", replace=False) as stream:
            write_archive(cursor, stream, tables, 1)
    assert "head_commit" not in tables["public", "runs"]
    other = new_database()
    schema = catalog(other)
    done = put_back(other, tmp_path / "ledger")
    assert (done.backup_schema_version, done.schema_version) == (1, SCHEMA_VERSION)
    assert other.init_db().state == "up to date"
    assert catalog(other) == schema
    with other.get_connection() as connection:
        heads = connection.execute("SELECT head_commit FROM runs ORDER BY created_at").fetchall()
    assert [row["head_commit"] for row in heads] == ["b" * 40, "c0ffee"]
    newer = without_event(everything(other))
    for key in tables.keys() - {("public", "runs"), ("agent", "cta_events"), *LEFT}:
        assert newer[key] == older[key]
    full.database.init_db()


LEFT = {("public", "file_locks")}


def in_the_database_of(cursor):
    known = {("public", "alembic_version"), *OF_THE_SCHEMA}
    return [key for key in in_the_database(cursor) if key not in known]


# ---------------------------------------------------------------- one moment


def test_a_backup_shows_one_moment_while_runs_go_on(full, new_database, tmp_path):
    """Whatever is written meanwhile is in it whole or not at all."""
    stop, begun = threading.Event(), threading.Event()
    written = []

    def work():
        while not stop.is_set():
            # In one transaction each: an attempt with its number, its event and its error.
            attempt = full.begin(2)
            full.finish(attempt, "failure", failure_class="not_green", error="e", signature="same")
            written.append(attempt["number"])
            begun.set()

    writer = threading.Thread(target=work)
    writer.start()
    try:
        assert begun.wait(30)
        manifests = []
        for number in range(2):
            before = len(written)
            manifests.append(back_up(full.database, tmp_path / f"{number}"))
            assert len(written) > before, "nothing was written during the backup"
    finally:
        stop.set()
        writer.join()
    counts = [manifest.rows("public", "step_attempts") for manifest in manifests]
    assert counts == sorted(set(counts))
    for number, manifest in enumerate(manifests):
        other = new_database()
        put_back(other, tmp_path / f"{number}")  # every reference was checked
        with other.get_connection() as connection:
            row = connection.execute(CONSISTENT).fetchone()
            assert row["numbered"] == row["attempts"] - 1  # one is the other project's
            assert row["counted"] == row["highest"] == row["numbered"]
            assert row["events"] == row["finished"]
            assert row["id"] >= row["highest_id"]
        assert manifest.sequences


CONSISTENT = """
SELECT (SELECT count(*) FROM step_attempts) AS attempts,
    (SELECT count(*) FROM step_attempts a JOIN projects p ON p.id = a.project_id
        WHERE repo_path = '/srv/roman') AS numbered,
    (SELECT max(number) FROM step_attempts) AS highest,
    (SELECT max(id) FROM step_attempts) AS highest_id,
    (SELECT last_value FROM step_attempts_id_seq) AS id,
    (SELECT last_attempt_number FROM projects WHERE repo_path = '/srv/roman') AS counted,
    (SELECT count(*) FROM step_attempts WHERE status <> 'in_progress') AS finished,
    (SELECT count(*) FROM events WHERE event_type = 'attempt_status_changed') AS events
"""


def test_rows_in_any_number_take_bounded_memory(full, tmp_path, new_database):
    """A ledger may be larger than the memory; only a piece of it is held at a time."""
    with full.database.get_connection() as connection:
        connection.execute(
            "INSERT INTO test_results (verification_id, node_id, outcome, message)"
            " SELECT v.id, 'test', 'passed', repeat('0123456789', 1000)"
            " FROM (SELECT min(id) AS id FROM verifications) v, generate_series(1, 3000)"
        )
    back_up(full.database, tmp_path / "warm")
    other = new_database()
    tracemalloc.start()
    try:
        manifest = back_up(full.database, tmp_path / "ledger")
        put_back(other, tmp_path / "ledger")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = sum(table.bytes for table in manifest.tables)
    assert size > 30_000_000
    assert peak < 10_000_000


# ---------------------------------------------------------------- the file


def test_the_file_is_its_owners_alone_whatever_the_umask(full, tmp_path):
    path = tmp_path / "ledger"
    before = os.umask(0)
    try:
        back_up(full.database, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        back_up(full.database, path, replace=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["ledger"]


def test_a_file_that_is_there_is_replaced_only_if_that_is_wanted(full, tmp_path):
    path = tmp_path / "ledger"
    path.write_text("mine")
    with pytest.raises(InputError, match="is there already; --force replaces it"):
        back_up(full.database, path)
    assert path.read_text() == "mine"
    back_up(full.database, path, replace=True)
    with read_backup(path):
        pass


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "ledger"
    with pytest.raises(InputError, match="is there already"), new_file(path, replace=False):
        path.write_text("mine")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one_and_what_it_points_to_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "latest"
    link.symlink_to(tmp_path / "there" / "ledger")
    for replace in (False, True):
        with new_file(link, replace=replace) as out:
            out.write(b"x")
        assert link.is_symlink()
        assert (tmp_path / "there" / "ledger").read_bytes() == b"x"
    with pytest.raises(InputError, match="is there already"), new_file(link, replace=False):
        pass


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing/ledger", "there is no folder"),
        ("folder", "is a folder; name a file in it"),
        ("file/ledger", "there is no folder"),
        ("pipe", "is no regular file"),
        ("n" * 300, "File name too long"),
        ("n" * 255, None),
        ("x\n[y]*", None),
    ],
)
def test_where_no_file_can_be_made_is_said(tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    if said is None:
        with new_file(tmp_path / name, replace=False) as out:
            out.write(b"x")
        assert (tmp_path / name).read_bytes() == b"x"
        return
    with pytest.raises(InputError, match=said), new_file(tmp_path / name, replace=True):
        pass
    assert sorted(tmp_path.iterdir()) == before


def test_what_goes_wrong_in_the_middle_leaves_nothing(tmp_path):
    path = tmp_path / "ledger"
    path.write_text("the one before")

    def fail(error):
        with new_file(path, replace=True) as out:
            out.write(b"x" * 100_000)
            raise error

    with pytest.raises(GreenlineError, match="could not be written: No space left on device"):
        fail(OSError(28, "No space left on device"))
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "the one before"


def test_the_draft_of_who_was_killed_is_removed_by_the_next(tmp_path):
    """Of the same name alone, and not while somebody writes it."""
    path = tmp_path / "ledger"
    with new_file(path, replace=True):
        (draft,) = tmp_path.iterdir()
        left = draft.with_name(draft.name.replace(draft.stem[-8:], "leftover"))
        others = tmp_path / ".greenline-another.draft"
        left.touch()
        others.touch()
        with new_file(path, replace=True):
            assert draft.exists()
            assert not left.exists()
    assert sorted(tmp_path.iterdir()) == sorted([path, others])


def test_anybody_can_look_into_the_file(full, tmp_path):
    back_up(full.database, tmp_path / "ledger")
    with zipfile.ZipFile(tmp_path / "ledger") as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read(MANIFEST))
        lines = archive.read("public.projects.copy").decode().splitlines()
    assert manifest["schema_version"] == SCHEMA_VERSION
    assert {line.split("\t")[2] for line in lines} == {"/srv/roman", "/srv/greek"}
    assert full.database.url.encode() not in (tmp_path / "ledger").read_bytes()


# ---------------------------------------------------------------- refused


def refused(database, path, said, kind=InputError, *, replace=False):
    before = everything(database)
    with pytest.raises(kind, match=said) as failure:
        put_back(database, path, replace=replace)
    assert everything(database) == before
    return str(failure.value)


def unreadable(path, said):
    with pytest.raises(InputError, match=said) as failure, read_backup(path):
        pytest.fail("it was taken for a backup")
    assert str(path) in str(failure.value)


def test_a_file_that_is_cut_off_anywhere_is_refused(made, tmp_path):
    """No beginning of a backup passes for one."""
    whole = made.read_bytes()
    chosen = random.Random(3)
    ends = {*range(200), *range(len(whole) - 200, len(whole))}
    ends |= {chosen.randrange(len(whole)) for _ in range(600)}
    for end in sorted(ends, reverse=True):
        os.truncate(made, end)
        unreadable(made, "cut off: its end is missing" if end > 100 else "cut off|is no backup")


def test_a_file_that_was_changed_anywhere_gives_the_same_rows_or_is_refused(made, tmp_path):
    whole = made.read_bytes()
    with read_backup(made) as backup:
        manifest = backup.manifest
        rows = {table.name: b"".join(backup.pieces(table)) for table in manifest.tables}
    chosen = random.Random(4)
    damaged = tmp_path / "damaged"
    taken = 0
    for _ in range(400):
        place = chosen.choice(
            [chosen.randrange(len(whole)), len(whole) - chosen.randrange(1, 4000)]
        )
        changed = bytearray(whole)
        changed[place] ^= 1 << chosen.randrange(8)
        damaged.write_bytes(changed)
        with suppress(InputError), read_backup(damaged) as backup:
            assert backup.manifest == manifest
            for table in manifest.tables:
                assert b"".join(backup.pieces(table)) == rows[table.name]
            taken += 1
    assert taken < 400


def a_zip():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", "b")
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"PGDMP\x01\x0e\x00", b"-- PostgreSQL database dump\n", a_zip()],
    ids=["empty", "text", "pg_dump -Fc", "pg_dump", "another zip"],
)
def test_what_is_none_of_ours_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    unreadable(tmp_path / "file", "is no backup of a ledger")


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing", "No such file"), ("folder", "is no file"), ("pipe", "is no file")],
)
def test_what_is_no_file_is_refused(tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    unreadable(tmp_path / name, said)


def rewritten(path, change=None, **members):
    """Change a backup's manifest, or members, and have the checksums fit."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files.pop(MANIFEST))
    for name, content in members.items():
        (table,) = [each for each in manifest["tables"] if each["name"] == name]
        files[f"{table['schema_name']}.{name}.copy"] = content
        table["rows"] = content.count(b"\n")
        table["sha256"] = hashlib.sha256(content).hexdigest()
    if change:
        change(manifest)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(MANIFEST, json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(schema_version=SCHEMA_VERSION + 1), "newer Greenline: its schema"),
        (lambda m: m.update(format_version=2, new=1), "newer Greenline: its format"),
        (lambda m: m.update(format="another"), "is no backup of a ledger"),
        (lambda m: m["tables"].pop(), "its tables are not those of a ledger"),
        (lambda m: m["tables"].append(m["tables"][0]), "its tables are not those of a ledger"),
        (lambda m: m["tables"][0]["columns"].pop(), "its tables are not those of a ledger"),
        (lambda m: m["tables"][0].update(name="alembic_version"), "its tables are not those"),
        (lambda m: m["tables"][-1].update(rows=10**9), "is not what was written"),
        (lambda m: m.update(schema_version="1"), "is not as it should be"),
        (lambda m: m.update(schema_version=0), "is not as it should be"),
        (lambda m: m.clear(), "is no backup of a ledger"),
    ],
    ids=[
        "newer schema", "newer format", "another format", "a table less", "a table twice",
        "a column less", "another table", "other rows", "a text", "no version", "nothing",
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_fit_is_refused(made, change, said):
    rewritten(made, change)
    unreadable(made, said)


def test_rows_that_the_ledger_does_not_take_change_nothing(full, tmp_path):
    """Types, references and keys are checked by the server, in the same transaction."""
    path = tmp_path / "ledger"
    for name, content, said in (
        ("features", b"1\t1\n", "missing data"),
        ("features", b"", "violates foreign key constraint"),
        ("projects", b"x\ty\tz\n", "invalid input syntax|missing data"),
        ("features", b"\\.\n", "missing data|took 0 of 1 rows|end-of-copy"),
    ):
        back_up(full.database, path, replace=True)
        rewritten(path, **{name: content})
        schema = catalog(full.database)
        told = refused(full.database, path, said, replace=True)
        assert "does not fit into the ledger" in told
        assert "The ledger is as it was." in told
        assert catalog(full.database) == schema


def test_a_file_that_changes_after_its_check_changes_nothing(full, tmp_path):
    path = tmp_path / "ledger"
    back_up(full.database, path)
    before = everything(full.database)
    with read_backup(path) as backup:
        largest = max(backup.archive.infolist(), key=lambda member: member.compress_size)
        with path.open("r+b") as stream:
            stream.seek(largest.header_offset + 200)
            stream.write(b"\0" * 50)
        with pytest.raises(InputError, match="damaged or cut off"):
            restore(full.database, backup, replace=True, by="a person")
    assert everything(full.database) == before


def test_a_ledger_with_runs_is_kept_unless_it_is_to_be_replaced(full, tmp_path):
    back_up(full.database, tmp_path / "ledger")
    refused(full.database, tmp_path / "ledger", "holds 2 runs already.*--replace replaces all")


def test_nothing_is_replaced_while_somebody_carries_a_run(full, tmp_path):
    """A lease that ran out, or whose holder is surely dead, holds nobody up."""
    back_up(full.database, tmp_path / "ledger")
    with full.database.transaction() as ledger:
        assert ledger.acquire_lease(full.run_id, this_owner(), 30)
    told = refused(full.database, tmp_path / "ledger", "is being carried by process", replace=True)
    assert full.run_id in told
    with full.database.transaction() as ledger:
        ledger.release_lease(full.run_id, this_owner())
        host, space, _, birth, _ = this_owner().split("/")
        gone = f"{host}/{space}/{os.getpid()}/{birth.rpartition(':')[0]}:1/aa"
        assert ledger.acquire_lease(full.run_id, gone, 30)
    put_back(full.database, tmp_path / "ledger", replace=True)
    with full.database.get_connection() as connection:
        query = "SELECT count(*) AS n FROM runs WHERE lease_owner IS NOT NULL"
        assert connection.execute(query).fetchone() == {"n": 0}


@contextmanager
def short_patience(database, monkeypatch):
    monkeypatch.setattr("storage.backup.SETTINGS", ("lock_timeout = '300ms'",))
    monkeypatch.setattr("storage.restore.SETTINGS", ("lock_timeout = '300ms'",))
    with database.get_connection() as connection:
        connection.execute("LOCK TABLE public.steps IN ACCESS EXCLUSIVE MODE")
        yield


def test_a_session_that_keeps_a_table_is_waited_for_and_then_named(full, tmp_path, monkeypatch):
    path = tmp_path / "ledger"
    back_up(full.database, path)
    before = everything(full.database)
    with short_patience(full.database, monkeypatch):
        with pytest.raises(ServiceError, match="another session keeps tables"):
            back_up(full.database, tmp_path / "second")
        with pytest.raises(ServiceError, match="another session keeps tables"):
            put_back(full.database, path, replace=True)
    assert everything(full.database) == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_restored_ledger_is_another_one(full, new_database, tmp_path):
    """Transactions have other numbers there: an export of the old one must not be gone on with."""

    def who(database):
        with database.get_connection() as connection:
            rows = connection.execute("SELECT value FROM schema_meta WHERE key = 'ledger_id'")
            return rows.fetchone()["value"]

    back_up(full.database, tmp_path / "ledger")
    before = who(full.database)
    put_back(full.database, tmp_path / "ledger", replace=True)
    assert who(full.database) != before
    with full.database.get_connection() as connection:
        marks = connection.execute(
            "SELECT count(DISTINCT changed_in) AS n, bool_and(changed_in ="
            " (SELECT changed_in FROM step_attempts LIMIT 1)) AS same FROM test_results"
        ).fetchone()
    assert marks == {"n": 1, "same": True}
