"""The JSON documents that other programs hold on to, made from what the ledger has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from storage import queries
from storage.exceptions import InputError

if TYPE_CHECKING:
    import psycopg

    from storage.rows import RunRow

_STEP: Final = ("step_id", "subtask", "step_number", "step_type", "file_path", "status")
_ATTEMPT: Final = (
    "number",
    "attempt_no",
    "status",
    "failure_class",
    "commit_sha_before",
    "commit_sha_after",
    "exit_code",
    "duration_ms",
    "token_usage",
)


def run_document(connection: psycopg.Connection[Any], run_id: str) -> dict[str, Any]:
    """Return a run as `greenline run --json` prints it; a part of the id will do.

    Raises:
        InputError: there is no such run, or several.
    """
    run = run_meant(connection, run_id)
    steps = queries.list_steps(connection, run["run_id"])
    metadata = run["metadata_json"] or {}
    flows = metadata.get("prefect_flow_run_ids") or [None]
    return {
        "run_id": run["run_id"],
        "status": run["status"],
        "branch": metadata.get("branch"),
        "commit": head_of(steps) or metadata.get("base_commit"),
        "prefect_flow_run_id": flows[-1],
        "steps": [step_document(step) for step in steps],
        "pending_cta": None,
    }


def run_meant(connection: psycopg.Connection[Any], run_id: str) -> RunRow:
    """Return the run with that id, or the only one whose id begins so.

    Raises:
        InputError: there is none, or several.
    """
    run = queries.find_run(connection, run_id)
    if run is None:
        raise InputError(
            f"there is no run {run_id!r}, or several begin so; `greenline runs` lists them"
        )
    return run


def step_document(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step with its attempts, as it stands in a run's document."""
    return {key: step[key] for key in _STEP} | {
        "attempts": [{key: attempt[key] for key in _ATTEMPT} for attempt in step["attempts"]]
    }


def head_of(steps: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the commit that a run's active attempts have led to, None if there is none yet."""
    active = [
        attempt
        for step in steps
        for attempt in step["attempts"]
        if attempt["active"] and attempt["status"] in ("success", "skipped")
    ]
    if not active:
        return None
    commit: str | None = max(active, key=lambda attempt: attempt["number"])["commit_sha_after"]
    return commit
