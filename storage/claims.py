"""Flow runs whose run is being prepared: claimed in the database, free when their host is gone.

Before a run is stored there is no row that a lease could be on. A lock of the database session
serves then: it ends with the connection, and with that of a host that died or is cut off within
half a minute (`storage.database`). Connections that are shared among clients (a pooler that hands
them on after each transaction) do not serve for this.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from storage.exceptions import GreenlineError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.database import Database


class ClaimTaken(GreenlineError):  # noqa: N818 - it names what happened
    """Another process is at it."""

    def __init__(self, flow_run_id: str) -> None:
        super().__init__(
            f"another process prepares the run of flow run {flow_run_id}; this one leaves it alone"
        )


@dataclass(frozen=True)
class FlowRunClaim:
    """The right to prepare the run of a Prefect flow run, held for as long as its connection lasts.

    Attributes:
        flow_run_id: the flow run.
        connection: to the ledger's database, and to nothing in between.
    """

    flow_run_id: str
    connection: psycopg.Connection[Any]

    def require(self) -> None:
        """Make sure that it was held without a break: nobody else can have begun with it.

        Raises:
            ServiceError: the connection broke meanwhile.
        """
        try:
            self.connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise ServiceError(
                "the ledger's PostgreSQL was away while the run was prepared "
                f"({' '.join(str(error).split())}); somebody else may be at it by now"
            ) from error


@contextmanager
def claimed(database: Database, flow_run_id: str) -> Iterator[FlowRunClaim]:
    """Claim a flow run for as long as the context lasts.

    Raises:
        ClaimTaken: another process has it.
        ServiceError: the database does not answer.
    """
    connection = database.get_connection()
    try:
        connection.autocommit = True
        if not _try(connection, flow_run_id):
            raise ClaimTaken(flow_run_id)
        yield FlowRunClaim(flow_run_id, connection)
        with suppress(psycopg.Error):  # at once; else when the server sees that we are gone
            connection.execute("SELECT pg_advisory_unlock(%s)", (_key(flow_run_id),))
    finally:
        connection.close()


def is_claimed(connection: psycopg.Connection[Any], flow_run_id: str) -> bool:
    """Say whether some process prepares the run of a flow run at this moment."""
    if not _try(connection, flow_run_id):
        return True
    connection.execute("SELECT pg_advisory_unlock(%s)", (_key(flow_run_id),))
    return False


def _try(connection: psycopg.Connection[Any], flow_run_id: str) -> bool:
    query = "SELECT pg_try_advisory_lock(%s) AS got"
    found = connection.execute(query, (_key(flow_run_id),)).fetchone()
    return bool(found["got"]) if found else False


def _key(flow_run_id: str) -> int:
    digest = hashlib.sha256(f"greenline flow run {flow_run_id}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
