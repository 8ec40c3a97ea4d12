"""`greenline metrics`: what the runs came to, in figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.output import note, print_json, print_table
from storage.exceptions import InputError

if TYPE_CHECKING:
    from analytics.metrics import MetricValue

# Options of every command that computes figures.
ComparedWith = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        help="What velocity is measured against: a period (2026-W30..2026-W35) or the stated "
        "median time of a subtask (90m, 2h).",
    ),
]
Project = Annotated[
    str | None,
    typer.Option("--project", help="A project's name.", show_default="this folder's, else all"),
]
Logs = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Read these exports alone, a folder or an address on object storage; no ledger "
        "is needed.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

FEW = 20
"""Below so many cases a rate says little."""


def metrics(
    *,
    since: Annotated[
        str | None,
        typer.Option(help="From this day (2026-11-16) or ISO week (2026-W47) on, in UTC."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Up to and including this day or ISO week.")
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help="Slice by any of week, project, agent, model, phase, stage, class, kind; several "
            "with commas. Metrics that cannot be sliced so are left out.",
            show_default=False,
        ),
    ] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", help="This metric only; can be given several times."),
    ] = None,
    baseline: ComparedWith = None,
    project: Project = None,
    logs: Logs = None,
    json_output: Json = False,
) -> None:
    """Print the metrics; docs/metrics.md says what each means.

    The exports are brought up to date first. Rates come with the number of unknown cases, which
    count as not achieved, and a 95 % interval.
    """
    from analytics.definitions import SLICES, definitions  # noqa: PLC0415 - help needs none of it
    from analytics.metrics import Window, compute  # noqa: PLC0415
    from analytics.periods import parse_period  # noqa: PLC0415
    from analytics.velocity import Baseline  # noqa: PLC0415
    from flows.exports import opened_exports  # noqa: PLC0415

    # All that was given is looked at before anything is brought up to date.
    slices = [name.strip() for name in by.split(",") if name.strip()]
    if strange := [name for name in slices if name not in SLICES]:
        raise InputError(f"--by {', '.join(strange)}: known are {', '.join(SLICES)}")
    if strange := [name for name in metric or () if name not in definitions()]:
        known = ", ".join(definitions())
        raise InputError(f"there is no metric {', '.join(strange)}; there are: {known}")
    window = Window(
        parse_period(since).since if since else None,
        parse_period(until).until if until else None,
    )
    if window.since and window.until and window.until <= window.since:
        raise InputError(f"--until {until} lies before --since {since}")
    compared = Baseline.parse(baseline) if baseline else None
    with opened_exports(logs, project) as (connection, named):
        found = compute(
            connection,
            window=window,
            by=slices,
            project=named,
            names=metric or None,
            baseline=compared,
        )
    unsliced = [
        name
        for name in (metric or definitions())
        if not set(slices) <= set(definitions()[name].slices)
    ]
    if unsliced:
        note(f"not sliced by {', '.join(slices)}: {', '.join(unsliced)}")
    if json_output:
        print_json([value.document() for value in found])
    else:
        print_metrics(found, slices)


def print_metrics(values: Sequence[MetricValue], slices: Sequence[str] = ()) -> None:
    """Print metrics as a table, the four stated ones first."""
    from analytics.definitions import STATED, definitions  # noqa: PLC0415

    order = {name: number for number, name in enumerate(STATED)}
    ranked = sorted(values, key=lambda value: order.get(value.metric, len(order)))
    notes = dict.fromkeys(f"{value.metric}: {value.note}" for value in ranked if value.note)
    print_table(
        ("metric", *slices, "value", "of", "unknown", "95 %", "target", "met"),
        (
            (
                value.metric,
                *(value.group[name] for name in slices),
                shown(value.value, value.unit),
                _made_of(value),
                f"{value.unknown:,.0f}" if value.unknown else None,
                _interval(value),
                _target(value, definitions()[value.metric].target_text),
                {True: "yes", False: "no", None: None}[value.meets_target],
            )
            for value in ranked
        ),
    )
    for line in notes:
        note(line)


def shown(value: float | None, unit: str) -> str:
    """Return a figure as people read it; n/a for what nobody knows."""
    if value is None:
        return "n/a"
    if unit == "ratio":
        return f"{value:.1%}".replace("%", " %")
    if unit == "USD":
        return f"${value:,.2f}" if abs(value) >= 1 or value == 0 else f"${value:.4f}"
    if unit == "s":
        return f"{value:,.2f} s" if value < 100 else f"{value:,.0f} s"
    if unit == "x":
        return f"{value:.2f}x"
    return f"{value:,.0f}"


def _made_of(value: MetricValue) -> str | None:
    if value.unit not in ("ratio", "x") and value.metric != "cost_per_accepted_change":
        return None
    if not value.denominator or value.numerator is None:
        return None
    if value.unit == "x":
        return f"{shown(value.numerator, 's')} / {shown(value.denominator, 's')}"
    few = " (few)" if value.ci_low is not None and value.denominator < FEW else ""
    return f"{value.numerator:,.6g} / {value.denominator:,.6g}{few}"


def _interval(value: MetricValue) -> str | None:
    if value.ci_low is None or value.ci_high is None:
        return None
    return f"{shown(value.ci_low, value.unit)} to {shown(value.ci_high, value.unit)}"


def _target(value: MetricValue, text: str) -> str | None:
    if value.target is None:
        return text or None
    return f"{text.partition(' ')[0]} {shown(value.target, value.unit)}"
