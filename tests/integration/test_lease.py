"""Who carries a run: one at a time, as long as its heartbeat goes, and it notices when it lost it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage import lease as leases
from storage.database import Database
from storage.lease import Lease, LeaseLost, RunCarried, described, owner_is_dead, this_owner
from storage.transitions import NotInLedgerError

SOMEBODY = "elsewhere/pid:[1]/77/boot:1/abcd"


@pytest.fixture
def quick(monkeypatch):
    """A lease of a second, renewed five times in it."""
    monkeypatch.setattr(leases, "LEASE_S", 1.0)
    monkeypatch.setattr(leases, "RENEW_S", 0.2)
    monkeypatch.setattr(leases, "_RETRY_S", 0.1)


def change(database, statement, *values):
    with database.get_connection() as connection:
        connection.execute(statement, values)


def holder(database, run_id):
    """Who has a run, and for how many seconds yet."""
    with database.get_connection() as connection:
        row = connection.execute(
            "SELECT lease_owner, extract(epoch FROM lease_expires_at - clock_timestamp()) AS left "
            "FROM runs WHERE run_id = %s",
            (run_id,),
        ).fetchone()
    return row["lease_owner"], None if row["left"] is None else float(row["left"])


def wait_for(condition, seconds=10.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.02)


#: Takes a run, says so, and keeps it until its standard input ends.
TAKER = """
import sys
from storage.database import Database
from storage.lease import Lease, RunCarried, this_owner
url, run_id = sys.argv[1:]
sys.stdin.readline()
try:
    lease = Lease.take(Database(url), run_id)
except RunCarried as error:
    print("refused", error, flush=True)
else:
    print("taken", this_owner(), flush=True)
    sys.stdin.readline()
    lease.close()
"""


def taker(stored):
    return subprocess.Popen(
        [sys.executable, "-c", TAKER, stored.database.url, stored.run_id],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_of_several_processes_that_take_a_run_at_once_one_gets_it(stored):
    """The others are told who has it; once that one is killed, the next takes it at once."""
    processes = [taker(stored) for _ in range(4)]
    try:
        for process in processes:  # all are there; then they go at the same time
            process.stdin.write("go\n")
        for process in processes:
            process.stdin.flush()
        said = [process.stdout.readline() for process in processes]
        winners = [n for n, line in enumerate(said) if line.startswith("taken ")]
        assert len(winners) == 1, said
        winner = processes[winners[0]]
        owner = said[winners[0]].split()[1]
        assert holder(stored.database, stored.run_id)[0] == owner
        for line in (line for line in said if line.startswith("refused")):
            assert f"is being carried by process {winner.pid} on " in line
        assert not owner_is_dead(owner)
        winner.kill()
        winner.wait()
        assert owner_is_dead(owner)
        with Lease.take(stored.database, stored.run_id):
            assert holder(stored.database, stored.run_id)[0] == this_owner()
        assert holder(stored.database, stored.run_id) == (None, None)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    with stored.database.transaction() as ledger:
        (event,) = ledger.events_of(stored.run_id, "lease_taken_over")
    assert event["payload_json"] == {"from": owner, "by": this_owner()}


def test_a_holder_that_may_live_keeps_it_until_its_time_is_over(stored):
    with stored.database.transaction() as ledger:
        assert ledger.acquire_lease(stored.run_id, SOMEBODY, 30)
    with pytest.raises(RunCarried, match=r"process 77 on elsewhere.*greenline abandon"):
        Lease.take(stored.database, stored.run_id)
    change(stored.database, "UPDATE runs SET lease_expires_at = now() - interval '1 second'")
    with Lease.take(stored.database, stored.run_id) as lease:
        assert holder(stored.database, stored.run_id)[0] == lease.owner


def test_it_is_renewed_with_the_locks_of_its_files(stored, quick):
    with Lease.take(stored.database, stored.run_id) as lease:
        with stored.database.transaction() as ledger:
            ledger.lock_file(
                stored.project_id, "a.py", lease.owner, run_id=stored.run_id,
                step_id=stored.steps[0], seconds=2,
            )  # fmt: skip
        time.sleep(1.5)
        assert not lease.lost
        owner, left = holder(stored.database, stored.run_id)
        assert (owner, left > 0) == (lease.owner, True)
        with stored.database.transaction() as ledger:
            lock = ledger.get_file_lock(stored.project_id, "a.py")
        assert (lock["expires_at"] - lock["acquired_at"]).total_seconds() > 100
    with stored.database.transaction() as ledger:
        assert ledger.get_file_lock(stored.project_id, "a.py") is None, "given back with it"


def test_who_lost_it_is_told_once_and_takes_nothing_back(stored, quick):
    told = threading.Semaphore(0)
    lease = Lease.take(stored.database, stored.run_id, on_loss=told.release)
    change(
        stored.database,
        "UPDATE runs SET lease_owner = %s, lease_expires_at = now() + interval '1 minute'",
        SOMEBODY,
    )
    assert told.acquire(timeout=5)
    assert lease.lost
    with (
        pytest.raises(LeaseLost, match="process 77 on elsewhere"),
        stored.database.transaction() as ledger,
    ):
        ledger.require_lease(stored.run_id, lease.owner)
    lease.close()
    assert holder(stored.database, stored.run_id)[0] == SOMEBODY
    assert not told.acquire(timeout=0.5)


def test_a_ledger_that_is_away_for_a_moment_costs_nothing(stored, quick, monkeypatch):
    """Connections that break are made anew; what is away for longer than the lease is lost."""
    lease = Lease.take(stored.database, stored.run_id)
    name = stored.database.url.rpartition("/")[2].partition("?")[0]

    def cut():
        with stored.database.get_connection() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = %s AND pid <> pg_backend_pid()",
                (name,),
            )

    for _ in range(3):
        time.sleep(0.3)
        cut()
    time.sleep(0.5)
    assert not lease.lost
    assert holder(stored.database, stored.run_id)[0] == lease.owner
    working = Database.get_connection

    def away(self):
        if self is lease.database and threading.current_thread() is lease._thread:
            raise OSError("no way there")
        return working(self)

    monkeypatch.setattr(Database, "get_connection", away)
    begun = time.monotonic()
    cut()
    wait_for(lambda: lease.lost)
    assert 0.5 < time.monotonic() - begun < 3
    lease.close()


def test_a_ledger_that_is_silent_costs_the_lease_in_time(stored, quick):
    """A call that gets no answer at all is not waited for: the lease is over when it is over.

    What is held then is somebody else's to take, and agents are ended by then.
    """
    told = threading.Event()
    with stored.database.get_connection() as other:
        lease = Lease.take(stored.database, stored.run_id, on_loss=told.set)
        other.execute(
            "SELECT * FROM runs WHERE run_id = %s FOR UPDATE", (stored.run_id,)
        )  # the heartbeat waits for this, as it would for a network that is gone
        begun = time.monotonic()
        assert told.wait(10)
        assert time.monotonic() - begun < 5
        assert lease._thread.is_alive(), "it waits still"
        other.rollback()
    lease.close()
    wait_for(lambda: not lease._thread.is_alive())
    assert lease.lost


def test_a_transaction_of_its_holder_and_a_take_over_do_not_overlap(stored):
    """`require_lease` holds until the transaction ends: who takes the run waits for it."""
    with stored.database.transaction() as ledger:
        ledger.acquire_lease(stored.run_id, this_owner(), 0.01)
    time.sleep(0.05)

    def take():
        with stored.database.transaction() as other:
            taken = other.acquire_lease(stored.run_id, SOMEBODY, 30)
            return taken, time.monotonic()

    with ThreadPoolExecutor() as pool:
        with stored.database.transaction() as ledger:
            ledger.require_lease(stored.run_id, this_owner())
            taking = pool.submit(take)
            time.sleep(0.4)
            assert not taking.done()
            written = time.monotonic()
        taken, when = taking.result(timeout=5)
    assert (taken, when > written) == (True, True)


def test_a_run_that_was_given_up_is_nobodys(stored):
    with stored.database.transaction() as ledger:
        ledger.acquire_lease(stored.run_id, SOMEBODY, 30)
        assert ledger.end_lease(stored.run_id) == SOMEBODY
        assert ledger.end_lease(stored.run_id) is None
        with pytest.raises(LeaseLost, match="nobody carries it any more"):
            ledger.require_lease(stored.run_id, SOMEBODY)


def test_a_run_that_does_not_exist_cannot_be_taken(database):
    with pytest.raises(NotInLedgerError):
        Lease.take(database, "nothing")


def of(pid, **changed):
    """The owner that a process would be, or one that differs in some part."""
    parts = dict(zip(("host", "space", "pid", "birth", "nonce"), leases._owner_of(pid).split("/"), strict=True))  # fmt: skip
    return "/".join({**parts, **changed}.values())


def test_only_who_is_surely_gone_counts_as_dead():
    """Another host, another container, or a name that nobody understands: nobody can tell."""
    assert not owner_is_dead(this_owner())
    start = of(os.getpid()).split("/")[3].rpartition(":")[0]
    assert owner_is_dead(of(os.getpid(), birth=f"{start}:1")), "another process had this number"
    assert not owner_is_dead(of(os.getpid(), birth="another-start:1")), (
        "a machine with the same name, numbers and first namespace: a copy, or a container's host"
    )
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = of(child.pid)
    assert not owner_is_dead(owner)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owner_is_dead(owner), "a zombie carries nothing"
    child.communicate()
    assert owner_is_dead(owner)
    gone = owner.split("/")
    assert not owner_is_dead("/".join(("elsewhere", *gone[1:])))
    assert not owner_is_dead("/".join((gone[0], "pid:[1]", *gone[2:])))
    for strange in ("", "worker", "a/b/c", "a/b/c/d/e", "/" * 9):
        assert not owner_is_dead(strange)
        assert described(strange) == (strange if strange != "a/b/c/d/e" else "process c on a")
