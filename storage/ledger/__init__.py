"""The ledger: every function that reads and writes it, within one transaction.

A `Ledger` takes a SQLAlchemy session and is had from `Database.transaction`. What it does is cut
by subject: `plan` (project … step), `runs` (runs, workstreams, errors), `attempts` and
`attempt_history`, `evidence` (verifications, deliveries), `phases` (feature runs, phases, work
stages) and `agents` (sandboxes, invocations, tool calls). What it returns are identifiers and
plain dictionaries that outlive the transaction (`storage.rows`).
"""

from __future__ import annotations

from storage.ledger.agents import Agents
from storage.ledger.attempts import Attempts
from storage.ledger.evidence import Evidence
from storage.ledger.phases import Phases
from storage.ledger.reading import Reading


class Ledger(Attempts, Evidence, Phases, Agents, Reading):
    """The ledger within one transaction. Nothing of it is kept unless the transaction commits."""
