"""The Xet door over HTTP: a token for it, xorbs, shards. Everything optional in that protocol answers 404, whoever
asks: whether some chunk is kept here is nobody's business, and clients then send it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from headwater.api.deps import ActorDep, HubDep, base_url
from headwater.api.hf.lfs import pour
from headwater.api.hf.shapes import Kinds
from headwater.core.errors import HeadwaterError, NotFound, NotSignedIn, TooLarge
from headwater.core.types import Access
from headwater.hub import Hub
from headwater.hub.access import find_repo
from headwater.hub.xet import Grant, ShardIntake, XorbIntake, open_ticket, ticket
from headwater.hub.xet_format import BODY_MAX, SHARD_MAX, hash_value

log = logging.getLogger("headwater.xet")
router = APIRouter(tags=["hub: Xet"])
# Clients key what they remember of earlier uploads by the whole address, generation included.
ADDRESS = "/api/headwater/xet/{generation}"


@router.get("/api/{kinds:kinds}/{owner}/{name}/xet-write-token/{revision}")
def xet_write_token(kinds: Kinds, owner: str, name: str, revision: str, request: Request, hub: HubDep,
                    actor: ActorDep) -> JSONResponse:
    """Where and with what a client uploads. The revision says nothing: bytes belong to a repo, not to a branch."""
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    made = ticket(hub, actor, repo)
    url = base_url(request) + ADDRESS.format(generation=made.address)
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": made.text, "X-Xet-Token-Expiration": str(made.expires_at)}
    return JSONResponse({"casUrl": url, "accessToken": made.text, "exp": made.expires_at}, headers=headers)


@router.post(ADDRESS + "/v1/xorbs/{prefix}/{xorb}")
async def post_xorb(generation: str, prefix: str, xorb: str, request: Request, hub: HubDep) -> dict[str, Any]:
    with _refusals_logged(request):
        grant = await _grant(request, hub, generation)
        value = hash_value(xorb)
        _fits(request, BODY_MAX)
        with await run_in_threadpool(XorbIntake, grant, value) as intake:
            await pour(request, intake)
            return {"was_inserted": await run_in_threadpool(intake.finish)}


@router.post(ADDRESS + "/v1/shards")
async def post_shard(generation: str, request: Request, hub: HubDep) -> dict[str, Any]:
    with _refusals_logged(request):
        grant = await _grant(request, hub, generation)
        _fits(request, SHARD_MAX)
        with await run_in_threadpool(ShardIntake, hub, grant) as intake:
            await pour(request, intake)
            await run_in_threadpool(intake.register)
        return {"result": 1}


@router.api_route(ADDRESS + "/{rest:path}", methods=["GET", "HEAD", "POST", "PUT"], include_in_schema=False)
def nothing(generation: str, rest: str) -> Response:
    raise NotFound("Headwater has no such part of the Xet protocol; clients go on without it.")


@contextmanager
def _refusals_logged(request: Request) -> Iterator[None]:
    """Xet clients show their user the status of a refusal and not its reason, so the hub's log must say it."""
    try:
        yield
    except HeadwaterError as error:
        if error.status < 500:  # the others are logged where all errors become HTTP
            log.warning("%s %s refused: %s", request.method, request.url.path, error)
        raise


async def _grant(request: Request, hub: Hub, generation: str) -> Grant:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise NotSignedIn("A Xet upload carries the token of xet-write-token.", hint="Start the push again.")
    return await run_in_threadpool(open_ticket, hub, text.strip(), generation)


def _fits(request: Request, limit: int) -> None:
    """Raises TooLarge before a byte is read, if the client says how much it will send."""
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(f"{int(announced):,} bytes announced; at most {limit:,} are accepted here.")
