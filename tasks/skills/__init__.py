"""Skills: texts that say how a kind of work is done, told to an agent when a step names one.

A skill is a folder with a `SKILL.md` in the open format (https://agentskills.io). It is text in a
prompt and nothing else: nothing that lies in a skill's folder is ever run.

They are found in three places, and the first of a name counts: the person's own
(`GREENLINE_HOME/skills`), the repository's (`.greenline/skills`), those that come with Greenline.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.repository import CommitTree
from tasks.skills.collection import Skills, collect
from tasks.skills.model import Parameter, Skill, SkillError, parse_skill
from tasks.skills.places import REPOSITORY_FOLDER, CommitPlace, FolderPlace, Place

__all__ = [
    "REPOSITORY_FOLDER",
    "Parameter",
    "Skill",
    "SkillError",
    "Skills",
    "find_skills",
    "parse_skill",
    "skills_of_commit",
]

SHIPPED = Path(__file__).parent / "shipped"


def find_skills(repo_root: Path | None, home: Path) -> Skills:
    """Return the skills in reach of a folder, such as a checkout or a sandbox's worktree.

    Args:
        repo_root: the repository's files as they are on disk; None: there is no repository.
        home: the folder that `GREENLINE_HOME` names.
    """
    of_repository = (
        [] if repo_root is None else [FolderPlace("repository", repo_root, REPOSITORY_FOLDER)]
    )
    return _collect(home, of_repository)


def skills_of_commit(tree: CommitTree | None, home: Path) -> Skills:
    """Return the skills in reach of a commit, whatever the files on disk are.

    Args:
        tree: the commit's files; None: there is no repository.
        home: the folder that `GREENLINE_HOME` names.
    """
    return _collect(home, [] if tree is None else [CommitPlace(tree)])


def _collect(home: Path, of_repository: Sequence[Place]) -> Skills:
    return collect(
        [
            FolderPlace("home", home / "skills", links=True),
            *of_repository,
            FolderPlace("shipped", SHIPPED),
        ]
    )
