"""Commands that read what happened: runs, steps, step info, step diff."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flows.cli.output import note, print_json, say

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Project = Annotated[
    str | None,
    typer.Option("--project", help="A project's name.", show_default="this folder's, else all"),
]
Number = Annotated[int, typer.Argument(help="The attempt's number within the project.")]

_NONE_YET = "there are no runs yet; `greenline run PLAN` makes one, `greenline demo` shows one"

runs = typer.Typer(help="List runs, or show one.", invoke_without_command=True)
step = typer.Typer(help="Look at one attempt.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(runs, name="runs")
    app.command("steps")(steps)
    app.add_typer(step, name="step")


@runs.callback()
def list_runs(
    context: typer.Context,
    *,
    project: Project = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, latest first.")] = 50,
    json_output: Json = False,
) -> None:
    """List runs, the latest first."""
    if context.invoked_subcommand is not None:
        return
    from flows.cli.database import project_meant, reading  # noqa: PLC0415
    from flows.cli.views import print_runs  # noqa: PLC0415
    from storage import queries  # noqa: PLC0415

    with reading() as connection:
        meant = project_meant(connection, project)
        found = queries.list_runs(connection, meant["id"] if meant else None, limit)
    if json_output:
        print_json(found)
    elif not found:
        note(_NONE_YET)
    else:
        print_runs(found)


@runs.command("show")
def show_run(
    run: Annotated[str, typer.Argument(help="The run's id, or the beginning of it.")],
    *,
    json_output: Json = False,
) -> None:
    """Show one run: its steps and where it stands.

    RUN may be the beginning of an id, as long as it is one run's alone.
    """
    from flows.cli.database import reading  # noqa: PLC0415
    from flows.cli.views import print_steps  # noqa: PLC0415
    from flows.documents import run_document  # noqa: PLC0415

    with reading() as connection:
        document = run_document(connection, run)
    if json_output:
        print_json(document)
        return
    say(f"run {document['run_id']} {document['status']}, branch {document['branch']}")
    print_steps(document["steps"])


def steps(
    run: Annotated[
        str | None,
        typer.Argument(help="The run's id, or its beginning.", show_default="the latest"),
    ] = None,
    *,
    project: Project = None,
    json_output: Json = False,
) -> None:
    """List the steps of a run in plan order, those not begun too."""
    from flows.cli.database import project_meant, reading  # noqa: PLC0415
    from flows.cli.views import print_steps  # noqa: PLC0415
    from flows.documents import run_meant, step_document  # noqa: PLC0415
    from storage import queries  # noqa: PLC0415

    with reading() as connection:
        if run is None:
            meant = project_meant(connection, project)
            latest = queries.list_runs(connection, meant["id"] if meant else None, 1)
            run_id = latest[0]["run_id"] if latest else None
        else:
            run_id = run_meant(connection, run)["run_id"]
        rows = queries.list_steps(connection, run_id) if run_id else []
    documents = [step_document(row) | {"run_id": run_id} for row in rows]
    if json_output:
        print_json(documents)
    elif run_id is None:
        note(_NONE_YET)
    else:
        print_steps(documents)


@step.command("info")
def info(number: Number, *, project: Project = None, json_output: Json = False) -> None:
    """Show everything about an attempt."""
    from flows.cli.database import attempt_meant, reading  # noqa: PLC0415
    from flows.cli.views import attempt_text  # noqa: PLC0415

    with reading() as connection:
        attempt = attempt_meant(connection, number, project)
    if json_output:
        print_json(attempt)
    else:
        say(attempt_text(attempt))


@step.command("diff")
def diff(number: Number, *, project: Project = None, json_output: Json = False) -> None:
    """Show what an attempt changed; of a failed one, what it left."""
    from flows.cli.database import attempt_meant, reading  # noqa: PLC0415
    from tasks.diffs import attempt_diff  # noqa: PLC0415

    with reading() as connection:
        attempt = attempt_meant(connection, number, project)
    text = attempt_diff(
        attempt["repo_path"], attempt["commit_sha_before"], attempt["commit_sha_after"]
    )
    if json_output:
        print_json(
            {
                "number": attempt["number"],
                "status": attempt["status"],
                "commit_sha_before": attempt["commit_sha_before"],
                "commit_sha_after": attempt["commit_sha_after"],
                "diff": text,
            }
        )  # fmt: skip
    else:
        sys.stdout.write(text)
