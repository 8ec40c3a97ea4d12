"""Commands that make and run plans: run, demo, init, replay-plan, decompose, schema."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.output import note, print_json, say
from storage.exceptions import InputError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Repo = Annotated[Path, typer.Option("--repo", help="The target repository.", show_default="here")]

schema = typer.Typer(help="Published schemas.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command("run")(run)
    app.command("resume")(resume)
    app.command("abandon")(abandon)
    app.command("demo")(demo)
    app.command("init")(init)
    app.command("replay-plan")(replay_plan)
    app.command("decompose")(decompose)
    app.add_typer(schema, name="schema")


def run(  # noqa: PLR0913 - a command has as many as it has options
    plan: Annotated[
        Path | None,
        typer.Argument(help="The feature plan, YAML or JSON.", show_default="that of --from"),
    ] = None,
    *,
    repo: Annotated[
        Path | None, typer.Option("--repo", help="The target repository.", show_default="here")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings to use instead of the repository's own.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="An agent to play every role.")] = None,
    base: Annotated[
        str | None, typer.Option(help="The commit to start from.", show_default="HEAD")
    ] = None,
    max_parallel: Annotated[
        int, typer.Option(min=1, max=64, help="How many subtasks may be worked on at a time.")
    ] = 1,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Fail at a file that another run is editing.")
    ] = False,
    from_run: Annotated[
        str | None, typer.Option("--from", metavar="RUN", help="Go on from this run's branch.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Run a feature plan; every step is judged.

    An agent does each step in a sandbox; what passes the gates is a commit on the run's branch.
    With --from, what failed or was left of a run that has ended is done anew, on top of what
    stands of it. Exit code: 0 the run is completed, 1 it failed or is partial, 2 something given
    is wrong and nothing was written, 3 it waits for a person, 4 a needed service is missing.
    """
    _leave_garbage()
    from flows.cli.running import finish, run_plan  # noqa: PLC0415
    from tasks.run import RunOptions  # noqa: PLC0415

    document = run_plan(
        plan,
        repo=repo,
        config=config,
        agent=agent,
        base=base,
        options=RunOptions(no_wait=no_wait, max_parallel=max_parallel),
        from_run=from_run,
    )
    finish(document, as_json=json_output)


def _leave_garbage() -> None:
    """Look for no garbage until the run is carried (`running` begins again then).

    What the imports before it make, 200,000 objects, all stays: looking through it takes 0.2 s.
    """
    gc.disable()


Run = Annotated[str, typer.Argument(help="The run's id, or the beginning of it.")]


def resume(run: Run, *, json_output: Json = False) -> None:
    """Go on with a run that was cut off or waited.

    What is done is not done again; an attempt that was cut off is made anew. Of a run that has
    ended the document is printed. Exit codes are those of `run`.
    """
    _leave_garbage()
    from flows.cli.running import finish, resume_run  # noqa: PLC0415

    finish(resume_run(run), as_json=json_output)


def abandon(
    run: Run,
    *,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "given up by a person",
    json_output: Json = False,
) -> None:
    """Give a run up, whoever carries it; its branch is kept."""
    from flows.cli.running import abandon_run  # noqa: PLC0415

    document = abandon_run(run, reason)
    if json_output:
        print_json(document)
    else:
        say(f"run {document['run_id']} {document['status']}, branch {document['branch']}")


def demo(*, json_output: Json = False) -> None:
    """Run a plan on a sample repository; needs no key.

    It ends with the metrics of this home and the report of the current week.
    """
    _leave_garbage()
    from flows.cli.running import finish, run_demo  # noqa: PLC0415

    finish(run_demo(), as_json=json_output, with_figures=True)


def init(
    *,
    repo: Repo = Path(),
    force: Annotated[bool, typer.Option(help="Replace a greenline.toml that is there.")] = False,
    json_output: Json = False,
) -> None:
    """Write a greenline.toml by looking at the repository."""
    from tasks.config import FILE_NAME, load_settings  # noqa: PLC0415
    from tasks.config.proposal import propose_settings  # noqa: PLC0415
    from tasks.project_commands import lacks_pytest, runs_here  # noqa: PLC0415
    from tasks.repository import UserRepository  # noqa: PLC0415
    from tasks.repository_settings import pyproject_settings  # noqa: PLC0415
    from tasks.write_plan import execute, parse_write_plan  # noqa: PLC0415

    repository = UserRepository.open(repo)
    if repository.is_bare:
        raise InputError(
            f"{repository.path} is a bare repository and has no files to write to; "
            "run init in a checkout, or give `run` a file with --config"
        )
    target = repository.path / FILE_NAME
    if os.path.lexists(target) and not force:
        raise InputError(f"{target} is there already; --force replaces it")
    if pyproject_settings(repository.path) is not None and not force:
        raise InputError(
            f"{repository.path / 'pyproject.toml'} has a table [tool.greenline] already, which "
            f"{FILE_NAME} would replace; --force writes it nevertheless"
        )
    text = propose_settings(
        repository.path,
        default_branch=repository.default_branch,
        programs=lambda name: runs_here(name, repository.path),
    )
    if target.is_symlink():
        target.unlink()  # with --force; what it points to is nobody's to write
    operation = "overwrite" if target.exists() else "create"
    document = {"operations": [{"operation": operation, "path": FILE_NAME, "content": text}]}
    report = execute(parse_write_plan(document), repository.path)
    for line in report.notes:
        note(f"note: {line}")
    if not report.ok:
        raise InputError(f"{target} cannot be written: {'; '.join(report.problems)}")
    test = load_settings(text, FILE_NAME, {}).project.test
    if test is not None and (lacking := lacks_pytest(shlex.split(test), repository.path)):
        note(f"note: {lacking}")
    if json_output:
        print_json({"path": str(target), "settings": text})
    else:
        sys.stdout.write(text)
        note(f"written to {target}; commit it, and see `greenline doctor`")


def replay_plan(
    repo: Annotated[Path, typer.Argument(help="The repository whose history is played.")],
    commits: Annotated[list[str], typer.Argument(help="Consecutive commits, or ranges A..B.")],
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write the plan.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Make a feature plan of past commits, for the `replay` agent."""
    from tasks.plan.replay import dump_plan_yaml, make_replay_plan  # noqa: PLC0415

    made = make_replay_plan(repo, commits)
    text = dump_plan_yaml(made.plan)
    if output is not None:
        output.write_text(text, encoding="utf-8")
    for line in made.notes:
        note(line)
    if json_output:
        print_json(
            {"base_commit": made.base_commit, "plan": made.plan.model_dump(mode="json"),
             "notes": list(made.notes), "path": str(output) if output else None}
        )  # fmt: skip
    elif output is None:
        sys.stdout.write(text)
    else:
        where = f"--repo {repo} --agent replay --base {made.base_commit[:12]}"
        note(f"written to {output}; run it with: greenline run {output} {where}")


def decompose(
    file: Annotated[Path, typer.Argument(help="`{subtask_id, steps}`, YAML or JSON.")],
    *,
    json_output: Json = False,
) -> None:
    """Add steps to a subtask of a stored plan."""
    from storage.database import Database  # noqa: PLC0415
    from tasks.plan import load_decomposition  # noqa: PLC0415
    from tasks.plan.decompose import store_decomposition  # noqa: PLC0415

    decomposition = load_decomposition(file)
    database = Database.open()
    try:
        stored = store_decomposition(database, decomposition)
    finally:
        database.dispose()
    for line in stored.warnings:
        note(f"note: {line}")
    if json_output:
        print_json({"subtask_id": stored.subtask_id, "step_ids": stored.step_ids})
    else:
        say(f"subtask {stored.subtask_id}: stored steps {', '.join(map(str, stored.step_ids))}")


@schema.command("plan")
def schema_plan() -> None:
    """Print the JSON Schema of a feature plan."""
    from tasks.plan import plan_json_schema_text  # noqa: PLC0415

    sys.stdout.write(plan_json_schema_text())
