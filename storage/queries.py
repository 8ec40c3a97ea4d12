"""What commands that only read ask the ledger: plain SQL over psycopg, quick to import.

The statements are in `sql/*.sql`, each with a name and a sentence. `Ledger` has the same functions
on its own transaction.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

from psycopg.rows import dict_row

if TYPE_CHECKING:
    import datetime as dt

    import psycopg

    from storage.rows import CaseResultRow, CtaOption, ProjectRow, RunRow

_FOLDER: Final = Path(__file__).parent / "sql"
_ALL: Final = 2**31 - 1


class RunSummary(TypedDict):
    """A run and how far it got."""

    run_id: str
    project_id: int | None
    project: str | None
    feature: str | None
    status: str
    branch: str | None
    created_at: dt.datetime
    updated_at: dt.datetime
    workstreams: int
    workstreams_done: int
    steps: int
    steps_completed: int
    attempts: int


class AttemptSummary(TypedDict):
    """An attempt as listings show it. Durations are milliseconds."""

    attempt_id: int
    number: int | None
    attempt_no: int
    status: str
    active: bool
    failure_class: str | None
    commit_sha_before: str | None
    commit_sha_after: str | None
    exit_code: int | None
    duration_ms: int | None
    token_usage: dict[str, Any] | None
    started_at: dt.datetime
    completed_at: dt.datetime | None


class StepSummary(TypedDict):
    """A step of a run with the run's attempts at it."""

    step_id: int
    task: str
    subtask: str
    subtask_title: str
    step_number: int
    step_type: str
    file_path: str | None
    status: str
    assigned_to: str
    attempt_count: int
    last_error: str | None
    ws_id: str | None
    workstream_status: str | None
    attempts: list[AttemptSummary]


class VerificationSummary(TypedDict):
    """An execution of the test command that judged an attempt.

    `not_passed` has `{node_id, outcome, message}` of each test that failed, errored or could not
    be loaded.
    """

    verification_id: int
    kind: str
    tree: str
    exit_code: int | None
    timed_out: bool
    duration_ms: int | None
    passed: int | None
    failed: int | None
    errored: int | None
    skipped: int | None
    load_errors: int | None
    report_state: str
    not_passed: list[dict[str, Any]]


class InvocationSummary(TypedDict):
    """An agent's process or conversation: what it asked of models, and which tools it used."""

    invocation_id: str
    model: str | None
    provider: str | None
    requests: int | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cost_reported: float | None
    cost_computed: float | None
    price_version: str | None
    started_at: dt.datetime
    completed_at: dt.datetime | None
    tool_calls: list[dict[str, Any]]


class AttemptDetails(AttemptSummary):
    """Everything about one attempt."""

    intervened: bool
    agent_config: dict[str, Any] | None
    result_json: dict[str, Any] | None
    parent_number: int | None
    run_id: str
    ws_id: str
    step_name: str
    project_id: int
    project: str
    repo_path: str
    feature: str | None
    subtask: str | None
    step_id: int | None
    step_number: int | None
    step_type: str | None
    file_path: str | None
    instructions: str | None
    assigned_to: str | None
    step_status: str | None
    verifications: list[VerificationSummary]
    invocations: list[InvocationSummary]


class SubtaskDetails(TypedDict):
    """A stored subtask, and the run that it is part of."""

    subtask_id: int
    key: str
    status: str
    project_id: int
    repo_path: str
    ws_id: str
    run_id: str
    workstream_status: str
    base_commit: str
    plan: dict[str, Any]


class CtaSummary(TypedDict):
    """A question to a person: its row of `agent.cta_events`, and whom it is about.

    `open` says that it can be answered.
    """

    id: str
    run_id: str
    phase_result_id: str | None
    invocation_id: str | None
    tool_call_id: str | None
    kind: str
    request_message: str
    request_prompt: str | None
    request_placeholder: str | None
    request_options: list[CtaOption] | None
    response_approved: bool | None
    response_reason: str | None
    response_text: str | None
    response_selected_id: str | None
    requested_at: dt.datetime
    responded_at: dt.datetime | None
    timed_out: bool
    ws_id: str | None
    step_id: int | None
    expires_at: dt.datetime | None
    responded_by: str | None
    open: bool
    run_status: str
    project: str | None
    feature: str | None
    subtask: str | None
    step_number: int | None
    step_type: str | None
    file_path: str | None


@cache
def statement(name: str) -> bytes:
    """Return the SQL of that name."""
    return (_FOLDER / f"{name}.sql").read_bytes()


def _fetch(
    connection: psycopg.Connection[Any], query: str, /, **parameters: Any
) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(query), parameters).fetchall()


def commit_line(connection: psycopg.Connection[Any], sha: str) -> list[str]:
    """Return the kept commits that lead to one, the oldest first; none: it is not kept."""
    return [row["sha"] for row in _fetch(connection, "commit_line", sha=sha)]


def commit_pack(connection: psycopg.Connection[Any], sha: str) -> bytes:
    """Return the objects of a kept commit as a thin pack."""
    return bytes(_fetch(connection, "commit_pack", sha=sha)[0]["pack"])


def list_projects(connection: psycopg.Connection[Any]) -> list[ProjectRow]:
    """Return all projects by name."""
    return cast("list[ProjectRow]", _fetch(connection, "projects", name=None, repo_path=None))


def find_project(
    connection: psycopg.Connection[Any], *, name: str | None = None, repo_path: str | None = None
) -> ProjectRow | None:
    """Return the project with that name or at that path, None if there is none."""
    found = _fetch(connection, "projects", name=name, repo_path=repo_path)
    return cast("ProjectRow", found[0]) if found else None


def list_runs(
    connection: psycopg.Connection[Any], project_id: int | None = None, limit: int | None = None
) -> list[RunSummary]:
    """Return the runs of a project or of all, the latest first."""
    found = _fetch(connection, "runs", project_id=project_id, limit=limit or _ALL)
    return cast("list[RunSummary]", found)


def find_run(connection: psycopg.Connection[Any], run_id: str) -> RunRow | None:
    """Return the run with that id, or the one whose id alone begins so; None: none or several."""
    found = _fetch(connection, "run", run_id=run_id)
    exact = [row for row in found if row["run_id"] == run_id]
    only = exact or found
    return cast("RunRow", only[0]) if len(only) == 1 else None


def run_of_flow_run(connection: psycopg.Connection[Any], flow_run_id: str) -> str | None:
    """Return the run that a Prefect flow run carried last, None if it carried none."""
    found = _fetch(connection, "run_of_flow_run", flow_run_id=flow_run_id)
    return found[0]["run_id"] if found else None


def spent(
    connection: psycopg.Connection[Any], project_id: int, run_id: str, step_id: int
) -> dict[str, float]:
    """Return tokens and USD used so far by budget (`step_tokens` …)."""
    return _fetch(connection, "spent", project_id=project_id, run_id=run_id, step_id=step_id)[0]


def metered_usage(connection: psycopg.Connection[Any], attempt_id: int) -> list[dict[str, Any]]:
    """Return what an attempt used by its metered model requests; no row: none was metered."""
    return _fetch(connection, "metered_usage", attempt_id=attempt_id)


def budgets_raised(connection: psycopg.Connection[Any], run_id: str) -> dict[str, int]:
    """Return how often people let a run spend as much again, by budget."""
    rows = _fetch(connection, "budgets_raised", run_id=run_id)
    return {row["budget"]: row["times"] for row in rows}


def find_subtask(connection: psycopg.Connection[Any], subtask: int | str) -> SubtaskDetails | None:
    """Return the stored subtask with that id, or the latest one with that key."""
    by_id = isinstance(subtask, int) or subtask.isdecimal()
    found = _fetch(
        connection,
        "subtask",
        subtask_id=int(subtask) if by_id else None,
        key=None if by_id else subtask,
    )
    return cast("SubtaskDetails", found[0]) if found else None


def list_steps(connection: psycopg.Connection[Any], run_id: str) -> list[StepSummary]:
    """Return the steps of a run in plan order with the attempts at them; none: no such run."""
    attempts: dict[int, list[dict[str, Any]]] = {}
    for attempt in _fetch(connection, "run_attempts", run_id=run_id):
        attempts.setdefault(attempt.pop("step_id"), []).append(attempt)
    steps = _fetch(connection, "run_steps", run_id=run_id)
    for step in steps:
        step["attempts"] = attempts.get(step["step_id"], [])
    return cast("list[StepSummary]", steps)


def get_attempt(
    connection: psycopg.Connection[Any], project_id: int, number: int
) -> AttemptDetails | None:
    """Return everything about a project's attempt, None if there is none with that number."""
    found = _fetch(connection, "attempt", project_id=project_id, number=number)
    if not found:
        return None
    verifications = _fetch(connection, "attempt_verifications", attempt_id=found[0]["attempt_id"])
    invocations = _fetch(connection, "attempt_invocations", attempt_id=found[0]["attempt_id"])
    return cast(
        "AttemptDetails",
        {**found[0], "verifications": verifications, "invocations": invocations},
    )


def list_ctas(
    connection: psycopg.Connection[Any],
    *,
    project_id: int | None = None,
    run_id: str | None = None,
    id_begin: str | None = None,
    only_open: bool = True,
) -> list[CtaSummary]:
    """Return questions to people, the oldest first.

    Args:
        connection: where the ledger is.
        project_id: of this project only.
        run_id: of this run only.
        id_begin: only those whose id begins so, in lower case.
        only_open: those that can be answered only.
    """
    found = _fetch(
        connection,
        "inbox",
        project_id=project_id,
        run_id=run_id,
        id=id_begin,
        only_open=only_open,
    )
    return cast("list[CtaSummary]", found)


def counts_by_status(connection: psycopg.Connection[Any]) -> dict[str, dict[str, int]]:
    """Return how many runs, workstreams, steps and attempts there are in each status."""
    counts: dict[str, dict[str, int]] = {
        "runs": {},
        "workstreams": {},
        "steps": {},
        "attempts": {},
    }
    for row in _fetch(connection, "counts"):
        counts[row["what"]][row["status"]] = row["n"]
    return counts


def last_outcomes(connection: psycopg.Connection[Any], run_id: str) -> list[CaseResultRow]:
    """Return what each test did last on the run's line of commits.

    That is over the run's baseline and its active attempts that succeeded or were skipped.
    """
    return cast("list[CaseResultRow]", _fetch(connection, "last_outcomes", run_id=run_id))
