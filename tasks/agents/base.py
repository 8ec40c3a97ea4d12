"""What an agent is to Greenline: a prompt, a worktree and one file in; what was observed out.

To add an agent, write a module with a class that fits :class:`Agent` and name it in
`tasks.agents.registry.ADAPTERS`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.fence import Fence
    from tasks.git import Git
    from tasks.metering.endpoint import Endpoint
    from tasks.plan.model import FeaturePlan, Replay
    from tasks.repository import UserRepository


ALLOWING: Final = "`network = true` in its section"
"""What gives an agent this machine's network."""


@dataclass(frozen=True)
class Assignment:
    """What an agent is asked to do.

    Attributes:
        prompt: all that it is told.
        worktree: where it works.
        file_path: the one file it may write, relative to the worktree.
        step_type: test or implementation.
        step_id: the step's id in the ledger.
        subtask: the subtask's key.
        attempt_no: which try within the step, from 1.
        context_files: files to read, relative to the worktree.
        timeout_s: wall-clock limit in seconds.
        private: a folder outside the worktree for its HOME and what it exchanges with Greenline;
            made and removed by whoever asks.
        base_url: where it reaches its model, ending in `/v1`: the metering proxy; None: no model
            is configured.
        left_out: what did not fit into the prompt, as phrases that name the files.
        replay: the plan's entry for this attempt, for the `replay` agent.
        plan_dir: the folder of the plan's file.
        git: Greenline's clone of the project.
        fence: what is to lie around a program that it runs; None for none.
    """

    prompt: str
    worktree: Path
    file_path: str
    step_type: str
    step_id: int
    subtask: str
    attempt_no: int
    context_files: tuple[str, ...]
    timeout_s: float
    private: Path
    base_url: str | None = None
    left_out: tuple[str, ...] = ()
    replay: Replay | None = None
    plan_dir: Path | None = None
    git: Git | None = None
    fence: Fence | None = None

    def fenced(self, *, network: bool) -> Fence | None:
        """Return the fence for its program: without a network it reaches its model alone."""
        if self.fence is None:
            return None
        port = urlsplit(self.base_url).port if self.base_url and not network else None
        return self.fence.opened(self.worktree, self.private, network=network, port=port)


@dataclass(frozen=True)
class Usage:
    """What a model was used for; None is not measured, which is not zero.

    Attributes:
        model: which one.
        input_tokens: all that went in, from a cache too.
        output_tokens: all that came out.
        cache_read_tokens: of the input, what a cache had.
        cost_usd: what the agent says that it cost.
        cost_computed: what it cost by the price table.
    """

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cost_usd: float | None = None
    cost_computed: float | None = None


@dataclass(frozen=True)
class ToolCall:
    """One use of a tool, as the agent's own protocol tells it."""

    tool_call_id: str
    tool_name: str
    input: dict[str, Any]
    output: Any = None
    output_type: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class AgentResult:
    """How an agent ended. What it did is in the worktree, and judged there.

    Attributes:
        exit_code: of its program; recorded, never believed.
        timed_out: it was killed at its time limit.
        duration_ms: wall-clock time.
        usage: what it reports, or nobody measured.
        transcript: what it wrote to standard output.
        stderr: what it wrote to standard error.
        error: what went wrong with the agent itself, or with what it reported, as a sentence.
        failure_class: what that would fail an attempt as when nothing usable is left in the
            worktree; None when nothing speaks against the agent.
        leftovers: processes that it left behind; they were killed.
        tool_calls: its uses of tools, where its protocol tells them and nobody metered them.
        reported: what it says of its usage itself, where that was metered.
    """

    exit_code: int | None
    timed_out: bool
    duration_ms: int
    usage: Usage
    transcript: str
    stderr: str
    error: str | None
    failure_class: str | None
    leftovers: int
    tool_calls: tuple[ToolCall, ...] = ()
    reported: Usage | None = None


class Agent(Protocol):
    """A program that edits files: an adapter plus its settings."""

    name: str
    adapter: str
    endpoint: Endpoint | None
    """Where its model is; None: it has none that Greenline could meter."""

    def describe(self) -> dict[str, Any]:
        """The settings as a document for the ledger; holds no secret."""

    def fingerprint(self) -> str:
        """64 hexadecimal digits; equal when the agent would be run in the same way."""

    def check(self, plan: FeaturePlan, plan_dir: Path, repository: UserRepository) -> None:
        """Find out before a run whether the agent can do its part of a plan.

        Raises:
            InputError: it cannot; the message says what is missing.
        """

    def run(self, assignment: Assignment) -> AgentResult:
        """Do an assignment. Whatever goes wrong with the agent is in the result."""


def digest(document: Any) -> str:
    """The fingerprint of a JSON document, whatever the order of its keys."""
    written = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(written.encode("utf-8", "surrogateescape")).hexdigest()
