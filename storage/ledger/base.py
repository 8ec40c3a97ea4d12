"""What every part of the ledger stands on: the session, rows as dictionaries, events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import insert

from storage import models
from storage.exceptions import InputError
from storage.states import validate_state_transition
from storage.text import clean_json

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.orm import Session
    from sqlalchemy.sql.base import Executable

    from storage.states import Choice


class Base:
    """A transaction on the ledger.

    Attributes:
        session: the SQLAlchemy session whose transaction it is.
    """

    validate_state_transition = staticmethod(validate_state_transition)

    def __init__(self, session: Session) -> None:
        self.session = session

    def record_event(
        self,
        run_id: str | None,
        ws_id: str | None,
        event_type: str,
        payload_json: Any = None,
    ) -> int:
        """Append an event; return its id. Events cannot be changed afterwards."""
        event_id: int = self._scalar(
            insert(models.events)
            .values(
                run_id=run_id,
                ws_id=ws_id,
                event_type=event_type,
                payload_json=clean_json(payload_json),
            )
            .returning(models.events.c.id)
        )
        return event_id

    def _row(self, statement: Executable) -> dict[str, Any] | None:
        found = self.session.execute(statement).mappings().first()
        return None if found is None else dict(found)

    def _rows(self, statement: Executable) -> list[dict[str, Any]]:
        return [dict(row) for row in self.session.execute(statement).mappings()]

    def _scalar(self, statement: Executable) -> Any:
        return self.session.execute(statement).scalar()

    @property
    def _driver(self) -> psycopg.Connection[Any]:
        """The driver's connection, in the session's transaction (COPY, and the reading SQL)."""
        return cast(
            "psycopg.Connection[Any]", self.session.connection().connection.driver_connection
        )


def one_of(choice: type[Choice], value: str, name: str) -> str:
    """Return the value as a plain string.

    Raises:
        InputError: it is none of the values.
    """
    if value not in choice.values():
        raise InputError(f"{name} must be one of {', '.join(choice.values())}; received {value!r}")
    return str(value)
