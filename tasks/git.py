"""Running git: one small class over GitPython, deaf to everybody's configuration but ours.

Greenline reads repositories that agents have written to. So no call of git here sees the
caller's `GIT_*` variables, the user's or the system's configuration, hooks, file system monitors,
replaced objects or automatic maintenance. Paths are `str` as Python's file system encoding has
them (`surrogateescape`), so that names which are not UTF-8 survive.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from storage.exceptions import GreenlineError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

OVERRIDES = (
    "core.hooksPath=/dev/null",  # hooks, reference-transaction among them
    "core.fsmonitor=false",  # may name a program
    "core.untrackedCache=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.quotePath=false",
    "core.pager=cat",
    "core.splitIndex=false",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "safe.directory=*",  # ownership is judged once, when a repository is opened
)
"""Settings that win over what a repository's own configuration says."""

ENVIRONMENT = {
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "HOME": os.devnull,  # for git before 2.32, which does not know GIT_CONFIG_GLOBAL
    "LC_ALL": "C",
    "XDG_CONFIG_HOME": os.devnull,  # has attributes and excludes of its own
}


class GitError(GreenlineError):
    """A git command failed.

    Attributes:
        command: the git command and its arguments, without our overrides.
        status: git's exit status.
        stderr: what git said.
    """

    def __init__(self, command: tuple[str, ...], status: int, stderr: str) -> None:
        self.command = command
        self.status = status
        self.stderr = stderr.strip()
        words = " ".join(command)
        super().__init__(f"git {words} failed with exit code {status}: {self.stderr or 'no word'}")


class RefMoved(GitError):  # noqa: N818 - it names what happened, as git's own message does
    """A branch was not where it was expected to be; nothing was changed."""


class GitMissing(GreenlineError):  # noqa: N818
    """There is no git on PATH."""

    exit_code = 4


@dataclass(frozen=True)
class Identity:
    """Who a commit says made it."""

    name: str
    email: str


GREENLINE = Identity("Greenline", "greenline@localhost")


class Completed(NamedTuple):
    """How a git command ended."""

    status: int
    stdout: bytes
    stderr: str


class TreeEntry(NamedTuple):
    """One entry of a tree or of the index: mode as git writes it (`100755`), type and object id."""

    mode: str
    kind: str
    oid: str


def decode(raw: bytes) -> str:
    """A path or word of git's output as `str`, whatever its bytes are."""
    return os.fsdecode(raw)


def records(raw: bytes) -> Iterator[str]:
    """The NUL-terminated records of a `-z` output."""
    return (os.fsdecode(one) for one in raw.split(b"\0") if one)


def joined(paths: Iterable[str]) -> bytes:
    """Paths as the NUL-terminated list that git's `--stdin -z` takes."""
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def caller_variables(environ: Mapping[str, str]) -> list[str]:
    """The caller's variables that would steer git (a hook that starts Greenline sets several)."""
    return sorted(name for name in environ if name.startswith("GIT_") and name not in ENVIRONMENT)


def as_user(folder: Path, *arguments: str) -> Completed:
    """Run git in a folder as its user would: with their configuration, found from where it is.

    Only for questions that run no program: where a repository is, who its user is.

    Raises:
        GitMissing: there is no git to run.
    """
    dropped = [
        name
        for name in os.environ
        if name.startswith("GIT_") and not name.startswith("GIT_CONFIG_")
    ]
    command = ["git", "-c", "core.fsmonitor=false", "-c", "safe.bareRepository=all", *arguments]
    environment = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    return _execute(folder, command, dropped, environment, None)


@dataclass(frozen=True)
class Git:
    """Git on one repository, with an optional work tree and an index file of its own.

    Attributes:
        git_dir: the repository; never looked for in the work tree.
        work_tree: where files are read and written, if any are.
        index_file: an index apart from the repository's.
        identity: author and committer of commits made here.
        settings: further `key=value` settings for this repository only.
    """

    git_dir: Path
    work_tree: Path | None = None
    index_file: Path | None = None
    identity: Identity = GREENLINE
    settings: tuple[str, ...] = field(default=())

    def run(self, *arguments: str, stdin: bytes | None = None, ok: Collection[int] = (0,)) -> bytes:
        """Run git and hand back its standard output.

        Raises:
            GitError: the exit status is none of `ok`.
            GitMissing: there is no git to run.
        """
        done = self.call(*arguments, stdin=stdin)
        if done.status not in ok:
            raise GitError(arguments, done.status, done.stderr)
        return done.stdout

    def text(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Run git and hand back its standard output as text, without the last line's end.

        Raises:
            GitError: git failed.
        """
        return decode(self.run(*arguments, stdin=stdin)).rstrip("\n")

    def call(self, *arguments: str, stdin: bytes | None = None) -> Completed:
        """Run git whatever it exits with.

        Raises:
            GitMissing: there is no git to run.
        """
        options = [word for one in (*OVERRIDES, *self.settings) for word in ("-c", one)]
        return _execute(
            self.git_dir,
            ["git", *options, *arguments],
            caller_variables(os.environ),
            self._environment(),
            stdin,
        )

    def _environment(self) -> dict[str, str]:
        environment = dict(ENVIRONMENT)
        environment["GIT_DIR"] = str(self.git_dir)
        for person in ("AUTHOR", "COMMITTER"):
            environment[f"GIT_{person}_NAME"] = self.identity.name
            environment[f"GIT_{person}_EMAIL"] = self.identity.email
        if self.work_tree is not None:
            environment["GIT_WORK_TREE"] = str(self.work_tree)
        if self.index_file is not None:
            environment["GIT_INDEX_FILE"] = str(self.index_file)
        return environment

    # --- what several modules ask

    def resolve(self, revision: str) -> str | None:
        """The commit that a revision names, or None."""
        done = self.call(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
        return decode(done.stdout).strip() if done.status == 0 else None

    def tree_of(self, commit: str) -> str:
        """The tree of a commit.

        Raises:
            GitError: there is no such commit.
        """
        return self.text("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")

    def listing(self, commit: str) -> dict[str, TreeEntry]:
        """Every entry of a commit or tree by its path, folders and submodules too.

        Raises:
            GitError: there is no such commit.
        """
        found = {}
        for record in records(self.run("ls-tree", "-r", "-t", "-z", "--full-tree", commit)):
            head, _, path = record.partition("\t")
            mode, kind, oid = head.split(" ")
            found[path] = TreeEntry(mode, kind, oid)
        return found

    def entry(self, commit: str, path: str) -> TreeEntry | None:
        """What a commit has at a path, or None.

        Raises:
            GitError: there is no such commit.
        """
        for record in records(self.run("ls-tree", "-z", "--full-tree", commit, "--", path)):
            head, _, _ = record.partition("\t")
            mode, kind, oid = head.split(" ")
            return TreeEntry(mode, kind, oid)
        return None

    def blob(self, oid: str) -> bytes:
        """The content of a blob.

        Raises:
            GitError: there is no such blob.
        """
        return self.run("cat-file", "blob", oid)

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` contains `older`.

        Raises:
            GitError: one of them is no commit here.
        """
        arguments = ("merge-base", "--is-ancestor", older, newer)
        done = self.call(*arguments)
        if done.status not in (0, 1):
            raise GitError(arguments, done.status, done.stderr)
        return done.status == 0

    def move_ref(
        self, ref: str, new: str, expected_old: str | None, reason: str = "greenline"
    ) -> None:
        """Put a ref on a commit, if it is where it is expected to be.

        Args:
            ref: the full name, `refs/heads/x`.
            new: the commit.
            expected_old: the commit that the ref is on; None: it must not exist.
            reason: what the reflog says, where there is one.

        Raises:
            RefMoved: it was elsewhere; nothing changed.
            GitError: the name is not possible, or `new` is no commit here.
        """
        arguments = (
            *("update-ref", "--no-deref", "-m", reason),
            *(ref, new, expected_old or "0" * len(new)),
        )
        done = self.call(*arguments)
        if done.status == 0:
            return
        moved = "but expected" in done.stderr or "reference already exists" in done.stderr
        moved = moved or "unable to resolve reference" in done.stderr
        raise (RefMoved if moved else GitError)(arguments, done.status, done.stderr)


def _execute(
    folder: Path,
    command: list[str],
    dropped: list[str],
    environment: dict[str, str],
    stdin: bytes | None,
) -> Completed:
    from git.cmd import Git as Runner  # noqa: PLC0415 - 60 ms that most commands do without
    from git.exc import GitCommandNotFound  # noqa: PLC0415

    # GitPython can add variables, not take them away; env(1) can. What we set ourselves stays.
    away = [name for name in dropped if name not in environment]
    prefix = ["env", *(word for name in away for word in ("-u", name))] if away else []
    try:
        child = Runner(str(folder)).execute(
            [*prefix, *command],
            istream=None if stdin is None else subprocess.PIPE,
            env=environment,
            as_process=True,
        )
    except GitCommandNotFound as error:
        raise GitMissing("git was not found on PATH; Greenline needs git 2.31 or newer") from error
    process = child.proc
    if process is None:  # the wrapper forgets it only once it has been waited for
        raise GitMissing(f"{' '.join(command)} could not be started")
    stdout, stderr = process.communicate(stdin)
    return Completed(process.returncode, stdout, stderr.decode(errors="replace"))
