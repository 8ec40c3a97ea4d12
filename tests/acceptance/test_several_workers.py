"""Several hosts with one ledger: each has a home of its own, and goes on with what others began."""

from __future__ import annotations

import shutil

import pytest

from flows.operation.prefect_server import PrefectServer
from storage.home import Home
from tests.acceptance.killing import LETTERS, Victim, assert_whole, wait_for
from tests.acceptance.support import Greenline


@pytest.fixture
def elsewhere(greenline, tmp_path):
    """The command line on another host: the same servers, a home of its own."""
    (tmp_path / "another host").mkdir()
    command = Greenline(tmp_path / "another host" / "home")
    command.env |= {
        "GREENLINE_DATABASE_URL": greenline("ledger", "url").stdout.strip(),
        "PREFECT_API_URL": PrefectServer(Home(greenline.home)).start(),
    }
    yield command
    command("down")


def done(greenline, run_id):
    """The commits that a run's steps were done with, by attempt."""
    return dict(
        greenline.sql(
            "SELECT number, commit_sha_after FROM step_attempts "
            f"WHERE run_id = '{run_id}' AND status = 'success'"
        )
    )


def test_a_run_goes_on_where_its_host_is_lost(greenline, elsewhere, tmp_path):
    """Another host has every accepted step of it: from the ledger, since the clone is gone.

    What the lost host's attempts left can be read there as well, and once it is delivered the run
    is as if nothing had happened.
    """
    victim = Victim(greenline, tmp_path / "shared", pause=0.1)
    process = victim.start(*victim.start_words)
    (run_id,) = wait_for(victim.runs, 60)
    wait_for(lambda: len(done(greenline, run_id)) >= 4, 90)
    victim.kill_group(process)
    process.wait()
    process.stderr.close()
    before = done(greenline, run_id)
    for lost in ("projects", "sandboxes"):
        shutil.rmtree(greenline.home / lost)

    document = elsewhere.json("resume", run_id)

    assert_whole(elsewhere, victim.project, document)
    after = done(elsewhere, run_id)
    assert before.items() <= after.items(), "what was accepted stands"
    assert len(after) == 2 * len(LETTERS), "and nothing was done twice"
    shown = elsewhere.json("step", "diff", min(before), cwd=victim.project.path)
    assert "+from a import f" in shown["diff"]
    kept = greenline.sql("SELECT count(*), max(length(pack)) FROM commits")
    assert kept[0][0] >= len(after) and kept[0][1] < 5_000, kept
