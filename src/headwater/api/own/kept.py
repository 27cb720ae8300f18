"""How the files of a revision are kept on disk, over HTTP: those that are the difference to another model's files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from headwater.api.deps import ActorDep, HubDep, segment
from headwater.core.types import Kind
from headwater.hub.access import find_repo
from headwater.hub.browse import files, resolve
from headwater.hub.kept_as import kept_as

router = APIRouter(prefix="/api/headwater/kept", tags=["headwater: lineage"])


class DifferenceShown(BaseModel):
    """size: of the file as anyone reads it. on_disk: what it takes. base: a model that has the bytes it is the
    difference to, null where you may read none. It is made whole again when the last repo with those goes."""

    path: str
    size: int
    on_disk: int
    base: str | None


@router.get("/{owner}/{name}")
def kept(owner: str, name: str, hub: HubDep, actor: ActorDep,
         revision: Annotated[str, Query(max_length=200)] = "main") -> list[DifferenceShown]:
    """Files kept as the difference to another model's; all others are kept whole."""
    repo = find_repo(hub, actor, Kind.MODEL, f"{segment(owner)}/{segment(name)}")
    entries = files(hub, resolve(hub, repo, revision))
    found = kept_as(hub, actor, entries)
    return [DifferenceShown(path=e.path, size=e.size, on_disk=found[e.digest].on_disk, base=found[e.digest].base)
            for e in entries if e.digest in found]
