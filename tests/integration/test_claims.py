"""A flow run is prepared by one process at a time, and by the next once that one is gone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from storage.claims import ClaimTaken, claimed, is_claimed
from storage.exceptions import ServiceError

#: Claims a flow run, says so, and keeps it until it is killed.
CLAIMER = """
import sys, time
from storage.claims import claimed
from storage.database import Database
with claimed(Database(sys.argv[1]), "a"):
    print("claimed", flush=True)
    time.sleep(600)
"""


def test_a_claim_is_held_until_its_process_is_gone(database):
    """Another flow run is nobody's business; of the same one the second is told so."""
    holder = subprocess.Popen(
        [sys.executable, "-c", CLAIMER, database.url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "claimed\n"
        with database.get_connection() as connection:
            connection.autocommit = True
            assert is_claimed(connection, "a") and not is_claimed(connection, "b")
            with pytest.raises(ClaimTaken, match="flow run a"), claimed(database, "a"):
                pass
            with claimed(database, "b") as other:
                other.require()
            holder.kill()
            holder.wait()
            # Whoever waits for the same gets it when the server has seen that the holder is gone.
            connection.execute("SET statement_timeout = '20s'")
            with claimed_at_last(database) as claim:
                claim.require()
                assert is_claimed(connection, "a")
            assert not is_claimed(connection, "a")
    finally:
        holder.kill()
        holder.communicate()


def claimed_at_last(database):
    while True:
        with database.get_connection() as connection:
            if not is_claimed(connection, "a"):
                return claimed(database, "a")


def test_a_claim_that_was_interrupted_does_not_count(database):
    """Somebody else may have begun meanwhile: what was prepared is not stored."""
    with claimed(database, "a") as claim, database.get_connection() as connection:
        connection.autocommit = True
        claim.require()
        pid = claim.connection.info.backend_pid
        connection.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        assert not is_claimed(connection, "a")
        with pytest.raises(ServiceError, match="somebody else may be at it"):
            claim.require()
