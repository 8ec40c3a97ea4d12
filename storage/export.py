"""What changed in the ledger since it was last looked at, as lines of separated values.

Each row says in `changed_in` in which transaction it was written last, and an export remembers its
snapshot: which transactions were over. The next one takes the rows of all others, so that a
transaction that took its number early and was committed late is not missed, and none is taken
twice. docs/decisions/0017-export.md has the reasons.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, tuple_row

from storage.backup import SETTINGS, database_error
from storage.queries import statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from storage.database import Database

DELIMITER: Final = "\x1f"
"""ASCII's unit separator: values hold it so rarely that hardly one of them has to be quoted."""

QUOTE: Final = "\x1e"
"""ASCII's record separator. JSON is full of the usual quote, and every one would be doubled."""

NULL: Final = r"\N"
"""What stands for NULL; a text that says the same is quoted."""

NOT_EXPORTED: Final = {
    "alembic_version": "describes the schema",
    "commits": "git's objects, not figures",
    "file_locks": "comes and goes with the lease of a lock",
    "legal_transitions": "describes the schema",
    "schema_meta": "describes the schema",
}
"""Tables that are no part of the exports, and why."""

_OF_THE_AGENTS: Final = frozenset(
    {
        "agent_invocations", "agent_steps", "cta_events", "feature_runs", "memory_records",
        "phase_results", "sandbox_snapshots", "sandboxes", "tool_calls",
    }
)  # fmt: skip

_ELSEWHERE: Final = {("test_results", "created_at"): ("verification", "created_at")}
"""Columns that a table is given from another one, which its SQL file joins."""

_SNAPSHOT: Final = re.compile(r"(\d+):(\d+):(?:\d+(?:,\d+)*)?")


@dataclass(frozen=True)
class Snapshot:
    """Which transactions of which ledger were over at a moment.

    Attributes:
        ledger: what tells it from any other ledger, and from copies of itself.
        text: as PostgreSQL writes it: the oldest that was not over, the next one to come, and
            those between them that were not over.
    """

    ledger: str
    text: str

    def continues(self, earlier: Snapshot | None) -> bool:
        """Say whether what happened since an earlier one can be told."""
        if earlier is None or earlier.ledger != self.ledger:
            return False
        before, now = _SNAPSHOT.fullmatch(earlier.text), _SNAPSHOT.fullmatch(self.text)
        return bool(
            before
            and now
            and int(before[1]) <= int(now[1])
            and int(before[2]) <= int(now[2])
            and int(before[1]) <= int(before[2])
        )


@dataclass(frozen=True)
class Ledger:
    """A ledger as it is at one moment.

    Attributes:
        snapshot: that moment.
    """

    snapshot: Snapshot
    _connection: psycopg.Connection[Any]

    def rows(
        self, table: str, columns: Iterable[str], times: frozenset[str], since: Snapshot | None
    ) -> Iterator[bytes | bytearray | memoryview]:
        """Yield the rows of a table as lines of CSV with the marks above, without a header.

        Times are in UTC; one that no calendar has (infinity, before the year 1) is NULL.

        Args:
            table: its name.
            columns: in the order they are wanted in.
            times: those of them that are times.
            since: only rows that were written after it; None: all.

        Raises:
            GreenlineError: the server does not do it.
        """
        query = sql.SQL(_read("export_all" if since is None else "export_changed")).format(
            columns=sql.SQL(", ").join(_column(table, name, name in times) for name in columns),
            table=sql.Identifier("agent" if table in _OF_THE_AGENTS else "public", table),
            joined=sql.SQL(_read("export_test_results") if table == "test_results" else ""),
            since=sql.Literal(since.text if since else None),
            delimiter=sql.Literal(DELIMITER),
            quote=sql.Literal(QUOTE),
            null=sql.Literal(NULL),
        )
        try:
            with (
                self._connection.cursor(row_factory=tuple_row) as cursor,
                _indexed(cursor, since is not None).copy(query) as copy,
            ):
                yield from copy
        except psycopg.Error as error:
            raise database_error(error, "the export") from error


@contextmanager
def ledger_at_one_moment(database: Database) -> Iterator[Ledger]:
    """Give the ledger as it is now, for as long as the context lasts; runs may go on meanwhile.

    Args:
        database: with a schema of this version.

    Raises:
        GreenlineError: the server does not answer, or lets the user not read the tables.
    """
    with database.get_connection() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        try:
            cursor: psycopg.Cursor[TupleRow] = connection.cursor(row_factory=tuple_row)
            for setting in SETTINGS:
                cursor.execute(sql.SQL("SET LOCAL {}").format(sql.SQL(setting)))
            ((ledger, snapshot),) = cursor.execute(statement("export_snapshot")).fetchall()
        except psycopg.Error as error:
            raise database_error(error, "the export") from error
        yield Ledger(Snapshot(ledger, snapshot), connection)


def _indexed(cursor: psycopg.Cursor[TupleRow], changes: bool) -> psycopg.Cursor[TupleRow]:
    """Have what changed looked up by its index: statistics may know nothing of it yet."""
    cursor.execute("SELECT set_config('enable_seqscan', %s, true)", ("off" if changes else "on",))
    return cursor


def _column(table: str, name: str, is_time: bool) -> sql.Composable:
    column = sql.Identifier(*_ELSEWHERE.get((table, name), ("row_", name)))
    return sql.SQL(_read("export_time")).format(time=column) if is_time else column


def _read(name: str) -> Any:
    """Return the SQL of that name, for psycopg to compose: it takes literal strings only."""
    return statement(name).decode().strip()
