"""The `reconcile` flow takes up what nobody looks after, and leaves alone what waits for a person."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from tests.acceptance.killing import Victim, assert_whole, wait_for
from tests.acceptance.scripted import SUB, TEST_SUB, Project, step, subtask

RECONCILE = """
import asyncio, json, sys
from storage.home import Home
from flows.operation.services import Services
Services(Home.current()).use_prefect()
from flows.reconcile import reconcile
state = asyncio.run(reconcile(return_state=True))
json.dump(asyncio.run(state.aresult()), sys.stdout)
"""


def reconciled(greenline):
    done = subprocess.run(
        [sys.executable, "-c", RECONCILE],
        env=greenline.env, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cut_off(victim, number):
    """Start a run and send it a signal once it is under way; its id."""
    process = victim.start(*victim.start_words)
    (run_id,) = wait_for(victim.runs, 60)
    query = f"SELECT 1 FROM step_attempts WHERE run_id = '{run_id}' AND number > 1"
    wait_for(lambda: victim.greenline.sql(query), 60)
    (os.killpg if number == signal.SIGKILL else os.kill)(process.pid, number)
    process.wait()
    process.stderr.close()
    return run_id


def test_what_nobody_looks_after_is_taken_up(greenline, tmp_path):
    """A killed run is carried to its end; one that a person stopped or is asked about is not."""
    killed = Victim(greenline, tmp_path / "killed", pause=0.2)
    stopped = Victim(greenline, tmp_path / "stopped", pause=0.2)
    killed_id = cut_off(killed, signal.SIGKILL)
    stopped_id = cut_off(stopped, signal.SIGINT)
    asked = Project(greenline, tmp_path / "asked", rest="[limits]\non_stuck='ask'\nattempts = 1\n")
    work = subtask(
        "sub",
        step("test", "tests/test_sub.py", f"write({TEST_SUB!r})"),
        step("implementation", "calc.py", f"append({SUB!r}) if attempt > 1 else None"),
    )
    waiting = asked.run(work, ok=(3,))
    leftover = greenline.home / "sandboxes" / "00000000-0000-7000-8000-000000000000"
    leftover.mkdir(parents=True)
    (leftover / "owner").write_text(dead_owner())

    report = reconciled(greenline)

    assert killed_id in report["resumed"]
    assert stopped_id not in report["resumed"] and waiting["run_id"] not in report["resumed"]
    assert not leftover.exists()
    assert_whole(greenline, killed.project, greenline.json("runs", "show", killed_id))
    assert greenline.json("runs", "show", stopped_id)["status"] == "running"
    greenline.json("answer", waiting["pending_cta"]["id"], "retry")
    assert waiting["run_id"] in reconciled(greenline)["resumed"]
    assert greenline.json("runs", "show", waiting["run_id"])["status"] == "completed"
    assert_whole(greenline, stopped.project, greenline.json("resume", stopped_id))
    assert not {killed_id, stopped_id, waiting["run_id"]} & set(reconciled(greenline)["resumed"])


def dead_owner():
    """The name of an owner of this host that is gone."""
    code = "from storage.lease import this_owner; print(this_owner())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
