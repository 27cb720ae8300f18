"""One database for all records: transactions, and SQL where SQLite and PostgreSQL differ. Knows no table.

SQLite: WAL, so readers never wait. Writers begin with BEGIN IMMEDIATE, one at a time, and wait for each other in
a lock of this process before they ask SQLite (its own waiting is polling, and unfair).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, create_engine, event, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TableValuedAlias

from headwater.core.errors import BadInput, Busy, DiskFull, HeadwaterError, Unavailable

BUSY_SECONDS = 20


class Database:
    """read() and write() give a connection inside a transaction; leaving the block commits, an error rolls back.

    Both turn the database's own troubles into errors a person can act on. IntegrityError passes: only the verb
    knows what a clash means. write() must not be nested.
    """

    def __init__(self, engine: Engine, now: Callable[[], float]):
        self.engine, self.now = engine, now
        self._writing = threading.Lock() if engine.dialect.name == "sqlite" else None
        self._readers = engine.execution_options(headwater="reads")
        self._hasty = engine.execution_options(headwater="hasty")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with _told(), self._readers.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, hasty: bool = False) -> Iterator[Connection]:
        """hasty: the commit does not wait for the disk, so a power cut may take it back (a killed process does not).
        Only for rows nobody relies on."""
        with self._turn(), _told(), (self._hasty if hasty else self.engine).begin() as connection:
            if hasty and connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._writing is None:
            yield
            return
        if not self._writing.acquire(timeout=BUSY_SECONDS):
            raise _busy()
        try:
            yield
        finally:
            self._writing.release()


def open_engine(url: str | None, data: Path) -> Engine:
    """PostgreSQL at `url` (through psycopg), or SQLite in data/headwater.db when there is no url."""
    compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
    if url:
        if not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            raise BadInput("database_url is not a PostgreSQL URL.",
                           hint="Write postgresql://user:password@host/database, or leave it empty for SQLite.")
        try:
            return create_engine("postgresql+psycopg://" + url.split("://", 1)[1], json_serializer=compact,
                                 pool_size=10, max_overflow=30, pool_pre_ping=True)
        except (ArgumentError, ValueError) as error:  # neither message is shown: it may hold the password
            raise BadInput("database_url cannot be read as a URL.", hint="Escape @ : / % in the password.") from error
        except ModuleNotFoundError:
            raise Unavailable("The driver for PostgreSQL is not installed.",
                              hint="Run: pip install 'headwater[postgres]'") from None
    data.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{data / 'headwater.db'}", json_serializer=compact, pool_size=10,
                           max_overflow=90, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: DBAPIConnection, _record: Any) -> None:
    connection.isolation_level = None  # the driver opens no transactions of its own; _begin_sqlite does
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    intent = connection.get_execution_options().get("headwater")
    if intent == "reads":
        connection.exec_driver_sql("BEGIN")
        return
    # FULL, although a small write then takes about 3 ms where NORMAL takes 0.2 (measured, one SSD): with NORMAL a
    # power cut may take back commits that clients were told of, and then refs would name bytes already swept.
    connection.exec_driver_sql(f"PRAGMA synchronous={'NORMAL' if intent == 'hasty' else 'FULL'}")
    # A transaction that reads first and writes later cannot wait for its turn, it fails. So whoever did not say
    # that it only reads takes the write lock at once.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, HeadwaterError):
        raise
    except DBAPIError as error:
        meaning = _meaning(error)
        if meaning is None:
            raise  # not from itself: whoever walks its causes would walk in a circle
        raise meaning from error
    except PoolTimeout as error:
        raise _busy() from error
    except UnicodeEncodeError as error:
        raise BadInput("The text holds characters that cannot be stored.", hint="Send it as valid Unicode.") from error


def _meaning(error: DBAPIError) -> HeadwaterError | None:
    """What a database error means to a person; None when it means a fault in Headwater."""
    # SQLite tells by name, PostgreSQL by SQLSTATE (appendix A of its manual).
    name = getattr(error.orig, "sqlite_errorname", None) or ""
    state = getattr(error.orig, "sqlstate", None) or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or state in ("40001", "40P01", "55P03", "53300"):
        return _busy()
    if name.startswith("SQLITE_FULL") or state == "53100":
        return DiskFull("The database's disk is full; nothing was written.", hint="Free space and try again.")
    if isinstance(error, DataError):
        return BadInput("The text or number cannot be stored.", hint="Leave out NUL characters.")
    if error.connection_invalidated or state.startswith(("08", "57P")) or (state == "" and _lost(error)):
        return Unavailable("The database does not answer.", hint="See that it runs, then try again.")
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return Unavailable(f"The database file cannot be used: {error.orig}.", hint="Run `headwater doctor`.")
    return None


def _lost(error: DBAPIError) -> bool:
    return type(error.orig).__module__.startswith("psycopg") and type(error.orig).__name__ == "OperationalError"


def _busy() -> Busy:
    return Busy("The database is busy with other writes.", retry_after=2, hint="Try again in a moment.")


# --- SQL that differs


def insert(connection: Connection, table: Table) -> Any:
    """INSERT that knows on_conflict_do_nothing and on_conflict_do_update."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def add(connection: Connection, table: Table, **values: Any) -> bool:
    """Insert a row; False, and nothing done, if its key is there already."""
    # RETURNING, because the row count of an INSERT is not to be had from psycopg.
    row = insert(connection, table).values(**values).on_conflict_do_nothing().returning(literal(1))
    return connection.execute(row).first() is not None


class _EachText(FunctionElement[str]):
    """The texts of a JSON array as a table of one column `value`: thousands of keys in one parameter."""

    name = "each_text"
    inherit_cache = True


@compiles(_EachText, "sqlite")
def _each_in_sqlite(element: _EachText, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_EachText, "postgresql")
def _each_in_postgres(element: _EachText, compiler: SQLCompiler, **options: Any) -> str:
    return f"jsonb_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS jsonb))"


def listed(values: Iterable[str]) -> TableValuedAlias:
    """These texts as a table; its column is .c.value."""
    return _EachText(json.dumps(list(values))).table_valued("value")


def among(column: ColumnElement[str], values: Iterable[str]) -> ColumnElement[bool]:
    """column IN values, for any number of them."""
    return column.in_(select(listed(values).c.value))
