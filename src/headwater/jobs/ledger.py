"""The jobs table, as verbs: each is one short transaction. Knows no threads and calls no work.

Every change of a running job names its owner in the WHERE clause, so a process that lost a job (it was
thought dead, and another took it) changes nothing. Times are seconds since 1970 and are for people: no
decision compares them with a clock, so clocks may jump and differ between hosts.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Table, and_, case, delete, func, insert, select, update

from headwater.core.types import Job, JobState
from headwater.jobs.line import Line, alone

ATTEMPTS_MAX = 5
_FINAL = [state.value for state in JobState if state.final]
_ACTIVE = [state.value for state in JobState if not state.final]


class Point(NamedTuple):
    """How far a job is. total None means not known."""

    done: int
    total: int | None
    unit: str
    stage: str


class Beat(NamedTuple):
    """A running job of somebody's and the last sign of life in its row."""

    job_id: str
    owner: str | None
    heartbeat_at: float | None


class Database(Protocol):
    """read() and write() give a connection in a transaction; on SQLite a writer is alone from its start."""

    def read(self) -> AbstractContextManager[Connection]: ...

    def write(self) -> AbstractContextManager[Connection]: ...


class Ledger:
    """`table` has the columns of core.types.Job and heartbeat_at, cancel_requested, owner; `pauses`: kind, by, at."""

    def __init__(self, database: Database, table: Table, pauses: Table):
        self.database, self.table, self.pauses = database, table, pauses
        self._columns = [table.c[field.name] for field in fields(Job)]
        self.line = Line(database, table, pauses, self._columns, _job)

    def add(self, job: Job, *, fair: bool = False) -> Job:
        """Keep a queued job; answers the active job of the same key instead if there is one."""
        t = self.table
        with self.database.write() as db:
            alone(db, "jobs.claim")
            if job.key is not None:
                same = and_(t.c.key == job.key, t.c.state.in_(_ACTIVE))
                row = db.execute(select(*self._columns).where(same)).first()
                if row:
                    return _job(row)
            db.execute(insert(t).values(**{**asdict(job), "state": job.state.value}, cancel_requested=False))
            self.line.join(db, job, fair)
        return job

    def get(self, job_id: str) -> Job | None:
        with self.database.read() as db:
            row = db.execute(select(*self._columns).where(self.table.c.id == job_id)).first()
        return _job(row) if row else None

    def list(self, state: str | None, kind: str | None, limit: int) -> list[Job]:
        """Newest first."""
        t = self.table
        query = select(*self._columns).order_by(t.c.created_at.desc(), t.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(t.c.state == state)
        if kind is not None:
            query = query.where(t.c.kind == kind)
        with self.database.read() as db:
            return [_job(row) for row in db.execute(query)]

    def claim(self, at_once: Mapping[str, int], owner: str, now: float) -> Job | None:
        """Take the first in the line whose kind has room and is not paused; None if there is none.

        at_once bounds the running jobs of a kind over all processes on this database.
        """
        with self.database.read() as db:
            if self._next(db, at_once) is None:  # the idle question takes no write lock
                return None
        t = self.table
        with self.database.write() as db:
            alone(db, "jobs.claim")
            job_id = self._next(db, at_once)
            if job_id is None:
                return None
            db.execute(update(t).where(t.c.id == job_id).values(
                state=JobState.RUNNING.value, owner=owner, heartbeat_at=now, attempts=t.c.attempts + 1,
                started_at=func.coalesce(t.c.started_at, now), done=0, total=None, stage=""))
            return _job(db.execute(select(*self._columns).where(t.c.id == job_id)).one())

    def _next(self, db: Connection, at_once: Mapping[str, int]) -> str | None:
        t = self.table
        running = select(t.c.kind, func.count()).where(t.c.state == JobState.RUNNING.value).group_by(t.c.kind)
        counts = {kind: count for kind, count in db.execute(running)}
        free = [kind for kind, limit in at_once.items() if counts.get(kind, 0) < limit]
        queued = select(t.c.id).where(t.c.state == JobState.QUEUED.value, t.c.kind.in_(free), ~t.c.held,
                                      t.c.kind.not_in(select(self.pauses.c.kind)))
        return db.execute(queued.order_by(t.c.place, t.c.created_at, t.c.id).limit(1)).scalar()

    def beat(self, owner: str, points: Mapping[str, Point], now: float) -> dict[str, str | None]:
        """Sign of life and progress of this owner's jobs. Returns those still its own, and why each is to stop:
        "cancel", "hold" or None."""
        t = self.table
        mine = and_(t.c.owner == owner, t.c.state == JobState.RUNNING.value)
        # A sign of life is a changed value, also when the clock was set back.
        alive = case((t.c.heartbeat_at >= now, t.c.heartbeat_at + 0.001), else_=now)
        with self.database.write() as db:
            db.execute(update(t).where(mine).values(heartbeat_at=alive))
            for job_id, point in points.items():
                db.execute(update(t).where(mine, t.c.id == job_id).values(**point._asdict()))
            return {row.id: "cancel" if row.cancel_requested else "hold" if row.held else None
                    for row in db.execute(select(t.c.id, t.c.cancel_requested, t.c.held).where(mine))}

    def finish(self, job_id: str, owner: str, state: JobState, *, now: float, point: Point,
               result: dict[str, Any] | None = None, error: str | None = None) -> bool:
        """False, and nothing written, if the job is no longer this owner's."""
        t = self.table
        mine = and_(t.c.id == job_id, t.c.owner == owner, t.c.state == JobState.RUNNING.value)
        with self.database.write() as db:
            return db.execute(update(t).where(mine).values(
                state=state.value, result=result, error=error, finished_at=now, owner=None, heartbeat_at=None,
                **point._asdict())).rowcount == 1

    def give_back(self, job_id: str, owner: str, now: float) -> None:
        """An orderly stop, or a hold: queued again (cancelled if that was asked), and the attempt does not count."""
        t = self.table
        mine = and_(t.c.id == job_id, t.c.owner == owner, t.c.state == JobState.RUNNING.value)
        with self.database.write() as db:
            db.execute(update(t).where(mine).values(
                state=case((t.c.cancel_requested, JobState.CANCELLED.value), else_=JobState.QUEUED.value),
                finished_at=case((t.c.cancel_requested, now), else_=None),
                owner=None, heartbeat_at=None, attempts=t.c.attempts - 1))

    def running(self) -> list[Beat]:
        t = self.table
        query = select(t.c.id, t.c.owner, t.c.heartbeat_at).where(t.c.state == JobState.RUNNING.value)
        with self.database.read() as db:
            return [Beat(*row) for row in db.execute(query)]

    def orphan(self, beat: Beat, now: float) -> JobState | None:
        """Put back a job whose process died: queued, or cancelled if that was asked, or failed after too many
        attempts. None, and nothing written, if its row changed since `beat` was read."""
        t = self.table
        with self.database.write() as db:
            alone(db, "jobs.claim")
            same = and_(t.c.id == beat.job_id, t.c.state == JobState.RUNNING.value,
                        t.c.owner.is_not_distinct_from(beat.owner),
                        t.c.heartbeat_at.is_not_distinct_from(beat.heartbeat_at))
            row = db.execute(select(t.c.attempts, t.c.cancel_requested).where(same)).first()
            if row is None:
                return None
            state, error = JobState.QUEUED, None
            if row.cancel_requested:
                state = JobState.CANCELLED
            elif row.attempts >= ATTEMPTS_MAX:
                state = JobState.FAILED
                error = (f"The process running this job died {row.attempts} times, so it is not tried again. "
                         "Look in the log for what ended it (often: out of memory), then start the job anew.")
            db.execute(update(t).where(same).values(
                state=state.value, error=error, owner=None, heartbeat_at=None,
                finished_at=now if state.final else None))
            return state

    def cancel(self, job_id: str, now: float) -> None:
        """A queued job is cancelled, a running one is asked to stop, a finished one stays as it is."""
        t = self.table
        with self.database.write() as db:
            alone(db, "jobs.claim")
            db.execute(update(t).where(t.c.id == job_id, t.c.state == JobState.QUEUED.value).values(
                state=JobState.CANCELLED.value, finished_at=now))
            db.execute(update(t).where(t.c.id == job_id, t.c.state == JobState.RUNNING.value).values(
                cancel_requested=True))

    def forget(self, keep: int) -> int:
        """Drop the rows of finished jobs older than the newest `keep`; how many went."""
        t = self.table
        done = t.c.state.in_(_FINAL)
        with self.database.write() as db:
            oldest = db.execute(select(t.c.created_at).where(done).order_by(t.c.created_at.desc())
                                .offset(keep).limit(1)).scalar()
            if oldest is None:
                return 0
            return db.execute(delete(t).where(done, t.c.created_at <= oldest)).rowcount


def _job(row: Any) -> Job:
    values = dict(row._mapping)
    return Job(**{**values, "state": JobState(values["state"])})
