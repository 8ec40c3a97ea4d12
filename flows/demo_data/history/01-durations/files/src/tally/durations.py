"""Durations as people write them in a time sheet, kept as whole minutes."""

import re

_HOURS_AND_MINUTES = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?")


def parse_duration(text: str) -> int:
    """Return the minutes in a duration such as ``1h30m``, ``2h`` or ``45m``."""
    match = _HOURS_AND_MINUTES.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"not a duration: {text!r} (write 1h30m, 2h or 45m)")
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
