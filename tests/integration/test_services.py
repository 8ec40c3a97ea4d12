"""The services of a home, as real processes: shared, stopped when idle, recovered when killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from flows.operation.prefect_server import prefect_client_environment
from flows.operation.services import Services
from storage import detached, usage
from storage.exceptions import InputError, ServiceError
from storage.home import Home
from storage.supervision import LOOPBACK, ended

ROOT = Path(__file__).parents[2]
BEGIN = "from storage.home import Home\nfrom flows.operation.services import Services\n"
POSTGRES = BEGIN + "print(Services(Home.current()).postgres_url(), flush=True)\n"
UP = (
    BEGIN
    + "services = Services(Home.current())\n"
    + "services.keep(['postgres'])\nprint(services.postgres_url(), flush=True)\n"
)
WAIT = "import sys; sys.stdin.read()\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("GREENLINE_DATABASE_URL", "PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    made = Home(tmp_path / "ho me")
    yield made
    Services(made).down()


def process(home, code, idle_s=1.0, **more):
    """Start a user of the services; it counts as one until it ends."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home.path.parent),
            "PYTHONPATH": str(ROOT),
            "GREENLINE_HOME": str(home.path),
            "GREENLINE_SERVICES_IDLE_S": str(idle_s),
            **more,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(user, timeout=120):
    said, error = user.communicate(timeout=timeout)
    assert user.returncode == 0, error
    return said.strip()


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def listens(url):
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, urlsplit(url).port)) == 0


def keeper_pid(home):
    return int(usage.keeper_lock_file(home).read_text(encoding="ascii").split()[0])


def test_services_stop_when_they_have_been_idle(home):
    url = output(process(home, POSTGRES))
    assert listens(url)
    assert within(6, lambda: not listens(url))
    assert within(3, lambda: not usage.keeper_is_running(home))
    assert "stopped: postgres" in (home.logs / "keeper.log").read_text(encoding="utf-8")


def test_services_stay_while_a_process_uses_them(home):
    user = process(home, POSTGRES + WAIT, idle_s=0.3)
    url = user.stdout.readline().strip()
    time.sleep(1.5)
    assert listens(url)
    user.kill()  # kill -9: the kernel tells that it is gone
    user.communicate()
    assert within(5, lambda: not listens(url))


def test_services_stay_while_somebody_is_connected(home):
    """`psql "$(greenline ledger url)"` is use as well."""
    url = output(process(home, POSTGRES, idle_s=0.3))
    with psycopg.connect(url) as connection:
        time.sleep(1.5)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert within(5, lambda: not listens(url))


def test_what_comes_while_idle_services_stop_gets_them_anew(home):
    """No user is given an address that is about to vanish."""
    for pause in (0.0, 0.05, 0.1, 0.15, 0.2):
        user = process(home, POSTGRES + WAIT, idle_s=0)
        url = user.stdout.readline().strip()
        with psycopg.connect(url) as connection:
            connection.execute("SELECT 1")
        output(user)
        time.sleep(pause)


def test_what_is_kept_stays_until_down(home):
    services = Services(home)
    url = output(process(home, UP, idle_s=0.2))
    time.sleep(1.5)
    assert listens(url)
    assert services.pinned()
    assert services.down() == ["postgres", "keeper"]
    assert not listens(url)
    assert not services.pinned()
    assert services.down() == []


def test_down_stops_what_others_use(home):
    user = process(home, POSTGRES + WAIT, idle_s=600)
    url = user.stdout.readline().strip()
    assert Services(home).down() == ["postgres", "keeper"]
    assert not listens(url)
    output(user)


def test_status_shows_no_password_and_starts_nothing(home):
    states = {state.name: state for state in Services(home).status()}
    assert [state.running for state in states.values()] == [False, False]
    assert not home.path.exists()
    url = output(process(home, POSTGRES, idle_s=600))
    states = {state.name: state for state in Services(home).status()}
    assert states["postgres"].address == f"postgresql://{url.rpartition('@')[2]}"
    assert (states["postgres"].running, states["keeper"].running) == (True, True)
    assert states["prefect"].running is False


def test_there_is_one_keeper_and_a_killed_one_is_replaced(home):
    users = [process(home, POSTGRES, idle_s=600) for _ in range(4)]
    assert len({output(user) for user in users}) == 1
    first = keeper_pid(home)
    assert within(5, lambda: keepers(home) == [first])
    os.kill(first, signal.SIGKILL)
    assert within(5, lambda: not usage.keeper_is_running(home))
    output(process(home, POSTGRES, idle_s=600))
    assert within(5, lambda: usage.keeper_is_running(home) and keeper_pid(home) != first)


def keepers(home):
    wanted = ["storage.keeper", "--home", str(home.path)]
    found = psutil.process_iter(["pid", "cmdline"])
    return [each.pid for each in found if (each.info["cmdline"] or [])[-3:] == wanted]


def test_services_of_a_home_that_was_deleted_end(home):
    url = output(process(home, POSTGRES, idle_s=600))
    assert within(5, lambda: usage.keeper_is_running(home))
    keeper = keeper_pid(home)
    time.sleep(2.5)  # it has looked once
    shutil.rmtree(home.path)
    assert within(10, lambda: not listens(url))
    assert within(5, lambda: keeper not in keepers(home))
    assert not home.path.exists()


def test_the_keeper_is_small(home):
    output(process(home, POSTGRES, idle_s=600))
    assert within(5, lambda: usage.keeper_is_running(home))
    time.sleep(2.5)
    status = Path(f"/proc/{keeper_pid(home)}/status").read_text(encoding="ascii")
    (resident,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    assert int(resident) < 32_000  # kB; an interpreter with nothing loaded has 10,000


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf"])
def test_an_idle_time_that_is_none_is_refused(home, monkeypatch, given):
    monkeypatch.setenv("GREENLINE_SERVICES_IDLE_S", given)
    with pytest.raises(InputError, match=f"GREENLINE_SERVICES_IDLE_S='{given}'"):
        Services(home).postgres_url()


def test_servers_of_the_users_own_are_used_and_none_started(home, monkeypatch):
    monkeypatch.setenv("GREENLINE_DATABASE_URL", "postgresql://me:secret@db.example/ledger")
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    services = Services(home)
    assert services.postgres_url() == "postgresql://me:secret@db.example/ledger"
    assert services.prefect_api_url() == "http://prefect.example/api"
    assert [(state.ours, state.running, state.address) for state in services.status()] == [
        (False, None, "postgresql://db.example/ledger"),
        (False, None, "http://prefect.example/api"),
    ]
    assert not home.path.exists()


def test_a_client_of_the_users_server_keeps_the_users_profile(home, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    environment = prefect_client_environment("http://prefect.example/api", home)
    assert environment["PREFECT_API_URL"] == "http://prefect.example/api"
    assert "PREFECT_HOME" not in environment


def test_a_client_of_the_homes_server_passes_by_proxies(home, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    environment = prefect_client_environment("http://127.0.0.1:4200/api", home)
    assert environment["PREFECT_HOME"] == str(home.prefect)
    assert environment["NO_PROXY"] == "intranet.example,127.0.0.1,localhost"
    assert environment["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "false"


def test_a_record_of_a_process_that_is_somebody_else_now_does_not_count(home):
    home.folder(home.logs)
    sleep = shutil.which("sleep")
    first = detached.start(home, "nap", [sleep, "60"], env={}, log=home.logs / "nap.log")
    assert detached.running(home, "nap") == first
    record = home.services / "nap.json"
    facts = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(facts | {"pid": os.getpid()}), encoding="utf-8")
    assert detached.running(home, "nap") is None
    assert detached.stop(home, "nap") is False  # and we are still here
    detached.end_process(first)
    assert ended(first.pid, first.birth, within_s=5)


def test_a_program_that_cannot_be_run_is_named(home):
    home.folder(home.logs)
    with pytest.raises(ServiceError, match=r"/nowhere/server cannot be started.*No such file"):
        detached.start(home, "x", ["/nowhere/server"], env={}, log=home.logs / "x.log")
    assert detached.running(home, "x") is None


def test_stopping_ends_what_a_service_started(home):
    home.folder(home.logs)
    shell = [shutil.which("sh"), "-c", "sleep 61 & echo $!; wait"]
    detached.start(home, "tree", shell, env={"PATH": os.defpath}, log=home.logs / "tree.log")
    log = home.logs / "tree.log"
    assert within(5, lambda: log.read_text(encoding="ascii").strip() != "")
    child = int(log.read_text(encoding="ascii"))
    assert detached.stop(home, "tree") is True
    assert within(5, lambda: not Path(f"/proc/{child}").exists())


FLOW = (
    BEGIN
    + """
services = Services(Home.current())
services.use_prefect()
import asyncio, logging, sys
from prefect import flow, task

@task
async def measure(): logging.getLogger("tasks.measure").info("from a task")
@flow
async def greet():
    logging.getLogger("flows.greet").info("from a flow")
    await measure()
logging.getLogger("flows.greet").warning("outside of any flow")
asyncio.run(greet())
assert services.use_prefect()  # again, now that Prefect is imported
"""
)


@pytest.mark.prefect
def test_the_prefect_server_is_shared_quiet_private_and_stops(home):
    """One test for all of it: its first start in a home takes 8 s."""
    start = BEGIN + "print(Services(Home.current()).start()[1], flush=True)\n"
    secrets = {"GREENLINE_DATABASE_PASSWORD": "x", "OPENAI_API_KEY": "x"}
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    users = [process(home, start, idle_s=600, **secrets, **proxies) for _ in range(2)]
    (url,) = {output(user) for user in users}
    server = detached.running(home, "prefect")

    environment = Path(f"/proc/{server.pid}/environ").read_text(encoding="utf-8")
    names = {line.partition("=")[0] for line in environment.split("\0")}
    assert not [name for name in names if name.startswith("GREENLINE") or "KEY" in name]
    pages = home.prefect / "ui"  # Prefect copies them with the modes of its package
    ours = [path for path in home.path.rglob("*") if not path.is_relative_to(pages)]
    assert not [path for path in ours if path.lstat().st_mode & 0o077]

    flow = process(home, FLOW, idle_s=600, **proxies)
    assert flow.communicate(timeout=60) == ("", "")
    assert flow.returncode == 0
    assert within(10, lambda: {"from a flow", "from a task"} <= set(logged(url)))
    assert "outside of any flow" not in logged(url)

    os.kill(server.pid, signal.SIGKILL)
    assert ended(server.pid, server.birth, within_s=5)
    assert Services(home).prefect.url() is None
    url = output(process(home, start, idle_s=600))
    assert "from a flow" in logged(url)

    began = time.monotonic()
    assert Services(home).down() == ["prefect", "postgres", "keeper"]
    assert time.monotonic() - began < 10
    assert not listens(url)
    assert keepers(home) == []


def logged(url):
    request = urllib.request.Request(
        f"{url}/logs/filter", data=b"{}", headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [entry["message"] for entry in json.load(answer)]
