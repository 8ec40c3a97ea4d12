from datetime import date

from tally.entries import Entry
from tally.totals import by_day, by_project, total

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
ENTRIES = [
    Entry(TUESDAY, 60, "borealis"),
    Entry(MONDAY, 90, "atlas"),
    Entry(MONDAY, 15, "borealis"),
]


def test_total():
    assert total(ENTRIES) == 165


def test_nothing_adds_up_to_nothing():
    assert (total([]), by_project([]), by_day([])) == (0, {}, {})


def test_by_project_is_in_alphabetical_order():
    assert list(by_project(ENTRIES).items()) == [("atlas", 90), ("borealis", 75)]


def test_by_day_is_oldest_first():
    assert list(by_day(ENTRIES).items()) == [(MONDAY, 105), (TUESDAY, 60)]
