import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
SHEET = """\
2026-03-02 1h30m atlas     Fix the login page
2026-03-02 40m   borealis  Call with the client
"""


def run_tally(folder, *arguments):
    (folder / "sheet.txt").write_text(SHEET, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "tally", "sheet.txt", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sheet_with_rates_becomes_an_invoice(tmp_path):
    (tmp_path / "rates.txt").write_text("atlas 95.50\nborealis 80\n", encoding="utf-8")
    done = run_tally(tmp_path, "--rates", "rates.txt")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "atlas     1h30m  143.25\nborealis    45m   60.00\ntotal            203.25\n"
    )


def test_the_unit_of_rounding_is_an_option(tmp_path):
    (tmp_path / "rates.txt").write_text("atlas 60\nborealis 60\n", encoding="utf-8")
    done = run_tally(tmp_path, "--rates", "rates.txt", "--unit", "60")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["total", "180.00"]


def test_without_rates_it_stays_a_report(tmp_path):
    assert run_tally(tmp_path).stdout.endswith("total     2h10m\n")


def test_a_project_without_a_rate_ends_with_one_line_on_stderr(tmp_path):
    (tmp_path / "rates.txt").write_text("atlas 60\n", encoding="utf-8")
    done = run_tally(tmp_path, "--rates", "rates.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tally: no rate for borealis\n"
