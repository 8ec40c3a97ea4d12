"""Sums over entries, in minutes."""

from collections.abc import Iterable
from datetime import date

from tally.entries import Entry


def total(entries: Iterable[Entry]) -> int:
    """Return the minutes of all entries together."""
    return sum(entry.minutes for entry in entries)


def by_project(entries: Iterable[Entry]) -> dict[str, int]:
    """Return the minutes of each project, in alphabetical order."""
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.project] = sums.get(entry.project, 0) + entry.minutes
    return dict(sorted(sums.items()))


def by_day(entries: Iterable[Entry]) -> dict[date, int]:
    """Return the minutes of each day, oldest first."""
    sums: dict[date, int] = {}
    for entry in entries:
        sums[entry.day] = sums.get(entry.day, 0) + entry.minutes
    return dict(sorted(sums.items()))
