"""What `greenline doctor` checks of the services in operation: worker, deployments, clock, disk."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flows.operation.deployments import ZONE_VARIABLE, deployed, outdated, time_zone, wanted_version
from flows.operation.finding import Finding
from flows.operation.prefect_api import PrefectApi
from flows.operation.prefect_server import users_api_url
from flows.operation.worker import NAME, Worker, last_heartbeat, workers
from storage import usage
from storage.database import Database
from storage.exceptions import GreenlineError, InputError
from tasks.pushes.hooks import Place, status
from tasks.pushes.spool import waiting

if TYPE_CHECKING:
    from storage.home import Home

_LEAST_FREE: Final = 1_000_000_000  # bytes: a few sandboxes and what their tests leave
_SILENT_S: Final = 120.0  # four heartbeats of a worker
_CLOCK_S: Final = 5.0


def disk(home: Home) -> Finding:
    """Look at the room where sandboxes, clones and the ledger lie."""
    free = shutil.disk_usage(home.path).free
    found = f"{free / 1e9:.1f} GB are free at {home.path}"
    if free >= _LEAST_FREE:
        return Finding("disk", ok=True, found=found)
    mend = "make room, or set GREENLINE_HOME to a folder on another disk"
    return Finding("disk", ok=False, found=found, mend=mend)


def clock(database: Database) -> Finding:
    """Compare this machine's clock with the ledger's, which says when leases are over."""
    try:
        with database.get_connection() as connection:
            began = datetime.now(UTC)
            row = connection.execute("SELECT clock_timestamp() AS now").fetchone()
    except GreenlineError as error:
        return Finding("clock", ok=False, found=str(error))
    off = (row["now"] - began).total_seconds() if row else 0.0
    try:
        zone = time_zone()
    except InputError as error:
        mend = f"set {ZONE_VARIABLE} right, or unset it"
        return Finding("clock", False, str(error), mend, InputError.exit_code)
    found = (
        f"{abs(off):.0f} s {'behind' if off > 0 else 'ahead of'} the ledger's, schedules in {zone}"
    )
    if abs(off) <= _CLOCK_S:
        return Finding("clock", ok=True, found=f"as the ledger's, schedules in {zone}")
    return Finding("clock", ok=False, found=found, mend="let NTP set the clock of both machines")


def operation(home: Home, api_url: str) -> list[Finding]:
    """Look at worker and deployments; where `up` was not called there need be none."""
    ours = users_api_url(home) is None
    wanted = usage.pinned(home)
    try:
        with PrefectApi(api_url, local=ours) as api:
            return [_worker(home, api), *_deployments(home, api, wanted=wanted or not ours)]
    except GreenlineError as error:
        return [Finding("worker", ok=False, found=str(error), mend="see the Prefect server")]


def _worker(home: Home, api: PrefectApi) -> Finding:
    local = Worker(home)
    if local.running() is not None:
        heard = last_heartbeat(api, local.name)
        silent = (datetime.now(UTC) - heard).total_seconds() if heard else None
        if silent is None or silent > _SILENT_S:
            found = f"{local.name} runs, and the Prefect server has not heard of it lately"
            mend = f"see {local.log}; `greenline down` and `greenline up` start it anew"
            return Finding("worker", ok=False, found=found, mend=mend)
        found = f"{local.name}, up to {local.limit()} flow runs at the same time"
        return Finding("worker", ok=True, found=found)
    if NAME in usage.kept(home):
        mend = f"`greenline up` starts it; {local.log} may say why it ended"
        return Finding("worker", ok=False, found="not running", mend=mend)
    others = [each["name"] for each in workers(api) if each["status"] == "ONLINE"]
    told = f"others: {', '.join(others)}" if others else "none; `greenline up` starts one"
    return Finding("worker", ok=True, found=told)


def _deployments(home: Home, api: PrefectApi, *, wanted: bool) -> list[Finding]:
    found = deployed(api)
    if not found:
        told = "none; `greenline up` puts them there"
        return [Finding("deployments", ok=True, found=told)]
    there = {each.name for each in found}
    old = outdated(api, wanted_version(time_zone())) if wanted else []
    if missing := [name for name in old if name not in there]:
        told = f"not there: {', '.join(missing)}"
        findings = [Finding("deployments", ok=False, found=told, mend="`greenline up`")]
    elif old:  # no run needs them as they are here, and somebody may want them so
        told = f"put there by another version, by hand or for another zone: {', '.join(old)}"
        findings = [Finding("deployments", ok=True, found=told, mend="`greenline up`")]
    else:
        names = ", ".join(each.name for each in found)
        findings = [Finding("deployments", ok=True, found=names)]
    if paused := [each.name for each in found if each.paused]:
        told = f"{', '.join(paused)}: somebody paused them in Prefect's UI"
        findings.append(Finding("paused", ok=True, found=told))
    if left := len(waiting(home)):
        findings.append(Finding("pushes", ok=True, found=f"{left} wait to be told of"))
    return findings


def hooks(repo: Path, home: Home) -> Finding:
    """Look whether pushes to a repository are told of, and by hooks that are up to date."""
    try:
        found = [hook for hook in status(Place.of(repo), home) if hook.installed]
    except GreenlineError as error:
        return Finding("hooks", ok=True, found=str(error))
    if not found:
        told = "none; `greenline hooks install` has pushes start runs"
        return Finding("hooks", ok=True, found=told)
    if old := [hook.kind for hook in found if not hook.current]:
        told = f"{', '.join(old)} of an earlier Greenline, or of another GREENLINE_HOME"
        return Finding("hooks", ok=False, found=told, mend="`greenline hooks install`")
    return Finding("hooks", ok=True, found=", ".join(hook.kind for hook in found))
