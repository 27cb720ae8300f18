"""The LFS door: batch, put, parts, verify. Bytes come to signed links, so they carry no Authorization header."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from headwater.api.deps import ActorDep, HubDep, base_url
from headwater.api.hf.shapes import Kinds
from headwater.core.errors import BadInput, NotBuilt
from headwater.core.types import Access, Actor, Kind, Repo
from headwater.hub import Hub
from headwater.hub.access import find_repo
from headwater.hub.commit import drop
from headwater.hub.intake import Intake, expect, keep
from headwater.hub.uploads import PartIntake, check_digest, complete, missing, open_ticket, part_count, ticket

router = APIRouter(tags=["hub: LFS"])
MEDIA = "application/vnd.git-lfs+json"
# What is handed to a worker thread at once: large enough that the hand-over costs nothing beside the hashing.
BATCH = 4 << 20


class LfsObject(BaseModel):
    oid: str
    size: int = Field(ge=0)


class BatchBody(BaseModel):
    operation: str
    objects: list[LfsObject] = Field(max_length=1000)
    transfers: list[str] = ["basic"]
    hash_algo: str = "sha256"


class Part(BaseModel):
    partNumber: int
    etag: str


class CompleteBody(BaseModel):
    oid: str
    parts: list[Part] = Field(max_length=10_000)


@router.post("/{owner}/{name}.git/info/lfs/objects/batch")
def batch_models(owner: str, name: str, body: BatchBody, request: Request, hub: HubDep, actor: ActorDep) -> Response:
    return _batch(Kind.MODEL, owner, name, body, request, hub, actor)


@router.post("/{kinds:kinds}/{owner}/{name}.git/info/lfs/objects/batch")
def batch(kinds: Kinds, owner: str, name: str, body: BatchBody, request: Request, hub: HubDep,
          actor: ActorDep) -> Response:
    return _batch(kinds.kind, owner, name, body, request, hub, actor)


@router.put("/api/headwater/lfs/{oid}")
async def put(oid: str, t: str, request: Request, hub: HubDep) -> dict[str, Any]:
    opened = await run_in_threadpool(open_ticket, hub, t)
    _same(opened.digest, oid)
    with Intake(hub.tmp, opened.size) as intake:
        await pour(request, intake)
        staged = await run_in_threadpool(intake.finish)
    expect(staged, digest=opened.digest, size=opened.size)
    try:
        await run_in_threadpool(keep, hub, opened.repo, staged)
    finally:
        drop([staged])  # what was kept is no longer there; what could not be kept must not fill the disk further
    return {"oid": oid, "size": opened.size}


@router.put("/api/headwater/lfs/{oid}/parts/{number}")
async def put_part(oid: str, number: int, t: str, request: Request, hub: HubDep) -> Response:
    opened = await run_in_threadpool(open_ticket, hub, t)
    _same(opened.digest, oid)
    part = await run_in_threadpool(PartIntake, hub, opened, number)
    try:
        await pour(request, part)
        etag = await run_in_threadpool(part.finish)
    finally:
        part.close()
    return Response(status_code=200, headers={"ETag": f'"{etag}"'})


@router.post("/api/headwater/lfs/{oid}/complete")
def post_complete(oid: str, t: str, body: CompleteBody, hub: HubDep) -> dict[str, Any]:
    opened = open_ticket(hub, t)
    _same(opened.digest, oid)
    complete(hub, opened, {part.partNumber: part.etag for part in body.parts})
    return {"oid": oid, "size": opened.size}


@router.post("/api/headwater/lfs/{oid}/verify")
def verify(oid: str, t: str, body: LfsObject, hub: HubDep) -> dict[str, Any]:
    opened = open_ticket(hub, t)
    _same(opened.digest, oid)
    if hub.holdings.sizes(opened.repo, [oid]).get(oid) != body.size:
        raise BadInput(f"The bytes sha256 {oid} have not arrived.", hint="Upload them again.")
    return {"oid": oid, "size": body.size}


class Taker(Protocol):
    def write(self, chunk: bytes) -> None: ...


async def pour(request: Request, taker: Taker) -> None:
    """The request's body into `taker`, a few MiB at a time, in a worker thread: while one batch is hashed and
    written the next is received, so two are held at most.

    Raises what the taker raises; a client that goes away raises ClientDisconnect, and the taker's owner cleans up.
    """
    buffer = bytearray()
    writing: asyncio.Future[None] | None = None
    try:
        async for chunk in request.stream():
            buffer += chunk
            if len(buffer) >= BATCH:
                if writing:
                    await writing
                writing = asyncio.ensure_future(run_in_threadpool(taker.write, buffer))
                buffer = bytearray()
    finally:
        # Whatever happens above, nobody closes the file under a thread that still writes to it.
        if writing:
            await writing
    if buffer:
        await run_in_threadpool(taker.write, buffer)


def _batch(kind: Kind, owner: str, name: str, body: BatchBody, request: Request, hub: Hub, actor: Actor) -> Response:
    repo = find_repo(hub, actor, kind, f"{owner}/{name}", Access.WRITE)
    if body.operation != "upload":
        raise NotBuilt("Downloads do not go through LFS here.", hint="GET /owner/name/resolve/revision/path.")
    if body.hash_algo != "sha256":
        raise BadInput("Only sha256 names an LFS file.")
    large = hub.settings.part_bytes if "multipart" in body.transfers else None
    parted = large is not None and any(o.size > large for o in body.objects)
    wanted = missing(hub, repo, [check_digest(o.oid) for o in body.objects])
    objects = [_object(hub, actor, repo, o, base_url(request), large if parted else None, o.oid in wanted)
               for o in body.objects]
    answer = {"transfer": "multipart" if parted else "basic", "objects": objects, "hash_algo": "sha256"}
    return JSONResponse(answer, media_type=MEDIA)


def _object(hub: Hub, actor: Actor, repo: Repo, item: LfsObject, base: str, part_bytes: int | None,
            wanted: bool) -> dict[str, Any]:
    """One object of a batch: no actions when its bytes are here, else where to send them."""
    answer: dict[str, Any] = {"oid": item.oid, "size": item.size, "authenticated": True}
    if not wanted:
        return answer
    parts = part_bytes if part_bytes and item.size > part_bytes else None
    text = ticket(hub, actor, repo, item.oid, item.size, parts)
    root = f"{base}/api/headwater/lfs/{item.oid}"
    upload: dict[str, Any] = {"href": f"{root}?t={text}", "expires_in": hub.settings.upload_seconds}
    if parts:
        count = part_count(open_ticket(hub, text))
        upload = {"href": f"{root}/complete?t={text}", "expires_in": hub.settings.upload_seconds,
                  "header": {"chunk_size": str(parts)}
                  | {str(n): f"{root}/parts/{n}?t={text}" for n in range(1, count + 1)}}
    return {**answer, "actions": {"upload": upload, "verify": {"href": f"{root}/verify?t={text}"}}}


def _same(there: str, here: str) -> None:
    if there != here:
        raise BadInput("The link was made for another file.")
