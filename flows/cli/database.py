"""The ledger as commands need it: opened, migrated, and the project that is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage import queries
from storage.exceptions import InputError

if TYPE_CHECKING:
    import psycopg

    from storage.rows import ProjectRow


@contextmanager
def reading() -> Iterator[psycopg.Connection[Any]]:
    """Give a connection to the ledger, which is started and migrated if need be."""
    from storage.database import Database  # noqa: PLC0415 - not needed to print help

    database = Database.open()
    try:
        with database.get_connection() as connection:
            yield connection
    finally:
        database.dispose()


def project_meant(connection: psycopg.Connection[Any], name: str | None) -> ProjectRow | None:
    """Return the project that a listing is about: the named one, else that of this folder.

    Returns:
        None when all projects are meant.

    Raises:
        InputError: there is no project of that name.
    """
    if name is not None:
        if (found := queries.find_project(connection, name=name)) is None:
            known = ", ".join(row["name"] for row in queries.list_projects(connection))
            raise InputError(f"there is no project {name!r}; there are: {known or 'none yet'}")
        return found
    for folder in (Path.cwd().resolve(), *Path.cwd().resolve().parents):
        if found := queries.find_project(connection, repo_path=str(folder)):
            return found
        if (folder / ".git").exists():
            return None
    return None


def attempt_meant(
    connection: psycopg.Connection[Any], number: int, name: str | None
) -> queries.AttemptDetails:
    """Return the attempt that a number means; without a project it must be the only one.

    Raises:
        InputError: there is none, or several projects have one.
    """
    project = project_meant(connection, name)
    candidates = [project] if project else queries.list_projects(connection)
    found = [
        attempt
        for each in candidates
        if (attempt := queries.get_attempt(connection, each["id"], number)) is not None
    ]
    if not found:
        where = f"project {project['name']}" if project else "any project"
        raise InputError(f"there is no attempt {number} in {where}; `greenline steps` lists them")
    if len(found) > 1:
        names = ", ".join(attempt["project"] for attempt in found)
        raise InputError(
            f"several projects have an attempt {number}: {names}; say which with --project NAME"
        )
    return found[0]
