"""The command that carries a write plan out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.output import note, print_json, say
from flows.cli.run_commands import Json, schema


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command("write-plan")(write_plan)


def write_plan(
    file: Annotated[Path, typer.Argument(help="The write plan, YAML or JSON.")],
    *,
    repo: Annotated[
        Path, typer.Option("--repo", help="The folder to write in.", show_default="here")
    ] = Path(),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Create, append to or overwrite files as a plan says.

    The plan is `{operations: [{operation, path, content}]}`; all of it is done or nothing.
    `create` wants a file that is not there, `append` and `overwrite` one that is. Folders are made
    as needed, symbolic links are not followed, `.git` is never written. Exit code: 0 all is
    written, 1 it cannot be and nothing was, 2 it is no write plan.
    """
    from tasks.write_plan import execute, load_write_plan  # noqa: PLC0415

    report = execute(load_write_plan(file), repo, dry_run=dry_run)
    for line in report.notes:
        note(f"note: {line}")
    if json_output:
        print_json(report.document())
    elif report.ok:
        would = "would be " if dry_run else ""
        for folder in report.folders:
            say(f"{would}made: {folder}/")
        for each in report.operations:
            say(f"{would}{_DONE[each.operation]}: {each.path} ({each.size:,} bytes)")
    if not report.ok:
        note("greenline: nothing was written\n" + "\n".join(f"  - {p}" for p in report.problems))
        raise typer.Exit(1)


_DONE = {"create": "created", "append": "appended to", "overwrite": "overwritten"}


@schema.command("write-plan")
def schema_write_plan() -> None:
    """Print the JSON Schema of a write plan."""
    from tasks.write_plan import write_plan_json_schema_text  # noqa: PLC0415

    sys.stdout.write(write_plan_json_schema_text())
