"""What a feature plan's paths mean in a repository: problems that stop it, warnings that do not."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tasks.plan.model import FeaturePlan, PlanError, Step, Subtask
from tasks.problems import Location, Problem, path_of

if TYPE_CHECKING:
    from tasks.skills import Skills

MOST_STEPS = 3
"""A subtask should need at most this many steps."""

MOST_LINKS = 40
"""As many symlinks are followed for one path; Linux follows no more either (path_resolution(7))."""


class CommittedTree(Protocol):
    """The files of one commit; paths are relative to its root, in POSIX form."""

    def exists(self, path: str) -> bool:
        """Whether the commit has a file, a symlink or a folder at this path."""

    def is_dir(self, path: str) -> bool:
        """Whether the commit has a folder at this path (a submodule counts as one)."""

    def is_symlink(self, path: str) -> bool:
        """Whether the commit has a symlink at this path."""

    def symlink_target(self, path: str) -> str:
        """Return what the symlink at this path points to, as it is written."""


@dataclass(frozen=True)
class PlanWarning:
    """Something about a plan that a person should know, and that stops nothing.

    Attributes:
        path: its place in the plan, such as `tasks[0].subtasks[1]`.
        message: what is unusual, and what will happen.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def check_plan_against_repository(
    plan: FeaturePlan, repository: CommittedTree
) -> list[PlanWarning]:
    """Return what a person should know before the plan is run on this commit.

    Raises:
        PlanError: a step's file is a folder, lies under a file or a symlink or is one, a context
            file is a symlink that leaves the repository, or a step names a skill that is not in
            reach or gives it values that it does not take; all such problems are in it.
    """
    problems: list[Problem] = []
    warnings: list[PlanWarning] = []
    skills: Skills | None = None
    before = _keys_before(plan)
    files_of = {
        s.key: {step.file_path for step in (*s.steps, *s.integration)} for s in plan.subtasks
    }
    for place, subtask in _placed_subtasks(plan):
        made = set().union(files_of[subtask.key], *(files_of[key] for key in before[subtask.key]))
        warnings.extend(_subtask_warnings(place, subtask))
        for location, step in _placed_steps(place, subtask):
            target = _target_problem(step.file_path, repository)
            if target:
                problems.append(Problem(path_of((*location, "file_path")), target))
            if step.skill is not None:
                skills = skills or _skills_in_reach(repository)
                problems.extend(
                    Problem(path_of((*location, "skill", *place)), message)
                    for place, message in skills.problems(step.skill.name, step.skill.parameters)
                )
            for index, path in enumerate(step.context_files):
                where = path_of((*location, "context_files", index))
                problem, warning = _context_findings(path, repository, made)
                if problem:
                    problems.append(Problem(where, problem))
                if warning:
                    warnings.append(PlanWarning(where, warning))
    if problems:
        raise PlanError(f"feature plan '{plan.feature}'", problems)
    return [*warnings, *_shared_file_warnings(plan, before)]


def _skills_in_reach(repository: CommittedTree) -> Skills:
    """Return the skills that a step can name: the person's, Greenline's and the commit's own."""
    from storage.home import Home  # noqa: PLC0415 - few plans name skills
    from tasks.repository import CommitTree  # noqa: PLC0415
    from tasks.skills import skills_of_commit  # noqa: PLC0415 - it reads documents as plans do

    commit = repository if isinstance(repository, CommitTree) else None
    return skills_of_commit(commit, Home.current().path)


def _placed_subtasks(plan: FeaturePlan) -> Iterator[tuple[Location, Subtask]]:
    for i, task in enumerate(plan.tasks):
        for j, subtask in enumerate(task.subtasks):
            yield ("tasks", i, "subtasks", j), subtask


def _placed_steps(place: Location, subtask: Subtask) -> Iterator[tuple[Location, Step]]:
    for part, steps in (("steps", subtask.steps), ("integration", subtask.integration)):
        for index, step in enumerate(steps):
            yield (*place, part, index), step


def _keys_before(plan: FeaturePlan) -> dict[str, set[str]]:
    """Return for each subtask the keys of all that are done before it."""
    before: dict[str, set[str]] = {}
    for subtask in plan.in_dependency_order():
        direct = set(subtask.depends_on)
        before[subtask.key] = direct.union(*(before[key] for key in direct))
    return before


def _target_problem(path: str, repository: CommittedTree) -> str | None:
    """Say why a step cannot write this file, or None when it can."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        folder = "/".join(parts[:depth])
        if repository.is_symlink(folder):
            real = _real_path(path, repository)
            if real is None:
                return f"'{path}' lies under the symlink '{folder}', which leaves the repository"
            return f"'{path}' lies under the symlink '{folder}': write '{real}'"
        if repository.exists(folder) and not repository.is_dir(folder):
            return f"'{path}' lies under '{folder}', which is a file"
    if repository.is_symlink(path):
        real = _real_path(path, repository)
        instead = f": write '{real}'" if real else ", which leaves the repository"
        return f"'{path}' is a symlink to '{repository.symlink_target(path)}'{instead}"
    if repository.is_dir(path):
        return f"'{path}' is a folder: a step edits exactly one file, so name the file"
    return None


def _context_findings(
    path: str, repository: CommittedTree, made: set[str]
) -> tuple[str | None, str | None]:
    """Return the problem and the warning, if any, of a context file.

    A file that an earlier step or this subtask makes (`made`) need not be there yet.
    """
    real = _real_path(path, repository)
    if real is None:
        return f"'{path}' leaves the repository through a symlink: name a file inside", None
    if repository.is_dir(real):
        return None, f"'{path}' is a folder: the agent will not be shown it; name files"
    if not repository.exists(real) and path not in made:
        return None, f"there is no '{path}': the agent will not be shown it"
    return None, None


def _real_path(path: str, repository: CommittedTree) -> str | None:
    """Follow the symlinks in a path; None when they leave the repository or never end."""
    left = path.split("/")
    real: list[str] = []
    links = 0
    while left:
        part = left.pop(0)
        if part in {"", "."}:
            continue
        if part == "..":
            if not real:
                return None
            real.pop()
            continue
        here = "/".join([*real, part])
        if not repository.is_symlink(here):
            real.append(part)
            continue
        target = repository.symlink_target(here)
        links += 1
        if posixpath.isabs(target) or links > MOST_LINKS:
            return None
        left = [*target.split("/"), *left]
    return "/".join(real)


def _subtask_warnings(place: Location, subtask: Subtask) -> Iterator[PlanWarning]:
    steps = subtask.numbered_steps()
    if len(steps) > MOST_STEPS:
        yield PlanWarning(
            path_of(place),
            f"subtask '{subtask.key}' has {len(steps)} steps; one should need at most "
            f"{MOST_STEPS}: consider splitting it",
        )
    for this, following in itertools.pairwise(steps):
        early = this.step.step_type == "implementation" and this.expect == "unchanged"
        if early and this.step.expect is None and following.step.step_type == "test":
            yield PlanWarning(
                path_of(place),
                f"step {this.number} of subtask '{subtask.key}' expects 'unchanged', as it is not "
                "the last implementation step; if it should make tests pass, say `expect: green`",
            )


def _shared_file_warnings(
    plan: FeaturePlan, before: Mapping[str, set[str]]
) -> Iterator[PlanWarning]:
    """Name the files that subtasks without a dependency between them would both write."""
    users: dict[str, dict[str, Location]] = {}
    for place, subtask in _placed_subtasks(plan):
        for _, step in _placed_steps(place, subtask):
            users.setdefault(step.file_path, {})[subtask.key] = place
    for path, places in users.items():
        for one, other in itertools.combinations(places, 2):
            if one not in before[other] and other not in before[one]:
                yield PlanWarning(
                    path_of(places[other]),
                    f"subtask '{other}' names '{path}', and so does '{one}', although neither "
                    "depends on the other: they will take turns",
                )
                break
