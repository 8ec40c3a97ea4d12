# ruff: noqa: ANN001, ANN202, B018, INP001, N803, PLC0415, PLR0913, PLR0917, PLR1711, T201
# (a notebook's cells are functions that take each other's names and show values)
"""The metrics as a notebook: choose a week, look, slice.

    marimo edit notebooks/metrics.py -- --logs DIR
    python notebooks/metrics.py -- --logs DIR --week 2026-W47

DIR is a folder of exports; without it those of GREENLINE_HOME are read, as they are (`greenline
export` brings them up to date). Further words: --week, --project, --baseline. As a script it
prints the weekly report as Markdown.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Greenline metrics")


@app.cell
def _():
    import os
    from pathlib import Path

    import marimo as mo

    from analytics import connect
    from analytics.definitions import SLICES, definitions
    from analytics.metrics import Window, compute
    from analytics.report.build import active_weeks, report_for
    from analytics.report.render import render_html, render_markdown
    from analytics.report.weeks import window_of
    from analytics.velocity import Baseline
    from analytics.warehouse import FACTS, refresh

    return (
        Baseline,
        FACTS,
        Path,
        SLICES,
        Window,
        active_weeks,
        compute,
        connect,
        definitions,
        mo,
        os,
        refresh,
        render_html,
        render_markdown,
        report_for,
        window_of,
    )


@app.cell
def _(mo):
    mo.md("""
    # Greenline metrics

    The weekly report, then any metric sliced by anything. `docs/metrics.md` says what each metric
    means; `greenline metrics` prints the same numbers.
    """)
    return


@app.cell
def _(Path, connect, mo, os):
    given = mo.cli_args()
    _home = Path(os.environ.get("GREENLINE_HOME") or Path.home() / ".greenline")
    _named = given.get("logs") or os.environ.get("GREENLINE_EXPORTS")
    exports = str(_named or _home / "exports")
    opened = connect(exports)
    return exports, given, opened


@app.cell
def _(mo):
    reread = mo.ui.run_button(label="Read what was exported since")
    reread
    return (reread,)


@app.cell
def _(active_weeks, exports, opened, refresh, reread):
    if reread.value:
        refresh(opened, exports)
    # Whatever is shown hangs on this name: it is computed anew after each reading.
    connection = opened
    weeks = sorted(active_weeks(connection), reverse=True)
    return connection, weeks


@app.cell
def _(given, mo, weeks):
    choices = sorted({*weeks, *([given.get("week")] if given.get("week") else [])}, reverse=True)
    week = mo.ui.dropdown(
        options=choices, value=given.get("week") or (choices or [None])[0], label="Week"
    )
    project = mo.ui.text(value=given.get("project") or "", label="Project (empty: all)")
    baseline = mo.ui.text(
        value=given.get("baseline") or "",
        placeholder="2026-W30..2026-W35, or 90m",
        label="Baseline of velocity",
    )
    mo.hstack([week, project, baseline], justify="start", wrap=True)
    return baseline, project, week


@app.cell
def _(baseline, connection, given, project, report_for, week):
    report = report_for(
        connection,
        week.value,
        project=project.value or None,
        baseline=baseline.value or None,
        from_logs=bool(given.get("logs")),
    )
    return (report,)


@app.cell
def _(mo, render_html, render_markdown, report):
    if mo.app_meta().mode == "script":
        print(render_markdown(report), end="")
        page = None
    else:
        page = mo.iframe(render_html(report), height="900px")
    page
    return


@app.cell
def _(SLICES, definitions, mo):
    metric = mo.ui.dropdown(
        options={each.title: name for name, each in definitions().items()},
        value=definitions()["step_completion_rate"].title,
        label="Metric",
    )
    by = mo.ui.multiselect(options=SLICES, value=["agent"], label="by")
    whole = mo.ui.checkbox(label="all weeks")
    mo.vstack([mo.md("## Slices"), mo.hstack([metric, by, whole], justify="start", wrap=True)])
    return by, metric, whole


@app.cell
def _(
    Baseline,
    Window,
    baseline,
    by,
    compute,
    connection,
    definitions,
    metric,
    mo,
    project,
    report,
    whole,
    window_of,
):
    known = definitions()[metric.value]
    values = compute(
        connection,
        window=Window() if whole.value else window_of(report.weeks.week),
        by=by.value,
        project=project.value or None,
        names=[metric.value],
        baseline=Baseline.parse(baseline.value) if baseline.value else None,
    )
    rows = [
        {
            **value.group,
            "value": value.value,
            "numerator": value.numerator,
            "denominator": value.denominator,
            "unknown": value.unknown,
            "95 % from": value.ci_low,
            "to": value.ci_high,
        }
        for value in values
    ]
    sliceable = f"It can be sliced by {', '.join(known.slices)}."
    mo.vstack(
        [
            mo.md(f"**{known.title}** ({known.unit}). {known.definition} {sliceable}"),
            mo.ui.table(rows, selection=None) if rows else mo.md("Nothing in this slice."),
        ]
    )
    return


@app.cell
def _(FACTS, mo):
    fact = mo.ui.dropdown(options=FACTS, value="step_outcomes", label="View")
    mo.vstack([mo.md("## The rows behind them"), fact])
    return (fact,)


@app.cell
def _(connection, fact, mo):
    some = connection.view(fact.value).limit(200)
    mo.ui.table(
        [dict(zip(some.columns, row, strict=True)) for row in some.fetchall()], selection=None
    )
    return


if __name__ == "__main__":
    app.run()
