"""Results of read-only tools, kept in the ledger for a while and shared among those who ask.

A result is told again when the same tool is asked the same (all nested arguments count), for the
same project, in the same state of what it reads: the caller's fingerprint says which one that is.
Only what succeeded is kept. A tool that is not known to be read-only may have written: nothing of
it is kept, and what others said before is forgotten.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from storage.database import Database
from storage.rows import ToolResultKey
from storage.text import clean_json

TTL_S: Final = 600
"""For how many seconds a result is told again."""

LARGEST: Final = 256_000
"""Characters of JSON; a larger result is not kept."""

READ_ONLY: Final = frozenset({"list_files", "search", "subtask_context"})
"""The tools whose results are kept: they change nothing."""


def args_hash(args: Mapping[str, Any]) -> str:
    """Return the hash of a call's arguments; the order of keys, at any depth, makes no difference.

    Raises:
        ValueError: a number has no form in JSON.
        TypeError: a value has none.
    """
    canonical = json.dumps(
        args, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class _Flight:
    """A call under way, and those in this process who wait for it."""

    done: threading.Event = field(default_factory=threading.Event)
    result: str | None = None  # JSON; None: it failed


_flights: dict[tuple[str, ...], _Flight] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class ToolCache:
    """The kept results of one project, asked for in a run.

    Attributes:
        database: the ledger.
        project_id: the project.
        run_id: the run that events are recorded under; None: none.
        ws_id: the workstream; None: none.
        ttl_s: for how many seconds results are told again.
    """

    database: Database
    project_id: int
    run_id: str | None = None
    ws_id: str | None = None
    ttl_s: int = TTL_S

    def call(
        self,
        tool: str,
        action: str | None,
        args: Mapping[str, Any],
        fingerprint: str,
        compute: Callable[[], Any],
    ) -> Any:
        """Return what a tool says, from the cache where that is as good.

        Who asks for what is being computed in this process already waits for it. Two processes
        may both compute.

        Args:
            tool: the tool's name.
            action: what it is asked for, where it can do several things.
            args: with what, as JSON.
            fingerprint: of the state that it reads.
            compute: asks the tool; what it returns must have a form in JSON.

        Returns:
            The result as JSON has it (tuples are lists), a copy of the caller's own.

        Raises:
            Exception: what `compute` raises; nothing is kept then.
        """
        if tool not in READ_ONLY:
            try:
                return compute()
            finally:
                self.invalidate(f"{tool} may have written")
        key = ToolResultKey(tool_name=tool, action=action, args_hash=args_hash(args))
        while True:
            with self._flight(key, fingerprint) as (flight, leads):
                if leads:
                    flight.result = json.dumps(self._lead(key, fingerprint, compute))
            if not leads:
                flight.done.wait()
            if flight.result is not None:
                if not leads:
                    self._record("cache_hit", key, fingerprint, shared=True)
                return json.loads(flight.result)
            # Whoever computed it failed, for reasons that may be theirs alone.

    def invalidate(self, reason: str = "asked for", project_id: int | None = None) -> int:
        """Forget all results of the project, or of another one; return how many there were."""
        meant = self.project_id if project_id is None else project_id
        with self.database.transaction() as ledger:
            count = ledger.forget_tool_results(meant)
            facts = {"project_id": meant, "count": count, "reason": reason}
            ledger.record_event(self.run_id, self.ws_id, "cache_invalidated", facts)
        return count

    @contextmanager
    def _flight(self, key: ToolResultKey, fingerprint: str) -> Iterator[tuple[_Flight, bool]]:
        """Give the call under way, and whether it is this caller's to carry out."""
        name = (
            self.database.url, str(self.project_id), key["tool_name"], str(key["action"]),
            key["args_hash"], fingerprint,
        )  # fmt: skip
        with _lock:
            leads = name not in _flights
            flight = _flights.setdefault(name, _Flight())
        try:
            yield flight, leads
        finally:
            if leads:
                with _lock:
                    del _flights[name]
                flight.done.set()

    def _lead(self, key: ToolResultKey, fingerprint: str, compute: Callable[[], Any]) -> Any:
        with self.database.transaction() as ledger:
            found = ledger.find_tool_result(self.project_id, key, fingerprint)
            facts = _facts(key, fingerprint)
            if found is not None:
                facts["age_s"] = round(found["age_s"], 3)
            event = "cache_miss" if found is None else "cache_hit"
            ledger.record_event(self.run_id, self.ws_id, event, facts)
        if found is not None:
            return found["result"]
        began = time.monotonic()
        result = clean_json(compute())
        size = len(json.dumps(result, ensure_ascii=False))
        if size > LARGEST:
            return result
        took = round((time.monotonic() - began) * 1000)
        facts = _facts(key, fingerprint) | {"characters": size, "duration_ms": took}
        with self.database.transaction() as ledger:
            ledger.keep_tool_result(self.project_id, key, fingerprint, result, self.ttl_s)
            ledger.record_event(self.run_id, self.ws_id, "cache_store", facts)
        return result

    def _record(self, event: str, key: ToolResultKey, fingerprint: str, **more: Any) -> None:
        with self.database.transaction() as ledger:
            facts = _facts(key, fingerprint) | more
            ledger.record_event(self.run_id, self.ws_id, event, facts)


def _facts(key: ToolResultKey, fingerprint: str) -> dict[str, Any]:
    return {
        "tool": key["tool_name"],
        "action": key["action"],
        "args_hash": key["args_hash"],
        "fingerprint": fingerprint,
    }
