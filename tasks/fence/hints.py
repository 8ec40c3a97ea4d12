"""Why something may have failed in the fence that works outside: said where it is to be seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tasks.fence import Fence

_REFUSED: Final = re.compile(
    r"Network is unreachable|ENETUNREACH|EAI_AGAIN|Temporary failure in name resolution|"
    r"Name or service not known|Could not resolve host|[Cc]onnection refused|ECONNREFUSED"
)
_READ_ONLY: Final = re.compile(r"Read-only file system|EROFS")


def hint(text: str, fence: Fence | None, allowing: str) -> str | None:
    """Return what a failure may have to do with the fence; None: nothing that is known of.

    Args:
        text: what the program said when it failed.
        fence: the fence it was in, None for none.
        allowing: the setting that gives it the network.
    """
    if fence is None:
        return None
    if not fence.network and _REFUSED.search(text):
        return f"in Greenline's fence it has no network; {allowing} gives it this machine's"
    if _READ_ONLY.search(text):
        return (
            "in Greenline's fence it can write its sandbox, its HOME and /tmp alone; "
            "limits.fence_writable names more"
        )
    return None
