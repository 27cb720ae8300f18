"""Bus over SQL: events wait as rows and go once delivered. Knows nobody who listens."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, select

from headwater.core.types import Event
from headwater.storage.database import Database
from headwater.storage.records import _log
from headwater.storage.tables import events


class SqlBus:
    def __init__(self, database: Database):
        self._db = database

    def announce(self, name: str, payload: dict[str, Any]) -> None:
        with self._db.write() as connection:
            _log.announce(connection, self._db.now(), name, payload)

    def pending(self, limit: int = 100) -> list[Event]:
        """Oldest first."""
        with self._db.read() as connection:
            rows = connection.execute(select(events).order_by(events.c.id).limit(limit))
            return [Event(row.id, row.name, row.payload, row.at) for row in rows]

    def delivered(self, event: Event) -> None:
        with self._db.write() as connection:
            connection.execute(delete(events).where(events.c.id == event.id))
