"""Films people asked for, over SQL. Knows rows; knows no engine and no bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, select, tuple_, update

from headwater.core.errors import NotFound
from headwater.core.types import KeptFilm
from headwater.storage.database import Database
from headwater.storage.tables import films

_COLUMNS = [films.c[field.name] for field in fields(KeptFilm)]
_BATCH = 1_000
MODELS_MAX = 500
OWN = "headwater/"
"""What stands before an engine's name where a film was made without a model."""


class SqlFilms:
    def __init__(self, database: Database):
        self._db = database

    def add(self, film: KeptFilm) -> None:
        with self._db.write() as connection:
            connection.execute(films.insert().values(**vars(film)))

    def get(self, film_id: str) -> KeptFilm | None:
        with self._db.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(films.c.id == film_id)).first()
        return _as_film(row) if row else None

    def named(self, account_id: int, external_id: str) -> KeptFilm | None:
        with self._db.read() as connection:
            row = connection.execute(select(*_COLUMNS).where(
                films.c.account_id == account_id, films.c.external_id == external_id).order_by(
                films.c.created_at.desc(), films.c.id.desc()).limit(1)).first()
        return _as_film(row) if row else None

    def page(self, account_id: int | None, *, state: str | None = None, after: str | None = None, limit: int = 20,
             newest_first: bool = True, words: Sequence[str] = (), model: str = "") -> tuple[list[KeptFilm], bool]:
        """Raises NotFound if there is no film `after`."""
        question = select(*_COLUMNS)
        if account_id is not None:
            question = question.where(films.c.account_id == account_id)
        if state is not None:
            question = question.where(films.c.state == state)
        for word in words:
            question = question.where(_said("prompt").icontains(word, autoescape=True))
        if model.startswith(OWN):
            question = question.where(_said("model") == "", _said("engine") == model.removeprefix(OWN))
        elif model:
            question = question.where(_said("model") == model)
        columns = (films.c.created_at, films.c.id)
        with self._db.read() as connection:
            if after is not None:
                last = connection.execute(select(*columns).where(films.c.id == after)).first()
                if last is None:
                    raise NotFound(f"No film {after[:100]!r} to go on after.", hint="Start again without it.")
                order = tuple_(*columns)
                question = question.where(order < tuple_(*last) if newest_first else order > tuple_(*last))
            directed = [column.desc() for column in columns] if newest_first else columns
            rows = list(connection.execute(question.order_by(*directed).limit(limit + 1)))
        return [_as_film(row) for row in rows[:limit]], len(rows) > limit

    def models(self, account_id: int) -> list[str]:
        made_by = (_said("model").label("model"), _said("engine").label("engine"))
        with self._db.read() as connection:
            rows = list(connection.execute(select(*made_by).where(films.c.account_id == account_id).distinct().limit(
                MODELS_MAX)))
        return sorted({row.model or OWN + row.engine for row in rows})

    def update(self, film_id: str, **changed: Any) -> KeptFilm | None:
        with self._db.write() as connection:
            row = connection.execute(update(films).where(films.c.id == film_id).values(**changed).returning(
                *_COLUMNS)).first()
        return _as_film(row) if row else None

    def change(self, film_id: str, edition: int, **changed: Any) -> KeptFilm | None:
        with self._db.write() as connection:
            row = connection.execute(update(films).where(
                films.c.id == film_id, films.c.state == "queued", films.c.edition == edition).values(
                **changed, edition=edition + 1).returning(*_COLUMNS)).first()
        return _as_film(row) if row else None

    def delete(self, film: KeptFilm) -> None:
        with self._db.write() as connection:
            connection.execute(delete(films).where(films.c.id == film.id))

    def marks(self) -> Iterator[tuple[str, bytes]]:
        last = ""
        while True:
            with self._db.read() as connection:
                rows = list(connection.execute(select(films.c.id, films.c.mark).where(
                    films.c.mark.is_not(None), films.c.id > last).order_by(films.c.id).limit(_BATCH)))
            for row in rows:
                yield row.id, row.mark
            if len(rows) < _BATCH:
                return
            last = rows[-1].id

    def unfinished(self, account_id: int) -> int:
        with self._db.read() as connection:
            return connection.scalar(select(func.count()).select_from(films).where(
                films.c.account_id == account_id, films.c.state.in_(("queued", "running")))) or 0


def _said(name: str) -> ColumnElement[str]:
    return films.c.asked[name].as_string()


def _as_film(row: Row[Any]) -> KeptFilm:
    return KeptFilm(**row._mapping)
