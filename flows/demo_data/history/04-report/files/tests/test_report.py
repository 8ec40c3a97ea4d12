from tally.__main__ import main
from tally.entries import parse_sheet
from tally.report import render_report

SHEET = """\
2026-03-02 1h30m atlas     Fix the login page
2026-03-02 45m   borealis  Call with the client
2026-03-03 2h    atlas     Review
"""
REPORT = """\
atlas     3h30m
borealis    45m
total     4h15m
"""


def test_a_report_is_aligned():
    assert render_report(parse_sheet(SHEET)) == REPORT


def test_an_empty_sheet_has_a_total_too():
    assert render_report([]) == "total  0m\n"


def test_the_command_prints_the_report(tmp_path, capsys):
    sheet = tmp_path / "sheet.txt"
    sheet.write_text(SHEET, encoding="utf-8")
    assert main([str(sheet)]) == 0
    assert capsys.readouterr().out == REPORT


def test_a_broken_sheet_ends_with_one_line_on_stderr(tmp_path, capsys):
    sheet = tmp_path / "sheet.txt"
    sheet.write_text("2026-03-02 soon atlas\n", encoding="utf-8")
    assert main([str(sheet)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tally: line 1: not a duration")
