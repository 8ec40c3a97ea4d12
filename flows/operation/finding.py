"""What a check of `greenline doctor` found."""

from __future__ import annotations

from dataclasses import dataclass

from storage.exceptions import ServiceError


@dataclass(frozen=True)
class Finding:
    """One check: whether it is well, what was found, and how to mend it.

    Attributes:
        exit_code: what a run that fails for it would exit with.
    """

    check: str
    ok: bool
    found: str
    mend: str = ""
    exit_code: int = ServiceError.exit_code
