"""Where the ledger is, how to connect to it, and its migrations.

Importing this module is cheap: SQLAlchemy comes in with the first transaction, Alembic only when
the schema is not the newest one. Commands that read get along with `get_connection`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row

from storage.embedded import EmbeddedPostgres
from storage.exceptions import InputError, ServiceError
from storage.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from storage.ledger import Ledger

URL_VARIABLE: Final = "GREENLINE_DATABASE_URL"
SCHEMA_VERSION: Final = 4
"""The number of the newest migration; a test holds it to migrations/versions."""

OLDEST_SERVER: Final = 150000
"""PostgreSQL 15: unique constraints in which NULLs are values like any other."""

_MIGRATION_LOCK: Final = 0x677265656E6C696E  # "greenlin"; any constant that others do not use
_CONNECT_TIMEOUT_S: Final = 15

# A host that is cut off notices within half a minute, not after the two hours or quarters of an
# hour that systems wait by default. What the URL says wins.
_CLIENT_PATIENCE: Final[dict[str, str | int | None]] = {
    "fallback_application_name": "greenline",
    "connect_timeout": str(_CONNECT_TIMEOUT_S),
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",  # milliseconds
}
# So does the server: what a client that was cut off had locked is free again for others.
_SERVER_PATIENCE: Final = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
_IDLE_TRANSACTION: Final = "SET idle_in_transaction_session_timeout = '60s'"


@dataclass(frozen=True)
class SchemaReport:
    """What `init_db` found: `fresh` means that it made the schema."""

    state: Literal["fresh", "upgraded", "up to date"]
    version: int


def ledger_url(home: Home | None = None) -> str:
    """Return the libpq URL of the ledger, starting the embedded server when none is named.

    Args:
        home: where the embedded server's data lies; `GREENLINE_HOME` by default.

    Raises:
        InputError: the home cannot be used.
        ServiceError: the embedded server does not start.
    """
    named = os.environ.get(URL_VARIABLE, "").strip()
    return named or EmbeddedPostgres(home or Home.current()).start()


class Database:
    """A PostgreSQL database that holds, or is to hold, a ledger. Safe to share among threads.

    Attributes:
        url: a libpq URL or connection string. SQLAlchemy's form with a driver is taken too.
    """

    def __init__(self, url: str) -> None:
        scheme, separator, rest = url.partition("://")
        # Without a scheme these are libpq's keywords, and a `+` belongs to a value.
        self.url = scheme.partition("+")[0] + separator + rest if separator else url

    @classmethod
    def open(cls) -> Database:
        """Return the ledger's database, started and migrated.

        Raises:
            InputError: the home cannot be used.
            ServiceError: the server does not start or answer, or is too old.
        """
        database = cls(ledger_url())
        database.init_db()
        return database

    @cached_property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, made when it is first needed."""
        from sqlalchemy import create_engine  # noqa: PLC0415  reading commands do without

        return create_engine(
            "postgresql+psycopg://",
            creator=self._connect_for_transactions,
            pool_size=5,
            max_overflow=15,
            pool_pre_ping=True,  # the embedded server may have been restarted meanwhile
            use_native_hstore=False,  # saves a query to each process
        )

    def get_connection(self) -> psycopg.Connection[DictRow]:
        """Return a new connection whose rows are dictionaries; times come in UTC.

        Raises:
            ServiceError: the server does not answer.
        """
        connection = self._connect()
        connection.row_factory = dict_row
        return connection

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            patience = {**_CLIENT_PATIENCE, **conninfo_to_dict(self.url)}
            connection = psycopg.connect(make_conninfo("", **patience), autocommit=True)
        except psycopg.ProgrammingError as error:
            # What libpq says quotes the URL with its password, so it is not passed on.
            raise InputError(
                f"{URL_VARIABLE} is no libpq URL. "
                "Give one like postgresql://user:password@host:5432/database."
            ) from error
        except psycopg.OperationalError as error:
            raise ServiceError(
                f"The ledger's PostgreSQL does not answer: {' '.join(str(error).split())} "
                f"(is it running, and is {URL_VARIABLE} right?)"
            ) from error
        if connection.info.server_version < OLDEST_SERVER:
            found = connection.info.server_version // 10000
            connection.close()
            raise ServiceError(
                f"The ledger needs PostgreSQL {OLDEST_SERVER // 10000} or newer, the server at "
                f"{connection.info.host} is PostgreSQL {found}."
            )
        connection.execute(f"SET TIME ZONE 'UTC'; {_SERVER_PATIENCE}")
        connection.autocommit = False
        return connection

    def _connect_for_transactions(self) -> psycopg.Connection[Any]:
        """Connect; what is left open in the middle for a minute is taken back by the server."""
        connection = self._connect()
        connection.autocommit = True
        connection.execute(_IDLE_TRANSACTION)
        connection.autocommit = False
        return connection

    def init_db(self) -> SchemaReport:
        """Make or upgrade the schema if need be; any number of processes may do so at once.

        Raises:
            ServiceError: the server does not answer or is too old, or the schema was made by a
                newer Greenline.
        """
        found = self._schema_version()
        if found == SCHEMA_VERSION:
            return SchemaReport("up to date", SCHEMA_VERSION)
        if found > SCHEMA_VERSION:
            raise ServiceError(
                f"The ledger's schema has version {found}, this Greenline knows versions up to "
                f"{SCHEMA_VERSION}. Install the newer Greenline that upgraded it."
            )
        from sqlalchemy.exc import ProgrammingError  # noqa: PLC0415  needed to migrate only

        try:
            with self.engine.connect() as connection, connection.begin():
                # Who comes second waits here and then finds the work done.
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
                before = _migrate(connection)
        except ProgrammingError as error:
            if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                raise
            raise _lacks_rights(error.orig) from error
        if before == SCHEMA_VERSION:
            return SchemaReport("up to date", SCHEMA_VERSION)
        return SchemaReport("fresh" if before == 0 else "upgraded", SCHEMA_VERSION)

    def _schema_version(self) -> int:
        """Return the version of the schema, 0 when there is none."""
        with self._connect() as connection:
            try:
                row = connection.execute(
                    "SELECT value FROM public.schema_meta WHERE key = 'schema_version'"
                ).fetchone()
            except psycopg.errors.UndefinedTable:
                connection.rollback()
                return 0
            except psycopg.errors.InsufficientPrivilege as error:
                raise _lacks_rights(error) from error
        return int(row[0]) if row else 0

    @contextmanager
    def transaction(self) -> Iterator[Ledger]:
        """Give a ledger whose writes are committed together at the end, or not at all.

        Raises:
            ServiceError: the server does not answer.
        """
        # Commands that only read do without.
        from sqlalchemy.exc import InterfaceError, OperationalError  # noqa: PLC0415
        from sqlalchemy.orm import Session  # noqa: PLC0415

        from storage.ledger import Ledger  # noqa: PLC0415

        try:
            with Session(self.engine, autoflush=False) as session, session.begin():
                yield Ledger(session)
        except (OperationalError, InterfaceError) as error:
            told = " ".join(str(error.orig or error).split())
            raise ServiceError(
                f"The ledger's PostgreSQL does not answer as it should: {told}"
            ) from error

    def dispose(self) -> None:
        """Close the pool's connections. The database can be used again afterwards."""
        engine = self.__dict__.pop("engine", None)
        if engine is not None:
            engine.dispose()


def _lacks_rights(error: psycopg.Error) -> ServiceError:
    """Say what a user who may not make or read the schema needs."""
    return ServiceError(
        f"The user of {URL_VARIABLE} may not do what the ledger needs "
        f"({error.diag.message_primary}). What works: a database that the user owns "
        "(CREATE DATABASE ledger OWNER user)."
    )


def _migrate(connection: Connection) -> int:
    """Bring the schema to the newest version; return the version that was found."""
    # Both take their time to import and are needed once in a ledger's life.
    from alembic import command  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    current = MigrationContext.configure(connection).get_current_revision()
    before = int(current) if current else 0
    if before < SCHEMA_VERSION:
        command.upgrade(migration_config(connection), "head")
    return before


def migration_config(connection: Connection) -> Any:
    """Return an `alembic.config.Config` whose commands use `connection`.

    The migrations are found as the installed package `migrations`; no alembic.ini is read.
    """
    from alembic.config import Config  # noqa: PLC0415

    import migrations  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0])).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
