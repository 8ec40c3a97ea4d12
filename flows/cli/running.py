"""Running a plan from the command line: check, prepare, start the services, carry, report."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from flows.cli.output import err, note, print_json, say
from flows.cli.views import print_steps
from flows.documents import run_document, run_meant
from flows.operation.services import Services
from storage.database import Database
from storage.exceptions import GreenlineError, ServiceError
from storage.home import Home
from storage.lease import LeaseLost, RunCarried
from tasks.going_on import Source
from tasks.leftovers import sweep
from tasks.prepare import check, discard, store
from tasks.process import Interrupted
from tasks.recovery import ENDED, abandon
from tasks.rollback import finish_pending_rollbacks
from tasks.run import RunOptions

if TYPE_CHECKING:
    from analytics.metrics import MetricValue

INTERRUPTED = 130
"""The exit code of a command that was told to stop, as a shell gives it."""
WAITS = 3
"""The exit code of a run that waits for a person."""


def run_plan(
    plan_path: Path | None,
    *,
    repo: Path | None = None,
    config: Path | None = None,
    agent: str | None = None,
    base: str | None = None,
    options: RunOptions | None = None,
    from_run: str | None = None,
) -> dict[str, Any]:
    """Run a plan and return its document; nothing is written before all input is checked.

    Args:
        plan_path: the feature plan; None: the one of `from_run`.
        repo: the target repository, here by default.
        config: settings to use instead of the repository's own.
        agent: an agent to play every role.
        base: the commit to start from, HEAD by default.
        options: how the run goes about its work.
        from_run: a run that has ended, whose branch this one goes on from.

    Raises:
        InputError: something given is wrong.
        ServiceError: PostgreSQL or the Prefect server does not come up.
        RunCutOff: the run was cut off; it can be resumed.
    """
    source = _source(from_run) if from_run is not None else None
    checked = check(
        plan_path, repo=repo, config=config, agent=agent, base=base, options=options, source=source
    )
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
        return _carried(database, str(checked.plan_path), checked.repository.path, prepared.run_id)
    finally:
        database.dispose()


def resume_run(run: str) -> dict[str, Any]:
    """Take a run up that was cut off, or waits; return its document.

    Args:
        run: the run's id, or the beginning of it. One that has ended is not touched.

    Raises:
        InputError: there is no such run, or somebody carries it.
        ServiceError: PostgreSQL or the Prefect server does not come up.
        RunCutOff: it was cut off again.
    """
    database = Database.open()
    try:
        with database.get_connection() as connection:
            row = run_meant(connection, run)
            if row["status"] in ENDED:
                sweep(database)
                return run_document(connection, row["run_id"])
        services = Services(Home.current().ensure())
        services.start()
        services.use_prefect()
        _import_flows()
        known = row["metadata_json"] or {}
        return _carried(
            database, known["plan_path"], Path(known["repo_path"]), row["run_id"], taken_up=True
        )
    finally:
        database.dispose()


def abandon_run(run: str, reason: str) -> dict[str, Any]:
    """Give a run up, whoever carries it; return its document.

    Raises:
        InputError: there is no such run, or it has ended.
        ServiceError: PostgreSQL does not come up.
    """
    database = Database.open()
    try:
        with database.get_connection() as connection:
            row = run_meant(connection, run)
        carrier = abandon(database, row["run_id"], reason)
        if carrier:
            note(f"it was carried by {carrier}, which stops within seconds")
        with database.get_connection() as connection:
            return run_document(connection, row["run_id"])
    finally:
        database.dispose()


def _source(run: str) -> Source:
    database = Database.open()
    try:
        with database.get_connection() as connection:
            row = run_meant(connection, run)
        finish_pending_rollbacks(database, row["run_id"])
        return Source.find(database, row["run_id"])
    finally:
        database.dispose()


class RunCutOff(GreenlineError):  # noqa: N818 - it names what happened
    """Something cut a run off; it can be taken up where it stood."""

    def __init__(self, run_id: str, cause: BaseException) -> None:
        interrupted = isinstance(cause, KeyboardInterrupt | Interrupted)
        told = "interrupted" if interrupted else str(cause).strip() or type(cause).__name__
        super().__init__(
            f"{told}\nrun {run_id} was cut off; nothing is lost: `greenline resume {run_id}` "
            "goes on where it stood"
        )
        if interrupted:
            self.exit_code = INTERRUPTED
        elif _is_connection_error(cause):
            self.exit_code = ServiceError.exit_code
        elif isinstance(cause, GreenlineError):
            self.exit_code = cause.exit_code


def _carried(
    database: Database, plan_path: str, repo: Path, run_id: str, *, taken_up: bool = False
) -> dict[str, Any]:
    """Carry a stored run and return its document.

    Raises:
        RunCutOff: something that is not ours to mend cut it off.
    """
    try:
        _carry(plan_path, repo, run_id, taken_up=taken_up)
    except (RunCarried, LeaseLost):
        raise
    except (GreenlineError, OSError) as error:
        raise RunCutOff(run_id, error) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or _is_connection_error(error):
            raise RunCutOff(run_id, error) from error
        note(f"greenline: run {run_id} was cut off; `greenline resume {run_id}` goes on")
        raise
    with database.get_connection() as connection:
        return run_document(connection, run_id)


def _start(services: Services) -> Database:
    """Start the services and import Prefect, which takes 1.5 s; return the ledger, migrated."""
    url, _ = services.start()
    database = Database(url)
    database.init_db()
    services.use_prefect()
    _import_flows()
    return database


def _import_flows() -> None:
    import fastapi.encoders  # noqa: F401, PLC0415 - Prefect imports it when the flow starts

    import flows.feature  # noqa: F401, PLC0415 - Prefect takes 2 s to import


def _carry(plan_path: str, repo: Path, run_id: str, *, taken_up: bool) -> None:
    from prefect.exceptions import TerminationSignal  # noqa: PLC0415

    from flows.feature import RunNotCompleted, carried_on  # noqa: PLC0415

    async def carried() -> None:
        state = await carried_on(plan=plan_path, repo=str(repo), run_id=run_id, taken_up=taken_up)
        if state.is_paused():  # it waits for a person
            return
        found = await state.aresult(raise_on_failure=False)
        if isinstance(found, BaseException) and not isinstance(found, RunNotCompleted):
            raise found

    with shown_progress():
        try:
            # Prefect's 190,000 objects stay: looking through them again and again, at the end
            # of the process too, takes a few tenths of a second.
            gc.freeze()
            gc.enable()
            asyncio.run(carried())
        except TerminationSignal:
            raise KeyboardInterrupt from None


def _is_connection_error(error: BaseException) -> bool:
    """Say whether the Prefect server went away."""
    import httpx  # noqa: PLC0415 - Prefect has imported it

    return isinstance(error, httpx.TransportError)


def run_demo() -> dict[str, Any]:
    """Run the sample plan on a fresh copy of the sample repository."""
    from flows.demo import DEMO_PLAN, build_demo_repository, demo_settings  # noqa: PLC0415

    home = Home.current().ensure()
    folder = home.demo / datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S.%f")
    repository = build_demo_repository(folder / "tally")
    config = demo_settings(folder / "greenline.toml")
    note(f"the sample repository is {repository}")
    return run_plan(DEMO_PLAN, repo=repository, config=config, agent="replay")


def finish(document: dict[str, Any], *, as_json: bool, with_figures: bool = False) -> NoReturn:
    """Print a run's document and end with the exit code that its status has.

    0: it is completed. 3: it waits for a person. 1: anything else.

    Args:
        document: the run's.
        as_json: as JSON.
        with_figures: with the metrics and the week's report after it.
    """
    figures = _figures() if with_figures else None
    if as_json:
        print_json(document | (figures.document() if figures else {}))
    else:
        print_steps(document["steps"])
        kept = (
            ""
            if document["status"] == "completed"
            else ", kept in Greenline's clone and not published"
        )
        say(
            f"run {document['run_id']} {document['status']}, branch {document['branch']} "
            f"at {(document['commit'] or '')[:10]}{kept}"
        )
        if (cta := document["pending_cta"]) is not None:
            say(f"it waits for a person: {cta['message']}")
            note(f"`greenline inbox` shows what can be answered ({cta['id']})")
        if figures:
            figures.show()
    raise typer.Exit(exit_code(document))


@dataclass(frozen=True)
class _Figures:
    """The metrics of this home and where the week's report is."""

    values: list[MetricValue]
    report: Path

    def document(self) -> dict[str, Any]:
        return {
            "metrics": [value.document() for value in self.values],
            "report": str(self.report),
        }

    def show(self) -> None:
        from flows.cli.metrics_command import print_metrics  # noqa: PLC0415

        say("")
        print_metrics([value for value in self.values if value.value is not None])
        say("")
        say(f"the report of this week: {self.report}")


def _figures() -> _Figures:
    from analytics.lake import week_of  # noqa: PLC0415 - DuckDB takes its time
    from analytics.metrics import compute  # noqa: PLC0415
    from flows.exports import opened_exports  # noqa: PLC0415
    from flows.reports import make_report  # noqa: PLC0415

    with opened_exports(None, None) as (connection, project):
        values = compute(connection, project=project)
    made = make_report(week_of(datetime.now(UTC)))
    return _Figures(values, made.html)


def exit_code(document: dict[str, Any]) -> int:
    """Return the exit code that a run's document stands for."""
    if document["pending_cta"] is not None:
        return WAITS
    return 0 if document["status"] == "completed" else 1


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
