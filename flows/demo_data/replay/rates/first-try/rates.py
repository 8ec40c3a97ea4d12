"""What an hour costs in each project; money is kept as whole cents."""

import re

_MONEY = re.compile(r"\d+(?:\.\d\d)?")


def parse_money(text: str) -> int:
    """Return the cents in an amount such as ``80`` or ``95.50``."""
    match = _MONEY.fullmatch(text)
    if match is None:
        raise ValueError(f"not an amount: {text!r} (write 80 or 95.50)")
    return int(float(text) * 100)


def format_money(cents: int) -> str:
    """Write cents as an amount with two decimals."""
    return f"{cents // 100}.{cents % 100:02}"


def parse_rates(text: str) -> dict[str, int]:
    """Read lines such as ``atlas 95.50`` into the cents an hour of each project."""
    rates: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            project, cents = _parse_rate(line)
            if project in rates:
                raise ValueError(f"a second rate for {project}")
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        rates[project] = cents
    return rates


def _parse_rate(line: str) -> tuple[str, int]:
    fields = line.split()
    if len(fields) != 2:
        raise ValueError(f"a rate needs a project and an amount: {line!r}")
    project, amount = fields
    return project, parse_money(amount)
