"""All records as JSON lines, and back, between SQLite and PostgreSQL (core.ports.Archive). Knows no blob store.

One JSON value a line. First {"headwater": 1, "schema": revision}; then for each table {"table", "columns"} and
its rows as arrays, and {"counter", "last"} where ids are counted; at last {"end": rows}, so that a dump cut short
is known as such. Bytes are base64; JSON columns stand as JSON.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import JSON, Connection, LargeBinary, MetaData, Table, func, inspect, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from headwater.core.errors import CorruptFile, HeadwaterError
from headwater.core.types import Digest
from headwater.storage import migrations
from headwater.storage.database import Database, among
from headwater.storage.migrations import migrate
from headwater.storage.tables import deltas, metadata

FORMAT = 1
_BATCH = 500


class SqlArchive:
    def __init__(self, database: Database):
        self._db = database

    def dump(self) -> Iterator[bytes]:
        """The records of one moment. Nobody who writes is kept waiting."""
        with self._db.read() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            schema = connection.scalar(text("SELECT version_num FROM alembic_version"))
            yield _line({"headwater": FORMAT, "schema": schema})
            count = 0
            for table in (t for t in metadata.sorted_tables if t is not deltas):  # a backup holds every file whole
                yield _line({"table": table.name, "columns": table.columns.keys()})
                for row in connection.execution_options(yield_per=_BATCH).execute(select(table)):
                    count += 1
                    yield _line([_plain(value) for value in row])
                if _counts(table):
                    yield _line({"counter": table.name, "last": _last_id(connection, table)})
            yield _line({"end": count})

    def blobs(self, lines: Iterable[bytes]) -> Iterator[tuple[Digest, int]]:
        table, columns = "", []
        for value in map(_value, lines):
            if isinstance(value, dict):
                if table == "blobs":
                    return
                table, columns = value.get("table", ""), value.get("columns", [])
            elif table == "blobs":
                row = dict(zip(columns, value, strict=True))
                if row["kept"]:
                    yield row["digest"], row["size"]

    def is_empty(self) -> bool:
        with self._db.read() as connection:
            return not inspect(connection).has_table("accounts")

    def about(self) -> str:
        with self._db.read() as connection:
            schema = connection.scalar(text("SELECT version_num FROM alembic_version"))
            if connection.dialect.name == "postgresql":
                size = connection.scalar(text("SELECT pg_database_size(current_database())"))
                name = "PostgreSQL " + connection.scalar(text("SHOW server_version"))
            else:
                size = (connection.scalar(text("PRAGMA page_count")) or 0) * connection.scalar(text("PRAGMA page_size"))
                name = "SQLite " + connection.scalar(select(func.sqlite_version()))
            newest = "the newest" if schema == migrations.HEAD else f"the newest is {migrations.HEAD}"
            return f"{name}, {size:,} bytes, schema {schema} ({newest})."

    def load(self, lines: Iterable[bytes], *, lost: Collection[Digest] = ()) -> None:
        values = map(_value, lines)
        head = next(values, None)
        if not isinstance(head, dict) or head.get("headwater") != FORMAT or not isinstance(head.get("schema"), str):
            raise CorruptFile("The records are not a dump this version of Headwater knows.",
                              hint="Restore with the version that made the backup.")
        with self._db.write() as connection:
            migrate(connection, head["schema"])
            try:
                _fill(connection, values)
            except HeadwaterError:
                raise
            except (SQLAlchemyError, LookupError, TypeError, ValueError) as error:
                # A dump that was tampered with can be wrong in any of these ways.
                raise CorruptFile(f"The dump's records do not fit its schema: {str(error)[:300]}") from error
            _settle(connection, lost)
            migrate(connection, "head")


def _fill(connection: Connection, values: Iterator[Any]) -> None:
    """Insert every row. Raises CorruptFile if the dump ends early."""
    tables = _reflected(connection)
    table: Table | None = None
    columns: list[str] = []
    batch: list[list[Any]] = []
    count = 0
    for value in values:
        if isinstance(value, list):
            batch.append(value)
            count += 1
        if batch and (isinstance(value, dict) or len(batch) == _BATCH):
            _insert(connection, table, columns, batch)
            batch = []
        if isinstance(value, dict):
            if "table" in value:
                table, columns = tables[value["table"]], value["columns"]
            elif "counter" in value:
                _set_last_id(connection, tables[value["counter"]], int(value["last"]))
            elif value.get("end") == count:
                return
    raise CorruptFile("The dump was cut short.", hint="Take the backup again, or use an older one.")


def _insert(connection: Connection, table: Table, columns: list[str], rows: list[list[Any]]) -> None:
    binary = {name for name in columns if isinstance(table.c[name].type, LargeBinary)}
    connection.execute(table.insert(), [
        {name: base64.b64decode(value) if name in binary and value is not None else value
         for name, value in zip(columns, row, strict=True)} for row in rows])


def _reflected(connection: Connection) -> dict[str, Table]:
    """The tables as the database has them: a dump may be of an older schema than tables.py."""
    found = MetaData()
    found.reflect(connection)
    for table in found.tables.values():
        for column in table.columns:
            if isinstance(column.type, JSON) and column.nullable:
                column.type = JSON(none_as_null=True)
    return dict(found.tables)


def _settle(connection: Connection, lost: Collection[Digest]) -> None:
    """What was true of the process that is gone: its running jobs wait again. Lost bytes count as not kept, so
    that uploading them once more brings them back."""
    tables = _reflected(connection)
    jobs, blobs = tables["jobs"], tables["blobs"]
    connection.execute(update(jobs).where(jobs.c.state == "running").values(
        state="queued", owner=None, heartbeat_at=None, started_at=None))
    if lost:
        connection.execute(update(blobs).where(among(blobs.c.digest, lost)).values(kept=False))


def _counts(table: Table) -> bool:
    return "id" in table.c and table.c.id.autoincrement is True


def _last_id(connection: Connection, table: Table) -> int:
    """The highest id ever given, which may be of a row long deleted."""
    if connection.dialect.name == "sqlite":
        return connection.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = :n"), {"n": table.name}) or 0
    sequence = connection.scalar(select(func.pg_get_serial_sequence(table.name, "id")))
    row = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()
    return row.last_value if row.is_called else 0


def _set_last_id(connection: Connection, table: Table, last: int) -> None:
    if last < 1:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :n"), {"n": table.name})
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:n, :l)"),
                           {"n": table.name, "l": last})
    else:
        connection.execute(select(func.setval(func.pg_get_serial_sequence(table.name, "id"), last)))


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else value


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"A line of the dump is not JSON: {str(error)[:100]}.") from None
