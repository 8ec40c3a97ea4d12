"""A run in the hands of one process: what every attempt of it works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from storage.database import Database
from tasks.agents.base import Agent
from tasks.config import Settings
from tasks.gates import Baseline
from tasks.plan import FeaturePlan, NumberedStep, Subtask
from tasks.repository import UserRepository
from tasks.sandbox import Sandbox
from tasks.verify import TestCommand, Verification

_REMEMBERED: Final = 64


@dataclass(frozen=True)
class PlannedStep:
    """A step of the plan with its rows in the ledger and who plays its role.

    Attributes:
        done_tests: the files of the subtask's test steps up to this one, support files aside.
        last: it is the subtask's last step.
    """

    subtask: Subtask
    numbered: NumberedStep
    step_id: int
    ws_id: str
    agent: Agent
    done_tests: tuple[str, ...]
    last: bool

    @property
    def name(self) -> str:
        """The step's name as the ledger has it, `<step_number>:<step_type>:<file_path>`."""
        step = self.numbered.step
        return f"{self.numbered.number}:{step.step_type}:{step.file_path}"


@dataclass
class Line:
    """A line of commits in one sandbox, and what its tests did last.

    Attributes:
        baseline: the tests' last observed outcomes on this line.
        verified: the last verifications by tree and command, so that none is run twice.
        flaky: the tests whose outcomes differed on one tree of this run.
    """

    sandbox: Sandbox
    baseline: Baseline
    verified: dict[tuple[str, str], Verification] = field(default_factory=dict)
    flaky: set[str] = field(default_factory=set)

    def remember(self, verification: Verification) -> None:
        """Keep a verification for the tree it was made of; the oldest is forgotten."""
        self.verified[verification.tree, verification.command_hash] = verification
        while len(self.verified) > _REMEMBERED:
            del self.verified[next(iter(self.verified))]


@dataclass
class Run:
    """One execution of a feature plan.

    Attributes:
        run_id: its id in the ledger, also agent.feature_runs.id.
        plan_dir: the folder of the plan's file, which its replay files are relative to.
        base_commit: the commit that its line of commits starts from.
        origin_commit: the commit of the user's repository that it goes back to; the base, unless
            it goes on from another run's branch.
        line: the line of commits that this view of the run works on: the run's own, or a lane's.
        lane: the lane that a parallel workstream works in, None for the run's own line.
        owner: under which name this process holds the run's lease and its locks.
        folder: where the run's sandboxes are.
        phase_result_id: the row of the implementation phase, once it has begun.
        no_wait: a file that another run is editing is an error, instead of being waited for.
        max_parallel: how many workstreams may be under way at the same time.
        taken_up: when a person had it taken up after it was cut off, None if nobody did.
        sandbox_id: the row of the sandbox that this view of the run works in.
        taken_over: the steps that stand in the run it goes on from, by subtask and step number,
            with the numbers of the attempts that did them.
        notes: what every agent is to be told besides.
    """

    database: Database
    run_id: str
    project_id: int
    feature_id: int
    plan: FeaturePlan
    plan_dir: Path
    settings: Settings
    repository: UserRepository
    base_commit: str
    origin_commit: str
    branch: str
    line: Line
    test_command: TestCommand
    steps: Mapping[str, tuple[PlannedStep, ...]]
    folder: Path
    scratch: Path
    owner: str
    phase_result_id: str = ""
    lane: str | None = None
    no_wait: bool = False
    max_parallel: int = 1
    taken_up: datetime | None = None
    sandbox_id: str = ""
    taken_over: Mapping[tuple[str, int], int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox that this view of the run works in."""
        return self.line.sandbox


@dataclass(frozen=True)
class RunOptions:
    """How a run goes about its work; kept with it, so that a resume goes about it likewise.

    Attributes:
        pushed: the ref that was pushed with the plan, None for a run that a person began.
    """

    no_wait: bool = False
    max_parallel: int = 1
    pushed: str | None = None


@dataclass(frozen=True)
class EarlierRun:
    """The run whose branch a new one goes on from.

    Attributes:
        run_id: its id.
        feature_id: the tree that both work on, None when the plan was changed since.
        origin_commit: the commit of the user's repository that it all goes back to.
        baseline_run: the run whose baseline says what failed before anybody touched anything.
        tolerated_exit: the exit code that the suite ended with then, although nothing failed.
        done: the steps that stand, by subtask and number, with the attempts that did them.
    """

    run_id: str
    feature_id: int | None
    origin_commit: str
    baseline_run: str
    tolerated_exit: int | None
    done: Mapping[tuple[str, int], int]


@dataclass(frozen=True)
class Prepared:
    """A run that can be stored and begun: all input is checked, the baseline is observed."""

    run_id: str
    plan: FeaturePlan
    plan_path: Path
    settings: Settings
    agent: str | None
    repository: UserRepository
    base_commit: str
    branch: str
    sandbox: Sandbox
    baseline: Verification
    reruns: tuple[Verification, ...]
    facts: dict[str, Any]
    notes: tuple[str, ...]
    options: RunOptions
    config_path: Path | None = None
    earlier: EarlierRun | None = None
