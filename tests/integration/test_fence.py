"""In the fence a program has its sandbox and nothing else, and is guarded as outside of it."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tasks.fence import Fence
from tasks.fence.available import Bubblewrap, Unavailable, bubblewrap
from tasks.process import ProgramNotFound, run_guarded, scrubbed_env
from tasks.verify import TestCommand

FOUND = bubblewrap()
pytestmark = pytest.mark.skipif(
    isinstance(FOUND, Unavailable), reason=f"no fence here: {getattr(FOUND, 'why', '')}"
)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home with Greenline's in it, a sandbox there, and another run's beside it."""
    home = tmp_path / "person"
    ours = home / "greenline"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GREENLINE_HOME", str(ours))
    for file in (
        ".ssh/id_ed25519", "greenline/postgres/password", "greenline/sandboxes/other/main/a.py",
        "greenline/sandboxes/run/main/a.py", "greenline/sandboxes/run/scratch/none",
    ):  # fmt: skip
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_text("secret")
    return home


@pytest.fixture
def work(person: Path) -> Path:
    return person / "greenline/sandboxes/run/main"


def fence(work: Path) -> Fence:
    assert isinstance(FOUND, Bubblewrap)
    return Fence(FOUND).opened(work, work.parent / "scratch")


def run(work: Path, *argv: str, within: Fence | None = None, timeout_s: float = 60, **further):
    return run_guarded(
        list(argv),
        cwd=work,
        env=scrubbed_env(work.parent / "scratch"),
        timeout_s=timeout_s,
        fence=within or fence(work),
        **further,
    )


def alive(work: Path) -> list[str]:
    """Commands of processes that have this test's private HOME."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            if f"HOME={work.parent / 'scratch'}".encode() in variables:
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


def outcomes_of(work: Path, tests: str) -> dict[str, str]:
    """Run a file of tests in the fence; each test's outcome, or why there is none."""
    (work / "test_it.py").write_text(tests)
    command = TestCommand(
        argv=(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
              "--junitxml={report}"),
        focused_argv=None,
        timeout_s=120,
        home=work.parent / "scratch",
        fence=fence(work),
    )  # fmt: skip
    seen = command.verify(work, tree="t", kind="full", known_files=["test_it.py"])
    assert seen.run.problem is None, seen.output
    return {
        result.node_id.rpartition("::")[2]: result.outcome for result in seen.run.results.values()
    }


CHEATS = """
import ctypes, os, pathlib, signal, socket, subprocess
import pytest

HOME = pathlib.Path({home!r})

@pytest.mark.parametrize("name", [
    HOME / ".ssh/id_ed25519", HOME / "greenline/postgres/password",
    HOME / "greenline/sandboxes/other/main/a.py", pathlib.Path("/etc/shadow"),
])
def test_reads_a_secret(name):
    assert name.read_text()

@pytest.mark.parametrize("address", [("127.0.0.1", {port}), ("10.0.0.1", 80), ("8.8.8.8", 53)])
def test_opens_a_socket(address):
    socket.create_connection(address, timeout=5).close()

def test_asks_for_a_name():
    socket.getaddrinfo("example.com", 80)

def test_reaches_a_socket_without_a_name():
    socket.socket(socket.AF_UNIX).connect("\\0" + {abstract!r})

@pytest.mark.parametrize("name", [
    "/etc/written", "/usr/written", "../written", str(HOME / "written"),
    "/proc/sys/kernel/core_pattern", "/sys/kernel/profiling", {package!r},
])
def test_writes_outside(name):
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT))

def test_writes_to_what_is_temporary():
    pathlib.Path({outside!r}).write_text("changed")

@pytest.mark.parametrize("number", [{pid}, os.getppid(), 1])
def test_kills(number):
    assert number not in (0, os.getpid())
    os.kill(number, signal.SIGKILL)
    assert not pathlib.Path(f"/proc/{{number}}").exists()

def test_traces():
    assert ctypes.CDLL(None).ptrace(16, {pid}, 0, 0) == 0  # PTRACE_ATTACH

def test_mounts_the_system_anew():
    subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
        "umount -l {home} && cat {home}/.ssh/id_ed25519"], check=True)

def test_becomes_somebody_else():
    os.setuid(12345)

def test_sees_others():
    assert any(b"{marker}" in path.read_bytes() for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"))
"""


def test_what_cheating_tests_reach_for_is_not_there(person, work, tmp_path):
    """Homes, secrets, the network, other processes, all that lies outside: each attempt fails."""
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    server = socket.create_server(("127.0.0.1", 0))
    abstract = f"greenline-test-{os.getpid()}"
    unnamed = socket.socket(socket.AF_UNIX)
    unnamed.bind("\0" + abstract)
    unnamed.listen()
    with server, unnamed, subprocess.Popen(["sleep", "87654"]) as other:
        try:
            outcomes = outcomes_of(
                work,
                CHEATS.format(
                    home=str(person),
                    port=server.getsockname()[1],
                    abstract=abstract,
                    outside=str(outside),
                    package=str(REPOSITORY / "tasks/fence/opener.py"),
                    pid=other.pid,
                    marker="87654",
                ),
            )
            assert other.poll() is None
        finally:
            other.kill()
    assert len(outcomes) == 24
    passed = {name for name, outcome in outcomes.items() if outcome != "failed"}
    assert passed == {"test_writes_to_what_is_temporary"}  # in a folder that nobody else sees
    assert outside.read_text() == "as it was"
    assert sorted(path.name for path in person.iterdir()) == [".ssh", "greenline"]


ORDINARY = """
import http.server, multiprocessing, pathlib, shutil, socket, sqlite3, subprocess, tempfile, threading
import urllib.request

def test_temporary_files(tmp_path):
    (tmp_path / "a").write_text("x")
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    pathlib.Path("/tmp/mine").write_text("x")

def test_processes():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]

def test_a_server_of_its_own():
    server = http.server.HTTPServer(("localhost", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with urllib.request.urlopen(f"http://localhost:{server.server_port}/") as answer:
        assert answer.status == 200

def test_a_database(tmp_path):
    sqlite3.connect(tmp_path / "db").execute("CREATE TABLE t (a)")

def test_git(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)

def test_its_home_and_its_files():
    (pathlib.Path.home() / ".config").mkdir()
    pathlib.Path("built").mkdir()
    shutil.rmtree("built")

def test_itself_in_proc():
    assert b"pytest" in pathlib.Path("/proc/self/cmdline").read_bytes()
"""


def test_an_ordinary_suite_passes(work):
    """Temporary files, worker processes, servers of its own, databases, git: all work."""
    outcomes = outcomes_of(work, ORDINARY)
    assert len(outcomes) == 7
    assert set(outcomes.values()) == {"passed"}
    assert not Path("/tmp/mine").exists()
    assert sqlite3.sqlite_version  # the fence is not what this Python lacks


def test_a_program_ends_as_it_would_outside(work):
    """Exit codes, signals, input, output and the working directory come through."""
    done = run(work, "sh", "-c", "cat; pwd; echo wrong >&2; exit 7", stdin=b"told\n")
    assert (done.exit_code, done.stdout, done.stderr) == (7, f"told\n{work}\n", "wrong\n")
    assert run(work, "sh", "-c", "kill -9 $$").exit_code == 128 + signal.SIGKILL
    assert run(work, "sh", "-c", "exit 1").exit_code == 1
    assert run(work, "true", stdin=b"x" * 3_000_000).exit_code == 0
    assert run(work, "sh", "-c", "ls /proc/self/fd | wc -l; ulimit -c").stdout.split() == ["4", "0"]


@pytest.mark.parametrize(
    ("script", "leftovers"),
    [
        ("exit 0", 0),
        ("sleep 300 & exit 0", 1),
        ("for i in 1 2 3 4 5; do (setsid sleep 300 &); done; exit 0", 5),
        ("setsid sleep 300 & kill -9 $PPID -1; exit 0", 1),
    ],
)
def test_nothing_is_left_behind_and_it_is_counted(work, script, leftovers):
    """All that a program leaves is killed, whatever it did to get away, and its number told."""
    done = run(work, "sh", "-c", script)
    assert done.error is None
    assert done.leftovers == leftovers or script.startswith("setsid")
    assert alive(work) == []


def test_the_time_limit_kills_all(work):
    """At its time limit a program is killed with all that it started."""
    done = run(work, "sh", "-c", "trap '' TERM; sleep 300 & sleep 300", timeout_s=1)
    assert (done.timed_out, done.exit_code, done.leftovers) == (True, None, 2)
    assert alive(work) == []


def test_everything_ends_with_greenline_even_by_kill_9(work):
    """No process in a fence outlives Greenline."""
    code = (
        "from pathlib import Path; from tasks.fence import *; from tasks.process import *; "
        f"w = Path({str(work)!r}); h = w.parent / 'scratch'; "
        "run_guarded(['sh', '-c', 'setsid sleep 300 & echo $$ > started; sleep 300'], cwd=w, "
        "env=scrubbed_env(h), timeout_s=300, fence=Fence(Bubblewrap("
        f"Path({str(getattr(FOUND, 'path', ''))!r}))).opened(w, h))"
    )
    greenline = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
    deadline = time.monotonic() + 60
    while not (work / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(alive(work)) >= 2
    greenline.kill()
    greenline.wait()
    while alive(work) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert alive(work) == []


def test_what_a_killed_guard_leaves_is_ended(work):
    """When something outside kills the guard, the programs in its fence are found and killed."""

    def kill_guard() -> None:
        deadline = time.monotonic() + 60
        while not (work / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        for process in psutil.Process().children():
            if any("bwrap" in child.name() for child in process.children()):
                process.kill()

    killer = threading.Thread(target=kill_guard)
    killer.start()
    done = run(work, "sh", "-c", "setsid sleep 300 & echo > started; sleep 300", timeout_s=120)
    killer.join()
    assert done.error
    assert done.leftovers >= 1
    assert alive(work) == []


def test_a_program_in_a_hidden_folder_is_named_with_what_shows_it(person, work):
    """A missing program is told as outside; one that the fence hides, with the setting for it."""
    for program in ("no-such-program", "./none"):
        with pytest.raises(ProgramNotFound, match=program) as told:
            run(work, program)
        assert "fence_readable" not in str(told.value)
    tool = person / ".tools/tool"
    tool.parent.mkdir()
    tool.write_text(f"#!{person}/.interpreters/sh\n")
    tool.chmod(0o755)
    shell = person / ".interpreters/sh"
    shell.parent.mkdir()
    shell.symlink_to("/bin/sh")
    with pytest.raises(ProgramNotFound, match="fence_readable"):
        run(work, str(tool))
    assert isinstance(FOUND, Bubblewrap)
    seen = Fence(FOUND, readable=(shell.parent,)).opened(work, work.parent / "scratch")
    assert run(work, str(tool), within=seen).exit_code == 0


@pytest.fixture
def server() -> Iterator[int]:
    """A server on our loopback that answers what it was sent, as its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                one, _ = listening.accept()
            except OSError:
                return
            with one:
                received = b""
                while part := one.recv(1 << 16):
                    received += part
                one.sendall(received.upper())

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


CALL = """
import socket, sys
for port in map(int, sys.argv[1:]):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
            one.sendall(b"hello" * 100_000)
            one.shutdown(socket.SHUT_WR)
            answer = b""
            while part := one.recv(1 << 16):
                answer += part
            print(len(answer), answer[:5].decode())
    except OSError as error:
        print(type(error).__name__)
"""


def test_the_door_leads_to_one_port_and_to_nothing_else(work, server):
    """An agent reaches its model's proxy on our loopback, and no other port of it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = (server, other.getsockname()[1], server)
        within = fence(work).opened(port=server)
        done = run(work, sys.executable, "-c", CALL, *map(str, ports), within=within)
    assert done.stdout.split() == ["500000", "HELLO", "ConnectionRefusedError", "500000", "HELLO"]
    # It sees nothing of how it got there, and ends as it would without.
    files = run(work, "sh", "-c", "ls /proc/self/fd | wc -l; exit 5", within=within)
    assert (files.stdout.strip(), files.exit_code) == ("4", 5)
    with pytest.raises(ProgramNotFound, match="no-such-program"):
        run(work, "no-such-program", within=within)
    assert not [thread for thread in threading.enumerate() if thread.name == "door of a fence"]
