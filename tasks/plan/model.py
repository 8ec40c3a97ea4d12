"""The models of a feature plan: feature, task, subtask, step.

They check one value at a time; what concerns the whole tree (keys, dependencies) is in
`tasks.plan.structure`. Read plans with `tasks.plan`, which reports all problems at once.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tasks.plan.paths import path_problem
from tasks.plan.structure import Node, dependency_order, structure_problems
from tasks.problems import DocumentError, did_you_mean, path_of, received

StepType = Literal["test", "implementation"]
AssignedTo = Literal["TaraAider", "DevonAider"]
Expectation = Literal["red", "green", "unchanged"]
Stage = Literal[
    "unit_testing",
    "unit_implementation",
    "integration_testing",
    "integration_implementation",
]

ROLE_OF: dict[StepType, AssignedTo] = {"test": "TaraAider", "implementation": "DevonAider"}
"""Which role does which type of step."""

EXPECTATIONS: dict[StepType, tuple[Expectation, ...]] = {
    "test": ("red", "green", "unchanged"),
    "implementation": ("green", "unchanged"),
}
"""What a step of each type may expect of its outcome."""

KEY_RULE = (
    "lower-case letters, digits, '-' and '_', beginning and ending with a letter or a digit, "
    "at most 64 characters"
)
_KEY = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/~^@-]*")


def _checked_path(path: str) -> str:
    """Refuse a path that does not name a file inside the repository."""
    problem = path_problem(path)
    if problem:
        raise ValueError(problem)
    return path


def checked_key(key: str) -> str:
    """Return a subtask's key; raises ValueError stating the rule when it is none."""
    if not _KEY.fullmatch(key):
        slug = re.sub(r"[^a-z0-9_]+", "-", key.lower()).strip("-_")[:64].strip("-_")
        such = f", such as {slug!r}" if slug else ", such as 'to-roman'"
        raise ValueError(f"{received(key)} is no key: a key is {KEY_RULE}{such}")
    return key


class PlanError(DocumentError):
    """A feature plan cannot be used; `problems` holds everything that is wrong with it."""


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
RepositoryPath = Annotated[str, AfterValidator(_checked_path)]


class PlanPart(BaseModel):
    """What all parts of a plan have in common: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Replay(PlanPart):
    """What the `replay` agent writes into the step's file in one attempt.

    Either `repo` and `commit` (the file as that commit has it) or `file`.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["repo", "commit"]}, {"required": ["file"]}]}
    )

    repo: str | None = Field(
        default=None,
        min_length=1,
        description="A git repository: a path (relative to the plan) or an address.",
    )
    commit: str | None = Field(
        default=None, description="The commit of `repo` that has the file's content."
    )
    file: RepositoryPath | None = Field(
        default=None, description="A file with the content, its path relative to the plan."
    )

    @field_validator("repo")
    @classmethod
    def _repo_is_no_option(cls, repo: str | None) -> str | None:
        if repo is not None and (repo.startswith("-") or not repo.strip() or "\0" in repo):
            raise ValueError(
                f"{received(repo)} is no repository: give a path or an address, such as '.'"
            )
        return repo

    @field_validator("commit")
    @classmethod
    def _commit_is_a_revision(cls, commit: str | None) -> str | None:
        if commit is not None and (not _REVISION.fullmatch(commit) or ".." in commit):
            raise ValueError(
                f"{received(commit)} is no commit: give one commit's id, such as '1f2e3d4c'"
            )
        return commit

    @model_validator(mode="after")
    def _one_source(self) -> Replay:
        given = [name for name in ("repo", "commit", "file") if getattr(self, name) is not None]
        if given not in (["repo", "commit"], ["file"]):
            raise ValueError(
                "a replay entry is {repo, commit} or {file}; received "
                + (f"{{{', '.join(given)}}}" if given else "neither")
            )
        return self


class Skill(PlanPart):
    """A skill whose text becomes part of a step's instructions."""

    name: Text = Field(description="The skill's name, as its SKILL.md has it.")
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="Values for the skill's parameters."
    )


class Step(PlanPart):
    """One edit of exactly one file by one agent role."""

    step_type: StepType = Field(
        description="`test`: writes tests. `implementation`: makes them pass."
    )
    assigned_to: AssignedTo = Field(
        default_factory=lambda data: ROLE_OF.get(data.get("step_type"), "TaraAider"),
        description=(
            "The role that does the step: TaraAider for a test step, DevonAider for an "
            "implementation step; may be left out."
        ),
    )
    file_path: RepositoryPath = Field(
        description="The one file that the step may write, relative to the repository's root."
    )
    instructions: Text = Field(description="What the agent is told to do in that file.")
    context_files: tuple[RepositoryPath, ...] = Field(
        default=(), description="Further files of the repository that the agent is shown."
    )
    expect: Expectation | None = Field(
        default=None,
        description=(
            "What the test run after the step must show. Test step: `red` (default: at least one "
            "test of the file fails for the right reason), `green`, or `unchanged` (no outcome "
            "changes). Implementation step: `green` (default for the last one) or `unchanged` "
            "(default for earlier ones)."
        ),
    )
    may_remove_tests: StrictBool = Field(
        default=False, description="Whether tests may be gone after the step."
    )
    skill: Skill | None = Field(default=None, description="A skill to use for the step.")
    replay: tuple[Replay, ...] = Field(
        default=(),
        description="For the `replay` agent: one entry per attempt; the last one repeats.",
    )

    @field_validator("assigned_to")
    @classmethod
    def _role_follows_type(cls, role: AssignedTo, info: ValidationInfo) -> AssignedTo:
        step_type = info.data.get("step_type")
        if step_type is not None and role != ROLE_OF[step_type]:
            raise ValueError(
                f"wrong role for a step of type '{step_type}': received '{role}', "
                f"such a step is done by '{ROLE_OF[step_type]}'"
            )
        return role

    @field_validator("expect")
    @classmethod
    def _expectation_fits(cls, expect: Expectation | None, info: ValidationInfo) -> Any:
        step_type: StepType | None = info.data.get("step_type")
        if expect is not None and step_type is not None and expect not in EXPECTATIONS[step_type]:
            would = " or ".join(f"'{word}'" for word in EXPECTATIONS[step_type])
            raise ValueError(
                f"a step of type '{step_type}' cannot expect '{expect}'; it may expect {would}"
            )
        return expect


class NumberedStep(PlanPart):
    """A step with its place in its subtask."""

    number: int = Field(description="From 1: the unit steps, then the integration steps.")
    step: Step
    stage: Stage = Field(description="The work stage in which the step is done.")
    expect: Expectation = Field(description="What the step expects, defaults filled in.")


class Subtask(PlanPart):
    """A piece of work with a key of its own; should need at most three steps."""

    key: str = Field(description=f"Unique in the plan; {KEY_RULE}.")
    title: Text = Field(description="What the subtask is called.")
    description: str = Field(default="", description="What it is about, for people and agents.")
    acceptance_criteria: tuple[Text, ...] = Field(
        default=(), description="What must be true when it is done; agents are told these."
    )
    depends_on: tuple[str, ...] = Field(
        default=(), description="Keys of the subtasks that must be done before."
    )
    steps: tuple[Step, ...] = Field(
        default=(), description="The steps of the unit stages, in their order."
    )
    integration: tuple[Step, ...] = Field(
        default=(), description="Further steps, for the integration stages."
    )

    @field_validator("key")
    @classmethod
    def _key_is_a_slug(cls, key: str) -> str:
        return checked_key(key)

    @model_validator(mode="after")
    def _has_steps(self) -> Subtask:
        if not self.steps and not self.integration:
            raise ValueError("has no steps: give at least one under `steps` or `integration`")
        return self

    def numbered_steps(self) -> tuple[NumberedStep, ...]:
        """Return all steps numbered from 1: the unit steps, then the integration steps."""
        numbered: list[NumberedStep] = []
        for part, steps in (("unit", self.steps), ("integration", self.integration)):
            last = max(
                (i for i, s in enumerate(steps) if s.step_type == "implementation"), default=0
            )
            for index, step in enumerate(steps):
                default = _default_expectation(step.step_type, last=index == last)
                numbered.append(
                    NumberedStep.model_construct(
                        number=len(numbered) + 1,
                        step=step,
                        stage=_STAGES[part, step.step_type],
                        expect=step.expect or default,
                    )
                )
        return tuple(numbered)

    @property
    def target_files(self) -> tuple[str, ...]:
        """The files of the implementation steps, each once, in plan order."""
        return self._files_of("implementation")

    @property
    def test_files(self) -> tuple[str, ...]:
        """The files of the test steps, each once, in plan order."""
        return self._files_of("test")

    def _files_of(self, step_type: StepType) -> tuple[str, ...]:
        both = (*self.steps, *self.integration)
        return tuple(dict.fromkeys(s.file_path for s in both if s.step_type == step_type))


class Task(PlanPart):
    """A group of subtasks."""

    title: Text = Field(description="What the task is called.")
    description: str = Field(default="", description="What it is about.")
    subtasks: tuple[Subtask, ...] = Field(min_length=1, description="At least one subtask.")


class FeaturePlan(PlanPart):
    """A feature plan: what `greenline run` carries out."""

    feature: Text = Field(description="What the feature is called.")
    description: str = Field(default="", description="What it is about.")
    tasks: tuple[Task, ...] = Field(min_length=1, description="At least one task.")

    @model_validator(mode="after")
    def _structure_holds(self) -> FeaturePlan:
        problems = structure_problems(self._nodes())
        if problems:
            raise ValueError("; ".join(f"{path_of(place)}: {text}" for place, text in problems))
        return self

    def _nodes(self) -> list[Node]:
        nodes = []
        for i, task in enumerate(self.tasks):
            for j, subtask in enumerate(task.subtasks):
                place = ("tasks", i, "subtasks", j)
                needed = enumerate(subtask.depends_on)
                named = tuple(((*place, "depends_on", k), name) for k, name in needed)
                nodes.append(Node(place, subtask.key, named))
        return nodes

    def in_dependency_order(self) -> tuple[Subtask, ...]:
        """Return all subtasks, each after those it depends on, otherwise in plan order."""
        by_key = {subtask.key: subtask for subtask in self.subtasks}
        ordered = dependency_order({key: s.depends_on for key, s in by_key.items()})
        return tuple(by_key[key] for key in ordered)

    @property
    def subtasks(self) -> tuple[Subtask, ...]:
        """All subtasks in plan order."""
        return tuple(subtask for task in self.tasks for subtask in task.subtasks)

    def subtask(self, key: str) -> Subtask:
        """Return the subtask with this key; raises KeyError naming the keys there are."""
        for subtask in self.subtasks:
            if subtask.key == key:
                return subtask
        keys = [subtask.key for subtask in self.subtasks]
        raise KeyError(f"no subtask '{key}'{did_you_mean(key, keys)}; there are: {', '.join(keys)}")

    def sha256(self) -> str:
        """Return a hash of what the plan says: key order, comments and format do not matter."""
        said = self.model_dump(mode="json", exclude_defaults=True)
        canonical = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class Decomposition(PlanPart):
    """The small form of a plan: steps for one subtask that is stored already."""

    subtask_id: int | Text = Field(description="The stored subtask: its id or its key.")
    steps: tuple[Step, ...] = Field(min_length=1, description="Its steps, in their order.")

    @field_validator("subtask_id", mode="before")
    @classmethod
    def _id_or_key(cls, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"must be a subtask's id or key, received {received(value)}")  # noqa: TRY004 - pydantic collects ValueErrors
        return value


_STAGES: dict[tuple[str, StepType], Stage] = {
    ("unit", "test"): "unit_testing",
    ("unit", "implementation"): "unit_implementation",
    ("integration", "test"): "integration_testing",
    ("integration", "implementation"): "integration_implementation",
}


def _default_expectation(step_type: StepType, *, last: bool) -> Expectation:
    """A test step is red; the last implementation step of its list is green, others unchanged."""
    if step_type == "test":
        return "red"
    return "green" if last else "unchanged"


def effective_expectation(subtask: Subtask, number: int) -> Expectation:
    """Return what a subtask's step expects, defaults filled in.

    The default of a test step is `red`; that of an implementation step is `green` for the last
    one among `steps` and the last one among `integration`, `unchanged` for earlier ones.

    Args:
        subtask: the subtask.
        number: the step's number within it, from 1.

    Raises:
        IndexError: there is no such step.
    """
    steps = subtask.numbered_steps()
    if not 1 <= number <= len(steps):
        raise IndexError(f"subtask '{subtask.key}' has steps 1 to {len(steps)}, not {number}")
    return steps[number - 1].expect
