"""Rows every verb adds in its own transaction: the audit row and the event. Knows no verb."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from headwater.core.types import Actor
from headwater.storage.tables import audit, events


def note(connection: Connection, at: float, by: Actor, action: str, subject: str,
         detail: dict[str, Any] | None = None) -> None:
    connection.execute(audit.insert().values(
        at=at, actor=by.name, token=by.token_name, action=action, subject=subject, detail=detail or {}))


def announce(connection: Connection, at: float, name: str, payload: dict[str, Any]) -> None:
    connection.execute(events.insert().values(name=name, payload=payload, at=at))
