"""Deltas over SQL: which bytes are kept as the difference to which others. Knows no blob store.

begin() holds the rows of both in `blobs` while it decides, in order of digest, as the sweep holds the row of what it
deletes: so neither a base that is going nor a chain of two differences comes about, whoever else is at work.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Row, and_, delete, exists, or_, select, update

from headwater.core.types import Delta, Digest
from headwater.storage.database import Database, among, insert
from headwater.storage.tables import blobs, deltas, files, leases, repo_blobs

_BEFORE = {"ready": "making", "leaving": "ready"}


class SqlDeltas:
    def __init__(self, database: Database):
        self._db = database

    def begin(self, digest: Digest, base: Digest, packed: Digest, size: int) -> bool:
        values = {"base": base, "packed": packed, "size": size, "state": "making", "at": self._db.now()}
        with self._db.write() as connection:
            both = select(blobs.c.digest).where(among(blobs.c.digest, [digest, base])).order_by(blobs.c.digest)
            list(connection.scalars(both.with_for_update()))
            # Asked again now that the rows are held: the first question may have been answered from before.
            if digest == base or len(list(connection.scalars(both.where(blobs.c.kept)))) < 2:
                return False
            chain = or_(and_(deltas.c.digest == base, deltas.c.state != "plain"), deltas.c.base == digest)
            if connection.scalar(select(deltas.c.digest).where(chain).limit(1)) is not None:
                return False
            connection.execute(delete(deltas).where(deltas.c.digest == digest, deltas.c.state == "plain"))
            row = insert(connection, deltas).values(digest=digest, **values).on_conflict_do_nothing()
            return connection.execute(row.returning(deltas.c.digest)).first() is not None

    def turn(self, digest: Digest, state: str) -> bool:
        mine = and_(deltas.c.digest == digest, deltas.c.state.in_([_BEFORE[state], state]))
        with self._db.write() as connection:
            row = update(deltas).where(mine).values(state=state, at=self._db.now()).returning(deltas.c.digest)
            return connection.execute(row).first() is not None

    def forget(self, digest: Digest) -> None:
        with self._db.write() as connection:
            connection.execute(delete(deltas).where(deltas.c.digest == digest))

    def passed_over(self, digest: Digest) -> None:
        with self._db.write() as connection:
            held = select(blobs.c.digest).where(blobs.c.digest == digest).with_for_update(read=True, key_share=True)
            if connection.scalar(held) is not None:
                row = insert(connection, deltas).values(digest=digest, base=None, packed=None, size=0, state="plain",
                                                        at=self._db.now())
                connection.execute(row.on_conflict_do_nothing())

    def get(self, digest: Digest) -> Delta | None:
        return self.of([digest]).get(digest)

    def of(self, digests: Iterable[Digest]) -> dict[Digest, Delta]:
        return {found.digest: found for found in self._some(among(deltas.c.digest, digests))}

    def bases(self, digests: Iterable[Digest]) -> set[Digest]:
        with self._db.read() as connection:
            return set(connection.scalars(select(deltas.c.base).where(among(deltas.c.base, digests))))

    def all(self) -> list[Delta]:
        return self._some(deltas.c.state != "plain")

    def stranded(self) -> list[Delta]:
        return self._some(and_(deltas.c.state == "ready", ~self._wanted(deltas.c.base), self._wanted(deltas.c.digest)))

    def _wanted(self, digest: ColumnElement[str]) -> ColumnElement[bool]:
        return or_(exists().where(repo_blobs.c.digest == digest), exists().where(files.c.digest == digest),
                   exists().where(leases.c.digest == digest, leases.c.expires_at > self._db.now()))

    def _some(self, condition: ColumnElement[bool]) -> list[Delta]:
        with self._db.read() as connection:
            return [_delta(row) for row in connection.execute(select(deltas).where(condition))]


def _delta(row: Row) -> Delta:
    return Delta(row.digest, row.base, row.packed, row.size, row.state, row.at)
