"""Lineage over SQL: fingerprints, where they stand, edges, disputes. Knows no weights and judges nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Integer, Row, Select, Table, and_, cast, delete, exists, func, or_, select
from sqlalchemy.exc import IntegrityError

from headwater.core.descent import Dispute, Edge, Kept, Mixed, Place, Whole
from headwater.core.errors import RepoNotFound
from headwater.core.types import Actor, Digest, Kind, Oid, Repo
from headwater.storage.database import Database, insert, listed
from headwater.storage.records import _log
from headwater.storage.records._search import visible
from headwater.storage.records.repos import as_repo
from headwater.storage.tables import (
    Id,
    audit,
    commits,
    disputes,
    edges,
    fingerprints,
    mixtures,
    prints,
    repos,
    traced,
    wholes,
)

_KEPT = (fingerprints.c.id, fingerprints.c.files, fingerprints.c.version, fingerprints.c.problem,
         fingerprints.c.about, fingerprints.c.at)
_BATCH = 64


class SqlLineage:
    def __init__(self, database: Database):
        self._db = database

    def keep(self, repo: Repo, revision: Oid, files: Digest, *, version: int, body: bytes | None,
             problem: str | None, about: dict[str, Any]) -> Kept | None:
        now = self._db.now()
        values = {"version": version, "problem": problem, "about": about, "at": now}
        with self._db.write() as connection:
            if not _held(connection, repo):
                return None
            row = insert(connection, fingerprints).values(files=files, **values)
            row = row.on_conflict_do_update(index_elements=["files"], set_=values).returning(fingerprints.c.id)
            kept = Kept(connection.execute(row).scalar_one(), files, version, problem, about, now)
            connection.execute(delete(prints).where(prints.c.fingerprint_id == kept.id))
            if body is not None:
                connection.execute(prints.insert().values(fingerprint_id=kept.id, body=body))
            _place(connection, repo, revision, kept.id, now)
        return kept

    def place(self, repo: Repo, revision: Oid, kept: Kept) -> bool:
        try:
            with self._db.write() as connection:
                if not _held(connection, repo):
                    return False
                _place(connection, repo, revision, kept.id, self._db.now())
                gone = select(commits.c.oid).where(commits.c.repo_id == repo.id)
                connection.execute(delete(traced).where(traced.c.repo_id == repo.id, traced.c.revision.not_in(gone),
                                                        traced.c.revision != revision))
        except IntegrityError:  # pruned meanwhile
            return False
        return True

    def find(self, files: Digest) -> Kept | None:
        return self._one(select(*_KEPT).where(fingerprints.c.files == files))

    def at(self, repo: Repo, revision: Oid) -> Kept | None:
        return self._one(select(*_KEPT).join(traced).where(traced.c.repo_id == repo.id,
                                                           traced.c.revision == revision))

    def get(self, ids: Collection[int]) -> dict[int, Kept]:
        with self._db.read() as connection:
            rows = connection.execute(select(*_KEPT).where(_in(fingerprints.c.id, ids)))
            return {row.id: _kept(row) for row in rows}

    def bodies(self, ids: Collection[int]) -> dict[int, bytes]:
        found, waiting = {}, iter(sorted(ids))
        while batch := list(islice(waiting, _BATCH)):  # up to a megabyte each
            question = select(prints).where(_in(prints.c.fingerprint_id, batch))
            with self._db.read() as connection:
                found |= {row.fingerprint_id: bytes(row.body) for row in connection.execute(question)}
        return found

    def stamps(self) -> dict[int, float]:
        question = select(fingerprints.c.id, fingerprints.c.at).join(prints)
        with self._db.read() as connection:
            return {row.id: row.at for row in connection.execute(question)}

    def places(self, ids: Collection[int], viewer: Actor | None) -> list[Place]:
        question = _places(viewer).where(_in(traced.c.fingerprint_id, ids))
        found: dict[tuple[int, int], Place] = {}
        with self._db.read() as connection:
            for place in map(_place_of, connection.execute(question.order_by(traced.c.at, traced.c.revision))):
                key = (place.repo.id, place.fingerprint_id)
                if key not in found or not found[key].head:
                    found[key] = place
        return list(found.values())

    def heads(self, viewer: Actor | None, *, limit: int) -> list[Place]:
        question = _places(viewer).where(traced.c.revision == repos.c.head)
        with self._db.read() as connection:
            rows = connection.execute(question.order_by(repos.c.updated_at.desc(), repos.c.id.desc()).limit(limit))
            return [_place_of(row) for row in rows]

    def judged(self, found: Sequence[Edge], *, of: int, version: int) -> None:
        now = self._db.now()
        mine = or_(edges.c.a_id == of, edges.c.b_id == of)
        with self._db.write() as connection:
            connection.execute(delete(edges).where(mine, or_(edges.c.version < version,
                                                             and_(edges.c.a_id == of, ~edges.c.kin))))
            ends = {end for edge in found for end in (edge.a_id, edge.b_id)}
            there = set(connection.scalars(select(fingerprints.c.id).where(_in(fingerprints.c.id, ends))))
            for edge in found:
                if edge.a_id in there and edge.b_id in there:
                    values = {key: getattr(edge, key) for key in _EDGE_VALUES} | {"at": now}
                    row = insert(connection, edges).values(a_id=edge.a_id, b_id=edge.b_id, **values)
                    connection.execute(row.on_conflict_do_update(index_elements=["a_id", "b_id"], set_=values))

    def edges(self, ids: Collection[int], *, kin: bool | None = True, within: bool = False,
              brief: bool = False) -> list[Edge]:
        ends = _in(edges.c.a_id, ids), _in(edges.c.b_id, ids)
        question = select(*_BRIEF if brief else edges.c).where(and_(*ends) if within else or_(*ends))
        if kin is not None:
            question = question.where(edges.c.kin == kin)
        with self._db.read() as connection:
            rows = connection.execute(question.order_by(edges.c.b_id, edges.c.a_id))
            return [_brief(row) if brief else _edge(row) for row in rows]

    def edge(self, one: int, other: int) -> Edge | None:
        with self._db.read() as connection:
            row = connection.execute(select(edges).where(edges.c.a_id == max(one, other),
                                                         edges.c.b_id == min(one, other))).first()
        return _edge(row) if row else None

    def mark(self) -> tuple[Any, ...]:
        parts = [select(func.count()).select_from(table).scalar_subquery() for table in (edges, traced, mixtures)]
        latest = [select(func.max(column)).scalar_subquery() for column in (traced.c.at, fingerprints.c.id, audit.c.id)]
        with self._db.read() as connection:
            return tuple(connection.execute(select(*parts, *latest)).one())

    def compared(self, whole: Whole) -> bool:
        values = {"version": whole.version, "report": whole.report, "at": self._db.now()}
        row = {"a_id": whole.a_id, "b_id": whole.b_id}
        return self._replace(wholes, row, values)

    def whole(self, one: int, other: int) -> Whole | None:
        question = select(wholes).where(wholes.c.a_id == max(one, other), wholes.c.b_id == min(one, other))
        with self._db.read() as connection:
            row = connection.execute(question).first()
        return Whole(*row) if row else None

    def compared_with(self, one: int, *, version: int) -> set[int]:
        question = select(wholes.c.a_id, wholes.c.b_id).where(or_(wholes.c.a_id == one, wholes.c.b_id == one),
                                                              wholes.c.version == version)
        with self._db.read() as connection:
            return {row.b_id if row.a_id == one else row.a_id for row in connection.execute(question)}

    def shaped(self, form: str, width: int, *, limit: int) -> list[Kept]:
        about = fingerprints.c.about
        question = select(*_KEPT).join(prints).where(about["form"].as_string() == form,
                                                     about["width"].as_integer() == width)
        with self._db.read() as connection:
            return [_kept(row) for row in connection.execute(question.order_by(fingerprints.c.id).limit(limit))]

    def mixed(self, mixed: Mixed) -> bool:
        values = {"version": mixed.version, "found": mixed.found, "at": self._db.now()}
        return self._replace(mixtures, {"child_id": mixed.child_id}, values)

    def mixtures(self, ids: Collection[int]) -> dict[int, Mixed]:
        with self._db.read() as connection:
            rows = connection.execute(select(mixtures).where(_in(mixtures.c.child_id, ids)))
            return {row.child_id: Mixed(*row) for row in rows}

    def _replace(self, table: Table, key: dict[str, int], values: dict[str, Any]) -> bool:
        try:
            with self._db.write() as connection:
                row = insert(connection, table).values(**key, **values)
                connection.execute(row.on_conflict_do_update(index_elements=list(key), set_=values))
        except IntegrityError:  # pruned meanwhile
            return False
        return True

    def dispute(self, repo: Repo, other: Repo, text: str, *, by: Actor) -> Dispute:
        """Raises RepoNotFound if one of them was deleted meanwhile."""
        now = self._db.now()
        try:
            with self._db.write() as connection:
                row = connection.execute(disputes.insert().values(
                    repo_id=repo.id, other_id=other.id, by=by.name, text=text, at=now).returning(disputes)).one()
                _log.note(connection, now, by, "lineage.dispute", repo.key, {"other": other.key})
        except IntegrityError:
            raise RepoNotFound("One of the two repos was deleted meanwhile.") from None
        return _dispute(row)

    def disputes(self, repo_id: int) -> list[Dispute]:
        question = select(disputes).where(or_(disputes.c.repo_id == repo_id, disputes.c.other_id == repo_id))
        with self._db.read() as connection:
            return [_dispute(row) for row in connection.execute(question.order_by(disputes.c.id))]

    def unread(self, version: int, *, after: int = 0, limit: int = 500) -> list[Repo]:
        read = exists().where(traced.c.repo_id == repos.c.id, traced.c.revision == repos.c.head,
                              fingerprints.c.id == traced.c.fingerprint_id, fingerprints.c.version == version)
        question = select(repos).where(repos.c.kind == Kind.MODEL, repos.c.head.is_not(None), repos.c.id > after, ~read)
        with self._db.read() as connection:
            return [as_repo(row) for row in connection.execute(question.order_by(repos.c.id).limit(limit))]

    def prune(self) -> list[int]:
        nowhere = fingerprints.c.id.not_in(select(traced.c.fingerprint_id))
        with self._db.read() as connection:
            if connection.scalar(select(fingerprints.c.id).where(nowhere).limit(1)) is None:
                return []
        with self._db.write() as connection:
            return list(connection.scalars(delete(fingerprints).where(nowhere).returning(fingerprints.c.id)))

    def _one(self, question: Select[Any]) -> Kept | None:
        with self._db.read() as connection:
            row = connection.execute(question).first()
        return _kept(row) if row else None


_PLAIN = tuple(column for column in edges.c if column.name != "judgement")
_NULL = edges.c.judgement["null"]
_BRIEF = (*_PLAIN, _NULL["n"].as_integer().label("n"), _NULL["max"].as_float().label("most"),
          edges.c.judgement["operation"].as_string().label("operation"))
"""The database takes out of the judgement what a tree shows: reading all of it is eight times the work."""
_EDGE_VALUES = ("kin", "verdict", "direction", "agreement", "version", "judgement")


def _in(column: Any, ids: Collection[int]) -> Any:
    """column IN ids, for any number of them."""
    return column.in_(select(cast(listed(map(str, ids)).c.value, Id if column.type is Id else Integer)))


def _held(connection: Connection, repo: Repo) -> bool:
    """Whether the repo is there; it stays until the transaction ends."""
    lock = select(repos.c.id).where(repos.c.id == repo.id).with_for_update(read=True, key_share=True)
    return connection.scalar(lock) is not None


def _place(connection: Connection, repo: Repo, revision: Oid, fingerprint_id: int, now: float) -> None:
    values = {"fingerprint_id": fingerprint_id, "at": now}
    row = insert(connection, traced).values(repo_id=repo.id, revision=revision, **values)
    connection.execute(row.on_conflict_do_update(index_elements=["repo_id", "revision"], set_=values))


def _places(viewer: Actor | None) -> Select[Any]:
    question = select(repos, traced.c.revision, traced.c.fingerprint_id, traced.c.at).join(
        traced, traced.c.repo_id == repos.c.id)
    return question if viewer is None else question.where(visible(viewer))


def _place_of(row: Row[Any]) -> Place:
    return Place(as_repo(row), row.revision, row.fingerprint_id, row.at)


def _kept(row: Row[Any]) -> Kept:
    return Kept(row.id, row.files, row.version, row.problem, row.about, row.at)


def _edge(row: Row[Any]) -> Edge:
    return Edge(row.a_id, row.b_id, row.kin, row.verdict, row.direction, row.agreement, row.version, row.judgement,
                row.at)


def _brief(row: Row[Any]) -> Edge:
    said = {"null": {"n": row.n or 0, "max": row.most or 0.0}, "operation": row.operation}
    return Edge(row.a_id, row.b_id, row.kin, row.verdict, row.direction, row.agreement, row.version, said, row.at)


def _dispute(row: Row[Any]) -> Dispute:
    return Dispute(row.id, row.repo_id, row.other_id, row.by, row.text, row.at)
