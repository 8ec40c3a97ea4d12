"""Durations as people write them in a time sheet, kept as whole minutes."""

import re

_HOURS_AND_MINUTES = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?")
_CLOCK = re.compile(r"(\d+):([0-5]\d)")


def parse_duration(text: str) -> int:
    """Return the minutes in a duration such as ``1h30m``, ``2h``, ``45m`` or ``1:30``."""
    match = _HOURS_AND_MINUTES.fullmatch(text) or _CLOCK.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"not a duration: {text!r} (write 1h30m, 2h, 45m or 1:30)")
    hours, minutes = (int(part or 0) for part in match.groups())
    return 60 * hours + minutes


def format_duration(minutes: int) -> str:
    """Write minutes the way ``parse_duration`` reads them."""
    if minutes < 0:
        raise ValueError(f"a duration cannot be negative: {minutes} minutes")
    hours, rest = divmod(minutes, 60)
    if hours and rest:
        return f"{hours}h{rest:02}m"
    return f"{hours}h" if hours else f"{rest}m"
