"""What scheduled flows show: the weekly report, counts of rows, what was taken up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flows.artifacts.markdown import facts, one_line, page, slug
from flows.artifacts.sheets import Sheet

if TYPE_CHECKING:
    from flows.reports import Made

_LONGEST: Final = 200_000
"""Characters of a report that are shown; the files have all of it."""
_NAMED: Final = 10


def weekly_report_sheet(made: Made) -> Sheet:
    """Return a weekly report, whose Markdown is escaped already, with its files."""
    text = made.markdown.read_text("utf-8")
    whole = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n\n… cut; the file has it all"
    week = made.report.weeks.week
    project = _project(made.html)
    where = facts({"as a page": str(made.html), "as Markdown": str(made.markdown)})
    return Sheet(
        slug(f"weekly-report-{project}"),
        "markdown",
        page([where, whole]),
        f"The report of week {week}",
    )


def _project(html: Path) -> str:
    """Return what tells reports that are written to files of their own from the usual ones."""
    return "" if html.parent.name == "reports" else html.stem


def export_sheet(document: Mapping[str, Any]) -> Sheet:
    """Return how many rows of each table an export wrote."""
    rows = [{"table": table, "rows": count} for table, count in document["rows"].items()]
    told = f"{sum(document['rows'].values())} rows in {document['files']} files"
    if document["full"]:
        told += ", all of them written anew"
    return Sheet("export", "table", json.dumps(rows), told)


def reconcile_sheet(report: Mapping[str, Any]) -> Sheet | None:
    """Return what a reconcile did, None when there was nothing to do."""
    rows = [
        {"what": name.replace("_", " "), "how many": _count(what), "which": _which(what)}
        for name, what in report.items()
        if what
    ]
    return Sheet("reconcile", "table", json.dumps(rows), "What was taken up") if rows else None


def _count(what: object) -> int:
    return what if isinstance(what, int) else len(what)  # type: ignore[arg-type]  # else a list


def _which(what: object) -> str:
    if not isinstance(what, list):
        return "-"
    left = f" … and {len(what) - _NAMED} more" if len(what) > _NAMED else ""
    return ", ".join(one_line(str(each), longest=60) for each in what[:_NAMED]) + left
