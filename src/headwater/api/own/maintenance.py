"""Sweep, scrub and the disk, for administrators. Both run as jobs: what they found is in the job's result."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from headwater.api.deps import ActorDep, HubDep
from headwater.api.own.jobs import JobShown, shown
from headwater.hub.access import need_admin
from headwater.hub.descent import kept_as_differences

router = APIRouter(prefix="/api/headwater", tags=["headwater: maintenance"])


class SweepAsked(BaseModel):
    """grace_s: bytes that no commit names are left alone while they are younger than this; null means the setting."""

    grace_s: Annotated[float, Field(ge=0)] | None = None


class DiskShown(BaseModel):
    """All in bytes. blobs: of all files kept, each counted once, wherever the store is; `saved` of these are not on the
    disk, because files are kept as the difference to others. free and total: of the disk
    the data folder is on. snapshots: of revisions laid out for engines, links to blobs not counted."""

    blobs: int
    saved: int
    files: int
    tmp: int
    snapshots: int
    damaged: int
    free: int
    total: int


@router.post("/sweep", status_code=202)
def start_sweep(hub: HubDep, actor: ActorDep, asked: SweepAsked | None = None) -> JobShown:
    """Delete what nothing names: bytes past their grace, uploads given up, laid-out revisions of deleted repos."""
    account = need_admin(actor)
    payload = asked.model_dump(exclude_none=True) if asked else {}
    key = "sweep" if not payload else f"sweep {payload['grace_s']}"
    return shown(hub.jobs.enqueue("sweep", payload, title="Sweep", by=account.name, key=key))


@router.post("/scrub", status_code=202)
def start_scrub(hub: HubDep, actor: ActorDep) -> JobShown:
    """Read and hash every file again. Damaged ones are set aside and named in the job's result."""
    account = need_admin(actor)
    return shown(hub.jobs.enqueue("scrub", {}, title="Scrub", by=account.name, key="scrub"))


@router.get("/disk")
def disk(hub: HubDep, actor: ActorDep) -> DiskShown:
    need_admin(actor)
    sizes, saved = dict(hub.holdings.all()), kept_as_differences(hub)
    usage = shutil.disk_usage(hub.settings.data)
    data = hub.settings.data
    return DiskShown(blobs=sum(sizes.values()), saved=saved.whole - saved.packed, files=len(sizes),
                     tmp=_own_bytes(hub.tmp), free=usage.free, total=usage.total,
                     snapshots=_own_bytes(data / "snapshots"), damaged=_own_bytes(data / "damaged"))


def _own_bytes(folder: Path) -> int:
    """Bytes of files below the folder that have no other name."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(where, name))
            except FileNotFoundError:  # gone since it was listed
                continue
            total += found.st_size if found.st_nlink == 1 else 0
    return total
