"""What commands print: one JSON document or tables on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console

_STYLES = {
    "completed": "green",
    "success": "green",
    "done": "green",
    "passed": "green",
    "failed": "red",
    "failure": "red",
    "partial": "yellow",
    "blocked": "yellow",
    "-": "dim",
    "running": "cyan",
    "in_progress": "cyan",
}


def err() -> Console:
    """Return the console for progress, notes and errors."""
    return Console(stderr=True, soft_wrap=not sys.stderr.isatty(), highlight=False)


def note(message: str) -> None:
    """Tell the person something on stderr, whatever brackets it contains."""
    err().print(message, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout and nothing else."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    sys.stdout.write(json.dumps(document, default=to_json, indent=2, ensure_ascii=plain) + "\n")


def to_json(value: object) -> Any:
    """Return what JSON has for a value: times as ISO 8601 in UTC with `Z`."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID | Path):
        return str(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def iso(moment: datetime) -> str:
    """Return a time as ISO 8601 in UTC, `2026-11-21T03:38:44.123456Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def say(text: str) -> None:
    """Print a result for a person on stdout, as it is."""
    sys.stdout.write(f"{text}\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; missing values are a dash.

    In a terminal it fits the width and states are coloured. Piped, each row is one line with all
    of its values whole and nothing after the last one.
    """
    written = [tuple(_cell(value) for value in row) for row in rows]
    if not sys.stdout.isatty():
        for line in _lines(columns, written):
            sys.stdout.write(f"{line}\n")
        return
    from rich.table import Table  # noqa: PLC0415 - not needed when piped
    from rich.text import Text  # noqa: PLC0415

    built = Table(header_style="bold", box=None, pad_edge=False)
    for column in columns:
        built.add_column(column, overflow="fold", justify="right" if column in _NUMBERS else "left")
    for row in written:
        built.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in row))
    Console().print(built)


_NUMBERS = {"#", "attempts", "try", "ms", "seconds", "tokens", "steps", "done", "count"}


def _lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield header and rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        aligned = (
            cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
            for column, cell, width in zip(columns, row, widths, strict=True)
        )
        yield "  ".join(aligned).rstrip()


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return local(value)
    return " ".join(str(value).split("\n"))


def local(moment: datetime) -> str:
    """Return a time as people read it, in their time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds(milliseconds: int | None) -> str | None:
    """Return a duration for a table, in seconds."""
    return None if milliseconds is None else f"{milliseconds / 1000:.2f}"


def short(commit: str | None) -> str | None:
    """Return a commit id as people read it."""
    return commit and commit[:10]
