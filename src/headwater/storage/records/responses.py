"""Responses over SQL. A body is one JSON text, in ASCII: what a model writes need not be text a database takes."""

from __future__ import annotations

import json
from collections.abc import Collection

from sqlalchemy import Connection, delete, select, update

from headwater.core.types import KeptResponse
from headwater.storage.database import Database, among
from headwater.storage.tables import responses

KEPT_MAX = 1000
_at = responses.c


class SqlResponses:
    def __init__(self, database: Database):
        self._db = database

    def add(self, account_id: int, response: KeptResponse, *, user_bytes: int, seconds: float) -> bool:
        body = _body(response)
        if len(body) > user_bytes:
            return False
        with self._db.write() as connection:
            connection.execute(delete(responses).where(_at.created_at < self._db.now() - seconds))
            connection.execute(responses.insert().values(
                id=response.id, account_id=account_id, created_at=response.created_at, cancel_requested=False,
                heartbeat_at=response.heartbeat_at, size=len(body), body=body))
            _forget_oldest(connection, account_id, response.id, user_bytes)
        return True

    def replace(self, response: KeptResponse) -> bool:
        body = _body(response)
        with self._db.write() as connection:
            row = update(responses).where(_at.id == response.id).values(
                heartbeat_at=response.heartbeat_at, size=len(body), body=body).returning(_at.id)
            return connection.execute(row).first() is not None

    def get(self, account_id: int, response_id: str) -> KeptResponse | None:
        with self._db.read() as connection:
            row = connection.execute(select(responses).where(
                _at.id == response_id, _at.account_id == account_id)).one_or_none()
        if row is None:
            return None
        shown, items = json.loads(bytes(row.body))
        return KeptResponse(row.id, row.created_at, shown, items, row.heartbeat_at)

    def delete(self, account_id: int, response_id: str) -> bool:
        with self._db.write() as connection:
            row = delete(responses).where(_at.id == response_id, _at.account_id == account_id).returning(_at.id)
            return connection.execute(row).first() is not None

    def ask_cancel(self, account_id: int, response_id: str) -> None:
        with self._db.write() as connection:
            connection.execute(update(responses).where(
                _at.id == response_id, _at.account_id == account_id).values(cancel_requested=True))

    def beat(self, response_ids: Collection[str]) -> set[str]:
        with self._db.write(hasty=True) as connection:
            row = update(responses).where(among(_at.id, response_ids), _at.heartbeat_at.is_not(None)).values(
                heartbeat_at=self._db.now()).returning(_at.id, _at.cancel_requested)
            wanted = {id_ for id_, cancelled in connection.execute(row) if not cancelled}
        return set(response_ids) - wanted


def _forget_oldest(connection: Connection, account_id: int, newest: str, user_bytes: int) -> None:
    rows = connection.execute(select(_at.id, _at.size).where(_at.account_id == account_id, _at.id != newest).order_by(
        _at.created_at.desc(), _at.id))
    left = user_bytes - connection.scalar(select(_at.size).where(_at.id == newest))
    gone = []
    for count, (id_, size) in enumerate(rows, 2):
        left -= size
        if left < 0 or count > KEPT_MAX:
            gone.append(id_)
    if gone:
        connection.execute(delete(responses).where(among(_at.id, gone)))


def _body(response: KeptResponse) -> bytes:
    return json.dumps([response.shown, response.items], separators=(",", ":")).encode("ascii")
