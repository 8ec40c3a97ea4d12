"""Each metric on rows that are small enough to be counted by hand.

A file `<metric>/<case>.yaml` has

    promise: what the case protects, in a sentence
    given:   rows by table, with the columns that matter
    common:  by table, what all of its rows have (optional)
    retold:  rows that are written later and say something else of the same keys (optional)
    asked:   by, since, until, project, baseline (all optional)
    expect:  what comes out: every group of the metric, with the figures that the case is about
    also:    further questions on the same rows, each with promise, asked and expect (optional)

Every case is asked twice: of the files as they were written, and of a lake with the rows in the
opposite order after the weeks' facts were materialised.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from analytics import connect
from analytics.definitions import definitions
from analytics.materialised import materialise
from analytics.metrics import MetricValue, Window, compute
from analytics.tables import TABLES
from analytics.velocity import Baseline
from analytics.warehouse import refresh
from tests.sql.support import write

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*/*.yaml"))
LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)

FIGURES = ("value", "numerator", "denominator", "unknown", "target", "meets_target", "note")


def ask(
    con: Any, names: Iterable[str], *, by: Iterable[str] = (), since: Any = None, until: Any = None,
    project: str | None = None, baseline: str | None = None,
) -> list[MetricValue]:  # fmt: skip
    return compute(
        con,
        names=names,
        by=by,
        window=Window(since, until),
        project=project,
        baseline=Baseline.parse(baseline) if baseline else None,
    )


def compare(found: list[MetricValue], expected: list[dict[str, Any]], metric: str) -> None:
    """Compare values with what a case expects: the same groups, and the figures that it names."""
    left = {(value.metric, *value.group.items()): value for value in found}
    for wanted in expected:
        name = wanted.get("metric", metric)
        group = {key: _name(value) for key, value in wanted.get("group", {}).items()}
        value = left.pop((name, *group.items()), None)
        assert value is not None, f"{name}: no group {group} in {[v.group for v in found]}"
        for figure in FIGURES:
            if figure in wanted:
                assert close(getattr(value, figure), wanted[figure]), (
                    f"{name} {group}: {figure} is {getattr(value, figure)}, not {wanted[figure]}"
                )
        if "ci" in wanted:
            interval = (value.ci_low, value.ci_high)
            wanted_interval = wanted["ci"] or (None, None)
            assert all(map(close, interval, wanted_interval)), (
                f"{name} {group}: ci is {interval}, not {wanted_interval}"
            )
        assert wanted.keys() <= {"metric", "group", "ci", *FIGURES}, f"not understood: {wanted}"
    assert not left, f"not expected: {list(left.values())}"


def _name(value: Any) -> str | None:
    return None if value is None else str(value)


def close(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and isinstance(found, (int, float)):
        wanted = float(Fraction(wanted))  # 2/3 is easier to check than 0.666666667
    if found is None or wanted is None or isinstance(wanted, (str, bool)):
        return found == wanted
    return abs(found - wanted) <= 1e-9 * max(1, abs(wanted))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_case(file: Path, tmp_path: Path) -> None:
    """What the file promises."""
    case = YAML(typ="safe", pure=True).load(file)
    questions = [case, *case.get("also", ())]
    common = case.get("common") or {}
    tellings = [
        {
            table: [{**common.get(table, {}), **row} for row in rows]
            for table, rows in telling.items()
        }
        for telling in (case.get("given") or {}, case.get("retold") or {})
    ]
    strange = {table for telling in tellings for table in telling} - set().union(*TABLES.values())
    assert not strange, f"there is no table {strange}"
    fresh, materialised = tmp_path / "fresh", tmp_path / "materialised"
    write(fresh, *tellings)
    write(materialised, *tellings, backwards=True)
    materialise(str(materialised), now=LATER)
    with connect(fresh) as con:
        for root in (fresh, materialised):
            if root != fresh:  # a connection of its own would take as long as all questions
                refresh(con, root)
            for question in questions:
                assert question["promise"]
                expected = question["expect"]
                names = {file.parent.name, *(one["metric"] for one in expected if "metric" in one)}
                try:
                    compare(
                        ask(con, names, **(question.get("asked") or {})), expected, file.parent.name
                    )
                except AssertionError as error:
                    raise AssertionError(f"{root.name}: {question['promise']}\n{error}") from error


def test_every_metric_has_cases() -> None:
    """No metric is without cases, and no case without a metric."""
    assert {file.parent.name for file in FILES} == set(definitions())


def test_nothing_gives_nothing(tmp_path: Path) -> None:
    """Without any rows every metric is n/a, never zero, but for counts; slices have no groups."""
    with connect(tmp_path / "not there yet") as con:
        values = compute(con)
        assert [value.metric for value in values] == list(definitions())
        for value in values:
            nothing = 0 if definitions()[value.metric].kind == "count" else None
            assert value.value == nothing
            assert value.ci_low is None and value.meets_target is None
            assert not value.numerator and not value.denominator and not value.unknown
        assert compute(con, by=("week", "project")) == []
