"""The local Prefect server of a home, and the environment of its clients.

Prefect is not imported here: the server is a process of its own, and a client's environment has
to stand before Prefect is imported. (That takes 2 s, which commands that only read don't spend.)
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from storage import detached
from storage.exceptions import InputError, ServiceError
from storage.supervision import (
    LOOPBACK,
    bound_log,
    explained,
    free_port,
    locked,
    process_birth,
    tail,
    write_private,
)
from storage.usage import use_services

if TYPE_CHECKING:
    from storage.home import Home

NAME = "prefect"
API_VARIABLE = "PREFECT_API_URL"
_START_TIMEOUT_S = 120.0  # its first start migrates an empty database: 4 s here
_ANSWER_TIMEOUT_S = 5.0
_PORT_TRIES = 5
_OWN_PORTS = range(20_000, 30_000)

# Said to server and clients alike.
_COMMON = {
    # An ephemeral server costs 12 s in every process that forgets to name a server.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
_SERVER = {
    **_COMMON,
    # Recording task runs in batches takes 10 ms of the server's time a run instead of 24.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # The second user interface asks a host on the internet for its settings at every page, whatever
    # it is told of analytics; the first asks nobody. People can switch.
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_LOGGING_COLORS": "false",
    # The many route models are there once instead of twice.
    "PREFECT__SERVER_FINAL": "1",
}
_CLIENT = {
    **_COMMON,
    # Standard loggers of ours reach the UI; INFO is the root's to let through.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks",
    "PREFECT_LOGGING_ROOT_LEVEL": "INFO",
    # The commands print what their users are to see; Prefect prints nothing beside it.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_DEBUG_LEVEL": "CRITICAL",
    # Our loggers are used outside of flows, too.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}
# What the server may know of our environment, beside settings meant for it.
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_SERVER_SETTINGS = "PREFECT_SERVER_"


class PrefectServer:
    """The Prefect server of one home; any number of processes and threads share it."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.home.logs / "prefect.log"

    def start(self, port: int | None = None) -> str:
        """Start the server unless it runs; return its API's URL once it answers.

        This process counts as a user of the home's services until it ends.

        Args:
            port: the TCP port to listen on, from now on; None: the home's own, so that bookmarks
                last, or any other while that is taken.

        Raises:
            InputError: the home cannot be used, or the server runs on another port than asked for.
            ServiceError: the server does not come up; says why, with the end of its log.
        """
        with explained("The Prefect server cannot be started", self.home):
            use_services(self.home)
            url = self.url()
            if url is None:
                with locked(self.home, NAME, timeout_s=_START_TIMEOUT_S):
                    # Somebody else may have started it meanwhile.
                    url = self.url() or self._start(port)
        if port is not None and url != _api_url(port):
            raise InputError(
                f"the Prefect server of {self.home.path} runs already, at {url}, and not on port "
                f"{port}; `greenline down` stops it"
            )
        return url

    def stop(self) -> bool:
        """Stop the server and all processes of its own; False if it was not running.

        Raises:
            ServiceError: it does not end even when killed.
        """
        return detached.stop(self.home, NAME)

    def url(self) -> str | None:
        """Return the API's URL if this home's server answers there now, else None."""
        found = detached.running(self.home, NAME)
        return _api_url(found.port) if found is not None and _is_healthy(found.port) else None

    @property
    def port(self) -> int:
        """The port that this home's server is to have: the one asked for last, else one of its own.

        It lies below those that systems hand out by themselves.
        """
        try:
            return int(self._port_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return _OWN_PORTS[crc32(str(self.home.path).encode()) % len(_OWN_PORTS)]

    @property
    def _port_file(self) -> Path:
        return self.home.services / "prefect.port"

    def _start(self, asked: int | None) -> str:
        """Start it; the caller holds the lock and has seen that it does not answer."""
        found = detached.running(self.home, NAME)
        if found is not None:  # hung, or started by somebody who was killed while waiting for it
            if self._answers_in_time(found):
                return _api_url(found.port)
            detached.end_process(found)
        self.home.folder(self.home.prefect)
        log = self.home.folder(self.home.logs) / self.log.name
        bound_log(self.home, log)
        for attempt in range(_PORT_TRIES):
            since = log.stat().st_size if log.exists() else 0
            port = free_port(asked or self.port if attempt == 0 else None)
            if asked is not None and port != asked:
                raise ServiceError(
                    f"Port {asked} of {LOOPBACK} is taken by another program, or may not be used. "
                    "Give another --port, or leave it out."
                )
            found = detached.start(
                self.home, NAME, _command(port), env=self._environment(port), log=log, port=port
            )
            if self._answers_in_time(found):
                if asked is not None:
                    write_private(self.home, self._port_file, f"{asked}\n")
                return _api_url(port)
            said = tail(log, since=since)
            if process_birth(found.pid) == found.birth:
                detached.end_process(found)
                raise ServiceError(
                    f"The Prefect server did not answer within {_START_TIMEOUT_S:.0f} s. Its log "
                    f"({log}) ends with:\n{said.strip()}"
                )
            if asked is not None or "address already in use" not in said.lower():
                break
        raise ServiceError(
            f"The Prefect server did not start. Its log ({log}) ends with:\n{said.strip()}"
        )

    def _answers_in_time(self, found: detached.Detached) -> bool:
        """Wait until it answers; False if it ends before that or takes too long."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while process_birth(found.pid) == found.birth and time.monotonic() < deadline:
            if _is_healthy(found.port):
                return True
            time.sleep(0.05)
        return False

    def _environment(self, port: int) -> dict[str, str]:
        """Return the server's whole environment: nothing of Greenline's, no key of the user's."""
        passed = {name: value for name, value in os.environ.items() if name in _PASSED}
        settings = {
            name: value for name, value in os.environ.items() if name.startswith(_SERVER_SETTINGS)
        }
        return {
            **passed,
            **settings,
            **_SERVER,
            "PREFECT_HOME": str(self.home.prefect),
            "PREFECT_SERVER_API_HOST": LOOPBACK,
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_UI_API_URL": _api_url(port),
            # By default it writes these below the installed package, shared by all servers.
            "PREFECT_UI_STATIC_DIRECTORY": str(self.home.prefect / "ui"),
        }


def prefect_client_environment(api_url: str, home: Home) -> dict[str, str]:
    """Return what must stand in `os.environ` before Prefect is imported to use a server.

    Prefect then writes nothing to standard output or error, and what the loggers `flows` and
    `tasks` say in a flow run reaches Prefect's UI.

    Args:
        api_url: the server's API, `http://…/api`.
        home: the home whose `prefect` folder holds the client's results; a server of the user's
            own (:func:`users_api_url`) keeps their `PREFECT_HOME`, where their profile is.
    """
    environment = {**_CLIENT, API_VARIABLE: api_url}
    if users_api_url(home) is None:
        environment["PREFECT_HOME"] = str(home.prefect)
        environment["PREFECT_API_SSL_CERT_FILE"] = str(_one_certificate(home))
        environment["PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED"] = "false"  # it is our own
        # A proxy for the outer world has no way to our loopback interface.
        for name in ("NO_PROXY", "no_proxy"):
            hosts = [host for host in os.environ.get(name, "").split(",") if host]
            environment[name] = ",".join(dict.fromkeys([*hosts, LOOPBACK, "localhost"]))
    return environment


def _one_certificate(home: Home) -> Path:
    """Return a file with one certificate of the usual authorities.

    Prefect reads its certificates anew for each of its many clients, 16 ms each time, though
    nobody speaks TLS on the loopback interface. None at all is an error.
    """
    import certifi  # noqa: PLC0415 - only to run something

    target = home.folder(home.prefect) / "one-certificate.pem"
    if not target.is_file():
        everyone = Path(certifi.where()).read_text("utf-8")
        first, end, _ = everyone.partition("-----END CERTIFICATE-----\n")
        write_private(home, target, first + end)
    return target


def users_api_url(home: Home) -> str | None:
    """Return `PREFECT_API_URL` if it names a server of the user's own, else None.

    Our own processes carry the variable as well, naming the home's server.
    """
    named = os.environ.get(API_VARIABLE, "")
    if not named:
        return None
    same_home = os.environ.get("PREFECT_HOME") == str(home.prefect)
    return None if same_home and named.startswith(f"http://{LOOPBACK}:") else named


def _command(port: int) -> list[str]:
    """Return the server's command line: what `prefect server start` runs."""
    return [
        sys.executable,
        "-P",
        "-m",
        "uvicorn",
        "--factory",
        "prefect.server.api.server:create_app",
        f"--host={LOOPBACK}",
        f"--port={port}",
        "--log-level=warning",
        "--no-access-log",
        "--timeout-graceful-shutdown=3",  # open pages of the UI don't hold it up
    ]


def _api_url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}/api"


def _is_healthy(port: int) -> bool:
    # http.client asks directly: proxies in the environment are not for loopback.
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", "/api/health")
        answer = connection.getresponse()
        return answer.status == http.client.OK and answer.read(16).strip() == b"true"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
