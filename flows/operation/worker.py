"""The worker of a home: takes the flow runs of the deployments and starts a process for each."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from flows.operation.deployments import WORK_POOL, code_path
from flows.operation.prefect_server import API_VARIABLE, prefect_client_environment
from flows.operation.services import WORKER
from storage import detached
from storage.database import URL_VARIABLE
from storage.exceptions import ServiceError
from storage.home import ENVIRONMENT_VARIABLE
from storage.revival import program_of
from storage.supervision import bound_log, explained, locked, process_birth, tail
from tasks.metering.endpoint import KEYS

if TYPE_CHECKING:
    from flows.operation.prefect_api import PrefectApi
    from storage.home import Home

NAME: Final = WORKER
PASSED_VARIABLE: Final = "GREENLINE_WORKER_ENV"
"""Names of further variables that the worker's runs are to have, with spaces or commas."""
_START_TIMEOUT_S: Final = 120.0

# What runs need of the environment that `up` is called in, beside settings meant for them.
_PASSED: Final = frozenset({
    "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "SSH_AUTH_SOCK", "XDG_CONFIG_HOME",
})  # fmt: skip
_PASSED_BEGINNINGS: Final = ("LC_", "GIT_", "GREENLINE_", "PREFECT_")
_NOT_PASSED: Final = ("PREFECT__", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX", "GIT_PREFIX",
                      "GIT_OBJECT", "GIT_QUARANTINE", "GIT_PUSH_OPTION")  # fmt: skip
# What makes another worker of it when it is another one.
_DECISIVE: Final = (API_VARIABLE, URL_VARIABLE, ENVIRONMENT_VARIABLE)


class Worker:
    """The worker of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @property
    def log(self) -> Path:
        """The log of the worker and of the processes that it starts."""
        return self.home.logs / f"{NAME}.log"

    @property
    def name(self) -> str:
        """What the worker is called in Prefect's UI: the host, and which home of it."""
        host = re.sub(r"[^\w.-]", "-", socket.gethostname())
        return f"{host}-{crc32(str(self.home.path).encode()):08x}"

    def running(self) -> detached.Detached | None:
        """Return the worker's process, None if there is none."""
        return detached.running(self.home, NAME)

    def limit(self) -> int | None:
        """Return how many flow runs it carries at the same time; None if it does not run."""
        found = self.running()
        program = program_of(found.pid) if found else None
        if program is None or "--limit" not in program.command:
            return None
        return int(program.command[program.command.index("--limit") + 1])

    def start(self, api: PrefectApi, limit: int | None = None) -> bool:
        """Start the worker unless it runs so already; wait until the server has heard of it.

        One that serves another server, another ledger or with another limit is replaced; the runs
        that it carried are taken up again.

        Args:
            api: the server whose work pool it serves.
            limit: flow runs at the same time; None: as it runs, else as many as there are CPUs
                and at least two.

        Returns:
            Whether it was started.

        Raises:
            ServiceError: it does not come up; says why, with the end of its log.
        """
        with (
            explained("The worker cannot be started", self.home),
            locked(self.home, NAME, timeout_s=_START_TIMEOUT_S),
        ):
            wanted = limit or self.limit() or max(2, os.cpu_count() or 1)
            command, environment = self._command(wanted), self._environment(api)
            found = self.running()
            if found is not None:
                if self._serves(found, command, environment):
                    return False
                detached.end_process(found)
            self._start(api, command, environment)
            return True

    def unlike(self, api: PrefectApi) -> list[str]:
        """Return the variables that are another now than when the worker was started."""
        found = self.running()
        program = program_of(found.pid) if found else None
        if program is None:
            return []
        now, then = self._environment(api), program.environment
        changed = {name for name in now.keys() | then.keys() if now.get(name) != then.get(name)}
        meant = set(KEYS.values()) | set(_named_besides())
        return sorted(each for each in changed if each in meant or each.startswith("GREENLINE_"))

    def _serves(
        self, found: detached.Detached, command: list[str], environment: dict[str, str]
    ) -> bool:
        program = program_of(found.pid)
        if program is None:
            return False
        same = (program.environment.get(each) == environment.get(each) for each in _DECISIVE)
        return list(program.command) == command and all(same)

    def _start(self, api: PrefectApi, command: list[str], environment: dict[str, str]) -> None:
        log = self.home.folder(self.home.logs) / self.log.name
        bound_log(self.home, log)
        since = log.stat().st_size if log.exists() else 0
        began = datetime.now(UTC)
        found = detached.start(self.home, NAME, command, env=environment, log=log)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while process_birth(found.pid) == found.birth:
            heard = last_heartbeat(api, self.name)
            # The server may run on another machine, whose clock is not ours.
            if heard is not None and (not api.local or heard > began):
                return
            if time.monotonic() > deadline:
                detached.end_process(found)
                break
            time.sleep(0.1)
        said = tail(log, since=since).strip()
        raise ServiceError(f"The worker did not start. Its log ({log}) ends with:\n{said}")

    def _command(self, limit: int) -> list[str]:
        return [
            sys.executable, "-P", "-m", "prefect", "worker", "start", "--pool", WORK_POOL,
            "--type", "process", "--name", self.name, "--install-policy", "never",
            "--limit", str(limit),
        ]  # fmt: skip

    def _environment(self, api: PrefectApi) -> dict[str, str]:
        """Return the worker's whole environment, which is that of its flow runs as well."""
        besides = {*KEYS.values(), *_named_besides()}
        passed = {
            name: value
            for name, value in os.environ.items()
            if (name in _PASSED or name in besides or name.startswith(_PASSED_BEGINNINGS))
            and not name.startswith(_NOT_PASSED)
            and "WEBHOOK_SECRET" not in name  # the receiver's alone
        }
        # The programs of this very installation come first: `python` is ours.
        programs = [str(Path(sys.executable).parent), os.environ.get("PATH") or os.defpath]
        return {
            **passed,
            "PREFECT_WORKER_QUERY_SECONDS": os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "0.5"),
            **prefect_client_environment(api.url, self.home),
            # The server has what flow runs say; the log has what they say when they cannot start.
            "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
            "PREFECT_LOGGING_COLORS": "false",
            "PATH": os.pathsep.join(programs),
            "PYTHONPATH": os.pathsep.join(code_path()),
            ENVIRONMENT_VARIABLE: str(self.home.path),
            "TERM": "dumb",
            "NO_COLOR": "1",
        }


def _named_besides() -> list[str]:
    return re.split(r"[\s,]+", os.environ.get(PASSED_VARIABLE, "").strip())


def workers(api: PrefectApi) -> list[dict[str, Any]]:
    """Return the workers that the server knows: name, `status`, `last_heartbeat_time`.

    Raises:
        ServiceError: the server refuses or does not answer.
    """
    if api.get(f"/work_pools/{WORK_POOL}") is None:
        return []
    return list(api.all_of(f"/work_pools/{WORK_POOL}/workers/filter", {}))


def last_heartbeat(api: PrefectApi, name: str) -> datetime | None:
    """Return when the server last heard of a worker; None: never, or it counts as gone."""
    for each in workers(api):
        if each["name"] == name and each["status"] == "ONLINE":
            return datetime.fromisoformat(each["last_heartbeat_time"])
    return None
