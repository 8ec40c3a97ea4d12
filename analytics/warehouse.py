"""The warehouse: a DuckDB connection with documented views over the exports.

From the files up: one view a table (`sql/staging`), facts made of them (`sql/facts`), one view a
metric (`sql/metrics`, named `metric_…`). Nothing is loaded: views read what a query needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb

from analytics.errors import AnalyticsError
from analytics.lake import Lake, is_remote, new_connection, unreadable
from analytics.materialised import Closed
from analytics.tables import SQL, TABLES

IMPORTED: Final = "imported"
"""The folder in the exports that holds other agents' logs."""

FACTS: Final = (
    "attempts",
    "open_attempts",
    "attempt_parts",
    "usage",
    "step_parts",
    "step_outcomes",
    "steps_by_day",
    "usage_by_day",
    "run_suites",
    "subtask_times",
    "durations",
)
"""The facts, each after those that it is made of."""

FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)


def lakes(exports: str | Path) -> tuple[Lake, Lake]:
    """Return where the ledger's tables lie, and where other agents' logs do."""
    root = str(exports).rstrip("/")
    return Lake(root, "ledger"), Lake(f"{root}/{IMPORTED}", "imported")


def connect(exports: str | Path) -> duckdb.DuckDBPyConnection:
    """Open exports, local or on object storage; a folder that is not there yet holds nothing.

    Args:
        exports: the folder, or an address that DuckDB can read (s3://, gs://, az://, https://).

    Returns:
        A connection in UTC with the views of `docs/metrics.md`. `SET VARIABLE window_end` says
        until when a rollback counts.

    Raises:
        AnalyticsError: it cannot be read, with what would help.
    """
    root = str(exports)
    root = root if is_remote(root) else str(Path(root).expanduser())
    if not is_remote(root) and Path(root).exists() and not Path(root).is_dir():
        raise AnalyticsError(f"{root} is not a folder; name the folder that `export` wrote")
    connection = new_connection()
    try:
        for lake in lakes(root):
            for table in TABLES[lake.schema]:
                lake.view(connection, table)
        _run(connection, "staging", sorted(path.stem for path in (SQL / "staging").glob("*.sql")))
        closed = Closed.find(connection, root)
        connection.execute("SET VARIABLE materialised_weeks = $1::VARCHAR[]", [closed.weeks])
        connection.execute("SET VARIABLE window_end = $1::TIMESTAMPTZ", [FAR])
        shadows = connection.extract_statements((SQL / "shadows.sql").read_text(encoding="utf-8"))
        for fact, shadow in zip(FACTS, shadows, strict=True):
            if fact == "step_parts":
                closed.views(connection)
            _run(connection, "facts", (fact,))
            connection.execute(shadow)
        _run(connection, "metrics", sorted(path.stem for path in (SQL / "metrics").glob("*.sql")))
        _run(connection, "", ("no_shadows",))
    except (duckdb.IOException, duckdb.HTTPException) as error:
        raise unreadable(root, error) from error
    return connection


def refresh(connection: duckdb.DuckDBPyConnection, exports: str | Path) -> None:
    """Let a connection that :func:`connect` opened see what was written to the exports since.

    Raises:
        AnalyticsError: they cannot be read, with what would help.
    """
    root = str(exports)
    try:
        for lake in lakes(root):
            for table in TABLES[lake.schema]:
                if lake.files(connection, table):
                    lake.view(connection, table)
        closed = Closed.find(connection, root)
        connection.execute("SET VARIABLE materialised_weeks = $1::VARCHAR[]", [closed.weeks])
        _run(connection, "", ("unshared",))
        closed.views(connection)
    except (duckdb.IOException, duckdb.HTTPException) as error:
        raise unreadable(root, error) from error


def projects_known(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the names of all projects that the exports know anything of, in alphabetical order."""
    query = (SQL / "projects_known.sql").read_text(encoding="utf-8")
    return [name for (name,) in connection.execute(query).fetchall()]


def _run(connection: duckdb.DuckDBPyConnection, folder: str, names: Sequence[str]) -> None:
    for name in names:
        connection.execute((SQL / folder / f"{name}.sql").read_text(encoding="utf-8"))
