"""No secret in a log: every record's message is redacted as it is made, whoever handles it."""

from __future__ import annotations

import logging
from typing import Any, Final

from storage.redaction import redact

_OURS: Final = ("flows", "tasks", "storage", "analytics", "prefect")


def keep_secrets_out_of_logs() -> None:
    """Have all records of Greenline's and Prefect's loggers redacted from now on."""
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def redacted(*args: Any, **named: Any) -> logging.LogRecord:
        record = make(*args, **named)
        if record.name.partition(".")[0] in _OURS:
            _redact(record)
        return record

    redacted.redacts = True  # type: ignore[attr-defined]  # known again by it
    logging.setLogRecordFactory(redacted)


def _redact(record: logging.LogRecord) -> None:
    try:
        message = record.getMessage()
    except (TypeError, ValueError):  # its handlers will say what is wrong with its arguments
        return
    record.msg, record.args = redact(message), ()
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
