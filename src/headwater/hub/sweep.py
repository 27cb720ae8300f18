"""Give space back, and look after what is kept: the sweep and the scrub. Both run beside everything else."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import Busy, Damaged
from headwater.core.types import Digest
from headwater.core.work import Progress
from headwater.hub import Hub
from headwater.hub.descent import free_bases
from headwater.hub.snapshot import forget_snapshots
from headwater.hub.xet_store import tidy

BATCH = 200
DERIVED = ("forms", "prompts")
"""Folders of the data folder whose own folders are named by the sha256 of the file they were made of."""


@dataclass(frozen=True)
class Swept:
    """What a sweep freed. tmp counts files and folders of uploads that were given up."""

    blobs: int
    bytes: int
    tmp: int


@dataclass(frozen=True)
class Damage:
    """A blob that is not what its name says. found: its sha256 now, or None if it is gone, or is kept as a difference
    that cannot be read."""

    digest: Digest
    found: Digest | None
    size: int


@contextmanager
def sweeping(hub: Hub) -> Iterator[None]:
    """Only one sweep or backup at a time, among all processes on this data folder. Raises Busy."""
    path = hub.settings.data / "sweep.lock"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("A sweep or a backup is running.", retry_after=60, hint="Try again when it is done.") from None
        yield


def sweep(hub: Hub, progress: Progress | None = None, *, grace_s: float | None = None) -> Swept:
    """Delete bytes no commit names and no lease holds, uploads given up, and folders of revisions that are gone.

    grace_s: bytes younger than this are left alone; None means the setting. Raises Busy.
    """
    grace = hub.settings.sweep_grace_s if grace_s is None else grace_s
    blobs = freed = 0
    with sweeping(hub):
        if hub.differences is not None:
            free_bases(hub)
        while batch := hub.holdings.sweep(grace_s=grace, limit=BATCH, delete=hub.blobs.delete):
            blobs, freed = blobs + len(batch), freed + sum(size for _, size in batch)
            if progress:
                progress(blobs, None, stage="deleting", unit="files")
        return Swept(blobs, freed, _sweep_tmp(hub) + tidy(hub) + _sweep_snapshots(hub)
                     + _sweep_derived(hub))


def scrub(hub: Hub, progress: Progress | None = None) -> list[Damage]:
    """Read every blob again and hash it. What is damaged is set aside, so that nobody is handed wrong bytes;
    what is missing is named. An upload of the same bytes, or a backup, heals both."""
    damage: list[Damage] = []
    todo = sorted(hub.holdings.all())
    total, done = sum(size for _, size in todo), 0
    for digest, size in todo:
        found = _hash(hub, digest)
        # Missing, and swept since the list was made, is no damage.
        if found != digest and not (found is None and digest not in dict(hub.holdings.all())):
            damage.append(Damage(digest, found, size))
            if found is not None:
                _set_aside(hub, digest)
            hub.holdings.damaged(digest)
        done += size
        if progress:
            progress(done, total, stage="reading", unit="bytes")
    return damage


def sweep_job(hub: Hub) -> Any:
    return lambda payload, progress: asdict(sweep(hub, progress, grace_s=payload.get("grace_s")))


def scrub_job(hub: Hub) -> Any:
    return lambda payload, progress: {"damaged": [asdict(d) for d in scrub(hub, progress)[:100]]}


def _hash(hub: Hub, digest: Digest) -> Digest | None:
    running = hashlib.sha256()
    try:
        for chunk in hub.blobs.read(digest):
            running.update(chunk)
    except (FileNotFoundError, Damaged):  # a difference that cannot be read stays: its base may come again
        return None
    return running.hexdigest()


def _set_aside(hub: Hub, digest: Digest) -> None:
    path = hub.blobs.path(digest)
    if path is not None:
        aside = hub.settings.data / "damaged"
        aside.mkdir(exist_ok=True)
        os.replace(path, aside / digest)
    else:
        hub.blobs.delete(digest)


def _sweep_tmp(hub: Hub) -> int:
    """Uploads nobody can finish any more, and imports nobody took up again for as long. Folders of the Xet door look
    after themselves."""
    count = 0
    for path in hub.tmp.glob("*"):
        if not path.name.startswith(("in-", "parts-", "import-")):
            continue
        if _newest(path) < hub.now() - hub.settings.upload_seconds:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            count += 1
    return count


def _sweep_derived(hub: Hub) -> int:
    """What was made of files that are gone: faster forms, and conversations as read; of these also the old ones."""
    count = 0
    for folder in (path for name in DERIVED for path in (hub.settings.data / name).glob("*")):
        if hub.holdings.lost([folder.name]):
            shutil.rmtree(folder, ignore_errors=True)
            count += 1
    for file in (hub.settings.data / "prompts").glob("*/*/slot-*"):
        if _newest(file) < hub.now() - hub.settings.prompt_cache_s:
            file.unlink(missing_ok=True)
            count += 1
    return count


def _newest(path: Path) -> float:
    try:
        inner = [p.stat().st_mtime for p in path.iterdir()] if path.is_dir() else []
        return max([path.stat().st_mtime, *inner])
    except FileNotFoundError:
        return float("inf")


def _sweep_snapshots(hub: Hub) -> int:
    count = 0
    for folder in (hub.settings.data / "snapshots").glob("*"):
        if folder.name.isdecimal() and hub.repos.get(int(folder.name)) is None:
            forget_snapshots(hub, int(folder.name))
            shutil.rmtree(folder, ignore_errors=True)
            count += 1
    return count
