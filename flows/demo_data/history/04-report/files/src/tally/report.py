"""A time sheet's totals as plain text."""

from collections.abc import Sequence

from tally.durations import format_duration
from tally.entries import Entry
from tally.totals import by_project, total


def render_report(entries: Sequence[Entry]) -> str:
    """Return one line for each project and one for the sum."""
    rows = [*by_project(entries).items(), ("total", total(entries))]
    names = max(len(name) for name, _ in rows)
    texts = [(name, format_duration(minutes)) for name, minutes in rows]
    durations = max(len(text) for _, text in texts)
    return "".join(f"{name:<{names}}  {text:>{durations}}\n" for name, text in texts)
