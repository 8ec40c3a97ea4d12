"""Computing metrics: a window, slices, and for each slice a value with all that it rests on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import duckdb

from analytics.definitions import SLICES, Definition, definitions
from analytics.errors import AnalyticsError
from analytics.intervals import wilson
from analytics.lake import NO_WEEK
from analytics.tables import SQL
from analytics.velocity import Baseline, velocities
from analytics.warehouse import FAR

_EPOCH: Final = dt.date(1970, 1, 1)
_DIGITS: Final = 9
"""Decimals that are kept: sums of floating-point numbers differ beyond from run to run."""


_CALLS: Final = {
    "counted": "FROM counted($1, $2, $3, $4, $5)",
    "counted_before": "FROM counted_before($1, $2, $3, $4, $5)",
    "measured": "FROM measured($1, $2, $3, $4, $5)",
    "ranked": "FROM ranked($1, $2, $3, $4, $5, $6)",
}
"""The table macros of `sql/macros.sql`; executed as text, each is planned once."""

_Rows = list[tuple[dict[str, str | None], tuple[Any, ...]]]
"""The slice and the figures of each group."""


@dataclass(frozen=True)
class Window:
    """Days in UTC.

    Attributes:
        since: the first day; None: from the beginning.
        until: the day after the last one; None: up to now.
    """

    since: dt.date | None = None
    until: dt.date | None = None

    def document(self) -> dict[str, str | None]:
        """Return it as JSON has it: two moments, the second one excluded."""
        return {
            "since": f"{self.since}T00:00:00Z" if self.since else None,
            "until": f"{self.until}T00:00:00Z" if self.until else None,
        }


@dataclass(frozen=True)
class MetricValue:
    """A metric of one slice.

    Attributes:
        metric: its name.
        group: the slice: what it is sliced by and the value of that (None: not known).
        window: what was looked at.
        value: None: nothing is known of it.
        numerator: what the value is made of; for a quantile None.
        denominator: likewise; for a sum how many rows had a figure, for a quantile how many it is
            taken over.
        unknown: how many rows said nothing.
        ci_low: where the 95 % interval begins; None for what has none.
        ci_high: and where it ends.
        unit: of the value.
        target: what it is measured by.
        meets_target: None: there is no target, or no value.
        note: what has to be known to read it, such as where a baseline is from.
    """

    metric: str
    group: Mapping[str, str | None]
    window: Window
    value: float | None
    numerator: float | None
    denominator: float | None
    unknown: float | None
    ci_low: float | None
    ci_high: float | None
    unit: str
    target: float | None
    meets_target: bool | None
    note: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        said = {
            "metric": self.metric,
            "group": dict(self.group),
            "window": self.window.document(),
            "value": self.value,
            "numerator": self.numerator,
            "denominator": self.denominator,
            "unknown": self.unknown,
            "ci_low": self.ci_low,
            "ci_high": self.ci_high,
            "unit": self.unit,
            "target": self.target,
            "meets_target": self.meets_target,
        }
        return said | ({"note": self.note} if self.note else {})


@dataclass
class _Asked:
    """What is being computed: from where, in which window, sliced by what, of which project."""

    con: duckdb.DuckDBPyConnection
    window: Window
    slices: list[str]
    project: str | None
    baseline: Baseline | None
    _seen: dict[str, _Rows] = field(default_factory=dict)

    def rows(self, macro: str, metric: str, *further: Any) -> _Rows:
        """Call a table macro on a metric's view; its rows as the slice and the rest."""
        window = (_day(self.window.since), _day(self.window.until))
        return _rows(self.con, macro, [metric, self.slices, *window, self.project, *further])

    def quantiles(self, shares: list[float]) -> _Rows:
        """Return quantiles of the durations; one look at them serves all metrics."""
        if "durations" not in self._seen:
            self._seen["durations"] = self.rows("ranked", "durations", shares)
        return self._seen["durations"]

    def nothing(self) -> _Rows:
        """Return what stands for no rows: one group without slices, none with."""
        return [] if self.slices else [({}, (None, 0, 0))]


def compute(
    con: duckdb.DuckDBPyConnection,
    *,
    window: Window | None = None,
    by: Iterable[str] = (),
    project: str | None = None,
    names: Iterable[str] | None = None,
    baseline: Baseline | None = None,
) -> list[MetricValue]:
    """Compute metrics.

    Args:
        con: what :func:`analytics.connect` returned.
        window: everything by default.
        by: what to slice by; metrics that cannot be sliced so are left out.
        project: of this one only.
        names: these only, all by default.
        baseline: what velocity is measured against.

    Returns:
        By metric in alphabetical order, then by group. Without slices each metric has one value,
        known or not; with slices a metric has one for each group that there is.

    Raises:
        AnalyticsError: a metric or a slice is not known.
    """
    window = window or Window()
    slices = list(dict.fromkeys(by))
    if strange := [name for name in slices if name not in SLICES]:
        raise AnalyticsError(f"cannot slice by {', '.join(strange)}; known: {', '.join(SLICES)}")
    known = definitions()
    wanted = list(known) if names is None else sorted(set(names))
    if strange := [name for name in wanted if name not in known]:
        raise AnalyticsError(f"no metric {', '.join(strange)}; known: {', '.join(known)}")
    _share(con, window)
    found: list[MetricValue] = []
    asked = _Asked(con, window, slices, project, baseline)
    for name in wanted:
        definition = known[name]
        if set(slices) <= set(definition.slices):
            found += _KINDS[definition.kind](asked, definition)
    return found


def _share(con: duckdb.DuckDBPyConnection, window: Window) -> None:
    """Have what several metrics are made of computed once: the window's days, as of its end."""
    end = dt.datetime.combine(window.until, dt.time(), dt.UTC) if window.until else FAR
    asked = (end, _day(window.since), _day(window.until))
    # All that is found is fetched: a rest would be in the way of whoever has the connection next.
    current = con.execute(
        "SELECT getvariable('shared_end'), getvariable('shared_since'), getvariable('shared_until')"
    ).fetchall()
    if current != [asked]:
        con.execute((SQL / "unshared.sql").read_text(encoding="utf-8"))
        con.execute("SET VARIABLE window_end = $1::TIMESTAMPTZ", [end])
        if con.execute("SELECT len(getvariable('materialised_weeks'))").fetchall() != [(0,)]:
            con.execute((SQL / "shared_open.sql").read_text(encoding="utf-8"))
        con.execute("SET VARIABLE since_day = $1::INTEGER", [asked[1]])
        con.execute("SET VARIABLE until_day = $1::INTEGER", [asked[2]])
        con.execute((SQL / "shared.sql").read_text(encoding="utf-8"))
        # Whoever looks at the views themselves sees all days.
        con.execute("RESET VARIABLE since_day; RESET VARIABLE until_day")
        con.execute("SET VARIABLE shared_since = $1::INTEGER", [asked[1]])
        con.execute("SET VARIABLE shared_until = $1::INTEGER", [asked[2]])
        con.execute("SET VARIABLE shared_end = $1::TIMESTAMPTZ", [end])


def _counted(asked: _Asked, definition: Definition) -> Iterator[MetricValue]:
    metric = f"metric_{definition.name}"
    before = {}
    if definition.against_before:
        for group, (numerator, denominator) in asked.rows("counted_before", metric):
            before[tuple(group.items())] = _ratio(numerator, denominator)
    rows = asked.rows("counted", metric)
    for group, (numerator, denominator, unknown) in rows or asked.nothing():
        interval = None
        if definition.kind == "sum":
            value = _number(numerator) if denominator else None
        elif definition.kind == "count":
            value = _number(numerator) or 0
        else:
            value = _ratio(numerator, denominator)
        if definition.kind == "rate" and denominator:
            interval = wilson(numerator, denominator)
        target = definition.target
        if definition.against_before:
            target = before.get(tuple(group.items()))
        yield MetricValue(
            metric=definition.name,
            group=group,
            window=asked.window,
            value=value,
            numerator=_number(numerator) or 0,
            denominator=_number(denominator) or 0,
            unknown=_number(unknown) or 0,
            ci_low=interval[0] if interval else None,
            ci_high=interval[1] if interval else None,
            unit=definition.unit,
            target=target,
            meets_target=definition.is_met(value, target),
        )


def _ranked(asked: _Asked, definition: Definition) -> Iterator[MetricValue]:
    every = sorted({one.quantile for one in definitions().values() if one.quantile is not None})
    place = every.index(definition.quantile or 0.0)
    rows = asked.quantiles(every)
    for group, (values, known, unknown) in rows or asked.nothing():
        value = values[place] if values else None
        yield MetricValue(
            metric=definition.name,
            group=group,
            window=asked.window,
            value=_number(value),
            numerator=None,
            denominator=known or 0,
            unknown=unknown or 0,
            ci_low=None,
            ci_high=None,
            unit=definition.unit,
            target=None,
            meets_target=None,
        )


def _compared(asked: _Asked, definition: Definition) -> Iterator[MetricValue]:
    metric = f"metric_{definition.name}"
    now = asked.rows("measured", metric)
    then: _Rows = []
    baseline = asked.baseline
    if baseline and baseline.since:
        # A baseline has weeks of its own: it is compared with each week of now.
        kept = [name for name in asked.slices if name != "week"]
        period = Window(baseline.since, baseline.until)
        then = replace(asked, window=period, slices=kept).rows("measured", metric)
    for found in velocities(now, then, asked.slices, baseline):
        yield MetricValue(
            metric=definition.name,
            group=found.group,
            window=asked.window,
            value=_number(found.value),
            numerator=_number(found.baseline_s),
            denominator=_number(found.now_s),
            unknown=found.unsized,
            ci_low=_number(found.low),
            ci_high=_number(found.high),
            unit=definition.unit,
            target=definition.target,
            # Claimed only when the whole interval is at or above it.
            meets_target=definition.is_met(found.low, definition.target),
            note=found.note,
        )


_KINDS: Final = {
    "rate": _counted,
    "share": _counted,
    "sum": _counted,
    "count": _counted,
    "quantile": _ranked,
    "velocity": _compared,
}


def _rows(con: duckdb.DuckDBPyConnection, macro: str, arguments: list[Any]) -> _Rows:
    """Call a table macro; its rows as the slice, in the order asked for, and the rest."""
    slices = arguments[1]
    found = con.execute(_CALLS[macro], arguments)
    names = [column[0] for column in found.description or ()]
    places = {name: names.index(name) for name in slices}
    rest = [i for i, name in enumerate(names) if name not in slices and name != "always"]
    return [
        (
            {name: _named(name, row[place]) for name, place in places.items()},
            tuple(row[i] for i in rest),
        )
        for row in found.fetchall()
    ]


def _named(slice_: str, value: Any) -> str | None:
    if slice_ != "week":
        return None if value is None else str(value)
    if value is None:
        return NO_WEEK
    year, week, _ = (_EPOCH + dt.timedelta(days=int(value) * 7)).isocalendar()
    return f"{year}-W{week:02d}"


def _day(day: dt.date | None) -> int | None:
    return None if day is None else (day - _EPOCH).days


def _ratio(numerator: Any, denominator: Any) -> float | None:
    return round(float(numerator) / float(denominator), _DIGITS) if denominator else None


def _number(value: Any) -> float | int | None:
    if value is None or isinstance(value, int):
        return value
    number = round(float(value), _DIGITS)
    return int(number) if number.is_integer() and abs(number) >= 1e15 else number
