"""The sample repository of `greenline demo`: a small library with a history, and a plan for it.

`demo_data/history` holds one folder for each commit: the files it adds or changes, whole, and its
message. `demo_data/plan.yaml` is the feature plan, `demo_data/replay` the files that it names.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage.exceptions import InputError
from tasks.git import Git

_DATA = Path(__file__).with_name("demo_data")

DEMO_PLAN = _DATA / "plan.yaml"
"""The feature plan that goes with the sample repository."""

_AUTHOR = "Tally authors <tally@example.com>"
_FIRST_COMMIT = datetime(2026, 1, 5, 9, tzinfo=UTC)


def build_demo_repository(destination: Path) -> Path:
    """Make the sample repository at `destination` and return that path, resolved.

    Its commits are the same everywhere, ids included: authors and dates are fixed and nobody's git
    configuration has a say. A sample repository whose main branch is still as it was built is left
    as it is, with all branches that were added to it, so that the demo can be run again.

    Raises:
        InputError: something else is at `destination`; nothing was changed.
    """
    destination = destination.resolve()
    destination.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its place and renamed: what stands at `destination` is never half a repository.
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".building-") as building:
        built = Path(building, "repository")
        _build(built)
        if _main_branch(destination) == _main_branch(built):
            return destination
        if destination.is_dir() and not any(destination.iterdir()):
            destination.rmdir()
        if os.path.lexists(destination):
            raise InputError(
                f"{destination} is there already and is not the sample repository as it was built; "
                "move it away or choose another folder"
            )
        built.rename(destination)
    return destination


def _build(repository: Path) -> None:
    """Commit the folders of the history in order and check the last commit out."""
    repository.mkdir()
    git = Git(repository / ".git", work_tree=repository)
    git.run("init", "--quiet", "--template=")
    git.run("symbolic-ref", "HEAD", "refs/heads/main")
    folders = sorted((_DATA / "history").iterdir())
    commits = [_commit(folder, days) for days, folder in enumerate(folders)]
    # fast-import takes dates and modes as they are told, and asks no configuration.
    git.run("fast-import", "--quiet", stdin=b"".join(commits))
    git.run("read-tree", "-u", "--reset", "HEAD")


def _commit(folder: Path, days: int) -> bytes:
    """One commit in the language of `git fast-import`, so many days after the first."""
    seconds = int((_FIRST_COMMIT + timedelta(days=days)).timestamp())
    parts = [
        f"commit refs/heads/main\ncommitter {_AUTHOR} {seconds} +0000\n".encode(),
        _data((folder / "message.txt").read_bytes()),
    ]
    files = folder / "files"
    for path in sorted(files.rglob("*")):
        # Who installs a wheel may have its Python files compiled, these too.
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(files).as_posix()
            parts += [f"M 100644 inline {name}\n".encode(), _data(path.read_bytes())]
    return b"".join(parts)


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


def _main_branch(repository: Path) -> str | None:
    """The commit of the branch main, or None where there is no such repository."""
    return Git(repository / ".git").resolve("refs/heads/main")


def demo_settings(destination: Path) -> Path:
    """Write the sample's settings for this machine and return their path.

    They are those of the sample repository, with the Python that runs Greenline in place of the
    programs' names: it is sure to have pytest.
    """
    written = (_DATA / "history" / "06-greenline" / "files" / "greenline.toml").read_text("utf-8")
    python = shlex.quote(sys.executable).replace("\\", "\\\\").replace('"', '\\"')
    text = written.replace('"pytest ', f'"{python} -m pytest ').replace('"python ', f'"{python} ')
    destination.write_text(text, encoding="utf-8")
    return destination
