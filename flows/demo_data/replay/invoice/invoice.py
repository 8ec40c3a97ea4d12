"""Turns the entries of a time sheet and the rates into an invoice."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tally.durations import format_duration, round_up
from tally.entries import Entry
from tally.rates import format_money
from tally.totals import by_project


@dataclass(frozen=True)
class Line:
    """What one project costs: minutes as billed, and cents."""

    project: str
    minutes: int
    cents: int


@dataclass(frozen=True)
class Invoice:
    """The lines of an invoice, in alphabetical order of their projects."""

    lines: tuple[Line, ...]

    @property
    def total(self) -> int:
        """The cents of all lines together."""
        return sum(line.cents for line in self.lines)


def make_invoice(entries: Iterable[Entry], rates: Mapping[str, int], unit: int = 15) -> Invoice:
    """Bill each entry rounded up to ``unit`` minutes; ``rates`` are cents an hour."""
    billed = by_project(replace(entry, minutes=round_up(entry.minutes, unit)) for entry in entries)
    missing = [project for project in billed if project not in rates]
    if missing:
        raise ValueError(f"no rate for {', '.join(missing)}")
    return Invoice(
        tuple(
            Line(project, minutes, _cents(minutes, rates[project]))
            for project, minutes in billed.items()
        )
    )


def render_invoice(invoice: Invoice) -> str:
    """Return one line for each project and one for the sum."""
    rows = [
        (line.project, format_duration(line.minutes), format_money(line.cents))
        for line in invoice.lines
    ]
    rows.append(("total", "", format_money(invoice.total)))
    names, durations, amounts = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "".join(
        f"{name:<{names}}  {duration:>{durations}}  {amount:>{amounts}}\n"
        for name, duration, amount in rows
    )


def _cents(minutes: int, rate: int) -> int:
    return (minutes * rate + 30) // 60
