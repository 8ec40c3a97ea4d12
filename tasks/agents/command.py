"""The `command` agent: any program that edits a file.

What it is told (the `GREENLINE_` variables) and where it may answer is a contract with programs
that people have written. Everything else of the caller's environment is kept from it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.exceptions import InputError
from tasks.agents.base import ALLOWING, AgentResult, Usage, digest
from tasks.fence.hints import hint
from tasks.process import ProcessResult, ProgramNotFound, run_guarded, scrubbed_env

if TYPE_CHECKING:
    from tasks.agents.base import Assignment
    from tasks.config import AgentSettings
    from tasks.plan.model import FeaturePlan
    from tasks.repository import UserRepository

LARGEST_USAGE_FILE = 64_000
"""Bytes; five numbers need less."""

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens")
_LONGEST_NAME = 200


class CommandAgent:
    """Runs a command with the worktree as working directory and the prompt on stdin."""

    adapter = "command"

    def __init__(self, settings: AgentSettings) -> None:
        self.name = settings.name
        self.command = settings.command
        self.passing = settings.env
        self.endpoint = settings.endpoint
        self.model = settings.model
        self.network = settings.network

    def describe(self) -> dict[str, Any]:
        """The command and the names (not the values) of the variables it is given."""
        return {
            "name": self.name,
            "adapter": self.adapter,
            "command": list(self.command),
            "env": list(self.passing),
            **({"model": self.model} if self.model else {}),
            **({"base_url": self.endpoint.base_url} if self.endpoint else {}),
            **({"network": True} if self.network else {}),
        }

    def fingerprint(self) -> str:
        """Covers the command and the content of the files that it names by absolute path.

        Files of the worktree that it names are part of the commit that a step starts from.
        """
        files = {}
        for word in self.command:
            if word.startswith("/") and Path(word).is_file() and os.access(word, os.R_OK):
                with Path(word).open("rb") as file:
                    files[word] = hashlib.file_digest(file, "sha256").hexdigest()
        return digest([self.describe(), files])

    def check(self, plan: FeaturePlan, plan_dir: Path, repository: UserRepository) -> None:  # noqa: ARG002 - the protocol's
        """Find out whether the program is there, as far as that can be known before a run.

        Raises:
            InputError: it is neither on PATH nor a file of the repository.
        """
        program = self.command[0]
        if program.startswith("/"):
            found = os.access(program, os.X_OK) and Path(program).is_file()
        elif "/" in program:
            found = True  # relative to the worktree, where a set-up command may make it
        else:
            found = shutil.which(program, path=scrubbed_env(plan_dir)["PATH"]) is not None
        if self.endpoint:
            self.endpoint.require_key(self.name)
        if not found:
            raise InputError(
                f"agent {self.name!r}: the program {program!r} is not there; give one that is on "
                "PATH, or a path (relative ones start at the repository's root)"
            )

    def run(self, assignment: Assignment) -> AgentResult:
        """Run the command once."""
        home = assignment.private / "home"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        prompt_file = assignment.private / "prompt.md"
        prompt_file.write_text(assignment.prompt, "utf-8", "surrogateescape")
        usage_file = assignment.private / "usage.json"
        environment = scrubbed_env(
            home,
            passing=self.passing,
            extra={
                "GREENLINE_PROMPT_FILE": str(prompt_file),
                "GREENLINE_FILE": assignment.file_path,
                "GREENLINE_STEP_TYPE": assignment.step_type,
                "GREENLINE_STEP_ID": str(assignment.step_id),
                "GREENLINE_SUBTASK": assignment.subtask,
                "GREENLINE_ATTEMPT_NO": str(assignment.attempt_no),
                "GREENLINE_CONTEXT_FILES": json.dumps(list(assignment.context_files)),
                "GREENLINE_USAGE_FILE": str(usage_file),
                **({"GREENLINE_BASE_URL": assignment.base_url} if assignment.base_url else {}),
            },
        )
        fence = assignment.fenced(network=self.network)
        try:
            done = run_guarded(
                self.command,
                cwd=assignment.worktree,
                env=environment,
                stdin=assignment.prompt.encode("utf-8", "surrogateescape"),
                timeout_s=assignment.timeout_s,
                fence=fence,
            )
        except ProgramNotFound as error:
            return AgentResult(None, False, 0, Usage(), "", "", str(error), "agent_error", 0)
        usage, warning = read_usage(usage_file)
        problem, failure_class = _judged(done, assignment.timeout_s)
        if problem and (why := hint(done.stderr, fence, ALLOWING)):
            problem = f"{problem} ({why})"
        return AgentResult(
            exit_code=done.exit_code,
            timed_out=done.timed_out,
            duration_ms=done.duration_ms,
            usage=usage,
            transcript=done.stdout,
            stderr=done.stderr,
            error="; ".join(part for part in (problem, warning) if part) or None,
            failure_class=failure_class,
            leftovers=done.leftovers,
        )


def read_usage(path: Path) -> tuple[Usage, str | None]:
    """Read what a program says it used; what is wrong with it is a warning, and nothing measured.

    Returns:
        The usage (all None where nothing valid was reported) and a warning.
    """
    try:
        # Neither followed as a link nor waited for as a pipe: a stranger wrote this.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return Usage(), None
    except OSError as error:
        return Usage(), f"the usage file cannot be read: {error.strerror}"
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return Usage(), "the usage file is no plain file"
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(LARGEST_USAGE_FILE + 1)
    if len(content) > LARGEST_USAGE_FILE:
        return Usage(), f"the usage file has more than {LARGEST_USAGE_FILE} bytes"
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        return Usage(), f"the usage file is no JSON: {error}"
    problem = _usage_problem(document)
    if problem:
        return Usage(), f"the usage file is wrong: {problem}"
    return Usage(**document), None


def _usage_problem(document: Any) -> str | None:
    if not isinstance(document, dict):
        return f"expected an object, received {type(document).__name__}"
    known = {"model", "cost_usd", *_TOKENS}
    if unknown := sorted(set(document) - known):
        return f"unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}"
    model = document.get("model")
    if model is not None and not (isinstance(model, str) and 0 < len(model) <= _LONGEST_NAME):
        return "`model` must be a name"
    for key in _TOKENS:
        value = document.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
            return f"`{key}` must be a whole number from 0, received {value!r:.40}"
    cost = document.get("cost_usd")
    if cost is None:
        return None
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not math.isfinite(cost):
        return f"`cost_usd` must be a number from 0, received {cost!r:.40}"
    return None if 0 <= cost < 1e9 else f"`cost_usd` must be a number from 0, received {cost!r:.40}"


def _judged(done: ProcessResult, timeout_s: float) -> tuple[str | None, str | None]:
    """What speaks against the program: a sentence and a failure class."""
    if done.timed_out:
        return f"the agent did not end within {timeout_s:g} s and was killed", "agent_timeout"
    if done.error:
        return done.error, "agent_error"
    if done.exit_code != 0:
        last = done.stderr.strip().splitlines()[-1:] or [""]
        return f"the agent exited with {done.exit_code}: {last[0][:200]}".rstrip(
            ": "
        ), "agent_error"
    return None, None
