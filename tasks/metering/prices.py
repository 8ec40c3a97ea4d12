"""What tokens cost: the user's own table first, then the one of `genai-prices`.

Prices are USD per million tokens. A model that neither has costs NULL, not 0. The user's table is
`prices.toml` in GREENLINE_HOME:

    version = "2026-11-21"

    [models."my-model"]        # `*` at the end stands for any rest
    input = 3.0
    output = 15.0
    cache_read = 0.3           # default: as input
    cache_write = 3.75         # default: as input
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from storage.exceptions import InputError
from storage.home import Home
from tasks.metering.requests import TokenUsage
from tasks.problems import DocumentError, Problem, path_of, problems_of

FILE: Final = "prices.toml"
_MILLION: Final = 1_000_000


class Price(BaseModel):
    """Prices of one model, in USD per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)
    cache_read: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cache_write: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    def cost_usd(self, usage: TokenUsage) -> float | None:
        """Return what tokens cost; None unless input and output are known."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
        fresh = max(usage.input_tokens - read - written, 0)
        return (
            fresh * self.input
            + read * (self.input if self.cache_read is None else self.cache_read)
            + written * (self.input if self.cache_write is None else self.cache_write)
            + usage.output_tokens * self.output
        ) / _MILLION


class _Table(BaseModel):
    """A user's table of prices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(min_length=1, max_length=100)
    models: dict[str, Price]


@dataclass(frozen=True)
class Prices:
    """The prices that hold.

    Attributes:
        own: the user's, by model; names may end with `*`.
        own_version: what the user calls that table.
    """

    own: Mapping[str, Price] = field(default_factory=dict)
    own_version: str | None = None

    @classmethod
    def current(cls) -> Prices:
        """Return the user's table, if there is one, before the shipped one.

        Raises:
            InputError: the table cannot be used; all that is wrong with it is told.
        """
        path = Home.current().path / FILE
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            return cls()
        return _read(path, stamp)

    @property
    def versions(self) -> str:
        """Which tables hold, for people."""
        shipped = f"genai-prices {version('genai-prices')}"
        return f"{FILE} {self.own_version}, then {shipped}" if self.own_version else shipped

    def cost(
        self, model: str | None, usage: TokenUsage, moment: datetime, *, provider: str | None = None
    ) -> tuple[float | None, str | None]:
        """Return what a request cost in USD, and the version of the table that says so.

        Args:
            model: as the provider named it.
            usage: what it used.
            moment: when; prices change.
            provider: openai or anthropic; a model that it does not have is looked for elsewhere.
        """
        if model is None:
            return None, None
        for name, price in self.own.items():
            if fnmatchcase(model, name):
                cost = price.cost_usd(usage)
                return cost, None if cost is None else f"{FILE} {self.own_version}"
        return _shipped(model, usage, moment, provider)


def _shipped(
    model: str, usage: TokenUsage, moment: datetime, provider: str | None
) -> tuple[float | None, str | None]:
    if usage.input_tokens is None or usage.output_tokens is None:
        return None, None
    # Its table takes 0.4 s to load: only who has a request to price waits for it.
    from genai_prices import Usage, calc_price  # noqa: PLC0415

    given = Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or 0,
        cache_write_tokens=usage.cache_write_tokens or 0,
    )
    for whose in (provider, None):
        try:
            found = calc_price(
                given, model_ref=model, provider_id=whose, genai_request_timestamp=moment
            )
        except (LookupError, ValueError):
            continue
        return float(found.total_price), f"genai-prices {version('genai-prices')}"
    return None, None


@cache
def _read(path: Path, _stamp: int) -> Prices:
    """Read a user's table; once for each time that it was written.

    Raises:
        InputError: it cannot be used.
    """
    try:
        document: Any = tomllib.loads(path.read_text(encoding="utf-8"))
        table = _Table.model_validate(document)
    except OSError as error:
        raise InputError(f"the prices in {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no valid TOML: {error}") from None
    except ValidationError as error:
        problems = [Problem(path_of(at), text) for at, text in problems_of(error, _Table)]
        raise DocumentError(str(path), problems) from None
    return Prices(own=table.models, own_version=table.version)
