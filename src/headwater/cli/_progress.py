"""How far long work is: a bar in a terminal, a line now and then where there is none, nothing under --json."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from headwater.cli._common import human, note, plain

POLL_S = 0.3
FINAL = ("done", "failed", "cancelled")


class Bar:
    """Called with what a job or a verb says of itself (core.work.Progress)."""

    def __init__(self, title: str, *, quiet: bool = False):
        self._title, self._quiet = title, quiet
        self._told = -1
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"),
                                      TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task(self._title, total=None, count="")
            self._progress.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress:
            self._progress.stop()

    def __call__(self, done: int, total: int | None = None, *, stage: str | None = None,
                 unit: str | None = None) -> None:
        if self._quiet:
            return
        if self._progress:
            from rich.markup import escape

            what = escape(plain(stage)[:60]) if stage else self._title
            self._progress.update(self._task, completed=done, total=total, description=what,
                                  count=_count(done, total, unit))
        elif total and (tenth := 10 * done // total) > self._told:
            self._told = tenth
            note(f"{self._title}: {_count(done, total, unit)}{f', {stage}' if stage else ''}")


def follow(look: Callable[[], dict[str, Any]], bar: Bar, stopping: threading.Event | None = None) -> dict[str, Any]:
    """Watch a job until it ends, or until `stopping`; the job as it was last."""
    wait = stopping or threading.Event()
    while True:
        job = look()
        bar(job["done"], job["total"], stage=job["stage"] or None, unit=job["unit"] or None)
        if job["state"] in FINAL or wait.wait(POLL_S):
            return job


def _count(done: int, total: int | None, unit: str | None) -> str:
    if unit == "bytes":
        return f"{human(done)} of {human(total)}" if total else human(done)
    return f"{done:,} of {total:,} {unit or ''}".rstrip() if total else f"{done:,} {unit or ''}".rstrip()
