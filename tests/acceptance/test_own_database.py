"""A PostgreSQL of the user's own holds the ledger; errors about it are clear and keep its secrets."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.scripted import Project, attempts, sub
from tests.acceptance.support import Greenline

pytestmark = pytest.mark.prefect

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "s3cret-of-the-ledger"


def as_postgres():
    """The account to run a server as: root may not."""
    if os.geteuid() != 0:
        return {}
    with suppress(KeyError):
        found = pwd.getpwnam("postgres")
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    pytest.skip("root cannot run PostgreSQL, and there is no user postgres")
    return None


@pytest.fixture(scope="module")
def server():
    """The URL of a PostgreSQL 15 with password authentication and an empty database."""
    if not (PROGRAMS / "initdb").exists():
        pytest.skip(f"no PostgreSQL 15 in {PROGRAMS}")
    account = as_postgres()
    folder = Path(tempfile.mkdtemp(prefix="greenline-own-database-"))
    if account:
        os.chown(folder, account["user"], account["group"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    data = str(folder / "data")

    def program(name, *words):
        command = [str(PROGRAMS / name), *words]
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, env={"LANG": "C.UTF-8"}, **account
        )

    program(
        "initdb",
        "-D",
        data,
        "-U",
        "keeper",
        "-A",
        "scram-sha-256",
        f"--pwfile={folder / 'password'}",
        "-N",
    )
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    program("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://keeper:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        program("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def own(server, tmp_path_factory):
    """The command line with a home of its own and the user's database."""
    command = Greenline(tmp_path_factory.mktemp("own database") / "home")
    command.env["GREENLINE_DATABASE_URL"] = server
    yield command
    command("down")


def test_a_run_is_carried_out_without_an_embedded_server(own, server, tmp_path):
    project = Project(own, tmp_path)
    assert own.json("ledger", "init")["state"] == "fresh"
    document = project.run(sub())
    assert attempts(document) == [("test", "success", None), ("implementation", "success", None)]
    assert own("ledger", "url").stdout == f"{server}\n"
    assert own.json("steps", document["run_id"])
    with psycopg.connect(server) as connection:
        (stored,) = connection.execute("SELECT run_id, status::text FROM runs").fetchall()
    assert stored == (document["run_id"], "completed")
    assert not (own.home / "postgres").exists()
    assert "postgres" not in own.json("down")["stopped"]
    # No agent and no test ever sees where the ledger is.
    with psycopg.connect(server) as connection:
        for table in ("step_attempts", "events", "agent.agent_invocations", "runs", "errors"):
            query = f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s"
            assert connection.execute(query, [f"%{PASSWORD}%"]).fetchone() == (0,)


@pytest.mark.parametrize(
    "words", [["steps"], ["run"], ["ledger", "init"], ["up"], ["doctor"]], ids=" ".join
)
def test_a_wrong_password_is_one_message_and_exit_4(own, server, tmp_path, words):
    wrong = server.replace(PASSWORD, "another-s3cret")
    if words == ["run"]:
        project = Project(own, tmp_path)
        words = ["run", project.plan(sub()), "--repo", project.path, "--config", project.config]
    done = own(*words, env={"GREENLINE_DATABASE_URL": wrong})
    said = done.stdout + done.stderr
    assert done.returncode == 4
    assert "password authentication failed" in said
    assert "GREENLINE_DATABASE_URL" in said
    assert "another-s3cret" not in said
    assert "Traceback" not in said
    if words != ["doctor"]:
        assert done.stdout == ""
        assert done.stderr.count("greenline: ") == 1
    assert not list((own.home / "sandboxes").glob("*"))


@pytest.mark.parametrize(
    ("url", "code", "named"),
    [
        ("postgresql://u:PASSWORD@127.0.0.1:1/ledger", 4, "Connection refused"),
        ("postgresql://u:PASSWORD@no-such-host.invalid/ledger", 4, "no-such-host.invalid"),
        ("postgresql+psycopg://u:PASSWORD@127.0.0.1:1/ledger", 4, "Connection refused"),
        ("host=127.0.0.1 port=1 user=u password=PASSWORD", 4, "Connection refused"),
        ("postgres//u:PASSWORD@host/ledger", 2, "postgresql://user:password@host:5432/database"),
        ("mysql://u:PASSWORD@host/ledger", 2, "postgresql://user:password@host:5432/database"),
    ],
)
def test_a_wrong_url_is_one_message_without_its_password(own, url, code, named):
    env = {"GREENLINE_DATABASE_URL": url.replace("PASSWORD", PASSWORD)}
    done = own("steps", "--json", env=env)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("greenline: ") == 1
    assert named in done.stderr
    assert PASSWORD not in done.stderr
    assert "Traceback" not in done.stderr
    doctor = own("doctor", env=env)
    assert doctor.returncode == 4
    assert PASSWORD not in doctor.stdout + doctor.stderr


def test_a_database_that_is_not_there_is_named(own, server):
    done = own("steps", env={"GREENLINE_DATABASE_URL": server.replace("/postgres", "/nowhere")})
    assert done.returncode == 4
    assert '"nowhere" does not exist' in done.stderr


def test_a_schema_of_a_newer_version_is_refused_and_left_alone(own, server):
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS newer")
        connection.execute("CREATE DATABASE newer")
    newer = server.replace("/postgres", "/newer")
    assert own.json("ledger", "init", env={"GREENLINE_DATABASE_URL": newer})["state"] == "fresh"
    with psycopg.connect(newer) as connection:
        connection.execute("UPDATE schema_meta SET value = '99' WHERE key = 'schema_version'")
    for words in (["steps"], ["ledger", "init"], ["ledger", "inspect"]):
        done = own(*words, env={"GREENLINE_DATABASE_URL": newer})
        assert done.returncode == 4
        assert "99" in done.stderr
        assert "newer Greenline" in done.stderr
        assert "Traceback" not in done.stderr
