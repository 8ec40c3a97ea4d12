"""Budgets in tokens and USD, per step, run and project-week: what is used up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BUDGETS: Final = ("step_tokens", "step_usd", "run_tokens", "run_usd", "week_tokens", "week_usd")
"""The names of the budgets, as in `[limits]`."""


@dataclass(frozen=True)
class Overspent:
    """A budget that is used up.

    Attributes:
        budget: its name.
        reason: a sentence for events and for the person.
    """

    budget: str
    reason: str


def overspent(
    limits: Mapping[str, float | None],
    spent: Mapping[str, float],
    raised: Mapping[str, int] | None = None,
) -> Overspent | None:
    """Say which budget is used up, None while every one has something left.

    Args:
        limits: the budgets by name, None for one that is not set.
        spent: what was used so far, by the same names; unknown usage is not in it.
        raised: how often a person let the run spend as much again, by the same names.
    """
    for name in BUDGETS:
        limit = limits.get(name)
        if limit is None:
            continue
        times = 1 + (raised or {}).get(name, 0)
        if spent[name] >= limit * times:
            granted = f", {times} times by a person's word" if times > 1 else ""
            reason = f"limits.{name} is {limit:g}{granted}, and {spent[name]:g} are used"
            return Overspent(name, reason)
    return None


def has_budgets(limits: Mapping[str, float | None]) -> bool:
    """Say whether any budget is set."""
    return any(limits.get(name) is not None for name in BUDGETS)
