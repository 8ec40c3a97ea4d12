"""Repositories elsewhere whose webhooks are taken, and where their commits come from.

Which ones is the operator's word, in `webhooks.toml` of the home:

```toml
[repositories."github.com/acme/roman"]
url = "https://github.com/acme/roman.git"   # fetched from; by default the path's remote `origin`
path = "/srv/git/roman.git"                 # by default a mirror in the home
push = true                                 # bring delivered branches back; default false
```

Nothing that a webhook says names an address: it only picks an entry.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from storage.exceptions import GreenlineError, InputError, ServiceError
from storage.redaction import redact
from storage.supervision import locked, write_private
from tasks.git import as_user, caller_variables, decode
from tasks.process import run_guarded
from tasks.repository import UserRepository

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.home import Home
    from tasks.pushes.push import Push

logger = logging.getLogger(__name__)

FILE: Final = "webhooks.toml"
FETCH_TIMEOUT_S: Final = 600.0
_URL: Final = re.compile(r"(https|ssh|file)://[^\s-]\S*|[\w.-]+@[\w.-]+:[^\s-]\S*|/\S.*")
_KEY: Final = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._~-]+){2,}")
#: Nothing runs but git and what its user has for signing in (ssh, credential helpers).
_SAFE: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "credential.interactive=false",
)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    url: str | None = None
    path: str | None = None
    push: bool = False

    @field_validator("url")
    @classmethod
    def _fetchable(cls, url: str | None) -> str | None:
        if url is not None and not _URL.fullmatch(url):
            raise ValueError("is no address to fetch from: give https://…, ssh://…, git@host:… "
                             "or an absolute path")  # fmt: skip
        return url

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        if path is not None and not path.startswith("/"):
            raise ValueError("must be an absolute path")
        return path


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    repositories: dict[str, _Entry] = {}


@dataclass(frozen=True)
class Remote:
    """A repository elsewhere.

    Attributes:
        name: `host/owner/name`.
        url: where it is fetched from; None: the remote `origin` of what lies at `path`.
        path: the repository on this machine.
        own: it is a mirror of ours, made when it is missing.
        push: delivered branches are brought back.
    """

    name: str
    url: str | None
    path: Path
    own: bool
    push: bool


def remotes(home: Home) -> Mapping[str, Remote]:
    """Return the repositories of `webhooks.toml` by their names; none where there is no file.

    Raises:
        InputError: the file cannot be read or says something wrong.
    """
    file = home.path / FILE
    try:
        document = _Document.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no TOML: {error}") from error
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        )
        raise InputError(f"{file}: {told}") from error
    return dict(_remote(home, file, name, entry) for name, entry in document.repositories.items())


def _remote(home: Home, file: Path, given: str, entry: _Entry) -> tuple[str, Remote]:
    name = given.lower()
    if not _KEY.fullmatch(name) or any(part in ("..", ".") for part in name.split("/")):
        raise InputError(f"{file}: {given!r} is no repository; write host/owner/name")
    if entry.path is None and entry.url is None:
        raise InputError(f"{file}: {given} has neither a url to fetch from nor a path")
    mirror = home.path / "mirrors" / f"{name}.git"
    path = Path(entry.path) if entry.path else mirror
    return name, Remote(name, entry.url, path, entry.path is None, entry.push)


def pushed_repository(home: Home, push: Push) -> UserRepository:
    """Return the repository that was pushed to, with the pushed commit in it.

    Of one elsewhere, what is new is fetched first.

    Raises:
        InputError: it is no repository, not on the list, or has no such commit.
        ServiceError: it cannot be fetched from where it is.
    """
    if push.repository.startswith("/"):
        return UserRepository.open(Path(push.repository))
    remote = remotes(home).get(push.repository)
    if remote is None:
        raise InputError(
            f"{push.repository} is not on the list of repositories; add "
            f'[repositories."{push.repository}"] to {home.path / FILE}'
        )
    mark = hashlib.sha256(remote.name.encode()).hexdigest()[:16]
    with locked(home, f"fetch-{mark}", timeout_s=FETCH_TIMEOUT_S):
        if remote.own and not (remote.path / "HEAD").is_file():
            _make_mirror(home, remote)
        bare = decode(as_user(remote.path, "rev-parse", "--is-bare-repository").stdout).strip()
        target = "refs/heads" if bare == "true" else "refs/remotes/origin"
        source = remote.url or "origin"
        # What was delivered lies in the mirror's branches, too: it is not overwritten.
        specs = [f"+refs/heads/*:{target}/*", "^refs/heads/greenline/*"]
        _network(remote, "fetch", "--no-tags", "--no-recurse-submodules", "--", source, *specs)
        if not push.deletes and not _has(remote, push.after):
            # The branch has been moved elsewhere since; many servers still hand the commit out.
            _network(remote, "fetch", "--no-tags", "--no-recurse-submodules", "--", source,
                     push.after)  # fmt: skip
    return UserRepository.open(remote.path)


def _has(remote: Remote, commit: str) -> bool:
    return as_user(remote.path, "cat-file", "-e", f"{commit}^{{commit}}").status == 0


def _make_mirror(home: Home, remote: Remote) -> None:
    """Make an empty bare repository whose default branch is the remote's."""
    home.folder(remote.path.parent)
    told = _network(remote, "ls-remote", "--symref", "--", remote.url or "", "HEAD", at=home.path)
    found = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", told, re.MULTILINE)
    branch = found[1] if found else "main"
    words = ("init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}")
    done = as_user(home.path, *words, "--", str(remote.path))
    if done.status != 0:
        raise ServiceError(f"the mirror {remote.path} cannot be made: {done.stderr.strip()}")


def push_deliveries(home: Home) -> list[str]:
    """Bring delivered branches back to where `push = true`; return the names of the repositories.

    Nothing is asked over the network unless a branch is there that was not brought back before.
    What cannot be brought back now is logged, and tried again the next time.

    Raises:
        InputError: `webhooks.toml` says something wrong.
    """
    done = []
    for remote in remotes(home).values():
        if not remote.push or not remote.path.is_dir():
            continue
        form = "--format=%(refname) %(objectname)"
        told = as_user(remote.path, "for-each-ref", form, "refs/heads/greenline/").stdout
        state = hashlib.sha256(told).hexdigest()
        note = (
            home.folder(home.path / "pushes" / "delivered")
            / hashlib.sha256(remote.name.encode()).hexdigest()
        )
        if not told or (note.is_file() and note.read_text() == state):
            continue
        try:
            options = ("--no-verify", "--no-follow-tags", "--", remote.url or "origin")
            _network(remote, "push", *options, "refs/heads/greenline/*:refs/heads/greenline/*")
        except GreenlineError as error:
            logger.warning("what was delivered to %s stays here for now: %s", remote.name, error)
            continue
        write_private(home, note, state)
        done.append(remote.name)
    return done


def _network(remote: Remote, *words: str, at: Path | None = None) -> str:
    """Run a git command that goes over the network, as the user, bounded in time.

    Raises:
        ServiceError: it fails, or takes too long.
    """
    settings = [*_SAFE]
    if (remote.url or "").startswith(("/", "file:")) or remote.url is None:
        settings.append("protocol.file.allow=always")
    dropped = set(caller_variables(os.environ))
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": "",
                    "LC_ALL": "C"}  # fmt: skip
    environment.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
    for name in [one for one in environment if one.startswith(("GREENLINE_", "PREFECT_"))]:
        del environment[name]
    argv: list[Any] = ["git", *(word for one in settings for word in ("-c", one)), *words]
    result = run_guarded(argv, cwd=at or remote.path, env=environment, timeout_s=FETCH_TIMEOUT_S)
    if result.timed_out:
        raise ServiceError(
            f"git {words[0]} of {remote.name} took more than {FETCH_TIMEOUT_S:.0f} s"
        )
    if result.exit_code != 0:
        last = redact(" ".join(result.stderr.split()))[-300:]
        raise ServiceError(f"git {words[0]} of {remote.name} failed: {last}")
    return result.stdout
