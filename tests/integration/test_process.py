"""A guarded program is bounded in time and output, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.exceptions import InputError
from tasks.process import ProcessError, ProgramNotFound, run_guarded, scrubbed_env

REPOSITORY = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs subreapers and /proc")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    return tmp_path / "home"


def run(home: Path, *argv: str, timeout_s: float = 20, **further):
    work = home.parent / "work"
    return run_guarded(list(argv), cwd=work, env=scrubbed_env(home), timeout_s=timeout_s, **further)


def alive(home: Path) -> list[str]:
    """Commands of processes that have this test's private HOME."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            if f"HOME={home}".encode() in variables:
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_it_tells_how_a_program_ended(home):
    done = run(home, "sh", "-c", "cat; echo err >&2; exit 3", stdin=b"in")
    assert (done.exit_code, done.stdout, done.stderr) == (3, "in", "err\n")
    assert (done.timed_out, done.truncated, done.leftovers, done.error) == (False, False, 0, None)
    assert run(home, "sh", "-c", "kill -SEGV $$").exit_code == 128 + signal.SIGSEGV


def test_the_environment_is_exactly_what_is_given(home, monkeypatch):
    monkeypatch.setenv("GREENLINE_DATABASE_URL", "secret")
    monkeypatch.setenv("PYTHONPATH", "/x")
    monkeypatch.setenv("VIRTUAL_ENV", "/x")
    monkeypatch.setenv("API_KEY", "key")
    monkeypatch.setenv("PATH", f"relative::.:{os.environ['PATH']}")
    env = scrubbed_env(home, passing=["API_KEY", "NOT_SET"], extra={"X": "1"})
    assert set(env) == {"PATH", "HOME", "LANG", "TERM", "API_KEY", "X"}
    assert all(folder.startswith("/") for folder in env["PATH"].split(":"))
    done = run_guarded(["env", "-0"], cwd=home, env=env, timeout_s=20)
    assert dict(one.split("=", 1) for one in done.stdout.split("\0") if one) == env


@pytest.mark.parametrize("name", ["GREENLINE_DATABASE_URL", "PREFECT_API_KEY", "greenline_home"])
def test_greenlines_own_variables_are_never_passed_on(home, name):
    with pytest.raises(InputError, match=name):
        scrubbed_env(home, passing=[name])


@LINUX
def test_a_program_sees_default_signals_no_core_and_none_of_our_files(home):
    script = "ls /proc/self/fd | wc -l; ulimit -c; grep SigIgn /proc/self/status"
    with Path("/dev/null").open() as ours:
        os.set_inheritable(ours.fileno(), True)
        done = run(home, "sh", "-c", script)
    # The three standard ones, and the one that ls reads the folder with.
    files, core, _, ignored = done.stdout.split()
    assert (files, core) == ("4", "0")
    # Signals 32 and 33 are the C library's own: it lets nobody set them, us neither.
    assert int(ignored, 16) & ~(0b11 << 31) == 0


@pytest.mark.parametrize("program", ["no-such-program", "./no-such-program", "/etc/passwd"])
def test_a_program_that_is_missing_or_not_executable_is_named(home, program):
    with pytest.raises(ProgramNotFound, match=program):
        run(home, program)


def test_a_relative_program_is_the_worktrees(home):
    tool = home.parent / "work/tool"
    tool.write_text("#!/bin/sh\npwd\n")
    tool.chmod(0o755)
    assert run(home, "./tool").stdout.strip() == str(home.parent / "work")


def test_a_missing_working_directory_is_named(home):
    with pytest.raises(ProcessError, match="nowhere"):
        run_guarded(["true"], cwd=home / "nowhere", env=scrubbed_env(home), timeout_s=20)


def test_large_output_is_cut_in_the_middle_and_never_blocks(home):
    code = "import sys; sys.stdout.write('a'*10_000_000+'z'); sys.stderr.write('e'*10_000_000)"
    done = run(home, "python3", "-c", code, output_limit=1000)
    assert done.truncated
    assert done.stdout.startswith("a" * 500)
    assert done.stdout.endswith("a" * 499 + "z")
    assert "9999001 bytes left out" in done.stdout
    assert len(done.stdout) < 1100


def test_input_that_nobody_reads_blocks_nothing(home):
    assert run(home, "true", stdin=b"x" * 3_000_000).exit_code == 0
    assert len(run(home, "cat", stdin=b"x" * 3_000_000).stdout) == 3_000_000


def test_bytes_that_are_no_text_are_replaced(home):
    assert run(home, "printf", r"a\377b").stdout == "a�b"


@LINUX
def test_the_time_limit_kills_what_ignores_every_polite_signal(home):
    started = time.monotonic()
    done = run(home, "sh", "-c", "trap '' TERM INT HUP; sleep 300 & wait; sleep 300", timeout_s=0.4)
    assert (done.timed_out, done.exit_code) == (True, None)
    assert 400 <= done.duration_ms < 3000
    assert time.monotonic() - started < 5
    assert alive(home) == []


DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
print("daemon", flush=True)
time.sleep(300)
"""


@LINUX
@pytest.mark.parametrize(
    ("argv", "least"),
    [
        (("sh", "-c", "sleep 300 & exit 0"), 1),
        (("sh", "-c", "setsid sleep 300 & sleep 0.1; exit 0"), 1),
        (("sh", "-c", "(setsid nohup sh -c 'sleep 300 & sleep 300' &) ; sleep 0.1; exit 0"), 2),
        (("python3", "-c", DAEMON), 0),
        (("sh", "-c", "for i in $(seq 20); do (setsid sleep 300 &); done; exit 0"), 15),
    ],
)
def test_nothing_is_left_behind(home, argv, least):
    done = run(home, *argv)
    assert done.exit_code == 0
    assert done.leftovers >= least
    assert alive(home) == []


FORKING = """
import os, time
end = time.time() + 60
while time.time() < end:
    if os.fork(): os._exit(0)  # a new process id before anybody can kill the old one
    os.setsid()
"""


@LINUX
def test_a_process_that_runs_from_its_killer_by_forking_is_caught(home):
    assert run(home, "python3", "-c", FORKING).exit_code == 0
    assert alive(home) == []


@LINUX
def test_what_keeps_the_output_open_does_not_keep_us(home):
    started = time.monotonic()
    done = run(home, "sh", "-c", "setsid sleep 300 & echo done")
    assert done.stdout == "done\n"
    assert time.monotonic() - started < 5


@LINUX
@pytest.mark.parametrize("number", ["KILL", "TERM", "HUP", "INT"])
def test_a_program_that_turns_on_its_guard_wins_nothing(home, number):
    done = run(home, "sh", "-c", f"setsid sleep 300 & kill -{number} $PPID; sleep 0.3; exit 0")
    if number == "KILL":
        assert done.exit_code is None
        assert done.error
    else:
        assert (done.exit_code, done.error) == (0, None)
    assert done.leftovers >= 1
    assert alive(home) == []


@LINUX
def test_everything_ends_with_greenline_even_by_kill_9(home):
    code = (
        "from pathlib import Path; from tasks.process import *; "
        f"h = Path({str(home)!r}); "
        "run_guarded(['sh', '-c', 'setsid sleep 300 & echo $$ > started; sleep 300'], "
        "cwd=h, env=scrubbed_env(h), timeout_s=300)"
    )
    greenline = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)
    deadline = time.monotonic() + 20
    while not (home / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(alive(home)) >= 2
    greenline.kill()
    greenline.wait()
    while alive(home) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert alive(home) == []
