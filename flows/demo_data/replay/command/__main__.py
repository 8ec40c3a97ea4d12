"""``python -m tally SHEET`` prints the hours of each project, or with rates an invoice."""

import argparse
import sys
from pathlib import Path

from tally.entries import parse_sheet
from tally.invoice import make_invoice, render_invoice
from tally.rates import parse_rates
from tally.report import render_report


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="tally", description="Add up a time sheet.")
    parser.add_argument("sheet", type=Path, help="the time sheet, a text file")
    parser.add_argument("--rates", type=Path, help="make an invoice with the rates in this file")
    parser.add_argument(
        "--unit", type=int, default=15, help="bill each entry rounded up to this many minutes"
    )
    try:
        print(_render(parser.parse_args(argv)), end="")
    except (OSError, ValueError) as error:
        print(f"tally: {error}", file=sys.stderr)
        return 2
    return 0


def _render(arguments: argparse.Namespace) -> str:
    entries = parse_sheet(arguments.sheet.read_text(encoding="utf-8"))
    if arguments.rates is None:
        return render_report(entries)
    rates = parse_rates(arguments.rates.read_text(encoding="utf-8"))
    return render_invoice(make_invoice(entries, rates, arguments.unit))


if __name__ == "__main__":
    sys.exit(main())
