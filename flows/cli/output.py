"""What commands print: one JSON document or tables on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.table import Table

_STYLES = {
    "completed": "green",
    "success": "green",
    "done": "green",
    "passed": "green",
    "failed": "red",
    "failure": "red",
    "partial": "yellow",
    "blocked": "yellow",
    "running": "cyan",
    "in_progress": "cyan",
}


def out() -> Console:
    """Return the console for results; wide when piped, so that no value is cut."""
    return Console(width=None if sys.stdout.isatty() else 200, soft_wrap=not sys.stdout.isatty())


def err() -> Console:
    """Return the console for progress, notes and errors."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else 200, highlight=False)


def note(message: str) -> None:
    """Tell the person something on stderr, whatever brackets it contains."""
    err().print(message, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout and nothing else."""
    sys.stdout.write(json.dumps(document, default=to_json, indent=2, ensure_ascii=False) + "\n")


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


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Build a table; states are coloured, missing values are a dash."""
    built = Table(
        title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        built.add_column(column, overflow="fold", justify="right" if column in _NUMBERS else "left")
    for row in rows:
        built.add_row(*(_cell(value) for value in row))
    return built


_NUMBERS = {"#", "attempts", "try", "ms", "seconds", "tokens", "steps", "done", "count"}


def _cell(value: object) -> str:
    from rich.markup import escape  # noqa: PLC0415 - only tables need it

    if value is None or value == "":
        return "[dim]-[/dim]"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    text = str(value)
    style = _STYLES.get(text)
    return f"[{style}]{text}[/{style}]" if style else escape(text)


def seconds(milliseconds: int | None) -> str | None:
    """Return a duration for a table, in seconds."""
    return None if milliseconds is None else f"{milliseconds / 1000:.2f}"


def short(commit: str | None) -> str | None:
    """Return a commit id as people read it."""
    return commit and commit[:10]
