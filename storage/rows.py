"""What the ledger hands out and takes in: plain dictionaries that outlive their transaction.

Times are aware `datetime`s in UTC, durations are milliseconds, costs are USD. None means that a
figure was not measured or that a thing is not there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, NotRequired, Protocol, Required, TypedDict


class ProjectRow(TypedDict):
    """A row of `projects`."""

    id: int
    name: str
    repo_path: str
    default_branch: str
    last_attempt_number: int
    created_at: dt.datetime
    updated_at: dt.datetime


class StepRow(TypedDict):
    """A row of `steps`."""

    id: int
    project_id: int
    subtask_id: int
    step_number: int
    step_type: str
    file_path: str | None
    instructions: str | None
    status: str
    assigned_to: str
    context_snapshot: Any
    context_files: list[str] | None
    attempt_count: int
    last_error: str | None
    parent_step_id: int | None
    created_at: dt.datetime
    updated_at: dt.datetime


class RunRow(TypedDict):
    """A row of `runs`."""

    run_id: str
    feature_id: int | None
    status: str
    created_at: dt.datetime
    updated_at: dt.datetime
    metadata_json: dict[str, Any] | None
    lease_owner: str | None
    lease_expires_at: dt.datetime | None
    head_commit: str | None


class WorkstreamRow(TypedDict):
    """A row of `workstreams`."""

    ws_id: str
    run_id: str
    subtask_id: int | None
    status: str
    depends_on: list[str]
    created_at: dt.datetime
    updated_at: dt.datetime
    metadata_json: dict[str, Any] | None


class AttemptRow(TypedDict):
    """A row of `step_attempts`."""

    id: int
    project_id: int | None
    run_id: str
    ws_id: str
    step_id: int | None
    step_name: str
    status: str
    started_at: dt.datetime
    completed_at: dt.datetime | None
    result_json: dict[str, Any] | None
    number: int | None
    active: bool
    parent_attempt_id: int | None
    commit_sha_before: str | None
    commit_sha_after: str | None
    agent_config: dict[str, Any] | None
    duration_ms: int | None
    token_usage: dict[str, Any] | None
    exit_code: int | None
    attempt_no: int
    failure_class: str | None
    intervened: bool
    fingerprint: str | None


class AttemptOutcomeFields(TypedDict, total=False):
    """How an attempt ended. What is not given is left as it is."""

    commit_sha_after: str | None
    exit_code: int | None
    duration_ms: int | None
    token_usage: dict[str, Any] | None
    failure_class: str | None
    result: dict[str, Any] | None
    error: str | None  # for people; becomes the step's last_error
    signature: str | None  # the error's normalised form; with it the error is recorded
    intervened: bool


class FailureRow(TypedDict):
    """A failed attempt at a step, as the breaker and the next attempt's prompt need it."""

    attempt_id: int
    number: int | None
    attempt_no: int
    failure_class: str
    signature: str | None
    message: str | None
    commit_sha_after: str | None
    started_at: dt.datetime
    completed_at: dt.datetime | None
    result_json: dict[str, Any] | None


class EventRow(TypedDict):
    """A row of `events`."""

    id: int
    timestamp: dt.datetime
    run_id: str | None
    ws_id: str | None
    event_type: str
    payload_json: Any


class PackedCommit(TypedDict):
    """A commit of an attempt with the objects that it added to its parent, as a thin pack."""

    sha: str
    parent: str
    pack: bytes


class FileLockRow(TypedDict):
    """A row of `file_locks`."""

    project_id: int
    file_path: str
    holder: str
    run_id: str | None
    step_id: int | None
    token: int
    acquired_at: dt.datetime
    expires_at: dt.datetime


class DeliveryRow(TypedDict):
    """A row of `deliveries`."""

    id: int
    run_id: str
    mode: str
    target_branch: str
    commit_sha: str
    delivered_at: dt.datetime
    accepted: bool | None
    reverted_at: dt.datetime | None
    lines_added: int | None
    lines_deleted: int | None


class RollbackRow(TypedDict):
    """A row of `rollbacks`."""

    id: int
    run_id: str
    attempt_id: int
    commits: list[str]  # those that go, newest first
    backup_ref: str | None
    state: str  # pending, done
    who: str | None
    why: str | None
    created_at: dt.datetime
    completed_at: dt.datetime | None


class VerificationRow(TypedDict):
    """A row of `verifications`."""

    id: int
    run_id: str
    attempt_id: int | None
    kind: str
    tree: str
    commit_sha: str | None
    command_hash: str
    exit_code: int | None
    timed_out: bool
    started_at: dt.datetime
    duration_ms: int | None
    passed: int | None
    failed: int | None
    errored: int | None
    skipped: int | None
    load_errors: int | None
    report_state: str
    created_at: dt.datetime


class CaseResultLike(Protocol):
    """The outcome of one test, as whoever read the report has it."""

    @property
    def node_id(self) -> str:
        """The test's name, unique within the suite."""

    @property
    def file_path(self) -> str | None:
        """The file that it lives in."""

    @property
    def outcome(self) -> str:
        """One of passed, failed, errored, skipped, load_error."""

    @property
    def duration_ms(self) -> int | None:
        """How long it ran."""

    @property
    def message(self) -> str | None:
        """What went wrong."""


class CaseResultRow(TypedDict):
    """A row of `test_results` without its keys."""

    node_id: str
    file_path: str | None
    outcome: str
    duration_ms: int | None
    message: str | None


class VerificationFields(TypedDict, total=False):
    """One execution of the test command."""

    kind: Required[str]
    tree: Required[str]
    command_hash: Required[str]
    report_state: Required[str]
    attempt_id: int | None
    commit_sha: str | None
    exit_code: int | None
    timed_out: bool
    started_at: dt.datetime
    duration_ms: int | None
    passed: int | None
    failed: int | None
    errored: int | None
    skipped: int | None
    load_errors: int | None
    results: Iterable[CaseResultLike]


class ModelCallFields(TypedDict, total=False):
    """What an invocation and each model request inside it have in common."""

    model_provider: str | None
    model_id: str | None
    system_prompt: str | None
    input_messages: Any
    finish_reason: str | None
    raw_finish_reason: str | None
    output_text: str | None
    output_reasoning_text: str | None
    output_content: Any
    response_id: str | None
    response_model_id: str | None
    warnings: Any
    provider_metadata: Any
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    input_tokens_no_cache: int | None
    input_tokens_cache_read: int | None
    input_tokens_cache_write: int | None
    output_tokens_text: int | None
    output_tokens_reasoning: int | None
    usage_raw: Any


class InvocationTotals(ModelCallFields, total=False):
    """What the model requests of an invocation add up to."""

    step_count: int | None
    cost_computed: float | None
    price_version: str | None


class InvocationFields(InvocationTotals, total=False):
    """One agent process or conversation with a model."""

    phase_result_id: Required[str]
    agent_type: Required[str]
    id: str
    parent_invocation_id: str | None
    attempt_id: int | None
    cost_reported: float | None
    started_at: dt.datetime
    completed_at: dt.datetime | None


class AgentStepFields(ModelCallFields, total=False):
    """One model request inside an invocation."""

    step_number: Required[int]
    created_at: dt.datetime


class ToolCallFields(TypedDict):
    """One use of a tool."""

    tool_call_id: str
    tool_name: str
    step_id: NotRequired[str | None]
    input: NotRequired[Any]
    output: NotRequired[Any]
    output_type: NotRequired[str | None]
    is_dynamic: NotRequired[bool]
    is_invalid: NotRequired[bool]
    error: NotRequired[Any]
    is_preliminary: NotRequired[bool]
    is_provider_executed: NotRequired[bool]
    title: NotRequired[str | None]
    provider_metadata: NotRequired[Any]
    created_at: NotRequired[dt.datetime]


class SandboxFields(TypedDict, total=False):
    """What a sandbox is made from and runs on."""

    source_type: Required[str]
    id: str
    runtime: str | None
    memory: int | None
    vcpus: int | None
    region: str | None
    cwd: str | None
    timeout: int | None
    network_policy: Any
    source_snapshot_id: str | None
    source_url: str | None
    source_revision: str | None
    source_depth: int | None


class CtaOption(TypedDict):
    """One answer that a question of the kind `choice` offers."""

    id: str
    label: str
    needs_text: NotRequired[bool]  # it says nothing without further words
    raises: NotRequired[str]  # the budget that the run may spend once more


class CtaFields(TypedDict, total=False):
    """Whom a question to a person is about, who asks, and how."""

    ws_id: str | None
    step_id: int | None
    phase_result_id: str | None
    invocation_id: str | None
    tool_call_id: str | None
    prompt: str | None
    placeholder: str | None


class CtaRow(TypedDict):
    """A row of `agent.cta_events`.

    Answered: `responded_at` is set and the response says what. Closed (the run was given up):
    `responded_at` is set, and at most the reason.
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


class ToolResultKey(TypedDict):
    """Which call of a tool a result is of."""

    tool_name: str
    action: str | None
    args_hash: str


class ToolResultRow(TypedDict):
    """What a tool said, and how many seconds ago."""

    result: Any
    age_s: float


class SubtaskStepRow(TypedDict):
    """A step among those of its subtask."""

    subtask_id: int
    key: str
    title: str
    status: str
    step_number: int
    step_type: str
    file_path: str | None
    step_status: str
    attempt_count: int
    this_one: bool


class MemoryRow(TypedDict):
    """A row of `agent.memory_records`."""

    id: str
    run_id: str
    phase_result_id: str | None
    invocation_id: str | None
    phase: str
    kind: str
    content: str
    created_at: dt.datetime
