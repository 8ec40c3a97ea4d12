"""Running a plan from the command line: check, prepare, start the services, carry, report."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import typer

from flows.cli.output import err, note, print_json, say
from flows.cli.views import print_steps
from flows.documents import run_document
from flows.services import Services
from storage.database import Database
from storage.home import Home
from tasks.prepare import Checked, check, discard, store


def run_plan(
    plan_path: Path,
    *,
    repo: Path,
    config: Path | None = None,
    agent: str | None = None,
    base: str | None = None,
) -> dict[str, Any]:
    """Run a plan and return its document; nothing is written before all input is checked.

    Raises:
        InputError: something given is wrong.
        ServiceError: PostgreSQL or the Prefect server does not come up.
    """
    checked = check(plan_path, repo=repo, config=config, agent=agent, base=base)
    for line in checked.notes:
        note(f"note: {line}")
    services = Services(Home.current().ensure())
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="services") as pool:
        # The services come up while the suite is observed: whichever takes longer decides.
        starting = pool.submit(_start, services)
        prepared = checked.observe()
        try:
            database = starting.result()
        except BaseException:
            discard(prepared)
            raise
    try:
        store(prepared, database)
        _carry(checked, prepared.run_id)
        with database.get_connection() as connection:
            return run_document(connection, prepared.run_id)
    finally:
        database.dispose()


def _start(services: Services) -> Database:
    """Start the services and import Prefect, which takes 1.5 s; return the ledger, migrated."""
    url, _ = services.start()
    database = Database(url)
    database.init_db()
    services.use_prefect()
    import fastapi.encoders  # noqa: F401, PLC0415 - Prefect imports it when the flow starts

    import flows.feature  # noqa: F401, PLC0415

    return database


def _carry(checked: Checked, run_id: str) -> None:
    from prefect.exceptions import TerminationSignal  # noqa: PLC0415

    from flows.feature import RunNotCompleted, feature  # noqa: PLC0415 - Prefect takes 2 s to import

    async def carried() -> None:
        call: Any = feature
        state = await call(
            plan=str(checked.plan_path),
            repo=str(checked.repository.path),
            agent=checked.agent,
            run_id=run_id,
            return_state=True,
        )
        found = await state.aresult(raise_on_failure=False)
        if isinstance(found, BaseException) and not isinstance(found, RunNotCompleted):
            raise found

    with shown_progress():
        try:
            # Prefect's 190,000 objects stay: looking through them again and again, at the end
            # of the process too, takes a few tenths of a second.
            gc.freeze()
            asyncio.run(carried())
        except TerminationSignal:
            raise KeyboardInterrupt from None


def run_demo() -> dict[str, Any]:
    """Run the sample plan on a fresh copy of the sample repository."""
    from flows.demo import DEMO_PLAN, build_demo_repository, demo_settings  # noqa: PLC0415

    home = Home.current().ensure()
    folder = home.demo / datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S.%f")
    repository = build_demo_repository(folder / "tally")
    config = demo_settings(folder / "greenline.toml")
    note(f"the sample repository is {repository}")
    return run_plan(DEMO_PLAN, repo=repository, config=config, agent="replay")


def finish(document: dict[str, Any], *, as_json: bool) -> NoReturn:
    """Print a run's document and end with the exit code that its status has."""
    completed = document["status"] == "completed"
    if as_json:
        print_json(document)
    else:
        print_steps(document["steps"])
        kept = "" if completed else ", kept in Greenline's clone and not published"
        say(
            f"run {document['run_id']} {document['status']}, branch {document['branch']} "
            f"at {(document['commit'] or '')[:10]}{kept}"
        )
    raise typer.Exit(0 if completed else 1)


@contextmanager
def shown_progress() -> Iterator[None]:
    """Show what the pipeline logs: live in a terminal, plain lines when piped."""
    import logging  # noqa: PLC0415

    from rich.logging import RichHandler  # noqa: PLC0415

    console = err()
    handler: logging.Handler
    if sys.stderr.isatty():
        handler = RichHandler(
            console=console, show_path=False, show_level=False, markup=False, highlighter=None,
            log_time_format="%H:%M:%S",
        )  # fmt: skip
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.setLevel(logging.INFO)
    loggers = [logging.getLogger(name) for name in ("flows", "tasks")]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.INFO)
    try:
        if sys.stderr.isatty():
            with console.status("running"):
                yield
        else:
            yield
    finally:
        for each in loggers:
            each.removeHandler(handler)
