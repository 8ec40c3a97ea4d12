"""Processes of the command line that find loaded what nothing around them makes different.

Loading libraries is most of what a `greenline` process costs, and the tests start hundreds. So one
Python loads them once, and forks for each command. The fork then does what `python -m flows.cli`
does: the commands, the flows and Prefect, which reads the environment when it is imported, are
imported anew, in that command's environment, folder and streams. It is a process like any other:
it is signalled, ends, and is waited for as one.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

#: Large ones that read nothing of the environment when they are imported, and start no thread.
LIBRARIES = (
    "anyio", "asyncio", "cachetools", "concurrent.futures.thread", "coolname", "dateutil.tz",
    "defusedxml.ElementTree", "dotenv", "fastapi.encoders", "fsspec", "graphviz", "griffe", "h11",
    "h2.connection", "http.client", "httpcore", "httpx", "humanize", "importlib.metadata", "jinja2",
    "jsonschema", "multiprocessing.connection", "opentelemetry.propagate", "pathspec", "pendulum",
    "prometheus_client", "psutil", "psycopg.types.json", "pydantic.type_adapter", "pydantic.v1",
    "pydantic_extra_types.pendulum_dt", "pydantic_settings", "ruamel.yaml", "slugify",
    "sqlalchemy.dialects.postgresql", "sqlalchemy.orm", "ssl", "starlette.requests", "toml",
    "unittest.mock", "websockets.asyncio.client", "yaml",
)  # fmt: skip
#: Greenline's own below the flows, which are imported without Prefect and alike everywhere.
OWN = (
    "storage.database", "storage.embedded", "storage.ledger", "tasks.going_on", "tasks.phases",
    "tasks.prepare", "tasks.recovery", "tasks.rollback", "tasks.run_store", "tasks.workstream",
)  # fmt: skip
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_")
"""How the names of variables begin that Python reads before the first line of a program."""
_ORDER_BYTES = 200_000
_THREE = 3  # descriptors go with an order: who is to be told, standard output, standard error


def suits(env):
    """Say whether a fork is in this environment what a new Python would be, and can be had."""
    names = {name for name in {*env, *os.environ} if name.startswith(_READ_AT_START)}
    return hasattr(os, "pidfd_open") and all(
        env.get(name) == os.environ.get(name) for name in names
    )


def run(arguments, *, cwd, env, timeout):
    """Do what `subprocess.run` does with `python -m flows.cli …`, capturing text.

    Raises:
        subprocess.TimeoutExpired: it took longer than so many seconds, and was killed.
    """
    order = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": env}).encode()
    told, tells = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    streams = [os.pipe(), os.pipe()]
    with told:
        with tells:
            given = [tells.fileno(), *(writing for _, writing in streams)]
            socket.send_fds(_python(), [order], given)
        for _, writing in streams:
            os.close(writing)
        pid = int(told.recv(100) or b"0")
        assert pid, "the Python with the libraries did not start, or is gone; run warm.py by hand"
        try:
            said = _read([reading for reading, _ in streams], time.monotonic() + timeout)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(arguments, timeout) from None
        finally:
            for reading, _ in streams:
                os.close(reading)
        told.settimeout(timeout)
        return subprocess.CompletedProcess(arguments, int(told.recv(100)), *said)


def _read(descriptors, deadline):
    """Read both to their ends, at the same time; their texts."""
    parts = {descriptor: [] for descriptor in descriptors}
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(deadline - time.monotonic())
            if not ready and time.monotonic() > deadline:
                raise TimeoutError
            for key, _ in ready:
                if part := os.read(key.fd, 1 << 16):
                    parts[key.fd].append(part)
                else:
                    selector.unregister(key.fd)
    return [b"".join(found).decode().replace("\r\n", "\n") for found in parts.values()]


@cache
def _python():
    """Start the Python with the libraries; the socket that takes orders. It ends with us."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        process = subprocess.Popen(
            [sys.executable, __file__, str(number)],
            pass_fds=[number],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # pipes, for that is what its forks take its streams for
            stderr=subprocess.PIPE,
        )
    atexit.register(process.communicate)
    atexit.register(ours.close)
    return ours


def _serve(orders):
    """Fork for each order that comes; tell its pid, and at its end its exit code.

    Returns in the forks only, with what they are to do.
    """
    selector = selectors.PollSelector()
    selector.register(orders, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                pid, tells = key.data
                _, status = os.waitpid(pid, 0)
                _tell(tells, os.waitstatus_to_exitcode(status))
                selector.unregister(key.fd)
                os.close(key.fd)
                tells.close()
                continue
            text, given, _, _ = socket.recv_fds(orders, _ORDER_BYTES, _THREE)
            if not text:
                os._exit(0)  # who gave orders has gone
            tells = socket.socket(fileno=given[0])
            if (pid := os.fork()) == 0:
                for other in list(selector.get_map().values()):
                    if other.data is not None:
                        os.close(other.fd)
                        other.data[1].close()
                orders.close()
                tells.close()
                return json.loads(text), given[1:]
            _tell(tells, pid)
            for descriptor in given[1:]:
                os.close(descriptor)
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, tells))


def _tell(tells, number):
    with contextlib.suppress(OSError):  # nobody waits for it any more
        tells.sendall(str(number).encode())


def _become(order, streams):
    """Become the process that was ordered, as far as it can be told from a new one."""
    for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.path.insert(0, str(Path.cwd()))
    sys.argv[1:] = order["arguments"]
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of the orders is the end
    del sys.path[0]  # where this file is
    for name in LIBRARIES + OWN:
        importlib.import_module(name)
    assert sys.modules.keys().isdisjoint({"prefect", "git", "typer"})  # they do
    gc.freeze()
    _become(*_serve(socket.socket(fileno=int(sys.argv[1]))))
    runpy.run_module("flows.cli", run_name="__main__", alter_sys=True)
