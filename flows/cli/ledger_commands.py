"""Commands on the ledger itself: url, init, inspect."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flows.cli.output import print_json, print_table, say

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

ledger = typer.Typer(
    help="The ledger: the PostgreSQL database of every step.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(ledger, name="ledger")


@ledger.command("url")
def url(*, json_output: Json = False) -> None:
    """Print the ledger's libpq URL, starting it if need be."""
    from storage.database import Database, ledger_url  # noqa: PLC0415

    found = ledger_url()
    Database(found).init_db()
    if json_output:
        print_json({"url": found})
    else:
        sys.stdout.write(f"{found}\n")


@ledger.command("init")
def init(*, json_output: Json = False) -> None:
    """Make or upgrade the schema; says what it found."""
    from storage.database import Database, ledger_url  # noqa: PLC0415

    report = Database(ledger_url()).init_db()
    if json_output:
        print_json({"state": report.state, "schema_version": report.version})
    else:
        say(f"the schema is {report.state}, version {report.version}")


@ledger.command("inspect")
def inspect(*, json_output: Json = False) -> None:
    """Count runs, workstreams, steps, attempts by status."""
    from flows.cli.database import reading  # noqa: PLC0415
    from storage import queries  # noqa: PLC0415

    with reading() as connection:
        counts = queries.counts_by_status(connection)
    if json_output:
        print_json(counts)
        return
    rows = [(what, status, n) for what, found in counts.items() for status, n in found.items()]
    print_table(("what", "status", "count"), rows)
