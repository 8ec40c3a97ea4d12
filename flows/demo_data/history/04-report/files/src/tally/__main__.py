"""``python -m tally SHEET`` prints the hours of each project."""

import argparse
import sys
from pathlib import Path

from tally.entries import parse_sheet
from tally.report import render_report


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="tally", description="Add up a time sheet.")
    parser.add_argument("sheet", type=Path, help="the time sheet, a text file")
    arguments = parser.parse_args(argv)
    try:
        entries = parse_sheet(arguments.sheet.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"tally: {error}", file=sys.stderr)
        return 2
    print(render_report(entries), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
