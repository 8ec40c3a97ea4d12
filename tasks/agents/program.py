"""What adapters for programs with a protocol of their own have in common.

Each says how its program is called and what it makes of its output. Finding the program, running
it in a scrubbed environment with a private HOME, and judging how it ended is the same for all. An
exit code is recorded and never believed: aider has 0 for everything.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from storage.exceptions import InputError
from storage.redaction import redact
from storage.states import FailureClass
from tasks.agents.base import ALLOWING, AgentResult, Assignment, ToolCall, Usage, digest
from tasks.agents.installed import find, how_to_install, stamp_of, version_of
from tasks.fence.hints import hint
from tasks.metering.endpoint import KEYS, bare_model
from tasks.metering.refusals import class_of
from tasks.process import ProcessResult, ProgramNotFound, run_guarded, scrubbed_env

if TYPE_CHECKING:
    from tasks.config import AgentSettings
    from tasks.plan.model import FeaturePlan
    from tasks.repository import UserRepository

DUMMY_KEY: Final = "greenline"
"""What an agent is given as a key; the proxy has the real one."""

_LONGEST_ERROR: Final = 2_000


@dataclass(frozen=True)
class Call:
    """How a program is to be run once.

    Attributes:
        arguments: after the program.
        cwd: where it works.
        env: variables besides PATH, HOME, LANG, TERM and those that the settings name.
        stdin: what it can read.
        program: in place of the agent's own words, for one that is driven by another.
    """

    arguments: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    program: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Heard:
    """What a program told of its work in its own protocol.

    Attributes:
        errors: what it says kept it from working; its model's mistakes are none.
        notes: what else is worth telling, such as what it was denied.
        usage: what it says that it used.
        tool_calls: its uses of tools.
        transcript: in place of its standard output.
    """

    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    tool_calls: tuple[ToolCall, ...] = ()
    transcript: str | None = None


class ProgramAgent(ABC):
    """Runs a program that somebody else wrote, with a model behind the metering proxy."""

    adapter: str

    def __init__(self, settings: AgentSettings) -> None:
        self.name = settings.name
        self.command = settings.command or (self.adapter,)
        self.passing = settings.env
        self.endpoint = settings.endpoint
        self.model = settings.model
        self.network = settings.network

    @property
    def program(self) -> Path | None:
        """Where its program is; None when it is not installed."""
        return find(self.command[0])

    @property
    def asked_model(self) -> str | None:
        """The model's name as it is to be asked for, without the provider that it is asked at."""
        its_own = self.endpoint is not None and self.endpoint.base_url in KEYS
        return bare_model(self.model) if self.model and its_own else self.model

    @property
    def speaks_anthropic(self) -> bool:
        """Its model is asked in Anthropic's dialect."""
        return self.endpoint is not None and self.endpoint.provider == "anthropic"

    def describe(self) -> dict[str, Any]:
        """Return command, version, model and address, and the names of the variables it gets."""
        program = self.program
        return {
            "name": self.name,
            "adapter": self.adapter,
            "command": list(self.command),
            "version": version_of(program) if program else None,
            "env": list(self.passing),
            "model": self.model,
            "base_url": self.endpoint.base_url if self.endpoint else None,
            **({"network": True} if self.network else {}),
        }

    def fingerprint(self) -> str:
        """Cover the settings and the program's version."""
        program = self.program
        return digest([self.describe(), stamp_of(program) if program else None])

    def check(self, plan: FeaturePlan, plan_dir: Path, repository: UserRepository) -> None:  # noqa: ARG002 - the protocol's
        """Find out before a run whether program and key are there.

        Raises:
            InputError: one is not; the message says how to get it.
        """
        self.require_program()
        if self.endpoint is not None:
            self.endpoint.require_key(self.name)

    def require_program(self) -> Path:
        """Return where the program is.

        Raises:
            InputError: it is not there; the message says how to install it.
        """
        program = self.program
        if program is None:
            word = self.command[0]
            raise InputError(
                f"agent {self.name!r}: the program {word!r} is not there; {_to_get(word)}"
            )
        return program

    def run(self, assignment: Assignment) -> AgentResult:
        """Run the program once."""
        home = assignment.private / "home"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        fence = assignment.fenced(network=self.network)
        try:
            program = str(self.require_program())
            call = self._call(assignment, home)
            with self._prepared(assignment) as notes:
                done = run_guarded(
                    call.program or (program, *self.command[1:], *call.arguments),
                    cwd=call.cwd,
                    env=scrubbed_env(home, passing=self.passing, extra=call.env),
                    stdin=call.stdin.encode("utf-8", "surrogateescape"),
                    timeout_s=assignment.timeout_s,
                    fence=fence,
                )
        except (ProgramNotFound, InputError) as error:
            return AgentResult(None, False, 0, Usage(), "", "", str(error), "agent_error", 0)
        heard = self._heard(done, assignment)
        failed = "\n".join((done.stderr, *heard.errors)) if heard.errors or done.exit_code else ""
        if why := hint(failed, fence, ALLOWING):
            notes.append(why)
        heard = replace(heard, notes=(*heard.notes, *notes))
        return _result(done, heard, assignment.timeout_s)

    @contextmanager
    def _prepared(self, assignment: Assignment) -> Iterator[list[str]]:  # noqa: ARG002 - for who needs it
        """Prepare the worktree for the time of the run; yield a list for what is to be told."""
        yield []

    @abstractmethod
    def _call(self, assignment: Assignment, home: Path) -> Call:
        """Say how the program is run, and write what it reads besides its prompt.

        Raises:
            InputError: the assignment is not for this program.
        """

    @abstractmethod
    def _heard(self, done: ProcessResult, assignment: Assignment) -> Heard:
        """Make of its output what it tells. Whatever stands there may be wrong or cut off."""


def json_lines(text: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON lines; what is none (cut off, or said besides) is passed over."""
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            yield document


def mapping(value: Any) -> dict[str, Any]:
    """Return a value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a value that should be a list of them."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def count(value: Any) -> int | None:
    """Return a number of tokens; None for what is none."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if whole else None


def amount(value: Any) -> float | None:
    """Return an amount of money; None for what is none."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if number else None


def _to_get(program: str) -> str:
    if "/" in program and not program.startswith("/"):
        return "give its name, if it is on PATH, or its absolute path"
    return f"to install it: {how_to_install(program)}"


def _result(done: ProcessResult, heard: Heard, timeout_s: float) -> AgentResult:
    problem, failure_class = _judged(done, heard, timeout_s)
    told = [part for part in (problem, *heard.notes) if part]
    return AgentResult(
        exit_code=done.exit_code,
        timed_out=done.timed_out,
        duration_ms=done.duration_ms,
        usage=heard.usage,
        transcript=done.stdout if heard.transcript is None else heard.transcript,
        stderr=done.stderr,
        error=redact("; ".join(told))[:_LONGEST_ERROR] if told else None,
        failure_class=failure_class,
        leftovers=done.leftovers,
        tool_calls=heard.tool_calls,
    )


def _judged(
    done: ProcessResult, heard: Heard, timeout_s: float
) -> tuple[str | None, FailureClass | None]:
    """Return what speaks against the program: a sentence and a failure class."""
    if done.timed_out:
        told = f" (it said: {heard.errors[-1]})" if heard.errors else ""
        problem = f"the agent did not end within {timeout_s:g} s and was killed{told}"
        return problem, FailureClass.AGENT_TIMEOUT
    if done.error:
        return done.error, FailureClass.AGENT_ERROR
    if heard.errors:
        said = "; ".join(dict.fromkeys(heard.errors))
        return f"the agent failed: {said}", class_of(said) or FailureClass.AGENT_ERROR
    if done.exit_code != 0:
        lines = done.stderr.strip().splitlines()[-5:]
        last = f": {lines[-1][:200]}" if lines else ""
        said = "\n".join(lines)
        return (
            f"the agent exited with {done.exit_code}{last}",
            class_of(said) or FailureClass.AGENT_ERROR,
        )
    return None, None
