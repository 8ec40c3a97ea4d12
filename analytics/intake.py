"""Rows that come as lines of CSV, on their way into a lake.

They are put into a file for each week as they come. A week is turned into Parquet, beside the
coming rows, when no more of it comes or when it is large: so that neither a row nor a table needs
much memory, and rows that come in the order of their time, as they usually do, are written once.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Final

import duckdb

from analytics.lake import NO_WEEK
from analytics.writer import Writer

ROUND: Final = 16 << 20
"""Bytes after which the lines that came are put into the files of their weeks."""

PART: Final = 64 << 20
"""Bytes of a week after which what is there of it is turned into Parquet."""

WAITING: Final = 8
"""How many files may wait to be turned into Parquet before the rows have to wait too."""

_LONGEST_LINE: Final = 2_000_000  # what DuckDB takes unless it is told that a line is longer
_BUFFER: Final = 16 << 20


class _Weeks(dict[bytes, str]):
    """The ISO week by the beginning of a time as PostgreSQL writes it, `2026-11-21 …` (UTC)."""

    def __missing__(self, begin: bytes) -> str:
        try:
            year, week, _ = date.fromisoformat(begin.decode("ascii")).isocalendar()
            found = f"{year}-W{week:02d}"
        except ValueError:  # no time at all
            found = NO_WEEK
        self[begin] = found
        return found


@dataclass(frozen=True)
class Marks:
    """What tells the values of a line apart.

    Attributes:
        null: what stands for NULL, unquoted.
        delimiter: between values.
        quote: around a value that holds a mark or the end of a line; doubled within it.
    """

    null: str
    delimiter: str = ","
    quote: str = '"'


@dataclass
class Intake:
    """Takes the rows of one table.

    Attributes:
        writer: of the lake that they go to.
        table: which of its tables.
        columns: what each line consists of; the first one is the time that the row is filed under.
        marks: what tells them apart.
    """

    writer: Writer
    table: str
    columns: Sequence[str]
    marks: Marks
    _sizes: dict[str, int] = field(default_factory=dict)  # of the weeks' files
    _longest: int = _LONGEST_LINE
    _parts: int = 0

    def take(self, lines: Iterable[bytes | bytearray | memoryview]) -> int:
        """Add rows to what the writer will publish; return how many.

        Args:
            lines: each a row, in UTF-8, times in ISO 8601 and UTC.

        Raises:
            AnalyticsError: a value has not its column's type.
        """
        weeks, came = _Weeks(), defaultdict[str, bytearray](bytearray)
        rows = bytes_ = 0
        with ThreadPoolExecutor(1) as worker:
            waiting: deque[Future[None]] = deque()
            try:
                for line in lines:
                    came[weeks[bytes(line[:10])]] += line
                    length = len(line)
                    bytes_ += length
                    if length > self._longest:  # noqa: PLR1730 - max() costs more than the rest
                        self._longest = length
                    rows += 1
                    if bytes_ >= ROUND:
                        for part in self._put_aside(came):
                            waiting.append(worker.submit(self._add, *part))
                        while len(waiting) > WAITING or (waiting and waiting[0].done()):
                            waiting.popleft().result()
                        bytes_ = 0
                self._put_aside(came)
                for week in sorted(self._sizes):
                    waiting.append(worker.submit(self._add, week, self._finished(week)))
                for each in waiting:
                    each.result()
            finally:
                worker.shutdown(cancel_futures=True)
        return rows

    def _put_aside(self, came: dict[str, bytearray]) -> Iterator[tuple[str, Path]]:
        """Put lines into the files of their weeks; return those files that are complete."""
        for week, lines in came.items():
            with self._file(week).open("ab") as file:
                file.write(lines)
            self._sizes[week] = self._sizes.get(week, 0) + len(lines)
        complete = [week for week, size in self._sizes.items() if size >= PART or week not in came]
        came.clear()
        return iter([(week, self._finished(week)) for week in complete])

    def _finished(self, week: str) -> Path:
        """Take a week's file out of those that are added to."""
        path = self._file(week).rename(self._folder / f"{self._parts}.csv")
        self._parts += 1
        del self._sizes[week]
        return path

    def _file(self, week: str) -> Path:
        return self._folder / f"{week}.csv"

    @cached_property
    def _folder(self) -> Path:
        folder = self.writer.scratch / "lines" / self.table
        folder.mkdir(parents=True)
        return folder

    def _add(self, week: str, path: Path) -> None:
        """Hand the lines of a file to the writer."""
        spec = self.writer.lake.tables[self.table]
        declared = self.writer.connection.table(f"{spec.schema}.{self.table}")
        types = dict(zip(declared.columns, map(str, declared.types), strict=True))
        rows = self.writer.connection.read_csv(
            str(path),
            header=False,
            auto_detect=False,
            columns={name: types[name] for name in self.columns},
            delimiter=self.marks.delimiter,
            quotechar=self.marks.quote,
            escapechar=self.marks.quote,
            lineterminator=duckdb.CSVLineTerminator.LINE_FEED,  # a lone CR is text
            na_values=self.marks.null,
            allow_quoted_nulls=False,
            # What stands between quotes can look like the beginning of a row.
            parallel=False,
            max_line_size=self._longest,
            buffer_size=max(_BUFFER, 2 * self._longest),
        )
        self.writer.add(self.table, rows, only_week=week)
        path.unlink()
