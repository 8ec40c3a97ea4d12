"""Where an agent's model is, and with which key: what the agent itself never learns."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from storage.exceptions import InputError

Provider = Literal["openai", "anthropic"]
"""Whose API is spoken."""

ANTHROPIC: Final = "https://api.anthropic.com"
OPENAI: Final = "https://api.openai.com/v1"
KEYS: Final[Mapping[str, str]] = {ANTHROPIC: "ANTHROPIC_API_KEY", OPENAI: "OPENAI_API_KEY"}
"""The variables that hold the keys of the providers' own addresses."""

_VERSION: Final = re.compile(r"/v\d+(?:[a-z]+\d*)?(?:/|$)")


@dataclass(frozen=True)
class Endpoint:
    """The address of a model's API.

    Attributes:
        base_url: as programs are usually given it: with `/v1` for OpenAI's dialects, with or
            without it for Anthropic's.
        api_key_env: the variable of the caller's environment that holds the key; None: it takes
            none.
        provider: whose API it is.
    """

    base_url: str
    api_key_env: str | None = None
    provider: Provider = "openai"

    @classmethod
    def of(
        cls, provider: Provider, base_url: str | None = None, api_key_env: str | None = None
    ) -> Endpoint:
        """Return an address of one's own, or the provider's with the key's usual variable."""
        if base_url is not None:
            return cls(base_url, api_key_env, provider)
        usual = ANTHROPIC if provider == "anthropic" else OPENAI
        return cls(usual, api_key_env or KEYS[usual], provider)

    @property
    def api_key(self) -> str | None:
        """The key; None when there is none, or its variable is not set."""
        return (os.environ.get(self.api_key_env) or None) if self.api_key_env else None

    def require_key(self, agent: str) -> None:
        """Find out before a run whether the key is there.

        Raises:
            InputError: its variable is not set.
        """
        if self.api_key_env and not self.api_key:
            raise InputError(
                f"agent {agent!r} needs a key for {self.base_url}: set {self.api_key_env} in your "
                "environment, or name the variable that holds it as `api_key_env`. The agent "
                "itself does not get to see it"
            )

    def url(self, path: str, *, provider: str) -> str:
        """Return the address of a path such as `/messages`.

        Args:
            path: below the version.
            provider: whose dialect is spoken.
        """
        base = self.base_url.rstrip("/")
        parts = urlsplit(base)
        versioned = _VERSION.search(parts.path) is not None
        # Anthropic's clients add the version themselves, OpenAI's never do.
        if not versioned and (provider == "anthropic" or not parts.path):
            base += "/v1"
        return base + path


def provider_of(model: str | None, base_url: str | None) -> Provider:
    """Return whose API is spoken, where the settings do not say it.

    Args:
        model: its name. Without an address of one's own it decides: `claude-…` and `anthropic/…`
            are Anthropic's.
        base_url: an address of one's own: Anthropic's API where that word is in it.
    """
    said = (model or "") if base_url is None else base_url
    words = ("anthropic", "claude") if base_url is None else ("anthropic",)
    return "anthropic" if any(word in said.lower() for word in words) else "openai"


def bare_model(model: str) -> str:
    """Return a model's name without the provider before it, as the providers themselves have it."""
    provider, slash, name = model.partition("/")
    return name if slash and provider in {"openai", "anthropic"} else model
