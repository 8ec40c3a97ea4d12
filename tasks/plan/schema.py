"""Writes `docs/plan.schema.json`: `python -m tasks.plan.schema`, or checks it with `--check`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tasks.plan import plan_json_schema_text

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "plan.schema.json"


def main(arguments: list[str] | None = None) -> int:
    """Write the published schema; with `--check` return 1 when it is not up to date."""
    parser = argparse.ArgumentParser(prog="python -m tasks.plan.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare only")
    parser.add_argument("--file", type=Path, default=PUBLISHED, help="the published schema")
    options = parser.parse_args(arguments)
    path: Path = options.file
    text = plan_json_schema_text()
    if not options.check:
        path.write_text(text, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{path} is not up to date: run `python -m tasks.plan.schema`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
