"""What the ledger knows of pushes: the runs that they began, so that none is begun twice."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict, cast

from psycopg.rows import dict_row

from storage.queries import find_project, statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from storage.database import Database


class PushedRun(TypedDict):
    """A run that a push began."""

    run_id: str
    status: str
    base_commit: str


@contextmanager
def one_at_a_time(database: Database, repo_path: str, plan_hash: str) -> Iterator[None]:
    """Let nobody else, on any host, begin a run of this plan for this repository meanwhile.

    Args:
        database: the ledger.
        repo_path: the repository's path, which tells projects apart.
        plan_hash: the plan's.

    Raises:
        ServiceError: the ledger does not answer.
    """
    told = hashlib.sha256(f"push\0{repo_path}\0{plan_hash}".encode(errors="surrogateescape"))
    key = int.from_bytes(told.digest()[:8], "big", signed=True)
    with database.get_connection() as connection:
        connection.autocommit = True  # the lock is the session's: no transaction stays open
        connection.execute("SELECT pg_advisory_lock(%s)", (key,))
        yield  # closing the connection frees it, as would the end of this process


def pushed_runs(
    connection: psycopg.Connection[Any], repo_path: str, plan_hash: str
) -> list[PushedRun]:
    """Return the runs of a plan that pushes to a repository began, the latest first."""
    asked = {"repo_path": repo_path, "plan_hash": plan_hash}
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(statement("pushed_runs"), asked).fetchall()
    return cast("list[PushedRun]", found)


def project_of(connection: psycopg.Connection[Any], repo_path: str) -> str | None:
    """Return the name of the project that a repository is, None if no run was made there."""
    found = find_project(connection, repo_path=repo_path)
    return found["name"] if found else None
