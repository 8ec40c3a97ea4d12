"""A push: which ref of which repository went from where to where, and the event of it."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from storage.exceptions import InputError

EVENT: Final = "git.push"
"""The name of the event; the deployment `on-push` has a trigger for it."""

BRANCHES: Final = "refs/heads/"
_NAMESPACE: Final = uuid.UUID("6f0a3c5e-0a7b-5d8e-9d0f-67726e6c6e70")
_OID: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REMOTE: Final = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._~-]+){2,}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST_NAME: Final = 4096
_LONGEST_PUSHER: Final = 200


@dataclass(frozen=True)
class Push:
    """One ref that was pushed; made by :meth:`of`.

    Attributes:
        repository: the absolute path of a repository on this machine, or `host/owner/name` of one
            elsewhere, in lower case.
        ref: the full name of the ref.
        before: the commit that it was on; zeros when it is new.
        after: the commit that it is on; zeros when it was deleted.
        pusher: who pushed, as far as is known.
        at: when, ISO 8601 in UTC.
    """

    repository: str
    ref: str
    before: str
    after: str
    pusher: str
    at: str

    @classmethod
    def of(
        cls,
        *,
        repository: str,
        ref: str,
        before: str,
        after: str,
        pusher: str = "",
        at: str | None = None,
    ) -> Push:
        """Make one of what somebody says, who may say anything.

        Raises:
            InputError: the repository, the ref or a commit is none.
        """
        if _cannot_be_written(repository) or len(repository) > _LONGEST_NAME:
            raise InputError(f"{repository[:100]!r} is no repository: its name is no plain text")
        if not repository.startswith("/") and not _REMOTE.fullmatch(repository):
            raise InputError(
                f"{repository!r} is no repository; give an absolute path, or host/owner/name"
            )
        if not ref.startswith("refs/") or _cannot_be_written(ref) or len(ref) > _LONGEST_NAME:
            raise InputError(f"{ref[:100]!r} is no full name of a ref, such as refs/heads/main")
        for oid in (before, after):
            if not _OID.fullmatch(oid):
                raise InputError(f"{oid[:100]!r} is no commit's id of 40 or 64 digits")
        who = "".join(letter if letter.isprintable() else " " for letter in pusher)
        who = who[:_LONGEST_PUSHER].strip()
        return cls(repository, ref, before, after, who, at or now())

    @property
    def creates(self) -> bool:
        """Whether the ref is new."""
        return not self.before.strip("0")

    @property
    def deletes(self) -> bool:
        """Whether the ref is gone."""
        return not self.after.strip("0")

    @property
    def branch(self) -> str | None:
        """The branch's name, None for other refs."""
        return self.ref.removeprefix(BRANCHES) if self.ref.startswith(BRANCHES) else None

    @property
    def name(self) -> str:
        """What people call the repository."""
        return self.repository.rstrip("/").rpartition("/")[2].removesuffix(".git") or "repository"

    @property
    def id(self) -> str:
        """The same for the same push, however often and by whomever it is told."""
        told = f"{self.repository}\0{self.ref}\0{self.before}\0{self.after}"
        return str(uuid.uuid5(_NAMESPACE, told))

    def document(self) -> dict[str, str]:
        """All of it, for a file."""
        return {**self.payload(), "at": self.at}

    def payload(self) -> dict[str, str]:
        """What the flow gets."""
        return {
            "repository": self.repository,
            "ref": self.ref,
            "before": self.before,
            "after": self.after,
            "pusher": self.pusher,
        }

    def event(self) -> dict[str, Any]:
        """The event as Prefect's API takes it."""
        # Of a path, slashes would be taken for levels of its own in the server's addresses.
        resource = uuid.uuid5(_NAMESPACE, self.repository).hex
        return {
            "occurred": self.at,
            "event": EVENT,
            "id": self.id,
            "resource": {
                "prefect.resource.id": f"git.repository.{resource}",
                "prefect.resource.name": self.name,
            },
            "payload": self.payload(),
        }


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cannot_be_written(text: str) -> bool:
    """Whether a text has control characters, or bytes that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return not text or _CONTROL.search(text) is not None
