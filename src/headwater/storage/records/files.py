"""Files people hand to models, over SQL. Knows rows and who holds which bytes; knows no blob store.

A row holds its digest from the moment it is claimed: the sweep (records/holdings.py) looks for it. As there, whoever
decides over a digest holds its row of `blobs`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, func, null, select, tuple_, update

from headwater.core.errors import NotFound, TooLarge
from headwater.core.types import Account, KeptFile
from headwater.storage.database import Database, insert
from headwater.storage.tables import accounts, blobs, files


class SqlFiles:
    def __init__(self, database: Database):
        self._db = database

    def claim(self, file: KeptFile, *, most: int, most_bytes: int) -> None:
        now = self._db.now()
        with self._db.write() as connection:
            _room(connection, file, most, most_bytes)
            row = insert(connection, blobs).values(digest=file.digest, size=file.size, created_at=now, kept=False)
            connection.execute(row.on_conflict_do_update(index_elements=["digest"], set_={"created_at": now}))
            connection.execute(files.insert().values(**vars(file), ready=False))

    def arrived(self, file: KeptFile) -> None:
        with self._db.write() as connection:
            if not connection.execute(update(files).where(files.c.id == file.id).values(ready=True)).rowcount:
                raise NotFound("The file was given up while its bytes came.", hint="Send it again.")
            connection.execute(update(blobs).where(blobs.c.digest == file.digest).values(kept=True))

    def lend(self, file: KeptFile, to: KeptFile, *, most: int, most_bytes: int) -> bool:
        with self._db.write() as connection:
            _room(connection, to, most, most_bytes)
            # Held before it is asked, so that a sweep that dooms these bytes comes either before or after.
            if not connection.scalar(select(blobs.c.kept).where(blobs.c.digest == file.digest).with_for_update()):
                return False
            connection.execute(files.insert().values(**vars(to), ready=True))
            return True

    def get(self, account_id: int, file_id: str) -> KeptFile | None:
        with self._db.read() as connection:
            row = connection.execute(select(files).where(
                files.c.id == file_id, files.c.account_id == account_id, files.c.ready)).first()
        return _as_file(row) if row else None

    def page(self, account: Account, *, purpose: str | None = None, after: str | None = None, limit: int = 100,
             newest_first: bool = True) -> tuple[list[KeptFile], bool]:
        """Raises NotFound if there is no file `after`. The texts are left out: they may be long."""
        shown = [null().label("text") if column.name == "text" else column for column in files.c]
        question = select(*shown).where(files.c.account_id == account.id, files.c.ready)
        if purpose is not None:
            question = question.where(files.c.purpose == purpose)
        order = tuple_(files.c.created_at, files.c.id)
        with self._db.read() as connection:
            if after is not None:
                last = connection.execute(select(files.c.created_at, files.c.id).where(
                    files.c.id == after, files.c.account_id == account.id)).first()
                if last is None:
                    raise NotFound(f"No file {after[:100]!r} to go on after.", hint="Start again without it.")
                question = question.where(order < tuple_(*last) if newest_first else order > tuple_(*last))
            columns = (files.c.created_at, files.c.id)
            directed = [column.desc() for column in columns] if newest_first else columns
            rows = list(connection.execute(question.order_by(*directed).limit(limit + 1)))
        return [_as_file(row) for row in rows[:limit]], len(rows) > limit

    def delete(self, account: Account, file_id: str) -> bool:
        with self._db.write() as connection:
            return bool(connection.execute(delete(files).where(
                files.c.id == file_id, files.c.account_id == account.id)).rowcount)


def _room(connection: Connection, file: KeptFile, most: int, most_bytes: int) -> None:
    """Raises TooLarge. The account's row is held, so that two uploads at once cannot both take the last place."""
    if connection.execute(select(accounts.c.id).where(
            accounts.c.id == file.account_id).with_for_update()).first() is None:
        raise NotFound("The account is gone.", hint="Sign in again.")
    count, total = connection.execute(select(func.count(), func.coalesce(func.sum(files.c.size), 0)).where(
        files.c.account_id == file.account_id)).one()
    if count >= most or total + file.size > most_bytes:
        raise TooLarge(f"An account keeps at most {most:,} files of {most_bytes:,} bytes together here.",
                       hint="Delete some first.")


def _as_file(row: Row[Any]) -> KeptFile:
    return KeptFile(row.id, row.account_id, row.name, row.purpose, row.media_type, row.digest, row.size, row.text,
                    row.created_at)
