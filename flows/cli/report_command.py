"""`greenline report`: a week on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from flows.cli.metrics_command import ComparedWith, Json, Logs, Project
from flows.cli.output import print_json, say

_MARKS: Final = {"bad": "!", "note": "-", "good": "+"}


def report(
    *,
    week: Annotated[
        str | None,
        typer.Option(
            help="The ISO week, such as 2026-W47.",
            show_default="the last that is over and has data",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to write it: a name that ends with .html or .md. The other of the two is "
            "written beside it.",
            show_default="reports/WEEK.html in the home",
        ),
    ] = None,
    baseline: ComparedWith = None,
    project: Project = None,
    logs: Logs = None,
    json_output: Json = False,
) -> None:
    """Write the weekly report, as HTML and as Markdown.

    The page is one file that needs nothing else. First it says what changed and what is out of
    line, then the four stated metrics against their targets and the weeks before, then the rest.
    The exports are brought up to date first. A week without data gives a page that says so. The
    same data give the same bytes.
    """
    from flows.reports import make_report  # noqa: PLC0415 - it loads DuckDB

    made = make_report(week, out=out, logs=logs, project=project, baseline=baseline)
    if json_output:
        print_json(made.document())
        return
    say(str(made.html))
    say(str(made.markdown))
    if not made.report.findings:
        say("nothing is out of line")
    for finding in made.report.findings:
        say(f"{_MARKS[finding.tone]} {finding.title}: {finding.text}")
