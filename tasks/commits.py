"""Commits on every host: each goes to the ledger with its objects, and comes back where it lacks.

A run's commits lie in Greenline's clone on the host that makes them, until they are delivered. So
that no accepted work is lost with that host, what a commit adds is recorded in the transaction
that records its attempt (docs/decisions/0028-several-hosts.md).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from storage import queries
from storage.exceptions import InputError
from storage.rows import PackedCommit
from tasks.sandbox.clone import ProjectClone

if TYPE_CHECKING:
    import psycopg

    from storage.database import Database
    from storage.home import Home
    from tasks.git import Git
    from tasks.repository import UserRepository

logger = logging.getLogger(__name__)

LARGEST_FAILED: Final = 1 << 20
"""Bytes: what a failed attempt left is kept for people to read, if it is no larger."""


def packed(git: Git, commit: str, parent: str) -> PackedCommit:
    """Return a commit with what it adds to its parent.

    Raises:
        GitError: one of them is not there.
    """
    options = ("--quiet", "--revs", "--thin", "--sparse", "--threads=1", "--stdout")
    pack = git.run("pack-objects", *options, stdin=f"{commit}\n^{parent}\n".encode())
    return {"sha": commit, "parent": parent, "pack": pack}


def fetch(database: Database, git: Git, commit: str) -> bool:
    """Bring a commit to this host's clone, with those that lead to it, if it is not there yet.

    Returns:
        False when neither the clone nor the ledger has it, or the commit of the user's repository
        that it all builds on is not here.

    Raises:
        ServiceError: the ledger does not answer.
        GitError: the clone cannot be written.
    """
    if git.resolve(commit) is not None:
        return True
    with database.get_connection() as connection:
        return fetch_over(connection, git, commit)


def fetch_over(connection: psycopg.Connection[Any], git: Git, commit: str) -> bool:
    """Do as :func:`fetch` does, over a connection that is there."""
    if git.resolve(commit) is not None:
        return True
    lacking = _lacking(git, queries.commit_line(connection, commit))
    for sha in lacking:
        pack = queries.commit_pack(connection, sha)
        if git.call("unpack-objects", "-q", "--strict", stdin=pack).status != 0:
            break
    found = git.resolve(commit) is not None
    if found:
        logger.info("%d commits came from the ledger, up to %s", len(lacking), commit[:12])
    return found


def clone_with(
    database: Database,
    home: Home,
    repository: UserRepository,
    run_id: str,
    known: Mapping[str, Any],
    commit: str | None = None,
) -> ProjectClone:
    """Return this host's clone of a run's project, with the run's base and another commit of it.

    Args:
        database: the ledger.
        home: where the clone lies.
        repository: the user's, as it is on this host.
        run_id: the run.
        known: what the ledger knows of it (`runs.metadata_json`).
        commit: where its branch stands, say.

    Raises:
        InputError: a commit is not to be had.
    """
    base = known["base_commit"]
    clone = ProjectClone.prepare(home, repository, known.get("origin_commit", base))
    for wanted in (base, commit or base):
        if not fetch(database, clone.git, wanted):
            raise InputError(
                f"the commits of run {run_id} are not on this machine ({wanted[:12]} is missing, "
                "in the ledger too); go on where it was run, or run the plan anew "
                f"(GREENLINE_HOME is {home.path})"
            )
    return clone


def _lacking(git: Git, line: list[str]) -> list[str]:
    """Return those of a line of commits that the clone does not have."""
    if not line:
        return []
    told = git.run("cat-file", "--batch-check=%(objecttype)", stdin="\n".join(line).encode())
    kinds = told.decode().splitlines()
    return [sha for sha, kind in zip(line, kinds, strict=True) if kind != "commit"]
