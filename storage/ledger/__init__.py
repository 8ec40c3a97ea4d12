"""The ledger: every function that reads and writes it, within one transaction.

A `Ledger` takes a SQLAlchemy session and is had from `Database.transaction`. What it does is cut
by subject: `plan` (project … step), `runs` (runs, workstreams, errors), `attempts` and
`attempt_history`, `evidence` (verifications, deliveries), `deliveries` (what became of them),
`commits` (what hosts that lack a commit take it from),
`phases` (feature runs, phases, work stages), `agents` (sandboxes, invocations, tool calls), `locks`
(leases of runs, locks of files), `memories` (what later steps are told), `recovery` (taking up what
was cut off) and `tool_results` (what read-only tools said a moment ago). What it returns are
identifiers and plain dictionaries that outlive the transaction (`storage.rows`).
"""

from __future__ import annotations

from storage.ledger.agents import Agents
from storage.ledger.attempts import Attempts
from storage.ledger.commits import Commits
from storage.ledger.ctas import Ctas
from storage.ledger.deliveries import Deliveries
from storage.ledger.evidence import Evidence
from storage.ledger.locks import Locks
from storage.ledger.memories import Memories
from storage.ledger.phases import Phases
from storage.ledger.reading import Reading
from storage.ledger.recovery import Recovery
from storage.ledger.rollbacks import Rollbacks
from storage.ledger.tool_results import ToolResults


class Ledger(
    Ctas, Rollbacks, Recovery, Locks, Attempts, Evidence, Deliveries, Commits, Phases, Agents,
    Memories, ToolResults, Reading,
):  # fmt: skip
    """The ledger within one transaction. Nothing of it is kept unless the transaction commits."""
