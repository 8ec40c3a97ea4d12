"""Commands on what happened: runs, steps, step info, diff, rollback and replay."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.output import note, print_json, say
from storage.exceptions import InputError

if TYPE_CHECKING:
    from storage.database import Database
    from tasks.rollback import RolledBack

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Project = Annotated[
    str | None,
    typer.Option("--project", help="A project's name.", show_default="this folder's, else all"),
]
Number = Annotated[int, typer.Argument(help="The attempt's number within the project.")]

_NONE_YET = "there are no runs yet; `greenline run PLAN` makes one, `greenline demo` shows one"

runs = typer.Typer(help="List runs, or show one.", invoke_without_command=True)
step = typer.Typer(help="Look at one attempt, or take it back.", no_args_is_help=True)


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
            connection,
            attempt["repo_path"],
            attempt["commit_sha_before"],
            attempt["commit_sha_after"],
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


@step.command("rollback")
def rollback(
    number: Number,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would go; nothing is changed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    why: Annotated[str | None, typer.Option("--why", help="Why, for the record.")] = None,
    project: Project = None,
    json_output: Json = False,
) -> None:
    """Take an attempt back, with all that came after it.

    The branch goes back to the commit before, here and where it was published; the steps are
    pending again, and `greenline run --from RUN` does them anew. Numbers go on counting. The old
    commits are kept under a ref of Greenline's clone. Branches that got the commits by a merge
    are left as they are. Refused while the run has not ended, while another run that went on from
    it stands, with uncommitted changes, and while the branch is checked out. If it is
    interrupted, the next command finishes it.
    """
    from flows.cli.database import attempt_meant  # noqa: PLC0415
    from flows.cli.questions import who  # noqa: PLC0415
    from flows.cli.views import print_rollback_plan, rollback_document  # noqa: PLC0415
    from storage.database import Database  # noqa: PLC0415
    from tasks.rollback import plan_rollback, roll_back  # noqa: PLC0415

    if not (yes or dry_run or sys.stdin.isatty()):
        raise InputError(
            "there is no terminal to ask on; --yes rolls back without asking, --dry-run shows "
            "what would go"
        )
    database = Database.open()
    try:
        with database.get_connection() as connection:
            attempt = attempt_meant(connection, number, project)
        if not dry_run and (done := _finished(database, attempt["run_id"], number)):
            _say_rolled_back(done, as_json=json_output)
            return
        planned = plan_rollback(database, attempt["project_id"], number)
        if not json_output:
            print_rollback_plan(planned)
        if dry_run:
            if json_output:
                print_json(rollback_document(planned))
            return
        if planned.obstacles:
            raise InputError("; ".join(planned.obstacles))
        if not yes and not typer.confirm(
            f"Take back {len(planned.attempts)} attempts and {len(planned.commits)} commits?",
            err=True,
        ):
            note("nothing was changed")
            raise typer.Exit(1)
        done = roll_back(database, planned, who=who(), why=why)
    finally:
        database.dispose()
    _say_rolled_back(done, as_json=json_output)


@step.command("replay")
def replay(
    number: Number,
    *,
    agent: Annotated[str, typer.Option(help="The agent to do it.")],
    config: Annotated[
        Path | None, typer.Option(help="Settings to find the agent in, not the repository's.")
    ] = None,
    project: Project = None,
    json_output: Json = False,
) -> None:
    """Do an attempt again with another agent, and compare.

    It starts from the commit that the attempt started from, in a sandbox that is thrown away, and
    goes through the same gates. Nothing is merged and no step changes. The exit code is 0 whatever
    came out.
    """
    from flows.cli.database import attempt_meant  # noqa: PLC0415
    from flows.cli.views import comparison_document, print_comparison  # noqa: PLC0415
    from storage.database import Database  # noqa: PLC0415
    from tasks.step_replay import replay_attempt  # noqa: PLC0415

    database = Database.open()
    try:
        with database.get_connection() as connection:
            meant = attempt_meant(connection, number, project)
        done = replay_attempt(database, meant["project_id"], number, agent, config)
    finally:
        database.dispose()
    if json_output:
        print_json(comparison_document(done))
    else:
        print_comparison(done)


def _finished(database: Database, run_id: str, number: int) -> RolledBack | None:
    """Finish what was interrupted; return the rollback of this attempt if it was among it."""
    from tasks.rollback import finish_pending_rollbacks  # noqa: PLC0415

    own = finish_pending_rollbacks(database, run_id)
    for done in (*own, *finish_pending_rollbacks(database)):
        note(
            f"rollback {done.rollback_id} of attempt {done.planned.number} had been interrupted "
            "and is finished now"
        )
    return next((done for done in own if done.planned.number == number), None)


def _say_rolled_back(done: RolledBack, *, as_json: bool) -> None:
    from flows.cli.views import print_rolled_back, rollback_document  # noqa: PLC0415

    if as_json:
        print_json(rollback_document(done.planned, done))
    else:
        print_rolled_back(done)
