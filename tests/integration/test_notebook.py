"""The notebook runs as a script, and shows what the report shows."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from analytics import connect
from analytics.report.build import report_for
from analytics.report.render import render_markdown
from tests.integration.year_of_data import LAST_WEEK, write_year

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "metrics.py"


def run_notebook(*words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, str(NOTEBOOK), "--", *words],
        env={**os.environ, **environment},
        cwd=NOTEBOOK.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_it_prints_the_report_of_the_same_week(tmp_path):
    """All figures are made by the same functions: not one may differ."""
    exports = write_year(tmp_path, weeks=3)
    shown = run_notebook(
        "--logs", str(exports), "--week", LAST_WEEK, "--baseline", "90m", "--project", "roman"
    )
    with connect(exports) as connection:
        report = report_for(connection, LAST_WEEK, project="roman", baseline="90m", from_logs=True)
    assert shown == render_markdown(report)


def test_without_any_data_it_says_so(tmp_path):
    shown = run_notebook(GREENLINE_HOME=str(tmp_path))
    assert "Nothing ended in this week" in shown
    assert list(tmp_path.iterdir()) == []


def test_what_was_exported_since_is_read_when_it_is_asked_for(tmp_path):
    """A notebook that is open stays as it was until the button is pressed, then it is up to date."""
    exports = tmp_path / "exports"
    given = {"logs": str(exports), "week": LAST_WEEK}
    notebook = runpy.run_path(str(NOTEBOOK))["app"]
    with connect(exports) as opened:
        write_year(exports, weeks=2)

        def shown(*, pressed):
            held = {"exports": str(exports), "given": given, "opened": opened}
            return notebook.run(defs=held | {"reread": SimpleNamespace(value=pressed)})[1]

        before, after = shown(pressed=False), shown(pressed=True)
    assert (before["weeks"], before["rows"]) == ([], [])
    assert after["weeks"][0] == LAST_WEEK
    assert after["rows"]
    with connect(exports) as connection:
        assert after["report"] == report_for(connection, LAST_WEEK, from_logs=True)
