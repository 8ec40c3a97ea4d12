"""What a file of a repository is for, told from its path: test, source, or nothing a test needs."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal

FileKind = Literal["test", "source", "unneeded", "other"]
"""`unneeded`: no test needs it. `other`: a test may need it (settings, data, build files)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TEST_FOLDERS = {"test", "tests", "__tests__", "spec", "specs", "testing"}
_TEST_NAME = re.compile(
    r"test_.+\.py|.+_test\.(?:py|go|c|cc|cpp|rb|exs|dart|lua)|tests?\.py|conftest\.py"
    r"|.+\.(?:test|spec)\.[cm]?[jt]sx?|.+_spec\.rb|.+Tests?\.(?:java|kt|cs|php|swift|scala)"
)
_SOURCE_ENDINGS = _words(
    "py pyx js mjs cjs jsx ts mts cts tsx vue svelte go rs java kt kts scala groovy c h cc hh "
    "cpp hpp cxx hxx m mm cs fs vb swift rb php pl pm lua ex exs erl hrl clj cljs hs ml mli r "
    "jl dart zig nim cr sh bash sql"
)
_UNNEEDED_ENDINGS = _words("md markdown rst adoc txt pyi png jpg jpeg gif svg ico pdf po")
_UNNEEDED_FOLDERS = _words(
    "doc docs documentation changelog changelog.d changes news newsfragments .changeset"
)
# Settings of services and editors; never read by a test run.
_UNNEEDED_HIDDEN = _words(
    ".github .gitlab .circleci .vscode .idea .gitlab-ci.yml .travis.yml .pre-commit-config.yaml "
    ".readthedocs.yml .readthedocs.yaml .editorconfig .gitignore .gitattributes .mailmap .git- "
    "blame-ignore-revs .all-contributorsrc .codecov.yml"
)
_UNNEEDED_NAMES = _words(
    "authors changelog changes codeowners contributing contributors copying history license "
    "licence news notice readme release thanks todo citation.cff codecov.yml"
)


def kind_of(path: str) -> FileKind:
    """Return what a file is for.

    Documentation, changelogs, settings of services and editors and type stubs (`.pyi`: no program
    loads them) are `unneeded`, but in a folder of tests every file counts as `test`: it may be
    data, except for a `README`. `requirements*.txt` and the like are `other`.
    """
    pure = PurePosixPath(path)
    folders = {part.lower() for part in pure.parts[:-1]}
    ending = pure.suffix.lower().removeprefix(".")
    name = pure.name.lower()
    if name in _UNNEEDED_NAMES or pure.stem.lower() in {"readme", "changelog"}:
        return "unneeded"
    if pure.parts[0].lower() in _UNNEEDED_HIDDEN or name in _UNNEEDED_HIDDEN:
        return "unneeded"
    if folders & _TEST_FOLDERS or _TEST_NAME.fullmatch(pure.name):
        return "test"
    if pure.parts[0].lower() in _UNNEEDED_FOLDERS and len(pure.parts) > 1:
        return "unneeded"
    if ending == "txt" and ("requirements" in path.lower() or "constraints" in name):
        return "other"
    if name == "cmakelists.txt":
        return "other"
    if ending in _UNNEEDED_ENDINGS:
        return "unneeded"
    return "source" if ending in _SOURCE_ENDINGS else "other"
