"""The webhook receiver as a service: served in the foreground, or detached by `greenline up`.

It listens on the loopback interface unless told otherwise: TLS, and the outer world, are a reverse
proxy's business.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from storage import detached
from storage.exceptions import InputError, ServiceError
from storage.home import ENVIRONMENT_VARIABLE
from storage.supervision import LOOPBACK, bound_log, explained, locked, process_birth, tail
from tasks.pushes.emit import API_VARIABLE, logged
from tasks.pushes.signatures import FORGES, read_secrets, variables

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from storage.home import Home

logger = logging.getLogger("tasks.pushes.webhooks")

NAME: Final = "webhooks"
LOG: Final = "webhooks.log"
"""What was taken and what was refused."""
PORT_VARIABLE: Final = "GREENLINE_WEBHOOK_PORT"
HOST_VARIABLE: Final = "GREENLINE_WEBHOOK_HOST"
DEFAULT_PORT: Final = 8711

_HEAD_TIMEOUT_S: Final = 10.0
_MOST_REQUESTS: Final = 32  # at the same time: their bodies are in memory
_START_TIMEOUT_S: Final = 30.0
_PASSED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PREFECT: Final = (API_VARIABLE, "PREFECT_HOME", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")


def configured() -> bool:
    """Say whether the environment has a secret, so that `greenline up` starts the receiver."""
    return any(
        os.environ.get(f"{name}{end}")
        for forge in FORGES
        for name in variables(forge)
        for end in ("", "_FILE")
    )


def host_of() -> str:
    """Return the address that `GREENLINE_WEBHOOK_HOST` names, or the loopback interface's."""
    return os.environ.get(HOST_VARIABLE, "").strip() or LOOPBACK


def port_of() -> int:
    """Return the port that `GREENLINE_WEBHOOK_PORT` names, or 8711.

    Raises:
        InputError: it is no port.
    """
    given = os.environ.get(PORT_VARIABLE, "").strip()
    if not given:
        return DEFAULT_PORT
    if not given.isdecimal() or not 0 < int(given) < 65_536:
        raise InputError(f"{PORT_VARIABLE}={given!r} is no port; give a number from 1 to 65535")
    return int(given)


def start(home: Home) -> detached.Detached:
    """Start the receiver detached, unless it runs; return it once it answers.

    Raises:
        InputError: there is no secret, or it, the port or `webhooks.toml` is wrong.
        ServiceError: it does not start; says why, with the end of its log.
    """
    from flows.webhooks.receiver import Receiver  # noqa: PLC0415

    Receiver.of(home, read_secrets())  # what is wrong is told here, not in a log
    host, port = host_of(), port_of()
    with (
        explained("The webhook receiver cannot be started", home),
        locked(home, NAME, timeout_s=_START_TIMEOUT_S),
    ):
        found = detached.running(home, NAME)
        if found is not None and found.port == port and _answers(host, port):
            return found
        if found is not None:
            detached.end_process(found)
        log = home.folder(home.logs) / "webhook-server.log"
        bound_log(home, log)
        since = log.stat().st_size if log.exists() else 0
        command = [
            sys.executable, "-P", "-m", "flows.cli", "webhooks", "serve",
            "--host", host, "--port", str(port),
        ]  # fmt: skip
        found = detached.start(home, NAME, command, env=environment(home), log=log, port=port)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while process_birth(found.pid) == found.birth and time.monotonic() < deadline:
            if _answers(host, port):
                return found
            time.sleep(0.05)
        detached.end_process(found)
        raise ServiceError(
            f"The webhook receiver did not start on {host}:{port} ({PORT_VARIABLE} names another "
            f"port). Its log ({log}) ends with:\n{tail(log, since=since).strip()}"
        )


def environment(home: Home) -> dict[str, str]:
    """Return the receiver's whole environment: the secrets, and where Prefect is."""
    secrets = (
        f"{name}{end}" for forge in FORGES for name in variables(forge) for end in ("", "_FILE")
    )
    wanted = {*_PASSED, *_PREFECT, *secrets}
    passed = {name: value for name, value in os.environ.items() if name in wanted}
    code = str(Path(__file__).resolve().parents[2])
    return {**passed, ENVIRONMENT_VARIABLE: str(home.path), "PYTHONPATH": code}


def address(found: detached.Detached) -> str:
    """Return where the receiver is, for people."""
    return f"http://{host_of()}:{found.port}"


def serve(home: Home, host: str, port: int) -> None:
    """Take webhooks until the process is told to stop.

    Raises:
        InputError: there is no secret, or it or `webhooks.toml` is wrong.
        ServiceError: the port is taken, or no port of this machine.
    """
    from flows.webhooks.receiver import Receiver  # noqa: PLC0415

    receiver = Receiver.of(home, read_secrets())
    with logged(home, LOG):
        logger.info("listening on %s:%d for %s", host, port, receiver.secrets)
        _run(receiver.app(), host, port)


def _run(app: Starlette, host: str, port: int) -> None:
    import uvicorn  # noqa: PLC0415

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_patient_protocol(),
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_REQUESTS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        proxy_headers=False,
    )
    try:
        listening = config.bind_socket()
    except SystemExit as error:
        raise ServiceError(
            f"{host}:{port} cannot be listened on: it is taken, or no address of this machine; "
            "give another --port or --host"
        ) from error
    with listening, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def _patient_protocol() -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP, but for who connects and does not say what they want in time."""
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415

    class Protocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.loop.call_later(_HEAD_TIMEOUT_S, self._close_if_silent)

        def _close_if_silent(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    return Protocol


def _answers(host: str, port: int) -> bool:
    where = LOOPBACK if host in ("0.0.0.0", "::") else host  # noqa: S104 - asked, not listened on
    connection = http.client.HTTPConnection(where, port, timeout=5.0)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().read(64) == b'{"ok":true}'
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
