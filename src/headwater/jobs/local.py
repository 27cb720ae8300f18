"""Jobs on threads of this process, remembered in the database (core.work.Jobs).

One thread keeps watch: it claims queued jobs, writes progress and the sign of life, hears of cancels, and
takes over jobs whose process died. Each running job has a thread of its own. It knows no kind of work, and
no table but the one handed in. docs/design/004-jobs.md says why it is ours.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError

from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.types import Job, JobState
from headwater.core.work import Cancelled, Work
from headwater.jobs.ledger import Beat, Database, Ledger, Point
from headwater.jobs.line import Rule
from headwater.jobs.owners import new_owner, surely_dead

log = logging.getLogger("headwater.jobs")

JSON_MAX = 65_536
"""Bytes of JSON a payload or result may be: rows are for telling, files are for keeping."""
ERROR_MAX = 1_000
DATABASE_TROUBLE = (HeadwaterError, SQLAlchemyError)
KEEP = 2_000
"""Finished jobs remembered."""


class LocalJobs:
    """Times are in seconds. beat_s: how often a sign of life is written. dead_s: a job of another machine
    whose sign of life has not changed for so long, by this process's own steady clock, is taken over.
    tick_s: how often progress is written and new jobs of other processes are looked for.
    """

    def __init__(self, database: Database, table: Table, pauses: Table, *, now: Callable[[], float] = time.time,
                 beat_s: float = 5.0, dead_s: float = 30.0, tick_s: float = 0.5):
        self._ledger = Ledger(database, table, pauses)
        self._now, self._beat_s, self._dead_s, self._tick_s = now, beat_s, dead_s, tick_s
        self._works: dict[str, tuple[Work, int]] = {}
        self._fair: set[str] = set()
        self._runs: dict[str, _Run] = {}
        self._seen: dict[str, tuple[Beat, float]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._watch: threading.Thread | None = None
        self._last_beat = 0.0
        self.owner = new_owner()

    # --- the verbs of core.work.Jobs

    def register(self, kind: str, work: Work, *, at_once: int = 1, fair: bool = False) -> None:
        self._works[kind] = (work, at_once)
        if fair:
            self._fair.add(kind)
        self._wake.set()

    def enqueue(self, kind: str, payload: dict[str, Any], *, title: str, by: str, key: str | None = None) -> Job:
        """Raises BadInput for a kind nobody registered, or a payload over JSON_MAX."""
        if kind not in self._works:
            raise BadInput(f"There is no work of kind {kind!r}.", hint=f"There are: {', '.join(sorted(self._works))}.")
        try:
            size = _json_bytes(payload)
        except (TypeError, ValueError) as error:
            raise BadInput(f"The job's payload is no plain JSON: {_short(error)}") from None
        if size > JSON_MAX:
            raise BadInput(f"The job's payload is {size} bytes of JSON; the most is {JSON_MAX}.")
        at = self._now()
        job = self._ledger.add(Job(
            id=f"{int(at * 1000):011x}{secrets.token_hex(5)}", kind=kind, title=title, payload=payload,
            state=JobState.QUEUED, stage="", done=0, total=None, unit="", result=None, error=None, actor=by,
            key=key, attempts=0, created_at=at, started_at=None, finished_at=None), fair=kind in self._fair)
        self._wake.set()
        return job

    def get(self, job_id: str) -> Job | None:
        return self._ledger.get(job_id)

    def list(self, *, state: str | None = None, kind: str | None = None, limit: int = 100) -> list[Job]:
        return self._ledger.list(state, kind, limit)

    def cancel(self, job_id: str) -> Job | None:
        self._ledger.cancel(job_id, self._now())
        with self._lock:
            run = self._runs.get(job_id)
        if run:
            run.halt("cancel")
        return self._ledger.get(job_id)

    def waiting(self, kind: str) -> list[Job]:
        return self._ledger.line.waiting(kind)

    def rearrange(self, kind: str, rule: Rule) -> list[Job]:
        return self._ledger.line.rearrange(kind, rule)

    def hold(self, job_id: str, held: bool = True) -> Job | None:
        self._ledger.line.hold(job_id, held)
        with self._lock:
            run = self._runs.get(job_id)
        if run and held:
            run.halt("hold")
        self._wake.set()
        return self._ledger.get(job_id)

    def rename(self, job_id: str, title: str) -> None:
        self._ledger.line.rename(job_id, title)

    def pause(self, kind: str, by: str) -> None:
        self._ledger.line.pause(kind, by, self._now())

    def go_on(self, kind: str) -> None:
        self._ledger.line.go_on(kind)
        self._wake.set()

    def paused(self) -> frozenset[str]:
        return self._ledger.line.paused()

    def start(self) -> None:
        """Begin to claim jobs. Those of processes that died on this machine are queued again before it returns."""
        if self._watch is not None:
            return
        self._stopping.clear()
        self._recover()
        self._ledger.forget(KEEP)
        self._watch = threading.Thread(target=self._keep_watch, name="jobs", daemon=True)
        self._watch.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask running jobs to stop and wait for them, at most `timeout_s` together. One that never calls its
        progress dies with the process, and runs again at the next start."""
        if self._watch is None:
            return
        self._stopping.set()
        self._wake.set()
        self._watch.join(timeout_s)
        self._watch = None
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.halt("stop")
        until = time.monotonic() + timeout_s
        for run in runs:
            run.thread.join(max(0.0, until - time.monotonic()))
            if run.thread.is_alive():
                log.warning("job %s (%s) did not stop in %.0f s", run.job.id, run.job.kind, timeout_s)

    # --- the watch

    def _keep_watch(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._tick()
            except DATABASE_TROUBLE as error:
                # The database may be away for a while (a restart, a full disk). Jobs go on; the watch tries again.
                log.warning("jobs: the database does not answer: %s", _short(error))
            self._wake.wait(self._tick_s)

    def _tick(self) -> None:
        self._beat()
        while not self._stopping.is_set():
            limits = {kind: at_once for kind, (_, at_once) in self._works.items()}
            job = self._ledger.claim(limits, self.owner, self._now())
            if job is None:
                return
            self._launch(job)

    def _beat(self) -> None:
        due = time.monotonic() - self._last_beat >= self._beat_s
        with self._lock:
            runs = dict(self._runs)
        points = {job_id: run.point for job_id, run in runs.items() if run.moved()}
        if runs and (due or points):
            mine = self._ledger.beat(self.owner, points, self._now())
            for job_id, run in runs.items():
                if job_id not in mine:
                    run.halt("lost")
                elif reason := mine[job_id]:
                    run.halt(reason)
        if due:
            self._last_beat = time.monotonic()
            self._recover()

    def _recover(self) -> None:
        """Put back what dead processes were running, and what is ours by name only (a claim whose answer the
        database never gave us)."""
        seen, steady = {}, time.monotonic()
        for beat in self._ledger.running():
            if beat.owner == self.owner:
                dead = beat.job_id not in self._runs
            else:
                before = self._seen.get(beat.job_id)
                since = before[1] if before and before[0] == beat else steady
                seen[beat.job_id] = (beat, since)
                dead = surely_dead(beat.owner) or steady - since >= self._dead_s
            if dead and (state := self._ledger.orphan(beat, self._now())):
                log.warning("job %s: its process died; now %s", beat.job_id, state)
        self._seen = seen

    # --- one job

    def _launch(self, job: Job) -> None:
        run = _Run(job)
        run.thread = threading.Thread(target=self._run, args=(run,), name=f"job-{job.kind}", daemon=True)
        with self._lock:
            self._runs[job.id] = run
        run.thread.start()

    def _run(self, run: _Run) -> None:
        state, result, error = JobState.DONE, None, None
        try:
            result = _bounded(self._works[run.job.kind][0](run.job.payload, run))
        except Cancelled:
            state = JobState.CANCELLED
        except HeadwaterError as failure:
            state, error = JobState.FAILED, _storable(str(failure))
        except BaseException as failure:  # whatever ends the work must end the job, or it would run for ever
            log.error("job %s (%s) failed\n%s", run.job.id, run.job.kind, _printable(traceback.format_exc()))
            state, error = JobState.FAILED, _short(failure)
        try:
            self._settle(run, state, result, error)
        finally:
            with self._lock:
                del self._runs[run.job.id]
            self._wake.set()

    def _settle(self, run: _Run, state: JobState, result: dict[str, Any] | None, error: str | None) -> None:
        """Write the outcome; while the database is away, try again for as long as this process lives."""
        while True:
            try:
                if state is JobState.CANCELLED and run.reason in ("stop", "hold"):
                    self._ledger.give_back(run.job.id, self.owner, self._now())
                elif not self._ledger.finish(run.job.id, self.owner, state, now=self._now(), point=run.point,
                                             result=result, error=error):
                    log.warning("job %s was taken over; the outcome here (%s) is dropped", run.job.id, state)
                return
            except DATABASE_TROUBLE as failure:
                log.warning("job %s: its outcome is not written yet: %s", run.job.id, _short(failure))
                time.sleep(1.0)


class _Run:
    """The Progress handed to one running job. Calling it costs no database write: the watch reads `point`."""

    thread: threading.Thread

    def __init__(self, job: Job):
        self.job = job
        self.reason: str | None = None
        self.point = Point(0, None, job.unit, "")
        self._written = self.point

    def __call__(self, done: int, total: int | None = None, *, stage: str | None = None,
                 unit: str | None = None) -> None:
        """total, stage and unit of None stay as they were said before."""
        old = self.point
        self.point = Point(int(done), old.total if total is None else int(total), unit or old.unit,
                           old.stage if stage is None else _storable(stage))
        if self.reason:
            raise Cancelled(self.reason)

    def halt(self, reason: str) -> None:
        """The next progress call raises. The first reason stays."""
        self.reason = self.reason or reason

    def moved(self) -> bool:
        """Whether `point` changed since this was last asked."""
        moved, self._written = self.point != self._written, self.point
        return moved


def _bounded(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """The result if it fits a row; else a note of its size, for the work itself is done. Raises for no plain JSON."""
    size = _json_bytes(result)
    if size <= JSON_MAX:
        return result
    log.warning("a job's result of %d bytes is left out of its row", size)
    return {"left_out": f"a result of {size} bytes; a row holds {JSON_MAX}"}


def _json_bytes(value: Any) -> int:
    """Bytes of the value as the database will write it. Raises TypeError or ValueError if it cannot."""
    return len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return _storable(f"{type(error).__name__}: {lines[0]}")


def _storable(text: str) -> str:
    """Without what PostgreSQL cannot keep (NUL, half a surrogate pair): a row that cannot be written never ends."""
    return _printable(text[:ERROR_MAX])


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
