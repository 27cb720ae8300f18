"""Behaviours over SQL: which closed models were held beside which revisions, and their answers while they come in.

Knows no prompts and counts nothing. Answers are put behind one another under a lock, so two who gather the same ones
cannot mix them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, select, update

from headwater.core.descent import Behaviour
from headwater.storage.database import Database, insert
from headwater.storage.tables import answers, behaviours, repos


class SqlBehaviours:
    def __init__(self, database: Database):
        self._db = database

    def order(self, behaviour: Behaviour) -> bool:
        values = {"repo_id": behaviour.repo_id, "revision": behaviour.revision, "url": behaviour.url,
                  "model": behaviour.model, "controls": [list(one) for one in behaviour.controls],
                  "prompts": behaviour.prompts, "by": behaviour.by, "found": None, "at": self._db.now()}
        with self._db.write() as connection:
            held = select(repos.c.id).where(repos.c.id == behaviour.repo_id).with_for_update(read=True, key_share=True)
            if connection.scalar(held) is None:
                return False
            row = insert(connection, behaviours).values(id=behaviour.id, **values)
            connection.execute(row.on_conflict_do_update(index_elements=["id"], set_=values))
        return True

    def get(self, behaviour_id: str) -> Behaviour | None:
        with self._db.read() as connection:
            row = connection.execute(select(behaviours).where(behaviours.c.id == behaviour_id)).first()
        return _behaviour(row) if row else None

    def of(self, repo_id: int) -> list[Behaviour]:
        question = select(behaviours).where(behaviours.c.repo_id == repo_id)
        with self._db.read() as connection:
            rows = connection.execute(question.order_by(behaviours.c.at.desc(), behaviours.c.id))
            return [_behaviour(row) for row in rows]

    def beside(self, url: str, model: str) -> list[Behaviour]:
        question = select(behaviours).where(behaviours.c.url == url, behaviours.c.model == model)
        with self._db.read() as connection:
            return [_behaviour(row) for row in connection.execute(question.order_by(behaviours.c.at, behaviours.c.id))]

    def found(self, behaviour: Behaviour, found: dict[str, Any]) -> bool:
        mine = behaviours.c.id == behaviour.id, behaviours.c.at == behaviour.at
        with self._db.write() as connection:
            row = update(behaviours).where(*mine).values(found=found).returning(behaviours.c.id)
            return connection.execute(row).first() is not None

    def answers(self, asked: str) -> list[str]:
        with self._db.read() as connection:
            return list(connection.scalar(select(answers.c.answers).where(answers.c.asked == asked)) or ())

    def answer(self, asked: str, first: int, given: Sequence[str]) -> int:
        values = {"at": self._db.now()}
        with self._db.write() as connection:
            # The row is made first, so that there is one to hold.
            empty = insert(connection, answers).values(asked=asked, answers=[], **values)
            connection.execute(empty.on_conflict_do_nothing())
            mine = answers.c.asked == asked
            kept = list(connection.scalars(select(answers.c.answers).where(mine).with_for_update()).one())
            if first not in (0, len(kept)):
                return len(kept)
            kept = kept[:first] + list(given)
            connection.execute(update(answers).where(mine).values(answers=kept, **values))
            return len(kept)

    def forget(self, before: float) -> None:
        with self._db.write() as connection:
            connection.execute(delete(answers).where(answers.c.at < before))


def _behaviour(row: Row[Any]) -> Behaviour:
    return Behaviour(row.id, row.repo_id, row.revision, row.url, row.model,
                     tuple((int(repo), str(revision)) for repo, revision in row.controls), row.prompts, row.by,
                     row.found, row.at)
