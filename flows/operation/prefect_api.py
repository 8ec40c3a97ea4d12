"""The few questions that the commands ask a Prefect server, without importing Prefect (2 s)."""

from __future__ import annotations

import base64
import os
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from storage.exceptions import ServiceError

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 30.0
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0)
_PAGE = 200  # the most that the server gives at once


@dataclass(frozen=True)
class PrefectApi:
    """A Prefect server's API.

    Attributes:
        url: its address, `http://…/api`.
        local: whether it is the home's own server, to which no proxy leads and no key is needed.
        timeout_s: seconds that an answer may take.
    """

    url: str
    local: bool
    timeout_s: float = _TIMEOUT_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> Any:
        """Return what is there; None if nothing is.

        Raises:
            ServiceError: the server does not answer, or refuses.
        """
        return self._ask("GET", path)

    def post(self, path: str, document: Any) -> Any:
        """Send a document; return the answer.

        Raises:
            ServiceError: the server does not answer, or refuses.
        """
        return self._ask("POST", path, document)

    def patch(self, path: str, document: Any) -> None:
        """Change something.

        Raises:
            ServiceError: the server does not answer, or refuses.
        """
        self._ask("PATCH", path, document)

    def all_of(self, path: str, wanted: dict[str, Any]) -> list[Any]:
        """Return all that a filter finds, page by page.

        Raises:
            ServiceError: the server does not answer, or refuses.
        """
        found: list[Any] = []
        while True:
            page = self.post(path, {**wanted, "limit": _PAGE, "offset": len(found)})
            found += page
            if len(page) < _PAGE:
                return found

    @cached_property
    def _client(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 - 0.1 s

        return httpx.Client(
            base_url=self.url,
            timeout=self.timeout_s,
            headers={} if self.local else _credentials(),
            trust_env=not self.local,
        )

    def _ask(self, method: str, path: str, document: Any = None) -> Any:
        import httpx  # noqa: PLC0415 - as above

        try:
            answer = self._client.request(method, path, json=document)
            for pause in _PAUSES_S:  # its database is locked for a moment
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    break
                time.sleep(pause)
                answer = self._client.request(method, path, json=document)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"the Prefect server at {self.url} does not answer: {error}"
            ) from error
        if method == "GET" and answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.is_error:
            hint = (
                " It may want PREFECT_API_KEY or PREFECT_API_AUTH_STRING."
                if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
                else ""
            )
            raise ServiceError(
                f"the Prefect server at {self.url} refuses {method} {path} "
                f"({answer.status_code}: {answer.text[:300]}).{hint}"
            )
        return answer.json() if answer.content else None


def _credentials() -> dict[str, str]:
    """Return the headers that say who asks, from the variables that Prefect knows."""
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if words := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(words.encode()).decode('ascii')}"}
    return {}
