"""Commands on the local services: up, down, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.output import print_json, say

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command("up")(up)
    app.command("down")(down)
    app.command("doctor")(doctor)


def up(*, json_output: Json = False) -> None:
    """Start the local services and keep them running."""
    from flows.services import Services  # noqa: PLC0415
    from storage.database import Database  # noqa: PLC0415
    from storage.home import Home  # noqa: PLC0415

    postgres, prefect = Services(Home.current().ensure()).up()
    Database(postgres).init_db()
    ui = prefect.removesuffix("/api")
    if json_output:
        print_json({"prefect_api_url": prefect, "ui": ui, "home": str(Home.current().path)})
    else:
        say(f"Prefect: {ui}\nledger:  greenline ledger url\nstop with: greenline down")


def down(*, json_output: Json = False) -> None:
    """Stop all services of this GREENLINE_HOME."""
    from flows.services import Services  # noqa: PLC0415
    from storage.home import Home  # noqa: PLC0415

    stopped = Services(Home.current()).down()
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

    Exit code: 0 all is well, 2 the repository or its settings are wrong, 4 a service or a program
    that Greenline needs is missing.
    """
    from flows.doctor import examine, exit_code  # noqa: PLC0415

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
