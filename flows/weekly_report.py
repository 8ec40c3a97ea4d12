"""The `weekly-report` flow: the report of the week that is over.

Deployed with a schedule of once a week, on Monday.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.artifacts.reports import weekly_report_sheet
from flows.artifacts.writer import show
from flows.reports import make_report


@flow(name="weekly-report", validate_parameters=False)
async def weekly_report(
    week: str | None = None,
    *,
    project: str | None = None,
    baseline: str | None = None,
    out: str | None = None,
    logs: str | None = None,
) -> State[Any]:
    """Make a weekly report and say where it is.

    Args:
        week: an ISO week; by default the last that is over and has data.
        project: only this one; None: all.
        baseline: what velocity is measured against: a period, or a stated median.
        out: the file, .html or .md; by default in the home's folder `reports`.
        logs: exports to read as they are; by default the ledger's, brought up to date.

    Returns:
        A completed state whose data has `html` and `markdown` (the files), `week` and `findings`.
    """
    made = await asyncio.to_thread(
        make_report,
        week,
        out=Path(out) if out else None,
        logs=logs,
        project=project,
        baseline=baseline,
    )
    await show(lambda: weekly_report_sheet(made))
    document = made.document()
    data = {name: document[name] for name in ("html", "markdown", "week", "findings")}
    return Completed(message=f"{made.report.weeks.week}: {made.html}", data=data)
