"""The export: what changed in the ledger goes to where the analytics read it.

What the last export saw is in `.export.json` beside the files. It is written when all of its files
have appeared, so that an export that is cut off anywhere is done again by the next one; rows that
appear twice that way are known by their key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from analytics.intake import Intake, Marks
from analytics.lake import Lake
from analytics.writer import Writer
from storage.database import Database
from storage.export import DELIMITER, NULL, QUOTE, Ledger, Snapshot, ledger_at_one_moment
from storage.whole_file import new_file

STATE: Final = ".export.json"
"""The file in the exports that says what was exported."""

_FORMAT: Final = 1
_TIME: Final = "TIMESTAMP WITH TIME ZONE"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportReport:
    """What an export did.

    Attributes:
        exports: the folder.
        full: whether it took all rows, and replaced what was there.
        rows: how many were taken, by table; those without any are left out.
        files: how many were written.
        marker: which transactions were over as it saw the ledger, as PostgreSQL writes it.
        seconds: how long it took.
    """

    exports: str
    full: bool
    rows: Mapping[str, int]
    files: int
    marker: str
    seconds: float

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def bring_up_to_date(database: Database, exports: Path, *, full: bool = False) -> ExportReport:
    """Write what changed in the ledger since the last export to this folder as Parquet.

    All of it is written, and replaces what is there, when the folder has exports of another
    ledger, of a copy, or of another version of the tables. Another export is waited for. A row
    that was deleted from the ledger stays until all is written anew.

    Args:
        database: the ledger, migrated.
        exports: the folder; it is made. What was imported into it stays.
        full: write all rows.

    Raises:
        AnalyticsError: the folder cannot be written to.
        GreenlineError: the ledger cannot be read.
    """
    began = time.monotonic()
    lake = Lake(str(exports))
    with lake.writing() as writer, ledger_at_one_moment(database) as ledger:
        shape = _shape(writer)
        state = exports / STATE
        last = None if full else _last_export(state, shape)
        since = last if ledger.snapshot.continues(last) else None
        rows = {table: _take(writer, ledger, table, since) for table in lake.tables}
        taken = {table: count for table, count in rows.items() if count}
        if since is None:
            state.unlink(missing_ok=True)  # what is between two ledgers is none
            writer.publish(replace=True)
        else:
            writer.publish()
        if taken or since is None:
            _remember(state, ledger.snapshot, shape)
        marker = ledger.snapshot.text
    report = ExportReport(
        exports=str(exports),
        full=since is None,
        rows=taken,
        files=writer.files,
        marker=marker,
        seconds=round(time.monotonic() - began, 3),
    )
    logger.debug("exported %s rows into %s files", sum(taken.values()), report.files)
    return report


def _take(writer: Writer, ledger: Ledger, table: str, since: Snapshot | None) -> int:
    (filed_by,) = writer.lake.tables[table].times
    columns = _columns(writer, table)
    others = [name for name in columns if name != filed_by]
    times = frozenset(name for name, kind in columns.items() if kind == _TIME)
    marks = Marks(delimiter=DELIMITER, quote=QUOTE, null=NULL)
    intake = Intake(writer, table, [filed_by, *others], marks)
    return intake.take(ledger.rows(table, [filed_by, *others], times, since))


def _columns(writer: Writer, table: str) -> dict[str, str]:
    """Return the columns of an exported table with their types."""
    relation = writer.connection.table(f"{writer.lake.schema}.{table}")
    return dict(zip(relation.columns, map(str, relation.types), strict=True))


def _shape(writer: Writer) -> str:
    """Return what changes when the exported tables do: what lies there has to be written anew."""
    tables = {table: _columns(writer, table) for table in writer.lake.tables}
    return hashlib.sha256(json.dumps([_FORMAT, tables]).encode()).hexdigest()[:20]


def _last_export(state: Path, shape: str) -> Snapshot | None:
    """Return what the last export saw; None when nothing can be added to what it wrote."""
    try:
        found = json.loads(state.read_bytes())
        if found["tables"] == shape:
            return Snapshot(str(found["ledger"]), str(found["snapshot"]))
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        logger.debug("%s says nothing", state)
    return None


def _remember(state: Path, seen: Snapshot, shape: str) -> None:
    document = {"ledger": seen.ledger, "snapshot": seen.text, "tables": shape}
    with new_file(state, replace=True) as stream:
        stream.write(json.dumps(document, indent=1).encode())
