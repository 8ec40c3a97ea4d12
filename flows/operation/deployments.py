"""The deployments of prefect.yaml on a Prefect server: put there, and looked at.

`prefect deploy` does it, which takes some seconds: only when they are not there as they should
be. What a person paused in Prefect's UI stays paused.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, available_timezones

from flows.operation.pauses import events_of, pause, paused_by_people, read_deployment, triggers_of
from flows.operation.prefect_server import prefect_client_environment
from storage.exceptions import InputError, ServiceError

if TYPE_CHECKING:
    from flows.operation.prefect_api import PrefectApi
    from storage.home import Home

WORK_POOL: Final = "greenline"
"""The work pool of the deployments in prefect.yaml."""
ZONE_VARIABLE: Final = "GREENLINE_TIMEZONE"
_VERSION_VARIABLE: Final = "GREENLINE_DEPLOYMENTS"
_RUNS_AHEAD: Final = 3
_DEPLOY_TIMEOUT_S: Final = 180.0


@dataclass(frozen=True)
class Deployed:
    """A deployment as it stands on the server.

    Attributes:
        name: `<flow>/<deployment>`.
        deployment_id: the server's id of it.
        schedule: when it runs by itself, for people; None: never.
        next_run: when it runs next by itself; None: it does not, or nobody knows yet.
        paused: whether a person paused it, its schedule or its trigger.
        trigger: what starts it besides schedules and people; None: nothing.
    """

    name: str
    deployment_id: str
    schedule: str | None
    next_run: datetime | None
    paused: bool
    trigger: str | None

    def document(self) -> dict[str, Any]:
        """Return it as other programs get it."""
        return {
            "name": self.name,
            "schedule": self.schedule,
            "next_run": self.next_run,
            "trigger": self.trigger,
            "paused": self.paused,
        }


def prefect_file() -> Path:
    """Return prefect.yaml: the repository's, or the one that the wheel brings."""
    here = Path(__file__).resolve().parents[1]
    shipped = here / "prefect.yaml"
    return shipped if shipped.is_file() else here.parent / "prefect.yaml"


@cache
def definitions() -> dict[str, dict[str, Any]]:
    """Return the deployments of prefect.yaml by their name on the server, `<flow>/<deployment>`."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - 50 ms

    document = YAML(typ="safe").load(prefect_file())
    return {f"{each['name']}/{each['name']}": each for each in document["deployments"]}


def time_zone() -> str:
    """Return the zone of the schedules: `GREENLINE_TIMEZONE`, else `TZ`, else the machine's.

    Raises:
        InputError: the variable names no zone.
    """
    named = os.environ.get(ZONE_VARIABLE, "").strip()
    if named:
        if named not in available_timezones():
            raise InputError(
                f"{ZONE_VARIABLE}={named!r} is no time zone. Give one such as Europe/Berlin or UTC."
            )
        return named
    import tzlocal  # noqa: PLC0415 - only to say when schedules run

    try:
        found = tzlocal.get_localzone_name()
    except (LookupError, ValueError, OSError):  # a machine or a TZ set up half
        return "UTC"
    return found if found in available_timezones() else "UTC"


def wanted_version(zone: str) -> str:
    """Return what the deployments' version is when they are up to date.

    It changes with prefect.yaml, the zone, the code of the flows and Greenline's version.
    """
    try:
        ours = version("greenline")
    except PackageNotFoundError:  # code that is not installed
        ours = "0"
    digest = hashlib.sha256(zone.encode())
    digest.update(prefect_file().read_bytes())
    for each in definitions().values():
        module = each["entrypoint"].rpartition(".")[0]
        found = importlib.util.find_spec(module)
        if found is not None and found.origin is not None:
            digest.update(Path(found.origin).read_bytes())
    return f"{ours}+{digest.hexdigest()[:12]}"


def ensure_work_pool(api: PrefectApi) -> None:
    """Make the work pool of the deployments, unless it is there.

    Raises:
        ServiceError: the server refuses it or does not answer.
    """
    if api.get(f"/work_pools/{WORK_POOL}") is None:
        api.post("/work_pools/", {"name": WORK_POOL, "type": "process"})


def outdated(api: PrefectApi, wanted: str) -> list[str]:
    """Return the names of the deployments that are not on the server as they should be.

    Args:
        api: the server.
        wanted: their version (:func:`wanted_version`).

    Raises:
        ServiceError: the server refuses or does not answer.
    """
    found = {name: read_deployment(api, name) for name in definitions()}
    return [name for name, each in found.items() if each is None or each["version"] != wanted]


def deploy(api: PrefectApi, home: Home, zone: str) -> list[str]:
    """Put the deployments on the server that are not there as they should be; return their names.

    Raises:
        ServiceError: the server refuses or does not answer.
    """
    wanted = wanted_version(zone)
    names = outdated(api, wanted)
    if not names:
        return []
    paused = [what for name in definitions() for what in paused_by_people(api, name)]
    _prefect_deploy(api, home, zone, wanted)
    for name, kind, key in paused:
        pause(api, name, kind, key)
    for name in definitions():
        if (row := read_deployment(api, name)) is not None and row["schedules"]:
            # The server would get round to it within a minute.
            api.post(f"/deployments/{row['id']}/schedule", {"min_runs": 1, "max_runs": _RUNS_AHEAD})
    return names


def _prefect_deploy(api: PrefectApi, home: Home, zone: str, wanted: str) -> None:
    command = [
        sys.executable, "-P", "-m", "prefect", "--no-prompt", "deploy", "--all",
        "--prefect-file", str(prefect_file()),
    ]  # fmt: skip
    environment = {
        **os.environ,
        **prefect_client_environment(api.url, home),
        "PYTHONPATH": os.pathsep.join(code_path()),
        ZONE_VARIABLE: zone,
        _VERSION_VARIABLE: wanted,
        "TERM": "dumb",
        "COLUMNS": "200",
    }
    try:
        done = subprocess.run(
            command, env=environment, cwd=home.folder(home.prefect), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=_DEPLOY_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"the deployments could not be put on {api.url} within {_DEPLOY_TIMEOUT_S:.0f} s"
        ) from error
    # It ends with 0 even where it skipped a deployment that it could not make.
    if missing := outdated(api, wanted):
        said = (done.stderr.strip() or done.stdout.strip())[-2_000:]
        raise ServiceError(f"{', '.join(missing)} could not be put on {api.url}:\n{said}")


def code_path() -> list[str]:
    """Return where a process of ours finds Greenline's code, whatever folder it works in."""
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return list(dict.fromkeys([str(Path(__file__).resolve().parents[2]), *given]))


def deployed(api: PrefectApi) -> list[Deployed]:
    """Return our deployments as they stand on the server, those of prefect.yaml in its order.

    Raises:
        ServiceError: the server refuses or does not answer.
    """
    rows = {name: row for name in definitions() if (row := read_deployment(api, name)) is not None}
    coming = _next_runs(api, [row["id"] for row in rows.values()])
    found = []
    for name, row in rows.items():
        triggers = triggers_of(api, row["id"])
        schedules = row["schedules"]
        paused = (
            row["paused"]
            or any(not each["active"] for each in schedules)
            or any(not each["enabled"] for each in triggers)
        )
        found.append(
            Deployed(
                name,
                row["id"],
                ", ".join(_described(each["schedule"]) for each in schedules) or None,
                coming.get(row["id"]),
                paused,
                ", ".join(events_of(each) for each in triggers) or None,
            )
        )
    return found


def run_now(api: PrefectApi, name: str) -> str:
    """Have a deployment run as soon as a worker takes it; return the flow run's id.

    Raises:
        ServiceError: there is no such deployment, or the server refuses or does not answer.
    """
    row = read_deployment(api, name)
    if row is None:
        raise ServiceError(f"there is no deployment {name} on {api.url}; `greenline up` makes it")
    made = api.post(f"/deployments/{row['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    return str(made["id"])


def _next_runs(api: PrefectApi, deployment_ids: list[str]) -> dict[str, datetime]:
    if not deployment_ids:
        return {}
    rows = api.post("/deployments/get_scheduled_flow_runs", {"deployment_ids": deployment_ids})
    found: dict[str, datetime] = {}
    for row in rows:
        if not row["auto_scheduled"]:
            continue
        moment = datetime.fromisoformat(row["expected_start_time"])
        known = found.get(row["deployment_id"])
        found[row["deployment_id"]] = moment if known is None else min(known, moment)
    return found


def _described(schedule: dict[str, Any]) -> str:
    zone = schedule.get("timezone") or "UTC"
    if "cron" in schedule:
        return f"{schedule['cron']} {zone}"
    if "interval" in schedule:
        return f"every {schedule['interval']:.0f} s"
    return f"{schedule.get('rrule', '')} {zone}"


def local_time(moment: datetime, zone: str) -> str:
    """Return a moment as people of a zone read it, `Mon 2026-11-23 06:00 CET`."""
    return moment.astimezone(ZoneInfo(zone)).strftime("%a %Y-%m-%d %H:%M %Z")
