"""Every state that the ledger knows, and every move between two states, as plain data.

This module imports nothing of ours and no library: the pipeline, the migrations' tests, the
documentation and the ledger all read the same table. `storage.transitions` is the one place that
changes a state; a database trigger over a copy of the same table (`legal_transitions`) refuses
illegal moves from raw SQL.

Each enum value carries its meaning, which is what `docs/state_machine.md` prints.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


class Choice(StrEnum):
    """A value of a database enum, with a sentence that says what it means."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """Make a member that is its value as a string and remembers its meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    @classmethod
    def values(cls) -> tuple[str, ...]:
        """Return all values in the order of the database enum."""
        return tuple(member.value for member in cls)


# --- schema public: the plan and its execution ---------------------------------------------------


class RunStatus(Choice):
    """Where one execution of a feature plan stands (`run_status`)."""

    PENDING = "pending", "stored, nothing of it has begun"
    RUNNING = "running", "a flow carries it, or it waits for a person or for one to resume it"
    COMPLETED = "completed", "every workstream is done and the result is delivered"
    FAILED = "failed", "no workstream got done, or a phase failed"
    PARTIAL = "partial", "at least one workstream is done, not all of them"
    ABANDONED = "abandoned", "a person gave it up"


class WorkstreamStatus(Choice):
    """Where one subtask inside one run stands (`workstream_status`)."""

    PENDING = "pending", "waits for the workstreams it depends on"
    READY = "ready", "everything it depends on is done"
    EDITING = "editing", "an agent works on a step"
    STATIC_CHECK = "static_check", "scope, lint and compile gates on what the agent left"
    FIXING = "fixing", "a gate failed, the next try is being prepared"
    RUNTIME_CHECK = "runtime_check", "the test gate on what the agent left"
    DONE = "done", "every step is completed and the review passed"
    FAILED = "failed", "it was stopped: attempts, budget or patience are used up"
    BLOCKED = "blocked", "a workstream it depends on failed"
    ABANDONED = "abandoned", "a person gave it up, or its run was abandoned"


class StepStatus(Choice):
    """Where a step stands; features, tasks and subtasks use the same type (`status`)."""

    PENDING = "pending", "not begun, or put back by a reset or a rollback"
    IN_PROGRESS = "in_progress", "work on it goes on"
    COMPLETED = "completed", "it passed every gate, or was skipped for a recorded reason"
    FAILED = "failed", "the last try failed; another one may follow"


class AttemptStatus(Choice):
    """How one try of an agent at a step ended (`attempt_status`)."""

    IN_PROGRESS = "in_progress", "the agent or the gates are at work, or their process was killed"
    SUCCESS = "success", "every gate passed and the commit is recorded"
    FAILURE = "failure", "the agent or a gate failed; failure_class says which"
    SKIPPED = "skipped", "nothing had to be done; the result says why"


class WorkStage(Choice):
    """The stages of the work on a subtask or a feature (`work_stage`)."""

    PENDING = "pending", "not begun"
    ANALYSIS = "analysis", "the facts are gathered"
    UNIT_TESTING = "unit_testing", "test steps"
    UNIT_IMPLEMENTATION = "unit_implementation", "implementation steps"
    INTEGRATION_TESTING = "integration_testing", "test steps of the integration list"
    INTEGRATION_IMPLEMENTATION = (
        "integration_implementation",
        "implementation steps of the integration list",
    )
    REVIEW = "review", "the result is judged as a whole"
    COMPLETED = "completed", "the review passed"


class StepType(Choice):
    """What a step makes (`step_type`)."""

    IMPLEMENTATION = "implementation", "code that makes tests pass"
    TEST = "test", "tests"


class AssignedTo(Choice):
    """The role that does a step (`assigned_to`)."""

    TARA_AIDER = "TaraAider", "writes tests"
    DEVON_AIDER = "DevonAider", "writes implementations"


# --- schema agent: what the agents did -----------------------------------------------------------


class SandboxStatus(Choice):
    """Where an isolated worktree stands (`agent.sandbox_status`)."""

    PENDING = "pending", "asked for, being set up"
    RUNNING = "running", "ready for an agent"
    STOPPING = "stopping", "being taken down"
    STOPPED = "stopped", "taken down in order"
    FAILED = "failed", "setting it up or taking it down failed"
    ABORTED = "aborted", "its run was given up or its process was killed"
    SNAPSHOTTING = "snapshotting", "its state is being saved"


class SandboxSourceType(Choice):
    """What a sandbox was made from (`agent.sandbox_source_type`)."""

    GIT = "git", "a commit of a repository"
    TARBALL = "tarball", "an archive"
    SNAPSHOT = "snapshot", "a saved sandbox"
    EMPTY = "empty", "nothing"


class SnapshotStatus(Choice):
    """Where a saved sandbox stands (`agent.snapshot_status`)."""

    CREATED = "created", "can be used"
    DELETED = "deleted", "was removed"
    FAILED = "failed", "could not be made, or turned out to be unusable"


class FeaturePhase(Choice):
    """The phases of a feature (`agent.feature_phase`)."""

    ANALYSIS = "analysis", "the facts: languages, tests, baseline"
    APPROACHES = "approaches", "explorers propose ways to do it"
    JUDGING = "judging", "judges look at the approaches"
    IMPLEMENTATION = "implementation", "the steps are done"
    PR = "pr", "gates on the merged result, then delivery"
    COMPLETED = "completed", "delivered"
    FAILED = "failed", "a phase failed or the run was given up"


class PhaseStatus(Choice):
    """How one phase went (`agent.phase_status`)."""

    RUNNING = "running", "under way, or its process was killed"
    PASSED = "passed", "done, the next phase may begin"
    FAILED = "failed", "it stops the run"


class AgentType(Choice):
    """What an invocation was for (`agent.agent_type`)."""

    ORCHESTRATOR = "orchestrator", "plans the work"
    EXPLORER = "explorer", "reads the repository and proposes"
    CODER = "coder", "writes the file of a step"
    JUDGE = "judge", "looks for what is wrong"
    META_JUDGE = "meta_judge", "picks among what the judges approved"


class FinishReason(Choice):
    """Why a model or an agent stopped (`agent.finish_reason`)."""

    STOP = "stop", "it was done"
    LENGTH = "length", "the token limit was reached"
    CONTENT_FILTER = "content-filter", "the provider's filter stopped it"
    TOOL_CALLS = "tool-calls", "it waits for the results of tools"
    ERROR = "error", "it broke"
    OTHER = "other", "anything else; raw_finish_reason has the provider's word"


class ToolOutputType(Choice):
    """What kind of output a tool gave (`agent.tool_output_type`)."""

    TEXT = "text", "text"
    JSON = "json", "a JSON value"
    EXECUTION_DENIED = "execution-denied", "the call was not permitted"
    ERROR_TEXT = "error-text", "an error message"
    ERROR_JSON = "error-json", "an error as a JSON value"
    CONTENT = "content", "a list of content parts"


class MemoryKind(Choice):
    """What a memory of a run holds (`agent.memory_kind`)."""

    INSIGHT = "insight", "something learnt about the project"
    FAILURE = "failure", "something that was tried and did not work"
    DECISION = "decision", "something that was decided"
    CONSTRAINT = "constraint", "something that must hold"


class CtaKind(Choice):
    """What a call to action asks for (`agent.cta_kind`)."""

    APPROVAL = "approval", "yes or no, with a reason"
    TEXT = "text", "an answer in words"
    CHOICE = "choice", "one of the options"


class FailureClass(Choice):
    """Why an attempt failed (`step_attempts.failure_class`, text)."""

    AGENT_ERROR = "agent_error", "the agent ended badly and left nothing usable"
    AGENT_TIMEOUT = "agent_timeout", "the agent passed its time limit"
    RATE_LIMITED = "rate_limited", "the model's provider asked to wait"
    QUOTA_EXHAUSTED = "quota_exhausted", "the provider's quota is used up until it resets"
    AUTH = "auth", "the provider refused the key"
    CONTEXT_OVERFLOW = "context_overflow", "the prompt was longer than the model takes"
    NO_CHANGE = "no_change", "the agent changed nothing and the expectation is not met"
    SCOPE_VIOLATION = "scope_violation", "something other than the step's file was changed"
    STATIC_CHECK = "static_check", "lint or compile failed"
    NOT_RED = "not_red", "a test step left no failing test"
    RED_ERROR = "red_error", "a test step's tests fail for a wrong reason"
    NOT_GREEN = "not_green", "an implementation step left tests of its subtask failing"
    REGRESSION = "regression", "a test that passed before fails"
    TEST_TAMPERING = "test_tampering", "a test is gone, weakened or newly skipped"
    FLAKY = "flaky", "a test's outcome differed on the same tree"
    BUDGET_EXCEEDED = "budget_exceeded", "tokens or money are used up"
    CONFLICT = "conflict", "its commits could not be rebased onto the run's head"
    REJECTED = "rejected", "a reviewer or a person said no"
    CRASHED = "crashed", "the process that carried it was killed"
    INFRA = "infra", "something that a run needs did not work"
    UNKNOWN = "unknown", "none of the others could be told"


TRANSIENT: Final[frozenset[FailureClass]] = frozenset(
    {
        FailureClass.RATE_LIMITED,
        FailureClass.QUOTA_EXHAUSTED,
        FailureClass.INFRA,
        FailureClass.CRASHED,
    }
)
"""Classes that use up none of a step's attempts and have a bound of their own."""


# --- the moves -----------------------------------------------------------------------------------


def _moves(*lines: str) -> Mapping[str, frozenset[str]]:
    """Read lines of the form ``from[|from] -> to[|to]`` into from -> every legal to."""
    table: dict[str, set[str]] = {}
    for line in lines:
        before, _, after = line.replace(" ", "").partition("->")
        for state in before.split("|"):
            table.setdefault(state, set()).update(after.split("|"))
    return MappingProxyType({state: frozenset(to) for state, to in table.items()})


# `failed -> in_progress` is a retry, `failed -> pending` a reset, `completed -> pending` a rollback
# or a review that asked for changes. Features, tasks and subtasks move like their steps.
_STEP = _moves(
    "pending -> in_progress",
    "in_progress -> completed | failed",
    "failed -> in_progress | pending",
    "completed -> pending",
)

TRANSITIONS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = MappingProxyType(
    {
        "run": _moves(
            "pending -> running | abandoned",
            "running -> completed | failed | partial | abandoned",
        ),
        "workstream": _moves(
            "pending -> ready",
            "ready -> editing",
            "editing -> static_check",
            "static_check -> runtime_check | fixing",
            "runtime_check -> done | fixing",
            "fixing -> static_check | runtime_check",
            "static_check | runtime_check | fixing -> editing",  # next step, next try, resume
            "done -> ready",  # rollback, reopened by review
            "pending | ready -> blocked",
            "blocked -> ready",
            # A state is terminal when nothing leads out of it. `done` can be reopened, so it is
            # not, and the gates on the merged result may still find that it broke something.
            "pending | ready | editing | static_check | fixing | runtime_check | done | blocked"
            " -> failed | abandoned",
        ),
        "feature": _STEP,
        "task": _STEP,
        "subtask": _STEP,
        "step": _STEP,
        "attempt": _moves("in_progress -> success | failure | skipped"),
        "work_stage": _moves(
            "pending -> analysis",
            # A stage that the subtask has no step for is left out.
            "analysis -> unit_testing | unit_implementation",
            "analysis -> integration_testing | integration_implementation",
            "unit_testing -> unit_implementation | integration_testing | review",
            "unit_implementation -> integration_testing | integration_implementation | review",
            "integration_testing -> integration_implementation | review",  # tests alone
            "integration_implementation -> review",
            "review -> completed | unit_implementation",  # the latter: changes are requested
        ),
        "feature_phase": _moves(
            "analysis -> approaches",
            "approaches -> judging",
            "judging -> implementation",
            "implementation -> pr",
            "pr -> completed",
            "analysis | approaches | judging | implementation | pr -> failed",
        ),
        "phase": _moves("running -> passed | failed"),
        "sandbox": _moves(
            "pending -> running",
            "running -> stopping | snapshotting",
            "snapshotting -> running | stopping",
            "stopping -> stopped",
            "pending | running | snapshotting | stopping -> failed | aborted",
        ),
        "snapshot": _moves("created -> deleted | failed"),
    }
)
"""entity -> state -> the states it may move to. A state that is no key has no way out."""

FIRST_WORK_STAGES: Final[frozenset[str]] = frozenset(set(WorkStage.values()) - {"completed"})
"""Where a workstream may begin: with `--from` it begins at the first stage that has steps left."""

STATES: Final[Mapping[str, type[Choice]]] = MappingProxyType(
    {
        "run": RunStatus,
        "workstream": WorkstreamStatus,
        "feature": StepStatus,
        "task": StepStatus,
        "subtask": StepStatus,
        "step": StepStatus,
        "attempt": AttemptStatus,
        "work_stage": WorkStage,
        "feature_phase": FeaturePhase,
        "phase": PhaseStatus,
        "sandbox": SandboxStatus,
        "snapshot": SnapshotStatus,
    }
)
"""entity -> the enum of its states."""


class IllegalTransition(ValueError):  # noqa: N818  the design's word, and people catch it by name
    """A state may not follow another one.

    Attributes:
        entity_type: which kind of thing was to move (a key of `TRANSITIONS`).
        from_state: the state it is in.
        to_state: the state it was to get.
        legal: the states that it may get from there, sorted.
    """

    def __init__(
        self, entity_type: str, from_state: str, to_state: str, key: object = None
    ) -> None:
        self.entity_type = entity_type
        self.from_state = str(from_state)
        self.to_state = str(to_state)
        self.legal = tuple(sorted(legal_moves(entity_type, from_state)))
        states = STATES[entity_type].values()
        if self.from_state not in states:
            would_be = f"{self.from_state!r} is no state of a {entity_type}: {', '.join(states)}"
        elif self.legal:
            would_be = f"legal from {self.from_state!r}: {', '.join(self.legal)}"
        else:
            would_be = f"{self.from_state!r} is final"
        name = entity_type if key is None else f"{entity_type} {key}"
        super().__init__(
            f"illegal transition of {name}: {self.from_state!r} -> {self.to_state!r} ({would_be})"
        )


def legal_moves(entity_type: str, from_state: str) -> frozenset[str]:
    """Return the states that an entity may move to from `from_state` (none: it is final).

    Raises:
        ValueError: there is no such entity type.
    """
    try:
        moves = TRANSITIONS[entity_type]
    except KeyError:
        known = ", ".join(TRANSITIONS)
        raise ValueError(f"unknown entity type {entity_type!r}, there are: {known}") from None
    return moves.get(from_state, frozenset())


def validate_state_transition(entity_type: str, from_state: str, to_state: str) -> None:
    """Return when the move is legal. Staying in a state is no move, and so it is not legal.

    Raises:
        IllegalTransition: names the entity, both states and what would be legal.
        ValueError: there is no such entity type.
    """
    if to_state not in legal_moves(entity_type, from_state):
        raise IllegalTransition(entity_type, from_state, to_state)
