"""Server-sent events, taken out of a stream that is passed on byte for byte.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\n|\n\r\n")
_LONGEST: Final = 32 << 20


class Events:
    """Splits a stream into events.

    Attributes:
        rest: what came of the next event.
    """

    def __init__(self) -> None:
        self.rest = b""

    def take(self, part: bytes) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
        """Take the next bytes; yield each event that they complete, raw and as a document.

        The document is None where the event's data is no JSON object. Put together, the raw events
        and the rest are all bytes that came.
        """
        searched = max(len(self.rest) - 3, 0)
        data = self.rest + part
        begin = 0
        while (end := _END.search(data, max(begin, searched))) is not None:
            raw = data[begin : end.end()]
            begin = end.end()
            yield raw, _document(raw)
        self.rest = data[begin:]
        if len(self.rest) > _LONGEST:  # no event at all: passed on as it is
            yield self.rest, None
            self.rest = b""


def chunk_of_usage_alone(event: dict[str, Any]) -> bool:
    """Say whether a chunk of a chat completion holds the usage and no part of the answer."""
    return event.get("choices") == [] and isinstance(event.get("usage"), dict)


def _document(raw: bytes) -> dict[str, Any] | None:
    lines = re.split(rb"\r\n|\n|\r", raw)
    data = b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
    if not data.startswith(b"{"):
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
