"""Kill -9 of the servers, or no room on the disk, in mid-run: a clear error, then it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.killing import Victim, assert_whole, wait_for
from tests.acceptance.scripted import Project, sub
from tests.acceptance.support import Greenline


@pytest.fixture
def own_home(tmp_path):
    """A home of the test's own, whose servers may be killed."""
    command = Greenline(tmp_path / "own home")
    command.env["PREFECT_CLIENT_MAX_RETRIES"] = (
        "2"  # by default it tries a dead server for a minute
    )
    yield command
    command("down")


def begun(victim):
    """Start a run; its process and its id, once some attempts are made."""
    process = victim.start(*victim.start_words)
    (run_id,) = wait_for(victim.runs, 60)
    query = f"SELECT 1 FROM step_attempts WHERE run_id = '{run_id}' AND number > 2"
    wait_for(lambda: victim.greenline.sql(query), 60)
    return process, run_id


def said_by(process):
    said = process.stderr.read().decode()
    process.wait(120)
    process.stderr.close()
    return said


@pytest.mark.soak
def test_a_run_survives_its_servers(own_home, tmp_path):
    """PostgreSQL with all its processes, then the Prefect server."""
    victim = Victim(own_home, tmp_path, pause=0.3)
    process, run_id = begun(victim)
    kill_postgres(own_home)
    said = said_by(process)
    assert process.returncode == 4, said
    assert "Traceback" not in said
    assert f"greenline resume {run_id}" in said
    process = victim.start("resume", run_id)
    count = f"SELECT count(*) FROM step_attempts WHERE run_id = '{run_id}'"
    before = own_home.sql(count)[0][0]
    wait_for(lambda: own_home.sql(count)[0][0] > before, 60)
    servers = pids_of(own_home, "prefect.server")
    assert servers
    for pid in servers:
        os.kill(pid, signal.SIGKILL)
    said = said_by(process)
    assert "Traceback" not in said
    assert process.returncode in (0, 4), said
    assert_whole(own_home, victim.project, own_home.json("resume", run_id))


def kill_postgres(greenline):
    """Kill the whole server, as a machine that runs out of memory would."""
    (pid,) = {
        int(path.read_text().split()[0])
        for path in (greenline.home / "postgres").rglob("postmaster.pid")
    }
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=True)
    for each in (pid, *map(int, children.stdout.split())):
        os.kill(each, signal.SIGKILL)


def pids_of(greenline, words):
    """The processes of a home that have some words on their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_text()
            environ = (folder / "environ").read_text()
        except OSError:
            continue
        if words in line and str(greenline.home) in environ:
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize("limit", [60_000])
def test_without_room_a_run_says_so_and_goes_on_later(greenline, tmp_path, limit):
    """A limit on the size of files stands in for a full disk: nothing larger can be written."""
    project = Project(greenline, tmp_path)
    words = ("run", project.plan(sub()), "--repo", project.path, "--config", project.config)
    code = (
        "import resource, sys; "
        "from flows.cli.app import main; import flows.cli.running; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, -1)); "
        "sys.argv = ['greenline', *sys.argv[1:]]; main()"
    )
    greenline.json("up", "--no-worker")  # servers of a process without room could not write either
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=greenline.env, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode not in (0, 3)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.strip()
    found = greenline.sql(
        "SELECT r.run_id FROM runs r JOIN features f ON f.id = r.feature_id "
        f"JOIN projects p ON p.id = f.project_id WHERE p.repo_path = '{project.path}'"
    )
    if found:
        assert f"greenline resume {found[0][0]}" in done.stderr
    document = greenline.json(*(("resume", found[0][0]) if found else words))
    assert document["status"] == "completed"
