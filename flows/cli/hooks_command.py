"""Commands on pushes: hooks install, hooks uninstall, hooks status, webhooks serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.output import note, print_json, print_table, say
from flows.cli.run_commands import Json

if TYPE_CHECKING:
    from tasks.pushes.hooks import Hook, Place

Repo = Annotated[
    Path | None, typer.Option("--repo", help="The repository.", show_default="this folder's")
]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        help="Which hook; can be given several times.",
        show_default="post-receive in a bare repository, else post-commit and pre-push",
    ),
]

commands = typer.Typer(help="Have git tell Greenline of pushes and commits.", no_args_is_help=True)
webhooks = typer.Typer(help="Have GitHub or GitLab tell Greenline of pushes.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(commands, name="hooks")
    app.add_typer(webhooks, name="webhooks")


@commands.command("install")
def install(*, repo: Repo = None, kind: Kinds = None, json_output: Json = False) -> None:
    """Put hooks in place that tell of pushes, so that plans run.

    A bare repository gets post-receive, a checkout post-commit and pre-push. Hooks that are there
    are kept and run first. Git never waits for Greenline and never fails because of it.
    """
    from storage.home import Home  # noqa: PLC0415
    from tasks.pushes import hooks as git_hooks  # noqa: PLC0415

    place = git_hooks.Place.of(repo or Path())
    found = git_hooks.install(place, Home.current().ensure(), kind or ())
    _show(place, [hook for hook in found if hook.installed], as_json=json_output)
    for hook in found:
        if hook.installed and hook.kept:
            note(f"note: your own {hook.kind} is kept as {hook.kept.name} and run first")


@commands.command("uninstall")
def uninstall(*, repo: Repo = None, kind: Kinds = None, json_output: Json = False) -> None:
    """Take the hooks away and put back what was there before."""
    from storage.home import Home  # noqa: PLC0415
    from tasks.pushes import hooks as git_hooks  # noqa: PLC0415

    place = git_hooks.Place.of(repo or Path())
    _show(place, git_hooks.uninstall(place, Home.current(), kind or ()), as_json=json_output)


@commands.command("status")
def status(*, repo: Repo = None, json_output: Json = False) -> None:
    """Say which hooks are in place, and how many pushes wait."""
    from storage.home import Home  # noqa: PLC0415
    from tasks.pushes import hooks as git_hooks  # noqa: PLC0415
    from tasks.pushes.spool import waiting  # noqa: PLC0415

    home = Home.current()
    place = git_hooks.Place.of(repo or Path())
    _show(place, git_hooks.status(place, home), as_json=json_output, waiting=len(waiting(home)))


def _show(place: Place, found: list[Hook], *, as_json: bool, waiting: int | None = None) -> None:
    if as_json:
        document: dict[str, Any] = {
            "repository": place.path,
            "hooks": [
                {
                    "kind": hook.kind,
                    "path": hook.path,
                    "installed": hook.installed,
                    "current": hook.current,
                    "kept": hook.kept,
                }
                for hook in found
            ],
        }
        print_json(document if waiting is None else document | {"waiting": waiting})
        return
    print_table(("hook", "state", "path"), [(hook.kind, _state(hook), hook.path) for hook in found])
    if waiting:
        say(f"{waiting} pushes wait for the Prefect server; `greenline up` has them dealt with")


def _state(hook: Hook) -> str:
    if not hook.installed:
        return "not installed"
    return "installed" if hook.current else "of another home or version; install it again"


@webhooks.command("serve")
def serve(
    *,
    host: Annotated[
        str | None,
        typer.Option(
            help="The address to listen on.", show_default="GREENLINE_WEBHOOK_HOST, or 127.0.0.1"
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="The port.", min=1, max=65535, show_default="GREENLINE_WEBHOOK_PORT, or 8711"
        ),
    ] = None,
) -> None:
    """Take webhooks of GitHub and GitLab until stopped.

    `greenline up` does so in the background, where there is a secret.

    The secret is in GREENLINE_WEBHOOK_SECRET, or in the file that GREENLINE_WEBHOOK_SECRET_FILE
    names; the repositories are in webhooks.toml in GREENLINE_HOME.
    """
    from flows.webhooks import service as webhook_service  # noqa: PLC0415
    from storage.home import Home  # noqa: PLC0415

    where, at = host or webhook_service.host_of(), port or webhook_service.port_of()
    note(f"listening on http://{where}:{at}; stop with Ctrl-C")
    webhook_service.serve(Home.current().ensure(), where, at)
