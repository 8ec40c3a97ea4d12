"""Counting tokens as a model does, without a network: docs/decisions/0021-tokens.md."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from splintr import AnyTokenizer

VOCABULARY: Final = "o200k_base"
"""Whose tokens are counted. Other makers' models count up to a tenth more of the same text."""


def count_tokens(text: str) -> int:
    """Return how many tokens a text has.

    What looks like a model's special token (`<|endoftext|>`) is counted as the plain text that it
    is. Halves of surrogate pairs count as what they are stored as.
    """
    if not text:
        return 0
    return len(_tokenizer().encode_ordinary(text.encode("utf-8", "replace").decode("utf-8")))


@lru_cache(maxsize=1)
def _tokenizer() -> AnyTokenizer:
    from splintr import Tokenizer  # noqa: PLC0415 - 40 ms and 40 MB that only a run needs

    return Tokenizer.from_pretrained(VOCABULARY)
