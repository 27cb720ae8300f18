"""The line of jobs that wait: who is where in it, who is held, which kinds of work are paused. Each verb is one short
transaction. Knows no threads and no work; ledger.py takes the next one.

A kind that is `fair` is shared by turns: a job joins behind as many jobs of each other account as its own account has
before it, so twenty orders of one person do not keep another's first one waiting. Nobody is passed for ever: what is
an account's next job is never stepped before.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, text, update

from headwater.core.errors import BadInput
from headwater.core.types import Job, JobState

Rule = Callable[[list[Job]], Sequence[Job]]


class Line:
    """`table` is the jobs', `pauses` has kind, by and at."""

    def __init__(self, database: Any, table: Table, pauses: Table, columns: Sequence[Any],
                 as_job: Callable[[Any], Job]):
        self.database, self.table, self.pauses = database, table, pauses
        self._columns, self._as_job = columns, as_job

    def waiting(self, kind: str) -> list[Job]:
        with self.database.read() as db:
            return self._waiting(db, kind)

    def rearrange(self, kind: str, rule: Rule) -> list[Job]:
        """`rule` is given those that wait and answers them in another order. Raises BadInput when it does not."""
        with self.database.write() as db:
            alone(db, "jobs.claim")
            before = self._waiting(db, kind)
            after = list(rule(list(before)))
            if sorted(job.id for job in after) != sorted(job.id for job in before):
                raise BadInput("A line can only be put in another order.")
            self._put(db, before, after)
            return self._waiting(db, kind)

    def join(self, db: Connection, job: Job, fair: bool) -> None:
        """Give a job just kept its place; `db` is the transaction that keeps it, alone in "jobs.claim"."""
        t = self.table
        last = db.execute(select(func.max(t.c.place))).scalar() or 0
        db.execute(update(t).where(t.c.id == job.id).values(place=last + 1))
        if not fair:
            return
        running = Counter(db.execute(select(t.c.actor).where(
            t.c.kind == job.kind, t.c.state == JobState.RUNNING.value)).scalars())
        before = self._waiting(db, job.kind)
        others = [one for one in before if one.id != job.id]
        at = turn(others, running, job.actor)
        self._put(db, before, [*others[:at], before[-1], *others[at:]])

    def hold(self, job_id: str, held: bool) -> None:
        """A job that waits is not taken; one that runs is given back at its next step, by who runs it."""
        t = self.table
        with self.database.write() as db:
            alone(db, "jobs.claim")
            db.execute(update(t).where(t.c.id == job_id, t.c.state.in_(
                (JobState.QUEUED.value, JobState.RUNNING.value))).values(held=held))

    def rename(self, job_id: str, title: str) -> None:
        with self.database.write() as db:
            db.execute(update(self.table).where(self.table.c.id == job_id).values(title=title))

    def pause(self, kind: str, by: str, now: float) -> None:
        with self.database.write() as db:
            alone(db, "jobs.claim")
            if db.execute(select(self.pauses.c.kind).where(self.pauses.c.kind == kind)).first() is None:
                db.execute(insert(self.pauses).values(kind=kind, by=by, at=now))

    def go_on(self, kind: str) -> None:
        with self.database.write() as db:
            db.execute(delete(self.pauses).where(self.pauses.c.kind == kind))

    def paused(self) -> frozenset[str]:
        with self.database.read() as db:
            return frozenset(db.execute(select(self.pauses.c.kind)).scalars())

    def _waiting(self, db: Connection, kind: str) -> list[Job]:
        t = self.table
        rows = db.execute(select(*self._columns).where(t.c.kind == kind, t.c.state == JobState.QUEUED.value).order_by(
            t.c.place, t.c.created_at, t.c.id))
        return [self._as_job(row) for row in rows]

    def _put(self, db: Connection, before: Sequence[Job], after: Sequence[Job]) -> None:
        """The places there are, given out anew; only what moves is written."""
        t = self.table
        for place, old, new in zip([job.place for job in before], before, after, strict=True):
            if old.id != new.id:
                db.execute(update(t).where(t.c.id == new.id).values(place=place))


def turn(waiting: Sequence[Job], running: Counter[str], actor: str) -> int:
    """Where among `waiting` the actor's next job belongs: before the first that is a later one of its account's, and
    behind all of the actor's own. Jobs that are held take no turn."""
    mine = running[actor] + sum(job.actor == actor and not job.held for job in waiting)
    own = max((number + 1 for number, job in enumerate(waiting) if job.actor == actor), default=0)
    seen = Counter(running)
    for number, job in enumerate(waiting):
        if not job.held:
            if seen[job.actor] > mine and number >= own:
                return number
            seen[job.actor] += 1
    return len(waiting)


def alone(db: Connection, name: str) -> None:
    """First in a write: until it ends, nobody else passes here. A writer on SQLite is alone as it is."""
    if db.dialect.name == "postgresql":
        db.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": zlib.crc32(name.encode())})
