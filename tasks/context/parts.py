"""The sections of a prompt that may be cut: what each would say, and what fits of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tasks.context.files import Read
from tasks.context.quoting import cut, fence, inline, one_line
from tasks.tokens import count_tokens

MOST_TESTS: Final = 10
"""The failing tests of the attempt before that are told with their messages."""

MOST_FAILURE: Final = 8_000
MOST_NOTES: Final = 2_000
"""Tokens of the failure, and of memories, facts and skills each."""

_MESSAGE: Final = 600  # tokens of one test's message
_LINE: Final = 600  # characters of a memory, a fact, a skill
_LEAST: Final = 16  # tokens; fewer say nothing
_FRAME: Final = 16  # tokens of a heading's marks and the fences

SectionName = Literal["failure", "memories", "facts", "skills", "target", "context_files"]

_PLACES: Final[tuple[SectionName, ...]] = (
    "failure", "memories", "facts", "skills", "target", "context_files",
)  # fmt: skip


@dataclass(frozen=True)
class FailingTest:
    """A test that speaks against an attempt, and what it said."""

    name: str
    message: str


@dataclass(frozen=True)
class EarlierFailure:
    """Why the attempt before did not pass: what the next one is told."""

    failure_class: str
    message: str
    tests: tuple[FailingTest, ...] = ()


@dataclass(frozen=True)
class Part:
    """A section as it stands in the prompt: a heading and a quotation.

    Attributes:
        cost: how many tokens it takes with its heading.
        left_out: what is missing of it.
    """

    section: SectionName
    heading: str
    intro: str
    text: str
    cost: int
    left_out: str | None = None

    @property
    def fence(self) -> str:
        """What the quotation stands between."""
        return fence(self.text)

    @property
    def language(self) -> str:
        """What the fence says of it: nothing of a file, whose name does."""
        return "" if self.section in ("target", "context_files") else "text"

    @property
    def place(self) -> int:
        """Where it stands among the sections."""
        return _PLACES.index(self.section)


@dataclass(frozen=True)
class Wanted:
    """A section that is to be in the prompt if it fits.

    Attributes:
        name: what it is called where it did not fit.
        most: how many tokens it takes at most, whatever there is room for.
    """

    section: SectionName
    name: str
    heading: str
    text: str
    intro: str = ""
    most: int | None = None

    def fitting(self, room: int) -> Part | None:
        """Return what fits into that many tokens, None: nothing that would say anything."""
        frame = count_tokens(self.heading) + count_tokens(self.intro) + _FRAME
        room -= frame + 2 * (count_tokens(fence(self.text)) - 1)
        if self.most is not None:
            room = min(room, self.most)
        if room < _LEAST and count_tokens(self.text) > room:
            return None
        kept = cut(self.text, room)
        if kept is None:
            return None
        cost = frame + count_tokens(kept.text)
        return Part(self.section, self.heading, self.intro, kept.text, cost, kept.left_out)


def wanted_parts(
    failure: EarlierFailure | None,
    files: Mapping[str, Read],
    target: str,
    memories: Sequence[str],
    facts: Sequence[str],
    skills: Sequence[tuple[str, str]],
) -> list[Wanted]:
    """Return the sections in the order in which they are given room.

    Args:
        failure: why the attempt before failed.
        files: the step's file and the context files, in the plan's order.
        target: the step's file.
        memories: what the run remembers.
        facts: lines about the project.
        skills: name and description of each.
    """
    wanted = [_failure(failure)] if failure else []
    for path, file in files.items():
        if file.text is None:
            continue
        if path == target:
            wanted.append(Wanted("target", path, f"The file to edit: {inline(path)}", file.text))
        else:
            wanted.append(Wanted("context_files", path, f"Context: {inline(path)}", file.text))
    wanted += _listed("memories", "What this run has learnt", memories)
    wanted += _listed("facts", "About the project", facts)
    described = [f"{name}: {description}" for name, description in skills]
    intro = "A step of the plan can name one; its text is then part of the instructions."
    wanted += _listed("skills", "Skills in reach", described, intro)
    return wanted


def _listed(
    section: SectionName, heading: str, lines: Sequence[str], intro: str = ""
) -> list[Wanted]:
    if not lines:
        return []
    text = "\n".join(f"- {one_line(line, _LINE)}" for line in dict.fromkeys(lines))
    return [Wanted(section, section, heading, text, intro, MOST_NOTES)]


def _failure(failure: EarlierFailure) -> Wanted:
    said = cut(failure.message.strip(), MOST_FAILURE // 2)
    text = said.text if said else one_line(failure.message, 2_000)
    for test in failure.tests[:MOST_TESTS]:
        told = cut(test.message.strip(), _MESSAGE)
        message = told.text if told else one_line(test.message, 1_000)
        text += f"\n\n{one_line(test.name, 300)}"
        text += "".join(f"\n    {line}" for line in message.split("\n") if line.strip())
    more = len(failure.tests) - MOST_TESTS
    if more > 0:
        text += f"\n\nand {more} more tests"
    heading = f"The attempt before failed: {failure.failure_class}"
    intro = "Its change was undone; the file below is as it was before."
    return Wanted("failure", "the failure before", heading, text, intro, MOST_FAILURE)
