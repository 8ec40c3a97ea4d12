"""A run in the hands of one process: what every attempt of it works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """

    sandbox: Sandbox
    baseline: Baseline
    verified: dict[tuple[str, str], Verification] = field(default_factory=dict)

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
        base_commit: the commit of the user's repository that it starts from.
        phase_result_id: the row of the implementation phase, once it has begun.
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
    branch: str
    line: Line
    test_command: TestCommand
    steps: Mapping[str, tuple[PlannedStep, ...]]
    scratch: Path
    phase_result_id: str = ""


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
    facts: dict[str, Any]
    notes: tuple[str, ...]
