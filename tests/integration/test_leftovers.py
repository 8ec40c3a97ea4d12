"""What runs leave on disk goes when nobody can need it, and not before."""

from __future__ import annotations

import os
import time

from storage.home import Home
from storage.lease import this_owner
from tasks.leftovers import claim, sweep

#: A process of a host that nobody can ask from here.
ELSEWHERE = "worker/pid:[1]/6/another-start:1/aa"


def test_a_folder_of_another_host_is_left_alone_while_somebody_may_need_it(
    stored, monkeypatch, tmp_path
):
    """Hosts that share a home by mistake, or this one before it was started anew.

    A run's folder goes with the end of the run and of its lease; one that was never stored goes
    when its maker is surely gone, or after a day.
    """
    monkeypatch.setenv("GREENLINE_HOME", str(tmp_path / "home"))
    folder = Home.current().ensure().folder(Home.current().sandboxes)
    mine, dead, old = (folder / f"run-{name}" for name in ("mine", "dead", "old"))
    for each in (folder / stored.run_id, mine, dead, old):
        each.mkdir()
        claim(each)
    host, space, _, birth, _ = this_owner().split("/")
    gone = f"{host}/{space}/{os.getpid()}/{birth.rpartition(':')[0]}:1/aa"
    (dead / "owner").write_text(gone)
    (old / "owner").write_text(ELSEWHERE)
    with stored.database.transaction() as ledger:
        assert ledger.acquire_lease(stored.run_id, ELSEWHERE, 60)
        ledger.update_run_status(stored.run_id, "running")
    assert sweep(stored.database) == [dead.name]
    with stored.database.transaction() as ledger:
        ledger.update_run_status(stored.run_id, "failed")
    assert sweep(stored.database) == [], "its process may still be ending"
    with stored.database.get_connection() as connection:
        connection.execute("UPDATE runs SET lease_expires_at = now() - interval '1 second'")
    yesterday = time.time() - 25 * 3600
    os.utime(old / "owner", (yesterday, yesterday))
    assert sweep(stored.database) == sorted([stored.run_id, old.name])
    assert [each.name for each in folder.iterdir()] == [mine.name]
