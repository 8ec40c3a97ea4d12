from datetime import date

import pytest

from tally.entries import Entry
from tally.invoice import Invoice, Line, make_invoice, render_invoice

MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
RATES = {"atlas": 9550, "borealis": 8000}


def test_each_entry_is_rounded_up_before_it_is_added():
    entries = [Entry(MONDAY, 10, "atlas"), Entry(TUESDAY, 10, "atlas")]
    assert make_invoice(entries, RATES).lines == (Line("atlas", 30, 4775),)


def test_the_unit_can_be_chosen():
    assert make_invoice([Entry(MONDAY, 61, "borealis")], RATES, unit=60).total == 16000


def test_lines_are_in_alphabetical_order_and_add_up():
    entries = [Entry(MONDAY, 60, "borealis"), Entry(TUESDAY, 90, "atlas")]
    invoice = make_invoice(entries, RATES)
    assert invoice.lines == (Line("atlas", 90, 14325), Line("borealis", 60, 8000))
    assert invoice.total == 22325


@pytest.mark.parametrize(
    ("rate", "cents"), [(9999, 2500), (10001, 2500), (9998, 2500), (10002, 2501)]
)
def test_half_a_cent_counts_as_one(rate, cents):
    assert make_invoice([Entry(MONDAY, 15, "atlas")], {"atlas": rate}).total == cents


def test_all_projects_without_a_rate_are_named_at_once():
    entries = [Entry(MONDAY, 60, "cygnus"), Entry(MONDAY, 60, "atlas"), Entry(MONDAY, 5, "aurora")]
    with pytest.raises(ValueError, match="no rate for aurora, cygnus"):
        make_invoice(entries, RATES)


def test_no_entries_make_an_empty_invoice():
    assert make_invoice([], RATES) == Invoice(lines=())
    assert make_invoice([], RATES).total == 0


def test_an_invoice_is_aligned():
    entries = [Entry(MONDAY, 90, "atlas"), Entry(MONDAY, 15, "borealis")]
    assert render_invoice(make_invoice(entries, RATES)) == (
        "atlas     1h30m  143.25\nborealis    15m   20.00\ntotal            163.25\n"
    )
