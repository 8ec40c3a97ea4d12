"""The entries of a time sheet, one a line: day, duration, project and a note."""

from dataclasses import dataclass
from datetime import date

from tally.durations import parse_duration


@dataclass(frozen=True)
class Entry:
    """A piece of work: so many minutes on one day for one project."""

    day: date
    minutes: int
    project: str
    note: str = ""


def parse_entry(line: str) -> Entry:
    """Read a line such as ``2026-03-02 1h30m atlas Fix the login page``."""
    fields = line.split(maxsplit=3)
    if len(fields) < 3:
        raise ValueError(f"an entry needs a day, a duration and a project: {line!r}")
    day, duration, project, *note = fields
    return Entry(date.fromisoformat(day), parse_duration(duration), project, "".join(note).strip())


def parse_sheet(text: str) -> list[Entry]:
    """Read a whole time sheet; blank lines and lines that begin with ``#`` are skipped."""
    entries = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            entries.append(parse_entry(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return entries
