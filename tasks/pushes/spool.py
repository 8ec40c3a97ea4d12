"""Pushes on their way: kept in small files until a flow has dealt with them.

```text
pushes/waiting/*.push   what a hook wrote: fields that end with NUL, then git's own lines
pushes/waiting/*.json   what is to be told to the Prefect server
pushes/sent/*.json      what was told, until the flow is through with it
```

A push that nobody dealt with is found there by `reconcile`: the server, or the flow's process, may
have been killed in between.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from storage.exceptions import GreenlineError, InputError
from storage.supervision import locked, try_lock, write_private
from tasks.pushes.push import Push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from storage.home import Home

logger = logging.getLogger(__name__)

MOST_WAITING: Final = 1_000
"""How many pushes are kept for a server that does not come; the oldest ones go then."""

MOST_TRIES: Final = 3
"""How many flows may be cut off over one push before it is given up."""

LATE_S: Final = 60.0
"""Seconds after which a push that was told and is not dealt with is taken for lost."""

LOCK: Final = "pushes"
_PATIENCE_S: Final = 0.5
_MOST_BYTES: Final = 4_000_000
_HOOKS = ("post-receive", "post-commit", "pre-push")


@dataclass(frozen=True)
class Sent:
    """A push that was told and is not dealt with.

    Attributes:
        file: where it is kept.
        tries: how many flows began with it.
    """

    push: Push
    file: Path
    tries: int


def waiting_folder(home: Home) -> Path:
    """Where hooks and webhooks leave what they hear."""
    return home.path / "pushes" / "waiting"


def sent_folder(home: Home) -> Path:
    """Where a push is until a flow is through with it."""
    return home.path / "pushes" / "sent"


def keep(home: Home, push: Push) -> None:
    """Keep a push until it is told; the same push twice is kept once.

    Raises:
        InputError: the home cannot be used.
        OSError: the file cannot be written.
    """
    folder = home.folder(waiting_folder(home))
    write_private(home, folder / f"{push.id}.json", json.dumps(push.document()) + "\n")


def waiting(home: Home) -> list[Path]:
    """The files that wait, the oldest first; more than a thousand are never kept.

    Changes nothing but that.
    """
    files = _by_age(waiting_folder(home), (".push", ".json"))
    for lost in files[:-MOST_WAITING]:
        logger.warning("more than %d pushes wait; %s is dropped", MOST_WAITING, lost.name)
        lost.unlink(missing_ok=True)
    return files[-MOST_WAITING:]


def pushes_in(file: Path) -> list[Push]:
    """Read the pushes that one file tells of; what is no push is left out with a word in the log.

    Raises:
        FileNotFoundError: somebody else has dealt with it.
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        logger.warning("%s is longer than %d bytes, and tells of no push", file.name, _MOST_BYTES)
        return []
    try:
        if file.suffix == ".push":
            return list(_of_hook(content))
        return [_of_document(content)[0]]
    except InputError as error:
        logger.warning("%s tells of no push: %s", file.name, error)
        return []


def _of_hook(content: bytes) -> Iterator[Push]:
    """Yield what a hook wrote: kind, repository, pusher, time, then what git gave it."""
    fields = content.split(b"\0")
    if len(fields) != 5:
        raise InputError(f"a hook writes 5 fields, received {len(fields)}")
    kind, repository, pusher, at = (os.fsdecode(field) for field in fields[:4])
    if kind not in _HOOKS:
        raise InputError(f"{kind[:40]!r} is no hook")
    for line in os.fsdecode(fields[4]).split("\n"):
        words = line.split(" ")
        try:
            if kind == "pre-push":
                _, after, ref, before = words
            else:
                before, after, ref = words
            yield Push.of(
                repository=_checkout(repository),
                ref=ref,
                before=before or "0" * len(after),
                after=after,
                pusher=pusher,
                at=at or None,
            )
        except (ValueError, InputError) as error:
            if line:
                logger.warning("a hook of %r tells of no push: %s", repository[:200], error)


def _checkout(folder: str) -> str:
    """The checkout whose `.git` git has for a folder when somebody pushes into it."""
    return folder.removesuffix("/.git") or "/"


def _of_document(content: bytes) -> tuple[Push, int]:
    """Return a push and how many flows began with it.

    Raises:
        InputError: it is no push.
    """
    try:
        told: dict[str, Any] = json.loads(content)
        known = {key: str(told.get(key, "")) for key in ("repository", "ref", "before", "after")}
        push = Push.of(**known, pusher=str(told.get("pusher", "")), at=told.get("at"))
        return push, int(told.get("tries", 0))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"no JSON of a push: {error}") from error


def note_sent(home: Home, push: Push, tries: int = 0) -> Path:
    """Keep a push until a flow is through with it.

    Raises:
        InputError: the home cannot be used.
        OSError: the file cannot be written.
    """
    file = home.folder(sent_folder(home)) / f"{push.id}.json"
    write_private(home, file, json.dumps({**push.document(), "tries": tries}) + "\n")
    return file


@contextmanager
def claimed(home: Home, push: Push) -> Iterator[bool]:
    """Have a push to oneself until the context ends; False when another process has it.

    Once the context ends well, or finds out that the push was wrong, it is dealt with. Otherwise
    it stays, to be taken up again.
    """
    mine = home.folder(home.path / "pushes" / "claims") / f"{push.id}.lock"
    descriptor = os.open(mine, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _taken(descriptor):
            yield False
            return
        home.give_to_owner(mine)
        file = sent_folder(home) / f"{push.id}.json"
        note_sent(home, push, _tries(file) + 1)
        try:
            yield True
        except InputError:
            _done(file, mine)
            raise
        _done(file, mine)
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    """Lock an open file, unless another process has it or has removed it, being through."""
    deadline = time.monotonic() + _PATIENCE_S  # who only looks holds it for a moment, too
    while not try_lock(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return os.fstat(descriptor).st_nlink > 0


def _tries(file: Path) -> int:
    """How many flows began with a push; none, when nothing is known of it."""
    try:
        return _of_document(file.read_bytes())[1]
    except (OSError, InputError):
        return 0


def _done(*files: Path) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def lost_pushes(home: Home, *, late_s: float = LATE_S) -> list[Sent]:
    """The pushes that were told some time ago and that no process is dealing with.

    One that was taken up often enough is given up, with a word in the log.
    """
    found = []
    for file in _by_age(sent_folder(home), (".json",)):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime < late_s:
                continue
            try:
                push, tries = _of_document(file.read_bytes())
            except InputError as error:
                logger.warning("%s tells of no push: %s", file.name, error)
                file.unlink(missing_ok=True)
                continue
            if tries >= MOST_TRIES:
                logger.warning(
                    "the push of %s to %s is given up: %d flows were cut off",
                    push.after[:12], push.name, tries,
                )  # fmt: skip
                file.unlink(missing_ok=True)
            elif not _is_claimed(home, push):
                found.append(Sent(push, file, tries))
    return found


def _is_claimed(home: Home, push: Push) -> bool:
    lock = home.path / "pushes" / "claims" / f"{push.id}.lock"
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


@contextmanager
def telling(home: Home) -> Iterator[None]:
    """Be the only one who tells what waits.

    Raises:
        ServiceError: somebody else has been at it for half a minute.
    """
    with locked(home, LOCK, timeout_s=30.0):
        yield


def _by_age(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a folder with these endings, the oldest first; none where there is none."""
    found: list[tuple[int, str, Path]] = []
    try:
        names = sorted(folder.iterdir())
    except (OSError, GreenlineError):
        return []
    for file in names:
        if file.suffix in suffixes and not file.name.startswith("."):
            with suppress(OSError):
                found.append((file.stat().st_mtime_ns, file.name, file))
    return [file for *_, file in sorted(found)]
