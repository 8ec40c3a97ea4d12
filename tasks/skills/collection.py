"""All skills in reach: which there are, what a step may give them, and their text for a prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from storage.text import clean_text
from tasks.problems import Location, Problem, did_you_mean, path_of
from tasks.skills.model import Skill, SkillError, parse_skill, value_problem, written
from tasks.skills.places import MOST, REPOSITORY_FOLDER, Place, Source, UnusableError

# `${{ … }}` is what build servers have, and not ours.
_PLACEHOLDER: Final = re.compile(r"(?<!\$)\{\{\s*([a-z][a-z0-9_-]*)\s*\}\}")


@dataclass(frozen=True)
class Found:
    """A folder that was looked at.

    Attributes:
        name: its name.
        source: whose it is.
        where: the path of its `SKILL.md`.
        skill: the skill, None: it is no valid one.
        problem: why it is none.
        hidden: another skill of this name counts instead.
    """

    name: str
    source: Source
    where: str
    skill: Skill | None = None
    problem: str | None = None
    hidden: bool = False


@dataclass(frozen=True)
class Skills:
    """The skills in reach.

    Attributes:
        found: all folders that were looked at, hidden and invalid ones too.
        warnings: which were skipped, and why.
    """

    found: tuple[Found, ...]
    warnings: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the skills that can be used, sorted."""
        return tuple(sorted(each.name for each in self.found if each.skill and not each.hidden))

    def listing(self) -> list[tuple[str, str]]:
        """Return name and description of each skill that can be used: all that a prompt lists."""
        return [(name, self.get(name).description) for name in self.names]

    def look_up(self, name: str) -> Found:
        """Return the folder that counts for a name.

        Raises:
            SkillError: there is no such skill, or it is not valid.
        """
        for each in self.found:
            if each.name == name and each.skill is not None and not each.hidden:
                return each
        raise SkillError(f"skill '{name}'", [Problem("", self._unknown(name))])

    def get(self, name: str) -> Skill:
        """Return the skill of a name; raises SkillError."""
        skill = self.look_up(name).skill
        assert skill is not None  # noqa: S101 - look_up finds no other
        return skill

    def problems(self, name: str, parameters: Mapping[str, Any]) -> list[tuple[Location, str]]:
        """Return what is wrong with a use of a skill: the places in it (`name`, …), and why."""
        try:
            skill = self.get(name)
        except SkillError as error:
            return [(("name",), problem.message) for problem in error.problems]
        return _wrong_values(skill, parameters)

    def render(self, name: str, parameters: Mapping[str, JsonValue]) -> str:
        """Return a skill's text with the values of its parameters filled in.

        `{{ name }}` becomes the parameter's value where the skill declares it; everything else
        stays as it is written, and a value is never looked into again. Values that the text does
        not mention are listed at its end.

        Raises:
            SkillError: there is no such skill, or a value is missing, unknown or of a wrong kind.
        """
        skill = self.get(name)
        if wrong := _wrong_values(skill, parameters):
            raise SkillError(
                f"skill '{name}'", [Problem(path_of(place), why) for place, why in wrong]
            )
        values = {
            key: written(value)
            for key, spec in skill.parameters.items()
            if (value := parameters.get(key, spec.default)) is not None
        }
        mentioned = set()

        def fill(placeholder: re.Match[str]) -> str:
            key = placeholder[1]
            if key not in skill.parameters:
                return placeholder[0]
            mentioned.add(key)
            return values.get(key, "")

        text = _PLACEHOLDER.sub(fill, skill.body)
        rest = [f"- {key}: {value}" for key, value in values.items() if key not in mentioned]
        whole = "\n".join([text, *(["", "Parameters:", "", *rest] if rest else [])])
        return clean_text(whole.strip("\n"))

    def _unknown(self, name: str) -> str:
        invalid = [each for each in self.found if each.name == name and each.problem]
        if invalid:
            return f"{invalid[0].where} cannot be used: {invalid[0].problem}"
        there = ", ".join(self.names)
        return (
            f"there is no such skill{did_you_mean(name, self.names)}; there are: {there}. "
            f"A repository's own lie in {REPOSITORY_FOLDER}/<name>/SKILL.md and are committed"
        )


def _wrong_values(skill: Skill, parameters: Mapping[str, Any]) -> list[tuple[Location, str]]:
    wrong: list[tuple[Location, str]] = []
    for key, value in parameters.items():
        place = ("parameters", key)
        spec = skill.parameters.get(key)
        if spec is None:
            hint = did_you_mean(key, list(skill.parameters))
            known = ", ".join(skill.parameters) or "none"
            wrong.append((place, f"unknown parameter{hint}; those of '{skill.name}': {known}"))
        elif problem := value_problem(value, spec.type, spec.choices):
            wrong.append((place, problem))
    for key, spec in skill.parameters.items():
        if spec.required and key not in parameters:
            what = f" {spec.description}" if spec.description else ""
            wrong.append((("parameters", key), f"is missing.{what}"))
    return wrong


def collect(places: Sequence[Place]) -> Skills:
    """Return the skills of several places; of a name the first place's valid one counts.

    What cannot be used is skipped with a warning that says why.
    """
    found: list[Found] = []
    warnings: list[str] = []
    taken: set[str] = set()
    for place in places:
        try:
            names = place.names()
        except UnusableError as error:
            warnings.append(f"the skills of the {place.source} are left out: {error}")
            continue
        if len(names) > MOST:
            warnings.append(
                f"the {place.source} has {len(names):,} skills, of which the first {MOST} count"
            )
        for name in names[:MOST]:
            each = _look_at(place, name, hidden=name in taken)
            found.append(each)
            if each.skill is None:
                warnings.append(f"skill '{name}' ({each.where}) is left out: {each.problem}")
            else:
                taken.add(name)
    return Skills(tuple(found), tuple(warnings))


def _look_at(place: Place, name: str, *, hidden: bool) -> Found:
    where = place.where(name)
    try:
        skill = parse_skill(place.read(name).decode("utf-8-sig"), name)
    except UnusableError as error:
        return Found(name, place.source, where, problem=str(error))
    except UnicodeDecodeError:
        return Found(name, place.source, where, problem="SKILL.md is not UTF-8 text")
    except SkillError as error:
        told = "; ".join(map(str, error.problems))
        return Found(name, place.source, where, problem=told)
    return Found(name, place.source, where, skill=skill, hidden=hidden)
