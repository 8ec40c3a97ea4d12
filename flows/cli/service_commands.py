"""Commands on the local services: up, down, doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.output import note, print_json, print_table, say

if TYPE_CHECKING:
    from flows.operation.up import Operation

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command("up")(up)
    app.command("down")(down)
    app.command("doctor")(doctor)


def up(
    *,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="The Prefect server's port, from now on.",
            show_default="one of this home's own",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Flow runs that the worker carries at the same time.",
            show_default="as many as CPUs, at least 2",
        ),
    ] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Start no worker: others serve the work pool.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Start services, worker and deployments; keep them running.

    What runs already is left as it is. What a person paused in Prefect's UI stays paused. What ends
    by itself is started again, until `greenline down`.
    """
    from flows.operation import up as operation  # noqa: PLC0415
    from storage.home import Home  # noqa: PLC0415

    done = operation.up(Home.current().ensure(), port=port, limit=limit, worker=not no_worker)
    if json_output:
        print_json(done.document())
    else:
        _show(done)


def _show(done: Operation) -> None:
    from flows.operation.deployments import local_time  # noqa: PLC0415

    worker = (
        f"{done.worker}, up to {done.limit} flow runs at the same time" if done.worker else "none"
    )
    say(f"Prefect:  {done.ui}\nworker:   {worker}")
    for name, address in done.others.items():
        say(f"{f'{name}:':9} {address}")
    say("")
    print_table(
        ("deployment", "runs", "next"),
        [
            (
                each.name,
                each.schedule or (f"on {each.trigger}" if each.trigger else "when asked to"),
                "paused"
                if each.paused
                else local_time(each.next_run, done.zone)
                if each.next_run
                else None,
            )
            for each in done.deployments
        ],
    )
    say("\nstop with: greenline down")
    if done.ended:
        note(f"{done.ended} flow runs whose process was gone are marked as ended")
    if done.unlike:
        note(
            f"the worker still has the earlier {', '.join(done.unlike)}; "
            "`greenline down` and `greenline up` give it the new"
        )


def down(*, json_output: Json = False) -> None:
    """Stop all services of this GREENLINE_HOME."""
    from flows.operation.services import WORKER, Services  # noqa: PLC0415
    from storage import detached  # noqa: PLC0415
    from storage.home import Home  # noqa: PLC0415

    home = Home.current()

    def end_users() -> list[str]:
        if not detached.recorded(home, WORKER):
            return []
        from flows.operation.up import end_worker  # noqa: PLC0415 - 0.3 s, and seldom needed

        return [WORKER] if end_worker(home) else []

    stopped = Services(home).down(end_users)
    if json_output:
        print_json({"stopped": stopped})
    else:
        say(f"stopped: {', '.join(stopped) or 'nothing was running'}")


def doctor(
    *,
    repo: Annotated[
        str | None, typer.Option(help="A repository to check too.", show_default="this folder's")
    ] = None,
    json_output: Json = False,
) -> None:
    """Check what a run needs, and say how to mend it.

    Starts the ledger and the Prefect server if they are not running, as a run would.

    Exit code: 0 all is well, 2 the repository or its settings are wrong, 4 a service or a program
    that Greenline needs is missing.
    """
    from flows.operation.doctor import examine, exit_code  # noqa: PLC0415

    findings = examine(repo)
    if json_output:
        print_json(
            [{"check": f.check, "ok": f.ok, "found": f.found, "mend": f.mend} for f in findings]
        )
    else:
        for finding in findings:
            say(f"{'ok' if finding.ok else 'failed':8}{finding.check}: {finding.found}")
            if finding.mend:
                say(f"{'':8}to mend it: {finding.mend}")
    raise typer.Exit(exit_code(findings))
