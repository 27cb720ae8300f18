"""Spending over SQL: one row for whoever spends, a day. Knows no limits."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete

from headwater.storage.database import Database, insert
from headwater.storage.tables import usage


class SqlSpending:
    def __init__(self, database: Database):
        self._db = database

    def spend(self, day: int, amounts: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        # hasty: a power cut may take back the last moment's counts, which is no reason to wait for the disk
        with self._db.write(hasty=True) as connection:
            sums = {}
            for who in sorted(amounts):  # in one order everywhere, or two gateways would wait for each other
                requests, tokens = amounts[who]
                row = insert(connection, usage).values(who=who, day=day, requests=requests, tokens=tokens)
                row = row.on_conflict_do_update(index_elements=["who", "day"], set_={
                    "requests": usage.c.requests + row.excluded.requests,
                    "tokens": usage.c.tokens + row.excluded.tokens}).returning(usage.c.requests, usage.c.tokens)
                sums[who] = tuple(connection.execute(row).one())
            return sums

    def forget(self, before: int) -> None:
        with self._db.write(hasty=True) as connection:
            connection.execute(delete(usage).where(usage.c.day < before))
