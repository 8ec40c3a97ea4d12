"""What the tests stand on: a real PostgreSQL with a cheap copy per test, and real repositories.

`GREENLINE_TEST_DATABASE_URL` names a server to use (its user may create databases). Without it an
embedded one is started for the session and stopped at its end. With pytest-xdist each worker has
its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from psycopg import sql
from xdist.scheduler import LoadScopeScheduling

from storage.database import Database
from storage.embedded import EmbeddedPostgres
from storage.home import Home
from storage.rows import AttemptRow

MEMORY = Path("/dev/shm")
"""Files there are kept in memory: hundreds of databases and clones keep a disk busy for minutes."""
ROOM = 4 << 30
"""Bytes that have to be free in memory for the tests' files to lie there."""
SERVER_VARIABLE = "GREENLINE_TEST_DATABASE_URL"
OURS = ("GREENLINE_", "PREFECT_")

#: Git as it is on a machine that nobody has set up: no configuration, an identity of the tests'.
GIT_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A Person",
    "GIT_AUTHOR_EMAIL": "person@example.org",
    "GIT_COMMITTER_NAME": "A Person",
    "GIT_COMMITTER_EMAIL": "person@example.org",
}

MakeRepo = Callable[..., Path]

#: What several tests all look at is made once, not by each worker: who shares it stays together.
TOGETHER = {
    **{
        f"tests/acceptance/test_{module}.py": module
        for module in (
            "cheating_agents", "commands", "going_on", "honest_agents", "inbox", "more_cheats",
            "more_honest_agents", "resume", "rollback", "settings", "step_replay",
        )
    },
    **{f"tests/acceptance/test_{module}.py": "the demo" for module in ("figures", "main_job")},
    **{
        f"tests/acceptance/test_{module}.py": "a server of one's own"
        for module in ("ledger_backup", "own_database")
    },
    "tests/integration/test_report.py": "report",
}  # fmt: skip


def _memory() -> str | None:
    """The folder whose files are kept in memory, None where there is none with room."""
    if not os.access(MEMORY, os.W_OK):
        return None
    free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    return str(MEMORY) if free >= ROOM else None


def pytest_configure(config: pytest.Config) -> None:
    """Have temporary folders in memory, unless somebody says where they are to be.

    And let Ctrl-C interrupt what the tests start: a shell has what it runs in the background
    (`make test &`, some build servers) ignore it, and processes inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.basetemp is None and (memory := _memory()):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", memory)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Give a worker all tests that are to stay together, others one by one.

    The option that xdist has for this (loadgroup) has no effect with pytest 9.2.
    """
    return _Together(config, log)


class _Together(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """No setting of the developer's own reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(OURS) and name != SERVER_VARIABLE:
                patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield


@pytest.fixture(scope="session")
def ledger_server(_clean_environment: None) -> Iterator[str]:
    """The libpq URL of a server whose user may create databases."""
    named = os.environ.get(SERVER_VARIABLE)
    if named:
        yield named
        return
    # Not below pytest's own folder: that is closed to the account that serves the data.
    folder = Path(tempfile.mkdtemp(prefix="greenline-tests-", dir=_memory()))
    server = EmbeddedPostgres(Home(folder / "home").ensure())
    try:
        url = server.start()
        _administer(str(server.admin_url()), "ALTER ROLE {} CREATEDB", str(urlsplit(url).username))
        yield url
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def ledger_template(ledger_server: str) -> Iterator[str]:
    """The name of a database with the newest schema and nothing in it, one per worker."""
    name = f"greenline_template_{uuid.uuid4().hex[:12]}"
    with _new_database(ledger_server, name) as url:
        database = Database(url)
        database.init_db()
        database.dispose()
        yield name


@pytest.fixture
def empty_database(ledger_server: str) -> Iterator[str]:
    """The URL of a database without a schema, dropped afterwards."""
    with _new_database(ledger_server, f"greenline_empty_{uuid.uuid4().hex[:12]}") as url:
        yield url


@pytest.fixture
def database(ledger_server: str, ledger_template: str) -> Iterator[Database]:
    """A migrated database of the test's own, dropped afterwards."""
    name = f"greenline_test_{uuid.uuid4().hex[:12]}"
    with _new_database(ledger_server, name, template=ledger_template) as url:
        database = Database(url)
        yield database
        database.dispose()


@contextmanager
def _new_database(server: str, name: str, template: str = "template0") -> Iterator[str]:
    """Give the URL of a database that lasts as long as the context."""
    _administer(server, "CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        _administer(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _administer(server: str, statement: LiteralString, *names: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        told = sql.SQL(statement).format(*map(sql.Identifier, names))
        for _ in range(100):
            try:
                connection.execute(told)
            except psycopg.errors.InsufficientPrivilege:  # the server is cleaning it up just now
                time.sleep(0.1)
            else:
                return
        connection.execute(told)


@pytest.fixture
def make_repo(tmp_path: Path) -> MakeRepo:
    """A function that makes a git repository of the files given, with one commit on `main`."""

    def make(files: Mapping[str, str], name: str = "repo") -> Path:
        root = tmp_path / name
        root.mkdir()
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content, encoding="utf-8")
        environment = {**os.environ, **GIT_ENVIRONMENT}
        for command in (
            ["git", "init", "--quiet", "--initial-branch=main"],
            ["git", "add", "--all", "--force"],
            ["git", "commit", "--quiet", "--allow-empty", "--message=Begin"],
        ):
            subprocess.run(command, cwd=root, env=environment, check=True)
        return root

    return make


@dataclass(frozen=True)
class StoredRun:
    """The identifiers of a small plan and its run: one subtask, a test and an implementation."""

    database: Database
    project_id: int
    feature_id: int
    task_id: int
    subtask_id: int
    run_id: str
    ws_id: str
    steps: tuple[int, ...]

    def begin(self, step: int = 0, **given: Any) -> AttemptRow:
        """Begin an attempt at a step (by its place), in a transaction of its own."""
        given.setdefault("commit_sha_before", "a" * 40)
        given.setdefault("agent_config", {"adapter": "replay"})
        with self.database.transaction() as ledger:
            return ledger.begin_attempt(self.run_id, self.ws_id, self.steps[step], **given)

    def finish(self, attempt: AttemptRow, status: str, **outcome: Any) -> AttemptRow:
        """Finish an attempt, in a transaction of its own."""
        with self.database.transaction() as ledger:
            return ledger.finish_attempt(attempt["id"], status, **outcome)


@pytest.fixture
def store_run(database: Database) -> Callable[..., StoredRun]:
    """A function that stores a small plan with its run; `repo_path` picks the project."""

    def store(repo_path: str = "/srv/roman", steps: int = 2) -> StoredRun:
        with database.transaction() as ledger:
            project = ledger.get_or_create_project(repo_path, Path(repo_path).name)["id"]
            feature = ledger.create_feature(project, "Roman numerals", "Both ways")
            task = ledger.create_task(feature, "Conversion")
            subtask = ledger.create_subtask(task, "to-roman", "Integer to numeral")
            run = ledger.create_run(feature_id=feature, metadata={"branch": "greenline/x"})
            ws = ledger.create_workstream(run, f"{run}/to-roman", subtask_id=subtask)
            ledger.create_feature_run(run, prompt="Roman numerals")
            numbers = [
                ledger.create_step(
                    project,
                    subtask,
                    number,
                    "test" if number % 2 else "implementation",
                    "TaraAider" if number % 2 else "DevonAider",
                    file_path=f"file_{number}.py",
                    instructions=f"do {number}",
                )
                for number in range(1, steps + 1)
            ]
        return StoredRun(database, project, feature, task, subtask, run, ws, tuple(numbers))

    return store


@pytest.fixture
def stored(store_run: Callable[..., StoredRun]) -> StoredRun:
    """A small plan with its run."""
    return store_run()
