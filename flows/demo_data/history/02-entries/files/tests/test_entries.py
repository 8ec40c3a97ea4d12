from datetime import date

import pytest

from tally.entries import Entry, parse_entry, parse_sheet


def test_reads_an_entry():
    assert parse_entry("2026-03-02 1h30m atlas Fix the login page") == Entry(
        date(2026, 3, 2), 90, "atlas", "Fix the login page"
    )


def test_a_note_may_be_missing():
    assert parse_entry("2026-03-02 45m atlas").note == ""


def test_an_entry_without_a_project_is_refused():
    with pytest.raises(ValueError, match="a day, a duration and a project"):
        parse_entry("2026-03-02 45m")


def test_a_sheet_keeps_the_order_and_skips_comments_and_blank_lines():
    sheet = "# March\n\n2026-03-02 45m atlas\n  # later that day\n2026-03-02 1h borealis\n"
    assert [entry.project for entry in parse_sheet(sheet)] == ["atlas", "borealis"]


@pytest.mark.parametrize("line", ["2026-13-02 45m atlas", "2026-03-02 soon atlas", "2026-03-02"])
def test_an_error_names_its_line(line):
    with pytest.raises(ValueError, match="line 2: "):
        parse_sheet(f"# March\n{line}\n")
