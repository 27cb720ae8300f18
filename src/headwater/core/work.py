"""Long work as the rooms see it: what a job's body is handed, and the port of whoever runs jobs (jobs/)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from headwater.core.types import Job


class Progress(Protocol):
    """What running work is handed: it says how far it is, and hears that it should stop."""

    def __call__(self, done: int, total: int | None = None, *, stage: str | None = None,
                 unit: str | None = None) -> None:
        """Raises Cancelled if the job was cancelled or the process is stopping."""


class Cancelled(Exception):
    """Raised inside work by its progress call; the executor turns it into the state."""


Work = Callable[[dict[str, Any], Progress], dict[str, Any] | None]
"""A job's body: payload in, result out. May be run again after a crash, so it must be idempotent."""


class Jobs(Protocol):
    """Long work, remembered. A job that was running when the process died runs again at the next start."""

    def register(self, kind: str, work: Work, *, at_once: int = 1, fair: bool = False) -> None:
        """`work` does jobs of this kind, at most `at_once` of them at a time; fair: those who order take turns."""

    def enqueue(self, kind: str, payload: dict[str, Any], *, title: str, by: str, key: str | None = None) -> Job: ...

    def get(self, job_id: str) -> Job | None: ...

    def list(self, *, state: str | None = None, kind: str | None = None, limit: int = 100) -> list[Job]: ...

    def cancel(self, job_id: str) -> Job | None:
        """A queued job is cancelled at once, a running one at its next progress call."""

    def waiting(self, kind: str) -> list[Job]:
        """Those that are queued, in the order they are taken up; held ones stand where they will be again."""

    def rearrange(self, kind: str, rule: Callable[[list[Job]], Sequence[Job]]) -> list[Job]:
        """`rule` is given those that wait, in one transaction, and answers them in another order."""

    def hold(self, job_id: str, held: bool = True) -> Job | None:
        """A held job waits on until it is let go; a running one is given back at its next progress call, to begin
        anew."""

    def rename(self, job_id: str, title: str) -> None: ...

    def pause(self, kind: str, by: str) -> None:
        """None of the kind is taken up until go_on(kind), also after a restart; what runs goes on to its end."""

    def go_on(self, kind: str) -> None: ...

    def paused(self) -> frozenset[str]:
        """The kinds that are paused."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """Running jobs stop at their next progress call and stay queued for the next start."""
