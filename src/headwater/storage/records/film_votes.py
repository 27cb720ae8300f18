"""Votes on pairs of films, over SQL. Knows rows; knows no films."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from headwater.core.errors import Conflict
from headwater.core.types import FilmVote
from headwater.storage.database import Database
from headwater.storage.tables import film_votes

_at = film_votes.c
_COLUMNS = [_at[field.name] for field in fields(FilmVote)]


class SqlFilmVotes:
    def __init__(self, database: Database):
        self._db = database

    def add(self, vote: FilmVote) -> None:
        try:
            with self._db.write() as connection:
                connection.execute(film_votes.insert().values(**vars(vote)))
        except IntegrityError:
            raise Conflict("You have voted on these two films already.", hint="Look at another pair.") from None

    def find(self, account_id: int, a: str, b: str) -> FilmVote | None:
        with self._db.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(
                _at.account_id == account_id, _at.a == a, _at.b == b)).first()
        return _as_vote(row) if row else None

    def all(self, account_id: int | None, *, limit: int) -> list[FilmVote]:
        question = select(*_COLUMNS).order_by(_at.at.desc(), _at.a, _at.b).limit(limit)
        if account_id is not None:
            question = question.where(_at.account_id == account_id)
        with self._db.read() as connection:
            return [_as_vote(row) for row in connection.execute(question)]

    def pairs(self, account_id: int) -> set[tuple[str, str]]:
        with self._db.read() as connection:
            return {(row.a, row.b) for row in connection.execute(select(_at.a, _at.b).where(
                _at.account_id == account_id))}


def _as_vote(row: Row[tuple[object, ...]]) -> FilmVote:
    return FilmVote(**row._mapping)
