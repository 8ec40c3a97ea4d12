"""The `export` flow: what changed in the ledger, as Parquet files for the metrics.

Deployed with a schedule of once a day. Whoever asks for metrics brings the exports up to date
anyway; the schedule keeps that short.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.artifacts.reports import export_sheet
from flows.artifacts.writer import show
from flows.exports import bring_up_to_date, exports_folder
from storage.database import Database
from tasks.export import ExportReport


@flow(name="export", validate_parameters=False)
async def export(out: str | None = None, *, full: bool = False) -> State[Any]:
    """Bring the exports up to date and say what was written.

    Args:
        out: the folder; by default `GREENLINE_EXPORTS`, or `exports` in the home.
        full: write all rows anew.

    Returns:
        A completed state whose data has `exports`, `full`, `rows` (by table), `files`, `marker`
        and `seconds`.
    """
    report = await asyncio.to_thread(_export, out, full=full)
    if report.files:
        await show(lambda: export_sheet(report.document()))
    told = f"{sum(report.rows.values())} rows in {report.files} files" if report.files else ""
    return Completed(message=told or "nothing changed", data=report.document())


def _export(out: str | None, *, full: bool) -> ExportReport:
    folder = Path(out).expanduser().absolute() if out else exports_folder()
    database = Database.open()
    try:
        return bring_up_to_date(database, folder, full=full)
    finally:
        database.dispose()
